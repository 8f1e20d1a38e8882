// RSA keys, signatures and encryption: PKCS#11 3.1 §6.1.
#include "tests/conformance/rsa.h"

#include <cstring>
#include <functional>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "tests/conformance/fixtures.h"
#include "tests/conformance/x25519.h"

namespace secretmem::conformance {
namespace {

constexpr CK_ATTRIBUTE_TYPE kSecrets[] = {CKA_PRIVATE_EXPONENT, CKA_PRIME_1,    CKA_PRIME_2,
                                          CKA_EXPONENT_1,       CKA_EXPONENT_2, CKA_COEFFICIENT};

class RsaTest : public UserTest {
 protected:
  static Template Public(CK_ULONG bits) {
    return Template()
        .With(CKA_TOKEN, false)
        .With(CKA_PRIVATE, false)
        .With(CKA_VERIFY, true)
        .With(CKA_ENCRYPT, true)
        .With(CKA_MODULUS_BITS, bits);
  }
  static Template Private() {
    return Template()
        .With(CKA_TOKEN, false)
        .With(CKA_SENSITIVE, false)
        .With(CKA_EXTRACTABLE, true)
        .With(CKA_SIGN, true)
        .With(CKA_DECRYPT, true);
  }

  CK_RV Generate(Template public_key, Template private_key, KeyPair& pair,
                 Bytes parameter = {}) const {
    CK_MECHANISM mechanism{CKM_RSA_PKCS_KEY_PAIR_GEN,
                           parameter.empty() ? nullptr : parameter.data(), parameter.size()};
    return P11().C_GenerateKeyPair(session_, &mechanism, public_key.data(), public_key.size(),
                                   private_key.data(), private_key.size(), &pair.public_key,
                                   &pair.private_key);
  }
  KeyPair Pair(CK_ULONG bits = 2048) const {
    KeyPair pair;
    EXPECT_RV(CKR_OK, Generate(Public(bits), Private(), pair));
    return pair;
  }
  RsaNumbers Read(CK_OBJECT_HANDLE key) const {
    return {ReadBytes(session_, key, CKA_MODULUS),
            ReadBytes(session_, key, CKA_PUBLIC_EXPONENT),
            ReadBytes(session_, key, CKA_PRIVATE_EXPONENT),
            ReadBytes(session_, key, CKA_PRIME_1),
            ReadBytes(session_, key, CKA_PRIME_2),
            ReadBytes(session_, key, CKA_EXPONENT_1),
            ReadBytes(session_, key, CKA_EXPONENT_2),
            ReadBytes(session_, key, CKA_COEFFICIENT)};
  }
  CK_RV TryCreate(Template object) const {
    CK_OBJECT_HANDLE handle = CK_INVALID_HANDLE;
    return P11().C_CreateObject(session_, object.data(), object.size(), &handle);
  }
  CK_RV Init(CK_RV (*init)(CK_SESSION_HANDLE, CK_MECHANISM*, CK_OBJECT_HANDLE), RsaMechanism its,
             CK_OBJECT_HANDLE key) const {
    CK_MECHANISM mechanism{its.type, its.parameter.data(), its.parameter.size()};
    return init(session_, &mechanism, key);
  }

