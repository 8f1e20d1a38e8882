// Signing and verifying, by way of HMAC: PKCS#11 3.1 §5.13, §5.15 and §6.20 to §6.24.
#include <algorithm>

#include "tests/conformance/fixtures.h"
#include "tests/conformance/macs.h"
#include "tests/conformance/x25519.h"

namespace secretmem::conformance {
namespace {

class MacTest : public SessionTest {
 protected:
  void SetUp() override {
    SessionTest::SetUp();
    key_ = Create(session_, MacKey(value_));
  }

  CK_RV SignInit(CK_MECHANISM_TYPE type) { return SignInit(type, key_); }
  CK_RV SignInit(CK_MECHANISM_TYPE type, CK_OBJECT_HANDLE key) {
    CK_MECHANISM mechanism{type, nullptr, 0};
    return P11().C_SignInit(session_, &mechanism, key);
  }
  CK_RV VerifyInit(CK_MECHANISM_TYPE type) { return VerifyInit(type, key_); }
  CK_RV VerifyInit(CK_MECHANISM_TYPE type, CK_OBJECT_HANDLE key) {
    CK_MECHANISM mechanism{type, nullptr, 0};
    return P11().C_VerifyInit(session_, &mechanism, key);
  }
  void BeginSign() { ASSERT_RV(CKR_OK, SignInit(CKM_SHA256_HMAC)); }
  void BeginVerify() { BeginVerify(key_); }
  void BeginVerify(CK_OBJECT_HANDLE key) { ASSERT_RV(CKR_OK, VerifyInit(CKM_SHA256_HMAC, key)); }

  CK_RV Verify(Bytes signature) {
    return P11().C_Verify(session_, data_.data(), data_.size(), signature.data(), signature.size());
  }

  // CheckKey makes a key of `size` bytes and compares what it signs with OpenSSL's HMAC.
  void CheckKey(const Hash& hash, size_t size);

  void ExpectNoSigning() {
    CK_BYTE out[64];
    CK_ULONG length = sizeof out;
    EXPECT_RV(CKR_OPERATION_NOT_INITIALIZED, P11().C_SignUpdate(session_, data_.data(), 1));
    EXPECT_RV(CKR_OPERATION_NOT_INITIALIZED, P11().C_SignFinal(session_, out, &length));
  }
  void ExpectNoVerifying() {
    CK_BYTE tag[32] = {};
    EXPECT_RV(CKR_OPERATION_NOT_INITIALIZED, P11().C_VerifyUpdate(session_, data_.data(), 1));
    EXPECT_RV(CKR_OPERATION_NOT_INITIALIZED, P11().C_VerifyFinal(session_, tag, sizeof tag));
  }
  // The end of a multi-part signature with SHA-256 over `data`.
  void ExpectSignFinal(const Bytes& data) {
    Bytes out(32);
    CK_ULONG length = out.size();
    EXPECT_RV(CKR_OK, P11().C_SignFinal(session_, out.data(), &length));
    EXPECT_EQ(length, 32U);
    EXPECT_EQ(out, ReferenceHmac("SHA256", value_, data));
    ExpectNoSigning();
  }

