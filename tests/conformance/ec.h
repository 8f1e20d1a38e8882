// NIST curves and Ed25519: keys as the specification has them, and OpenSSL's computation.
#pragma once

#include <span>

#include "mechanisms/cryptoki.h"
#include "tests/conformance/template.h"
#include "tests/conformance/x25519.h"

namespace secretmem::conformance {

// EcCurve is one NIST curve.
struct EcCurve {
  const char* name;    // OpenSSL's
  const char* params;  // the DER OID, in hexadecimal
  size_t bytes;        // of a scalar and of a coordinate
  const char* order;   // in hexadecimal

  Bytes Params() const { return FromHex(params); }
};
std::span<const EcCurve> EcCurves();
const EcCurve& EcCurveOf(std::string_view name);

// Der is the DER element of `contents`, fewer than 256 bytes.
Bytes Der(CK_BYTE tag, const Bytes& contents);
Bytes OctetString(const Bytes& contents);
Bytes PrintableString(std::string_view text);

// Templates of session objects, not private; private keys are not sensitive.
Template EcPrivateKey(const EcCurve& curve, const Bytes& value);
Template EcPublicKey(const EcCurve& curve, const Bytes& point);
Template Ed25519PrivateKey(const Bytes& value);
Template Ed25519PublicKey(const Bytes& point);

// GenerateWith is C_GenerateKeyPair with session keys of these parameters.
CK_RV GenerateWith(CK_SESSION_HANDLE session, CK_MECHANISM_TYPE mechanism, const Bytes& params,
                   KeyPair& pair);

// Sign and Verify are the single-part calls with their Init; a nonempty `parts` is a list of
// lengths that sends the data by Update and Final instead.
struct Signing {
  CK_MECHANISM_TYPE mechanism;
  CK_OBJECT_HANDLE key;
  std::vector<size_t> parts{};
};
struct Signed {
  CK_RV rv;
  Bytes signature{};
};
Signed Sign(CK_SESSION_HANDLE session, const Signing& signing, Bytes data);
CK_RV Verify(CK_SESSION_HANDLE session, const Signing& signing, Bytes data, Bytes signature);

// Reference computations by OpenSSL's libcrypto. Points are uncompressed unless said otherwise; an
// empty hash name signs the data as a digest; signatures are r and s of the curve's length.
struct EcKeyPair {
  Bytes scalar;
  Bytes point;
};
EcKeyPair ReferenceEcKey(const EcCurve& curve);
Bytes ReferenceEcPoint(const EcCurve& curve, const Bytes& scalar, bool compressed = false);
Bytes ReferenceEcdh(const EcCurve& curve, const Bytes& scalar, const Bytes& point);
Bytes ReferenceEcdsaSign(const EcCurve& curve, const Bytes& scalar, const char* hash,
                         const Bytes& data);
bool ReferenceEcdsaVerify(const EcCurve& curve, const Bytes& point, const char* hash,
                          const Bytes& data, const Bytes& signature);
Bytes ReferenceEd25519Public(const Bytes& seed);
Bytes ReferenceEd25519Sign(const Bytes& seed, const Bytes& data);

}  // namespace secretmem::conformance
