#pragma once

#include <array>

#include "mechanisms/mechanism.h"

namespace secretmem {

using CheckValue = std::array<uint8_t, 3>;

// CheckValueOf computes CKA_CHECK_VALUE of a secret key (PKCS#11 3.2, 4.10.2): the first bytes of a
// block of zeros encrypted with an AES key in ECB mode, or of the value's SHA-1 for any other.
CkResult<CheckValue> CheckValueOf(CK_KEY_TYPE key_type, const Vault& secret);

// CertificateCheckValue computes that of a certificate (4.6.2): of its value's SHA-1.
CheckValue CertificateCheckValue(std::span<const uint8_t> value);

}  // namespace secretmem
