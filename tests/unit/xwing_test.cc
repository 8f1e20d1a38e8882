// X-Wing where BoringSSL has it: against the draft's vector and the HPKE vector in its tree, and
// both ways beside its own EVP_HPKE.
#ifdef SECRETMEM_XWING

#include "mechanisms/xwing.h"

#include <openssl/hpke.h>

#include <fstream>
#include <sstream>
#include <string>

#include "mechanism_testing.h"
#include "mechanisms/ec_params.h"
#include "mechanisms/hpke.h"
#include "mechanisms/vendor.h"
#include "pkcs11/attribute_rules.h"

namespace secretmem {
namespace {

using Blob = std::vector<uint8_t>;

std::string FileInTree(const char* name) {
  std::ifstream file(std::string(SECRETMEM_BORINGSSL_TREE) + "/crypto/" + name);
  std::ostringstream text;
  text << file.rdbuf();
  EXPECT_FALSE(text.str().empty()) << name;
  return text.str();
}

// The bytes of a constant array in BoringSSL's test, where the draft's appendix C stands.
Blob DraftsVector(const std::string& name) {
  static const std::string text = FileInTree("xwing/xwing_test.cc");
  Blob bytes;
  const size_t begin = text.find('{', text.find(" " + name + "["));
  const size_t end = text.find('}', begin);
  for (size_t at = begin; (at = text.find("0x", at)) < end; at += 2) {
    bytes.push_back(static_cast<uint8_t>(std::stoul(text.substr(at + 2, 2), nullptr, 16)));
  }
  return bytes;
}

// The block of X-Wing's vector, and its fields: the |nth| of that name.
Blob HpkeVector(const std::string& field, size_t nth = 0) {
  static const std::string text = FileInTree("hpke/hpke_test_vectors_pq.txt");
  const size_t begin = text.find("\nkem_id = 25722\n");
  const size_t end = text.find("\n\n", begin);
  size_t at = begin;
  for (size_t i = 0; i <= nth; ++i) at = text.find("\n" + field + " = ", at + 1);
  if (begin == text.npos || at >= end) return {};
  const size_t value = at + field.size() + 4;
  return FromHex(text.substr(value, text.find('\n', value) - value));
}

struct Parameters {
  CK_SECRETMEM_HPKE_PARAMS params{};
  explicit Parameters(CK_ULONG aead) {
    params.ulKem = CK_SECRETMEM_HPKE_XWING;
    params.ulKdf = CK_SECRETMEM_HPKE_HKDF_SHA256;
    params.ulAead = aead;
  }
  Parameter get() const { return {reinterpret_cast<const uint8_t*>(&params), sizeof(params)}; }
};

class XWingTest : public testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(InitialiseVault()); }

  static Attributes Public(const Blob& value) { return {{{CKA_VALUE, value}}}; }
  static NewKey Imported(const Blob& seed) {
    auto key = ImportXWingPrivate(Attributes({{CKA_SEED, seed}}));
    EXPECT_TRUE(key);
    return std::move(*key);
  }
  static Key KeyOf(const Vault& seed) {
    static const Attributes none;
    return {CKO_PRIVATE_KEY, CKK_SECRETMEM_XWING, none, &seed};
  }
  static Key KeyOf(const Attributes& attributes) {
    return {CKO_PUBLIC_KEY, CKK_SECRETMEM_XWING, attributes, nullptr};
  }
  // Of a private key, by its SubjectPublicKeyInfo.
  static void ExpectPublicKey(const Vault& seed, const Blob& expected) {
    const auto info = XWingPublicKeyInfo(KeyOf(seed));
    ASSERT_TRUE(info);
    ASSERT_GE(info->size(), kXWingPublicBytes);
    EXPECT_EQ(Blob(info->end() - kXWingPublicBytes, info->end()), expected);
    const Attributes attributes = Public(expected);
    EXPECT_EQ(*info, XWingPublicKeyInfo(KeyOf(attributes)));
  }
};

