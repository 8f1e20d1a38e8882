// Keys wrapped by RSA keys (PKCS#11 3.2 §6.1.6, §6.1.8 and §6.1.22), and signatures that contain
// their data (§5.13, §5.15).
#include <openssl/evp.h>

#include <algorithm>
#include <functional>

#include "tests/conformance/cipher.h"
#include "tests/conformance/ec.h"
#include "tests/conformance/fixtures.h"
#include "tests/conformance/pkey.h"
#include "tests/conformance/rsa.h"

namespace secretmem::conformance {
namespace {

const RsaNumbers& Numbers() {
  static const RsaNumbers& numbers =
      *new RsaNumbers(RsaNumbersOf(Pkcs8Of(GeneratePkey("RSA", "2048").get())));
  return numbers;
}

class RsaWrapTest : public UserTest {
 protected:
  void SetUp() override {
    UserTest::SetUp();
    if (HasFatalFailure()) return;
    const RsaNumbers& numbers = Numbers();
    public_ = Create(
        session_,
        RsaPublicKey(numbers.n, numbers.e).With(CKA_WRAP, true).With(CKA_VERIFY_RECOVER, true));
    private_ = Create(session_,
                      RsaPrivateKey(numbers).With(CKA_UNWRAP, true).With(CKA_SIGN_RECOVER, true));
  }

  OwnedMechanism OaepMechanism(const Bytes& label) const {
    const RsaHash& sha256 = *FindRsaHash("SHA-256");
    return OwnedMechanism(CKM_RSA_PKCS_OAEP, Oaep(sha256, sha256, label).parameter);
  }

  CK_RV UnwrapWith(const OwnedMechanism& mechanism, const Bytes& wrapped, const Template& wanted,
                   Bytes& value) {
    CK_OBJECT_HANDLE key = 0;
    const CK_RV rv = Unwrap(session_, private_, mechanism, wrapped, wanted, key);
    value = rv == CKR_OK ? ReadBytes(session_, key, CKA_VALUE) : Bytes{};
    return rv;
  }

