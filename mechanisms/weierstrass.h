#pragma once

#include <openssl/ec_key.h>

#include <memory>
#include <string_view>

#include "mechanisms/mechanism.h"
#include "vault/secret_box.h"

namespace secretmem {

// Curve is one of the NIST curves P-224, P-256, P-384 and P-521 (SP 800-186): for all of them, the
// elements of the field and those of the scalars have the same number of bytes.
struct Curve {
  int nid;
  size_t bytes;
  std::span<const uint8_t> params;  // CKA_EC_PARAMS as stored, the DER OID
  std::string_view names[3];        // CKA_EC_PARAMS as a curve name, some empty
};

inline constexpr size_t kMaxCurveBytes = 66;
inline constexpr size_t kMaxPointBytes = 1 + 2 * kMaxCurveBytes;

// FindCurve reads CKA_EC_PARAMS: a DER OID, or a DER PrintableString with a name of the curve.
// CKR_CURVE_NOT_SUPPORTED for another curve, CKR_DOMAIN_PARAMS_INVALID for what names no curve,
// explicit parameters among them.
CkResult<const Curve*> FindCurve(std::span<const uint8_t> params);

// CurveOf is FindCurve for CKA_EC_PARAMS of |source|; CKR_TEMPLATE_INCOMPLETE without.
CkResult<const Curve*> CurveOf(const AttributeSource& source);

// EcKey is a private key ready for use. BoringSSL's EC_KEY may be used by several threads at once.
struct EcKey {
  bssl::UniquePtr<EC_KEY> key;
};

// OpenEcPrivate parses the private key |key| of |curve|, once.
CkResult<std::shared_ptr<SecretBox<EcKey>>> OpenEcPrivate(const Key& key, const Curve& curve);

// What follows, as far as ParsePoint, runs on secret stacks, and so does the destruction of what it
// returns.

// ParseScalar makes a private key of |scalar|, big endian, of any length. Null if it is not in
// [1, order - 1], or without memory.
bssl::UniquePtr<EC_KEY> ParseScalar(const Curve& curve, std::span<const uint8_t> scalar);

// ParsePoint reads a public key (SEC 1, 2.3.4), compressed or not, as it is or in a DER OCTET
// STRING or BIT STRING. Null if it is no point of the curve, or the one at infinity.
bssl::UniquePtr<EC_KEY> ParsePoint(const Curve& curve, std::span<const uint8_t> point);

// The mechanisms and the imports of CKK_EC, PKCS#11 3.2, 6.3. A private key is stored as its
// scalar, big endian, of |Curve::bytes| bytes; CKA_EC_POINT as the DER OCTET STRING of the
// uncompressed point.
CkResult<NewKeyPair> GenerateWeierstrass(Parameter parameter, const AttributeSource& wanted);
CkResult<AttributeValues> ImportWeierstrassPublic(const AttributeSource& given);
CkResult<NewKey> ImportWeierstrassPrivate(const AttributeSource& given);

// PKCS#8 with an ECPrivateKey (RFC 5915), written with its public key and without parameters, read
// with or without either. CKR_CURVE_NOT_SUPPORTED.
CkResult<Vault> WeierstrassToPkcs8(const Key& key);
CkResult<NewKey> WeierstrassFromPkcs8(std::span<const uint8_t> der);
CkResult<std::vector<uint8_t>> WeierstrassPublicKeyInfo(const Key& key);

}  // namespace secretmem
