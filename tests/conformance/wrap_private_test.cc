// Private keys wrapped and unwrapped as PKCS#8 (PKCS#11 3.2 §5.18.4 and §6.1.19, §6.3.4), which
// OpenSSL reads and writes; and CKA_PUBLIC_KEY_INFO, which it reads too.
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include "tests/conformance/cipher.h"
#include "tests/conformance/ec.h"
#include "tests/conformance/fixtures.h"
#include "tests/conformance/pkey.h"
#include "tests/conformance/rsa.h"

namespace secretmem::conformance {
namespace {

struct Kind {
  const char* name;  // OpenSSL's
  const char* group;
  CK_KEY_TYPE type;
  CK_MECHANISM_TYPE signature;  // one for messages, or CKM_ECDSA for hashes
  const char* hash;             // the reference's, for |signature|

  bool is_ec() const { return type == CKK_EC; }
};

constexpr Kind kKinds[] = {
    {"EC", "secp224r1", CKK_EC, CKM_ECDSA, nullptr},
    {"EC", "prime256v1", CKK_EC, CKM_ECDSA, nullptr},
    {"EC", "secp384r1", CKK_EC, CKM_ECDSA, nullptr},
    {"EC", "secp521r1", CKK_EC, CKM_ECDSA, nullptr},
    {"ED25519", nullptr, CKK_EC_EDWARDS, CKM_EDDSA, nullptr},
    {"RSA", "2048", CKK_RSA, CKM_SHA256_RSA_PKCS, "SHA256"},
};

class WrapPrivateTest : public UserTest {
 protected:
  void SetUp() override {
    UserTest::SetUp();
    if (HasFatalFailure()) return;
    wrapping_ = ImportKey(session_, CKK_AES, aes_);
  }

  static Template Wanted(CK_KEY_TYPE type) {
    return Template()
        .With(CKA_CLASS, CK_ULONG{CKO_PRIVATE_KEY})
        .With(CKA_KEY_TYPE, CK_ULONG{type})
        .With(CKA_TOKEN, false)
        .With(CKA_SENSITIVE, false)
        .With(CKA_EXTRACTABLE, true)
        .With(CKA_SIGN, true);
  }

  // What the module makes of a PrivateKeyInfo.
  CK_RV Import(const Bytes& der, CK_KEY_TYPE type, CK_OBJECT_HANDLE& key) {
    // OpenSSL wraps nothing of no length.
    const Bytes wrapped = der.empty() ? Bytes(16) : ReferenceKeyWrap(kWrap, aes_, der, true);
    return Unwrap(session_, wrapping_, known_, wrapped, Wanted(type), key);
  }

  Bytes Export(CK_OBJECT_HANDLE key, const OwnedMechanism& mechanism) {
    const Result wrapped = Wrap(session_, wrapping_, mechanism, key);
    EXPECT_RV(CKR_OK, wrapped.rv);
    // OpenSSL knows one of them: the key goes its way from the others.
    CK_OBJECT_HANDLE again = 0;
    const CK_ULONG type = ReadUlong(session_, key, CKA_KEY_TYPE);
    EXPECT_RV(CKR_OK, Unwrap(session_, wrapping_, mechanism, wrapped.value, Wanted(type), again));
    return ReferenceKeyWrap(kWrap, aes_, Wrap(session_, wrapping_, known_, again).value, false);
  }

  void ExpectSigns(CK_OBJECT_HANDLE key, const Kind& kind, EVP_PKEY* reference) {
    const Bytes message = ReferenceRandom(28);
    const Result signature = Sign(session_, key, OwnedMechanism(kind.signature), message);
    ASSERT_RV(CKR_OK, signature.rv);
    if (kind.is_ec()) {
      EXPECT_TRUE(ReferenceEcdsaVerify(EcCurveOf(kind.group), EcPointOf(reference), "", message,
                                       signature.value));
    } else {
      EXPECT_TRUE(ReferenceVerify(reference, kind.hash, message, signature.value));
    }
  }

