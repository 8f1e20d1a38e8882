// Message-based encryption: PKCS#11 3.2 §5.9, §5.11, §6.13.5 and §6.62.5.
#include <set>

#include "tests/conformance/cipher.h"
#include "tests/conformance/fixtures.h"
#include "tests/conformance/x25519.h"

namespace secretmem::conformance {
namespace {

class MessageTest : public UserTest {
 protected:
  void SetUp() override {
    const auto get =
        reinterpret_cast<CK_RV (*)(CK_UTF8CHAR*, CK_VERSION*, CK_INTERFACE**, CK_FLAGS)>(
            ModuleSymbol("C_GetInterface"));
    if (get == nullptr) GTEST_SKIP() << "a 2.40 module";
    CK_VERSION version{3, 0};
    CK_INTERFACE* interface = nullptr;
    ASSERT_RV(CKR_OK, get(nullptr, &version, &interface, 0));
    list_ = static_cast<CK_FUNCTION_LIST_3_0*>(interface->pFunctionList);
    UserTest::SetUp();
    if (!HasFatalFailure()) key_ = ImportKey(session_, CKK_AES, ReferenceRandom(32));
  }

  const CK_FUNCTION_LIST_3_0& P30() const { return *list_; }

  CK_GCM_MESSAGE_PARAMS Parameters(CK_ULONG generator, CK_ULONG fixed_bits) {
    return {iv_.data(), iv_.size(), fixed_bits, generator, tag_.data(), tag_.size() * 8};
  }

  void BeginEncryption() {
    CK_MECHANISM mechanism{CKM_AES_GCM, nullptr, 0};
    ASSERT_RV(CKR_OK, P30().C_MessageEncryptInit(session_, &mechanism, key_));
  }
  void BeginDecryption() {
    CK_MECHANISM mechanism{CKM_AES_GCM, nullptr, 0};
    ASSERT_RV(CKR_OK, P30().C_MessageDecryptInit(session_, &mechanism, key_));
  }

  Result EncryptOne(CK_GCM_MESSAGE_PARAMS parameters, Bytes aad, Bytes data) {
    Bytes out(data.size() + 1);
    CK_ULONG size = out.size();
    const CK_RV rv =
        P30().C_EncryptMessage(session_, &parameters, sizeof parameters, aad.data(), aad.size(),
                               data.data(), data.size(), out.data(), &size);
    if (rv != CKR_OK) return {rv, {}};
    out.resize(size);
    return {rv, out};
  }
  Result DecryptOne(CK_GCM_MESSAGE_PARAMS parameters, Bytes aad, Bytes data) {
    Bytes out(data.size() + 1);
    CK_ULONG size = out.size();
    const CK_RV rv =
        P30().C_DecryptMessage(session_, &parameters, sizeof parameters, aad.data(), aad.size(),
                               data.data(), data.size(), out.data(), &size);
    if (rv != CKR_OK) return {rv, {}};
    out.resize(size);
    return {rv, out};
  }

