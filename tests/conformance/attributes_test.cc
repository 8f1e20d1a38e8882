// C_GetAttributeValue and C_SetAttributeValue: PKCS#11 3.1 §5.7.5, §5.7.6, §4.1.2.
#include <array>
#include <cstring>
#include <vector>

#include "tests/conformance/fixtures.h"
#include "tests/conformance/x25519.h"

namespace secretmem::conformance {
namespace {

class GetAttributeTest : public UserTest {
 protected:
  void SetUp() override {
    UserTest::SetUp();
    if (HasFatalFailure()) return;
    data_ = Create(session_, DataObject("a label"));
    hidden_ = Create(session_, SecretObject(Bytes(16, 9)).With(CKA_SENSITIVE, true));
  }
  CK_RV Get(CK_OBJECT_HANDLE object, CK_ATTRIBUTE* attributes, CK_ULONG count) const {
    return P11().C_GetAttributeValue(session_, object, attributes, count);
  }
  CK_OBJECT_HANDLE data_ = 0;
  CK_OBJECT_HANDLE hidden_ = 0;
};

// §5.7.5 case 3: a NULL buffer asks for the length, whatever ulValueLen says.
TEST_F(GetAttributeTest, SizeQuery) {
  for (const CK_ULONG before : {CK_ULONG{0}, CK_ULONG{3}, ~CK_ULONG{0}}) {
    CK_ATTRIBUTE attribute{CKA_LABEL, nullptr, before};
    EXPECT_RV(CKR_OK, Get(data_, &attribute, 1));
    EXPECT_EQ(attribute.ulValueLen, 7U);
    EXPECT_EQ(attribute.pValue, nullptr);
    EXPECT_EQ(attribute.type, CKA_LABEL);
  }
}

// Cases 4 and 5: enough room, exact or more; the rest of the buffer is left alone.
TEST_F(GetAttributeTest, Room) {
  for (const CK_ULONG room : {CK_ULONG{7}, CK_ULONG{8}, CK_ULONG{100}}) {
    Bytes buffer(100, 0xee);
    CK_ATTRIBUTE attribute{CKA_LABEL, buffer.data(), room};
    EXPECT_RV(CKR_OK, Get(data_, &attribute, 1));
    EXPECT_EQ(attribute.ulValueLen, 7U);
    Bytes expected = ToBytes("a label");
    expected.resize(100, 0xee);
    EXPECT_EQ(buffer, expected);
  }
  for (const CK_ULONG room : {CK_ULONG{0}, CK_ULONG{1}, CK_ULONG{6}}) {
    Bytes buffer(100, 0xee);
    CK_ATTRIBUTE attribute{CKA_LABEL, buffer.data(), room};
    EXPECT_RV(CKR_BUFFER_TOO_SMALL, Get(data_, &attribute, 1));
    EXPECT_EQ(attribute.ulValueLen, CK_UNAVAILABLE_INFORMATION);
    EXPECT_EQ(buffer, Bytes(100, 0xee));
  }
}

// Case 2: an attribute that the object cannot have.
TEST_F(GetAttributeTest, UnknownType) {
  for (const CK_ATTRIBUTE_TYPE type : {CKA_EC_POINT, CKA_VENDOR_DEFINED | 0x1234UL}) {
    CK_BYTE buffer[8] = {};
    CK_ATTRIBUTE attribute{type, buffer, sizeof buffer};
    EXPECT_RV(CKR_ATTRIBUTE_TYPE_INVALID, Get(data_, &attribute, 1));
    EXPECT_EQ(attribute.ulValueLen, CK_UNAVAILABLE_INFORMATION);
    attribute = {type, nullptr, 0};
    EXPECT_RV(CKR_ATTRIBUTE_TYPE_INVALID, Get(data_, &attribute, 1));
    EXPECT_EQ(attribute.ulValueLen, CK_UNAVAILABLE_INFORMATION);
  }
}

// Case 1: a sensitive value, not even its length.
TEST_F(GetAttributeTest, Sensitive) {
  Bytes buffer(16, 0xee);
  CK_ATTRIBUTE attribute{CKA_VALUE, buffer.data(), buffer.size()};
  EXPECT_RV(CKR_ATTRIBUTE_SENSITIVE, Get(hidden_, &attribute, 1));
  EXPECT_EQ(attribute.ulValueLen, CK_UNAVAILABLE_INFORMATION);
  EXPECT_EQ(buffer, Bytes(16, 0xee));
  attribute = {CKA_VALUE, nullptr, 0};
  EXPECT_RV(CKR_ATTRIBUTE_SENSITIVE, Get(hidden_, &attribute, 1));
  EXPECT_EQ(attribute.ulValueLen, CK_UNAVAILABLE_INFORMATION);
}

// §5.7.5: an entry that fails does not end the call: those that can be answered are,
// before and after those that cannot.
TEST_F(GetAttributeTest, EveryEntryIsHandled) {
  CK_BYTE small[1] = {0xee};
  Bytes first(8, 0xee);
  Bytes last(8, 0xee);
  std::array<CK_ATTRIBUTE, 7> attributes{{{CKA_CLASS, first.data(), 8},
                                          {CKA_VALUE, small, 1},
                                          {CKA_KEY_TYPE, small, 1},
                                          {CKA_EC_POINT, small, 1},
                                          {CKA_VALUE_LEN, nullptr, 0},
                                          {CKA_VENDOR_DEFINED | 7UL, nullptr, 0},
                                          {CKA_KEY_TYPE, last.data(), 8}}};
  EXPECT_RV_IN(Get(hidden_, attributes.data(), attributes.size()), CKR_ATTRIBUTE_SENSITIVE,
               CKR_ATTRIBUTE_TYPE_INVALID, CKR_BUFFER_TOO_SMALL);
  const std::array<CK_ULONG, 7> lengths{8,
                                        CK_UNAVAILABLE_INFORMATION,
                                        CK_UNAVAILABLE_INFORMATION,
                                        CK_UNAVAILABLE_INFORMATION,
                                        8,
                                        CK_UNAVAILABLE_INFORMATION,
                                        8};
  for (size_t i = 0; i < lengths.size(); ++i) EXPECT_EQ(attributes[i].ulValueLen, lengths[i]) << i;
  EXPECT_EQ(first, Template::Encode(CKO_SECRET_KEY));
  EXPECT_EQ(last, Template::Encode(CKK_GENERIC_SECRET));
  EXPECT_EQ(small[0], 0xee);
}

TEST_F(GetAttributeTest, SameTypeTwice) {
  Bytes one(8, 0xee);
  Bytes two(8, 0xee);
  CK_ATTRIBUTE attributes[] = {{CKA_CLASS, one.data(), 8}, {CKA_CLASS, two.data(), 8}};
  EXPECT_RV(CKR_OK, Get(data_, attributes, 2));
  EXPECT_EQ(one, Template::Encode(CKO_DATA));
  EXPECT_EQ(two, one);
}

// An unaligned buffer is as good as any.
TEST_F(GetAttributeTest, UnalignedBuffer) {
  Bytes buffer(16, 0xee);
  CK_ATTRIBUTE attribute{CKA_CLASS, buffer.data() + 1, 8};
  EXPECT_RV(CKR_OK, Get(data_, &attribute, 1));
  EXPECT_EQ(Bytes(buffer.begin() + 1, buffer.begin() + 9), Template::Encode(CKO_DATA));
  EXPECT_EQ(buffer[0], 0xee);
  EXPECT_EQ(buffer[9], 0xee);
}

// §5.7.5: an attribute that is a template is read as one, entry by entry, buffers and all.
TEST_F(GetAttributeTest, TemplatesInside) {
  CK_OBJECT_CLASS object_class = CKO_SECRET_KEY;
  CK_BBOOL yes = CK_TRUE;
  CK_ATTRIBUTE given[] = {{CKA_CLASS, &object_class, sizeof object_class},
                          {CKA_EXTRACTABLE, &yes, sizeof yes}};
  Bytes as_bytes(sizeof given);
  std::memcpy(as_bytes.data(), given, sizeof given);
  const CK_OBJECT_HANDLE key =
      Create(session_, SecretObject(Bytes(16, 1)).With(CKA_UNWRAP_TEMPLATE, as_bytes));
  CK_ATTRIBUTE outer{CKA_UNWRAP_TEMPLATE, nullptr, 0};
  ASSERT_RV(CKR_OK, P11().C_GetAttributeValue(session_, key, &outer, 1));
  ASSERT_EQ(outer.ulValueLen, sizeof given);
  // Without buffers inside: types and lengths.
  CK_ATTRIBUTE inner[2] = {};
  outer.pValue = inner;
  ASSERT_RV(CKR_OK, P11().C_GetAttributeValue(session_, key, &outer, 1));
  ASSERT_EQ(outer.ulValueLen, sizeof given);
  Bytes values[2];
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_TRUE(inner[i].type == CKA_CLASS || inner[i].type == CKA_EXTRACTABLE);
    EXPECT_EQ(inner[i].ulValueLen, inner[i].type == CKA_CLASS ? sizeof object_class : sizeof yes);
    values[i].resize(inner[i].ulValueLen);
    inner[i].pValue = values[i].data();
  }
  EXPECT_NE(inner[0].type, inner[1].type);
  ASSERT_RV(CKR_OK, P11().C_GetAttributeValue(session_, key, &outer, 1));
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(values[i],
              inner[i].type == CKA_CLASS ? Template::Encode(CKO_SECRET_KEY) : Bytes{CK_TRUE});
  }
  // One buffer inside is too short; and then the whole.
  inner[0].ulValueLen = 0;
  EXPECT_RV(CKR_BUFFER_TOO_SMALL, P11().C_GetAttributeValue(session_, key, &outer, 1));
  EXPECT_EQ(inner[0].ulValueLen, CK_UNAVAILABLE_INFORMATION);
  outer.ulValueLen = sizeof given - 1;
  EXPECT_RV(CKR_BUFFER_TOO_SMALL, P11().C_GetAttributeValue(session_, key, &outer, 1));
  EXPECT_EQ(outer.ulValueLen, CK_UNAVAILABLE_INFORMATION);
}