TEST_F(XWingTest, DraftsVector) {
  const NewKey key = Imported(DraftsVector("kPrivateKey"));
  EXPECT_EQ(key.attributes, AttributeValues{});
  ExpectPublicKey(key.secret, DraftsVector("kExpectedPublicKey"));
  const Blob ciphertext = DraftsVector("kExpectedCiphertext");
  ASSERT_EQ(ciphertext.size(), kXWingCiphertextBytes);
  Parameters bare(CK_SECRETMEM_HPKE_EXPORT_ONLY);
  bare.params.ulOutput = CK_SECRETMEM_HPKE_OUTPUT_KEM;
  const auto shared = DecapsulateHpke(CKM_SECRETMEM_HPKE, bare.get(), KeyOf(key.secret),
                                      {CKK_GENERIC_SECRET, std::nullopt}, ciphertext);
  ASSERT_TRUE(shared);
  EXPECT_EQ(BytesOfVault(shared->secret), DraftsVector("kExpectedSharedSecret"));
}

TEST_F(XWingTest, HpkeVector) {
  const NewKey key = Imported(HpkeVector("skRm"));
  ExpectPublicKey(key.secret, HpkeVector("pkRm"));
  const Blob enc = HpkeVector("enc");
  ASSERT_EQ(enc.size(), kXWingCiphertextBytes);
  Blob info = HpkeVector("info");
  Parameters sealing(CK_SECRETMEM_HPKE_CHACHA20_POLY1305);
  sealing.params.pInfo = info.data();
  sealing.params.ulInfoLen = info.size();
  Blob aad = HpkeVector("aad");
  Parameters first = sealing;
  first.params.pAAD = aad.data();
  first.params.ulAADLen = aad.size();
  Blob sealed = enc;
  const Blob body = HpkeVector("ct");
  sealed.insert(sealed.end(), body.begin(), body.end());
  const auto opened = UnwrapHpke(CKM_SECRETMEM_HPKE, first.get(), KeyOf(key.secret), sealed, {});
  ASSERT_TRUE(opened);
  EXPECT_EQ(BytesOfVault(*opened), HpkeVector("pt"));
  size_t exports = 0;
  for (Blob value; !(value = HpkeVector("exported_value", exports)).empty(); ++exports) {
    Blob context = HpkeVector("exporter_context", exports);
    Parameters exporting = sealing;
    exporting.params.pExporterContext = context.data();
    exporting.params.ulExporterContextLen = context.size();
    const auto exported = DecapsulateHpke(CKM_SECRETMEM_HPKE, exporting.get(), KeyOf(key.secret),
                                          {CKK_GENERIC_SECRET, value.size()}, enc);
    ASSERT_TRUE(exported);
    EXPECT_EQ(BytesOfVault(exported->secret), value);
  }
  EXPECT_EQ(exports, 5u);
}

struct Suite {
  CK_ULONG id;
  const EVP_HPKE_AEAD* (*aead)();
};
constexpr Suite kSuites[] = {
    {CK_SECRETMEM_HPKE_AES_128_GCM, EVP_hpke_aes_128_gcm},
    {CK_SECRETMEM_HPKE_AES_256_GCM, EVP_hpke_aes_256_gcm},
    {CK_SECRETMEM_HPKE_CHACHA20_POLY1305, EVP_hpke_chacha20_poly1305},
};
constexpr uint8_t kPlain[] = "what is to be sealed";