  const OwnedMechanism pkcs1_{CKM_RSA_PKCS};
  CK_OBJECT_HANDLE public_ = 0;
  CK_OBJECT_HANDLE private_ = 0;
};

TEST_F(RsaWrapTest, SecretKeysBothWays) {
  const Bytes label = ToBytes("a label");
  struct Case {
    OwnedMechanism mechanism;
    const char* hash;
    Bytes label;
    size_t room;
  };
  for (const Case& its : {Case{pkcs1_, "", {}, 245}, Case{OaepMechanism({}), "SHA256", {}, 190},
                          Case{OaepMechanism(label), "SHA256", label, 190}}) {
    for (const size_t size : {size_t{1}, size_t{16}, size_t{32}, its.room}) {
      const Bytes value = ReferenceRandom(size);
      const CK_OBJECT_HANDLE key = ImportKey(session_, CKK_GENERIC_SECRET, value);
      const Result wrapped = Wrap(session_, public_, its.mechanism, key);
      ASSERT_RV(CKR_OK, wrapped.rv);
      EXPECT_EQ(ReferenceRsaDecrypt(Numbers(), its.hash, its.hash, its.label, wrapped.value),
                value);
      Bytes unwrapped;
      ASSERT_RV(CKR_OK,
                UnwrapWith(its.mechanism,
                           ReferenceRsaEncrypt(Numbers(), its.hash, its.hash, its.label, value),
                           UnwrappedTemplate(CKK_GENERIC_SECRET), unwrapped));
      EXPECT_EQ(unwrapped, value);
    }
    const CK_OBJECT_HANDLE large = ImportKey(session_, CKK_GENERIC_SECRET, Bytes(its.room + 1, 1));
    EXPECT_RV(CKR_KEY_SIZE_RANGE, Wrap(session_, public_, its.mechanism, large).rv);
    Bytes unwrapped;
    for (const size_t size : {0, 1, 255, 257}) {
      EXPECT_RV(CKR_WRAPPED_KEY_LEN_RANGE,
                UnwrapWith(its.mechanism, Bytes(size, 1), UnwrappedTemplate(CKK_GENERIC_SECRET),
                           unwrapped));
    }
    // Above the modulus.
    EXPECT_RV(CKR_WRAPPED_KEY_INVALID,
              UnwrapWith(its.mechanism, Bytes(256, 0xff), UnwrappedTemplate(CKK_GENERIC_SECRET),
                         unwrapped));
  }
}

TEST_F(RsaWrapTest, OaepRefusals) {
  const CK_OBJECT_HANDLE key = ImportKey(session_, CKK_AES, ReferenceRandom(32));
  const OwnedMechanism plain = OaepMechanism({});
  const Result wrapped = Wrap(session_, public_, plain, key);
  ASSERT_RV(CKR_OK, wrapped.rv);
  Bytes damaged = wrapped.value;
  damaged[100] ^= 1;
  Bytes value;
  EXPECT_RV(CKR_WRAPPED_KEY_INVALID, UnwrapWith(plain, damaged, UnwrappedTemplate(CKK_AES), value));
  const Bytes label = ToBytes("other");
  EXPECT_RV(CKR_WRAPPED_KEY_INVALID,
            UnwrapWith(OaepMechanism(label), wrapped.value, UnwrappedTemplate(CKK_AES), value));
  for (const size_t size : {0, 1, 39, 41}) {
    EXPECT_RV(CKR_MECHANISM_PARAM_INVALID,
              Wrap(session_, public_, OwnedMechanism(CKM_RSA_PKCS_OAEP, Bytes(size)), key).rv);
  }
  EXPECT_RV(CKR_MECHANISM_PARAM_INVALID,
            Wrap(session_, public_, OwnedMechanism(CKM_RSA_PKCS, Bytes(1)), key).rv);
  // The wrong half, and the wrong type.
  EXPECT_RV(CKR_WRAPPING_KEY_TYPE_INCONSISTENT,
            Wrap(session_, ImportKey(session_, CKK_AES, Bytes(16, 1)), plain, key).rv);
  CK_OBJECT_HANDLE none = 0;
  EXPECT_RV(CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT,
            Unwrap(session_, ImportKey(session_, CKK_AES, Bytes(16, 1)), plain, wrapped.value,
                   UnwrappedTemplate(CKK_AES), none));
}

// These two take secret keys only: what a private key's encoding says would tell of the padding.
TEST_F(RsaWrapTest, PrivateKeysAreRefused) {
  const CK_OBJECT_HANDLE seed =
      Create(session_, Ed25519PrivateKey(ReferenceRandom(32)).With(CKA_EXTRACTABLE, true));
  Template wanted = Template()
                        .With(CKA_CLASS, CK_ULONG{CKO_PRIVATE_KEY})
                        .With(CKA_KEY_TYPE, CK_ULONG{CKK_EC_EDWARDS});
  for (const OwnedMechanism& mechanism : {pkcs1_, OaepMechanism({})}) {
    EXPECT_RV(CKR_KEY_NOT_WRAPPABLE, Wrap(session_, public_, mechanism, seed).rv);
    CK_OBJECT_HANDLE key = 0;
    EXPECT_RV(CKR_TEMPLATE_INCONSISTENT,
              Unwrap(session_, private_, mechanism, Bytes(256, 1), wanted, key));
  }
}

// A wrong padding, and a key of a wrong length, yield another key, the same every time.
TEST_F(RsaWrapTest, ImplicitRejection) {
  Template aes128 = UnwrappedTemplate(CKK_AES);
  aes128.With(CKA_VALUE_LEN, CK_ULONG{16});
  Template generic20 = UnwrappedTemplate(CKK_GENERIC_SECRET);
  generic20.With(CKA_VALUE_LEN, CK_ULONG{20});
  struct Case {
    Template wanted;
    std::function<bool(size_t)> plausible;
  };
  const Case cases[] = {
      {aes128, [](size_t size) { return size == 16; }},
      {generic20, [](size_t size) { return size == 20; }},
      {UnwrappedTemplate(CKK_CHACHA20), [](size_t size) { return size == 32; }},
      {UnwrappedTemplate(CKK_AES),
       [](size_t size) { return size == 16 || size == 24 || size == 32; }},
      {UnwrappedTemplate(CKK_GENERIC_SECRET), [](size_t size) { return size >= 1 && size <= 245; }},
  };
  // A good padding of a length that only the last one takes, and bad ones.
  const Bytes good = ReferenceRsaEncrypt(Numbers(), "", "", {}, Bytes(19, 0x77));
  std::vector<Bytes> bad;
  for (CK_BYTE i = 1; i <= 40; ++i) {
    Bytes number(256, i);
    number[0] = 0;
    bad.push_back(number);
  }
  for (const Case& its : cases) {
    for (const Bytes& wrapped : bad) {
      Bytes first, second;
      ASSERT_RV(CKR_OK, UnwrapWith(pkcs1_, wrapped, its.wanted, first));
      ASSERT_RV(CKR_OK, UnwrapWith(pkcs1_, wrapped, its.wanted, second));
      EXPECT_TRUE(its.plausible(first.size())) << first.size();
      EXPECT_EQ(first, second);
    }
    Bytes value;
    ASSERT_RV(CKR_OK, UnwrapWith(pkcs1_, good, its.wanted, value));
    EXPECT_TRUE(its.plausible(value.size())) << value.size();
    EXPECT_EQ(value == Bytes(19, 0x77), its.plausible(19));
  }
  // An empty key is a wrong padding, too.
  Bytes value;
  ASSERT_RV(CKR_OK, UnwrapWith(pkcs1_, ReferenceRsaEncrypt(Numbers(), "", "", {}, {}),
                               UnwrappedTemplate(CKK_GENERIC_SECRET), value));
  EXPECT_NE(value.size(), 0U);
  // Lengths that no padding leaves room for.
  for (const CK_ULONG size : {CK_ULONG{246}, ~CK_ULONG{0}}) {
    Template wanted = UnwrappedTemplate(CKK_GENERIC_SECRET);
    wanted.With(CKA_VALUE_LEN, size);
    EXPECT_RV(CKR_WRAPPED_KEY_LEN_RANGE, UnwrapWith(pkcs1_, good, wanted, value));
  }
}

class RsaAesWrapTest : public RsaWrapTest {
 protected:
  void SetUp() override {
    RsaWrapTest::SetUp();
    if (!Offers(CKM_RSA_AES_KEY_WRAP)) GTEST_SKIP() << "no CKM_RSA_AES_KEY_WRAP";
  }

