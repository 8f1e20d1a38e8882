#include "mechanisms/ecdh.h"

#include <gtest/gtest.h>
#include <openssl/digest.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "mechanism_testing.h"
#include "mechanisms/montgomery.h"
#include "mechanisms/secret_key.h"

namespace secretmem {
namespace {

using Bytes = std::vector<uint8_t>;

struct Vector {
  const char* scalar;
  const char* point;
  const char* shared;
};

// RFC 7748, 5.2 and 6.1
constexpr Vector kVectors[] = {
    {"a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4",
     "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c",
     "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552"},
    {"4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d",
     "e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493",
     "95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957"},
    {"5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb",
     "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a",
     "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"},
};

constexpr SecretRequest kGeneric = {CKK_GENERIC_SECRET, std::nullopt};

class EcdhTest : public testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(InitialiseVault()); }

  // Derives; what is not said is as in a good call.
  CkResult<NewKey> Derive(const Bytes& scalar, const Bytes& peer, SecretRequest request,
                          CK_ULONG kdf = CKD_NULL, const Bytes& shared = {}) {
    const auto vault = Vault::CopyOf(scalar);
    EXPECT_TRUE(vault);
    CK_ECDH1_DERIVE_PARAMS params = {};
    params.kdf = static_cast<decltype(params.kdf)>(kdf);
    params.pSharedData = shared.empty() ? nullptr : const_cast<uint8_t*>(shared.data());
    params.ulSharedDataLen = shared.size();
    params.pPublicData = const_cast<uint8_t*>(peer.data());
    params.ulPublicDataLen = peer.size();
    const Key key = {CKO_PRIVATE_KEY, CKK_EC_MONTGOMERY, none_, &*vault};
    return DeriveEcdh1({reinterpret_cast<const uint8_t*>(&params), sizeof(params)}, key, request);
  }

  const Attributes none_;
};

TEST_F(EcdhTest, Rfc7748) {
  for (const Vector& its : kVectors) {
    const auto key = Derive(FromHex(its.scalar), FromHex(its.point), kGeneric);
    ASSERT_TRUE(key);
    EXPECT_EQ(BytesOfVault(key->secret), FromHex(its.shared));
    EXPECT_EQ(key->attributes, (AttributeValues{{CKA_VALUE_LEN, UlongBytes(32)}}));
  }
}

TEST_F(EcdhTest, Rfc7748Iterated) {
  Bytes k(32);
  k[0] = 9;
  Bytes u = k;
  for (int i = 1; i <= 1000; ++i) {
    const auto key = Derive(k, u, kGeneric);
    ASSERT_TRUE(key);
    u = std::exchange(k, BytesOfVault(key->secret));
    if (i == 1) {
      EXPECT_EQ(k, FromHex("422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079"));
    }
  }
  EXPECT_EQ(k, FromHex("684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51"));
}

TEST_F(EcdhTest, BothSidesAgree) {
  const Attributes params({{CKA_EC_PARAMS, FromHex("06032b656e")}});
  const auto a = GenerateMontgomery({}, params);
  const auto b = GenerateMontgomery({}, params);
  ASSERT_TRUE(a && b);
  const auto shared = [&](const NewKeyPair& own, const NewKeyPair& peer) {
    const auto key = Derive(BytesOfVault(own.secret), peer.public_attributes[1].value, kGeneric);
    EXPECT_TRUE(key);
    return BytesOfVault(key->secret);
  };
  EXPECT_EQ(shared(*a, *b), shared(*b, *a));
}

TEST_F(EcdhTest, PeerInEveryForm) {
  const Vector& its = kVectors[0];
  for (const char* head : {"", "0420", "032100"}) {
    const auto key = Derive(FromHex(its.scalar), FromHex(std::string(head) + its.point), kGeneric);
    ASSERT_TRUE(key) << head;
    EXPECT_EQ(BytesOfVault(key->secret), FromHex(its.shared));
  }
}

TEST_F(EcdhTest, ShorterKeysTakeTheLastBytes) {
  const Vector& its = kVectors[0];
  const Bytes shared = FromHex(its.shared);
  for (const size_t length : {1, 16, 31, 32}) {
    const auto key = Derive(FromHex(its.scalar), FromHex(its.point), {CKK_GENERIC_SECRET, length});
    ASSERT_TRUE(key) << length;
    EXPECT_EQ(BytesOfVault(key->secret),
              Bytes(shared.end() - static_cast<long>(length), shared.end()));
    EXPECT_EQ(key->attributes, (AttributeValues{{CKA_VALUE_LEN, UlongBytes(length)}}));
  }
}

