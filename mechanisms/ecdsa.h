#pragma once

#include "mechanisms/mechanism.h"

namespace secretmem {

// ECDSA (PKCS#11 3.2, 6.3; FIPS 186-5) for CKK_EC: CKM_ECDSA, in one part, signs a digest that the
// caller made, of which it takes as many leading bits as the order has; CKM_ECDSA_SHA1 and
// CKM_ECDSA_SHA224 to CKM_ECDSA_SHA512 hash for themselves. A signature is r and s, big endian, of
// the curve's length each.
CkResult<std::unique_ptr<SignOperation>> SignEcdsa(CK_MECHANISM_TYPE type, Parameter parameter,
                                                   const Key& key);
CkResult<std::unique_ptr<VerifyOperation>> VerifyEcdsa(CK_MECHANISM_TYPE type, Parameter parameter,
                                                       const Key& key);

}  // namespace secretmem
