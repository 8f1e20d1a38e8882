#pragma once

#include "mechanisms/mechanism.h"

namespace secretmem {

// CKM_SECRETMEM_HPKE (vendor.h): RFC 9180, single-shot, base and PSK mode, with the KEMs of
// hpke_kem.h.
// What is encrypted or wrapped is the encapsulated key, unless the parameter has a place for it,
// then the ciphertext with its tag. A private key is wrapped as PKCS#8.
CkResult<KeysNamed> HpkeNamesKeys(Parameter parameter);

CkResult<std::unique_ptr<CipherOperation>> EncryptHpke(CK_MECHANISM_TYPE type, Parameter parameter,
                                                       const Key& key);
CkResult<std::unique_ptr<CipherOperation>> DecryptHpke(CK_MECHANISM_TYPE type, Parameter parameter,
                                                       const Key& key);

CkResult<std::vector<uint8_t>> WrapHpke(CK_MECHANISM_TYPE type, Parameter parameter,
                                        const Key& wrapping, const Vault& material);
CkResult<Vault> UnwrapHpke(CK_MECHANISM_TYPE type, Parameter parameter, const Key& unwrapping,
                           std::span<const uint8_t> wrapped, std::span<const size_t> lengths);
// The associated data is the parameter's or the argument.
CkResult<std::vector<uint8_t>> WrapHpkeWith(CK_MECHANISM_TYPE type, Parameter parameter,
                                            const Key& wrapping, const Vault& material,
                                            std::span<const uint8_t> associated);
CkResult<Vault> UnwrapHpkeWith(CK_MECHANISM_TYPE type, Parameter parameter, const Key& unwrapping,
                               std::span<const uint8_t> wrapped,
                               std::span<const uint8_t> associated);

// An exported secret has CKA_VALUE_LEN bytes, the KEM's shared secret 32.
CkResult<size_t> HpkeCiphertextSize(CK_MECHANISM_TYPE type, Parameter parameter, const Key& key);
CkResult<Encapsulated> EncapsulateHpke(CK_MECHANISM_TYPE type, Parameter parameter, const Key& key,
                                       const SecretRequest& request);
CkResult<NewKey> DecapsulateHpke(CK_MECHANISM_TYPE type, Parameter parameter, const Key& key,
                                 const SecretRequest& request, std::span<const uint8_t> ciphertext);

}  // namespace secretmem
