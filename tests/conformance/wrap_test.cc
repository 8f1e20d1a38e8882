// C_WrapKey and C_UnwrapKey, what they compute: PKCS#11 3.2 §5.18.4 and §5.18.5.
#include <openssl/evp.h>
#include <openssl/x509.h>

#include "tests/conformance/cipher.h"
#include "tests/conformance/fixtures.h"
#include "tests/conformance/x25519.h"

namespace secretmem::conformance {
namespace {

class WrapTest : public UserTest {
 protected:
  void SetUp() override {
    UserTest::SetUp();
    if (HasFatalFailure()) return;
    wrapping_ = ImportKey(session_, CKK_AES, ReferenceRandom(32));
  }

  std::vector<OwnedMechanism> Mechanisms() const {
    std::vector<OwnedMechanism> all;
    for (const CK_MECHANISM_TYPE type :
         {CKM_AES_KEY_WRAP, CKM_AES_KEY_WRAP_PAD, CKM_AES_KEY_WRAP_KWP}) {
      if (HasMechanism(slot_, type, CKF_WRAP)) all.emplace_back(type);
    }
    if (HasMechanism(slot_, CKM_AES_CBC_PAD, CKF_WRAP)) all.emplace_back(CKM_AES_CBC_PAD, iv_);
    if (HasMechanism(slot_, CKM_AES_GCM, CKF_WRAP)) all.push_back(Gcm(iv_, {}, 128));
    return all;
  }

