// The counter mode of NIST SP 800-108: PKCS#11 3.1 §6.42.
#include <algorithm>
#include <deque>

#include "tests/conformance/fixtures.h"
#include "tests/conformance/kdf.h"
#include "tests/conformance/macs.h"
#include "tests/conformance/x25519.h"

namespace secretmem::conformance {
namespace {

// Kdf holds CK_SP800_108_KDF_PARAMS and what it points to.
class Kdf {
 public:
  explicit Kdf(CK_MECHANISM_TYPE prf) : prf_(prf) {}

  Kdf& Counter(CK_ULONG bits, bool little_endian = false) {
    auto& format = counters_.emplace_back();
    format = {static_cast<CK_BBOOL>(little_endian), bits};
    return Field(CK_SP800_108_ITERATION_VARIABLE, &format, sizeof format);
  }
  Kdf& Length(CK_ULONG method, CK_ULONG bits, bool little_endian = false) {
    auto& format = lengths_.emplace_back();
    format = {method, static_cast<CK_BBOOL>(little_endian), bits};
    return Field(CK_SP800_108_DKM_LENGTH, &format, sizeof format);
  }
  Kdf& Array(const Bytes& bytes) {
    auto& copy = arrays_.emplace_back(bytes);
    return Field(CK_SP800_108_BYTE_ARRAY, copy.data(), copy.size());
  }
  Kdf& Key(CK_OBJECT_HANDLE handle) {
    auto& copy = handles_.emplace_back(handle);
    return Field(CK_SP800_108_KEY_HANDLE, &copy, sizeof copy);
  }
  Kdf& Field(CK_ULONG type, void* value, CK_ULONG size) {
    fields_.push_back({type, value, size});
    return *this;
  }
  Kdf& Another(const Template& wanted) {
    auto& copy = templates_.emplace_back(wanted);
    auto& handle = others_.emplace_back(0xdead);
    derived_.push_back({copy.data(), copy.size(), &handle});
    return *this;
  }

  CK_SP800_108_KDF_PARAMS Params() {
    return {prf_, static_cast<CK_ULONG>(fields_.size()), fields_.data(),
            static_cast<CK_ULONG>(derived_.size()), derived_.empty() ? nullptr : derived_.data()};
  }
  const std::deque<CK_OBJECT_HANDLE>& others() const { return others_; }
  std::vector<CK_PRF_DATA_PARAM>& fields() { return fields_; }
  std::vector<CK_DERIVED_KEY>& derived() { return derived_; }

 private:
  CK_MECHANISM_TYPE prf_;
  std::deque<CK_SP800_108_COUNTER_FORMAT> counters_;
  std::deque<CK_SP800_108_DKM_LENGTH_FORMAT> lengths_;
  std::deque<Bytes> arrays_;
  std::deque<CK_OBJECT_HANDLE> handles_;
  std::deque<Template> templates_;
  std::deque<CK_OBJECT_HANDLE> others_;
  std::vector<CK_PRF_DATA_PARAM> fields_;
  std::vector<CK_DERIVED_KEY> derived_;
};

class CounterKdfTest : public SessionTest {
 protected:
  void SetUp() override {
    SessionTest::SetUp();
    if (!Offers(CKM_SP800_108_COUNTER_KDF)) GTEST_SKIP() << "no such mechanism";
    base_ = Create(session_, BaseSecret(value_));
  }

  CK_RV Derive(Kdf& kdf, const Template& wanted, CK_OBJECT_HANDLE base, CK_OBJECT_HANDLE& key) {
    CK_SP800_108_KDF_PARAMS params = kdf.Params();
    return DeriveBy(session_, MechanismOf(CKM_SP800_108_COUNTER_KDF, params), base, wanted, key);
  }
  Bytes Value(Kdf& kdf, size_t size) { return Value(kdf, size, base_); }
  Bytes Value(Kdf& kdf, size_t size, CK_OBJECT_HANDLE base) {
    CK_OBJECT_HANDLE key = 0;
    EXPECT_RV(CKR_OK, Derive(kdf, DerivedSecret(size), base, key));
    return key == 0 ? Bytes() : ReadBytes(session_, key, CKA_VALUE);
  }
  void Refused(CK_RV code, Kdf kdf, size_t size = 32) {
    const auto before = FindAll(session_);
    CK_OBJECT_HANDLE key = 0;
    EXPECT_RV(code, Derive(kdf, DerivedSecret(size), base_, key));
    EXPECT_EQ(FindAll(session_), before);
  }

