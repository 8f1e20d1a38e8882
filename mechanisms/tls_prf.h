#pragma once

#include <openssl/digest.h>

#include <span>

#include "mechanisms/mechanism.h"

namespace secretmem {

// The bytes of a TLS master secret, and of an RSA premaster secret (RFC 5246, 7.4.7.1 and 8.1).
inline constexpr size_t kTlsMasterBytes = 48;

// FindTlsHash returns the hash of a TLS 1.2 PRF by its digest mechanism: SHA-256, SHA-384 or
// SHA-512, or null. The PRF of TLS 1.0 and 1.1 (CKM_TLS_PRF) is not there.
const EVP_MD* FindTlsHash(CK_MECHANISM_TYPE digest);

// TlsPrf fills |out| with PRF(secret, label, seed) of RFC 5246, section 5. |seed| is in parts, of
// which the label is the first. On a secret stack. False if BoringSSL fails.
bool TlsPrf(const EVP_MD* md, std::span<const uint8_t> secret,
            std::span<const std::span<const uint8_t>> seed, std::span<uint8_t> out);

// CKM_TLS_MAC and CKM_TLS12_MAC (PKCS#11 3.2, TLS 1.2 mechanisms) with CK_TLS_MAC_PARAMS: the
// verify_data of RFC 5246, 7.4.9. What is signed, the hash of the handshake messages, may have any
// length, and is kept until the end. 12 to 64 bytes come out.
CkResult<std::unique_ptr<SignOperation>> SignTls(CK_MECHANISM_TYPE type, Parameter parameter,
                                                 const Key& key);
CkResult<std::unique_ptr<VerifyOperation>> VerifyTls(CK_MECHANISM_TYPE type, Parameter parameter,
                                                     const Key& key);

}  // namespace secretmem
