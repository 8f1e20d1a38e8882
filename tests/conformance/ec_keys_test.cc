// Keys of CKK_EC and CKK_EC_EDWARDS, generated and imported: PKCS#11 3.1 §6.3.
#include <algorithm>
#include <vector>

#include "tests/conformance/ec.h"
#include "tests/conformance/fixtures.h"

namespace secretmem::conformance {
namespace {

class EcKeysTest : public UserTest {
 protected:
  CK_RV TryCreate(Template object) const {
    CK_OBJECT_HANDLE handle = CK_INVALID_HANDLE;
    const CK_RV rv = P11().C_CreateObject(session_, object.data(), object.size(), &handle);
    EXPECT_EQ(rv == CKR_OK, handle != CK_INVALID_HANDLE);
    return rv;
  }
  CK_RV TryGenerate(CK_MECHANISM_TYPE mechanism, const Bytes& params) const {
    KeyPair pair;
    const CK_RV rv = GenerateWith(session_, mechanism, params, pair);
    EXPECT_TRUE(rv == CKR_OK || (pair.public_key == 0 && pair.private_key == 0)) << "handles set";
    return rv;
  }
  Bytes PointOf(CK_OBJECT_HANDLE key) const { return ReadBytes(session_, key, CKA_EC_POINT); }
  Bytes ParamsOf(CK_OBJECT_HANDLE key) const { return ReadBytes(session_, key, CKA_EC_PARAMS); }
  Bytes ValueOf(CK_OBJECT_HANDLE key) const { return ReadBytes(session_, key, CKA_VALUE); }
};

TEST_F(EcKeysTest, Generate) {
  for (const EcCurve& curve : EcCurves()) {
    SCOPED_TRACE(curve.name);
    KeyPair pair;
    ASSERT_RV(CKR_OK, GenerateWith(session_, CKM_EC_KEY_PAIR_GEN, curve.Params(), pair));
    const Bytes scalar = ValueOf(pair.private_key);
    EXPECT_EQ(scalar.size(), curve.bytes);
    EXPECT_EQ(PointOf(pair.public_key), OctetString(ReferenceEcPoint(curve, scalar)));
    for (const CK_OBJECT_HANDLE key : {pair.public_key, pair.private_key}) {
      EXPECT_EQ(ReadUlong(session_, key, CKA_KEY_TYPE), CKK_EC);
      EXPECT_EQ(ParamsOf(key), curve.Params());
      EXPECT_TRUE(ReadBool(session_, key, CKA_LOCAL));
      EXPECT_EQ(ReadUlong(session_, key, CKA_KEY_GEN_MECHANISM), CKM_EC_KEY_PAIR_GEN);
    }
    KeyPair second;
    ASSERT_RV(CKR_OK, GenerateWith(session_, CKM_EC_KEY_PAIR_GEN, curve.Params(), second));
    EXPECT_NE(scalar, ValueOf(second.private_key));
  }
}

// Java generates with an empty private template, and signs and derives.
TEST_F(EcKeysTest, DefaultUsage) {
  KeyPair pair;
  ASSERT_RV(CKR_OK, GenerateWith(session_, CKM_EC_KEY_PAIR_GEN, EcCurves()[1].Params(), pair));
  EXPECT_TRUE(ReadBool(session_, pair.private_key, CKA_SIGN));
  EXPECT_TRUE(ReadBool(session_, pair.private_key, CKA_DERIVE));
  EXPECT_TRUE(ReadBool(session_, pair.public_key, CKA_VERIFY));
}

// §6.3.3: a curve may be given by its name; it is reported by its OID.
TEST_F(EcKeysTest, CurveNames) {
  const std::pair<const char*, const char*> names[] = {
      {"secp224r1", "secp224r1"}, {"P-224", "secp224r1"},       {"secp256r1", "prime256v1"},
      {"P-256", "prime256v1"},    {"prime256v1", "prime256v1"}, {"secp384r1", "secp384r1"},
      {"P-384", "secp384r1"},     {"secp521r1", "secp521r1"},   {"P-521", "secp521r1"},
  };
  for (const auto& [name, curve] : names) {
    SCOPED_TRACE(name);
    KeyPair pair;
    ASSERT_RV(CKR_OK, GenerateWith(session_, CKM_EC_KEY_PAIR_GEN, PrintableString(name), pair));
    EXPECT_EQ(ParamsOf(pair.public_key), EcCurveOf(curve).Params());
    EXPECT_EQ(ParamsOf(pair.private_key), EcCurveOf(curve).Params());
  }
}

TEST_F(EcKeysTest, OtherCurves) {
  const Bytes others[] = {
      FromHex("06052b8104000a"),          // secp256k1
      FromHex("06092b2403030208010107"),  // brainpoolP256r1
      FromHex("06032b656e"),              // X25519
      FromHex("06032b6570"),              // Ed25519
      PrintableString("secp256k1"),
      PrintableString("P-25"),
      PrintableString("p-256"),
  };
  for (const Bytes& params : others) {
    EXPECT_RV(CKR_CURVE_NOT_SUPPORTED, TryGenerate(CKM_EC_KEY_PAIR_GEN, params));
  }
  EXPECT_RV(CKR_CURVE_NOT_SUPPORTED,
            TryCreate(EcPrivateKey(EcCurves()[1], Bytes(32, 1)).With(CKA_EC_PARAMS, others[0])));
  EXPECT_RV(CKR_CURVE_NOT_SUPPORTED,
            TryCreate(EcPublicKey(EcCurves()[1], Bytes(65, 1)).With(CKA_EC_PARAMS, others[0])));
}

TEST_F(EcKeysTest, MalformedParams) {
  const char* const forms[] = {
      "",
      "06",
      "0600",
      "1300",
      "0500",                      // implicitlyCA
      "06082a8648ce3d0301",        // shorter than it says
      "06082a8648ce3d03010700",    // longer than it says
      "06072a8648ce3d0381",        // ends inside an arc
      "040a7072696d653235367631",  // an OCTET STRING
      "3003020101",                // explicit parameters, cut off
      "302c020101302706072a8648ce3d0101021c00"
      "0000000000000000000000000000000000000000000000000000",
  };
  for (const char* hex : forms) {
    SCOPED_TRACE(hex);
    EXPECT_RV(CKR_DOMAIN_PARAMS_INVALID, TryGenerate(CKM_EC_KEY_PAIR_GEN, FromHex(hex)));
    EXPECT_RV(CKR_DOMAIN_PARAMS_INVALID, TryGenerate(CKM_EC_EDWARDS_KEY_PAIR_GEN, FromHex(hex)));
  }
}

TEST_F(EcKeysTest, ParametersOfGeneration) {
  Template public_key = Template().With(CKA_TOKEN, false).With(CKA_EC_PARAMS, Bytes());
  Template private_key = Template().With(CKA_TOKEN, false);
  CK_OBJECT_HANDLE handles[2];
  for (const CK_MECHANISM_TYPE type : {CKM_EC_KEY_PAIR_GEN, CKM_EC_EDWARDS_KEY_PAIR_GEN}) {
    CK_BYTE byte = 0;
    CK_MECHANISM mechanism{type, &byte, 1};
    const auto generate = [&] {
      return P11().C_GenerateKeyPair(session_, &mechanism, public_key.data(), public_key.size(),
                                     private_key.data(), private_key.size(), &handles[0],
                                     &handles[1]);
    };
    EXPECT_RV(CKR_MECHANISM_PARAM_INVALID, generate());
    mechanism = {type, nullptr, 0};
    public_key.Without(CKA_EC_PARAMS);
    EXPECT_RV(CKR_TEMPLATE_INCOMPLETE, generate());
    public_key.With(CKA_EC_PARAMS, Bytes());
  }
}

// §6.3.4: CKA_VALUE is a big integer.
TEST_F(EcKeysTest, ImportPrivate) {
  for (const EcCurve& curve : EcCurves()) {
    SCOPED_TRACE(curve.name);
    const EcKeyPair pair = ReferenceEcKey(curve);
    Bytes one(curve.bytes);
    one.back() = 1;
    Bytes last = FromHex(curve.order);
    ASSERT_EQ(last.size(), curve.bytes);
    last.back()--;
    Bytes padded(7);
    padded.insert(padded.end(), pair.scalar.begin(), pair.scalar.end());
    const std::pair<Bytes, Bytes> values[] = {
        {pair.scalar, pair.scalar}, {padded, pair.scalar}, {{1}, one}, {one, one}, {last, last}};
    for (const auto& [given, stored] : values) {
      const CK_OBJECT_HANDLE key = Create(session_, EcPrivateKey(curve, given));
      EXPECT_EQ(ValueOf(key), stored);
      EXPECT_EQ(ParamsOf(key), curve.Params());
      EXPECT_FALSE(ReadBool(session_, key, CKA_LOCAL));
    }
  }
}

TEST_F(EcKeysTest, ImportPrivateOutOfRange) {
  for (const EcCurve& curve : EcCurves()) {
    SCOPED_TRACE(curve.name);
    const Bytes order = FromHex(curve.order);
    Bytes above = order;
    above.back()++;
    Bytes long_one(curve.bytes + 1);
    long_one.front() = 1;
    for (const Bytes& value : {Bytes(), Bytes{0}, Bytes(curve.bytes), order, above,
                               Bytes(curve.bytes, 0xff), long_one, Bytes(1000, 0xff)}) {
      EXPECT_RV(CKR_ATTRIBUTE_VALUE_INVALID, TryCreate(EcPrivateKey(curve, value)));
    }
  }
  EXPECT_RV(CKR_TEMPLATE_INCOMPLETE,
            TryCreate(EcPrivateKey(EcCurves()[0], {1}).Without(CKA_VALUE)));
  EXPECT_RV(CKR_TEMPLATE_INCOMPLETE,
            TryCreate(EcPrivateKey(EcCurves()[0], {1}).Without(CKA_EC_PARAMS)));
}

// The specification's form is the DER OCTET STRING of the point; clients send others.
TEST_F(EcKeysTest, ImportPublic) {
  for (const EcCurve& curve : EcCurves()) {
    SCOPED_TRACE(curve.name);
    for (int i = 0; i < 4; ++i) {
      const EcKeyPair pair = ReferenceEcKey(curve);
      const Bytes compressed = ReferenceEcPoint(curve, pair.scalar, true);
      Bytes bits{0};
      bits.insert(bits.end(), pair.point.begin(), pair.point.end());
      for (const Bytes& form : {OctetString(pair.point), pair.point, Der(0x03, bits),
                                OctetString(compressed), compressed}) {
        const CK_OBJECT_HANDLE key = Create(session_, EcPublicKey(curve, form));
        EXPECT_EQ(PointOf(key), OctetString(pair.point));
        EXPECT_EQ(ParamsOf(key), curve.Params());
      }
    }
  }
}

TEST_F(EcKeysTest, ImportPublicInvalid) {
  for (const EcCurve& curve : EcCurves()) {
    SCOPED_TRACE(curve.name);
    const Bytes point = ReferenceEcKey(curve).point;
    Bytes off_curve = point;
    off_curve.back() ^= 1;
    Bytes hybrid = point;
    hybrid.front() = static_cast<CK_BYTE>(6 | (point.back() & 1));
    Bytes cut(point.begin(), point.end() - 1);
    Bytes longer = point;
    longer.push_back(0);
    Bytes trailing = OctetString(point);
    trailing.push_back(0);
    Bytes bits{1};
    bits.insert(bits.end(), point.begin(), point.end());
    for (const Bytes& form :
         {Bytes(), Bytes{0}, off_curve, OctetString(off_curve), hybrid, cut, longer, trailing,
          OctetString(OctetString(point)), OctetString({0}), Der(0x03, bits), Der(0x02, point),
          Bytes(1 + 2 * curve.bytes), Bytes(1 + 2 * curve.bytes, 0xff)}) {
      EXPECT_RV(CKR_ATTRIBUTE_VALUE_INVALID, TryCreate(EcPublicKey(curve, form)));
    }
  }
  EXPECT_RV(CKR_TEMPLATE_INCOMPLETE,
            TryCreate(EcPublicKey(EcCurves()[0], {1}).Without(CKA_EC_POINT)));
}

constexpr const char* kEd25519Params = "06032b6570";

// CKM_EDDSA is what GnuTLS 3.7 generates with, and its templates name neither class nor type.
TEST_F(EcKeysTest, GenerateEd25519) {
  for (const CK_MECHANISM_TYPE mechanism : {CKM_EC_EDWARDS_KEY_PAIR_GEN, CKM_EDDSA}) {
    KeyPair pair;
    ASSERT_RV(CKR_OK, GenerateWith(session_, mechanism, FromHex(kEd25519Params), pair));
    const Bytes seed = ValueOf(pair.private_key);
    ASSERT_EQ(seed.size(), 32U);
    EXPECT_EQ(PointOf(pair.public_key), OctetString(ReferenceEd25519Public(seed)));
    for (const CK_OBJECT_HANDLE key : {pair.public_key, pair.private_key}) {
      EXPECT_EQ(ReadUlong(session_, key, CKA_KEY_TYPE), CKK_EC_EDWARDS);
      EXPECT_EQ(ParamsOf(key), FromHex(kEd25519Params));
      EXPECT_TRUE(ReadBool(session_, key, CKA_LOCAL));
      EXPECT_EQ(ReadUlong(session_, key, CKA_KEY_GEN_MECHANISM), mechanism);
    }
    EXPECT_TRUE(ReadBool(session_, pair.private_key, CKA_SIGN));
    EXPECT_TRUE(ReadBool(session_, pair.public_key, CKA_VERIFY));
  }
}

TEST_F(EcKeysTest, Ed25519Params) {
  for (const Bytes& params : {PrintableString("edwards25519"), FromHex("06092b06010401da470f01")}) {
    KeyPair pair;
    ASSERT_RV(CKR_OK, GenerateWith(session_, CKM_EC_EDWARDS_KEY_PAIR_GEN, params, pair));
    EXPECT_EQ(ParamsOf(pair.public_key), FromHex(kEd25519Params));
    EXPECT_EQ(ParamsOf(pair.private_key), FromHex(kEd25519Params));
  }
  for (const Bytes& params : {FromHex("06032b6571"), PrintableString("edwards448"),
                              FromHex("06032b656e"), FromHex("06082a8648ce3d030107")}) {
    EXPECT_RV(CKR_CURVE_NOT_SUPPORTED, TryGenerate(CKM_EC_EDWARDS_KEY_PAIR_GEN, params));
    EXPECT_RV(CKR_CURVE_NOT_SUPPORTED,
              TryCreate(Ed25519PrivateKey(Bytes(32, 1)).With(CKA_EC_PARAMS, params)));
    EXPECT_RV(CKR_CURVE_NOT_SUPPORTED,
              TryCreate(Ed25519PublicKey(Bytes(32, 1)).With(CKA_EC_PARAMS, params)));
  }
}

TEST_F(EcKeysTest, ImportEd25519) {
  const Bytes seed = ReferenceRandom(32);
  const CK_OBJECT_HANDLE private_key = Create(session_, Ed25519PrivateKey(seed));
  EXPECT_EQ(ValueOf(private_key), seed);
  const Bytes raw = ReferenceEd25519Public(seed);
  Bytes bits{0};
  bits.insert(bits.end(), raw.begin(), raw.end());
  for (const Bytes& form : {raw, OctetString(raw), Der(0x03, bits)}) {
    EXPECT_EQ(PointOf(Create(session_, Ed25519PublicKey(form))), OctetString(raw));
  }
  for (const size_t length : {0, 1, 31, 33, 64}) {
    EXPECT_RV(CKR_ATTRIBUTE_VALUE_INVALID, TryCreate(Ed25519PrivateKey(Bytes(length, 1))));
    EXPECT_RV(CKR_ATTRIBUTE_VALUE_INVALID, TryCreate(Ed25519PublicKey(Bytes(length, 1))));
    EXPECT_RV(CKR_ATTRIBUTE_VALUE_INVALID,
              TryCreate(Ed25519PublicKey(OctetString(Bytes(length, 1)))));
  }
}

}  // namespace
}  // namespace secretmem::conformance