  const RsaHash& sha1_ = *FindRsaHash("SHA-1");
  const RsaHash& sha256_ = *FindRsaHash("SHA-256");
  const RsaHash& sha512_ = *FindRsaHash("SHA-512");
  const Bytes message_ = ToBytes("what is signed");
};

using RsaKeyTest = RsaTest;
using RsaSignTest = RsaTest;
using RsaCipherTest = RsaTest;

TEST_F(RsaKeyTest, Attributes) {
  for (const CK_ULONG bits : {2048UL, 2176UL, 3072UL}) {
    const KeyPair pair = Pair(bits);
    const Bytes modulus = ReadBytes(session_, pair.public_key, CKA_MODULUS);
    ASSERT_EQ(modulus.size(), bits / 8);
    EXPECT_GE(modulus[0], 0x80);
    EXPECT_EQ(ReadUlong(session_, pair.public_key, CKA_MODULUS_BITS), bits);
    EXPECT_EQ(ReadBytes(session_, pair.public_key, CKA_PUBLIC_EXPONENT), FromHex("010001"));
    EXPECT_EQ(ReadBytes(session_, pair.private_key, CKA_MODULUS), modulus);
    EXPECT_EQ(ReadBytes(session_, pair.private_key, CKA_PUBLIC_EXPONENT), FromHex("010001"));
    for (const CK_OBJECT_HANDLE key : {pair.public_key, pair.private_key}) {
      EXPECT_EQ(ReadUlong(session_, key, CKA_KEY_TYPE), CKK_RSA);
      EXPECT_TRUE(ReadBool(session_, key, CKA_LOCAL));
      EXPECT_EQ(ReadUlong(session_, key, CKA_KEY_GEN_MECHANISM), CKM_RSA_PKCS_KEY_PAIR_GEN);
    }
    for (const CK_ATTRIBUTE_TYPE type : kSecrets) {
      EXPECT_RV(CKR_ATTRIBUTE_TYPE_INVALID, ReadAttribute(session_, pair.public_key, type).rv);
    }
  }
}

// What is read is one key, which OpenSSL computes with.
// Up to the largest, which takes a while to find.
TEST_F(RsaKeyTest, LargestSizes) {
  for (const CK_ULONG bits : {4096UL, 8192UL}) {
    const KeyPair pair = Pair(bits);
    const Bytes modulus = ReadBytes(session_, pair.public_key, CKA_MODULUS);
    ASSERT_EQ(modulus.size(), bits / 8);
    EXPECT_EQ(ReadUlong(session_, pair.public_key, CKA_MODULUS_BITS), bits);
    const Outcome signature = RsaSign(session_, {CKM_SHA512_RSA_PKCS}, pair.private_key, message_);
    ASSERT_RV(CKR_OK, signature.rv);
    EXPECT_EQ(signature.bytes.size(), bits / 8);
    EXPECT_RV(CKR_OK, RsaVerify(session_, {CKM_SHA512_RSA_PKCS}, pair.public_key, message_,
                                signature.bytes));
    const Outcome cipher = RsaEncrypt(session_, {CKM_RSA_PKCS}, pair.public_key, message_);
    ASSERT_RV(CKR_OK, cipher.rv);
    EXPECT_EQ(RsaDecrypt(session_, {CKM_RSA_PKCS}, pair.private_key, cipher.bytes),
              (Outcome{CKR_OK, message_}));
  }
}

TEST_F(RsaKeyTest, SecretNumbers) {
  const KeyPair pair = Pair();
  const RsaNumbers numbers = Read(pair.private_key);
  EXPECT_EQ(numbers.p.size(), 128U);
  EXPECT_EQ(numbers.q.size(), 128U);
  const Bytes signature = ReferenceRsaSign(numbers, "SHA256", "", 0, message_);
  EXPECT_RV(CKR_OK,
            RsaVerify(session_, {CKM_SHA256_RSA_PKCS}, pair.public_key, message_, signature));
  EXPECT_EQ(RsaSign(session_, {CKM_SHA256_RSA_PKCS}, pair.private_key, message_),
            (Outcome{CKR_OK, signature}));
}

TEST_F(RsaKeyTest, SensitiveNumbersStayInside) {
  for (const auto& [sensitive, extractable] :
       {std::pair{true, true}, {true, false}, {false, false}}) {
    KeyPair pair;
    ASSERT_RV(CKR_OK,
              Generate(Public(2048),
                       Private().With(CKA_SENSITIVE, sensitive).With(CKA_EXTRACTABLE, extractable),
                       pair));
    for (const CK_ATTRIBUTE_TYPE type : kSecrets) {
      EXPECT_EQ(ReadAttribute(session_, pair.private_key, type),
                (Attribute{CKR_ATTRIBUTE_SENSITIVE, {}}));
    }
    EXPECT_EQ(ReadBytes(session_, pair.private_key, CKA_MODULUS).size(), 256U);
  }
}

TEST_F(RsaKeyTest, Sizes) {
  KeyPair pair;
  for (const CK_ULONG bits : {0UL, 512UL, 1024UL, 2047UL, 2049UL, 2056UL}) {
    EXPECT_RV(CKR_KEY_SIZE_RANGE, Generate(Public(bits), Private(), pair)) << bits;
  }
  EXPECT_RV(CKR_TEMPLATE_INCOMPLETE,
            Generate(Public(0).Without(CKA_MODULUS_BITS), Private(), pair));
  EXPECT_RV(CKR_MECHANISM_PARAM_INVALID, Generate(Public(2048), Private(), pair, {1}));
  EXPECT_EQ(pair.public_key, CK_INVALID_HANDLE);
  EXPECT_EQ(pair.private_key, CK_INVALID_HANDLE);
}

TEST_F(RsaKeyTest, Exponents) {
  KeyPair pair;
  for (const char* exponent : {"03", "11", "00010001", "ffffffff"}) {
    ASSERT_RV(CKR_OK,
              Generate(Public(2048).With(CKA_PUBLIC_EXPONENT, FromHex(exponent)), Private(), pair));
    for (const CK_OBJECT_HANDLE key : {pair.public_key, pair.private_key}) {
      EXPECT_EQ(ReadBytes(session_, key, CKA_PUBLIC_EXPONENT), WithoutZeros(FromHex(exponent)));
    }
  }
  for (const char* exponent : {"", "00", "01", "02", "010000", "0100000001"}) {
    EXPECT_RV(CKR_ATTRIBUTE_VALUE_INVALID,
              Generate(Public(2048).With(CKA_PUBLIC_EXPONENT, FromHex(exponent)), Private(), pair))
        << exponent;
  }
}

// §6.1.3: what is missing is recovered; big integers lose their leading zeros.
TEST_F(RsaKeyTest, Import) {
  const RsaNumbers numbers = Read(Pair().private_key);
  const auto with_zeros = [](Bytes number) {
    number.insert(number.begin(), 2, 0);
    return number;
  };
  RsaNumbers padded = numbers;
  for (Bytes RsaNumbers::*part : {&RsaNumbers::n, &RsaNumbers::e, &RsaNumbers::q}) {
    padded.*part = with_zeros(numbers.*part);
  }
  const Template whole = RsaPrivateKey(numbers), least = LeastRsaPrivateKey(numbers.n, numbers.d);
  const Template forms[] = {
      whole,
      RsaPrivateKey(padded),
      least,
      Template(least).With(CKA_PUBLIC_EXPONENT, numbers.e),
      Template(least).With(CKA_PRIME_1, numbers.p).With(CKA_PRIME_2, numbers.q),
      Template(least).With(CKA_PRIME_1, numbers.p),
      Template(whole).Without(CKA_COEFFICIENT),
      Template(whole).Without(CKA_EXPONENT_1),
      Template(whole).Without(CKA_EXPONENT_2).With(CKA_PUBLIC_EXPONENT, Bytes()),
  };
  for (const Template& form : forms) {
    const CK_OBJECT_HANDLE key = Create(session_, form);
    EXPECT_EQ(Read(key), numbers);
    EXPECT_FALSE(ReadBool(session_, key, CKA_LOCAL));
    EXPECT_EQ(RsaSign(session_, {CKM_SHA256_RSA_PKCS}, key, message_),
              (Outcome{CKR_OK, ReferenceRsaSign(numbers, "SHA256", "", 0, message_)}));
  }
  const CK_OBJECT_HANDLE key = Create(session_, RsaPublicKey(padded.n, padded.e));
  EXPECT_EQ(ReadBytes(session_, key, CKA_MODULUS), numbers.n);
  EXPECT_EQ(ReadBytes(session_, key, CKA_PUBLIC_EXPONENT), numbers.e);
  EXPECT_EQ(ReadUlong(session_, key, CKA_MODULUS_BITS), 2048U);
}

TEST_F(RsaKeyTest, ImportErrors) {
  const RsaNumbers numbers = Read(Pair().private_key);
  const Template whole = RsaPrivateKey(numbers);
  for (const CK_ATTRIBUTE_TYPE type : {CKA_MODULUS, CKA_PRIVATE_EXPONENT}) {
    EXPECT_RV(CKR_TEMPLATE_INCOMPLETE, TryCreate(Template(whole).Without(type)));
  }
  const std::pair<CK_ATTRIBUTE_TYPE, Bytes RsaNumbers::*> parts[] = {
      {CKA_MODULUS, &RsaNumbers::n},
      {CKA_PUBLIC_EXPONENT, &RsaNumbers::e},
      {CKA_PRIVATE_EXPONENT, &RsaNumbers::d},
      {CKA_PRIME_1, &RsaNumbers::p},
      {CKA_PRIME_2, &RsaNumbers::q},
      {CKA_EXPONENT_1, &RsaNumbers::exponent1},
      {CKA_EXPONENT_2, &RsaNumbers::exponent2},
      {CKA_COEFFICIENT, &RsaNumbers::coefficient}};
  for (const auto& [type, part] : parts) {
    Bytes other = numbers.*part;
    other.back() ^= 2;
    EXPECT_RV(CKR_ATTRIBUTE_VALUE_INVALID, TryCreate(Template(whole).With(type, other))) << type;
    EXPECT_RV(CKR_ATTRIBUTE_VALUE_INVALID, TryCreate(Template(whole).With(type, Bytes(2048, 0xff))))
        << type;
  }
  Bytes other = numbers.d;
  other.back() ^= 2;
  EXPECT_RV(CKR_ATTRIBUTE_VALUE_INVALID, TryCreate(LeastRsaPrivateKey(numbers.n, other)));
  for (const Bytes& d : {Bytes{0}, Bytes{1}, numbers.n}) {
    EXPECT_RV(CKR_ATTRIBUTE_VALUE_INVALID, TryCreate(LeastRsaPrivateKey(numbers.n, d)));
  }
  EXPECT_RV(CKR_TEMPLATE_INCOMPLETE,
            TryCreate(RsaPublicKey(numbers.n, numbers.e).Without(CKA_MODULUS)));
  EXPECT_RV(CKR_TEMPLATE_INCOMPLETE,
            TryCreate(RsaPublicKey(numbers.n, numbers.e).Without(CKA_PUBLIC_EXPONENT)));
  EXPECT_RV(CKR_ATTRIBUTE_READ_ONLY,
            TryCreate(RsaPublicKey(numbers.n, numbers.e).With(CKA_MODULUS_BITS, 2048UL)));
  Bytes even = numbers.n;
  even.back() &= 0xfe;
  for (const Bytes& n : {Bytes(), Bytes(256, 0), Bytes(64, 0xff), Bytes(1025, 0xff), even}) {
    EXPECT_RV(CKR_ATTRIBUTE_VALUE_INVALID, TryCreate(RsaPublicKey(n, numbers.e))) << n.size();
  }
  for (const char* e : {"", "00", "01", "010000", "0400000001"}) {
    EXPECT_RV(CKR_ATTRIBUTE_VALUE_INVALID, TryCreate(RsaPublicKey(numbers.n, FromHex(e)))) << e;
  }
}

TEST_F(RsaKeyTest, Find) {
  const KeyPair pair = Pair();
  const RsaNumbers numbers = Read(pair.private_key);
  EXPECT_EQ(FindAll(session_, Template().With(CKA_MODULUS, numbers.n)).size(), 2U);
  for (const Bytes& d : {numbers.d, numbers.p}) {
    EXPECT_EQ(FindAll(session_, Template().With(CKA_PRIVATE_EXPONENT, d)).size(),
              d == numbers.d ? 1U : 0U);
  }
  KeyPair sensitive;
  ASSERT_RV(CKR_OK, Generate(Public(2048), Private().With(CKA_SENSITIVE, true), sensitive));
  EXPECT_EQ(FindAll(session_, Template().With(CKA_CLASS, CK_ULONG{CKO_PRIVATE_KEY})).size(), 2U);
}

// Every hash, both paddings, both directions; and in parts.
TEST_F(RsaSignTest, Hashes) {
  const KeyPair pair = Pair();
  const RsaNumbers numbers = Read(pair.private_key);
  for (const char* name : {"SHA-1", "SHA-224", "SHA-256", "SHA-384", "SHA-512"}) {
    SCOPED_TRACE(name);
    const RsaHash& hash = *FindRsaHash(name);
    const RsaMechanism pkcs1{hash.pkcs1};
    const Bytes expected = ReferenceRsaSign(numbers, hash.openssl, "", 0, message_);
    EXPECT_EQ(RsaSign(session_, pkcs1, pair.private_key, message_), (Outcome{CKR_OK, expected}));
    EXPECT_RV(CKR_OK, RsaVerify(session_, pkcs1, pair.public_key, message_, expected));

    const RsaMechanism pss = Pss(hash.pss, hash, hash, hash.size);
    const Outcome made = RsaSign(session_, pss, pair.private_key, message_);
    EXPECT_RV(CKR_OK, made.rv);
    const int salt = static_cast<int>(hash.size);
    EXPECT_TRUE(
        ReferenceRsaVerify(numbers, hash.openssl, hash.openssl, salt, message_, made.bytes));
    EXPECT_NE(RsaSign(session_, pss, pair.private_key, message_), made);
    EXPECT_RV(CKR_OK,
              RsaVerify(session_, pss, pair.public_key, message_,
                        ReferenceRsaSign(numbers, hash.openssl, hash.openssl, salt, message_)));
    for (const RsaMechanism& mechanism : {pkcs1, pss}) {
      Bytes copy = message_, out(256);
      CK_ULONG length = out.size();
      ASSERT_RV(CKR_OK, Init(P11().C_SignInit, mechanism, pair.private_key));
      for (CK_BYTE& byte : copy) ASSERT_RV(CKR_OK, P11().C_SignUpdate(session_, &byte, 1));
      ASSERT_RV(CKR_OK, P11().C_SignFinal(session_, out.data(), &length));
      EXPECT_EQ(length, 256U);
      ASSERT_RV(CKR_OK, Init(P11().C_VerifyInit, mechanism, pair.public_key));
      ASSERT_RV(CKR_OK, P11().C_VerifyUpdate(session_, copy.data(), 5));
      ASSERT_RV(CKR_OK, P11().C_VerifyUpdate(session_, copy.data() + 5, copy.size() - 5));
      EXPECT_RV(CKR_OK, P11().C_VerifyFinal(session_, out.data(), out.size()));
      out.back() ^= 1;
      EXPECT_RV(CKR_SIGNATURE_INVALID,
                RsaVerify(session_, mechanism, pair.public_key, message_, out));
      out.pop_back();
      EXPECT_RV(CKR_SIGNATURE_LEN_RANGE,
                RsaVerify(session_, mechanism, pair.public_key, message_, out));
    }
  }
}

TEST_F(RsaSignTest, RawPkcs1) {
  const KeyPair pair = Pair();
  for (const size_t size : {0U, 1U, 51U, 245U}) {
    const Bytes data(size, 0xa7);
    const Outcome made = RsaSign(session_, {CKM_RSA_PKCS}, pair.private_key, data);
    EXPECT_RV(CKR_OK, made.rv);
    EXPECT_RV(CKR_OK, RsaVerify(session_, {CKM_RSA_PKCS}, pair.public_key, data, made.bytes));
    Bytes other = data;
    other.push_back(1);
    EXPECT_RV(size == 245 ? CKR_DATA_LEN_RANGE : CKR_SIGNATURE_INVALID,
              RsaVerify(session_, {CKM_RSA_PKCS}, pair.public_key, other, made.bytes));
  }
  EXPECT_RV(CKR_DATA_LEN_RANGE,
            RsaSign(session_, {CKM_RSA_PKCS}, pair.private_key, Bytes(246, 1)).rv);
  // A DigestInfo makes it the hashed mechanism.
  Bytes info = FromHex("3031300d060960864801650304020105000420");
  const Bytes hash = ReferenceHash("SHA256", message_);
  info.insert(info.end(), hash.begin(), hash.end());
  EXPECT_EQ(RsaSign(session_, {CKM_RSA_PKCS}, pair.private_key, info),
            RsaSign(session_, {CKM_SHA256_RSA_PKCS}, pair.private_key, message_));
}

TEST_F(RsaSignTest, RawX509) {
  const KeyPair pair = Pair();
  const RsaMechanism x509{CKM_RSA_X_509};
  for (const size_t size : {1U, 200U, 256U}) {
    Bytes data(size, 0x11);
    const Outcome made = RsaSign(session_, x509, pair.private_key, data);
    EXPECT_RV(CKR_OK, made.rv);
    EXPECT_EQ(made.bytes.size(), 256U);
    EXPECT_RV(CKR_OK, RsaVerify(session_, x509, pair.public_key, data, made.bytes));
    data.back() ^= 1;
    EXPECT_RV(CKR_SIGNATURE_INVALID, RsaVerify(session_, x509, pair.public_key, data, made.bytes));
  }
  EXPECT_RV(CKR_DATA_INVALID, RsaSign(session_, x509, pair.private_key, Bytes(256, 0xff)).rv);
  EXPECT_RV(CKR_DATA_LEN_RANGE, RsaSign(session_, x509, pair.private_key, Bytes(257, 0)).rv);
}

TEST_F(RsaSignTest, RawPss) {
  const KeyPair pair = Pair();
  const RsaNumbers numbers = Read(pair.private_key);
  const Bytes hash = ReferenceHash("SHA256", message_);
  for (const CK_ULONG salt : {0UL, 32UL, 256UL - 2 - 32}) {
    const RsaMechanism pss = Pss(CKM_RSA_PKCS_PSS, sha256_, sha1_, salt);
    const Outcome made = RsaSign(session_, pss, pair.private_key, hash);
    EXPECT_RV(CKR_OK, made.rv);
    EXPECT_TRUE(ReferenceRsaVerify(numbers, "SHA256", "SHA1", static_cast<int>(salt), message_,
                                   made.bytes));
    EXPECT_RV(CKR_OK, RsaVerify(session_, pss, pair.public_key, hash, made.bytes));
    EXPECT_RV(CKR_SIGNATURE_INVALID, RsaVerify(session_, Pss(CKM_RSA_PKCS_PSS, sha256_, sha1_, 31),
                                               pair.public_key, hash, made.bytes));
  }
  const RsaMechanism pss = Pss(CKM_RSA_PKCS_PSS, sha256_, sha256_, 32);
  for (const size_t size : {0U, 31U, 33U}) {
    EXPECT_RV(CKR_DATA_LEN_RANGE, RsaSign(session_, pss, pair.private_key, Bytes(size, 1)).rv);
  }
}

TEST_F(RsaSignTest, PssParameters) {
  const KeyPair pair = Pair();
  const auto sign = [&](const RsaMechanism& mechanism) {
    return RsaSign(session_, mechanism, pair.private_key, message_).rv;
  };
  const RsaMechanism good = Pss(CKM_SHA256_RSA_PKCS_PSS, sha256_, sha256_, 32);
  EXPECT_RV(CKR_OK, sign(good));
  RsaHash unknown = sha256_;
  unknown.digest = CKM_MD5;
  unknown.mgf = 99;
  std::vector<RsaMechanism> bad = {
      {CKM_SHA256_RSA_PKCS_PSS},
      {CKM_SHA256_RSA_PKCS, {1}},
      {CKM_RSA_PKCS, {1}},
      {CKM_RSA_X_509, {1}},
      Pss(CKM_SHA256_RSA_PKCS_PSS, sha512_, sha256_, 32),
      Pss(CKM_RSA_PKCS_PSS, unknown, sha256_, 32),
      Pss(CKM_SHA256_RSA_PKCS_PSS, sha256_, unknown, 32),
      Pss(CKM_SHA256_RSA_PKCS_PSS, sha256_, sha256_, 256 - 2 - 32 + 1),
      Pss(CKM_SHA256_RSA_PKCS_PSS, sha256_, sha256_, ~0UL),
      good,
      good,
  };
  bad[bad.size() - 2].parameter.pop_back();
  bad.back().parameter.push_back(0);
  for (const RsaMechanism& mechanism : bad) EXPECT_RV(CKR_MECHANISM_PARAM_INVALID, sign(mechanism));
}

TEST_F(RsaSignTest, OnePartOnly) {
  const KeyPair pair = Pair();
  Bytes data(10, 1), out(256);
  CK_ULONG length = 0;
  ASSERT_RV(CKR_OK, Init(P11().C_SignInit, {CKM_RSA_PKCS}, pair.private_key));
  ASSERT_RV(CKR_OK, P11().C_Sign(session_, data.data(), data.size(), nullptr, &length));
  EXPECT_EQ(length, 256U);
  length = 255;
  EXPECT_RV(CKR_BUFFER_TOO_SMALL,
            P11().C_Sign(session_, data.data(), data.size(), out.data(), &length));
  EXPECT_EQ(length, 256U);
  EXPECT_RV(CKR_FUNCTION_NOT_SUPPORTED, P11().C_SignUpdate(session_, data.data(), data.size()));
  EXPECT_RV(CKR_OPERATION_NOT_INITIALIZED,
            P11().C_Sign(session_, data.data(), data.size(), out.data(), &length));
  ASSERT_RV(CKR_OK, Init(P11().C_VerifyInit, {CKM_RSA_X_509}, pair.public_key));
  EXPECT_RV(CKR_FUNCTION_NOT_SUPPORTED, P11().C_VerifyUpdate(session_, data.data(), data.size()));
  for (const auto& [init, update, key] :
       {std::tuple{P11().C_EncryptInit, P11().C_EncryptUpdate, pair.public_key},
        std::tuple{P11().C_DecryptInit, P11().C_DecryptUpdate, pair.private_key}}) {
    ASSERT_RV(CKR_OK, Init(init, {CKM_RSA_PKCS}, key));
    length = out.size();
    EXPECT_RV(CKR_FUNCTION_NOT_SUPPORTED,
              update(session_, data.data(), data.size(), out.data(), &length));
  }
}

TEST_F(RsaSignTest, OtherKeys) {
  const KeyPair pair = Pair();
  const CK_OBJECT_HANDLE secret =
      Create(session_, SecretObject(Bytes(32, 1)).With(CKA_SIGN, true).With(CKA_DECRYPT, true));
  EXPECT_RV(CKR_KEY_TYPE_INCONSISTENT, RsaSign(session_, {CKM_RSA_PKCS}, secret, message_).rv);
  EXPECT_RV(CKR_KEY_TYPE_INCONSISTENT, RsaDecrypt(session_, {CKM_RSA_PKCS}, secret, message_).rv);
  EXPECT_RV(CKR_KEY_TYPE_INCONSISTENT,
            RsaSign(session_, {CKM_SHA256_HMAC}, pair.private_key, message_).rv);
  EXPECT_RV(CKR_KEY_FUNCTION_NOT_PERMITTED,
            RsaSign(session_, {CKM_RSA_PKCS}, pair.public_key, message_).rv);
  EXPECT_RV(CKR_KEY_FUNCTION_NOT_PERMITTED,
            RsaDecrypt(session_, {CKM_RSA_PKCS}, pair.public_key, message_).rv);
}

// The parsed key is made once, and shared.
TEST_F(RsaSignTest, ManyThreads) {
  const KeyPair pair = Pair();
  const Bytes expected = ReferenceRsaSign(Read(pair.private_key), "SHA256", "", 0, message_);
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      const CK_SESSION_HANDLE session = Open(kReadWrite);
      for (int round = 0; round < 20; ++round) {
        EXPECT_EQ(RsaSign(session, {CKM_SHA256_RSA_PKCS}, pair.private_key, message_),
                  (Outcome{CKR_OK, expected}));
      }
      EXPECT_RV(CKR_OK, P11().C_CloseSession(session));
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST_F(RsaCipherTest, Pkcs1) {
  const KeyPair pair = Pair();
  const RsaNumbers numbers = Read(pair.private_key);
  const RsaMechanism pkcs1{CKM_RSA_PKCS};
  for (const size_t size : {0U, 1U, 245U}) {
    const Bytes data(size, 0x3c);
    const Outcome made = RsaEncrypt(session_, pkcs1, pair.public_key, data);
    EXPECT_RV(CKR_OK, made.rv);
    EXPECT_EQ(ReferenceRsaDecrypt(numbers, "", "", {}, made.bytes), data);
    EXPECT_EQ(RsaDecrypt(session_, pkcs1, pair.private_key,
                         ReferenceRsaEncrypt(numbers, "", "", {}, data)),
              (Outcome{CKR_OK, data}));
  }
  EXPECT_RV(CKR_DATA_LEN_RANGE, RsaEncrypt(session_, pkcs1, pair.public_key, Bytes(246, 1)).rv);
}

TEST_F(RsaCipherTest, Oaep) {
  const KeyPair pair = Pair();
  const RsaNumbers numbers = Read(pair.private_key);
  for (const char* name : {"SHA-1", "SHA-224", "SHA-256", "SHA-384", "SHA-512"}) {
    const RsaHash& hash = *FindRsaHash(name);
    for (const RsaHash* mgf : {&hash, &sha1_}) {
      for (const Bytes& label : {Bytes(), ToBytes("label")}) {
        const RsaMechanism oaep = Oaep(hash, *mgf, label);
        const Bytes data(256 - 2 - 2 * hash.size, 0x55);
        const Outcome made = RsaEncrypt(session_, oaep, pair.public_key, data);
        EXPECT_RV(CKR_OK, made.rv);
        EXPECT_EQ(ReferenceRsaDecrypt(numbers, hash.openssl, mgf->openssl, label, made.bytes),
                  data);
        const Bytes theirs =
            ReferenceRsaEncrypt(numbers, hash.openssl, mgf->openssl, label, message_);
        EXPECT_EQ(RsaDecrypt(session_, oaep, pair.private_key, theirs),
                  (Outcome{CKR_OK, message_}));
        EXPECT_RV(
            CKR_ENCRYPTED_DATA_INVALID,
            RsaDecrypt(session_, Oaep(hash, *mgf, ToBytes("other")), pair.private_key, theirs).rv);
        Bytes longer = data;
        longer.push_back(1);
        EXPECT_RV(CKR_DATA_LEN_RANGE, RsaEncrypt(session_, oaep, pair.public_key, longer).rv);
      }
    }
  }
}

TEST_F(RsaCipherTest, OaepParameters) {
  const KeyPair pair = Pair();
  const auto encrypt = [&](const RsaMechanism& mechanism) {
    return RsaEncrypt(session_, mechanism, pair.public_key, message_).rv;
  };
  const auto changed = [&](const std::function<void(CK_RSA_PKCS_OAEP_PARAMS&)>& change) {
    RsaMechanism mechanism = Oaep(sha256_, sha256_, {});
    CK_RSA_PKCS_OAEP_PARAMS parameter;
    memcpy(&parameter, mechanism.parameter.data(), sizeof(parameter));
    change(parameter);
    memcpy(mechanism.parameter.data(), &parameter, sizeof(parameter));
    return mechanism;
  };
  EXPECT_RV(CKR_OK, encrypt(Oaep(sha256_, sha256_, {})));
  std::vector<RsaMechanism> bad = {
      {CKM_RSA_PKCS_OAEP},
      {CKM_RSA_PKCS, {1}},
      changed([](auto& its) { its.hashAlg = CKM_MD5; }),
      changed([](auto& its) { its.mgf = 99; }),
      changed([](auto& its) { its.source = 2; }),
      changed([](auto& its) { its.ulSourceDataLen = 3; }),
      changed([](auto& its) { its.ulSourceDataLen = ~0UL; }),
      Oaep(sha256_, sha256_, {}),
  };
  bad.back().parameter.pop_back();
  for (const RsaMechanism& mechanism : bad) {
    EXPECT_RV(CKR_MECHANISM_PARAM_INVALID, encrypt(mechanism));
  }
}

TEST_F(RsaCipherTest, X509) {
  const KeyPair pair = Pair();
  const RsaMechanism x509{CKM_RSA_X_509};
  Bytes padded(256, 0);
  padded.back() = 9;
  const Outcome made = RsaEncrypt(session_, x509, pair.public_key, {9});
  EXPECT_RV(CKR_OK, made.rv);
  EXPECT_EQ(RsaDecrypt(session_, x509, pair.private_key, made.bytes), (Outcome{CKR_OK, padded}));
  EXPECT_RV(CKR_DATA_INVALID, RsaEncrypt(session_, x509, pair.public_key, Bytes(256, 0xff)).rv);
  EXPECT_RV(CKR_DATA_LEN_RANGE, RsaEncrypt(session_, x509, pair.public_key, Bytes(257, 0)).rv);
}

TEST_F(RsaCipherTest, Ciphertexts) {
  const KeyPair pair = Pair();
  for (const RsaMechanism& mechanism :
       {RsaMechanism{CKM_RSA_PKCS}, RsaMechanism{CKM_RSA_X_509}, Oaep(sha256_, sha256_, {})}) {
    for (const size_t size : {0U, 255U, 257U}) {
      EXPECT_RV(CKR_ENCRYPTED_DATA_LEN_RANGE,
                RsaDecrypt(session_, mechanism, pair.private_key, Bytes(size, 1)).rv);
    }
    EXPECT_RV(CKR_ENCRYPTED_DATA_INVALID,
              RsaDecrypt(session_, mechanism, pair.private_key, Bytes(256, 0xff)).rv);
  }
}

// §5.2: the buffer is to hold the longest plain text, so that its length tells nothing.
TEST_F(RsaCipherTest, Buffers) {
  const KeyPair pair = Pair();
  Outcome made = RsaEncrypt(session_, {CKM_RSA_PKCS}, pair.public_key, message_);
  Bytes out(245);
  CK_ULONG length = 0;
  ASSERT_RV(CKR_OK, Init(P11().C_DecryptInit, {CKM_RSA_PKCS}, pair.private_key));
  CK_BYTE* data = made.bytes.data();
  ASSERT_RV(CKR_OK, P11().C_Decrypt(session_, data, made.bytes.size(), nullptr, &length));
  EXPECT_EQ(length, 245U);
  length = 244;
  ASSERT_RV(CKR_BUFFER_TOO_SMALL,
            P11().C_Decrypt(session_, data, made.bytes.size(), out.data(), &length));
  EXPECT_EQ(length, 245U);
  ASSERT_RV(CKR_OK, P11().C_Decrypt(session_, data, made.bytes.size(), out.data(), &length));
  out.resize(length);
  EXPECT_EQ(out, message_);
}

}  // namespace
}  // namespace secretmem::conformance
