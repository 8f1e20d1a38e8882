// Wrong and locked PINs: PKCS#11 3.1 §5.6.8, §3.3.
#include <string>

#include "tests/conformance/pin_fixture.h"

namespace secretmem::conformance {
namespace {

class WrongPinTest : public PinTest {};

// A PIN is a counted string: prefix, extension, an embedded NUL and every byte value count.
TEST_F(WrongPinTest, ComparedWhole) {
  std::string odd("ab\0cd\xc3\xa9\xff\x01", 9);
  const CK_SESSION_HANDLE session = OpenAs(CKU_SO, SoPin());
  ASSERT_RV(CKR_OK, InitPin(session, odd));
  ASSERT_RV(CKR_OK, P11().C_Logout(session));
  EXPECT_RV(CKR_PIN_INCORRECT, Login(session, CKU_USER, odd.substr(0, 8)));
  EXPECT_RV(CKR_OK, Login(session, CKU_USER, odd));
  ASSERT_RV(CKR_OK, P11().C_Logout(session));
  EXPECT_RV(CKR_PIN_INCORRECT, Login(session, CKU_USER, odd + '\0'));
  EXPECT_RV(CKR_OK, Login(session, CKU_USER, odd));
  ASSERT_RV(CKR_OK, P11().C_Logout(session));
  std::string other = odd;
  other[3] = 'C';
  EXPECT_RV(CKR_PIN_INCORRECT, Login(session, CKU_USER, other));
  EXPECT_RV(CKR_OK, Login(session, CKU_USER, odd));
}

TEST_F(WrongPinTest, ChangesNothing) {
  const CK_SESSION_HANDLE session = Open(kReadWrite);
  EXPECT_RV(CKR_PIN_INCORRECT, Login(session, CKU_USER, UserPin() + "x"));
  EXPECT_EQ(State(session), CKS_RW_PUBLIC_SESSION);
  EXPECT_RV(CKR_PIN_INCORRECT, Login(session, CKU_SO, SoPin() + "x"));
  EXPECT_EQ(State(session), CKS_RW_PUBLIC_SESSION);
  EXPECT_RV(CKR_PIN_INCORRECT, Login(session, CKU_SO, UserPin()));
  EXPECT_RV(CKR_OK, Login(session, CKU_USER, UserPin()));
}

// §3.3: COUNT_LOW after a wrong PIN, gone after the right one; the other user's flags unmoved.
TEST_F(WrongPinTest, UserFlags) {
  EXPECT_EQ(TokenFlags() & (kUserPinTrouble | kSoPinTrouble), 0U);
  const CK_SESSION_HANDLE session = Open(kReadWrite);
  EXPECT_RV(CKR_PIN_INCORRECT, Login(session, CKU_USER, UserPin() + "x"));
  EXPECT_EQ(TokenFlags() & (kUserPinTrouble | kSoPinTrouble), CKF_USER_PIN_COUNT_LOW);
  EXPECT_RV(CKR_OK, Login(session, CKU_USER, UserPin()));
  EXPECT_EQ(TokenFlags() & (kUserPinTrouble | kSoPinTrouble), 0U);
}

TEST_F(WrongPinTest, SoFlags) {
  const CK_SESSION_HANDLE session = Open(kReadWrite);
  EXPECT_RV(CKR_PIN_INCORRECT, Login(session, CKU_SO, SoPin() + "x"));
  EXPECT_EQ(TokenFlags() & (kUserPinTrouble | kSoPinTrouble), CKF_SO_PIN_COUNT_LOW);
  EXPECT_RV(CKR_OK, Login(session, CKU_SO, SoPin()));
  EXPECT_EQ(TokenFlags() & (kUserPinTrouble | kSoPinTrouble), 0U);
}

// The count is the token's, not the process's life's.
TEST_F(WrongPinTest, FlagsOutliveFinalize) {
  EXPECT_RV(CKR_PIN_INCORRECT, TryLogin(CKU_USER, UserPin() + "x"));
  ASSERT_NO_FATAL_FAILURE(Reinitialise());
  EXPECT_EQ(TokenFlags() & kUserPinTrouble, CKF_USER_PIN_COUNT_LOW);
  EXPECT_RV(CKR_OK, TryLogin(CKU_USER, UserPin()));
  EXPECT_EQ(TokenFlags() & kUserPinTrouble, 0U);
}

class LockedPinTest : public PinTest {
 protected:
  static constexpr int kTries = 25;

