#pragma once

#include <openssl/base.h>

#include "mechanisms/mechanism.h"

namespace secretmem {

// RSA signatures (PKCS#11 3.2, 6.1): |type| is the row's.
// - CKM_RSA_PKCS signs up to k - 11 bytes as they are, CKM_RSA_X_509 a number of up to k bytes that
//   is below the modulus, CKM_RSA_PKCS_PSS one hash of the length that its parameter tells: in one
//   part. k is the modulus's length in bytes.
// - CKM_SHA*_RSA_PKCS and CKM_SHA*_RSA_PKCS_PSS hash what they sign.
// CKR_KEY_TYPE_INCONSISTENT, CKR_KEY_SIZE_RANGE, CKR_MECHANISM_PARAM_INVALID, also for a PSS
// parameter that does not fit the mechanism's hash or the key; later CKR_DATA_LEN_RANGE, or
// CKR_DATA_INVALID for a number above the modulus.
CkResult<std::unique_ptr<SignOperation>> SignRsa(CK_MECHANISM_TYPE type, Parameter parameter,
                                                 const Key& key);
CkResult<std::unique_ptr<VerifyOperation>> VerifyRsa(CK_MECHANISM_TYPE type, Parameter parameter,
                                                     const Key& key);

// CKM_RSA_PKCS and CKM_RSA_X_509 give the data back that they signed; SignRsa signs for it. What
// comes back of CKM_RSA_X_509 is as long as the modulus.
CkResult<std::unique_ptr<RecoverOperation>> RecoverRsa(CK_MECHANISM_TYPE type, Parameter parameter,
                                                       const Key& key);

// FindMgf returns the hash of a mask generation function, CKG_MGF1_SHA1 to CKG_MGF1_SHA512, or
// null.
const EVP_MD* FindMgf(CK_ULONG mgf);

}  // namespace secretmem
