#include "pkcs11/attribute_set.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <stdexcept>
#include <string_view>
#include <utility>
#include <vector>

#include "mechanisms/vendor.h"

namespace secretmem {
namespace {

using Bytes = std::vector<uint8_t>;
using Contents = std::vector<std::pair<CK_ATTRIBUTE_TYPE, Bytes>>;

Bytes BytesOf(std::string_view text) { return Bytes(text.begin(), text.end()); }

Contents ContentsOf(const AttributeSet& set) {
  Contents contents;
  set.ForEach([&](CK_ATTRIBUTE_TYPE type, std::span<const uint8_t> value) {
    contents.emplace_back(type, Bytes(value.begin(), value.end()));
  });
  return contents;
}

// What an X25519 private key on a token has, in no particular order.
AttributeSet MontgomeryPrivateKey() {
  AttributeSet set;
  set.SetUlong(CKA_KEY_TYPE, CKK_EC_MONTGOMERY);
  set.SetUlong(CKA_CLASS, CKO_PRIVATE_KEY);
  set.SetBytes(CKA_LABEL, BytesOf("a label of thirty-two characters"));
  set.SetBytes(CKA_ID, Bytes(20, 0xab));
  set.SetBytes(CKA_UNIQUE_ID, BytesOf("3b4e9d0a-5f6c-4a58-9d0e-0c2f6e1b7a90"));
  set.SetBytes(CKA_EC_PARAMS, Bytes{0x06, 0x03, 0x2b, 0x65, 0x6e});
  set.SetBytes(CKA_PUBLIC_KEY_INFO, Bytes(44, 0x30));
  set.SetUlong(CKA_KEY_GEN_MECHANISM, CKM_EC_MONTGOMERY_KEY_PAIR_GEN);
  set.SetBytes(CKA_SECRETMEM_PROTECTION, BytesOf("memfd_secret"));
  for (const CK_ATTRIBUTE_TYPE type :
       {CKA_SUBJECT, CKA_START_DATE, CKA_END_DATE, CKA_UNWRAP_TEMPLATE, CKA_DERIVE_TEMPLATE,
        CKA_DECAPSULATE_TEMPLATE, CKA_ALLOWED_MECHANISMS}) {
    set.SetBytes(type, {});
  }
  for (const CK_ATTRIBUTE_TYPE type : {CKA_TOKEN, CKA_PRIVATE, CKA_SENSITIVE, CKA_SIGN, CKA_DERIVE,
                                       CKA_LOCAL, CKA_NEVER_EXTRACTABLE, CKA_ALWAYS_SENSITIVE,
                                       CKA_MODIFIABLE, CKA_COPYABLE, CKA_DESTROYABLE}) {
    set.SetBool(type, true);
  }
  for (const CK_ATTRIBUTE_TYPE type :
       {CKA_DECRYPT, CKA_UNWRAP, CKA_SIGN_RECOVER, CKA_EXTRACTABLE, CKA_ALWAYS_AUTHENTICATE,
        CKA_WRAP_WITH_TRUSTED, CKA_DECAPSULATE}) {
    set.SetBool(type, false);
  }
  set.ShrinkToFit();
  return set;
}

// An Appender gives the set that the setters give, whatever the order.
TEST(AttributeSetTest, AppenderFillsAsTheSettersDo) {
  const auto fill = [](auto& set, const std::vector<CK_ATTRIBUTE_TYPE>& labels) {
    set.SetUlong(CKA_CLASS, CKO_PRIVATE_KEY);
    set.SetBool(CKA_TOKEN, true);
    for (const CK_ATTRIBUTE_TYPE type : labels) {
      set.SetBytes(type, Bytes{static_cast<uint8_t>(type)});
    }
    set.SetUlong(CKA_KEY_TYPE, CKK_EC_MONTGOMERY);
    set.SetBytes(CKA_SENSITIVE, Bytes{1});
    set.SetBytes(CKA_ID, Bytes{1, 2, 3});
  };
  const std::vector<std::vector<CK_ATTRIBUTE_TYPE>> orders = {
      {CKA_LABEL, CKA_UNIQUE_ID}, {CKA_UNIQUE_ID, CKA_LABEL}, {CKA_EC_PARAMS, CKA_LABEL, CKA_ID}};
  for (const auto& order : orders) {
    AttributeSet by_setters, appended;
    AttributeSet::Appender appender(appended, CKO_PRIVATE_KEY, CKK_EC_MONTGOMERY);
    fill(by_setters, order);
    fill(appender, order);
    EXPECT_EQ(appended.Serialize(), by_setters.Serialize());
  }
}

TEST(AttributeSetTest, AppenderRefusesWhatTheSettersRefuse) {
  AttributeSet set;
  AttributeSet::Appender key(set, CKO_SECRET_KEY, CKK_AES);
  key.SetUlong(CKA_CLASS, CKO_SECRET_KEY);
  key.SetUlong(CKA_KEY_TYPE, CKK_AES);
  EXPECT_THROW(key.SetBytes(CKA_VALUE, Bytes(32)), std::invalid_argument);
  EXPECT_THROW(key.SetBytes(CKA_TOKEN, Bytes{2}), std::invalid_argument);
  EXPECT_THROW(key.SetBytes(CK_ATTRIBUTE_TYPE{1} << 32, {}), std::length_error);
  EXPECT_THROW(key.SetBytes(CKA_SUBJECT, Bytes(AttributeSet::kMaxValueSize + 1)),
               std::length_error);
  EXPECT_EQ(set.size(), 2u);

  // A class that is not the announced one is looked at together with what is there.
  AttributeSet data;
  AttributeSet::Appender changed(data, CKO_DATA, CK_UNAVAILABLE_INFORMATION);
  changed.SetBytes(CKA_VALUE, Bytes(32));
  EXPECT_THROW(changed.SetUlong(CKA_CLASS, CKO_SECRET_KEY), std::invalid_argument);
}

TEST(AttributeSetTest, EmptySetHasNothing) {
  const AttributeSet set;
  EXPECT_EQ(set.size(), 0u);
  EXPECT_EQ(ContentsOf(set), Contents());
  EXPECT_FALSE(set.Has(CKA_CLASS));
  EXPECT_FALSE(set.GetBool(CKA_TOKEN));
  EXPECT_EQ(set, AttributeSet());
}

TEST(AttributeSetTest, ReturnsWhatWasSetInAscendingOrder) {
  AttributeSet set;
  set.SetBytes(CKA_LABEL, BytesOf("x"));
  set.SetBool(CKA_DERIVE, true);
  set.SetUlong(CKA_CLASS, CKO_SECRET_KEY);
  set.SetBool(CKA_ENCAPSULATE, false);
  set.SetBytes(CKA_ALLOWED_MECHANISMS, {});
  set.SetBool(CKA_TOKEN, false);
  const Contents expected = {
      {CKA_CLASS, {4, 0, 0, 0, 0, 0, 0, 0}},
      {CKA_TOKEN, {0}},
      {CKA_LABEL, {'x'}},
      {CKA_DERIVE, {1}},
      {CKA_ENCAPSULATE, {0}},
      {CKA_ALLOWED_MECHANISMS, {}},
  };
  EXPECT_EQ(ContentsOf(set), expected);
  EXPECT_EQ(set.size(), expected.size());
  EXPECT_EQ(set.GetUlong(CKA_CLASS), CKO_SECRET_KEY);
  EXPECT_EQ(set.GetBool(CKA_DERIVE), true);
  EXPECT_EQ(set.GetBool(CKA_TOKEN), false);
  EXPECT_EQ(set.GetBool(CKA_SIGN), std::nullopt);
  EXPECT_EQ(set.GetBool(CKA_CLASS), std::nullopt);
  EXPECT_EQ(set.GetUlong(CKA_LABEL), std::nullopt);
}

TEST(AttributeSetTest, ReplacesWithLongerShorterAndEmptyValues) {
  AttributeSet set;
  set.SetUlong(CKA_CLASS, CKO_DATA);
  set.SetBytes(CKA_ID, BytesOf("id"));
  for (const std::string_view label : {"a", "much longer than before", "", "b"}) {
    set.SetBytes(CKA_LABEL, BytesOf(label));
    const Contents expected = {
        {CKA_CLASS, Bytes(8, 0)}, {CKA_LABEL, BytesOf(label)}, {CKA_ID, BytesOf("id")}};
    EXPECT_EQ(ContentsOf(set), expected);
  }
}

TEST(AttributeSetTest, RemovesEntriesAndBooleans) {
  AttributeSet set = MontgomeryPrivateKey();
  const AttributeSet whole = set;
  set.Remove(CKA_LABEL);
  set.Remove(CKA_TOKEN);
  set.Remove(CKA_OWNER);
  EXPECT_EQ(set.size(), whole.size() - 2);
  EXPECT_FALSE(set.Has(CKA_LABEL));
  EXPECT_FALSE(set.Has(CKA_TOKEN));
  set.SetBytes(CKA_LABEL, *whole.Get(CKA_LABEL));
  set.SetBool(CKA_TOKEN, true);
  EXPECT_EQ(set, whole);
}

TEST(AttributeSetTest, CopiesAndMovesAreIndependent) {
  AttributeSet set = MontgomeryPrivateKey();
  AttributeSet copy = set;
  copy.SetBytes(CKA_LABEL, BytesOf("other"));
  EXPECT_NE(copy, set);
  EXPECT_EQ(set, MontgomeryPrivateKey());
  copy = set;
  EXPECT_EQ(copy, set);
  const AttributeSet moved = std::move(copy);
  EXPECT_EQ(moved, set);
}

TEST(AttributeSetTest, BooleanOutsideTheMasksIsAnEntry) {
  AttributeSet set;
  set.SetBool(CKA_RESET_ON_INIT, true);
  EXPECT_EQ(set.GetBool(CKA_RESET_ON_INIT), true);
  EXPECT_EQ(ContentsOf(set), (Contents{{CKA_RESET_ON_INIT, {1}}}));
}

TEST(AttributeSetTest, RefusesWhatItCannotHold) {
  AttributeSet set;
  const AttributeSet before = set;
  EXPECT_THROW(set.SetBytes(CKA_TOKEN, Bytes{2}), std::invalid_argument);
  EXPECT_THROW(set.SetBytes(CKA_TOKEN, Bytes{}), std::invalid_argument);
  EXPECT_THROW(set.SetBytes(CKA_TOKEN, Bytes(8, 1)), std::invalid_argument);
  EXPECT_THROW(set.SetBytes(CK_ATTRIBUTE_TYPE{1} << 32, {}), std::length_error);
  EXPECT_THROW(set.SetBytes(CKA_LABEL, Bytes(AttributeSet::kMaxValueSize + 1)), std::length_error);
  EXPECT_EQ(set, before);
  for (size_t i = 0; i < AttributeSet::kMaxEntries; ++i) set.SetBytes(0x80000000 + i, {});
  EXPECT_THROW(set.SetBytes(0x80000000 + AttributeSet::kMaxEntries, {}), std::length_error);
  EXPECT_EQ(set.size(), AttributeSet::kMaxEntries);
  set.SetBytes(0x80000000, Bytes{1});
  EXPECT_EQ(AttributeSet::Parse(set.Serialize()), set);
}

TEST(AttributeSetTest, RefusesSecretsInWhateverOrder) {
  AttributeSet set;
  EXPECT_THROW(set.SetBytes(CKA_PRIVATE_EXPONENT, Bytes(32)), std::invalid_argument);
  for (const CK_OBJECT_CLASS secret_class : {CKO_PRIVATE_KEY, CKO_SECRET_KEY}) {
    AttributeSet key;
    key.SetUlong(CKA_CLASS, secret_class);
    EXPECT_THROW(key.SetBytes(CKA_VALUE, Bytes(32)), std::invalid_argument);

    AttributeSet data;
    data.SetUlong(CKA_CLASS, CKO_DATA);
    data.SetBytes(CKA_VALUE, Bytes(32));
    const AttributeSet before = data;
    EXPECT_THROW(data.SetUlong(CKA_CLASS, secret_class), std::invalid_argument);
    EXPECT_EQ(data, before);
  }
}

TEST(AttributeSetTest, TemplatesNest) {
  AttributeSet inner;
  inner.SetBool(CKA_EXTRACTABLE, false);
  inner.SetUlong(CKA_KEY_TYPE, CKK_AES);
  AttributeSet outer;
  outer.SetTemplate(CKA_DERIVE_TEMPLATE, inner);
  outer.SetTemplate(CKA_UNWRAP_TEMPLATE, AttributeSet());
  outer.SetBytes(CKA_WRAP_TEMPLATE, BytesOf("not one"));
  EXPECT_EQ(outer.GetTemplate(CKA_DERIVE_TEMPLATE), inner);
  EXPECT_EQ(outer.GetTemplate(CKA_UNWRAP_TEMPLATE), AttributeSet());
  EXPECT_EQ(outer.Get(CKA_UNWRAP_TEMPLATE)->size(), 0u);
  EXPECT_EQ(outer.GetTemplate(CKA_WRAP_TEMPLATE), std::nullopt);
  EXPECT_EQ(outer.GetTemplate(CKA_ENCAPSULATE_TEMPLATE), std::nullopt);
}

TEST(AttributeSetTest, MontgomeryPrivateKeyIsSmall) {
  const AttributeSet set = MontgomeryPrivateKey();
  EXPECT_EQ(set.size(), 34u);
  EXPECT_LT(set.MemoryUse(), 450u);
}

// --- the serialised form ---

TEST(AttributeSetTest, SerializesToTheDocumentedBytes) {
  AttributeSet set;
  set.SetBool(CKA_PRIVATE, true);
  set.SetBool(CKA_TOKEN, false);
  set.SetUlong(CKA_CLASS, CKO_PRIVATE_KEY);
  set.SetBytes(CKA_LABEL, BytesOf("ab"));
  const Bytes expected = {
      1,                                                   // version
      3, 0, 0, 0,                                          // TOKEN and PRIVATE are present
      2, 0, 0, 0,                                          // PRIVATE is true
      2, 0,                                                // entries
      0, 0, 0, 0, 8, 0, 0, 0, 3,   0,   0, 0, 0, 0, 0, 0,  // CKA_CLASS
      3, 0, 0, 0, 2, 0, 0, 0, 'a', 'b',                    // CKA_LABEL
  };
  EXPECT_EQ(set.Serialize(), expected);
  EXPECT_EQ(AttributeSet::Parse(expected), set);
}

TEST(AttributeSetTest, ParseReturnsWhatWasSerialized) {
  const AttributeSet set = MontgomeryPrivateKey();
  const Bytes bytes = set.Serialize();
  const auto parsed = AttributeSet::Parse(bytes);
  ASSERT_TRUE(parsed);
  EXPECT_EQ(*parsed, set);
  EXPECT_EQ(parsed->Serialize(), bytes);
  EXPECT_EQ(ContentsOf(*parsed), ContentsOf(set));
  EXPECT_EQ(AttributeSet::Parse(AttributeSet().Serialize()), AttributeSet());
}

TEST(AttributeSetTest, EveryTruncationIsRefused) {
  const Bytes bytes = MontgomeryPrivateKey().Serialize();
  for (size_t size = 0; size < bytes.size(); ++size) {
    // A buffer of exactly this size, so that a sanitizer sees any read beyond it.
    const Bytes truncated(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size));
    EXPECT_EQ(AttributeSet::Parse(truncated), std::unexpected(AttributeSetError::kTruncated))
        << size;
  }
}

TEST(AttributeSetTest, EveryChangedByteIsRefusedOrCanonical) {
  const Bytes bytes = MontgomeryPrivateKey().Serialize();
  for (size_t i = 0; i < bytes.size(); ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      Bytes changed = bytes;
      changed[i] = static_cast<uint8_t>(changed[i] ^ (1 << bit));
      const auto parsed = AttributeSet::Parse(changed);
      if (parsed) {
        EXPECT_EQ(parsed->Serialize(), changed) << i;
      }
    }
  }
}

