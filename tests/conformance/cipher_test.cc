// AES and ChaCha20-Poly1305 beside OpenSSL, and what is refused: PKCS#11 3.2 §5.8, §5.9, §6.13 to
// §6.15 and §6.62.
#include "tests/conformance/cipher.h"

#include <openssl/evp.h>

#include <algorithm>
#include <memory>

#include "tests/conformance/fixtures.h"
#include "tests/conformance/x25519.h"

namespace secretmem::conformance {
namespace {

// OpenSSL's encryption, the tag appended.
Bytes Reference(const std::string& name, const Bytes& key, const Bytes& iv, const Bytes& aad,
                const Bytes& data, int tag, bool padding) {
  struct Free {
    void operator()(EVP_CIPHER* cipher) const { EVP_CIPHER_free(cipher); }
    void operator()(EVP_CIPHER_CTX* context) const { EVP_CIPHER_CTX_free(context); }
  };
  const std::unique_ptr<EVP_CIPHER, Free> cipher(EVP_CIPHER_fetch(nullptr, name.c_str(), nullptr));
  const std::unique_ptr<EVP_CIPHER_CTX, Free> context(EVP_CIPHER_CTX_new());
  const bool ccm = name.ends_with("CCM");
  const auto check = [](int ok) { EXPECT_EQ(ok, 1) << "OpenSSL"; };
  int size = 0;
  check(EVP_EncryptInit_ex2(context.get(), cipher.get(), nullptr, nullptr, nullptr));
  if (tag != 0) {
    check(EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_SET_IVLEN, static_cast<int>(iv.size()),
                              nullptr));
  }
  if (ccm) check(EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_SET_TAG, tag, nullptr));
  check(EVP_EncryptInit_ex2(context.get(), nullptr, key.data(), iv.empty() ? nullptr : iv.data(),
                            nullptr));
  check(EVP_CIPHER_CTX_set_padding(context.get(), padding ? 1 : 0));
  const int data_size = static_cast<int>(data.size());
  if (ccm) check(EVP_EncryptUpdate(context.get(), nullptr, &size, nullptr, data_size));
  if (!aad.empty()) {
    check(
        EVP_EncryptUpdate(context.get(), nullptr, &size, aad.data(), static_cast<int>(aad.size())));
  }
  Bytes out(data.size() + 64);
  check(EVP_EncryptUpdate(context.get(), out.data(), &size, data.data(), data_size));
  int last = 0;
  check(EVP_EncryptFinal_ex(context.get(), out.data() + size, &last));
  size += last;
  if (tag != 0) {
    check(EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_GET_TAG, tag, out.data() + size));
    size += tag;
  }
  out.resize(static_cast<size_t>(size));
  return out;
}

class CipherTest : public UserTest {
 protected:
  CK_OBJECT_HANDLE Aes(size_t size) {
    value_ = ReferenceRandom(size);
    return ImportKey(session_, CKK_AES, value_);
  }

  // Check compares with OpenSSL both ways, in one part and in parts of many sizes.
  void Check(CK_OBJECT_HANDLE key, const OwnedMechanism& mechanism, const Bytes& data,
             const Bytes& expected) {
    EXPECT_EQ(Encrypt(session_, key, mechanism, data), (Result{CKR_OK, expected}));
    EXPECT_EQ(Decrypt(session_, key, mechanism, expected), (Result{CKR_OK, data}));
    for (const size_t part : {1, 15, 16, 17, 33, 64, 100}) {
      EXPECT_EQ(EncryptInParts(session_, key, mechanism, data, part), (Result{CKR_OK, expected}))
          << part;
      EXPECT_EQ(DecryptInParts(session_, key, mechanism, expected, part), (Result{CKR_OK, data}))
          << part;
    }
  }

  std::string Name(const char* mode) const {
    return "AES-" + std::to_string(value_.size() * 8) + "-" + mode;
  }

  Bytes value_;
};

const size_t kKeySizes[] = {16, 24, 32};
const size_t kDataSizes[] = {1, 15, 16, 17, 31, 32, 63, 64, 65, 127, 128, 129, 1000};

