// C_DeriveKey with CKM_ECDH1_DERIVE: PKCS#11 3.1 §5.18.5 and §6.3 (elliptic curve Diffie-Hellman).
// All results are compared with OpenSSL's.
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "tests/conformance/fixtures.h"
#include "tests/conformance/x25519.h"

namespace secretmem::conformance {
namespace {

class DeriveTest : public UserTest {
 protected:
  void SetUp() override {
    UserTest::SetUp();
    if (HasFatalFailure()) return;
    base_ = Create(session_, X25519PrivateKey(private_));
  }
  Derivation With(Template key) const { return {.base = base_, .peer = peer_, .key = key}; }
  CK_RV TryDerive(const Derivation& derivation) const {
    CK_OBJECT_HANDLE key = CK_INVALID_HANDLE;
    const CK_RV rv = Derive(session_, derivation, key);
    EXPECT_TRUE(rv == CKR_OK || key == CK_INVALID_HANDLE) << "a handle beside an error";
    return rv;
  }
  // The last `length` bytes of the shared secret.
  Bytes Tail(size_t length) const {
    return Bytes(shared_.end() - static_cast<long>(length), shared_.end());
  }

  const Bytes private_ = ReferenceRandom(32);
  const Bytes peer_ = ReferencePublicKey(ReferenceRandom(32));
  const Bytes shared_ = ReferenceX25519(private_, peer_);
  CK_OBJECT_HANDLE base_ = 0;
};

TEST_F(DeriveTest, BothSides) {
  KeyPair one;
  KeyPair two;
  ASSERT_RV(CKR_OK, GenerateKeyPair(session_, PublicTemplate(), PrivateTemplate(), one));
  ASSERT_RV(CKR_OK, GenerateKeyPair(session_, PublicTemplate(), PrivateTemplate(), two));
  const auto derive = [&](CK_OBJECT_HANDLE mine, CK_OBJECT_HANDLE theirs) {
    return DeriveValue(session_, {.base = mine,
                                  .peer = RawPoint(ReadBytes(session_, theirs, CKA_EC_POINT)),
                                  .key = SecretTemplate()});
  };
  const Bytes shared = derive(one.private_key, two.public_key);
  EXPECT_EQ(shared.size(), 32U);
  EXPECT_EQ(shared, derive(two.private_key, one.public_key));
  EXPECT_NE(shared, derive(one.private_key, one.public_key));
}

// §6.3: with CKD_NULL the key is the shared secret, its leading bytes removed if it is too long.
TEST_F(DeriveTest, NullKdf) {
  EXPECT_EQ(DeriveValue(session_, With(SecretTemplate())), shared_);
  for (const CK_ULONG length : {1UL, 16UL, 24UL, 31UL, 32UL}) {
    EXPECT_EQ(DeriveValue(session_, With(SecretTemplate().With(CKA_VALUE_LEN, length))),
              Tail(length))
        << length;
  }
}

// The result as a whole: what kind of object it is.
TEST_F(DeriveTest, Attributes) {
  CK_OBJECT_HANDLE key = 0;
  ASSERT_RV(CKR_OK,
            Derive(session_, With(SecretTemplate().With(CKA_LABEL, "l").With(CKA_ID, "i")), key));
  EXPECT_EQ(ReadUlong(session_, key, CKA_CLASS), CKO_SECRET_KEY);
  EXPECT_EQ(ReadUlong(session_, key, CKA_KEY_TYPE), CKK_GENERIC_SECRET);
  EXPECT_EQ(ReadUlong(session_, key, CKA_VALUE_LEN), 32U);
  EXPECT_EQ(ReadBytes(session_, key, CKA_LABEL), ToBytes("l"));
  EXPECT_EQ(ReadBytes(session_, key, CKA_ID), ToBytes("i"));
  EXPECT_FALSE(ReadBool(session_, key, CKA_TOKEN));
  EXPECT_FALSE(ReadBool(session_, key, CKA_LOCAL)) << "§4.10: only C_GenerateKey makes it true";
  EXPECT_EQ(ReadUlong(session_, key, CKA_KEY_GEN_MECHANISM), CK_UNAVAILABLE_INFORMATION);
}

struct Kdf {
  CK_ULONG kdf;
  const char* digest;
};

void PrintTo(const Kdf& kdf, std::ostream* out) { *out << kdf.digest; }

class DeriveKdfTest : public DeriveTest, public testing::WithParamInterface<Kdf> {};

// §6.3, ANSI X9.63: with and without shared information, shorter and longer than one digest.
TEST_P(DeriveKdfTest, EqualsReference) {
  for (const Bytes& info : {Bytes(), ToBytes("shared info"), Bytes(300, 0x5a)}) {
    for (const CK_ULONG length : {1UL, 16UL, 20UL, 32UL, 64UL, 65UL, 200UL}) {
      Derivation derivation = With(SecretTemplate().With(CKA_VALUE_LEN, length));
      derivation.kdf = GetParam().kdf;
      derivation.info = info;
      EXPECT_EQ(DeriveValue(session_, derivation),
                ReferenceX963(GetParam().digest, shared_, info, length))
          << info.size() << " bytes of information, key of " << length;
    }
  }
}

// A KDF has no natural length: CKA_VALUE_LEN must say.
TEST_P(DeriveKdfTest, LengthNeeded) {
  Derivation derivation = With(SecretTemplate());
  derivation.kdf = GetParam().kdf;
  EXPECT_RV_IN(TryDerive(derivation), CKR_TEMPLATE_INCOMPLETE, CKR_TEMPLATE_INCONSISTENT);
}

INSTANTIATE_TEST_SUITE_P(X963, DeriveKdfTest,
                         testing::Values(Kdf{CKD_SHA1_KDF, "SHA1"}, Kdf{CKD_SHA224_KDF, "SHA224"},
                                         Kdf{CKD_SHA256_KDF, "SHA256"},
                                         Kdf{CKD_SHA384_KDF, "SHA384"},
                                         Kdf{CKD_SHA512_KDF, "SHA512"}),
                         [](const auto& instance) { return std::string(instance.param.digest); });

// §6.3: the types of key that the secret can become.
TEST_F(DeriveTest, IntoAes) {
  for (const CK_ULONG length : {16UL, 24UL, 32UL}) {
    const Template aes = SecretTemplate().With(CKA_KEY_TYPE, CKK_AES).With(CKA_VALUE_LEN, length);
    CK_OBJECT_HANDLE key = 0;
    ASSERT_RV(CKR_OK, Derive(session_, With(aes), key));
    EXPECT_EQ(ReadUlong(session_, key, CKA_KEY_TYPE), CKK_AES);
    EXPECT_EQ(ReadUlong(session_, key, CKA_VALUE_LEN), length);
    EXPECT_EQ(ReadBytes(session_, key, CKA_VALUE), Tail(length));
  }
}

TEST_F(DeriveTest, IntoAesOfWrongLength) {
  for (const CK_ULONG length : {1UL, 15UL, 17UL, 31UL}) {
    EXPECT_RV_IN(
        TryDerive(With(SecretTemplate().With(CKA_KEY_TYPE, CKK_AES).With(CKA_VALUE_LEN, length))),
        CKR_ATTRIBUTE_VALUE_INVALID, CKR_KEY_SIZE_RANGE, CKR_TEMPLATE_INCONSISTENT)
        << length;
  }
}

TEST_F(DeriveTest, IntoOtherSecretKeys) {
  for (const CK_KEY_TYPE type : {CKK_HKDF, CKK_SHA256_HMAC}) {
    SCOPED_TRACE(type);
    CK_OBJECT_HANDLE key = 0;
    ASSERT_RV(
        CKR_OK,
        Derive(session_,
               With(SecretTemplate().With(CKA_KEY_TYPE, type).With(CKA_VALUE_LEN, CK_ULONG{32})),
               key));
    EXPECT_EQ(ReadUlong(session_, key, CKA_KEY_TYPE), type);
    EXPECT_EQ(ReadBytes(session_, key, CKA_VALUE), shared_);
  }
}

// §4.7 does not ask for CKA_KEY_TYPE in C_DeriveKey's template; a default can only be the generic
// secret that other derivations fall back to (§6.27).
TEST_F(DeriveTest, NoKeyType) {
  CK_OBJECT_HANDLE key = 0;
  const CK_RV rv = Derive(session_, With(SecretTemplate().Without(CKA_KEY_TYPE)), key);
  EXPECT_RV_IN(rv, CKR_OK, CKR_TEMPLATE_INCOMPLETE);
  if (rv != CKR_OK) return;
  EXPECT_EQ(ReadUlong(session_, key, CKA_KEY_TYPE), CKK_GENERIC_SECRET);
  EXPECT_EQ(ReadBytes(session_, key, CKA_VALUE), shared_);
}

// §5.18.5: the template must be of a secret key, with nothing that the derivation decides.
TEST_F(DeriveTest, TemplateErrors) {
  const auto before = FindAll(session_);
  EXPECT_RV_IN(TryDerive(With(SecretTemplate().With(CKA_CLASS, CKO_PRIVATE_KEY))),
               CKR_TEMPLATE_INCONSISTENT, CKR_ATTRIBUTE_VALUE_INVALID);
  EXPECT_RV_IN(TryDerive(With(SecretTemplate().With(CKA_KEY_TYPE, CKK_RSA))),
               CKR_TEMPLATE_INCONSISTENT, CKR_ATTRIBUTE_VALUE_INVALID);
  EXPECT_RV_IN(TryDerive(With(SecretTemplate().With(CKA_VALUE, Bytes(32, 1)))),
               CKR_ATTRIBUTE_READ_ONLY, CKR_TEMPLATE_INCONSISTENT);
  EXPECT_RV_IN(TryDerive(With(SecretTemplate().With(CKA_LOCAL, true))), CKR_ATTRIBUTE_READ_ONLY,
               CKR_TEMPLATE_INCONSISTENT);
  EXPECT_EQ(FindAll(session_), before);
}

// More than X25519 yields cannot be had without a KDF.
TEST_F(DeriveTest, NullKdfTooLong) {
  for (const CK_ULONG length : {33UL, 64UL, 1UL << 60, ~0UL}) {
    EXPECT_RV_IN(TryDerive(With(SecretTemplate().With(CKA_VALUE_LEN, length))),
                 CKR_ATTRIBUTE_VALUE_INVALID, CKR_KEY_SIZE_RANGE, CKR_TEMPLATE_INCONSISTENT)
        << length;
  }
}

TEST_F(DeriveTest, ZeroLength) {
  EXPECT_RV_IN(TryDerive(With(SecretTemplate().With(CKA_VALUE_LEN, 0UL))),
               CKR_ATTRIBUTE_VALUE_INVALID, CKR_KEY_SIZE_RANGE, CKR_TEMPLATE_INCONSISTENT);
}

TEST_F(DeriveTest, KdfAbsurdLength) {
  for (const CK_ULONG length : {1UL << 60, ~0UL}) {
    Derivation derivation = With(SecretTemplate().With(CKA_VALUE_LEN, length));
    derivation.kdf = CKD_SHA256_KDF;
    EXPECT_RV_IN(TryDerive(derivation), CKR_ATTRIBUTE_VALUE_INVALID, CKR_KEY_SIZE_RANGE,
                 CKR_TEMPLATE_INCONSISTENT)
        << length;
  }
}

// §6.3: both history flags need the base key's, and the new key's own CKA_SENSITIVE, or that it is
// not CKA_EXTRACTABLE. An imported base was never either; a generated one can be both.
TEST_F(DeriveTest, SensitivityInheritance) {
  for (const bool base_hidden : {false, true}) {
    KeyPair pair;
    ASSERT_RV(
        CKR_OK,
        GenerateKeyPair(
            session_, PublicTemplate(),
            PrivateTemplate().With(CKA_SENSITIVE, base_hidden).With(CKA_EXTRACTABLE, !base_hidden),
            pair));
    for (const CK_OBJECT_HANDLE base : {base_, pair.private_key}) {
      const bool history = base_hidden && base == pair.private_key;
      for (const bool sensitive : {false, true}) {
        for (const bool extractable : {false, true}) {
          CK_OBJECT_HANDLE key = 0;
          ASSERT_RV(CKR_OK, Derive(session_,
                                   {.base = base,
                                    .peer = peer_,
                                    .key = SecretTemplate()
                                               .With(CKA_SENSITIVE, sensitive)
                                               .With(CKA_EXTRACTABLE, extractable)},
                                   key));
          EXPECT_EQ(ReadBool(session_, key, CKA_SENSITIVE), sensitive);
          EXPECT_EQ(ReadBool(session_, key, CKA_EXTRACTABLE), extractable);
          EXPECT_EQ(ReadBool(session_, key, CKA_ALWAYS_SENSITIVE), history && sensitive);
          EXPECT_EQ(ReadBool(session_, key, CKA_NEVER_EXTRACTABLE), history && !extractable);
          EXPECT_RV(!sensitive && extractable ? CKR_OK : CKR_ATTRIBUTE_SENSITIVE,
                    ReadAttribute(session_, key, CKA_VALUE).rv);
        }
      }
    }
  }
}

// §6.3: the peer's key as raw bytes; other lengths are no X25519 key.
TEST_F(DeriveTest, PeerLengths) {
  for (const size_t length : {1U, 31U, 33U, 56U, 64U, 65U}) {
    Derivation derivation = With(SecretTemplate());
    derivation.peer = Bytes(length, 9);
    EXPECT_RV_IN(TryDerive(derivation), CKR_PUBLIC_KEY_INVALID, CKR_MECHANISM_PARAM_INVALID)
        << length;
  }
}

TEST_F(DeriveTest, NoPeer) {
  Derivation derivation = With(SecretTemplate());
  derivation.peer.clear();
  EXPECT_RV_IN(TryDerive(derivation), CKR_MECHANISM_PARAM_INVALID, CKR_PUBLIC_KEY_INVALID,
               CKR_ARGUMENTS_BAD);
}

// RFC 7748 §6.1: an all-zero result must not become a key.
TEST_F(DeriveTest, SmallOrderPeer) {
  const auto before = FindAll(session_);
  for (const CK_BYTE first : {CK_BYTE{0}, CK_BYTE{1}}) {
    Derivation derivation = With(SecretTemplate());
    derivation.peer = Bytes(32, 0);
    derivation.peer[0] = first;
    EXPECT_RV(CKR_PUBLIC_KEY_INVALID, TryDerive(derivation));
  }
  EXPECT_EQ(FindAll(session_), before);
}

// §6.3: with CKD_NULL the shared data must be absent; an unknown KDF is a bad parameter.
TEST_F(DeriveTest, KdfErrors) {
  for (const CK_ULONG kdf : {0UL, 0x99UL, ~0UL}) {
    Derivation derivation = With(SecretTemplate().With(CKA_VALUE_LEN, CK_ULONG{32}));
    derivation.kdf = kdf;
    EXPECT_RV(CKR_MECHANISM_PARAM_INVALID, TryDerive(derivation)) << kdf;
  }
}

TEST_F(DeriveTest, SharedDataWithoutKdf) {
  Derivation derivation = With(SecretTemplate());
  derivation.info = ToBytes("info");
  EXPECT_RV(CKR_MECHANISM_PARAM_INVALID, TryDerive(derivation));
}

// §4.7: CKA_DERIVE, CKA_ALLOWED_MECHANISMS and the kind of the base key.
TEST_F(DeriveTest, BaseKeyWithoutDerive) {
  Derivation derivation = With(SecretTemplate());
  derivation.base = Create(session_, X25519PrivateKey(private_).With(CKA_DERIVE, false));
  EXPECT_RV(CKR_KEY_FUNCTION_NOT_PERMITTED, TryDerive(derivation));
}

TEST_F(DeriveTest, AllowedMechanisms) {
  Derivation derivation = With(SecretTemplate());
  derivation.base = Create(session_, X25519PrivateKey(private_).With(
                                         CKA_ALLOWED_MECHANISMS, Template::Encode(CKM_AES_CBC)));
  EXPECT_RV_IN(TryDerive(derivation), CKR_MECHANISM_INVALID, CKR_KEY_FUNCTION_NOT_PERMITTED);
  Bytes both = Template::Encode(CKM_AES_CBC);
  const Bytes ecdh = Template::Encode(CKM_ECDH1_DERIVE);
  both.insert(both.end(), ecdh.begin(), ecdh.end());
  derivation.base = Create(session_, X25519PrivateKey(private_).With(CKA_ALLOWED_MECHANISMS, both));
  EXPECT_EQ(DeriveValue(session_, derivation), shared_);
}

// §4.9: CKA_DERIVE_TEMPLATE: attributes of all keys derived, added or contradicted.
TEST_F(DeriveTest, DeriveTemplate) {
  CK_BBOOL yes = 1;
  CK_ATTRIBUTE inner[] = {{CKA_SENSITIVE, &yes, sizeof yes}};
  Template base = X25519PrivateKey(private_);
  std::vector<CK_ATTRIBUTE> attributes(base.data(), base.data() + base.size());
  attributes.push_back({CKA_DERIVE_TEMPLATE, inner, sizeof inner});
  CK_OBJECT_HANDLE key = 0;
  ASSERT_RV(CKR_OK, P11().C_CreateObject(session_, attributes.data(), attributes.size(), &key));
  Derivation derivation = With(SecretTemplate().Without(CKA_SENSITIVE));
  derivation.base = key;
  CK_OBJECT_HANDLE secret = 0;
  ASSERT_RV(CKR_OK, Derive(session_, derivation, secret));
  EXPECT_TRUE(ReadBool(session_, secret, CKA_SENSITIVE));
  derivation.key = SecretTemplate().With(CKA_SENSITIVE, false);
  EXPECT_RV(CKR_TEMPLATE_INCONSISTENT, TryDerive(derivation));
}

TEST_F(DeriveTest, BaseKeyOfAnotherKind) {
  Derivation derivation = With(SecretTemplate());
  derivation.base = Create(session_, SecretObject(Bytes(32, 1)).With(CKA_DERIVE, true));
  EXPECT_RV(CKR_KEY_TYPE_INCONSISTENT, TryDerive(derivation));
}

TEST_F(DeriveTest, BaseIsPublicKey) {
  Derivation derivation = With(SecretTemplate());
  derivation.base = Create(session_, X25519PublicKey(peer_).With(CKA_DERIVE, true));
  EXPECT_RV_IN(TryDerive(derivation), CKR_KEY_TYPE_INCONSISTENT, CKR_KEY_FUNCTION_NOT_PERMITTED,
               CKR_KEY_HANDLE_INVALID);
}

TEST_F(DeriveTest, BaseHandles) {
  for (const CK_OBJECT_HANDLE handle : {CK_OBJECT_HANDLE{0}, base_ + 1000, ~CK_OBJECT_HANDLE{0}}) {
    Derivation derivation = With(SecretTemplate());
    derivation.base = handle;
    EXPECT_RV_IN(TryDerive(derivation), CKR_KEY_HANDLE_INVALID, CKR_OBJECT_HANDLE_INVALID);
  }
}

TEST_F(DeriveTest, AccessRules) {
  const CK_SESSION_HANDLE read_only = Open(kReadOnly);
  CK_OBJECT_HANDLE key = 0;
  EXPECT_RV(CKR_OK, Derive(read_only, With(SecretTemplate()), key));
  EXPECT_RV(CKR_SESSION_READ_ONLY,
            Derive(read_only, With(SecretTemplate().With(CKA_TOKEN, true)), key));
  ASSERT_RV(CKR_OK, P11().C_Logout(session_));
  EXPECT_RV(CKR_USER_NOT_LOGGED_IN,
            Derive(session_, With(SecretTemplate().With(CKA_PRIVATE, true)), key));
  EXPECT_RV(CKR_OK, Derive(session_, With(SecretTemplate()), key)) << "a public key object";
}

TEST_F(DeriveTest, IntoTokenObject) {
  CK_OBJECT_HANDLE key = 0;
  ASSERT_RV(CKR_OK, Derive(session_,
                           With(SecretTemplate()
                                    .With(CKA_TOKEN, true)
                                    .With(CKA_PRIVATE, true)
                                    .With(CKA_LABEL, "stored")),
                           key));
  ASSERT_NO_FATAL_FAILURE(Reinitialise());
  const CK_SESSION_HANDLE session = Open(kReadOnly);
  ASSERT_RV(CKR_OK, Login(session, CKU_USER, UserPin()));
  const auto found = FindAll(session, Template().With(CKA_LABEL, "stored"));
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(ReadBytes(session, found[0], CKA_VALUE), shared_);
}

// Unclamped private keys are stored as they came and used as RFC 7748 says.
TEST_F(DeriveTest, UnclampedPrivateKey) {
  for (const CK_BYTE fill : {CK_BYTE{0xff}, CK_BYTE{0x00}, CK_BYTE{0x07}}) {
    const Bytes value(32, fill);
    const CK_OBJECT_HANDLE base = Create(session_, X25519PrivateKey(value));
    EXPECT_EQ(ReadBytes(session_, base, CKA_VALUE), value);
    EXPECT_EQ(DeriveValue(session_, {.base = base, .peer = peer_, .key = SecretTemplate()}),
              ReferenceX25519(value, peer_));
  }
}

}  // namespace
}  // namespace secretmem::conformance