TEST_F(GetAttributeTest, Handles) {
  for (const CK_OBJECT_HANDLE object :
       {CK_OBJECT_HANDLE{0}, hidden_ + 1000, ~CK_OBJECT_HANDLE{0}}) {
    CK_BYTE byte = 0xee;
    CK_ATTRIBUTE attribute{CKA_TOKEN, &byte, 1};
    EXPECT_RV(CKR_OBJECT_HANDLE_INVALID, Get(object, &attribute, 1));
    EXPECT_EQ(attribute.ulValueLen, 1U);
    EXPECT_EQ(byte, 0xee);
  }
}

class SetAttributeTest : public UserTest {
 protected:
  static CK_RV Set(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, Template changes) {
    return P11().C_SetAttributeValue(session, object, changes.data(), changes.size());
  }
  CK_RV Set(CK_OBJECT_HANDLE object, const Template& changes) const {
    return Set(session_, object, changes);
  }
};

TEST_F(SetAttributeTest, SessionAndTokenObjects) {
  for (const bool token : {false, true}) {
    const CK_OBJECT_HANDLE object =
        Create(session_, SecretObject(Bytes(16, 1)).With(CKA_TOKEN, token));
    EXPECT_RV(CKR_OK, Set(object, Template().With(CKA_LABEL, "new").With(CKA_ID, "id")));
    EXPECT_EQ(ReadBytes(session_, object, CKA_LABEL), ToBytes("new"));
    EXPECT_EQ(ReadBytes(session_, object, CKA_ID), ToBytes("id"));
    EXPECT_RV(CKR_OK, Set(object, Template().With(CKA_LABEL, "")));
    EXPECT_EQ(ReadBytes(session_, object, CKA_LABEL), Bytes());
    EXPECT_EQ(ReadBytes(session_, object, CKA_ID), ToBytes("id"));
  }
  ASSERT_NO_FATAL_FAILURE(Reinitialise());
  EXPECT_EQ(FindAll(Open(kReadOnly), Template().With(CKA_ID, "id")).size(), 1U);
}

