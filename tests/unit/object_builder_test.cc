#include "pkcs11/object_builder.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <map>
#include <string_view>
#include <utility>
#include <vector>

#include "mechanisms/secret_key.h"
#include "pkcs11/attribute_rules.h"
#include "tests/unit/template_for_test.h"

namespace secretmem {
namespace {

using Bytes = std::vector<uint8_t>;
using Contents = std::map<CK_ATTRIBUTE_TYPE, Bytes>;

constexpr std::string_view kUuid = "3b4e9d0a-5f6c-4a58-9d0e-0c2f6e1b7a90";
constexpr Caller kUser = {Login::kUser, true};
constexpr Caller kNobody = {Login::kNobody, true};
constexpr Caller kOfficer = {Login::kSecurityOfficer, true};
const Bytes kTrueByte = {1};
const Bytes kFalseByte = {0};
const Bytes kX25519Oid = {0x06, 0x03, 0x2b, 0x65, 0x6e};

Bytes Number(CK_ULONG value) {
  Bytes bytes(sizeof(value));
  std::memcpy(bytes.data(), &value, sizeof(value));
  return bytes;
}

Bytes Text(std::string_view text) { return Bytes(text.begin(), text.end()); }

Contents ContentsOf(const AttributeSet& set) {
  Contents contents;
  set.ForEach([&](CK_ATTRIBUTE_TYPE type, std::span<const uint8_t> value) {
    contents[type] = Bytes(value.begin(), value.end());
  });
  return contents;
}

// |base| with the attributes of |changes| added or replaced.
Contents With(Contents base, const Contents& changes) {
  for (const auto& [type, value] : changes) base[type] = value;
  return base;
}

BuildRequest Request(Origin origin, const Caller& caller = kUser) {
  return {.origin = origin, .caller = caller, .unique_id = kUuid};
}

BuildRequest Generate(Origin origin, CK_OBJECT_CLASS object_class, CK_KEY_TYPE key_type,
                      CK_MECHANISM_TYPE mechanism, const Caller& caller = kUser) {
  BuildRequest request = Request(origin, caller);
  request.object_class = object_class;
  request.key_type = key_type;
  request.mechanism = mechanism;
  return request;
}

BuildRequest GeneratePrivate(const Caller& caller = kUser) {
  return Generate(Origin::kGeneratePrivate, CKO_PRIVATE_KEY, CKK_EC_MONTGOMERY,
                  CKM_EC_MONTGOMERY_KEY_PAIR_GEN, caller);
}

BuildRequest GeneratePublic(const Caller& caller = kUser) {
  return Generate(Origin::kGeneratePublic, CKO_PUBLIC_KEY, CKK_EC_MONTGOMERY,
                  CKM_EC_MONTGOMERY_KEY_PAIR_GEN, caller);
}

BuildRequest Derive(const BaseKey& base, const Caller& caller = kUser) {
  BuildRequest request = Request(Origin::kDerive, caller);
  request.object_class = CKO_SECRET_KEY;
  request.default_key_type = CKK_GENERIC_SECRET;
  request.base = base;
  return request;
}

constexpr BaseKey kGuarded = {
    .sensitive = true, .extractable = false, .always_sensitive = true, .never_extractable = true};

AttributeSet Built(const TemplateForTest& given, const BuildRequest& request) {
  auto built = BuildObject(given.Read(), request);
  EXPECT_TRUE(built) << (built ? 0 : built.error());
  return built ? std::move(built->attributes) : AttributeSet();
}

CK_RV ErrorOf(const TemplateForTest& given, const BuildRequest& request) {
  const auto built = BuildObject(given.Read(), request);
  return built ? CKR_OK : built.error();
}

Contents DefaultPrivateKey() {
  return {
      {CKA_CLASS, Number(CKO_PRIVATE_KEY)},
      {CKA_TOKEN, kFalseByte},
      {CKA_PRIVATE, kTrueByte},
      {CKA_LABEL, {}},
      {CKA_UNIQUE_ID, Text(kUuid)},
      {CKA_KEY_TYPE, Number(CKK_EC_MONTGOMERY)},
      {CKA_SUBJECT, {}},
      {CKA_ID, {}},
      {CKA_SENSITIVE, kTrueByte},
      {CKA_DECRYPT, kFalseByte},
      {CKA_UNWRAP, kFalseByte},
      {CKA_SIGN, kTrueByte},
      {CKA_SIGN_RECOVER, kFalseByte},
      {CKA_DERIVE, kTrueByte},
      {CKA_START_DATE, {}},
      {CKA_END_DATE, {}},
      {CKA_EXTRACTABLE, kFalseByte},
      {CKA_LOCAL, kTrueByte},
      {CKA_NEVER_EXTRACTABLE, kTrueByte},
      {CKA_ALWAYS_SENSITIVE, kTrueByte},
      {CKA_KEY_GEN_MECHANISM, Number(CKM_EC_MONTGOMERY_KEY_PAIR_GEN)},
      {CKA_MODIFIABLE, kTrueByte},
      {CKA_COPYABLE, kTrueByte},
      {CKA_DESTROYABLE, kTrueByte},
      {CKA_ALWAYS_AUTHENTICATE, kFalseByte},
      {CKA_WRAP_WITH_TRUSTED, kFalseByte},
      {CKA_DECAPSULATE, kFalseByte},
      {CKA_DECAPSULATE_TEMPLATE, {}},
      {CKA_UNWRAP_TEMPLATE, {}},
      {CKA_DERIVE_TEMPLATE, {}},
      {CKA_ALLOWED_MECHANISMS, {}},
  };
}

Contents DefaultPublicKey() {
  return {
      {CKA_CLASS, Number(CKO_PUBLIC_KEY)},
      {CKA_TOKEN, kFalseByte},
      {CKA_PRIVATE, kFalseByte},
      {CKA_LABEL, {}},
      {CKA_UNIQUE_ID, Text(kUuid)},
      {CKA_TRUSTED, kFalseByte},
      {CKA_KEY_TYPE, Number(CKK_EC_MONTGOMERY)},
      {CKA_SUBJECT, {}},
      {CKA_ID, {}},
      {CKA_ENCRYPT, kFalseByte},
      {CKA_WRAP, kFalseByte},
      {CKA_VERIFY, kFalseByte},
      {CKA_VERIFY_RECOVER, kFalseByte},
      {CKA_DERIVE, kFalseByte},
      {CKA_START_DATE, {}},
      {CKA_END_DATE, {}},
      {CKA_LOCAL, kTrueByte},
      {CKA_KEY_GEN_MECHANISM, Number(CKM_EC_MONTGOMERY_KEY_PAIR_GEN)},
      {CKA_MODIFIABLE, kTrueByte},
      {CKA_COPYABLE, kTrueByte},
      {CKA_DESTROYABLE, kTrueByte},
      {CKA_EC_PARAMS, kX25519Oid},
      {CKA_ENCAPSULATE, kFalseByte},
      {CKA_ENCAPSULATE_TEMPLATE, {}},
      {CKA_WRAP_TEMPLATE, {}},
      {CKA_ALLOWED_MECHANISMS, {}},
  };
}

Contents DerivedSecret() {
  return {
      {CKA_CLASS, Number(CKO_SECRET_KEY)},
      {CKA_TOKEN, kFalseByte},
      {CKA_PRIVATE, kTrueByte},
      {CKA_LABEL, {}},
      {CKA_UNIQUE_ID, Text(kUuid)},
      {CKA_TRUSTED, kFalseByte},
      {CKA_KEY_TYPE, Number(CKK_GENERIC_SECRET)},
      {CKA_ID, {}},
      {CKA_SENSITIVE, kTrueByte},
      {CKA_ENCRYPT, kFalseByte},
      {CKA_DECRYPT, kFalseByte},
      {CKA_WRAP, kFalseByte},
      {CKA_UNWRAP, kFalseByte},
      {CKA_SIGN, kTrueByte},
      {CKA_VERIFY, kTrueByte},
      {CKA_DERIVE, kFalseByte},
      {CKA_START_DATE, {}},
      {CKA_END_DATE, {}},
      {CKA_EXTRACTABLE, kFalseByte},
      {CKA_LOCAL, kFalseByte},
      {CKA_NEVER_EXTRACTABLE, kTrueByte},
      {CKA_ALWAYS_SENSITIVE, kTrueByte},
      {CKA_KEY_GEN_MECHANISM, Number(CK_UNAVAILABLE_INFORMATION)},
      {CKA_MODIFIABLE, kTrueByte},
      {CKA_COPYABLE, kTrueByte},
      {CKA_DESTROYABLE, kTrueByte},
      {CKA_WRAP_WITH_TRUSTED, kFalseByte},
      {CKA_WRAP_TEMPLATE, {}},
      {CKA_UNWRAP_TEMPLATE, {}},
      {CKA_DERIVE_TEMPLATE, {}},
      {CKA_ALLOWED_MECHANISMS, {}},
  };
}

// --- generation ---

TEST(ObjectBuilderTest, EmptyPrivateTemplate) {
  EXPECT_EQ(ContentsOf(Built({}, GeneratePrivate())), DefaultPrivateKey());
}

TEST(ObjectBuilderTest, GeneratedPrivateKeyAsPkcs11ToolAsksForIt) {
  TemplateForTest given;
  given.Ulong(CKA_CLASS, CKO_PRIVATE_KEY)
      .Bool(CKA_TOKEN, true)
      .Bool(CKA_PRIVATE, true)
      .Bool(CKA_SENSITIVE, true)
      .Bool(CKA_SIGN, true)
      .Bool(CKA_DERIVE, true)
      .Ulong(CKA_KEY_TYPE, CKK_EC_MONTGOMERY)
      .Text(CKA_LABEL, "name")
      .Bytes(CKA_ID, {1, 2});
  AttributeSet key = Built(given, GeneratePrivate());
  EXPECT_EQ(ContentsOf(key),
            With(DefaultPrivateKey(),
                 {{CKA_TOKEN, kTrueByte}, {CKA_LABEL, Text("name")}, {CKA_ID, {1, 2}}}));
  key.ShrinkToFit();
  EXPECT_LT(key.MemoryUse(), 450u);
}

TEST(ObjectBuilderTest, GeneratedPublicKeyWithSignAndWrapFlagsIsAccepted) {
  TemplateForTest given;
  given.Bool(CKA_VERIFY, true)
      .Bool(CKA_WRAP, true)
      .Bool(CKA_DERIVE, true)
      .Bytes(CKA_EC_PARAMS, kX25519Oid);
  EXPECT_EQ(ContentsOf(Built(given, GeneratePublic())),
            With(DefaultPublicKey(),
                 {{CKA_VERIFY, kTrueByte}, {CKA_WRAP, kTrueByte}, {CKA_DERIVE, kTrueByte}}));
  EXPECT_EQ(ErrorOf(given.Without(CKA_EC_PARAMS), GeneratePublic()), CKR_TEMPLATE_INCOMPLETE);
}

TEST(ObjectBuilderTest, HistoryAttributesOfGeneratedKeys) {
  for (const bool sensitive : {false, true}) {
    for (const bool extractable : {false, true}) {
      TemplateForTest given;
      given.Bool(CKA_SENSITIVE, sensitive).Bool(CKA_EXTRACTABLE, extractable);
      AttributeSet key = Built(given, GeneratePrivate());
      EXPECT_EQ(key.GetBool(CKA_SENSITIVE), sensitive);
      EXPECT_EQ(key.GetBool(CKA_EXTRACTABLE), extractable);
      EXPECT_EQ(key.GetBool(CKA_ALWAYS_SENSITIVE), sensitive);
      EXPECT_EQ(key.GetBool(CKA_NEVER_EXTRACTABLE), !extractable);
    }
  }
}

TEST(ObjectBuilderTest, GeneratedSecretKeyIsNeitherSensitiveNorExtractableByDefault) {
  TemplateForTest given;
  given.Ulong(CKA_VALUE_LEN, 32);
  const AttributeSet key = Built(given, Generate(Origin::kGenerateSecret, CKO_SECRET_KEY,
                                                 CKK_GENERIC_SECRET, CKM_GENERIC_SECRET_KEY_GEN));
  EXPECT_EQ(ContentsOf(key),
            With(DerivedSecret(), {{CKA_SENSITIVE, kFalseByte},
                                   {CKA_ALWAYS_SENSITIVE, kFalseByte},
                                   {CKA_LOCAL, kTrueByte},
                                   {CKA_KEY_GEN_MECHANISM, Number(CKM_GENERIC_SECRET_KEY_GEN)},
                                   {CKA_VALUE_LEN, Number(32)}}));
  EXPECT_EQ(GetReadAccess(key, CKA_VALUE), ReadAccess::kSensitive);
}

TEST(ObjectBuilderTest, RsaGenerationNeedsModulusBits) {
  const BuildRequest request =
      Generate(Origin::kGeneratePublic, CKO_PUBLIC_KEY, CKK_RSA, CKM_RSA_PKCS_KEY_PAIR_GEN);
  EXPECT_EQ(ErrorOf({}, request), CKR_TEMPLATE_INCOMPLETE);
  TemplateForTest given;
  given.Ulong(CKA_MODULUS_BITS, 2048);
  EXPECT_EQ(Built(given, request).GetUlong(CKA_MODULUS_BITS), 2048u);
  given.Bytes(CKA_MODULUS, Bytes(256, 1));
  EXPECT_EQ(ErrorOf(given, request), CKR_ATTRIBUTE_READ_ONLY);
}

// --- derivation, unwrapping, encapsulation ---

TEST(ObjectBuilderTest, DerivedKeyIsAsItsBaseKeyByDefault) {
  EXPECT_EQ(ContentsOf(Built({}, Derive(kGuarded))), DerivedSecret());
  const AttributeSet open = Built({}, Derive({.sensitive = false,
                                              .extractable = true,
                                              .always_sensitive = false,
                                              .never_extractable = false}));
  EXPECT_EQ(ContentsOf(open), With(DerivedSecret(), {{CKA_SENSITIVE, kFalseByte},
                                                     {CKA_EXTRACTABLE, kTrueByte},
                                                     {CKA_ALWAYS_SENSITIVE, kFalseByte},
                                                     {CKA_NEVER_EXTRACTABLE, kFalseByte}}));
}

TEST(ObjectBuilderTest, DerivedKeyThatAsksForItCanBeRead) {
  TemplateForTest given;
  given.Bool(CKA_TOKEN, false)
      .Ulong(CKA_CLASS, CKO_SECRET_KEY)
      .Ulong(CKA_KEY_TYPE, CKK_GENERIC_SECRET)
      .Bool(CKA_SENSITIVE, false)
      .Bool(CKA_EXTRACTABLE, true)
      .Bool(CKA_ENCRYPT, true)
      .Bool(CKA_DECRYPT, true)
      .Bool(CKA_WRAP, true)
      .Bool(CKA_UNWRAP, true)
      .Ulong(CKA_VALUE_LEN, 32);
  const AttributeSet key = Built(given, Derive(kGuarded));
  EXPECT_EQ(ContentsOf(key), With(DerivedSecret(), {{CKA_SENSITIVE, kFalseByte},
                                                    {CKA_EXTRACTABLE, kTrueByte},
                                                    {CKA_ALWAYS_SENSITIVE, kFalseByte},
                                                    {CKA_NEVER_EXTRACTABLE, kFalseByte},
                                                    {CKA_ENCRYPT, kTrueByte},
                                                    {CKA_DECRYPT, kTrueByte},
                                                    {CKA_WRAP, kTrueByte},
                                                    {CKA_UNWRAP, kTrueByte},
                                                    {CKA_VALUE_LEN, Number(32)}}));
  EXPECT_EQ(GetReadAccess(key, CKA_VALUE), ReadAccess::kSecret);
}

TEST(ObjectBuilderTest, HistoryOfDerivedKeysNeedsBothGenerations) {
  for (int bits = 0; bits < 16; ++bits) {
    const bool sensitive = bits & 1, extractable = bits & 2;
    const BaseKey base = {.sensitive = true,
                          .extractable = false,
                          .always_sensitive = (bits & 4) != 0,
                          .never_extractable = (bits & 8) != 0};
    TemplateForTest given;
    given.Bool(CKA_SENSITIVE, sensitive).Bool(CKA_EXTRACTABLE, extractable);
    const AttributeSet key = Built(given, Derive(base));
    EXPECT_EQ(key.GetBool(CKA_ALWAYS_SENSITIVE), base.always_sensitive && sensitive);
    EXPECT_EQ(key.GetBool(CKA_NEVER_EXTRACTABLE), base.never_extractable && !extractable);
  }
}

TEST(ObjectBuilderTest, UnwrappedAndEncapsulatedKeysAreExtractableAndHaveNoHistory) {
  for (const Origin origin : {Origin::kUnwrap, Origin::kEncapsulate, Origin::kDecapsulate}) {
    BuildRequest request = Request(origin);
    request.object_class = CKO_SECRET_KEY;
    request.key_type = CKK_GENERIC_SECRET;
    TemplateForTest given;
    given.Bool(CKA_SENSITIVE, true);
    EXPECT_EQ(ContentsOf(Built(given, request)),
              With(DerivedSecret(), {{CKA_EXTRACTABLE, kTrueByte},
                                     {CKA_ALWAYS_SENSITIVE, kFalseByte},
                                     {CKA_NEVER_EXTRACTABLE, kFalseByte}}));
    given.Bool(CKA_EXTRACTABLE, false);
    EXPECT_EQ(ContentsOf(Built(given, request)),
              With(DerivedSecret(),
                   {{CKA_ALWAYS_SENSITIVE, kFalseByte}, {CKA_NEVER_EXTRACTABLE, kFalseByte}}));
  }
}

TEST(ObjectBuilderTest, BaseKeyTraits) {
  const AttributeSet key = Built({}, GeneratePrivate());
  const BaseKey traits = BaseKey::Of(key);
  EXPECT_EQ(std::tuple(traits.sensitive, traits.extractable, traits.always_sensitive,
                       traits.never_extractable),
            std::tuple(true, false, true, true));
  const BaseKey unknown = BaseKey::Of(AttributeSet());
  EXPECT_EQ(std::tuple(unknown.sensitive, unknown.extractable, unknown.always_sensitive,
                       unknown.never_extractable),
            std::tuple(true, false, false, false));
}

TEST(ObjectBuilderTest, ForcedClassAndKeyType) {
  for (const CK_ATTRIBUTE_TYPE type : {CKA_CLASS, CKA_KEY_TYPE}) {
    TemplateForTest given;
    given.Ulong(type, type == CKA_CLASS ? CKO_SECRET_KEY : CKK_EC_EDWARDS);
    EXPECT_EQ(ErrorOf(given, GeneratePrivate()), CKR_TEMPLATE_INCONSISTENT);
    TemplateForTest malformed;
    malformed.Bytes(type, {0, 0, 0, 0});
    EXPECT_EQ(ErrorOf(malformed, GeneratePrivate()), CKR_ATTRIBUTE_VALUE_INVALID);
  }
  TemplateForTest aes;
  aes.Ulong(CKA_KEY_TYPE, CKK_AES);
  EXPECT_EQ(Built(aes, Derive(kGuarded)).GetUlong(CKA_KEY_TYPE), CKK_AES);
  TemplateForTest montgomery;
  montgomery.Ulong(CKA_KEY_TYPE, CKK_EC_MONTGOMERY);
  EXPECT_EQ(ErrorOf(montgomery, Derive(kGuarded)), CKR_TEMPLATE_INCONSISTENT);
  BuildRequest open = Request(Origin::kUnwrap);
  EXPECT_EQ(ErrorOf({}, open), CKR_TEMPLATE_INCOMPLETE);
  open.object_class = CKO_SECRET_KEY;
  EXPECT_EQ(ErrorOf({}, open), CKR_TEMPLATE_INCOMPLETE);
}

TEST(ObjectBuilderTest, ImposedTemplateAddsAndContradicts) {
  AttributeSet imposed;
  imposed.SetUlong(CKA_KEY_TYPE, CKK_AES);
  imposed.SetBool(CKA_EXTRACTABLE, false);
  imposed.SetBool(CKA_ENCRYPT, true);
  imposed.SetBool(CKA_WRAP, false);
  imposed.SetBytes(CKA_ALLOWED_MECHANISMS, Number(CKM_AES_GCM));
  BuildRequest request = Derive(kGuarded);
  request.imposed = &imposed;
  const Contents expected = With(DerivedSecret(), {{CKA_KEY_TYPE, Number(CKK_AES)},
                                                   {CKA_ENCRYPT, kTrueByte},
                                                   {CKA_DECRYPT, kTrueByte},
                                                   {CKA_UNWRAP, kTrueByte},
                                                   {CKA_ALLOWED_MECHANISMS, Number(CKM_AES_GCM)}});
  EXPECT_EQ(ContentsOf(Built({}, request)), expected);
  TemplateForTest same;
  same.Bool(CKA_EXTRACTABLE, false).Ulong(CKA_KEY_TYPE, CKK_AES);
  EXPECT_EQ(ContentsOf(Built(same, request)), expected);
  TemplateForTest more_extractable;
  more_extractable.Bool(CKA_EXTRACTABLE, true);
  EXPECT_EQ(ErrorOf(more_extractable, request), CKR_TEMPLATE_INCONSISTENT);
  TemplateForTest other_type;
  other_type.Ulong(CKA_KEY_TYPE, CKK_GENERIC_SECRET);
  EXPECT_EQ(ErrorOf(other_type, request), CKR_TEMPLATE_INCONSISTENT);

  // What a template may not give, the imposed one may not either.
  for (const CK_ATTRIBUTE_TYPE type : {CKA_TRUSTED, CKA_LOCAL, CKA_SIGN_RECOVER}) {
    AttributeSet forbidden;
    forbidden.SetBool(type, true);
    request.imposed = &forbidden;
    EXPECT_EQ(ErrorOf({}, request), CKR_TEMPLATE_INCONSISTENT) << type;
  }
}

// --- C_CreateObject ---

TemplateForTest ImportedPrivateKey() {
  TemplateForTest given;
  given.Ulong(CKA_CLASS, CKO_PRIVATE_KEY)
      .Ulong(CKA_KEY_TYPE, CKK_EC_MONTGOMERY)
      .Bytes(CKA_EC_PARAMS, kX25519Oid)
      .Bytes(CKA_VALUE, Bytes(32, 7));
  return given;
}

TEST(ObjectBuilderTest, ImportedPrivateKey) {
  TemplateForTest given = ImportedPrivateKey();
  const TemplateReader reader = given.Read();
  const auto built = BuildObject(reader, Request(Origin::kCreate));
  ASSERT_TRUE(built);
  EXPECT_EQ(
      ContentsOf(built->attributes),
      With(DefaultPrivateKey(), {{CKA_EC_PARAMS, kX25519Oid},
                                 {CKA_LOCAL, kFalseByte},
                                 {CKA_NEVER_EXTRACTABLE, kFalseByte},
                                 {CKA_ALWAYS_SENSITIVE, kFalseByte},
                                 {CKA_KEY_GEN_MECHANISM, Number(CK_UNAVAILABLE_INFORMATION)}}));
  ASSERT_EQ(built->secrets.size(), 1u);
  EXPECT_EQ(built->secrets[0].type, CKA_VALUE);
  // The caller's memory itself, not a copy.
  EXPECT_EQ(built->secrets[0].value.data(), reader.Get(CKA_VALUE)->data());
  EXPECT_EQ(built->secrets[0].value.size(), 32u);
}

TEST(ObjectBuilderTest, EveryRequiredAttributeIsRequired) {
  TemplateForTest certificate;
  certificate.Ulong(CKA_CLASS, CKO_CERTIFICATE)
      .Ulong(CKA_CERTIFICATE_TYPE, CKC_X_509)
      .Bytes(CKA_SUBJECT, {0x30, 0})
      .Bytes(CKA_VALUE, {0x30, 0});
  TemplateForTest public_key;
  public_key.Ulong(CKA_CLASS, CKO_PUBLIC_KEY)
      .Ulong(CKA_KEY_TYPE, CKK_EC_MONTGOMERY)
      .Bytes(CKA_EC_PARAMS, kX25519Oid)
      .Bytes(CKA_EC_POINT, Bytes(32, 9));
  TemplateForTest secret_key;
  secret_key.Ulong(CKA_CLASS, CKO_SECRET_KEY)
      .Ulong(CKA_KEY_TYPE, CKK_AES)
      .Bytes(CKA_VALUE, Bytes(16, 1));
  TemplateForTest rsa_private;
  rsa_private.Ulong(CKA_CLASS, CKO_PRIVATE_KEY)
      .Ulong(CKA_KEY_TYPE, CKK_RSA)
      .Bytes(CKA_MODULUS, Bytes(256, 1))
      .Bytes(CKA_PRIVATE_EXPONENT, Bytes(256, 1));
  TemplateForTest montgomery = ImportedPrivateKey();
  for (TemplateForTest* whole :
       {&certificate, &public_key, &secret_key, &rsa_private, &montgomery}) {
    EXPECT_EQ(ErrorOf(*whole, Request(Origin::kCreate)), CKR_OK);
    const TemplateReader reader = whole->Read();
    for (const TemplateEntry& left_out : reader.entries()) {
      TemplateForTest part;
      for (const TemplateEntry& entry : reader.entries()) {
        if (entry.type != left_out.type) {
          part.Bytes(entry.type, Bytes(entry.value.begin(), entry.value.end()));
        }
      }
      EXPECT_EQ(ErrorOf(part, Request(Origin::kCreate)), CKR_TEMPLATE_INCOMPLETE) << left_out.type;
    }
  }
}

TEST(ObjectBuilderTest, ImportedRsaKeyHasItsSecretsInOrder) {
  TemplateForTest given;
  given.Ulong(CKA_CLASS, CKO_PRIVATE_KEY).Ulong(CKA_KEY_TYPE, CKK_RSA);
  const CK_ATTRIBUTE_TYPE secrets[] = {CKA_PRIVATE_EXPONENT, CKA_PRIME_1,    CKA_PRIME_2,
                                       CKA_EXPONENT_1,       CKA_EXPONENT_2, CKA_COEFFICIENT};
  for (const CK_ATTRIBUTE_TYPE type : secrets) given.Bytes(type, {1});
  given.Bytes(CKA_MODULUS, {0xc1}).Bytes(CKA_PUBLIC_EXPONENT, {3});
  const auto built = BuildObject(given.Read(), Request(Origin::kCreate));
  ASSERT_TRUE(built);
  std::vector<CK_ATTRIBUTE_TYPE> types;
  for (const SecretValue& secret : built->secrets) {
    types.push_back(secret.type);
    EXPECT_FALSE(built->attributes.Has(secret.type));
  }
  EXPECT_EQ(types, std::vector<CK_ATTRIBUTE_TYPE>(std::begin(secrets), std::end(secrets)));
  EXPECT_EQ(
      Bytes(built->attributes.Get(CKA_MODULUS)->begin(), built->attributes.Get(CKA_MODULUS)->end()),
      Bytes{0xc1});
}

TEST(ObjectBuilderTest, ImportedPrivateKeyMustHaveBytes) {
  TemplateForTest given = ImportedPrivateKey();
  given.Without(CKA_VALUE).Bytes(CKA_VALUE, {});
  EXPECT_EQ(ErrorOf(given, Request(Origin::kCreate)), CKR_ATTRIBUTE_VALUE_INVALID);
}

TEST(ObjectBuilderTest, ImportedSecretKeyHasItsLength) {
  for (const size_t size : {size_t{0}, size_t{1}, size_t{15}, size_t{16}, size_t{32}, size_t{33}}) {
    for (const CK_KEY_TYPE type : {CKK_GENERIC_SECRET, CKK_AES, CKK_CHACHA20}) {
      TemplateForTest given;
      given.Ulong(CKA_CLASS, CKO_SECRET_KEY)
          .Ulong(CKA_KEY_TYPE, type)
          .Bytes(CKA_VALUE, Bytes(size, 1));
      const auto built = BuildObject(given.Read(), Request(Origin::kCreate));
      if (AllowsSecretLength(type, size)) {
        ASSERT_TRUE(built) << type << " " << size;
        EXPECT_EQ(built->attributes.GetUlong(CKA_VALUE_LEN), size);
        EXPECT_EQ(built->secrets.size(), 1u);
      } else {
        ASSERT_FALSE(built) << type << " " << size;
        EXPECT_EQ(built.error(), CKR_ATTRIBUTE_VALUE_INVALID);
      }
    }
  }
}

TEST(ObjectBuilderTest, DataObjects) {
  TemplateForTest given;
  given.Ulong(CKA_CLASS, CKO_DATA).Text(CKA_APPLICATION, "app").Text(CKA_VALUE, "data");
  const Contents expected = {{CKA_CLASS, Number(CKO_DATA)}, {CKA_TOKEN, kFalseByte},
                             {CKA_PRIVATE, kTrueByte},      {CKA_LABEL, {}},
                             {CKA_UNIQUE_ID, Text(kUuid)},  {CKA_APPLICATION, Text("app")},
                             {CKA_VALUE, Text("data")},     {CKA_OBJECT_ID, {}},
                             {CKA_MODIFIABLE, kTrueByte},   {CKA_COPYABLE, kTrueByte},
                             {CKA_DESTROYABLE, kTrueByte}};
  EXPECT_EQ(ContentsOf(Built(given, Request(Origin::kCreate))), expected);
  EXPECT_EQ(ContentsOf(Built(given, Request(Origin::kCreate, kNobody))),
            With(expected, {{CKA_PRIVATE, kFalseByte}}));
}

TEST(ObjectBuilderTest, Certificates) {
  TemplateForTest given;
  given.Ulong(CKA_CLASS, CKO_CERTIFICATE)
      .Ulong(CKA_CERTIFICATE_TYPE, CKC_X_509)
      .Bytes(CKA_SUBJECT, {0x30, 0})
      .Text(CKA_START_DATE, "20260101")
      .Text(CKA_URL, "https://example.org/c");
  const Contents expected = {{CKA_CLASS, Number(CKO_CERTIFICATE)},
                             {CKA_TOKEN, kFalseByte},
                             {CKA_PRIVATE, kFalseByte},
                             {CKA_LABEL, {}},
                             {CKA_UNIQUE_ID, Text(kUuid)},
                             {CKA_VALUE, {}},
                             {CKA_CERTIFICATE_TYPE, Number(CKC_X_509)},
                             {CKA_ISSUER, {}},
                             {CKA_SERIAL_NUMBER, {}},
                             {CKA_TRUSTED, kFalseByte},
                             {CKA_CERTIFICATE_CATEGORY, Number(0)},
                             {CKA_JAVA_MIDP_SECURITY_DOMAIN, Number(0)},
                             {CKA_URL, Text("https://example.org/c")},
                             {CKA_HASH_OF_SUBJECT_PUBLIC_KEY, {}},
                             {CKA_HASH_OF_ISSUER_PUBLIC_KEY, {}},
                             {CKA_NAME_HASH_ALGORITHM, Number(CKM_SHA_1)},
                             {CKA_SUBJECT, {0x30, 0}},
                             {CKA_ID, {}},
                             {CKA_START_DATE, Text("20260101")},
                             {CKA_END_DATE, {}},
                             {CKA_PUBLIC_KEY_INFO, {}},
                             {CKA_MODIFIABLE, kTrueByte},
                             {CKA_COPYABLE, kTrueByte},
                             {CKA_DESTROYABLE, kTrueByte}};
  EXPECT_EQ(ContentsOf(Built(given, Request(Origin::kCreate))), expected);
  EXPECT_EQ(ErrorOf(given.Without(CKA_URL), Request(Origin::kCreate)), CKR_TEMPLATE_INCOMPLETE);
  given.Bytes(CKA_VALUE, {0x30}).Without(CKA_CERTIFICATE_TYPE);
  for (const CK_CERTIFICATE_TYPE type : {CKC_X_509_ATTR_CERT, CKC_WTLS, CKC_VENDOR_DEFINED}) {
    given.Without(CKA_CERTIFICATE_TYPE).Ulong(CKA_CERTIFICATE_TYPE, type);
    EXPECT_EQ(ErrorOf(given, Request(Origin::kCreate)), CKR_ATTRIBUTE_VALUE_INVALID) << type;
  }
}

TEST(ObjectBuilderTest, ClassesAndKeyTypesThatDoNotExist) {
  for (const CK_OBJECT_CLASS object_class :
       {CKO_PROFILE, CKO_DOMAIN_PARAMETERS, CKO_HW_FEATURE, CKO_MECHANISM, CKO_VENDOR_DEFINED}) {
    TemplateForTest given;
    given.Ulong(CKA_CLASS, object_class);
    EXPECT_EQ(ErrorOf(given, Request(Origin::kCreate)), CKR_ATTRIBUTE_VALUE_INVALID);
  }
  TemplateForTest given;
  given.Ulong(CKA_CLASS, CKO_SECRET_KEY).Ulong(CKA_KEY_TYPE, CKK_DES3).Bytes(CKA_VALUE, Bytes(24));
  EXPECT_EQ(ErrorOf(given, Request(Origin::kCreate)), CKR_ATTRIBUTE_VALUE_INVALID);
  EXPECT_EQ(ErrorOf({}, Request(Origin::kCreate)), CKR_TEMPLATE_INCOMPLETE);
}

// --- attributes that may not be given, and values of the wrong form ---

TEST(ObjectBuilderTest, ReadOnlyAndUnknownAttributes) {
  for (const CK_ATTRIBUTE_TYPE type : {CKA_LOCAL, CKA_ALWAYS_SENSITIVE, CKA_NEVER_EXTRACTABLE}) {
    TemplateForTest given = ImportedPrivateKey();
    EXPECT_EQ(ErrorOf(given.Bool(type, true), Request(Origin::kCreate)), CKR_ATTRIBUTE_READ_ONLY);
  }
  for (const CK_ATTRIBUTE_TYPE type : {CKA_UNIQUE_ID, CKA_KEY_GEN_MECHANISM}) {
    TemplateForTest given;
    EXPECT_EQ(ErrorOf(given.Bytes(type, Bytes(8)), GeneratePrivate()), CKR_ATTRIBUTE_READ_ONLY);
  }
  for (const CK_ATTRIBUTE_TYPE type : {CKA_VALUE, CKA_EC_PARAMS}) {
    TemplateForTest given;
    EXPECT_EQ(ErrorOf(given.Bytes(type, Bytes(32)), GeneratePrivate()), CKR_ATTRIBUTE_READ_ONLY);
  }
  TemplateForTest secret;
  secret.Bytes(CKA_VALUE, Bytes(32));
  EXPECT_EQ(ErrorOf(secret, Derive(kGuarded)), CKR_ATTRIBUTE_READ_ONLY);
  for (const CK_ATTRIBUTE_TYPE type :
       {CKA_MODULUS, CKA_APPLICATION, CKA_VERIFY, CK_ATTRIBUTE_TYPE{0x7fffffff},
        CK_ATTRIBUTE_TYPE{1} << 40, CK_UNAVAILABLE_INFORMATION}) {
    TemplateForTest given;
    EXPECT_EQ(ErrorOf(given.Bytes(type, {1}), GeneratePrivate()), CKR_ATTRIBUTE_TYPE_INVALID);
  }
}

TEST(ObjectBuilderTest, ValuesOfTheWrongForm) {
  const std::pair<CK_ATTRIBUTE_TYPE, Bytes> cases[] = {{CKA_TOKEN, {}},
                                                       {CKA_TOKEN, {2}},
                                                       {CKA_PRIVATE, {0, 0}},
                                                       {CKA_SENSITIVE, Bytes(8, 0)},
                                                       {CKA_DERIVE, {0xff}},
                                                       {CKA_START_DATE, Text("2026010")},
                                                       {CKA_END_DATE, Text("2026-1-1")},
                                                       {CKA_ALLOWED_MECHANISMS, Bytes(7)},
                                                       {CKA_DERIVE_TEMPLATE, Bytes(7)}};
  for (const auto& [type, value] : cases) {
    TemplateForTest given;
    EXPECT_EQ(ErrorOf(given.Bytes(type, value), GeneratePrivate()), CKR_ATTRIBUTE_VALUE_INVALID)
        << type;
  }
}

TEST(ObjectBuilderTest, TemplateAttributes) {
  TemplateForTest inner;
  inner.Ulong(CKA_KEY_TYPE, CKK_AES).Bool(CKA_EXTRACTABLE, false);
  TemplateForTest given;
  given.Nested(CKA_DERIVE_TEMPLATE, inner);
  AttributeSet key = Built(given, GeneratePrivate());
  AttributeSet expected;
  expected.SetUlong(CKA_KEY_TYPE, CKK_AES);
  expected.SetBool(CKA_EXTRACTABLE, false);
  EXPECT_EQ(key.GetTemplate(CKA_DERIVE_TEMPLATE), expected);

  // The largest contents are refused, not thrown at.
  TemplateForTest huge;
  huge.Bytes(CKA_LABEL, Bytes(AttributeSet::kMaxValueSize));
  TemplateForTest outer_of_huge;
  EXPECT_EQ(ErrorOf(outer_of_huge.Nested(CKA_DERIVE_TEMPLATE, huge), GeneratePrivate()),
            CKR_ATTRIBUTE_VALUE_INVALID);

  const std::pair<CK_ATTRIBUTE_TYPE, CK_RV> bad[] = {
      {CKA_VALUE, CKR_ATTRIBUTE_VALUE_INVALID},
      {CKA_PRIVATE_EXPONENT, CKR_ATTRIBUTE_VALUE_INVALID},
      {CKA_TOKEN, CKR_ATTRIBUTE_VALUE_INVALID},  // not a boolean
      {0x7fffffff, CKR_ATTRIBUTE_TYPE_INVALID}};
  for (const auto& [type, rv] : bad) {
    TemplateForTest contents;
    contents.Bytes(type, {1, 2, 3});
    TemplateForTest outer;
    EXPECT_EQ(ErrorOf(outer.Nested(CKA_DERIVE_TEMPLATE, contents), GeneratePrivate()), rv) << type;
  }
}

// --- who may ---

TEST(ObjectBuilderTest, AccessByLoginAndSession) {
  for (const Login login : {Login::kNobody, Login::kUser, Login::kSecurityOfficer}) {
    for (const bool read_write : {false, true}) {
      for (const bool token : {false, true}) {
        for (const bool is_private : {false, true}) {
          const CK_RV expected = token && !read_write                  ? CKR_SESSION_READ_ONLY
                                 : is_private && login != Login::kUser ? CKR_USER_NOT_LOGGED_IN
                                                                       : CKR_OK;
          TemplateForTest given;
          given.Bool(CKA_TOKEN, token).Bool(CKA_PRIVATE, is_private);
          EXPECT_EQ(ErrorOf(given, GeneratePrivate({login, read_write})), expected);
        }
      }
    }
  }
}

TEST(ObjectBuilderTest, DefaultOfPrivateDependsOnTheLogin) {
  for (const Caller& caller : {kNobody, kOfficer}) {
    EXPECT_EQ(Built({}, GeneratePrivate(caller)).GetBool(CKA_PRIVATE), false);
    TemplateForTest token;
    token.Bool(CKA_TOKEN, true);
    EXPECT_EQ(ErrorOf(token, GeneratePrivate(caller)), CKR_USER_NOT_LOGGED_IN);
    token.Bool(CKA_PRIVATE, false);
    EXPECT_EQ(Built(token, GeneratePrivate(caller)).GetBool(CKA_PRIVATE), false);
  }
  EXPECT_EQ(Built({}, GeneratePrivate(kUser)).GetBool(CKA_PRIVATE), true);
}

TEST(ObjectBuilderTest, OnlyTheSecurityOfficerTrusts) {
  TemplateForTest given;
  given.Bytes(CKA_EC_PARAMS, kX25519Oid).Bool(CKA_TRUSTED, true);
  EXPECT_EQ(ErrorOf(given, GeneratePublic(kUser)), CKR_ATTRIBUTE_READ_ONLY);
  EXPECT_EQ(ErrorOf(given, GeneratePublic(kNobody)), CKR_ATTRIBUTE_READ_ONLY);
  EXPECT_EQ(Built(given, GeneratePublic(kOfficer)).GetBool(CKA_TRUSTED), true);
  given.Without(CKA_TRUSTED).Bool(CKA_TRUSTED, false);
  EXPECT_EQ(Built(given, GeneratePublic(kUser)).GetBool(CKA_TRUSTED), false);
}

TEST(ObjectBuilderTest, AlwaysAuthenticateNeedsAPrivateObject) {
  TemplateForTest given;
  given.Bool(CKA_ALWAYS_AUTHENTICATE, true);
  EXPECT_EQ(Built(given, GeneratePrivate()).GetBool(CKA_ALWAYS_AUTHENTICATE), true);
  given.Bool(CKA_PRIVATE, false);
  EXPECT_EQ(ErrorOf(given, GeneratePrivate()), CKR_TEMPLATE_INCONSISTENT);
}

}  // namespace
}  // namespace secretmem
