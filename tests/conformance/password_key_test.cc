// Keys from passwords, CKM_PKCS5_PBKD2: PKCS#11 3.1 §6.17, RFC 8018.
#include <sys/mman.h>

#include "tests/conformance/fixtures.h"
#include "tests/conformance/kdf.h"
#include "tests/conformance/x25519.h"

namespace secretmem::conformance {
namespace {

// The older form of the parameters, of PKCS#11 2.20 to 2.40.
struct OldParams {
  CK_ULONG salt_source;
  void* salt;
  CK_ULONG salt_size;
  CK_ULONG iterations;
  CK_ULONG prf;
  void* prf_data;
  CK_ULONG prf_data_size;
  CK_UTF8CHAR* password;
  CK_ULONG* password_size;
};

struct Prf {
  const char* name;
  CK_ULONG type;
};
constexpr Prf kPrfs[] = {
    {"SHA1", CKP_PKCS5_PBKD2_HMAC_SHA1},     {"SHA224", CKP_PKCS5_PBKD2_HMAC_SHA224},
    {"SHA256", CKP_PKCS5_PBKD2_HMAC_SHA256}, {"SHA384", CKP_PKCS5_PBKD2_HMAC_SHA384},
    {"SHA512", CKP_PKCS5_PBKD2_HMAC_SHA512}, {"SHA512-256", CKP_PKCS5_PBKD2_HMAC_SHA512_256}};

class PasswordKeyTest : public SessionTest {
 protected:
  void SetUp() override {
    SessionTest::SetUp();
    if (!Offers(CKM_PKCS5_PBKD2)) GTEST_SKIP() << "no such mechanism";
  }

  CK_PKCS5_PBKD2_PARAMS2 Params(CK_ULONG prf, CK_ULONG iterations) {
    return {1, salt_.data(),     salt_.size(),    iterations, prf, nullptr,
            0, password_.data(), password_.size()};
  }
  CK_RV Generate(CK_MECHANISM mechanism, Template wanted, CK_OBJECT_HANDLE& key) {
    key = CK_INVALID_HANDLE;
    return P11().C_GenerateKey(session_, &mechanism, wanted.data(), wanted.size(), &key);
  }
  Bytes Value(CK_ULONG prf, CK_ULONG iterations, size_t size) {
    CK_PKCS5_PBKD2_PARAMS2 params = Params(prf, iterations);
    CK_OBJECT_HANDLE key = 0;
    EXPECT_RV(CKR_OK, Generate(MechanismOf(CKM_PKCS5_PBKD2, params), DerivedSecret(size), key));
    return key == 0 ? Bytes() : ReadBytes(session_, key, CKA_VALUE);
  }