TEST_F(CipherTest, BlocksEqualOpenSsl) {
  const Bytes iv = ReferenceRandom(16);
  for (const size_t key_size : kKeySizes) {
    const CK_OBJECT_HANDLE key = Aes(key_size);
    for (const size_t size : kDataSizes) {
      SCOPED_TRACE(std::to_string(key_size) + ", " + std::to_string(size));
      const Bytes data = ReferenceRandom(size);
      Check(key, OwnedMechanism(CKM_AES_CBC_PAD, iv), data,
            Reference(Name("CBC"), value_, iv, {}, data, 0, true));
      Check(key, Ctr(128, iv), data, Reference(Name("CTR"), value_, iv, {}, data, 0, false));
      if (size % 16 != 0) continue;
      Check(key, OwnedMechanism(CKM_AES_CBC, iv), data,
            Reference(Name("CBC"), value_, iv, {}, data, 0, false));
      Check(key, OwnedMechanism(CKM_AES_ECB), data,
            Reference(Name("ECB"), value_, {}, {}, data, 0, false));
    }
  }
}

TEST_F(CipherTest, GcmEqualsOpenSsl) {
  for (const size_t key_size : kKeySizes) {
    const CK_OBJECT_HANDLE key = Aes(key_size);
    for (const size_t size : kDataSizes) {
      const Bytes data = ReferenceRandom(size);
      const Bytes aad = ReferenceRandom(size % 40);
      const Bytes iv = ReferenceRandom(12 + size % 5);
      SCOPED_TRACE(size);
      Check(key, Gcm(iv, aad, 128), data, Reference(Name("GCM"), value_, iv, aad, data, 16, false));
      Check(key, Gcm(iv, aad, 96), data, Reference(Name("GCM"), value_, iv, aad, data, 12, false));
    }
  }
}

TEST_F(CipherTest, CcmEqualsOpenSsl) {
  if (!HasMechanism(slot_, CKM_AES_CCM, CKF_ENCRYPT)) GTEST_SKIP();
  for (const size_t key_size : kKeySizes) {
    const CK_OBJECT_HANDLE key = Aes(key_size);
    for (const size_t size : kDataSizes) {
      const Bytes data = ReferenceRandom(size);
      // Beyond 0xfeff bytes the associated data's length is written another way.
      const Bytes aad = ReferenceRandom(size == 1000 ? 70000 : size % 40);
      const Bytes iv = ReferenceRandom(7 + size % 7);
      SCOPED_TRACE(size);
      Check(key, Ccm(iv, aad, 8, size), data,
            Reference(Name("CCM"), value_, iv, aad, data, 8, false));
    }
  }
}

TEST_F(CipherTest, ChaCha20Poly1305EqualsOpenSsl) {
  if (!HasMechanism(slot_, CKM_CHACHA20_POLY1305, CKF_ENCRYPT)) GTEST_SKIP();
  value_ = ReferenceRandom(32);
  const CK_OBJECT_HANDLE key = ImportKey(session_, CKK_CHACHA20, value_);
  for (const size_t size : kDataSizes) {
    const Bytes data = ReferenceRandom(size);
    const Bytes aad = ReferenceRandom(size % 40);
    const Bytes iv = ReferenceRandom(12);
    SCOPED_TRACE(size);
    Check(key, ChaCha(iv, aad), data,
          Reference("ChaCha20-Poly1305", value_, iv, aad, data, 16, false));
  }
}

// Large enough for decryption to go through the data twice.
TEST_F(CipherTest, LargeGcm) {
  const CK_OBJECT_HANDLE key = Aes(32);
  const Bytes data = ReferenceRandom(5 << 20);
  const Bytes iv = ReferenceRandom(12);
  const Bytes expected = Reference(Name("GCM"), value_, iv, {}, data, 16, false);
  EXPECT_TRUE(Encrypt(session_, key, Gcm(iv, {}, 128), data) == (Result{CKR_OK, expected}));
  EXPECT_TRUE(Decrypt(session_, key, Gcm(iv, {}, 128), expected) == (Result{CKR_OK, data}));
}

