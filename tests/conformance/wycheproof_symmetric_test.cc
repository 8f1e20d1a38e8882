// The symmetric vectors of Project Wycheproof through PKCS#11. Every field of a file must be known
// and consumed: what this runner does not understand, it must not pass over.
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "tests/conformance/cipher.h"
#include "tests/conformance/fixtures.h"

namespace secretmem::conformance {
namespace {

using nlohmann::json;

// Vector is one test with its group's sizes.
struct Vector {
  Bytes key, iv, aad, msg, ct, tag;
  CK_ULONG tag_bits = 0;
  std::string result;
  std::set<std::string> flags;

  bool Has(const std::string& flag) const { return flags.contains(flag); }
  Bytes Sealed() const {
    Bytes all = ct;
    all.insert(all.end(), tag.begin(), tag.end());
    return all;
  }
};

class SymmetricVectorsTest : public UserTest {
 protected:
  // Which members the tests of a file have, beside those that all have.
  enum Members : unsigned { kIv = 1, kAad = 2, kCt = 4, kTag = 8 };

  void SetUp() override {
    if (GlobalOptions().wycheproof.empty()) GTEST_SKIP() << "no --wycheproof DIRECTORY given";
    UserTest::SetUp();
  }

  // Run calls check(vector, key handle) for every vector of the file; the handle is 0 where the
  // module has no such key.
  template <class F>
  void Run(const std::string& name, CK_KEY_TYPE key_type, unsigned members, F check) {
    std::ifstream file(GlobalOptions().wycheproof + "/" + name);
    json document = json::parse(file, nullptr, false);
    ASSERT_FALSE(document.is_discarded()) << "cannot read " << name;
    const std::set<std::string> file_members = {
        "algorithm", "generatorVersion", "numberOfTests", "header",
        "notes",     "schema",           "testGroups"};
    for (const auto& [member, value] : document.items()) {
      EXPECT_TRUE(file_members.contains(member)) << member;
    }
    for (const auto& [note, text] : document["notes"].items()) notes_.insert(note);
    size_t count = 0;
    for (const json& group : document["testGroups"]) {
      for (const auto& [member, value] : group.items()) {
        EXPECT_TRUE(member == "type" || member == "tests" || member == "keySize" ||
                    (member == "ivSize" && (members & kIv) != 0) ||
                    (member == "tagSize" && (members & kTag) != 0))
            << member;
      }
      for (const json& test : group["tests"]) {
        ++count;
        SCOPED_TRACE("tcId " + test["tcId"].dump() + ": " + test["comment"].get<std::string>());
        const Vector vector = Read(test, group, members);
        const CK_OBJECT_HANDLE key = ImportKey(session_, key_type, vector.key);
        check(vector, key);
        if (key != CK_INVALID_HANDLE) {
          EXPECT_RV(CKR_OK, P11().C_DestroyObject(session_, key));
        }
      }
    }
    EXPECT_EQ(count, document["numberOfTests"].get<size_t>());
    EXPECT_GT(count, 0U);
  }

  Vector Read(const json& test, const json& group, unsigned members) {
    std::set<std::string> known = {"tcId", "comment", "key", "msg", "result", "flags"};
    const auto hex = [&](const char* member) {
      known.insert(member);
      return FromHex(test[member].get<std::string>());
    };
    Vector vector;
    vector.key = hex("key");
    vector.msg = hex("msg");
    EXPECT_EQ(vector.key.size() * 8, group["keySize"].get<size_t>());
    if (members & kIv) {
      vector.iv = hex("iv");
      EXPECT_EQ(vector.iv.size() * 8, group["ivSize"].get<size_t>());
    }
    if (members & kAad) vector.aad = hex("aad");
    if (members & kCt) vector.ct = hex("ct");
    if (members & kTag) {
      vector.tag = hex("tag");
      vector.tag_bits = group["tagSize"].get<CK_ULONG>();
    }
    vector.result = test["result"].get<std::string>();
    EXPECT_TRUE(vector.result == "valid" || vector.result == "invalid" ||
                vector.result == "acceptable");
    for (const json& flag : test["flags"]) {
      vector.flags.insert(flag.get<std::string>());
      EXPECT_TRUE(notes_.contains(flag.get<std::string>())) << flag;
    }
    for (const auto& [member, value] : test.items()) {
      EXPECT_TRUE(known.contains(member)) << "unconsumed field " << member;
    }
    return vector;
  }

