// All HMAC and HKDF vectors of Project Wycheproof for SHA-1 and SHA-2.
#include <string>

#include "tests/conformance/kdf.h"
#include "tests/conformance/macs.h"
#include "tests/conformance/wycheproof.h"

namespace secretmem::conformance {
namespace {

struct File {
  const char* name;  // as in the file's name
  const char* hmac;  // as in the file
  const char* hkdf;
  Hash hash;
};

const File kFiles[] = {{"sha1", "HMACSHA1", "HKDF-SHA-1", AllHashes()[0]},
                       {"sha256", "HMACSHA256", "HKDF-SHA-256", AllHashes()[2]},
                       {"sha384", "HMACSHA384", "HKDF-SHA-384", AllHashes()[3]},
                       {"sha512", "HMACSHA512", "HKDF-SHA-512", AllHashes()[4]},
                       {"sha224", "HMACSHA224", "", AllHashes()[1]}};

class WycheproofHmacTest : public WycheproofTest, public testing::WithParamInterface<File> {
 protected:
  void RunGroup(Fields& group, const std::set<std::string>& notes) override {
    EXPECT_EQ(group.Text("type"), "MacTest");
    const size_t key_size = group.Take("keySize").get<size_t>() / 8;
    const size_t tag_size = group.Take("tagSize").get<size_t>() / 8;
    for (const json& test : group.Take("tests")) {
      Vector vector(test, notes);
      SCOPED_TRACE(vector.trace);
      ++vectors_;
      const Bytes value = vector.fields.Hex("key");
      EXPECT_EQ(value.size(), key_size);
      RunOne(value, vector.fields.Hex("msg"), vector.fields.Hex("tag"), tag_size, vector.result);
    }
  }

  // Tags cut short need the general-length form.
  void RunOne(const Bytes& value, Bytes message, Bytes tag, size_t tag_size,
              const std::string& result) {
    CK_ULONG size = tag_size;
    CK_MECHANISM mechanism{GetParam().hash.hmac, nullptr, 0};
    if (tag_size != GetParam().hash.size) {
      mechanism = MechanismOf(GetParam().hash.hmac_general, size);
    }
    const CK_OBJECT_HANDLE key = Create(session_, MacKey(value));
    ASSERT_RV(CKR_OK, P11().C_VerifyInit(session_, &mechanism, key));
    const CK_RV rv =
        P11().C_Verify(session_, message.data(), message.size(), tag.data(), tag.size());
    if (result == "valid") {
      EXPECT_RV(CKR_OK, rv);
    } else {
      EXPECT_EQ(result, "invalid");
      EXPECT_RV(tag.size() == tag_size ? CKR_SIGNATURE_INVALID : CKR_SIGNATURE_LEN_RANGE, rv);
    }
    Bytes made(64);
    CK_ULONG length = made.size();
    ASSERT_RV(CKR_OK, P11().C_SignInit(session_, &mechanism, key));
    EXPECT_RV(CKR_OK, P11().C_Sign(session_, message.data(), message.size(), made.data(), &length));
    made.resize(length);
    EXPECT_EQ(made == tag, result == "valid");
    EXPECT_RV(CKR_OK, P11().C_DestroyObject(session_, key));
  }
};

TEST_P(WycheproofHmacTest, Hmac) {
  if (!Offers(GetParam().hash.hmac_general)) GTEST_SKIP() << "no general-length HMAC";
  RunFile(std::string("hmac_") + GetParam().name + "_test.json", GetParam().hmac,
          "mac_test_schema.json");
}

class WycheproofHkdfTest : public WycheproofTest, public testing::WithParamInterface<File> {
 protected:
  void RunGroup(Fields& group, const std::set<std::string>& notes) override {
    EXPECT_EQ(group.Text("type"), "HkdfTest");
    const size_t key_size = group.Take("keySize").get<size_t>() / 8;
    for (const json& test : group.Take("tests")) {
      Vector vector(test, notes);
      SCOPED_TRACE(vector.trace);
      ++vectors_;
      const Bytes value = vector.fields.Hex("ikm");
      EXPECT_EQ(value.size(), key_size);
      Hkdf hkdf{.hash = GetParam().hash.digest,
                .salt = vector.fields.Hex("salt"),
                .info = vector.fields.Hex("info")};
      EXPECT_EQ(hkdf.salt.empty(), vector.flags.contains("EmptySalt"));
      if (!hkdf.salt.empty()) hkdf.salt_type = CKF_HKDF_SALT_DATA;
      const size_t size = vector.fields.Take("size").get<size_t>();
      const Bytes expected = vector.fields.Hex("okm");
      const bool too_large = vector.flags.contains("SizeTooLarge");
      EXPECT_EQ(vector.result, too_large ? "invalid" : "valid");
      const CK_OBJECT_HANDLE base = Create(session_, BaseSecret(value));
      CK_HKDF_PARAMS params = hkdf.Params();
      CK_OBJECT_HANDLE key = 0;
      const CK_RV rv =
          DeriveBy(session_, MechanismOf(CKM_HKDF_DERIVE, params), base, DerivedSecret(size), key);
      EXPECT_RV(too_large ? CKR_KEY_SIZE_RANGE : CKR_OK, rv);
      if (rv == CKR_OK) {
        EXPECT_EQ(ReadBytes(session_, key, CKA_VALUE), expected);
      }
      EXPECT_RV(CKR_OK, P11().C_DestroyObject(session_, base));
      if (rv == CKR_OK) {
        EXPECT_RV(CKR_OK, P11().C_DestroyObject(session_, key));
      }
    }
  }
};

TEST_P(WycheproofHkdfTest, Hkdf) {
  if (!Offers(CKM_HKDF_DERIVE)) GTEST_SKIP() << "no such mechanism";
  RunFile(std::string("hkdf_") + GetParam().name + "_test.json", GetParam().hkdf,
          "hkdf_test_schema.json");
}

const auto kName = [](const testing::TestParamInfo<File>& test) {
  return std::string(test.param.name);
};
INSTANTIATE_TEST_SUITE_P(Hashes, WycheproofHmacTest, testing::ValuesIn(kFiles), kName);
// There are no HKDF vectors for the last one.
INSTANTIATE_TEST_SUITE_P(Hashes, WycheproofHkdfTest,
                         testing::ValuesIn(kFiles, std::end(kFiles) - 1), kName);

}  // namespace
}  // namespace secretmem::conformance
