// Bad arguments: each gets the specification's code (PKCS#11 3.1 §5.1) and changes nothing.
#include <array>
#include <cstring>
#include <ostream>
#include <vector>

#include "tests/conformance/fixtures.h"
#include "tests/conformance/x25519.h"

namespace secretmem::conformance {
namespace {

// Seen is what an application can see of the token's state.
struct Seen {
  CK_STATE state;
  CK_FLAGS session_flags;
  CK_FLAGS token_flags;
  std::vector<CK_OBJECT_HANDLE> objects;
  Bytes label;

  bool operator==(const Seen&) const = default;
  friend void PrintTo(const Seen& seen, std::ostream* out) {
    *out << "state " << seen.state << ", session flags " << seen.session_flags << ", token flags "
         << seen.token_flags << ", " << seen.objects.size() << " objects, label "
         << testing::PrintToString(seen.label);
  }
};

class BadInputTest : public UserTest {
 protected:
  void SetUp() override {
    UserTest::SetUp();
    if (HasFatalFailure()) return;
    object_ = Create(session_, DataObject("untouched").With(CKA_TOKEN, true));
    base_ = Create(session_, X25519PrivateKey(Bytes(32, 0x42)));
    before_ = See();
  }
  void TearDown() override {
    EXPECT_EQ(See(), before_) << "the state has changed";
    UserTest::TearDown();
  }
  Seen See() const {
    CK_SESSION_INFO info{};
    EXPECT_RV(CKR_OK, P11().C_GetSessionInfo(session_, &info));
    return {info.state, info.flags, TokenFlags(), FindAll(session_),
            ReadBytes(session_, object_, CKA_LABEL)};
  }
  CK_RV CreateFrom(CK_ATTRIBUTE* attributes, CK_ULONG count) const {
    CK_OBJECT_HANDLE handle = CK_INVALID_HANDLE;
    const CK_RV rv = P11().C_CreateObject(session_, attributes, count, &handle);
    EXPECT_TRUE(rv == CKR_OK || handle == CK_INVALID_HANDLE) << "a handle beside an error";
    return rv;
  }
  CK_RV CreateFrom(Template object) const { return CreateFrom(object.data(), object.size()); }
  // A derivation that works, for tests that spoil one thing of it.
  CK_ECDH1_DERIVE_PARAMS GoodParameters() { return {CKD_NULL, 0, nullptr, 32, peer_.data()}; }
  CK_RV DeriveWith(CK_MECHANISM* mechanism, CK_ATTRIBUTE* attributes, CK_ULONG count) const {
    CK_OBJECT_HANDLE handle = CK_INVALID_HANDLE;
    const CK_RV rv = P11().C_DeriveKey(session_, mechanism, base_, attributes, count, &handle);
    EXPECT_TRUE(rv == CKR_OK || handle == CK_INVALID_HANDLE) << "a handle beside an error";
    return rv;
  }
  CK_RV DeriveWith(CK_MECHANISM* mechanism) const {
    Template secret = SecretTemplate();
    return DeriveWith(mechanism, secret.data(), secret.size());
  }

