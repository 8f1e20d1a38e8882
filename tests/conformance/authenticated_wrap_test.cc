// C_WrapKeyAuthenticated and C_UnwrapKeyAuthenticated (PKCS#11 3.2 §5.18.6 and §5.18.7) and the
// verification of a signature that comes first (§5.16).
#include "tests/conformance/fixtures.h"
#include "tests/conformance/kem.h"

namespace secretmem::conformance {
namespace {

class AuthenticatedWrapTest : public UserTest {
 protected:
  void SetUp() override {
    if (P11v32() == nullptr) GTEST_SKIP() << "a module before 3.2";
    UserTest::SetUp();
    if (HasFatalFailure()) return;
    if (!HasMechanism(slot_, CKM_AES_GCM, CKF_WRAP | CKF_UNWRAP)) GTEST_SKIP() << "no CKM_AES_GCM";
    wrapping_ = ImportKey(session_, CKK_AES, ReferenceRandom(32));
    key_ = ImportKey(session_, CKK_GENERIC_SECRET, value_);
  }
  CK_RV TryUnwrap(const OwnedMechanism& mechanism, const Bytes& wrapped, const Bytes& associated) {
    CK_OBJECT_HANDLE key = 0;
    return UnwrapAuthenticated(session_, wrapping_, mechanism, wrapped, associated,
                               UnwrappedTemplate(CKK_GENERIC_SECRET), key);
  }