  const Bytes iv_ = ReferenceRandom(16);
  CK_OBJECT_HANDLE wrapping_ = CK_INVALID_HANDLE;
};

TEST_F(WrapTest, SecretKeys) {
  for (const OwnedMechanism& mechanism : Mechanisms()) {
    for (const size_t size : {16, 32, 120}) {
      const Bytes value = ReferenceRandom(size);
      const CK_OBJECT_HANDLE key = ImportKey(session_, CKK_GENERIC_SECRET, value);
      const Result wrapped = Wrap(session_, wrapping_, mechanism, key);
      ASSERT_RV(CKR_OK, wrapped.rv);
      CK_OBJECT_HANDLE unwrapped;
      ASSERT_RV(CKR_OK, Unwrap(session_, wrapping_, mechanism, wrapped.value,
                               UnwrappedTemplate(CKK_GENERIC_SECRET), unwrapped));
      EXPECT_EQ(ReadBytes(session_, unwrapped, CKA_VALUE), value);
      // Even CBC notices this: the padding's last byte is another.
      Bytes damaged = wrapped.value;
      damaged[damaged.size() - 17] ^= 1;
      EXPECT_RV(CKR_WRAPPED_KEY_INVALID, Unwrap(session_, wrapping_, mechanism, damaged,
                                                UnwrappedTemplate(CKK_GENERIC_SECRET), unwrapped));
    }
  }
}

// AES_CBC_PAD is AES_CBC_PAD: what was wrapped can be decrypted.
TEST_F(WrapTest, EqualsEncryption) {
  const Bytes value = ReferenceRandom(20);
  const CK_OBJECT_HANDLE key = ImportKey(session_, CKK_GENERIC_SECRET, value);
  std::vector<OwnedMechanism> mechanisms = {OwnedMechanism(CKM_AES_CBC_PAD, iv_)};
  if (HasMechanism(slot_, CKM_AES_GCM, CKF_WRAP)) mechanisms.push_back(Gcm(iv_, {}, 96));
  for (const OwnedMechanism& mechanism : mechanisms) {
    EXPECT_EQ(Wrap(session_, wrapping_, mechanism, key),
              Encrypt(session_, wrapping_, mechanism, value));
  }
}

// Zeros fill up to the block, and CKA_VALUE_LEN takes them off.
TEST_F(WrapTest, ZeroPadding) {
  Bytes value = ReferenceRandom(20);
  value.back() = 0x5a;
  const CK_OBJECT_HANDLE key = ImportKey(session_, CKK_GENERIC_SECRET, value);
  for (const auto& [mechanism, padded] :
       {std::pair(OwnedMechanism(CKM_AES_KEY_WRAP), 24), {OwnedMechanism(CKM_AES_CBC, iv_), 32}}) {
    const Result wrapped = Wrap(session_, wrapping_, mechanism, key);
    ASSERT_RV(CKR_OK, wrapped.rv);
    CK_OBJECT_HANDLE unwrapped;
    const auto wanted = [](CK_ULONG length) {
      return UnwrappedTemplate(CKK_GENERIC_SECRET).With(CKA_VALUE_LEN, length);
    };
    ASSERT_RV(CKR_OK, Unwrap(session_, wrapping_, mechanism, wrapped.value,
                             UnwrappedTemplate(CKK_GENERIC_SECRET), unwrapped));
    Bytes with_zeros = value;
    with_zeros.resize(static_cast<size_t>(padded));
    EXPECT_EQ(ReadBytes(session_, unwrapped, CKA_VALUE), with_zeros);
    ASSERT_RV(CKR_OK, Unwrap(session_, wrapping_, mechanism, wrapped.value, wanted(20), unwrapped));
    EXPECT_EQ(ReadBytes(session_, unwrapped, CKA_VALUE), value);
    EXPECT_EQ(ReadUlong(session_, unwrapped, CKA_VALUE_LEN), 20U);
    EXPECT_RV(CKR_WRAPPED_KEY_INVALID,
              Unwrap(session_, wrapping_, mechanism, wrapped.value, wanted(19), unwrapped));
    EXPECT_RV(CKR_TEMPLATE_INCONSISTENT,
              Unwrap(session_, wrapping_, mechanism, wrapped.value, wanted(40), unwrapped));
  }
}

// A private key travels as PKCS#8, which OpenSSL reads.
TEST_F(WrapTest, X25519PrivateKey) {
  const Bytes scalar = ReferenceRandom(32);
  const CK_OBJECT_HANDLE key =
      Create(session_, X25519PrivateKey(scalar).With(CKA_EXTRACTABLE, true));
  const OwnedMechanism padded(CKM_AES_CBC_PAD, iv_);
  const Result wrapped = Wrap(session_, wrapping_, padded, key);
  ASSERT_RV(CKR_OK, wrapped.rv);
  const Result der = Decrypt(session_, wrapping_, padded, wrapped.value);
  ASSERT_RV(CKR_OK, der.rv);
  const unsigned char* at = der.value.data();
  EVP_PKEY* parsed = d2i_AutoPrivateKey(nullptr, &at, static_cast<long>(der.value.size()));
  ASSERT_NE(parsed, nullptr);
  Bytes raw(32);
  size_t size = raw.size();
  EXPECT_EQ(EVP_PKEY_get_raw_private_key(parsed, raw.data(), &size), 1);
  EVP_PKEY_free(parsed);
  EXPECT_EQ(raw, scalar);

  for (const OwnedMechanism& mechanism : Mechanisms()) {
    Template wanted;
    wanted.With(CKA_CLASS, CK_ULONG{CKO_PRIVATE_KEY}).With(CKA_KEY_TYPE, X25519KeyType());
    wanted.With(CKA_TOKEN, false).With(CKA_SENSITIVE, false).With(CKA_EXTRACTABLE, true);
    wanted.With(CKA_DERIVE, true);
    CK_OBJECT_HANDLE unwrapped;
    ASSERT_RV(CKR_OK, Unwrap(session_, wrapping_, mechanism,
                             Wrap(session_, wrapping_, mechanism, key).value, wanted, unwrapped));
    EXPECT_EQ(ReadBytes(session_, unwrapped, CKA_VALUE), scalar);
    EXPECT_EQ(ReadBytes(session_, unwrapped, CKA_EC_PARAMS), X25519Params());
    const Bytes peer = ReferencePublicKey(ReferenceRandom(32));
    EXPECT_EQ(DeriveValue(session_, {.base = unwrapped, .peer = peer, .key = SecretTemplate()}),
              ReferenceX25519(scalar, peer));
    // It is no secret key of 48 bytes' length that somebody asks for as a private one.
    wanted.With(CKA_KEY_TYPE, CK_ULONG{CKK_AES});
    EXPECT_RV(CKR_TEMPLATE_INCONSISTENT,
              Unwrap(session_, wrapping_, mechanism, wrapped.value, wanted, unwrapped));
  }
  // Bytes that are no PKCS#8.
  const CK_OBJECT_HANDLE junk = ImportKey(session_, CKK_GENERIC_SECRET, ReferenceRandom(48));
  Template wanted;
  wanted.With(CKA_CLASS, CK_ULONG{CKO_PRIVATE_KEY}).With(CKA_KEY_TYPE, X25519KeyType());
  CK_OBJECT_HANDLE unwrapped;
  EXPECT_RV(CKR_WRAPPED_KEY_INVALID,
            Unwrap(session_, wrapping_, padded, Wrap(session_, wrapping_, padded, junk).value,
                   wanted, unwrapped));
}

// RFC 3394's initial value may be another, KWP's is fixed here.
TEST_F(WrapTest, InitialValues) {
  const CK_OBJECT_HANDLE key = ImportKey(session_, CKK_GENERIC_SECRET, ReferenceRandom(16));
  const Bytes other(8, 0x11);
  const Bytes usual(8, 0xa6);
  const Result wrapped = Wrap(session_, wrapping_, OwnedMechanism(CKM_AES_KEY_WRAP, other), key);
  ASSERT_RV(CKR_OK, wrapped.rv);
  EXPECT_EQ(Wrap(session_, wrapping_, OwnedMechanism(CKM_AES_KEY_WRAP, usual), key),
            Wrap(session_, wrapping_, OwnedMechanism(CKM_AES_KEY_WRAP), key));
  CK_OBJECT_HANDLE unwrapped;
  EXPECT_RV(CKR_WRAPPED_KEY_INVALID,
            Unwrap(session_, wrapping_, OwnedMechanism(CKM_AES_KEY_WRAP), wrapped.value,
                   UnwrappedTemplate(CKK_GENERIC_SECRET), unwrapped));
  EXPECT_RV(CKR_OK, Unwrap(session_, wrapping_, OwnedMechanism(CKM_AES_KEY_WRAP, other),
                           wrapped.value, UnwrappedTemplate(CKK_GENERIC_SECRET), unwrapped));
  EXPECT_RV(CKR_MECHANISM_PARAM_INVALID,
            Wrap(session_, wrapping_, OwnedMechanism(CKM_AES_KEY_WRAP, Bytes(7)), key).rv);
  if (!HasMechanism(slot_, CKM_AES_KEY_WRAP_KWP, CKF_WRAP)) return;
  EXPECT_RV(
      CKR_OK,
      Wrap(session_, wrapping_, OwnedMechanism(CKM_AES_KEY_WRAP_KWP, FromHex("a65959a6")), key).rv);
  EXPECT_RV(CKR_MECHANISM_PARAM_INVALID,
            Wrap(session_, wrapping_, OwnedMechanism(CKM_AES_KEY_WRAP_KWP, Bytes(4)), key).rv);
}

TEST_F(WrapTest, KeySizes) {
  const CK_OBJECT_HANDLE small = ImportKey(session_, CKK_GENERIC_SECRET, Bytes(8, 1));
  EXPECT_RV(CKR_KEY_SIZE_RANGE,
            Wrap(session_, wrapping_, OwnedMechanism(CKM_AES_KEY_WRAP), small).rv);
  // 8 bytes are no AES key.
  const OwnedMechanism padded(CKM_AES_CBC_PAD, iv_);
  const Result wrapped = Wrap(session_, wrapping_, padded, small);
  CK_OBJECT_HANDLE unwrapped;
  EXPECT_RV(CKR_WRAPPED_KEY_INVALID, Unwrap(session_, wrapping_, padded, wrapped.value,
                                            UnwrappedTemplate(CKK_AES), unwrapped));
  for (const size_t size : {0, 1, 8, 16, 23, 25}) {
    EXPECT_RV_IN(Unwrap(session_, wrapping_, OwnedMechanism(CKM_AES_KEY_WRAP), Bytes(size),
                        UnwrappedTemplate(CKK_AES), unwrapped),
                 CKR_WRAPPED_KEY_LEN_RANGE);
  }
}

}  // namespace
}  // namespace secretmem::conformance
