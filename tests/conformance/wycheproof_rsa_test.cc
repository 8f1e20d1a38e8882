// RSA vectors of Project Wycheproof. The files with SHA-3, SHA-512/224 and SHA-512/256 are not run:
// PKCS#11 has no mechanism for those hashes with RSA, or the module has not got it.
#include <set>
#include <string>

#include "tests/conformance/rsa.h"
#include "tests/conformance/wycheproof.h"

namespace secretmem::conformance {
namespace {

class WycheproofRsaTest : public WycheproofTest {
 protected:
  void TearDown() override {
    // Nothing but what is known to be missing is passed over.
    for (const std::string& name : missing_) {
      EXPECT_TRUE(name == "SHA-512/224" || name == "SHA-512/256" || name.starts_with("SHA3-"))
          << name;
    }
    WycheproofTest::TearDown();
  }

  // Hash looks a hash up by name; null, and noted, where there is no mechanism for it.
  const RsaHash* Hash(const std::string& name) {
    const RsaHash* hash = FindRsaHash(name);
    if (hash == nullptr) missing_.insert(name);
    return hash;
  }

  // Decided: small moduli from 1,024 bits, small exponents and weak hashes are taken; a DigestInfo
  // without its NULL is not (RFC 8017, 8.2.2 compares whole encodings).
  static bool IsGood(const Vector& vector) {
    for (const std::string& flag : vector.flags) {
      EXPECT_TRUE(flag == "SmallModulus" || flag == "SmallPublicKey" || flag == "WeakHash" ||
                  flag == "MissingNull" || flag == "Constructed" || flag == "InvalidOaepPadding" ||
                  flag == "InvalidPkcs1Padding")
          << "unknown flag " << flag;
    }
    if (vector.result == "acceptable") return !vector.flags.contains("MissingNull");
    return vector.result == "valid";
  }

  void ExpectVerdict(const Vector& vector, CK_RV rv, const Bytes& signature, const Bytes& modulus) {
    if (IsGood(vector)) {
      EXPECT_RV(CKR_OK, rv);
    } else if (signature.size() != WithoutZeros(modulus).size()) {
      EXPECT_RV(CKR_SIGNATURE_LEN_RANGE, rv);
    } else {
      EXPECT_RV(CKR_SIGNATURE_INVALID, rv);
    }
  }

  std::set<std::string> missing_;
  int run_ = 0;
};

class WycheproofRsaPkcs1Test : public WycheproofRsaTest {
 protected:
  void RunGroup(Fields& group, const std::set<std::string>& notes) override {
    EXPECT_EQ(group.Text("type"), "RsassaPkcs1Verify");
    EXPECT_GT(group.Take("keysize").get<int>(), 0);
    for (const char* name : {"keyAsn", "keyDer", "keyPem"}) group.Take(name);
    group.Optional("keyJwk");
    const Bytes n = group.Hex("n"), e = group.Hex("e");
    const RsaHash* hash = Hash(group.Text("sha"));
    const CK_OBJECT_HANDLE key = Create(session_, RsaPublicKey(n, e));
    for (const json& test : group.Take("tests")) {
      Vector vector(test, notes);
      SCOPED_TRACE(vector.trace);
      const Bytes message = vector.fields.Hex("msg"), signature = vector.fields.Hex("sig");
      ++vectors_;
      if (hash == nullptr) continue;
      ++run_;
      ExpectVerdict(vector, RsaVerify(session_, {hash->pkcs1}, key, message, signature), signature,
                    n);
    }
    EXPECT_RV(CKR_OK, P11().C_DestroyObject(session_, key));
  }

