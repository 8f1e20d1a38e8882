#pragma once

#include <array>
#include <vector>

#include "pkcs11/object_builder.h"
#include "vault/short_mutex.h"

namespace secretmem {

// Drafts remembers what BuildObject made of the last few templates. Programs make one key after the
// other from the same template, and the rules of some forty attributes take longer to go through
// than the object takes to be copied. Templates with secrets are never kept.
class Drafts {
 public:
  // Build is BuildObject.
  std::expected<BuiltObject, CK_RV> Build(const TemplateReader& given, const BuildRequest& request);

 private:
  // As many as one C_GenerateKeyPair and what is derived from it take.
  static constexpr size_t kDrafts = 4;

  struct Draft {
    std::vector<uint8_t> question;  // all that the answer depends on
    AttributeSet answer;            // but for its CKA_UNIQUE_ID
  };

  std::optional<AttributeSet> Find(std::span<const uint8_t> question);
  void Keep(std::span<const uint8_t> question, const AttributeSet& answer);

  ShortMutex mutex_;
  std::array<Draft, kDrafts> drafts_;
  size_t next_ = 0;
};

}  // namespace secretmem
