// Dual-function operations: PKCS#11 3.1 §5.17.
#include <algorithm>

#include "tests/conformance/fixtures.h"
#include "tests/conformance/macs.h"
#include "tests/conformance/x25519.h"

namespace secretmem::conformance {
namespace {

class DualTest : public SessionTest {
 protected:
  void SetUp() override {
    SessionTest::SetUp();
    aes_ = Create(session_, SecretObject(Bytes(16, 0x42))
                                .With(CKA_KEY_TYPE, CK_ULONG{CKK_AES})
                                .With(CKA_ENCRYPT, true)
                                .With(CKA_DECRYPT, true));
    mac_ = Create(session_, MacKey(mac_value_));
  }

  void Encrypt() {
    CK_MECHANISM mechanism{CKM_AES_CBC, iv_, sizeof iv_};
    ASSERT_RV(CKR_OK, P11().C_EncryptInit(session_, &mechanism, aes_));
  }
  void Decrypt() {
    CK_MECHANISM mechanism{CKM_AES_CBC, iv_, sizeof iv_};
    ASSERT_RV(CKR_OK, P11().C_DecryptInit(session_, &mechanism, aes_));
  }
  void Digest() {
    CK_MECHANISM mechanism{CKM_SHA256, nullptr, 0};
    ASSERT_RV(CKR_OK, P11().C_DigestInit(session_, &mechanism));
  }
  void Sign() {
    CK_MECHANISM mechanism{CKM_SHA256_HMAC, nullptr, 0};
    ASSERT_RV(CKR_OK, P11().C_SignInit(session_, &mechanism, mac_));
  }
  void Verify() {
    CK_MECHANISM mechanism{CKM_SHA256_HMAC, nullptr, 0};
    ASSERT_RV(CKR_OK, P11().C_VerifyInit(session_, &mechanism, mac_));
  }
  Bytes EncryptAlone() {
    Encrypt();
    Bytes out(data_.size());
    CK_ULONG length = out.size();
    EXPECT_RV(CKR_OK, P11().C_Encrypt(session_, data_.data(), data_.size(), out.data(), &length));
    return out;
  }
  // Whether the cipher and the digest of this session have nothing to go on with.
  void ExpectEnded(bool encryption, bool digest) {
    CK_BYTE out[64];
    CK_ULONG length = sizeof out;
    EXPECT_RV(encryption ? CKR_OPERATION_NOT_INITIALIZED : CKR_OK,
              P11().C_EncryptFinal(session_, out, &length));
    length = sizeof out;
    EXPECT_RV(digest ? CKR_OPERATION_NOT_INITIALIZED : CKR_OK,
              P11().C_DigestFinal(session_, out, &length));
  }

  // Runs a dual function over `in` in two parts of whole blocks.
  using Function = CK_RV (*)(CK_SESSION_HANDLE, CK_BYTE*, CK_ULONG, CK_BYTE*, CK_ULONG*);
  Bytes InParts(Function function, Bytes in) {
    Bytes out(in.size());
    size_t at = 0;
    for (const size_t part : {size_t{16}, in.size() - 16}) {
      CK_ULONG length = part;
      EXPECT_RV(CKR_OK, function(session_, in.data() + at, part, out.data() + at, &length));
      EXPECT_EQ(length, part);
      at += part;
    }
    return out;
  }

