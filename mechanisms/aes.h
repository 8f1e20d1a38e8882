#pragma once

#include "mechanisms/mechanism.h"

namespace secretmem {

inline constexpr size_t kAesBlock = 16;

// CKM_AES_ECB, _CBC, _CBC_PAD and _CTR (PKCS#11 3.2, 6.13 and 6.14), in one part or several.
CkResult<std::unique_ptr<CipherOperation>> EncryptAes(CK_MECHANISM_TYPE type, Parameter parameter,
                                                      const Key& key);
CkResult<std::unique_ptr<CipherOperation>> DecryptAes(CK_MECHANISM_TYPE type, Parameter parameter,
                                                      const Key& key);

// CKM_AES_CMAC, and _CMAC_GENERAL, whose parameter is the tag's length in bytes.
CkResult<std::unique_ptr<SignOperation>> SignCmac(CK_MECHANISM_TYPE type, Parameter parameter,
                                                  const Key& key);
CkResult<std::unique_ptr<VerifyOperation>> VerifyCmac(CK_MECHANISM_TYPE type, Parameter parameter,
                                                      const Key& key);

}  // namespace secretmem
