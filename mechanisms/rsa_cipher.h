#pragma once

#include "mechanisms/mechanism.h"

namespace secretmem {

// RSA encryption in one part (PKCS#11 3.2, 6.1): CKM_RSA_PKCS, CKM_RSA_PKCS_OAEP and CKM_RSA_X_509;
// |type| is the row's. Decryption of CKM_RSA_PKCS never says that a padding is wrong, see
// rsa_pkcs1_decrypt.h.
// CKR_KEY_TYPE_INCONSISTENT, CKR_KEY_SIZE_RANGE (also for a key that the OAEP hash does not fit
// into), CKR_MECHANISM_PARAM_INVALID; later CKR_DATA_LEN_RANGE, CKR_DATA_INVALID for a number above
// the modulus, CKR_ENCRYPTED_DATA_LEN_RANGE, CKR_ENCRYPTED_DATA_INVALID.
CkResult<std::unique_ptr<CipherOperation>> EncryptRsa(CK_MECHANISM_TYPE type, Parameter parameter,
                                                      const Key& key);
CkResult<std::unique_ptr<CipherOperation>> DecryptRsa(CK_MECHANISM_TYPE type, Parameter parameter,
                                                      const Key& key);

// Wrapping of secret keys by CKM_RSA_PKCS and CKM_RSA_PKCS_OAEP. The key must fit as what is
// encrypted does: CKR_KEY_SIZE_RANGE. Unwrapping by CKM_RSA_PKCS never says that a padding is wrong
// either: the key is another one then, of a length among |lengths|, if there are any.
CkResult<std::vector<uint8_t>> WrapRsa(CK_MECHANISM_TYPE type, Parameter parameter,
                                       const Key& wrapping, const Vault& material);
CkResult<Vault> UnwrapRsa(CK_MECHANISM_TYPE type, Parameter parameter, const Key& unwrapping,
                          std::span<const uint8_t> wrapped, std::span<const size_t> lengths);

// CKM_RSA_AES_KEY_WRAP (PKCS#11 3.2, 6.1.22) for any key: an AES key made for this alone, wrapped
// by OAEP, then the key wrapped under that by CKM_AES_KEY_WRAP_KWP.
CkResult<std::vector<uint8_t>> WrapRsaAes(CK_MECHANISM_TYPE type, Parameter parameter,
                                          const Key& wrapping, const Vault& material);
CkResult<Vault> UnwrapRsaAes(CK_MECHANISM_TYPE type, Parameter parameter, const Key& unwrapping,
                             std::span<const uint8_t> wrapped, std::span<const size_t> lengths);

}  // namespace secretmem
