// Every transition of the session states: each call that may change who is logged in, from each
// state, in each kind of session. PKCS#11 3.1 §3.4, §5.5.7 to §5.6.10.
#include <functional>

#include "tests/conformance/pin_fixture.h"

namespace secretmem::conformance {
namespace {

// Situation: who is logged in, and which sessions are open. The calls are made in the first one.
struct Situation {
  const char* name;
  bool read_write;                       // the first session
  std::optional<CK_USER_TYPE> user;      // logged in
  std::optional<bool> other_read_write;  // a second session, if there is one
};

constexpr Situation kSituations[] = {
    {"RO public", false, {}, {}},
    {"RW public", true, {}, {}},
    {"RO user", false, CKU_USER, {}},
    {"RW user", true, CKU_USER, {}},
    {"RW SO", true, CKU_SO, {}},
    {"RO public beside RW", false, {}, true},
    {"RW public beside RO", true, {}, false},
    {"RO user beside RW", false, CKU_USER, true},
    {"RW user beside RO", true, CKU_USER, false},
    {"RW SO beside RW", true, CKU_SO, true},
};

enum class Who { kNobody, kUser, kSo };

Who WhoOf(const Situation& situation) {
  if (!situation.user) return Who::kNobody;
  return *situation.user == CKU_USER ? Who::kUser : Who::kSo;
}

CK_STATE StateOf(Who who, bool read_write) {
  switch (who) {
    case Who::kUser:
      return read_write ? CKS_RW_USER_FUNCTIONS : CKS_RO_USER_FUNCTIONS;
    case Who::kSo:
      return CKS_RW_SO_FUNCTIONS;
    default:
      return read_write ? CKS_RW_PUBLIC_SESSION : CKS_RO_PUBLIC_SESSION;
  }
}

// Outcome: what a call answers, and who is logged in afterwards.
struct Outcome {
  CK_RV rv;
  Who who;
};

// Call is one transition: what is done, and what is to come of it.
struct Transition {
  const char* name;
  std::function<CK_RV(CK_SESSION_HANDLE, CK_SLOT_ID)> run;
  std::function<Outcome(const Situation&, Who)> want;
};

bool AnyReadOnly(const Situation& situation) {
  return !situation.read_write || situation.other_read_write == false;
}

Outcome LogInAs(const Situation& situation, Who now, Who wanted, bool right) {
  if (now == wanted) return {CKR_USER_ALREADY_LOGGED_IN, now};
  if (now != Who::kNobody) return {CKR_USER_ANOTHER_ALREADY_LOGGED_IN, now};
  if (wanted == Who::kSo && AnyReadOnly(situation)) return {CKR_SESSION_READ_ONLY_EXISTS, now};
  return right ? Outcome{CKR_OK, wanted} : Outcome{CKR_PIN_INCORRECT, now};
}

std::vector<Transition> Transitions() {
  const auto login = [](const char* name, CK_USER_TYPE user, bool right) {
    const Who wanted = user == CKU_USER ? Who::kUser : Who::kSo;
    const std::string pin = user == CKU_USER ? UserPin() : SoPin();
    return Transition{name,
                      [=](CK_SESSION_HANDLE session, CK_SLOT_ID) {
                        return Login(session, user, right ? pin : pin + "x");
                      },
                      [=](const Situation& situation, Who now) {
                        return LogInAs(situation, now, wanted, right);
                      }};
  };
  const auto open = [](const char* name, CK_FLAGS flags) {
    return Transition{name,
                      [=](CK_SESSION_HANDLE, CK_SLOT_ID slot) {
                        CK_SESSION_HANDLE made = 0;
                        const CK_RV rv = P11().C_OpenSession(slot, flags, nullptr, nullptr, &made);
                        if (rv != CKR_OK) return rv;
                        CK_SESSION_INFO info{};
                        EXPECT_RV(CKR_OK, P11().C_GetSessionInfo(made, &info));
                        EXPECT_EQ(info.flags, flags);
                        return P11().C_CloseSession(made);
                      },
                      [=](const Situation&, Who now) {
                        const bool refused = now == Who::kSo && (flags & CKF_RW_SESSION) == 0;
                        return Outcome{refused ? CKR_SESSION_READ_WRITE_SO_EXISTS : CKR_OK, now};
                      }};
  };
  return {
      login("login of the user", CKU_USER, true),
      login("login of the user, wrong PIN", CKU_USER, false),
      login("login of the SO", CKU_SO, true),
      login("login of the SO, wrong PIN", CKU_SO, false),
      {"login for the context",
       [](CK_SESSION_HANDLE session, CK_SLOT_ID) {
         return Login(session, CKU_CONTEXT_SPECIFIC, UserPin());
       },
       [](const Situation&, Who now) {
         return Outcome{CKR_OPERATION_NOT_INITIALIZED, now};
       }},
      {"login of nobody there is",
       [](CK_SESSION_HANDLE session, CK_SLOT_ID) { return Login(session, 77, UserPin()); },
       [](const Situation&, Who now) {
         return Outcome{CKR_USER_TYPE_INVALID, now};
       }},
      {"logout", [](CK_SESSION_HANDLE session, CK_SLOT_ID) { return P11().C_Logout(session); },
       [](const Situation&, Who now) {
         return Outcome{now == Who::kNobody ? CKR_USER_NOT_LOGGED_IN : CKR_OK, Who::kNobody};
       }},
      {"C_InitPIN",
       [](CK_SESSION_HANDLE session, CK_SLOT_ID) { return InitPin(session, UserPin()); },
       [](const Situation&, Who now) {
         return Outcome{now == Who::kSo ? CKR_OK : CKR_USER_NOT_LOGGED_IN, now};
       }},
      {"C_SetPIN",
       [](CK_SESSION_HANDLE session, CK_SLOT_ID) {
         CK_SESSION_INFO info{};
         EXPECT_RV(CKR_OK, P11().C_GetSessionInfo(session, &info));
         const std::string pin = info.state == CKS_RW_SO_FUNCTIONS ? SoPin() : UserPin();
         return SetPin(session, pin, pin);
       },
       [](const Situation& situation, Who now) {
         return Outcome{situation.read_write ? CKR_OK : CKR_SESSION_READ_ONLY, now};
       }},
      {"C_InitToken",
       [](CK_SESSION_HANDLE, CK_SLOT_ID slot) { return InitToken(slot, SoPin(), "another"); },
       [](const Situation&, Who now) {
         return Outcome{CKR_SESSION_EXISTS, now};
       }},
      open("another RO session", kReadOnly),
      open("another RW session", kReadWrite),
      {"C_CloseSession",
       [](CK_SESSION_HANDLE session, CK_SLOT_ID) { return P11().C_CloseSession(session); },
       [](const Situation& situation, Who now) {
         return Outcome{CKR_OK, situation.other_read_write ? now : Who::kNobody};
       }},
      {"C_CloseAllSessions",
       [](CK_SESSION_HANDLE, CK_SLOT_ID slot) { return P11().C_CloseAllSessions(slot); },
       [](const Situation&, Who) {
         return Outcome{CKR_OK, Who::kNobody};
       }},
  };
}

class SessionStatesTest : public PinTest {
 protected:
  void CheckState(CK_SESSION_HANDLE session, Who who, bool read_write) {
    CK_SESSION_INFO info{};
    const CK_RV rv = P11().C_GetSessionInfo(session, &info);
    if (rv == CKR_SESSION_HANDLE_INVALID) return;  // the transition closed it
    EXPECT_RV(CKR_OK, rv);
    EXPECT_EQ(info.state, StateOf(who, read_write));
  }
};

TEST_F(SessionStatesTest, EveryTransition) {
  size_t tried = 0;
  for (const Situation& situation : kSituations) {
    for (const Transition& transition : Transitions()) {
      SCOPED_TRACE(std::string(situation.name) + ": " + transition.name);
      const Who now = WhoOf(situation);
      const CK_SESSION_HANDLE first = Open(situation.read_write ? kReadWrite : kReadOnly);
      std::optional<CK_SESSION_HANDLE> second;
      if (situation.other_read_write) {
        second = Open(*situation.other_read_write ? kReadWrite : kReadOnly);
      }
      if (situation.user) {
        ASSERT_RV(CKR_OK, Login(first, *situation.user, now == Who::kUser ? UserPin() : SoPin()));
      }
      CheckState(first, now, situation.read_write);
      const Outcome want = transition.want(situation, now);
      EXPECT_RV(want.rv, transition.run(first, slot_));
      CheckState(first, want.who, situation.read_write);
      if (second) CheckState(*second, want.who, *situation.other_read_write);
      // Whoever is not logged in now does not come with the next session.
      ASSERT_RV(CKR_OK, P11().C_CloseAllSessions(slot_));
      const CK_SESSION_HANDLE next = Open(kReadWrite);
      EXPECT_EQ(State(next), CKS_RW_PUBLIC_SESSION);
      // A login that succeeds has a wrong PIN forgotten, before there are so many that it is
      // locked.
      if (want.rv == CKR_PIN_INCORRECT) {
        EXPECT_RV(CKR_OK, Login(next, CKU_USER, UserPin()));
        EXPECT_RV(CKR_OK, P11().C_Logout(next));
        EXPECT_RV(CKR_OK, Login(next, CKU_SO, SoPin()));
      }
      ASSERT_RV(CKR_OK, P11().C_CloseSession(next));
      ++tried;
    }
  }
  EXPECT_EQ(tried, std::size(kSituations) * Transitions().size());
}

}  // namespace
}  // namespace secretmem::conformance