// ANSI X9.63's function once more, from BoringSSL's one-shot hash.
Bytes Kdf(const EVP_MD* digest, const Bytes& secret, const Bytes& shared, size_t length) {
  Bytes out;
  for (uint8_t counter = 1; out.size() < length; ++counter) {
    Bytes input = secret;
    input.insert(input.end(), {0, 0, 0, counter});
    input.insert(input.end(), shared.begin(), shared.end());
    uint8_t block[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    EXPECT_TRUE(EVP_Digest(input.data(), input.size(), block, &size, digest, nullptr));
    out.insert(out.end(), block, block + size);
  }
  out.resize(length);
  return out;
}

TEST_F(EcdhTest, KeyDerivationFunctions) {
  const Vector& its = kVectors[0];
  struct Case {
    CK_ULONG kdf;
    const EVP_MD* digest;
  };
  for (const Case& kdf : {Case{CKD_SHA1_KDF, EVP_sha1()}, Case{CKD_SHA224_KDF, EVP_sha224()},
                          Case{CKD_SHA256_KDF, EVP_sha256()}, Case{CKD_SHA384_KDF, EVP_sha384()},
                          Case{CKD_SHA512_KDF, EVP_sha512()}}) {
    for (const Bytes& shared : {Bytes{}, Bytes(5, 3), Bytes(500, 4)}) {
      for (const size_t length : {1, 16, 20, 32, 33, 64, 65, 1000}) {
        const auto key = Derive(FromHex(its.scalar), FromHex(its.point),
                                {CKK_GENERIC_SECRET, length}, kdf.kdf, shared);
        ASSERT_TRUE(key) << kdf.kdf << " " << length;
        EXPECT_EQ(BytesOfVault(key->secret), Kdf(kdf.digest, FromHex(its.shared), shared, length));
      }
    }
  }
}

TEST_F(EcdhTest, TypesDecideTheLength) {
  const Bytes scalar = FromHex(kVectors[0].scalar);
  const Bytes point = FromHex(kVectors[0].point);
  const auto rv = [&](SecretRequest request, CK_ULONG kdf = CKD_NULL) {
    return RvFrom(Derive(scalar, point, request, kdf));
  };
  EXPECT_EQ(rv({CKK_AES, 16}), CKR_OK);
  EXPECT_EQ(rv({CKK_AES, 24}), CKR_OK);
  EXPECT_EQ(rv({CKK_AES, 32}), CKR_OK);
  EXPECT_EQ(rv({CKK_AES, 17}), CKR_KEY_SIZE_RANGE);
  EXPECT_EQ(rv({CKK_AES, std::nullopt}), CKR_TEMPLATE_INCOMPLETE);
  EXPECT_EQ(rv({CKK_CHACHA20, std::nullopt}), CKR_OK);
  EXPECT_EQ(rv({CKK_HKDF, std::nullopt}), CKR_OK);
  EXPECT_EQ(rv({CKK_GENERIC_SECRET, 33}), CKR_TEMPLATE_INCONSISTENT);
  EXPECT_EQ(rv({CKK_GENERIC_SECRET, 0}), CKR_ATTRIBUTE_VALUE_INVALID);
  EXPECT_EQ(rv({CKK_GENERIC_SECRET, 33}, CKD_SHA256_KDF), CKR_OK);
  EXPECT_EQ(rv({CKK_GENERIC_SECRET, std::nullopt}, CKD_SHA256_KDF), CKR_TEMPLATE_INCOMPLETE);
  EXPECT_EQ(rv({CKK_GENERIC_SECRET, kMaxSecretBytes}, CKD_SHA512_KDF), CKR_OK);
  EXPECT_EQ(rv({CKK_GENERIC_SECRET, kMaxSecretBytes + 1}, CKD_SHA512_KDF), CKR_KEY_SIZE_RANGE);
  EXPECT_EQ(rv({CKK_EC_MONTGOMERY, 32}), CKR_TEMPLATE_INCONSISTENT);
}

TEST_F(EcdhTest, PeersThatAreNoneAreRefused) {
  const Bytes scalar = FromHex(kVectors[0].scalar);
  // Points of small order (RFC 7748, 7): the result is zero whatever the key.
  for (const char* point : {
           "0000000000000000000000000000000000000000000000000000000000000000",
           "0100000000000000000000000000000000000000000000000000000000000000",
           "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
           "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
           "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
           "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
           "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
       }) {
    EXPECT_EQ(RvFrom(Derive(scalar, FromHex(point), kGeneric)), CKR_PUBLIC_KEY_INVALID) << point;
    EXPECT_EQ(RvFrom(Derive(scalar, FromHex(point), {CKK_GENERIC_SECRET, 16}, CKD_SHA256_KDF)),
              CKR_PUBLIC_KEY_INVALID)
        << point;
  }
  for (const size_t size : {1, 31, 33, 34, 35, 64, 65}) {
    EXPECT_EQ(RvFrom(Derive(scalar, Bytes(size, 9), kGeneric)), CKR_PUBLIC_KEY_INVALID) << size;
  }
}

TEST_F(EcdhTest, ParametersThatAreNoneAreRefused) {
  const auto vault = Vault::CopyOf(Bytes(32, 1));
  ASSERT_TRUE(vault);
  const Key key = {CKO_PRIVATE_KEY, CKK_EC_MONTGOMERY, none_, &*vault};
  Bytes peer(32, 9);
  Bytes shared(4, 1);
  CK_ECDH1_DERIVE_PARAMS good = {};
  good.kdf = CKD_NULL;
  good.pPublicData = peer.data();
  good.ulPublicDataLen = peer.size();
  const auto rv = [&](const CK_ECDH1_DERIVE_PARAMS& params, size_t size = sizeof(good)) {
    // Unaligned, and exactly so long.
    Bytes bytes(size + 1);
    memcpy(bytes.data() + 1, &params, std::min(size, sizeof(params)));
    return RvFrom(DeriveEcdh1(std::span(bytes).subspan(1), key, kGeneric));
  };
  EXPECT_EQ(rv(good), CKR_OK);
  for (const size_t size : {size_t{0}, size_t{1}, sizeof(good) - 1, sizeof(good) + 1}) {
    EXPECT_EQ(rv(good, size), CKR_MECHANISM_PARAM_INVALID) << size;
  }
  EXPECT_EQ(RvFrom(DeriveEcdh1({}, key, kGeneric)), CKR_MECHANISM_PARAM_INVALID);

  for (const CK_ULONG kdf : {0ul, 3ul, 4ul, 9ul, 10ul, 0x7ffffffful, ~0ul}) {
    auto params = good;
    params.kdf = static_cast<decltype(params.kdf)>(kdf);
    EXPECT_EQ(rv(params), CKR_MECHANISM_PARAM_INVALID) << kdf;
  }
  auto params = good;
  params.pSharedData = shared.data();
  params.ulSharedDataLen = shared.size();
  EXPECT_EQ(rv(params), CKR_MECHANISM_PARAM_INVALID) << "shared data without a KDF";
  params = good;
  params.ulSharedDataLen = 4;
  params.kdf = CKD_SHA256_KDF;
  EXPECT_EQ(rv(params), CKR_MECHANISM_PARAM_INVALID) << "a null pointer with a length";
  params = good;
  params.kdf = CKD_SHA256_KDF;
  params.pSharedData = shared.data();
  params.ulSharedDataLen = (CK_ULONG{1} << 20) + 1;
  EXPECT_EQ(rv(params), CKR_MECHANISM_PARAM_INVALID) << "absurdly long";
  params.ulSharedDataLen = ~CK_ULONG{0};
  EXPECT_EQ(rv(params), CKR_MECHANISM_PARAM_INVALID);
  params = good;
  params.pPublicData = nullptr;
  EXPECT_EQ(rv(params), CKR_MECHANISM_PARAM_INVALID);
  params.ulPublicDataLen = 0;
  EXPECT_EQ(rv(params), CKR_MECHANISM_PARAM_INVALID);
  params = good;
  params.ulPublicDataLen = CK_ULONG{1} << 60;
  EXPECT_EQ(rv(params), CKR_MECHANISM_PARAM_INVALID);
}

TEST_F(EcdhTest, OtherKeysAreRefused) {
  const auto vault = Vault::CopyOf(Bytes(32, 1));
  ASSERT_TRUE(vault);
  const auto rv = [&](const Key& key) { return RvFrom(DeriveEcdh1({}, key, kGeneric)); };
  EXPECT_EQ(rv({CKO_PUBLIC_KEY, CKK_EC_MONTGOMERY, none_, nullptr}), CKR_KEY_TYPE_INCONSISTENT);
  EXPECT_EQ(rv({CKO_SECRET_KEY, CKK_GENERIC_SECRET, none_, &*vault}), CKR_KEY_TYPE_INCONSISTENT);
  EXPECT_EQ(rv({CKO_PRIVATE_KEY, CKK_RSA, none_, &*vault}), CKR_KEY_TYPE_INCONSISTENT);
  // A vault of another length, as only a damaged store could make it.
  EXPECT_EQ(RvFrom(Derive(Bytes(31, 1), Bytes(32, 9), kGeneric)), CKR_FUNCTION_FAILED);
}

}  // namespace
}  // namespace secretmem