// Output over input, as OpenSSL's engines call.
TEST_F(CipherTest, InPlace) {
  const CK_OBJECT_HANDLE key = Aes(32);
  const Bytes iv = ReferenceRandom(16);
  const Bytes data = ReferenceRandom(100);
  for (OwnedMechanism mechanism :
       {OwnedMechanism(CKM_AES_CBC_PAD, iv), Ctr(128, iv), Gcm(iv, {}, 128)}) {
    const Bytes expected = Encrypt(session_, key, mechanism, data).value;
    Bytes buffer = data;
    buffer.resize(expected.size());
    ASSERT_RV(CKR_OK, P11().C_EncryptInit(session_, mechanism.get(), key));
    CK_ULONG done = 0;
    // Parts that begin within a block: what is written runs ahead of what is read.
    size_t at = 0;
    for (const size_t part : {7, 25, 68}) {
      Bytes in(data.begin() + static_cast<ptrdiff_t>(at),
               data.begin() + static_cast<ptrdiff_t>(at + part));
      Bytes room = in;
      room.resize(part + 16);
      CK_ULONG size = room.size();
      ASSERT_RV(CKR_OK, P11().C_EncryptUpdate(session_, room.data(), part, room.data(), &size));
      std::copy_n(room.begin(), size, buffer.begin() + static_cast<ptrdiff_t>(done));
      at += part;
      done += size;
    }
    CK_ULONG size = buffer.size() - done;
    // One byte more, so that the pointer is one even when nothing is left to write.
    buffer.push_back(0);
    ASSERT_RV(CKR_OK, P11().C_EncryptFinal(session_, buffer.data() + done, &size));
    buffer.resize(done + size);
    EXPECT_EQ(buffer, expected);
  }
}

