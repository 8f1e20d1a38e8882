#pragma once

#include "mechanisms/mechanism.h"

namespace secretmem {

// The longest secret key that this module makes or takes in.
inline constexpr CK_ULONG kMaxSecretBytes = CK_ULONG{1} << 16;

// IsSecretKeyType says whether keys of this type are CKO_SECRET_KEY objects that the module has.
bool IsSecretKeyType(CK_KEY_TYPE type);

// AllowsSecretLength says whether a secret key of this type may be |length| bytes long.
bool AllowsSecretLength(CK_KEY_TYPE type, CK_ULONG length);

// FewSecretLengths are the lengths of a key type that has one or a few; none: any.
std::vector<size_t> FewSecretLengths(CK_KEY_TYPE type);

// SecretLength decides how many bytes a new key of |request.key_type| has. |available|: all that
// there are to take, where CKA_VALUE_LEN may be left out; absent where any number can be made.
// CKR_TEMPLATE_INCOMPLETE, CKR_TEMPLATE_INCONSISTENT, CKR_KEY_SIZE_RANGE,
// CKR_ATTRIBUTE_VALUE_INVALID.
CkResult<size_t> SecretLength(const SecretRequest& request, std::optional<size_t> available);

// CKM_GENERIC_SECRET_KEY_GEN (PKCS#11 3.2, 6.8).
CkResult<NewKey> GenerateGenericSecret(Parameter parameter, const SecretRequest& request);

// Import for the secret key types; |given| carries CKA_KEY_TYPE beside CKA_VALUE.
CkResult<NewKey> ImportSecret(const AttributeSource& given);

// AsSecretKey is a new secret key with its CKA_VALUE_LEN.
NewKey AsSecretKey(Vault secret);

// UlongBytes is a CK_ULONG attribute's value.
std::vector<uint8_t> UlongBytes(CK_ULONG value);

}  // namespace secretmem
