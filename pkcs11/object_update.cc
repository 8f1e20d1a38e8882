// BuildCopy and CheckSet of object_builder.h: new attributes from those of an object that exists.

#include "pkcs11/attribute_rules.h"
#include "pkcs11/bound_key.h"
#include "pkcs11/object_builder.h"
#include "pkcs11/template_value.h"

namespace secretmem {
namespace {

using namespace rules;

// Applies |given| to |attributes| as far as rules with |flag| (kSet or kCopy) allow.
CK_RV Update(AttributeSet& attributes, const TemplateReader& given, uint16_t flag, Login login) {
  const uint8_t class_bit =
      ClassBitOf(attributes.GetUlong(CKA_CLASS).value_or(CK_UNAVAILABLE_INFORMATION));
  uint8_t family = kAnyFamily;
  if (IsKeyClass(class_bit)) {
    const KeyTypeRule* key_type =
        FindKeyType(attributes.GetUlong(CKA_KEY_TYPE).value_or(CK_UNAVAILABLE_INFORMATION));
    if (key_type == nullptr) return CKR_ATTRIBUTE_TYPE_INVALID;
    family = key_type->family;
  }
  for (const TemplateEntry& entry : given.entries()) {
    const AttributeRule* rule = FindRule(class_bit, family, entry.type);
    if (rule == nullptr) return CKR_ATTRIBUTE_TYPE_INVALID;
    if ((rule->flags & flag) == 0) return CKR_ATTRIBUTE_READ_ONLY;
    StoredValue value;
    if (const CK_RV rv = value.Read(given, *rule); rv != CKR_OK) return rv;
    const std::optional<bool> before = attributes.GetBool(entry.type);
    if (const CK_RV rv = CheckTransition(*rule, value.bytes(), before ? &*before : nullptr, login);
        rv != CKR_OK) {
      return rv;
    }
    // Section 4.1, footnotes 11 and 12: where it cannot go on, it is read-only.
    if (flag == kSet && before && (rule->flags & (*before ? kOnlyToTrue : kOnlyToFalse)) != 0) {
      return CKR_ATTRIBUTE_READ_ONLY;
    }
    attributes.SetBytes(entry.type, value.bytes());
  }
  return CKR_OK;
}

}  // namespace

std::expected<AttributeSet, CK_RV> BuildCopy(const AttributeSet& source,
                                             const TemplateReader& given, const Caller& caller,
                                             std::string_view unique_id) {
  if (!source.GetBool(CKA_COPYABLE).value_or(true)) return std::unexpected(CKR_ACTION_PROHIBITED);
  AttributeSet copy = source;
  if (const CK_RV rv = Update(copy, given, kCopy, caller.login); rv != CKR_OK) {
    return std::unexpected(rv);
  }
  const bool is_private = copy.GetBool(CKA_PRIVATE).value_or(true);
  if ((source.GetBool(CKA_PRIVATE).value_or(true) && !is_private) || !MayKeepBound(copy)) {
    return std::unexpected(CKR_TEMPLATE_INCONSISTENT);
  }
  if (const CK_RV rv = CheckAccess(caller, copy.GetBool(CKA_TOKEN).value_or(true), is_private);
      rv != CKR_OK) {
    return std::unexpected(rv);
  }
  copy.SetBytes(CKA_UNIQUE_ID,
                {reinterpret_cast<const uint8_t*>(unique_id.data()), unique_id.size()});
  copy.ShrinkToFit();
  return copy;
}

std::expected<AttributeSet, CK_RV> CheckSet(const AttributeSet& object, const TemplateReader& given,
                                            const Caller& caller) {
  if (const CK_RV rv = CheckAccess(caller, object.GetBool(CKA_TOKEN).value_or(true),
                                   object.GetBool(CKA_PRIVATE).value_or(true));
      rv != CKR_OK) {
    return std::unexpected(rv);
  }
  if (!object.GetBool(CKA_MODIFIABLE).value_or(true)) {
    return std::unexpected(CKR_ACTION_PROHIBITED);
  }
  AttributeSet changed = object;
  if (const CK_RV rv = Update(changed, given, kSet, caller.login); rv != CKR_OK) {
    return std::unexpected(rv);
  }
  changed.ShrinkToFit();
  return changed;
}

}  // namespace secretmem
