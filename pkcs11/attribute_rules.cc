#include "pkcs11/attribute_rules.h"

#include <algorithm>
#include <array>
#include <iterator>

#include "mechanisms/vendor.h"
#include "pkcs11/attribute_set.h"

namespace secretmem {
namespace {

using namespace rules;
using enum DefaultValue;
using enum ValueKind;

constexpr uint8_t kKeys = kPublicKeyClass | kPrivateKeyClass | kSecretKeyClass;
constexpr uint8_t kAsymmetric = kPublicKeyClass | kPrivateKeyClass;
constexpr uint8_t kPublicOrSecret = kPublicKeyClass | kSecretKeyClass;
constexpr uint8_t kPrivateOrSecret = kPrivateKeyClass | kSecretKeyClass;
constexpr uint8_t kAll = kDataClass | kCertificateClass | kKeys | kProfileClass;
constexpr uint8_t kEcFamilies = kMontgomeryFamily | kEdwardsFamily | kWeierstrassFamily;
constexpr uint8_t kSeedFamilies = kMlKemFamily | kXWingFamily;

// Given when the object is made, however it is made.
constexpr uint16_t kMake = kCreate | kGenerate | kUnwrap | kDerive;
// And changed later.
constexpr uint16_t kAnyTime = kMake | kSet | kCopy;
constexpr uint16_t kReadOnly = 0;

constexpr AttributeRule kRules[] = {
    {CKA_CLASS, kUlong, kAll, kAnyFamily, kMake | kRequired, kBuilder},
    {CKA_TOKEN, kBool, kAll, kAnyFamily, kMake | kCopy, kFalse},
    {CKA_PRIVATE, kBool, kAll, kAnyFamily, kMake | kCopy, kBuilder},
    {CKA_LABEL, kString, kAll, kAnyFamily, kAnyTime, kEmpty},
    {CKA_UNIQUE_ID, kString, kAll, kAnyFamily, kReadOnly, kBuilder},

    {CKA_APPLICATION, kString, kDataClass, kAnyFamily, kCreate | kDerive, kEmpty},
    {CKA_VALUE, kBytes, kDataClass | kCertificateClass, kAnyFamily, kCreate, kEmpty},
    {CKA_VALUE, kBytes, kPrivateKeyClass, kEcFamilies, kCreate | kRequired | kSecret, kAbsent},
    {CKA_VALUE, kBytes, kSecretKeyClass, kSymmetricFamily, kCreate | kRequired | kSecret, kAbsent},
#ifdef SECRETMEM_ML_KEM
    {CKA_VALUE, kBytes, kPublicKeyClass, kSeedFamilies, kCreate | kRequired, kAbsent},
#endif
    {CKA_OBJECT_ID, kBytes, kDataClass, kAnyFamily, kCreate | kDerive, kEmpty},

    {CKA_CERTIFICATE_TYPE, kUlong, kCertificateClass, kAnyFamily, kCreate | kRequired, kAbsent},
    {CKA_ISSUER, kBytes, kCertificateClass, kAnyFamily, kCreate | kSet | kCopy, kEmpty},
    {CKA_SERIAL_NUMBER, kBytes, kCertificateClass, kAnyFamily, kCreate | kSet | kCopy, kEmpty},
    {CKA_TRUSTED, kBool, kCertificateClass | kPublicOrSecret, kAnyFamily, kAnyTime | kTrueBySoOnly,
     kFalse},
    {CKA_CERTIFICATE_CATEGORY, kUlong, kCertificateClass, kAnyFamily, kCreate, kZero},
    {CKA_JAVA_MIDP_SECURITY_DOMAIN, kUlong, kCertificateClass, kAnyFamily, kCreate, kZero},
    {CKA_URL, kString, kCertificateClass, kAnyFamily, kCreate, kEmpty},
    {CKA_HASH_OF_SUBJECT_PUBLIC_KEY, kBytes, kCertificateClass, kAnyFamily, kCreate, kEmpty},
    {CKA_HASH_OF_ISSUER_PUBLIC_KEY, kBytes, kCertificateClass, kAnyFamily, kCreate, kEmpty},
    {CKA_NAME_HASH_ALGORITHM, kUlong, kCertificateClass, kAnyFamily, kCreate, kBuilder},
    {CKA_CHECK_VALUE, kBytes, kCertificateClass | kSecretKeyClass, kAnyFamily, kMake, kAbsent},

    {CKA_KEY_TYPE, kUlong, kKeys, kAnyFamily, kMake | kRequired, kBuilder},
    {CKA_SUBJECT, kBytes, kCertificateClass, kAnyFamily, kCreate | kRequired, kAbsent},
    {CKA_SUBJECT, kBytes, kAsymmetric, kAnyFamily, kAnyTime, kEmpty},
    {CKA_ID, kBytes, kCertificateClass | kKeys, kAnyFamily, kAnyTime, kEmpty},
    {CKA_SENSITIVE, kBool, kPrivateOrSecret, kAnyFamily, kAnyTime | kOnlyToTrue, kBuilder},
    {CKA_ENCRYPT, kBool, kPublicOrSecret, kAnyFamily, kAnyTime, kUsage},
    {CKA_DECRYPT, kBool, kPrivateOrSecret, kAnyFamily, kAnyTime, kUsage},
    {CKA_WRAP, kBool, kPublicOrSecret, kAnyFamily, kAnyTime, kUsage},
    {CKA_UNWRAP, kBool, kPrivateOrSecret, kAnyFamily, kAnyTime, kUsage},
    {CKA_SIGN, kBool, kPrivateOrSecret, kAnyFamily, kAnyTime, kUsage},
    {CKA_SIGN_RECOVER, kBool, kPrivateKeyClass, kAnyFamily, kAnyTime, kUsage},
    {CKA_VERIFY, kBool, kPublicOrSecret, kAnyFamily, kAnyTime, kUsage},
    {CKA_VERIFY_RECOVER, kBool, kPublicKeyClass, kAnyFamily, kAnyTime, kUsage},
    {CKA_DERIVE, kBool, kKeys, kAnyFamily, kAnyTime, kUsage},
    {CKA_START_DATE, kDate, kCertificateClass, kAnyFamily, kCreate, kEmpty},
    {CKA_START_DATE, kDate, kKeys, kAnyFamily, kAnyTime, kEmpty},
    {CKA_END_DATE, kDate, kCertificateClass, kAnyFamily, kCreate, kEmpty},
    {CKA_END_DATE, kDate, kKeys, kAnyFamily, kAnyTime, kEmpty},

    {CKA_MODULUS, kBigInteger, kAsymmetric, kRsaFamily, kCreate | kRequired, kAbsent},
    {CKA_MODULUS_BITS, kUlong, kPublicKeyClass, kRsaFamily, kGenerate | kGenerateRequired, kAbsent},
    {CKA_PUBLIC_EXPONENT, kBigInteger, kPublicKeyClass, kRsaFamily, kCreate | kRequired | kGenerate,
     kAbsent},
    {CKA_PUBLIC_EXPONENT, kBigInteger, kPrivateKeyClass, kRsaFamily, kCreate, kAbsent},
    {CKA_PRIVATE_EXPONENT, kBigInteger, kPrivateKeyClass, kRsaFamily, kCreate | kRequired | kSecret,
     kAbsent},
    {CKA_PRIME_1, kBigInteger, kPrivateKeyClass, kRsaFamily, kCreate | kSecret, kAbsent},
    {CKA_PRIME_2, kBigInteger, kPrivateKeyClass, kRsaFamily, kCreate | kSecret, kAbsent},
    {CKA_EXPONENT_1, kBigInteger, kPrivateKeyClass, kRsaFamily, kCreate | kSecret, kAbsent},
    {CKA_EXPONENT_2, kBigInteger, kPrivateKeyClass, kRsaFamily, kCreate | kSecret, kAbsent},
    {CKA_COEFFICIENT, kBigInteger, kPrivateKeyClass, kRsaFamily, kCreate | kSecret, kAbsent},
    {CKA_PUBLIC_KEY_INFO, kBytes, kCertificateClass, kAnyFamily, kCreate, kEmpty},
    // Computed when it is asked for.
    {CKA_PUBLIC_KEY_INFO, kBytes, kAsymmetric, kAnyFamily, kCreate, kAbsent},

    {CKA_VALUE_LEN, kUlong, kSecretKeyClass, kSymmetricFamily, kGenerate | kUnwrap | kDerive,
     kAbsent},
    // Not an attribute of data objects, but CKM_HKDF_DATA is told the length this way.
    {CKA_VALUE_LEN, kUlong, kDataClass, kAnyFamily, kDerive, kAbsent},
    {CKA_EXTRACTABLE, kBool, kPrivateOrSecret, kAnyFamily, kAnyTime | kOnlyToFalse, kBuilder},
    {CKA_LOCAL, kBool, kKeys, kAnyFamily, kReadOnly, kBuilder},
    {CKA_NEVER_EXTRACTABLE, kBool, kPrivateOrSecret, kAnyFamily, kReadOnly, kBuilder},
    {CKA_ALWAYS_SENSITIVE, kBool, kPrivateOrSecret, kAnyFamily, kReadOnly, kBuilder},
    {CKA_KEY_GEN_MECHANISM, kUlong, kKeys, kAnyFamily, kReadOnly, kBuilder},
    {CKA_MODIFIABLE, kBool, kAll, kAnyFamily, kMake | kCopy, kTrue},
    {CKA_COPYABLE, kBool, kAll, kAnyFamily, kAnyTime | kOnlyToFalse, kTrue},
    {CKA_DESTROYABLE, kBool, kAll, kAnyFamily, kMake | kCopy, kTrue},

    {CKA_EC_PARAMS, kBytes, kPublicKeyClass, kEcFamilies,
     kCreate | kRequired | kGenerate | kGenerateRequired, kAbsent},
    {CKA_EC_PARAMS, kBytes, kPrivateKeyClass, kEcFamilies, kCreate | kRequired, kAbsent},
    {CKA_EC_POINT, kBytes, kPublicKeyClass, kEcFamilies, kCreate | kRequired, kAbsent},
    {CKA_ALWAYS_AUTHENTICATE, kBool, kPrivateKeyClass, kAnyFamily, kMake, kFalse},
    {CKA_WRAP_WITH_TRUSTED, kBool, kPrivateOrSecret, kAnyFamily, kAnyTime | kOnlyToTrue, kFalse},
    {CKA_PROFILE_ID, kUlong, kProfileClass, kAnyFamily, kReadOnly, kAbsent},
#ifdef SECRETMEM_ML_KEM
    {CKA_PARAMETER_SET, kUlong, kPublicKeyClass, kMlKemFamily,
     kCreate | kRequired | kGenerate | kGenerateRequired, kAbsent},
    {CKA_PARAMETER_SET, kUlong, kPrivateKeyClass, kMlKemFamily, kCreate | kRequired, kAbsent},
#endif
    {CKA_ENCAPSULATE_TEMPLATE, kTemplate, kPublicKeyClass, kAnyFamily, kMake, kEmpty},
    {CKA_DECAPSULATE_TEMPLATE, kTemplate, kPrivateKeyClass, kAnyFamily, kMake, kEmpty},
    {CKA_ENCAPSULATE, kBool, kPublicKeyClass, kAnyFamily, kAnyTime, kUsage},
    {CKA_DECAPSULATE, kBool, kPrivateKeyClass, kAnyFamily, kAnyTime, kUsage},
#ifdef SECRETMEM_ML_KEM
    {CKA_SEED, kBytes, kPrivateKeyClass, kSeedFamilies, kCreate | kRequired | kSecret, kAbsent},
#endif
    {CKA_WRAP_TEMPLATE, kTemplate, kPublicOrSecret, kAnyFamily, kMake, kEmpty},
    {CKA_UNWRAP_TEMPLATE, kTemplate, kPrivateOrSecret, kAnyFamily, kMake, kEmpty},
    {CKA_DERIVE_TEMPLATE, kTemplate, kPrivateOrSecret, kAnyFamily, kMake, kEmpty},
    {CKA_ALLOWED_MECHANISMS, kMechanisms, kKeys, kAnyFamily, kMake, kEmpty},

    {CKA_SECRETMEM_PROTECTION, kString, kPrivateOrSecret, kAnyFamily, kReadOnly, kAbsent},
    {CKA_SECRETMEM_AT_REST, kString, kPrivateOrSecret, kAnyFamily, kReadOnly, kAbsent},
    {CKA_SECRETMEM_BOUND_TO, kBytes, kPrivateKeyClass,
     kMontgomeryFamily | kWeierstrassFamily | kSeedFamilies, kCreate | kGenerate, kAbsent},
    {CKA_SECRETMEM_BOUND_TO, kBytes, kSecretKeyClass, kSymmetricFamily, kReadOnly, kBuilder},
    {CKA_SECRETMEM_LIFETIME, kLifetime, kPrivateOrSecret, kAnyFamily, kMake | kCopy, kAbsent},
    {CKA_SECRETMEM_EXPIRES, kUlong, kPrivateOrSecret, kAnyFamily, kReadOnly, kAbsent},
};
static_assert(std::ranges::is_sorted(kRules, {}, &AttributeRule::type));

// What a key may do when its template does not say. The specification leaves these to the token,
// except that CKA_DERIVE is false by default: but Java generates EC keys with an empty template and
// then signs and derives with them.
enum UsageBit : uint16_t {
  kEncrypt = 1,
  kDecrypt = 2,
  kWrap = 4,
  kUnwrapKeys = 8,
  kSign = 16,
  kVerify = 32,
  kDerivePrivate = 64,  // CKA_DERIVE of private and secret keys; public keys derive nothing
};

constexpr uint16_t kCipherUsage = kEncrypt | kDecrypt | kWrap | kUnwrapKeys;
constexpr uint16_t kMacUsage = kSign | kVerify;
constexpr uint8_t kEcClasses = kPublicKeyClass | kPrivateKeyClass;

constexpr KeyTypeRule kKeyTypes[] = {
    // A Montgomery key cannot sign, but clients ask for CKA_SIGN on it anyway and expect it there.
    {CKK_EC_MONTGOMERY, kEcClasses, kMontgomeryFamily, kSign | kDerivePrivate},
    {CKK_EC_EDWARDS, kEcClasses, kEdwardsFamily, kMacUsage},
    {CKK_EC, kEcClasses, kWeierstrassFamily, kMacUsage | kDerivePrivate},
    {CKK_RSA, kEcClasses, kRsaFamily, kMacUsage | kCipherUsage},
#ifdef SECRETMEM_ML_KEM
    {CKK_ML_KEM, kEcClasses, kMlKemFamily, 0},
#endif
#ifdef SECRETMEM_XWING
    {CKK_SECRETMEM_XWING, kEcClasses, kXWingFamily, 0},
#endif
    {CKK_GENERIC_SECRET, kSecretKeyClass, kSymmetricFamily, kMacUsage},
    {CKK_AES, kSecretKeyClass, kSymmetricFamily, kCipherUsage | kMacUsage},
    {CKK_CHACHA20, kSecretKeyClass, kSymmetricFamily, kEncrypt | kDecrypt},
    {CKK_HKDF, kSecretKeyClass, kSymmetricFamily, kDerivePrivate},
    {CKK_SHA_1_HMAC, kSecretKeyClass, kSymmetricFamily, kMacUsage},
    {CKK_SHA224_HMAC, kSecretKeyClass, kSymmetricFamily, kMacUsage},
    {CKK_SHA256_HMAC, kSecretKeyClass, kSymmetricFamily, kMacUsage},
    {CKK_SHA384_HMAC, kSecretKeyClass, kSymmetricFamily, kMacUsage},
    {CKK_SHA512_HMAC, kSecretKeyClass, kSymmetricFamily, kMacUsage},
    {CKK_SHA512_224_HMAC, kSecretKeyClass, kSymmetricFamily, kMacUsage},
    {CKK_SHA512_256_HMAC, kSecretKeyClass, kSymmetricFamily, kMacUsage},
    {CKK_SHA3_224_HMAC, kSecretKeyClass, kSymmetricFamily, kMacUsage},
    {CKK_SHA3_256_HMAC, kSecretKeyClass, kSymmetricFamily, kMacUsage},
    {CKK_SHA3_384_HMAC, kSecretKeyClass, kSymmetricFamily, kMacUsage},
    {CKK_SHA3_512_HMAC, kSecretKeyClass, kSymmetricFamily, kMacUsage},
};

std::span<const AttributeRule> RulesOf(CK_ATTRIBUTE_TYPE type) {
  const auto rows = std::ranges::equal_range(kRules, type, {}, &AttributeRule::type);
  return {rows.begin(), rows.end()};
}

// The rules by class and family, computed by the compiler: each object that is made goes through
// its own.
constexpr uint8_t kClassBits[] = {kDataClass,       kCertificateClass, kPublicKeyClass,
                                  kPrivateKeyClass, kSecretKeyClass,   kProfileClass};
constexpr uint8_t kFamilyBits[] = {kMontgomeryFamily, kEdwardsFamily,   kWeierstrassFamily,
                                   kRsaFamily,        kSymmetricFamily, kMlKemFamily,
                                   kXWingFamily,      kAnyFamily};

struct Places {
  uint8_t count = 0;
  std::array<uint8_t, 64> at = {};
};
using PlacesByKind = std::array<std::array<Places, std::size(kFamilyBits)>, std::size(kClassBits)>;
static_assert(std::size(kRules) <= 256);

constexpr PlacesByKind kPlaces = [] {
  PlacesByKind all;
  for (size_t c = 0; c < std::size(kClassBits); ++c) {
    for (size_t f = 0; f < std::size(kFamilyBits); ++f) {
      Places& places = all[c][f];
      CK_ATTRIBUTE_TYPE last = ~CK_ATTRIBUTE_TYPE{0};
      for (size_t i = 0; i < std::size(kRules); ++i) {
        // Where there are several rules of a type, as for any family, it is the first.
        if (!kRules[i].AppliesTo(kClassBits[c], kFamilyBits[f]) || kRules[i].type == last) continue;
        last = kRules[i].type;
        places.at[places.count++] = static_cast<uint8_t>(i);
      }
    }
  }
  return all;
}();

}  // namespace

std::span<const AttributeRule> Rules() { return kRules; }

RuleList RulesFor(uint8_t class_bit, uint8_t family) {
  const auto* c = std::ranges::find(kClassBits, class_bit);
  const auto* f = std::ranges::find(kFamilyBits, family);
  if (c == std::end(kClassBits) || f == std::end(kFamilyBits)) return {};
  const Places& places =
      kPlaces[static_cast<size_t>(c - kClassBits)][static_cast<size_t>(f - kFamilyBits)];
  return {kRules, {places.at.data(), places.count}};
}

const AttributeRule* FindRule(uint8_t class_bit, uint8_t family, CK_ATTRIBUTE_TYPE type) {
  for (const AttributeRule& rule : RulesOf(type)) {
    if (rule.AppliesTo(class_bit, family)) return &rule;
  }
  return nullptr;
}

const AttributeRule* FindAnyRule(CK_ATTRIBUTE_TYPE type) {
  const auto rows = RulesOf(type);
  return rows.empty() ? nullptr : &rows.front();
}

const KeyTypeRule* FindKeyType(CK_KEY_TYPE type) {
  const auto* found = std::ranges::find(kKeyTypes, type, &KeyTypeRule::type);
  return found == std::end(kKeyTypes) ? nullptr : found;
}

uint8_t ClassBitOf(CK_OBJECT_CLASS object_class) {
  switch (object_class) {
    case CKO_DATA:
      return kDataClass;
    case CKO_CERTIFICATE:
      return kCertificateClass;
    case CKO_PUBLIC_KEY:
      return kPublicKeyClass;
    case CKO_PRIVATE_KEY:
      return kPrivateKeyClass;
    case CKO_SECRET_KEY:
      return kSecretKeyClass;
    case CKO_PROFILE:
      return kProfileClass;
    default:
      return 0;
  }
}

bool DefaultUsage(const KeyTypeRule& key_type, uint8_t class_bit, CK_ATTRIBUTE_TYPE type) {
  const auto has = [&](UsageBit bit) { return (key_type.default_usage & bit) != 0; };
  switch (type) {
    case CKA_ENCRYPT:
      return has(kEncrypt);
    case CKA_DECRYPT:
      return has(kDecrypt);
    case CKA_WRAP:
      return has(kWrap);
    case CKA_UNWRAP:
      return has(kUnwrapKeys);
    case CKA_SIGN:
      return has(kSign);
    case CKA_VERIFY:
      return has(kVerify);
    case CKA_DERIVE:
      return class_bit != kPublicKeyClass && has(kDerivePrivate);
    default:
      return false;
  }
}

bool MayBeSecretAttribute(CK_ATTRIBUTE_TYPE type) {
  // By type, as every attribute that is stored is asked about.
  static constexpr auto kMayBe = [] {
    std::array<bool, CKA_SEED + 1> may_be = {};
    for (const AttributeRule& rule : kRules) {
      if ((rule.flags & kSecret) != 0) may_be.at(rule.type) = true;
    }
    return may_be;
  }();
  return type < kMayBe.size() && kMayBe[type];
}

bool IsSecretAttribute(CK_OBJECT_CLASS object_class, CK_KEY_TYPE /*key_type*/,
                       CK_ATTRIBUTE_TYPE type) {
  if (!MayBeSecretAttribute(type)) return false;
  const auto rows = RulesOf(type);
  const auto is_secret = [](const AttributeRule& rule) { return (rule.flags & kSecret) != 0; };
  if (std::ranges::all_of(rows, is_secret)) return true;
  // Without regard to the family: a private key of an unknown type must not have its value stored.
  const uint8_t class_bit = ClassBitOf(object_class);
  return std::ranges::any_of(rows, [&](const AttributeRule& rule) {
    return is_secret(rule) && (rule.classes & class_bit) != 0;
  });
}

ReadAccess GetReadAccess(const AttributeSet& attributes, CK_ATTRIBUTE_TYPE type) {
  if (attributes.Has(type)) return ReadAccess::kStored;
  const CK_OBJECT_CLASS object_class =
      attributes.GetUlong(CKA_CLASS).value_or(CK_UNAVAILABLE_INFORMATION);
  const KeyTypeRule* key_type =
      FindKeyType(attributes.GetUlong(CKA_KEY_TYPE).value_or(CK_UNAVAILABLE_INFORMATION));
  if (key_type == nullptr) return ReadAccess::kUnknown;
  const AttributeRule* rule = FindRule(ClassBitOf(object_class), key_type->family, type);
  if (rule == nullptr || (rule->flags & kSecret) == 0) return ReadAccess::kUnknown;
  // An object without these attributes is none that the builder made: it tells nothing.
  const bool readable = !attributes.GetBool(CKA_SENSITIVE).value_or(true) &&
                        attributes.GetBool(CKA_EXTRACTABLE).value_or(false);
  return readable ? ReadAccess::kSecret : ReadAccess::kSensitive;
}

}  // namespace secretmem
