// The HPKE computations beside BoringSSL's own EVP_HPKE, both ways.
#include <openssl/aead.h>
#include <openssl/curve25519.h>
#include <openssl/hpke.h>
#include <openssl/rand.h>

#include "mechanism_testing.h"
#include "mechanisms/hpke_schedule.h"

namespace secretmem {
namespace {

using Bytes = std::vector<uint8_t>;

struct Suite {
  uint16_t id;
  const EVP_HPKE_AEAD* (*hpke)();
  const EVP_AEAD* (*aead)();
};
constexpr Suite kSuites[] = {
    {EVP_HPKE_AES_128_GCM, EVP_hpke_aes_128_gcm, EVP_aead_aes_128_gcm},
    {EVP_HPKE_AES_256_GCM, EVP_hpke_aes_256_gcm, EVP_aead_aes_256_gcm},
    {EVP_HPKE_CHACHA20_POLY1305, EVP_hpke_chacha20_poly1305, EVP_aead_chacha20_poly1305},
};

class HpkeScheduleTest : public testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(InitialiseVault()); }

  static constexpr uint8_t kInfo[] = {'i', 'n', 'f', 'o'};
  static constexpr uint8_t kAad[] = {'a', 'a', 'd'};
  static constexpr uint8_t kPlain[] = "what is to be sealed";
};

HpkeSuite Id(const Suite& suite) { return {EVP_HPKE_DHKEM_X25519_HKDF_SHA256, suite.id}; }

struct Ours {
  Bytes key, nonce, exporter;
};

Ours Schedule(const Suite& suite, std::span<const uint8_t> info, std::span<const uint8_t> shared) {
  Ours ours{Bytes(EVP_AEAD_key_length(suite.aead())), Bytes(12), Bytes(32)};
  EXPECT_TRUE(RunHpkeSchedule({Id(suite), info}, shared, {ours.key, ours.nonce, ours.exporter}));
  return ours;
}

TEST_F(HpkeScheduleTest, BoringSslSends) {
  for (const Suite& suite : kSuites) {
    const auto ran = OnSecretStack([&] {
      uint8_t public_key[32], private_key[32], enc[32];
      X25519_keypair(public_key, private_key);
      bssl::ScopedEVP_HPKE_CTX sender;
      size_t enc_size = 0, size = 0;
      ASSERT_TRUE(EVP_HPKE_CTX_setup_sender(sender.get(), enc, &enc_size, sizeof(enc),
                                            EVP_hpke_x25519_hkdf_sha256(), EVP_hpke_hkdf_sha256(),
                                            suite.hpke(), public_key, 32, kInfo, sizeof(kInfo)));
      uint8_t sealed[64], exported[2][40], opened[64], shared[32];
      ASSERT_TRUE(EVP_HPKE_CTX_seal(sender.get(), sealed, &size, sizeof(sealed), kPlain,
                                    sizeof(kPlain), kAad, sizeof(kAad)));
      ASSERT_TRUE(HpkeDecap(private_key, enc, shared));
      const Ours ours = Schedule(suite, kInfo, shared);
      bssl::ScopedEVP_AEAD_CTX aead;
      ASSERT_TRUE(EVP_AEAD_CTX_init(aead.get(), suite.aead(), ours.key.data(), ours.key.size(), 16,
                                    nullptr));
      ASSERT_TRUE(EVP_AEAD_CTX_open(aead.get(), opened, &size, sizeof(opened), ours.nonce.data(),
                                    12, sealed, size, kAad, sizeof(kAad)));
      EXPECT_EQ(Bytes(opened, opened + size), Bytes(std::begin(kPlain), std::end(kPlain)));
      ASSERT_TRUE(EVP_HPKE_CTX_export(sender.get(), exported[0], 40, kAad, sizeof(kAad)));
      ASSERT_TRUE(HpkeExport(Id(suite), ours.exporter, kAad, exported[1]));
      EXPECT_EQ(Bytes(exported[0], exported[0] + 40), Bytes(exported[1], exported[1] + 40));
    });
    EXPECT_TRUE(ran);
  }
}

TEST_F(HpkeScheduleTest, BoringSslReceives) {
  for (const Suite& suite : kSuites) {
    const auto ran = OnSecretStack([&] {
      bssl::ScopedEVP_HPKE_KEY key;
      ASSERT_TRUE(EVP_HPKE_KEY_generate(key.get(), EVP_hpke_x25519_hkdf_sha256()));
      uint8_t public_key[32], enc[32], shared[32], sealed[64], opened[64];
      size_t size = 0;
      ASSERT_TRUE(EVP_HPKE_KEY_public_key(key.get(), public_key, &size, 32));
      ASSERT_TRUE(HpkeEncap(public_key, enc, shared));
      const Ours ours = Schedule(suite, kInfo, shared);
      bssl::ScopedEVP_AEAD_CTX aead;
      ASSERT_TRUE(EVP_AEAD_CTX_init(aead.get(), suite.aead(), ours.key.data(), ours.key.size(), 16,
                                    nullptr));
      ASSERT_TRUE(EVP_AEAD_CTX_seal(aead.get(), sealed, &size, sizeof(sealed), ours.nonce.data(),
                                    12, kPlain, sizeof(kPlain), kAad, sizeof(kAad)));
      bssl::ScopedEVP_HPKE_CTX recipient;
      ASSERT_TRUE(EVP_HPKE_CTX_setup_recipient(recipient.get(), key.get(), EVP_hpke_hkdf_sha256(),
                                               suite.hpke(), enc, 32, kInfo, sizeof(kInfo)));
      ASSERT_TRUE(EVP_HPKE_CTX_open(recipient.get(), opened, &size, sizeof(opened), sealed, size,
                                    kAad, sizeof(kAad)));
      EXPECT_EQ(Bytes(opened, opened + size), Bytes(std::begin(kPlain), std::end(kPlain)));
    });
    EXPECT_TRUE(ran);
  }
}

TEST_F(HpkeScheduleTest, SmallOrder) {
  const auto ran = OnSecretStack([&] {
    constexpr uint8_t kZero[32] = {};
    constexpr uint8_t kAnyKey[32] = {1, 2, 3};
    uint8_t enc[32], shared[32];
    EXPECT_FALSE(HpkeEncap(kZero, enc, shared));
    EXPECT_FALSE(HpkeDecap(kAnyKey, kZero, shared));
  });
  EXPECT_TRUE(ran);
}

}  // namespace
}  // namespace secretmem