// §5.7.6: a token object changes only in a read/write session; a session object in either.
TEST_F(SetAttributeTest, ReadOnlySession) {
  const CK_SESSION_HANDLE read_only = Open(kReadOnly);
  const CK_OBJECT_HANDLE token = Create(session_, DataObject("token").With(CKA_TOKEN, true));
  EXPECT_RV(CKR_SESSION_READ_ONLY, Set(read_only, token, Template().With(CKA_LABEL, "x")));
  EXPECT_EQ(ReadBytes(session_, token, CKA_LABEL), ToBytes("token"));
  const CK_OBJECT_HANDLE object = Create(session_, DataObject("object"));
  EXPECT_RV(CKR_OK, Set(read_only, object, Template().With(CKA_LABEL, "x")));
  EXPECT_EQ(ReadBytes(session_, object, CKA_LABEL), ToBytes("x"));
}

// §4.4: CKA_MODIFIABLE false forbids every change, and cannot be changed itself.
TEST_F(SetAttributeTest, NotModifiable) {
  const CK_OBJECT_HANDLE object = Create(session_, DataObject("fixed").With(CKA_MODIFIABLE, false));
  EXPECT_RV(CKR_ACTION_PROHIBITED, Set(object, Template().With(CKA_LABEL, "x")));
  EXPECT_RV(CKR_ACTION_PROHIBITED, Set(object, Template().With(CKA_MODIFIABLE, true)));
  EXPECT_EQ(ReadBytes(session_, object, CKA_LABEL), ToBytes("fixed"));
  EXPECT_FALSE(ReadBool(session_, object, CKA_MODIFIABLE));
}

