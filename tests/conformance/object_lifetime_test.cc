// How long objects last and who sees them: PKCS#11 3.1 §2.3, §2.4, §5.6.10.
#include <vector>

#include "tests/conformance/fixtures.h"
#include "tests/conformance/x25519.h"

namespace secretmem::conformance {
namespace {

class ObjectLifetimeTest : public UserTest {
 protected:
  static bool Exists(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object) {
    CK_ATTRIBUTE attribute{CKA_CLASS, nullptr, 0};
    const CK_RV rv = P11().C_GetAttributeValue(session, object, &attribute, 1);
    EXPECT_RV_IN(rv, CKR_OK, CKR_OBJECT_HANDLE_INVALID);
    return rv == CKR_OK;
  }
  const Bytes secret_ = FromHex("000102030405060708090a0b0c0d0e0f");
};

// §2.3: session objects are the application's while the session that made them lasts.
TEST_F(ObjectLifetimeTest, SessionObjectsDieWithTheirSession) {
  const CK_SESSION_HANDLE other = Open(kReadWrite);
  const CK_OBJECT_HANDLE mine = Create(session_, DataObject("mine"));
  const CK_OBJECT_HANDLE others = Create(other, DataObject("others"));
  EXPECT_TRUE(Exists(session_, others)) << "visible to all sessions of the application";
  ASSERT_RV(CKR_OK, P11().C_CloseSession(other));
  EXPECT_FALSE(Exists(session_, others));
  EXPECT_TRUE(Exists(session_, mine));
  EXPECT_EQ(FindAll(session_, Template().With(CKA_LABEL, "others")).size(), 0U);
}

TEST_F(ObjectLifetimeTest, TokenObjectsPersist) {
  Create(session_, DataObject("public").With(CKA_TOKEN, true));
  Create(session_, SecretObject(secret_)
                       .With(CKA_LABEL, "private")
                       .With(CKA_TOKEN, true)
                       .With(CKA_PRIVATE, true));
  ASSERT_NO_FATAL_FAILURE(Reinitialise());
  const CK_SESSION_HANDLE session = Open(kReadOnly);
  const auto found = FindAll(session, Template().With(CKA_LABEL, "public"));
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(ReadBytes(session, found[0], CKA_VALUE), ToBytes("the value"));
  EXPECT_EQ(FindAll(session, Template().With(CKA_LABEL, "private")).size(), 0U);
  ASSERT_RV(CKR_OK, Login(session, CKU_USER, UserPin()));
  const auto secrets = FindAll(session, Template().With(CKA_LABEL, "private"));
  ASSERT_EQ(secrets.size(), 1U);
  EXPECT_EQ(ReadBytes(session, secrets[0], CKA_VALUE), secret_);
  EXPECT_EQ(FindAll(session, Template().With(CKA_LABEL, "public")), found) << "handle kept";
}

// Private X25519 keys come back with all their attributes, and still derive.
TEST_F(ObjectLifetimeTest, TokenPrivateKeyPersists) {
  const Bytes value = ReferenceRandom(32);
  const Bytes peer = ReferencePublicKey(ReferenceRandom(32));
  Create(session_, X25519PrivateKey(value)
                       .With(CKA_TOKEN, true)
                       .With(CKA_PRIVATE, true)
                       .With(CKA_SENSITIVE, true)
                       .With(CKA_EXTRACTABLE, false)
                       .With(CKA_LABEL, "key"));
  ASSERT_NO_FATAL_FAILURE(Reinitialise());
  const CK_SESSION_HANDLE session = Open(kReadOnly);
  EXPECT_EQ(FindAll(session, Template().With(CKA_LABEL, "key")).size(), 0U);
  ASSERT_RV(CKR_OK, Login(session, CKU_USER, UserPin()));
  const auto found = FindAll(session, Template().With(CKA_LABEL, "key"));
  ASSERT_EQ(found.size(), 1U);
  EXPECT_TRUE(ReadBool(session, found[0], CKA_SENSITIVE));
  EXPECT_FALSE(ReadBool(session, found[0], CKA_EXTRACTABLE));
  EXPECT_FALSE(ReadBool(session, found[0], CKA_ALWAYS_SENSITIVE));
  EXPECT_RV(CKR_ATTRIBUTE_SENSITIVE, ReadAttribute(session, found[0], CKA_VALUE).rv);
  EXPECT_EQ(DeriveValue(session, {.base = found[0], .peer = peer, .key = SecretTemplate()}),
            ReferenceX25519(value, peer));
}

// §2.4, §5.6.10: private objects go with the login: not found, and their handles invalid.
TEST_F(ObjectLifetimeTest, PrivateObjectsAndLogout) {
  const CK_OBJECT_HANDLE session_object = Create(session_, DataObject("s").With(CKA_PRIVATE, true));
  const CK_OBJECT_HANDLE token_object =
      Create(session_, DataObject("t").With(CKA_PRIVATE, true).With(CKA_TOKEN, true));
  const CK_OBJECT_HANDLE open = Create(session_, DataObject("p"));
  ASSERT_RV(CKR_OK, P11().C_Logout(session_));
  EXPECT_FALSE(Exists(session_, session_object));
  EXPECT_FALSE(Exists(session_, token_object));
  EXPECT_TRUE(Exists(session_, open));
  const Template data = Template().With(CKA_CLASS, CKO_DATA);
  EXPECT_EQ(FindAll(session_, data), std::vector<CK_OBJECT_HANDLE>{open});
  ASSERT_RV(CKR_OK, Login(session_, CKU_USER, UserPin()));
  EXPECT_FALSE(Exists(session_, session_object)) << "private session objects were destroyed";
  EXPECT_FALSE(Exists(session_, token_object)) << "a new handle after a new login";
  EXPECT_EQ(FindAll(session_, Template().With(CKA_LABEL, "t")).size(), 1U);
  EXPECT_EQ(FindAll(session_, data).size(), 2U);
}

// §5.6.10, the same when the security officer comes between.
TEST_F(ObjectLifetimeTest, SecurityOfficerSeesNoPrivateObjects) {
  Create(session_, DataObject("t").With(CKA_PRIVATE, true).With(CKA_TOKEN, true));
  Create(session_, DataObject("p").With(CKA_TOKEN, true));
  ASSERT_RV(CKR_OK, P11().C_Logout(session_));
  ASSERT_RV(CKR_OK, Login(session_, CKU_SO, SoPin()));
  EXPECT_EQ(FindAll(session_, Template().With(CKA_CLASS, CKO_DATA)).size(), 1U);
}

// §4.9, §4.10: without CKA_PRIVATE in the template, keys made by a public session would be
// unusable or exposed: either answer is the token's, but it must be told truly.
TEST_F(ObjectLifetimeTest, DefaultPrivate) {
  const CK_OBJECT_HANDLE object = Create(session_, SecretObject(secret_).Without(CKA_PRIVATE));
  const bool is_private = ReadBool(session_, object, CKA_PRIVATE);
  ASSERT_RV(CKR_OK, P11().C_Logout(session_));
  EXPECT_EQ(Exists(session_, object), !is_private);
}

}  // namespace
}  // namespace secretmem::conformance
