// C_EncapsulateKey and C_DecapsulateKey with CKM_ECDH1_DERIVE: PKCS#11 3.2 §5.18.8, §5.18.9 and
// §6.3. Shared secrets are compared with OpenSSL's.
#include "tests/conformance/kem.h"

#include "tests/conformance/fixtures.h"

namespace secretmem::conformance {
namespace {

class KemTest : public UserTest {
 protected:
  void SetUp() override {
    if (P11v32() == nullptr) GTEST_SKIP() << "a module before 3.2";
    UserTest::SetUp();
    if (HasFatalFailure()) return;
    if (!HasMechanism(slot_, CKM_ECDH1_DERIVE, CKF_ENCAPSULATE | CKF_DECAPSULATE)) {
      GTEST_SKIP() << "no encapsulation with CKM_ECDH1_DERIVE";
    }
    public_ = Create(session_, X25519PublicKey(point_).With(CKA_ENCAPSULATE, true));
    private_ = Create(session_, X25519PrivateKey(scalar_).With(CKA_DECAPSULATE, true));
  }

  CK_RV TryDecapsulate(const Bytes& ciphertext) const {
    CK_OBJECT_HANDLE key = 0;
    return Decapsulate(session_, EcdhKem(CKD_NULL), private_, ciphertext, SecretTemplate(), key);
  }

