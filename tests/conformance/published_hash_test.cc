// The examples of FIPS 180-4's hash functions, and of HMAC in RFC 2202, RFC 4231 and, for
// SHA-512/256, Project Wycheproof.
#include <array>

#include "tests/conformance/cipher.h"
#include "tests/conformance/fixtures.h"
#include "tests/conformance/kdf.h"
#include "tests/conformance/macs.h"

namespace secretmem::conformance {
namespace {

using PublishedHashTest = SessionTest;

constexpr char kTwoBlocks[] = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
constexpr char kTwoLongBlocks[] =
    "abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmn"
    "hijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu";

// By the order of AllHashes: the digest of "abc", another message, its digest.
struct Fips180 {
  const char* abc;
  const char* message;
  const char* digest;
};
constexpr Fips180 kFips180[] = {
    {"a9993e364706816aba3e25717850c26c9cd0d89d", kTwoBlocks,
     "84983e441c3bd26ebaae4aa1f95129e5e54670f1"},
    {"23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7", kTwoBlocks,
     "75388b16512776cc5dba5da1fd890150b0c6455cb4f58b1952522525"},
    {"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", kTwoBlocks,
     "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
    {"cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed"
     "8086072ba1e7cc2358baeca134c825a7",
     kTwoLongBlocks,
     "09330c33f71147e83d192fc782cd1b4753111b173b3b05d22fa08086e3b0f712"
     "fcc7c71a557e2db966c3e9fa91746039"},
    {"ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
     "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
     kTwoLongBlocks,
     "8e959b75dae313da8cf4f72814fc143f8f7779c6eb9f7fa17299aeadb6889018"
     "501d289e4900f7e4331b99dec4b5433ac7d329eeb6dd26545e96e55b874be909"},
    {"53048e2681941ef99b2e29b76b4c7dabe4c2d0c634fc6d46e0e2f13107e7af23", kTwoLongBlocks,
     "3928e184fb8690f840da3988121d31be65cb9d3ef83ee6146feac861e19b563a"}};

TEST_F(PublishedHashTest, Digests) {
  for (size_t i = 0; i < std::size(kFips180); ++i) {
    const Hash& hash = AllHashes()[i];
    if (!Offers(hash.digest)) continue;
    SCOPED_TRACE(hash.name);
    for (const auto& [message, digest] :
         {std::pair("abc", kFips180[i].abc), std::pair(kFips180[i].message, kFips180[i].digest)}) {
      CK_MECHANISM mechanism{hash.digest, nullptr, 0};
      ASSERT_RV(CKR_OK, P11().C_DigestInit(session_, &mechanism));
      Bytes data = ToBytes(message), out(64);
      CK_ULONG length = out.size();
      EXPECT_RV(CKR_OK, P11().C_Digest(session_, data.data(), data.size(), out.data(), &length));
      out.resize(length);
      EXPECT_EQ(out, FromHex(digest));
    }
  }
}

// CKM_*_KEY_DERIVATION: the digest of the base key.
TEST_F(PublishedHashTest, KeyDerivations) {
  constexpr CK_MECHANISM_TYPE kTypes[] = {CKM_SHA1_KEY_DERIVATION,   CKM_SHA224_KEY_DERIVATION,
                                          CKM_SHA256_KEY_DERIVATION, CKM_SHA384_KEY_DERIVATION,
                                          CKM_SHA512_KEY_DERIVATION, CKM_SHA512_256_KEY_DERIVATION};
  if (!Offers(kTypes[0])) GTEST_SKIP() << "no such mechanism";
  for (size_t i = 0; i < std::size(kFips180); ++i) {
    SCOPED_TRACE(AllHashes()[i].name);
    for (const auto& [message, digest] :
         {std::pair("abc", kFips180[i].abc), std::pair(kFips180[i].message, kFips180[i].digest)}) {
      const CK_OBJECT_HANDLE base = Create(session_, BaseSecret(ToBytes(message)));
      CK_OBJECT_HANDLE key = CK_INVALID_HANDLE;
      ASSERT_RV(CKR_OK, DeriveBy(session_, {kTypes[i], nullptr, 0}, base, DerivedSecret(), key));
      EXPECT_EQ(ReadBytes(session_, key, CKA_VALUE), FromHex(digest));
    }
  }
}

// `tags` by the order of AllHashes; shorter ones than the digest are of the general-length form.
// Null: the source has none for this hash function.
struct HmacVector {
  Bytes key;
  Bytes data;
  std::array<const char*, 6> tags;
};

TEST_F(PublishedHashTest, Hmac) {
  const HmacVector vectors[] = {
      {Bytes(20, 0x0b),
       ToBytes("Hi There"),
       {"b617318655057264e28bc0b6fb378c8ef146be00",
        "896fb1128abbdf196832107cd49df33f47b4b1169912ba4f53684b22",
        "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
        "afd03944d84895626b0825f4ab46907f15f9dadbe4101ec682aa034c7cebc59c"
        "faea9ea9076ede7f4af152e8b2fa9cb6",
        "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cde"
        "daa833b7d6b8a702038b274eaea3f4e4be9d914eeb61f1702e696c203a126854",
        nullptr}},
      {ToBytes("Jefe"),
       ToBytes("what do ya want for nothing?"),
       {"effcdf6ae5eb2fa2d27416d5f184df9c259a7c79",
        "a30e01098bc6dbbf45690f3a7e9e6d0f8bbea2a39e6148008fd05e44",
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
        "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e"
        "8e2240ca5e69e2c78b3239ecfab21649",
        "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554"
        "9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737",
        nullptr}},
      {Bytes(20, 0x0c),
       ToBytes("Test With Truncation"),
       {"4c1a03424b55e07fe7f27be1", "0e2aea68a90c8d37c988bcdb9fca6fa8",
        "a3b6167473100ee06e0c796c2955552b", "3abf34c3503b2a23a46efc619baef897",
        "415fad6271580a531d4179bc891d87a6", nullptr}},
      {FromHex("ac686ba0f1a51b4ec4f0b30492b7f556"),
       FromHex("2fa43a14ae500507deb95ab5bd32b0fe"),
       {nullptr, nullptr, nullptr, nullptr, nullptr,
        "444ec6f9b3a6afe977a93d080425526cf25367fcea2bc88b534b2e9a0dbe659f"}},
      {FromHex("2877ebb81f80334fd00516337446c5cf5ad4a3a2e197269e5b0ad1889dfe2b4b"
               "0aaa676fac55b36ce3affc7f1092ab89c53273a837bd5bc94d1a9d9e5b02e9856f"),
       FromHex("ba448db88f154f775028fdecf9e6752d"),
       {nullptr, nullptr, nullptr, nullptr, nullptr,
        "786b60be5e986337f1c64a67704a180c65d8b0d6e8befe4abb7979d8a114bd38"}},
      {FromHex("e09eaa5a3f5e56d279d5e7a03373f6ea"),
       FromHex("ef4eab37181f98423e53e947e7050fd0"),
       {nullptr, nullptr, nullptr, nullptr, nullptr, "9033b0a30e67e22f2a255486dbb87097"}}};
  for (const HmacVector& vector : vectors) {
    const CK_OBJECT_HANDLE key = Create(session_, MacKey(vector.key));
    for (size_t i = 0; i < AllHashes().size(); ++i) {
      const Hash& hash = AllHashes()[i];
      if (vector.tags[i] == nullptr) continue;
      SCOPED_TRACE(hash.name);
      const Bytes tag = FromHex(vector.tags[i]);
      if (tag.size() == hash.size && Offers(hash.hmac) && Offers(hash.hmac_general)) {
        EXPECT_EQ(Sign(session_, key, OwnedMechanism(hash.hmac), vector.data),
                  (Result{CKR_OK, tag}));
        EXPECT_RV(CKR_OK, Verify(session_, key, OwnedMechanism(hash.hmac), vector.data, tag));
      }
      if (!Offers(hash.hmac_general)) continue;
      const auto general = OwnedMechanism::Of(hash.hmac_general, CK_ULONG{tag.size()});
      EXPECT_EQ(Sign(session_, key, general, vector.data), (Result{CKR_OK, tag}));
      EXPECT_RV(CKR_OK, Verify(session_, key, general, vector.data, tag));
    }
  }
}

}  // namespace
}  // namespace secretmem::conformance
