#include "pkcs11/key_policy.h"

#include <cstring>

#include "pkcs11/bound_key.h"
#include "pkcs11/key_dates.h"

namespace secretmem {
namespace {

// An empty list, the default, allows every mechanism.
bool IsAllowed(const Object& object, CK_MECHANISM_TYPE mechanism) {
  const auto allowed = object.attributes.Get(CKA_ALLOWED_MECHANISMS);
  if (!allowed || allowed->empty()) return true;
  for (size_t i = 0; i + sizeof(mechanism) <= allowed->size(); i += sizeof(mechanism)) {
    if (memcmp(allowed->data() + i, &mechanism, sizeof(mechanism)) == 0) return true;
  }
  return false;
}

// Functions that are one call leave no moment for the login that CKA_ALWAYS_AUTHENTICATE asks for.
bool IsOneCall(CK_ATTRIBUTE_TYPE usage) {
  return usage == CKA_DERIVE || usage == CKA_UNWRAP || usage == CKA_DECAPSULATE;
}

}  // namespace

CkResult<PermittedKey> PermittedKey::Permit(ObjectPtr object, CK_ATTRIBUTE_TYPE usage,
                                            CK_MECHANISM_TYPE mechanism) {
  auto permitted = Open(object, mechanism);
  if (permitted && (!object->Is(usage) || (IsBound(*object) && usage != CKA_DECAPSULATE))) {
    return Refuse(CKR_KEY_FUNCTION_NOT_PERMITTED);
  }
  if (permitted && IsOneCall(usage) && object->Is(CKA_ALWAYS_AUTHENTICATE)) {
    return Refuse(CKR_USER_NOT_LOGGED_IN);
  }
  return permitted;
}

CkResult<PermittedKey> PermittedKey::PermitBeside(ObjectPtr object, CK_MECHANISM_TYPE mechanism) {
  auto permitted = Open(object, mechanism);
  if (permitted && IsBound(*object)) return Refuse(CKR_KEY_FUNCTION_NOT_PERMITTED);
  if (permitted && object->Is(CKA_ALWAYS_AUTHENTICATE)) return Refuse(CKR_USER_NOT_LOGGED_IN);
  return permitted;
}

CkResult<PermittedKey> PermittedKey::Open(ObjectPtr object, CK_MECHANISM_TYPE mechanism) {
  if (object == nullptr) return Refuse(CKR_KEY_HANDLE_INVALID);
  if (object->key_type() == CK_UNAVAILABLE_INFORMATION) return Refuse(CKR_KEY_HANDLE_INVALID);
  if (!IsAllowed(*object, mechanism)) return Refuse(CKR_MECHANISM_INVALID);
  if (IsOutsideItsDates(*object)) return Refuse(CKR_KEY_FUNCTION_NOT_PERMITTED);
  const Vault* vault = nullptr;
  if (object->secret != nullptr) {
    const auto opened = object->secret->Open();
    if (!opened) return Refuse(opened.error());
    vault = *opened;
  }
  return PermittedKey(std::move(object), vault);
}

}  // namespace secretmem