// The tables of §4: attributes fixed once the object exists.
TEST_F(SetAttributeTest, ReadOnlyAttributes) {
  const CK_OBJECT_HANDLE secret = Create(session_, SecretObject(Bytes(16, 1)));
  const std::vector<Template> changes = {
      Template().With(CKA_CLASS, CKO_DATA),
      Template().With(CKA_KEY_TYPE, CKK_AES),
      Template().With(CKA_TOKEN, true),
      Template().With(CKA_PRIVATE, true),
      Template().With(CKA_MODIFIABLE, false),
      Template().With(CKA_VALUE, Bytes(16, 2)),
      Template().With(CKA_VALUE_LEN, CK_ULONG{8}),
      Template().With(CKA_LOCAL, true),
      Template().With(CKA_ALWAYS_SENSITIVE, true),
      Template().With(CKA_NEVER_EXTRACTABLE, true),
      Template().With(CKA_KEY_GEN_MECHANISM, CKM_GENERIC_SECRET_KEY_GEN),
  };
  for (size_t i = 0; i < changes.size(); ++i) {
    EXPECT_RV(CKR_ATTRIBUTE_READ_ONLY, Set(secret, changes[i])) << "change " << i;
  }
  EXPECT_EQ(ReadBytes(session_, secret, CKA_VALUE), Bytes(16, 1));
  EXPECT_EQ(ReadUlong(session_, secret, CKA_CLASS), CKO_SECRET_KEY);
  EXPECT_FALSE(ReadBool(session_, secret, CKA_TOKEN));
}

TEST_F(SetAttributeTest, UniqueIdIsReadOnly) {
  const CK_OBJECT_HANDLE object = Create(session_, DataObject("x"));
  const Bytes id = ReadBytes(session_, object, CKA_UNIQUE_ID);
  EXPECT_RV(CKR_ATTRIBUTE_READ_ONLY, Set(object, Template().With(CKA_UNIQUE_ID, "mine")));
  EXPECT_EQ(ReadBytes(session_, object, CKA_UNIQUE_ID), id);
}

