// Sessions and login states: PKCS#11 3.1 §5.6 and §2.4 ("Users"), §3.4 (session states).
#include <array>
#include <vector>

#include "tests/conformance/calls.h"
#include "tests/conformance/fixtures.h"

namespace secretmem::conformance {
namespace {

using SessionsTest = TokenTest;

TEST_F(SessionsTest, Info) {
  for (const CK_FLAGS flags : {kReadOnly, kReadWrite}) {
    const CK_SESSION_HANDLE session = Open(flags);
    CK_SESSION_INFO info{};
    ASSERT_RV(CKR_OK, P11().C_GetSessionInfo(session, &info));
    EXPECT_EQ(info.slotID, slot_);
    EXPECT_EQ(info.state, flags == kReadOnly ? CKS_RO_PUBLIC_SESSION : CKS_RW_PUBLIC_SESSION);
    EXPECT_EQ(info.flags, flags);
    EXPECT_EQ(info.ulDeviceError, 0U);
    EXPECT_RV(CKR_ARGUMENTS_BAD, P11().C_GetSessionInfo(session, nullptr));
  }
}

// §5.6.1: CKF_SERIAL_SESSION is not optional.
TEST_F(SessionsTest, ParallelSessions) {
  for (const CK_FLAGS flags : {CK_FLAGS{0}, CKF_RW_SESSION}) {
    CK_SESSION_HANDLE session = 0;
    EXPECT_RV(CKR_SESSION_PARALLEL_NOT_SUPPORTED,
              P11().C_OpenSession(slot_, flags, nullptr, nullptr, &session));
  }
}

// §5.6.1: flags that the specification does not have.
TEST_F(SessionsTest, UnknownFlags) {
  CK_SESSION_HANDLE session = 0;
  const CK_FLAGS unknown = CK_FLAGS{1} << 30;
  const CK_RV rv = P11().C_OpenSession(slot_, kReadOnly | unknown, nullptr, nullptr, &session);
  EXPECT_RV_IN(rv, CKR_ARGUMENTS_BAD, CKR_OK);
  EXPECT_EQ(session == CK_INVALID_HANDLE, rv != CKR_OK);
}

TEST_F(SessionsTest, OpenNullHandle) {
  EXPECT_RV(CKR_ARGUMENTS_BAD, P11().C_OpenSession(slot_, kReadOnly, nullptr, nullptr, nullptr));
}

// §5.6.1: pApplication and Notify may be anything; the module need not call back.
TEST_F(SessionsTest, Notify) {
  CK_SESSION_HANDLE session = 0;
  int application = 0;
  const CK_NOTIFY notify = [](CK_SESSION_HANDLE, CK_NOTIFICATION, void*) -> CK_RV {
    return CKR_CANCEL;
  };
  ASSERT_RV(CKR_OK, P11().C_OpenSession(slot_, kReadWrite, &application, notify, &session));
  EXPECT_RV(CKR_OK, Login(session, CKU_USER, UserPin()));
}

TEST_F(SessionsTest, HandlesDiffer) {
  std::vector<CK_SESSION_HANDLE> sessions;
  for (int i = 0; i < 100; ++i) sessions.push_back(Open(i % 2 == 0 ? kReadOnly : kReadWrite));
  for (size_t i = 0; i < sessions.size(); ++i) {
    EXPECT_EQ(State(sessions[i]), i % 2 == 0 ? CKS_RO_PUBLIC_SESSION : CKS_RW_PUBLIC_SESSION);
    for (size_t j = 0; j < i; ++j) EXPECT_NE(sessions[i], sessions[j]);
  }
}

// §5.6.2: a closed session's handle is invalid for every function.
TEST_F(SessionsTest, ClosedHandle) {
  const CK_SESSION_HANDLE closed = Open(kReadWrite);
  ASSERT_RV(CKR_OK, P11().C_CloseSession(closed));
  for (const CK_SESSION_HANDLE session :
       {closed, CK_SESSION_HANDLE{CK_INVALID_HANDLE}, ~CK_SESSION_HANDLE{0}}) {
    for (const Call& call : SessionCalls()) {
      SCOPED_TRACE(call.name);
      EXPECT_RV(CKR_SESSION_HANDLE_INVALID, call.run(session, 1));
    }
  }
}

TEST_F(SessionsTest, CloseOneOfTwo) {
  const CK_SESSION_HANDLE one = Open(kReadWrite);
  const CK_SESSION_HANDLE two = Open(kReadOnly);
  ASSERT_RV(CKR_OK, P11().C_CloseSession(one));
  EXPECT_RV(CKR_SESSION_HANDLE_INVALID, P11().C_CloseSession(one));
  EXPECT_EQ(State(two), CKS_RO_PUBLIC_SESSION);
}

TEST_F(SessionsTest, CloseAll) {
  const std::array<CK_SESSION_HANDLE, 3> sessions{Open(kReadWrite), Open(kReadOnly),
                                                  Open(kReadWrite)};
  ASSERT_RV(CKR_OK, Login(sessions[1], CKU_USER, UserPin()));
  ASSERT_RV(CKR_OK, P11().C_CloseAllSessions(slot_));
  for (const CK_SESSION_HANDLE session : sessions) {
    CK_SESSION_INFO info{};
    EXPECT_RV(CKR_SESSION_HANDLE_INVALID, P11().C_GetSessionInfo(session, &info));
  }
  EXPECT_EQ(State(Open(kReadWrite)), CKS_RW_PUBLIC_SESSION) << "§5.6.3: logged out";
  EXPECT_RV(CKR_OK, P11().C_CloseAllSessions(slot_));
  EXPECT_RV(CKR_OK, P11().C_CloseAllSessions(slot_)) << "none is open: nothing to do";
}

class LoginTest : public TokenTest {};

// §3.4 and §5.6.8: every session of the token changes state together.
TEST_F(LoginTest, StateIsCommonToAllSessions) {
  const CK_SESSION_HANDLE read_only = Open(kReadOnly);
  const CK_SESSION_HANDLE read_write = Open(kReadWrite);
  for (const CK_SESSION_HANDLE by : {read_only, read_write}) {
    ASSERT_RV(CKR_OK, Login(by, CKU_USER, UserPin()));
    EXPECT_EQ(State(read_only), CKS_RO_USER_FUNCTIONS);
    EXPECT_EQ(State(read_write), CKS_RW_USER_FUNCTIONS);
    const CK_SESSION_HANDLE later = Open(kReadOnly);
    EXPECT_EQ(State(later), CKS_RO_USER_FUNCTIONS);
    EXPECT_EQ(State(Open(kReadWrite)), CKS_RW_USER_FUNCTIONS);
    ASSERT_RV(CKR_OK, P11().C_Logout(later));
    EXPECT_EQ(State(read_only), CKS_RO_PUBLIC_SESSION);
    EXPECT_EQ(State(read_write), CKS_RW_PUBLIC_SESSION);
  }
}

TEST_F(LoginTest, SecurityOfficer) {
  const CK_SESSION_HANDLE one = Open(kReadWrite);
  const CK_SESSION_HANDLE two = Open(kReadWrite);
  ASSERT_RV(CKR_OK, Login(one, CKU_SO, SoPin()));
  EXPECT_EQ(State(one), CKS_RW_SO_FUNCTIONS);
  EXPECT_EQ(State(two), CKS_RW_SO_FUNCTIONS);
  EXPECT_EQ(State(Open(kReadWrite)), CKS_RW_SO_FUNCTIONS);
  ASSERT_RV(CKR_OK, P11().C_Logout(two));
  EXPECT_EQ(State(one), CKS_RW_PUBLIC_SESSION);
  EXPECT_EQ(State(two), CKS_RW_PUBLIC_SESSION);
}

// §5.6.8: the security officer has no read-only state.
TEST_F(LoginTest, SecurityOfficerBesideReadOnlySession) {
  const CK_SESSION_HANDLE read_only = Open(kReadOnly);
  const CK_SESSION_HANDLE read_write = Open(kReadWrite);
  EXPECT_RV(CKR_SESSION_READ_ONLY_EXISTS, Login(read_write, CKU_SO, SoPin()));
  EXPECT_RV(CKR_SESSION_READ_ONLY_EXISTS, Login(read_only, CKU_SO, SoPin()));
  EXPECT_EQ(State(read_write), CKS_RW_PUBLIC_SESSION);
  EXPECT_EQ(State(read_only), CKS_RO_PUBLIC_SESSION);
  ASSERT_RV(CKR_OK, P11().C_CloseSession(read_only));
  EXPECT_RV(CKR_OK, Login(read_write, CKU_SO, SoPin()));
}

// §5.6.1: nor may one be opened beside the security officer.
TEST_F(LoginTest, ReadOnlySessionBesideSecurityOfficer) {
  const CK_SESSION_HANDLE so = Open(kReadWrite);
  ASSERT_RV(CKR_OK, Login(so, CKU_SO, SoPin()));
  CK_SESSION_HANDLE session = 0;
  EXPECT_RV(CKR_SESSION_READ_WRITE_SO_EXISTS,
            P11().C_OpenSession(slot_, kReadOnly, nullptr, nullptr, &session));
  EXPECT_EQ(State(so), CKS_RW_SO_FUNCTIONS);
}

// §5.6.8: who is logged in already decides the code, whatever the PIN.
TEST_F(LoginTest, Twice) {
  const CK_SESSION_HANDLE session = Open(kReadWrite);
  ASSERT_RV(CKR_OK, Login(session, CKU_USER, UserPin()));
  EXPECT_RV(CKR_USER_ALREADY_LOGGED_IN, Login(session, CKU_USER, UserPin()));
  EXPECT_RV(CKR_USER_ALREADY_LOGGED_IN, Login(Open(kReadWrite), CKU_USER, UserPin()));
  EXPECT_RV(CKR_USER_ANOTHER_ALREADY_LOGGED_IN, Login(session, CKU_SO, SoPin()));
  EXPECT_EQ(State(session), CKS_RW_USER_FUNCTIONS);
  ASSERT_RV(CKR_OK, P11().C_Logout(session));
  ASSERT_RV(CKR_OK, Login(session, CKU_SO, SoPin()));
  EXPECT_RV(CKR_USER_ALREADY_LOGGED_IN, Login(session, CKU_SO, SoPin()));
  EXPECT_RV(CKR_USER_ANOTHER_ALREADY_LOGGED_IN, Login(session, CKU_USER, UserPin()));
  EXPECT_EQ(State(session), CKS_RW_SO_FUNCTIONS);
}

TEST_F(LoginTest, UserTypes) {
  const CK_SESSION_HANDLE session = Open(kReadWrite);
  for (const CK_USER_TYPE user : {CK_USER_TYPE{3}, CK_USER_TYPE{77}, ~CK_USER_TYPE{0}}) {
    EXPECT_RV(CKR_USER_TYPE_INVALID, Login(session, user, UserPin()));
  }
  // §5.6.8: CKU_CONTEXT_SPECIFIC is for an operation that waits for it.
  EXPECT_RV(CKR_OPERATION_NOT_INITIALIZED, Login(session, CKU_CONTEXT_SPECIFIC, UserPin()));
  ASSERT_RV(CKR_OK, Login(session, CKU_USER, UserPin()));
  EXPECT_RV(CKR_OPERATION_NOT_INITIALIZED, Login(session, CKU_CONTEXT_SPECIFIC, UserPin()));
  EXPECT_EQ(State(session), CKS_RW_USER_FUNCTIONS);
}

TEST_F(LoginTest, LogoutWithoutLogin) {
  const CK_SESSION_HANDLE session = Open(kReadOnly);
  EXPECT_RV(CKR_USER_NOT_LOGGED_IN, P11().C_Logout(session));
  ASSERT_RV(CKR_OK, Login(session, CKU_USER, UserPin()));
  ASSERT_RV(CKR_OK, P11().C_Logout(session));
  EXPECT_RV(CKR_USER_NOT_LOGGED_IN, P11().C_Logout(session));
}

// §5.6.2: the last session's end is the login's end.
TEST_F(LoginTest, LastSessionLogsOut) {
  const CK_SESSION_HANDLE one = Open(kReadOnly);
  const CK_SESSION_HANDLE two = Open(kReadWrite);
  ASSERT_RV(CKR_OK, Login(one, CKU_USER, UserPin()));
  ASSERT_RV(CKR_OK, P11().C_CloseSession(one));
  EXPECT_EQ(State(two), CKS_RW_USER_FUNCTIONS);
  ASSERT_RV(CKR_OK, P11().C_CloseSession(two));
  EXPECT_EQ(State(Open(kReadWrite)), CKS_RW_PUBLIC_SESSION);
  EXPECT_EQ(State(Open(kReadOnly)), CKS_RO_PUBLIC_SESSION);
}

// §5.6.2: the same for the security officer, after which read-only sessions can be opened again.
TEST_F(LoginTest, LastSessionLogsSecurityOfficerOut) {
  const CK_SESSION_HANDLE so = Open(kReadWrite);
  ASSERT_RV(CKR_OK, Login(so, CKU_SO, SoPin()));
  ASSERT_RV(CKR_OK, P11().C_CloseSession(so));
  EXPECT_EQ(State(Open(kReadOnly)), CKS_RO_PUBLIC_SESSION);
}

// Logins and sessions on one token say nothing about another.
TEST_F(LoginTest, TokensAreApart) {
  const std::optional<CK_SLOT_ID> free = FreeSlot();
  ASSERT_TRUE(free);
  ASSERT_RV(CKR_OK, InitToken(*free, "second-so-pin", "apart"));
  ASSERT_NO_FATAL_FAILURE(Reinitialise());
  const std::optional<CK_SLOT_ID> other = FindToken("apart");
  ASSERT_TRUE(other);
  CK_SESSION_HANDLE there = 0;
  ASSERT_RV(CKR_OK, P11().C_OpenSession(*other, kReadOnly, nullptr, nullptr, &there));
  const CK_SESSION_HANDLE here = Open(kReadWrite);
  ASSERT_RV(CKR_OK, Login(here, CKU_SO, SoPin())) << "a read-only session elsewhere is no bar";
  EXPECT_EQ(State(there), CKS_RO_PUBLIC_SESSION);
  CK_SESSION_INFO info{};
  ASSERT_RV(CKR_OK, P11().C_GetSessionInfo(there, &info));
  EXPECT_EQ(info.slotID, *other);
  ASSERT_RV(CKR_OK, P11().C_CloseAllSessions(*other));
  EXPECT_EQ(State(here), CKS_RW_SO_FUNCTIONS);
}

// §2.4: what each state may do with objects. Rows are states, columns kinds of objects.
class AccessTest : public TokenTest {
 protected:
  static CK_RV TryCreate(CK_SESSION_HANDLE session, bool token, bool is_private) {
    Template object = DataObject("access").With(CKA_TOKEN, token).With(CKA_PRIVATE, is_private);
    CK_OBJECT_HANDLE handle = 0;
    return P11().C_CreateObject(session, object.data(), object.size(), &handle);
  }
};

TEST_F(AccessTest, ReadOnlyPublic) {
  const CK_SESSION_HANDLE session = Open(kReadOnly);
  EXPECT_RV(CKR_OK, TryCreate(session, false, false));
  EXPECT_RV(CKR_SESSION_READ_ONLY, TryCreate(session, true, false));
  EXPECT_RV(CKR_USER_NOT_LOGGED_IN, TryCreate(session, false, true));
  EXPECT_RV_IN(TryCreate(session, true, true), CKR_USER_NOT_LOGGED_IN, CKR_SESSION_READ_ONLY);
}

TEST_F(AccessTest, ReadOnlyUser) {
  const CK_SESSION_HANDLE session = Open(kReadOnly);
  ASSERT_RV(CKR_OK, Login(session, CKU_USER, UserPin()));
  EXPECT_RV(CKR_OK, TryCreate(session, false, false));
  EXPECT_RV(CKR_SESSION_READ_ONLY, TryCreate(session, true, false));
  EXPECT_RV(CKR_OK, TryCreate(session, false, true));
  EXPECT_RV(CKR_SESSION_READ_ONLY, TryCreate(session, true, true));
}

TEST_F(AccessTest, ReadWritePublic) {
  const CK_SESSION_HANDLE session = Open(kReadWrite);
  EXPECT_RV(CKR_OK, TryCreate(session, false, false));
  EXPECT_RV(CKR_OK, TryCreate(session, true, false));
  EXPECT_RV(CKR_USER_NOT_LOGGED_IN, TryCreate(session, false, true));
  EXPECT_RV(CKR_USER_NOT_LOGGED_IN, TryCreate(session, true, true));
}

TEST_F(AccessTest, ReadWriteUser) {
  const CK_SESSION_HANDLE session = Open(kReadWrite);
  ASSERT_RV(CKR_OK, Login(session, CKU_USER, UserPin()));
  EXPECT_RV(CKR_OK, TryCreate(session, false, false));
  EXPECT_RV(CKR_OK, TryCreate(session, true, false));
  EXPECT_RV(CKR_OK, TryCreate(session, false, true));
  EXPECT_RV(CKR_OK, TryCreate(session, true, true));
}

TEST_F(AccessTest, SecurityOfficer) {
  const CK_SESSION_HANDLE session = Open(kReadWrite);
  ASSERT_RV(CKR_OK, Login(session, CKU_SO, SoPin()));
  EXPECT_RV(CKR_OK, TryCreate(session, false, false));
  EXPECT_RV(CKR_OK, TryCreate(session, true, false));
  EXPECT_RV(CKR_USER_NOT_LOGGED_IN, TryCreate(session, false, true));
  EXPECT_RV(CKR_USER_NOT_LOGGED_IN, TryCreate(session, true, true));
}

}  // namespace
}  // namespace secretmem::conformance
