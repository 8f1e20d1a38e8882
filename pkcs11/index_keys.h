#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <span>

#include "mechanisms/cryptoki.h"
#include "vault/table_hash.h"

namespace secretmem {

// IndexKeys are numbers for the attributes that clients search by, as an object or a template has
// them. An object that has all values of a template has all its keys, and seldom has another. Empty
// values, which most objects have, make none.
class IndexKeys {
 public:
  // Of takes them from an AttributeSet or a TemplateReader.
  template <class Attributes>
  static IndexKeys Of(const Attributes& attributes) {
    IndexKeys keys;
    for (const CK_ATTRIBUTE_TYPE type : kTypes) {
      const auto value = attributes.Get(type);
      if (value && !value->empty()) keys.keys_[keys.count_++] = KeyOf(type, *value);
    }
    return keys;
  }

  std::span<const uint64_t> all() const { return {keys_.data(), count_}; }

 private:
  static constexpr auto kTypes =
      std::to_array<CK_ATTRIBUTE_TYPE>({CKA_CLASS, CKA_LABEL, CKA_KEY_TYPE, CKA_ID});

  static uint64_t KeyOf(CK_ATTRIBUTE_TYPE type, std::span<const uint8_t> value) {
    CK_ULONG number;
    // Objects have classes and key types of the specification only, so nobody chooses them to meet.
    if ((type == CKA_CLASS || type == CKA_KEY_TYPE) && value.size() == sizeof(number)) {
      memcpy(&number, value.data(), sizeof(number));
      return type << 32 ^ number;
    }
    return TableHash(type, value);
  }

  std::array<uint64_t, kTypes.size()> keys_{};
  size_t count_ = 0;
};

}  // namespace secretmem