  CK_BYTE iv_[16] = {7};
  const Bytes mac_value_ = ReferenceRandom(64);
  Bytes data_ = ReferenceRandom(64);
  CK_OBJECT_HANDLE aes_ = 0;
  CK_OBJECT_HANDLE mac_ = 0;
};

TEST_F(DualTest, DigestEncrypt) {
  const Bytes expected = EncryptAlone();
  Encrypt();
  Digest();
  EXPECT_EQ(InParts(P11().C_DigestEncryptUpdate, data_), expected);
  Bytes digest(32);
  CK_ULONG length = digest.size();
  EXPECT_RV(CKR_OK, P11().C_DigestFinal(session_, digest.data(), &length));
  EXPECT_EQ(digest, ReferenceDigest("SHA256", data_));
  CK_BYTE rest[16];
  length = sizeof rest;
  EXPECT_RV(CKR_OK, P11().C_EncryptFinal(session_, rest, &length));
  EXPECT_EQ(length, 0U);
}

TEST_F(DualTest, DecryptDigest) {
  const Bytes encrypted = EncryptAlone();
  Decrypt();
  Digest();
  EXPECT_EQ(InParts(P11().C_DecryptDigestUpdate, encrypted), data_);
  Bytes digest(32);
  CK_ULONG length = digest.size();
  EXPECT_RV(CKR_OK, P11().C_DigestFinal(session_, digest.data(), &length));
  EXPECT_EQ(digest, ReferenceDigest("SHA256", data_));
}

TEST_F(DualTest, SignEncrypt) {
  const Bytes expected = EncryptAlone();
  Encrypt();
  Sign();
  EXPECT_EQ(InParts(P11().C_SignEncryptUpdate, data_), expected);
  Bytes tag(32);
  CK_ULONG length = tag.size();
  EXPECT_RV(CKR_OK, P11().C_SignFinal(session_, tag.data(), &length));
  EXPECT_EQ(tag, ReferenceHmac("SHA256", mac_value_, data_));
}

TEST_F(DualTest, DecryptVerify) {
  const Bytes encrypted = EncryptAlone();
  Bytes tag = ReferenceHmac("SHA256", mac_value_, data_);
  Decrypt();
  Verify();
  EXPECT_EQ(InParts(P11().C_DecryptVerifyUpdate, encrypted), data_);
  EXPECT_RV(CKR_OK, P11().C_VerifyFinal(session_, tag.data(), tag.size()));
  Bytes other = encrypted;
  other[20] ^= 1;
  CK_BYTE rest[16];
  CK_ULONG length = sizeof rest;
  EXPECT_RV(CKR_OK, P11().C_DecryptFinal(session_, rest, &length));
  Decrypt();
  Verify();
  EXPECT_NE(InParts(P11().C_DecryptVerifyUpdate, other), data_);
  EXPECT_RV(CKR_SIGNATURE_INVALID, P11().C_VerifyFinal(session_, tag.data(), tag.size()));
}

// The digest is of what was there before the encryption took its place.
TEST_F(DualTest, InPlace) {
  const Bytes expected = EncryptAlone();
  Encrypt();
  Digest();
  Bytes buffer = data_;
  CK_ULONG length = buffer.size();
  EXPECT_RV(CKR_OK, P11().C_DigestEncryptUpdate(session_, buffer.data(), buffer.size(),
                                                buffer.data(), &length));
  EXPECT_EQ(buffer, expected);
  Bytes digest(32);
  length = digest.size();
  EXPECT_RV(CKR_OK, P11().C_DigestFinal(session_, digest.data(), &length));
  EXPECT_EQ(digest, ReferenceDigest("SHA256", data_));
}

// Asking for the length, and a buffer too small, do nothing to either.
TEST_F(DualTest, BufferSizes) {
  Encrypt();
  Digest();
  CK_ULONG length = 0;
  EXPECT_RV(CKR_OK,
            P11().C_DigestEncryptUpdate(session_, data_.data(), data_.size(), nullptr, &length));
  EXPECT_GE(length, data_.size());
  CK_BYTE out[80];
  length = 15;
  EXPECT_RV(CKR_BUFFER_TOO_SMALL,
            P11().C_DigestEncryptUpdate(session_, data_.data(), data_.size(), out, &length));
  EXPECT_GE(length, data_.size());
  EXPECT_EQ(InParts(P11().C_DigestEncryptUpdate, data_).size(), data_.size());
  Bytes digest(32);
  length = digest.size();
  EXPECT_RV(CKR_OK, P11().C_DigestFinal(session_, digest.data(), &length));
  EXPECT_EQ(digest, ReferenceDigest("SHA256", data_));
}

// Both operations must be there; the one that is goes on.
TEST_F(DualTest, OneIsMissing) {
  CK_BYTE out[80];
  CK_ULONG length = sizeof out;
  Encrypt();
  EXPECT_RV(CKR_OPERATION_NOT_INITIALIZED,
            P11().C_DigestEncryptUpdate(session_, data_.data(), 16, out, &length));
  ExpectEnded(false, true);
  Digest();
  length = sizeof out;
  EXPECT_RV(CKR_OPERATION_NOT_INITIALIZED,
            P11().C_DigestEncryptUpdate(session_, data_.data(), 16, out, &length));
  ExpectEnded(true, false);
  // Nor will operations of the other kind do.
  Decrypt();
  Sign();
  EXPECT_RV(CKR_OPERATION_NOT_INITIALIZED,
            P11().C_SignEncryptUpdate(session_, data_.data(), 16, out, &length));
  EXPECT_RV(CKR_OPERATION_NOT_INITIALIZED,
            P11().C_DecryptVerifyUpdate(session_, data_.data(), 16, out, &length));
}

// An error ends both.
TEST_F(DualTest, ErrorEndsBoth) {
  CK_BYTE out[80];
  CK_ULONG length = sizeof out;
  Encrypt();
  Digest();
  EXPECT_RV(CKR_ARGUMENTS_BAD, P11().C_DigestEncryptUpdate(session_, nullptr, 16, out, &length));
  ExpectEnded(true, true);
  Encrypt();
  Digest();
  EXPECT_RV(CKR_ARGUMENTS_BAD,
            P11().C_DigestEncryptUpdate(session_, data_.data(), 16, out, nullptr));
  ExpectEnded(true, true);
}

// Single-part functions cannot end what has begun in parts.
TEST_F(DualTest, SingleAfterUpdate) {
  CK_BYTE out[80];
  CK_ULONG length = sizeof out;
  Encrypt();
  Digest();
  EXPECT_RV(CKR_OK, P11().C_DigestEncryptUpdate(session_, data_.data(), 16, out, &length));
  length = sizeof out;
  EXPECT_RV_IN(P11().C_Digest(session_, data_.data(), 16, out, &length), CKR_OPERATION_ACTIVE,
               CKR_OPERATION_NOT_INITIALIZED);
  length = sizeof out;
  EXPECT_RV_IN(P11().C_Encrypt(session_, data_.data(), 16, out, &length), CKR_OPERATION_ACTIVE,
               CKR_OPERATION_NOT_INITIALIZED);
}

}  // namespace
}  // namespace secretmem::conformance
