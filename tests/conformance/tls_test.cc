// The key schedule of TLS 1.2: PKCS#11 3.1 §6.40, RFC 5246, RFC 5705 and RFC 7627.
#include <algorithm>
#include <string>

#include "tests/conformance/cipher.h"
#include "tests/conformance/fixtures.h"
#include "tests/conformance/kdf.h"
#include "tests/conformance/macs.h"
#include "tests/conformance/x25519.h"

namespace secretmem::conformance {
namespace {

struct TlsHash {
  const char* name;
  size_t size;
  CK_MECHANISM_TYPE digest;
};
constexpr TlsHash kHashes[] = {
    {"SHA256", 32, CKM_SHA256}, {"SHA384", 48, CKM_SHA384}, {"SHA512", 64, CKM_SHA512}};

Bytes Join(Bytes first, const Bytes& second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

class TlsTest : public SessionTest {
 protected:
  void SetUp() override {
    SessionTest::SetUp();
    if (!Offers(CKM_TLS12_MASTER_KEY_DERIVE)) GTEST_SKIP() << "no such mechanism";
    base_ = Create(session_, BaseSecret(secret_));
  }

  CK_SSL3_RANDOM_DATA Randoms() {
    return {client_.data(), client_.size(), server_.data(), server_.size()};
  }
  template <class T>
  Bytes Value(CK_MECHANISM_TYPE type, T params, CK_OBJECT_HANDLE base, const Template& wanted) {
    CK_OBJECT_HANDLE key = 0;
    EXPECT_RV(CKR_OK, DeriveBy(session_, MechanismOf(type, params), base, wanted, key));
    return key == 0 ? Bytes() : ReadBytes(session_, key, CKA_VALUE);
  }
  // Refused says that it makes no object either.
  template <class T>
  void Refused(CK_RV code, CK_MECHANISM_TYPE type, T params, CK_OBJECT_HANDLE base,
               const Template& wanted) {
    const auto before = FindAll(session_);
    CK_OBJECT_HANDLE key = 0;
    EXPECT_RV(code, DeriveBy(session_, MechanismOf(type, params), base, wanted, key));
    EXPECT_EQ(FindAll(session_), before);
  }

  const Bytes secret_ = ReferenceRandom(48);
  Bytes client_ = ReferenceRandom(32);
  Bytes server_ = ReferenceRandom(32);
  CK_OBJECT_HANDLE base_ = 0;
};

// The test vectors of the PRF that were given to the IETF's TLS working group: the seed's sixteen
// bytes do not make randoms, so they run through OpenSSL only, which then is what this module is
// compared with.
TEST(TlsReferenceTest, KnownPrf) {
  const struct {
    const char* hash;
    const char* secret;
    const char* seed;
    const char* out;
  } kVectors[] = {
      {"SHA256", "9bbe436ba940f017b17652849a71db35", "a0ba9f936cda311827a6f796ffd5198c",
       "e3f229ba727be17b8d122620557cd453c2aab21d07c3d495329b52d4e61edb5a6b301791e90d35c9c9a46b4e"
       "14baf9af0fa022f7077def17abfd3797c0564bab4fbc91666e9def9b97fce34f796789baa48082d122ee42c5"
       "a72e5a5110fff70187347b66"},
      {"SHA384", "b80b733d6ceefcdc71566ea48e5567df", "cd665cf6a8447dd6ff8b27555edb7465",
       "7b0c18e9ced410ed1804f2cfa34a336a1c14dffb4900bb5fd7942107e81c83cde9ca0faa60be9fe34f82b123"
       "3c9146a0e534cb400fed2700884f9dc236f80edd8bfa961144c9e8d792eca722a7b32fc3d416d473ebc2c5fd"
       "4abfdad05d9184259b5bf8cd4d90fa0d31e2dec479e4f1a26066f2eea9a69236a3e52655c9e9aee691c8f3a2"
       "6854308d5eaa3be85e0990703d73e56f"},
      {"SHA512", "b0323523c1853599584d88568bbb05eb", "d4640e12e4bcdbfb437f03e6ae418ee5",
       "1261f588c798c5c201ff036e7a9cb5edcd7fe3f94c669a122a4638d7d508b283042df6789875c7147e906d86"
       "8bc75c45e20eb40c1cf4a1713b27371f68432592f7dc8ea8ef223e12ea8507841311bf68653d0cfc4056d811"
       "f025c45ddfa6e6fec702f054b409d6f28dd0a3233e498da41a3e75c5630eedbe22fe254e33a1b0e9f6b98266"
       "75bec7d01a845658dc9c397545401d40b9f46c7a400ee1b8f81ca0a60d1a397a1028bff5d2ef5066126842fb"
       "8da4197632bdb54ff6633f86bbc836e640d4d898"}};
  for (const auto& vector : kVectors) {
    const Bytes out = FromHex(vector.out);
    EXPECT_EQ(ReferenceTlsPrf(vector.hash, FromHex(vector.secret), "test label",
                              FromHex(vector.seed), out.size()),
              out);
  }
}

// NIST's vectors for the key schedule of TLS 1.2: a master secret, and a key block that is cut into
// MAC and write keys of 32 bytes.
TEST_F(TlsTest, Nist) {
  client_ = FromHex("36c129d01a3200894b9179faac589d9835d58775f9b5ea3587cb8fd0364cae8c");
  server_ = FromHex("f6c9575ed7ddd73e1f7d16eca115415812a43c2b747daaaae043abfb50053fce");
  const Bytes premaster = FromHex(
      "f8938ecc9edebc5030c0c6a441e213cd24e6f770a50dda07876f8d55da062bcadb386b411fd4fe4313a604fce6c1"
      "7fbc");
  const Bytes master = FromHex(
      "202c88c00f84a17a20027079604787461176455539e705be730890602c289a5001e34eeb3a043e5d52a65e661251"
      "88bf");
  const CK_TLS12_MASTER_KEY_DERIVE_PARAMS params{Randoms(), nullptr, CKM_SHA256};
  EXPECT_EQ(Value(CKM_TLS12_MASTER_KEY_DERIVE_DH, params, Create(session_, BaseSecret(premaster)),
                  DerivedSecret()),
            master);

  client_ = FromHex("62e1fd91f23f558a605f28478c58cf72637b89784d959df7e946d3f07bd1b616");
  server_ = FromHex("ae6c806f8ad4d80784549dff28a4b58fd837681a51d928c3e30ee5ff14f39868");
  const CK_OBJECT_HANDLE base = Create(session_, BaseSecret(master));
  for (const auto type : {CKM_TLS12_KEY_AND_MAC_DERIVE, CKM_TLS12_KEY_SAFE_DERIVE}) {
    CK_SSL3_KEY_MAT_OUT out{};
    CK_TLS12_KEY_MAT_PARAMS material{256, 256, 0, CK_FALSE, Randoms(), &out, CKM_SHA256};
    CK_MECHANISM mechanism = MechanismOf(type, material);
    Template wanted = DerivedSecret(32).With(CKA_KEY_TYPE, CK_ULONG{CKK_AES});
    ASSERT_RV(CKR_OK,
              P11().C_DeriveKey(session_, &mechanism, base, wanted.data(), wanted.size(), nullptr));
    const char* const keys[] = {"d06139889fffac1e3a71865f504aa5d0d2a2e89506c6f2279b670c3e1b74f531",
                                "016a2530c51a3a0f7e1d6590d0f0566b2f387f8d11fd4f731cdd572d2eae927f",
                                "6f2f81410b25e6960be68985add6c38445ad9f8c64bf8068bf9a6679485d966f",
                                "1ad6f68b43495b10a683755ea2b858d70ccac7ec8b053c6bd41ca299d4e51928"};
    const CK_OBJECT_HANDLE made[] = {out.hClientMacSecret, out.hServerMacSecret, out.hClientKey,
                                     out.hServerKey};
    for (size_t i = 0; i < std::size(keys); ++i) {
      EXPECT_EQ(ReadBytes(session_, made[i], CKA_VALUE), FromHex(keys[i]));
    }
  }
}

class TlsHashTest : public TlsTest, public testing::WithParamInterface<TlsHash> {
 protected:
  Bytes Reference(const std::string& label, const Bytes& seed, size_t size) {
    return ReferenceTlsPrf(GetParam().name, secret_, label, seed, size);
  }
};

TEST_P(TlsHashTest, MasterSecret) {
  const Bytes expected = Reference("master secret", Join(client_, server_), 48);
  CK_VERSION version{};
  const CK_TLS12_MASTER_KEY_DERIVE_PARAMS rsa{Randoms(), &version, GetParam().digest};
  EXPECT_EQ(Value(CKM_TLS12_MASTER_KEY_DERIVE, rsa, base_, DerivedSecret()), expected);
  EXPECT_EQ(version.major, secret_[0]);
  EXPECT_EQ(version.minor, secret_[1]);
  EXPECT_EQ(Value(CKM_TLS12_MASTER_KEY_DERIVE, rsa, base_, DerivedSecret(48)), expected);
  const CK_TLS12_MASTER_KEY_DERIVE_PARAMS dh{Randoms(), nullptr, GetParam().digest};
  EXPECT_EQ(Value(CKM_TLS12_MASTER_KEY_DERIVE_DH, dh, base_, DerivedSecret()), expected);
  for (const size_t size : {1, 32, 66, 200}) {
    const Bytes premaster = ReferenceRandom(size);
    EXPECT_EQ(
        Value(CKM_TLS12_MASTER_KEY_DERIVE_DH, dh, Create(session_, BaseSecret(premaster)),
              DerivedSecret()),
        ReferenceTlsPrf(GetParam().name, premaster, "master secret", Join(client_, server_), 48));
  }
}

TEST_P(TlsHashTest, ExtendedMasterSecret) {
  Bytes hash = ReferenceRandom(GetParam().size);
  const Bytes expected = Reference("extended master secret", hash, 48);
  CK_VERSION version{};
  CK_TLS12_EXTENDED_MASTER_KEY_DERIVE_PARAMS params{GetParam().digest, hash.data(), hash.size(),
                                                    &version};
  constexpr auto kRsa = CKM_TLS12_EXTENDED_MASTER_KEY_DERIVE;
  constexpr auto kDh = CKM_TLS12_EXTENDED_MASTER_KEY_DERIVE_DH;
  EXPECT_EQ(Value(kRsa, params, base_, DerivedSecret()), expected);
  EXPECT_EQ(version.major, secret_[0]);
  EXPECT_EQ(version.minor, secret_[1]);
  Refused(CKR_MECHANISM_PARAM_INVALID, kDh, params, base_, DerivedSecret());
  params.pVersion = nullptr;
  EXPECT_EQ(Value(kDh, params, base_, DerivedSecret()), expected);
  Refused(CKR_MECHANISM_PARAM_INVALID, kRsa, params, base_, DerivedSecret());
  for (const size_t size : {size_t{0}, hash.size() - 1, hash.size() + 1}) {
    params.ulSessionHashLen = size;
    Bytes longer(size + 1);
    params.pSessionHash = longer.data();
    Refused(CKR_MECHANISM_PARAM_INVALID, kDh, params, base_, DerivedSecret());
  }
}

TEST_P(TlsHashTest, KeyBlock) {
  constexpr size_t kMac = 20, kKey = 16, kIv = 16;
  const Bytes block = Reference("key expansion", Join(server_, client_), 2 * (kMac + kKey + kIv));
  const auto part = [&](size_t at, size_t size) {
    return Bytes(block.begin() + static_cast<ptrdiff_t>(at),
                 block.begin() + static_cast<ptrdiff_t>(at + size));
  };
  Template wanted = DerivedSecret(kKey).With(CKA_KEY_TYPE, CK_ULONG{CKK_AES});
  for (const auto type : {CKM_TLS12_KEY_AND_MAC_DERIVE, CKM_TLS12_KEY_SAFE_DERIVE}) {
    Bytes ivs[2] = {Bytes(kIv), Bytes(kIv)};
    CK_SSL3_KEY_MAT_OUT out{~0UL, ~0UL, ~0UL, ~0UL, ivs[0].data(), ivs[1].data()};
    CK_TLS12_KEY_MAT_PARAMS params{8 * kMac,  8 * kKey, 8 * kIv,          CK_FALSE,
                                   Randoms(), &out,     GetParam().digest};
    CK_MECHANISM mechanism{type, &params, sizeof params};
    // The handles come in the parameter, so phKey may be null.
    ASSERT_RV(CKR_OK, P11().C_DeriveKey(session_, &mechanism, base_, wanted.data(), wanted.size(),
                                        nullptr));
    EXPECT_EQ(ReadBytes(session_, out.hClientMacSecret, CKA_VALUE), part(0, kMac));
    EXPECT_EQ(ReadBytes(session_, out.hServerMacSecret, CKA_VALUE), part(kMac, kMac));
    EXPECT_EQ(ReadBytes(session_, out.hClientKey, CKA_VALUE), part(2 * kMac, kKey));
    EXPECT_EQ(ReadBytes(session_, out.hServerKey, CKA_VALUE), part(2 * kMac + kKey, kKey));
    const bool safe = type == CKM_TLS12_KEY_SAFE_DERIVE;
    EXPECT_EQ(ivs[0], safe ? Bytes(kIv) : part(2 * (kMac + kKey), kIv));
    EXPECT_EQ(ivs[1], safe ? Bytes(kIv) : part(2 * (kMac + kKey) + kIv, kIv));
    for (const auto key : {out.hClientMacSecret, out.hServerMacSecret}) {
      EXPECT_EQ(ReadUlong(session_, key, CKA_KEY_TYPE), CK_ULONG{CKK_GENERIC_SECRET});
      EXPECT_TRUE(ReadBool(session_, key, CKA_SIGN) && ReadBool(session_, key, CKA_VERIFY));
      for (const auto usage : {CKA_ENCRYPT, CKA_DECRYPT, CKA_WRAP, CKA_UNWRAP, CKA_DERIVE}) {
        EXPECT_FALSE(ReadBool(session_, key, usage)) << usage;
      }
    }
    for (const auto key : {out.hClientKey, out.hServerKey}) {
      EXPECT_EQ(ReadUlong(session_, key, CKA_KEY_TYPE), CK_ULONG{CKK_AES});
      EXPECT_TRUE(ReadBool(session_, key, CKA_ENCRYPT) && ReadBool(session_, key, CKA_DECRYPT) &&
                  ReadBool(session_, key, CKA_DERIVE));
    }
  }
}

TEST_P(TlsHashTest, Exporter) {
  std::string label = "EXPORTER-test";
  auto* at = reinterpret_cast<CK_BYTE*>(label.data());
  CK_TLS_KDF_PARAMS params{GetParam().digest, at, label.size(), Randoms(), nullptr, 0};
  const Bytes randoms = Join(client_, server_);
  for (const auto type : {CKM_TLS12_KDF, CKM_TLS_KDF}) {
    for (const size_t size : {1, 16, 100, 4096}) {
      EXPECT_EQ(Value(type, params, base_, DerivedSecret(size)), Reference(label, randoms, size));
    }
    Refused(CKR_KEY_SIZE_RANGE, type, params, base_, DerivedSecret(4097));
    Refused(CKR_TEMPLATE_INCOMPLETE, type, params, base_, DerivedSecret());
  }
  for (const size_t size : {0, 5, 300, 900, 0xffff}) {
    Bytes context = ReferenceRandom(size + 1);
    CK_TLS_KDF_PARAMS with = params;
    with.pContextData = context.data();
    with.ulContextDataLength = size;
    const Bytes value = Value(CKM_TLS_KDF, with, base_, DerivedSecret(32));
    context.pop_back();
    const Bytes seed =
        Join(Join(randoms, {static_cast<uint8_t>(size >> 8), static_cast<uint8_t>(size)}), context);
    if (size <= 900) {
      EXPECT_EQ(value, Reference(label, seed, 32));
      continue;
    }
    // Longer than OpenSSL's PRF takes: its first block by hand.
    const Bytes all = Join(Bytes(label.begin(), label.end()), seed);
    const char* hash = GetParam().name;
    Bytes block = ReferenceHmac(hash, secret_, Join(ReferenceHmac(hash, secret_, all), all));
    block.resize(32);
    EXPECT_EQ(value, block);
  }
  Bytes context(0x10000);
  params.pContextData = context.data();
  params.ulContextDataLength = context.size();
  Refused(CKR_MECHANISM_PARAM_INVALID, CKM_TLS_KDF, params, base_, DerivedSecret(40));
  params.ulContextDataLength = 0;
  params.ulLabelLength = 0;
  Refused(CKR_MECHANISM_PARAM_INVALID, CKM_TLS_KDF, params, base_, DerivedSecret(40));
}

TEST_P(TlsHashTest, Finished) {
  const CK_OBJECT_HANDLE key = Create(session_, MacKey(secret_));
  const Bytes hash = ReferenceRandom(GetParam().size);
  for (const auto type : {CKM_TLS12_MAC, CKM_TLS_MAC}) {
    for (const CK_ULONG side : {1, 2}) {
      for (const CK_ULONG size : {12, 33, 64}) {
        CK_TLS_MAC_PARAMS params{GetParam().digest, size, side};
        CK_MECHANISM mechanism = MechanismOf(type, params);
        const Bytes expected =
            Reference(side == 1 ? "server finished" : "client finished", hash, size);
        Bytes data = hash;
        Bytes out(64);
        CK_ULONG length = out.size();
        ASSERT_RV(CKR_OK, P11().C_SignInit(session_, &mechanism, key));
        EXPECT_RV(CKR_OK, P11().C_Sign(session_, data.data(), data.size(), out.data(), &length));
        out.resize(length);
        EXPECT_EQ(out, expected);
        // In parts.
        out.resize(64);
        length = out.size();
        ASSERT_RV(CKR_OK, P11().C_SignInit(session_, &mechanism, key));
        EXPECT_RV(CKR_OK, P11().C_SignUpdate(session_, data.data(), 5));
        EXPECT_RV(CKR_OK, P11().C_SignUpdate(session_, data.data() + 5, data.size() - 5));
        EXPECT_RV(CKR_OK, P11().C_SignFinal(session_, out.data(), &length));
        out.resize(length);
        EXPECT_EQ(out, expected);
        const auto verify = [&](Bytes signature) {
          EXPECT_RV(CKR_OK, P11().C_VerifyInit(session_, &mechanism, key));
          return P11().C_Verify(session_, data.data(), data.size(), signature.data(),
                                signature.size());
        };
        EXPECT_RV(CKR_OK, verify(expected));
        EXPECT_RV(CKR_SIGNATURE_LEN_RANGE, verify(Bytes(size - 1)));
        EXPECT_RV(CKR_SIGNATURE_LEN_RANGE, verify(Bytes(size + 1)));
        Bytes wrong = expected;
        wrong.at(0) ^= 1;
        EXPECT_RV(CKR_SIGNATURE_INVALID, verify(wrong));
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Hashes, TlsHashTest, testing::ValuesIn(kHashes),
                         [](const auto& hash) { return hash.param.name; });

TEST_F(TlsTest, Premaster) {
  CK_VERSION version{3, 3};
  CK_MECHANISM mechanism = MechanismOf(CKM_TLS_PRE_MASTER_KEY_GEN, version);
  const auto generate = [&](Template wanted, CK_OBJECT_HANDLE& key) {
    return P11().C_GenerateKey(session_, &mechanism, wanted.data(), wanted.size(), &key);
  };
  CK_OBJECT_HANDLE first = 0, second = 0;
  ASSERT_RV(CKR_OK, generate(DerivedSecret().With(CKA_DERIVE, true), first));
  ASSERT_RV(CKR_OK, generate(DerivedSecret(48), second));
  const Bytes value = ReadBytes(session_, first, CKA_VALUE);
  ASSERT_EQ(value.size(), 48U);
  EXPECT_EQ(Bytes(value.begin(), value.begin() + 2), (Bytes{3, 3}));
  EXPECT_NE(ReadBytes(session_, second, CKA_VALUE), value);
  EXPECT_RV(CKR_TEMPLATE_INCONSISTENT, generate(DerivedSecret(47), second));
  // What says nothing can be wrapped, as it is made for that, and not read.
  CK_OBJECT_HANDLE silent = 0;
  ASSERT_RV(CKR_OK, generate(Template().With(CKA_TOKEN, false), silent));
  EXPECT_TRUE(ReadBool(session_, silent, CKA_EXTRACTABLE));
  EXPECT_TRUE(ReadBool(session_, silent, CKA_DERIVE));
  EXPECT_RV(CKR_ATTRIBUTE_SENSITIVE, ReadAttribute(session_, silent, CKA_VALUE).rv);
  CK_VERSION told{};
  const CK_TLS12_MASTER_KEY_DERIVE_PARAMS params{Randoms(), &told, CKM_SHA256};
  EXPECT_EQ(Value(CKM_TLS12_MASTER_KEY_DERIVE, params, first, DerivedSecret()),
            ReferenceTlsPrf("SHA256", value, "master secret", Join(client_, server_), 48));
  EXPECT_EQ(told.major, 3);
  EXPECT_EQ(told.minor, 3);
}

TEST_F(TlsTest, BadMasterParameters) {
  CK_VERSION version{9, 9};
  const CK_TLS12_MASTER_KEY_DERIVE_PARAMS good{Randoms(), &version, CKM_SHA256};
  const auto refused = [&](CK_TLS12_MASTER_KEY_DERIVE_PARAMS params) {
    Refused(CKR_MECHANISM_PARAM_INVALID, CKM_TLS12_MASTER_KEY_DERIVE, params, base_,
            DerivedSecret());
  };
  for (const CK_MECHANISM_TYPE hash :
       {CKM_SHA_1, CKM_SHA224, CKM_MD5, CKM_SHA256_HMAC, CKM_TLS_PRF}) {
    auto params = good;
    params.prfHashMechanism = hash;
    refused(params);
  }
  for (const auto length :
       {&CK_SSL3_RANDOM_DATA::ulClientRandomLen, &CK_SSL3_RANDOM_DATA::ulServerRandomLen}) {
    for (const CK_ULONG value : {0, 31}) {
      auto params = good;
      params.RandomInfo.*length = value;
      refused(params);
    }
  }
  auto params = good;
  params.pVersion = nullptr;
  refused(params);
  Refused(CKR_MECHANISM_PARAM_INVALID, CKM_TLS12_MASTER_KEY_DERIVE_DH, good, base_,
          DerivedSecret());
  // What a master secret is leaves the template no choice.
  for (const size_t size : {47, 49}) {
    Refused(CKR_TEMPLATE_INCONSISTENT, CKM_TLS12_MASTER_KEY_DERIVE, good, base_,
            DerivedSecret(size));
    const CK_OBJECT_HANDLE other = Create(session_, BaseSecret(Bytes(size, 3)));
    Refused(CKR_KEY_SIZE_RANGE, CKM_TLS12_MASTER_KEY_DERIVE, good, other, DerivedSecret());
  }
  Refused(CKR_TEMPLATE_INCONSISTENT, CKM_TLS12_MASTER_KEY_DERIVE, good, base_,
          DerivedSecret().With(CKA_KEY_TYPE, CK_ULONG{CKK_SHA256_HMAC}));
  EXPECT_EQ(version.major, 9) << "written to beside an error";
}

class TlsKeySetTest : public TlsTest {
 protected:
  CK_RV Derive(CK_TLS12_KEY_MAT_PARAMS params, Template wanted, CK_OBJECT_HANDLE base) {
    out_.hClientMacSecret = out_.hServerMacSecret = out_.hClientKey = out_.hServerKey = 77;
    CK_MECHANISM mechanism = MechanismOf(CKM_TLS12_KEY_AND_MAC_DERIVE, params);
    return P11().C_DeriveKey(session_, &mechanism, base, wanted.data(), wanted.size(), nullptr);
  }
  CK_RV Derive(CK_TLS12_KEY_MAT_PARAMS params, Template wanted) {
    return Derive(params, std::move(wanted), base_);
  }
  void Refused(CK_RV code, CK_TLS12_KEY_MAT_PARAMS params, const Template& wanted) {
    Refused(code, params, wanted, base_);
  }
  void Refused(CK_RV code, CK_TLS12_KEY_MAT_PARAMS params, const Template& wanted,
               CK_OBJECT_HANDLE base) {
    const auto before = FindAll(session_);
    std::ranges::fill(ivs_, CK_BYTE{0});
    EXPECT_RV(code, Derive(params, wanted, base));
    EXPECT_EQ(FindAll(session_), before);
    EXPECT_EQ(ivs_, Bytes(64));
    for (const auto key :
         {out_.hClientMacSecret, out_.hServerMacSecret, out_.hClientKey, out_.hServerKey}) {
      EXPECT_EQ(key, 77U);
    }
  }
  CK_TLS12_KEY_MAT_PARAMS Params() {
    return {160, 128, 128, CK_FALSE, Randoms(), &out_, CKM_SHA256};
  }
  static Template Wanted() { return DerivedSecret(16).With(CKA_KEY_TYPE, CK_ULONG{CKK_AES}); }

  Bytes ivs_ = Bytes(64);
  CK_SSL3_KEY_MAT_OUT out_{0, 0, 0, 0, ivs_.data(), ivs_.data() + 32};
};

TEST_F(TlsKeySetTest, OnlyWhatHasASize) {
  auto params = Params();
  params.ulMacSizeInBits = 0;
  params.ulIVSizeInBits = 0;
  out_.pIVClient = out_.pIVServer = nullptr;
  ASSERT_RV(CKR_OK, Derive(params, Wanted()));
  EXPECT_EQ(out_.hClientMacSecret, CK_INVALID_HANDLE);
  EXPECT_EQ(out_.hServerMacSecret, CK_INVALID_HANDLE);
  const Bytes block =
      ReferenceTlsPrf("SHA256", secret_, "key expansion", Join(server_, client_), 32);
  EXPECT_EQ(Join(ReadBytes(session_, out_.hClientKey, CKA_VALUE),
                 ReadBytes(session_, out_.hServerKey, CKA_VALUE)),
            block);
  params.ulMacSizeInBits = 128;
  params.ulKeySizeInBits = 0;
  ASSERT_RV(CKR_OK, Derive(params, Wanted()));
  EXPECT_EQ(out_.hClientKey, CK_INVALID_HANDLE);
  EXPECT_EQ(out_.hServerKey, CK_INVALID_HANDLE);
  EXPECT_EQ(Join(ReadBytes(session_, out_.hClientMacSecret, CKA_VALUE),
                 ReadBytes(session_, out_.hServerMacSecret, CKA_VALUE)),
            block);
}

// As the base key is, so are all four; a template may only say the same.
TEST_F(TlsKeySetTest, Protection) {
  const CK_OBJECT_HANDLE hidden =
      Create(session_, BaseSecret(secret_).With(CKA_SENSITIVE, true).With(CKA_EXTRACTABLE, false));
  Template wanted = Wanted().Without(CKA_SENSITIVE).Without(CKA_EXTRACTABLE);
  for (const bool secret : {false, true}) {
    ASSERT_RV(CKR_OK, Derive(Params(), wanted, secret ? hidden : base_));
    for (const auto key :
         {out_.hClientMacSecret, out_.hServerMacSecret, out_.hClientKey, out_.hServerKey}) {
      EXPECT_EQ(ReadBool(session_, key, CKA_SENSITIVE), secret);
      EXPECT_EQ(ReadBool(session_, key, CKA_EXTRACTABLE), !secret);
      // Imported keys were seen in the clear.
      EXPECT_FALSE(ReadBool(session_, key, CKA_ALWAYS_SENSITIVE));
      EXPECT_FALSE(ReadBool(session_, key, CKA_NEVER_EXTRACTABLE));
    }
  }
  for (const auto attribute : {CKA_SENSITIVE, CKA_EXTRACTABLE}) {
    for (const bool secret : {false, true}) {
      const bool same = (attribute == CKA_SENSITIVE) == secret;
      const Template other = Template(wanted).With(attribute, !same);
      Refused(CKR_TEMPLATE_INCONSISTENT, Params(), other, secret ? hidden : base_);
      EXPECT_RV(CKR_OK,
                Derive(Params(), Template(wanted).With(attribute, same), secret ? hidden : base_));
    }
  }
}

TEST_F(TlsKeySetTest, BadParameters) {
  constexpr CK_RV kBad = CKR_MECHANISM_PARAM_INVALID;
  const auto with = [&](auto member, auto value) {
    auto params = Params();
    params.*member = value;
    return params;
  };
  using P = CK_TLS12_KEY_MAT_PARAMS;
  Refused(kBad, with(&P::bIsExport, CK_BBOOL{CK_TRUE}), Wanted());
  Refused(kBad, with(&P::pReturnedKeyMaterial, nullptr), Wanted());
  Refused(kBad, with(&P::prfHashMechanism, CKM_SHA_1), Wanted());
  for (const CK_ULONG bits : {CK_ULONG{7}, CK_ULONG{520}, ~CK_ULONG{0}}) {
    Refused(kBad, with(&P::ulMacSizeInBits, bits), Wanted());
    Refused(kBad, with(&P::ulKeySizeInBits, bits), Wanted());
    Refused(kBad, with(&P::ulIVSizeInBits, bits), Wanted());
  }
  Refused(kBad, with(&P::ulIVSizeInBits, CK_ULONG{136}), Wanted());
  // IVs without a cipher would be key bytes in the clear.
  Refused(kBad, with(&P::ulKeySizeInBits, CK_ULONG{0}), Wanted());
  auto params = Params();
  params.ulMacSizeInBits = params.ulKeySizeInBits = params.ulIVSizeInBits = 0;
  Refused(kBad, params, Wanted());
  for (CK_BYTE** iv : {&out_.pIVClient, &out_.pIVServer}) {
    CK_BYTE* const kept = *iv;
    *iv = nullptr;
    Refused(kBad, Params(), Wanted());
    *iv = kept;
  }
  params = Params();
  params.RandomInfo.ulServerRandomLen = 31;
  Refused(kBad, params, Wanted());
  Refused(CKR_TEMPLATE_INCONSISTENT, Params(), Wanted().With(CKA_VALUE_LEN, CK_ULONG{32}));
  Refused(CKR_KEY_SIZE_RANGE, with(&P::ulKeySizeInBits, CK_ULONG{136}),
          Wanted().Without(CKA_VALUE_LEN));
  Refused(CKR_KEY_SIZE_RANGE, Params(), Wanted(),
          Create(session_, BaseSecret(ReferenceRandom(47))));
  Refused(CKR_KEY_TYPE_INCONSISTENT, Params(), Wanted(),
          Create(session_, BaseSecret(ReferenceRandom(32)).With(CKA_KEY_TYPE, CK_ULONG{CKK_HKDF})));
  EXPECT_RV(CKR_OK, Derive(Params(), Wanted()));
}

TEST_F(TlsTest, BadMacParameters) {
  CK_OBJECT_HANDLE key = Create(session_, MacKey(secret_));
  const auto begin = [&](CK_MECHANISM_TYPE hash, CK_ULONG size, CK_ULONG side) {
    CK_TLS_MAC_PARAMS params{hash, size, side};
    CK_MECHANISM mechanism = MechanismOf(CKM_TLS_MAC, params);
    const CK_RV verify = P11().C_VerifyInit(session_, &mechanism, key);
    const CK_RV sign = P11().C_SignInit(session_, &mechanism, key);
    EXPECT_EQ(verify, sign);
    return sign;
  };
  constexpr CK_RV kBad = CKR_MECHANISM_PARAM_INVALID;
  for (const CK_MECHANISM_TYPE hash : {CKM_SHA_1, CKM_SHA224, CKM_TLS_PRF, CKM_SHA256_HMAC}) {
    EXPECT_RV(kBad, begin(hash, 12, 1));
  }
  for (const CK_ULONG size : {0, 11, 65}) EXPECT_RV(kBad, begin(CKM_SHA256, size, 1));
  for (const CK_ULONG side : {0, 3}) EXPECT_RV(kBad, begin(CKM_SHA256, 12, side));
}

// Handshake hashes are short, but the data may have any length.
TEST_F(TlsTest, MacOfMuchData) {
  const CK_OBJECT_HANDLE key = Create(session_, MacKey(secret_));
  CK_TLS_MAC_PARAMS params{CKM_SHA256, 12, 2};
  CK_MECHANISM mechanism = MechanismOf(CKM_TLS_MAC, params);
  for (const size_t size : {0, 1, 1025, 100'000, 3'000'000}) {
    Bytes data = ReferenceRandom(size + 1);
    data.resize(size);
    const Bytes seed = Join(ToBytes("client finished"), data);
    const auto hmac = [&](const Bytes& first) {
      return ReferenceHmac("SHA256", secret_, Join(first, seed));
    };
    Bytes expected = hmac(hmac({}));
    expected.resize(12);
    ASSERT_RV(CKR_OK, P11().C_SignInit(session_, &mechanism, key));
    for (size_t at = 0; at < size; at += 99'999) {
      EXPECT_RV(CKR_OK,
                P11().C_SignUpdate(session_, &data[at], std::min(size - at, size_t{99'999})));
    }
    Bytes out(12);
    CK_ULONG length = out.size();
    EXPECT_RV(CKR_OK, P11().C_SignFinal(session_, out.data(), &length));
    EXPECT_EQ(out, expected);
    ASSERT_RV(CKR_OK, P11().C_VerifyInit(session_, &mechanism, key));
    EXPECT_RV(CKR_OK, P11().C_Verify(session_, data.data(), size, expected.data(), 12));
  }
}

Bytes Join(std::initializer_list<CK_MECHANISM_TYPE> types) {
  Bytes joined;
  for (const CK_MECHANISM_TYPE type : types) joined = Join(joined, Template::Encode(type));
  return joined;
}

// A master secret is for what TLS makes of it, and nothing else.
TEST_F(TlsTest, UsesOfMasterSecrets) {
  const Bytes uses = Join({CKM_TLS12_KEY_AND_MAC_DERIVE, CKM_TLS12_KEY_SAFE_DERIVE, CKM_TLS_KDF,
                           CKM_TLS_MAC, CKM_TLS12_KDF, CKM_TLS12_MAC});
  CK_VERSION version{};
  Bytes hash = ReferenceRandom(32);
  CK_TLS12_MASTER_KEY_DERIVE_PARAMS plain{Randoms(), &version, CKM_SHA256};
  CK_TLS12_MASTER_KEY_DERIVE_PARAMS plain_dh{Randoms(), nullptr, CKM_SHA256};
  CK_TLS12_EXTENDED_MASTER_KEY_DERIVE_PARAMS extended{CKM_SHA256, hash.data(), 32, &version};
  CK_TLS12_EXTENDED_MASTER_KEY_DERIVE_PARAMS extended_dh{CKM_SHA256, hash.data(), 32, nullptr};
  CK_MECHANISM masters[] = {
      MechanismOf(CKM_TLS12_MASTER_KEY_DERIVE, plain),
      MechanismOf(CKM_TLS12_MASTER_KEY_DERIVE_DH, plain_dh),
      MechanismOf(CKM_TLS12_EXTENDED_MASTER_KEY_DERIVE, extended),
      MechanismOf(CKM_TLS12_EXTENDED_MASTER_KEY_DERIVE_DH, extended_dh),
  };
  // Clients do not say that it shall derive and sign.
  const Template wanted = DerivedSecret();
  for (CK_MECHANISM& mechanism : masters) {
    SCOPED_TRACE(mechanism.mechanism);
    CK_OBJECT_HANDLE master = 0;
    ASSERT_RV(CKR_OK, DeriveBy(session_, mechanism, base_, wanted, master));
    EXPECT_TRUE(ReadBool(session_, master, CKA_DERIVE));
    CK_TLS_MAC_PARAMS mac{CKM_SHA256, 12, 1};
    CK_MECHANISM finished = MechanismOf(CKM_TLS_MAC, mac);
    EXPECT_RV(CKR_OK, P11().C_SignInit(session_, &finished, master));
    EXPECT_RV(CKR_OK, P11().C_SignInit(session_, nullptr, 0));
    EXPECT_EQ(ReadBytes(session_, master, CKA_ALLOWED_MECHANISMS), uses);
    // The other mechanisms refuse it.
    CK_OBJECT_HANDLE key = 0;
    EXPECT_RV(CKR_MECHANISM_INVALID,
              DeriveBy(session_, MechanismOf(CKM_TLS12_MASTER_KEY_DERIVE, plain), master,
                       DerivedSecret(), key));
    EXPECT_RV(CKR_MECHANISM_INVALID, DeriveBy(session_, {CKM_SHA256_KEY_DERIVATION, nullptr, 0},
                                              master, DerivedSecret(), key));
    CK_MECHANISM hmac{CKM_SHA256_HMAC, nullptr, 0};
    EXPECT_RV(CKR_MECHANISM_INVALID, P11().C_SignInit(session_, &hmac, master));
    std::string label = "EXPORTER-test";
    CK_TLS_KDF_PARAMS kdf{
        CKM_SHA256, reinterpret_cast<CK_BYTE*>(label.data()), label.size(), Randoms(), nullptr, 0};
    EXPECT_EQ(Value(CKM_TLS_KDF, kdf, master, DerivedSecret(8)).size(), 8U);
    // A template may leave some out, and name no others.
    const Bytes fewer = Join({CKM_TLS_MAC, CKM_TLS12_KEY_SAFE_DERIVE});
    ASSERT_RV(CKR_OK, DeriveBy(session_, mechanism, base_,
                               Template(wanted).With(CKA_ALLOWED_MECHANISMS, fewer), master));
    EXPECT_EQ(ReadBytes(session_, master, CKA_ALLOWED_MECHANISMS), fewer);
    const auto before = FindAll(session_);
    EXPECT_RV(CKR_TEMPLATE_INCONSISTENT,
              DeriveBy(session_, mechanism, base_,
                       Template(wanted).With(CKA_ALLOWED_MECHANISMS,
                                             Join({CKM_TLS_MAC, CKM_SHA256_HMAC})),
                       master));
    EXPECT_EQ(FindAll(session_), before);
  }
}

// What an exporter makes is as well kept as what it is made from; a master secret's own
// protection is its template's.
TEST_F(TlsTest, ProtectionOfDerivedKeys) {
  std::string label = "EXPORTER-test";
  CK_TLS_KDF_PARAMS kdf{
      CKM_SHA256, reinterpret_cast<CK_BYTE*>(label.data()), label.size(), Randoms(), nullptr, 0};
  CK_TLS12_MASTER_KEY_DERIVE_PARAMS master{Randoms(), nullptr, CKM_SHA256};
  for (const bool sensitive : {false, true}) {
    for (const bool extractable : {false, true}) {
      CK_MECHANISM generate{CKM_GENERIC_SECRET_KEY_GEN, nullptr, 0};
      Template key = Template()
                         .With(CKA_VALUE_LEN, CK_ULONG{48})
                         .With(CKA_DERIVE, true)
                         .With(CKA_SENSITIVE, sensitive)
                         .With(CKA_EXTRACTABLE, extractable);
      CK_OBJECT_HANDLE base = 0;
      ASSERT_RV(CKR_OK, P11().C_GenerateKey(session_, &generate, key.data(), key.size(), &base));
      const auto expect = [&](CK_MECHANISM mechanism, const Template& wanted, bool is_sensitive,
                              bool is_extractable) {
        SCOPED_TRACE(testing::Message() << std::hex << mechanism.mechanism);
        CK_OBJECT_HANDLE made = 0;
        ASSERT_RV(CKR_OK, DeriveBy(session_, mechanism, base, wanted, made));
        EXPECT_EQ(ReadBool(session_, made, CKA_SENSITIVE), is_sensitive);
        EXPECT_EQ(ReadBool(session_, made, CKA_EXTRACTABLE), is_extractable);
        EXPECT_EQ(ReadBool(session_, made, CKA_ALWAYS_SENSITIVE), sensitive && is_sensitive);
        EXPECT_EQ(ReadBool(session_, made, CKA_NEVER_EXTRACTABLE), !extractable && !is_extractable);
      };
      const Template open = DerivedSecret(48);
      const Template silent = Template(open).Without(CKA_SENSITIVE).Without(CKA_EXTRACTABLE);
      for (const auto type : {CKM_TLS_KDF, CKM_TLS12_KDF}) {
        expect(MechanismOf(type, kdf), open, sensitive, extractable);
        expect(MechanismOf(type, kdf), silent, sensitive, extractable);
      }
      constexpr auto kMaster = CKM_TLS12_MASTER_KEY_DERIVE_DH;
      expect(MechanismOf(kMaster, master), open, false, true);
      expect(MechanismOf(kMaster, master), silent, sensitive, extractable);
      Template closed = Template(open).With(CKA_SENSITIVE, true).With(CKA_EXTRACTABLE, false);
      expect(MechanismOf(kMaster, master), closed, true, false);
    }
  }
}

}  // namespace
}  // namespace secretmem::conformance