struct Malformed {
  const char* name;
  Bytes bytes;
  AttributeSetError error;
};

TEST(AttributeSetTest, MalformedInputIsRefused) {
  const auto with_header = [](uint8_t present, uint8_t values, uint8_t count, Bytes entries) {
    Bytes bytes = {1, present, 0, 0, 0, values, 0, 0, 0, count, 0};
    bytes.insert(bytes.end(), entries.begin(), entries.end());
    return bytes;
  };
  Bytes undefined_bit = with_header(0, 0, 0, {});
  undefined_bit[4] = 0x80;
  Bytes many = with_header(0, 0, 1, {});
  many[10] = 1;  // 257 entries
  const Malformed cases[] = {
      {"other version", {2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, AttributeSetError::kVersion},
      {"trailing", with_header(0, 0, 0, {0}), AttributeSetError::kTrailing},
      {"value without presence", with_header(1, 3, 0, {}), AttributeSetError::kBoolean},
      {"undefined boolean", undefined_bit, AttributeSetError::kBoolean},
      {"boolean as entry", with_header(0, 0, 1, {1, 0, 0, 0, 1, 0, 0, 0, 1}),
       AttributeSetError::kBoolean},
      {"twice", with_header(0, 0, 2, {3, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0}),
       AttributeSetError::kOrder},
      {"descending", with_header(0, 0, 2, {3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}),
       AttributeSetError::kOrder},
      {"too long", with_header(0, 0, 1, {3, 0, 0, 0, 0xff, 0xff, 0xff, 0xff}),
       AttributeSetError::kTooLarge},
      {"too many", many, AttributeSetError::kTooLarge},
      {"secret value", with_header(0, 0, 2, {0, 0, 0, 0,    8, 0, 0, 0, 4, 0, 0, 0, 0,
                                             0, 0, 0, 0x11, 0, 0, 0, 1, 0, 0, 0, 7}),
       AttributeSetError::kSecret},
      {"private exponent", with_header(0, 0, 1, {0x23, 1, 0, 0, 0, 0, 0, 0}),
       AttributeSetError::kSecret},
  };
  for (const Malformed& malformed : cases) {
    EXPECT_EQ(AttributeSet::Parse(malformed.bytes), std::unexpected(malformed.error))
        << malformed.name;
  }
}

}  // namespace
}  // namespace secretmem
