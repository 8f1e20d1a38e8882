#include "pkcs11/bound_key.h"

#include <algorithm>

#include "mechanisms/xwing.h"
#include "pkcs11/attribute_rules.h"

namespace secretmem {
namespace {

constexpr CK_ATTRIBUTE_TYPE kOtherUses[] = {CKA_ENCRYPT, CKA_DECRYPT,      CKA_WRAP,   CKA_UNWRAP,
                                            CKA_SIGN,    CKA_SIGN_RECOVER, CKA_VERIFY, CKA_DERIVE};

// Whether it has the form of a public key: X25519's, X-Wing's, or a NIST curve's uncompressed
// point.
bool IsPublicKey(std::span<const uint8_t> value) {
  if (value.size() == 32) return true;
  if (value.size() == kXWingPublicBytes) return FindKeyType(CKK_SECRETMEM_XWING) != nullptr;
  for (const size_t size : {57U, 65U, 97U, 133U}) {
    const size_t header = size < 0x80 ? 2 : 3;
    if (value.size() == header + size && value[0] == 0x04 && value[header - 1] == size &&
        (header == 2 || value[1] == 0x81) && value[header] == 0x04) {
      return true;
    }
  }
  return false;
}

}  // namespace

bool MayKeepBound(const AttributeSet& attributes) {
  return !attributes.Has(CKA_SECRETMEM_BOUND_TO) || !attributes.GetBool(CKA_TOKEN).value_or(true) ||
         attributes.GetBool(CKA_PRIVATE).value_or(false);
}

CK_RV SettleBoundKey(AttributeSet& attributes, const TemplateReader& given,
                     const AttributeSet* imposed) {
  const auto binding = attributes.Get(CKA_SECRETMEM_BOUND_TO);
  if (!binding) return CKR_OK;
  if (!IsPublicKey(*binding)) return CKR_ATTRIBUTE_VALUE_INVALID;
  if (!attributes.GetBool(CKA_SENSITIVE).value_or(false) ||
      attributes.GetBool(CKA_EXTRACTABLE).value_or(true) || !MayKeepBound(attributes)) {
    return CKR_TEMPLATE_INCONSISTENT;
  }
  for (const CK_ATTRIBUTE_TYPE use : kOtherUses) {
    if (!attributes.GetBool(use).value_or(false)) continue;
    if (given.Has(use) || (imposed != nullptr && imposed->Has(use))) {
      return CKR_TEMPLATE_INCONSISTENT;
    }
    attributes.SetBool(use, false);
  }
  if (attributes.GetUlong(CKA_CLASS) == CKO_SECRET_KEY) {
    const auto check = attributes.Get(CKA_CHECK_VALUE);
    if (check && !check->empty()) return CKR_TEMPLATE_INCONSISTENT;
    attributes.SetBytes(CKA_CHECK_VALUE, {});
  }
  return CKR_OK;
}

CkStatus CheckBinding(const Object& wrapping, const Object& bound) {
  const auto wanted = bound.Get(CKA_SECRETMEM_BOUND_TO);
  const bool has_point = wrapping.key_type() != CKK_SECRETMEM_XWING;
  const auto its = wrapping.Get(has_point ? CKA_EC_POINT : CKA_VALUE);
  if (!wanted || !its || wrapping.object_class() != CKO_PUBLIC_KEY ||
      !std::ranges::equal(*wanted, *its)) {
    return Refuse(CKR_KEY_NOT_WRAPPABLE);
  }
  return {};
}

}  // namespace secretmem
