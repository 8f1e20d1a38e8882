// A private key is parsed at its first use, and not again: what is made of it stays in its cache.
#include "mechanisms/key_cache.h"

#include <gtest/gtest.h>

#include <vector>

#include "mechanism_testing.h"
#include "mechanisms/secret_key.h"

namespace secretmem {
namespace {

using Bytes = std::vector<uint8_t>;

struct Family {
  const char* name;
  CK_MECHANISM_TYPE generate;
  CK_KEY_TYPE type;
  CK_MECHANISM_TYPE sign;
  Attributes::Map wanted;
};

// The signatures of these are the same each time, or are verified.
std::vector<Family> Families() {
  return {
      {"RSA",
       CKM_RSA_PKCS_KEY_PAIR_GEN,
       CKK_RSA,
       CKM_SHA256_RSA_PKCS,
       {{CKA_MODULUS_BITS, UlongBytes(2048)}}},
      {"P-256",
       CKM_EC_KEY_PAIR_GEN,
       CKK_EC,
       CKM_ECDSA_SHA256,
       {{CKA_EC_PARAMS, {0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07}}}},
      {"Ed25519",
       CKM_EC_EDWARDS_KEY_PAIR_GEN,
       CKK_EC_EDWARDS,
       CKM_EDDSA,
       {{CKA_EC_PARAMS, {0x06, 0x03, 0x2b, 0x65, 0x70}}}},
  };
}

Attributes AttributesOf(const AttributeValues& values) {
  Attributes::Map map;
  for (const AttributeValue& value : values) map[value.type] = value.value;
  return map;
}

class KeyCacheTest : public testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(InitialiseVault()); }

  static CkResult<NewKeyPair> Generate(const Family& family) {
    return FindMechanism(family.generate)->generate_key_pair({}, Attributes(family.wanted));
  }
  static Bytes Sign(const Family& family, const Key& key) {
    auto operation = FindMechanism(family.sign)->sign(family.sign, {}, key);
    if (!operation) {
      ADD_FAILURE() << "return code " << operation.error();
      return {};
    }
    Bytes signature((*operation)->max_size());
    const auto size = (*operation)->Sign(kMessage, signature);
    EXPECT_TRUE(size);
    signature.resize(size.value_or(0));
    return signature;
  }

  inline static const Bytes kMessage = Bytes(100, 7);
};

// With another key's bytes, but the first one's cache, it is the first one that signs.
TEST_F(KeyCacheTest, KeysAreParsedOnce) {
  for (const Family& family : Families()) {
    SCOPED_TRACE(family.name);
    const auto first = Generate(family);
    const auto second = Generate(family);
    ASSERT_TRUE(first && second);
    const Attributes attributes = AttributesOf(first->private_attributes);
    const Attributes public_attributes = AttributesOf(first->public_attributes);
    KeyCache cache, other;
    const auto verifies = [&](const Bytes& signature) {
      const Key key = {CKO_PUBLIC_KEY, family.type, public_attributes, nullptr};
      auto operation = FindMechanism(family.sign)->verify(family.sign, {}, key);
      EXPECT_TRUE(operation);
      return operation && (*operation)->Verify(kMessage, signature).has_value();
    };
    EXPECT_TRUE(
        verifies(Sign(family, {CKO_PRIVATE_KEY, family.type, attributes, &first->secret, &cache})));
    EXPECT_TRUE(verifies(
        Sign(family, {CKO_PRIVATE_KEY, family.type, attributes, &second->secret, &cache})));
    EXPECT_FALSE(verifies(
        Sign(family, {CKO_PRIVATE_KEY, family.type, attributes, &second->secret, &other})));
  }
}

}  // namespace
}  // namespace secretmem
