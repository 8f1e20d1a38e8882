// CKA_CHECK_VALUE of secret keys and certificates: PKCS#11 3.2 §4.6.2 and §4.10.2.
#include <openssl/evp.h>

#include "tests/conformance/cipher.h"
#include "tests/conformance/fixtures.h"
#include "tests/conformance/x25519.h"

namespace secretmem::conformance {
namespace {

Bytes Sha1Start(const Bytes& value) {
  Bytes digest(EVP_MAX_MD_SIZE);
  unsigned size = 0;
  EXPECT_EQ(EVP_Digest(value.data(), value.size(), digest.data(), &size, EVP_sha1(), nullptr), 1);
  digest.resize(3);
  return digest;
}

class CheckValueTest : public UserTest {};

TEST_F(CheckValueTest, SecretKeys) {
  const Bytes value = ReferenceRandom(32);
  EXPECT_EQ(ReadBytes(session_, ImportKey(session_, CKK_GENERIC_SECRET, value), CKA_CHECK_VALUE),
            Sha1Start(value));
  const CK_OBJECT_HANDLE aes = ImportKey(session_, CKK_AES, value);
  Bytes block = Encrypt(session_, aes, OwnedMechanism(CKM_AES_ECB), Bytes(16)).value;
  block.resize(3);
  EXPECT_EQ(ReadBytes(session_, aes, CKA_CHECK_VALUE), block);
  EXPECT_EQ(FindAll(session_, Template().With(CKA_CHECK_VALUE, block)),
            std::vector<CK_OBJECT_HANDLE>{aes});
}

TEST_F(CheckValueTest, Given) {
  const Bytes value = ReferenceRandom(20);
  Template key = SecretKeyTemplate(CKK_GENERIC_SECRET, value);
  const CK_OBJECT_HANDLE right = Create(session_, key.With(CKA_CHECK_VALUE, Sha1Start(value)));
  EXPECT_EQ(ReadBytes(session_, right, CKA_CHECK_VALUE), Sha1Start(value));
  Bytes wrong = Sha1Start(value);
  wrong[2] ^= 1;
  for (const Bytes& given : {wrong, Bytes(1, wrong[0]), Bytes(4, 0)}) {
    key.With(CKA_CHECK_VALUE, given);
    CK_OBJECT_HANDLE handle;
    EXPECT_RV(CKR_ATTRIBUTE_VALUE_INVALID,
              P11().C_CreateObject(session_, key.data(), key.size(), &handle));
  }
  const CK_OBJECT_HANDLE none = Create(session_, key.With(CKA_CHECK_VALUE, Bytes()));
  EXPECT_EQ(ReadAttribute(session_, none, CKA_CHECK_VALUE), (Attribute{CKR_OK, {}}));
}

// However a key is made it has one.
TEST_F(CheckValueTest, GeneratedDerivedUnwrapped) {
  CK_MECHANISM generation{CKM_GENERIC_SECRET_KEY_GEN, nullptr, 0};
  Template wanted = UnwrappedTemplate(CKK_GENERIC_SECRET).With(CKA_VALUE_LEN, CK_ULONG{24});
  CK_OBJECT_HANDLE generated;
  ASSERT_RV(CKR_OK,
            P11().C_GenerateKey(session_, &generation, wanted.data(), wanted.size(), &generated));
  const Bytes peer = ReferencePublicKey(ReferenceRandom(32));
  CK_OBJECT_HANDLE derived;
  const CK_OBJECT_HANDLE base = Create(session_, X25519PrivateKey(ReferenceRandom(32)));
  ASSERT_RV(CKR_OK,
            Derive(session_, {.base = base, .peer = peer, .key = SecretTemplate()}, derived));
  const CK_OBJECT_HANDLE wrapping = ImportKey(session_, CKK_AES, ReferenceRandom(16));
  const OwnedMechanism wrap(CKM_AES_KEY_WRAP);
  CK_OBJECT_HANDLE unwrapped;
  ASSERT_RV(CKR_OK,
            Unwrap(session_, wrapping, wrap, Wrap(session_, wrapping, wrap, generated).value,
                   UnwrappedTemplate(CKK_GENERIC_SECRET), unwrapped));
  for (const CK_OBJECT_HANDLE key : {generated, derived, unwrapped}) {
    EXPECT_EQ(ReadBytes(session_, key, CKA_CHECK_VALUE),
              Sha1Start(ReadBytes(session_, key, CKA_VALUE)));
  }
}

TEST_F(CheckValueTest, Certificates) {
  const Certificate certificate = SelfSignedCertificate();
  Template object;
  object.With(CKA_CLASS, CK_ULONG{CKO_CERTIFICATE}).With(CKA_TOKEN, false);
  object.With(CKA_CERTIFICATE_TYPE, CK_ULONG{CKC_X_509}).With(CKA_SUBJECT, certificate.subject);
  object.With(CKA_VALUE, certificate.value);
  EXPECT_EQ(ReadBytes(session_, Create(session_, object), CKA_CHECK_VALUE),
            Sha1Start(certificate.value));
  object.With(CKA_CHECK_VALUE, Bytes(3, 0));
  CK_OBJECT_HANDLE handle;
  EXPECT_RV(CKR_ATTRIBUTE_VALUE_INVALID,
            P11().C_CreateObject(session_, object.data(), object.size(), &handle));
}

}  // namespace
}  // namespace secretmem::conformance
