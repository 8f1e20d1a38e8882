// Test fixtures, from a module that is only loaded to a user who is logged in.
#pragma once

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "mechanisms/cryptoki.h"
#include "tests/conformance/module.h"
#include "tests/conformance/rv.h"
#include "tests/conformance/template.h"

namespace secretmem::conformance {

inline constexpr CK_FLAGS kReadOnly = CKF_SERIAL_SESSION;
inline constexpr CK_FLAGS kReadWrite = CKF_SERIAL_SESSION | CKF_RW_SESSION;

// ModuleTest: C_Initialize has not been called; TearDown finalises whatever the test left.
class ModuleTest : public testing::Test {
 protected:
  void TearDown() override;
};

// InitialisedTest: C_Initialize has been called with CKF_OS_LOCKING_OK.
class InitialisedTest : public ModuleTest {
 protected:
  void SetUp() override;
};

// TokenTest: slot_ holds a freshly initialised, empty token with both PINs set; no session is open.
class TokenTest : public InitialisedTest {
 protected:
  static constexpr std::string_view kLabel = "conformance";

  void SetUp() override;

  // Reinitialise calls C_Finalize and C_Initialize and finds the token's slot again.
  void Reinitialise();
  CK_SESSION_HANDLE Open(CK_FLAGS flags) const;
  static CK_STATE State(CK_SESSION_HANDLE session);
  CK_FLAGS TokenFlags() const;
  // Offers says whether the token has a mechanism. A fixture for one skips without it; that this
  // module has them all is for tests/clients to see, which compares whole lists.
  bool Offers(CK_MECHANISM_TYPE type) const;

  CK_SLOT_ID slot_ = 0;
};

// SessionTest: session_ is a public read/write session on the token.
class SessionTest : public TokenTest {
 protected:
  void SetUp() override;
  CK_SESSION_HANDLE session_ = 0;
};

// UserTest: the user is logged in, session_ is read/write.
class UserTest : public SessionTest {
 protected:
  void SetUp() override;
};

// Initialise calls C_Initialize with CKF_OS_LOCKING_OK.
CK_RV Initialise();

// Slots returns all slots, or those with a token present.
std::vector<CK_SLOT_ID> Slots(bool token_present);

// FindToken returns the slot whose token has this label and is initialised.
std::optional<CK_SLOT_ID> FindToken(std::string_view label);

// FreeSlot returns --slot, or the first slot with an uninitialised token.
std::optional<CK_SLOT_ID> FreeSlot();

// PaddedLabel returns `label` padded with blanks to 32 bytes, as C_InitToken takes it.
Bytes PaddedLabel(std::string_view label);

// Login, InitToken, InitPin, SetPin: the calls of that name with PINs as strings.
CK_RV Login(CK_SESSION_HANDLE session, CK_USER_TYPE user, std::string_view pin);
CK_RV InitToken(CK_SLOT_ID slot, std::string_view so_pin, std::string_view label);
CK_RV InitPin(CK_SESSION_HANDLE session, std::string_view pin);
CK_RV SetPin(CK_SESSION_HANDLE session, std::string_view old_pin, std::string_view new_pin);

inline const std::string& UserPin() { return GlobalOptions().user_pin; }
inline const std::string& SoPin() { return GlobalOptions().so_pin; }

// CheckPadded fails the test unless `field` is UTF-8-printable text padded with blanks, without a
// NUL (§3.1), and not blank throughout.
void CheckPadded(const CK_UTF8CHAR* field, size_t size, const char* what);

}  // namespace secretmem::conformance
