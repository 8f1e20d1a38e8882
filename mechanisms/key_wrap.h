#pragma once

#include "mechanisms/mechanism.h"

namespace secretmem {

// Wrapping with AES: CKM_AES_KEY_WRAP (RFC 3394; zeros are added to a length that is no multiple of
// 8), CKM_AES_KEY_WRAP_KWP and, the same, CKM_AES_KEY_WRAP_PAD (RFC 5649), CKM_AES_CBC (with
// zeros), CKM_AES_CBC_PAD and CKM_AES_GCM (PKCS#11 3.2, 6.13 to 6.16). CKR_KEY_SIZE_RANGE for a key
// that is too short. The plain key is worked on in secret memory only, although BoringSSL would
// copy it to where the result goes.
CkResult<std::vector<uint8_t>> WrapAes(CK_MECHANISM_TYPE type, Parameter parameter,
                                       const Key& wrapping, const Vault& material);

// |lengths|: if it is one, there the bytes end that zeros were added to.
CkResult<Vault> UnwrapAes(CK_MECHANISM_TYPE type, Parameter parameter, const Key& unwrapping,
                          std::span<const uint8_t> wrapped, std::span<const size_t> lengths);

}  // namespace secretmem
