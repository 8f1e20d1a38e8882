#pragma once

#include "mechanisms/mechanism.h"

namespace secretmem {

// CKM_ECDH1_DERIVE and CKM_ECDH1_COFACTOR_DERIVE (PKCS#11 3.2, 6.3): X25519 (RFC 7748) for
// CKK_EC_MONTGOMERY, the x-coordinate of the product for CKK_EC, whose cofactors are all 1; then
// nothing or the X9.63 key derivation function with SHA-1 or SHA-2. A peer that is no point of the
// curve, or whose X25519 result is all zero, is CKR_PUBLIC_KEY_INVALID. Without a KDF a shorter key
// takes the secret's last bytes.
CkResult<NewKey> DeriveEcdh1(Parameter parameter, const Key& base, const SecretRequest& request);

// DeriveEcdh1Cofactor is for CKK_EC only: X25519 has its cofactor in the scalar.
CkResult<NewKey> DeriveEcdh1Cofactor(Parameter parameter, const Key& base,
                                     const SecretRequest& request);

// The same mechanisms for C_EncapsulateKey and C_DecapsulateKey: pPublicData is absent, the
// ciphertext is an ephemeral public key in the form of CKA_EC_POINT. Decapsulation takes the forms
// that C_DeriveKey does. CKR_WRAPPED_KEY_LEN_RANGE, CKR_WRAPPED_KEY_INVALID.
CkResult<size_t> EcdhCiphertextSize(CK_MECHANISM_TYPE type, Parameter parameter, const Key& key);
CkResult<Encapsulated> EncapsulateEcdh(CK_MECHANISM_TYPE type, Parameter parameter, const Key& key,
                                       const SecretRequest& request);
CkResult<NewKey> DecapsulateEcdh(CK_MECHANISM_TYPE type, Parameter parameter, const Key& key,
                                 const SecretRequest& request, std::span<const uint8_t> ciphertext);

}  // namespace secretmem
