// Which published vectors each mechanism is tested with, and by which tests: the table that a new
// mechanism has to be entered in.
#include <algorithm>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "mechanisms/vendor.h"
#include "tests/conformance/fixtures.h"

namespace secretmem::conformance {
namespace {

struct Row {
  std::vector<CK_MECHANISM_TYPE> mechanisms;
  const char* source;
  std::vector<const char*> tests;  // without what the parameters add to their names
};

// Where there are no published vectors, the test compares with OpenSSL or the definition, and the
// source says so.
std::vector<Row> DigestRows() {
  return {
      {{CKM_SHA_1, CKM_SHA224, CKM_SHA256, CKM_SHA384, CKM_SHA512, CKM_SHA512_256},
       "FIPS 180-4",
       {"PublishedHashTest.Digests"}},
      {{CKM_SHA1_KEY_DERIVATION, CKM_SHA224_KEY_DERIVATION, CKM_SHA256_KEY_DERIVATION,
        CKM_SHA384_KEY_DERIVATION, CKM_SHA512_KEY_DERIVATION, CKM_SHA512_256_KEY_DERIVATION},
       "FIPS 180-4",
       {"PublishedHashTest.KeyDerivations"}},
      {{CKM_SHA_1_HMAC, CKM_SHA224_HMAC, CKM_SHA256_HMAC, CKM_SHA384_HMAC, CKM_SHA512_HMAC,
        CKM_SHA_1_HMAC_GENERAL, CKM_SHA224_HMAC_GENERAL, CKM_SHA256_HMAC_GENERAL,
        CKM_SHA384_HMAC_GENERAL, CKM_SHA512_HMAC_GENERAL},
       "Wycheproof, RFC 2202, RFC 4231",
       {"WycheproofHmacTest.Hmac", "PublishedHashTest.Hmac"}},
      {{CKM_SHA512_256_HMAC, CKM_SHA512_256_HMAC_GENERAL},
       "some of Wycheproof's",
       {"PublishedHashTest.Hmac"}},
  };
}

std::vector<Row> DerivationRows() {
  return {
      {{CKM_CONCATENATE_BASE_AND_KEY, CKM_CONCATENATE_BASE_AND_DATA, CKM_CONCATENATE_DATA_AND_BASE,
        CKM_XOR_BASE_AND_DATA},
       "the definition",
       {"CombinationTest.BaseAndKey", "CombinationTest.BaseAndData", "CombinationTest.DataAndBase",
        "CombinationTest.Xor"}},
      {{CKM_EXTRACT_KEY_FROM_KEY},
       "the specification's example",
       {"CombinationTest.ExtractExample"}},
      {{CKM_HKDF_DERIVE}, "Wycheproof, RFC 5869", {"WycheproofHkdfTest.Hkdf", "HkdfTest.Rfc5869"}},
      {{CKM_HKDF_DATA}, "RFC 5869", {"HkdfDataTest.Rfc5869"}},
      {{CKM_SP800_108_COUNTER_KDF}, "NIST's for SP 800-108", {"CounterKdfTest.Nist"}},
      {{CKM_PKCS5_PBKD2},
       "RFC 6070, RFC 7914",
       {"PasswordKeyTest.Rfc6070", "PasswordKeyTest.Rfc7914", "PasswordKeyTest.Sha512"}},
      {{CKM_TLS12_MASTER_KEY_DERIVE_DH, CKM_TLS12_KEY_AND_MAC_DERIVE, CKM_TLS12_KEY_SAFE_DERIVE},
       "NIST's for SP 800-135, the TLS working group's",
       {"TlsTest.Nist", "TlsReferenceTest.KnownPrf", "TlsHashTest.MasterSecret",
        "TlsHashTest.KeyBlock"}},
      {{CKM_TLS12_MASTER_KEY_DERIVE, CKM_TLS12_EXTENDED_MASTER_KEY_DERIVE,
        CKM_TLS12_EXTENDED_MASTER_KEY_DERIVE_DH, CKM_TLS_KDF, CKM_TLS12_KDF, CKM_TLS_MAC,
        CKM_TLS12_MAC},
       "the TLS working group's, which OpenSSL's PRF gives, which gives the same as the token",
       {"TlsReferenceTest.KnownPrf", "TlsHashTest.MasterSecret", "TlsHashTest.ExtendedMasterSecret",
        "TlsHashTest.Exporter", "TlsHashTest.Finished"}},
  };
}

std::vector<Row> CipherRows() {
  return {
      {{CKM_AES_ECB}, "SP 800-38A, FIPS 197", {"PublishedAesTest.Ecb"}},
      {{CKM_AES_CBC}, "SP 800-38A", {"PublishedAesTest.Cbc"}},
      {{CKM_AES_CBC_PAD}, "Wycheproof", {"SymmetricVectorsTest.AesCbcPad"}},
      {{CKM_AES_CTR}, "SP 800-38A, RFC 3686", {"PublishedAesTest.Ctr"}},
      {{CKM_AES_GCM}, "Wycheproof", {"SymmetricVectorsTest.AesGcm", "WycheproofGmacTest.Gmac"}},
      {{CKM_AES_CCM},
       "Wycheproof, SP 800-38C",
       {"SymmetricVectorsTest.AesCcm", "PublishedAesTest.Ccm"}},
      {{CKM_AES_CMAC, CKM_AES_CMAC_GENERAL},
       "Wycheproof, SP 800-38B, RFC 4493",
       {"SymmetricVectorsTest.AesCmac", "PublishedAesTest.Cmac"}},
      {{CKM_AES_KEY_WRAP},
       "Wycheproof, RFC 3394",
       {"SymmetricVectorsTest.AesKeyWrap", "PublishedKeyWrapTest.Rfc3394"}},
      {{CKM_AES_KEY_WRAP_KWP, CKM_AES_KEY_WRAP_PAD},
       "Wycheproof, RFC 5649",
       {"SymmetricVectorsTest.AesKeyWrapKwp", "PublishedKeyWrapTest.Rfc5649"}},
      {{CKM_CHACHA20_POLY1305}, "Wycheproof", {"SymmetricVectorsTest.ChaCha20Poly1305"}},
  };
}

std::vector<Row> RsaRows() {
  return {
      {{CKM_SHA224_RSA_PKCS, CKM_SHA256_RSA_PKCS, CKM_SHA384_RSA_PKCS, CKM_SHA512_RSA_PKCS},
       "Wycheproof",
       {"WycheproofRsaPkcs1Test.Rsa2048", "WycheproofRsaPkcs1Test.Rsa3072",
        "WycheproofRsaPkcs1Test.Rsa4096", "WycheproofRsaSignTest.Misc"}},
      {{CKM_SHA1_RSA_PKCS}, "Wycheproof", {"WycheproofRsaSignTest.Misc"}},
      {{CKM_SHA1_RSA_PKCS_PSS, CKM_SHA224_RSA_PKCS_PSS, CKM_SHA256_RSA_PKCS_PSS,
        CKM_SHA384_RSA_PKCS_PSS, CKM_SHA512_RSA_PKCS_PSS},
       "Wycheproof",
       {"WycheproofRsaPssTest.Rsa2048", "WycheproofRsaPssTest.Rsa3072",
        "WycheproofRsaPssTest.Rsa4096", "WycheproofRsaPssTest.Misc"}},
      {{CKM_RSA_PKCS},
       "Wycheproof: decryption, with implicit rejection where an error is expected; signatures "
       "compared with OpenSSL",
       {"WycheproofRsaPkcs1DecryptTest.Rsa2048", "WycheproofRsaPkcs1DecryptTest.Rsa3072",
        "WycheproofRsaPkcs1DecryptTest.Rsa4096", "RsaRejectionTest.Vectors",
        "RsaSignTest.RawPkcs1"}},
      {{CKM_RSA_PKCS_OAEP},
       "Wycheproof",
       {"WycheproofRsaOaepTest.Rsa2048", "WycheproofRsaOaepTest.Rsa3072And4096",
        "WycheproofRsaOaepTest.Misc"}},
      {{CKM_RSA_PKCS_PSS}, "none: compared with OpenSSL", {"RsaSignTest.RawPss"}},
      {{CKM_RSA_X_509},
       "none: compared with OpenSSL",
       {"RsaSignTest.RawX509", "RsaCipherTest.X509", "RecoverTest.Raw"}},
      {{CKM_RSA_AES_KEY_WRAP}, "none: compared with OpenSSL", {"RsaAesWrapTest.MadeByOpenSsl"}},
  };
}

std::vector<Row> CurveRows() {
  return {
      {{CKM_ECDSA, CKM_ECDSA_SHA1}, "RFC 6979", {"PublishedCurveTest.Ecdsa"}},
      {{CKM_ECDSA_SHA224, CKM_ECDSA_SHA256, CKM_ECDSA_SHA384, CKM_ECDSA_SHA512},
       "Wycheproof, RFC 6979",
       {"WycheproofEcdsaTest.Verify", "WycheproofEcdsaDerTest.Der",
        "WycheproofEcdsaDerTest.Webcrypto", "PublishedCurveTest.Ecdsa"}},
      {{CKM_ECDH1_DERIVE},
       "Wycheproof, RFC 7748, NIST's for SP 800-56A and X9.63",
       {"WycheproofEcdhTest.Derive", "WycheproofX25519Test.X25519", "Rfc7748Test.Section61",
        "PublishedAgreementTest.CofactorDiffieHellman", "PublishedAgreementTest.X963",
        "X963ReferenceTest.Nist", "DeriveKdfTest.EqualsReference"}},
      {{CKM_ECDH1_COFACTOR_DERIVE},
       "NIST's for SP 800-56A",
       {"PublishedAgreementTest.CofactorDiffieHellman"}},
      {{CKM_EDDSA},
       "Wycheproof, RFC 8032",
       {"WycheproofEddsaTest.Ed25519", "EcSignTest.EddsaRfc8032"}},
      {{CKM_ECDH_AES_KEY_WRAP, CKM_ECDH_COF_AES_KEY_WRAP, CKM_ECDH_X_AES_KEY_WRAP},
       "none: compared with OpenSSL",
       {"EcdhWrapTest.NistCurves", "EcdhWrapTest.X25519"}},
      {{CKM_ML_KEM},
       "Wycheproof's seeds, by the unit test MlKemTest",
       {"MlKemTest.BothWays", "MlKemTest.ImplicitRejection"}},
      {{CKM_SECRETMEM_HPKE},
       "RFC 9180; with X-Wing, BoringSSL's by the unit test XWingTest",
       {"HpkeTest.Rfc9180Vectors", "XWingTest.BothWays"}},
      {{CKM_SECRETMEM_RESEAL}, "none: the definition", {"BoundKeyTest.Reseal"}},
  };
}

// What draws random numbers has no vectors: what it makes is used.
std::vector<Row> GenerationRows() {
  return {
      {{CKM_GENERIC_SECRET_KEY_GEN}, "none", {"GenericSecretTest.Attributes"}},
      {{CKM_HKDF_KEY_GEN}, "none", {"HkdfTest.KeyGen"}},
      {{CKM_AES_KEY_GEN, CKM_CHACHA20_KEY_GEN}, "none", {"CipherTest.Generation"}},
      {{CKM_TLS_PRE_MASTER_KEY_GEN}, "none", {"TlsTest.Premaster"}},
      {{CKM_RSA_PKCS_KEY_PAIR_GEN}, "none", {"RsaKeyTest.Attributes", "RsaKeyTest.Sizes"}},
      {{CKM_EC_KEY_PAIR_GEN}, "none", {"EcKeysTest.Generate"}},
      {{CKM_EC_EDWARDS_KEY_PAIR_GEN}, "none", {"EcKeysTest.GenerateEd25519"}},
      {{CKM_EC_MONTGOMERY_KEY_PAIR_GEN}, "none", {"KeyPairTest.PublicKeyBelongsToPrivateKey"}},
      {{CKM_ML_KEM_KEY_PAIR_GEN}, "none", {"MlKemTest.BothWays"}},
      {{CKM_SECRETMEM_XWING_KEY_PAIR_GEN}, "none", {"XWingTest.BothWays"}},
  };
}

std::vector<Row> AllRows() {
  std::vector<Row> rows;
  for (const auto& part :
       {DigestRows(), DerivationRows(), CipherRows(), RsaRows(), CurveRows(), GenerationRows()}) {
    rows.insert(rows.end(), part.begin(), part.end());
  }
  return rows;
}

// Plain is a suite's or test's name without its instantiation's.
std::string Plain(std::string_view name) {
  if (const size_t slash = name.find('/'); slash != name.npos) {
    // Suites have theirs in front, tests behind.
    const bool is_suite = name.substr(0, slash).find("Test") == name.npos &&
                          name.substr(slash).find("Test") != name.npos;
    name = is_suite ? name.substr(slash + 1) : name.substr(0, slash);
  }
  return std::string(name);
}

TEST(VectorsTest, TestsExist) {
  std::set<std::string> tests;
  const testing::UnitTest& all = *testing::UnitTest::GetInstance();
  for (int i = 0; i < all.total_test_suite_count(); ++i) {
    const testing::TestSuite& suite = *all.GetTestSuite(i);
    for (int k = 0; k < suite.total_test_count(); ++k) {
      tests.insert(Plain(suite.name()) + "." + Plain(suite.GetTestInfo(k)->name()));
    }
  }
  for (const Row& row : AllRows()) {
    EXPECT_FALSE(row.tests.empty()) << row.source;
    for (const char* test : row.tests) EXPECT_TRUE(tests.contains(test)) << test;
  }
}

using VectorsOfTokenTest = TokenTest;

TEST_F(VectorsOfTokenTest, EveryMechanismIsInOneRow) {
  CK_ULONG count = 0;
  ASSERT_RV(CKR_OK, P11().C_GetMechanismList(slot_, nullptr, &count));
  std::vector<CK_MECHANISM_TYPE> offered(count);
  ASSERT_RV(CKR_OK, P11().C_GetMechanismList(slot_, offered.data(), &count));
  const std::vector<Row> rows = AllRows();
  for (const CK_MECHANISM_TYPE type : offered) {
    const auto has = [&](const Row& row) { return std::ranges::count(row.mechanisms, type); };
    int found = 0;
    for (const Row& row : rows) found += static_cast<int>(has(row));
    EXPECT_EQ(found, 1) << "mechanism 0x" << std::hex << type;
  }
}

}  // namespace
}  // namespace secretmem::conformance
