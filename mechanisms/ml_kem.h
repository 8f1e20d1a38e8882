// ML-KEM (FIPS 203; PKCS#11 3.2, 6.68): key pairs of CKK_ML_KEM, CKM_ML_KEM_KEY_PAIR_GEN and
// CKM_ML_KEM, with the parameter sets ML-KEM-768 and ML-KEM-1024. Where BoringSSL's tree has it:
// SECRETMEM_ML_KEM is defined then.
//
// A private key is kept as its seed, d and z, from which BoringSSL makes the rest again for each
// use. Keys come with CKA_SEED only: BoringSSL takes no expanded ones.

#pragma once

#include "mechanisms/key_family.h"
#include "mechanisms/mechanism.h"

namespace secretmem {

inline constexpr size_t kMlKemSeedBytes = 64;
inline constexpr size_t kMlKemSharedBytes = 32;
inline constexpr CK_ULONG kMlKem768PublicBytes = 1184;
inline constexpr CK_ULONG kMlKem1024PublicBytes = 1568;

// |wanted|: CKA_PARAMETER_SET. CKR_PARAMETER_SET_NOT_SUPPORTED for ML-KEM-512 and whatever else.
CkResult<NewKeyPair> GenerateMlKem(Parameter parameter, const AttributeSource& wanted);

// The public key is CKA_VALUE, checked as FIPS 203, 7.2 asks for.
CkResult<AttributeValues> ImportMlKemPublic(const AttributeSource& given);
CkResult<NewKey> ImportMlKemPrivate(const AttributeSource& given);

// PKCS#8 as RFC 9935 has it, with the seed alone.
CkResult<Vault> MlKemToPkcs8(const Key& key);
CkResult<NewKey> MlKemFromPkcs8(std::span<const uint8_t> der);
CkResult<std::vector<uint8_t>> MlKemPublicKeyInfo(const Key& key);
// X-Wing keys are kept as CKA_SEED too.
std::optional<std::span<const uint8_t>> FindSeed(std::span<const uint8_t> secret,
                                                 CK_ATTRIBUTE_TYPE type);

// The shared secret has 32 bytes, and the new key all of them: CKR_KEY_SIZE_RANGE for a
// CKA_VALUE_LEN or key type of fewer, CKR_TEMPLATE_INCONSISTENT for more.
CkResult<size_t> MlKemCiphertextSize(CK_MECHANISM_TYPE type, Parameter parameter, const Key& key);
CkResult<Encapsulated> EncapsulateMlKem(CK_MECHANISM_TYPE type, Parameter parameter, const Key& key,
                                        const SecretRequest& request);
// A ciphertext of the right length that nobody made for this key gives some key all the same
// (implicit rejection); of another length it is CKR_WRAPPED_KEY_LEN_RANGE.
CkResult<NewKey> DecapsulateMlKem(CK_MECHANISM_TYPE type, Parameter parameter, const Key& key,
                                  const SecretRequest& request,
                                  std::span<const uint8_t> ciphertext);

}  // namespace secretmem
