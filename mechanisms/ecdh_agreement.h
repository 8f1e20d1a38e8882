#pragma once

#include <openssl/digest.h>

#include "mechanisms/weierstrass.h"

namespace secretmem {

// Elliptic curve Diffie-Hellman as PKCS#11's mechanisms share it (3.2, 6.3): X25519 and the curves
// of weierstrass.h, then nothing or the X9.63 key derivation function.

// EcdhKdf is what CK_EC_KDF_TYPE stands for.
struct EcdhKdf {
  CK_ULONG type;
  const EVP_MD* (*digest)();  // null: the shared secret itself
};

// EcdhSharing is the part that CK_ECDH1_DERIVE_PARAMS and CK_ECDH_AES_KEY_WRAP_PARAMS have in
// common. |shared_data| lies in the client's memory.
struct EcdhSharing {
  const EcdhKdf* kdf;
  std::span<const uint8_t> shared_data;
};

// ReadEcdhSharing: CKR_MECHANISM_PARAM_INVALID for an unknown function, or shared data without one.
CkResult<EcdhSharing> ReadEcdhSharing(CK_ULONG kdf, const void* shared_data, CK_ULONG length);

// EcDomain is a curve and its sizes in bytes: of a private key and the shared secret, and of a
// public key, raw or as an uncompressed point.
struct EcDomain {
  const Curve* curve;  // null: X25519
  size_t bytes;
  size_t point_bytes;
};

// DomainOf returns the curve of a CKK_EC or CKK_EC_MONTGOMERY key; CKR_KEY_TYPE_INCONSISTENT.
CkResult<EcDomain> DomainOf(const Key& key);

// PointOf is CKA_EC_POINT of a public key; CKR_KEY_TYPE_INCONSISTENT for what is none.
CkResult<std::span<const uint8_t>> PointOf(const Key& key);

// SecretPart says which bytes of a longer shared secret are taken where there is no key derivation
// function: C_DeriveKey drops leading bytes (6.3.18), key wrapping takes the first ones (6.3.21).
enum class SecretPart : bool { kLast, kFirst };

// What follows runs on secret stacks.

// Agree fills |out| from the private key |scalar| and |point|. CKR_PUBLIC_KEY_INVALID for a point
// that is none of the curve or gives an X25519 result of zeros; CKR_FUNCTION_FAILED.
CK_RV Agree(const EcDomain& domain, std::span<const uint8_t> scalar, std::span<const uint8_t> point,
            const EcdhSharing& sharing, SecretPart part, std::span<uint8_t> out);

// This Agree takes the key of |key|, which is parsed once. Also a vault's failures, and
// CKR_DEVICE_MEMORY.
CK_RV Agree(const EcDomain& domain, const Key& key, std::span<const uint8_t> point,
            const EcdhSharing& sharing, SecretPart part, std::span<uint8_t> out);

// Ephemeral is a key pair for one agreement.
struct Ephemeral {
  uint8_t scalar[kMaxCurveBytes];
  uint8_t point[kMaxPointBytes];
};

// Draw makes one, |domain|'s numbers of bytes. False if BoringSSL cannot.
bool Draw(const EcDomain& domain, Ephemeral& ephemeral);

}  // namespace secretmem
