// HPKE, RFC 9180, by the vendor-defined mechanism of docs/hpke.md: the RFC's vectors from the
// recipient's side, and both directions with OpenSSL's primitives.
#include "tests/conformance/hpke.h"

#include "tests/conformance/fixtures.h"
#include "tests/conformance/hpke_vectors.h"

namespace secretmem::conformance {
namespace {

constexpr CK_ULONG kAeads[] = {CK_SECRETMEM_HPKE_AES_128_GCM, CK_SECRETMEM_HPKE_AES_256_GCM,
                               CK_SECRETMEM_HPKE_CHACHA20_POLY1305};

Template PublicKey(const Bytes& point) {
  return X25519PublicKey(point)
      .With(CKA_ENCRYPT, true)
      .With(CKA_WRAP, true)
      .With(CKA_ENCAPSULATE, true);
}
Template PrivateKey(const Bytes& scalar) {
  return X25519PrivateKey(scalar)
      .With(CKA_DECRYPT, true)
      .With(CKA_UNWRAP, true)
      .With(CKA_DECAPSULATE, true);
}

class HpkeTest : public UserTest {
 protected:
  void SetUp() override {
    if (P11v32() == nullptr) GTEST_SKIP() << "a module before 3.2";
    UserTest::SetUp();
    if (HasFatalFailure()) return;
    if (!Offers(CKM_SECRETMEM_HPKE)) GTEST_SKIP() << "another vendor's module";
    to_ = Create(session_, PublicKey(point_));
    from_ = Create(session_, PrivateKey(scalar_));
  }

  CK_OBJECT_HANDLE Psk(const Bytes& value) const {
    return Create(session_, SecretKeyTemplate(CKK_GENERIC_SECRET, value).With(CKA_DERIVE, true));
  }
  CK_RV TryUnwrap(Hpke hpke, const Bytes& wrapped) {
    const auto before = FindAll(session_);
    CK_OBJECT_HANDLE key = 0;
    const CK_RV rv = Unwrap(session_, from_, hpke.Mechanism(), wrapped,
                            UnwrappedTemplate(CKK_GENERIC_SECRET), key);
    if (rv != CKR_OK) {
      EXPECT_EQ(FindAll(session_), before);
    }
    return rv;
  }

