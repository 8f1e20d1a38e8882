#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "mechanisms/cryptoki.h"
#include "vault/table_hash.h"

namespace secretmem {

// IndexKeys are hashes of the attributes that clients search by, as an object or a template has
// them. An object that has all values of a template has all its keys, and seldom has another. Empty
// values, which most objects have, make none.
class IndexKeys {
 public:
  // The types of these attributes, the most telling first.
  static constexpr auto kTypes =
      std::to_array<CK_ATTRIBUTE_TYPE>({CKA_ID, CKA_LABEL, CKA_KEY_TYPE, CKA_CLASS});

  // Of takes them from an AttributeSet or a TemplateReader.
  template <class Attributes>
  static IndexKeys Of(const Attributes& attributes) {
    IndexKeys keys;
    for (const CK_ATTRIBUTE_TYPE type : kTypes) {
      const auto value = attributes.Get(type);
      if (value && !value->empty()) keys.keys_[keys.count_++] = TableHash(type, *value);
    }
    return keys;
  }

  std::span<const uint64_t> all() const { return {keys_.data(), count_}; }

 private:
  std::array<uint64_t, kTypes.size()> keys_{};
  size_t count_ = 0;
};

}  // namespace secretmem
