#include "vault/sealing.h"

#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>
#include <array>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "vault_testing.h"

namespace secretmem {
namespace {

using Bytes = std::vector<uint8_t>;

Bytes BytesOf(std::string_view text) { return {text.begin(), text.end()}; }

Bytes Read(const Vault& vault) {
  Bytes bytes(vault.size());
  EXPECT_TRUE(vault.WithSecret(
      [&](std::span<const uint8_t> its) { std::ranges::copy(its, bytes.begin()); }));
  return bytes;
}

Vault VaultOf(std::span<const uint8_t> bytes) {
  auto vault = Vault::CopyOf(bytes);
  EXPECT_TRUE(vault);
  return std::move(*vault);
}

VaultErrc CodeOf(const auto& result) {
  EXPECT_FALSE(result);
  return result ? VaultErrc{255} : result.error().code;
}

class SealingTest : public testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(InitialiseVault()); }
};

// draft-irtf-cfrg-xchacha-03, A.3.1
constexpr char kPlain[] =
    "Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, "
    "sunscreen would be it.";
constexpr char kAssociated[] = "50515253c0c1c2c3c4c5c6c7";
constexpr char kKey[] = "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f";
constexpr char kNonce[] = "404142434445464748494a4b4c4d4e4f5051525354555657";
constexpr char kCipherText[] =
    "bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb731c7f1b0b4aa6440bf3a82f4eda7e"
    "39ae64c6708c54c216cb96b72e1213b4522f8c9ba40db5d945b11b69b982c1bb9e3f3fac2bc369488f76b2383565d3"
    "fff921f9664c97637da9768812f615c68b13b52e";
constexpr char kTag[] = "c0875924c1c7987947deafd8780acf49";

TEST_F(SealingTest, UnsealsTheDraftsVector) {
  const Vault key = VaultOf(FromHex(kKey));
  const Bytes sealed = FromHex(std::string(kNonce) + kCipherText + kTag);
  const auto plain = Unseal(key, FromHex(kAssociated), sealed);
  ASSERT_TRUE(plain);
  EXPECT_EQ(Read(*plain), BytesOf(kPlain));
  EXPECT_EQ(UnsealPublic(key, FromHex(kAssociated), sealed), VaultResult<Bytes>(BytesOf(kPlain)));
}

TEST_F(SealingTest, SealedBytesComeBack) {
  const auto key = NewSealingKey();
  ASSERT_TRUE(key);
  EXPECT_EQ(key->size(), kSealingKeyBytes);
  EXPECT_FALSE(IsZero(Read(*key)));
  for (const size_t size : {1, 32, 33, 5000, 100'000}) {
    Bytes bytes(size);
    for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<uint8_t>(i * 31);
    for (const Bytes& associated : {Bytes{}, Bytes(3, 1), Bytes(1000, 2)}) {
      const auto sealed = Seal(*key, associated, VaultOf(bytes));
      ASSERT_TRUE(sealed);
      EXPECT_EQ(sealed->size(), size + kSealingOverhead);
      const auto opened = Unseal(*key, associated, *sealed);
      ASSERT_TRUE(opened);
      EXPECT_EQ(Read(*opened), bytes);

      const auto sealed_public = SealPublic(*key, associated, bytes);
      ASSERT_TRUE(sealed_public);
      EXPECT_EQ(sealed_public->size(), size + kSealingOverhead);
      EXPECT_EQ(UnsealPublic(*key, associated, *sealed_public), VaultResult<Bytes>(bytes));
    }
  }
}

TEST_F(SealingTest, NothingSealsToNothingPublicOnly) {
  const auto key = NewSealingKey();
  const auto sealed = SealPublic(*key, Bytes(5, 1), {});
  ASSERT_TRUE(sealed);
  EXPECT_EQ(sealed->size(), kSealingOverhead);
  EXPECT_EQ(UnsealPublic(*key, Bytes(5, 1), *sealed), VaultResult<Bytes>(Bytes{}));
  EXPECT_EQ(CodeOf(UnsealPublic(*key, Bytes(5, 2), *sealed)), VaultErrc::kSealBroken);
  // A vault is never empty.
  EXPECT_EQ(CodeOf(Unseal(*key, Bytes(5, 1), *sealed)), VaultErrc::kSealBroken);
}

TEST_F(SealingTest, NoncesAndKeysAreFresh) {
  const auto key = NewSealingKey();
  const Vault plain = VaultOf(Bytes(32, 7));
  std::set<Bytes> nonces;
  std::set<Bytes> texts;
  std::set<Bytes> keys;
  for (int i = 0; i < 100; ++i) {
    const auto sealed = Seal(*key, {}, plain);
    ASSERT_TRUE(sealed);
    nonces.insert(Bytes(sealed->begin(), sealed->begin() + 24));
    texts.insert(Bytes(sealed->begin() + 24, sealed->end()));
    keys.insert(Read(*NewSealingKey()));
  }
  EXPECT_EQ(nonces.size(), 100u);
  EXPECT_EQ(texts.size(), 100u);
  EXPECT_EQ(keys.size(), 100u);
}

TEST_F(SealingTest, EveryChangedBitAndEveryLengthBreaks) {
  const auto key = NewSealingKey();
  const Bytes associated(9, 4);
  const auto sealed = Seal(*key, associated, VaultOf(Bytes(32, 7)));
  ASSERT_TRUE(sealed);
  for (size_t i = 0; i < sealed->size(); ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      Bytes changed = *sealed;
      changed[i] = static_cast<uint8_t>(changed[i] ^ (1 << bit));
      ASSERT_EQ(CodeOf(Unseal(*key, associated, changed)), VaultErrc::kSealBroken) << i;
      ASSERT_EQ(CodeOf(UnsealPublic(*key, associated, changed)), VaultErrc::kSealBroken) << i;
    }
  }
  for (size_t size = 0; size < sealed->size(); ++size) {
    const Bytes shorter(sealed->begin(), sealed->begin() + static_cast<std::ptrdiff_t>(size));
    ASSERT_EQ(CodeOf(Unseal(*key, associated, shorter)), VaultErrc::kSealBroken) << size;
    ASSERT_EQ(CodeOf(UnsealPublic(*key, associated, shorter)), VaultErrc::kSealBroken) << size;
  }
  Bytes longer = *sealed;
  longer.push_back(0);
  EXPECT_EQ(CodeOf(Unseal(*key, associated, longer)), VaultErrc::kSealBroken);
  EXPECT_EQ(CodeOf(UnsealPublic(*key, associated, longer)), VaultErrc::kSealBroken);
}

