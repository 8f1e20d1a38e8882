#include "tests/conformance/ec.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/conformance/module.h"
#include "tests/conformance/rv.h"

namespace secretmem::conformance {
namespace {

constexpr EcCurve kCurves[] = {
    {"secp224r1", "06052b81040021", 28, "ffffffffffffffffffffffffffff16a2e0b8f03e13dd29455c5c2a3d"},
    {"prime256v1", "06082a8648ce3d030107", 32,
     "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551"},
    {"secp384r1", "06052b81040022", 48,
     "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc5"
     "2973"},
    {"secp521r1", "06052b81040023", 66,
     "01fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffa51868783bf2f966b7fcc01"
     "48f709a5d03bb5c9b8899c47aebb6fb71e91386409"},
};

Template Key(CK_OBJECT_CLASS object_class, CK_KEY_TYPE type, const Bytes& params) {
  Template key = Template()
                     .With(CKA_CLASS, object_class)
                     .With(CKA_KEY_TYPE, type)
                     .With(CKA_TOKEN, false)
                     .With(CKA_PRIVATE, false)
                     .With(CKA_EC_PARAMS, params);
  if (object_class == CKO_PRIVATE_KEY) {
    key.With(CKA_SENSITIVE, false).With(CKA_EXTRACTABLE, true).With(CKA_SIGN, true);
  } else {
    key.With(CKA_VERIFY, true);
  }
  return key;
}

// ForParts calls update(pointer, length) for each part of `data`, the last taking what is left.
template <class F>
CK_RV ForParts(const std::vector<size_t>& parts, Bytes& data, F&& update) {
  size_t at = 0;
  for (size_t i = 0; i < parts.size(); ++i) {
    const size_t rest = data.size() - at;
    const size_t length = i + 1 == parts.size() ? rest : std::min(parts[i], rest);
    if (const CK_RV rv = update(data.data() + at, length); rv != CKR_OK) return rv;
    at += length;
  }
  return CKR_OK;
}

// A pointer that is not null even where there are no bytes.
CK_BYTE* Pointer(Bytes& bytes) {
  static CK_BYTE nothing;
  return bytes.empty() ? &nothing : bytes.data();
}

}  // namespace

std::span<const EcCurve> EcCurves() { return kCurves; }

const EcCurve& EcCurveOf(std::string_view name) {
  return *std::ranges::find(kCurves, name,
                            [](const EcCurve& curve) { return std::string_view(curve.name); });
}

Bytes Der(CK_BYTE tag, const Bytes& contents) {
  Bytes der{tag};
  if (contents.size() > 127) der.push_back(0x81);
  der.push_back(static_cast<CK_BYTE>(contents.size()));
  der.insert(der.end(), contents.begin(), contents.end());
  return der;
}

Bytes OctetString(const Bytes& contents) { return Der(0x04, contents); }

Bytes PrintableString(std::string_view text) { return Der(0x13, ToBytes(text)); }

Template EcPrivateKey(const EcCurve& curve, const Bytes& value) {
  return Key(CKO_PRIVATE_KEY, CKK_EC, curve.Params()).With(CKA_DERIVE, true).With(CKA_VALUE, value);
}

Template EcPublicKey(const EcCurve& curve, const Bytes& point) {
  return Key(CKO_PUBLIC_KEY, CKK_EC, curve.Params()).With(CKA_EC_POINT, point);
}

Template Ed25519PrivateKey(const Bytes& value) {
  return Key(CKO_PRIVATE_KEY, CKK_EC_EDWARDS, FromHex("06032b6570")).With(CKA_VALUE, value);
}

Template Ed25519PublicKey(const Bytes& point) {
  return Key(CKO_PUBLIC_KEY, CKK_EC_EDWARDS, FromHex("06032b6570")).With(CKA_EC_POINT, point);
}

CK_RV GenerateWith(CK_SESSION_HANDLE session, CK_MECHANISM_TYPE mechanism, const Bytes& params,
                   KeyPair& pair) {
  Template public_key = Template().With(CKA_TOKEN, false).With(CKA_EC_PARAMS, params);
  Template private_key = Template()
                             .With(CKA_TOKEN, false)
                             .With(CKA_PRIVATE, false)
                             .With(CKA_SENSITIVE, false)
                             .With(CKA_EXTRACTABLE, true);
  CK_MECHANISM chosen{mechanism, nullptr, 0};
  return P11().C_GenerateKeyPair(session, &chosen, public_key.data(), public_key.size(),
                                 private_key.data(), private_key.size(), &pair.public_key,
                                 &pair.private_key);
}

Signed Sign(CK_SESSION_HANDLE session, const Signing& signing, Bytes data) {
  CK_MECHANISM mechanism{signing.mechanism, nullptr, 0};
  if (const CK_RV rv = P11().C_SignInit(session, &mechanism, signing.key); rv != CKR_OK) {
    return {rv};
  }
  Bytes signature(256);
  CK_ULONG length = signature.size();
  CK_RV rv;
  if (signing.parts.empty()) {
    rv = P11().C_Sign(session, Pointer(data), data.size(), signature.data(), &length);
  } else {
    rv = ForParts(signing.parts, data, [&](CK_BYTE* part, CK_ULONG size) {
      return P11().C_SignUpdate(session, part, size);
    });
    if (rv == CKR_OK) rv = P11().C_SignFinal(session, signature.data(), &length);
  }
  if (rv != CKR_OK) return {rv};
  signature.resize(length);
  return {rv, signature};
}

CK_RV Verify(CK_SESSION_HANDLE session, const Signing& signing, Bytes data, Bytes signature) {
  CK_MECHANISM mechanism{signing.mechanism, nullptr, 0};
  CK_RV rv = P11().C_VerifyInit(session, &mechanism, signing.key);
  if (rv != CKR_OK) return rv;
  if (signing.parts.empty()) {
    return P11().C_Verify(session, Pointer(data), data.size(), Pointer(signature),
                          signature.size());
  }
  rv = ForParts(signing.parts, data, [&](CK_BYTE* part, CK_ULONG size) {
    return P11().C_VerifyUpdate(session, part, size);
  });
  if (rv != CKR_OK) return rv;
  return P11().C_VerifyFinal(session, Pointer(signature), signature.size());
}

}  // namespace secretmem::conformance
