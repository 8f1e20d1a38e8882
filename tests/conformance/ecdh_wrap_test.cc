// Wrapping to the public key of an elliptic curve: PKCS#11 3.2 §6.3.21 to §6.3.23. What is wrapped
// is opened with OpenSSL, and what OpenSSL wraps is unwrapped.
#include <openssl/evp.h>

#include "tests/conformance/fixtures.h"
#include "tests/conformance/kem.h"

namespace secretmem::conformance {
namespace {

OwnedMechanism EcdhAes(CK_MECHANISM_TYPE type, CK_ULONG bits, CK_ULONG kdf = CKD_SHA256_KDF,
                       const Bytes& shared = {}) {
  const CK_ECDH_AES_KEY_WRAP_PARAMS parameters{
      bits, kdf, shared.size(), shared.empty() ? nullptr : const_cast<CK_BYTE*>(shared.data())};
  return OwnedMechanism::Of(type, parameters);
}

// RFC 5649 by OpenSSL; empty if it refuses.
Bytes ReferenceKwp(bool wrap, const Bytes& key, const Bytes& in) {
  const EVP_CIPHER* cipher = key.size() == 16   ? EVP_aes_128_wrap_pad()
                             : key.size() == 24 ? EVP_aes_192_wrap_pad()
                                                : EVP_aes_256_wrap_pad();
  EVP_CIPHER_CTX* context = EVP_CIPHER_CTX_new();
  EVP_CIPHER_CTX_set_flags(context, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
  Bytes out(in.size() + 16);
  int size = 0;
  const bool done =
      EVP_CipherInit_ex(context, cipher, nullptr, key.data(), nullptr, wrap ? 1 : 0) == 1 &&
      EVP_CipherUpdate(context, out.data(), &size, in.data(), static_cast<int>(in.size())) == 1;
  EVP_CIPHER_CTX_free(context);
  out.resize(done ? static_cast<size_t>(size) : 0);
  return out;
}

Bytes First(const Bytes& from, size_t count) {
  return Bytes(from.begin(), from.begin() + static_cast<long>(count));
}
Bytes After(const Bytes& from, size_t count) {
  return Bytes(from.begin() + static_cast<long>(count), from.end());
}

class EcdhWrapTest : public UserTest {
 protected:
  void SetUp() override {
    UserTest::SetUp();
    if (HasFatalFailure()) return;
    if (!HasMechanism(slot_, CKM_ECDH_X_AES_KEY_WRAP, CKF_WRAP | CKF_UNWRAP)) {
      GTEST_SKIP() << "no CKM_ECDH_X_AES_KEY_WRAP";
    }
    to_ = Create(session_, X25519PublicKey(ReferencePublicKey(scalar_)).With(CKA_WRAP, true));
    from_ = Create(session_, X25519PrivateKey(scalar_).With(CKA_UNWRAP, true));
    key_ = ImportKey(session_, CKK_GENERIC_SECRET, value_);
  }

  CK_RV TryUnwrap(OwnedMechanism mechanism, const Bytes& wrapped) {
    const auto before = FindAll(session_);
    CK_OBJECT_HANDLE key = 0;
    const CK_RV rv = Unwrap(session_, from_, std::move(mechanism), wrapped,
                            UnwrappedTemplate(CKK_GENERIC_SECRET), key);
    if (rv != CKR_OK) {
      EXPECT_EQ(FindAll(session_), before);
    }
    return rv;
  }

  const Bytes scalar_ = ReferenceRandom(32);
  const Bytes value_ = ReferenceRandom(37);
  CK_OBJECT_HANDLE to_ = 0;
  CK_OBJECT_HANDLE from_ = 0;
  CK_OBJECT_HANDLE key_ = 0;
};

TEST_F(EcdhWrapTest, X25519) {
  const Bytes info = ToBytes("info");
  for (const CK_MECHANISM_TYPE type : {CKM_ECDH_X_AES_KEY_WRAP, CKM_ECDH_AES_KEY_WRAP}) {
    for (const CK_ULONG bits : {128UL, 192UL, 256UL}) {
      const OwnedMechanism mechanism = EcdhAes(type, bits, CKD_SHA256_KDF, info);
      const Result wrapped = Wrap(session_, to_, mechanism, key_);
      ASSERT_RV(CKR_OK, wrapped.rv);
      ASSERT_EQ(wrapped.value.size(), 32U + 48U);
      const Bytes aes = ReferenceX963("SHA256", ReferenceX25519(scalar_, First(wrapped.value, 32)),
                                      info, bits / 8);
      EXPECT_EQ(ReferenceKwp(false, aes, After(wrapped.value, 32)), value_);
      CK_OBJECT_HANDLE unwrapped = 0;
      ASSERT_RV(CKR_OK, Unwrap(session_, from_, mechanism, wrapped.value,
                               UnwrappedTemplate(CKK_GENERIC_SECRET), unwrapped));
      EXPECT_EQ(ReadBytes(session_, unwrapped, CKA_VALUE), value_);
    }
  }
}

// Without a KDF the AES key is the first bytes of the shared secret.
TEST_F(EcdhWrapTest, NoKdf) {
  const OwnedMechanism mechanism = EcdhAes(CKM_ECDH_X_AES_KEY_WRAP, 128, CKD_NULL);
  const Result wrapped = Wrap(session_, to_, mechanism, key_);
  ASSERT_RV(CKR_OK, wrapped.rv);
  const Bytes shared = ReferenceX25519(scalar_, First(wrapped.value, 32));
  EXPECT_EQ(ReferenceKwp(false, First(shared, 16), After(wrapped.value, 32)), value_);
}

TEST_F(EcdhWrapTest, NistCurves) {
  for (const EcCurve& curve : EcCurves()) {
    SCOPED_TRACE(curve.name);
    const EcKeyPair pair = ReferenceEcKey(curve);
    const CK_OBJECT_HANDLE to =
        Create(session_, EcPublicKey(curve, OctetString(pair.point)).With(CKA_WRAP, true));
    const CK_OBJECT_HANDLE from =
        Create(session_, EcPrivateKey(curve, pair.scalar).With(CKA_UNWRAP, true));
    const size_t point = 1 + 2 * curve.bytes;
    for (const CK_MECHANISM_TYPE type : {CKM_ECDH_COF_AES_KEY_WRAP, CKM_ECDH_AES_KEY_WRAP}) {
      const OwnedMechanism mechanism = EcdhAes(type, 256);
      const Result wrapped = Wrap(session_, to, mechanism, key_);
      ASSERT_RV(CKR_OK, wrapped.rv);
      const Bytes sent = First(wrapped.value, wrapped.value.size() - 48);
      ASSERT_GE(sent.size(), point);
      const Bytes raw = After(sent, sent.size() - point);
      EXPECT_EQ(sent, type == CKM_ECDH_AES_KEY_WRAP ? raw : OctetString(raw));
      const Bytes aes = ReferenceX963("SHA256", ReferenceEcdh(curve, pair.scalar, raw), {}, 32);
      const Bytes sealed = After(wrapped.value, sent.size());
      EXPECT_EQ(ReferenceKwp(false, aes, sealed), value_);
      // Both forms of the point.
      for (Bytes form : {raw, OctetString(raw)}) {
        form.insert(form.end(), sealed.begin(), sealed.end());
        CK_OBJECT_HANDLE unwrapped = 0;
        ASSERT_RV(CKR_OK, Unwrap(session_, from, mechanism, form,
                                 UnwrappedTemplate(CKK_GENERIC_SECRET), unwrapped));
        EXPECT_EQ(ReadBytes(session_, unwrapped, CKA_VALUE), value_);
      }
    }
    EXPECT_RV(CKR_WRAPPING_KEY_TYPE_INCONSISTENT,
              Wrap(session_, to, EcdhAes(CKM_ECDH_X_AES_KEY_WRAP, 256), key_).rv);
  }
  EXPECT_RV(CKR_WRAPPING_KEY_TYPE_INCONSISTENT,
            Wrap(session_, to_, EcdhAes(CKM_ECDH_COF_AES_KEY_WRAP, 256), key_).rv);
}

TEST_F(EcdhWrapTest, PrivateKey) {
  const Bytes scalar = ReferenceRandom(32);
  const CK_OBJECT_HANDLE key =
      Create(session_, X25519PrivateKey(scalar).With(CKA_EXTRACTABLE, true));
  const OwnedMechanism mechanism = EcdhAes(CKM_ECDH_X_AES_KEY_WRAP, 256);
  const Result wrapped = Wrap(session_, to_, mechanism, key);
  ASSERT_RV(CKR_OK, wrapped.rv);
  Template wanted;
  wanted.With(CKA_CLASS, CK_ULONG{CKO_PRIVATE_KEY}).With(CKA_KEY_TYPE, X25519KeyType());
  wanted.With(CKA_TOKEN, false).With(CKA_SENSITIVE, false).With(CKA_EXTRACTABLE, true);
  CK_OBJECT_HANDLE unwrapped = 0;
  ASSERT_RV(CKR_OK, Unwrap(session_, from_, mechanism, wrapped.value, wanted, unwrapped));
  EXPECT_EQ(ReadBytes(session_, unwrapped, CKA_VALUE), scalar);
}

// Every byte counts, and nothing tells which one was wrong.
TEST_F(EcdhWrapTest, Damaged) {
  const OwnedMechanism mechanism = EcdhAes(CKM_ECDH_X_AES_KEY_WRAP, 256);
  const Result wrapped = Wrap(session_, to_, mechanism, key_);
  ASSERT_RV(CKR_OK, wrapped.rv);
  for (size_t i = 0; i < wrapped.value.size(); ++i) {
    Bytes damaged = wrapped.value;
    damaged[i] ^= 4;
    EXPECT_RV(CKR_WRAPPED_KEY_INVALID, TryUnwrap(mechanism, damaged)) << i;
  }
  for (const size_t size : {0U, 31U, 32U, 40U, 47U, 49U, 79U}) {
    EXPECT_RV(CKR_WRAPPED_KEY_LEN_RANGE, TryUnwrap(mechanism, First(wrapped.value, size))) << size;
  }
  Bytes small = wrapped.value;
  std::fill_n(small.begin(), 32, CK_BYTE{0});
  EXPECT_RV(CKR_WRAPPED_KEY_INVALID, TryUnwrap(mechanism, small));
  EXPECT_RV(CKR_WRAPPED_KEY_INVALID,
            TryUnwrap(EcdhAes(CKM_ECDH_X_AES_KEY_WRAP, 128), wrapped.value));
  EXPECT_RV(CKR_WRAPPED_KEY_INVALID,
            TryUnwrap(EcdhAes(CKM_ECDH_X_AES_KEY_WRAP, 256, CKD_SHA512_KDF), wrapped.value));
}

TEST_F(EcdhWrapTest, BadParameters) {
  for (const OwnedMechanism& mechanism :
       {EcdhAes(CKM_ECDH_X_AES_KEY_WRAP, 0), EcdhAes(CKM_ECDH_X_AES_KEY_WRAP, 255),
        EcdhAes(CKM_ECDH_X_AES_KEY_WRAP, 512), EcdhAes(CKM_ECDH_X_AES_KEY_WRAP, 256, 0),
        EcdhAes(CKM_ECDH_X_AES_KEY_WRAP, 256, CKD_NULL, Bytes(1)),
        OwnedMechanism(CKM_ECDH_X_AES_KEY_WRAP),
        OwnedMechanism(CKM_ECDH_X_AES_KEY_WRAP, Bytes(31))}) {
    EXPECT_RV(CKR_MECHANISM_PARAM_INVALID, Wrap(session_, to_, mechanism, key_).rv);
    EXPECT_RV(CKR_MECHANISM_PARAM_INVALID, TryUnwrap(mechanism, Bytes(80)));
  }
  const CK_OBJECT_HANDLE small = Create(session_, X25519PublicKey(Bytes(32)).With(CKA_WRAP, true));
  EXPECT_RV(CKR_PUBLIC_KEY_INVALID,
            Wrap(session_, small, EcdhAes(CKM_ECDH_X_AES_KEY_WRAP, 256), key_).rv);
}

}  // namespace
}  // namespace secretmem::conformance
