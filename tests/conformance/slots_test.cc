// Slots, tokens' information and mechanisms: PKCS#11 3.1 §5.5.1 to §5.5.6, §3.2, §3.3, §3.6.
#include <algorithm>
#include <cstring>
#include <set>
#include <vector>

#include "tests/conformance/fixtures.h"
#include "tests/conformance/x25519.h"

namespace secretmem::conformance {
namespace {

class SlotsTest : public TokenTest {
 protected:
  // A number that is no slot's.
  static CK_SLOT_ID NoSlot() {
    const std::vector<CK_SLOT_ID> slots = Slots(false);
    CK_SLOT_ID number = 0x7fffff00;
    while (std::ranges::count(slots, number) != 0) ++number;
    return number;
  }
};

// §5.5.1 with both values of tokenPresent: size query, then the list.
TEST_F(SlotsTest, SizeQueryAndList) {
  for (const CK_BBOOL present : {CK_BBOOL{0}, CK_BBOOL{1}}) {
    CK_ULONG count = 0xdead;
    ASSERT_RV(CKR_OK, P11().C_GetSlotList(present, nullptr, &count));
    ASSERT_LT(count, 1000U);
    ASSERT_GE(count, 2U) << "this token, and a slot for the next";
    std::vector<CK_SLOT_ID> slots(count + 4, 0xdeadbeef);
    CK_ULONG got = slots.size();
    ASSERT_RV(CKR_OK, P11().C_GetSlotList(present, slots.data(), &got));
    EXPECT_EQ(got, count);
    EXPECT_EQ(std::count(slots.begin() + static_cast<long>(count), slots.end(), 0xdeadbeef), 4);
    slots.resize(count);
    EXPECT_EQ(std::set<CK_SLOT_ID>(slots.begin(), slots.end()).size(), count) << "duplicates";
    EXPECT_EQ(std::ranges::count(slots, slot_), 1);
  }
}

TEST_F(SlotsTest, ExactBuffer) {
  CK_ULONG count = 0;
  ASSERT_RV(CKR_OK, P11().C_GetSlotList(1, nullptr, &count));
  std::vector<CK_SLOT_ID> slots(count);
  EXPECT_RV(CKR_OK, P11().C_GetSlotList(1, slots.data(), &count));
  EXPECT_EQ(count, slots.size());
  EXPECT_EQ(slots, Slots(true));
}

// §5.2: CKR_BUFFER_TOO_SMALL tells the size needed.
TEST_F(SlotsTest, BufferTooSmall) {
  CK_ULONG count = 0;
  ASSERT_RV(CKR_OK, P11().C_GetSlotList(0, nullptr, &count));
  for (CK_ULONG room = 0; room < count; ++room) {
    std::vector<CK_SLOT_ID> slots(count, 0xdeadbeef);
    CK_ULONG got = room;
    EXPECT_RV(CKR_BUFFER_TOO_SMALL, P11().C_GetSlotList(0, slots.data(), &got));
    EXPECT_EQ(got, count);
    EXPECT_EQ(std::count(slots.begin() + static_cast<long>(room), slots.end(), 0xdeadbeef),
              static_cast<long>(count - room));
  }
}

TEST_F(SlotsTest, NullCount) {
  CK_SLOT_ID slot = 0;
  EXPECT_RV(CKR_ARGUMENTS_BAD, P11().C_GetSlotList(0, nullptr, nullptr));
  EXPECT_RV(CKR_ARGUMENTS_BAD, P11().C_GetSlotList(1, &slot, nullptr));
}

// §5.5.1: those with a token present are among all slots; CKF_TOKEN_PRESENT says the same (§3.2).
TEST_F(SlotsTest, InfoOfEverySlot) {
  const std::vector<CK_SLOT_ID> present = Slots(true);
  for (const CK_SLOT_ID slot : Slots(false)) {
    SCOPED_TRACE(slot);
    CK_SLOT_INFO info;
    std::memset(&info, 0, sizeof info);
    ASSERT_RV(CKR_OK, P11().C_GetSlotInfo(slot, &info));
    CheckPadded(info.slotDescription, sizeof info.slotDescription, "slotDescription");
    CheckPadded(info.manufacturerID, sizeof info.manufacturerID, "manufacturerID");
    EXPECT_EQ((info.flags & CKF_TOKEN_PRESENT) != 0, std::ranges::count(present, slot) == 1);
    EXPECT_EQ(info.flags & ~CK_FLAGS{CKF_TOKEN_PRESENT | CKF_REMOVABLE_DEVICE | CKF_HW_SLOT}, 0U);
    EXPECT_EQ(info.flags & CKF_HW_SLOT, 0U) << "neither module is hardware";
  }
}

TEST_F(SlotsTest, InvalidSlot) {
  for (const CK_SLOT_ID slot : {NoSlot(), CK_UNAVAILABLE_INFORMATION}) {
    CK_SLOT_INFO slot_info{};
    CK_TOKEN_INFO token_info{};
    CK_MECHANISM_INFO mechanism_info{};
    CK_ULONG count = 0;
    CK_SESSION_HANDLE session = 0;
    EXPECT_RV(CKR_SLOT_ID_INVALID, P11().C_GetSlotInfo(slot, &slot_info));
    EXPECT_RV(CKR_SLOT_ID_INVALID, P11().C_GetTokenInfo(slot, &token_info));
    EXPECT_RV(CKR_SLOT_ID_INVALID, P11().C_GetMechanismList(slot, nullptr, &count));
    EXPECT_RV(CKR_SLOT_ID_INVALID,
              P11().C_GetMechanismInfo(slot, CKM_ECDH1_DERIVE, &mechanism_info));
    EXPECT_RV(CKR_SLOT_ID_INVALID, InitToken(slot, SoPin(), "none"));
    EXPECT_RV(CKR_SLOT_ID_INVALID,
              P11().C_OpenSession(slot, kReadOnly, nullptr, nullptr, &session));
    EXPECT_RV(CKR_SLOT_ID_INVALID, P11().C_CloseAllSessions(slot));
  }
}

TEST_F(SlotsTest, NullInfo) {
  EXPECT_RV(CKR_ARGUMENTS_BAD, P11().C_GetSlotInfo(slot_, nullptr));
  EXPECT_RV(CKR_ARGUMENTS_BAD, P11().C_GetTokenInfo(slot_, nullptr));
  EXPECT_RV(CKR_ARGUMENTS_BAD, P11().C_GetMechanismList(slot_, nullptr, nullptr));
  EXPECT_RV(CKR_ARGUMENTS_BAD, P11().C_GetMechanismInfo(slot_, CKM_ECDH1_DERIVE, nullptr));
}

// §3.3: the whole of CK_TOKEN_INFO for a token that is initialised and has a user PIN.
TEST_F(SlotsTest, TokenInfo) {
  CK_TOKEN_INFO info;
  std::memset(&info, 0, sizeof info);
  ASSERT_RV(CKR_OK, P11().C_GetTokenInfo(slot_, &info));
  EXPECT_TRUE(std::ranges::equal(info.label, PaddedLabel(kLabel)));
  CheckPadded(info.label, sizeof info.label, "label");
  CheckPadded(info.manufacturerID, sizeof info.manufacturerID, "manufacturerID");
  CheckPadded(info.model, sizeof info.model, "model");
  CheckPadded(info.serialNumber, sizeof info.serialNumber, "serialNumber");
  constexpr CK_FLAGS kAlways =
      CKF_RNG | CKF_LOGIN_REQUIRED | CKF_USER_PIN_INITIALIZED | CKF_TOKEN_INITIALIZED;
  constexpr CK_FLAGS kByChoice =
      CKF_RESTORE_KEY_NOT_NEEDED | CKF_CLOCK_ON_TOKEN | CKF_DUAL_CRYPTO_OPERATIONS;
  EXPECT_EQ(info.flags & ~kByChoice, kAlways);
  EXPECT_GT(info.ulMaxPinLen, info.ulMinPinLen);
  EXPECT_GE(info.ulMaxPinLen, 32U);
  if ((info.flags & CKF_CLOCK_ON_TOKEN) != 0) {
    for (int i = 0; i < 14; ++i) EXPECT_TRUE(info.utcTime[i] >= '0' && info.utcTime[i] <= '9');
  }
}

// §3.3: CK_UNAVAILABLE_INFORMATION is allowed for the counts, a wrong number is not.
TEST_F(SlotsTest, SessionCounts) {
  CK_TOKEN_INFO info{};
  ASSERT_RV(CKR_OK, P11().C_GetTokenInfo(slot_, &info));
  if (info.ulSessionCount == CK_UNAVAILABLE_INFORMATION &&
      info.ulRwSessionCount == CK_UNAVAILABLE_INFORMATION) {
    GTEST_SKIP() << "the module does not count sessions (CK_UNAVAILABLE_INFORMATION)";
  }
  EXPECT_EQ(info.ulSessionCount, 0U);
  EXPECT_EQ(info.ulRwSessionCount, 0U);
  Open(kReadOnly);
  Open(kReadOnly);
  Open(kReadWrite);
  ASSERT_RV(CKR_OK, P11().C_GetTokenInfo(slot_, &info));
  EXPECT_EQ(info.ulSessionCount, 3U);
  EXPECT_EQ(info.ulRwSessionCount, 1U);
}

// One slot more than tokens: the next token is made there.
TEST_F(SlotsTest, UninitialisedSlot) {
  const std::optional<CK_SLOT_ID> free = FreeSlot();
  ASSERT_TRUE(free);
  CK_TOKEN_INFO info{};
  ASSERT_RV(CKR_OK, P11().C_GetTokenInfo(*free, &info));
  EXPECT_EQ(info.flags & (CKF_TOKEN_INITIALIZED | CKF_USER_PIN_INITIALIZED), 0U);
  CK_SESSION_HANDLE session = 0x55;
  EXPECT_RV(CKR_TOKEN_NOT_RECOGNIZED,
            P11().C_OpenSession(*free, kReadOnly, nullptr, nullptr, &session));
}

class MechanismsTest : public TokenTest {
 protected:
  std::vector<CK_MECHANISM_TYPE> All() const {
    CK_ULONG count = 0;
    EXPECT_RV(CKR_OK, P11().C_GetMechanismList(slot_, nullptr, &count));
    std::vector<CK_MECHANISM_TYPE> list(count);
    EXPECT_RV(CKR_OK, P11().C_GetMechanismList(slot_, list.data(), &count));
    EXPECT_EQ(count, list.size());
    return list;
  }
};

TEST_F(MechanismsTest, BufferTooSmall) {
  const std::vector<CK_MECHANISM_TYPE> all = All();
  ASSERT_GE(all.size(), 3U);
  for (const CK_ULONG room : {CK_ULONG{0}, CK_ULONG{1}, all.size() - 1}) {
    std::vector<CK_MECHANISM_TYPE> list(all.size(), 0xdeadbeef);
    CK_ULONG count = room;
    EXPECT_RV(CKR_BUFFER_TOO_SMALL, P11().C_GetMechanismList(slot_, list.data(), &count));
    EXPECT_EQ(count, all.size());
    EXPECT_EQ(list.back(), 0xdeadbeef);
  }
}

// §5.5.5, §5.5.6: the list and the information agree for every number below 0x8000.
TEST_F(MechanismsTest, ListAndInfoAgree) {
  const std::vector<CK_MECHANISM_TYPE> all = All();
  const std::set<CK_MECHANISM_TYPE> known(all.begin(), all.end());
  EXPECT_EQ(known.size(), all.size()) << "duplicates";
  for (CK_MECHANISM_TYPE type = 0; type < 0x8000; ++type) {
    CK_MECHANISM_INFO info{1, 0, 0};
    const CK_RV rv = P11().C_GetMechanismInfo(slot_, type, &info);
    if (!known.contains(type)) {
      EXPECT_RV(CKR_MECHANISM_INVALID, rv) << "mechanism 0x" << std::hex << type;
      continue;
    }
    EXPECT_RV(CKR_OK, rv) << "mechanism 0x" << std::hex << type;
    EXPECT_LE(info.ulMinKeySize, info.ulMaxKeySize) << "mechanism 0x" << std::hex << type;
    EXPECT_NE(info.flags & ~CK_FLAGS{CKF_HW}, 0U) << "mechanism 0x" << std::hex << type;
  }
}

constexpr CK_FLAGS kEcFlags = 0x1fUL << 20 | 1UL << 25 | 1UL << 26;  // §6.3, the CKF_EC_* flags

// §6.3: key sizes are those of the field in bits.
TEST_F(MechanismsTest, Montgomery) {
  CK_MECHANISM_INFO info{};
  ASSERT_RV(CKR_OK, P11().C_GetMechanismInfo(slot_, X25519KeyPairMechanism(), &info));
  EXPECT_EQ(info.flags & ~kEcFlags, CKF_GENERATE_KEY_PAIR);
  EXPECT_NE(info.flags & kEcFlags, 0U);
  EXPECT_TRUE(info.ulMinKeySize == 255 || info.ulMinKeySize == 256) << info.ulMinKeySize;
  EXPECT_GE(info.ulMaxKeySize, info.ulMinKeySize);
}

TEST_F(MechanismsTest, Ecdh1Derive) {
  CK_MECHANISM_INFO info{};
  ASSERT_RV(CKR_OK, P11().C_GetMechanismInfo(slot_, CKM_ECDH1_DERIVE, &info));
  // 3.2 adds CKF_ENCAPSULATE and CKF_DECAPSULATE for this mechanism.
  EXPECT_EQ(info.flags & ~kEcFlags & ~CK_FLAGS{0x30000000UL}, CKF_DERIVE);
  EXPECT_LE(info.ulMinKeySize, 255U);
  EXPECT_GE(info.ulMaxKeySize, 255U);
}

TEST_F(MechanismsTest, GenericSecretKeyGen) {
  CK_MECHANISM_INFO info{};
  ASSERT_RV(CKR_OK, P11().C_GetMechanismInfo(slot_, CKM_GENERIC_SECRET_KEY_GEN, &info));
  EXPECT_EQ(info.flags, CKF_GENERATE);
  EXPECT_GE(info.ulMaxKeySize, 32U);
}

// §5.5.4: a token that never leaves has no events.
class SlotEventTest : public InitialisedTest {};

TEST_F(SlotEventTest, DontBlock) {
  CK_SLOT_ID slot = 0xdeadbeef;
  EXPECT_RV(CKR_NO_EVENT, P11().C_WaitForSlotEvent(CKF_DONT_BLOCK, &slot, nullptr));
  EXPECT_EQ(slot, 0xdeadbeef);
}

TEST_F(SlotEventTest, Arguments) {
  CK_SLOT_ID slot = 0;
  // Whether pSlot is looked at when there is nothing to tell is not specified.
  EXPECT_RV_IN(P11().C_WaitForSlotEvent(CKF_DONT_BLOCK, nullptr, nullptr), CKR_ARGUMENTS_BAD,
               CKR_NO_EVENT);
  EXPECT_RV(CKR_ARGUMENTS_BAD, P11().C_WaitForSlotEvent(CKF_DONT_BLOCK, &slot, &slot));
}

}  // namespace
}  // namespace secretmem::conformance