  const Bytes value_ = ReferenceRandom(32);
  const Bytes label_ = ToBytes("label");
  const Bytes context_ = ToBytes("a context");
  CK_OBJECT_HANDLE base_ = 0;
};

// Of NIST's vectors for counter mode, the counter before the fixed data: every PRF, every width.
TEST_F(CounterKdfTest, Nist) {
  const struct {
    CK_MECHANISM_TYPE prf;
    CK_ULONG width;
    const char* key;
    const char* data;
    const char* derived;
  } kVectors[] = {
      {CKM_AES_CMAC, 8, "dff1e50ac0b69dc40f1051d46c2b069c",
       "c16e6e02c5a3dcc8d78b9ac1306877761310455b4e41469951d9e6c2245a064b33fd8c3b01203a782448"
       "5bf0a64060c4648b707d2607935699316ea5",
       "8be8f0869b3c0ba97b71863d1b9f7813"},
      {CKM_AES_CMAC, 16, "5e534bea459e54c58a6942abfd4df8ab",
       "e9a5cc15d223aaa74abd122983b2a10512199b9cc87663fd8a62d417cef53770264fc51f683890fe42da"
       "2df7be0f60898c5b09d5c4932137b6b1e06e",
       "92480eb4860123ceda76f1e6bf2668520bea49ed72bb900ae50725bb8cfcdb733af1a9de71fe1af5"},
      {CKM_AES_CMAC, 24, "993305e59f34a94f62931fd7662bb5b73c77d8d4bc6a33ba",
       "fcceb2d7ac6a68717c2490ec95bebea484c4930d156683c43164dc53bff0bafcbfb31e920109927ef08e"
       "12f66f258b6f8ba284908faee7d3376e1bac",
       "40e358cfdeee0286d152fcb4626ff22e67eea3b65d8750a273001b67645804cbf613832201b0a9ba"},
      {CKM_AES_CMAC, 32, "b2fcf854b1029888aeb0274ca09bb21a",
       "a6b84baae7a6ceb1d63ed704757500c510c0a8bdc22d2f42af09f79c815f37f33b67dad0b30f428fc1e2"
       "d355f7f91f65acbedd2fdd5b8c38dd890407",
       "fe4c2c0242c5a295c008aeb87ae0815171de6173773292347f4f5ec07185c3f860b5667c199aad55"},
      {CKM_SHA_1_HMAC, 32, "693adb9037184627ad300f176985bd379f388a95",
       "7f09570c2d9304ec743ab845a8761c126c18f5cf72358eada2b5d1deb43dc6a0f4ff8f933bef7af0bcfa"
       "cb33fa07f8ca04a06afe231835d5075996be",
       "52f55f51010e9bd78e4f58cab274ecafa561bd4e0f20da84f0303a1e5ff9bebc514361ec6df5c77e"},
      {CKM_SHA224_HMAC, 8, "eb9386450d7b2da5492da5b139cf4b0b951a5b0c7d40c22ae2c20677",
       "bd8b73969e3e2d7a943b937c3bffe3a9199d1cf27e289bb10c3b88696a5ae36b3b868b4fc6a20ca93dd0"
       "b328f3351f71ce656bb558fa33c74741398d",
       "bc902dfba79fb4084339b6666c7f72b9f47675229dc24ec61068bb05082717eead35647ff147d7de"},
      {CKM_SHA224_HMAC, 32, "9b75e7fa216c884037c7d6953092ed335c4efd88ca57a742d6ac3221",
       "12bea97865df99315259ff620302432ecafc9dce2619e87dfb4979410456a524434315dd3920e2b1aa1c"
       "79d5e07132a758a7b7b71ef10bcf1bb877f3",
       "60071bd0ceea0fe0f879223b940d3de7dde02ca6858f8450fb9c0032e49f968ef9cd9b5703163dbc"},
      {CKM_SHA256_HMAC, 16, "d4349c26108719debacc04e166a09063ffb5e17bcbaf8738dc2618aa7d1e97ae",
       "da1f5ed45ead428689b0ecca9dbc2569e76953cda0df085499cca6d5949d8995e1e42bbdc94b0dd78c16"
       "4867c364a64c894de85294ad89d267ff443d",
       "00550ae0f29a2373269af175e7f829ec32c3d05099a39f8c0e02caa00b68afb7457669334383ffb2"},
      {CKM_SHA256_HMAC, 32, "dd1d91b7d90b2bd3138533ce92b272fbf8a369316aefe242e659cc0ae238afe0",
       "01322b96b30acd197979444e468e1c5c6859bf1b1cf951b7e725303e237e46b864a145fab25e517b08f8"
       "683d0315bb2911d80a0e8aba17f3b413faac",
       "10621342bfb0fd40046c0e29f2cfdbf0"},
      {CKM_SHA384_HMAC, 24,
       "08d867a61b13cd8c79d3a1cbec3493925ece900e06993063bc0dfe0247cd059ba50a5fb6afc65ac46979"
       "3817a1f2dfee",
       "af0c83a659267869bd7cde387bf1c29c9c0ff3c6cabf512c73fd671748e4e9e49218de9350fc0dde2783"
       "9eb1e2878f900689abeb7b540c70203e5a95",
       "3fef69d875b9b6047c33f295619f6e7c7125c875d55409500100f71bee6551d511327fbde607ac41"},
      {CKM_SHA512_HMAC, 8,
       "6ea2c385bb3e7bbafc2225cee1d3ee103ce300c1fdf033d0c1e99c57e6a596e037020838e857c0434040"
       "b58a5ca5410be672b888ef9955bdd54eb6a67416ff6a",
       "be119901ed8679b243508b97663f35da322774d7d2012d6557da6657c1176a115ebc73b0f1bfa1dba6b8"
       "c3b124f0a47cff2998b230c955b0ea809784",
       "e0755fa6f116ef7a8e8361f47fd57511"},
      {CKM_SHA512_HMAC, 32,
       "a9f4a2c5af839867f5db5a1e520ab3cca72a166ca60de512fd7fe7e64cf94f92cf1d8b636175f293e003"
       "275e021018c3f0ede495997a505ec9a2afeb0495be57",
       "8e9db3335779db688bcfe096668d9c3bc64e193e3529c430e68d09d56c837dd6c0f94678f121a68ee1fe"
       "ea4735da85a49d34a5290aa39f7b40de435f",
       "6db880daac98b078ee389a2164252ded61322d661e2b49247ea921e544675d8f17af2bf66dd40d81"}};
  for (const auto& vector : kVectors) {
    SCOPED_TRACE(vector.derived);
    Template key = BaseSecret(FromHex(vector.key));
    if (vector.prf == CKM_AES_CMAC) key.With(CKA_KEY_TYPE, CK_ULONG{CKK_AES});
    Kdf kdf(vector.prf);
    kdf.Counter(vector.width).Array(FromHex(vector.data));
    const Bytes derived = FromHex(vector.derived);
    EXPECT_EQ(Value(kdf, derived.size(), Create(session_, key)), derived);
  }
}

class CounterKdfHashTest : public CounterKdfTest, public testing::WithParamInterface<Hash> {};

TEST_P(CounterKdfHashTest, EqualsReference) {
  for (const size_t size : {16UL, GetParam().size, GetParam().size + 1, 300UL}) {
    Kdf kdf(GetParam().hmac);
    kdf.Counter(32).Array(label_).Array({0}).Array(context_).Length(
        CK_SP800_108_DKM_LENGTH_SUM_OF_KEYS, 32);
    EXPECT_EQ(Value(kdf, size), ReferenceKbkdf(GetParam().name, value_, label_, context_, size));
  }
}

INSTANTIATE_TEST_SUITE_P(Hashes, CounterKdfHashTest,
                         testing::ValuesIn(AllHashes().begin(), AllHashes().end()),
                         [](const auto& test) {
                           std::string name = test.param.name;
                           std::erase(name, '-');
                           return name;
                         });

TEST_F(CounterKdfTest, Cmac) {
  const Bytes value = ReferenceRandom(16);
  const CK_OBJECT_HANDLE base =
      Create(session_, BaseSecret(value).With(CKA_KEY_TYPE, CK_ULONG{CKK_AES}));
  Kdf kdf(CKM_AES_CMAC);
  kdf.Counter(32).Array(label_).Array({0}).Array(context_).Length(
      CK_SP800_108_DKM_LENGTH_SUM_OF_KEYS, 32);
  for (const size_t size : {16, 17, 100}) {
    EXPECT_EQ(Value(kdf, size, base), ReferenceKbkdf(nullptr, value, label_, context_, size));
  }
  CK_OBJECT_HANDLE key = 0;
  EXPECT_RV(CKR_KEY_TYPE_INCONSISTENT, Derive(kdf, DerivedSecret(16), base_, key));
}

// Every width and byte order of the numbers, at any place.
TEST_F(CounterKdfTest, Encodings) {
  const auto number = [](uint64_t value, size_t bits, bool little_endian) {
    Bytes bytes(bits / 8);
    for (size_t i = 0; i < bytes.size(); ++i) {
      bytes[little_endian ? i : bytes.size() - 1 - i] = static_cast<CK_BYTE>(value >> 8 * i);
    }
    return bytes;
  };
  for (const size_t bits : {8, 16, 24, 32}) {
    for (const size_t length_bits : {16, 24, 40, 64}) {
      for (const bool little_endian : {false, true}) {
        Kdf kdf(CKM_SHA_1_HMAC);
        kdf.Array(label_)
            .Length(CK_SP800_108_DKM_LENGTH_SUM_OF_SEGMENTS, length_bits, !little_endian)
            .Counter(bits, little_endian)
            .Array(context_);
        Bytes expected;
        for (uint64_t i = 1; i <= 3; ++i) {
          Bytes data = label_;
          for (const Bytes& more : {number(60 * 8, length_bits, !little_endian),
                                    number(i, bits, little_endian), context_}) {
            data.insert(data.end(), more.begin(), more.end());
          }
          const Bytes segment = ReferenceHmac("SHA1", value_, data);
          expected.insert(expected.end(), segment.begin(), segment.end());
        }
        expected.resize(50);
        EXPECT_EQ(Value(kdf, 50), expected) << bits << " " << length_bits;
      }
    }
  }
}

// A key's value is part of the data.
TEST_F(CounterKdfTest, KeyInData) {
  const Bytes other = ReferenceRandom(24);
  const CK_OBJECT_HANDLE second = Create(session_, BaseSecret(other));
  Kdf with_keys(CKM_SHA256_HMAC);
  with_keys.Counter(16).Key(second).Array(label_).Key(base_).Key(second);
  Kdf with_bytes(CKM_SHA256_HMAC);
  with_bytes.Counter(16).Array(other).Array(label_).Array(value_).Array(other);
  EXPECT_EQ(Value(with_keys, 80), Value(with_bytes, 80));
}

TEST_F(CounterKdfTest, KeyInDataErrors) {
  Refused(CKR_KEY_HANDLE_INVALID, Kdf(CKM_SHA256_HMAC).Counter(16).Key(0xffffff));
  // It must be fit to be a base key.
  Refused(CKR_KEY_FUNCTION_NOT_PERMITTED,
          Kdf(CKM_SHA256_HMAC).Counter(16).Key(Create(session_, SecretObject(Bytes(16, 1)))));
  Refused(CKR_KEY_TYPE_INCONSISTENT,
          Kdf(CKM_SHA256_HMAC)
              .Counter(16)
              .Key(Create(session_, X25519PrivateKey(ReferenceRandom(32)))));
}

// §6.42.7: the specification's example. Keys are made of whole segments, and the length counts.
TEST_F(CounterKdfTest, AdditionalKeys) {
  for (const CK_ULONG method :
       {CK_SP800_108_DKM_LENGTH_SUM_OF_KEYS, CK_SP800_108_DKM_LENGTH_SUM_OF_SEGMENTS}) {
    Kdf kdf(CKM_SHA256_HMAC);
    kdf.Counter(8).Length(method, 16).Another(DerivedSecret(16)).Another(DerivedSecret(33));
    CK_OBJECT_HANDLE key = 0;
    ASSERT_RV(CKR_OK, Derive(kdf, DerivedSecret(48), base_, key));
    const CK_ULONG bits =
        method == CK_SP800_108_DKM_LENGTH_SUM_OF_KEYS ? (48 + 16 + 33) * 8 : 5 * 256;
    Bytes stream;
    for (CK_BYTE i = 1; i <= 5; ++i) {
      const Bytes segment =
          ReferenceHmac("SHA256", value_,
                        {i, static_cast<CK_BYTE>(bits >> 8), static_cast<CK_BYTE>(bits & 0xff)});
      stream.insert(stream.end(), segment.begin(), segment.end());
    }
    const auto part = [&](size_t from, size_t size) {
      return Bytes(stream.begin() + static_cast<long>(from),
                   stream.begin() + static_cast<long>(from + size));
    };
    EXPECT_EQ(ReadBytes(session_, key, CKA_VALUE), part(0, 48));
    EXPECT_EQ(ReadBytes(session_, kdf.others()[0], CKA_VALUE), part(64, 16));
    EXPECT_EQ(ReadBytes(session_, kdf.others()[1], CKA_VALUE), part(96, 33));
  }
}

// All keys or none, and the client learns whose template it was.
TEST_F(CounterKdfTest, AdditionalKeyErrors) {
  const auto before = FindAll(session_);
  Kdf kdf(CKM_SHA256_HMAC);
  kdf.Counter(8)
      .Another(DerivedSecret(16))
      .Another(DerivedSecret(16).With(CKA_CLASS, CK_ULONG{CKO_DATA}))
      .Another(DerivedSecret(16));
  CK_OBJECT_HANDLE key = 0;
  EXPECT_RV(CKR_TEMPLATE_INCONSISTENT, Derive(kdf, DerivedSecret(16), base_, key));
  EXPECT_EQ(key, CK_INVALID_HANDLE);
  EXPECT_EQ(kdf.others()[0], 0xdead);
  EXPECT_EQ(kdf.others()[1], CK_INVALID_HANDLE);
  EXPECT_EQ(kdf.others()[2], 0xdead);
  kdf.derived()[1].phKey = nullptr;
  EXPECT_RV(CKR_MECHANISM_PARAM_INVALID, Derive(kdf, DerivedSecret(16), base_, key));
  EXPECT_EQ(FindAll(session_), before);
}

TEST_F(CounterKdfTest, CounterOverflow) {
  Kdf kdf(CKM_SHA256_HMAC);
  kdf.Counter(8).Array(label_);
  EXPECT_EQ(Value(kdf, 255 * 32).size(), 255U * 32);
  Refused(CKR_KEY_SIZE_RANGE, kdf, 255 * 32 + 1);
  // 256 bits do not fit into the number of one byte that tells them.
  Refused(CKR_KEY_SIZE_RANGE,
          Kdf(CKM_SHA256_HMAC).Counter(8).Length(CK_SP800_108_DKM_LENGTH_SUM_OF_KEYS, 8), 32);
}

TEST_F(CounterKdfTest, Parameters) {
  const CK_RV bad = CKR_MECHANISM_PARAM_INVALID;
  Refused(bad, Kdf(CKM_SHA256).Counter(8));
  Refused(bad, Kdf(CKM_SHA256_HMAC));
  Refused(bad, Kdf(CKM_SHA256_HMAC).Array(label_));
  Refused(bad, Kdf(CKM_SHA256_HMAC).Counter(8).Counter(8));
  for (const CK_ULONG bits : {0, 7, 12, 40, 64}) Refused(bad, Kdf(CKM_SHA256_HMAC).Counter(bits));
  for (const CK_ULONG bits : {0, 12, 72}) {
    Refused(bad, Kdf(CKM_SHA256_HMAC).Counter(8).Length(1, bits));
  }
  Refused(bad, Kdf(CKM_SHA256_HMAC).Counter(8).Length(3, 32));
  Refused(bad, Kdf(CKM_SHA256_HMAC).Counter(8).Length(1, 32).Length(1, 32));
  Refused(bad, Kdf(CKM_SHA256_HMAC).Counter(8).Field(99, nullptr, 0));
  Refused(bad, Kdf(CKM_SHA256_HMAC).Counter(8).Field(CK_SP800_108_BYTE_ARRAY, nullptr, 0));
  Refused(bad, Kdf(CKM_SHA256_HMAC).Counter(8).Field(CK_SP800_108_BYTE_ARRAY, nullptr, 5));
  Refused(bad, Kdf(CKM_SHA256_HMAC).Counter(8).Field(CK_SP800_108_KEY_HANDLE, nullptr, 8));
  Refused(bad, Kdf(CKM_SHA256_HMAC).Field(CK_SP800_108_ITERATION_VARIABLE, nullptr, 0));
  CK_OBJECT_HANDLE key = 0;
  const auto refused = [&](auto change) {
    Kdf kdf(CKM_SHA256_HMAC);
    kdf.Counter(8).Another(DerivedSecret(16));
    CK_SP800_108_KDF_PARAMS params = kdf.Params();
    CK_MECHANISM mechanism = MechanismOf(CKM_SP800_108_COUNTER_KDF, params);
    change(params, mechanism);
    EXPECT_RV(bad, DeriveBy(session_, mechanism, base_, DerivedSecret(16), key));
  };
  using P = CK_SP800_108_KDF_PARAMS;
  using M = CK_MECHANISM;
  refused([](P&, M& m) { m.ulParameterLen -= 8; });
  refused([](P&, M& m) { m.pParameter = nullptr; });
  refused([](P& p, M&) { p.pDataParams = nullptr; });
  refused([](P& p, M&) { p.ulNumberOfDataParams = CK_ULONG{1} << 60; });
  refused([](P& p, M&) { p.pAdditionalDerivedKeys = nullptr; });
  refused([](P& p, M&) { p.ulAdditionalDerivedKeys = ~CK_ULONG{0}; });
}

}  // namespace
}  // namespace secretmem::conformance