TEST_F(XWingTest, BoringSslSends) {
  const auto pair = GenerateXWing({}, Attributes());
  ASSERT_TRUE(pair);
  const Blob& public_key = pair->public_attributes.front().value;
  for (const Suite& suite : kSuites) {
    Blob sealed(kXWingCiphertextBytes + sizeof(kPlain) + 16);
    const auto ran = OnSecretStack([&] {
      bssl::ScopedEVP_HPKE_CTX sender;
      size_t enc_size = 0, size = 0;
      ASSERT_TRUE(EVP_HPKE_CTX_setup_sender(
          sender.get(), sealed.data(), &enc_size, kXWingCiphertextBytes, EVP_hpke_xwing(),
          EVP_hpke_hkdf_sha256(), suite.aead(), public_key.data(), public_key.size(), nullptr, 0));
      ASSERT_EQ(enc_size, kXWingCiphertextBytes);
      ASSERT_TRUE(EVP_HPKE_CTX_seal(sender.get(), sealed.data() + enc_size, &size,
                                    sealed.size() - enc_size, kPlain, sizeof(kPlain), nullptr, 0));
    });
    ASSERT_TRUE(ran);
    const auto opened =
        UnwrapHpke(CKM_SECRETMEM_HPKE, Parameters(suite.id).get(), KeyOf(pair->secret), sealed, {});
    ASSERT_TRUE(opened);
    EXPECT_EQ(BytesOfVault(*opened), Blob(std::begin(kPlain), std::end(kPlain)));
  }
}

TEST_F(XWingTest, BoringSslReceives) {
  for (const Suite& suite : kSuites) {
    const auto ran = OnSecretStack([&] {
      bssl::ScopedEVP_HPKE_KEY key;
      ASSERT_TRUE(EVP_HPKE_KEY_generate(key.get(), EVP_hpke_xwing()));
      Blob public_key(kXWingPublicBytes);
      size_t size = 0;
      ASSERT_TRUE(EVP_HPKE_KEY_public_key(key.get(), public_key.data(), &size, public_key.size()));
      const Attributes to = Public(public_key);
      const auto plain = Vault::CopyOf(kPlain);
      ASSERT_TRUE(plain);
      const auto sealed =
          WrapHpke(CKM_SECRETMEM_HPKE, Parameters(suite.id).get(), KeyOf(to), *plain);
      ASSERT_TRUE(sealed);
      const std::span<const uint8_t> all = *sealed;
      bssl::ScopedEVP_HPKE_CTX recipient;
      ASSERT_TRUE(EVP_HPKE_CTX_setup_recipient(recipient.get(), key.get(), EVP_hpke_hkdf_sha256(),
                                               suite.aead(), all.data(), kXWingCiphertextBytes,
                                               nullptr, 0));
      const auto body = all.subspan(kXWingCiphertextBytes);
      uint8_t opened[64];
      ASSERT_TRUE(EVP_HPKE_CTX_open(recipient.get(), opened, &size, sizeof(opened), body.data(),
                                    body.size(), nullptr, 0));
      EXPECT_EQ(Blob(opened, opened + size), Blob(std::begin(kPlain), std::end(kPlain)));
    });
    EXPECT_TRUE(ran);
  }
}

// The draft's PKCS#8: the seed lies in the OCTET STRING as it is.
TEST_F(XWingTest, Pkcs8) {
  const Blob seed = DraftsVector("kPrivateKey");
  const NewKey key = Imported(seed);
  const auto der = XWingToPkcs8(KeyOf(key.secret));
  ASSERT_TRUE(der);
  Blob expected = FromHex("3034020100300d060b2b0601040183e62d81c87a0420");
  expected.insert(expected.end(), seed.begin(), seed.end());
  EXPECT_EQ(BytesOfVault(*der), expected);
  const auto from = [](std::span<const uint8_t> bytes) {
    return OnSecretStack([&] { return RvFrom(XWingFromPkcs8(bytes)); });
  };
  EXPECT_EQ(from(expected), CKR_OK);
  for (const size_t changed : {18u, 21u}) {  // the OID's last byte, the OCTET STRING's length
    Blob bytes = expected;
    ++bytes[changed];
    EXPECT_EQ(from(bytes), CKR_WRAPPED_KEY_INVALID) << changed;
  }
}

TEST(XWingRulesTest, SeedsAreSecret) {
  EXPECT_TRUE(IsSecretAttribute(CKO_PRIVATE_KEY, CKK_SECRETMEM_XWING, CKA_SEED));
  EXPECT_TRUE(MayBeSecretAttribute(CKA_SEED));
  EXPECT_FALSE(IsSecretAttribute(CKO_PUBLIC_KEY, CKK_SECRETMEM_XWING, CKA_VALUE));
}

}  // namespace
}  // namespace secretmem

#endif