  const Bytes iv_ = ReferenceRandom(12);
  const Bytes value_ = ReferenceRandom(40);
  const Bytes associated_ = ToBytes("associated");
  CK_OBJECT_HANDLE wrapping_ = 0;
  CK_OBJECT_HANDLE key_ = 0;
};

// It is AES-GCM: what C_Encrypt makes of the value with the same associated data.
TEST_F(AuthenticatedWrapTest, Gcm) {
  for (const Bytes& associated : {Bytes{}, associated_}) {
    const OwnedMechanism mechanism = Gcm(iv_, {}, 128);
    const Result wrapped = WrapAuthenticated(session_, wrapping_, mechanism, key_, associated);
    EXPECT_EQ(wrapped, Encrypt(session_, wrapping_, Gcm(iv_, associated, 128), value_));
    CK_OBJECT_HANDLE unwrapped = 0;
    ASSERT_RV(CKR_OK, UnwrapAuthenticated(session_, wrapping_, mechanism, wrapped.value, associated,
                                          UnwrappedTemplate(CKK_GENERIC_SECRET), unwrapped));
    EXPECT_EQ(ReadBytes(session_, unwrapped, CKA_VALUE), value_);
  }
}

TEST_F(AuthenticatedWrapTest, GeneratedNonce) {
  Bytes nonce(12);
  CK_GCM_WRAP_PARAMS parameters{nonce.data(), nonce.size(), 0, CKG_GENERATE, nullptr, 0, 128};
  const auto mechanism = OwnedMechanism::Of(CKM_AES_GCM, parameters);
  const Result wrapped = WrapAuthenticated(session_, wrapping_, mechanism, key_, associated_);
  ASSERT_RV(CKR_OK, wrapped.rv);
  EXPECT_NE(nonce, Bytes(12)) << "the nonce comes back in pIv";
  EXPECT_EQ(wrapped, Encrypt(session_, wrapping_, Gcm(nonce, associated_, 128), value_));
  const Bytes first = nonce;
  EXPECT_RV(CKR_OK, TryUnwrap(mechanism, wrapped.value, associated_));
  EXPECT_EQ(nonce, first);
  const Result again = WrapAuthenticated(session_, wrapping_, mechanism, key_, associated_);
  EXPECT_NE(nonce, first);
  EXPECT_NE(again.value, wrapped.value);
  parameters.ivGenerator = CKG_GENERATE_COUNTER;
  EXPECT_RV(CKR_MECHANISM_PARAM_INVALID,
            WrapAuthenticated(session_, wrapping_, OwnedMechanism::Of(CKM_AES_GCM, parameters),
                              key_, associated_)
                .rv);
  parameters.ivGenerator = CKG_NO_GENERATE;
  const Bytes kept = nonce;
  EXPECT_EQ(WrapAuthenticated(session_, wrapping_, OwnedMechanism::Of(CKM_AES_GCM, parameters),
                              key_, associated_),
            Encrypt(session_, wrapping_, Gcm(kept, associated_, 128), value_));
}

TEST_F(AuthenticatedWrapTest, Refusals) {
  const OwnedMechanism mechanism = Gcm(iv_, {}, 128);
  const Result wrapped = WrapAuthenticated(session_, wrapping_, mechanism, key_, associated_);
  ASSERT_RV(CKR_OK, wrapped.rv);
  EXPECT_RV(CKR_WRAPPED_KEY_INVALID, TryUnwrap(mechanism, wrapped.value, ToBytes("associateD")));
  EXPECT_RV(CKR_WRAPPED_KEY_INVALID, TryUnwrap(mechanism, wrapped.value, {}));
  for (size_t i = 0; i < wrapped.value.size(); ++i) {
    Bytes damaged = wrapped.value;
    damaged[i] ^= 1;
    EXPECT_RV(CKR_WRAPPED_KEY_INVALID, TryUnwrap(mechanism, damaged, associated_)) << i;
  }
  EXPECT_RV(CKR_WRAPPED_KEY_LEN_RANGE, TryUnwrap(mechanism, Bytes(16), associated_));
  // Associated data in both places.
  EXPECT_RV(
      CKR_MECHANISM_PARAM_INVALID,
      WrapAuthenticated(session_, wrapping_, Gcm(iv_, associated_, 128), key_, associated_).rv);
  EXPECT_RV(
      CKR_MECHANISM_INVALID,
      WrapAuthenticated(session_, wrapping_, OwnedMechanism(CKM_AES_KEY_WRAP), key_, associated_)
          .rv);
  const CK_OBJECT_HANDLE unextractable =
      Create(session_, SecretKeyTemplate(CKK_GENERIC_SECRET, value_).With(CKA_EXTRACTABLE, false));
  EXPECT_RV(CKR_KEY_UNEXTRACTABLE,
            WrapAuthenticated(session_, wrapping_, mechanism, unextractable, associated_).rv);
  OwnedMechanism owned = mechanism;
  CK_ULONG size = 100;
  Bytes out(100);
  EXPECT_RV(CKR_ARGUMENTS_BAD,
            P11v32()->C_WrapKeyAuthenticated(session_, owned.get(), wrapping_, key_, nullptr, 4,
                                             out.data(), &size));
}

class VerifySignatureTest : public UserTest {
 protected:
  void SetUp() override {
    if (P11v32() == nullptr) GTEST_SKIP() << "a module before 3.2";
    UserTest::SetUp();
    if (HasFatalFailure()) return;
    key_ = ImportKey(session_, CKK_GENERIC_SECRET, ReferenceRandom(32));
    const Result signature = Sign(session_, key_, OwnedMechanism(CKM_SHA256_HMAC), data_);
    ASSERT_RV(CKR_OK, signature.rv);
    signature_ = signature.value;
  }
  CK_RV Begin(Bytes signature) {
    CK_MECHANISM mechanism{CKM_SHA256_HMAC, nullptr, 0};
    return P11v32()->C_VerifySignatureInit(session_, &mechanism, key_, signature.data(),
                                           signature.size());
  }
  CK_RV Whole(Bytes data) {
    return P11v32()->C_VerifySignature(session_, data.data(), data.size());
  }
  CK_RV Update(Bytes data) {
    return P11v32()->C_VerifySignatureUpdate(session_, data.data(), data.size());
  }