  OwnedMechanism Combined(CK_ULONG bits) {
    return OwnedMechanism::Of(CKM_RSA_AES_KEY_WRAP, CK_RSA_AES_KEY_WRAP_PARAMS{bits, &oaep_});
  }

  CK_RSA_PKCS_OAEP_PARAMS oaep_{CKM_SHA256, CKG_MGF1_SHA256, CKZ_DATA_SPECIFIED, nullptr, 0};
};

// What a cloud's import takes: OAEP of an AES key, then KWP of the PKCS#8 encoding.
TEST_F(RsaAesWrapTest, MadeByOpenSsl) {
  const Pkey target = GeneratePkey("EC", "prime256v1");
  const Bytes der = Pkcs8Of(target.get());
  for (const CK_ULONG bits : {CK_ULONG{128}, CK_ULONG{192}, CK_ULONG{256}}) {
    const Bytes aes = ReferenceRandom(bits / 8);
    const char* cipher = bits == 128   ? "id-aes128-wrap-pad"
                         : bits == 192 ? "id-aes192-wrap-pad"
                                       : "id-aes256-wrap-pad";
    const Bytes wrapped = Concat({ReferenceRsaEncrypt(Numbers(), "SHA256", "SHA256", {}, aes),
                                  ReferenceKeyWrap(cipher, aes, der, true)});
    Template wanted = Template()
                          .With(CKA_CLASS, CK_ULONG{CKO_PRIVATE_KEY})
                          .With(CKA_KEY_TYPE, CK_ULONG{CKK_EC})
                          .With(CKA_TOKEN, false)
                          .With(CKA_EXTRACTABLE, true);
    CK_OBJECT_HANDLE key = 0;
    ASSERT_RV(CKR_OK, Unwrap(session_, private_, Combined(bits), wrapped, wanted, key));
    EXPECT_EQ(ReadBytes(session_, key, CKA_PUBLIC_KEY_INFO), PublicKeyInfoOf(target.get()));
    const Result again = Wrap(session_, public_, Combined(bits), key);
    ASSERT_RV(CKR_OK, again.rv);
    const auto middle = again.value.begin() + 256;
    const Bytes inner =
        ReferenceRsaDecrypt(Numbers(), "SHA256", "SHA256", {}, Bytes(again.value.begin(), middle));
    EXPECT_EQ(inner.size(), bits / 8);
    EXPECT_EQ(ReferenceKeyWrap(cipher, inner, Bytes(middle, again.value.end()), false), der);

    for (const size_t at : {size_t{20}, size_t{300}}) {
      Bytes damaged = wrapped;
      damaged[at] ^= 1;
      EXPECT_RV(CKR_WRAPPED_KEY_INVALID,
                Unwrap(session_, private_, Combined(bits), damaged, wanted, key));
    }
    EXPECT_RV(CKR_WRAPPED_KEY_INVALID,
              Unwrap(session_, private_, Combined(bits == 128 ? 256 : 128), wrapped, wanted, key));
    for (const size_t size : {size_t{0}, size_t{255}, size_t{256}}) {
      EXPECT_RV(CKR_WRAPPED_KEY_LEN_RANGE,
                Unwrap(session_, private_, Combined(bits), Bytes(size), wanted, key));
    }
  }
}

TEST_F(RsaAesWrapTest, Parameters) {
  const CK_OBJECT_HANDLE key = ImportKey(session_, CKK_AES, ReferenceRandom(32));
  for (const CK_ULONG bits : {CK_ULONG{0}, CK_ULONG{16}, CK_ULONG{160}, ~CK_ULONG{0}}) {
    EXPECT_RV(CKR_MECHANISM_PARAM_INVALID, Wrap(session_, public_, Combined(bits), key).rv);
  }
  const auto refused = [&](const OwnedMechanism& mechanism) {
    EXPECT_RV(CKR_MECHANISM_PARAM_INVALID, Wrap(session_, public_, mechanism, key).rv);
  };
  refused(OwnedMechanism::Of(CKM_RSA_AES_KEY_WRAP, CK_RSA_AES_KEY_WRAP_PARAMS{256, nullptr}));
  for (const size_t size : {0, 1, 15, 17}) {
    refused(OwnedMechanism(CKM_RSA_AES_KEY_WRAP, Bytes(size)));
  }
  oaep_.hashAlg = CKM_AES_CBC;
  refused(Combined(256));
  oaep_.hashAlg = CKM_SHA256;
  oaep_.ulSourceDataLen = 1;
  refused(Combined(256));
}

class RecoverTest : public RsaWrapTest {
 protected:
  Result SignRecover(CK_MECHANISM_TYPE type, Bytes data) {
    CK_MECHANISM mechanism{type, nullptr, 0};
    if (const CK_RV rv = P11().C_SignRecoverInit(session_, &mechanism, private_); rv != CKR_OK) {
      return {rv, {}};
    }
    data.reserve(1);
    Result result{CKR_OK, Bytes(256)};
    CK_ULONG length = 0;
    EXPECT_RV(CKR_OK, P11().C_SignRecover(session_, data.data(), data.size(), nullptr, &length));
    EXPECT_EQ(length, 256U);
    length = 255;
    EXPECT_RV(CKR_BUFFER_TOO_SMALL, P11().C_SignRecover(session_, data.data(), data.size(),
                                                        result.value.data(), &length));
    EXPECT_EQ(length, 256U);
    result.rv =
        P11().C_SignRecover(session_, data.data(), data.size(), result.value.data(), &length);
    if (result.rv != CKR_OK) result.value.clear();
    // It is over either way.
    EXPECT_RV(CKR_OPERATION_NOT_INITIALIZED,
              P11().C_SignRecover(session_, data.data(), data.size(), nullptr, &length));
    return result;
  }

