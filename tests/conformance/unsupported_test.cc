// What a module without encryption, signatures and digests answers: PKCS#11 3.1 §5.1 and §5.20.
#include "tests/conformance/calls.h"
#include "tests/conformance/fixtures.h"

namespace secretmem::conformance {
namespace {

class UnsupportedTest : public UserTest {
 protected:
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
};

// A function that belongs to no mechanism offered has no meaning for the token.
TEST_F(UnsupportedTest, CryptoFunctions) {
  if (Offers(CKF_ENCRYPT | CKF_DECRYPT | CKF_DIGEST | CKF_SIGN | CKF_SIGN_RECOVER | CKF_VERIFY |
             CKF_VERIFY_RECOVER | CKF_WRAP | CKF_UNWRAP)) {
    GTEST_SKIP() << "the module offers mechanisms for these functions";
  }
  const CK_OBJECT_HANDLE key = Create(session_, SecretObject(Bytes(16, 1)));
  const auto before = FindAll(session_);
  for (const Call& call : CryptoCalls()) {
    SCOPED_TRACE(call.name);
    EXPECT_RV(CKR_FUNCTION_NOT_SUPPORTED, call.run(session_, key));
  }
  EXPECT_EQ(FindAll(session_), before);
  EXPECT_EQ(State(session_), CKS_RW_USER_FUNCTIONS);
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
