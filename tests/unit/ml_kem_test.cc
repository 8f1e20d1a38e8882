// ML-KEM where BoringSSL has it, against the vectors of Project Wycheproof in its tree.
#ifdef SECRETMEM_ML_KEM

#include "mechanisms/ml_kem.h"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "mechanism_testing.h"
#include "mechanisms/secret_key.h"
#include "pkcs11/attribute_rules.h"

namespace secretmem {
namespace {

using Bytes = std::vector<uint8_t>;
using nlohmann::json;

constexpr SecretRequest kGeneric = {CKK_GENERIC_SECRET, std::nullopt};

class MlKemTest : public testing::TestWithParam<std::pair<CK_ULONG, std::string>> {
 protected:
  void SetUp() override { ASSERT_TRUE(InitialiseVault()); }

  CK_ULONG set() const { return GetParam().first; }

  // Vectors returns those of a file; each has exactly the fields named, apart from its comment.
  json Vectors(const std::string& name, size_t count, const std::set<std::string>& fields) const {
    std::ifstream file(std::string(SECRETMEM_BORINGSSL_VECTORS) + "/mlkem_" + GetParam().second +
                       "_" + name + ".json");
    const json all = json::parse(file);
    json vectors = json::array();
    for (const json& group : all.at("testGroups")) {
      EXPECT_EQ(group.at("parameterSet"), "ML-KEM-" + GetParam().second);
      for (const json& test : group.at("tests")) {
        for (const auto& [field, value] : test.items()) {
          EXPECT_TRUE(fields.contains(field) || field == "comment" || field == "tcId") << field;
        }
        vectors.push_back(test);
      }
    }
    EXPECT_EQ(vectors.size(), count);
    EXPECT_EQ(all.at("numberOfTests"), count);
    return vectors;
  }

  static Bytes Hex(const json& vector, const char* field) {
    return FromHex(vector.at(field).get<std::string>());
  }

  Attributes PublicTemplate(const Bytes& value) const {
    return {{{CKA_PARAMETER_SET, UlongBytes(set())}, {CKA_VALUE, value}}};
  }
  Attributes PrivateTemplate(const Bytes& seed) const {
    return {{{CKA_PARAMETER_SET, UlongBytes(set())}, {CKA_SEED, seed}}};
  }
  // The attributes of a private key as the module has it.
  Attributes SetOnly() const { return {{{CKA_PARAMETER_SET, UlongBytes(set())}}}; }

