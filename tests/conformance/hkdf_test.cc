// HKDF: PKCS#11 3.1 §6.62 and RFC 5869.
#include "tests/conformance/fixtures.h"
#include "tests/conformance/kdf.h"
#include "tests/conformance/macs.h"
#include "tests/conformance/x25519.h"

namespace secretmem::conformance {
namespace {

class HkdfTest : public SessionTest {
 protected:
  void SetUp() override {
    SessionTest::SetUp();
    if (!Offers(CKM_HKDF_DERIVE)) GTEST_SKIP() << "no such mechanism";
    base_ = Create(session_, BaseSecret(value_));
  }

  CK_RV Derive(Hkdf hkdf, const Template& wanted, CK_OBJECT_HANDLE& key) {
    return Derive(hkdf, wanted, base_, key);
  }
  CK_RV Derive(Hkdf hkdf, const Template& wanted, CK_OBJECT_HANDLE base, CK_OBJECT_HANDLE& key) {
    CK_HKDF_PARAMS params = hkdf.Params();
    return DeriveBy(session_, MechanismOf(CKM_HKDF_DERIVE, params), base, wanted, key);
  }
  Bytes Value(const Hkdf& hkdf, const Template& wanted) { return Value(hkdf, wanted, base_); }
  Bytes Value(const Hkdf& hkdf, const Template& wanted, CK_OBJECT_HANDLE base) {
    CK_OBJECT_HANDLE key = 0;
    EXPECT_RV(CKR_OK, Derive(hkdf, wanted, base, key));
    return key == 0 ? Bytes() : ReadBytes(session_, key, CKA_VALUE);
  }
  void Refused(CK_RV code, const Hkdf& hkdf, const Template& wanted) {
    const auto before = FindAll(session_);
    CK_OBJECT_HANDLE key = 0;
    EXPECT_RV(code, Derive(hkdf, wanted, key));
    EXPECT_EQ(FindAll(session_), before);
  }

