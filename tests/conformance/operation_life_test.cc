// How operations end from outside: sessions that close, users who log out, C_SessionCancel, and
// threads that share a session. PKCS#11 3.1 §2.6.2, §3.7, §5.6.
#include <atomic>
#include <thread>
#include <vector>

#include "tests/conformance/fixtures.h"
#include "tests/conformance/macs.h"
#include "tests/conformance/x25519.h"

namespace secretmem::conformance {
namespace {

// One function that begins an operation of a kind, one that goes on, and the kind's flag.
struct Kind {
  const char* name;
  CK_FLAGS flag;
  CK_RV (*begin)(CK_SESSION_HANDLE, CK_OBJECT_HANDLE key);
  CK_RV (*update)(CK_SESSION_HANDLE);
};

CK_BYTE g_data[8] = {1, 2, 3, 4, 5, 6, 7, 8};

constexpr Kind kKinds[] = {
    {"Digest", CKF_DIGEST,
     [](CK_SESSION_HANDLE session, CK_OBJECT_HANDLE) {
       CK_MECHANISM mechanism{CKM_SHA256, nullptr, 0};
       return P11().C_DigestInit(session, &mechanism);
     },
     [](CK_SESSION_HANDLE session) {
       return P11().C_DigestUpdate(session, g_data, sizeof g_data);
     }},
    {"Sign", CKF_SIGN,
     [](CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key) {
       CK_MECHANISM mechanism{CKM_SHA256_HMAC, nullptr, 0};
       return P11().C_SignInit(session, &mechanism, key);
     },
     [](CK_SESSION_HANDLE session) { return P11().C_SignUpdate(session, g_data, sizeof g_data); }},
    {"Verify", CKF_VERIFY,
     [](CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key) {
       CK_MECHANISM mechanism{CKM_SHA256_HMAC, nullptr, 0};
       return P11().C_VerifyInit(session, &mechanism, key);
     },
     [](CK_SESSION_HANDLE session) {
       return P11().C_VerifyUpdate(session, g_data, sizeof g_data);
     }},
};

class OperationLifeTest : public UserTest, public testing::WithParamInterface<Kind> {
 protected:
  void Begin(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key) {
    ASSERT_RV(CKR_OK, GetParam().begin(session, key));
    ASSERT_RV(CKR_OK, GetParam().update(session));
  }
  CK_RV Go(CK_SESSION_HANDLE session) { return GetParam().update(session); }