  static Bytes InfoOf(CK_OBJECT_CLASS object_class, const Attributes& attributes,
                      const Vault* secret) {
    const auto info = MlKemPublicKeyInfo({object_class, CKK_ML_KEM, attributes, secret});
    EXPECT_TRUE(info);
    return info ? *info : Bytes();
  }
};

INSTANTIATE_TEST_SUITE_P(All, MlKemTest,
                         testing::Values(std::pair(CK_ULONG{CKP_ML_KEM_768}, "768"),
                                         std::pair(CK_ULONG{CKP_ML_KEM_1024}, "1024")),
                         [](const auto& its) { return "Kem" + its.param.second; });

TEST_P(MlKemTest, KeysFromSeeds) {
  for (const json& vector : Vectors("keygen_seed_test", 100, {"seed", "ek", "dk", "result"})) {
    SCOPED_TRACE(vector.at("tcId"));
    ASSERT_EQ(vector.at("result"), "valid");
    const auto key = ImportMlKemPrivate(PrivateTemplate(Hex(vector, "seed")));
    ASSERT_TRUE(key);
    EXPECT_EQ(key->attributes, (AttributeValues{{CKA_PARAMETER_SET, UlongBytes(set())}}));
    EXPECT_EQ(BytesOfVault(key->secret), Hex(vector, "seed"));
    const Attributes public_key = PublicTemplate(Hex(vector, "ek"));
    ASSERT_EQ(RvFrom(ImportMlKemPublic(public_key)), CKR_OK);
    EXPECT_EQ(InfoOf(CKO_PRIVATE_KEY, SetOnly(), &key->secret),
              InfoOf(CKO_PUBLIC_KEY, public_key, nullptr));
  }
}

TEST_P(MlKemTest, Decapsulation) {
  int valid = 0;
  int bad_seeds = 0;
  int bad_ciphertexts = 0;
  for (const json& vector : Vectors("test", 193, {"seed", "ek", "c", "K", "flags", "result"})) {
    SCOPED_TRACE(vector.at("tcId"));
    const Bytes seed = Hex(vector, "seed");
    const auto imported = ImportMlKemPrivate(PrivateTemplate(seed));
    if (seed.size() != kMlKemSeedBytes) {
      EXPECT_EQ(vector.at("result"), "invalid");
      EXPECT_EQ(RvFrom(imported), CKR_ATTRIBUTE_VALUE_INVALID);
      ++bad_seeds;
      continue;
    }
    ASSERT_TRUE(imported);
    const Attributes attributes = SetOnly();
    EXPECT_EQ(InfoOf(CKO_PRIVATE_KEY, attributes, &imported->secret),
              InfoOf(CKO_PUBLIC_KEY, PublicTemplate(Hex(vector, "ek")), nullptr));
    const auto opened = DecapsulateMlKem(
        CKM_ML_KEM, {}, {CKO_PRIVATE_KEY, CKK_ML_KEM, attributes, &imported->secret}, kGeneric,
        Hex(vector, "c"));
    if (vector.at("result") == "valid") {
      ASSERT_TRUE(opened);
      EXPECT_EQ(BytesOfVault(opened->secret), Hex(vector, "K"));
      EXPECT_EQ(opened->attributes, (AttributeValues{{CKA_VALUE_LEN, UlongBytes(32)}}));
      ++valid;
    } else {
      EXPECT_EQ(RvFrom(opened), CKR_WRAPPED_KEY_LEN_RANGE);
      ++bad_ciphertexts;
    }
  }
  EXPECT_EQ(valid, 153);
  EXPECT_EQ(bad_seeds, 20);
  EXPECT_EQ(bad_ciphertexts, 20);
}

// What is drawn is not the vectors' to say: only whether the public key is one.
TEST_P(MlKemTest, PublicKeys) {
  int invalid = 0;
  for (const json& vector : Vectors("encaps_test", set() == CKP_ML_KEM_768 ? 265 : 269,
                                    {"m", "ek", "c", "K", "flags", "result"})) {
    SCOPED_TRACE(vector.at("tcId"));
    const bool valid = vector.at("result") == "valid";
    invalid += valid ? 0 : 1;
    const auto imported = ImportMlKemPublic(PublicTemplate(Hex(vector, "ek")));
    EXPECT_EQ(RvFrom(imported), valid ? CKR_OK : CKR_ATTRIBUTE_VALUE_INVALID);
    if (!valid) continue;
    EXPECT_EQ(*imported, (AttributeValues{{CKA_PARAMETER_SET, UlongBytes(set())},
                                          {CKA_VALUE, Hex(vector, "ek")}}));
  }
  EXPECT_GT(invalid, 100);
}

TEST_P(MlKemTest, Pkcs8) {
  const Bytes seed(kMlKemSeedBytes, 0x5a);
  const auto key = ImportMlKemPrivate(PrivateTemplate(seed));
  ASSERT_TRUE(key);
  const auto written = MlKemToPkcs8({CKO_PRIVATE_KEY, CKK_ML_KEM, SetOnly(), &key->secret});
  ASSERT_TRUE(written);
  // RFC 9935, section 6: the seed is [0] IMPLICIT in the OCTET STRING.
  Bytes expected = FromHex(std::string("3054020100300b06096086480165030404") +
                           (set() == CKP_ML_KEM_768 ? "02" : "03") + "04428040");
  expected.insert(expected.end(), seed.begin(), seed.end());
  EXPECT_EQ(BytesOfVault(*written), expected);
  const auto read = [](const Bytes& der) {
    return *OnSecretStack([&] { return MlKemFromPkcs8(der); });
  };
  const auto again = read(expected);
  ASSERT_TRUE(again);
  EXPECT_EQ(BytesOfVault(again->secret), seed);
  EXPECT_EQ(again->attributes, (AttributeValues{{CKA_PARAMETER_SET, UlongBytes(set())}}));
  Bytes other = expected;
  other[16] = 1;  // ML-KEM-512
  EXPECT_EQ(RvFrom(read(other)), CKR_WRAPPED_KEY_INVALID);
  other = expected;
  other[19] = 0x04;  // as if expanded
  EXPECT_EQ(RvFrom(read(other)), CKR_WRAPPED_KEY_INVALID);
  other = expected;
  other.pop_back();
  EXPECT_EQ(RvFrom(read(other)), CKR_WRAPPED_KEY_INVALID);
}

TEST_P(MlKemTest, SecretsAreOfTheirLength) {
  const auto pair = GenerateMlKem({}, SetOnly());
  ASSERT_TRUE(pair);
  const Attributes to = PublicTemplate(pair->public_attributes.at(1).value);
  const Key public_key = {CKO_PUBLIC_KEY, CKK_ML_KEM, to, nullptr};
  const auto code = [&](SecretRequest request) {
    return RvFrom(EncapsulateMlKem(CKM_ML_KEM, {}, public_key, request));
  };
  EXPECT_EQ(code({CKK_GENERIC_SECRET, 32}), CKR_OK);
  EXPECT_EQ(code({CKK_AES, 32}), CKR_OK);
  EXPECT_EQ(code({CKK_CHACHA20, std::nullopt}), CKR_OK);
  EXPECT_EQ(code({CKK_AES, 16}), CKR_KEY_SIZE_RANGE);
  EXPECT_EQ(code({CKK_GENERIC_SECRET, 31}), CKR_KEY_SIZE_RANGE);
  EXPECT_EQ(code({CKK_GENERIC_SECRET, 33}), CKR_TEMPLATE_INCONSISTENT);
}

}  // namespace
}  // namespace secretmem

#endif