  const Bytes value_ = ReferenceRandom(32);
  CK_OBJECT_HANDLE base_ = 0;
};

// RFC 5869, A.1 to A.4: a base key, a salt, an info, and both the extracted and the final key.
struct Rfc5869 {
  CK_MECHANISM_TYPE hash;
  const char* ikm;
  const char* salt;
  const char* info;
  const char* prk;
  const char* okm;
};
constexpr Rfc5869 kRfc5869[] = {
    {CKM_SHA256, "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "000102030405060708090a0b0c",
     "f0f1f2f3f4f5f6f7f8f9", "077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5",
     "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"},
    {CKM_SHA256, "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "", "",
     "19ef24a32c717b167f33a91d6f648bdf96596776afdb6377ac434c1c293ccb04",
     "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"},
    {CKM_SHA_1, "0b0b0b0b0b0b0b0b0b0b0b", "000102030405060708090a0b0c", "f0f1f2f3f4f5f6f7f8f9",
     "9b6c18c432a7bf8f0e71c8eb88f4b30baa2ba243",
     "085a01ea1b10f36933068b56efa5ad81a4f14b822f5b091568a9cdd4f155fda2c22e422478d305f3f896"},
};

TEST_F(HkdfTest, Rfc5869) {
  for (const auto& vector : kRfc5869) {
    SCOPED_TRACE(vector.prk);
    const CK_OBJECT_HANDLE base = Create(session_, BaseSecret(FromHex(vector.ikm)));
    const Bytes okm = FromHex(vector.okm);
    Hkdf hkdf{.hash = vector.hash, .salt = FromHex(vector.salt), .info = FromHex(vector.info)};
    if (!hkdf.salt.empty()) hkdf.salt_type = CKF_HKDF_SALT_DATA;
    EXPECT_EQ(Value(hkdf, DerivedSecret(okm.size()), base), okm);
    hkdf.expand = false;
    EXPECT_EQ(Value(hkdf, DerivedSecret(), base), FromHex(vector.prk));
    hkdf.expand = true;
    hkdf.extract = false;
    EXPECT_EQ(
        Value(hkdf, DerivedSecret(okm.size()), Create(session_, BaseSecret(FromHex(vector.prk)))),
        okm);
  }
}

class HkdfHashTest : public HkdfTest, public testing::WithParamInterface<Hash> {};

TEST_P(HkdfHashTest, EqualsReference) {
  const Bytes salt = ReferenceRandom(40);
  const Bytes info = ReferenceRandom(20);
  const char* hash = GetParam().name;
  const Hkdf both{
      .hash = GetParam().digest, .salt_type = CKF_HKDF_SALT_DATA, .salt = salt, .info = info};
  for (const size_t size :
       {1UL, 16UL, GetParam().size, GetParam().size + 1, 255 * GetParam().size}) {
    EXPECT_EQ(Value(both, DerivedSecret(size)),
              ReferenceHkdf("EXTRACT_AND_EXPAND", hash, value_, salt, info, size));
    Hkdf expand = both;
    expand.extract = false;
    EXPECT_EQ(Value(expand, DerivedSecret(size)),
              ReferenceHkdf("EXPAND_ONLY", hash, value_, {}, info, size));
  }
  Hkdf extract = both;
  extract.expand = false;
  EXPECT_EQ(Value(extract, DerivedSecret()),
            ReferenceHkdf("EXTRACT_ONLY", hash, value_, salt, {}, GetParam().size));
  EXPECT_EQ(Value(extract, DerivedSecret(GetParam().size)), Value(extract, DerivedSecret()));
  // Without a salt: as many zeros as the hash has bytes.
  extract.salt_type = CKF_HKDF_SALT_NULL;
  EXPECT_EQ(
      Value(extract, DerivedSecret()),
      ReferenceHkdf("EXTRACT_ONLY", hash, value_, Bytes(GetParam().size), {}, GetParam().size));
}

TEST_P(HkdfHashTest, Lengths) {
  const Hkdf both{.hash = GetParam().digest};
  Refused(CKR_KEY_SIZE_RANGE, both, DerivedSecret(255 * GetParam().size + 1));
  Refused(CKR_TEMPLATE_INCOMPLETE, both, DerivedSecret());
  Hkdf extract = both;
  extract.expand = false;
  Refused(CKR_TEMPLATE_INCONSISTENT, extract, DerivedSecret(GetParam().size - 1));
  Refused(CKR_TEMPLATE_INCONSISTENT, extract, DerivedSecret(GetParam().size + 1));
}

INSTANTIATE_TEST_SUITE_P(Hashes, HkdfHashTest,
                         testing::ValuesIn(AllHashes().begin(), AllHashes().end()),
                         [](const auto& test) {
                           std::string name = test.param.name;
                           std::erase(name, '-');
                           return name;
                         });

// A salt that is a key, and need not derive itself.
TEST_F(HkdfTest, SaltKey) {
  const Bytes salt = ReferenceRandom(24);
  const CK_OBJECT_HANDLE salt_key = Create(session_, SecretObject(salt));
  const Hkdf hkdf{.salt_type = CKF_HKDF_SALT_KEY, .salt_key = salt_key};
  EXPECT_EQ(Value(hkdf, DerivedSecret(48)),
            ReferenceHkdf("EXTRACT_AND_EXPAND", "SHA256", value_, salt, {}, 48));
  // The base key itself will do.
  EXPECT_EQ(Value({.salt_type = CKF_HKDF_SALT_KEY, .salt_key = base_}, DerivedSecret(48)),
            ReferenceHkdf("EXTRACT_AND_EXPAND", "SHA256", value_, value_, {}, 48));
}

TEST_F(HkdfTest, SaltKeyErrors) {
  Hkdf hkdf{.salt_type = CKF_HKDF_SALT_KEY, .salt_key = 0xffffff};
  Refused(CKR_KEY_HANDLE_INVALID, hkdf, DerivedSecret(32));
  hkdf.salt_key = Create(session_, DataObject("salt"));
  Refused(CKR_KEY_HANDLE_INVALID, hkdf, DerivedSecret(32));
  hkdf.salt_key = Create(session_, X25519PublicKey(ReferencePublicKey(ReferenceRandom(32))));
  Refused(CKR_KEY_TYPE_INCONSISTENT, hkdf, DerivedSecret(32));
  hkdf.salt_key = Create(
      session_,
      SecretObject(Bytes(8, 1)).With(CKA_ALLOWED_MECHANISMS, Template::Encode(CKM_SHA256_HMAC)));
  Refused(CKR_MECHANISM_INVALID, hkdf, DerivedSecret(32));
  // Not looked at where there is no extraction.
  hkdf.extract = false;
  EXPECT_EQ(Value(hkdf, DerivedSecret(32)),
            ReferenceHkdf("EXPAND_ONLY", "SHA256", value_, {}, {}, 32));
}

TEST_F(HkdfTest, Parameters) {
  const Template wanted = DerivedSecret(32);
  const auto before = FindAll(session_);
  CK_OBJECT_HANDLE key = 0;
  Hkdf good{.salt_type = CKF_HKDF_SALT_DATA, .salt = Bytes(4, 1), .info = Bytes(4, 2)};
  const auto refused = [&](const char* what, auto change) {
    SCOPED_TRACE(what);
    CK_HKDF_PARAMS params = good.Params();
    CK_MECHANISM mechanism{CKM_HKDF_DERIVE, &params, sizeof params};
    change(params, mechanism);
    EXPECT_RV(CKR_MECHANISM_PARAM_INVALID, DeriveBy(session_, mechanism, base_, wanted, key));
  };
  using P = CK_HKDF_PARAMS;
  using M = CK_MECHANISM;
  refused("none", [](P&, M& m) { m = {CKM_HKDF_DERIVE, nullptr, 0}; });
  refused("NULL", [](P&, M& m) { m.pParameter = nullptr; });
  refused("short", [](P&, M& m) { m.ulParameterLen -= 1; });
  refused("long", [](P&, M& m) { m.ulParameterLen += 8; });
  refused("absurd", [](P&, M& m) { m.ulParameterLen = CK_ULONG{1} << 60; });
  refused("neither", [](P& p, M&) { p.bExtract = p.bExpand = CK_FALSE; });
  refused("not a boolean", [](P& p, M&) { p.bExpand = 2; });
  refused("no hash", [](P& p, M&) { p.prfHashMechanism = CKM_SHA256_HMAC; });
  refused("salt type", [](P& p, M&) { p.ulSaltType = 3; });
  refused("salt NULL", [](P& p, M&) { p.pSalt = nullptr; });
  refused("salt absurd", [](P& p, M&) { p.ulSaltLen = CK_ULONG{1} << 60; });
  refused("info NULL", [](P& p, M&) { p.pInfo = nullptr; });
  refused("info absurd", [](P& p, M&) { p.ulInfoLen = ~CK_ULONG{0}; });
  EXPECT_EQ(FindAll(session_), before);
}

TEST_F(HkdfTest, BaseKey) {
  CK_OBJECT_HANDLE key = 0;
  const auto with = [&](const Template& base) {
    return Derive({}, DerivedSecret(32), Create(session_, base), key);
  };
  EXPECT_RV(CKR_KEY_FUNCTION_NOT_PERMITTED, with(BaseSecret(value_).With(CKA_DERIVE, false)));
  EXPECT_RV(CKR_KEY_TYPE_INCONSISTENT, with(X25519PrivateKey(value_)));
  EXPECT_RV(CKR_MECHANISM_INVALID,
            with(BaseSecret(value_).With(CKA_ALLOWED_MECHANISMS, Template::Encode(CKM_HKDF_DATA))));
  EXPECT_RV(CKR_OK, with(BaseSecret(value_).With(CKA_KEY_TYPE, CK_ULONG{CKK_HKDF})));
  EXPECT_RV(CKR_OK, with(BaseSecret(value_).With(CKA_KEY_TYPE, CK_ULONG{CKK_AES})));
}

// What the new key says about itself.
TEST_F(HkdfTest, Attributes) {
  CK_OBJECT_HANDLE key = 0;
  const Template wanted = Template()
                              .With(CKA_CLASS, CK_ULONG{CKO_SECRET_KEY})
                              .With(CKA_KEY_TYPE, CK_ULONG{CKK_AES})
                              .With(CKA_PRIVATE, false)
                              .With(CKA_VALUE_LEN, CK_ULONG{16})
                              .With(CKA_SENSITIVE, true)
                              .With(CKA_EXTRACTABLE, false);
  ASSERT_RV(CKR_OK, Derive({}, wanted, key));
  EXPECT_EQ(ReadUlong(session_, key, CKA_KEY_TYPE), CKK_AES);
  EXPECT_EQ(ReadUlong(session_, key, CKA_VALUE_LEN), 16U);
  EXPECT_FALSE(ReadBool(session_, key, CKA_LOCAL));
  // The base key was created, not generated: nothing can be claimed.
  EXPECT_FALSE(ReadBool(session_, key, CKA_ALWAYS_SENSITIVE));
  EXPECT_FALSE(ReadBool(session_, key, CKA_NEVER_EXTRACTABLE));
  EXPECT_EQ(ReadAttribute(session_, key, CKA_VALUE).rv, CKR_ATTRIBUTE_SENSITIVE);
  Refused(CKR_KEY_SIZE_RANGE, {}, Template(wanted).With(CKA_VALUE_LEN, CK_ULONG{17}));
  Refused(CKR_TEMPLATE_INCOMPLETE, {}, Template(wanted).Without(CKA_VALUE_LEN));
}

TEST_F(HkdfTest, KeyGen) {
  CK_MECHANISM mechanism{CKM_HKDF_KEY_GEN, nullptr, 0};
  Template wanted = Template()
                        .With(CKA_PRIVATE, false)
                        .With(CKA_VALUE_LEN, CK_ULONG{48})
                        .With(CKA_SENSITIVE, false)
                        .With(CKA_EXTRACTABLE, true);
  CK_OBJECT_HANDLE key = 0;
  CK_OBJECT_HANDLE other = 0;
  ASSERT_RV(CKR_OK, P11().C_GenerateKey(session_, &mechanism, wanted.data(), wanted.size(), &key));
  ASSERT_RV(CKR_OK,
            P11().C_GenerateKey(session_, &mechanism, wanted.data(), wanted.size(), &other));
  EXPECT_EQ(ReadUlong(session_, key, CKA_KEY_TYPE), CKK_HKDF);
  EXPECT_TRUE(ReadBool(session_, key, CKA_LOCAL));
  EXPECT_EQ(ReadUlong(session_, key, CKA_KEY_GEN_MECHANISM), CKM_HKDF_KEY_GEN);
  const Bytes value = ReadBytes(session_, key, CKA_VALUE);
  EXPECT_EQ(value.size(), 48U);
  EXPECT_NE(value, ReadBytes(session_, other, CKA_VALUE));
  EXPECT_EQ(Value({.info = Bytes(3, 3)}, DerivedSecret(20), key),
            ReferenceHkdf("EXTRACT_AND_EXPAND", "SHA256", value, {}, Bytes(3, 3), 20));

  wanted.With(CKA_KEY_TYPE, CK_ULONG{CKK_AES});
  EXPECT_RV(CKR_TEMPLATE_INCONSISTENT,
            P11().C_GenerateKey(session_, &mechanism, wanted.data(), wanted.size(), &key));
  wanted.Without(CKA_KEY_TYPE).Without(CKA_VALUE_LEN);
  EXPECT_RV(CKR_TEMPLATE_INCOMPLETE,
            P11().C_GenerateKey(session_, &mechanism, wanted.data(), wanted.size(), &key));
}

// CKM_HKDF_DATA: the same bytes, in a data object.
class HkdfDataTest : public HkdfTest {
 protected:
  void SetUp() override {
    HkdfTest::SetUp();
    if (IsSkipped()) return;
    base_ = Create(session_, BaseSecret(value_)
                                 .With(CKA_KEY_TYPE, CK_ULONG{CKK_HKDF})
                                 .With(CKA_SENSITIVE, true)
                                 .With(CKA_EXTRACTABLE, false));
  }
  CK_RV DeriveData(Hkdf hkdf, const Template& wanted, CK_OBJECT_HANDLE base,
                   CK_OBJECT_HANDLE& data) {
    CK_HKDF_PARAMS params = hkdf.Params();
    return DeriveBy(session_, MechanismOf(CKM_HKDF_DATA, params), base, wanted, data);
  }
  static Template Data(size_t size) {
    Template wanted = Template()
                          .With(CKA_CLASS, CK_ULONG{CKO_DATA})
                          .With(CKA_TOKEN, false)
                          .With(CKA_PRIVATE, false)
                          .With(CKA_LABEL, "derived")
                          .With(CKA_APPLICATION, "test");
    if (size != 0) wanted.With(CKA_VALUE_LEN, CK_ULONG{size});
    return wanted;
  }
};

TEST_F(HkdfDataTest, Rfc5869) {
  for (const auto& vector : kRfc5869) {
    Hkdf hkdf{.hash = vector.hash, .salt = FromHex(vector.salt), .info = FromHex(vector.info)};
    if (!hkdf.salt.empty()) hkdf.salt_type = CKF_HKDF_SALT_DATA;
    const Bytes okm = FromHex(vector.okm);
    CK_OBJECT_HANDLE data = 0;
    ASSERT_RV(CKR_OK, DeriveData(hkdf, Data(okm.size()),
                                 Create(session_, BaseSecret(FromHex(vector.ikm))), data));
    EXPECT_EQ(ReadBytes(session_, data, CKA_VALUE), okm);
  }
}

TEST_F(HkdfDataTest, EqualsReference) {
  const Hkdf hkdf{.salt_type = CKF_HKDF_SALT_DATA, .salt = Bytes(9, 9), .info = Bytes(8, 8)};
  CK_OBJECT_HANDLE data = 0;
  ASSERT_RV(CKR_OK, DeriveData(hkdf, Data(100), base_, data));
  EXPECT_EQ(ReadUlong(session_, data, CKA_CLASS), CKO_DATA);
  EXPECT_EQ(ReadBytes(session_, data, CKA_VALUE),
            ReferenceHkdf("EXTRACT_AND_EXPAND", "SHA256", value_, hkdf.salt, hkdf.info, 100));
  EXPECT_EQ(ReadBytes(session_, data, CKA_LABEL), ToBytes("derived"));
  EXPECT_EQ(ReadBytes(session_, data, CKA_APPLICATION), ToBytes("test"));
  EXPECT_EQ(ReadAttribute(session_, data, CKA_VALUE_LEN).rv, CKR_ATTRIBUTE_TYPE_INVALID);
  Hkdf extract = hkdf;
  extract.expand = false;
  ASSERT_RV(CKR_OK, DeriveData(extract, Data(0), base_, data));
  EXPECT_EQ(ReadBytes(session_, data, CKA_VALUE),
            ReferenceHkdf("EXTRACT_ONLY", "SHA256", value_, hkdf.salt, {}, 32));
}

TEST_F(HkdfDataTest, Errors) {
  const auto before = FindAll(session_);
  CK_OBJECT_HANDLE data = 0;
  EXPECT_RV(CKR_TEMPLATE_INCOMPLETE, DeriveData({}, Data(0), base_, data));
  EXPECT_RV(CKR_KEY_SIZE_RANGE, DeriveData({}, Data(255 * 32 + 1), base_, data));
  EXPECT_RV(CKR_TEMPLATE_INCONSISTENT, DeriveData({}, DerivedSecret(32), base_, data));
  Template valued = Data(32).With(CKA_VALUE, Bytes(32, 1));
  EXPECT_RV(CKR_ATTRIBUTE_READ_ONLY, DeriveData({}, valued, base_, data));
  EXPECT_EQ(FindAll(session_), before);
  // What ciphers' keys yield stays secret.
  const CK_OBJECT_HANDLE cipher =
      Create(session_, BaseSecret(value_).With(CKA_KEY_TYPE, CK_ULONG{CKK_AES}));
  EXPECT_RV(CKR_KEY_TYPE_INCONSISTENT, DeriveData({}, Data(32), cipher, data));
}

}  // namespace
}  // namespace secretmem::conformance