  Bytes password_ = ToBytes("password");
  Bytes salt_ = ToBytes("salt");
};

TEST_F(PasswordKeyTest, Rfc6070) {
  EXPECT_EQ(Value(CKP_PKCS5_PBKD2_HMAC_SHA1, 1, 20),
            FromHex("0c60c80f961f0e71f3a9b524af6012062fe037a6"));
  EXPECT_EQ(Value(CKP_PKCS5_PBKD2_HMAC_SHA1, 2, 20),
            FromHex("ea6c014dc72d6f8ccd1ed92ace1d41f0d8de8957"));
  EXPECT_EQ(Value(CKP_PKCS5_PBKD2_HMAC_SHA1, 4096, 20),
            FromHex("4b007901b765489abead49d926f721d065a429c1"));
  password_ = ToBytes("passwordPASSWORDpassword");
  salt_ = ToBytes("saltSALTsaltSALTsaltSALTsaltSALTsalt");
  EXPECT_EQ(Value(CKP_PKCS5_PBKD2_HMAC_SHA1, 4096, 25),
            FromHex("3d2eec4fe41c849b80c8d83662c0e44a8b291a964cf2f07038"));
  password_ = {'p', 'a', 's', 's', 0, 'w', 'o', 'r', 'd'};
  salt_ = {'s', 'a', 0, 'l', 't'};
  EXPECT_EQ(Value(CKP_PKCS5_PBKD2_HMAC_SHA1, 4096, 16),
            FromHex("56fa6aa75548099dcc37d7f03425e0c3"));
}

// RFC 7914, section 11.
TEST_F(PasswordKeyTest, Rfc7914) {
  password_ = ToBytes("passwd");
  EXPECT_EQ(Value(CKP_PKCS5_PBKD2_HMAC_SHA256, 1, 64),
            FromHex("55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc"
                    "49ca9cccf179b645991664b39d77ef317c71b845b1e30bd509112041d3a19783"));
  password_ = ToBytes("Password");
  salt_ = ToBytes("NaCl");
  EXPECT_EQ(Value(CKP_PKCS5_PBKD2_HMAC_SHA256, 80'000, 64),
            FromHex("4ddcd8f60b98be21830cee5ef22701f9641a4418d04c0414aeff08876b34ab56"
                    "a1d425a1225833549adb841b51c9b3176a272bdebba1d078478f62b397f33c8d"));
}

// RFC 6070's first input by SHA-512, as it is commonly given.
TEST_F(PasswordKeyTest, Sha512) {
  EXPECT_EQ(Value(CKP_PKCS5_PBKD2_HMAC_SHA512, 1, 64),
            FromHex("867f70cf1ade02cff3752599a3a53dc4af34c7a669815ae5d513554e1c8cf252"
                    "c02d470a285a0501bad999bfe943c08f050235d7d68b1da55e63f73b60a57fce"));
  EXPECT_EQ(Value(CKP_PKCS5_PBKD2_HMAC_SHA512, 4096, 64),
            FromHex("d197b1b33db0143e018b12f3d1d1479e6cdebdcc97c5c0f87f6902e072f457b5"
                    "143f30602641b3d55cd335988cb36b84376060ecd532e039b742a239434af2d5"));
}

class PasswordKeyPrfTest : public PasswordKeyTest, public testing::WithParamInterface<Prf> {};

// Passwords and salts of every kind of length, several blocks, several slices.
TEST_P(PasswordKeyPrfTest, EqualsReference) {
  for (const size_t length : {1, 63, 64, 65, 127, 128, 129, 300}) {
    password_ = ReferenceRandom(length);
    salt_ = ReferenceRandom(length);
    for (const size_t size : {1, 32, 100}) {
      EXPECT_EQ(Value(GetParam().type, 7, size),
                ReferencePbkdf2(GetParam().name, password_, salt_, 7, size));
    }
  }
  EXPECT_EQ(Value(GetParam().type, 25'001, 70),
            ReferencePbkdf2(GetParam().name, password_, salt_, 25'001, 70));
}

INSTANTIATE_TEST_SUITE_P(Prfs, PasswordKeyPrfTest, testing::ValuesIn(kPrfs), [](const auto& test) {
  std::string name = test.param.name;
  std::erase(name, '-');
  return name;
});

TEST_F(PasswordKeyTest, EmptyPasswordAndSalt) {
  const Bytes expected = ReferencePbkdf2("SHA256", {}, salt_, 3, 32);
  CK_PKCS5_PBKD2_PARAMS2 params = Params(CKP_PKCS5_PBKD2_HMAC_SHA256, 3);
  params.pPassword = nullptr;
  params.ulPasswordLen = 0;
  CK_OBJECT_HANDLE key = 0;
  ASSERT_RV(CKR_OK, Generate(MechanismOf(CKM_PKCS5_PBKD2, params), DerivedSecret(32), key));
  EXPECT_EQ(ReadBytes(session_, key, CKA_VALUE), expected);
}

TEST_F(PasswordKeyTest, OlderParameters) {
  CK_ULONG length = password_.size();
  OldParams params{1, salt_.data(),     salt_.size(), 9, CKP_PKCS5_PBKD2_HMAC_SHA256, nullptr,
                   0, password_.data(), &length};
  static_assert(sizeof(OldParams) == sizeof(CK_PKCS5_PBKD2_PARAMS2));
  CK_OBJECT_HANDLE key = 0;
  ASSERT_RV(CKR_OK, Generate(MechanismOf(CKM_PKCS5_PBKD2, params), DerivedSecret(40), key));
  EXPECT_EQ(ReadBytes(session_, key, CKA_VALUE),
            ReferencePbkdf2("SHA256", password_, salt_, 9, 40));
  length = CK_ULONG{1} << 60;
  EXPECT_RV(CKR_MECHANISM_PARAM_INVALID,
            Generate(MechanismOf(CKM_PKCS5_PBKD2, params), DerivedSecret(40), key));
}

TEST_F(PasswordKeyTest, Attributes) {
  CK_PKCS5_PBKD2_PARAMS2 params = Params(CKP_PKCS5_PBKD2_HMAC_SHA256, 3);
  const CK_MECHANISM mechanism = MechanismOf(CKM_PKCS5_PBKD2, params);
  Template wanted = Template()
                        .With(CKA_KEY_TYPE, CK_ULONG{CKK_AES})
                        .With(CKA_VALUE_LEN, CK_ULONG{32})
                        .With(CKA_PRIVATE, false)
                        .With(CKA_SENSITIVE, false)
                        .With(CKA_EXTRACTABLE, true);
  CK_OBJECT_HANDLE key = 0;
  ASSERT_RV(CKR_OK, Generate(mechanism, wanted, key));
  EXPECT_EQ(ReadUlong(session_, key, CKA_CLASS), CKO_SECRET_KEY);
  EXPECT_EQ(ReadUlong(session_, key, CKA_KEY_TYPE), CKK_AES);
  EXPECT_EQ(ReadUlong(session_, key, CKA_KEY_GEN_MECHANISM), CKM_PKCS5_PBKD2);
  EXPECT_TRUE(ReadBool(session_, key, CKA_LOCAL));
  EXPECT_EQ(ReadBytes(session_, key, CKA_VALUE),
            ReferencePbkdf2("SHA256", password_, salt_, 3, 32));
  EXPECT_RV(CKR_TEMPLATE_INCOMPLETE, Generate(mechanism, wanted.Without(CKA_VALUE_LEN), key));
  EXPECT_RV(CKR_KEY_SIZE_RANGE, Generate(mechanism, wanted.With(CKA_VALUE_LEN, CK_ULONG{33}), key));
}

TEST_F(PasswordKeyTest, Parameters) {
  const auto before = FindAll(session_);
  CK_OBJECT_HANDLE key = 0;
  const auto refused = [&](const char* what, auto change) {
    SCOPED_TRACE(what);
    CK_PKCS5_PBKD2_PARAMS2 params = Params(CKP_PKCS5_PBKD2_HMAC_SHA256, 3);
    CK_MECHANISM mechanism = MechanismOf(CKM_PKCS5_PBKD2, params);
    change(params, mechanism);
    EXPECT_RV(CKR_MECHANISM_PARAM_INVALID, Generate(mechanism, DerivedSecret(32), key));
    EXPECT_EQ(key, CK_INVALID_HANDLE);
  };
  using P = CK_PKCS5_PBKD2_PARAMS2;
  using M = CK_MECHANISM;
  CK_BYTE byte = 0;
  refused("none", [](P&, M& m) { m = {CKM_PKCS5_PBKD2, nullptr, 0}; });
  refused("short", [](P&, M& m) { m.ulParameterLen -= 8; });
  refused("long", [](P&, M& m) { m.ulParameterLen += 1; });
  refused("salt source", [](P& p, M&) { p.saltSource = 2; });
  refused("salt NULL", [](P& p, M&) { p.pSaltSourceData = nullptr; });
  refused("salt absurd", [](P& p, M&) { p.ulSaltSourceDataLen = CK_ULONG{1} << 60; });
  refused("no iteration", [](P& p, M&) { p.iterations = 0; });
  refused("endless", [](P& p, M&) { p.iterations = ~CK_ULONG{0}; });
  refused("no PRF", [](P& p, M&) { p.prf = 0; });
  refused("another PRF", [](P& p, M&) { p.prf = CKP_PKCS5_PBKD2_HMAC_GOSTR3411; });
  refused("PRF data", [&](P& p, M&) { p.pPrfData = &byte; });
  refused("PRF data length", [](P& p, M&) { p.ulPrfDataLen = 1; });
  refused("password NULL", [](P& p, M&) { p.pPassword = nullptr; });
  for (const unsigned bits : {47, 60, 63}) {
    refused("password absurd", [&](P& p, M&) { p.ulPasswordLen = CK_ULONG{1} << bits; });
  }
  // An address where there is nothing to read: the older structure's last member is a pointer.
  void* nothing = mmap(nullptr, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(nothing, MAP_FAILED);
  refused("password's length unreadable",
          [&](P& p, M&) { p.ulPasswordLen = reinterpret_cast<CK_ULONG>(nothing); });
  munmap(nothing, 4096);
  refused("password absurd", [](P& p, M&) { p.ulPasswordLen = ~CK_ULONG{0}; });
  EXPECT_EQ(FindAll(session_), before);
}

}  // namespace
}  // namespace secretmem::conformance