  const Bytes value_ = ReferenceRandom(64);
  Bytes data_ = ToBytes("what do ya want for nothing?");
  CK_OBJECT_HANDLE key_ = 0;
};

// In one part and in several.
void MacTest::CheckKey(const Hash& hash, size_t size) {
  SCOPED_TRACE(size);
  const Bytes value = ReferenceRandom(size);
  const CK_OBJECT_HANDLE key = Create(session_, MacKey(value));
  const Bytes expected = ReferenceHmac(hash.name, value, data_);
  Bytes tag(hash.size);
  CK_ULONG length = tag.size();
  ASSERT_RV(CKR_OK, SignInit(hash.hmac, key));
  EXPECT_RV(CKR_OK, P11().C_Sign(session_, data_.data(), data_.size(), tag.data(), &length));
  EXPECT_EQ(length, expected.size());
  EXPECT_EQ(tag, expected);

  std::ranges::fill(tag, CK_BYTE{0});
  ASSERT_RV(CKR_OK, SignInit(hash.hmac, key));
  EXPECT_RV(CKR_OK, P11().C_SignUpdate(session_, data_.data(), 3));
  EXPECT_RV(CKR_OK, P11().C_SignUpdate(session_, data_.data() + 3, data_.size() - 3));
  EXPECT_RV(CKR_OK, P11().C_SignFinal(session_, tag.data(), &length));
  EXPECT_EQ(tag, expected);

  ASSERT_RV(CKR_OK, VerifyInit(hash.hmac, key));
  EXPECT_RV(CKR_OK, Verify(expected));
  ASSERT_RV(CKR_OK, VerifyInit(hash.hmac, key));
  EXPECT_RV(CKR_OK, P11().C_VerifyUpdate(session_, data_.data(), 3));
  EXPECT_RV(CKR_OK, P11().C_VerifyUpdate(session_, data_.data() + 3, data_.size() - 3));
  EXPECT_RV(CKR_OK, P11().C_VerifyFinal(session_, tag.data(), tag.size()));
}

class HmacTest : public MacTest, public testing::WithParamInterface<Hash> {
 protected:
  void SetUp() override {
    MacTest::SetUp();
    if (!Offers(GetParam().hmac)) GTEST_SKIP() << "no such mechanism";
  }
};

class HmacGeneralTest : public HmacTest {
 protected:
  void SetUp() override {
    HmacTest::SetUp();
    if (!Offers(GetParam().hmac_general)) GTEST_SKIP() << "no such mechanism";
  }
};

// Keys as long as the digest, and shorter and longer than the block.
TEST_P(HmacTest, EqualsReference) {
  for (const size_t size : {64, 65, 127, 128, 129, 300}) CheckKey(GetParam(), size);
}

TEST_P(HmacTest, ShortKeys) {
  for (const size_t size : {1, 2, 16, 19}) CheckKey(GetParam(), size);
}

TEST_P(HmacTest, Info) {
  CK_MECHANISM_INFO info{1, 1, 1};
  ASSERT_RV(CKR_OK, P11().C_GetMechanismInfo(slot_, GetParam().hmac, &info));
  EXPECT_EQ(info.flags, CKF_SIGN | CKF_VERIFY);
}

TEST_P(HmacGeneralTest, Info) {
  CK_MECHANISM_INFO info{1, 1, 1};
  ASSERT_RV(CKR_OK, P11().C_GetMechanismInfo(slot_, GetParam().hmac_general, &info));
  EXPECT_EQ(info.flags, CKF_SIGN | CKF_VERIFY);
}

// Every wrong bit is noticed.
TEST_P(HmacTest, WrongTag) {
  const Bytes tag = ReferenceHmac(GetParam().name, value_, data_);
  for (size_t bit = 0; bit < tag.size() * 8; ++bit) {
    Bytes wrong = tag;
    wrong[bit / 8] = static_cast<CK_BYTE>(wrong[bit / 8] ^ (1 << bit % 8));
    ASSERT_RV(CKR_OK, VerifyInit(GetParam().hmac));
    EXPECT_RV(CKR_SIGNATURE_INVALID, Verify(wrong)) << bit;
  }
  ExpectNoVerifying();
}

// §6.20.3: the parameter is the length of the tag, which is cut at its end.
TEST_P(HmacGeneralTest, Length) {
  Bytes expected = ReferenceHmac(GetParam().name, value_, data_);
  for (CK_ULONG size = GetParam().size; size > 0; --size) {
    expected.resize(size);
    CK_MECHANISM mechanism{GetParam().hmac_general, &size, sizeof size};
    ASSERT_RV(CKR_OK, P11().C_SignInit(session_, &mechanism, key_));
    Bytes tag(64);
    CK_ULONG length = tag.size();
    EXPECT_RV(CKR_OK, P11().C_Sign(session_, data_.data(), data_.size(), tag.data(), &length));
    tag.resize(length);
    EXPECT_EQ(tag, expected);
    ASSERT_RV(CKR_OK, P11().C_VerifyInit(session_, &mechanism, key_));
    EXPECT_RV(CKR_OK, Verify(tag));
    tag.back() ^= 1;
    ASSERT_RV(CKR_OK, P11().C_VerifyInit(session_, &mechanism, key_));
    EXPECT_RV(CKR_SIGNATURE_INVALID, Verify(tag));
    tag.push_back(0);
    ASSERT_RV(CKR_OK, P11().C_VerifyInit(session_, &mechanism, key_));
    EXPECT_RV(CKR_SIGNATURE_LEN_RANGE, Verify(tag));
  }
}

TEST_P(HmacGeneralTest, Parameter) {
  CK_ULONG size = GetParam().size + 1;
  CK_ULONG nothing = 0;
  const CK_MECHANISM wrong[] = {{GetParam().hmac_general, nullptr, 0},
                                {GetParam().hmac_general, nullptr, sizeof size},
                                {GetParam().hmac_general, &size, sizeof size - 1},
                                {GetParam().hmac_general, &size, sizeof size},
                                {GetParam().hmac_general, &nothing, sizeof nothing},
                                {GetParam().hmac, &size, sizeof size}};
  for (CK_MECHANISM mechanism : wrong) {
    EXPECT_RV(CKR_MECHANISM_PARAM_INVALID, P11().C_SignInit(session_, &mechanism, key_));
    EXPECT_RV(CKR_MECHANISM_PARAM_INVALID, P11().C_VerifyInit(session_, &mechanism, key_));
  }
  ExpectNoSigning();
  ExpectNoVerifying();
}

INSTANTIATE_TEST_SUITE_P(Hashes, HmacTest,
                         testing::ValuesIn(AllHashes().begin(), AllHashes().end()),
                         [](const auto& test) {
                           std::string name = test.param.name;
                           std::erase(name, '-');
                           return name;
                         });
INSTANTIATE_TEST_SUITE_P(Hashes, HmacGeneralTest,
                         testing::ValuesIn(AllHashes().begin(), AllHashes().end()),
                         [](const auto& test) {
                           std::string name = test.param.name;
                           std::erase(name, '-');
                           return name;
                         });

TEST_F(MacTest, InitArguments) {
  CK_MECHANISM mechanism{CKM_SHA256_HMAC, nullptr, 0};
  EXPECT_RV(CKR_ARGUMENTS_BAD, P11().C_SignInit(session_, nullptr, key_));
  EXPECT_RV(CKR_ARGUMENTS_BAD, P11().C_VerifyInit(session_, nullptr, key_));
  for (const CK_MECHANISM_TYPE type : {CKM_SHA256, CKM_ECDH1_DERIVE, CKM_VENDOR_DEFINED}) {
    EXPECT_RV(CKR_MECHANISM_INVALID, SignInit(type));
    EXPECT_RV(CKR_MECHANISM_INVALID, VerifyInit(type));
  }
  for (const CK_OBJECT_HANDLE none :
       {CK_OBJECT_HANDLE{CK_INVALID_HANDLE}, CK_OBJECT_HANDLE{0xffffff}}) {
    EXPECT_RV(CKR_KEY_HANDLE_INVALID, P11().C_SignInit(session_, &mechanism, none));
    EXPECT_RV(CKR_KEY_HANDLE_INVALID, P11().C_VerifyInit(session_, &mechanism, none));
  }
  const CK_OBJECT_HANDLE data = Create(session_, DataObject("no key"));
  EXPECT_RV(CKR_KEY_HANDLE_INVALID, P11().C_SignInit(session_, &mechanism, data));
  EXPECT_RV(CKR_KEY_HANDLE_INVALID, P11().C_VerifyInit(session_, &mechanism, data));
  ExpectNoSigning();
  ExpectNoVerifying();
}

// §5.13.1, §5.15.1: the key must say that it may.
TEST_F(MacTest, UsageFlags) {
  const CK_OBJECT_HANDLE signer = Create(session_, MacKey(value_).With(CKA_VERIFY, false));
  const CK_OBJECT_HANDLE verifier = Create(session_, MacKey(value_).With(CKA_SIGN, false));
  EXPECT_RV(CKR_KEY_FUNCTION_NOT_PERMITTED, VerifyInit(CKM_SHA256_HMAC, signer));
  EXPECT_RV(CKR_KEY_FUNCTION_NOT_PERMITTED, SignInit(CKM_SHA256_HMAC, verifier));
  BeginVerify(verifier);
  EXPECT_RV(CKR_OK, Verify(ReferenceHmac("SHA256", value_, data_)));
  EXPECT_RV(CKR_OK, SignInit(CKM_SHA256_HMAC, signer));
}

TEST_F(MacTest, WrongKeyType) {
  const CK_OBJECT_HANDLE other =
      Create(session_, X25519PrivateKey(ReferenceRandom(32)).With(CKA_SIGN, true));
  EXPECT_RV(CKR_KEY_TYPE_INCONSISTENT, SignInit(CKM_SHA256_HMAC, other));
  ExpectNoSigning();
}

// Keys made for one hash function sign with it alone.
TEST_F(MacTest, KeyOfAnotherHash) {
  const auto typed = [&](CK_KEY_TYPE type) {
    return Create(session_, MacKey(value_).With(CKA_KEY_TYPE, type));
  };
  const CK_OBJECT_HANDLE key = typed(CKK_SHA256_HMAC);
  EXPECT_RV(CKR_KEY_TYPE_INCONSISTENT, SignInit(CKM_SHA512_HMAC, key));
  EXPECT_RV(CKR_KEY_TYPE_INCONSISTENT, VerifyInit(CKM_SHA_1_HMAC, key));
  EXPECT_RV(CKR_OK, SignInit(CKM_SHA256_HMAC, key));
}

// §4.8, CKA_ALLOWED_MECHANISMS.
TEST_F(MacTest, AllowedMechanisms) {
  const CK_OBJECT_HANDLE key = Create(
      session_, MacKey(value_).With(CKA_ALLOWED_MECHANISMS, Template::Encode(CKM_SHA512_HMAC)));
  EXPECT_RV(CKR_MECHANISM_INVALID, SignInit(CKM_SHA256_HMAC, key));
  EXPECT_RV(CKR_MECHANISM_INVALID, VerifyInit(CKM_SHA256_HMAC, key));
  EXPECT_RV(CKR_OK, SignInit(CKM_SHA512_HMAC, key));
}

TEST_F(MacTest, NoOperation) {
  CK_BYTE out[64] = {};
  CK_ULONG length = sizeof out;
  EXPECT_RV(CKR_OPERATION_NOT_INITIALIZED,
            P11().C_Sign(session_, data_.data(), data_.size(), out, &length));
  EXPECT_RV(CKR_OPERATION_NOT_INITIALIZED, Verify(Bytes(32)));
  ExpectNoSigning();
  ExpectNoVerifying();
}

// A second Init leaves the first operation as it is. Signing and verifying are two.
TEST_F(MacTest, TwoInits) {
  BeginSign();
  ASSERT_RV(CKR_OK, P11().C_SignUpdate(session_, data_.data(), data_.size()));
  EXPECT_RV(CKR_OPERATION_ACTIVE, SignInit(CKM_SHA256_HMAC));
  EXPECT_RV(CKR_OPERATION_ACTIVE, SignInit(CKM_SHA512_HMAC));
  ExpectSignFinal(data_);
  BeginVerify();
  EXPECT_RV(CKR_OPERATION_ACTIVE, VerifyInit(CKM_SHA256_HMAC));
  EXPECT_RV(CKR_OK, Verify(ReferenceHmac("SHA256", value_, data_)));
}

// §5.2: asking for the length, and a buffer too small, keep the operation.
TEST_F(MacTest, BufferSizes) {
  const Bytes expected = ReferenceHmac("SHA256", value_, data_);
  BeginSign();
  CK_ULONG length = 0;
  EXPECT_RV(CKR_OK, P11().C_Sign(session_, data_.data(), data_.size(), nullptr, &length));
  EXPECT_EQ(length, 32U);
  Bytes out(40, 0xee);
  for (const CK_ULONG room : {0, 1, 31}) {
    length = room;
    EXPECT_RV(CKR_BUFFER_TOO_SMALL,
              P11().C_Sign(session_, data_.data(), data_.size(), out.data(), &length));
    EXPECT_EQ(length, 32U);
    EXPECT_EQ(out, Bytes(40, 0xee));
  }
  length = out.size();
  EXPECT_RV(CKR_OK, P11().C_Sign(session_, data_.data(), data_.size(), out.data(), &length));
  EXPECT_EQ(length, 32U);
  EXPECT_TRUE(std::ranges::equal(expected, std::span(out).first(32)));
  EXPECT_EQ(Bytes(out.begin() + 32, out.end()), Bytes(8, 0xee));
  ExpectNoSigning();

  BeginSign();
  ASSERT_RV(CKR_OK, P11().C_SignUpdate(session_, data_.data(), data_.size()));
  EXPECT_RV(CKR_OK, P11().C_SignFinal(session_, nullptr, &length));
  EXPECT_EQ(length, 32U);
  length = 31;
  EXPECT_RV(CKR_BUFFER_TOO_SMALL, P11().C_SignFinal(session_, out.data(), &length));
  EXPECT_EQ(length, 32U);
  ExpectSignFinal(data_);
}

TEST_F(MacTest, EmptyData) {
  BeginSign();
  EXPECT_RV(CKR_OK, P11().C_SignUpdate(session_, nullptr, 0));
  ExpectSignFinal({});
  BeginVerify();
  Bytes tag = ReferenceHmac("SHA256", value_, {});
  EXPECT_RV(CKR_OK, P11().C_VerifyFinal(session_, tag.data(), tag.size()));
}

// The error ends the operation.
TEST_F(MacTest, SingleAfterUpdate) {
  CK_BYTE out[32];
  CK_ULONG length = sizeof out;
  BeginSign();
  ASSERT_RV(CKR_OK, P11().C_SignUpdate(session_, data_.data(), data_.size()));
  EXPECT_RV_IN(P11().C_Sign(session_, data_.data(), data_.size(), out, &length),
               CKR_OPERATION_ACTIVE, CKR_OPERATION_NOT_INITIALIZED);
  BeginVerify();
  ASSERT_RV(CKR_OK, P11().C_VerifyUpdate(session_, data_.data(), data_.size()));
  EXPECT_RV_IN(Verify(Bytes(32)), CKR_OPERATION_ACTIVE, CKR_OPERATION_NOT_INITIALIZED);
}

// §5.13.2 and so on: an error ends the operation.
TEST_F(MacTest, BadArgumentsEndSigning) {
  CK_BYTE out[32];
  CK_ULONG length = sizeof out;
  BeginSign();
  EXPECT_RV(CKR_ARGUMENTS_BAD, P11().C_Sign(session_, nullptr, 5, out, &length));
  ExpectNoSigning();
  BeginSign();
  EXPECT_RV(CKR_ARGUMENTS_BAD, P11().C_Sign(session_, data_.data(), 5, out, nullptr));
  ExpectNoSigning();
  BeginSign();
  EXPECT_RV(CKR_ARGUMENTS_BAD, P11().C_SignUpdate(session_, nullptr, 5));
  ExpectNoSigning();
  BeginSign();
  EXPECT_RV(CKR_ARGUMENTS_BAD, P11().C_SignFinal(session_, out, nullptr));
  ExpectNoSigning();
}

TEST_F(MacTest, BadArgumentsEndVerifying) {
  CK_BYTE tag[32] = {};
  BeginVerify();
  EXPECT_RV(CKR_ARGUMENTS_BAD, P11().C_Verify(session_, nullptr, 5, tag, sizeof tag));
  ExpectNoVerifying();
  BeginVerify();
  EXPECT_RV(CKR_ARGUMENTS_BAD, P11().C_Verify(session_, data_.data(), 5, nullptr, sizeof tag));
  ExpectNoVerifying();
  BeginVerify();
  EXPECT_RV(CKR_ARGUMENTS_BAD, P11().C_VerifyUpdate(session_, nullptr, 5));
  ExpectNoVerifying();
  BeginVerify();
  EXPECT_RV(CKR_ARGUMENTS_BAD, P11().C_VerifyFinal(session_, nullptr, sizeof tag));
  ExpectNoVerifying();
}

// §5.15.2: tags of another length; any answer ends the operation.
TEST_F(MacTest, VerifyEnds) {
  const Bytes tag = ReferenceHmac("SHA256", value_, data_);
  for (const size_t size : {0, 1, 31, 33}) {
    Bytes wrong = tag;
    wrong.resize(size);
    wrong.reserve(1);
    BeginVerify();
    EXPECT_RV(CKR_SIGNATURE_LEN_RANGE,
              P11().C_Verify(session_, data_.data(), data_.size(), wrong.data(), size));
    ExpectNoVerifying();
    BeginVerify();
    ASSERT_RV(CKR_OK, P11().C_VerifyUpdate(session_, data_.data(), data_.size()));
    EXPECT_RV(CKR_SIGNATURE_LEN_RANGE, P11().C_VerifyFinal(session_, wrong.data(), size));
    ExpectNoVerifying();
  }
  BeginVerify();
  EXPECT_RV(CKR_OK, Verify(tag));
  ExpectNoVerifying();
  BeginVerify();
  ASSERT_RV(CKR_OK, P11().C_VerifyUpdate(session_, data_.data(), data_.size()));
  Bytes wrong = tag;
  wrong[0] ^= 1;
  EXPECT_RV(CKR_SIGNATURE_INVALID, P11().C_VerifyFinal(session_, wrong.data(), wrong.size()));
  ExpectNoVerifying();
}

}  // namespace
}  // namespace secretmem::conformance
