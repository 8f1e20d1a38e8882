#include "pkcs11/template_reader.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "pkcs11/attribute_set.h"

namespace secretmem {
namespace {

using Bytes = std::vector<uint8_t>;
using Contents = std::vector<std::pair<CK_ATTRIBUTE_TYPE, Bytes>>;

Contents ContentsOf(const TemplateReader& reader) {
  Contents contents;
  for (const TemplateEntry& entry : reader.entries()) {
    contents.emplace_back(entry.type, Bytes(entry.value.begin(), entry.value.end()));
  }
  return contents;
}

CK_RV ErrorOf(const CK_ATTRIBUTE* attributes, CK_ULONG count) {
  const auto reader = TemplateReader::Read(attributes, count);
  return reader ? CKR_OK : reader.error();
}

CK_ATTRIBUTE Attribute(CK_ATTRIBUTE_TYPE type, Bytes& value) {
  return {type, value.data(), value.size()};
}

TEST(TemplateReaderTest, ReadsSortedWithoutCopying) {
  Bytes label = {'x', 'y'};
  CK_ULONG key_type = CKK_AES;
  CK_BBOOL token = CK_TRUE;
  CK_ATTRIBUTE attributes[] = {{CKA_KEY_TYPE, &key_type, sizeof(key_type)},
                               Attribute(CKA_LABEL, label),
                               {CKA_TOKEN, &token, sizeof(token)},
                               {CKA_ID, nullptr, 0}};
  const auto reader = TemplateReader::Read(attributes, 4);
  ASSERT_TRUE(reader);
  EXPECT_EQ(ContentsOf(*reader), (Contents{{CKA_TOKEN, {1}},
                                           {CKA_LABEL, {'x', 'y'}},
                                           {CKA_KEY_TYPE, {0x1f, 0, 0, 0, 0, 0, 0, 0}},
                                           {CKA_ID, {}}}));
  EXPECT_EQ(reader->Get(CKA_LABEL)->data(), label.data());
  EXPECT_TRUE(reader->Has(CKA_ID));
  EXPECT_FALSE(reader->Has(CKA_CLASS));
  EXPECT_FALSE(reader->empty());
}

TEST(TemplateReaderTest, EmptyTemplates) {
  CK_ATTRIBUTE unused = {};
  for (const CK_ATTRIBUTE* attributes :
       {static_cast<const CK_ATTRIBUTE*>(nullptr), static_cast<const CK_ATTRIBUTE*>(&unused)}) {
    const auto reader = TemplateReader::Read(attributes, 0);
    ASSERT_TRUE(reader);
    EXPECT_TRUE(reader->empty());
  }
}

TEST(TemplateReaderTest, AbsurdCountsTouchNoMemory) {
  // An address that faults when it is read.
  const auto* wild = reinterpret_cast<const CK_ATTRIBUTE*>(uintptr_t{16});
  for (const CK_ULONG count :
       {TemplateReader::kMaxAttributes + 1, CK_ULONG{1} << 60, ~CK_ULONG{0}}) {
    EXPECT_EQ(ErrorOf(wild, count), CKR_ARGUMENTS_BAD) << count;
  }
  EXPECT_EQ(ErrorOf(nullptr, 1), CKR_ARGUMENTS_BAD);
}

TEST(TemplateReaderTest, TheLargestCountIsRead) {
  std::vector<CK_ATTRIBUTE> attributes;
  for (CK_ULONG i = 0; i < TemplateReader::kMaxAttributes; ++i) {
    attributes.push_back({TemplateReader::kMaxAttributes - i, nullptr, 0});
  }
  const auto reader = TemplateReader::Read(attributes.data(), attributes.size());
  ASSERT_TRUE(reader);
  EXPECT_EQ(reader->entries().size(), attributes.size());
  EXPECT_EQ(reader->entries().front().type, 1u);
}

TEST(TemplateReaderTest, BadValuePointersAndLengths) {
  uint8_t byte = 0;
  for (const CK_ATTRIBUTE& bad : {CK_ATTRIBUTE{CKA_LABEL, nullptr, 1},
                                  CK_ATTRIBUTE{CKA_LABEL, &byte, CK_UNAVAILABLE_INFORMATION},
                                  CK_ATTRIBUTE{CKA_LABEL, nullptr, CK_UNAVAILABLE_INFORMATION},
                                  CK_ATTRIBUTE{CKA_LABEL, &byte, AttributeSet::kMaxValueSize + 1},
                                  CK_ATTRIBUTE{CKA_LABEL, &byte, CK_ULONG{1} << 60}}) {
    EXPECT_EQ(ErrorOf(&bad, 1), CKR_ATTRIBUTE_VALUE_INVALID) << bad.ulValueLen;
  }
}

TEST(TemplateReaderTest, DuplicatesMustAgree) {
  Bytes a = {1, 2, 3};
  Bytes same = {1, 2, 3};
  Bytes other = {1, 2, 4};
  Bytes shorter = {1, 2};
  CK_ATTRIBUTE agreeing[] = {Attribute(CKA_VALUE, a), Attribute(CKA_ID, other),
                             Attribute(CKA_VALUE, same), Attribute(CKA_VALUE, a)};
  const auto reader = TemplateReader::Read(agreeing, 4);
  ASSERT_TRUE(reader);
  EXPECT_EQ(ContentsOf(*reader), (Contents{{CKA_VALUE, a}, {CKA_ID, other}}));
  for (Bytes* contradiction : {&other, &shorter}) {
    CK_ATTRIBUTE bad[] = {Attribute(CKA_VALUE, a), Attribute(CKA_ID, a), Attribute(CKA_VALUE, same),
                          Attribute(CKA_VALUE, *contradiction)};
    EXPECT_EQ(ErrorOf(bad, 4), CKR_TEMPLATE_INCONSISTENT);
  }
}

TEST(TemplateReaderTest, UnalignedArraysAndValues) {
  alignas(8) uint8_t values[32] = {};
  const CK_ULONG number = 0x1122334455667788;
  std::memcpy(values + 1, &number, sizeof(number));
  values[9] = CK_TRUE;
  const CK_ATTRIBUTE attributes[] = {{CKA_VALUE_LEN, values + 1, sizeof(number)},
                                     {CKA_TOKEN, values + 9, 1}};
  for (size_t shift = 0; shift < 8; ++shift) {
    alignas(8) uint8_t memory[sizeof(attributes) + 8];
    std::memcpy(memory + shift, attributes, sizeof(attributes));
    // Only the address is made here; it is the caller's fault and none of ours that it is odd.
    const CK_ATTRIBUTE* unaligned;
    const uint8_t* address = memory + shift;
    std::memcpy(&unaligned, &address, sizeof(address));
    const auto reader = TemplateReader::Read(unaligned, 2);
    ASSERT_TRUE(reader);
    EXPECT_EQ(reader->GetUlong(CKA_VALUE_LEN).value(), number);
    EXPECT_EQ(reader->GetBool(CKA_TOKEN).value(), true);
  }
}

TEST(TemplateReaderTest, TypedGettersCheckTheForm) {
  struct Case {
    Bytes value;
    std::optional<bool> as_bool;
    bool is_ulong, is_date, is_mechanisms;
  };
  const Case cases[] = {
      {{}, std::nullopt, false, true, true},
      {{0}, false, false, false, false},
      {{1}, true, false, false, false},
      {{2}, std::nullopt, false, false, false},
      {{0xff}, std::nullopt, false, false, false},
      {{1, 0}, std::nullopt, false, false, false},
      {{1, 0, 0, 0}, std::nullopt, false, false, false},
      {Bytes(7, '1'), std::nullopt, false, false, false},
      {Bytes(8, '1'), std::nullopt, true, true, true},
      {{'2', '0', '2', '6', '0', '1', '3', '/'}, std::nullopt, true, false, true},
      {{'2', '0', '2', '6', '0', '1', '3', ':'}, std::nullopt, true, false, true},
      {Bytes(9, '1'), std::nullopt, false, false, false},
      {Bytes(16, '1'), std::nullopt, false, false, true},
  };
  for (const Case& c : cases) {
    Bytes value = c.value;
    const CK_ATTRIBUTE attribute = Attribute(CKA_START_DATE, value);
    const auto reader = TemplateReader::Read(&attribute, 1);
    ASSERT_TRUE(reader);
    const auto as_bool = reader->GetBool(CKA_START_DATE);
    const auto as_ulong = reader->GetUlong(CKA_START_DATE);
    const auto as_date = reader->GetDate(CKA_START_DATE);
    const auto as_mechanisms = reader->GetMechanisms(CKA_START_DATE);
    const std::string name = ::testing::PrintToString(c.value);
    ASSERT_EQ(as_bool.has_value(), c.as_bool.has_value()) << name;
    ASSERT_EQ(as_ulong.has_value(), c.is_ulong) << name;
    ASSERT_EQ(as_date.has_value(), c.is_date) << name;
    ASSERT_EQ(as_mechanisms.has_value(), c.is_mechanisms) << name;
    if (as_bool) {
      EXPECT_EQ(*as_bool, c.as_bool);
    } else {
      EXPECT_EQ(as_bool.error(), CKR_ATTRIBUTE_VALUE_INVALID);
    }
    if (as_mechanisms) {
      EXPECT_EQ((*as_mechanisms)->size(), value.size() / 8);
    } else {
      EXPECT_EQ(as_mechanisms.error(), CKR_ATTRIBUTE_VALUE_INVALID);
    }
    if (!as_ulong) {
      EXPECT_EQ(as_ulong.error(), CKR_ATTRIBUTE_VALUE_INVALID);
    }
    if (!as_date) {
      EXPECT_EQ(as_date.error(), CKR_ATTRIBUTE_VALUE_INVALID);
    }
  }
}

TEST(TemplateReaderTest, AbsentAttributesAreNoError) {
  const TemplateReader reader;
  EXPECT_FALSE(reader.GetBool(CKA_TOKEN)->has_value());
  EXPECT_FALSE(reader.GetUlong(CKA_CLASS)->has_value());
  EXPECT_FALSE(reader.GetDate(CKA_START_DATE)->has_value());
  EXPECT_FALSE(reader.GetMechanisms(CKA_ALLOWED_MECHANISMS)->has_value());
  EXPECT_FALSE(reader.GetTemplate(CKA_WRAP_TEMPLATE)->has_value());
}

CK_RV TemplateErrorOf(const CK_ATTRIBUTE& attribute) {
  const auto reader = TemplateReader::Read(&attribute, 1);
  if (!reader) return CKR_GENERAL_ERROR;
  const auto nested = reader->GetTemplate(attribute.type);
  return nested ? CKR_OK : nested.error();
}

TEST(TemplateReaderTest, NestedTemplates) {
  CK_BBOOL yes = CK_TRUE;
  CK_BBOOL no = CK_FALSE;
  CK_ATTRIBUTE inner[] = {{CKA_SENSITIVE, &yes, 1}, {CKA_EXTRACTABLE, &no, 1}};
  const CK_ATTRIBUTE outer = {CKA_DERIVE_TEMPLATE, inner, sizeof(inner)};
  const auto reader = TemplateReader::Read(&outer, 1);
  ASSERT_TRUE(reader);
  const auto nested = reader->GetTemplate(CKA_DERIVE_TEMPLATE);
  ASSERT_TRUE(nested && *nested);
  EXPECT_EQ(ContentsOf(**nested), (Contents{{CKA_SENSITIVE, {1}}, {CKA_EXTRACTABLE, {0}}}));

  EXPECT_EQ(TemplateErrorOf({CKA_DERIVE_TEMPLATE, nullptr, 0}), CKR_OK);
  for (CK_ULONG size = 1; size < sizeof(inner); ++size) {
    EXPECT_EQ(TemplateErrorOf({CKA_DERIVE_TEMPLATE, inner, size}),
              size == sizeof(CK_ATTRIBUTE) ? CKR_OK : CKR_ATTRIBUTE_VALUE_INVALID);
  }
  inner[1] = {CKA_SENSITIVE, &no, 1};
  EXPECT_EQ(TemplateErrorOf(outer), CKR_TEMPLATE_INCONSISTENT);
  inner[1] = {CKA_LABEL, nullptr, 1};
  EXPECT_EQ(TemplateErrorOf(outer), CKR_ATTRIBUTE_VALUE_INVALID);
  std::vector<CK_ATTRIBUTE> many(TemplateReader::kMaxAttributes + 1);
  EXPECT_EQ(TemplateErrorOf({CKA_DERIVE_TEMPLATE, many.data(), many.size() * sizeof(many[0])}),
            CKR_ATTRIBUTE_VALUE_INVALID);
}

TEST(TemplateReaderTest, NestingHasALimit) {
  // A template that contains itself.
  CK_ATTRIBUTE self = {CKA_DERIVE_TEMPLATE, &self, sizeof(self)};
  auto reader = TemplateReader::Read(&self, 1);
  ASSERT_TRUE(reader);
  for (int depth = 0; depth < TemplateReader::kMaxDepth; ++depth) {
    auto nested = reader->GetTemplate(CKA_DERIVE_TEMPLATE);
    ASSERT_TRUE(nested && *nested) << depth;
    reader = std::move(**nested);
  }
  const auto beyond = reader->GetTemplate(CKA_DERIVE_TEMPLATE);
  ASSERT_FALSE(beyond);
  EXPECT_EQ(beyond.error(), CKR_ATTRIBUTE_VALUE_INVALID);
}

}  // namespace
}  // namespace secretmem