  CK_OBJECT_HANDLE Key(bool is_private) {
    return Create(session_, MacKey(Bytes(64, 7)).With(CKA_PRIVATE, is_private));
  }
  bool UsesKey() const { return GetParam().flag != CKF_DIGEST; }
};

TEST_P(OperationLifeTest, ClosedSession) {
  const CK_SESSION_HANDLE other = Open(kReadOnly);
  const CK_OBJECT_HANDLE key = Key(false);
  Begin(other, key);
  ASSERT_RV(CKR_OK, P11().C_CloseSession(other));
  EXPECT_RV(CKR_SESSION_HANDLE_INVALID, Go(other));
  // A new session has nothing of the old one's, whatever its handle.
  const CK_SESSION_HANDLE fresh = Open(kReadOnly);
  EXPECT_RV(CKR_OPERATION_NOT_INITIALIZED, Go(fresh));
  EXPECT_RV(CKR_OK, GetParam().begin(fresh, key));
}

TEST_P(OperationLifeTest, CloseAllSessions) {
  const CK_SESSION_HANDLE other = Open(kReadOnly);
  Begin(other, Key(false));
  ASSERT_RV(CKR_OK, P11().C_CloseAllSessions(slot_));
  EXPECT_RV(CKR_SESSION_HANDLE_INVALID, Go(other));
}

TEST_P(OperationLifeTest, Finalize) {
  Begin(session_, Key(false));
  ASSERT_RV(CKR_OK, P11().C_Finalize(nullptr));
  EXPECT_RV(CKR_CRYPTOKI_NOT_INITIALIZED, Go(session_));
}

// §5.6.9: what needs the user cannot go on without.
TEST_P(OperationLifeTest, LogoutWithPrivateKey) {
  Begin(session_, Key(true));
  ASSERT_RV(CKR_OK, P11().C_Logout(session_));
  if (!UsesKey()) {
    EXPECT_RV(CKR_OK, Go(session_));
    return;
  }
  EXPECT_RV_IN(Go(session_), CKR_USER_NOT_LOGGED_IN, CKR_OPERATION_NOT_INITIALIZED);
  EXPECT_RV(CKR_OPERATION_NOT_INITIALIZED, Go(session_));
  // Nor does it come back with the user.
  ASSERT_RV(CKR_OK, Login(session_, CKU_USER, UserPin()));
  EXPECT_RV(CKR_OPERATION_NOT_INITIALIZED, Go(session_));
}

TEST_P(OperationLifeTest, LogoutAndLoginWithPrivateKey) {
  Begin(session_, Key(true));
  ASSERT_RV(CKR_OK, P11().C_Logout(session_));
  ASSERT_RV(CKR_OK, Login(session_, CKU_USER, UserPin()));
  EXPECT_RV(UsesKey() ? CKR_OPERATION_NOT_INITIALIZED : CKR_OK, Go(session_));
}

TEST_P(OperationLifeTest, LogoutWithPublicKey) {
  Begin(session_, Key(false));
  ASSERT_RV(CKR_OK, P11().C_Logout(session_));
  EXPECT_RV(CKR_OK, Go(session_));
}

// The operation has the key already.
TEST_P(OperationLifeTest, KeyDestroyed) {
  const CK_OBJECT_HANDLE key = Key(false);
  Begin(session_, key);
  ASSERT_RV(CKR_OK, P11().C_DestroyObject(session_, key));
  EXPECT_RV_IN(Go(session_), CKR_OK, CKR_KEY_HANDLE_INVALID, CKR_OPERATION_NOT_INITIALIZED);
}

// §5.6.8, of 3.0.
using SessionCancel = CK_RV (*)(CK_SESSION_HANDLE, CK_FLAGS);

TEST_P(OperationLifeTest, SessionCancel) {
  const auto cancel = reinterpret_cast<SessionCancel>(ModuleSymbol("C_SessionCancel"));
  if (cancel == nullptr) GTEST_SKIP() << "a 2.40 module";
  const CK_OBJECT_HANDLE key = Key(false);
  EXPECT_RV(CKR_OK, cancel(session_, GetParam().flag)) << "nothing to cancel";
  Begin(session_, key);
  EXPECT_RV(CKR_OK, cancel(session_, 0));
  EXPECT_RV(CKR_OK, cancel(session_, ~GetParam().flag));
  EXPECT_RV(CKR_OK, Go(session_)) << "other operations were cancelled";
  EXPECT_RV(CKR_OK, cancel(session_, GetParam().flag));
  EXPECT_RV(CKR_OPERATION_NOT_INITIALIZED, Go(session_));
  Begin(session_, key);
  EXPECT_RV(CKR_SESSION_HANDLE_INVALID, cancel(0xffffff, GetParam().flag));
}

// §3.7: threads that share a session get one operation between them; a call that comes while
// another is under way is refused, and neither hangs nor crashes.
TEST_P(OperationLifeTest, TwoThreads) {
  const CK_OBJECT_HANDLE key = Key(false);
  std::atomic<int> begun = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 2; ++i) {
    threads.emplace_back([&] {
      for (int round = 0; round < 500; ++round) {
        const CK_RV init = GetParam().begin(session_, key);
        EXPECT_RV_IN(init, CKR_OK, CKR_OPERATION_ACTIVE);
        begun += init == CKR_OK;
        EXPECT_RV_IN(Go(session_), CKR_OK, CKR_OPERATION_ACTIVE, CKR_OPERATION_NOT_INITIALIZED);
        CK_BYTE out[32] = {};
        CK_ULONG length = sizeof out;
        if (GetParam().flag == CKF_DIGEST) (void)P11().C_DigestFinal(session_, out, &length);
        if (GetParam().flag == CKF_SIGN) (void)P11().C_SignFinal(session_, out, &length);
        if (GetParam().flag == CKF_VERIFY) (void)P11().C_VerifyFinal(session_, out, length);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_GE(begun, 1);
}

INSTANTIATE_TEST_SUITE_P(Kinds, OperationLifeTest, testing::ValuesIn(kKinds),
                         [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace secretmem::conformance
