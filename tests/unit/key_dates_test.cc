// CKA_START_DATE and CKA_END_DATE, where the configuration has them enforced.

#include "pkcs11/key_dates.h"

#include <gtest/gtest.h>

#include "pkcs11/key_policy.h"
#include "tests/unit/store_testing.h"
#include "tests/unit/test_clocks.h"
#include "tests/unit/vault_testing.h"

namespace secretmem {
namespace {

class KeyDatesTest : public testing::Test {
 protected:
  void SetUp() override { EnforceKeyDates(true); }
  void TearDown() override { EnforceKeyDates(false); }

  static std::shared_ptr<Object> Key(const std::string& start, const std::string& end) {
    auto key = std::make_shared<Object>();
    key->attributes.SetUlong(CKA_CLASS, CKO_PUBLIC_KEY);
    key->attributes.SetUlong(CKA_KEY_TYPE, CKK_EC);
    key->attributes.SetBool(CKA_VERIFY, true);
    key->attributes.SetBytes(CKA_START_DATE, Bytes(start));
    key->attributes.SetBytes(CKA_END_DATE, Bytes(end));
    return key;
  }

  static CK_RV Code(const std::string& start, const std::string& end) {
    const auto permitted = PermittedKey::Permit(Key(start, end), CKA_VERIFY, CKM_ECDSA);
    return permitted ? CKR_OK : permitted.error();
  }

  TestClocks clocks_;
};

TEST_F(KeyDatesTest, FromTheFirstDayToTheLast) {
  constexpr int64_t kDay = 86'400'000;
  constexpr int64_t kLeapDay = 1'709'164'800'000;  // 29 February 2024, 00:00 UTC
  const auto at = [](int64_t wall) {
    TestClocks::wall_ms = wall;
    return Code("20240229", "20240301");
  };
  EXPECT_EQ(at(kLeapDay - 1), CKR_KEY_FUNCTION_NOT_PERMITTED);
  EXPECT_EQ(at(kLeapDay), CKR_OK);
  EXPECT_EQ(at(kLeapDay + kDay), CKR_OK);
  EXPECT_EQ(at(kLeapDay + 2 * kDay - 1), CKR_OK);
  EXPECT_EQ(at(kLeapDay + 2 * kDay), CKR_KEY_FUNCTION_NOT_PERMITTED);
  TestClocks::wall_ms = kLeapDay;
  EXPECT_EQ(Code("", ""), CKR_OK);
  EXPECT_EQ(Code("", "20240228"), CKR_KEY_FUNCTION_NOT_PERMITTED);
  EXPECT_EQ(Code("", "20240229"), CKR_OK);
  EXPECT_EQ(Code("20240301", ""), CKR_KEY_FUNCTION_NOT_PERMITTED);
  EXPECT_EQ(Code("20231231", ""), CKR_OK);
  const auto named = PermittedKey::PermitBeside(Key("20240301", ""), CKM_ECDSA);
  EXPECT_EQ(named ? CKR_OK : named.error(), CKR_KEY_FUNCTION_NOT_PERMITTED);
}

TEST_F(KeyDatesTest, InformationUnlessEnforced) {
  EnforceKeyDates(false);
  EXPECT_EQ(Code("99991231", "19700101"), CKR_OK);
}

// The whole way from the configuration, in a process that has not read one yet.
TEST_F(KeyDatesTest, ConfigurationDecides) {
  for (const bool enforced : {false, true}) {
    const TemporaryDirectory directory;
    WriteFile(directory / "config.toml", "tokens.directory = \"" + directory.path() +
                                             "\"\n[pin]\niterations = 1000\n" +
                                             (enforced ? "[keys]\nenforce_dates = true\n" : ""));
    const int status = InChild([&] {
      setenv("SECRETMEM_PKCS11_CONF", (directory / "config.toml").c_str(), 1);
      CK_ULONG slots = 1;
      CK_SLOT_ID slot = 0;
      CK_UTF8CHAR pin[] = "so pin";
      CK_UTF8CHAR label[32] = {};
      CK_SESSION_HANDLE session = 0;
      if (C_Initialize(nullptr) != CKR_OK || C_GetSlotList(CK_FALSE, &slot, &slots) != CKR_OK ||
          C_InitToken(slot, pin, sizeof(pin) - 1, label) != CKR_OK ||
          C_OpenSession(slot, CKF_SERIAL_SESSION, nullptr, nullptr, &session) != CKR_OK) {
        return 1;
      }
      CK_OBJECT_CLASS object_class = CKO_SECRET_KEY;
      CK_KEY_TYPE type = CKK_GENERIC_SECRET;
      CK_BBOOL yes = CK_TRUE;
      char value[] = "key bytes";
      char date[] = "20000101";
      CK_ATTRIBUTE key[] = {{CKA_CLASS, &object_class, sizeof(object_class)},
                            {CKA_KEY_TYPE, &type, sizeof(type)},
                            {CKA_SIGN, &yes, sizeof(yes)},
                            {CKA_END_DATE, date, 8},
                            {CKA_VALUE, value, sizeof(value)}};
      CK_OBJECT_HANDLE handle = 0;
      CK_OBJECT_HANDLE found = 0;
      CK_ULONG count = 0;
      if (C_CreateObject(session, key, std::size(key), &handle) != CKR_OK ||
          C_FindObjectsInit(session, key + 3, 1) != CKR_OK ||
          C_FindObjects(session, &found, 1, &count) != CKR_OK || count != 1) {
        return 2;
      }
      CK_MECHANISM mechanism{CKM_SHA256_HMAC, nullptr, 0};
      const CK_RV rv = C_SignInit(session, &mechanism, handle);
      return rv == (enforced ? CKR_KEY_FUNCTION_NOT_PERMITTED : CKR_OK) ? 0 : 3;
    });
    EXPECT_EQ(status, 0) << enforced;
  }
}

}  // namespace
}  // namespace secretmem