TEST_F(SealingTest, AnotherKeyOrAssociatedDataBreaks) {
  const auto key = NewSealingKey();
  const Bytes associated = BytesOf("object 1");
  const auto sealed = Seal(*key, associated, VaultOf(Bytes(32, 7)));
  ASSERT_TRUE(sealed);
  for (const Bytes& other :
       {Bytes{}, BytesOf("object 2"), BytesOf("object 11"), BytesOf("object")}) {
    EXPECT_EQ(CodeOf(Unseal(*key, other, *sealed)), VaultErrc::kSealBroken);
  }
  EXPECT_EQ(CodeOf(Unseal(*NewSealingKey(), associated, *sealed)), VaultErrc::kSealBroken);
  EXPECT_TRUE(Unseal(*key, associated, *sealed));
}

TEST_F(SealingTest, KeysOfAnotherSizeAreRefused) {
  const Vault plain = VaultOf(Bytes(32, 7));
  for (const size_t size : {16, 31, 33, 64}) {
    const Vault key = VaultOf(Bytes(size, 1));
    EXPECT_EQ(CodeOf(Seal(key, {}, plain)), VaultErrc::kWrongSize);
    EXPECT_EQ(CodeOf(Unseal(key, {}, Bytes(100))), VaultErrc::kWrongSize);
    EXPECT_EQ(CodeOf(SealPublic(key, {}, Bytes(1))), VaultErrc::kWrongSize);
    EXPECT_EQ(CodeOf(UnsealPublic(key, {}, Bytes(100))), VaultErrc::kWrongSize);
    EXPECT_EQ(CodeOf(DeriveSealingKey(key, "label")), VaultErrc::kWrongSize);
  }
}

TEST_F(SealingTest, PlainTextOfABrokenSealIsNowhere) {
  TrimVault();
  const SecretSpy spy;
  const auto key = NewSealingKey();
  auto sealed = Seal(*key, {}, VaultOf(Bytes(1000, 0xd7)));
  ASSERT_TRUE(sealed);
  sealed->back() ^= 1;
  EXPECT_EQ(CodeOf(Unseal(*key, {}, *sealed)), VaultErrc::kSealBroken);
  for (const SecretSpy::File& file : spy.files()) {
    const std::span<const uint8_t> bytes(file.bytes, file.size);
    const Bytes run(16, 0xd7);
    EXPECT_TRUE(std::ranges::search(bytes, run).empty());
  }
}

