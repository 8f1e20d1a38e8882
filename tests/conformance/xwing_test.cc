// X-Wing keys and HPKE with them (docs/hpke.md), for modules that have them. Vectors are in
// tests/unit/xwing_test.cc.
#include "tests/conformance/fixtures.h"
#include "tests/conformance/hpke.h"
#include "tests/conformance/x25519.h"

namespace secretmem::conformance {
namespace {

constexpr size_t kSeed = 32;
constexpr size_t kPublic = 1216;
constexpr size_t kEnc = 1120;
constexpr CK_ULONG kAeads[] = {CK_SECRETMEM_HPKE_AES_128_GCM, CK_SECRETMEM_HPKE_AES_256_GCM,
                               CK_SECRETMEM_HPKE_CHACHA20_POLY1305};

struct Pair {
  CK_OBJECT_HANDLE public_key = CK_INVALID_HANDLE;
  CK_OBJECT_HANDLE private_key = CK_INVALID_HANDLE;
};

class XWingTest : public UserTest {
 protected:
  void SetUp() override {
    if (P11v32() == nullptr) GTEST_SKIP() << "a module before 3.2";
    UserTest::SetUp();
    if (HasFatalFailure()) return;
    if (!HasMechanism(slot_, CKM_SECRETMEM_XWING_KEY_PAIR_GEN, CKF_GENERATE_KEY_PAIR)) {
      GTEST_SKIP() << "no X-Wing";
    }
    pair_ = NewPair();
  }

  CK_RV Generate(
      Template public_key, Template private_key, Pair& pair,
      OwnedMechanism mechanism = OwnedMechanism(CKM_SECRETMEM_XWING_KEY_PAIR_GEN)) const {
    return P11().C_GenerateKeyPair(session_, mechanism.get(), public_key.data(), public_key.size(),
                                   private_key.data(), private_key.size(), &pair.public_key,
                                   &pair.private_key);
  }

  static Template MaySeal() {
    return Template()
        .With(CKA_TOKEN, false)
        .With(CKA_ENCAPSULATE, true)
        .With(CKA_ENCRYPT, true)
        .With(CKA_WRAP, true);
  }
  static Template MayOpen() {
    return Template()
        .With(CKA_TOKEN, false)
        .With(CKA_DECAPSULATE, true)
        .With(CKA_DECRYPT, true)
        .With(CKA_UNWRAP, true);
  }
  static Template Kept(Template its) {
    return its.With(CKA_KEY_TYPE, CK_ULONG{CKK_SECRETMEM_XWING});
  }
  static Template PublicKey(const Bytes& value) {
    return Kept(MaySeal()).With(CKA_CLASS, CK_ULONG{CKO_PUBLIC_KEY}).With(CKA_VALUE, value);
  }
  static Template PrivateKey(const Bytes& seed) {
    return Kept(MayOpen()).With(CKA_CLASS, CK_ULONG{CKO_PRIVATE_KEY}).With(CKA_SEED, seed);
  }

  // A pair for everything, whose private key can be read.
  Pair NewPair() const {
    Pair pair;
    EXPECT_RV(CKR_OK,
              Generate(MaySeal(), MayOpen().With(CKA_SENSITIVE, false).With(CKA_EXTRACTABLE, true),
                       pair));
    return pair;
  }

  CK_RV TryCreate(Template wanted) const {
    CK_OBJECT_HANDLE handle = CK_INVALID_HANDLE;
    return P11().C_CreateObject(session_, wanted.data(), wanted.size(), &handle);
  }
  CK_RV TryUnwrap(Hpke hpke, const Bytes& wrapped) const {
    CK_OBJECT_HANDLE handle = CK_INVALID_HANDLE;
    return Unwrap(session_, pair_.private_key, hpke.Mechanism(), wrapped,
                  UnwrappedTemplate(CKK_GENERIC_SECRET), handle);
  }
  // The KEM's own secret for |ciphertext|.
  Bytes Shared(CK_OBJECT_HANDLE private_key, const Bytes& ciphertext) const {
    Hpke bare{.kem = CK_SECRETMEM_HPKE_XWING, .output = CK_SECRETMEM_HPKE_OUTPUT_KEM};
    CK_OBJECT_HANDLE received = CK_INVALID_HANDLE;
    EXPECT_RV(CKR_OK, Decapsulate(session_, bare.Mechanism(), private_key, ciphertext,
                                  SecretTemplate(), received));
    return ReadBytes(session_, received, CKA_VALUE);
  }

