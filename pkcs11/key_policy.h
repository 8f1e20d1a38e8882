#pragma once

#include "mechanisms/mechanism.h"
#include "pkcs11/object.h"

namespace secretmem {

// PermittedKey is a key that may be used for one mechanism in one way. Only Permit makes one, so no
// dispatch gets around it. It keeps the object alive.
class PermittedKey {
 public:
  // Permit checks CKA_ALLOWED_MECHANISMS, the dates where they are enforced, and the |usage| flag
  // (CKA_DERIVE, CKA_SIGN and so on; for bound keys CKA_DECAPSULATE alone), and opens the vault.
  // CKR_KEY_HANDLE_INVALID for null and for what is no key, CKR_MECHANISM_INVALID,
  // CKR_KEY_FUNCTION_NOT_PERMITTED, or a vault's failure; CKR_USER_NOT_LOGGED_IN for a key with
  // CKA_ALWAYS_AUTHENTICATE (section 4.9) in a use that no login can precede.
  static CkResult<PermittedKey> Permit(ObjectPtr object, CK_ATTRIBUTE_TYPE usage,
                                       CK_MECHANISM_TYPE mechanism);

  // PermitBeside does the same, but for the flag, for a key that a mechanism's parameter names.
  static CkResult<PermittedKey> PermitBeside(ObjectPtr object, CK_MECHANISM_TYPE mechanism);

  Key key() const {
    return {object_->object_class(), object_->key_type(), *object_, vault_,
            object_->secret != nullptr ? &object_->secret->cache() : nullptr};
  }
  const Object& object() const { return *object_; }

 private:
  // Open does what both have in common.
  static CkResult<PermittedKey> Open(ObjectPtr object, CK_MECHANISM_TYPE mechanism);

  PermittedKey(ObjectPtr object, const Vault* vault) : object_(std::move(object)), vault_(vault) {}

  ObjectPtr object_;
  const Vault* vault_;
};

}  // namespace secretmem