  CK_OBJECT_HANDLE object_ = 0;
  CK_OBJECT_HANDLE base_ = 0;
  Bytes peer_ = ReferencePublicKey(Bytes(32, 0x77));
  Seen before_{};
};

TEST_F(BadInputTest, NullTemplateWithCount) {
  CK_OBJECT_HANDLE handle = 0;
  CK_OBJECT_HANDLE other = 0;
  CK_MECHANISM keygen{CKM_GENERIC_SECRET_KEY_GEN, nullptr, 0};
  CK_MECHANISM pair{X25519KeyPairMechanism(), nullptr, 0};
  CK_ECDH1_DERIVE_PARAMS parameters = GoodParameters();
  CK_MECHANISM derive{CKM_ECDH1_DERIVE, &parameters, sizeof parameters};
  Template good = PublicTemplate();
  EXPECT_RV(CKR_ARGUMENTS_BAD, P11().C_CreateObject(session_, nullptr, 3, &handle));
  EXPECT_RV(CKR_ARGUMENTS_BAD, P11().C_CopyObject(session_, object_, nullptr, 3, &handle));
  EXPECT_RV(CKR_ARGUMENTS_BAD, P11().C_GetAttributeValue(session_, object_, nullptr, 3));
  EXPECT_RV(CKR_ARGUMENTS_BAD, P11().C_SetAttributeValue(session_, object_, nullptr, 3));
  EXPECT_RV(CKR_ARGUMENTS_BAD, P11().C_FindObjectsInit(session_, nullptr, 3));
  EXPECT_RV(CKR_ARGUMENTS_BAD, P11().C_GenerateKey(session_, &keygen, nullptr, 3, &handle));
  EXPECT_RV(CKR_ARGUMENTS_BAD,
            P11().C_GenerateKeyPair(session_, &pair, nullptr, 3, nullptr, 0, &handle, &other));
  EXPECT_RV(CKR_ARGUMENTS_BAD, P11().C_GenerateKeyPair(session_, &pair, good.data(), good.size(),
                                                       nullptr, 3, &handle, &other));
  EXPECT_RV(CKR_ARGUMENTS_BAD, DeriveWith(&derive, nullptr, 3));
}

TEST_F(BadInputTest, NullResults) {
  CK_OBJECT_HANDLE handle = 0;
  CK_MECHANISM keygen{CKM_GENERIC_SECRET_KEY_GEN, nullptr, 0};
  CK_MECHANISM pair{X25519KeyPairMechanism(), nullptr, 0};
  CK_ECDH1_DERIVE_PARAMS parameters = GoodParameters();
  CK_MECHANISM derive{CKM_ECDH1_DERIVE, &parameters, sizeof parameters};
  Template data = DataObject("x");
  Template secret = SecretTemplate().With(CKA_VALUE_LEN, CK_ULONG{16});
  Template public_key = PublicTemplate();
  Template private_key = PrivateTemplate();
  EXPECT_RV(CKR_ARGUMENTS_BAD, P11().C_CreateObject(session_, data.data(), data.size(), nullptr));
  EXPECT_RV(CKR_ARGUMENTS_BAD, P11().C_CopyObject(session_, object_, nullptr, 0, nullptr));
  EXPECT_RV(CKR_ARGUMENTS_BAD,
            P11().C_GenerateKey(session_, &keygen, secret.data(), secret.size(), nullptr));
  EXPECT_RV(CKR_ARGUMENTS_BAD,
            P11().C_GenerateKeyPair(session_, &pair, public_key.data(), public_key.size(),
                                    private_key.data(), private_key.size(), nullptr, &handle));
  EXPECT_RV(CKR_ARGUMENTS_BAD,
            P11().C_GenerateKeyPair(session_, &pair, public_key.data(), public_key.size(),
                                    private_key.data(), private_key.size(), &handle, nullptr));
  EXPECT_RV(CKR_ARGUMENTS_BAD,
            P11().C_DeriveKey(session_, &derive, base_, secret.data(), secret.size(), nullptr));
}

TEST_F(BadInputTest, NullFindResults) {
  CK_OBJECT_HANDLE handle = 0;
  CK_ULONG count = 0;
  ASSERT_RV(CKR_OK, P11().C_FindObjectsInit(session_, nullptr, 0));
  EXPECT_RV(CKR_ARGUMENTS_BAD, P11().C_FindObjects(session_, nullptr, 1, &count));
  // §5.1: whether an error ended the search is not said for C_FindObjects.
  if (P11().C_FindObjectsFinal(session_) == CKR_OK) {
    ASSERT_RV(CKR_OK, P11().C_FindObjectsInit(session_, nullptr, 0));
  }
  EXPECT_RV_IN(P11().C_FindObjects(session_, &handle, 1, nullptr), CKR_ARGUMENTS_BAD,
               CKR_OPERATION_NOT_INITIALIZED);
  EXPECT_RV_IN(P11().C_FindObjectsFinal(session_), CKR_OK, CKR_OPERATION_NOT_INITIALIZED);
}

TEST_F(BadInputTest, NullMechanism) {
  CK_OBJECT_HANDLE handle = 0;
  CK_OBJECT_HANDLE other = 0;
  Template secret = SecretTemplate().With(CKA_VALUE_LEN, CK_ULONG{16});
  Template public_key = PublicTemplate();
  Template private_key = PrivateTemplate();
  EXPECT_RV(CKR_ARGUMENTS_BAD,
            P11().C_GenerateKey(session_, nullptr, secret.data(), secret.size(), &handle));
  EXPECT_RV(CKR_ARGUMENTS_BAD,
            P11().C_GenerateKeyPair(session_, nullptr, public_key.data(), public_key.size(),
                                    private_key.data(), private_key.size(), &handle, &other));
  EXPECT_RV(CKR_ARGUMENTS_BAD, DeriveWith(nullptr));
}

// An attribute whose value is absent but has a length.
TEST_F(BadInputTest, NullValueWithLength) {
  CK_OBJECT_CLASS object_class = CKO_DATA;
  CK_ATTRIBUTE attributes[] = {{CKA_CLASS, &object_class, sizeof object_class},
                               {CKA_LABEL, nullptr, 5}};
  EXPECT_RV_IN(CreateFrom(attributes, 2), CKR_ATTRIBUTE_VALUE_INVALID, CKR_ARGUMENTS_BAD);
  EXPECT_RV_IN(P11().C_SetAttributeValue(session_, object_, &attributes[1], 1),
               CKR_ATTRIBUTE_VALUE_INVALID, CKR_ARGUMENTS_BAD);
}

TEST_F(BadInputTest, FindNullValueWithLength) {
  CK_ATTRIBUTE attribute{CKA_LABEL, nullptr, 5};
  const CK_RV rv = P11().C_FindObjectsInit(session_, &attribute, 1);
  EXPECT_RV_IN(rv, CKR_ATTRIBUTE_VALUE_INVALID, CKR_ARGUMENTS_BAD);
  EXPECT_RV(rv == CKR_OK ? CKR_OK : CKR_OPERATION_NOT_INITIALIZED,
            P11().C_FindObjectsFinal(session_));
}

// Counts and lengths that no memory can hold: refused before they are believed.
TEST_F(BadInputTest, AbsurdCounts) {
  Template data = DataObject("x");
  CK_OBJECT_HANDLE handle = 0;
  CK_MECHANISM keygen{CKM_GENERIC_SECRET_KEY_GEN, nullptr, 0};
  CK_ECDH1_DERIVE_PARAMS parameters = GoodParameters();
  CK_MECHANISM derive{CKM_ECDH1_DERIVE, &parameters, sizeof parameters};
  for (const CK_ULONG count : {1UL << 60, ~0UL, 1UL << 32}) {
    CK_ATTRIBUTE* const attributes = data.data();
    EXPECT_RV_IN(CreateFrom(attributes, count), CKR_ARGUMENTS_BAD, CKR_HOST_MEMORY);
    EXPECT_RV_IN(P11().C_CopyObject(session_, object_, attributes, count, &handle),
                 CKR_ARGUMENTS_BAD, CKR_HOST_MEMORY);
    EXPECT_RV_IN(P11().C_SetAttributeValue(session_, object_, attributes, count), CKR_ARGUMENTS_BAD,
                 CKR_HOST_MEMORY);
    EXPECT_RV_IN(P11().C_GetAttributeValue(session_, object_, attributes, count), CKR_ARGUMENTS_BAD,
                 CKR_HOST_MEMORY);
    EXPECT_RV_IN(P11().C_FindObjectsInit(session_, attributes, count), CKR_ARGUMENTS_BAD,
                 CKR_HOST_MEMORY);
    EXPECT_RV_IN(P11().C_GenerateKey(session_, &keygen, attributes, count, &handle),
                 CKR_ARGUMENTS_BAD, CKR_HOST_MEMORY);
    EXPECT_RV_IN(DeriveWith(&derive, attributes, count), CKR_ARGUMENTS_BAD, CKR_HOST_MEMORY);
  }
}

TEST_F(BadInputTest, AbsurdValueLengths) {
  CK_OBJECT_CLASS object_class = CKO_DATA;
  CK_BYTE value[4] = {};
  for (const CK_ULONG length : {1UL << 60, ~0UL, ~0UL - 1}) {
    CK_ATTRIBUTE attributes[] = {{CKA_CLASS, &object_class, sizeof object_class},
                                 {CKA_VALUE, value, length}};
    EXPECT_RV_IN(CreateFrom(attributes, 2), CKR_ATTRIBUTE_VALUE_INVALID, CKR_ARGUMENTS_BAD,
                 CKR_HOST_MEMORY);
    EXPECT_RV_IN(P11().C_SetAttributeValue(session_, object_, &attributes[1], 1),
                 CKR_ATTRIBUTE_VALUE_INVALID, CKR_ARGUMENTS_BAD, CKR_HOST_MEMORY,
                 CKR_ATTRIBUTE_READ_ONLY);
  }
}

// Templates and their values at odd addresses are read as any other.
TEST_F(BadInputTest, UnalignedTemplate) {
  constexpr size_t kTemplate = 3 * sizeof(CK_ATTRIBUTE);
  Bytes storage(1 + kTemplate + sizeof(CK_ULONG), 0);
  CK_BYTE* const object_class = storage.data() + 1 + kTemplate;
  const CK_ULONG data = CKO_DATA;
  std::memcpy(object_class, &data, sizeof data);
  CK_BBOOL no = 0;
  CK_BYTE label[] = {'u', 'n'};
  const std::array<CK_ATTRIBUTE, 3> attributes{
      {{CKA_CLASS, object_class, sizeof data}, {CKA_PRIVATE, &no, 1}, {CKA_LABEL, label, 2}}};
  std::memcpy(storage.data() + 1, attributes.data(), kTemplate);
  CK_OBJECT_HANDLE handle = 0;
  ASSERT_RV(CKR_OK,
            P11().C_CreateObject(session_, reinterpret_cast<CK_ATTRIBUTE*>(storage.data() + 1),
                                 attributes.size(), &handle));
  EXPECT_EQ(ReadBytes(session_, handle, CKA_LABEL), ToBytes("un"));
  EXPECT_RV(CKR_OK, P11().C_DestroyObject(session_, handle));
}

// §4.1.1 rule 3: an attribute twice with different values; the same value twice is tolerable.
TEST_F(BadInputTest, ContradictoryAttributes) {
  EXPECT_RV(CKR_TEMPLATE_INCONSISTENT,
            CreateFrom(DataObject("one").Also(CKA_LABEL, ToBytes("two"))));
  EXPECT_RV(CKR_TEMPLATE_INCONSISTENT, CreateFrom(DataObject("x").Also(CKA_TOKEN, Bytes{1})));
  EXPECT_RV(CKR_TEMPLATE_INCONSISTENT,
            CreateFrom(DataObject("x").Also(CKA_CLASS, Template::Encode(CKO_SECRET_KEY))));
}

TEST_F(BadInputTest, DuplicateAttributes) {
  Template twice = DataObject("same").Also(CKA_LABEL, ToBytes("same"));
  CK_OBJECT_HANDLE handle = 0;
  const CK_RV rv = P11().C_CreateObject(session_, twice.data(), twice.size(), &handle);
  EXPECT_RV_IN(rv, CKR_OK, CKR_TEMPLATE_INCONSISTENT);
  if (rv != CKR_OK) return;
  EXPECT_EQ(ReadBytes(session_, handle, CKA_LABEL), ToBytes("same"));
  EXPECT_RV(CKR_OK, P11().C_DestroyObject(session_, handle));
}

// §4.1.1 rule 1: an attribute that is unknown, or not of this kind of object.
TEST_F(BadInputTest, UnknownAttributes) {
  for (const CK_ATTRIBUTE_TYPE type : {CKA_VENDOR_DEFINED | 0x77UL, 0x7fff0000UL}) {
    EXPECT_RV(CKR_ATTRIBUTE_TYPE_INVALID, CreateFrom(DataObject("x").With(type, "value")));
  }
  EXPECT_RV_IN(CreateFrom(DataObject("x").With(CKA_EC_POINT, "value")), CKR_ATTRIBUTE_TYPE_INVALID,
               CKR_TEMPLATE_INCONSISTENT);
  EXPECT_RV_IN(CreateFrom(SecretObject(Bytes(16, 1)).With(CKA_APPLICATION, "value")),
               CKR_ATTRIBUTE_TYPE_INVALID, CKR_TEMPLATE_INCONSISTENT);
}

// §4.1.1 rule 2: values of a length or content that the attribute cannot have.
TEST_F(BadInputTest, InvalidValues) {
  for (const Bytes& value : {Bytes(), Bytes{1, 1}, Bytes(8, 0)}) {
    EXPECT_RV(CKR_ATTRIBUTE_VALUE_INVALID, CreateFrom(DataObject("x").With(CKA_TOKEN, value)));
    EXPECT_RV(CKR_ATTRIBUTE_VALUE_INVALID, CreateFrom(DataObject("x").With(CKA_PRIVATE, value)));
  }
  for (const Bytes& value : {Bytes{0}, Bytes(7, 0), Bytes(9, 0)}) {
    EXPECT_RV_IN(CreateFrom(DataObject("x").With(CKA_CLASS, value)), CKR_ATTRIBUTE_VALUE_INVALID,
                 CKR_TEMPLATE_INCOMPLETE);
  }
}

TEST_F(BadInputTest, UnknownClassesAndTypes) {
  for (const CK_OBJECT_CLASS object_class : {0x77UL, CKO_VENDOR_DEFINED | 1UL, ~0UL}) {
    EXPECT_RV_IN(CreateFrom(DataObject("x").With(CKA_CLASS, object_class)),
                 CKR_ATTRIBUTE_VALUE_INVALID, CKR_TEMPLATE_INCONSISTENT);
  }
  for (const CK_KEY_TYPE type : {0x7777UL, CKK_VENDOR_DEFINED | 1UL, ~0UL}) {
    EXPECT_RV_IN(CreateFrom(SecretObject(Bytes(16, 1)).With(CKA_KEY_TYPE, type)),
                 CKR_ATTRIBUTE_VALUE_INVALID, CKR_TEMPLATE_INCONSISTENT);
  }
}

TEST_F(BadInputTest, EmptyTemplate) {
  CK_ATTRIBUTE unused{CKA_LABEL, nullptr, 0};
  EXPECT_RV(CKR_TEMPLATE_INCOMPLETE, CreateFrom(&unused, 0));
}

// §6.3: the parameter's size, and pointers inside it.
TEST_F(BadInputTest, DeriveParameterSizes) {
  CK_ECDH1_DERIVE_PARAMS parameters = GoodParameters();
  for (const CK_ULONG size :
       {0UL, 1UL, sizeof parameters - 1, sizeof parameters + 1, 1UL << 60, ~0UL}) {
    CK_MECHANISM mechanism{CKM_ECDH1_DERIVE, &parameters, size};
    EXPECT_RV(CKR_MECHANISM_PARAM_INVALID, DeriveWith(&mechanism)) << size;
  }
  CK_MECHANISM mechanism{CKM_ECDH1_DERIVE, nullptr, 0};
  EXPECT_RV(CKR_MECHANISM_PARAM_INVALID, DeriveWith(&mechanism));
}

TEST_F(BadInputTest, DeriveNullParameterWithSize) {
  CK_MECHANISM mechanism{CKM_ECDH1_DERIVE, nullptr, sizeof(CK_ECDH1_DERIVE_PARAMS)};
  EXPECT_RV_IN(DeriveWith(&mechanism), CKR_MECHANISM_PARAM_INVALID, CKR_ARGUMENTS_BAD);
}

TEST_F(BadInputTest, DeriveNullInside) {
  CK_ECDH1_DERIVE_PARAMS parameters = GoodParameters();
  CK_MECHANISM mechanism{CKM_ECDH1_DERIVE, &parameters, sizeof parameters};
  parameters.pPublicData = nullptr;
  EXPECT_RV_IN(DeriveWith(&mechanism), CKR_MECHANISM_PARAM_INVALID, CKR_ARGUMENTS_BAD);
  parameters = GoodParameters();
  parameters.kdf = CKD_SHA256_KDF;
  parameters.ulSharedDataLen = 8;
  EXPECT_RV_IN(DeriveWith(&mechanism), CKR_MECHANISM_PARAM_INVALID, CKR_ARGUMENTS_BAD);
}

TEST_F(BadInputTest, DeriveAbsurdLengthsInside) {
  for (const CK_ULONG length : {1UL << 60, ~0UL}) {
    CK_ECDH1_DERIVE_PARAMS parameters = GoodParameters();
    CK_MECHANISM mechanism{CKM_ECDH1_DERIVE, &parameters, sizeof parameters};
    parameters.ulPublicDataLen = length;
    EXPECT_RV_IN(DeriveWith(&mechanism), CKR_MECHANISM_PARAM_INVALID, CKR_PUBLIC_KEY_INVALID,
                 CKR_ARGUMENTS_BAD);
    Template secret = SecretTemplate().With(CKA_VALUE_LEN, CK_ULONG{32});
    parameters = GoodParameters();
    parameters.kdf = CKD_SHA256_KDF;
    parameters.pSharedData = peer_.data();
    parameters.ulSharedDataLen = length;
    EXPECT_RV_IN(DeriveWith(&mechanism, secret.data(), secret.size()), CKR_MECHANISM_PARAM_INVALID,
                 CKR_ARGUMENTS_BAD, CKR_HOST_MEMORY);
  }
}

// §6.3: the parameter may lie at any address.
TEST_F(BadInputTest, DeriveUnalignedParameter) {
  const CK_ECDH1_DERIVE_PARAMS parameters = GoodParameters();
  Bytes storage(sizeof parameters + 1);
  std::memcpy(storage.data() + 1, &parameters, sizeof parameters);
  CK_MECHANISM mechanism{CKM_ECDH1_DERIVE, storage.data() + 1, sizeof parameters};
  Template secret = SecretTemplate();
  CK_OBJECT_HANDLE handle = 0;
  ASSERT_RV(CKR_OK,
            P11().C_DeriveKey(session_, &mechanism, base_, secret.data(), secret.size(), &handle));
  EXPECT_EQ(ReadBytes(session_, handle, CKA_VALUE), ReferenceX25519(Bytes(32, 0x42), peer_));
  EXPECT_RV(CKR_OK, P11().C_DestroyObject(session_, handle));
}

TEST_F(BadInputTest, MechanismsOfOtherFunctions) {
  CK_ECDH1_DERIVE_PARAMS parameters = GoodParameters();
  for (const CK_MECHANISM_TYPE type :
       {X25519KeyPairMechanism(), CK_MECHANISM_TYPE{CKM_GENERIC_SECRET_KEY_GEN},
        CKM_VENDOR_DEFINED | 3UL, ~0UL}) {
    CK_MECHANISM mechanism{type, &parameters, sizeof parameters};
    EXPECT_RV(CKR_MECHANISM_INVALID, DeriveWith(&mechanism)) << "0x" << std::hex << type;
  }
}

TEST_F(BadInputTest, ObjectHandles) {
  CK_OBJECT_HANDLE handle = 0;
  Template label = Template().With(CKA_LABEL, "x");
  for (const CK_OBJECT_HANDLE bad :
       {CK_OBJECT_HANDLE{0}, object_ + 1000, CK_OBJECT_HANDLE{1} << 40, ~CK_OBJECT_HANDLE{0}}) {
    CK_ULONG size = 0;
    EXPECT_RV(CKR_OBJECT_HANDLE_INVALID,
              P11().C_CopyObject(session_, bad, label.data(), label.size(), &handle));
    EXPECT_RV(CKR_OBJECT_HANDLE_INVALID, P11().C_DestroyObject(session_, bad));
    EXPECT_RV(CKR_OBJECT_HANDLE_INVALID, P11().C_GetObjectSize(session_, bad, &size));
    EXPECT_RV(CKR_OBJECT_HANDLE_INVALID,
              P11().C_SetAttributeValue(session_, bad, label.data(), label.size()));
  }
}

// §4.8: parameters and points of other curves, or none, for an X25519 key.
TEST_F(BadInputTest, ImportParams) {
  const Template key = X25519PrivateKey(Bytes(32, 1));
  const auto with = [&](const char* hex) {
    return CreateFrom(Template(key).With(CKA_EC_PARAMS, FromHex(hex)));
  };
  EXPECT_RV(CKR_CURVE_NOT_SUPPORTED, with("06082a8648ce3d030107"));
  EXPECT_RV(CKR_CURVE_NOT_SUPPORTED, with("06032a0304"));
  for (const char* form : {"06", "0603", "06032b65", "06032b656e00", "0500", "ff", "3003060100"}) {
    EXPECT_RV_IN(with(form), CKR_DOMAIN_PARAMS_INVALID, CKR_ATTRIBUTE_VALUE_INVALID) << form;
  }
}

}  // namespace
}  // namespace secretmem::conformance
