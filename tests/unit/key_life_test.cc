// The ends of a key's life by the module's own entry points: what nobody outside can see, second
// mappings of all secret memory show.

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <vector>

#include "mechanisms/cryptoki.h"
#include "tests/unit/store_testing.h"
#include "vault_testing.h"

namespace secretmem {
namespace {

using Key = std::array<uint8_t, 32>;

CK_BBOOL g_true = CK_TRUE;
CK_BBOOL g_false = CK_FALSE;
CK_UTF8CHAR g_pin[] = "a PIN of the user's, long enough";
constexpr CK_ULONG kPinBytes = sizeof(g_pin) - 1;
CK_UTF8CHAR g_so_pin[] = "so pin";

// KeyOf makes the bytes of key number |number|, none of whose words another has. They are computed
// anew wherever they are needed, so that the test keeps no copy in secret memory itself.
Key KeyOf(uint8_t number) {
  Key key;
  uint32_t state = 0x9e3779b9u * (number + 1u);
  for (auto& byte : key) {
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    byte = static_cast<uint8_t>(state >> 11);
  }
  // As X25519 wants its scalars, so that clamping changes nothing.
  key[0] &= 248;
  key[31] = static_cast<uint8_t>((key[31] & 127) | 64);
  return key;
}

// In a child of its own, as the configuration is read once in a process. Answers are lines of code.
class KeyLifeTest : public testing::Test {
 protected:
  void SetUp() override { ConfigureTokensIn(directory_); }

  static void InFreshProcess(const std::function<int()>& f) {
    const int status = InChild([&] {
      alarm(120);
      return f();
    });
    ASSERT_TRUE(WIFEXITED(status)) << WTERMSIG(status);
    EXPECT_EQ(WEXITSTATUS(status), 0) << "check number " << WEXITSTATUS(status);
  }