  // Lock enters wrong PINs until the PIN is locked, and returns how many it took; 0 if it is not
  // locked after kTries. The flags must announce each step (§3.3).
  int Lock(CK_USER_TYPE user, std::string_view pin, CK_FLAGS low, CK_FLAGS final_try,
           CK_FLAGS locked) const {
    const CK_SESSION_HANDLE session = Open(kReadWrite);
    bool announced = false;
    for (int tries = 1; tries <= kTries; ++tries) {
      const CK_RV rv = Login(session, user, std::string(pin) + "x");
      const CK_FLAGS flags = TokenFlags() & (kUserPinTrouble | kSoPinTrouble);
      if ((flags & locked) != 0) {
        EXPECT_RV_IN(rv, CKR_PIN_INCORRECT, CKR_PIN_LOCKED);
        EXPECT_TRUE(announced) << "no final try was announced";
        EXPECT_RV(CKR_PIN_LOCKED, Login(session, user, std::string(pin) + "x"));
        EXPECT_RV(CKR_PIN_LOCKED, Login(session, user, pin)) << "the right PIN is too late";
        return tries;
      }
      EXPECT_RV(CKR_PIN_INCORRECT, rv);
      EXPECT_EQ(flags & ~final_try, low);
      EXPECT_FALSE(announced) << "a try after the final one";
      announced = (flags & final_try) != 0;
    }
    return 0;
  }
};

// The user's PIN locks; the security officer's new PIN opens it again, and the objects are there.
TEST_F(LockedPinTest, User) {
  const CK_SESSION_HANDLE user = OpenAs(CKU_USER, UserPin());
  Create(user, DataObject("kept").With(CKA_TOKEN, true).With(CKA_PRIVATE, true));
  ASSERT_RV(CKR_OK, P11().C_CloseSession(user));
  if (Lock(CKU_USER, UserPin(), CKF_USER_PIN_COUNT_LOW, CKF_USER_PIN_FINAL_TRY,
           CKF_USER_PIN_LOCKED) == 0) {
    GTEST_SKIP() << "the module does not lock PINs within " << kTries << " tries";
  }
  ASSERT_NO_FATAL_FAILURE(Reinitialise());
  EXPECT_RV(CKR_PIN_LOCKED, TryLogin(CKU_USER, UserPin())) << "the lock is the token's";
  EXPECT_RV(CKR_PIN_LOCKED, SetPin(Open(kReadWrite), UserPin(), "new-pin-1"));
  const CK_SESSION_HANDLE so = OpenAs(CKU_SO, SoPin());
  ASSERT_RV(CKR_OK, InitPin(so, "unlocked-pin"));
  EXPECT_EQ(TokenFlags() & (kUserPinTrouble | kSoPinTrouble), 0U);
  ASSERT_RV(CKR_OK, P11().C_Logout(so));
  EXPECT_EQ(FindAll(OpenAs(CKU_USER, "unlocked-pin"), Template().With(CKA_LABEL, "kept")).size(),
            1U);
}

// The security officer's PIN locks for good: the user goes on, the token cannot be initialised.
TEST_F(LockedPinTest, SecurityOfficer) {
  const std::optional<CK_SLOT_ID> free = FreeSlot();
  ASSERT_TRUE(free);
  // A token of its own: nobody can initialise it again.
  ASSERT_RV(CKR_OK, InitToken(*free, SoPin(), "locked"));
  ASSERT_NO_FATAL_FAILURE(Reinitialise());
  const std::optional<CK_SLOT_ID> slot = FindToken("locked");
  ASSERT_TRUE(slot);
  slot_ = *slot;
  const CK_SESSION_HANDLE so = OpenAs(CKU_SO, SoPin());
  ASSERT_RV(CKR_OK, InitPin(so, UserPin()));
  ASSERT_RV(CKR_OK, P11().C_CloseSession(so));
  if (Lock(CKU_SO, SoPin(), CKF_SO_PIN_COUNT_LOW, CKF_SO_PIN_FINAL_TRY, CKF_SO_PIN_LOCKED) == 0) {
    GTEST_SKIP() << "the module does not lock PINs within " << kTries << " tries";
  }
  EXPECT_RV(CKR_OK, TryLogin(CKU_USER, UserPin()));
  ASSERT_RV(CKR_OK, P11().C_CloseAllSessions(slot_));
  EXPECT_RV(CKR_PIN_LOCKED, InitToken(slot_, SoPin(), "again"));
}

// §5.6.8: C_Login without a PIN, or with one of an impossible length.
TEST_F(WrongPinTest, NullAndLengths) {
  const CK_SESSION_HANDLE session = Open(kReadWrite);
  const CK_TOKEN_INFO info = Info();
  EXPECT_RV(CKR_ARGUMENTS_BAD, P11().C_Login(session, CKU_USER, nullptr, 8));
  EXPECT_RV_IN(P11().C_Login(session, CKU_USER, nullptr, 0), CKR_ARGUMENTS_BAD, CKR_PIN_INCORRECT,
               CKR_PIN_LEN_RANGE);
  EXPECT_RV_IN(Login(session, CKU_USER, ""), CKR_PIN_INCORRECT, CKR_PIN_LEN_RANGE,
               CKR_ARGUMENTS_BAD);
  EXPECT_RV_IN(Login(session, CKU_USER, Long(info.ulMaxPinLen + 1)), CKR_PIN_INCORRECT,
               CKR_PIN_LEN_RANGE);
  EXPECT_EQ(State(session), CKS_RW_PUBLIC_SESSION);
  EXPECT_RV(CKR_OK, Login(session, CKU_USER, UserPin()));
}

}  // namespace
}  // namespace secretmem::conformance
