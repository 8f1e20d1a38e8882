// CheckSet and BuildCopy of pkcs11/object_builder.h.

#include <gtest/gtest.h>

#include <cstdint>
#include <string_view>
#include <vector>

#include "pkcs11/attribute_rules.h"
#include "pkcs11/object_builder.h"
#include "tests/unit/template_for_test.h"

namespace secretmem {
namespace {

constexpr Caller kUser = {Login::kUser, true};
constexpr Caller kReader = {Login::kUser, false};
constexpr Caller kNobody = {Login::kNobody, true};
constexpr Caller kOfficer = {Login::kSecurityOfficer, true};

AttributeSet Key(CK_OBJECT_CLASS object_class, const TemplateForTest& given) {
  const Origin origin =
      object_class == CKO_PRIVATE_KEY ? Origin::kGeneratePrivate : Origin::kGeneratePublic;
  auto built = BuildObject(given.Read(), {.origin = origin,
                                          .caller = kUser,
                                          .unique_id = "first",
                                          .object_class = object_class,
                                          .key_type = CKK_EC_MONTGOMERY});
  EXPECT_TRUE(built);
  return built ? built->attributes : AttributeSet();
}

AttributeSet PrivateKey(const TemplateForTest& given = {}) { return Key(CKO_PRIVATE_KEY, given); }

AttributeSet PublicKey() {
  TemplateForTest given;
  given.Bytes(CKA_EC_PARAMS, {1});
  return Key(CKO_PUBLIC_KEY, given);
}

CK_RV SetError(const AttributeSet& object, const TemplateForTest& given,
               const Caller& caller = kUser) {
  const auto changed = CheckSet(object, given.Read(), caller);
  return changed ? CKR_OK : changed.error();
}

CK_RV CopyError(const AttributeSet& object, const TemplateForTest& given,
                const Caller& caller = kUser) {
  const auto copy = BuildCopy(object, given.Read(), caller, "second");
  return copy ? CKR_OK : copy.error();
}

TemplateForTest Bool(CK_ATTRIBUTE_TYPE type, bool value) {
  TemplateForTest given;
  given.Bool(type, value);
  return given;
}

TEST(ObjectUpdateTest, SetChangesWhatItMayAndNothingElse) {
  const AttributeSet key = PrivateKey();
  TemplateForTest given;
  given.Bytes(CKA_ID, {1, 2, 3})
      .Text(CKA_LABEL, "new")
      .Bytes(CKA_SUBJECT, {0x30, 0})
      .Bool(CKA_SIGN, false);
  AttributeSet expected = key;
  expected.SetBytes(CKA_ID, std::vector<uint8_t>{1, 2, 3});
  expected.SetBytes(CKA_LABEL, std::vector<uint8_t>{'n', 'e', 'w'});
  expected.SetBytes(CKA_SUBJECT, std::vector<uint8_t>{0x30, 0});
  expected.SetBool(CKA_SIGN, false);
  EXPECT_EQ(CheckSet(key, given.Read(), kUser), expected);
  EXPECT_EQ(CheckSet(key, TemplateReader(), kUser), key);
}

// For each attribute that a key has: settable with its own value, or read-only, as the rule says.
TEST(ObjectUpdateTest, SetFollowsTheRuleOfEveryAttribute) {
  for (const AttributeSet& object : {PrivateKey(), PublicKey()}) {
    const uint8_t class_bit = ClassBitOf(object.GetUlong(CKA_CLASS).value());
    object.ForEach([&](CK_ATTRIBUTE_TYPE type, std::span<const uint8_t> value) {
      TemplateForTest given;
      given.Bytes(type, {value.begin(), value.end()});
      const AttributeRule* rule = FindRule(class_bit, rules::kMontgomeryFamily, type);
      // Where it cannot go on, it is read-only: what it is already cannot be set either.
      const bool is_true = object.GetBool(type).value_or(false);
      const bool at_end = (rule->flags & (is_true ? rules::kOnlyToTrue : rules::kOnlyToFalse)) != 0;
      EXPECT_EQ(SetError(object, given),
                (rule->flags & rules::kSet) != 0 && !at_end ? CKR_OK : CKR_ATTRIBUTE_READ_ONLY)
          << type;
    });
  }
  for (const CK_ATTRIBUTE_TYPE fixed :
       {CKA_CLASS, CKA_TOKEN, CKA_PRIVATE, CKA_UNIQUE_ID, CKA_KEY_TYPE, CKA_VALUE, CKA_EC_PARAMS,
        CKA_LOCAL, CKA_ALWAYS_SENSITIVE, CKA_NEVER_EXTRACTABLE, CKA_MODIFIABLE,
        CKA_ALLOWED_MECHANISMS}) {
    TemplateForTest given;
    EXPECT_EQ(SetError(PrivateKey(), given.Bytes(fixed, {1})), CKR_ATTRIBUTE_READ_ONLY) << fixed;
  }
}

TEST(ObjectUpdateTest, OneWayAttributesGoOneWay) {
  struct Case {
    CK_ATTRIBUTE_TYPE type;
    bool final;
  };
  for (const Case& c : {Case{CKA_SENSITIVE, true}, Case{CKA_EXTRACTABLE, false},
                        Case{CKA_WRAP_WITH_TRUSTED, true}, Case{CKA_COPYABLE, false}}) {
    SCOPED_TRACE(c.type);
    const AttributeSet open = PrivateKey(Bool(c.type, !c.final));
    AttributeSet closed = open;
    closed.SetBool(c.type, c.final);
    EXPECT_EQ(CheckSet(open, Bool(c.type, c.final).Read(), kUser), closed);
    EXPECT_EQ(SetError(open, Bool(c.type, !c.final)), CKR_OK);
    EXPECT_EQ(SetError(closed, Bool(c.type, c.final)), CKR_ATTRIBUTE_READ_ONLY);
    EXPECT_EQ(SetError(closed, Bool(c.type, !c.final)), CKR_ATTRIBUTE_READ_ONLY);
    if (c.type != CKA_COPYABLE) {
      EXPECT_EQ(CopyError(closed, Bool(c.type, c.final)), CKR_OK);
      EXPECT_EQ(CopyError(open, Bool(c.type, c.final)), CKR_OK);
      EXPECT_EQ(CopyError(closed, Bool(c.type, !c.final)), CKR_ATTRIBUTE_READ_ONLY);
    }
  }
  // A key that was once extractable stays known as such.
  const AttributeSet key = PrivateKey(Bool(CKA_EXTRACTABLE, true));
  const auto closed = CheckSet(key, Bool(CKA_EXTRACTABLE, false).Read(), kUser);
  ASSERT_TRUE(closed);
  EXPECT_EQ(closed->GetBool(CKA_NEVER_EXTRACTABLE), false);
}

TEST(ObjectUpdateTest, SetIsRefusedAsAWhole) {
  TemplateForTest given;
  given.Text(CKA_LABEL, "new").Bool(CKA_LOCAL, false);
  EXPECT_EQ(SetError(PrivateKey(), given), CKR_ATTRIBUTE_READ_ONLY);
  TemplateForTest unknown;
  unknown.Text(CKA_LABEL, "new").Bytes(CKA_MODULUS, {1});
  EXPECT_EQ(SetError(PrivateKey(), unknown), CKR_ATTRIBUTE_TYPE_INVALID);
  TemplateForTest malformed;
  malformed.Bytes(CKA_DERIVE, {7});
  EXPECT_EQ(SetError(PrivateKey(), malformed), CKR_ATTRIBUTE_VALUE_INVALID);
}

TEST(ObjectUpdateTest, WhoMaySet) {
  const AttributeSet fixed = PrivateKey(Bool(CKA_MODIFIABLE, false));
  EXPECT_EQ(SetError(fixed, Bool(CKA_SIGN, false)), CKR_ACTION_PROHIBITED);
  const AttributeSet token_key = PrivateKey(Bool(CKA_TOKEN, true));
  EXPECT_EQ(SetError(token_key, Bool(CKA_SIGN, false), kReader), CKR_SESSION_READ_ONLY);
  EXPECT_EQ(SetError(token_key, Bool(CKA_SIGN, false), kNobody), CKR_USER_NOT_LOGGED_IN);
  EXPECT_EQ(SetError(PublicKey(), Bool(CKA_TRUSTED, true), kUser), CKR_ATTRIBUTE_READ_ONLY);
  EXPECT_EQ(SetError(PublicKey(), Bool(CKA_TRUSTED, true), kOfficer), CKR_OK);
}

TEST(ObjectUpdateTest, CopyIsTheSameWithItsOwnUniqueId) {
  const AttributeSet key = PrivateKey();
  AttributeSet expected = key;
  expected.SetBytes(CKA_UNIQUE_ID, std::vector<uint8_t>{'s', 'e', 'c', 'o', 'n', 'd'});
  EXPECT_EQ(BuildCopy(key, TemplateReader(), kUser, "second"), expected);
  TemplateForTest given;
  given.Bool(CKA_TOKEN, true)
      .Bool(CKA_MODIFIABLE, false)
      .Bool(CKA_COPYABLE, false)
      .Bool(CKA_DESTROYABLE, false);
  for (const CK_ATTRIBUTE_TYPE type : {CKA_MODIFIABLE, CKA_COPYABLE, CKA_DESTROYABLE}) {
    expected.SetBool(type, false);
  }
  expected.SetBool(CKA_TOKEN, true);
  EXPECT_EQ(BuildCopy(key, given.Read(), kUser, "second"), expected);
}

TEST(ObjectUpdateTest, CopyIsRefused) {
  EXPECT_EQ(CopyError(PrivateKey(Bool(CKA_COPYABLE, false)), {}), CKR_ACTION_PROHIBITED);
  EXPECT_EQ(CopyError(PrivateKey(), Bool(CKA_PRIVATE, false)), CKR_TEMPLATE_INCONSISTENT);
  EXPECT_EQ(CopyError(PublicKey(), Bool(CKA_PRIVATE, true)), CKR_OK);
  EXPECT_EQ(CopyError(PublicKey(), Bool(CKA_PRIVATE, true), kNobody), CKR_USER_NOT_LOGGED_IN);
  EXPECT_EQ(CopyError(PrivateKey(), Bool(CKA_TOKEN, true), kReader), CKR_SESSION_READ_ONLY);
  EXPECT_EQ(CopyError(PrivateKey(), Bool(CKA_LOCAL, false)), CKR_ATTRIBUTE_READ_ONLY);
  TemplateForTest key_type;
  EXPECT_EQ(CopyError(PrivateKey(), key_type.Ulong(CKA_KEY_TYPE, CKK_EC_MONTGOMERY)),
            CKR_ATTRIBUTE_READ_ONLY);
  TemplateForTest value;
  EXPECT_EQ(CopyError(PrivateKey(), value.Bytes(CKA_VALUE, {1})), CKR_ATTRIBUTE_READ_ONLY);
}

}  // namespace
}  // namespace secretmem
