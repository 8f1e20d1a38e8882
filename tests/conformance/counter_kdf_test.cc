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

// Of NIST's vectors for counter mode: HMAC-SHA-256, 32 bits of counter before the fixed data.
TEST_F(CounterKdfTest, Nist) {
  const CK_OBJECT_HANDLE base = Create(
      session_,
      BaseSecret(FromHex("dd1d91b7d90b2bd3138533ce92b272fbf8a369316aefe242e659cc0ae238afe0")));
  Kdf kdf(CKM_SHA256_HMAC);
  kdf.Counter(32).Array(
      FromHex("01322b96b30acd197979444e468e1c5c6859bf1b1cf951b7e725303e237e46b864a145fab25e517b08f8"
              "683d0315bb2911d80a0e8aba17f3b413faac"));
  EXPECT_EQ(Value(kdf, 16, base), FromHex("10621342bfb0fd40046c0e29f2cfdbf0"));
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