  const Bytes scalar_ = ReferenceRandom(32);
  const Bytes point_ = ReferencePublicKey(scalar_);
  CK_OBJECT_HANDLE public_ = 0;
  CK_OBJECT_HANDLE private_ = 0;
};

TEST_F(KemTest, X25519) {
  const Encapsulated sent = Encapsulate(session_, EcdhKem(CKD_NULL), public_, SecretTemplate());
  ASSERT_RV(CKR_OK, sent.rv);
  ASSERT_EQ(sent.ciphertext.size(), 32U);
  const Bytes shared = ReferenceX25519(scalar_, sent.ciphertext);
  EXPECT_EQ(ReadBytes(session_, sent.key, CKA_VALUE), shared);
  CK_OBJECT_HANDLE received = 0;
  ASSERT_RV(CKR_OK, Decapsulate(session_, EcdhKem(CKD_NULL), private_, sent.ciphertext,
                                SecretTemplate(), received));
  EXPECT_EQ(ReadBytes(session_, received, CKA_VALUE), shared);
  const Encapsulated again = Encapsulate(session_, EcdhKem(CKD_NULL), public_, SecretTemplate());
  EXPECT_NE(again.ciphertext, sent.ciphertext);
}

TEST_F(KemTest, Kdf) {
  const Bytes info = ToBytes("shared info");
  const Template wanted =
      SecretTemplate().With(CKA_KEY_TYPE, CK_ULONG{CKK_AES}).With(CKA_VALUE_LEN, CK_ULONG{32});
  for (const auto& [kdf, digest] :
       {std::pair(CKD_SHA1_KDF, "SHA1"), {CKD_SHA256_KDF, "SHA256"}, {CKD_SHA512_KDF, "SHA512"}}) {
    const Encapsulated sent = Encapsulate(session_, EcdhKem(kdf, info), public_, wanted);
    ASSERT_RV(CKR_OK, sent.rv);
    const Bytes expected =
        ReferenceX963(digest, ReferenceX25519(scalar_, sent.ciphertext), info, 32);
    EXPECT_EQ(ReadBytes(session_, sent.key, CKA_VALUE), expected);
    CK_OBJECT_HANDLE received = 0;
    ASSERT_RV(CKR_OK, Decapsulate(session_, EcdhKem(kdf, info), private_, sent.ciphertext, wanted,
                                  received));
    EXPECT_EQ(ReadBytes(session_, received, CKA_VALUE), expected);
    EXPECT_EQ(ReadUlong(session_, received, CKA_KEY_TYPE), CK_ULONG{CKK_AES});
  }
  EXPECT_RV(CKR_TEMPLATE_INCOMPLETE,
            Encapsulate(session_, EcdhKem(CKD_SHA256_KDF), public_, SecretTemplate()).rv);
}

// Without CKA_VALUE_LEN the whole secret, with it the last bytes, as C_DeriveKey has it.
TEST_F(KemTest, Lengths) {
  const Encapsulated sent = Encapsulate(session_, EcdhKem(CKD_NULL), public_,
                                        SecretTemplate().With(CKA_VALUE_LEN, CK_ULONG{20}));
  ASSERT_RV(CKR_OK, sent.rv);
  const Bytes shared = ReferenceX25519(scalar_, sent.ciphertext);
  EXPECT_EQ(ReadBytes(session_, sent.key, CKA_VALUE), Bytes(shared.end() - 20, shared.end()));
  EXPECT_RV(CKR_TEMPLATE_INCONSISTENT,
            Encapsulate(session_, EcdhKem(CKD_NULL), public_,
                        SecretTemplate().With(CKA_VALUE_LEN, CK_ULONG{33}))
                .rv);
}

TEST_F(KemTest, NistCurves) {
  for (const EcCurve& curve : EcCurves()) {
    SCOPED_TRACE(curve.name);
    const EcKeyPair pair = ReferenceEcKey(curve);
    const CK_OBJECT_HANDLE to =
        Create(session_, EcPublicKey(curve, OctetString(pair.point)).With(CKA_ENCAPSULATE, true));
    const CK_OBJECT_HANDLE from =
        Create(session_, EcPrivateKey(curve, pair.scalar).With(CKA_DECAPSULATE, true));
    const Encapsulated sent = Encapsulate(session_, EcdhKem(CKD_NULL), to, SecretTemplate());
    ASSERT_RV(CKR_OK, sent.rv);
    const size_t point = 1 + 2 * curve.bytes;
    ASSERT_GT(sent.ciphertext.size(), point);
    const Bytes raw(sent.ciphertext.end() - static_cast<long>(point), sent.ciphertext.end());
    EXPECT_EQ(sent.ciphertext, OctetString(raw)) << "the form of CKA_EC_POINT";
    const Bytes shared = ReferenceEcdh(curve, pair.scalar, raw);
    EXPECT_EQ(ReadBytes(session_, sent.key, CKA_VALUE), shared);
    for (const Bytes& form : {sent.ciphertext, raw}) {
      CK_OBJECT_HANDLE received = 0;
      ASSERT_RV(CKR_OK,
                Decapsulate(session_, EcdhKem(CKD_NULL), from, form, SecretTemplate(), received));
      EXPECT_EQ(ReadBytes(session_, received, CKA_VALUE), shared);
    }
    CK_OBJECT_HANDLE received = 0;
    Bytes off = raw;
    off.back() ^= 1;
    EXPECT_RV(CKR_WRAPPED_KEY_INVALID,
              Decapsulate(session_, EcdhKem(CKD_NULL), from, off, SecretTemplate(), received));
    EXPECT_RV(CKR_WRAPPED_KEY_INVALID,
              Decapsulate(session_, EcdhKem(CKD_NULL), from, Bytes(1), SecretTemplate(), received));
    EXPECT_RV(CKR_WRAPPED_KEY_LEN_RANGE,
              Decapsulate(session_, EcdhKem(CKD_NULL), from, Bytes(sent.ciphertext.size() + 1),
                          SecretTemplate(), received));
    const OwnedMechanism cofactor = EcdhKem(CKD_NULL, {}, CKM_ECDH1_COFACTOR_DERIVE);
    ASSERT_RV(CKR_OK, Decapsulate(session_, cofactor, from, raw, SecretTemplate(), received));
    EXPECT_EQ(ReadBytes(session_, received, CKA_VALUE), shared);
  }
}

// §5.18.8: neither LOCAL nor ALWAYS_SENSITIVE nor NEVER_EXTRACTABLE, and extractable by default.
TEST_F(KemTest, Attributes) {
  Template wanted;
  wanted.With(CKA_CLASS, CK_ULONG{CKO_SECRET_KEY}).With(CKA_KEY_TYPE, CK_ULONG{CKK_AES});
  wanted.With(CKA_TOKEN, false).With(CKA_VALUE_LEN, CK_ULONG{16}).With(CKA_LABEL, "secret");
  const Encapsulated sent = Encapsulate(session_, EcdhKem(CKD_SHA256_KDF), public_, wanted);
  ASSERT_RV(CKR_OK, sent.rv);
  CK_OBJECT_HANDLE received = 0;
  ASSERT_RV(CKR_OK, Decapsulate(session_, EcdhKem(CKD_SHA256_KDF), private_, sent.ciphertext,
                                wanted.With(CKA_SENSITIVE, true), received));
  for (const CK_OBJECT_HANDLE key : {sent.key, received}) {
    EXPECT_EQ(ReadUlong(session_, key, CKA_CLASS), CK_ULONG{CKO_SECRET_KEY});
    EXPECT_EQ(ReadUlong(session_, key, CKA_VALUE_LEN), 16U);
    EXPECT_EQ(ReadBytes(session_, key, CKA_LABEL), ToBytes("secret"));
    EXPECT_FALSE(ReadBool(session_, key, CKA_LOCAL));
    EXPECT_FALSE(ReadBool(session_, key, CKA_ALWAYS_SENSITIVE));
    EXPECT_FALSE(ReadBool(session_, key, CKA_NEVER_EXTRACTABLE));
    EXPECT_TRUE(ReadBool(session_, key, CKA_EXTRACTABLE));
    EXPECT_EQ(ReadUlong(session_, key, CKA_KEY_GEN_MECHANISM), CK_UNAVAILABLE_INFORMATION);
  }
  EXPECT_EQ(ReadBytes(session_, sent.key, CKA_CHECK_VALUE),
            ReadBytes(session_, received, CKA_CHECK_VALUE));
}

TEST_F(KemTest, Permissions) {
  const CK_OBJECT_HANDLE no_public = Create(session_, X25519PublicKey(point_));
  const CK_OBJECT_HANDLE no_private = Create(session_, X25519PrivateKey(scalar_));
  EXPECT_FALSE(ReadBool(session_, no_public, CKA_ENCAPSULATE));
  EXPECT_FALSE(ReadBool(session_, no_private, CKA_DECAPSULATE));
  EXPECT_RV(CKR_KEY_FUNCTION_NOT_PERMITTED,
            Encapsulate(session_, EcdhKem(CKD_NULL), no_public, SecretTemplate()).rv);
  CK_OBJECT_HANDLE key = 0;
  EXPECT_RV(CKR_KEY_FUNCTION_NOT_PERMITTED,
            Decapsulate(session_, EcdhKem(CKD_NULL), no_private, point_, SecretTemplate(), key));
  // The wrong half of the pair has no such attribute.
  EXPECT_RV(CKR_KEY_FUNCTION_NOT_PERMITTED,
            Encapsulate(session_, EcdhKem(CKD_NULL), private_, SecretTemplate()).rv);
  EXPECT_RV(CKR_KEY_HANDLE_INVALID,
            Encapsulate(session_, EcdhKem(CKD_NULL), 0x7777777, SecretTemplate()).rv);
  // It cannot derive either.
  const CK_OBJECT_HANDLE kem_only = Create(
      session_, X25519PrivateKey(scalar_).With(CKA_DECAPSULATE, true).With(CKA_DERIVE, false));
  EXPECT_RV(CKR_KEY_FUNCTION_NOT_PERMITTED,
            Derive(session_, {.base = kem_only, .peer = point_, .key = SecretTemplate()}, key));
}

TEST_F(KemTest, Templates) {
  Template imposed;
  imposed.With(CKA_SENSITIVE, true).With(CKA_EXTRACTABLE, false).With(CKA_LABEL, "imposed");
  const auto bytes = [](Template& from) {
    const auto* at = reinterpret_cast<const CK_BYTE*>(from.data());
    return Bytes(at, at + from.size() * sizeof(CK_ATTRIBUTE));
  };
  const CK_OBJECT_HANDLE to = Create(session_, X25519PublicKey(point_)
                                                   .With(CKA_ENCAPSULATE, true)
                                                   .With(CKA_ENCAPSULATE_TEMPLATE, bytes(imposed)));
  const CK_OBJECT_HANDLE from =
      Create(session_, X25519PrivateKey(scalar_)
                           .With(CKA_DECAPSULATE, true)
                           .With(CKA_DECAPSULATE_TEMPLATE, bytes(imposed)));
  Template wanted;
  wanted.With(CKA_CLASS, CK_ULONG{CKO_SECRET_KEY}).With(CKA_TOKEN, false);
  const Encapsulated sent = Encapsulate(session_, EcdhKem(CKD_NULL), to, wanted);
  ASSERT_RV(CKR_OK, sent.rv);
  CK_OBJECT_HANDLE received = 0;
  ASSERT_RV(CKR_OK,
            Decapsulate(session_, EcdhKem(CKD_NULL), from, sent.ciphertext, wanted, received));
  for (const CK_OBJECT_HANDLE key : {sent.key, received}) {
    EXPECT_TRUE(ReadBool(session_, key, CKA_SENSITIVE));
    EXPECT_FALSE(ReadBool(session_, key, CKA_EXTRACTABLE));
    EXPECT_EQ(ReadBytes(session_, key, CKA_LABEL), ToBytes("imposed"));
    EXPECT_RV(CKR_ATTRIBUTE_SENSITIVE, ReadAttribute(session_, key, CKA_VALUE).rv);
  }
  EXPECT_RV(CKR_TEMPLATE_INCONSISTENT,
            Encapsulate(session_, EcdhKem(CKD_NULL), to, SecretTemplate()).rv);
  EXPECT_RV(CKR_TEMPLATE_INCONSISTENT, Decapsulate(session_, EcdhKem(CKD_NULL), from,
                                                   sent.ciphertext, SecretTemplate(), received));
}

TEST_F(KemTest, BadCiphertext) {
  for (const size_t size : {0U, 1U, 31U, 33U, 34U, 64U}) {
    EXPECT_RV(CKR_WRAPPED_KEY_LEN_RANGE, TryDecapsulate(Bytes(size, 9))) << size;
  }
  // Points of small order.
  for (const char* point : {"0000000000000000000000000000000000000000000000000000000000000000",
                            "0100000000000000000000000000000000000000000000000000000000000000",
                            "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
                            "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
                            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"}) {
    EXPECT_RV(CKR_WRAPPED_KEY_INVALID, TryDecapsulate(FromHex(point))) << point;
  }
  const CK_OBJECT_HANDLE bad =
      Create(session_, X25519PublicKey(Bytes(32)).With(CKA_ENCAPSULATE, true));
  EXPECT_RV(CKR_PUBLIC_KEY_INVALID,
            Encapsulate(session_, EcdhKem(CKD_NULL), bad, SecretTemplate()).rv);
}

TEST_F(KemTest, BadParameters) {
  CK_OBJECT_HANDLE key = 0;
  Bytes point = point_;
  CK_ECDH1_DERIVE_PARAMS with_peer{CKD_NULL, 0, nullptr, point.size(), point.data()};
  for (const OwnedMechanism& mechanism :
       {EcdhKem(CKD_NULL, Bytes(1)), EcdhKem(0), EcdhKem(77), OwnedMechanism(CKM_ECDH1_DERIVE),
        OwnedMechanism(CKM_ECDH1_DERIVE, Bytes(7)),
        OwnedMechanism::Of(CKM_ECDH1_DERIVE, with_peer)}) {
    EXPECT_RV(CKR_MECHANISM_PARAM_INVALID,
              Encapsulate(session_, mechanism, public_, SecretTemplate()).rv);
    EXPECT_RV(CKR_MECHANISM_PARAM_INVALID,
              Decapsulate(session_, mechanism, private_, point_, SecretTemplate(), key));
  }
  EXPECT_RV(CKR_MECHANISM_INVALID,
            Encapsulate(session_, OwnedMechanism(CKM_SHA256), public_, SecretTemplate()).rv);
  EXPECT_RV(CKR_KEY_TYPE_INCONSISTENT,
            Encapsulate(session_, EcdhKem(CKD_NULL, {}, CKM_ECDH1_COFACTOR_DERIVE), public_,
                        SecretTemplate())
                .rv);
  EXPECT_RV(CKR_TEMPLATE_INCONSISTENT,
            Encapsulate(session_, EcdhKem(CKD_NULL), public_,
                        SecretTemplate().With(CKA_CLASS, CK_ULONG{CKO_PRIVATE_KEY}))
                .rv);
  OwnedMechanism mechanism = EcdhKem(CKD_NULL);
  Template secret = SecretTemplate();
  CK_ULONG size = 32;
  Bytes out(32);
  const auto& functions = *P11v32();
  EXPECT_RV(CKR_ARGUMENTS_BAD,
            functions.C_EncapsulateKey(session_, mechanism.get(), public_, secret.data(),
                                       secret.size(), out.data(), nullptr, &key));
  EXPECT_RV(CKR_ARGUMENTS_BAD,
            functions.C_EncapsulateKey(session_, mechanism.get(), public_, secret.data(),
                                       secret.size(), out.data(), &size, nullptr));
  EXPECT_RV(CKR_ARGUMENTS_BAD, functions.C_EncapsulateKey(session_, nullptr, public_, secret.data(),
                                                          secret.size(), out.data(), &size, &key));
  EXPECT_RV(CKR_ARGUMENTS_BAD,
            functions.C_DecapsulateKey(session_, mechanism.get(), private_, secret.data(),
                                       secret.size(), nullptr, 32, &key));
  EXPECT_RV(CKR_ARGUMENTS_BAD,
            functions.C_DecapsulateKey(session_, mechanism.get(), private_, secret.data(),
                                       secret.size(), out.data(), 32, nullptr));
  EXPECT_RV(CKR_SESSION_HANDLE_INVALID,
            functions.C_DecapsulateKey(0x7777777, mechanism.get(), private_, secret.data(),
                                       secret.size(), out.data(), 32, &key));
}

// Nothing is asynchronous here (§5.21).
TEST_F(KemTest, Asynchronous) {
  const auto& functions = *P11v32();
  CK_UTF8CHAR name[] = "C_DecapsulateKey";
  CK_ASYNC_DATA data{};
  CK_ULONG id = 0;
  CK_BYTE bytes[4];
  EXPECT_RV(CKR_FUNCTION_NOT_SUPPORTED, functions.C_AsyncComplete(session_, name, &data));
  EXPECT_RV(CKR_FUNCTION_NOT_SUPPORTED, functions.C_AsyncGetID(session_, name, &id));
  EXPECT_RV(CKR_FUNCTION_NOT_SUPPORTED,
            functions.C_AsyncJoin(session_, name, id, bytes, sizeof bytes));
  CK_SESSION_HANDLE session = 0;
  EXPECT_RV(CKR_SESSION_ASYNC_NOT_SUPPORTED,
            P11().C_OpenSession(slot_, CKF_SERIAL_SESSION | CKF_ASYNC_SESSION, nullptr, nullptr,
                                &session));
}

}  // namespace
}  // namespace secretmem::conformance