  static constexpr char kWrap[] = "id-aes256-wrap-pad";
  const OwnedMechanism known_{CKM_AES_KEY_WRAP_PAD};
  const Bytes aes_ = ReferenceRandom(32);
  const Bytes iv_ = ReferenceRandom(16);
  CK_OBJECT_HANDLE wrapping_ = CK_INVALID_HANDLE;
};

TEST_F(WrapPrivateTest, EveryFamilyByEveryMechanism) {
  std::vector<OwnedMechanism> mechanisms = {OwnedMechanism(CKM_AES_KEY_WRAP), known_};
  if (HasMechanism(slot_, CKM_AES_KEY_WRAP_KWP, CKF_WRAP)) {
    mechanisms.emplace_back(CKM_AES_KEY_WRAP_KWP);
  }
  if (HasMechanism(slot_, CKM_AES_CBC_PAD, CKF_WRAP)) mechanisms.emplace_back(CKM_AES_CBC_PAD, iv_);
  if (HasMechanism(slot_, CKM_AES_GCM, CKF_WRAP)) mechanisms.push_back(Gcm(iv_, {}, 128));
  for (const Kind& kind : kKinds) {
    SCOPED_TRACE(kind.group == nullptr ? kind.name : kind.group);
    const Pkey reference = GeneratePkey(kind.name, kind.group);
    const Bytes der = Pkcs8Of(reference.get());
    CK_OBJECT_HANDLE key = 0;
    ASSERT_RV(CKR_OK, Import(der, kind.type, key));
    EXPECT_FALSE(ReadBool(session_, key, CKA_LOCAL));
    EXPECT_FALSE(ReadBool(session_, key, CKA_NEVER_EXTRACTABLE));
    ExpectSigns(key, kind, reference.get());
    for (const OwnedMechanism& mechanism : mechanisms) {
      const Bytes again = Export(key, mechanism);
      const Pkey parsed = ParsePkcs8(again);
      ASSERT_NE(parsed, nullptr) << testing::PrintToString(again);
      EXPECT_EQ(EVP_PKEY_eq(parsed.get(), reference.get()), 1);
      // Both write the one encoding that DER leaves.
      EXPECT_EQ(again, der);
    }
    // The ciphers wrap what they would encrypt, and published vectors say what that is.
    for (const OwnedMechanism& mechanism :
         {OwnedMechanism(CKM_AES_CBC_PAD, iv_), Gcm(iv_, {}, 128)}) {
      OwnedMechanism its = mechanism;
      if (!HasMechanism(slot_, its.get()->mechanism, CKF_WRAP)) continue;
      EXPECT_EQ(Decrypt(session_, wrapping_, its, Wrap(session_, wrapping_, its, key).value),
                (Result{CKR_OK, der}));
    }
  }
}

// RFC 5915: parameters and public key are optional.
TEST_F(WrapPrivateTest, FormsOfEcPrivateKey) {
  for (const char* name : {"secp224r1", "prime256v1", "secp384r1", "secp521r1"}) {
    SCOPED_TRACE(name);
    const EcCurve& curve = EcCurveOf(name);
    const EcKeyPair pair = ReferenceEcKey(curve);
    const EcKeyPair other = ReferenceEcKey(curve);
    const Bytes parameters = DerLong(0xa0, curve.Params());
    const auto public_key = [](const Bytes& point) {
      return DerLong(0xa1, DerLong(0x03, Concat({{0}, point})));
    };
    const auto import = [&](const Bytes& scalar, const Bytes& rest, CK_OBJECT_HANDLE& key) {
      return Import(EcPkcs8(curve, scalar, rest), CKK_EC, key);
    };
    CK_OBJECT_HANDLE key = 0;
    const Bytes compressed = ReferenceEcPoint(curve, pair.scalar, true);
    for (const Bytes& rest : {Bytes{}, parameters, public_key(pair.point), public_key(compressed),
                              Concat({parameters, public_key(pair.point)})}) {
      ASSERT_RV(CKR_OK, import(pair.scalar, rest, key));
      EXPECT_EQ(ReadBytes(session_, key, CKA_VALUE), pair.scalar);
      EXPECT_EQ(ReadBytes(session_, key, CKA_EC_PARAMS), curve.Params());
    }
    const Bytes wrong_curve = DerLong(
        0xa0, EcCurveOf(name == std::string("prime256v1") ? "secp384r1" : "prime256v1").Params());
    Bytes off_curve = pair.point;
    off_curve.back() ^= 1;
    for (const Bytes& rest : {wrong_curve, public_key(other.point), public_key(off_curve),
                              Concat({public_key(pair.point), parameters}),
                              Concat({parameters, parameters}), Bytes{0x05, 0x00}}) {
      EXPECT_RV(CKR_WRAPPED_KEY_INVALID, import(pair.scalar, rest, key));
    }
    EXPECT_RV(CKR_WRAPPED_KEY_INVALID, import(Bytes(curve.bytes), {}, key));
    EXPECT_RV(CKR_WRAPPED_KEY_INVALID, import(FromHex(curve.order), {}, key));
    EXPECT_RV(CKR_WRAPPED_KEY_INVALID, import({}, {}, key));
  }
}

// Another curve's key is no error of the encoding; explicit parameters are not taken.
TEST_F(WrapPrivateTest, OtherCurves) {
  CK_OBJECT_HANDLE key = 0;
  EXPECT_RV(CKR_CURVE_NOT_SUPPORTED,
            Import(Pkcs8Of(GeneratePkey("EC", "secp256k1").get()), CKK_EC, key));
  EXPECT_RV(CKR_WRAPPED_KEY_INVALID,
            Import(Pkcs8Of(GeneratePkey("EC", "prime256v1", true).get()), CKK_EC, key));
  EXPECT_RV(CKR_WRAPPED_KEY_INVALID,
            Import(Pkcs8Of(GeneratePkey("ED448", nullptr).get()), CKK_EC_EDWARDS, key));
  EXPECT_RV(CKR_WRAPPED_KEY_INVALID,
            Import(Pkcs8Of(GeneratePkey("X25519", nullptr).get()), CKK_EC_EDWARDS, key));
  EXPECT_RV(CKR_WRAPPED_KEY_INVALID,
            Import(Pkcs8Of(GeneratePkey("EC", "prime256v1").get()), CKK_RSA, key));
  EXPECT_RV(CKR_WRAPPED_KEY_INVALID,
            Import(Pkcs8Of(GeneratePkey("RSA", "512").get()), CKK_RSA, key));
}

// Every byte of a key changed in turn: a key or a refusal, and what is taken is a key.
TEST_F(WrapPrivateTest, DamagedEncodings) {
  for (const Kind& kind : {kKinds[1], kKinds[4], kKinds[5]}) {
    SCOPED_TRACE(kind.name);
    const Bytes der = Pkcs8Of(GeneratePkey(kind.name, kind.group).get());
    const size_t step = kind.type == CKK_RSA ? 7 : 1;
    for (size_t i = 0; i < der.size(); i += step) {
      Bytes damaged = der;
      damaged[i] ^= 0x41;
      CK_OBJECT_HANDLE key = 0;
      const CK_RV rv = Import(damaged, kind.type, key);
      if (rv == CKR_OK) {
        EXPECT_EQ(ReadUlong(session_, key, CKA_KEY_TYPE), kind.type);
        EXPECT_RV(CKR_OK, P11().C_DestroyObject(session_, key));
      } else {
        EXPECT_RV_IN(rv, CKR_WRAPPED_KEY_INVALID, CKR_CURVE_NOT_SUPPORTED);
      }
    }
    for (const size_t size : {size_t{0}, size_t{1}, size_t{2}, der.size() / 2, der.size() - 1}) {
      CK_OBJECT_HANDLE key = 0;
      const Bytes begin(der.begin(), der.begin() + static_cast<std::ptrdiff_t>(size));
      EXPECT_RV(CKR_WRAPPED_KEY_INVALID, Import(begin, kind.type, key));
    }
    Bytes longer = der;
    longer.push_back(1);
    CK_OBJECT_HANDLE key = 0;
    EXPECT_RV(CKR_WRAPPED_KEY_INVALID, Import(longer, kind.type, key));
  }
}

TEST_F(WrapPrivateTest, PublicKeyInfo) {
  for (const Kind& kind : kKinds) {
    SCOPED_TRACE(kind.group == nullptr ? kind.name : kind.group);
    const Pkey reference = GeneratePkey(kind.name, kind.group);
    const Bytes info = PublicKeyInfoOf(reference.get());
    CK_OBJECT_HANDLE key = 0;
    ASSERT_RV(CKR_OK, Import(Pkcs8Of(reference.get()), kind.type, key));
    EXPECT_EQ(ReadBytes(session_, key, CKA_PUBLIC_KEY_INFO), info);
    EXPECT_EQ(FindAll(session_, Template().With(CKA_PUBLIC_KEY_INFO, info)),
              std::vector<CK_OBJECT_HANDLE>{key});
    // Read-only once it is there.
    Template change = Template().With(CKA_PUBLIC_KEY_INFO, info);
    EXPECT_RV(CKR_ATTRIBUTE_READ_ONLY,
              P11().C_SetAttributeValue(session_, key, change.data(), change.size()));
    EXPECT_RV(CKR_OK, P11().C_DestroyObject(session_, key));
  }
}

// Both halves of a generated pair, sensitive as it is, tell the same one.
TEST_F(WrapPrivateTest, PublicKeyInfoOfPairs) {
  struct Generation {
    CK_MECHANISM_TYPE mechanism;
    Template wanted;
  };
  Bytes ed25519 = FromHex("06032b6570"), x25519 = FromHex("06032b656e");
  for (const Generation& its :
       {Generation{CKM_EC_KEY_PAIR_GEN,
                   Template().With(CKA_EC_PARAMS, EcCurveOf("prime256v1").Params())},
        Generation{CKM_EC_EDWARDS_KEY_PAIR_GEN, Template().With(CKA_EC_PARAMS, ed25519)},
        Generation{CKM_EC_MONTGOMERY_KEY_PAIR_GEN, Template().With(CKA_EC_PARAMS, x25519)},
        Generation{CKM_RSA_PKCS_KEY_PAIR_GEN, Template().With(CKA_MODULUS_BITS, CK_ULONG{2048})}}) {
    CK_MECHANISM mechanism{its.mechanism, nullptr, 0};
    Template public_key = its.wanted;
    Template private_key;
    CK_OBJECT_HANDLE handles[2];
    ASSERT_RV(CKR_OK,
              P11().C_GenerateKeyPair(session_, &mechanism, public_key.data(), public_key.size(),
                                      private_key.data(), 0, &handles[0], &handles[1]));
    const Bytes info = ReadBytes(session_, handles[0], CKA_PUBLIC_KEY_INFO);
    EXPECT_EQ(ReadBytes(session_, handles[1], CKA_PUBLIC_KEY_INFO), info);
    const Pkey parsed = ParsePublicKeyInfo(info);
    ASSERT_NE(parsed, nullptr);
    EXPECT_EQ(PublicKeyInfoOf(parsed.get()), info);
  }
}

// §4.9: what a template says must be true.
TEST_F(WrapPrivateTest, PublicKeyInfoGiven) {
  const EcCurve& curve = EcCurveOf("prime256v1");
  const EcKeyPair pair = ReferenceEcKey(curve);
  const EcKeyPair other = ReferenceEcKey(curve);
  const CK_OBJECT_HANDLE public_key = Create(session_, EcPublicKey(curve, OctetString(pair.point)));
  const Bytes info = ReadBytes(session_, public_key, CKA_PUBLIC_KEY_INFO);
  const CK_OBJECT_HANDLE wrong_key = Create(session_, EcPublicKey(curve, OctetString(other.point)));
  const Bytes wrong = ReadBytes(session_, wrong_key, CKA_PUBLIC_KEY_INFO);
  for (const Template& base :
       {EcPublicKey(curve, OctetString(pair.point)), EcPrivateKey(curve, pair.scalar)}) {
    for (const Bytes& given : {info, Bytes{}}) {
      const CK_OBJECT_HANDLE key =
          Create(session_, Template(base).With(CKA_PUBLIC_KEY_INFO, given));
      EXPECT_EQ(ReadBytes(session_, key, CKA_PUBLIC_KEY_INFO), info);
    }
    for (const Bytes& given : {wrong, Bytes{1}}) {
      Template refused = Template(base).With(CKA_PUBLIC_KEY_INFO, given);
      CK_OBJECT_HANDLE key = 0;
      EXPECT_RV(CKR_ATTRIBUTE_VALUE_INVALID,
                P11().C_CreateObject(session_, refused.data(), refused.size(), &key));
    }
  }
}

}  // namespace
}  // namespace secretmem::conformance
