// Encryption and decryption without an operation: PKCS#11 3.1 §5.8 and §5.9.
#include "tests/conformance/fixtures.h"
#include "tests/conformance/x25519.h"

namespace secretmem::conformance {
namespace {

class CipherLifeTest : public SessionTest {
 protected:
  CK_OBJECT_HANDLE Key() {
    return Create(session_,
                  SecretObject(Bytes(16, 1)).With(CKA_ENCRYPT, true).With(CKA_DECRYPT, true));
  }
  CK_BYTE data_[16] = {};
  CK_BYTE out_[64] = {};
  CK_ULONG length_ = sizeof out_;
};

TEST_F(CipherLifeTest, InitArguments) {
  const CK_OBJECT_HANDLE key = Key();
  EXPECT_RV(CKR_ARGUMENTS_BAD, P11().C_EncryptInit(session_, nullptr, key));
  EXPECT_RV(CKR_ARGUMENTS_BAD, P11().C_DecryptInit(session_, nullptr, key));
  // Unknown, and known for other things.
  for (const CK_MECHANISM_TYPE type : {CKM_VENDOR_DEFINED, CKM_SHA256, CKM_SHA256_HMAC,
                                       CKM_ECDH1_DERIVE, CKM_GENERIC_SECRET_KEY_GEN}) {
    CK_MECHANISM mechanism{type, nullptr, 0};
    EXPECT_RV(CKR_MECHANISM_INVALID, P11().C_EncryptInit(session_, &mechanism, key));
    EXPECT_RV(CKR_MECHANISM_INVALID, P11().C_DecryptInit(session_, &mechanism, key));
    EXPECT_RV(CKR_OPERATION_NOT_INITIALIZED, P11().C_EncryptFinal(session_, out_, &length_));
    EXPECT_RV(CKR_OPERATION_NOT_INITIALIZED, P11().C_DecryptFinal(session_, out_, &length_));
  }
}

TEST_F(CipherLifeTest, NoOperation) {
  EXPECT_RV(CKR_OPERATION_NOT_INITIALIZED,
            P11().C_Encrypt(session_, data_, sizeof data_, out_, &length_));
  EXPECT_RV(CKR_OPERATION_NOT_INITIALIZED,
            P11().C_EncryptUpdate(session_, data_, sizeof data_, out_, &length_));
  EXPECT_RV(CKR_OPERATION_NOT_INITIALIZED, P11().C_EncryptFinal(session_, out_, &length_));
  EXPECT_RV(CKR_OPERATION_NOT_INITIALIZED,
            P11().C_Decrypt(session_, data_, sizeof data_, out_, &length_));
  EXPECT_RV(CKR_OPERATION_NOT_INITIALIZED,
            P11().C_DecryptUpdate(session_, data_, sizeof data_, out_, &length_));
  EXPECT_RV(CKR_OPERATION_NOT_INITIALIZED, P11().C_DecryptFinal(session_, out_, &length_));
  // Asking for a length needs an operation too.
  EXPECT_RV(CKR_OPERATION_NOT_INITIALIZED,
            P11().C_Encrypt(session_, data_, sizeof data_, nullptr, &length_));
  EXPECT_RV(CKR_OPERATION_NOT_INITIALIZED,
            P11().C_Decrypt(session_, data_, sizeof data_, nullptr, &length_));
  EXPECT_EQ(length_, sizeof out_);
}

// Bad arguments are bad whether or not there is an operation.
TEST_F(CipherLifeTest, BadArguments) {
  EXPECT_RV(CKR_ARGUMENTS_BAD, P11().C_Encrypt(session_, nullptr, 16, out_, &length_));
  EXPECT_RV(CKR_ARGUMENTS_BAD, P11().C_EncryptUpdate(session_, nullptr, 16, out_, &length_));
  EXPECT_RV(CKR_ARGUMENTS_BAD, P11().C_Decrypt(session_, nullptr, 16, out_, &length_));
  EXPECT_RV(CKR_ARGUMENTS_BAD, P11().C_DecryptUpdate(session_, nullptr, 16, out_, &length_));
}

}  // namespace
}  // namespace secretmem::conformance
