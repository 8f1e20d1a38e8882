// Message digesting: PKCS#11 3.1 §5.12 and §6.20 to §6.24.
#include <algorithm>

#include "tests/conformance/fixtures.h"
#include "tests/conformance/macs.h"
#include "tests/conformance/x25519.h"

namespace secretmem::conformance {
namespace {

class DigestTest : public SessionTest {
 protected:
  CK_RV Init(CK_MECHANISM_TYPE type) {
    CK_MECHANISM mechanism{type, nullptr, 0};
    return P11().C_DigestInit(session_, &mechanism);
  }

  void Begin() { ASSERT_RV(CKR_OK, Init(CKM_SHA256)); }

  CK_RV Update(Bytes data) { return P11().C_DigestUpdate(session_, data.data(), data.size()); }

  // What an operation that has not begun, or has ended, answers.
  void ExpectNone() {
    CK_BYTE out[64];
    CK_ULONG length = sizeof out;
    EXPECT_RV(CKR_OPERATION_NOT_INITIALIZED, P11().C_DigestUpdate(session_, data_.data(), 1));
    EXPECT_RV(CKR_OPERATION_NOT_INITIALIZED, P11().C_DigestFinal(session_, out, &length));
    EXPECT_EQ(length, sizeof out);
  }

  // The end of a multi-part operation with SHA-256 over `data`.
  void ExpectFinal(const Bytes& data) {
    Bytes out(32);
    CK_ULONG length = out.size();
    EXPECT_RV(CKR_OK, P11().C_DigestFinal(session_, out.data(), &length));
    EXPECT_EQ(length, 32U);
    EXPECT_EQ(out, ReferenceDigest("SHA256", data));
    ExpectNone();
  }

