#include "pkcs11/template_value.h"

namespace secretmem {
namespace {

using namespace rules;

// The contents of a template attribute: only what some object has, and nothing that is secret on
// some object, as a template has no class to tell by.
std::expected<AttributeSet, CK_RV> EncodeTemplate(const TemplateReader& given) {
  if (given.entries().size() > AttributeSet::kMaxEntries) {
    return std::unexpected(CKR_ATTRIBUTE_VALUE_INVALID);
  }
  AttributeSet encoded;
  size_t total = 0;
  for (const TemplateEntry& entry : given.entries()) {
    const AttributeRule* rule = FindAnyRule(entry.type);
    if (rule == nullptr) return std::unexpected(CKR_ATTRIBUTE_TYPE_INVALID);
    if (MayBeSecretAttribute(entry.type)) {
      return std::unexpected(CKR_ATTRIBUTE_VALUE_INVALID);
    }
    StoredValue value;
    if (const CK_RV rv = value.Read(given, *rule); rv != CKR_OK) return std::unexpected(rv);
    total += value.bytes().size();
    // Leaves room for the headers of kMaxEntries entries.
    if (total > AttributeSet::kMaxValueSize / 2) {
      return std::unexpected(CKR_ATTRIBUTE_VALUE_INVALID);
    }
    encoded.SetBytes(entry.type, value.bytes());
  }
  return encoded;
}

}  // namespace

CK_RV StoredValue::Read(const TemplateReader& given, const AttributeRule& rule,
                        std::span<const uint8_t> bytes) {
  bool valid = true;
  switch (rule.kind) {
    case ValueKind::kBool:
      valid = ParseBool(bytes).has_value();
      break;
    case ValueKind::kUlong:
      valid = ParseUlong(bytes).has_value();
      break;
    case ValueKind::kLifetime: {
      const auto seconds = ParseUlong(bytes);
      valid = seconds && *seconds >= 1 && *seconds <= CK_ULONG{1} << 32;
      break;
    }
    case ValueKind::kDate:
      valid = IsDate(bytes);
      break;
    case ValueKind::kMechanisms:
      valid = bytes.size() % sizeof(CK_MECHANISM_TYPE) == 0;
      break;
    case ValueKind::kTemplate: {
      const auto nested = given.GetTemplate(rule.type);
      if (!nested) return nested.error();
      if ((*nested)->empty()) return CKR_OK;
      const auto encoded = EncodeTemplate(**nested);
      if (!encoded) return encoded.error();
      own_ = encoded->Serialize();
      bytes_ = own_;
      return CKR_OK;
    }
    case ValueKind::kBytes:
    case ValueKind::kBigInteger:
    case ValueKind::kString:
      break;
  }
  if (!valid) return CKR_ATTRIBUTE_VALUE_INVALID;
  bytes_ = bytes;
  return CKR_OK;
}

CK_RV CheckTransition(const AttributeRule& rule, std::span<const uint8_t> value, const bool* before,
                      Login login) {
  if (rule.kind != ValueKind::kBool) return CKR_OK;
  const bool after = value.front() == CK_TRUE;
  const bool changes = before == nullptr || *before != after;
  if ((rule.flags & kTrueBySoOnly) != 0 && after && changes && login != Login::kSecurityOfficer) {
    return CKR_ATTRIBUTE_READ_ONLY;
  }
  if (before == nullptr || !changes) return CKR_OK;
  const bool forbidden = after ? (rule.flags & kOnlyToFalse) != 0 : (rule.flags & kOnlyToTrue) != 0;
  return forbidden ? CKR_ATTRIBUTE_READ_ONLY : CKR_OK;
}

}  // namespace secretmem
