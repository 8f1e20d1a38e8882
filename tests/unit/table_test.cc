#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "mechanisms/key_family.h"
#include "mechanisms/mechanism.h"
#include "mechanisms/montgomery.h"
#include "mechanisms/secret_key.h"

namespace secretmem {
namespace {

TEST(TableTest, RowsAreAscendingAndUnique) {
  const auto rows = AllMechanisms();
  ASSERT_FALSE(rows.empty());
  for (size_t i = 0; i + 1 < rows.size(); ++i) EXPECT_LT(rows[i].type, rows[i + 1].type);
  for (const Mechanism& row : rows) EXPECT_EQ(FindMechanism(row.type), &row);
}

TEST(TableTest, FlagsAndFunctionsAgree) {
  for (const Mechanism& row : AllMechanisms()) {
    const auto has = [&](CK_FLAGS flag) { return (row.info.flags & flag) != 0; };
    EXPECT_EQ(has(CKF_GENERATE), row.generate_key != nullptr) << row.type;
    EXPECT_EQ(has(CKF_GENERATE_KEY_PAIR), row.generate_key_pair != nullptr) << row.type;
    // A derivation has one function of three.
    const int derivations =
        (row.derive != nullptr) + (row.derive_keys != nullptr) + (row.derive_data != nullptr);
    EXPECT_EQ(derivations, has(CKF_DERIVE) ? 1 : 0) << row.type;
    EXPECT_LE(row.info.ulMinKeySize, row.info.ulMaxKeySize) << row.type;
    // No row claims a use that no function stands for.
    constexpr CK_FLAGS kOperations = CKF_ENCRYPT | CKF_DECRYPT | CKF_DIGEST | CKF_SIGN |
                                     CKF_SIGN_RECOVER | CKF_VERIFY | CKF_VERIFY_RECOVER |
                                     CKF_GENERATE | CKF_GENERATE_KEY_PAIR | CKF_WRAP | CKF_UNWRAP |
                                     CKF_DERIVE | CKF_ENCAPSULATE | CKF_DECAPSULATE;
    CK_FLAGS expected = 0;
    if (row.generate_key != nullptr) expected |= CKF_GENERATE;
    if (row.generate_key_pair != nullptr) expected |= CKF_GENERATE_KEY_PAIR;
    if (derivations != 0) expected |= CKF_DERIVE;
    if (row.digest != nullptr) expected |= CKF_DIGEST;
    if (row.sign != nullptr) expected |= CKF_SIGN;
    if (row.verify != nullptr) expected |= CKF_VERIFY;
    if (row.sign_recover != nullptr) expected |= CKF_SIGN_RECOVER;
    if (row.verify_recover != nullptr) expected |= CKF_VERIFY_RECOVER;
    if (row.encrypt != nullptr) expected |= CKF_ENCRYPT;
    if (row.decrypt != nullptr) expected |= CKF_DECRYPT;
    if (row.wrap != nullptr || row.read_resealing != nullptr) expected |= CKF_WRAP;
    if (row.unwrap != nullptr) expected |= CKF_UNWRAP;
    if (row.encapsulate != nullptr) expected |= CKF_ENCAPSULATE;
    if (row.decapsulate != nullptr) expected |= CKF_DECAPSULATE;
    EXPECT_EQ(row.encapsulate != nullptr, row.ciphertext_size != nullptr) << row.type;
    EXPECT_TRUE(row.wrap_authenticated == nullptr || row.wrap != nullptr) << row.type;
    EXPECT_TRUE(row.unwrap_authenticated == nullptr || row.unwrap != nullptr) << row.type;
    EXPECT_EQ(row.info.flags & kOperations, expected) << row.type;
    EXPECT_NE(expected, 0u) << row.type << " does nothing";
    EXPECT_FALSE(has(CKF_HW)) << row.type;
    // What generates has a type to give, but a password makes keys of any.
    if (row.type == CKM_PKCS5_PBKD2) continue;
    const bool generates = row.generate_key != nullptr || row.generate_key_pair != nullptr;
    EXPECT_EQ(generates, row.generated_type != CK_UNAVAILABLE_INFORMATION) << row.type;
    if (row.generate_key != nullptr) {
      EXPECT_TRUE(IsSecretKeyType(row.generated_type)) << row.type;
    }
    if (row.generate_key_pair != nullptr) {
      const KeyFamily* family = FindKeyFamily(row.generated_type);
      ASSERT_NE(family, nullptr) << row.type;
      EXPECT_NE(family->import_public, nullptr);
      EXPECT_NE(family->import_private, nullptr);
    }
  }
}

TEST(TableTest, X25519Rows) {
  const CK_FLAGS curves = CKF_EC_F_P | CKF_EC_NAMEDCURVE | CKF_EC_CURVENAME;
  const Mechanism* generate = FindMechanism(CKM_EC_MONTGOMERY_KEY_PAIR_GEN);
  ASSERT_NE(generate, nullptr);
  EXPECT_EQ(generate->info.ulMinKeySize, 255u);
  EXPECT_EQ(generate->info.ulMaxKeySize, 255u);
  EXPECT_EQ(generate->info.flags, CKF_GENERATE_KEY_PAIR | curves);
  EXPECT_EQ(generate->generated_type, CKK_EC_MONTGOMERY);
  const Mechanism* derive = FindMechanism(CKM_ECDH1_DERIVE);
  ASSERT_NE(derive, nullptr);
  EXPECT_EQ(derive->info.flags, CKF_DERIVE | CKF_ENCAPSULATE | CKF_DECAPSULATE | curves |
                                    CKF_EC_UNCOMPRESS | CKF_EC_COMPRESS);
}

TEST(TableTest, WhatIsNotThereIsNotFound) {
  for (const CK_MECHANISM_TYPE type :
       {CK_MECHANISM_TYPE{CKM_DSA}, CK_MECHANISM_TYPE{CKM_VENDOR_DEFINED}, ~CK_MECHANISM_TYPE{0}}) {
    const auto rows = AllMechanisms();
    ASSERT_EQ(std::ranges::count(rows, type, &Mechanism::type), 0);
    EXPECT_EQ(FindMechanism(type), nullptr) << type;
  }
  EXPECT_EQ(FindKeyFamily(CKK_DSA), nullptr);
  EXPECT_EQ(FindKeyFamily(~CK_KEY_TYPE{0}), nullptr);
}

TEST(TableTest, FamiliesOfKeyTypes) {
  const KeyFamily* montgomery = FindKeyFamily(CKK_EC_MONTGOMERY);
  ASSERT_NE(montgomery, nullptr);
  EXPECT_EQ(montgomery->import_secret, nullptr);
  for (const CK_KEY_TYPE type : {CKK_GENERIC_SECRET, CKK_AES, CKK_HKDF, CKK_SHA256_HMAC}) {
    const KeyFamily* secret = FindKeyFamily(type);
    ASSERT_NE(secret, nullptr) << type;
    EXPECT_NE(secret->import_secret, nullptr);
    EXPECT_EQ(secret->import_public, nullptr);
    EXPECT_EQ(secret->import_private, nullptr);
  }
}

TEST(TableTest, VaultErrorsHaveTheirCodes) {
  EXPECT_EQ(RvOf({VaultErrc::kMemoryLockLimit}), CKR_DEVICE_MEMORY);
  EXPECT_EQ(RvOf({VaultErrc::kOutOfMemory}), CKR_DEVICE_MEMORY);
  EXPECT_EQ(RvOf({VaultErrc::kNoRandom}), CKR_RANDOM_NO_RNG);
  EXPECT_EQ(RvOf({VaultErrc::kUnsupported}), CKR_DEVICE_ERROR);
  EXPECT_EQ(RvOf({VaultErrc::kForbidden}), CKR_DEVICE_ERROR);
  EXPECT_EQ(RvOf({VaultErrc::kForked}), CKR_DEVICE_ERROR);
  EXPECT_EQ(RvOf({VaultErrc::kSealBroken}), CKR_DEVICE_ERROR);
  EXPECT_EQ(RvOf({VaultErrc::kWrongSize}), CKR_FUNCTION_FAILED);
  EXPECT_EQ(RvOf({VaultErrc::kCrypto}), CKR_FUNCTION_FAILED);
}

TEST(TableTest, ParametersAreReadWholeOrNot) {
  const uint8_t bytes[9] = {0, 1, 2, 3, 4, 5, 6, 7, 8};
  EXPECT_EQ(ReadParameter<uint64_t>(std::span(bytes).subspan(1)),
            CkResult<uint64_t>(0x0807060504030201));
  EXPECT_EQ(ReadParameter<uint64_t>(bytes),
            CkResult<uint64_t>(Refuse(CKR_MECHANISM_PARAM_INVALID)));
  EXPECT_EQ(ReadParameter<uint64_t>({}), CkResult<uint64_t>(Refuse(CKR_MECHANISM_PARAM_INVALID)));
  EXPECT_EQ(ParameterBytes(bytes, 9)->data(), bytes);
  EXPECT_EQ(ParameterBytes(bytes, 9)->size(), 9u);
  EXPECT_TRUE(ParameterBytes(nullptr, 0)->empty());
  EXPECT_TRUE(ParameterBytes(bytes, 0)->empty());
  EXPECT_EQ(ParameterBytes(nullptr, 1).error(), CKR_MECHANISM_PARAM_INVALID);
  EXPECT_TRUE(ParameterBytes(bytes, CK_ULONG{1} << 20));
  EXPECT_EQ(ParameterBytes(bytes, (CK_ULONG{1} << 20) + 1).error(), CKR_MECHANISM_PARAM_INVALID);
}

}  // namespace
}  // namespace secretmem
