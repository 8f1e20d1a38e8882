#include "pkcs11/offered_mechanisms.h"

#include <gtest/gtest.h>

#include <map>

#include "mechanisms/mechanism_names.h"

namespace secretmem {
namespace {

using Uses = std::map<CK_MECHANISM_TYPE, CK_FLAGS>;

Uses AllUses() {
  Uses uses;
  for (const Mechanism& row : AllMechanisms()) uses[row.type] = row.info.flags;
  return uses;
}

// UsesOf checks on the way that a row has a function for each use, and no other.
Uses UsesOf(const MechanismConfig& config) {
  const OfferedMechanisms offered(config);
  Uses uses;
  for (const Mechanism& row : offered.rows()) {
    EXPECT_EQ(offered.Find(row.type), &row);
    EXPECT_EQ((row.info.flags & CKF_ENCRYPT) != 0, row.encrypt != nullptr) << row.type;
    EXPECT_EQ((row.info.flags & CKF_DECRYPT) != 0, row.decrypt != nullptr) << row.type;
    EXPECT_EQ((row.info.flags & CKF_WRAP) != 0,
              row.wrap != nullptr || row.read_resealing != nullptr)
        << row.type;
    EXPECT_EQ((row.info.flags & CKF_UNWRAP) != 0, row.unwrap != nullptr) << row.type;
    EXPECT_EQ((row.info.flags & CKF_SIGN) != 0, row.sign != nullptr) << row.type;
    EXPECT_EQ((row.info.flags & CKF_VERIFY) != 0, row.verify != nullptr) << row.type;
    uses[row.type] = row.info.flags;
  }
  for (const Mechanism& row : AllMechanisms()) {
    EXPECT_EQ(offered.Find(row.type) != nullptr, uses.contains(row.type)) << row.type;
  }
  return uses;
}

TEST(OfferedMechanismsTest, AllByDefault) { EXPECT_EQ(UsesOf({}), AllUses()); }

TEST(OfferedMechanismsTest, WhatIsDisabledIsGoneAndNothingElse) {
  Uses expected = AllUses();
  EXPECT_EQ(expected.erase(CKM_AES_GCM), 1u);
  EXPECT_EQ(expected.erase(CKM_RSA_PKCS), 1u);
  // What the module does not have cannot be taken from it.
  EXPECT_FALSE(expected.contains(CKM_DES3_ECB));
  EXPECT_EQ(UsesOf({true, {CKM_RSA_PKCS, CKM_DES3_ECB, CKM_AES_GCM}}), expected);
}

TEST(OfferedMechanismsTest, WeakUsesAreGoneAndNothingElse) {
  Uses expected = AllUses();
  for (const CK_MECHANISM_TYPE type :
       {CKM_SHA1_RSA_PKCS, CKM_SHA1_RSA_PKCS_PSS, CKM_ECDSA_SHA1, CKM_RSA_X_509, CKM_AES_ECB}) {
    EXPECT_EQ(expected.erase(type), 1u);
  }
  EXPECT_NE(expected.at(CKM_RSA_PKCS) & CKF_DECRYPT, 0u);
  expected.at(CKM_RSA_PKCS) &= ~CK_FLAGS{CKF_ENCRYPT | CKF_DECRYPT | CKF_WRAP | CKF_UNWRAP};
  EXPECT_EQ(UsesOf({false, {}}), expected);
  expected.erase(CKM_RSA_PKCS);
  EXPECT_EQ(UsesOf({false, {CKM_RSA_PKCS}}), expected);
}

TEST(MechanismNamedTest, NamesAreTheSpecifications) {
  EXPECT_EQ(MechanismNamed("CKM_RSA_PKCS_KEY_PAIR_GEN"), 0x0u);
  EXPECT_EQ(MechanismNamed("CKM_AES_GCM"), 0x1087u);
  EXPECT_EQ(MechanismNamed("CKM_EDDSA"), 0x1057u);
  EXPECT_EQ(MechanismNamed("CKM_XOR_BASE_AND_DATA"), 0x364u);
  for (const char* none : {"", "CKM_", "CKM_AES_GC", "CKM_AES_GCM ", "ckm_aes_gcm", "AES_GCM"}) {
    EXPECT_EQ(MechanismNamed(none), std::nullopt) << none;
  }
}

}  // namespace
}  // namespace secretmem
