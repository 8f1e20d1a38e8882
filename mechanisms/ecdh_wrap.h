#pragma once

#include "mechanisms/mechanism.h"

namespace secretmem {

// Wrapping to an elliptic curve's public key with an ephemeral one (PKCS#11 3.2, 6.3.21 and on):
// the first ulAESKeyBits of the agreement are the AES key of an RFC 5649 wrapping.
// CKM_ECDH_X_AES_KEY_WRAP is for CKK_EC_MONTGOMERY, CKM_ECDH_COF_AES_KEY_WRAP for CKK_EC, and the
// older CKM_ECDH_AES_KEY_WRAP for both.
//
// The result is the ephemeral public key, then the wrapped key. The public key is 32 bytes for
// X25519; for CKK_EC the uncompressed point, for CKM_ECDH_COF_AES_KEY_WRAP its DER OCTET STRING.
// Unwrapping takes either: their lengths differ modulo 8, which those of wrapped keys do not.
// CKR_WRAPPED_KEY_LEN_RANGE; CKR_WRAPPED_KEY_INVALID for everything else that is wrong.
CkResult<std::vector<uint8_t>> WrapEcdhAes(CK_MECHANISM_TYPE type, Parameter parameter,
                                           const Key& wrapping, const Vault& material);
CkResult<Vault> UnwrapEcdhAes(CK_MECHANISM_TYPE type, Parameter parameter, const Key& unwrapping,
                              std::span<const uint8_t> wrapped, std::span<const size_t> lengths);

}  // namespace secretmem
