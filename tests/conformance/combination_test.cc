// The simple derivations: PKCS#11 3.1 §6.43, and the digest of a key, §6.20 to §6.24.
#include <algorithm>

#include "tests/conformance/fixtures.h"
#include "tests/conformance/kdf.h"
#include "tests/conformance/macs.h"
#include "tests/conformance/x25519.h"

namespace secretmem::conformance {
namespace {

class CombinationTest : public UserTest {
 protected:
  void SetUp() override {
    UserTest::SetUp();
    if (!Offers(CKM_CONCATENATE_BASE_AND_KEY)) GTEST_SKIP() << "no such mechanism";
    base_ = Create(session_, BaseSecret(value_));
  }

  CK_RV DeriveString(CK_MECHANISM_TYPE type, Bytes data, const Template& wanted,
                     CK_OBJECT_HANDLE base, CK_OBJECT_HANDLE& key) {
    CK_KEY_DERIVATION_STRING_DATA string{data.data(), static_cast<CK_ULONG>(data.size())};
    return DeriveBy(session_, MechanismOf(type, string), base, wanted, key);
  }
  Bytes Value(CK_MECHANISM_TYPE type, const Bytes& data, const Template& wanted) {
    CK_OBJECT_HANDLE key = 0;
    EXPECT_RV(CKR_OK, DeriveString(type, data, wanted, base_, key));
    return key == 0 ? Bytes() : ReadBytes(session_, key, CKA_VALUE);
  }
  CK_RV Concatenate(CK_OBJECT_HANDLE base, CK_OBJECT_HANDLE second, const Template& wanted,
                    CK_OBJECT_HANDLE& key) {
    return DeriveBy(session_, MechanismOf(CKM_CONCATENATE_BASE_AND_KEY, second), base, wanted, key);
  }
  CK_RV Extract(CK_ULONG bit, const Template& wanted, CK_OBJECT_HANDLE base,
                CK_OBJECT_HANDLE& key) {
    return DeriveBy(session_, MechanismOf(CKM_EXTRACT_KEY_FROM_KEY, bit), base, wanted, key);
  }

  static Bytes Joined(const Bytes& first, const Bytes& second) {
    Bytes all = first;
    all.insert(all.end(), second.begin(), second.end());
    return all;
  }
  static Bytes First(Bytes bytes, size_t size) {
    bytes.resize(size);
    return bytes;
  }