// A tag that is wrong, and not a byte of the plain text with it.
TEST_F(CipherTest, NothingUnverified) {
  const CK_OBJECT_HANDLE key = Aes(32);
  const Bytes iv = ReferenceRandom(12);
  for (const size_t size : {1, 100, 200'000}) {
    const Bytes data = ReferenceRandom(size);
    Bytes sealed = Encrypt(session_, key, Gcm(iv, {}, 128), data).value;
    sealed.back() ^= 1;
    ASSERT_RV(CKR_OK, P11().C_DecryptInit(session_, Gcm(iv, {}, 128).get(), key));
    Bytes out(sealed.size(), 0x77);
    CK_ULONG length = out.size();
    EXPECT_RV(CKR_ENCRYPTED_DATA_INVALID,
              P11().C_Decrypt(session_, sealed.data(), sealed.size(), out.data(), &length));
    EXPECT_EQ(out, Bytes(sealed.size(), 0x77));
    // The error has ended the operation.
    EXPECT_RV(CKR_OPERATION_NOT_INITIALIZED,
              P11().C_Decrypt(session_, sealed.data(), sealed.size(), out.data(), &length));
    EXPECT_EQ(DecryptInParts(session_, key, Gcm(iv, {}, 128), sealed, 50),
              (Result{CKR_ENCRYPTED_DATA_INVALID, {}}));
  }
}

TEST_F(CipherTest, Lengths) {
  const CK_OBJECT_HANDLE key = Aes(16);
  const Bytes iv(16, 1);
  for (const OwnedMechanism& mechanism :
       {OwnedMechanism(CKM_AES_ECB), OwnedMechanism(CKM_AES_CBC, iv)}) {
    EXPECT_RV(CKR_DATA_LEN_RANGE, Encrypt(session_, key, mechanism, Bytes(17)).rv);
    EXPECT_RV(CKR_DATA_LEN_RANGE, EncryptInParts(session_, key, mechanism, Bytes(17), 8).rv);
    EXPECT_RV(CKR_ENCRYPTED_DATA_LEN_RANGE, Decrypt(session_, key, mechanism, Bytes(15)).rv);
    EXPECT_RV(CKR_ENCRYPTED_DATA_LEN_RANGE,
              DecryptInParts(session_, key, mechanism, Bytes(33), 16).rv);
  }
  const OwnedMechanism padded(CKM_AES_CBC_PAD, iv);
  EXPECT_RV(CKR_ENCRYPTED_DATA_LEN_RANGE, Decrypt(session_, key, padded, Bytes(17)).rv);
  EXPECT_RV(CKR_ENCRYPTED_DATA_LEN_RANGE, Decrypt(session_, key, padded, {}).rv);
  EXPECT_RV(CKR_ENCRYPTED_DATA_LEN_RANGE, DecryptInParts(session_, key, padded, {}, 16).rv);
  EXPECT_RV(CKR_ENCRYPTED_DATA_LEN_RANGE, Decrypt(session_, key, Gcm(iv, {}, 128), Bytes(15)).rv);
  if (HasMechanism(slot_, CKM_AES_CCM, CKF_ENCRYPT)) {
    const Bytes nonce(12, 1);
    EXPECT_RV(CKR_DATA_LEN_RANGE, Encrypt(session_, key, Ccm(nonce, {}, 8, 9), Bytes(10)).rv);
    EXPECT_RV(CKR_DATA_LEN_RANGE, Encrypt(session_, key, Ccm(nonce, {}, 8, 11), Bytes(10)).rv);
    EXPECT_RV(CKR_ENCRYPTED_DATA_LEN_RANGE,
              Decrypt(session_, key, Ccm(nonce, {}, 8, 11), Bytes(18)).rv);
  }
}

// The counter field must not overflow into the rest of the block.
TEST_F(CipherTest, CounterOverflow) {
  const CK_OBJECT_HANDLE key = Aes(16);
  Bytes block(16, 0xff);
  block[15] = 0xfe;
  for (const CK_ULONG bits : {2, 8, 64, 127, 128}) {
    SCOPED_TRACE(bits);
    EXPECT_RV(CKR_OK, Encrypt(session_, key, Ctr(bits, block), Bytes(32)).rv);
    EXPECT_RV(CKR_DATA_LEN_RANGE, Encrypt(session_, key, Ctr(bits, block), Bytes(33)).rv);
    EXPECT_RV(CKR_DATA_LEN_RANGE,
              EncryptInParts(session_, key, Ctr(bits, block), Bytes(33), 16).rv);
    EXPECT_RV(CKR_ENCRYPTED_DATA_LEN_RANGE, Decrypt(session_, key, Ctr(bits, block), Bytes(33)).rv);
  }
}

TEST_F(CipherTest, Parameters) {
  const CK_OBJECT_HANDLE key = Aes(16);
  const auto refused = [&](OwnedMechanism mechanism) {
    EXPECT_RV(CKR_MECHANISM_PARAM_INVALID, P11().C_EncryptInit(session_, mechanism.get(), key));
    EXPECT_RV(CKR_MECHANISM_PARAM_INVALID, P11().C_DecryptInit(session_, mechanism.get(), key));
  };
  for (const size_t size : {0, 1, 8, 15, 17, 32}) {
    refused(OwnedMechanism(CKM_AES_CBC, Bytes(size)));
    refused(OwnedMechanism(CKM_AES_CBC_PAD, Bytes(size)));
    refused(OwnedMechanism(CKM_AES_CTR, Bytes(size)));
    refused(OwnedMechanism(CKM_AES_GCM, Bytes(size)));
  }
  const Bytes iv(12, 1);
  refused(Ctr(0, Bytes(16)));
  refused(Ctr(129, Bytes(16)));
  refused(Gcm(iv, {}, 0));
  refused(Gcm(iv, {}, 127));
  refused(Gcm(iv, {}, 136));
  refused(Gcm({}, {}, 128));
  refused(OwnedMechanism::Of(CKM_AES_GCM, CK_GCM_PARAMS{nullptr, 12, 96, nullptr, 0, 128}));
  CK_BYTE nonce[12] = {};
  refused(OwnedMechanism::Of(CKM_AES_GCM, CK_GCM_PARAMS{nonce, 12, 96, nullptr, 5, 128}));
  refused(OwnedMechanism::Of(CKM_AES_GCM,
                             CK_GCM_PARAMS{nonce, CK_ULONG{1} << 60, 96, nullptr, 0, 128}));
}

// Drafts of 2.40 had CK_GCM_PARAMS without ulIvBits, and clients still send it.
TEST_F(CipherTest, GcmWithoutIvBits) {
  const CK_OBJECT_HANDLE key = Aes(16);
  Bytes iv = ReferenceRandom(12);
  Bytes aad = ReferenceRandom(20);
  struct {
    CK_BYTE* iv;
    CK_ULONG iv_size;
    CK_BYTE* aad;
    CK_ULONG aad_size, tag_bits;
  } parameters{iv.data(), iv.size(), aad.data(), aad.size(), 128};
  const Bytes data = ReferenceRandom(50);
  EXPECT_EQ(Encrypt(session_, key, OwnedMechanism::Of(CKM_AES_GCM, parameters), data),
            Encrypt(session_, key, Gcm(iv, aad, 128), data));
}

TEST_F(CipherTest, WrongKeys) {
  const CK_OBJECT_HANDLE generic = ImportKey(session_, CKK_GENERIC_SECRET, Bytes(16, 1));
  const CK_OBJECT_HANDLE aes = Aes(16);
  CK_MECHANISM ecb{CKM_AES_ECB, nullptr, 0};
  EXPECT_RV(CKR_KEY_TYPE_INCONSISTENT, P11().C_EncryptInit(session_, &ecb, generic));
  EXPECT_RV(CKR_KEY_TYPE_INCONSISTENT, P11().C_DecryptInit(session_, &ecb, generic));
  CK_MECHANISM cmac{CKM_AES_CMAC, nullptr, 0};
  EXPECT_RV(CKR_KEY_TYPE_INCONSISTENT, P11().C_SignInit(session_, &cmac, generic));
  EXPECT_RV(CKR_KEY_HANDLE_INVALID, P11().C_EncryptInit(session_, &ecb, 0xffff));
  Template restricted = SecretKeyTemplate(CKK_AES, Bytes(16, 1));
  const CK_OBJECT_HANDLE no_encryption = Create(session_, restricted.With(CKA_ENCRYPT, false));
  EXPECT_RV(CKR_KEY_FUNCTION_NOT_PERMITTED, P11().C_EncryptInit(session_, &ecb, no_encryption));
  EXPECT_RV(CKR_OK, P11().C_DecryptInit(session_, &ecb, no_encryption));
  EXPECT_RV(CKR_OPERATION_ACTIVE, P11().C_DecryptInit(session_, &ecb, aes));
}

TEST_F(CipherTest, Generation) {
  const auto generate = [&](CK_MECHANISM_TYPE type, std::optional<CK_ULONG> size,
                            CK_OBJECT_HANDLE& key) {
    CK_MECHANISM mechanism{type, nullptr, 0};
    Template wanted;
    wanted.With(CKA_TOKEN, false).With(CKA_SENSITIVE, false).With(CKA_EXTRACTABLE, true);
    if (size) wanted.With(CKA_VALUE_LEN, *size);
    return P11().C_GenerateKey(session_, &mechanism, wanted.data(), wanted.size(), &key);
  };
  CK_OBJECT_HANDLE key = CK_INVALID_HANDLE;
  for (const CK_ULONG size : {16, 24, 32}) {
    ASSERT_RV(CKR_OK, generate(CKM_AES_KEY_GEN, size, key));
    EXPECT_EQ(ReadBytes(session_, key, CKA_VALUE).size(), size);
    EXPECT_EQ(ReadUlong(session_, key, CKA_KEY_TYPE), CK_ULONG{CKK_AES});
    EXPECT_EQ(ReadUlong(session_, key, CKA_VALUE_LEN), size);
    EXPECT_TRUE(ReadBool(session_, key, CKA_LOCAL));
    EXPECT_EQ(ReadUlong(session_, key, CKA_KEY_GEN_MECHANISM), CK_ULONG{CKM_AES_KEY_GEN});
  }
  for (const CK_ULONG size : {1, 8, 17, 31, 33, 64}) {
    EXPECT_RV_IN(generate(CKM_AES_KEY_GEN, size, key), CKR_KEY_SIZE_RANGE,
                 CKR_ATTRIBUTE_VALUE_INVALID);
  }
  EXPECT_RV(CKR_TEMPLATE_INCOMPLETE, generate(CKM_AES_KEY_GEN, std::nullopt, key));
  if (!HasMechanism(slot_, CKM_CHACHA20_KEY_GEN, CKF_GENERATE)) return;
  ASSERT_RV(CKR_OK, generate(CKM_CHACHA20_KEY_GEN, std::nullopt, key));
  EXPECT_EQ(ReadBytes(session_, key, CKA_VALUE).size(), 32U);
}

TEST_F(CipherTest, CmacGeneral) {
  if (!HasMechanism(slot_, CKM_AES_CMAC_GENERAL, CKF_SIGN)) GTEST_SKIP();
  const CK_OBJECT_HANDLE key = Aes(16);
  const Bytes data = ReferenceRandom(40);
  const Bytes whole = Sign(session_, key, OwnedMechanism(CKM_AES_CMAC), data).value;
  for (const CK_ULONG size : {1, 8, 16}) {
    const OwnedMechanism mechanism = OwnedMechanism::Of(CKM_AES_CMAC_GENERAL, size);
    const Bytes cut(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(size));
    EXPECT_EQ(Sign(session_, key, mechanism, data), (Result{CKR_OK, cut}));
    EXPECT_RV(CKR_OK, Verify(session_, key, mechanism, data, cut));
    EXPECT_RV(CKR_SIGNATURE_LEN_RANGE, Verify(session_, key, mechanism, data, Bytes(size + 1)));
  }
  for (const CK_ULONG size : {0, 17}) {
    EXPECT_RV(CKR_MECHANISM_PARAM_INVALID,
              Sign(session_, key, OwnedMechanism::Of(CKM_AES_CMAC_GENERAL, size), data).rv);
  }
}

}  // namespace
}  // namespace secretmem::conformance
