// CKA_ALWAYS_AUTHENTICATE: a login for each operation with a private key. PKCS#11 3.1 §4.9, §5.6.8.
#include <functional>
#include <string_view>
#include <vector>

#include "tests/conformance/fixtures.h"
#include "tests/conformance/pkey.h"
#include "tests/conformance/rsa.h"

namespace secretmem::conformance {
namespace {

class AlwaysAuthenticateTest : public UserTest {
 protected:
  void SetUp() override {
    UserTest::SetUp();
    if (HasFatalFailure()) return;
    const RsaNumbers numbers = RsaNumbersOf(Pkcs8Of(GeneratePkey("RSA", "2048").get()));
    Template key = RsaPrivateKey(numbers).With(CKA_PRIVATE, true);
    for (const auto use : {CKA_SIGN, CKA_SIGN_RECOVER, CKA_DECRYPT}) key.With(use, true);
    plain_ = Create(session_, key);
    key_ = Create(session_, key.With(CKA_ALWAYS_AUTHENTICATE, true));
    Template of_public = RsaPublicKey(numbers.n, numbers.e).With(CKA_ENCRYPT, true);
    const CK_OBJECT_HANDLE other = Create(session_, of_public);
    CK_ULONG length = sealed_.size();
    ASSERT_RV(CKR_OK, P11().C_EncryptInit(session_, &mechanism_, other));
    ASSERT_RV(CKR_OK, P11().C_Encrypt(session_, data_, sizeof data_, sealed_.data(), &length));
  }
  CK_RV Context(std::string_view pin) const { return Login(session_, CKU_CONTEXT_SPECIFIC, pin); }

  struct Use {
    const char* name;
    std::function<CK_RV(CK_OBJECT_HANDLE)> init;
    std::function<CK_RV()> run;
  };
  std::vector<Use> Uses() {
    const auto out = [this] {
      length_ = out_.size();
      return out_.data();
    };
    return {
        {"sign", [this](auto key) { return P11().C_SignInit(session_, &mechanism_, key); },
         [this, out] { return P11().C_Sign(session_, data_, sizeof data_, out(), &length_); }},
        {"decrypt", [this](auto key) { return P11().C_DecryptInit(session_, &mechanism_, key); },
         [this, out] {
           return P11().C_Decrypt(session_, sealed_.data(), sealed_.size(), out(), &length_);
         }},
        {"sign with recovery",
         [this](auto key) { return P11().C_SignRecoverInit(session_, &mechanism_, key); },
         [this, out] {
           return P11().C_SignRecover(session_, data_, sizeof data_, out(), &length_);
         }},
    };
  }

  CK_MECHANISM mechanism_{CKM_RSA_PKCS, nullptr, 0};
  CK_BYTE data_[16] = {1, 2, 3};
  Bytes sealed_ = Bytes(256);
  Bytes out_ = Bytes(256);
  CK_ULONG length_ = 0;
  CK_OBJECT_HANDLE key_ = 0;
  CK_OBJECT_HANDLE plain_ = 0;
};

TEST_F(AlwaysAuthenticateTest, EachOperationAsks) {
  for (const Use& use : Uses()) {
    SCOPED_TRACE(use.name);
    const CK_RV began = use.init(key_);
    if (began == CKR_FUNCTION_NOT_SUPPORTED) continue;
    ASSERT_RV(CKR_OK, began);
    EXPECT_RV(CKR_PIN_INCORRECT, Context(UserPin() + "x"));
    EXPECT_RV(CKR_OK, Context(UserPin()));
    EXPECT_RV(CKR_OK, use.run());
    // That login served one operation.
    ASSERT_RV(CKR_OK, use.init(key_));
    EXPECT_RV(CKR_USER_NOT_LOGGED_IN, use.run());
    EXPECT_EQ(State(session_), CKS_RW_USER_FUNCTIONS);
    // Whether the refusal has ended the operation is not said.
    const CK_RV after = Context(UserPin());
    EXPECT_RV_IN(after, CKR_OK, CKR_OPERATION_NOT_INITIALIZED);
    EXPECT_RV(after, use.run());
  }
}

// Where nothing waits for it there is nobody to log in, and other keys do not ask.
TEST_F(AlwaysAuthenticateTest, OnlyWhereItIsAskedFor) {
  EXPECT_RV(CKR_OPERATION_NOT_INITIALIZED, Context(UserPin()));
  for (const Use& use : Uses()) {
    SCOPED_TRACE(use.name);
    const CK_RV began = use.init(plain_);
    if (began == CKR_FUNCTION_NOT_SUPPORTED) continue;
    ASSERT_RV(CKR_OK, began);
    EXPECT_RV(CKR_OPERATION_NOT_INITIALIZED, Context(UserPin()));
    EXPECT_RV(CKR_OK, use.run());
  }
}

}  // namespace
}  // namespace secretmem::conformance