  const Bytes value_ = ReferenceRandom(20);
  CK_OBJECT_HANDLE base_ = 0;
};

TEST_F(CombinationTest, BaseAndData) {
  const Bytes data = ReferenceRandom(12);
  const Bytes all = Joined(value_, data);
  EXPECT_EQ(Value(CKM_CONCATENATE_BASE_AND_DATA, data, DerivedSecret()), all);
  for (const size_t size : {1, 19, 20, 21, 32}) {
    EXPECT_EQ(Value(CKM_CONCATENATE_BASE_AND_DATA, data, DerivedSecret(size)), First(all, size));
  }
}

TEST_F(CombinationTest, DataAndBase) {
  const Bytes data = ReferenceRandom(12);
  const Bytes all = Joined(data, value_);
  EXPECT_EQ(Value(CKM_CONCATENATE_DATA_AND_BASE, data, DerivedSecret()), all);
  for (const size_t size : {1, 11, 12, 13, 32}) {
    EXPECT_EQ(Value(CKM_CONCATENATE_DATA_AND_BASE, data, DerivedSecret(size)), First(all, size));
  }
}

TEST_F(CombinationTest, BaseAndKey) {
  const Bytes other = ReferenceRandom(16);
  // The second key need not be able to derive.
  const CK_OBJECT_HANDLE second =
      Create(session_, SecretObject(other).With(CKA_SENSITIVE, false).With(CKA_EXTRACTABLE, true));
  CK_OBJECT_HANDLE key = 0;
  ASSERT_RV(CKR_OK, Concatenate(base_, second, DerivedSecret(), key));
  EXPECT_EQ(ReadBytes(session_, key, CKA_VALUE), Joined(value_, other));
  EXPECT_EQ(ReadUlong(session_, key, CKA_VALUE_LEN), 36U);
  ASSERT_RV(CKR_OK, Concatenate(base_, second, DerivedSecret(25), key));
  EXPECT_EQ(ReadBytes(session_, key, CKA_VALUE), First(Joined(value_, other), 25));
  ASSERT_RV(CKR_OK, Concatenate(base_, base_, DerivedSecret(), key));
  EXPECT_EQ(ReadBytes(session_, key, CKA_VALUE), Joined(value_, value_));
}

TEST_F(CombinationTest, Xor) {
  for (const size_t size : {5, 20, 30}) {
    const Bytes data = ReferenceRandom(size);
    Bytes expected = First(value_, std::min(size, value_.size()));
    for (size_t i = 0; i < expected.size(); ++i) expected[i] ^= data[i];
    EXPECT_EQ(Value(CKM_XOR_BASE_AND_DATA, data, DerivedSecret()), expected);
    EXPECT_EQ(Value(CKM_XOR_BASE_AND_DATA, data, DerivedSecret(4)), First(expected, 4));
  }
}

// §6.43.7: the specification's own example, and every bit of a longer key against arithmetic on a
// string of digits.
TEST_F(CombinationTest, ExtractExample) {
  const CK_OBJECT_HANDLE base = Create(session_, BaseSecret(FromHex("329f84a9")));
  CK_OBJECT_HANDLE key = 0;
  ASSERT_RV(CKR_OK, Extract(21, DerivedSecret(2), base, key));
  EXPECT_EQ(ReadBytes(session_, key, CKA_VALUE), FromHex("9526"));
}

TEST_F(CombinationTest, ExtractEveryBit) {
  std::string digits;
  for (const CK_BYTE byte : value_) {
    for (int bit = 7; bit >= 0; --bit) digits += (byte >> bit & 1) != 0 ? '1' : '0';
  }
  for (size_t first = 0; first < digits.size(); ++first) {
    Bytes expected(7);
    for (size_t i = 0; i < 56; ++i) {
      expected[i / 8] = static_cast<CK_BYTE>(expected[i / 8] << 1 |
                                             (digits[(first + i) % digits.size()] == '1' ? 1 : 0));
    }
    CK_OBJECT_HANDLE key = 0;
    ASSERT_RV(CKR_OK, Extract(first, DerivedSecret(7), base_, key));
    EXPECT_EQ(ReadBytes(session_, key, CKA_VALUE), expected) << first;
    EXPECT_RV(CKR_OK, P11().C_DestroyObject(session_, key));
  }
  CK_OBJECT_HANDLE key = 0;
  EXPECT_RV(CKR_OK, Extract(3, DerivedSecret(20), base_, key)) << "the whole key, turned";
}

TEST_F(CombinationTest, ExtractErrors) {
  CK_OBJECT_HANDLE key = 0;
  EXPECT_RV(CKR_MECHANISM_PARAM_INVALID, Extract(160, DerivedSecret(4), base_, key));
  EXPECT_RV(CKR_MECHANISM_PARAM_INVALID, Extract(~CK_ULONG{0}, DerivedSecret(4), base_, key));
  EXPECT_RV_IN(Extract(0, DerivedSecret(21), base_, key), CKR_TEMPLATE_INCONSISTENT,
               CKR_KEY_SIZE_RANGE);
  EXPECT_RV(CKR_TEMPLATE_INCOMPLETE, Extract(0, DerivedSecret(), base_, key));
}

TEST_F(CombinationTest, TooLong) {
  const auto before = FindAll(session_);
  CK_OBJECT_HANDLE key = 0;
  const Bytes data(12, 1);
  for (const CK_MECHANISM_TYPE type :
       {CKM_CONCATENATE_BASE_AND_DATA, CKM_CONCATENATE_DATA_AND_BASE}) {
    EXPECT_RV_IN(DeriveString(type, data, DerivedSecret(33), base_, key), CKR_TEMPLATE_INCONSISTENT,
                 CKR_KEY_SIZE_RANGE);
  }
  EXPECT_RV_IN(DeriveString(CKM_XOR_BASE_AND_DATA, data, DerivedSecret(13), base_, key),
               CKR_TEMPLATE_INCONSISTENT, CKR_KEY_SIZE_RANGE);
  EXPECT_RV_IN(Concatenate(base_, base_, DerivedSecret(41), key), CKR_TEMPLATE_INCONSISTENT,
               CKR_KEY_SIZE_RANGE);
  EXPECT_EQ(FindAll(session_), before);
}

TEST_F(CombinationTest, Parameters) {
  CK_OBJECT_HANDLE key = 0;
  CK_BYTE bytes[4] = {};
  CK_KEY_DERIVATION_STRING_DATA missing{nullptr, 4};
  CK_KEY_DERIVATION_STRING_DATA absurd{bytes, CK_ULONG{1} << 60};
  CK_KEY_DERIVATION_STRING_DATA good{bytes, 4};
  for (const CK_MECHANISM_TYPE type :
       {CKM_CONCATENATE_BASE_AND_DATA, CKM_CONCATENATE_DATA_AND_BASE, CKM_XOR_BASE_AND_DATA}) {
    for (const CK_MECHANISM mechanism :
         {CK_MECHANISM{type, nullptr, 0}, CK_MECHANISM{type, nullptr, sizeof good},
          CK_MECHANISM{type, &good, sizeof good - 1}, CK_MECHANISM{type, &good, sizeof good + 1},
          MechanismOf(type, missing), MechanismOf(type, absurd)}) {
      EXPECT_RV(CKR_MECHANISM_PARAM_INVALID,
                DeriveBy(session_, mechanism, base_, DerivedSecret(2), key));
    }
  }
  for (const CK_MECHANISM_TYPE type : {CKM_CONCATENATE_BASE_AND_KEY, CKM_EXTRACT_KEY_FROM_KEY}) {
    for (const CK_ULONG size : {CK_ULONG{0}, CK_ULONG{7}, CK_ULONG{9}}) {
      EXPECT_RV(CKR_MECHANISM_PARAM_INVALID,
                DeriveBy(session_, {type, bytes, size}, base_, DerivedSecret(2), key));
    }
  }
  // Nothing to combine with.
  EXPECT_RV(CKR_MECHANISM_PARAM_INVALID,
            DeriveString(CKM_XOR_BASE_AND_DATA, {}, DerivedSecret(), base_, key));
}

TEST_F(CombinationTest, Keys) {
  CK_OBJECT_HANDLE key = 0;
  const CK_OBJECT_HANDLE x25519 = Create(session_, X25519PrivateKey(ReferenceRandom(32)));
  EXPECT_RV(CKR_KEY_TYPE_INCONSISTENT, Concatenate(x25519, base_, DerivedSecret(), key));
  EXPECT_RV(CKR_KEY_TYPE_INCONSISTENT, Concatenate(base_, x25519, DerivedSecret(), key));
  EXPECT_RV(CKR_KEY_HANDLE_INVALID, Concatenate(base_, 0xffffff, DerivedSecret(), key));
  const CK_OBJECT_HANDLE mute = Create(session_, BaseSecret(value_).With(CKA_DERIVE, false));
  EXPECT_RV(CKR_KEY_FUNCTION_NOT_PERMITTED, Concatenate(mute, base_, DerivedSecret(), key));
}

// §6.43.3 to §6.43.7: what protects a key protects what is made of it, whatever the template says.
TEST_F(CombinationTest, InheritsProtection) {
  const CK_OBJECT_HANDLE sensitive =
      Create(session_, BaseSecret(value_).With(CKA_SENSITIVE, true).With(CKA_EXTRACTABLE, true));
  const CK_OBJECT_HANDLE locked =
      Create(session_, BaseSecret(value_).With(CKA_SENSITIVE, false).With(CKA_EXTRACTABLE, false));
  const auto expect = [&](bool is_sensitive, bool is_extractable, CK_RV rv, CK_OBJECT_HANDLE key) {
    ASSERT_RV(CKR_OK, rv);
    EXPECT_EQ(ReadBool(session_, key, CKA_SENSITIVE), is_sensitive);
    EXPECT_EQ(ReadBool(session_, key, CKA_EXTRACTABLE), is_extractable);
    EXPECT_FALSE(ReadBool(session_, key, CKA_ALWAYS_SENSITIVE));
    EXPECT_FALSE(ReadBool(session_, key, CKA_NEVER_EXTRACTABLE));
  };
  CK_OBJECT_HANDLE key = 0;
  const Template open = DerivedSecret(8);  // asks for a readable key
  for (const CK_MECHANISM_TYPE type :
       {CKM_CONCATENATE_BASE_AND_DATA, CKM_CONCATENATE_DATA_AND_BASE, CKM_XOR_BASE_AND_DATA}) {
    CK_RV rv = DeriveString(type, Bytes(8, 1), open, base_, key);
    expect(false, true, rv, key);
    rv = DeriveString(type, Bytes(8, 1), open, sensitive, key);
    expect(true, true, rv, key);
    rv = DeriveString(type, Bytes(8, 1), open, locked, key);
    expect(false, false, rv, key);
  }
  CK_RV rv = Extract(0, open, sensitive, key);
  expect(true, true, rv, key);
  rv = Extract(0, open, locked, key);
  expect(false, false, rv, key);
  // Of two keys the stricter one rules.
  rv = Concatenate(base_, base_, open, key);
  expect(false, true, rv, key);
  rv = Concatenate(sensitive, locked, open, key);
  expect(true, false, rv, key);
  rv = Concatenate(base_, sensitive, open, key);
  expect(true, true, rv, key);
  rv = Concatenate(locked, base_, open, key);
  expect(false, false, rv, key);
  // A template may ask for more.
  rv = Concatenate(base_, base_, DerivedSecret(8).With(CKA_EXTRACTABLE, false), key);
  expect(false, false, rv, key);
}

// Keys that were always sensitive, and never extractable, make such keys; one that was not, does
// not.
TEST_F(CombinationTest, AlwaysAndNever) {
  CK_MECHANISM generate{CKM_GENERIC_SECRET_KEY_GEN, nullptr, 0};
  Template wanted = Template()
                        .With(CKA_VALUE_LEN, CK_ULONG{16})
                        .With(CKA_DERIVE, true)
                        .With(CKA_SENSITIVE, true)
                        .With(CKA_EXTRACTABLE, false);
  CK_OBJECT_HANDLE first = 0;
  CK_OBJECT_HANDLE second = 0;
  ASSERT_RV(CKR_OK, P11().C_GenerateKey(session_, &generate, wanted.data(), wanted.size(), &first));
  ASSERT_RV(CKR_OK,
            P11().C_GenerateKey(session_, &generate, wanted.data(), wanted.size(), &second));
  CK_OBJECT_HANDLE key = 0;
  ASSERT_RV(CKR_OK, Concatenate(first, second, DerivedSecret(), key));
  EXPECT_TRUE(ReadBool(session_, key, CKA_ALWAYS_SENSITIVE));
  EXPECT_TRUE(ReadBool(session_, key, CKA_NEVER_EXTRACTABLE));
  ASSERT_RV(CKR_OK, Concatenate(first, base_, DerivedSecret(), key));
  EXPECT_TRUE(ReadBool(session_, key, CKA_SENSITIVE));
  EXPECT_FALSE(ReadBool(session_, key, CKA_ALWAYS_SENSITIVE));
  EXPECT_FALSE(ReadBool(session_, key, CKA_NEVER_EXTRACTABLE));
}

constexpr CK_MECHANISM_TYPE kKeyDerivations[] = {
    CKM_SHA1_KEY_DERIVATION,   CKM_SHA224_KEY_DERIVATION, CKM_SHA256_KEY_DERIVATION,
    CKM_SHA384_KEY_DERIVATION, CKM_SHA512_KEY_DERIVATION, CKM_SHA512_256_KEY_DERIVATION};

TEST_F(CombinationTest, DigestOfKey) {
  for (size_t i = 0; i < std::size(kKeyDerivations); ++i) {
    const Hash& hash = AllHashes()[i];
    SCOPED_TRACE(hash.name);
    const CK_MECHANISM mechanism{kKeyDerivations[i], nullptr, 0};
    const Bytes digest = ReferenceDigest(hash.name, value_);
    CK_OBJECT_HANDLE key = 0;
    ASSERT_RV(CKR_OK, DeriveBy(session_, mechanism, base_, DerivedSecret(), key));
    EXPECT_EQ(ReadBytes(session_, key, CKA_VALUE), digest);
    ASSERT_RV(CKR_OK, DeriveBy(session_, mechanism, base_, DerivedSecret(16), key));
    EXPECT_EQ(ReadBytes(session_, key, CKA_VALUE), First(digest, 16));
    EXPECT_RV_IN(DeriveBy(session_, mechanism, base_, DerivedSecret(hash.size + 1), key),
                 CKR_TEMPLATE_INCONSISTENT, CKR_KEY_SIZE_RANGE);
    CK_ULONG parameter = 0;
    EXPECT_RV(CKR_MECHANISM_PARAM_INVALID,
              DeriveBy(session_, MechanismOf(mechanism.mechanism, parameter), base_,
                       DerivedSecret(), key));
  }
}

}  // namespace
}  // namespace secretmem::conformance
