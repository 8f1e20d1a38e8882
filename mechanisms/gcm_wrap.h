#pragma once

#include "mechanisms/mechanism.h"

namespace secretmem {

// Wrapping with CKM_AES_GCM (PKCS#11 3.2, 6.13): the encrypted key, then the tag. The associated
// data is the parameter's or the argument of C_WrapKeyAuthenticated; CKR_MECHANISM_PARAM_INVALID if
// both are there.
CkResult<std::vector<uint8_t>> WrapGcm(CK_MECHANISM_TYPE type, Parameter parameter,
                                       const Key& wrapping, const Vault& material,
                                       std::span<const uint8_t> associated);
CkResult<Vault> UnwrapGcm(CK_MECHANISM_TYPE type, Parameter parameter, const Key& unwrapping,
                          std::span<const uint8_t> wrapped, std::span<const uint8_t> associated);

}  // namespace secretmem