  // CheckAead: a valid vector works both ways, in one part and in several; an invalid one does not
  // decrypt.
  void CheckAead(const Vector& vector, CK_OBJECT_HANDLE key, const OwnedMechanism& mechanism,
                 bool bad_parameter) {
    ASSERT_NE(key, CK_INVALID_HANDLE);
    const Bytes sealed = vector.Sealed();
    if (bad_parameter) {
      const Result refused{CKR_MECHANISM_PARAM_INVALID, {}};
      EXPECT_EQ(Encrypt(session_, key, mechanism, vector.msg), refused);
      EXPECT_EQ(Decrypt(session_, key, mechanism, sealed), refused);
    } else if (vector.result == "invalid") {
      const Result refused{CKR_ENCRYPTED_DATA_INVALID, {}};
      EXPECT_EQ(Decrypt(session_, key, mechanism, sealed), refused);
      EXPECT_EQ(DecryptInParts(session_, key, mechanism, sealed, 7), refused);
    } else {
      EXPECT_EQ(Encrypt(session_, key, mechanism, vector.msg), (Result{CKR_OK, sealed}));
      EXPECT_EQ(Decrypt(session_, key, mechanism, sealed), (Result{CKR_OK, vector.msg}));
      EXPECT_EQ(EncryptInParts(session_, key, mechanism, vector.msg, 7), (Result{CKR_OK, sealed}));
      EXPECT_EQ(DecryptInParts(session_, key, mechanism, sealed, 7), (Result{CKR_OK, vector.msg}));
    }
  }

  // CheckWrap: valid and acceptable keys are wrapped and unwrapped, invalid ones not unwrapped.
  void CheckWrap(const Vector& vector, CK_OBJECT_HANDLE key, CK_MECHANISM_TYPE type) {
    ASSERT_NE(key, CK_INVALID_HANDLE);
    const OwnedMechanism mechanism(type);
    CK_OBJECT_HANDLE unwrapped = CK_INVALID_HANDLE;
    const CK_RV rv = Unwrap(session_, key, mechanism, vector.ct,
                            UnwrappedTemplate(CKK_GENERIC_SECRET), unwrapped);
    // There are no empty keys here, which the vectors call acceptable.
    if (vector.result == "invalid" || vector.msg.empty()) {
      EXPECT_RV_IN(rv, CKR_WRAPPED_KEY_INVALID, CKR_WRAPPED_KEY_LEN_RANGE);
      EXPECT_EQ(unwrapped, CK_INVALID_HANDLE);
      return;
    }
    EXPECT_RV(CKR_OK, rv);
    EXPECT_EQ(ReadBytes(session_, unwrapped, CKA_VALUE), vector.msg);
    EXPECT_EQ(Wrap(session_, key, mechanism, unwrapped), (Result{CKR_OK, vector.ct}));
    EXPECT_RV(CKR_OK, P11().C_DestroyObject(session_, unwrapped));
  }