  Bytes iv_ = ReferenceRandom(12);
  Bytes tag_ = Bytes(16);
  Bytes aad_ = ReferenceRandom(20);
  CK_OBJECT_HANDLE key_ = CK_INVALID_HANDLE;
  const CK_FUNCTION_LIST_3_0* list_ = nullptr;
};

TEST_F(MessageTest, EqualsEncrypt) {
  BeginEncryption();
  BeginDecryption();
  for (const size_t size : {1, 16, 100, 5000}) {
    const Bytes data = ReferenceRandom(size);
    iv_ = ReferenceRandom(12);
    const Result sealed = EncryptOne(Parameters(CKG_NO_GENERATE, 0), aad_, data);
    ASSERT_RV(CKR_OK, sealed.rv);
    Bytes together = sealed.value;
    together.insert(together.end(), tag_.begin(), tag_.end());
    EXPECT_EQ(Encrypt(session_, key_, Gcm(iv_, aad_, 128), data), (Result{CKR_OK, together}));
    EXPECT_EQ(DecryptOne(Parameters(CKG_NO_GENERATE, 0), aad_, sealed.value),
              (Result{CKR_OK, data}));
    // A wrong message is refused, and the next one is not.
    tag_[0] ^= 1;
    EXPECT_EQ(DecryptOne(Parameters(CKG_NO_GENERATE, 0), aad_, sealed.value),
              (Result{CKR_AEAD_DECRYPT_FAILED, {}}));
  }
  EXPECT_RV(CKR_OK, P30().C_MessageEncryptFinal(session_));
  EXPECT_RV(CKR_OK, P30().C_MessageDecryptFinal(session_));
  EXPECT_RV(CKR_OPERATION_NOT_INITIALIZED, P30().C_MessageEncryptFinal(session_));
  EXPECT_RV(CKR_OPERATION_NOT_INITIALIZED, P30().C_MessageDecryptFinal(session_));
}

TEST_F(MessageTest, Parts) {
  const Bytes data = ReferenceRandom(100);
  BeginEncryption();
  CK_GCM_MESSAGE_PARAMS parameters = Parameters(CKG_NO_GENERATE, 0);
  Bytes buffer = data;
  CK_ULONG size = 60;
  EXPECT_RV(CKR_OPERATION_NOT_INITIALIZED,
            P30().C_EncryptMessageNext(session_, &parameters, sizeof parameters, buffer.data(), 60,
                                       buffer.data(), &size, 0));
  ASSERT_RV(CKR_OK, P30().C_EncryptMessageBegin(session_, &parameters, sizeof parameters,
                                                aad_.data(), aad_.size()));
  EXPECT_RV(CKR_OPERATION_ACTIVE,
            P30().C_EncryptMessageBegin(session_, &parameters, sizeof parameters, nullptr, 0));
  ASSERT_RV(CKR_OK, P30().C_EncryptMessageNext(session_, &parameters, sizeof parameters,
                                               buffer.data(), 60, buffer.data(), &size, 0));
  size = 39;
  EXPECT_RV(CKR_BUFFER_TOO_SMALL,
            P30().C_EncryptMessageNext(session_, &parameters, sizeof parameters, buffer.data() + 60,
                                       40, buffer.data() + 60, &size, CKF_END_OF_MESSAGE));
  EXPECT_EQ(size, 40U);
  ASSERT_RV(CKR_OK,
            P30().C_EncryptMessageNext(session_, &parameters, sizeof parameters, buffer.data() + 60,
                                       40, buffer.data() + 60, &size, CKF_END_OF_MESSAGE));
  Bytes together = buffer;
  together.insert(together.end(), tag_.begin(), tag_.end());
  EXPECT_EQ(Encrypt(session_, key_, Gcm(iv_, aad_, 128), data), (Result{CKR_OK, together}));

  // Decryption gives all of it at the end.
  BeginDecryption();
  for (const bool damaged : {false, true}) {
    if (damaged) tag_[15] ^= 1;
    ASSERT_RV(CKR_OK, P30().C_DecryptMessageBegin(session_, &parameters, sizeof parameters,
                                                  aad_.data(), aad_.size()));
    Bytes out(100, 0x77);
    size = out.size();
    ASSERT_RV(CKR_OK, P30().C_DecryptMessageNext(session_, &parameters, sizeof parameters,
                                                 buffer.data(), 60, out.data(), &size, 0));
    EXPECT_EQ(size, 0U);
    size = out.size();
    EXPECT_RV(
        damaged ? CKR_AEAD_DECRYPT_FAILED : CKR_OK,
        P30().C_DecryptMessageNext(session_, &parameters, sizeof parameters, buffer.data() + 60, 40,
                                   out.data(), &size, CKF_END_OF_MESSAGE));
    EXPECT_EQ(out, damaged ? Bytes(100, 0x77) : data);
  }
}

TEST_F(MessageTest, Generators) {
  BeginEncryption();
  const Bytes data(10, 1);
  for (const CK_ULONG generator : {CKG_GENERATE, CKG_GENERATE_COUNTER, CKG_GENERATE_RANDOM}) {
    std::set<Bytes> nonces;
    iv_ = Bytes(12, 0xab);
    for (int i = 0; i < 100; ++i) {
      ASSERT_RV(CKR_OK, EncryptOne(Parameters(generator, 28), {}, data).rv);
      nonces.insert(iv_);
      EXPECT_EQ(Bytes(iv_.begin(), iv_.begin() + 3), Bytes(3, 0xab));
      EXPECT_EQ(iv_[3] & 0xf0, 0xa0);
    }
    EXPECT_EQ(nonces.size(), 100U);
  }
}

// As TLS 1.3 has it: the record's number over the base nonce.
TEST_F(MessageTest, CounterXor) {
  BeginEncryption();
  const Bytes base = iv_;
  for (CK_BYTE i = 0; i < 5; ++i) {
    ASSERT_RV(CKR_OK, EncryptOne(Parameters(CKG_GENERATE_COUNTER_XOR, 32), {}, Bytes(1)).rv);
    Bytes expected = base;
    expected[11] ^= i;
    EXPECT_EQ(iv_, expected);
  }
}

TEST_F(MessageTest, CounterExhausted) {
  BeginEncryption();
  std::set<Bytes> nonces;
  for (int i = 0; i < 4; ++i) {
    ASSERT_RV(CKR_OK, EncryptOne(Parameters(CKG_GENERATE_COUNTER, 94), {}, Bytes(1)).rv);
    nonces.insert(iv_);
  }
  EXPECT_EQ(nonces.size(), 4U);
  EXPECT_RV(CKR_KEY_EXHAUSTED, EncryptOne(Parameters(CKG_GENERATE_COUNTER, 94), {}, Bytes(1)).rv);
}

TEST_F(MessageTest, Refused) {
  CK_MECHANISM mechanism{CKM_AES_GCM, nullptr, 0};
  CK_MECHANISM other{CKM_AES_CBC, iv_.data(), 12};
  EXPECT_RV(CKR_MECHANISM_INVALID, P30().C_MessageEncryptInit(session_, &other, key_));
  mechanism.pParameter = iv_.data();
  mechanism.ulParameterLen = 3;
  EXPECT_RV(CKR_MECHANISM_PARAM_INVALID, P30().C_MessageEncryptInit(session_, &mechanism, key_));
  EXPECT_RV(CKR_OPERATION_NOT_INITIALIZED,
            EncryptOne(Parameters(CKG_NO_GENERATE, 0), {}, Bytes(1)).rv);
  BeginEncryption();
  mechanism = {CKM_AES_GCM, nullptr, 0};
  EXPECT_RV(CKR_OPERATION_ACTIVE, P30().C_MessageEncryptInit(session_, &mechanism, key_));
  const auto refused = [&](CK_GCM_MESSAGE_PARAMS parameters) {
    EXPECT_RV(CKR_MECHANISM_PARAM_INVALID, EncryptOne(parameters, {}, Bytes(1)).rv);
  };
  refused(Parameters(5, 0));
  refused(Parameters(CKG_GENERATE_COUNTER, 96));
  refused(Parameters(CKG_GENERATE_RANDOM, 40));
  CK_GCM_MESSAGE_PARAMS parameters = Parameters(CKG_NO_GENERATE, 0);
  parameters.pTag = nullptr;
  refused(parameters);
  parameters = Parameters(CKG_NO_GENERATE, 0);
  parameters.ulTagBits = 136;
  refused(parameters);
  parameters = Parameters(CKG_NO_GENERATE, 0);
  parameters.pIv = nullptr;
  refused(parameters);
  CK_ULONG size = 1;
  CK_BYTE byte = 0;
  EXPECT_RV(CKR_MECHANISM_PARAM_INVALID,
            P30().C_EncryptMessage(session_, &parameters, sizeof parameters - 1, nullptr, 0, &byte,
                                   1, &byte, &size));
  // A null mechanism ends the operation.
  EXPECT_RV(CKR_OK, P30().C_MessageEncryptInit(session_, nullptr, 0));
  EXPECT_RV(CKR_OPERATION_NOT_INITIALIZED, P30().C_MessageEncryptFinal(session_));
  BeginEncryption();
  EXPECT_RV(CKR_OK, P30().C_SessionCancel(session_, CKF_MESSAGE_ENCRYPT));
  EXPECT_RV(CKR_OPERATION_NOT_INITIALIZED, P30().C_MessageEncryptFinal(session_));
}

TEST_F(MessageTest, ChaCha20Poly1305) {
  const Bytes value = ReferenceRandom(32);
  const CK_OBJECT_HANDLE key = ImportKey(session_, CKK_CHACHA20, value);
  CK_MECHANISM mechanism{CKM_CHACHA20_POLY1305, nullptr, 0};
  ASSERT_RV(CKR_OK, P30().C_MessageEncryptInit(session_, &mechanism, key));
  CK_SALSA20_CHACHA20_POLY1305_MSG_PARAMS parameters{iv_.data(), 12, tag_.data()};
  Bytes data = ReferenceRandom(77);
  Bytes sealed(77);
  CK_ULONG size = sealed.size();
  ASSERT_RV(CKR_OK,
            P30().C_EncryptMessage(session_, &parameters, sizeof parameters, aad_.data(),
                                   aad_.size(), data.data(), data.size(), sealed.data(), &size));
  sealed.insert(sealed.end(), tag_.begin(), tag_.end());
  EXPECT_EQ(Encrypt(session_, key, ChaCha(iv_, aad_), data), (Result{CKR_OK, sealed}));
  ASSERT_RV(CKR_OK, P30().C_MessageDecryptInit(session_, &mechanism, key));
  Bytes out(77);
  ASSERT_RV(CKR_OK, P30().C_DecryptMessage(session_, &parameters, sizeof parameters, aad_.data(),
                                           aad_.size(), sealed.data(), 77, out.data(), &size));
  EXPECT_EQ(out, data);
}

}  // namespace
}  // namespace secretmem::conformance
