#pragma once

#include "mechanisms/mechanism.h"

namespace secretmem {

// KeyFamily knows what a key type's values look like: it takes key material in from a template
// (C_CreateObject, C_UnwrapKey), checks it and brings it into the one form that is stored.
//
// The functions answer with CKR_TEMPLATE_INCOMPLETE, CKR_ATTRIBUTE_VALUE_INVALID,
// CKR_DOMAIN_PARAMS_INVALID, CKR_CURVE_NOT_SUPPORTED or a vault's failure.
struct KeyFamily {
  CK_KEY_TYPE key_type;
  // Null where the key type has no such class.
  CkResult<AttributeValues> (*import_public)(const AttributeSource& given) = nullptr;
  CkResult<NewKey> (*import_private)(const AttributeSource& given) = nullptr;
  CkResult<NewKey> (*import_secret)(const AttributeSource& given) = nullptr;

  // Private keys as PKCS#8 PrivateKeyInfo, for wrapping. to_pkcs8 makes it in a new vault.
  // from_pkcs8 is called in a borrow, |der| being secret: it returns the key with the attributes
  // that it contains, CKA_EC_PARAMS say; CKR_WRAPPED_KEY_INVALID if |der| is not such a key.
  CkResult<Vault> (*to_pkcs8)(const Key& key) = nullptr;
  CkResult<NewKey> (*from_pkcs8)(std::span<const uint8_t> der) = nullptr;
  // public_key_info is the DER SubjectPublicKeyInfo of a public key, or of a private key's.
  CkResult<std::vector<uint8_t>> (*public_key_info)(const Key& key) = nullptr;
  // Finds the value of a secret attribute inside a key's secret, in a borrow; nothing if it is not
  // there. Null where the secret is one value.
  std::optional<std::span<const uint8_t>> (*find_secret)(std::span<const uint8_t> secret,
                                                         CK_ATTRIBUTE_TYPE type) = nullptr;
};

// FindKeyFamily returns the family of |key_type|, or null for one that this module does not have.
const KeyFamily* FindKeyFamily(CK_KEY_TYPE key_type);

}  // namespace secretmem
