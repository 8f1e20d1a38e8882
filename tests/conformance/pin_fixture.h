// The fixture of the tests of PINs.
#pragma once

#include <string>
#include <string_view>

#include "tests/conformance/fixtures.h"

namespace secretmem::conformance {

inline constexpr CK_FLAGS kUserPinTrouble = CKF_USER_PIN_COUNT_LOW | CKF_USER_PIN_FINAL_TRY |
                                            CKF_USER_PIN_LOCKED | CKF_USER_PIN_TO_BE_CHANGED;
inline constexpr CK_FLAGS kSoPinTrouble =
    CKF_SO_PIN_COUNT_LOW | CKF_SO_PIN_FINAL_TRY | CKF_SO_PIN_LOCKED | CKF_SO_PIN_TO_BE_CHANGED;

class PinTest : public TokenTest {
 protected:
  // TryLogin returns C_Login's code and leaves nobody logged in.
  CK_RV TryLogin(CK_USER_TYPE user, std::string_view pin) const {
    const CK_SESSION_HANDLE session = Open(kReadWrite);
    const CK_RV rv = Login(session, user, pin);
    if (rv == CKR_OK) {
      EXPECT_RV(CKR_OK, P11().C_Logout(session));
    }
    EXPECT_RV(CKR_OK, P11().C_CloseSession(session));
    return rv;
  }
  CK_SESSION_HANDLE OpenAs(CK_USER_TYPE user, std::string_view pin) const {
    const CK_SESSION_HANDLE session = Open(kReadWrite);
    EXPECT_RV(CKR_OK, Login(session, user, pin));
    return session;
  }
  CK_TOKEN_INFO Info() const {
    CK_TOKEN_INFO info{};
    EXPECT_RV(CKR_OK, P11().C_GetTokenInfo(slot_, &info));
    return info;
  }
  // A PIN of `length` bytes that is not one of the defaults.
  static std::string Long(CK_ULONG length) {
    std::string pin;
    while (pin.size() < length) pin += static_cast<char>('a' + pin.size() % 26);
    return pin;
  }
};

}  // namespace secretmem::conformance
