// What the tests of mechanisms share.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "mechanisms/mechanism.h"
#include "vault_testing.h"

namespace secretmem {

// Attributes are a template that owns its values.
class Attributes : public AttributeSource {
 public:
  using Map = std::map<CK_ATTRIBUTE_TYPE, std::vector<uint8_t>>;
  Attributes(Map values = {}) : values_(std::move(values)) {}  // NOLINT: for {…}

  std::optional<std::span<const uint8_t>> Get(CK_ATTRIBUTE_TYPE type) const override {
    const auto found = values_.find(type);
    if (found == values_.end()) return std::nullopt;
    return std::span<const uint8_t>(found->second);
  }

 private:
  Map values_;
};

inline std::vector<uint8_t> BytesOfVault(const Vault& vault) {
  std::vector<uint8_t> bytes(vault.size());
  EXPECT_TRUE(vault.WithSecret(
      [&](std::span<const uint8_t> its) { std::ranges::copy(its, bytes.begin()); }));
  return bytes;
}

// RvFrom is the return code of a CkResult.
inline CK_RV RvFrom(const auto& result) { return result ? CKR_OK : result.error(); }

}  // namespace secretmem
