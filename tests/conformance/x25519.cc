#include "tests/conformance/x25519.h"

#include "tests/conformance/module.h"
#include "tests/conformance/rv.h"

namespace secretmem::conformance {

CK_KEY_TYPE X25519KeyType() {
  return GlobalOptions().x25519_as_edwards ? CKK_EC_EDWARDS : CKK_EC_MONTGOMERY;
}

CK_MECHANISM_TYPE X25519KeyPairMechanism() {
  return GlobalOptions().x25519_as_edwards ? CKM_EC_EDWARDS_KEY_PAIR_GEN
                                           : CKM_EC_MONTGOMERY_KEY_PAIR_GEN;
}

Bytes X25519Params() { return FromHex("06032b656e"); }

Bytes X25519Point(const Bytes& raw) {
  if (!GlobalOptions().x25519_as_edwards) return raw;
  Bytes der{0x04, static_cast<CK_BYTE>(raw.size())};
  der.insert(der.end(), raw.begin(), raw.end());
  return der;
}

Bytes RawPoint(const Bytes& point) {
  if (!GlobalOptions().x25519_as_edwards || point.size() < 2) return point;
  return Bytes(point.begin() + 2, point.end());
}

Template X25519PrivateKey(const Bytes& value) {
  return Template()
      .With(CKA_CLASS, CKO_PRIVATE_KEY)
      .With(CKA_KEY_TYPE, X25519KeyType())
      .With(CKA_TOKEN, false)
      .With(CKA_PRIVATE, false)
      .With(CKA_SENSITIVE, false)
      .With(CKA_EXTRACTABLE, true)
      .With(CKA_DERIVE, true)
      .With(CKA_EC_PARAMS, X25519Params())
      .With(CKA_VALUE, value);
}

Template X25519PublicKey(const Bytes& raw) {
  return Template()
      .With(CKA_CLASS, CKO_PUBLIC_KEY)
      .With(CKA_KEY_TYPE, X25519KeyType())
      .With(CKA_TOKEN, false)
      .With(CKA_PRIVATE, false)
      .With(CKA_EC_PARAMS, X25519Params())
      .With(CKA_EC_POINT, X25519Point(raw));
}

Template PublicTemplate() {
  return Template().With(CKA_TOKEN, false).With(CKA_EC_PARAMS, X25519Params());
}

Template PrivateTemplate() {
  return Template()
      .With(CKA_TOKEN, false)
      .With(CKA_PRIVATE, false)
      .With(CKA_SENSITIVE, false)
      .With(CKA_EXTRACTABLE, true)
      .With(CKA_DERIVE, true);
}

CK_RV GenerateKeyPair(CK_SESSION_HANDLE session, Template public_key, Template private_key,
                      KeyPair& pair) {
  CK_MECHANISM mechanism{X25519KeyPairMechanism(), nullptr, 0};
  return P11().C_GenerateKeyPair(session, &mechanism, public_key.data(), public_key.size(),
                                 private_key.data(), private_key.size(), &pair.public_key,
                                 &pair.private_key);
}

Template SecretTemplate() {
  return Template()
      .With(CKA_CLASS, CKO_SECRET_KEY)
      .With(CKA_KEY_TYPE, CKK_GENERIC_SECRET)
      .With(CKA_TOKEN, false)
      .With(CKA_PRIVATE, false)
      .With(CKA_SENSITIVE, false)
      .With(CKA_EXTRACTABLE, true);
}

CK_RV Derive(CK_SESSION_HANDLE session, Derivation derivation, CK_OBJECT_HANDLE& key) {
  CK_ECDH1_DERIVE_PARAMS parameters{};
  parameters.kdf = derivation.kdf;
  parameters.ulSharedDataLen = derivation.info.size();
  parameters.pSharedData = derivation.info.empty() ? nullptr : derivation.info.data();
  parameters.ulPublicDataLen = derivation.peer.size();
  parameters.pPublicData = derivation.peer.empty() ? nullptr : derivation.peer.data();
  CK_MECHANISM mechanism{CKM_ECDH1_DERIVE, &parameters, sizeof parameters};
  return P11().C_DeriveKey(session, &mechanism, derivation.base, derivation.key.data(),
                           derivation.key.size(), &key);
}

Bytes DeriveValue(CK_SESSION_HANDLE session, const Derivation& derivation) {
  CK_OBJECT_HANDLE key = CK_INVALID_HANDLE;
  const CK_RV rv = Derive(session, derivation, key);
  EXPECT_RV(CKR_OK, rv);
  if (rv != CKR_OK) return {};
  Bytes value = ReadBytes(session, key, CKA_VALUE);
  EXPECT_RV(CKR_OK, P11().C_DestroyObject(session, key));
  return value;
}

}  // namespace secretmem::conformance
