#include "pkcs11/attribute_rules.h"

#include <gtest/gtest.h>

#include <bit>
#include <set>
#include <tuple>
#include <vector>

#include "mechanisms/vendor.h"
#include "pkcs11/attribute_set.h"

namespace secretmem {
namespace {

using namespace rules;

constexpr uint8_t kClassBits[] = {kDataClass,       kCertificateClass, kPublicKeyClass,
                                  kPrivateKeyClass, kSecretKeyClass,   kProfileClass};
constexpr uint8_t kFamilyBits[] = {kMontgomeryFamily, kEdwardsFamily, kWeierstrassFamily,
                                   kRsaFamily, kSymmetricFamily};

std::set<CK_ATTRIBUTE_TYPE> TypesOf(uint8_t class_bit, uint8_t family) {
  std::set<CK_ATTRIBUTE_TYPE> types;
  for (const AttributeRule& rule : Rules()) {
    if (rule.AppliesTo(class_bit, family)) types.insert(rule.type);
  }
  return types;
}

std::set<CK_ATTRIBUTE_TYPE> Plus(std::set<CK_ATTRIBUTE_TYPE> types,
                                 const std::set<CK_ATTRIBUTE_TYPE>& more) {
  types.insert(more.begin(), more.end());
  return types;
}

const std::set<CK_ATTRIBUTE_TYPE> kStorage = {CKA_CLASS,    CKA_TOKEN,      CKA_PRIVATE,
                                              CKA_LABEL,    CKA_UNIQUE_ID,  CKA_MODIFIABLE,
                                              CKA_COPYABLE, CKA_DESTROYABLE};
const std::set<CK_ATTRIBUTE_TYPE> kKey = {
    CKA_KEY_TYPE, CKA_ID,    CKA_START_DATE,        CKA_END_DATE,
    CKA_DERIVE,   CKA_LOCAL, CKA_KEY_GEN_MECHANISM, CKA_ALLOWED_MECHANISMS};
const std::set<CK_ATTRIBUTE_TYPE> kPublic = {CKA_SUBJECT,       CKA_ENCRYPT,
                                             CKA_VERIFY,        CKA_VERIFY_RECOVER,
                                             CKA_WRAP,          CKA_TRUSTED,
                                             CKA_WRAP_TEMPLATE, CKA_PUBLIC_KEY_INFO,
                                             CKA_ENCAPSULATE,   CKA_ENCAPSULATE_TEMPLATE};
const std::set<CK_ATTRIBUTE_TYPE> kPrivate = {CKA_SUBJECT,
                                              CKA_SENSITIVE,
                                              CKA_DECRYPT,
                                              CKA_SIGN,
                                              CKA_SIGN_RECOVER,
                                              CKA_UNWRAP,
                                              CKA_EXTRACTABLE,
                                              CKA_ALWAYS_SENSITIVE,
                                              CKA_NEVER_EXTRACTABLE,
                                              CKA_WRAP_WITH_TRUSTED,
                                              CKA_UNWRAP_TEMPLATE,
                                              CKA_ALWAYS_AUTHENTICATE,
                                              CKA_PUBLIC_KEY_INFO,
                                              CKA_DERIVE_TEMPLATE,
                                              CKA_DECAPSULATE,
                                              CKA_DECAPSULATE_TEMPLATE,
                                              CKA_SECRETMEM_PROTECTION,
                                              CKA_SECRETMEM_AT_REST,
                                              CKA_SECRETMEM_LIFETIME,
                                              CKA_SECRETMEM_EXPIRES};
const std::set<CK_ATTRIBUTE_TYPE> kSecretKey = {CKA_SENSITIVE,
                                                CKA_ENCRYPT,
                                                CKA_DECRYPT,
                                                CKA_SIGN,
                                                CKA_VERIFY,
                                                CKA_WRAP,
                                                CKA_UNWRAP,
                                                CKA_EXTRACTABLE,
                                                CKA_CHECK_VALUE,
                                                CKA_ALWAYS_SENSITIVE,
                                                CKA_NEVER_EXTRACTABLE,
                                                CKA_WRAP_WITH_TRUSTED,
                                                CKA_TRUSTED,
                                                CKA_WRAP_TEMPLATE,
                                                CKA_UNWRAP_TEMPLATE,
                                                CKA_DERIVE_TEMPLATE,
                                                CKA_VALUE,
                                                CKA_VALUE_LEN,
                                                CKA_SECRETMEM_PROTECTION,
                                                CKA_SECRETMEM_AT_REST,
                                                CKA_SECRETMEM_BOUND_TO,
                                                CKA_SECRETMEM_LIFETIME,
                                                CKA_SECRETMEM_EXPIRES};

// RulesFor is what FindRule finds, in one walk.
TEST(AttributeRulesTest, ListsAreTheRulesThatAreFoundOneByOne) {
  std::vector<uint8_t> families(std::begin(kFamilyBits), std::end(kFamilyBits));
  families.push_back(kMlKemFamily);
  families.push_back(kXWingFamily);
  families.push_back(kAnyFamily);
  for (const uint8_t class_bit : kClassBits) {
    for (const uint8_t family : families) {
      const RuleList list = RulesFor(class_bit, family);
      std::vector<const AttributeRule*> listed, found;
      for (size_t i = 0; i < list.size(); ++i) listed.push_back(&list[i]);
      for (const CK_ATTRIBUTE_TYPE type : TypesOf(class_bit, family)) {
        found.push_back(FindRule(class_bit, family, type));
      }
      EXPECT_EQ(listed, found) << int{class_bit} << ' ' << int{family};
    }
  }
  EXPECT_EQ(RulesFor(0, kAnyFamily).size(), 0u);
  EXPECT_EQ(RulesFor(kSecretKeyClass, 0).size(), 0u);
}

TEST(AttributeRulesTest, EveryClassHasTheAttributesOfTheSpecification) {
  EXPECT_EQ(TypesOf(kDataClass, kAnyFamily),
            Plus(kStorage, {CKA_APPLICATION, CKA_OBJECT_ID, CKA_VALUE, CKA_VALUE_LEN}));
  EXPECT_EQ(TypesOf(kCertificateClass, kAnyFamily),
            Plus(kStorage, {CKA_CERTIFICATE_TYPE, CKA_TRUSTED, CKA_CERTIFICATE_CATEGORY,
                            CKA_CHECK_VALUE, CKA_START_DATE, CKA_END_DATE, CKA_PUBLIC_KEY_INFO,
                            CKA_SUBJECT, CKA_ID, CKA_ISSUER, CKA_SERIAL_NUMBER, CKA_VALUE, CKA_URL,
                            CKA_HASH_OF_SUBJECT_PUBLIC_KEY, CKA_HASH_OF_ISSUER_PUBLIC_KEY,
                            CKA_JAVA_MIDP_SECURITY_DOMAIN, CKA_NAME_HASH_ALGORITHM}));
  EXPECT_EQ(TypesOf(kProfileClass, kAnyFamily), Plus(kStorage, {CKA_PROFILE_ID}));
  EXPECT_EQ(TypesOf(kSecretKeyClass, kSymmetricFamily), Plus(Plus(kStorage, kKey), kSecretKey));
  for (const uint8_t family : {kMontgomeryFamily, kEdwardsFamily, kWeierstrassFamily}) {
    EXPECT_EQ(TypesOf(kPublicKeyClass, family),
              Plus(Plus(Plus(kStorage, kKey), kPublic), {CKA_EC_PARAMS, CKA_EC_POINT}));
    // Signing keys are bound to nothing.
    const std::set<CK_ATTRIBUTE_TYPE> bound = {CKA_SECRETMEM_BOUND_TO};
    EXPECT_EQ(TypesOf(kPrivateKeyClass, family),
              Plus(Plus(Plus(Plus(kStorage, kKey), kPrivate), {CKA_EC_PARAMS, CKA_VALUE}),
                   family == kEdwardsFamily ? std::set<CK_ATTRIBUTE_TYPE>{} : bound));
  }
  EXPECT_EQ(TypesOf(kPublicKeyClass, kRsaFamily),
            Plus(Plus(Plus(kStorage, kKey), kPublic),
                 {CKA_MODULUS, CKA_MODULUS_BITS, CKA_PUBLIC_EXPONENT}));
  EXPECT_EQ(TypesOf(kPrivateKeyClass, kRsaFamily),
            Plus(Plus(Plus(kStorage, kKey), kPrivate),
                 {CKA_MODULUS, CKA_PUBLIC_EXPONENT, CKA_PRIVATE_EXPONENT, CKA_PRIME_1, CKA_PRIME_2,
                  CKA_EXPONENT_1, CKA_EXPONENT_2, CKA_COEFFICIENT}));
}

// FindRule takes the first row that fits, so no two may.
TEST(AttributeRulesTest, RowsOfATypeDoNotOverlapAndAgreeOnTheForm) {
  for (const uint8_t class_bit : kClassBits) {
    for (const uint8_t family : kFamilyBits) {
      std::set<CK_ATTRIBUTE_TYPE> seen;
      for (const AttributeRule& rule : Rules()) {
        if (!rule.AppliesTo(class_bit, family)) continue;
        EXPECT_TRUE(seen.insert(rule.type).second) << rule.type;
        EXPECT_EQ(FindRule(class_bit, family, rule.type), &rule);
      }
    }
  }
  for (const AttributeRule& rule : Rules()) {
    EXPECT_EQ(FindAnyRule(rule.type)->kind, rule.kind) << rule.type;
  }
}

TEST(AttributeRulesTest, RowsMakeSense) {
  for (const AttributeRule& rule : Rules()) {
    SCOPED_TRACE(rule.type);
    const uint16_t one_way = kOnlyToTrue | kOnlyToFalse | kTrueBySoOnly;
    if (rule.flags & one_way) {
      EXPECT_EQ(rule.kind, ValueKind::kBool);
    }
    if (rule.flags & kRequired) {
      EXPECT_NE(rule.flags & kCreate, 0);
    }
    if (rule.flags & kGenerateRequired) {
      EXPECT_NE(rule.flags & kGenerate, 0);
    }
    if (rule.flags & kSecret) {
      EXPECT_EQ(rule.flags & ~(kCreate | kRequired | kSecret), 0);
      EXPECT_EQ(rule.default_value, DefaultValue::kAbsent);
    }
    if (rule.default_value == DefaultValue::kUsage) {
      EXPECT_TRUE(IsKeyClass(rule.classes));
      EXPECT_EQ(rule.classes & (kDataClass | kCertificateClass | kProfileClass), 0);
    }
  }
}

TEST(AttributeRulesTest, UnknownAttributes) {
  EXPECT_EQ(FindAnyRule(0x7fffffff), nullptr);
  EXPECT_EQ(FindAnyRule(CKA_PRIME), nullptr);
  EXPECT_EQ(FindRule(kDataClass, kAnyFamily, CKA_SENSITIVE), nullptr);
  EXPECT_EQ(FindRule(kPrivateKeyClass, kRsaFamily, CKA_VALUE), nullptr);
  EXPECT_EQ(FindRule(kPrivateKeyClass, kMontgomeryFamily, CKA_EC_POINT), nullptr);
}

TEST(AttributeRulesTest, KeyTypes) {
  const CK_KEY_TYPE secret_types[] = {CKK_GENERIC_SECRET,  CKK_AES,
                                      CKK_CHACHA20,        CKK_HKDF,
                                      CKK_SHA_1_HMAC,      CKK_SHA224_HMAC,
                                      CKK_SHA256_HMAC,     CKK_SHA384_HMAC,
                                      CKK_SHA512_HMAC,     CKK_SHA512_224_HMAC,
                                      CKK_SHA512_256_HMAC, CKK_SHA3_224_HMAC,
                                      CKK_SHA3_256_HMAC,   CKK_SHA3_384_HMAC,
                                      CKK_SHA3_512_HMAC};
  for (const CK_KEY_TYPE type : secret_types) {
    ASSERT_NE(FindKeyType(type), nullptr) << type;
    EXPECT_EQ(FindKeyType(type)->classes, kSecretKeyClass);
    EXPECT_EQ(FindKeyType(type)->family, kSymmetricFamily);
  }
  const std::tuple<CK_KEY_TYPE, uint8_t> pairs[] = {{CKK_EC_MONTGOMERY, kMontgomeryFamily},
                                                    {CKK_EC_EDWARDS, kEdwardsFamily},
                                                    {CKK_EC, kWeierstrassFamily},
                                                    {CKK_RSA, kRsaFamily}};
  for (const auto& [type, family] : pairs) {
    ASSERT_NE(FindKeyType(type), nullptr) << type;
    EXPECT_EQ(FindKeyType(type)->classes, kPublicKeyClass | kPrivateKeyClass);
    EXPECT_EQ(FindKeyType(type)->family, family);
  }
  EXPECT_EQ(FindKeyType(CKK_DES3), nullptr);
  EXPECT_EQ(FindKeyType(CK_UNAVAILABLE_INFORMATION), nullptr);
}

TEST(AttributeRulesTest, Classes) {
  EXPECT_EQ(ClassBitOf(CKO_DATA), kDataClass);
  EXPECT_EQ(ClassBitOf(CKO_CERTIFICATE), kCertificateClass);
  EXPECT_EQ(ClassBitOf(CKO_PUBLIC_KEY), kPublicKeyClass);
  EXPECT_EQ(ClassBitOf(CKO_PRIVATE_KEY), kPrivateKeyClass);
  EXPECT_EQ(ClassBitOf(CKO_SECRET_KEY), kSecretKeyClass);
  EXPECT_EQ(ClassBitOf(CKO_PROFILE), kProfileClass);
  for (const CK_OBJECT_CLASS other :
       {CKO_DOMAIN_PARAMETERS, CKO_HW_FEATURE, CKO_MECHANISM, CKO_OTP_KEY, CKO_VENDOR_DEFINED}) {
    EXPECT_EQ(ClassBitOf(other), 0) << other;
  }
}

TEST(AttributeRulesTest, SecretAttributes) {
  const CK_KEY_TYPE none = CK_UNAVAILABLE_INFORMATION;
  EXPECT_TRUE(IsSecretAttribute(CKO_PRIVATE_KEY, CKK_EC_MONTGOMERY, CKA_VALUE));
  EXPECT_TRUE(IsSecretAttribute(CKO_PRIVATE_KEY, CKK_RSA, CKA_VALUE));
  EXPECT_TRUE(IsSecretAttribute(CKO_PRIVATE_KEY, none, CKA_VALUE));
  EXPECT_TRUE(IsSecretAttribute(CKO_SECRET_KEY, CKK_AES, CKA_VALUE));
  for (const CK_ATTRIBUTE_TYPE type : {CKA_PRIVATE_EXPONENT, CKA_PRIME_1, CKA_PRIME_2,
                                       CKA_EXPONENT_1, CKA_EXPONENT_2, CKA_COEFFICIENT}) {
    EXPECT_TRUE(IsSecretAttribute(CKO_PRIVATE_KEY, CKK_RSA, type)) << type;
    EXPECT_TRUE(IsSecretAttribute(none, none, type)) << type;
  }
  EXPECT_FALSE(IsSecretAttribute(CKO_DATA, none, CKA_VALUE));
  EXPECT_FALSE(IsSecretAttribute(CKO_CERTIFICATE, none, CKA_VALUE));
  EXPECT_FALSE(IsSecretAttribute(CKO_PRIVATE_KEY, CKK_RSA, CKA_MODULUS));
  EXPECT_FALSE(IsSecretAttribute(CKO_PRIVATE_KEY, CKK_EC, CKA_EC_PARAMS));
  EXPECT_FALSE(IsSecretAttribute(CKO_SECRET_KEY, CKK_AES, CKA_VALUE_LEN));
}

TEST(AttributeRulesTest, ReadAccessFollowsSensitiveAndExtractable) {
  AttributeSet key;
  key.SetUlong(CKA_CLASS, CKO_SECRET_KEY);
  key.SetUlong(CKA_KEY_TYPE, CKK_GENERIC_SECRET);
  EXPECT_EQ(GetReadAccess(key, CKA_VALUE), ReadAccess::kSensitive);
  for (const bool sensitive : {false, true}) {
    for (const bool extractable : {false, true}) {
      key.SetBool(CKA_SENSITIVE, sensitive);
      key.SetBool(CKA_EXTRACTABLE, extractable);
      EXPECT_EQ(GetReadAccess(key, CKA_VALUE),
                !sensitive && extractable ? ReadAccess::kSecret : ReadAccess::kSensitive);
    }
  }
  EXPECT_EQ(GetReadAccess(key, CKA_KEY_TYPE), ReadAccess::kStored);
  EXPECT_EQ(GetReadAccess(key, CKA_LABEL), ReadAccess::kUnknown);
  EXPECT_EQ(GetReadAccess(key, CKA_PRIVATE_EXPONENT), ReadAccess::kUnknown);
  EXPECT_EQ(GetReadAccess(key, CKA_EC_POINT), ReadAccess::kUnknown);
  AttributeSet data;
  data.SetUlong(CKA_CLASS, CKO_DATA);
  EXPECT_EQ(GetReadAccess(data, CKA_VALUE), ReadAccess::kUnknown);
}

}  // namespace
}  // namespace secretmem