  Bytes data_ = ToBytes("The quick brown fox jumps over the lazy dog");
};

class DigestHashTest : public DigestTest, public testing::WithParamInterface<Hash> {
 protected:
  void SetUp() override {
    DigestTest::SetUp();
    if (!Offers(GetParam().digest)) GTEST_SKIP() << "no such mechanism";
  }
};

TEST_P(DigestHashTest, Info) {
  CK_MECHANISM_INFO info{1, 1, 1};
  ASSERT_RV(CKR_OK, P11().C_GetMechanismInfo(slot_, GetParam().digest, &info));
  EXPECT_EQ(info.flags, CKF_DIGEST);
}

// Lengths around the block sizes, in one part and in uneven ones.
TEST_P(DigestHashTest, EqualsReference) {
  for (const size_t size : {0, 1, 55, 56, 63, 64, 65, 111, 112, 127, 128, 129, 1000}) {
    Bytes data = ReferenceRandom(std::max<size_t>(size, 1));
    data.resize(size);
    const Bytes expected = ReferenceDigest(GetParam().name, data);
    SCOPED_TRACE(size);
    Bytes out(GetParam().size);
    CK_ULONG length = out.size();
    ASSERT_RV(CKR_OK, Init(GetParam().digest));
    EXPECT_RV(CKR_OK, P11().C_Digest(session_, data.data(), size, out.data(), &length));
    EXPECT_EQ(length, out.size());
    EXPECT_EQ(out, expected);

    ASSERT_RV(CKR_OK, Init(GetParam().digest));
    for (size_t at = 0, part = 1; at < size; at += part, part = part * 3 + 1) {
      part = std::min(part, size - at);
      EXPECT_RV(CKR_OK, P11().C_DigestUpdate(session_, data.data() + at, part));
    }
    std::ranges::fill(out, CK_BYTE{0});
    EXPECT_RV(CKR_OK, P11().C_DigestFinal(session_, out.data(), &length));
    EXPECT_EQ(out, expected);
  }
}

INSTANTIATE_TEST_SUITE_P(Hashes, DigestHashTest,
                         testing::ValuesIn(AllHashes().begin(), AllHashes().end()),
                         [](const auto& test) {
                           std::string name = test.param.name;
                           std::erase(name, '-');
                           return name;
                         });

TEST_F(DigestTest, InitArguments) {
  EXPECT_RV(CKR_ARGUMENTS_BAD, P11().C_DigestInit(session_, nullptr));
  EXPECT_RV(CKR_MECHANISM_INVALID, Init(CKM_VENDOR_DEFINED));
  // A mechanism of the module's, but for something else.
  EXPECT_RV(CKR_MECHANISM_INVALID, Init(CKM_SHA256_HMAC));
  EXPECT_RV(CKR_MECHANISM_INVALID, Init(CKM_ECDH1_DERIVE));
  ExpectNone();
}

// §6.20.2: it has no parameter.
TEST_F(DigestTest, ParameterNotAllowed) {
  CK_BYTE parameter[4] = {};
  CK_MECHANISM mechanism{CKM_SHA256, parameter, sizeof parameter};
  EXPECT_RV(CKR_MECHANISM_PARAM_INVALID, P11().C_DigestInit(session_, &mechanism));
  mechanism = {CKM_SHA256, nullptr, sizeof parameter};
  EXPECT_RV(CKR_MECHANISM_PARAM_INVALID, P11().C_DigestInit(session_, &mechanism));
  ExpectNone();
}

TEST_F(DigestTest, NoOperation) {
  CK_BYTE out[64];
  CK_ULONG length = sizeof out;
  EXPECT_RV(CKR_OPERATION_NOT_INITIALIZED,
            P11().C_Digest(session_, data_.data(), data_.size(), out, &length));
  EXPECT_RV(CKR_OPERATION_NOT_INITIALIZED, P11().C_DigestKey(session_, 1));
  ExpectNone();
}

// A second Init leaves the first operation as it is.
TEST_F(DigestTest, TwoInits) {
  Begin();
  ASSERT_RV(CKR_OK, Update(data_));
  EXPECT_RV(CKR_OPERATION_ACTIVE, Init(CKM_SHA256));
  EXPECT_RV(CKR_OPERATION_ACTIVE, Init(CKM_SHA512));
  ExpectFinal(data_);
}

// §5.2: asking for the length, and a buffer too small, keep the operation.
TEST_F(DigestTest, SingleBufferSizes) {
  Begin();
  CK_ULONG length = 0;
  EXPECT_RV(CKR_OK, P11().C_Digest(session_, data_.data(), data_.size(), nullptr, &length));
  EXPECT_EQ(length, 32U);
  Bytes out(40, 0xee);
  for (const CK_ULONG room : {0, 1, 31}) {
    length = room;
    EXPECT_RV(CKR_BUFFER_TOO_SMALL,
              P11().C_Digest(session_, data_.data(), data_.size(), out.data(), &length));
    EXPECT_EQ(length, 32U);
    EXPECT_EQ(out, Bytes(40, 0xee));
  }
  length = out.size();
  EXPECT_RV(CKR_OK, P11().C_Digest(session_, data_.data(), data_.size(), out.data(), &length));
  EXPECT_EQ(length, 32U);
  Bytes expected = ReferenceDigest("SHA256", data_);
  expected.resize(40, 0xee);
  EXPECT_EQ(out, expected);
  ExpectNone();
}

TEST_F(DigestTest, FinalBufferSizes) {
  Begin();
  ASSERT_RV(CKR_OK, Update(data_));
  CK_ULONG length = 0;
  EXPECT_RV(CKR_OK, P11().C_DigestFinal(session_, nullptr, &length));
  EXPECT_EQ(length, 32U);
  CK_BYTE out[32];
  for (const CK_ULONG room : {0, 1, 31}) {
    length = room;
    EXPECT_RV(CKR_BUFFER_TOO_SMALL, P11().C_DigestFinal(session_, out, &length));
    EXPECT_EQ(length, 32U);
  }
  ExpectFinal(data_);
}

// The digest may overwrite its input.
TEST_F(DigestTest, InPlace) {
  Begin();
  Bytes buffer = data_;
  CK_ULONG length = buffer.size();
  EXPECT_RV(CKR_OK, P11().C_Digest(session_, buffer.data(), buffer.size(), buffer.data(), &length));
  buffer.resize(length);
  EXPECT_EQ(buffer, ReferenceDigest("SHA256", data_));
}

// §5.12.3: parts of no bytes are parts.
TEST_F(DigestTest, EmptyParts) {
  Begin();
  EXPECT_RV(CKR_OK, P11().C_DigestUpdate(session_, data_.data(), 0));
  EXPECT_RV(CKR_OK, P11().C_DigestUpdate(session_, nullptr, 0));
  ExpectFinal({});
}

// §5.12.2: C_Digest cannot be used to end a multi-part operation. The error ends it.
TEST_F(DigestTest, SingleAfterUpdate) {
  Begin();
  ASSERT_RV(CKR_OK, Update(data_));
  CK_BYTE out[32];
  CK_ULONG length = sizeof out;
  EXPECT_RV_IN(P11().C_Digest(session_, data_.data(), data_.size(), out, &length),
               CKR_OPERATION_ACTIVE, CKR_OPERATION_NOT_INITIALIZED);
}

// §5.12.2, §5.12.5: an error ends the operation.
TEST_F(DigestTest, BadArgumentsEndSingle) {
  CK_BYTE out[32];
  CK_ULONG length = sizeof out;
  Begin();
  EXPECT_RV(CKR_ARGUMENTS_BAD, P11().C_Digest(session_, nullptr, 5, out, &length));
  ExpectNone();
  Begin();
  EXPECT_RV(CKR_ARGUMENTS_BAD, P11().C_Digest(session_, data_.data(), data_.size(), out, nullptr));
  ExpectNone();
}

TEST_F(DigestTest, BadArgumentsEndMultiPart) {
  Begin();
  EXPECT_RV(CKR_ARGUMENTS_BAD, P11().C_DigestUpdate(session_, nullptr, 5));
  ExpectNone();
  Begin();
  CK_BYTE out[32];
  EXPECT_RV(CKR_ARGUMENTS_BAD, P11().C_DigestFinal(session_, out, nullptr));
  ExpectNone();
}

// §5.12.4: C_DigestKey adds a secret key's value, between and beside other parts.
TEST_F(DigestTest, Key) {
  const Bytes value = ReferenceRandom(40);
  const CK_OBJECT_HANDLE key = Create(session_, SecretObject(value));
  Begin();
  EXPECT_RV(CKR_OK, Update(data_));
  EXPECT_RV(CKR_OK, P11().C_DigestKey(session_, key));
  EXPECT_RV(CKR_OK, Update(data_));
  Bytes all = data_;
  all.insert(all.end(), value.begin(), value.end());
  all.insert(all.end(), data_.begin(), data_.end());
  ExpectFinal(all);
}

// §5.12.4: unlike the other functions' errors, this one's do not end the operation.
TEST_F(DigestTest, KeyThatIsNone) {
  Begin();
  ASSERT_RV(CKR_OK, Update(data_));
  EXPECT_RV(CKR_KEY_HANDLE_INVALID, P11().C_DigestKey(session_, CK_INVALID_HANDLE));
  EXPECT_RV(CKR_KEY_HANDLE_INVALID, P11().C_DigestKey(session_, 0xffffff));
  ExpectFinal(data_);
}

// §5.12.4: other keys cannot be digested.
TEST_F(DigestTest, KeyThatIsNotSecret) {
  const CK_OBJECT_HANDLE public_key =
      Create(session_, X25519PublicKey(ReferencePublicKey(ReferenceRandom(32))));
  Begin();
  EXPECT_RV(CKR_KEY_INDIGESTIBLE, P11().C_DigestKey(session_, public_key));
}

TEST_F(DigestTest, KeyThatIsNotAKey) {
  const CK_OBJECT_HANDLE data = Create(session_, DataObject("digest"));
  Begin();
  EXPECT_RV_IN(P11().C_DigestKey(session_, data), CKR_KEY_HANDLE_INVALID, CKR_KEY_INDIGESTIBLE);
}

// A digest goes on whoever logs in and out.
TEST_F(DigestTest, LoginAndLogout) {
  Begin();
  ASSERT_RV(CKR_OK, Update(data_));
  ASSERT_RV(CKR_OK, Login(session_, CKU_USER, UserPin()));
  ASSERT_RV(CKR_OK, P11().C_Logout(session_));
  ExpectFinal(data_);
}

// Each session has its own.
TEST_F(DigestTest, SessionsApart) {
  const CK_SESSION_HANDLE other = Open(kReadOnly);
  Begin();
  ASSERT_RV(CKR_OK, Update(data_));
  CK_MECHANISM mechanism{CKM_SHA_1, nullptr, 0};
  ASSERT_RV(CKR_OK, P11().C_DigestInit(other, &mechanism));
  ASSERT_RV(CKR_OK, P11().C_CloseSession(other));
  ExpectFinal(data_);
}

}  // namespace
}  // namespace secretmem::conformance
