// The boolean attributes of every object class and key type: which objects have them, what they are
// when a template does not say, who may change them, and to what. PKCS#11 3.2 §4.1 to §4.10.
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "tests/conformance/cipher.h"
#include "tests/conformance/ec.h"
#include "tests/conformance/fixtures.h"
#include "tests/conformance/rsa.h"
#include "tests/conformance/x25519.h"

namespace secretmem::conformance {
namespace {

enum Class : unsigned { kData = 1, kCertificate = 2, kPublic = 4, kPrivate = 8, kSecret = 16 };
constexpr unsigned kKeys = kPublic | kPrivate | kSecret;
constexpr unsigned kSecrets = kPrivate | kSecret;
constexpr unsigned kAll = kData | kCertificate | kKeys;

// How an attribute may change.
enum class Change {
  kNever,       // with the object, and not later
  kFreely,      //
  kOn,          // to true, and not back
  kOff,         // to false, and not back
  kOpen,        // the specification leaves whether later
  kTheLibrary,  // the library's own: neither given nor changed
};

struct BooleanRow {
  const char* name;
  CK_ATTRIBUTE_TYPE type;
  unsigned classes;
  std::optional<bool> otherwise;  // when the template does not say; none: the token's choice
  Change change;
};

constexpr BooleanRow kBooleans[] = {
    {"CKA_TOKEN", CKA_TOKEN, kAll, false, Change::kNever},
    {"CKA_PRIVATE", CKA_PRIVATE, kAll, {}, Change::kNever},
    {"CKA_MODIFIABLE", CKA_MODIFIABLE, kAll, true, Change::kNever},
    {"CKA_COPYABLE", CKA_COPYABLE, kAll, true, Change::kOff},
    {"CKA_DESTROYABLE", CKA_DESTROYABLE, kAll, true, Change::kOpen},
    {"CKA_LOCAL", CKA_LOCAL, kKeys, false, Change::kTheLibrary},
    {"CKA_DERIVE", CKA_DERIVE, kKeys, {}, Change::kFreely},
    {"CKA_ENCRYPT", CKA_ENCRYPT, kPublic | kSecret, {}, Change::kFreely},
    {"CKA_VERIFY", CKA_VERIFY, kPublic | kSecret, {}, Change::kFreely},
    {"CKA_VERIFY_RECOVER", CKA_VERIFY_RECOVER, kPublic, {}, Change::kFreely},
    {"CKA_WRAP", CKA_WRAP, kPublic | kSecret, {}, Change::kFreely},
    {"CKA_DECRYPT", CKA_DECRYPT, kSecrets, {}, Change::kFreely},
    {"CKA_SIGN", CKA_SIGN, kSecrets, {}, Change::kFreely},
    {"CKA_SIGN_RECOVER", CKA_SIGN_RECOVER, kPrivate, {}, Change::kFreely},
    {"CKA_UNWRAP", CKA_UNWRAP, kSecrets, {}, Change::kFreely},
    {"CKA_SENSITIVE", CKA_SENSITIVE, kSecrets, {}, Change::kOn},
    {"CKA_EXTRACTABLE", CKA_EXTRACTABLE, kSecrets, {}, Change::kOff},
    {"CKA_WRAP_WITH_TRUSTED", CKA_WRAP_WITH_TRUSTED, kSecrets, false, Change::kOn},
    {"CKA_ALWAYS_SENSITIVE", CKA_ALWAYS_SENSITIVE, kSecrets, false, Change::kTheLibrary},
    {"CKA_NEVER_EXTRACTABLE", CKA_NEVER_EXTRACTABLE, kSecrets, false, Change::kTheLibrary},
};

struct KindRow {
  const char* name;
  Class object_class;
  std::function<Template()> make;
};

const RsaNumbers& Rsa() {
  static const RsaNumbers numbers = [] {
    EVP_PKEY* key = EVP_RSA_gen(2048);
    unsigned char* der = nullptr;
    const int size = i2d_PrivateKey(key, &der);
    const Bytes bytes(der, der + size);
    OPENSSL_free(der);
    EVP_PKEY_free(key);
    return RsaNumbersOf(bytes);
  }();
  return numbers;
}

const std::vector<KindRow>& Kinds() {
  static const auto ec = [] { return ReferenceEcKey(EcCurveOf("prime256v1")); };
  static const std::vector<KindRow> kinds = {
      {"Data", kData, [] { return DataObject("x"); }},
      {"Certificate", kCertificate,
       [] {
         const Bytes name = FromHex("300c310a300806035504030c0178");
         return Template()
             .With(CKA_CLASS, CKO_CERTIFICATE)
             .With(CKA_CERTIFICATE_TYPE, CKC_X_509)
             .With(CKA_SUBJECT, name)
             .With(CKA_VALUE, FromHex("30023000"));
       }},
      {"RsaPublic", kPublic, [] { return RsaPublicKey(Rsa().n, Rsa().e); }},
      {"RsaPrivate", kPrivate, [] { return RsaPrivateKey(Rsa()); }},
      {"EcPublic", kPublic,
       [] { return EcPublicKey(EcCurveOf("prime256v1"), OctetString(ec().point)); }},
      {"EcPrivate", kPrivate, [] { return EcPrivateKey(EcCurveOf("prime256v1"), ec().scalar); }},
      {"Ed25519Public", kPublic,
       [] { return Ed25519PublicKey(OctetString(ReferenceEd25519Public(Bytes(32, 5)))); }},
      {"Ed25519Private", kPrivate, [] { return Ed25519PrivateKey(Bytes(32, 5)); }},
      {"X25519Public", kPublic, [] { return X25519PublicKey(ReferencePublicKey(Bytes(32, 5))); }},
      {"X25519Private", kPrivate, [] { return X25519PrivateKey(Bytes(32, 5)); }},
      {"GenericSecret", kSecret, [] { return SecretObject(Bytes(16, 1)); }},
      {"Aes", kSecret, [] { return SecretKeyTemplate(CKK_AES, Bytes(16, 1)); }},
      {"ChaCha20", kSecret, [] { return SecretKeyTemplate(CKK_CHACHA20, Bytes(32, 1)); }},
      {"Hkdf", kSecret, [] { return SecretKeyTemplate(CKK_HKDF, Bytes(32, 1)); }},
  };
  return kinds;
}

class AttributeTableTest : public UserTest, public testing::WithParamInterface<size_t> {
 protected:
  const KindRow& kind() const { return Kinds()[GetParam()]; }