  const Bytes data_ = ToBytes("some data in two parts");
  Bytes signature_;
  CK_OBJECT_HANDLE key_ = 0;
};

TEST_F(VerifySignatureTest, Whole) {
  ASSERT_RV(CKR_OK, Begin(signature_));
  EXPECT_RV(CKR_OPERATION_ACTIVE, Begin(signature_));
  EXPECT_RV(CKR_OK, Whole(data_));
  EXPECT_RV(CKR_OPERATION_NOT_INITIALIZED, Whole(data_));
  ASSERT_RV(CKR_OK, Begin(signature_));
  EXPECT_RV(CKR_SIGNATURE_INVALID, Whole(ToBytes("other data")));
  Bytes damaged = signature_;
  damaged[5] ^= 1;
  ASSERT_RV(CKR_OK, Begin(damaged));
  EXPECT_RV(CKR_SIGNATURE_INVALID, Whole(data_));
  damaged.pop_back();
  ASSERT_RV(CKR_OK, Begin(damaged));
  EXPECT_RV(CKR_SIGNATURE_LEN_RANGE, Whole(data_));
}

TEST_F(VerifySignatureTest, Parts) {
  ASSERT_RV(CKR_OK, Begin(signature_));
  EXPECT_RV(CKR_OK, Update(Bytes(data_.begin(), data_.begin() + 9)));
  EXPECT_RV(CKR_OK, Update(Bytes(data_.begin() + 9, data_.end())));
  EXPECT_RV(CKR_OK, P11v32()->C_VerifySignatureFinal(session_));
  EXPECT_RV(CKR_OPERATION_NOT_INITIALIZED, P11v32()->C_VerifySignatureFinal(session_));
  ASSERT_RV(CKR_OK, Begin(signature_));
  EXPECT_RV(CKR_OK, Update(data_));
  EXPECT_RV(CKR_OK, Update({1}));
  EXPECT_RV(CKR_SIGNATURE_INVALID, P11v32()->C_VerifySignatureFinal(session_));
  ASSERT_RV(CKR_OK, Begin(signature_));
  EXPECT_RV(CKR_OK, Update(data_));
  EXPECT_RV(CKR_OPERATION_ACTIVE, Whole(data_));
}

TEST_F(VerifySignatureTest, Ends) {
  ASSERT_RV(CKR_OK, Begin(signature_));
  // It is another operation than C_VerifyInit's.
  EXPECT_RV(CKR_OPERATION_NOT_INITIALIZED, P11().C_VerifyUpdate(session_, signature_.data(), 1));
  EXPECT_RV(CKR_OK, P11v32()->C_SessionCancel(session_, CKF_VERIFY));
  EXPECT_RV(CKR_OPERATION_NOT_INITIALIZED, Update(data_));
  ASSERT_RV(CKR_OK, Begin(signature_));
  EXPECT_RV(CKR_ARGUMENTS_BAD, P11v32()->C_VerifySignature(session_, nullptr, 4));
  EXPECT_RV(CKR_OPERATION_NOT_INITIALIZED, Update(data_));
  CK_MECHANISM mechanism{CKM_SHA256_HMAC, nullptr, 0};
  EXPECT_RV(CKR_ARGUMENTS_BAD,
            P11v32()->C_VerifySignatureInit(session_, &mechanism, key_, nullptr, 32));
  mechanism.mechanism = CKM_SHA256;
  EXPECT_RV(CKR_MECHANISM_INVALID,
            P11v32()->C_VerifySignatureInit(session_, &mechanism, key_, signature_.data(), 32));
}

TEST_F(VerifySignatureTest, PrivateKeyAndLogout) {
  key_ = Create(session_,
                SecretKeyTemplate(CKK_GENERIC_SECRET, ReferenceRandom(32)).With(CKA_PRIVATE, true));
  ASSERT_RV(CKR_OK, Begin(signature_));
  EXPECT_RV(CKR_OK, P11().C_Logout(session_));
  EXPECT_RV(CKR_OPERATION_NOT_INITIALIZED, Whole(data_));
}

}  // namespace
}  // namespace secretmem::conformance
