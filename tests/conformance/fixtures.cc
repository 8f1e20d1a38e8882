#include "tests/conformance/fixtures.h"

#include <algorithm>

namespace secretmem::conformance {
namespace {

CK_UTF8CHAR* Chars(std::string_view text) {
  return reinterpret_cast<CK_UTF8CHAR*>(const_cast<char*>(text.data()));
}

}  // namespace

CK_RV Initialise() {
  CK_C_INITIALIZE_ARGS arguments{};
  arguments.flags = CKF_OS_LOCKING_OK;
  return P11().C_Initialize(&arguments);
}

void ModuleTest::TearDown() {
  EXPECT_RV_IN(P11().C_Finalize(nullptr), CKR_OK, CKR_CRYPTOKI_NOT_INITIALIZED);
}

void InitialisedTest::SetUp() { ASSERT_RV(CKR_OK, Initialise()); }

void TokenTest::SetUp() {
  InitialisedTest::SetUp();
  if (HasFatalFailure()) return;
  std::optional<CK_SLOT_ID> slot = FindToken(kLabel);
  if (!slot) slot = FreeSlot();
  ASSERT_TRUE(slot) << "no slot with an uninitialised token";
  ASSERT_RV(CKR_OK, InitToken(*slot, SoPin(), kLabel));
  slot = FindToken(kLabel);
  ASSERT_TRUE(slot) << "the token was not found after C_InitToken";
  slot_ = *slot;
  const CK_SESSION_HANDLE session = Open(kReadWrite);
  ASSERT_RV(CKR_OK, Login(session, CKU_SO, SoPin()));
  ASSERT_RV(CKR_OK, InitPin(session, UserPin()));
  ASSERT_RV(CKR_OK, P11().C_Logout(session));
  ASSERT_RV(CKR_OK, P11().C_CloseSession(session));
}

void TokenTest::Reinitialise() {
  ASSERT_RV(CKR_OK, P11().C_Finalize(nullptr));
  ASSERT_RV(CKR_OK, Initialise());
  const std::optional<CK_SLOT_ID> slot = FindToken(kLabel);
  ASSERT_TRUE(slot) << "the token was not found after C_Initialize";
  slot_ = *slot;
}

CK_SESSION_HANDLE TokenTest::Open(CK_FLAGS flags) const {
  CK_SESSION_HANDLE session = CK_INVALID_HANDLE;
  EXPECT_RV(CKR_OK, P11().C_OpenSession(slot_, flags, nullptr, nullptr, &session));
  EXPECT_NE(session, CK_INVALID_HANDLE);
  return session;
}

CK_STATE TokenTest::State(CK_SESSION_HANDLE session) {
  CK_SESSION_INFO info{};
  EXPECT_RV(CKR_OK, P11().C_GetSessionInfo(session, &info));
  return info.state;
}

bool TokenTest::Offers(CK_MECHANISM_TYPE type) const {
  CK_MECHANISM_INFO info{};
  return P11().C_GetMechanismInfo(slot_, type, &info) == CKR_OK;
}

CK_FLAGS TokenTest::TokenFlags() const {
  CK_TOKEN_INFO info{};
  EXPECT_RV(CKR_OK, P11().C_GetTokenInfo(slot_, &info));
  return info.flags;
}

void SessionTest::SetUp() {
  TokenTest::SetUp();
  if (!HasFatalFailure()) session_ = Open(kReadWrite);
}

void UserTest::SetUp() {
  SessionTest::SetUp();
  if (HasFatalFailure()) return;
  ASSERT_RV(CKR_OK, Login(session_, CKU_USER, UserPin()));
}

std::vector<CK_SLOT_ID> Slots(bool token_present) {
  const CK_BBOOL present = token_present ? 1 : 0;
  CK_ULONG count = 0;
  EXPECT_RV(CKR_OK, P11().C_GetSlotList(present, nullptr, &count));
  std::vector<CK_SLOT_ID> slots(count);
  EXPECT_RV(CKR_OK, P11().C_GetSlotList(present, slots.data(), &count));
  slots.resize(count);
  return slots;
}

std::optional<CK_SLOT_ID> FindToken(std::string_view label) {
  const Bytes padded = PaddedLabel(label);
  for (const CK_SLOT_ID slot : Slots(true)) {
    CK_TOKEN_INFO info{};
    if (P11().C_GetTokenInfo(slot, &info) == CKR_OK && (info.flags & CKF_TOKEN_INITIALIZED) != 0 &&
        std::ranges::equal(padded, info.label)) {
      return slot;
    }
  }
  return std::nullopt;
}

std::optional<CK_SLOT_ID> FreeSlot() {
  if (GlobalOptions().slot) return GlobalOptions().slot;
  for (const CK_SLOT_ID slot : Slots(true)) {
    CK_TOKEN_INFO info{};
    if (P11().C_GetTokenInfo(slot, &info) == CKR_OK && (info.flags & CKF_TOKEN_INITIALIZED) == 0) {
      return slot;
    }
  }
  return std::nullopt;
}

Bytes PaddedLabel(std::string_view label) {
  Bytes padded = ToBytes(label);
  padded.resize(32, ' ');
  return padded;
}

CK_RV Login(CK_SESSION_HANDLE session, CK_USER_TYPE user, std::string_view pin) {
  return P11().C_Login(session, user, Chars(pin), pin.size());
}

CK_RV InitToken(CK_SLOT_ID slot, std::string_view so_pin, std::string_view label) {
  Bytes padded = PaddedLabel(label);
  return P11().C_InitToken(slot, Chars(so_pin), so_pin.size(), padded.data());
}

CK_RV InitPin(CK_SESSION_HANDLE session, std::string_view pin) {
  return P11().C_InitPIN(session, Chars(pin), pin.size());
}

CK_RV SetPin(CK_SESSION_HANDLE session, std::string_view old_pin, std::string_view new_pin) {
  return P11().C_SetPIN(session, Chars(old_pin), old_pin.size(), Chars(new_pin), new_pin.size());
}

void CheckPadded(const CK_UTF8CHAR* field, size_t size, const char* what) {
  const std::string text(field, field + size);
  EXPECT_TRUE(std::ranges::none_of(text, [](char c) { return c >= 0 && c < ' '; }))
      << what << ": a control character or NUL in \"" << text << '"';
  EXPECT_NE(text.find_first_not_of(' '), std::string::npos) << what << " is blank";
}

}  // namespace secretmem::conformance
