#pragma once

#include <openssl/rsa.h>

#include <array>
#include <memory>

#include "mechanisms/key_cache.h"
#include "mechanisms/mechanism.h"
#include "vault/secret_box.h"

namespace secretmem {

// RSA keys (PKCS#11 3.2, 6.1). The secret of a private key is a DER RSAPrivateKey (RFC 8017, A.1.2)
// with all its CRT components.

// Lengths of a modulus in bits: of keys that are used, and of keys that are generated. BoringSSL
// generates multiples of the step.
inline constexpr CK_ULONG kRsaMinBits = 1024;
inline constexpr CK_ULONG kRsaMinNewBits = 2048;
inline constexpr CK_ULONG kRsaMaxBits = 8192;
inline constexpr CK_ULONG kRsaBitsStep = 128;
inline constexpr size_t kRsaMaxBytes = kRsaMaxBits / 8;
// What PKCS#1 v1.5 padding adds at least (RFC 8017, 7.2 and 9.2).
inline constexpr size_t kRsaPkcs1Overhead = 11;

// RsaKey is a key ready for use. BoringSSL's RSA may be used by several threads at once.
struct RsaKey {
  bssl::UniquePtr<RSA> rsa;
  // SHA-256 of the private exponent, padded to the modulus's length: see rsa_pkcs1_decrypt.h.
  std::array<uint8_t, 32> rejection_seed;
};

// OpenRsaKey is an RSA key of an operation.
struct OpenRsaKey {
  std::shared_ptr<SecretBox<RsaKey>> key;
  size_t bits;  // of the modulus
  // The modulus's length in bytes, which is that of signatures and ciphertexts.
  size_t size() const { return (bits + 7) / 8; }
};

// OpenRsaPrivate parses a private key, once, and OpenRsaPublic a public one.
// CKR_KEY_TYPE_INCONSISTENT for any other key, CKR_KEY_SIZE_RANGE for one that BoringSSL does not
// take.
CkResult<OpenRsaKey> OpenRsaPrivate(const Key& key);
CkResult<OpenRsaKey> OpenRsaPublic(const Key& key);

// CKM_RSA_PKCS_KEY_PAIR_GEN. |wanted| has CKA_MODULUS_BITS, and CKA_PUBLIC_EXPONENT if it is not to
// be 65537. Takes up to a minute, with a safe point every few milliseconds. CKR_KEY_SIZE_RANGE;
// CKR_ATTRIBUTE_VALUE_INVALID for an exponent that is even, below 3 or above 32 bits.
CkResult<NewKeyPair> GenerateRsa(Parameter parameter, const AttributeSource& wanted);

// Import for CKK_RSA. A private key needs its modulus and private exponent. Everything else is
// recovered where it is missing, but a public exponent without primes has to be 65537. What is
// given must fit together: CKR_ATTRIBUTE_VALUE_INVALID. That is not done in constant time.
CkResult<AttributeValues> ImportRsaPublic(const AttributeSource& given);
CkResult<NewKey> ImportRsaPrivate(const AttributeSource& given);

// PKCS#8 (RFC 8017, A.1) and SubjectPublicKeyInfo. What is read must fit together.
CkResult<Vault> RsaToPkcs8(const Key& key);
CkResult<NewKey> RsaFromPkcs8(std::span<const uint8_t> der);
CkResult<std::vector<uint8_t>> RsaPublicKeyInfo(const Key& key);

// FindRsaComponent returns a secret attribute's value inside |secret|, a private key's, without
// leading zeros. In a borrow.
std::optional<std::span<const uint8_t>> FindRsaComponent(std::span<const uint8_t> secret,
                                                         CK_ATTRIBUTE_TYPE type);

}  // namespace secretmem
