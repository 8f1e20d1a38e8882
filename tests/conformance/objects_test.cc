// C_CreateObject, C_CopyObject, C_DestroyObject, C_GetObjectSize: PKCS#11 3.1 §4.1, §4.4 to §4.10,
// §5.7.1 to §5.7.4.
#include <vector>

#include "tests/conformance/fixtures.h"
#include "tests/conformance/x25519.h"

namespace secretmem::conformance {
namespace {

class ObjectTest : public UserTest {
 protected:
  CK_RV TryCreate(Template object) const {
    CK_OBJECT_HANDLE handle = CK_INVALID_HANDLE;
    return P11().C_CreateObject(session_, object.data(), object.size(), &handle);
  }
  CK_RV Copy(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, Template changes,
             CK_OBJECT_HANDLE& copy) const {
    return P11().C_CopyObject(session, object, changes.data(), changes.size(), &copy);
  }
  static bool Exists(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object) {
    CK_ATTRIBUTE attribute{CKA_CLASS, nullptr, 0};
    const CK_RV rv = P11().C_GetAttributeValue(session, object, &attribute, 1);
    EXPECT_RV_IN(rv, CKR_OK, CKR_OBJECT_HANDLE_INVALID);
    return rv == CKR_OK;
  }
  const Bytes secret_ = FromHex("000102030405060708090a0b0c0d0e0f");
};

// §4.5: every attribute of a data object, and the defaults of those left out.
TEST_F(ObjectTest, Data) {
  const Bytes oid = FromHex("06032b656e");
  const CK_OBJECT_HANDLE object = Create(session_, Template()
                                                       .With(CKA_CLASS, CKO_DATA)
                                                       .With(CKA_TOKEN, false)
                                                       .With(CKA_PRIVATE, true)
                                                       .With(CKA_LABEL, "label")
                                                       .With(CKA_APPLICATION, "application")
                                                       .With(CKA_OBJECT_ID, oid)
                                                       .With(CKA_VALUE, "contents"));
  EXPECT_EQ(ReadUlong(session_, object, CKA_CLASS), CKO_DATA);
  EXPECT_FALSE(ReadBool(session_, object, CKA_TOKEN));
  EXPECT_TRUE(ReadBool(session_, object, CKA_PRIVATE));
  EXPECT_TRUE(ReadBool(session_, object, CKA_MODIFIABLE));
  EXPECT_TRUE(ReadBool(session_, object, CKA_COPYABLE));
  EXPECT_TRUE(ReadBool(session_, object, CKA_DESTROYABLE));
  EXPECT_EQ(ReadBytes(session_, object, CKA_LABEL), ToBytes("label"));
  EXPECT_EQ(ReadBytes(session_, object, CKA_APPLICATION), ToBytes("application"));
  EXPECT_EQ(ReadBytes(session_, object, CKA_OBJECT_ID), oid);
  EXPECT_EQ(ReadBytes(session_, object, CKA_VALUE), ToBytes("contents"));
}

TEST_F(ObjectTest, DataDefaults) {
  const CK_OBJECT_HANDLE object = Create(session_, Template().With(CKA_CLASS, CKO_DATA));
  EXPECT_FALSE(ReadBool(session_, object, CKA_TOKEN)) << "§4.4: default false";
  for (const CK_ATTRIBUTE_TYPE type : {CKA_LABEL, CKA_APPLICATION, CKA_OBJECT_ID, CKA_VALUE}) {
    EXPECT_EQ(ReadAttribute(session_, object, type), (Attribute{CKR_OK, {}})) << type;
  }
}

// §4.6.3: an X.509 certificate.
TEST_F(ObjectTest, Certificate) {
  const Certificate certificate = SelfSignedCertificate();
  const CK_OBJECT_HANDLE object = Create(session_, Template()
                                                       .With(CKA_CLASS, CKO_CERTIFICATE)
                                                       .With(CKA_CERTIFICATE_TYPE, CKC_X_509)
                                                       .With(CKA_TOKEN, false)
                                                       .With(CKA_PRIVATE, false)
                                                       .With(CKA_LABEL, "certificate")
                                                       .With(CKA_ID, FromHex("0a0b"))
                                                       .With(CKA_SUBJECT, certificate.subject)
                                                       .With(CKA_ISSUER, certificate.issuer)
                                                       .With(CKA_SERIAL_NUMBER, certificate.serial)
                                                       .With(CKA_VALUE, certificate.value));
  EXPECT_EQ(ReadUlong(session_, object, CKA_CLASS), CKO_CERTIFICATE);
  EXPECT_EQ(ReadUlong(session_, object, CKA_CERTIFICATE_TYPE), CKC_X_509);
  EXPECT_EQ(ReadUlong(session_, object, CKA_CERTIFICATE_CATEGORY), 0U);
  EXPECT_FALSE(ReadBool(session_, object, CKA_TRUSTED));
  EXPECT_EQ(ReadBytes(session_, object, CKA_ID), FromHex("0a0b"));
  EXPECT_EQ(ReadBytes(session_, object, CKA_SUBJECT), certificate.subject);
  EXPECT_EQ(ReadBytes(session_, object, CKA_ISSUER), certificate.issuer);
  EXPECT_EQ(ReadBytes(session_, object, CKA_SERIAL_NUMBER), certificate.serial);
  EXPECT_EQ(ReadBytes(session_, object, CKA_VALUE), certificate.value);
}

// §4.6.3: CKA_SUBJECT must be given, and CKA_VALUE unless there is a URL.
TEST_F(ObjectTest, CertificateIncomplete) {
  const Certificate certificate = SelfSignedCertificate();
  const Template whole = Template()
                             .With(CKA_CLASS, CKO_CERTIFICATE)
                             .With(CKA_CERTIFICATE_TYPE, CKC_X_509)
                             .With(CKA_PRIVATE, false)
                             .With(CKA_SUBJECT, certificate.subject)
                             .With(CKA_VALUE, certificate.value);
  for (const CK_ATTRIBUTE_TYPE type : {CKA_CERTIFICATE_TYPE, CKA_SUBJECT, CKA_VALUE}) {
    EXPECT_RV(CKR_TEMPLATE_INCOMPLETE, TryCreate(Template(whole).Without(type))) << type;
  }
  EXPECT_RV(CKR_OK, TryCreate(whole));
}

// §4.8, §6.3: a public X25519 key.
TEST_F(ObjectTest, PublicKey) {
  const Bytes raw = ReferencePublicKey(ReferenceRandom(32));
  const CK_OBJECT_HANDLE object =
      Create(session_, X25519PublicKey(raw).With(CKA_ID, "id").With(CKA_LABEL, "peer"));
  EXPECT_EQ(ReadUlong(session_, object, CKA_CLASS), CKO_PUBLIC_KEY);
  EXPECT_EQ(ReadUlong(session_, object, CKA_KEY_TYPE), X25519KeyType());
  EXPECT_EQ(ReadBytes(session_, object, CKA_EC_PARAMS), X25519Params());
  EXPECT_EQ(ReadBytes(session_, object, CKA_EC_POINT), X25519Point(raw));
  EXPECT_EQ(ReadBytes(session_, object, CKA_ID), ToBytes("id"));
  EXPECT_FALSE(ReadBool(session_, object, CKA_LOCAL));
  EXPECT_EQ(ReadUlong(session_, object, CKA_KEY_GEN_MECHANISM), CK_UNAVAILABLE_INFORMATION);
  EXPECT_FALSE(ReadBool(session_, object, CKA_TRUSTED));
}

// §4.9, §6.3: an imported private key was never always sensitive nor never extractable.
TEST_F(ObjectTest, PrivateKey) {
  const Bytes value = ReferenceRandom(32);
  const CK_OBJECT_HANDLE object = Create(session_, X25519PrivateKey(value));
  EXPECT_EQ(ReadUlong(session_, object, CKA_CLASS), CKO_PRIVATE_KEY);
  EXPECT_EQ(ReadUlong(session_, object, CKA_KEY_TYPE), X25519KeyType());
  EXPECT_EQ(ReadBytes(session_, object, CKA_EC_PARAMS), X25519Params());
  EXPECT_EQ(ReadBytes(session_, object, CKA_VALUE), value);
  EXPECT_TRUE(ReadBool(session_, object, CKA_DERIVE));
  EXPECT_TRUE(ReadBool(session_, object, CKA_EXTRACTABLE));
  for (const CK_ATTRIBUTE_TYPE type :
       {CKA_LOCAL, CKA_SENSITIVE, CKA_ALWAYS_SENSITIVE, CKA_NEVER_EXTRACTABLE,
        CKA_ALWAYS_AUTHENTICATE, CKA_WRAP_WITH_TRUSTED}) {
    EXPECT_FALSE(ReadBool(session_, object, type)) << "0x" << std::hex << type;
  }
  EXPECT_EQ(ReadUlong(session_, object, CKA_KEY_GEN_MECHANISM), CK_UNAVAILABLE_INFORMATION);
}

// §4.9: CKA_SENSITIVE and not CKA_EXTRACTABLE each hide the value, and alone are enough.
TEST_F(ObjectTest, PrivateKeyValueHidden) {
  for (const bool sensitive : {false, true}) {
    for (const bool extractable : {false, true}) {
      const CK_OBJECT_HANDLE object = Create(session_, X25519PrivateKey(ReferenceRandom(32))
                                                           .With(CKA_SENSITIVE, sensitive)
                                                           .With(CKA_EXTRACTABLE, extractable));
      const bool readable = !sensitive && extractable;
      EXPECT_RV(readable ? CKR_OK : CKR_ATTRIBUTE_SENSITIVE,
                ReadAttribute(session_, object, CKA_VALUE).rv);
    }
  }
}

TEST_F(ObjectTest, PrivateKeyIncomplete) {
  const Template whole = X25519PrivateKey(ReferenceRandom(32));
  for (const CK_ATTRIBUTE_TYPE type : {CKA_CLASS, CKA_KEY_TYPE, CKA_EC_PARAMS, CKA_VALUE}) {
    EXPECT_RV(CKR_TEMPLATE_INCOMPLETE, TryCreate(Template(whole).Without(type))) << type;
  }
}

TEST_F(ObjectTest, PublicKeyIncomplete) {
  const Template whole = X25519PublicKey(ReferencePublicKey(ReferenceRandom(32)));
  for (const CK_ATTRIBUTE_TYPE type : {CKA_CLASS, CKA_KEY_TYPE, CKA_EC_PARAMS, CKA_EC_POINT}) {
    EXPECT_RV(CKR_TEMPLATE_INCOMPLETE, TryCreate(Template(whole).Without(type))) << type;
  }
}

// §6.3: an X25519 private key is 32 bytes.
TEST_F(ObjectTest, PrivateKeyLengths) {
  for (const size_t length : {0U, 1U, 31U, 33U, 64U}) {
    EXPECT_RV_IN(TryCreate(X25519PrivateKey(Bytes(length, 7))), CKR_ATTRIBUTE_VALUE_INVALID,
                 CKR_KEY_SIZE_RANGE)
        << length;
  }
}

TEST_F(ObjectTest, PublicKeyLengths) {
  for (const size_t length : {0U, 1U, 31U, 33U, 64U}) {
    EXPECT_RV(CKR_ATTRIBUTE_VALUE_INVALID,
              TryCreate(X25519PublicKey({}).With(CKA_EC_POINT, Bytes(length, 7))))
        << length;
  }
}

// §4.10, §6.8 (generic secret keys).
TEST_F(ObjectTest, GenericSecret) {
  const CK_OBJECT_HANDLE object = Create(session_, SecretObject(secret_).With(CKA_ID, "id"));
  EXPECT_EQ(ReadUlong(session_, object, CKA_CLASS), CKO_SECRET_KEY);
  EXPECT_EQ(ReadUlong(session_, object, CKA_KEY_TYPE), CKK_GENERIC_SECRET);
  EXPECT_EQ(ReadUlong(session_, object, CKA_VALUE_LEN), secret_.size());
  EXPECT_EQ(ReadBytes(session_, object, CKA_VALUE), secret_);
  EXPECT_TRUE(ReadBool(session_, object, CKA_EXTRACTABLE));
  for (const CK_ATTRIBUTE_TYPE type : {CKA_LOCAL, CKA_SENSITIVE, CKA_ALWAYS_SENSITIVE,
                                       CKA_NEVER_EXTRACTABLE, CKA_WRAP_WITH_TRUSTED, CKA_TRUSTED}) {
    EXPECT_FALSE(ReadBool(session_, object, type)) << "0x" << std::hex << type;
  }
  EXPECT_EQ(ReadUlong(session_, object, CKA_KEY_GEN_MECHANISM), CK_UNAVAILABLE_INFORMATION);
  EXPECT_RV(CKR_TEMPLATE_INCOMPLETE, TryCreate(SecretObject(secret_).Without(CKA_VALUE)));
}

// §4.10: CKA_VALUE_LEN follows from CKA_VALUE and is not the caller's to give with it.
TEST_F(ObjectTest, GenericSecretWithLength) {
  EXPECT_RV_IN(TryCreate(SecretObject(secret_).With(CKA_VALUE_LEN, CK_ULONG{16})),
               CKR_ATTRIBUTE_READ_ONLY, CKR_TEMPLATE_INCONSISTENT);
}

// §4.1.1 rule 4 and the tables' footnotes 2, 4, 6: attributes that only the library sets.
TEST_F(ObjectTest, LibraryAttributes) {
  for (const CK_ATTRIBUTE_TYPE type : {CKA_LOCAL, CKA_ALWAYS_SENSITIVE, CKA_NEVER_EXTRACTABLE}) {
    EXPECT_RV_IN(TryCreate(X25519PrivateKey(ReferenceRandom(32)).With(type, true)),
                 CKR_ATTRIBUTE_READ_ONLY, CKR_TEMPLATE_INCONSISTENT)
        << "0x" << std::hex << type;
    EXPECT_RV_IN(TryCreate(SecretObject(secret_).With(type, true)), CKR_ATTRIBUTE_READ_ONLY,
                 CKR_TEMPLATE_INCONSISTENT)
        << "0x" << std::hex << type;
  }
  EXPECT_RV_IN(TryCreate(SecretObject(secret_).With(CKA_KEY_GEN_MECHANISM, CK_ULONG{1})),
               CKR_ATTRIBUTE_READ_ONLY, CKR_TEMPLATE_INCONSISTENT);
}

// §4.4.1 (3.0): CKA_UNIQUE_ID is on every object, never the caller's, and never the same twice.
TEST_F(ObjectTest, UniqueId) {
  const CK_OBJECT_HANDLE one = Create(session_, DataObject("same"));
  const CK_OBJECT_HANDLE two = Create(session_, DataObject("same"));
  const Bytes id = ReadBytes(session_, one, CKA_UNIQUE_ID);
  EXPECT_FALSE(id.empty());
  EXPECT_NE(id, ReadBytes(session_, two, CKA_UNIQUE_ID));
  EXPECT_EQ(FindAll(session_, Template().With(CKA_UNIQUE_ID, id)),
            std::vector<CK_OBJECT_HANDLE>{one});
  EXPECT_RV_IN(TryCreate(DataObject("x").With(CKA_UNIQUE_ID, "mine")), CKR_ATTRIBUTE_READ_ONLY,
               CKR_TEMPLATE_INCONSISTENT);
  CK_OBJECT_HANDLE copy = 0;
  ASSERT_RV(CKR_OK, Copy(session_, one, Template().With(CKA_LABEL, "copy"), copy));
  EXPECT_NE(id, ReadBytes(session_, copy, CKA_UNIQUE_ID));
}

// §5.7.2: the copy has the original's attributes but for those of the template.
TEST_F(ObjectTest, Copy) {
  const CK_OBJECT_HANDLE object = Create(session_, SecretObject(secret_).With(CKA_LABEL, "one"));
  CK_OBJECT_HANDLE copy = 0;
  ASSERT_RV(CKR_OK,
            Copy(session_, object, Template().With(CKA_LABEL, "two").With(CKA_TOKEN, true), copy));
  EXPECT_NE(copy, object);
  EXPECT_EQ(ReadBytes(session_, copy, CKA_LABEL), ToBytes("two"));
  EXPECT_TRUE(ReadBool(session_, copy, CKA_TOKEN));
  EXPECT_EQ(ReadBytes(session_, copy, CKA_VALUE), secret_);
  EXPECT_EQ(ReadBytes(session_, object, CKA_LABEL), ToBytes("one"));
  EXPECT_FALSE(ReadBool(session_, object, CKA_TOKEN));
  ASSERT_RV(CKR_OK, P11().C_DestroyObject(session_, object));
  EXPECT_EQ(ReadBytes(session_, copy, CKA_VALUE), secret_);
}

// §4.1.3: CKA_SENSITIVE may be turned on and CKA_EXTRACTABLE off in a copy, never back.
TEST_F(ObjectTest, CopyOneWay) {
  CK_OBJECT_HANDLE copy = 0;
  const CK_OBJECT_HANDLE open = Create(session_, SecretObject(secret_));
  ASSERT_RV(CKR_OK, Copy(session_, open, Template().With(CKA_SENSITIVE, true), copy));
  EXPECT_RV(CKR_ATTRIBUTE_SENSITIVE, ReadAttribute(session_, copy, CKA_VALUE).rv);
  EXPECT_FALSE(ReadBool(session_, copy, CKA_ALWAYS_SENSITIVE));
  CK_OBJECT_HANDLE second = 0;
  EXPECT_RV_IN(Copy(session_, copy, Template().With(CKA_SENSITIVE, false), second),
               CKR_ATTRIBUTE_READ_ONLY, CKR_TEMPLATE_INCONSISTENT);
  ASSERT_RV(CKR_OK, Copy(session_, open, Template().With(CKA_EXTRACTABLE, false), copy));
  EXPECT_RV_IN(Copy(session_, copy, Template().With(CKA_EXTRACTABLE, true), second),
               CKR_ATTRIBUTE_READ_ONLY, CKR_TEMPLATE_INCONSISTENT);
  EXPECT_RV_IN(Copy(session_, open, Template().With(CKA_VALUE, "other"), second),
               CKR_ATTRIBUTE_READ_ONLY, CKR_TEMPLATE_INCONSISTENT);
  EXPECT_RV_IN(Copy(session_, open, Template().With(CKA_CLASS, CKO_DATA), second),
               CKR_ATTRIBUTE_READ_ONLY, CKR_TEMPLATE_INCONSISTENT);
}

// §4.4: CKA_COPYABLE false forbids copies.
TEST_F(ObjectTest, NotCopyable) {
  const CK_OBJECT_HANDLE object = Create(session_, DataObject("x").With(CKA_COPYABLE, false));
  EXPECT_FALSE(ReadBool(session_, object, CKA_COPYABLE));
  const auto before = FindAll(session_);
  CK_OBJECT_HANDLE copy = 0;
  EXPECT_RV(CKR_ACTION_PROHIBITED, Copy(session_, object, Template().With(CKA_LABEL, "y"), copy));
  EXPECT_EQ(FindAll(session_), before);
}

// §5.7.2: a copy that is a token object needs a read/write session.
TEST_F(ObjectTest, CopyInReadOnlySession) {
  const CK_OBJECT_HANDLE object = Create(session_, DataObject("x"));
  const CK_SESSION_HANDLE read_only = Open(kReadOnly);
  CK_OBJECT_HANDLE copy = 0;
  EXPECT_RV(CKR_SESSION_READ_ONLY, Copy(read_only, object, Template().With(CKA_TOKEN, true), copy));
  EXPECT_RV(CKR_OK, Copy(read_only, object, Template().With(CKA_LABEL, "y"), copy));
}

TEST_F(ObjectTest, Destroy) {
  for (const bool token : {false, true}) {
    const CK_OBJECT_HANDLE object = Create(session_, DataObject("x").With(CKA_TOKEN, token));
    const CK_OBJECT_HANDLE other = Create(session_, DataObject("x").With(CKA_TOKEN, token));
    EXPECT_RV(CKR_OK, P11().C_DestroyObject(session_, object));
    EXPECT_FALSE(Exists(session_, object));
    EXPECT_TRUE(Exists(session_, other));
    EXPECT_RV(CKR_OBJECT_HANDLE_INVALID, P11().C_DestroyObject(session_, object));
  }
}

// §4.4: CKA_DESTROYABLE false forbids it.
TEST_F(ObjectTest, NotDestroyable) {
  const CK_OBJECT_HANDLE object = Create(session_, DataObject("x").With(CKA_DESTROYABLE, false));
  EXPECT_FALSE(ReadBool(session_, object, CKA_DESTROYABLE));
  EXPECT_RV(CKR_ACTION_PROHIBITED, P11().C_DestroyObject(session_, object));
  EXPECT_TRUE(Exists(session_, object));
}

TEST_F(ObjectTest, DestroyInReadOnlySession) {
  const CK_OBJECT_HANDLE token = Create(session_, DataObject("x").With(CKA_TOKEN, true));
  const CK_SESSION_HANDLE read_only = Open(kReadOnly);
  EXPECT_RV(CKR_SESSION_READ_ONLY, P11().C_DestroyObject(read_only, token));
  EXPECT_TRUE(Exists(session_, token));
  const CK_OBJECT_HANDLE object = Create(session_, DataObject("x"));
  EXPECT_RV(CKR_OK, P11().C_DestroyObject(read_only, object));
}

// §5.7.4: CK_UNAVAILABLE_INFORMATION is allowed.
TEST_F(ObjectTest, Size) {
  const CK_OBJECT_HANDLE object = Create(session_, DataObject("x"));
  CK_ULONG size = 0;
  EXPECT_RV(CKR_OK, P11().C_GetObjectSize(session_, object, &size));
  EXPECT_NE(size, 0U);
  CK_ULONG of_key = 0;
  const CK_OBJECT_HANDLE key = Create(session_, SecretObject(Bytes(1000, 1)));
  EXPECT_RV(CKR_OK, P11().C_GetObjectSize(session_, key, &of_key));
  EXPECT_GE(of_key, size == CK_UNAVAILABLE_INFORMATION ? size : 1000);
  EXPECT_RV(CKR_ARGUMENTS_BAD, P11().C_GetObjectSize(session_, object, nullptr));
  EXPECT_RV(CKR_OBJECT_HANDLE_INVALID, P11().C_GetObjectSize(session_, object + 1000, &size));
}

}  // namespace
}  // namespace secretmem::conformance