  Result VerifyRecover(CK_MECHANISM_TYPE type, Bytes signature, size_t longest) {
    CK_MECHANISM mechanism{type, nullptr, 0};
    if (const CK_RV rv = P11().C_VerifyRecoverInit(session_, &mechanism, public_); rv != CKR_OK) {
      return {rv, {}};
    }
    Result result{CKR_OK, Bytes(256)};
    CK_ULONG length = 0;
    EXPECT_RV(CKR_OK, P11().C_VerifyRecover(session_, signature.data(), signature.size(), nullptr,
                                            &length));
    EXPECT_EQ(length, longest);
    length = result.value.size();
    result.rv = P11().C_VerifyRecover(session_, signature.data(), signature.size(),
                                      result.value.data(), &length);
    result.value.resize(result.rv == CKR_OK ? length : 0);
    EXPECT_RV(
        CKR_OPERATION_NOT_INITIALIZED,
        P11().C_VerifyRecover(session_, signature.data(), signature.size(), nullptr, &length));
    return result;
  }
};

TEST_F(RecoverTest, Pkcs1) {
  for (const size_t size : {0, 1, 35, 245}) {
    const Bytes data = ReferenceRandom(size);
    const Result signature = SignRecover(CKM_RSA_PKCS, data);
    ASSERT_RV(CKR_OK, signature.rv);
    // The same signature as C_Sign's.
    EXPECT_EQ(RsaSign(session_, {CKM_RSA_PKCS}, private_, data).bytes, signature.value);
    EXPECT_EQ(VerifyRecover(CKM_RSA_PKCS, signature.value, 245), (Result{CKR_OK, data}));
    Bytes damaged = signature.value;
    damaged[200] ^= 1;
    EXPECT_EQ(VerifyRecover(CKM_RSA_PKCS, damaged, 245), (Result{CKR_SIGNATURE_INVALID, {}}));
  }
  EXPECT_RV(CKR_DATA_LEN_RANGE, SignRecover(CKM_RSA_PKCS, Bytes(246, 1)).rv);
  EXPECT_RV(CKR_SIGNATURE_LEN_RANGE, VerifyRecover(CKM_RSA_PKCS, Bytes(255, 1), 245).rv);
  EXPECT_RV(CKR_SIGNATURE_INVALID, VerifyRecover(CKM_RSA_PKCS, Bytes(256, 0xff), 245).rv);
}

TEST_F(RecoverTest, Raw) {
  Bytes data = ReferenceRandom(256);
  data[0] = 0;
  const Result signature = SignRecover(CKM_RSA_X_509, data);
  ASSERT_RV(CKR_OK, signature.rv);
  EXPECT_EQ(VerifyRecover(CKM_RSA_X_509, signature.value, 256), (Result{CKR_OK, data}));
  // A shorter number comes back with its zeros.
  Bytes padded(256);
  padded.back() = 7;
  EXPECT_EQ(VerifyRecover(CKM_RSA_X_509, SignRecover(CKM_RSA_X_509, {7}).value, 256),
            (Result{CKR_OK, padded}));
  EXPECT_RV(CKR_DATA_INVALID, SignRecover(CKM_RSA_X_509, Bytes(256, 0xff)).rv);
  EXPECT_RV(CKR_DATA_LEN_RANGE, SignRecover(CKM_RSA_X_509, Bytes(257, 1)).rv);
}

// A buffer of what was signed is enough, one less is not, and that ends nothing.
TEST_F(RecoverTest, Buffers) {
  const Bytes data = ReferenceRandom(35);
  Bytes signature = SignRecover(CKM_RSA_PKCS, data).value;
  CK_MECHANISM mechanism{CKM_RSA_PKCS, nullptr, 0};
  ASSERT_RV(CKR_OK, P11().C_VerifyRecoverInit(session_, &mechanism, public_));
  EXPECT_RV(CKR_OPERATION_ACTIVE, P11().C_VerifyRecoverInit(session_, &mechanism, public_));
  Bytes out(35);
  CK_ULONG length = 34;
  EXPECT_RV(CKR_BUFFER_TOO_SMALL,
            P11().C_VerifyRecover(session_, signature.data(), 256, out.data(), &length));
  EXPECT_EQ(length, 35U);
  EXPECT_RV(CKR_OK, P11().C_VerifyRecover(session_, signature.data(), 256, out.data(), &length));
  EXPECT_EQ(out, data);
}

TEST_F(RecoverTest, StatesAndKeys) {
  CK_MECHANISM mechanism{CKM_RSA_PKCS, nullptr, 0};
  CK_BYTE out[256];
  CK_ULONG length = sizeof out;
  EXPECT_RV(CKR_OPERATION_NOT_INITIALIZED, P11().C_SignRecover(session_, out, 1, out, &length));
  ASSERT_RV(CKR_OK, P11().C_SignRecoverInit(session_, &mechanism, private_));
  // Signing is an operation of its own.
  EXPECT_RV(CKR_OK, P11().C_SignInit(session_, &mechanism, private_));
  EXPECT_RV(CKR_OPERATION_ACTIVE, P11().C_SignRecoverInit(session_, &mechanism, private_));
  EXPECT_RV(CKR_ARGUMENTS_BAD, P11().C_SignRecover(session_, out, 1, out, nullptr));
  EXPECT_RV(CKR_OPERATION_NOT_INITIALIZED, P11().C_SignRecover(session_, out, 1, out, &length));
  EXPECT_RV(CKR_OK, P11().C_Sign(session_, out, 1, out, &length));

  EXPECT_RV(CKR_KEY_TYPE_INCONSISTENT,
            P11().C_SignRecoverInit(
                session_, &mechanism,
                Create(session_, Ed25519PrivateKey(Bytes(32, 1)).With(CKA_SIGN_RECOVER, true))));
  EXPECT_RV(CKR_KEY_FUNCTION_NOT_PERMITTED,
            P11().C_SignRecoverInit(
                session_, &mechanism,
                Create(session_, RsaPrivateKey(Numbers()).With(CKA_SIGN_RECOVER, false))));
  mechanism.mechanism = CKM_SHA256_RSA_PKCS;
  EXPECT_RV(CKR_MECHANISM_INVALID, P11().C_SignRecoverInit(session_, &mechanism, private_));
  EXPECT_RV(CKR_MECHANISM_INVALID, P11().C_VerifyRecoverInit(session_, &mechanism, public_));
}

}  // namespace
}  // namespace secretmem::conformance
