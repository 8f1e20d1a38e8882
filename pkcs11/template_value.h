// One template value, checked against its rule and brought to the form AttributeSet keeps.

#pragma once

#include <cstdint>
#include <expected>
#include <span>
#include <vector>

#include "mechanisms/cryptoki.h"
#include "pkcs11/attribute_rules.h"
#include "pkcs11/object_builder.h"
#include "pkcs11/template_reader.h"

namespace secretmem {

// StoredValue is a value as AttributeSet keeps it: the caller's bytes, or for template attributes
// bytes of our own. Neither copied nor moved, as the one may point to the other.
class StoredValue {
 public:
  StoredValue() = default;
  StoredValue(const StoredValue&) = delete;
  StoredValue& operator=(const StoredValue&) = delete;

  // Read takes the value of |rule|'s attribute from |given|, where it must be. CKR_OK, or
  // CKR_ATTRIBUTE_VALUE_INVALID if it does not have the rule's form; for template attributes also
  // what is wrong inside: CKR_ATTRIBUTE_TYPE_INVALID for an attribute that no object has,
  // CKR_ATTRIBUTE_VALUE_INVALID for one that can hold secrets, CKR_TEMPLATE_INCONSISTENT.
  CK_RV Read(const TemplateReader& given, const AttributeRule& rule) {
    return Read(given, rule, given.Get(rule.type).value());
  }

  // The same where the value's |bytes| are at hand.
  CK_RV Read(const TemplateReader& given, const AttributeRule& rule,
             std::span<const uint8_t> bytes);

  std::span<const uint8_t> bytes() const { return bytes_; }

 private:
  std::vector<uint8_t> own_;
  std::span<const uint8_t> bytes_;
};

// CheckTransition returns CKR_OK, or CKR_ATTRIBUTE_READ_ONLY if |rule|, an attribute with one-way
// values or one that the security officer alone sets, may not become |value|. |before| is its value
// so far, or nullptr for a new object.
CK_RV CheckTransition(const AttributeRule& rule, std::span<const uint8_t> value, const bool* before,
                      Login login);

}  // namespace secretmem
