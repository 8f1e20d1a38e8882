// C_GenerateKeyPair and C_GenerateKey: PKCS#11 3.1 §5.18.1, §5.18.2, §6.3 (Montgomery key pairs),
// §6.8 (generic secret keys), §4.7 to §4.10.
#include <utility>
#include <vector>

#include "tests/conformance/fixtures.h"
#include "tests/conformance/x25519.h"

namespace secretmem::conformance {
namespace {

class KeyPairTest : public UserTest {
 protected:
  KeyPair Generate(const Template& public_key, const Template& private_key) const {
    KeyPair pair;
    EXPECT_RV(CKR_OK, GenerateKeyPair(session_, public_key, private_key, pair));
    return pair;
  }
  CK_RV TryGenerate(const Template& public_key, const Template& private_key) const {
    KeyPair pair;
    const CK_RV rv = GenerateKeyPair(session_, public_key, private_key, pair);
    EXPECT_TRUE(rv == CKR_OK || (pair.public_key == 0 && pair.private_key == 0)) << "handles set";
    return rv;
  }
  CK_RV TryParams(const char* hex) const {
    return TryGenerate(PublicTemplate().With(CKA_EC_PARAMS, FromHex(hex)), PrivateTemplate());
  }
};

// §6.3: the whole of both objects.
TEST_F(KeyPairTest, Attributes) {
  const KeyPair pair = Generate(PublicTemplate().With(CKA_ID, "id").With(CKA_LABEL, "public"),
                                PrivateTemplate().With(CKA_ID, "id").With(CKA_LABEL, "private"));
  EXPECT_NE(pair.public_key, pair.private_key);
  EXPECT_EQ(ReadUlong(session_, pair.public_key, CKA_CLASS), CKO_PUBLIC_KEY);
  EXPECT_EQ(ReadUlong(session_, pair.private_key, CKA_CLASS), CKO_PRIVATE_KEY);
  EXPECT_EQ(ReadBytes(session_, pair.public_key, CKA_LABEL), ToBytes("public"));
  EXPECT_EQ(ReadBytes(session_, pair.private_key, CKA_LABEL), ToBytes("private"));
  for (const CK_OBJECT_HANDLE key : {pair.public_key, pair.private_key}) {
    EXPECT_EQ(ReadUlong(session_, key, CKA_KEY_TYPE), X25519KeyType());
    EXPECT_EQ(ReadBytes(session_, key, CKA_EC_PARAMS), X25519Params());
    EXPECT_EQ(ReadBytes(session_, key, CKA_ID), ToBytes("id"));
    EXPECT_FALSE(ReadBool(session_, key, CKA_TOKEN));
    EXPECT_TRUE(ReadBool(session_, key, CKA_LOCAL));
    EXPECT_EQ(ReadUlong(session_, key, CKA_KEY_GEN_MECHANISM), X25519KeyPairMechanism());
  }
  EXPECT_FALSE(ReadBool(session_, pair.public_key, CKA_TRUSTED));
  EXPECT_FALSE(ReadBool(session_, pair.private_key, CKA_ALWAYS_AUTHENTICATE));
  EXPECT_FALSE(ReadBool(session_, pair.private_key, CKA_WRAP_WITH_TRUSTED));
  EXPECT_TRUE(ReadBool(session_, pair.private_key, CKA_DERIVE));
}

// §6.3 as corrected by errata 01 of 3.0: the raw 32 bytes; and they belong to the private key.
TEST_F(KeyPairTest, PublicKeyBelongsToPrivateKey) {
  const KeyPair pair = Generate(PublicTemplate(), PrivateTemplate());
  const Bytes value = ReadBytes(session_, pair.private_key, CKA_VALUE);
  const Bytes raw = RawPoint(ReadBytes(session_, pair.public_key, CKA_EC_POINT));
  ASSERT_EQ(value.size(), 32U);
  ASSERT_EQ(raw.size(), 32U);
  EXPECT_EQ(raw, ReferencePublicKey(value));
  const KeyPair second = Generate(PublicTemplate(), PrivateTemplate());
  EXPECT_NE(value, ReadBytes(session_, second.private_key, CKA_VALUE));
  EXPECT_NE(raw, RawPoint(ReadBytes(session_, second.public_key, CKA_EC_POINT)));
}

// §4.9: ALWAYS_SENSITIVE and NEVER_EXTRACTABLE tell the key's whole life, from the beginning.
TEST_F(KeyPairTest, History) {
  for (const bool sensitive : {false, true}) {
    for (const bool extractable : {false, true}) {
      const KeyPair pair = Generate(
          PublicTemplate(),
          PrivateTemplate().With(CKA_SENSITIVE, sensitive).With(CKA_EXTRACTABLE, extractable));
      EXPECT_EQ(ReadBool(session_, pair.private_key, CKA_SENSITIVE), sensitive);
      EXPECT_EQ(ReadBool(session_, pair.private_key, CKA_EXTRACTABLE), extractable);
      EXPECT_EQ(ReadBool(session_, pair.private_key, CKA_ALWAYS_SENSITIVE), sensitive);
      EXPECT_EQ(ReadBool(session_, pair.private_key, CKA_NEVER_EXTRACTABLE), !extractable);
      EXPECT_RV(!sensitive && extractable ? CKR_OK : CKR_ATTRIBUTE_SENSITIVE,
                ReadAttribute(session_, pair.private_key, CKA_VALUE).rv);
    }
  }
}

// Every form of CKA_EC_PARAMS that clients send; the canonical OID is what is reported.
TEST_F(KeyPairTest, OidParams) { EXPECT_RV(CKR_OK, TryParams("06032b656e")); }

TEST_F(KeyPairTest, EveryFormOfParams) {
  for (const char* form : {
           "06032b656e",                // id-X25519, RFC 8410
           "130a63757276653235353139",  // PrintableString "curve25519", §6.3
           "130b63757276653235353139",  // the same with a wrong length, as pkcs11-tool sends it
           "060a2b060104019755010501",  // 1.3.6.1.4.1.3029.1.5.1
           "06092b06010401da470f01",    // the OID of NSS
       }) {
    SCOPED_TRACE(form);
    const KeyPair pair =
        Generate(PublicTemplate().With(CKA_EC_PARAMS, FromHex(form)), PrivateTemplate());
    EXPECT_EQ(ReadBytes(session_, pair.public_key, CKA_EC_PARAMS), X25519Params());
    EXPECT_EQ(ReadBytes(session_, pair.private_key, CKA_EC_PARAMS), X25519Params());
    EXPECT_EQ(ReadBytes(session_, pair.public_key, CKA_EC_POINT).size(), 32U);
  }
}

// §6.3: a well-formed curve that is not supported, and bytes that are no curve at all.
TEST_F(KeyPairTest, OtherParams) {
  for (const char* form : {"06082a8648ce3d030107",             // P-256
                           "06032b6570",                       // Ed25519
                           "06032a0304",                       // 1.2.3.4
                           "130c656477617264733235353139"}) {  // "edwards25519"
    SCOPED_TRACE(form);
    EXPECT_RV(CKR_CURVE_NOT_SUPPORTED, TryParams(form));
  }
}

TEST_F(KeyPairTest, MalformedParams) {
  for (const char* form : {"06", "0603", "06032b65", "06032b656e00", "0500", "ff", "13",
                           "130a637572766532353531", "3003060100", "068000"}) {
    SCOPED_TRACE(form);
    EXPECT_RV_IN(TryParams(form), CKR_DOMAIN_PARAMS_INVALID, CKR_ATTRIBUTE_VALUE_INVALID);
  }
}

TEST_F(KeyPairTest, NoParams) {
  EXPECT_RV(CKR_TEMPLATE_INCOMPLETE,
            TryGenerate(PublicTemplate().Without(CKA_EC_PARAMS), PrivateTemplate()));
  EXPECT_RV_IN(TryParams(""), CKR_DOMAIN_PARAMS_INVALID, CKR_ATTRIBUTE_VALUE_INVALID,
               CKR_TEMPLATE_INCOMPLETE);
}

// §5.18.2: class and key type may be left out or repeated, not contradicted.
TEST_F(KeyPairTest, ClassAndKeyType) {
  const Template public_key = PublicTemplate();
  const Template private_key = PrivateTemplate();
  EXPECT_RV(
      CKR_OK,
      TryGenerate(
          Template(public_key).With(CKA_CLASS, CKO_PUBLIC_KEY).With(CKA_KEY_TYPE, X25519KeyType()),
          Template(private_key)
              .With(CKA_CLASS, CKO_PRIVATE_KEY)
              .With(CKA_KEY_TYPE, X25519KeyType())));
  const auto before = FindAll(session_);
  EXPECT_RV_IN(TryGenerate(Template(public_key).With(CKA_CLASS, CKO_PRIVATE_KEY), private_key),
               CKR_TEMPLATE_INCONSISTENT, CKR_ATTRIBUTE_VALUE_INVALID);
  EXPECT_RV_IN(TryGenerate(public_key, Template(private_key).With(CKA_CLASS, CKO_PUBLIC_KEY)),
               CKR_TEMPLATE_INCONSISTENT, CKR_ATTRIBUTE_VALUE_INVALID);
  EXPECT_RV(CKR_TEMPLATE_INCONSISTENT,
            TryGenerate(Template(public_key).With(CKA_KEY_TYPE, CKK_RSA), private_key));
  EXPECT_RV(CKR_TEMPLATE_INCONSISTENT,
            TryGenerate(public_key, Template(private_key).With(CKA_KEY_TYPE, CKK_AES)));
  EXPECT_EQ(FindAll(session_), before) << "no half of a pair may stay";
}

// §4.9: what the generation itself decides is not the caller's to give.
TEST_F(KeyPairTest, LibraryAttributes) {
  const auto before = FindAll(session_);
  for (const CK_ATTRIBUTE_TYPE type : {CKA_LOCAL, CKA_ALWAYS_SENSITIVE, CKA_NEVER_EXTRACTABLE}) {
    EXPECT_RV_IN(TryGenerate(PublicTemplate(), PrivateTemplate().With(type, true)),
                 CKR_ATTRIBUTE_READ_ONLY, CKR_TEMPLATE_INCONSISTENT)
        << "0x" << std::hex << type;
  }
  EXPECT_RV_IN(TryGenerate(PublicTemplate(), PrivateTemplate().With(CKA_VALUE, Bytes(32, 1))),
               CKR_ATTRIBUTE_READ_ONLY, CKR_TEMPLATE_INCONSISTENT);
  EXPECT_RV_IN(TryGenerate(PublicTemplate().With(CKA_EC_POINT, Bytes(32, 1)), PrivateTemplate()),
               CKR_ATTRIBUTE_READ_ONLY, CKR_TEMPLATE_INCONSISTENT);
  EXPECT_EQ(FindAll(session_), before);
}

// §2.4 and §5.18.2: the states for keys are those for all objects.
TEST_F(KeyPairTest, AccessRules) {
  const CK_SESSION_HANDLE read_only = Open(kReadOnly);
  KeyPair pair;
  EXPECT_RV(CKR_SESSION_READ_ONLY, GenerateKeyPair(read_only, PublicTemplate(),
                                                   PrivateTemplate().With(CKA_TOKEN, true), pair));
  EXPECT_RV(
      CKR_SESSION_READ_ONLY,
      GenerateKeyPair(read_only, PublicTemplate().With(CKA_TOKEN, true), PrivateTemplate(), pair));
  EXPECT_RV(CKR_OK, GenerateKeyPair(read_only, PublicTemplate(), PrivateTemplate(), pair));
  ASSERT_RV(CKR_OK, P11().C_Logout(session_));
  EXPECT_RV(
      CKR_USER_NOT_LOGGED_IN,
      GenerateKeyPair(session_, PublicTemplate(), PrivateTemplate().With(CKA_PRIVATE, true), pair));
  EXPECT_RV(CKR_OK, GenerateKeyPair(session_, PublicTemplate().With(CKA_PRIVATE, false),
                                    PrivateTemplate(), pair));
}

// Usage flags that mean nothing for the key type are stored, not refused: clients send them.
TEST_F(KeyPairTest, OtherUsageFlags) {
  const KeyPair pair =
      Generate(PublicTemplate().With(CKA_VERIFY, true).With(CKA_DERIVE, true).With(CKA_WRAP, true),
               PrivateTemplate().With(CKA_SIGN, true).With(CKA_UNWRAP, true));
  EXPECT_TRUE(ReadBool(session_, pair.public_key, CKA_VERIFY));
  EXPECT_TRUE(ReadBool(session_, pair.public_key, CKA_WRAP));
  EXPECT_TRUE(ReadBool(session_, pair.private_key, CKA_SIGN));
  EXPECT_TRUE(ReadBool(session_, pair.private_key, CKA_UNWRAP));
}

// An empty private template: defaults that make the key safe and usable.
TEST_F(KeyPairTest, Defaults) {
  const KeyPair pair = Generate(Template().With(CKA_EC_PARAMS, X25519Params()), Template());
  EXPECT_FALSE(ReadBool(session_, pair.public_key, CKA_TOKEN));
  EXPECT_FALSE(ReadBool(session_, pair.private_key, CKA_TOKEN));
  EXPECT_TRUE(ReadBool(session_, pair.private_key, CKA_PRIVATE));
  EXPECT_TRUE(ReadBool(session_, pair.private_key, CKA_SENSITIVE));
  EXPECT_FALSE(ReadBool(session_, pair.private_key, CKA_EXTRACTABLE));
  EXPECT_TRUE(ReadBool(session_, pair.private_key, CKA_MODIFIABLE));
  EXPECT_TRUE(ReadBool(session_, pair.private_key, CKA_COPYABLE));
  EXPECT_TRUE(ReadBool(session_, pair.private_key, CKA_DESTROYABLE));
}

// Java generates with an empty private template and derives with the key.
TEST_F(KeyPairTest, DefaultDerives) {
  const KeyPair pair = Generate(Template().With(CKA_EC_PARAMS, X25519Params()), Template());
  EXPECT_TRUE(ReadBool(session_, pair.private_key, CKA_DERIVE));
}

TEST_F(KeyPairTest, Mechanism) {
  KeyPair pair;
  Template public_key = PublicTemplate();
  Template private_key = PrivateTemplate();
  const auto generate = [&](CK_MECHANISM* mechanism) {
    return P11().C_GenerateKeyPair(session_, mechanism, public_key.data(), public_key.size(),
                                   private_key.data(), private_key.size(), &pair.public_key,
                                   &pair.private_key);
  };
  CK_MECHANISM mechanism{CKM_VENDOR_DEFINED | 3UL, nullptr, 0};
  EXPECT_RV(CKR_MECHANISM_INVALID, generate(&mechanism));
  mechanism.mechanism = CKM_ECDH1_DERIVE;
  EXPECT_RV(CKR_MECHANISM_INVALID, generate(&mechanism));
  mechanism.mechanism = CKM_GENERIC_SECRET_KEY_GEN;
  EXPECT_RV(CKR_MECHANISM_INVALID, generate(&mechanism));
}

// §6.3: the mechanism has no parameter.
TEST_F(KeyPairTest, ParameterNotAllowed) {
  KeyPair pair;
  Template public_key = PublicTemplate();
  Template private_key = PrivateTemplate();
  CK_BYTE parameter[4] = {};
  CK_MECHANISM mechanism{X25519KeyPairMechanism(), parameter, sizeof parameter};
  EXPECT_RV(CKR_MECHANISM_PARAM_INVALID,
            P11().C_GenerateKeyPair(session_, &mechanism, public_key.data(), public_key.size(),
                                    private_key.data(), private_key.size(), &pair.public_key,
                                    &pair.private_key));
}

// Token pairs persist with all that was reported of them.
TEST_F(KeyPairTest, Persists) {
  const KeyPair pair = Generate(PublicTemplate().With(CKA_TOKEN, true).With(CKA_ID, "pair"),
                                PrivateTemplate()
                                    .With(CKA_TOKEN, true)
                                    .With(CKA_PRIVATE, true)
                                    .With(CKA_ID, "pair")
                                    .With(CKA_SENSITIVE, true)
                                    .With(CKA_EXTRACTABLE, false));
  const Bytes point = ReadBytes(session_, pair.public_key, CKA_EC_POINT);
  ASSERT_NO_FATAL_FAILURE(Reinitialise());
  const CK_SESSION_HANDLE session = Open(kReadOnly);
  ASSERT_RV(CKR_OK, Login(session, CKU_USER, UserPin()));
  const auto keys =
      FindAll(session, Template().With(CKA_ID, "pair").With(CKA_CLASS, CKO_PRIVATE_KEY));
  const auto public_keys =
      FindAll(session, Template().With(CKA_ID, "pair").With(CKA_CLASS, CKO_PUBLIC_KEY));
  ASSERT_EQ(keys.size(), 1U);
  ASSERT_EQ(public_keys.size(), 1U);
  EXPECT_EQ(ReadBytes(session, public_keys[0], CKA_EC_POINT), point);
  EXPECT_TRUE(ReadBool(session, keys[0], CKA_LOCAL));
  EXPECT_TRUE(ReadBool(session, keys[0], CKA_ALWAYS_SENSITIVE));
  EXPECT_TRUE(ReadBool(session, keys[0], CKA_NEVER_EXTRACTABLE));
  EXPECT_EQ(ReadUlong(session, keys[0], CKA_KEY_GEN_MECHANISM), X25519KeyPairMechanism());
  const Bytes other = ReferenceRandom(32);
  EXPECT_EQ(
      DeriveValue(session,
                  {.base = keys[0], .peer = ReferencePublicKey(other), .key = SecretTemplate()}),
      ReferenceX25519(other, RawPoint(point)));
}

class GenericSecretTest : public UserTest {
 protected:
  CK_RV Generate(Template key, CK_OBJECT_HANDLE& handle) const {
    CK_MECHANISM mechanism{CKM_GENERIC_SECRET_KEY_GEN, nullptr, 0};
    return P11().C_GenerateKey(session_, &mechanism, key.data(), key.size(), &handle);
  }
};

TEST_F(GenericSecretTest, Attributes) {
  for (const bool hidden : {false, true}) {
    CK_OBJECT_HANDLE key = 0;
    ASSERT_RV(CKR_OK, Generate(SecretTemplate()
                                   .With(CKA_VALUE_LEN, CK_ULONG{40})
                                   .With(CKA_SENSITIVE, hidden)
                                   .With(CKA_EXTRACTABLE, !hidden),
                               key));
    EXPECT_EQ(ReadUlong(session_, key, CKA_CLASS), CKO_SECRET_KEY);
    EXPECT_EQ(ReadUlong(session_, key, CKA_KEY_TYPE), CKK_GENERIC_SECRET);
    EXPECT_EQ(ReadUlong(session_, key, CKA_VALUE_LEN), 40U);
    EXPECT_EQ(ReadUlong(session_, key, CKA_KEY_GEN_MECHANISM), CKM_GENERIC_SECRET_KEY_GEN);
    EXPECT_TRUE(ReadBool(session_, key, CKA_LOCAL));
    EXPECT_EQ(ReadBool(session_, key, CKA_ALWAYS_SENSITIVE), hidden);
    EXPECT_EQ(ReadBool(session_, key, CKA_NEVER_EXTRACTABLE), hidden);
    EXPECT_RV(hidden ? CKR_ATTRIBUTE_SENSITIVE : CKR_OK,
              ReadAttribute(session_, key, CKA_VALUE).rv);
  }
}

TEST_F(GenericSecretTest, ValuesDiffer) {
  Bytes last;
  for (int i = 0; i < 10; ++i) {
    CK_OBJECT_HANDLE key = 0;
    ASSERT_RV(CKR_OK, Generate(SecretTemplate().With(CKA_VALUE_LEN, CK_ULONG{32}), key));
    Bytes value = ReadBytes(session_, key, CKA_VALUE);
    EXPECT_EQ(value.size(), 32U);
    EXPECT_NE(value, last);
    EXPECT_NE(value, Bytes(32, 0));
    last = value;
  }
}

// §6.8: CKA_VALUE_LEN is the template's duty.
TEST_F(GenericSecretTest, Errors) {
  CK_OBJECT_HANDLE key = 0;
  const auto before = FindAll(session_);
  EXPECT_RV(CKR_TEMPLATE_INCOMPLETE, Generate(SecretTemplate(), key));
  EXPECT_RV_IN(Generate(SecretTemplate().With(CKA_VALUE_LEN, CK_ULONG{0}), key), CKR_KEY_SIZE_RANGE,
               CKR_ATTRIBUTE_VALUE_INVALID);
  EXPECT_RV_IN(Generate(SecretTemplate().With(CKA_VALUE_LEN, ~CK_ULONG{0}), key),
               CKR_KEY_SIZE_RANGE, CKR_ATTRIBUTE_VALUE_INVALID);
  const Template whole = SecretTemplate().With(CKA_VALUE_LEN, CK_ULONG{32});
  EXPECT_RV_IN(Generate(Template(whole).With(CKA_CLASS, CKO_DATA), key), CKR_TEMPLATE_INCONSISTENT,
               CKR_ATTRIBUTE_VALUE_INVALID);
  EXPECT_RV(CKR_TEMPLATE_INCONSISTENT, Generate(Template(whole).With(CKA_KEY_TYPE, CKK_RSA), key));
  EXPECT_RV_IN(Generate(Template(whole).With(CKA_VALUE, Bytes(32, 1)), key),
               CKR_ATTRIBUTE_READ_ONLY, CKR_TEMPLATE_INCONSISTENT);
  EXPECT_EQ(FindAll(session_), before);
}

TEST_F(GenericSecretTest, MechanismOfAnotherKind) {
  Template key = SecretTemplate().With(CKA_VALUE_LEN, CK_ULONG{32});
  CK_OBJECT_HANDLE handle = 0;
  for (const CK_MECHANISM_TYPE type :
       {X25519KeyPairMechanism(), CK_MECHANISM_TYPE{CKM_ECDH1_DERIVE}, CKM_VENDOR_DEFINED | 3UL}) {
    CK_MECHANISM mechanism{type, nullptr, 0};
    EXPECT_RV(CKR_MECHANISM_INVALID,
              P11().C_GenerateKey(session_, &mechanism, key.data(), key.size(), &handle));
  }
}

}  // namespace
}  // namespace secretmem::conformance
