// X-Wing (draft-connolly-cfrg-xwing-kem), which joins X25519 and ML-KEM-768: key pairs of
// CKK_SECRETMEM_XWING, and a KEM of HPKE (hpke_kem.h). Where BoringSSL's tree has it:
// SECRETMEM_XWING is defined then.
//
// A private key is kept as its seed, CKA_SEED, from which BoringSSL makes the rest again for each
// use. A public key is CKA_VALUE: ML-KEM-768's, then X25519's.

#pragma once

#include "mechanisms/key_family.h"
#include "mechanisms/mechanism.h"

namespace secretmem {

inline constexpr size_t kXWingSeedBytes = 32;
inline constexpr size_t kXWingPublicBytes = 1216;
inline constexpr size_t kXWingCiphertextBytes = 1120;

// No parameter, and nothing that the templates would have to say.
CkResult<NewKeyPair> GenerateXWing(Parameter parameter, const AttributeSource& wanted);

// A public key's ML-KEM half is checked as FIPS 203, 7.2 asks for.
CkResult<AttributeValues> ImportXWingPublic(const AttributeSource& given);
CkResult<NewKey> ImportXWingPrivate(const AttributeSource& given);

// PKCS#8 as the draft has it: the seed is all that is in the OCTET STRING.
CkResult<Vault> XWingToPkcs8(const Key& key);
CkResult<NewKey> XWingFromPkcs8(std::span<const uint8_t> der);
CkResult<std::vector<uint8_t>> XWingPublicKeyInfo(const Key& key);

// For use in a borrow, with keys of the type. An X25519 result of zeros is
// CKR_PUBLIC_KEY_INVALID and CKR_ENCRYPTED_DATA_INVALID; another wrong ciphertext gives another
// secret, and no error.
CK_RV EncapXWing(const Key& public_key, std::span<uint8_t> enc, std::span<uint8_t, 32> shared);
CK_RV DecapXWing(const Key& private_key, std::span<const uint8_t> enc,
                 std::span<uint8_t, 32> shared);

}  // namespace secretmem