  Pair pair_;
};

TEST_F(XWingTest, BothWays) {
  const Bytes value = ReadBytes(session_, pair_.public_key, CKA_VALUE);
  const Bytes seed = ReadBytes(session_, pair_.private_key, CKA_SEED);
  EXPECT_EQ(value.size(), kPublic);
  EXPECT_EQ(seed.size(), kSeed);
  for (const CK_OBJECT_HANDLE key : {pair_.public_key, pair_.private_key}) {
    EXPECT_EQ(ReadUlong(session_, key, CKA_KEY_TYPE), CK_ULONG{CKK_SECRETMEM_XWING});
    EXPECT_EQ(ReadUlong(session_, key, CKA_KEY_GEN_MECHANISM),
              CK_ULONG{CKM_SECRETMEM_XWING_KEY_PAIR_GEN});
    EXPECT_TRUE(ReadBool(session_, key, CKA_LOCAL));
    EXPECT_RV(CKR_ATTRIBUTE_TYPE_INVALID, ReadAttribute(session_, key, CKA_PARAMETER_SET).rv);
    EXPECT_RV(CKR_ATTRIBUTE_TYPE_INVALID, ReadAttribute(session_, key, CKA_EC_POINT).rv);
  }
  EXPECT_RV(CKR_ATTRIBUTE_TYPE_INVALID, ReadAttribute(session_, pair_.private_key, CKA_VALUE).rv);
  EXPECT_EQ(ReadBytes(session_, pair_.public_key, CKA_PUBLIC_KEY_INFO),
            ReadBytes(session_, pair_.private_key, CKA_PUBLIC_KEY_INFO));

  Hpke bare{.kem = CK_SECRETMEM_HPKE_XWING, .output = CK_SECRETMEM_HPKE_OUTPUT_KEM};
  // Keys that were made, and the same put in by their values.
  const CK_OBJECT_HANDLE from = Create(session_, PrivateKey(seed));
  for (const CK_OBJECT_HANDLE to : {pair_.public_key, Create(session_, PublicKey(value))}) {
    const Encapsulated sent = Encapsulate(session_, bare.Mechanism(), to, SecretTemplate());
    ASSERT_RV(CKR_OK, sent.rv);
    EXPECT_EQ(sent.ciphertext.size(), kEnc);
    const Bytes shared = ReadBytes(session_, sent.key, CKA_VALUE);
    EXPECT_EQ(shared.size(), 32U);
    EXPECT_EQ(Shared(pair_.private_key, sent.ciphertext), shared);
    EXPECT_EQ(Shared(from, sent.ciphertext), shared);
    EXPECT_NE(Encapsulate(session_, bare.Mechanism(), to, SecretTemplate()).ciphertext,
              sent.ciphertext);
  }
}

TEST_F(XWingTest, Exporter) {
  Hpke hpke{.kem = CK_SECRETMEM_HPKE_XWING,
            .aead = CK_SECRETMEM_HPKE_EXPORT_ONLY,
            .info = ToBytes("info"),
            .context = ToBytes("context")};
  const Template wanted = SecretTemplate().With(CKA_VALUE_LEN, CK_ULONG{48});
  const Encapsulated sent = Encapsulate(session_, hpke.Mechanism(), pair_.public_key, wanted);
  ASSERT_RV(CKR_OK, sent.rv);
  EXPECT_EQ(sent.ciphertext.size(), kEnc);
  const Bytes exported = ReadBytes(session_, sent.key, CKA_VALUE);
  EXPECT_EQ(exported.size(), 48U);
  const auto received = [&](Hpke its) {
    CK_OBJECT_HANDLE key = CK_INVALID_HANDLE;
    EXPECT_RV(CKR_OK, Decapsulate(session_, its.Mechanism(), pair_.private_key, sent.ciphertext,
                                  wanted, key));
    return ReadBytes(session_, key, CKA_VALUE);
  };
  EXPECT_EQ(received(hpke), exported);
  Hpke other = hpke;
  other.context.push_back(1);
  EXPECT_NE(received(other), exported);
  other = hpke;
  other.info.push_back(1);
  EXPECT_NE(received(other), exported);
}

TEST_F(XWingTest, DataAndKeys) {
  const Bytes plain = ReferenceRandom(100);
  const CK_OBJECT_HANDLE key = ImportKey(session_, CKK_GENERIC_SECRET, plain);
  for (const CK_ULONG aead : kAeads) {
    Hpke hpke{.kem = CK_SECRETMEM_HPKE_XWING, .aead = aead, .info = ToBytes("info")};
    hpke.aad = ToBytes("aad");
    const Result sealed = Encrypt(session_, pair_.public_key, hpke.Mechanism(), plain);
    ASSERT_RV(CKR_OK, sealed.rv);
    EXPECT_EQ(sealed.value.size(), kEnc + plain.size() + 16);
    EXPECT_EQ(Decrypt(session_, pair_.private_key, hpke.Mechanism(), sealed.value),
              (Result{CKR_OK, plain}));
    // What encryption seals, unwrapping opens, and the other way round.
    EXPECT_RV(CKR_OK, TryUnwrap(hpke, sealed.value));
    const Result wrapped = Wrap(session_, pair_.public_key, hpke.Mechanism(), key);
    ASSERT_RV(CKR_OK, wrapped.rv);
    EXPECT_EQ(Decrypt(session_, pair_.private_key, hpke.Mechanism(), wrapped.value),
              (Result{CKR_OK, plain}));
    // The encapsulated key apart from the ciphertext.
    Hpke apart = hpke;
    apart.enc.assign(kEnc, 0);
    const Result body = Encrypt(session_, pair_.public_key, apart.Mechanism(), plain);
    ASSERT_RV(CKR_OK, body.rv);
    EXPECT_EQ(body.value.size(), plain.size() + 16);
    EXPECT_NE(apart.enc, Bytes(kEnc));
    EXPECT_EQ(Decrypt(session_, pair_.private_key, apart.Mechanism(), body.value),
              (Result{CKR_OK, plain}));
    Bytes joined = apart.enc;
    joined.insert(joined.end(), body.value.begin(), body.value.end());
    EXPECT_EQ(Decrypt(session_, pair_.private_key, hpke.Mechanism(), joined),
              (Result{CKR_OK, plain}));
    // The associated data by its argument.
    Hpke without = hpke;
    without.aad.clear();
    const Result authenticated =
        WrapAuthenticated(session_, pair_.public_key, without.Mechanism(), key, ToBytes("aad"));
    ASSERT_RV(CKR_OK, authenticated.rv);
    EXPECT_EQ(Decrypt(session_, pair_.private_key, hpke.Mechanism(), authenticated.value),
              (Result{CKR_OK, plain}));
  }
}

// §5.2: the output may be where the input is.
TEST_F(XWingTest, InPlace) {
  Hpke hpke{.kem = CK_SECRETMEM_HPKE_XWING};
  const Bytes plain = ReferenceRandom(3000);
  for (const size_t at : {size_t{0}, size_t{1}, kEnc, kEnc + 16}) {
    Bytes room(kEnc + 3016);
    const auto begin = room.begin() + static_cast<long>(at);
    std::ranges::copy(plain, begin);
    CK_ULONG size = room.size();
    ASSERT_RV(CKR_OK, P11().C_EncryptInit(session_, hpke.Mechanism().get(), pair_.public_key));
    ASSERT_RV(CKR_OK, P11().C_Encrypt(session_, &*begin, 3000, room.data(), &size));
    ASSERT_EQ(size, room.size());
    ASSERT_RV(CKR_OK, P11().C_DecryptInit(session_, hpke.Mechanism().get(), pair_.private_key));
    ASSERT_RV(CKR_OK, P11().C_Decrypt(session_, room.data(), room.size(), &*begin, &size));
    EXPECT_EQ(Bytes(begin, begin + static_cast<long>(size)), plain) << at;
  }
}

TEST_F(XWingTest, Psk) {
  const CK_OBJECT_HANDLE psk = Create(
      session_, SecretKeyTemplate(CKK_GENERIC_SECRET, ReferenceRandom(32)).With(CKA_DERIVE, true));
  Hpke hpke{.mode = CK_SECRETMEM_HPKE_MODE_PSK, .kem = CK_SECRETMEM_HPKE_XWING};
  hpke.psk = psk;
  hpke.psk_id = ToBytes("id");
  const Bytes plain = ToBytes("plain");
  const Result sealed = Encrypt(session_, pair_.public_key, hpke.Mechanism(), plain);
  ASSERT_RV(CKR_OK, sealed.rv);
  EXPECT_EQ(Decrypt(session_, pair_.private_key, hpke.Mechanism(), sealed.value),
            (Result{CKR_OK, plain}));
  Hpke base{.kem = CK_SECRETMEM_HPKE_XWING};
  EXPECT_EQ(Decrypt(session_, pair_.private_key, base.Mechanism(), sealed.value),
            (Result{CKR_ENCRYPTED_DATA_INVALID, {}}));
}

// Nothing tells what was wrong: ML-KEM's ciphertext, X25519's key, the AEAD's, info or associated
// data.
TEST_F(XWingTest, Damaged) {
  Hpke hpke{.kem = CK_SECRETMEM_HPKE_XWING, .info = ToBytes("info"), .aad = ToBytes("aad")};
  const Bytes plain = ReferenceRandom(24);
  const Result sealed = Encrypt(session_, pair_.public_key, hpke.Mechanism(), plain);
  ASSERT_RV(CKR_OK, sealed.rv);
  const auto refused = [&](Hpke its, const Bytes& value) {
    EXPECT_RV(CKR_WRAPPED_KEY_INVALID, TryUnwrap(its, value));
    EXPECT_EQ(Decrypt(session_, pair_.private_key, its.Mechanism(), value),
              (Result{CKR_ENCRYPTED_DATA_INVALID, {}}));
  };
  // X25519 takes no notice of its last bit (RFC 7748, 5), but X-Wing hashes that too.
  for (size_t i = 0; i < sealed.value.size(); i += i < 1088 ? 67 : 1) {
    SCOPED_TRACE(i);
    Bytes damaged = sealed.value;
    damaged[i] ^= 0x80;
    refused(hpke, damaged);
  }
  Bytes small_order = sealed.value;
  std::fill_n(small_order.begin() + 1088, 32, CK_BYTE{0});
  refused(hpke, small_order);
  refused(hpke, Bytes(sealed.value.begin(), sealed.value.end() - 1));
  refused(hpke, Bytes(sealed.value.size(), 0xff));
  Hpke other = hpke;
  other.info.clear();
  refused(other, sealed.value);
  other = hpke;
  other.aad.clear();
  refused(other, sealed.value);
  for (const size_t size : {size_t{0}, size_t{48}, kEnc, kEnc + 15}) {
    const Bytes piece(sealed.value.begin(), sealed.value.begin() + static_cast<long>(size));
    EXPECT_RV(CKR_WRAPPED_KEY_LEN_RANGE, TryUnwrap(hpke, piece)) << size;
    EXPECT_RV(CKR_ENCRYPTED_DATA_LEN_RANGE,
              Decrypt(session_, pair_.private_key, hpke.Mechanism(), piece).rv)
        << size;
  }
  // The bare KEM: ML-KEM's rejection is another secret, the same each time.
  Hpke bare{.kem = CK_SECRETMEM_HPKE_XWING, .output = CK_SECRETMEM_HPKE_OUTPUT_KEM};
  const Encapsulated sent =
      Encapsulate(session_, bare.Mechanism(), pair_.public_key, SecretTemplate());
  ASSERT_RV(CKR_OK, sent.rv);
  Bytes wrong = sent.ciphertext;
  wrong[5] ^= 1;
  EXPECT_EQ(Shared(pair_.private_key, wrong), Shared(pair_.private_key, wrong));
  EXPECT_NE(Shared(pair_.private_key, wrong), ReadBytes(session_, sent.key, CKA_VALUE));
  CK_OBJECT_HANDLE key = CK_INVALID_HANDLE;
  for (const size_t size : {size_t{0}, size_t{32}, size_t{1088}, kEnc - 1, kEnc + 1}) {
    EXPECT_RV(CKR_WRAPPED_KEY_LEN_RANGE, Decapsulate(session_, bare.Mechanism(), pair_.private_key,
                                                     Bytes(size), SecretTemplate(), key));
  }
  std::fill_n(wrong.begin() + 1088, 32, CK_BYTE{0});
  EXPECT_RV(CKR_WRAPPED_KEY_INVALID, Decapsulate(session_, bare.Mechanism(), pair_.private_key,
                                                 wrong, SecretTemplate(), key));
}

TEST_F(XWingTest, BadKeys) {
  Pair pair;
  EXPECT_RV(CKR_MECHANISM_PARAM_INVALID,
            Generate({}, {}, pair, OwnedMechanism(CKM_SECRETMEM_XWING_KEY_PAIR_GEN, Bytes(1))));
  EXPECT_RV(CKR_ATTRIBUTE_TYPE_INVALID,
            Generate(Template().With(CKA_PARAMETER_SET, CK_ULONG{CKP_ML_KEM_768}), {}, pair));
  EXPECT_RV(CKR_TEMPLATE_INCONSISTENT,
            Generate(Template().With(CKA_KEY_TYPE, CK_ULONG{CKK_ML_KEM}), {}, pair));
  for (const size_t size : {size_t{0}, size_t{32}, size_t{1184}, kPublic - 1, kPublic + 1}) {
    EXPECT_RV(CKR_ATTRIBUTE_VALUE_INVALID, TryCreate(PublicKey(Bytes(size)))) << size;
  }
  // ML-KEM's half with numbers beyond the modulus.
  EXPECT_RV(CKR_ATTRIBUTE_VALUE_INVALID, TryCreate(PublicKey(Bytes(kPublic, 0xff))));
  for (const size_t size : {size_t{0}, kSeed - 1, kSeed + 1, size_t{64}, size_t{2464}}) {
    EXPECT_RV(CKR_ATTRIBUTE_VALUE_INVALID, TryCreate(PrivateKey(Bytes(size)))) << size;
  }
  EXPECT_RV(CKR_ATTRIBUTE_TYPE_INVALID,
            TryCreate(PrivateKey(Bytes(kSeed)).With(CKA_VALUE, Bytes(kSeed))));
  EXPECT_RV(CKR_TEMPLATE_INCOMPLETE,
            TryCreate(Kept(MayOpen()).With(CKA_CLASS, CK_ULONG{CKO_PRIVATE_KEY})));
  // X25519's half may be anything when it is put in; encapsulation refuses what agrees on zeros.
  Bytes small_order = ReadBytes(session_, pair_.public_key, CKA_VALUE);
  std::fill_n(small_order.end() - 32, 32, CK_BYTE{0});
  const CK_OBJECT_HANDLE to = Create(session_, PublicKey(small_order));
  Hpke hpke{.kem = CK_SECRETMEM_HPKE_XWING};
  EXPECT_RV(CKR_PUBLIC_KEY_INVALID, Encrypt(session_, to, hpke.Mechanism(), Bytes(1)).rv);
}

// Each KEM has keys of its own.
TEST_F(XWingTest, OtherKeys) {
  const Bytes scalar = ReferenceRandom(32);
  const CK_OBJECT_HANDLE x25519 = Create(
      session_,
      X25519PublicKey(ReferencePublicKey(scalar)).With(CKA_ENCRYPT, true).With(CKA_WRAP, true));
  const CK_OBJECT_HANDLE x25519_private =
      Create(session_, X25519PrivateKey(scalar).With(CKA_DECRYPT, true));
  Hpke xwing{.kem = CK_SECRETMEM_HPKE_XWING};
  Hpke dhkem{};
  EXPECT_RV(CKR_KEY_TYPE_INCONSISTENT, Encrypt(session_, x25519, xwing.Mechanism(), Bytes(1)).rv);
  EXPECT_RV(CKR_KEY_TYPE_INCONSISTENT,
            Encrypt(session_, pair_.public_key, dhkem.Mechanism(), Bytes(1)).rv);
  EXPECT_RV(CKR_KEY_TYPE_INCONSISTENT,
            Decrypt(session_, x25519_private, xwing.Mechanism(), Bytes(kEnc + 20)).rv);
  EXPECT_RV(CKR_KEY_TYPE_INCONSISTENT,
            Decrypt(session_, pair_.private_key, dhkem.Mechanism(), Bytes(100)).rv);
  for (const OwnedMechanism& mechanism : {OwnedMechanism(CKM_ML_KEM), EcdhKem(CKD_NULL)}) {
    EXPECT_RV(CKR_KEY_TYPE_INCONSISTENT,
              Encapsulate(session_, mechanism, pair_.public_key, SecretTemplate()).rv);
  }
  for (const size_t size : {size_t{1}, size_t{32}, kEnc - 1, kEnc + 1}) {
    Hpke sized{.kem = CK_SECRETMEM_HPKE_XWING, .enc = Bytes(size)};
    EXPECT_RV(CKR_MECHANISM_PARAM_INVALID,
              Encrypt(session_, pair_.public_key, sized.Mechanism(), Bytes(1)).rv);
  }
  Hpke kept{.enc = Bytes(kEnc)};
  EXPECT_RV(CKR_MECHANISM_PARAM_INVALID, Encrypt(session_, x25519, kept.Mechanism(), Bytes(1)).rv);
}

TEST_F(XWingTest, Wrapped) {
  const CK_OBJECT_HANDLE aes = ImportKey(session_, CKK_AES, ReferenceRandom(32));
  const OwnedMechanism mechanism(CKM_AES_KEY_WRAP_KWP);
  const Result wrapped = Wrap(session_, aes, mechanism, pair_.private_key);
  ASSERT_RV(CKR_OK, wrapped.rv);
  CK_OBJECT_HANDLE again = CK_INVALID_HANDLE;
  ASSERT_RV(CKR_OK, Unwrap(session_, aes, mechanism, wrapped.value,
                           Kept(MayOpen()).With(CKA_CLASS, CK_ULONG{CKO_PRIVATE_KEY}), again));
  Hpke hpke{.kem = CK_SECRETMEM_HPKE_XWING};
  const Result sealed = Encrypt(session_, pair_.public_key, hpke.Mechanism(), ToBytes("plain"));
  EXPECT_EQ(Decrypt(session_, again, hpke.Mechanism(), sealed.value),
            (Result{CKR_OK, ToBytes("plain")}));
}

// CKA_SECRETMEM_BOUND_TO: an X-Wing key bound to an X25519 binding key, and to an X-Wing one; both
// the long way and in one call.
TEST_F(XWingTest, Bound) {
  const Bytes scalar = ReferenceRandom(32);
  const Bytes point = ReferencePublicKey(scalar);
  struct Binding {
    Bytes value;
    CK_OBJECT_HANDLE to;
    CK_OBJECT_HANDLE other;
    CK_OBJECT_HANDLE from;
    CK_ULONG kem;
  };
  const Binding bindings[] = {
      {point, Create(session_, X25519PublicKey(point).With(CKA_WRAP, true)), pair_.public_key,
       Create(session_, X25519PrivateKey(scalar).With(CKA_UNWRAP, true)),
       CK_SECRETMEM_HPKE_X25519_HKDF_SHA256},
      {ReadBytes(session_, pair_.public_key, CKA_VALUE), pair_.public_key, NewPair().public_key,
       pair_.private_key, CK_SECRETMEM_HPKE_XWING},
  };
  Hpke bare{.kem = CK_SECRETMEM_HPKE_XWING, .output = CK_SECRETMEM_HPKE_OUTPUT_KEM};
  for (const Binding& binding : bindings) {
    Pair kem;
    ASSERT_RV(CKR_OK, Generate(Template().With(CKA_TOKEN, false).With(CKA_ENCAPSULATE, true),
                               Template()
                                   .With(CKA_TOKEN, false)
                                   .With(CKA_DECAPSULATE, true)
                                   .With(CKA_SECRETMEM_BOUND_TO, binding.value),
                               kem));
    EXPECT_EQ(ReadBytes(session_, kem.private_key, CKA_SECRETMEM_BOUND_TO), binding.value);
    EXPECT_RV(CKR_ATTRIBUTE_SENSITIVE, ReadAttribute(session_, kem.private_key, CKA_SEED).rv);
    const Encapsulated sent =
        Encapsulate(session_, bare.Mechanism(), kem.public_key, SecretTemplate());
    ASSERT_RV(CKR_OK, sent.rv);
    const Bytes secret = ReadBytes(session_, sent.key, CKA_VALUE);
    CK_OBJECT_HANDLE key = CK_INVALID_HANDLE;
    ASSERT_RV(CKR_OK, Decapsulate(session_, bare.Mechanism(), kem.private_key, sent.ciphertext,
                                  Template().With(CKA_TOKEN, false), key));
    EXPECT_EQ(ReadBytes(session_, key, CKA_SECRETMEM_BOUND_TO), binding.value);
    EXPECT_RV(CKR_ATTRIBUTE_SENSITIVE, ReadAttribute(session_, key, CKA_VALUE).rv);
    Hpke seal{.kem = binding.kem};
    Hpke seal_xwing{.kem = CK_SECRETMEM_HPKE_XWING};
    const auto opened = [&](const Result& wrapped) {
      EXPECT_RV(CKR_OK, wrapped.rv);
      CK_OBJECT_HANDLE got = CK_INVALID_HANDLE;
      EXPECT_RV(CKR_OK, Unwrap(session_, binding.from, seal.Mechanism(), wrapped.value,
                               UnwrappedTemplate(CKK_GENERIC_SECRET), got));
      return ReadBytes(session_, got, CKA_VALUE);
    };
    EXPECT_EQ(opened(Wrap(session_, binding.to, seal.Mechanism(), key)), secret);
    EXPECT_RV(CKR_KEY_NOT_WRAPPABLE, Wrap(session_, binding.other, seal_xwing.Mechanism(), key).rv);
    const auto reseal = [&](CK_OBJECT_HANDLE to, Hpke its) {
      OwnedMechanism opening = bare.Mechanism();
      OwnedMechanism sealing = its.Mechanism();
      Bytes ciphertext = sent.ciphertext;
      const CK_SECRETMEM_RESEAL_PARAMS parameters{opening.get(), ciphertext.data(),
                                                  ciphertext.size(), 0, sealing.get()};
      return Wrap(session_, to, OwnedMechanism::Of(CKM_SECRETMEM_RESEAL, parameters),
                  kem.private_key);
    };
    EXPECT_EQ(opened(reseal(binding.to, seal)), secret);
    EXPECT_RV(CKR_KEY_NOT_WRAPPABLE, reseal(binding.other, seal_xwing).rv);
  }
}

TEST_F(XWingTest, TokenKeys) {
  const Bytes binding = ReadBytes(session_, pair_.public_key, CKA_VALUE);
  const Template bound = Template().With(CKA_TOKEN, true).With(CKA_SECRETMEM_BOUND_TO, binding);
  Pair kem;
  ASSERT_RV(CKR_OK, Generate({}, Template(bound).With(CKA_DECAPSULATE, true), kem));
  const Template label = Template().With(CKA_LABEL, "kept X-Wing key");
  Pair pair;
  ASSERT_RV(CKR_OK, Generate(Template(label).With(CKA_TOKEN, true).With(CKA_ENCRYPT, true),
                             Template(label).With(CKA_TOKEN, true).With(CKA_DECRYPT, true), pair));
  EXPECT_RV(CKR_ATTRIBUTE_SENSITIVE, ReadAttribute(session_, pair.private_key, CKA_SEED).rv);
  Hpke hpke{.kem = CK_SECRETMEM_HPKE_XWING};
  const Result sealed = Encrypt(session_, pair.public_key, hpke.Mechanism(), ToBytes("plain"));
  ASSERT_RV(CKR_OK, sealed.rv);
  ASSERT_NO_FATAL_FAILURE(Reinitialise());
  session_ = Open(kReadWrite);
  ASSERT_RV(CKR_OK, Login(session_, CKU_USER, UserPin()));
  const auto found = FindAll(session_, Template(label).With(CKA_CLASS, CK_ULONG{CKO_PRIVATE_KEY}));
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(FindAll(session_, bound).size(), 1U);
  EXPECT_EQ(Decrypt(session_, found[0], hpke.Mechanism(), sealed.value),
            (Result{CKR_OK, ToBytes("plain")}));
}

}  // namespace
}  // namespace secretmem::conformance
