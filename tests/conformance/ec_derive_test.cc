// CKM_ECDH1_DERIVE and CKM_ECDH1_COFACTOR_DERIVE on the NIST curves: PKCS#11 3.1 §6.3.17, §6.3.18.
#include <vector>

#include "tests/conformance/ec.h"
#include "tests/conformance/fixtures.h"

namespace secretmem::conformance {
namespace {

class EcDeriveTest : public UserTest {
 protected:
  // Secret is what C_DeriveKey with this mechanism makes, or its return code.
  struct Answer {
    CK_RV rv;
    Bytes value{};
    bool operator==(const Answer&) const = default;
  };
  Answer DeriveWith(CK_MECHANISM_TYPE type, CK_OBJECT_HANDLE base, Bytes peer,
                    Template key = SecretTemplate(), CK_ULONG kdf = CKD_NULL,
                    Bytes info = {}) const {
    CK_ECDH1_DERIVE_PARAMS params{};
    params.kdf = kdf;
    params.ulSharedDataLen = info.size();
    params.pSharedData = info.empty() ? nullptr : info.data();
    params.ulPublicDataLen = peer.size();
    params.pPublicData = peer.data();
    CK_MECHANISM mechanism{type, &params, sizeof params};
    CK_OBJECT_HANDLE handle = CK_INVALID_HANDLE;
    const CK_RV rv = P11().C_DeriveKey(session_, &mechanism, base, key.data(), key.size(), &handle);
    if (rv != CKR_OK) return {rv};
    EXPECT_EQ(ReadUlong(session_, handle, CKA_VALUE_LEN),
              ReadBytes(session_, handle, CKA_VALUE).size());
    return {rv, ReadBytes(session_, handle, CKA_VALUE)};
  }
};

TEST_F(EcDeriveTest, AgainstOpenssl) {
  for (const EcCurve& curve : EcCurves()) {
    SCOPED_TRACE(curve.name);
    const EcKeyPair own = ReferenceEcKey(curve);
    const EcKeyPair peer = ReferenceEcKey(curve);
    const Bytes shared = ReferenceEcdh(curve, own.scalar, peer.point);
    const CK_OBJECT_HANDLE base = Create(session_, EcPrivateKey(curve, own.scalar));
    const Bytes compressed = ReferenceEcPoint(curve, peer.scalar, true);
    for (const CK_MECHANISM_TYPE type : {CKM_ECDH1_DERIVE, CKM_ECDH1_COFACTOR_DERIVE}) {
      for (const Bytes& form :
           {peer.point, OctetString(peer.point), compressed, OctetString(compressed)}) {
        EXPECT_EQ(DeriveWith(type, base, form), (Answer{CKR_OK, shared}));
      }
      // A shorter key has the last bytes.
      const Template key = SecretTemplate().With(CKA_VALUE_LEN, CK_ULONG{16});
      EXPECT_EQ(DeriveWith(type, base, peer.point, key),
                (Answer{CKR_OK, Bytes(shared.end() - 16, shared.end())}));
      EXPECT_EQ(DeriveWith(type, base, peer.point,
                           SecretTemplate().With(CKA_VALUE_LEN, CK_ULONG{curve.bytes + 1}))
                    .rv,
                CKR_TEMPLATE_INCONSISTENT);
    }
  }
}

TEST_F(EcDeriveTest, Kdfs) {
  const std::pair<CK_ULONG, const char*> kdfs[] = {{CKD_SHA1_KDF, "SHA1"},
                                                   {CKD_SHA224_KDF, "SHA224"},
                                                   {CKD_SHA256_KDF, "SHA256"},
                                                   {CKD_SHA384_KDF, "SHA384"},
                                                   {CKD_SHA512_KDF, "SHA512"}};
  for (const EcCurve& curve : EcCurves()) {
    const EcKeyPair own = ReferenceEcKey(curve);
    const EcKeyPair peer = ReferenceEcKey(curve);
    const Bytes shared = ReferenceEcdh(curve, own.scalar, peer.point);
    const CK_OBJECT_HANDLE base = Create(session_, EcPrivateKey(curve, own.scalar));
    for (const auto& [kdf, name] : kdfs) {
      SCOPED_TRACE(std::string(curve.name) + " " + name);
      for (const Bytes& info : {Bytes(), ToBytes("shared info")}) {
        for (const CK_ULONG length : {CK_ULONG{1}, CK_ULONG{32}, CK_ULONG{200}}) {
          EXPECT_EQ(DeriveWith(CKM_ECDH1_DERIVE, base, peer.point,
                               SecretTemplate().With(CKA_VALUE_LEN, length), kdf, info),
                    (Answer{CKR_OK, ReferenceX963(name, shared, info, length)}));
        }
      }
      EXPECT_EQ(DeriveWith(CKM_ECDH1_DERIVE, base, peer.point, SecretTemplate(), kdf).rv,
                CKR_TEMPLATE_INCOMPLETE);
    }
  }
}

TEST_F(EcDeriveTest, InvalidPeers) {
  for (const EcCurve& curve : EcCurves()) {
    SCOPED_TRACE(curve.name);
    const CK_OBJECT_HANDLE base = Create(session_, EcPrivateKey(curve, {2}));
    const Bytes point = ReferenceEcKey(curve).point;
    Bytes off_curve = point;
    off_curve.back() ^= 1;
    const Bytes cut(point.begin(), point.end() - 1);
    const Bytes other = ReferenceEcKey(EcCurves()[curve.bytes == 32 ? 2 : 1]).point;
    for (const Bytes& peer :
         {Bytes{0}, off_curve, OctetString(off_curve), cut, other, OctetString(other),
          Bytes(point.size()), OctetString({0}), Bytes(1000, 4)}) {
      EXPECT_RV(CKR_PUBLIC_KEY_INVALID, DeriveWith(CKM_ECDH1_DERIVE, base, peer).rv);
      EXPECT_RV(CKR_PUBLIC_KEY_INVALID, DeriveWith(CKM_ECDH1_COFACTOR_DERIVE, base, peer).rv);
    }
  }
}

TEST_F(EcDeriveTest, WrongKeys) {
  const Bytes point = ReferenceEcKey(EcCurves()[1]).point;
  const CK_OBJECT_HANDLE edwards =
      Create(session_, Ed25519PrivateKey(Bytes(32, 1)).With(CKA_DERIVE, true));
  const CK_OBJECT_HANDLE secret =
      Create(session_, SecretObject(Bytes(32, 1)).With(CKA_DERIVE, true));
  const CK_OBJECT_HANDLE no_derive =
      Create(session_, EcPrivateKey(EcCurves()[1], {2}).With(CKA_DERIVE, false));
  for (const CK_MECHANISM_TYPE type : {CKM_ECDH1_DERIVE, CKM_ECDH1_COFACTOR_DERIVE}) {
    EXPECT_RV(CKR_KEY_TYPE_INCONSISTENT, DeriveWith(type, edwards, point).rv);
    EXPECT_RV(CKR_KEY_TYPE_INCONSISTENT, DeriveWith(type, secret, point).rv);
    EXPECT_RV(CKR_KEY_FUNCTION_NOT_PERMITTED, DeriveWith(type, no_derive, point).rv);
  }
  // X25519 has its cofactor in the scalar.
  const CK_OBJECT_HANDLE montgomery = Create(session_, X25519PrivateKey(ReferenceRandom(32)));
  EXPECT_RV(CKR_KEY_TYPE_INCONSISTENT, DeriveWith(CKM_ECDH1_COFACTOR_DERIVE, montgomery,
                                                  ReferencePublicKey(ReferenceRandom(32)))
                                           .rv);
}

}  // namespace
}  // namespace secretmem::conformance
