// C_InitToken, C_InitPIN, C_SetPIN: PKCS#11 3.1 §5.5.7 to §5.5.9, §3.3.
#include <string>

#include "tests/conformance/pin_fixture.h"

namespace secretmem::conformance {
namespace {

class InitTokenTest : public PinTest {};

// §5.5.7: a re-initialised token keeps the SO PIN, takes the label, loses the user PIN.
TEST_F(InitTokenTest, Again) {
  ASSERT_RV(CKR_OK, InitToken(slot_, SoPin(), kLabel));
  EXPECT_EQ(TokenFlags() & (CKF_TOKEN_INITIALIZED | CKF_USER_PIN_INITIALIZED | kUserPinTrouble |
                            kSoPinTrouble),
            CKF_TOKEN_INITIALIZED);
  EXPECT_RV(CKR_USER_PIN_NOT_INITIALIZED, TryLogin(CKU_USER, UserPin()));
  EXPECT_RV(CKR_OK, TryLogin(CKU_SO, SoPin()));
}

TEST_F(InitTokenTest, NewLabel) {
  ASSERT_RV(CKR_OK, InitToken(slot_, SoPin(), "another name"));
  EXPECT_EQ(FindToken(kLabel), std::nullopt);
  const std::optional<CK_SLOT_ID> slot = FindToken("another name");
  ASSERT_TRUE(slot);
  ASSERT_RV(CKR_OK, InitToken(*slot, SoPin(), kLabel));
}

// §5.5.7: the objects of the old token go, public and private.
TEST_F(InitTokenTest, DestroysObjects) {
  const CK_SESSION_HANDLE session = OpenAs(CKU_USER, UserPin());
  Create(session, DataObject("public").With(CKA_TOKEN, true));
  Create(session, DataObject("private").With(CKA_TOKEN, true).With(CKA_PRIVATE, true));
  const Template data = Template().With(CKA_CLASS, CKO_DATA);
  EXPECT_EQ(FindAll(session, data).size(), 2U);
  ASSERT_RV(CKR_OK, P11().C_CloseSession(session));
  ASSERT_RV(CKR_OK, InitToken(slot_, SoPin(), kLabel));
  const CK_SESSION_HANDLE so = OpenAs(CKU_SO, SoPin());
  EXPECT_EQ(FindAll(so, data).size(), 0U);
  ASSERT_RV(CKR_OK, InitPin(so, UserPin()));
  ASSERT_RV(CKR_OK, P11().C_CloseSession(so));
  EXPECT_EQ(FindAll(OpenAs(CKU_USER, UserPin()), data).size(), 0U);
}

// §5.5.7: not while an application has a session on the token.
TEST_F(InitTokenTest, SessionExists) {
  const CK_SESSION_HANDLE session = Open(kReadOnly);
  EXPECT_RV(CKR_SESSION_EXISTS, InitToken(slot_, SoPin(), "taken"));
  EXPECT_EQ(State(session), CKS_RO_PUBLIC_SESSION);
  EXPECT_EQ(FindToken(kLabel), slot_);
  ASSERT_RV(CKR_OK, P11().C_CloseSession(session));
  EXPECT_RV(CKR_OK, TryLogin(CKU_USER, UserPin()));
}

TEST_F(InitTokenTest, WrongPin) {
  const CK_SESSION_HANDLE session = OpenAs(CKU_USER, UserPin());
  Create(session, DataObject("kept").With(CKA_TOKEN, true));
  ASSERT_RV(CKR_OK, P11().C_CloseSession(session));
  EXPECT_RV(CKR_PIN_INCORRECT, InitToken(slot_, SoPin() + "x", "stolen"));
  EXPECT_EQ(FindToken(kLabel), slot_);
  EXPECT_EQ(FindAll(OpenAs(CKU_USER, UserPin()), DataObject("kept").With(CKA_TOKEN, true)).size(),
            1U);
}

// A token that is not protected by a PIN pad has no use for a NULL PIN; which of the codes is not
// specified.
TEST_F(InitTokenTest, NullArguments) {
  Bytes label = PaddedLabel("null");
  Bytes pin = ToBytes(SoPin());
  EXPECT_RV_IN(P11().C_InitToken(slot_, nullptr, 0, label.data()), CKR_ARGUMENTS_BAD,
               CKR_PIN_INCORRECT, CKR_PIN_LEN_RANGE);
  EXPECT_RV(CKR_ARGUMENTS_BAD, P11().C_InitToken(slot_, nullptr, 8, label.data()));
  EXPECT_RV(CKR_ARGUMENTS_BAD, P11().C_InitToken(slot_, pin.data(), pin.size(), nullptr));
  EXPECT_EQ(FindToken(kLabel), slot_);
  EXPECT_RV(CKR_OK, TryLogin(CKU_USER, UserPin()));
}

// A second token in the free slot leaves the first alone, and a further free slot appears.
TEST_F(InitTokenTest, SecondToken) {
  const std::optional<CK_SLOT_ID> free = FreeSlot();
  ASSERT_TRUE(free);
  const CK_TOKEN_INFO info = Info();
  // §5.5.7 lists CKR_PIN_INCORRECT and not CKR_PIN_LEN_RANGE, which says more.
  EXPECT_RV_IN(InitToken(*free, Long(info.ulMinPinLen - 1), "second"), CKR_PIN_LEN_RANGE,
               CKR_PIN_INCORRECT);
  EXPECT_RV_IN(InitToken(*free, Long(info.ulMaxPinLen + 1), "second"), CKR_PIN_LEN_RANGE,
               CKR_PIN_INCORRECT);
  ASSERT_RV(CKR_OK, InitToken(*free, "second-so-pin", "second"));
  ASSERT_NO_FATAL_FAILURE(Reinitialise());
  const std::optional<CK_SLOT_ID> second = FindToken("second");
  ASSERT_TRUE(second);
  EXPECT_NE(*second, slot_);
  EXPECT_TRUE(FreeSlot());
  EXPECT_RV(CKR_OK, TryLogin(CKU_USER, UserPin()));
  CK_SESSION_HANDLE session = 0;
  ASSERT_RV(CKR_OK, P11().C_OpenSession(*second, kReadWrite, nullptr, nullptr, &session));
  EXPECT_RV(CKR_PIN_INCORRECT, Login(session, CKU_SO, SoPin()));
  EXPECT_RV(CKR_OK, Login(session, CKU_SO, "second-so-pin"));
}

class InitPinTest : public PinTest {};

// §5.5.8: only in the "R/W SO Functions" state.
TEST_F(InitPinTest, OnlyTheSecurityOfficer) {
  const CK_SESSION_HANDLE session = Open(kReadWrite);
  EXPECT_RV(CKR_USER_NOT_LOGGED_IN, InitPin(session, "other-pin"));
  ASSERT_RV(CKR_OK, Login(session, CKU_USER, UserPin()));
  EXPECT_RV(CKR_USER_NOT_LOGGED_IN, InitPin(session, "other-pin"));
  EXPECT_RV_IN(InitPin(Open(kReadOnly), "other-pin"), CKR_USER_NOT_LOGGED_IN,
               CKR_SESSION_READ_ONLY);
  EXPECT_RV(CKR_OK, P11().C_Logout(session));
  EXPECT_RV(CKR_PIN_INCORRECT, Login(session, CKU_USER, "other-pin"));
  EXPECT_RV(CKR_OK, Login(session, CKU_USER, UserPin()));
}

// §3.3: ulMinPinLen and ulMaxPinLen are the bounds.
TEST_F(InitPinTest, Lengths) {
  const CK_TOKEN_INFO info = Info();
  const CK_SESSION_HANDLE session = OpenAs(CKU_SO, SoPin());
  EXPECT_RV(CKR_PIN_LEN_RANGE, InitPin(session, Long(info.ulMaxPinLen + 1)));
  if (info.ulMinPinLen > 1) {
    EXPECT_RV(CKR_PIN_LEN_RANGE, InitPin(session, Long(info.ulMinPinLen - 1)));
  }
  ASSERT_RV(CKR_OK, InitPin(session, Long(info.ulMinPinLen)));
  ASSERT_RV(CKR_OK, P11().C_Logout(session));
  EXPECT_RV(CKR_OK, TryLogin(CKU_USER, Long(info.ulMinPinLen)));
  ASSERT_RV(CKR_OK, Login(session, CKU_SO, SoPin()));
  ASSERT_RV(CKR_OK, InitPin(session, Long(info.ulMaxPinLen)));
  ASSERT_RV(CKR_OK, P11().C_Logout(session));
  EXPECT_RV(CKR_OK, TryLogin(CKU_USER, Long(info.ulMaxPinLen)));
}

// The security officer gives the user a new PIN; the user's objects are still the user's.
TEST_F(InitPinTest, NewPinKeepsObjects) {
  const CK_SESSION_HANDLE user = OpenAs(CKU_USER, UserPin());
  const Bytes value = FromHex("00112233445566778899aabbccddeeff");
  Create(user,
         SecretObject(value).With(CKA_TOKEN, true).With(CKA_PRIVATE, true).With(CKA_LABEL, "kept"));
  ASSERT_RV(CKR_OK, P11().C_CloseSession(user));
  const CK_SESSION_HANDLE so = OpenAs(CKU_SO, SoPin());
  ASSERT_RV(CKR_OK, InitPin(so, "a-new-user-pin"));
  ASSERT_RV(CKR_OK, P11().C_CloseSession(so));
  EXPECT_RV(CKR_PIN_INCORRECT, TryLogin(CKU_USER, UserPin()));
  const CK_SESSION_HANDLE again = OpenAs(CKU_USER, "a-new-user-pin");
  const auto found = FindAll(again, Template().With(CKA_LABEL, "kept"));
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(ReadBytes(again, found[0], CKA_VALUE), value);
}

TEST_F(InitPinTest, NullPin) {
  const CK_SESSION_HANDLE so = OpenAs(CKU_SO, SoPin());
  EXPECT_RV(CKR_ARGUMENTS_BAD, P11().C_InitPIN(so, nullptr, 8));
  ASSERT_RV(CKR_OK, P11().C_Logout(so));
  EXPECT_RV(CKR_OK, TryLogin(CKU_USER, UserPin()));
}

class SetPinTest : public PinTest {};

// §5.5.9: in "R/W Public Session" and "R/W User Functions" the user's PIN is changed.
TEST_F(SetPinTest, User) {
  for (const bool logged_in : {false, true}) {
    SCOPED_TRACE(logged_in);
    const std::string old_pin = logged_in ? "second-pin" : UserPin();
    const std::string new_pin = logged_in ? "third-pin" : "second-pin";
    const CK_SESSION_HANDLE session = Open(kReadWrite);
    if (logged_in) {
      ASSERT_RV(CKR_OK, Login(session, CKU_USER, old_pin));
    }
    EXPECT_RV(CKR_OK, SetPin(session, old_pin, new_pin));
    EXPECT_EQ(State(session), logged_in ? CKS_RW_USER_FUNCTIONS : CKS_RW_PUBLIC_SESSION);
    ASSERT_RV(CKR_OK, P11().C_CloseSession(session));
    EXPECT_RV(CKR_PIN_INCORRECT, TryLogin(CKU_USER, old_pin));
    EXPECT_RV(CKR_OK, TryLogin(CKU_USER, new_pin));
    EXPECT_RV(CKR_OK, TryLogin(CKU_SO, SoPin()));
  }
}

TEST_F(SetPinTest, KeepsObjects) {
  const CK_SESSION_HANDLE session = OpenAs(CKU_USER, UserPin());
  const Bytes value = FromHex("00112233445566778899aabbccddeeff");
  Create(session,
         SecretObject(value).With(CKA_TOKEN, true).With(CKA_PRIVATE, true).With(CKA_LABEL, "kept"));
  ASSERT_RV(CKR_OK, SetPin(session, UserPin(), "changed-pin"));
  ASSERT_NO_FATAL_FAILURE(Reinitialise());
  const CK_SESSION_HANDLE again = OpenAs(CKU_USER, "changed-pin");
  const auto found = FindAll(again, Template().With(CKA_LABEL, "kept"));
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(ReadBytes(again, found[0], CKA_VALUE), value);
}

// §5.5.9: in "R/W SO Functions" it is the security officer's.
TEST_F(SetPinTest, SecurityOfficer) {
  const CK_SESSION_HANDLE session = OpenAs(CKU_SO, SoPin());
  EXPECT_RV(CKR_OK, SetPin(session, SoPin(), "other-so-pin"));
  ASSERT_RV(CKR_OK, P11().C_CloseSession(session));
  EXPECT_RV(CKR_PIN_INCORRECT, TryLogin(CKU_SO, SoPin()));
  EXPECT_RV(CKR_OK, TryLogin(CKU_USER, UserPin()));
  const CK_SESSION_HANDLE again = OpenAs(CKU_SO, "other-so-pin");
  ASSERT_RV(CKR_OK, SetPin(again, "other-so-pin", SoPin()));  // SetUp of the next test needs it
}

TEST_F(SetPinTest, WrongOldPin) {
  const CK_SESSION_HANDLE session = OpenAs(CKU_USER, UserPin());
  EXPECT_RV(CKR_PIN_INCORRECT, SetPin(session, "wrong-pin", "new-pin-1"));
  EXPECT_EQ(State(session), CKS_RW_USER_FUNCTIONS);
  ASSERT_RV(CKR_OK, P11().C_Logout(session));
  EXPECT_RV(CKR_PIN_INCORRECT, SetPin(session, "wrong-pin", "new-pin-1"));
  EXPECT_RV(CKR_OK, Login(session, CKU_USER, UserPin()));
}

TEST_F(SetPinTest, ReadOnlySession) {
  const CK_SESSION_HANDLE session = Open(kReadOnly);
  EXPECT_RV(CKR_SESSION_READ_ONLY, SetPin(session, UserPin(), "new-pin-1"));
  ASSERT_RV(CKR_OK, Login(session, CKU_USER, UserPin()));
  EXPECT_RV(CKR_SESSION_READ_ONLY, SetPin(session, UserPin(), "new-pin-1"));
  ASSERT_RV(CKR_OK, P11().C_Logout(session));
  EXPECT_RV(CKR_OK, TryLogin(CKU_USER, UserPin()));
}

TEST_F(SetPinTest, Lengths) {
  const CK_TOKEN_INFO info = Info();
  const CK_SESSION_HANDLE session = OpenAs(CKU_USER, UserPin());
  EXPECT_RV(CKR_PIN_LEN_RANGE, SetPin(session, UserPin(), Long(info.ulMaxPinLen + 1)));
  if (info.ulMinPinLen > 1) {
    EXPECT_RV(CKR_PIN_LEN_RANGE, SetPin(session, UserPin(), Long(info.ulMinPinLen - 1)));
  }
  EXPECT_RV(CKR_OK, SetPin(session, UserPin(), Long(info.ulMaxPinLen)));
  EXPECT_RV(CKR_OK, SetPin(session, Long(info.ulMaxPinLen), Long(info.ulMinPinLen)));
  ASSERT_RV(CKR_OK, P11().C_CloseSession(session));
  EXPECT_RV(CKR_OK, TryLogin(CKU_USER, Long(info.ulMinPinLen)));
}

TEST_F(SetPinTest, NullPins) {
  const CK_SESSION_HANDLE session = Open(kReadWrite);
  Bytes pin = ToBytes(UserPin());
  EXPECT_RV(CKR_ARGUMENTS_BAD, P11().C_SetPIN(session, nullptr, 8, pin.data(), pin.size()));
  EXPECT_RV(CKR_ARGUMENTS_BAD, P11().C_SetPIN(session, pin.data(), pin.size(), nullptr, 8));
  EXPECT_RV(CKR_OK, Login(session, CKU_USER, UserPin()));
}

// §5.5.8: without a user PIN there is nothing to change.
TEST_F(SetPinTest, NoUserPinYet) {
  ASSERT_RV(CKR_OK, InitToken(slot_, SoPin(), kLabel));
  const CK_SESSION_HANDLE session = Open(kReadWrite);
  EXPECT_RV_IN(SetPin(session, UserPin(), "new-pin-1"), CKR_USER_PIN_NOT_INITIALIZED,
               CKR_PIN_INCORRECT);
  EXPECT_EQ(TokenFlags() & CKF_USER_PIN_INITIALIZED, 0U);
}

}  // namespace
}  // namespace secretmem::conformance
