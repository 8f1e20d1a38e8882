#include "mechanisms/secret_key.h"

#include <gtest/gtest.h>

#include <set>
#include <vector>

#include "mechanism_testing.h"
#include "mechanisms/key_family.h"

namespace secretmem {
namespace {

using Bytes = std::vector<uint8_t>;

constexpr CK_KEY_TYPE kAnyLength[] = {CKK_GENERIC_SECRET, CKK_HKDF,           CKK_SHA_1_HMAC,
                                      CKK_SHA224_HMAC,    CKK_SHA256_HMAC,    CKK_SHA384_HMAC,
                                      CKK_SHA512_HMAC,    CKK_SHA512_256_HMAC};

class SecretKeyTest : public testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(InitialiseVault()); }
};

TEST(SecretKeyTypesTest, Lengths) {
  const auto sizes = [](CK_KEY_TYPE type) {
    std::vector<size_t> valid;
    for (size_t size = 0; size <= 40; ++size) {
      if (AllowsSecretLength(type, size)) valid.push_back(size);
    }
    return valid;
  };
  EXPECT_EQ(sizes(CKK_AES), (std::vector<size_t>{16, 24, 32}));
  EXPECT_EQ(sizes(CKK_CHACHA20), (std::vector<size_t>{32}));
  EXPECT_EQ(sizes(CKK_GENERIC_SECRET).size(), 40u);
  EXPECT_EQ(sizes(CKK_GENERIC_SECRET).front(), 1u);
  EXPECT_EQ(sizes(CKK_EC_MONTGOMERY).size(), 0u);
  EXPECT_EQ(sizes(CKK_DES3).size(), 0u);
  for (const CK_KEY_TYPE type : {CKK_GENERIC_SECRET, CKK_HKDF, CKK_SHA256_HMAC}) {
    EXPECT_TRUE(AllowsSecretLength(type, kMaxSecretBytes));
    EXPECT_FALSE(AllowsSecretLength(type, kMaxSecretBytes + 1));
    EXPECT_EQ(FewSecretLengths(type), std::vector<size_t>{});
  }
  EXPECT_EQ(FewSecretLengths(CKK_AES), (std::vector<size_t>{16, 24, 32}));
  EXPECT_EQ(FewSecretLengths(CKK_CHACHA20), std::vector<size_t>{32});
  EXPECT_EQ(FewSecretLengths(CKK_DES3), std::vector<size_t>{});
}

TEST_F(SecretKeyTest, Lengths) {
  struct Case {
    SecretRequest request;
    std::optional<size_t> available;
    CkResult<size_t> expected;
  };
  const std::optional<size_t> any;
  const std::optional<CK_ULONG> unsaid;
  std::vector<Case> cases = {
      {{CKK_AES, 16}, any, 16},
      {{CKK_AES, 24}, any, 24},
      {{CKK_AES, 32}, any, 32},
      {{CKK_AES, 8}, any, Refuse(CKR_KEY_SIZE_RANGE)},
      {{CKK_AES, 20}, any, Refuse(CKR_KEY_SIZE_RANGE)},
      {{CKK_AES, 40}, any, Refuse(CKR_KEY_SIZE_RANGE)},
      {{CKK_AES, unsaid}, any, Refuse(CKR_TEMPLATE_INCOMPLETE)},
      {{CKK_AES, unsaid}, 32, Refuse(CKR_TEMPLATE_INCOMPLETE)},
      {{CKK_AES, 32}, 16, Refuse(CKR_TEMPLATE_INCONSISTENT)},
      {{CKK_CHACHA20, unsaid}, any, 32},
      {{CKK_CHACHA20, unsaid}, 32, 32},
      {{CKK_CHACHA20, unsaid}, 20, Refuse(CKR_TEMPLATE_INCONSISTENT)},
      {{CKK_CHACHA20, 32}, any, 32},
      {{CKK_CHACHA20, 16}, any, Refuse(CKR_KEY_SIZE_RANGE)},
      {{CKK_EC_MONTGOMERY, 32}, any, Refuse(CKR_TEMPLATE_INCONSISTENT)},
      {{CKK_RSA, 32}, any, Refuse(CKR_TEMPLATE_INCONSISTENT)},
      {{~CK_KEY_TYPE{0}, 32}, any, Refuse(CKR_TEMPLATE_INCONSISTENT)},
  };
  for (const CK_KEY_TYPE type : kAnyLength) {
    cases.push_back({{type, 1}, any, 1});
    cases.push_back({{type, 32}, 32, 32});
    cases.push_back({{type, kMaxSecretBytes}, any, kMaxSecretBytes});
    cases.push_back({{type, kMaxSecretBytes + 1}, any, Refuse(CKR_KEY_SIZE_RANGE)});
    cases.push_back({{type, ~CK_ULONG{0}}, any, Refuse(CKR_KEY_SIZE_RANGE)});
    cases.push_back({{type, 0}, any, Refuse(CKR_ATTRIBUTE_VALUE_INVALID)});
    cases.push_back({{type, unsaid}, any, Refuse(CKR_TEMPLATE_INCOMPLETE)});
    cases.push_back({{type, unsaid}, 32, 32});
    cases.push_back({{type, 33}, 32, Refuse(CKR_TEMPLATE_INCONSISTENT)});
  }
  for (const Case& its : cases) {
    EXPECT_EQ(SecretLength(its.request, its.available), its.expected)
        << its.request.key_type << " " << its.request.length.value_or(0) << " "
        << its.available.value_or(0);
  }
}