struct PinVector {
  const char* pin;
  const char* salt;
  uint32_t iterations;
  const char* key;  // the first 32 bytes
};

TEST_F(SealingTest, StretchesPinsAsRfc7914Says) {
  // RFC 7914, 11.
  for (const PinVector& its :
       {PinVector{"passwd", "salt", 1,
                  "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc"},
        PinVector{"Password", "NaCl", 80000,
                  "4ddcd8f60b98be21830cee5ef22701f9641a4418d04c0414aeff08876b34ab56"}}) {
    const auto key = StretchPin(BytesOf(its.pin), BytesOf(its.salt), its.iterations);
    ASSERT_TRUE(key);
    EXPECT_EQ(Read(*key), FromHex(its.key));
  }
}

TEST_F(SealingTest, StretchesPinsAsTheLibraryDoes) {
  const auto compare = [](size_t pin_bytes, size_t salt_bytes, uint32_t iterations) {
    Bytes pin(pin_bytes);
    Bytes salt(salt_bytes);
    for (size_t i = 0; i < pin.size(); ++i) pin[i] = static_cast<uint8_t>(i + 200);
    for (size_t i = 0; i < salt.size(); ++i) salt[i] = static_cast<uint8_t>(i * 3 + 1);
    Bytes expected(32);
    ASSERT_TRUE(OnSecretStack([&] {
      ASSERT_TRUE(PKCS5_PBKDF2_HMAC(reinterpret_cast<const char*>(pin.data()), pin.size(),
                                    salt.data(), salt.size(), iterations, EVP_sha256(),
                                    expected.size(), expected.data()));
    }));
    const auto key = StretchPin(pin, salt, iterations);
    ASSERT_TRUE(key);
    EXPECT_EQ(Read(*key), expected) << pin_bytes << " " << salt_bytes << " " << iterations;
  };
  for (const size_t pin_bytes : {0, 1, 63, 64, 65, 200}) compare(pin_bytes, 16, 3);
  for (const size_t salt_bytes : {0, 1, 55, 64, 100}) compare(8, salt_bytes, 3);
  // Around the slices.
  for (const uint32_t iterations : {1, 2, 9999, 10000, 10001, 10002, 20001, 20002}) {
    compare(8, 16, iterations);
  }
}

TEST_F(SealingTest, DerivesKeysAsRfc5869Says) {
  const Bytes secret = FromHex(kKey);
  const auto hmac = [](const Bytes& key, const Bytes& data) {
    Bytes out(32);
    unsigned length = 0;
    EXPECT_NE(
        HMAC(EVP_sha256(), key.data(), key.size(), data.data(), data.size(), out.data(), &length),
        nullptr);
    return out;
  };
  const Vault key = VaultOf(secret);
  std::set<Bytes> derived;
  for (const std::string_view label : {"", "a", "b", "a longer label"}) {
    Bytes info = BytesOf(label);
    info.push_back(1);
    const Bytes expected = hmac(hmac(Bytes(32, 0), secret), info);
    const auto its = DeriveSealingKey(key, label);
    ASSERT_TRUE(its);
    EXPECT_EQ(Read(*its), expected) << label;
    derived.insert(expected);
  }
  EXPECT_EQ(derived.size(), 4u);
}

TEST_F(SealingTest, HashesAreHmacAndSha256) {
  // RFC 4231, 4.3; FIPS 180-4's "abc".
  const auto hash = HashUnder(VaultOf(BytesOf("Jefe")), BytesOf("what do ya want for nothing?"));
  ASSERT_TRUE(hash);
  EXPECT_EQ(Bytes(hash->begin(), hash->end()),
            FromHex("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"));
  const KeyedHash checksum = Checksum(BytesOf("abc"));
  EXPECT_EQ(Bytes(checksum.begin(), checksum.end()),
            FromHex("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"));
}

TEST_F(SealingTest, ForkedChildCannotUseItsParentsKeys) {
  const auto key = NewSealingKey();
  const auto sealed = Seal(*key, {}, VaultOf(Bytes(32, 7)));
  ASSERT_TRUE(sealed);
  EXPECT_EQ(InChild([&] {
              const auto opened = Unseal(*key, {}, *sealed);
              if (opened || opened.error().code != VaultErrc::kForked) return 1;
              const auto hash = HashUnder(*key, *sealed);
              if (hash || hash.error().code != VaultErrc::kForked) return 2;
              const auto derived = DeriveSealingKey(*key, "x");
              return !derived && derived.error().code == VaultErrc::kForked ? 0 : 3;
            }),
            0);
}

}  // namespace
}  // namespace secretmem
