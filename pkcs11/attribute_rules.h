// What each attribute is and when it may be given: the attribute tables of PKCS#11 3.2 (sections 4
// and 6) and their footnotes, as const data.
//
// A new key type is a row in kKeyTypes and, where it has attributes of its own, rows in kRules
// (attribute_rules.cc).

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "mechanisms/cryptoki.h"

namespace secretmem {

class AttributeSet;

// ValueKind is the form of a value.
enum class ValueKind : uint8_t {
  kBool,        // CK_BBOOL, CK_TRUE or CK_FALSE
  kUlong,       // CK_ULONG
  kLifetime,    // CK_ULONG, 1 to 2^32
  kBytes,       // any bytes
  kBigInteger,  // unsigned, most significant byte first
  kString,      // UTF-8 without terminator; not checked, as clients send what they have
  kDate,        // empty or CK_DATE
  kMechanisms,  // array of CK_MECHANISM_TYPE
  kTemplate,    // array of CK_ATTRIBUTE
};

// The bits of the tables, in a namespace of their own for their short names.
namespace rules {

// Bits of AttributeRule::classes.
enum ClassBit : uint8_t {
  kDataClass = 1,
  kCertificateClass = 2,
  kPublicKeyClass = 4,
  kPrivateKeyClass = 8,
  kSecretKeyClass = 16,
  kProfileClass = 32,
};

// Bits of AttributeRule::families: groups of key types with the same attributes.
enum FamilyBit : uint8_t {
  kMontgomeryFamily = 1,
  kEdwardsFamily = 2,
  kWeierstrassFamily = 4,
  kRsaFamily = 8,
  kSymmetricFamily = 16,
  kMlKemFamily = 32,
  kXWingFamily = 64,
  kAnyFamily = 0xff,  // also what objects that are not keys have
};

// Bits of AttributeRule::flags. The first six say in which functions a template may give the
// attribute; where it may not, it is CKR_ATTRIBUTE_READ_ONLY.
enum RuleFlag : uint16_t {
  kCreate = 1,              // C_CreateObject
  kGenerate = 2,            // C_GenerateKey, C_GenerateKeyPair
  kUnwrap = 4,              // C_UnwrapKey
  kDerive = 8,              // C_DeriveKey, C_EncapsulateKey, C_DecapsulateKey
  kSet = 16,                // C_SetAttributeValue (footnote 8)
  kCopy = 32,               // C_CopyObject
  kRequired = 64,           // must be given to C_CreateObject (footnote 1)
  kGenerateRequired = 128,  // must be given to C_GenerateKey or C_GenerateKeyPair (footnote 3)
  kOnlyToTrue = 256,        // once true it stays (footnote 11)
  kOnlyToFalse = 512,       // once false it stays (footnote 12)
  kTrueBySoOnly = 1024,     // footnote 10
  kSecret = 2048,           // key bytes: go to a vault, never into an AttributeSet (footnote 7)
};

}  // namespace rules

// DefaultValue says what an attribute is when the template does not give it.
enum class DefaultValue : uint8_t {
  kAbsent,   // not there (or the mechanism adds it)
  kFalse,    // CK_FALSE
  kTrue,     // CK_TRUE
  kZero,     // CK_ULONG 0
  kEmpty,    // no bytes
  kUsage,    // CK_TRUE if the key type's row says so
  kBuilder,  // depends on how the object is made: object_builder.cc
};

// AttributeRule is one attribute of some classes and families.
struct AttributeRule {
  CK_ATTRIBUTE_TYPE type;
  ValueKind kind;
  uint8_t classes;
  uint8_t families;
  uint16_t flags;
  DefaultValue default_value;

  constexpr bool AppliesTo(uint8_t class_bit, uint8_t family) const {
    return (classes & class_bit) != 0 && (families & family) != 0;
  }
};

// KeyTypeRule is one key type.
struct KeyTypeRule {
  CK_KEY_TYPE type;
  uint8_t classes;         // which ClassBits it comes in
  uint8_t family;          // one FamilyBit
  uint16_t default_usage;  // UsageBits (attribute_rules.cc) of kUsage attributes, for all classes
};

// Rules returns all rules, sorted by type; a type has one row per set of classes that treat it
// alike.
std::span<const AttributeRule> Rules();

// RuleList is the rules of one kind of object: sorted by type, one for each.
class RuleList {
 public:
  RuleList() = default;
  RuleList(const AttributeRule* all, std::span<const uint8_t> places)
      : all_(all), places_(places) {}

  size_t size() const { return places_.size(); }
  const AttributeRule& operator[](size_t i) const { return all_[places_[i]]; }

 private:
  const AttributeRule* all_ = nullptr;
  std::span<const uint8_t> places_;  // in |all_|
};

// RulesFor returns the rules of objects of this class and, for keys, family; none of a class or
// family that there is not.
RuleList RulesFor(uint8_t class_bit, uint8_t family);

// FindRule returns the rule of |type| for objects of this class and, for keys, family, or nullptr.
const AttributeRule* FindRule(uint8_t class_bit, uint8_t family, CK_ATTRIBUTE_TYPE type);

// FindAnyRule returns some rule of |type|, or nullptr: enough to know its form, which is the same
// in all of them. For the contents of template attributes, which have no class of their own.
const AttributeRule* FindAnyRule(CK_ATTRIBUTE_TYPE type);

// FindKeyType returns the row of a key type, or nullptr for one that the module does not have.
const KeyTypeRule* FindKeyType(CK_KEY_TYPE type);

// ClassBitOf returns the ClassBit of a class, 0 for one that the module does not have.
uint8_t ClassBitOf(CK_OBJECT_CLASS object_class);

// IsKeyClass returns whether |class_bit| is one of the three key classes.
constexpr bool IsKeyClass(uint8_t class_bit) {
  return (class_bit &
          (rules::kPublicKeyClass | rules::kPrivateKeyClass | rules::kSecretKeyClass)) != 0;
}

// DefaultUsage returns the default of a kUsage attribute for keys of this class and type.
bool DefaultUsage(const KeyTypeRule& key_type, uint8_t class_bit, CK_ATTRIBUTE_TYPE type);

// IsSecretAttribute returns whether the value is secret key material, which may never be in
// ordinary memory of the module: CKA_VALUE of private and secret keys of any type, known or not,
// and RSA's private components on whatever object. (|key_type| is not needed to tell today.)
bool IsSecretAttribute(CK_OBJECT_CLASS object_class, CK_KEY_TYPE key_type, CK_ATTRIBUTE_TYPE type);

// MayBeSecretAttribute returns whether the attribute is secret on some object. Cheap.
bool MayBeSecretAttribute(CK_ATTRIBUTE_TYPE type);

// ReadAccess says how C_GetAttributeValue answers for one attribute of an object.
enum class ReadAccess {
  kStored,     // AttributeSet::Get has it
  kSecret,     // in the vault, and may be read: not sensitive and extractable
  kSensitive,  // in the vault: CKR_ATTRIBUTE_SENSITIVE
  kUnknown,    // not an attribute of this object: CKR_ATTRIBUTE_TYPE_INVALID
};
ReadAccess GetReadAccess(const AttributeSet& attributes, CK_ATTRIBUTE_TYPE type);

}  // namespace secretmem