TEST_F(SecretKeyTest, Types) {
  for (const CK_KEY_TYPE type : kAnyLength) EXPECT_TRUE(IsSecretKeyType(type));
  EXPECT_TRUE(IsSecretKeyType(CKK_AES));
  EXPECT_TRUE(IsSecretKeyType(CKK_CHACHA20));
  for (const CK_KEY_TYPE type : {CKK_RSA, CKK_EC, CKK_EC_MONTGOMERY, CKK_EC_EDWARDS, CKK_DES3}) {
    EXPECT_FALSE(IsSecretKeyType(type)) << type;
  }
}

TEST_F(SecretKeyTest, GeneratesGenericSecrets) {
  std::set<Bytes> keys;
  for (int i = 0; i < 50; ++i) {
    const auto key = GenerateGenericSecret({}, {CKK_GENERIC_SECRET, 24});
    ASSERT_TRUE(key);
    EXPECT_EQ(key->attributes, (AttributeValues{{CKA_VALUE_LEN, UlongBytes(24)}}));
    keys.insert(BytesOfVault(key->secret));
  }
  EXPECT_EQ(keys.size(), 50u);
  EXPECT_EQ(keys.begin()->size(), 24u);
  EXPECT_FALSE(keys.contains(Bytes(24)));
  EXPECT_EQ(RvFrom(GenerateGenericSecret(Bytes(1), {CKK_GENERIC_SECRET, 24})),
            CKR_MECHANISM_PARAM_INVALID);
  EXPECT_EQ(RvFrom(GenerateGenericSecret({}, {CKK_GENERIC_SECRET, std::nullopt})),
            CKR_TEMPLATE_INCOMPLETE);
  EXPECT_EQ(RvFrom(GenerateGenericSecret({}, {CKK_GENERIC_SECRET, kMaxSecretBytes + 1})),
            CKR_KEY_SIZE_RANGE);
}

TEST_F(SecretKeyTest, ImportsWhatFits) {
  const auto given = [](CK_KEY_TYPE type, size_t size) {
    return Attributes({{CKA_KEY_TYPE, UlongBytes(type)}, {CKA_VALUE, Bytes(size, 0x4d)}});
  };
  struct Good {
    CK_KEY_TYPE type;
    size_t size;
  };
  for (const Good& good :
       {Good{CKK_AES, 16}, Good{CKK_AES, 32}, Good{CKK_CHACHA20, 32}, Good{CKK_GENERIC_SECRET, 1},
        Good{CKK_GENERIC_SECRET, kMaxSecretBytes}, Good{CKK_SHA256_HMAC, 200}}) {
    const auto key = ImportSecret(given(good.type, good.size));
    ASSERT_TRUE(key) << good.type;
    EXPECT_EQ(BytesOfVault(key->secret), Bytes(good.size, 0x4d));
    EXPECT_EQ(key->attributes, (AttributeValues{{CKA_VALUE_LEN, UlongBytes(good.size)}}));
  }
  for (const Good& bad :
       {Good{CKK_AES, 0}, Good{CKK_AES, 17}, Good{CKK_AES, 40}, Good{CKK_CHACHA20, 31},
        Good{CKK_GENERIC_SECRET, 0}, Good{CKK_GENERIC_SECRET, kMaxSecretBytes + 1},
        Good{CKK_RSA, 32}, Good{CKK_EC_MONTGOMERY, 32}}) {
    EXPECT_EQ(RvFrom(ImportSecret(given(bad.type, bad.size))), CKR_ATTRIBUTE_VALUE_INVALID)
        << bad.type << " " << bad.size;
  }
  EXPECT_EQ(RvFrom(ImportSecret(Attributes({{CKA_VALUE, Bytes(16)}}))), CKR_TEMPLATE_INCOMPLETE);
  EXPECT_EQ(RvFrom(ImportSecret(Attributes({{CKA_KEY_TYPE, UlongBytes(CKK_AES)}}))),
            CKR_TEMPLATE_INCOMPLETE);
  EXPECT_EQ(RvFrom(ImportSecret(Attributes({{CKA_KEY_TYPE, Bytes(4)}, {CKA_VALUE, Bytes(16)}}))),
            CKR_ATTRIBUTE_VALUE_INVALID);
}

TEST_F(SecretKeyTest, UlongBytesAreTheMachines) {
  EXPECT_EQ(UlongBytes(0x0102), (Bytes{2, 1, 0, 0, 0, 0, 0, 0}));
}

}  // namespace
}  // namespace secretmem
