// The examples that NIST and the RFCs give for AES: SP 800-38A (ECB, CBC, CTR), SP 800-38B (CMAC),
// SP 800-38C (CCM), RFC 3394 and RFC 5649 (key wrapping), RFC 3686 (CTR).
#include "tests/conformance/cipher.h"
#include "tests/conformance/fixtures.h"

namespace secretmem::conformance {
namespace {

class PublishedAesTest : public UserTest {
 protected:
  CK_OBJECT_HANDLE Key(const char* hex) { return ImportKey(session_, CKK_AES, FromHex(hex)); }

  // One call and parts give the same, in both directions.
  void ExpectCipher(const char* key_hex, const OwnedMechanism& mechanism, const Bytes& plain,
                    const Bytes& cipher) {
    const CK_OBJECT_HANDLE key = Key(key_hex);
    EXPECT_EQ(Encrypt(session_, key, mechanism, plain), (Result{CKR_OK, cipher}));
    EXPECT_EQ(Decrypt(session_, key, mechanism, cipher), (Result{CKR_OK, plain}));
    for (const size_t part : {1, 16, 17}) {
      EXPECT_EQ(EncryptInParts(session_, key, mechanism, plain, part), (Result{CKR_OK, cipher}));
      EXPECT_EQ(DecryptInParts(session_, key, mechanism, cipher, part), (Result{CKR_OK, plain}));
    }
  }
};

constexpr const char* kKeys[] = {
    "2b7e151628aed2a6abf7158809cf4f3c", "8e73b0f7da0e6452c810f32b809079e562f8ead2522c6b7b",
    "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4"};
constexpr char kMessage[] =
    "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
    "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710";

// SP 800-38A, F.1; FIPS 197, C.
TEST_F(PublishedAesTest, Ecb) {
  if (!Offers(CKM_AES_ECB)) GTEST_SKIP() << "no such mechanism";
  constexpr const char* kCiphers[] = {
      "3ad77bb40d7a3660a89ecaf32466ef97f5d3d58503b9699de785895a96fdbaaf"
      "43b1cd7f598ece23881b00e3ed0306887b0c785e27e8ad3f8223207104725dd4",
      "bd334f1d6e45f25ff712a214571fa5cc974104846d0ad3ad7734ecb3ecee4eef"
      "ef7afd2270e2e60adce0ba2face6444e9a4b41ba738d6c72fb16691603c18e0e",
      "f3eed1bdb5d2a03c064b5a7e3db181f8591ccb10d410ed26dc5ba74a31362870"
      "b6ed21b99ca6f4f9f153e7b1beafed1d23304b7a39f9f3ff067d8d8f9e24ecc7"};
  for (size_t i = 0; i < std::size(kKeys); ++i) {
    ExpectCipher(kKeys[i], OwnedMechanism(CKM_AES_ECB), FromHex(kMessage), FromHex(kCiphers[i]));
  }
  const char* const fips197[][2] = {
      {"000102030405060708090a0b0c0d0e0f", "69c4e0d86a7b0430d8cdb78070b4c55a"},
      {"000102030405060708090a0b0c0d0e0f1011121314151617", "dda97ca4864cdfe06eaf70a0ec0d7191"},
      {"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
       "8ea2b7ca516745bfeafc49904b496089"}};
  for (const auto& [key, cipher] : fips197) {
    ExpectCipher(key, OwnedMechanism(CKM_AES_ECB), FromHex("00112233445566778899aabbccddeeff"),
                 FromHex(cipher));
  }
}

// SP 800-38A, F.2.
TEST_F(PublishedAesTest, Cbc) {
  if (!Offers(CKM_AES_CBC)) GTEST_SKIP() << "no such mechanism";
  constexpr const char* kCiphers[] = {
      "7649abac8119b246cee98e9b12e9197d5086cb9b507219ee95db113a917678b2"
      "73bed6b8e3c1743b7116e69e222295163ff1caa1681fac09120eca307586e1a7",
      "4f021db243bc633d7178183a9fa071e8b4d9ada9ad7dedf4e5e738763f69145a"
      "571b242012fb7ae07fa9baac3df102e008b0e27988598881d920a9e64f5615cd",
      "f58c4c04d6e5f1ba779eabfb5f7bfbd69cfc4e967edb808d679f777bc6702c7d"
      "39f23369a9d9bacfa530e26304231461b2eb05e2c39be9fcda6c19078c6a9d1b"};
  const Bytes iv = FromHex("000102030405060708090a0b0c0d0e0f");
  for (size_t i = 0; i < std::size(kKeys); ++i) {
    ExpectCipher(kKeys[i], OwnedMechanism(CKM_AES_CBC, iv), FromHex(kMessage),
                 FromHex(kCiphers[i]));
  }
}

// SP 800-38A, F.5; RFC 3686, section 6.
TEST_F(PublishedAesTest, Ctr) {
  if (!Offers(CKM_AES_CTR)) GTEST_SKIP() << "no such mechanism";
  constexpr const char* kCiphers[] = {
      "874d6191b620e3261bef6864990db6ce9806f66b7970fdff8617187bb9fffdff"
      "5ae4df3edbd5d35e5b4f09020db03eab1e031dda2fbe03d1792170a0f3009cee",
      "1abc932417521ca24f2b0459fe7e6e0b090339ec0aa6faefd5ccc2c6f4ce8e94"
      "1e36b26bd1ebc670d1bd1d665620abf74f78a7f6d29809585a97daec58c6b050",
      "601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c5"
      "2b0930daa23de94ce87017ba2d84988ddfc9c58db67aada613c2dd08457941a6"};
  const Bytes counter = FromHex("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff");
  for (size_t i = 0; i < std::size(kKeys); ++i) {
    ExpectCipher(kKeys[i], Ctr(128, counter), FromHex(kMessage), FromHex(kCiphers[i]));
  }
  const struct {
    const char* key;
    const char* counter;
    const char* plain;
    const char* cipher;
  } kRfc3686[] = {{"ae6852f8121067cc4bf7a5765577f39e", "00000030000000000000000000000001",
                   "53696e676c6520626c6f636b206d7367", "e4095d4fb7a7b3792d6175a3261311b8"},
                  {"7691be035e5020a8ac6e618529f9a0dc", "00e0017b27777f3f4a1786f000000001",
                   "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20212223",
                   "c1cf48a89f2ffdd9cf4652e9efdb72d74540a42bde6d7836d59a5ceaaef3105325b2072f"},
                  {"ff7a617ce69148e4f1726e2f43581de2aa62d9f805532edff1eed687fb54153d",
                   "001cc5b751a51d70a1c1114800000001",
                   "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20212223",
                   "eb6c52821d0bbbf7ce7594462aca4faab407df866569fd07f48cc0b583d6071f1ec0e6b8"}};
  for (const auto& vector : kRfc3686) {
    ExpectCipher(vector.key, Ctr(32, FromHex(vector.counter)), FromHex(vector.plain),
                 FromHex(vector.cipher));
  }
}

// SP 800-38B, D; RFC 4493 has the first key's.
TEST_F(PublishedAesTest, Cmac) {
  if (!Offers(CKM_AES_CMAC)) GTEST_SKIP() << "no such mechanism";
  const struct {
    size_t size;
    const char* tags[3];
  } kVectors[] = {{0,
                   {"bb1d6929e95937287fa37d129b756746", "d17ddf46adaacde531cac483de7a9367",
                    "028962f61b7bf89efc6b551f4667d983"}},
                  {16,
                   {"070a16b46b4d4144f79bdd9dd04a287c", "9e99a7bf31e710900662f65e617c5184",
                    "28a7023f452e8f82bd4bf28d8c37c35c"}},
                  {40,
                   {"dfa66747de9ae63030ca32611497c827", "8a1de5be2eb31aad089a82e6ee908b0e",
                    "aaf3d8f1de5640c232f5b169b9c911e6"}},
                  {64,
                   {"51f0bebf7e3b9d92fc49741779363cfe", "a1d5df0eed790f794d77589659f39a11",
                    "e1992190549f6ed5696a2c056c315410"}}};
  const bool general = Offers(CKM_AES_CMAC_GENERAL);
  for (const auto& vector : kVectors) {
    Bytes message = FromHex(kMessage);
    message.resize(vector.size);
    for (size_t i = 0; i < std::size(kKeys); ++i) {
      const CK_OBJECT_HANDLE key = Key(kKeys[i]);
      Bytes tag = FromHex(vector.tags[i]);
      const OwnedMechanism cmac(CKM_AES_CMAC);
      EXPECT_EQ(Sign(session_, key, cmac, message), (Result{CKR_OK, tag}));
      EXPECT_RV(CKR_OK, Verify(session_, key, cmac, message, tag));
      if (!general) continue;
      tag.resize(8);
      const auto shorter = OwnedMechanism::Of(CKM_AES_CMAC_GENERAL, CK_ULONG{8});
      EXPECT_EQ(Sign(session_, key, shorter, message), (Result{CKR_OK, tag}));
      EXPECT_RV(CKR_OK, Verify(session_, key, shorter, message, tag));
    }
  }
}

// SP 800-38C, C.1 to C.3.
TEST_F(PublishedAesTest, Ccm) {
  if (!Offers(CKM_AES_CCM)) GTEST_SKIP() << "no such mechanism";
  const struct {
    const char* nonce;
    const char* aad;
    const char* plain;
    const char* cipher;
    CK_ULONG tag_size;
  } kVectors[] = {
      {"10111213141516", "0001020304050607", "20212223", "7162015b4dac255d", 4},
      {"1011121314151617", "000102030405060708090a0b0c0d0e0f", "202122232425262728292a2b2c2d2e2f",
       "d2a1f0e051ea5f62081a7792073d593d1fc64fbfaccd", 6},
      {"101112131415161718191a1b", "000102030405060708090a0b0c0d0e0f10111213",
       "202122232425262728292a2b2c2d2e2f3031323334353637",
       "e3b201a9f5b71a7a9b1ceaeccd97e70b6176aad9a4428aa5484392fbc1b09951", 8}};
  for (const auto& vector : kVectors) {
    const Bytes nonce = FromHex(vector.nonce), aad = FromHex(vector.aad);
    const Bytes plain = FromHex(vector.plain);
    ExpectCipher("404142434445464748494a4b4c4d4e4f", Ccm(nonce, aad, vector.tag_size, plain.size()),
                 plain, FromHex(vector.cipher));
  }
}

class PublishedKeyWrapTest : public PublishedAesTest {
 protected:
  void Expect(CK_MECHANISM_TYPE type, const char* wrapping, const char* plain_hex,
              const char* wrapped_hex) {
    const CK_OBJECT_HANDLE key = Key(wrapping);
    const Bytes plain = FromHex(plain_hex), wrapped = FromHex(wrapped_hex);
    EXPECT_EQ(
        Wrap(session_, key, OwnedMechanism(type), ImportKey(session_, CKK_GENERIC_SECRET, plain)),
        (Result{CKR_OK, wrapped}));
    CK_OBJECT_HANDLE back = CK_INVALID_HANDLE;
    EXPECT_RV(CKR_OK, Unwrap(session_, key, OwnedMechanism(type), wrapped,
                             UnwrappedTemplate(CKK_GENERIC_SECRET), back));
    EXPECT_EQ(ReadBytes(session_, back, CKA_VALUE), plain);
  }
};

constexpr const char* kKeks[] = {
    "000102030405060708090a0b0c0d0e0f", "000102030405060708090a0b0c0d0e0f1011121314151617",
    "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"};

// RFC 3394, 4.1 to 4.6.
TEST_F(PublishedKeyWrapTest, Rfc3394) {
  if (!Offers(CKM_AES_KEY_WRAP)) GTEST_SKIP() << "no such mechanism";
  const struct {
    int kek;
    const char* plain;
    const char* wrapped;
  } kVectors[] = {
      {0, "00112233445566778899aabbccddeeff", "1fa68b0a8112b447aef34bd8fb5a7b829d3e862371d2cfe5"},
      {1, "00112233445566778899aabbccddeeff", "96778b25ae6ca435f92b5b97c050aed2468ab8a17ad84e5d"},
      {2, "00112233445566778899aabbccddeeff", "64e8c3f9ce0f5ba263e9777905818a2a93c8191e7d6e8ae7"},
      {1, "00112233445566778899aabbccddeeff0001020304050607",
       "031d33264e15d33268f24ec260743edce1c6c7ddee725a936ba814915c6762d2"},
      {2, "00112233445566778899aabbccddeeff0001020304050607",
       "a8f9bc1612c68b3ff6e6f4fbe30e71e4769c8b80a32cb8958cd5d17d6b254da1"},
      {2, "00112233445566778899aabbccddeeff000102030405060708090a0b0c0d0e0f",
       "28c9f404c4b810f4cbccb35cfb87f8263f5786e2d80ed326cbc7f0e71a99f43bfb988b9b7a02dd21"}};
  for (const auto& vector : kVectors) {
    Expect(CKM_AES_KEY_WRAP, kKeks[vector.kek], vector.plain, vector.wrapped);
  }
}

// RFC 5649, section 6.
TEST_F(PublishedKeyWrapTest, Rfc5649) {
  if (!Offers(CKM_AES_KEY_WRAP_KWP)) GTEST_SKIP() << "no such mechanism";
  constexpr char kKek[] = "5840df6e29b02af1ab493b705bf16ea1ae8338f4dcc176a8";
  for (const CK_MECHANISM_TYPE type : {CKM_AES_KEY_WRAP_KWP, CKM_AES_KEY_WRAP_PAD}) {
    Expect(type, kKek, "c37b7e6492584340bed12207808941155068f738",
           "138bdeaa9b8fa7fc61f97742e72248ee5ae6ae5360d1ae6a5f54f373fa543b6a");
    Expect(type, kKek, "466f7250617369", "afbeb0f07dfbf5419200f2ccb50bb24f");
  }
}

}  // namespace
}  // namespace secretmem::conformance
