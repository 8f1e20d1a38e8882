#pragma once

#include "mechanisms/mechanism.h"

namespace secretmem {

// CKM_ECDH1_DERIVE (PKCS#11 3.2, 6.3) for CKK_EC_MONTGOMERY: X25519 (RFC 7748), then nothing or the
// X9.63 key derivation function with SHA-1 or SHA-2. A peer whose result is all zero is
// CKR_PUBLIC_KEY_INVALID. Without a KDF a shorter key takes the secret's last bytes.
CkResult<NewKey> DeriveEcdh1(Parameter parameter, const Key& base, const SecretRequest& request);

}  // namespace secretmem