// §4.9, §4.10: CKA_SENSITIVE goes on, CKA_EXTRACTABLE off, CKA_WRAP_WITH_TRUSTED on; never back.
TEST_F(SetAttributeTest, OneWay) {
  struct Way {
    CK_ATTRIBUTE_TYPE type;
    bool end;
  };
  for (const Way way :
       {Way{CKA_SENSITIVE, true}, Way{CKA_EXTRACTABLE, false}, Way{CKA_WRAP_WITH_TRUSTED, true}}) {
    for (const Template& kind :
         {SecretObject(Bytes(16, 1)), X25519PrivateKey(ReferenceRandom(32))}) {
      SCOPED_TRACE(way.type);
      const CK_OBJECT_HANDLE object = Create(session_, kind);
      ASSERT_EQ(ReadBool(session_, object, way.type), !way.end);
      EXPECT_RV(CKR_OK, Set(object, Template().With(way.type, way.end)));
      EXPECT_EQ(ReadBool(session_, object, way.type), way.end);
      // From then on it is read-only: there is no setting it to what it is either.
      EXPECT_RV(CKR_ATTRIBUTE_READ_ONLY, Set(object, Template().With(way.type, !way.end)));
      EXPECT_RV(CKR_ATTRIBUTE_READ_ONLY, Set(object, Template().With(way.type, way.end)));
      EXPECT_EQ(ReadBool(session_, object, way.type), way.end);
    }
  }
}

// The history flags do not follow: the value was open once.
TEST_F(SetAttributeTest, HistoryStays) {
  const CK_OBJECT_HANDLE object = Create(session_, SecretObject(Bytes(16, 1)));
  ASSERT_RV(CKR_OK, Set(object, Template().With(CKA_SENSITIVE, true).With(CKA_EXTRACTABLE, false)));
  EXPECT_FALSE(ReadBool(session_, object, CKA_ALWAYS_SENSITIVE));
  EXPECT_FALSE(ReadBool(session_, object, CKA_NEVER_EXTRACTABLE));
  EXPECT_RV(CKR_ATTRIBUTE_SENSITIVE, ReadAttribute(session_, object, CKA_VALUE).rv);
}

// §4.1.2: all of the template or nothing.
TEST_F(SetAttributeTest, AllOrNothing) {
  const CK_OBJECT_HANDLE object = Create(session_, SecretObject(Bytes(16, 1)).With(CKA_LABEL, "a"));
  EXPECT_RV(CKR_ATTRIBUTE_READ_ONLY,
            Set(object, Template().With(CKA_LABEL, "b").With(CKA_CLASS, CKO_DATA)));
  EXPECT_EQ(ReadBytes(session_, object, CKA_LABEL), ToBytes("a"));
  EXPECT_RV_IN(Set(object, Template().With(CKA_LABEL, "b").With(CKA_VENDOR_DEFINED | 9UL, "x")),
               CKR_ATTRIBUTE_TYPE_INVALID, CKR_TEMPLATE_INCONSISTENT);
  EXPECT_EQ(ReadBytes(session_, object, CKA_LABEL), ToBytes("a"));
}

// §5.7.6: CKR_ATTRIBUTE_VALUE_INVALID for values that no such attribute can have.
TEST_F(SetAttributeTest, InvalidValues) {
  const CK_OBJECT_HANDLE object = Create(session_, SecretObject(Bytes(16, 1)));
  for (const Bytes& value : {Bytes(), Bytes(2, 1), Bytes(8, 1)}) {
    EXPECT_RV(CKR_ATTRIBUTE_VALUE_INVALID, Set(object, Template().With(CKA_DERIVE, value)));
  }
}

// The usage flags of a key may be changed (§4.7 to §4.10, footnote 8), and the change counts.
TEST_F(SetAttributeTest, UsageCounts) {
  const CK_OBJECT_HANDLE key = Create(session_, X25519PrivateKey(ReferenceRandom(32)));
  const Bytes peer = ReferencePublicKey(ReferenceRandom(32));
  const Derivation derivation{.base = key, .peer = peer, .key = SecretTemplate()};
  EXPECT_EQ(DeriveValue(session_, derivation).size(), 32U);
  ASSERT_RV(CKR_OK, Set(key, Template().With(CKA_DERIVE, false)));
  CK_OBJECT_HANDLE secret = 0;
  EXPECT_RV(CKR_KEY_FUNCTION_NOT_PERMITTED, Derive(session_, derivation, secret));
  ASSERT_RV(CKR_OK, Set(key, Template().With(CKA_DERIVE, true)));
  EXPECT_RV(CKR_OK, Derive(session_, derivation, secret));
}

}  // namespace
}  // namespace secretmem::conformance
