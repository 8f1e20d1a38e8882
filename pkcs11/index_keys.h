#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <span>

#include "mechanisms/cryptoki.h"
#include "vault/table_hash.h"

namespace secretmem {

// IndexKeys stand for the attributes that clients search by, as an object or a template has them.
// An object that has all values of a template has all its keys, and seldom has another. Empty
// values, which most objects have, make none.
class IndexKeys {
 public:
  // Of takes them from an AttributeSet or a TemplateReader.
  template <class Attributes>
  static IndexKeys Of(const Attributes& attributes) {
    IndexKeys keys;
    // Of classes there are so few that nobody can have two meet.
    const auto number = attributes.Get(CKA_CLASS);
    if (number && number->size() == sizeof(CK_OBJECT_CLASS)) {
      uint64_t key;
      std::memcpy(&key, number->data(), sizeof(key));
      keys.keys_[keys.count_++] = key;
    }
    for (const CK_ATTRIBUTE_TYPE type : {CKA_LABEL, CKA_ID}) {
      const auto value = attributes.Get(type);
      if (value && !value->empty()) keys.keys_[keys.count_++] = TableHash(type, *value);
    }
    return keys;
  }

  std::span<const uint64_t> all() const& { return {keys_.data(), count_}; }
  void all() && = delete;

 private:
  std::array<uint64_t, 3> keys_{};
  size_t count_ = 0;
};

}  // namespace secretmem