  const Bytes scalar_ = ReferenceRandom(32);
  const Bytes point_ = ReferencePublicKey(scalar_);
  CK_OBJECT_HANDLE to_ = 0;
  CK_OBJECT_HANDLE from_ = 0;
};

TEST_F(HpkeTest, Rfc9180Vectors) {
  int used = 0;
  for (const HpkeVector& vector : kHpkeVectors) {
    SCOPED_TRACE(testing::Message() << "mode " << vector.mode << ", AEAD " << vector.aead);
    const CK_OBJECT_HANDLE key = Create(session_, PrivateKey(FromHex(vector.private_key)));
    const Bytes enc = FromHex(vector.enc);
    Hpke hpke{.mode = vector.mode, .aead = vector.aead, .info = FromHex(vector.info)};
    if (vector.mode == CK_SECRETMEM_HPKE_MODE_PSK) {
      hpke.psk = Psk(FromHex(vector.psk));
      hpke.psk_id = FromHex(vector.psk_id);
    }
    CK_OBJECT_HANDLE secret = 0;
    for (const auto& exported : vector.exports) {
      hpke.context = FromHex(exported.context);
      ASSERT_RV(CKR_OK, Decapsulate(session_, hpke.Mechanism(), key, enc,
                                    SecretTemplate().With(CKA_VALUE_LEN, CK_ULONG{32}), secret));
      EXPECT_EQ(ReadBytes(session_, secret, CKA_VALUE), FromHex(exported.value));
    }
    hpke.context.clear();
    Hpke bare{.aead = vector.aead, .output = CK_SECRETMEM_HPKE_OUTPUT_KEM};
    ASSERT_RV(CKR_OK, Decapsulate(session_, bare.Mechanism(), key, enc, SecretTemplate(), secret));
    EXPECT_EQ(ReadBytes(session_, secret, CKA_VALUE), FromHex(vector.shared_secret));
    if (vector.aead == CK_SECRETMEM_HPKE_EXPORT_ONLY) continue;
    ++used;

    hpke.aad = FromHex(vector.aad);
    const Bytes ciphertext = FromHex(vector.ciphertext);
    Bytes whole = enc;
    whole.insert(whole.end(), ciphertext.begin(), ciphertext.end());
    EXPECT_EQ(Decrypt(session_, key, hpke.Mechanism(), whole),
              (Result{CKR_OK, FromHex(vector.plaintext)}));
    ASSERT_RV(CKR_OK, Unwrap(session_, key, hpke.Mechanism(), whole,
                             UnwrappedTemplate(CKK_GENERIC_SECRET), secret));
    EXPECT_EQ(ReadBytes(session_, secret, CKA_VALUE), FromHex(vector.plaintext));
    // The encapsulated key on its own.
    hpke.enc = enc;
    EXPECT_EQ(Decrypt(session_, key, hpke.Mechanism(), ciphertext),
              (Result{CKR_OK, FromHex(vector.plaintext)}));
    ASSERT_RV(CKR_OK, Unwrap(session_, key, hpke.Mechanism(), ciphertext,
                             UnwrappedTemplate(CKK_GENERIC_SECRET), secret));
    EXPECT_EQ(ReadBytes(session_, secret, CKA_VALUE), FromHex(vector.plaintext));
  }
  EXPECT_EQ(used, 6) << "three AEADs, two modes";
}

TEST_F(HpkeTest, DataEqualsReference) {
  for (const CK_ULONG aead : kAeads) {
    for (const size_t size : {0U, 1U, 1000U, 100'000U}) {
      Hpke hpke{.aead = aead, .info = ToBytes("info"), .aad = ToBytes("aad")};
      const Bytes plain = ReferenceRandom(size);
      const Result sealed = Encrypt(session_, to_, hpke.Mechanism(), plain);
      ASSERT_RV(CKR_OK, sealed.rv);
      ASSERT_EQ(sealed.value.size(), 32 + size + 16);
      EXPECT_EQ(ReferenceOpen(hpke, scalar_, sealed.value), plain);
      EXPECT_EQ(Decrypt(session_, from_, hpke.Mechanism(), ReferenceSeal(hpke, point_, plain)),
                (Result{CKR_OK, plain}));
      hpke.enc = Bytes(32);
      const Result apart = Encrypt(session_, to_, hpke.Mechanism(), plain);
      ASSERT_RV(CKR_OK, apart.rv);
      Bytes whole = hpke.enc;
      whole.insert(whole.end(), apart.value.begin(), apart.value.end());
      hpke.enc.clear();
      EXPECT_EQ(ReferenceOpen(hpke, scalar_, whole), plain);
    }
  }
}

// §5.2: the output may be where the input is.
TEST_F(HpkeTest, InPlace) {
  Hpke hpke{};
  const Bytes plain = ReferenceRandom(100);
  for (const size_t at : {0U, 1U, 16U, 32U, 40U, 48U}) {
    Bytes room(200);
    std::ranges::copy(plain, room.begin() + static_cast<long>(at));
    OwnedMechanism mechanism = hpke.Mechanism();
    CK_ULONG size = 148;
    ASSERT_RV(CKR_OK, P11().C_EncryptInit(session_, mechanism.get(), to_));
    ASSERT_RV(CKR_OK, P11().C_Encrypt(session_, room.data() + at, 100, room.data(), &size));
    EXPECT_EQ(size, 148U);
    EXPECT_EQ(ReferenceOpen(hpke, scalar_, Bytes(room.begin(), room.begin() + 148)), plain) << at;
    ASSERT_RV(CKR_OK, P11().C_DecryptInit(session_, mechanism.get(), from_));
    ASSERT_RV(CKR_OK, P11().C_Decrypt(session_, room.data(), 148, room.data() + at, &size));
    EXPECT_EQ(size, 100U);
    EXPECT_EQ(
        Bytes(room.begin() + static_cast<long>(at), room.begin() + static_cast<long>(at) + 100),
        plain);
  }
}

TEST_F(HpkeTest, KeysEqualReference) {
  const Bytes value = ReferenceRandom(32);
  const CK_OBJECT_HANDLE key = ImportKey(session_, CKK_AES, value);
  for (const CK_ULONG aead : kAeads) {
    Hpke hpke{.aead = aead, .info = ToBytes("info"), .aad = ToBytes("aad")};
    const Result wrapped = Wrap(session_, to_, hpke.Mechanism(), key);
    ASSERT_RV(CKR_OK, wrapped.rv);
    EXPECT_EQ(ReferenceOpen(hpke, scalar_, wrapped.value), value);
    CK_OBJECT_HANDLE unwrapped = 0;
    ASSERT_RV(CKR_OK, Unwrap(session_, from_, hpke.Mechanism(), ReferenceSeal(hpke, point_, value),
                             UnwrappedTemplate(CKK_AES), unwrapped));
    EXPECT_EQ(ReadBytes(session_, unwrapped, CKA_VALUE), value);
    // The same by the argument for associated data.
    Hpke without = hpke;
    without.aad.clear();
    const Result authenticated =
        WrapAuthenticated(session_, to_, without.Mechanism(), key, ToBytes("aad"));
    ASSERT_RV(CKR_OK, authenticated.rv);
    EXPECT_EQ(ReferenceOpen(hpke, scalar_, authenticated.value), value);
    ASSERT_RV(CKR_OK, UnwrapAuthenticated(session_, from_, without.Mechanism(), authenticated.value,
                                          ToBytes("aad"), UnwrappedTemplate(CKK_AES), unwrapped));
    EXPECT_EQ(ReadBytes(session_, unwrapped, CKA_VALUE), value);
    EXPECT_RV(CKR_MECHANISM_PARAM_INVALID,
              WrapAuthenticated(session_, to_, hpke.Mechanism(), key, ToBytes("aad")).rv);
  }
  const Bytes scalar = ReferenceRandom(32);
  const CK_OBJECT_HANDLE private_key =
      Create(session_, X25519PrivateKey(scalar).With(CKA_EXTRACTABLE, true));
  Hpke hpke{};
  const Result wrapped = Wrap(session_, to_, hpke.Mechanism(), private_key);
  ASSERT_RV(CKR_OK, wrapped.rv);
  const Bytes pkcs8 = ReferenceOpen(hpke, scalar_, wrapped.value);
  ASSERT_EQ(pkcs8.size(), 48U);
  EXPECT_EQ(Bytes(pkcs8.end() - 32, pkcs8.end()), scalar);
}

TEST_F(HpkeTest, Psk) {
  const CK_OBJECT_HANDLE psk = Psk(ReferenceRandom(32));
  Hpke hpke{.mode = CK_SECRETMEM_HPKE_MODE_PSK, .psk = psk, .psk_id = ToBytes("id")};
  const Bytes plain = ToBytes("plain");
  const Result sealed = Encrypt(session_, to_, hpke.Mechanism(), plain);
  ASSERT_RV(CKR_OK, sealed.rv);
  EXPECT_EQ(Decrypt(session_, from_, hpke.Mechanism(), sealed.value), (Result{CKR_OK, plain}));
  Hpke other = hpke;
  other.psk = Psk(ReferenceRandom(32));
  EXPECT_RV(CKR_ENCRYPTED_DATA_INVALID,
            Decrypt(session_, from_, other.Mechanism(), sealed.value).rv);
  other = hpke;
  other.psk_id = ToBytes("di");
  EXPECT_RV(CKR_ENCRYPTED_DATA_INVALID,
            Decrypt(session_, from_, other.Mechanism(), sealed.value).rv);
  other = hpke;
  other.psk = Psk(ReferenceRandom(31));
  EXPECT_RV(CKR_KEY_SIZE_RANGE, Encrypt(session_, to_, other.Mechanism(), plain).rv);
  other.psk = ImportKey(session_, CKK_GENERIC_SECRET, ReferenceRandom(32));
  EXPECT_RV(CKR_KEY_FUNCTION_NOT_PERMITTED, Encrypt(session_, to_, other.Mechanism(), plain).rv);
  other.psk = from_;
  EXPECT_RV(CKR_KEY_TYPE_INCONSISTENT, Encrypt(session_, to_, other.Mechanism(), plain).rv);
  other.psk = 0x7777777;
  EXPECT_RV(CKR_KEY_HANDLE_INVALID, Encrypt(session_, to_, other.Mechanism(), plain).rv);
  other = hpke;
  other.psk_id.clear();
  EXPECT_RV(CKR_MECHANISM_PARAM_INVALID, Encrypt(session_, to_, other.Mechanism(), plain).rv);
  other = Hpke{.psk = psk};
  EXPECT_RV(CKR_MECHANISM_PARAM_INVALID, Encrypt(session_, to_, other.Mechanism(), plain).rv);
  other = Hpke{.psk_id = ToBytes("id")};
  EXPECT_RV(CKR_MECHANISM_PARAM_INVALID, Encrypt(session_, to_, other.Mechanism(), plain).rv);
}

// What was begun with a private object ends with the login, if the public key alone would go on.
TEST_F(HpkeTest, PskAndLogout) {
  const CK_OBJECT_HANDLE to = Create(session_, PublicKey(point_).With(CKA_PRIVATE, false));
  const CK_OBJECT_HANDLE from =
      Create(session_, X25519PrivateKey(scalar_).With(CKA_DECRYPT, true).With(CKA_PRIVATE, false));
  for (const bool is_private : {false, true}) {
    const CK_OBJECT_HANDLE psk =
        Create(session_, SecretKeyTemplate(CKK_GENERIC_SECRET, Bytes(32, 7))
                             .With(CKA_DERIVE, true)
                             .With(CKA_PRIVATE, is_private));
    Hpke hpke{.mode = CK_SECRETMEM_HPKE_MODE_PSK, .psk = psk, .psk_id = ToBytes("id")};
    Bytes sealed = Encrypt(session_, to, hpke.Mechanism(), Bytes(8)).value;
    ASSERT_RV(CKR_OK, P11().C_EncryptInit(session_, hpke.Mechanism().get(), to));
    ASSERT_RV(CKR_OK, P11().C_DecryptInit(session_, hpke.Mechanism().get(), from));
    ASSERT_RV(CKR_OK, P11().C_Logout(session_));
    const CK_RV expected = is_private ? CKR_OPERATION_NOT_INITIALIZED : CKR_OK;
    CK_BYTE out[128];
    CK_ULONG length = sizeof out;
    EXPECT_RV(expected, P11().C_Decrypt(session_, sealed.data(), sealed.size(), out, &length));
    length = sizeof out;
    EXPECT_RV(expected, P11().C_Encrypt(session_, out, 1, out, &length));
    ASSERT_RV(CKR_OK, Login(session_, CKU_USER, UserPin()));
  }
}

TEST_F(HpkeTest, Encapsulation) {
  Hpke hpke{.info = ToBytes("info"), .context = ToBytes("context")};
  for (const CK_ULONG length : {1UL, 16UL, 32UL, 33UL, 255 * 32UL}) {
    const Template wanted = SecretTemplate().With(CKA_VALUE_LEN, length);
    const Encapsulated sent = Encapsulate(session_, hpke.Mechanism(), to_, wanted);
    ASSERT_RV(CKR_OK, sent.rv);
    CK_OBJECT_HANDLE received = 0;
    ASSERT_RV(CKR_OK,
              Decapsulate(session_, hpke.Mechanism(), from_, sent.ciphertext, wanted, received));
    EXPECT_EQ(ReadBytes(session_, received, CKA_VALUE), ReadBytes(session_, sent.key, CKA_VALUE));
    EXPECT_EQ(ReadBytes(session_, received, CKA_VALUE).size(), length);
  }
  EXPECT_RV(CKR_KEY_SIZE_RANGE,
            Encapsulate(session_, hpke.Mechanism(), to_,
                        SecretTemplate().With(CKA_VALUE_LEN, CK_ULONG{255 * 32 + 1}))
                .rv);
  EXPECT_RV(CKR_TEMPLATE_INCOMPLETE,
            Encapsulate(session_, hpke.Mechanism(), to_, SecretTemplate()).rv);
  Hpke bare{.output = CK_SECRETMEM_HPKE_OUTPUT_KEM};
  EXPECT_RV(CKR_TEMPLATE_INCONSISTENT,
            Encapsulate(session_, bare.Mechanism(), to_,
                        SecretTemplate().With(CKA_VALUE_LEN, CK_ULONG{16}))
                .rv);
  CK_OBJECT_HANDLE key = 0;
  for (const size_t size : {0U, 31U, 33U}) {
    EXPECT_RV(CKR_WRAPPED_KEY_LEN_RANGE,
              Decapsulate(session_, bare.Mechanism(), from_, Bytes(size), SecretTemplate(), key));
  }
  EXPECT_RV(CKR_WRAPPED_KEY_INVALID,
            Decapsulate(session_, bare.Mechanism(), from_, Bytes(32), SecretTemplate(), key));
}

// Nothing tells what was wrong: the encapsulated key, the ciphertext, info or associated data.
TEST_F(HpkeTest, Damaged) {
  const Bytes value = ReferenceRandom(24);
  for (const CK_ULONG aead : kAeads) {
    Hpke hpke{.aead = aead, .info = ToBytes("info"), .aad = ToBytes("aad")};
    const Bytes sealed = ReferenceSeal(hpke, point_, value);
    for (size_t i = 0; i < sealed.size(); ++i) {
      Bytes damaged = sealed;
      damaged[i] ^= 2;
      EXPECT_RV(CKR_WRAPPED_KEY_INVALID, TryUnwrap(hpke, damaged)) << i;
      EXPECT_EQ(Decrypt(session_, from_, hpke.Mechanism(), damaged),
                (Result{CKR_ENCRYPTED_DATA_INVALID, {}}));
    }
    Bytes small = sealed;
    std::fill_n(small.begin(), 32, CK_BYTE{0});
    EXPECT_RV(CKR_WRAPPED_KEY_INVALID, TryUnwrap(hpke, small));
    EXPECT_RV(CKR_ENCRYPTED_DATA_INVALID, Decrypt(session_, from_, hpke.Mechanism(), small).rv);
    const Bytes truncated(sealed.begin(), sealed.end() - 1);
    EXPECT_RV(CKR_WRAPPED_KEY_INVALID, TryUnwrap(hpke, truncated));
    for (const size_t size : {0U, 16U, 32U, 47U, 48U}) {
      const Bytes piece(sealed.begin(), sealed.begin() + static_cast<long>(size));
      EXPECT_RV(CKR_WRAPPED_KEY_LEN_RANGE, TryUnwrap(hpke, piece)) << size;
      if (size == 48) continue;
      EXPECT_RV(CKR_ENCRYPTED_DATA_LEN_RANGE, Decrypt(session_, from_, hpke.Mechanism(), piece).rv);
    }
    Hpke other = hpke;
    other.info.push_back(0);
    EXPECT_RV(CKR_WRAPPED_KEY_INVALID, TryUnwrap(other, sealed));
    other = hpke;
    other.aad.clear();
    EXPECT_RV(CKR_WRAPPED_KEY_INVALID, TryUnwrap(other, sealed));
  }
}

TEST_F(HpkeTest, BadParameters) {
  const CK_OBJECT_HANDLE key = ImportKey(session_, CKK_GENERIC_SECRET, Bytes(32, 1));
  const auto refused = [&](Hpke hpke) {
    EXPECT_RV(CKR_MECHANISM_PARAM_INVALID, Wrap(session_, to_, hpke.Mechanism(), key).rv);
    EXPECT_RV(CKR_MECHANISM_PARAM_INVALID, TryUnwrap(hpke, Bytes(100)));
    EXPECT_RV(CKR_MECHANISM_PARAM_INVALID, Encrypt(session_, to_, hpke.Mechanism(), Bytes(1)).rv);
    EXPECT_RV(CKR_MECHANISM_PARAM_INVALID,
              Decrypt(session_, from_, hpke.Mechanism(), Bytes(100)).rv);
  };
  for (const CK_ULONG mode : {2UL, 3UL, 4UL, ~0UL}) refused({.mode = mode});
  for (const CK_ULONG kem : {0UL, 0x10UL, 0x21UL, 0x10020UL}) refused({.kem = kem});
  for (const CK_ULONG kdf : {0UL, 2UL, 3UL, 0x10001UL}) refused({.kdf = kdf});
  for (const CK_ULONG aead : {0UL, 4UL, 0xffffUL, 0x10001UL}) refused({.aead = aead});
  for (const size_t size : {1U, 31U, 33U}) refused({.enc = Bytes(size)});
  refused({.output = CK_SECRETMEM_HPKE_OUTPUT_KEM});
  refused({.output = 2});
  refused({.context = Bytes(1)});
  const auto no_key = [&](Hpke hpke) {
    const Template wanted = SecretTemplate().With(CKA_VALUE_LEN, CK_ULONG{32});
    EXPECT_RV(CKR_MECHANISM_PARAM_INVALID, Encapsulate(session_, hpke.Mechanism(), to_, wanted).rv);
    CK_OBJECT_HANDLE got = 0;
    EXPECT_RV(CKR_MECHANISM_PARAM_INVALID,
              Decapsulate(session_, hpke.Mechanism(), from_, point_, wanted, got));
  };
  no_key({.kem = 0x10});
  no_key({.aad = Bytes(1)});
  no_key({.enc = Bytes(32)});
  no_key({.output = 2});
  no_key({.info = Bytes(1), .output = CK_SECRETMEM_HPKE_OUTPUT_KEM});
  no_key({.output = CK_SECRETMEM_HPKE_OUTPUT_KEM, .context = Bytes(1)});
  for (const size_t size : {0U, 8U, 127U, 129U}) {
    EXPECT_RV(CKR_MECHANISM_PARAM_INVALID,
              Wrap(session_, to_, OwnedMechanism(CKM_SECRETMEM_HPKE, Bytes(size)), key).rv);
  }
  CK_SECRETMEM_HPKE_PARAMS absurd{};
  absurd.ulKem = CK_SECRETMEM_HPKE_X25519_HKDF_SHA256;
  absurd.ulKdf = absurd.ulAead = 1;
  absurd.ulInfoLen = 8;
  EXPECT_RV(CKR_MECHANISM_PARAM_INVALID,
            Wrap(session_, to_, OwnedMechanism::Of(CKM_SECRETMEM_HPKE, absurd), key).rv);
}

TEST_F(HpkeTest, OtherKeys) {
  const EcCurve& curve = EcCurves().front();
  const EcKeyPair pair = ReferenceEcKey(curve);
  Hpke hpke{};
  const CK_OBJECT_HANDLE ec =
      Create(session_, EcPublicKey(curve, OctetString(pair.point)).With(CKA_ENCRYPT, true));
  EXPECT_RV(CKR_KEY_TYPE_INCONSISTENT, Encrypt(session_, ec, hpke.Mechanism(), Bytes(1)).rv);
  const CK_OBJECT_HANDLE small = Create(session_, PublicKey(Bytes(32)));
  EXPECT_RV(CKR_PUBLIC_KEY_INVALID, Encrypt(session_, small, hpke.Mechanism(), Bytes(1)).rv);
  const CK_OBJECT_HANDLE plain = Create(session_, X25519PublicKey(point_));
  EXPECT_RV(CKR_KEY_FUNCTION_NOT_PERMITTED,
            Encrypt(session_, plain, hpke.Mechanism(), Bytes(1)).rv);
}

// In one part only.
TEST_F(HpkeTest, Parts) {
  Hpke hpke{};
  EXPECT_RV(CKR_FUNCTION_NOT_SUPPORTED,
            EncryptInParts(session_, to_, hpke.Mechanism(), Bytes(8), 4).rv);
  EXPECT_RV(CKR_FUNCTION_NOT_SUPPORTED,
            DecryptInParts(session_, from_, hpke.Mechanism(), Bytes(80), 40).rv);
}

}  // namespace
}  // namespace secretmem::conformance
