// Asymmetric keys of OpenSSL's in their standard encodings.
#pragma once

#include <openssl/evp.h>

#include <initializer_list>
#include <memory>

#include "tests/conformance/ec.h"
#include "tests/conformance/template.h"

namespace secretmem::conformance {

struct FreePkey {
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
};
using Pkey = std::unique_ptr<EVP_PKEY, FreePkey>;

// GeneratePkey makes a key by OpenSSL's name of its type; `parameter`: the curve's name or the bits
// of the modulus. `explicit_curve`: encoded with explicit parameters.
Pkey GeneratePkey(const char* type, const char* parameter, bool explicit_curve = false);

Bytes Pkcs8Of(const EVP_PKEY* key);
Bytes PublicKeyInfoOf(EVP_PKEY* key);
// Null for what OpenSSL does not take.
Pkey ParsePkcs8(const Bytes& der);
Pkey ParsePublicKeyInfo(const Bytes& der);

// EcPointOf is the uncompressed point of an EC key.
Bytes EcPointOf(const EVP_PKEY* key);

// ReferenceVerify verifies; `hash` is null for Ed25519.
bool ReferenceVerify(EVP_PKEY* key, const char* hash, const Bytes& data, const Bytes& signature);

// ReferenceKeyWrap wraps, or unwraps, by OpenSSL's name of an AES key wrap.
Bytes ReferenceKeyWrap(const char* cipher, const Bytes& key, const Bytes& data, bool wrap);

// DerLong is the DER element of contents of up to 65535 bytes.
Bytes DerLong(CK_BYTE tag, const Bytes& contents);
Bytes Concat(std::initializer_list<Bytes> parts);

// EcPkcs8 is a PrivateKeyInfo with an ECPrivateKey; `rest`: what comes after the scalar in it.
Bytes EcPkcs8(const EcCurve& curve, const Bytes& scalar, const Bytes& rest);

}  // namespace secretmem::conformance