  void Run(const std::string& name) {
    RunFile(name, "RSASSA-PKCS1-v1_5", "rsassa_pkcs1_verify_schema.json");
    EXPECT_GT(run_, 0);
  }
};

TEST_F(WycheproofRsaPkcs1Test, Rsa2048) {
  for (const char* hash : {"sha224", "sha256", "sha384", "sha512"}) {
    Run(std::string("rsa_signature_2048_") + hash + "_test.json");
  }
}

TEST_F(WycheproofRsaPkcs1Test, Rsa3072) {
  for (const char* hash : {"sha256", "sha384", "sha512"}) {
    Run(std::string("rsa_signature_3072_") + hash + "_test.json");
  }
}

TEST_F(WycheproofRsaPkcs1Test, Rsa4096) {
  for (const char* hash : {"sha384", "sha512"}) {
    Run(std::string("rsa_signature_4096_") + hash + "_test.json");
  }
}

TEST_F(WycheproofRsaPkcs1Test, Misc) { Run("rsa_signature_test.json"); }

class WycheproofRsaSignTest : public WycheproofRsaTest {
 protected:
  void RunGroup(Fields& group, const std::set<std::string>& notes) override {
    EXPECT_EQ(group.Text("type"), "RsassaPkcs1Generate");
    EXPECT_GT(group.Take("keysize").get<int>(), 0);
    for (const char* name : {"keyAsn", "keyDer", "keyPem", "privateKeyPem"}) group.Take(name);
    for (const char* name : {"keyJwk", "privateKeyJwk"}) group.Optional(name);
    const RsaNumbers numbers = RsaNumbersOf(group.Hex("privateKeyPkcs8"));
    EXPECT_EQ(numbers.n, WithoutZeros(group.Hex("n")));
    EXPECT_EQ(numbers.e, WithoutZeros(group.Hex("e")));
    EXPECT_EQ(numbers.d, WithoutZeros(group.Hex("d")));
    const RsaHash* hash = Hash(group.Text("sha"));
    const CK_OBJECT_HANDLE key = Create(session_, RsaPrivateKey(numbers));
    for (const json& test : group.Take("tests")) {
      Vector vector(test, notes);
      SCOPED_TRACE(vector.trace);
      const Bytes message = vector.fields.Hex("msg"), signature = vector.fields.Hex("sig");
      ++vectors_;
      if (hash == nullptr) continue;
      ++run_;
      ASSERT_TRUE(IsGood(vector));
      EXPECT_EQ(RsaSign(session_, {hash->pkcs1}, key, message), (Outcome{CKR_OK, signature}));
    }
    EXPECT_RV(CKR_OK, P11().C_DestroyObject(session_, key));
  }
};

TEST_F(WycheproofRsaSignTest, Misc) {
  RunFile("rsa_sig_gen_misc_test.json", "RSASSA-PKCS1-v1_5", "rsassa_pkcs1_generate_schema.json");
  EXPECT_GT(run_, 0);
}

class WycheproofRsaPssTest : public WycheproofRsaTest {
 protected:
  void RunGroup(Fields& group, const std::set<std::string>& notes) override {
    EXPECT_EQ(group.Text("type"), "RsassaPssVerify");
    EXPECT_EQ(group.Text("mgf"), "MGF1");
    EXPECT_GT(group.Take("keysize").get<int>(), 0);
    for (const char* name : {"keyAsn", "keyDer", "keyPem"}) group.Take(name);
    group.Optional("keyJwk");
    const Bytes n = group.Hex("n"), e = group.Hex("e");
    const RsaHash* hash = Hash(group.Text("sha"));
    const RsaHash* mgf = Hash(group.Text("mgfSha"));
    const CK_ULONG salt = group.Take("sLen").get<CK_ULONG>();
    const CK_OBJECT_HANDLE key = Create(session_, RsaPublicKey(n, e));
    for (const json& test : group.Take("tests")) {
      Vector vector(test, notes);
      SCOPED_TRACE(vector.trace);
      const Bytes message = vector.fields.Hex("msg"), signature = vector.fields.Hex("sig");
      ++vectors_;
      if (hash == nullptr || mgf == nullptr) continue;
      ++run_;
      ExpectVerdict(vector,
                    RsaVerify(session_, Pss(hash->pss, *hash, *mgf, salt), key, message, signature),
                    signature, n);
      ExpectVerdict(vector,
                    RsaVerify(session_, Pss(CKM_RSA_PKCS_PSS, *hash, *mgf, salt), key,
                              ReferenceHash(hash->openssl, message), signature),
                    signature, n);
    }
    EXPECT_RV(CKR_OK, P11().C_DestroyObject(session_, key));
  }

  void Run(const std::string& name) {
    RunFile("rsa_pss_" + name + "_test.json", "RSASSA-PSS", "rsassa_pss_verify_schema.json");
    EXPECT_GT(run_, 0);
  }
};

TEST_F(WycheproofRsaPssTest, Rsa2048) {
  for (const char* name : {"2048_sha1_mgf1_20", "2048_sha256_mgf1_0", "2048_sha256_mgf1_32"}) {
    Run(name);
  }
}

TEST_F(WycheproofRsaPssTest, Rsa3072) { Run("3072_sha256_mgf1_32"); }

TEST_F(WycheproofRsaPssTest, Rsa4096) {
  for (const char* name : {"4096_sha256_mgf1_32", "4096_sha512_mgf1_32"}) Run(name);
}

TEST_F(WycheproofRsaPssTest, Misc) { Run("misc"); }

// Keys for decryption come with the modulus and the private exponent alone.
class WycheproofRsaDecryptTest : public WycheproofRsaTest {
 protected:
  // The key of a group, imported in its least form.
  CK_OBJECT_HANDLE Key(Fields& group, const char* type) {
    EXPECT_EQ(group.Text("type"), type);
    EXPECT_GT(group.Take("keysize").get<int>(), 0);
    group.Take("privateKeyPem");
    group.Optional("privateKeyJwk");
    const RsaNumbers numbers = RsaNumbersOf(group.Hex("privateKeyPkcs8"));
    EXPECT_EQ(numbers.n, WithoutZeros(group.Hex("n")));
    EXPECT_EQ(numbers.e, WithoutZeros(group.Hex("e")));
    EXPECT_EQ(numbers.d, WithoutZeros(group.Hex("d")));
    size_ = numbers.n.size();
    return Create(session_,
                  LeastRsaPrivateKey(numbers.n, numbers.d).With(CKA_PUBLIC_EXPONENT, numbers.e));
  }