  // Made is the code of C_CreateObject; the object is in object_.
  CK_RV Make(Template object) {
    object_ = CK_INVALID_HANDLE;
    return P11().C_CreateObject(session_, object.data(), object.size(), &object_);
  }
  CK_RV Set(CK_ATTRIBUTE_TYPE type, bool value) {
    Template change = Template().With(type, value);
    return P11().C_SetAttributeValue(session_, object_, change.data(), change.size());
  }
  bool Is(CK_ATTRIBUTE_TYPE type) const { return ReadBool(session_, object_, type); }
  Template Without(CK_ATTRIBUTE_TYPE type) const { return kind().make().Without(type); }
  template <class F>
  void ForEach(bool has, F check) {
    for (const BooleanRow& row : kBooleans) {
      if (((row.classes & kind().object_class) != 0) != has) continue;
      SCOPED_TRACE(row.name);
      check(row);
    }
  }

  CK_OBJECT_HANDLE object_ = 0;
};

TEST_P(AttributeTableTest, Defaults) {
  ForEach(true, [&](const BooleanRow& row) {
    ASSERT_RV(CKR_OK, Make(Without(row.type)));
    const Attribute read = ReadAttribute(session_, object_, row.type);
    EXPECT_RV(CKR_OK, read.rv);
    if (row.otherwise) {
      EXPECT_EQ(read.value, Bytes{*row.otherwise});
    } else {
      EXPECT_TRUE(read.value == Bytes{0} || read.value == Bytes{1});
    }
    EXPECT_RV(CKR_OK, P11().C_DestroyObject(session_, object_));
  });
}

TEST_P(AttributeTableTest, Given) {
  ForEach(true, [&](const BooleanRow& row) {
    for (const bool value : {false, true}) {
      const CK_RV rv = Make(kind().make().With(row.type, value));
      if (row.change == Change::kTheLibrary) {
        EXPECT_RV_IN(rv, CKR_ATTRIBUTE_READ_ONLY, CKR_TEMPLATE_INCONSISTENT);
        continue;
      }
      ASSERT_RV(CKR_OK, rv) << value;
      EXPECT_EQ(Is(row.type), value);
      EXPECT_RV(row.type == CKA_DESTROYABLE && !value ? CKR_ACTION_PROHIBITED : CKR_OK,
                P11().C_DestroyObject(session_, object_));
    }
    for (const Bytes& bad : {Bytes(), Bytes{1, 0}}) {
      EXPECT_RV_IN(Make(kind().make().With(row.type, bad)), CKR_ATTRIBUTE_VALUE_INVALID,
                   row.change == Change::kTheLibrary ? CKR_ATTRIBUTE_READ_ONLY
                                                     : CKR_ATTRIBUTE_VALUE_INVALID);
    }
  });
}

TEST_P(AttributeTableTest, Changed) {
  ForEach(true, [&](const BooleanRow& row) {
    if (row.change == Change::kTheLibrary) {
      ASSERT_RV(CKR_OK, Make(kind().make()));
      const bool before = Is(row.type);
      EXPECT_RV(CKR_ATTRIBUTE_READ_ONLY, Set(row.type, !before));
      EXPECT_EQ(Is(row.type), before);
      return;
    }
    for (const bool before : {false, true}) {
      // What cannot be modified has nothing changed, and C_SetAttributeValue is not what says more.
      if (row.type == CKA_MODIFIABLE && !before) continue;
      SCOPED_TRACE(before);
      ASSERT_RV(CKR_OK, Make(kind().make().With(row.type, before)));
      const bool allowed = row.change == Change::kFreely ||
                           (row.change == Change::kOn && !before) ||
                           (row.change == Change::kOff && before);
      const CK_RV rv = Set(row.type, !before);
      if (row.change == Change::kOpen) {
        EXPECT_RV_IN(rv, CKR_OK, CKR_ATTRIBUTE_READ_ONLY);
      } else {
        EXPECT_RV(allowed ? CKR_OK : CKR_ATTRIBUTE_READ_ONLY, rv);
      }
      EXPECT_EQ(Is(row.type), rv == CKR_OK ? !before : before);
    }
  });
}

// An attribute of other classes: not given, not read, not set.
TEST_P(AttributeTableTest, OfOtherClasses) {
  ForEach(false, [&](const BooleanRow& row) {
    for (const bool value : {false, true}) {
      EXPECT_RV_IN(Make(kind().make().With(row.type, value)), CKR_ATTRIBUTE_TYPE_INVALID,
                   CKR_TEMPLATE_INCONSISTENT);
    }
    ASSERT_RV(CKR_OK, Make(kind().make()));
    EXPECT_RV(CKR_ATTRIBUTE_TYPE_INVALID, ReadAttribute(session_, object_, row.type).rv);
    EXPECT_RV_IN(Set(row.type, true), CKR_ATTRIBUTE_TYPE_INVALID, CKR_ATTRIBUTE_READ_ONLY,
                 CKR_TEMPLATE_INCONSISTENT);
  });
}

// Nothing of an object that is not modifiable changes, whatever the attribute; it can be destroyed.
TEST_P(AttributeTableTest, NotModifiable) {
  ASSERT_RV(CKR_OK, Make(kind().make().With(CKA_MODIFIABLE, false)));
  ForEach(true, [&](const BooleanRow& row) {
    const bool before = Is(row.type);
    EXPECT_RV_IN(Set(row.type, !before), CKR_ACTION_PROHIBITED, CKR_ATTRIBUTE_READ_ONLY);
    EXPECT_EQ(Is(row.type), before);
  });
  EXPECT_RV(CKR_OK, P11().C_DestroyObject(session_, object_));
}

// A copy has what its original has, and the rules of change hold for what its template says.
TEST_P(AttributeTableTest, Copied) {
  ForEach(true, [&](const BooleanRow& row) {
    if (row.change == Change::kTheLibrary || row.type == CKA_COPYABLE) return;
    for (const bool before : {false, true}) {
      SCOPED_TRACE(before);
      ASSERT_RV(CKR_OK, Make(kind().make().With(row.type, before)));
      CK_OBJECT_HANDLE copy = CK_INVALID_HANDLE;
      Template other = Template().With(row.type, !before);
      ASSERT_RV(CKR_OK, P11().C_CopyObject(session_, object_, other.data(), 0, &copy));
      EXPECT_EQ(ReadBool(session_, copy, row.type), before);
      const CK_RV rv = P11().C_CopyObject(session_, object_, other.data(), other.size(), &copy);
      const bool forbidden = (row.change == Change::kOn && before) ||
                             (row.change == Change::kOff && !before) ||
                             (row.type == CKA_PRIVATE && before);
      if (forbidden) {
        EXPECT_RV_IN(rv, CKR_ATTRIBUTE_READ_ONLY, CKR_TEMPLATE_INCONSISTENT);
      } else {
        EXPECT_RV(CKR_OK, rv);
        EXPECT_EQ(ReadBool(session_, copy, row.type), !before);
      }
    }
  });
}

INSTANTIATE_TEST_SUITE_P(Kinds, AttributeTableTest, testing::Range<size_t>(0, Kinds().size()),
                         [](const auto& row) { return std::string(Kinds()[row.param].name); });

}  // namespace
}  // namespace secretmem::conformance