  TemporaryDirectory directory_{MemoryBase()};
};

// Seen says whether any 8 bytes in a row of |bytes| are in any secret region.
bool Seen(const SecretSpy& spy, std::span<const uint8_t> bytes) {
  for (const SecretSpy::File& file : spy.files()) {
    for (size_t at = 0; at + 8 <= bytes.size(); at += 8) {
      if (memmem(file.bytes, file.size, bytes.data() + at, 8) != nullptr) return true;
    }
  }
  return false;
}
bool Seen(const SecretSpy& spy, uint8_t number) { return Seen(spy, KeyOf(number)); }
// SeenPin looks for the PIN and for the two forms in which HMAC begins with it.
bool SeenPin(const SecretSpy& spy) {
  for (const uint8_t pad : std::array<uint8_t, 3>{0x00, 0x36, 0x5c}) {
    std::array<uint8_t, kPinBytes> padded;
    std::ranges::transform(std::span(g_pin, kPinBytes), padded.begin(),
                           [&](uint8_t byte) { return static_cast<uint8_t>(byte ^ pad); });
    if (Seen(spy, padded)) return true;
  }
  return false;
}

CK_SESSION_HANDLE Open() {
  CK_SLOT_ID slots[4];
  CK_ULONG count = 4;
  CK_SESSION_HANDLE session = 0;
  if (C_GetSlotList(CK_TRUE, slots, &count) != CKR_OK || count == 0) return 0;
  C_OpenSession(slots[0], CKF_SERIAL_SESSION | CKF_RW_SESSION, nullptr, nullptr, &session);
  return session;
}

CK_SESSION_HANDLE StartWithToken() {
  CK_UTF8CHAR label[32];
  std::fill(std::begin(label), std::end(label), ' ');
  if (C_Initialize(nullptr) != CKR_OK || C_InitToken(0, g_so_pin, 6, label) != CKR_OK) return 0;
  const CK_SESSION_HANDLE session = Open();
  const bool good = session != 0 && C_Login(session, CKU_SO, g_so_pin, 6) == CKR_OK &&
                    C_InitPIN(session, g_pin, kPinBytes) == CKR_OK && C_Logout(session) == CKR_OK &&
                    C_Login(session, CKU_USER, g_pin, kPinBytes) == CKR_OK;
  return good ? session : 0;
}

struct Kind {
  CK_KEY_TYPE type;
  CK_BBOOL* on_token;
  CK_BBOOL* is_private;
};

CK_OBJECT_HANDLE Import(CK_SESSION_HANDLE session, uint8_t number, const Kind& kind) {
  static CK_BYTE curve[] = {0x06, 0x03, 0x2b, 0x65, 0x6e};  // RFC 8410, id-X25519
  Key value = KeyOf(number);
  const bool montgomery = kind.type == CKK_EC_MONTGOMERY;
  CK_OBJECT_CLASS object_class = montgomery ? CKO_PRIVATE_KEY : CKO_SECRET_KEY;
  CK_KEY_TYPE type = kind.type;
  std::vector<CK_ATTRIBUTE> attributes = {{CKA_CLASS, &object_class, sizeof(object_class)},
                                          {CKA_KEY_TYPE, &type, sizeof(type)},
                                          {CKA_TOKEN, kind.on_token, 1},
                                          {CKA_PRIVATE, kind.is_private, 1},
                                          {CKA_VALUE, value.data(), value.size()}};
  if (montgomery) {
    attributes.push_back({CKA_EC_PARAMS, curve, sizeof(curve)});
    attributes.push_back({CKA_DERIVE, &g_true, 1});
  } else {
    attributes.push_back({CKA_SIGN, &g_true, 1});
  }
  if (kind.type == CKK_AES) attributes.push_back({CKA_ENCRYPT, &g_true, 1});
  CK_OBJECT_HANDLE object = 0;
  C_CreateObject(session, attributes.data(), attributes.size(), &object);
  return object;
}

CK_RV Derive(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key, CK_OBJECT_HANDLE* derived) {
  CK_BYTE peer[32] = {9};
  CK_ECDH1_DERIVE_PARAMS parameters = {CKD_NULL, 0, nullptr, sizeof(peer), peer};
  CK_MECHANISM mechanism = {CKM_ECDH1_DERIVE, &parameters, sizeof(parameters)};
  CK_OBJECT_CLASS secret = CKO_SECRET_KEY;
  CK_KEY_TYPE generic = CKK_GENERIC_SECRET;
  CK_ATTRIBUTE wanted[] = {{CKA_CLASS, &secret, sizeof(secret)},
                           {CKA_KEY_TYPE, &generic, sizeof(generic)},
                           {CKA_SENSITIVE, &g_false, 1},
                           {CKA_EXTRACTABLE, &g_true, 1}};
  return C_DeriveKey(session, &mechanism, key, wanted, 4, derived);
}

CK_RV BeginMac(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key) {
  CK_MECHANISM mechanism = {CKM_SHA256_HMAC, nullptr, 0};
  CK_BYTE part[7] = {};
  const CK_RV rv = C_SignInit(session, &mechanism, key);
  return rv == CKR_OK ? C_SignUpdate(session, part, sizeof(part)) : rv;
}

constexpr Kind kMontgomery{CKK_EC_MONTGOMERY, &g_false, &g_true};
constexpr Kind kGeneric{CKK_GENERIC_SECRET, &g_false, &g_true};
constexpr Kind kStored{CKK_EC_MONTGOMERY, &g_true, &g_true};
constexpr Kind kOpen{CKK_GENERIC_SECRET, &g_false, &g_false};
constexpr Kind kAes{CKK_AES, &g_false, &g_true};

TEST_F(KeyLifeTest, KeysAreNowhereAfterTheirEnd) {
  InFreshProcess([] {
    const SecretSpy spy;
    const CK_SESSION_HANDLE session = StartWithToken();
    if (session == 0) return 1;
    const CK_OBJECT_HANDLE destroyed = Import(session, 1, kMontgomery);
    const CK_OBJECT_HANDLE signing = Import(session, 2, kGeneric);
    const CK_OBJECT_HANDLE stored = Import(session, 3, kStored);
    if (destroyed == 0 || signing == 0 || stored == 0) return 2;
    if (Import(session, 4, kOpen) == 0 || Import(session, 5, kGeneric) == 0) return 3;
    const CK_SESSION_HANDLE other = Open();
    if (Import(other, 6, kOpen) == 0) return 4;
    // What the looks rest on: every key is where it should be.
    for (uint8_t number = 1; number <= 6; ++number) {
      if (!Seen(spy, number)) return 10 + number;
    }
    CK_OBJECT_HANDLE derived = 0, of_stored = 0;
    if (Derive(session, destroyed, &derived) != CKR_OK) return 5;
    if (Derive(session, stored, &of_stored) != CKR_OK) return 6;
    Key shared;
    CK_ATTRIBUTE value = {CKA_VALUE, shared.data(), shared.size()};
    if (C_GetAttributeValue(session, derived, &value, 1) != CKR_OK) return 7;
    if (!Seen(spy, shared)) return 8;

    if (C_DestroyObject(session, destroyed) != CKR_OK || Seen(spy, 1)) return 20;
    if (C_DestroyObject(session, derived) != CKR_OK || Seen(spy, shared)) return 21;
    if (C_DestroyObject(session, stored) != CKR_OK || Seen(spy, 3)) return 22;
    // An operation in parts has the key's state, and keeps the key as long as it goes on.
    if (BeginMac(session, signing) != CKR_OK) return 23;
    if (C_DestroyObject(session, signing) != CKR_OK) return 24;
    if (C_SessionCancel(session, CKF_SIGN) != CKR_OK || Seen(spy, 2)) return 25;
    if (C_CloseSession(other) != CKR_OK || Seen(spy, 6)) return 26;
    if (!Seen(spy, 4) || !Seen(spy, 5)) return 27;
    if (C_Logout(session) != CKR_OK || Seen(spy, 5)) return 28;
    if (C_CloseSession(session) != CKR_OK || Seen(spy, 4)) return 29;
    return 0;
  });
}

TEST_F(KeyLifeTest, FinalizeLeavesNothing) {
  InFreshProcess([] {
    const SecretSpy spy;
    const CK_SESSION_HANDLE session = StartWithToken();
    if (session == 0) return 1;
    const CK_OBJECT_HANDLE aes = Import(session, 1, kAes);
    const CK_OBJECT_HANDLE mac = Import(session, 2, kGeneric);
    const CK_OBJECT_HANDLE stored = Import(session, 3, kStored);
    CK_OBJECT_HANDLE derived = 0;
    if (Derive(session, stored, &derived) != CKR_OK || BeginMac(session, mac) != CKR_OK) return 2;
    CK_MECHANISM mechanism = {CKM_AES_ECB, nullptr, 0};
    CK_BYTE block[16] = {}, out[16];
    CK_ULONG size = sizeof(out);
    if (C_EncryptInit(session, &mechanism, aes) != CKR_OK ||
        C_EncryptUpdate(session, block, 16, out, &size) != CKR_OK) {
      return 3;
    }
    for (uint8_t number = 1; number <= 3; ++number) {
      if (!Seen(spy, number)) return 10 + number;
    }
    if (C_Finalize(nullptr) != CKR_OK) return 4;
    for (uint8_t number = 1; number <= 3; ++number) {
      if (Seen(spy, number)) return 20 + number;
    }
    return 0;
  });
}

// Neither do stacks and heaps keep what calls that end well, or do not, have worked on.
TEST_F(KeyLifeTest, CallsLeaveNothingOnTheirStacks) {
  InFreshProcess([] {
    const SecretSpy spy;
    const CK_SESSION_HANDLE session = StartWithToken();
    if (session == 0 || SeenPin(spy)) return 1;
    if (C_SetPIN(session, g_so_pin, 6, g_pin, kPinBytes) != CKR_PIN_INCORRECT || SeenPin(spy)) {
      return 2;
    }
    if (C_SetPIN(session, g_pin, kPinBytes, g_pin, kPinBytes) != CKR_OK || SeenPin(spy)) return 3;
    // Its check value is wrong, which shows only when the key is in its vault.
    Key value = KeyOf(1);
    CK_BYTE check[3] = {1, 2, 3};
    CK_OBJECT_CLASS secret = CKO_SECRET_KEY;
    CK_KEY_TYPE type = CKK_GENERIC_SECRET;
    CK_ATTRIBUTE attributes[] = {{CKA_CLASS, &secret, sizeof(secret)},
                                 {CKA_KEY_TYPE, &type, sizeof(type)},
                                 {CKA_CHECK_VALUE, check, sizeof(check)},
                                 {CKA_VALUE, value.data(), value.size()}};
    CK_OBJECT_HANDLE object = 0;
    if (C_CreateObject(session, attributes, 4, &object) != CKR_ATTRIBUTE_VALUE_INVALID) return 4;
    if (Seen(spy, 1)) return 5;
    attributes[2] = {CKA_SIGN, &g_true, 1};
    if (C_CreateObject(session, attributes, 4, &object) != CKR_OK || !Seen(spy, 1)) return 6;
    return 0;
  });
}

}  // namespace
}  // namespace secretmem