  size_t size_ = 0;
};

class WycheproofRsaOaepTest : public WycheproofRsaDecryptTest {
 protected:
  void RunGroup(Fields& group, const std::set<std::string>& notes) override {
    const CK_OBJECT_HANDLE key = Key(group, "RsaesOaepDecrypt");
    EXPECT_EQ(group.Text("mgf"), "MGF1");
    const RsaHash* hash = Hash(group.Text("sha"));
    const RsaHash* mgf = Hash(group.Text("mgfSha"));
    for (const json& test : group.Take("tests")) {
      Vector vector(test, notes);
      SCOPED_TRACE(vector.trace);
      const Bytes message = vector.fields.Hex("msg"), ciphertext = vector.fields.Hex("ct");
      const Bytes label = vector.fields.Hex("label");
      ++vectors_;
      if (hash == nullptr || mgf == nullptr) continue;
      ++run_;
      const Outcome outcome = RsaDecrypt(session_, Oaep(*hash, *mgf, label), key, ciphertext);
      if (IsGood(vector)) {
        EXPECT_EQ(outcome, (Outcome{CKR_OK, message}));
      } else if (ciphertext.size() != size_) {
        EXPECT_RV(CKR_ENCRYPTED_DATA_LEN_RANGE, outcome.rv);
      } else {
        EXPECT_RV(CKR_ENCRYPTED_DATA_INVALID, outcome.rv);
      }
    }
    EXPECT_RV(CKR_OK, P11().C_DestroyObject(session_, key));
  }

  void Run(const std::string& name) {
    RunFile("rsa_oaep_" + name + "_test.json", "RSAES-OAEP", "rsaes_oaep_decrypt_schema.json");
    EXPECT_GT(run_, 0);
  }
};

TEST_F(WycheproofRsaOaepTest, Rsa2048) {
  for (const char* hash : {"sha1", "sha224", "sha256", "sha384", "sha512"}) {
    Run(std::string("2048_") + hash + "_mgf1sha1");
    if (hash != std::string("sha1")) Run(std::string("2048_") + hash + "_mgf1" + hash);
  }
}

TEST_F(WycheproofRsaOaepTest, Rsa3072And4096) {
  for (const char* size : {"3072_", "4096_"}) {
    for (const char* hash : {"sha256", "sha512"}) {
      Run(std::string(size) + hash + "_mgf1sha1");
      Run(std::string(size) + hash + "_mgf1" + hash);
    }
  }
}

TEST_F(WycheproofRsaOaepTest, Misc) { Run("misc"); }

// Implicit rejection: where a vector expects an error for its padding, the module answers with a
// message that depends on the ciphertext alone. All of those are flagged InvalidPkcs1Padding.
class WycheproofRsaPkcs1DecryptTest : public WycheproofRsaDecryptTest {
 protected:
  void RunGroup(Fields& group, const std::set<std::string>& notes) override {
    const CK_OBJECT_HANDLE key = Key(group, "RsaesPkcs1Decrypt");
    for (const json& test : group.Take("tests")) {
      Vector vector(test, notes);
      SCOPED_TRACE(vector.trace);
      const Bytes message = vector.fields.Hex("msg"), ciphertext = vector.fields.Hex("ct");
      ++vectors_;
      ++run_;
      const Outcome outcome = RsaDecrypt(session_, {CKM_RSA_PKCS}, key, ciphertext);
      if (IsGood(vector)) {
        EXPECT_EQ(outcome, (Outcome{CKR_OK, message}));
      } else if (vector.flags.contains("InvalidPkcs1Padding")) {
        ++rejected_;
        EXPECT_RV(CKR_OK, outcome.rv);
        EXPECT_LE(outcome.bytes.size(), size_ - 11);
        EXPECT_EQ(RsaDecrypt(session_, {CKM_RSA_PKCS}, key, ciphertext), outcome);
      } else {
        EXPECT_RV(
            ciphertext.size() != size_ ? CKR_ENCRYPTED_DATA_LEN_RANGE : CKR_ENCRYPTED_DATA_INVALID,
            outcome.rv);
      }
    }
    EXPECT_RV(CKR_OK, P11().C_DestroyObject(session_, key));
  }

  void Run(const std::string& name) {
    RunFile(name, "RSAES-PKCS1-v1_5", "rsaes_pkcs1_decrypt_schema.json");
    EXPECT_GT(rejected_, 0);
  }

  int rejected_ = 0;
};

TEST_F(WycheproofRsaPkcs1DecryptTest, Rsa2048) { Run("rsa_pkcs1_2048_test.json"); }
TEST_F(WycheproofRsaPkcs1DecryptTest, Rsa3072) { Run("rsa_pkcs1_3072_test.json"); }
TEST_F(WycheproofRsaPkcs1DecryptTest, Rsa4096) { Run("rsa_pkcs1_4096_test.json"); }

}  // namespace
}  // namespace secretmem::conformance
