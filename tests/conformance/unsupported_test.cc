// What functions answer that no mechanism of the token is for, or that have nothing to go on with:
// PKCS#11 3.1 §5.1, §5.8 to §5.17 and §5.20.
#include "tests/conformance/calls.h"
#include "tests/conformance/fixtures.h"

namespace secretmem::conformance {
namespace {

class UnsupportedTest : public UserTest {
 protected:
  void SetUp() override {
    UserTest::SetUp();
    key_ = Create(session_, SecretObject(Bytes(16, 1)));
    before_ = FindAll(session_);
  }

  void TearDown() override {
    EXPECT_EQ(FindAll(session_), before_);
    EXPECT_EQ(State(session_), CKS_RW_USER_FUNCTIONS);
    UserTest::TearDown();
  }

  // Whether any mechanism of the token has one of these flags.
  bool Offers(CK_FLAGS flags) const {
    CK_ULONG count = 0;
    EXPECT_RV(CKR_OK, P11().C_GetMechanismList(slot_, nullptr, &count));
    std::vector<CK_MECHANISM_TYPE> list(count);
    EXPECT_RV(CKR_OK, P11().C_GetMechanismList(slot_, list.data(), &count));
    for (const CK_MECHANISM_TYPE type : list) {
      CK_MECHANISM_INFO info{};
      EXPECT_RV(CKR_OK, P11().C_GetMechanismInfo(slot_, type, &info));
      if ((info.flags & flags) != 0) return true;
    }
    return false;
  }

  // Without any mechanism for it a function may have no meaning for the token.
  void ExpectRefusal(const Call& call, CK_RV refusal) {
    SCOPED_TRACE(call.name);
    if (Offers(call.needs)) {
      EXPECT_RV(refusal, call.run(session_, key_));
    } else {
      EXPECT_RV_IN(call.run(session_, key_), refusal, CKR_FUNCTION_NOT_SUPPORTED);
    }
  }

  CK_OBJECT_HANDLE key_ = 0;
  std::vector<CK_OBJECT_HANDLE> before_;
};

TEST_F(UnsupportedTest, UnknownMechanism) {
  for (const Call& call : InitCalls()) ExpectRefusal(call, CKR_MECHANISM_INVALID);
}

TEST_F(UnsupportedTest, NoOperation) {
  for (const Call& call : StepCalls()) {
    // Some modules have no dual-function operations.
    if (call.name == "C_DigestEncryptUpdate" || call.name == "C_DecryptDigestUpdate" ||
        call.name == "C_SignEncryptUpdate" || call.name == "C_DecryptVerifyUpdate") {
      SCOPED_TRACE(call.name);
      EXPECT_RV_IN(call.run(session_, key_), CKR_OPERATION_NOT_INITIALIZED,
                   CKR_FUNCTION_NOT_SUPPORTED);
    } else {
      ExpectRefusal(call, CKR_OPERATION_NOT_INITIALIZED);
    }
  }
}

// A refused Init has begun nothing.
TEST_F(UnsupportedTest, NoOperationAfterUnknownMechanism) {
  for (const Call& call : InitCalls()) (void)call.run(session_, key_);
  CK_BYTE out[64];
  CK_ULONG length = sizeof out;
  EXPECT_RV(CKR_OPERATION_NOT_INITIALIZED, P11().C_DigestFinal(session_, out, &length));
  EXPECT_RV(CKR_OPERATION_NOT_INITIALIZED, P11().C_SignFinal(session_, out, &length));
  EXPECT_RV(CKR_OPERATION_NOT_INITIALIZED, P11().C_VerifyFinal(session_, out, length));
  EXPECT_RV(CKR_OPERATION_NOT_INITIALIZED, P11().C_EncryptFinal(session_, out, &length));
  EXPECT_RV(CKR_OPERATION_NOT_INITIALIZED, P11().C_DecryptFinal(session_, out, &length));
}

// §5.6.5: a module need not be able to save the state of operations.
TEST_F(UnsupportedTest, OperationState) {
  for (const Call& call : StateCalls()) {
    SCOPED_TRACE(call.name);
    EXPECT_RV_IN(call.run(session_, key_), CKR_FUNCTION_NOT_SUPPORTED, CKR_STATE_UNSAVEABLE);
  }
}

// §5.20: both are left over from parallel sessions.
TEST_F(UnsupportedTest, LegacyFunctions) {
  for (const Call& call : LegacyCalls()) {
    SCOPED_TRACE(call.name);
    EXPECT_RV(CKR_FUNCTION_NOT_PARALLEL, call.run(session_, 0));
  }
}

}  // namespace
}  // namespace secretmem::conformance
