// Which files of Project Wycheproof are run and which are not, and why. A file that is in neither
// list is an error: a newer tree's vectors must not be passed over.
//
// What 'acceptable' vectors are decided to be, in the tests that run them:
//   CompressedPoint                     taken
//   InvalidAsn, UnnamedCurve            not taken: keys come by named curve, and bits that are no
//                                       point are refused
//   SigSize                             not taken: an ECDSA signature has one length (§6.3.12)
//   MissingZero, BER                    cannot be said: PKCS#11 has r and s, not their encoding
//   ZeroSharedSecret                    not taken (RFC 7748 §6.1)
//   Twist, NonCanonicalPublic           taken (RFC 7748 §5)
//   WeakHash                            taken
//   SmallModulus, SmallPublicKey        taken, from 1,024 bits
//   MissingNull                         not taken: whole encodings are compared (RFC 8017, 8.2.2)
//   InvalidPkcs1Padding                 not told: implicit rejection
//   keys of no bytes in KW and KWP      not taken: there are no empty keys
#include <filesystem>
#include <regex>
#include <set>
#include <string>

#include "tests/conformance/wycheproof.h"

namespace secretmem::conformance {
namespace {

// By regular expressions for whole names before "_test.json".
constexpr const char* kRun[] = {
    "aes_(cbc_pkcs5|ccm|cmac|gcm)",
    "gmac",
    "chacha20_poly1305",
    "kwp?",
    "hmac_sha(1|224|256|384|512)",
    "hkdf_sha(1|256|384|512)",
    "ecdh(_secp(224|256|384|521)r1(_ecpoint)?|_webcrypto)?",
    "ecdsa_secp224r1_sha(224|256|512)(_p1363)?",
    "ecdsa_secp256r1_sha(256|512)(_p1363)?",
    "ecdsa_secp384r1_sha(384|512)(_p1363)?",
    "ecdsa_secp521r1_sha512(_p1363)?",
    "ecdsa(_webcrypto)?",
    "eddsa",
    "x25519(_asn|_jwk|_pem)?",
    "rsa_oaep_[0-9]+_sha[0-9]+_mgf1sha[0-9]+",
    "rsa_(oaep|pss|sig_gen)_misc",
    "rsa_pkcs1_[0-9]+",
    "rsa_pss_[0-9]+_sha[0-9]+_mgf1_[0-9]+",
    "rsa_signature(_[0-9]+_sha(224|256|384|512))?",
};

struct NotRun {
  const char* name;
  const char* reason;
};
constexpr NotRun kNotRun[] = {
    {"(aead_aes_siv|aes_siv)_cmac|aes_gcm_siv|aes_eax|aegis.*|vmac_.*", "no such mechanism"},
    {"xchacha20_poly1305", "PKCS#11 has it for messages with nonces of 24 bytes only"},
    {"dsa_.*|dsa", "no DSA"},
    {"(ecdh|ecdsa)_(brainpool|secp256k1).*", "BoringSSL has no such curve"},
    {"ed448|x448.*", "BoringSSL has no such curve"},
    {".*_sha3_.*", "the module has no SHA-3"},
    {"rsa_.*_sha512_(224|256).*", "PKCS#11 has no RSA mechanism with these hashes"},
    {"primality", "PKCS#11 has no such question"},
};

bool Is(const std::string& stem, const char* expression) {
  return std::regex_match(stem, std::regex(expression));
}

constexpr std::string_view kEnd = "_test.json";

TEST(WycheproofFilesTest, EveryFileIsInOneList) {
  if (GlobalOptions().wycheproof.empty()) GTEST_SKIP() << "no --wycheproof DIRECTORY given";
  int run = 0;
  for (const auto& entry : std::filesystem::directory_iterator(GlobalOptions().wycheproof)) {
    const std::string name = entry.path().filename();
    if (!name.ends_with(kEnd)) continue;
    const std::string stem = name.substr(0, name.size() - kEnd.size());
    int reasons = 0;
    for (const NotRun& file : kNotRun) reasons += Is(stem, file.name) ? 1 : 0;
    if (IsRun(name)) {
      ++run;
      EXPECT_EQ(reasons, 0) << name << " is in both";
    } else {
      EXPECT_GE(reasons, 1) << name << " is in neither";
    }
  }
  EXPECT_GT(run, 80);
}

}  // namespace

bool IsRun(const std::string& name) {
  if (!name.ends_with(kEnd)) return false;
  const std::string stem = name.substr(0, name.size() - kEnd.size());
  for (const char* expression : kRun) {
    if (Is(stem, expression)) return true;
  }
  return false;
}

}  // namespace secretmem::conformance