  std::set<std::string> notes_;
};

// Small nonces are accepted: PKCS#11 allows any length but 0.
TEST_F(SymmetricVectorsTest, AesGcm) {
  if (!HasMechanism(slot_, CKM_AES_GCM, CKF_ENCRYPT | CKF_DECRYPT)) GTEST_SKIP();
  Run("aes_gcm_test.json", CKK_AES, kIv | kAad | kCt | kTag,
      [&](const Vector& vector, CK_OBJECT_HANDLE key) {
        CheckAead(vector, key, Gcm(vector.iv, vector.aad, vector.tag_bits),
                  vector.Has("ZeroLengthIv"));
      });
}

TEST_F(SymmetricVectorsTest, AesCcm) {
  if (!HasMechanism(slot_, CKM_AES_CCM, CKF_ENCRYPT | CKF_DECRYPT)) GTEST_SKIP();
  Run("aes_ccm_test.json", CKK_AES, kIv | kAad | kCt | kTag,
      [&](const Vector& vector, CK_OBJECT_HANDLE key) {
        CheckAead(vector, key, Ccm(vector.iv, vector.aad, vector.tag_bits / 8, vector.msg.size()),
                  vector.Has("InvalidNonceSize") || vector.Has("InvalidTagSize"));
      });
}

TEST_F(SymmetricVectorsTest, ChaCha20Poly1305) {
  if (!HasMechanism(slot_, CKM_CHACHA20_POLY1305, CKF_ENCRYPT | CKF_DECRYPT)) GTEST_SKIP();
  Run("chacha20_poly1305_test.json", CKK_CHACHA20, kIv | kAad | kCt | kTag,
      [&](const Vector& vector, CK_OBJECT_HANDLE key) {
        CheckAead(vector, key, ChaCha(vector.iv, vector.aad), vector.iv.size() != 12);
      });
}

TEST_F(SymmetricVectorsTest, AesCbcPad) {
  if (!HasMechanism(slot_, CKM_AES_CBC_PAD, CKF_ENCRYPT | CKF_DECRYPT)) GTEST_SKIP();
  Run("aes_cbc_pkcs5_test.json", CKK_AES, kIv | kCt,
      [&](const Vector& vector, CK_OBJECT_HANDLE key) {
        ASSERT_NE(key, CK_INVALID_HANDLE);
        const OwnedMechanism mechanism(CKM_AES_CBC_PAD, vector.iv);
        if (vector.result == "invalid") {
          const CK_RV refused =
              vector.ct.empty() ? CKR_ENCRYPTED_DATA_LEN_RANGE : CKR_ENCRYPTED_DATA_INVALID;
          EXPECT_RV(refused, Decrypt(session_, key, mechanism, vector.ct).rv);
          EXPECT_RV(refused, DecryptInParts(session_, key, mechanism, vector.ct, 5).rv);
          return;
        }
        EXPECT_EQ(Encrypt(session_, key, mechanism, vector.msg), (Result{CKR_OK, vector.ct}));
        EXPECT_EQ(Decrypt(session_, key, mechanism, vector.ct), (Result{CKR_OK, vector.msg}));
        for (const size_t part : {1, 5, 16, 17}) {
          EXPECT_EQ(EncryptInParts(session_, key, mechanism, vector.msg, part),
                    (Result{CKR_OK, vector.ct}));
          EXPECT_EQ(DecryptInParts(session_, key, mechanism, vector.ct, part),
                    (Result{CKR_OK, vector.msg}));
        }
      });
}

// Keys of other lengths are no AES keys, and are refused when they come.
TEST_F(SymmetricVectorsTest, AesCmac) {
  if (!HasMechanism(slot_, CKM_AES_CMAC, CKF_SIGN | CKF_VERIFY)) GTEST_SKIP();
  Run("aes_cmac_test.json", CKK_AES, kTag, [&](const Vector& vector, CK_OBJECT_HANDLE key) {
    const size_t size = vector.key.size();
    if (size != 16 && size != 24 && size != 32) {
      EXPECT_EQ(vector.result, "invalid");
      EXPECT_EQ(key, CK_INVALID_HANDLE);
      return;
    }
    ASSERT_NE(key, CK_INVALID_HANDLE);
    const OwnedMechanism mechanism(CKM_AES_CMAC);
    if (vector.result == "invalid") {
      EXPECT_RV(CKR_SIGNATURE_INVALID, Verify(session_, key, mechanism, vector.msg, vector.tag));
      return;
    }
    EXPECT_RV(CKR_OK, Verify(session_, key, mechanism, vector.msg, vector.tag));
    EXPECT_EQ(Sign(session_, key, mechanism, vector.msg), (Result{CKR_OK, vector.tag}));
  });
}

TEST_F(SymmetricVectorsTest, AesKeyWrap) {
  if (!HasMechanism(slot_, CKM_AES_KEY_WRAP, CKF_WRAP | CKF_UNWRAP)) GTEST_SKIP();
  Run("kw_test.json", CKK_AES, kCt, [&](const Vector& vector, CK_OBJECT_HANDLE key) {
    CheckWrap(vector, key, CKM_AES_KEY_WRAP);
  });
}

// Keys that are short, or longer than the wrapping key, are accepted; an empty one is not.
TEST_F(SymmetricVectorsTest, AesKeyWrapKwp) {
  if (!HasMechanism(slot_, CKM_AES_KEY_WRAP_KWP, CKF_WRAP | CKF_UNWRAP)) GTEST_SKIP();
  Run("kwp_test.json", CKK_AES, kCt, [&](const Vector& vector, CK_OBJECT_HANDLE key) {
    CheckWrap(vector, key, CKM_AES_KEY_WRAP_KWP);
    CheckWrap(vector, key, CKM_AES_KEY_WRAP_PAD);
  });
}

}  // namespace
}  // namespace secretmem::conformance
