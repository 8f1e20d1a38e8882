// CKM_ML_KEM_KEY_PAIR_GEN and CKM_ML_KEM: PKCS#11 3.2 §6.68, for modules that have them. Vectors
// are in tests/unit/ml_kem_test.cc.
#include "tests/conformance/fixtures.h"
#include "tests/conformance/hpke.h"
#include "tests/conformance/x25519.h"

namespace secretmem::conformance {
namespace {

struct Pair {
  CK_OBJECT_HANDLE public_key = CK_INVALID_HANDLE;
  CK_OBJECT_HANDLE private_key = CK_INVALID_HANDLE;
};

struct Sizes {
  CK_ULONG set;
  size_t public_key;
  size_t ciphertext;
};
constexpr Sizes kSets[] = {{CKP_ML_KEM_768, 1184, 1088}, {CKP_ML_KEM_1024, 1568, 1568}};

class MlKemTest : public UserTest {
 protected:
  void SetUp() override {
    if (P11v32() == nullptr) GTEST_SKIP() << "a module before 3.2";
    UserTest::SetUp();
    if (HasFatalFailure()) return;
    if (!HasMechanism(slot_, CKM_ML_KEM, CKF_ENCAPSULATE | CKF_DECAPSULATE) ||
        !HasMechanism(slot_, CKM_ML_KEM_KEY_PAIR_GEN, CKF_GENERATE_KEY_PAIR)) {
      GTEST_SKIP() << "no ML-KEM";
    }
  }

  CK_RV Generate(Template public_key, Template private_key, Pair& pair) const {
    CK_MECHANISM mechanism{CKM_ML_KEM_KEY_PAIR_GEN, nullptr, 0};
    return P11().C_GenerateKeyPair(session_, &mechanism, public_key.data(), public_key.size(),
                                   private_key.data(), private_key.size(), &pair.public_key,
                                   &pair.private_key);
  }

  // A pair whose private key can be read.
  Pair NewPair(CK_ULONG set) const {
    Pair pair;
    EXPECT_RV(CKR_OK, Generate(Template()
                                   .With(CKA_PARAMETER_SET, set)
                                   .With(CKA_TOKEN, false)
                                   .With(CKA_ENCAPSULATE, true),
                               Template()
                                   .With(CKA_TOKEN, false)
                                   .With(CKA_DECAPSULATE, true)
                                   .With(CKA_SENSITIVE, false)
                                   .With(CKA_EXTRACTABLE, true),
                               pair));
    return pair;
  }

  static Template PublicKey(CK_ULONG set, const Bytes& value) {
    return Template()
        .With(CKA_CLASS, CK_ULONG{CKO_PUBLIC_KEY})
        .With(CKA_KEY_TYPE, CK_ULONG{CKK_ML_KEM})
        .With(CKA_TOKEN, false)
        .With(CKA_ENCAPSULATE, true)
        .With(CKA_PARAMETER_SET, set)
        .With(CKA_VALUE, value);
  }
  static Template PrivateKey(CK_ULONG set, const Bytes& seed) {
    return Template()
        .With(CKA_CLASS, CK_ULONG{CKO_PRIVATE_KEY})
        .With(CKA_KEY_TYPE, CK_ULONG{CKK_ML_KEM})
        .With(CKA_TOKEN, false)
        .With(CKA_DECAPSULATE, true)
        .With(CKA_PARAMETER_SET, set)
        .With(CKA_SEED, seed);
  }

  CK_RV TryCreate(Template wanted) const {
    CK_OBJECT_HANDLE handle = CK_INVALID_HANDLE;
    return P11().C_CreateObject(session_, wanted.data(), wanted.size(), &handle);
  }

  const OwnedMechanism kem_{CKM_ML_KEM};
};

TEST_F(MlKemTest, BothWays) {
  for (const Sizes& its : kSets) {
    SCOPED_TRACE(its.set);
    const Pair pair = NewPair(its.set);
    const Bytes value = ReadBytes(session_, pair.public_key, CKA_VALUE);
    const Bytes seed = ReadBytes(session_, pair.private_key, CKA_SEED);
    EXPECT_EQ(value.size(), its.public_key);
    EXPECT_EQ(seed.size(), 64U);
    EXPECT_EQ(ReadUlong(session_, pair.public_key, CKA_PARAMETER_SET), its.set);
    EXPECT_EQ(ReadUlong(session_, pair.private_key, CKA_PARAMETER_SET), its.set);
    EXPECT_EQ(ReadUlong(session_, pair.private_key, CKA_KEY_TYPE), CK_ULONG{CKK_ML_KEM});
    EXPECT_RV(CKR_ATTRIBUTE_TYPE_INVALID, ReadAttribute(session_, pair.private_key, CKA_VALUE).rv);
    EXPECT_EQ(ReadBytes(session_, pair.public_key, CKA_PUBLIC_KEY_INFO),
              ReadBytes(session_, pair.private_key, CKA_PUBLIC_KEY_INFO));

    const Encapsulated sent = Encapsulate(session_, kem_, pair.public_key, SecretTemplate());
    ASSERT_RV(CKR_OK, sent.rv);
    ASSERT_EQ(sent.ciphertext.size(), its.ciphertext);
    const Bytes shared = ReadBytes(session_, sent.key, CKA_VALUE);
    EXPECT_EQ(shared.size(), 32U);
    EXPECT_NE(Encapsulate(session_, kem_, pair.public_key, SecretTemplate()).ciphertext,
              sent.ciphertext);
    // The key that was made, and the same put in by its seed.
    for (const CK_OBJECT_HANDLE key :
         {pair.private_key, Create(session_, PrivateKey(its.set, seed))}) {
      CK_OBJECT_HANDLE received = 0;
      ASSERT_RV(CKR_OK,
                Decapsulate(session_, kem_, key, sent.ciphertext, SecretTemplate(), received));
      EXPECT_EQ(ReadBytes(session_, received, CKA_VALUE), shared);
    }
    // And the other half.
    const CK_OBJECT_HANDLE to = Create(session_, PublicKey(its.set, value));
    const Encapsulated more = Encapsulate(session_, kem_, to, SecretTemplate());
    ASSERT_RV(CKR_OK, more.rv);
    CK_OBJECT_HANDLE received = 0;
    ASSERT_RV(CKR_OK, Decapsulate(session_, kem_, pair.private_key, more.ciphertext,
                                  SecretTemplate(), received));
    EXPECT_EQ(ReadBytes(session_, received, CKA_VALUE), ReadBytes(session_, more.key, CKA_VALUE));
  }
}

// FIPS 203, 7.3: another ciphertext gives another secret, always the same, and no error.
TEST_F(MlKemTest, ImplicitRejection) {
  for (const Sizes& its : kSets) {
    const Pair pair = NewPair(its.set);
    const Encapsulated sent = Encapsulate(session_, kem_, pair.public_key, SecretTemplate());
    ASSERT_RV(CKR_OK, sent.rv);
    Bytes other = sent.ciphertext;
    other[7] ^= 1;
    Bytes values[2];
    for (Bytes& value : values) {
      CK_OBJECT_HANDLE received = 0;
      ASSERT_RV(CKR_OK,
                Decapsulate(session_, kem_, pair.private_key, other, SecretTemplate(), received));
      value = ReadBytes(session_, received, CKA_VALUE);
    }
    EXPECT_EQ(values[0], values[1]);
    EXPECT_NE(values[0], ReadBytes(session_, sent.key, CKA_VALUE));
    for (const size_t size : {size_t{0}, size_t{1}, its.ciphertext - 1, its.ciphertext + 1}) {
      CK_OBJECT_HANDLE received = 0;
      EXPECT_RV(CKR_WRAPPED_KEY_LEN_RANGE, Decapsulate(session_, kem_, pair.private_key,
                                                       Bytes(size), SecretTemplate(), received));
    }
  }
}

TEST_F(MlKemTest, Sensitive) {
  Pair pair;
  ASSERT_RV(CKR_OK, Generate(Template().With(CKA_PARAMETER_SET, CK_ULONG{CKP_ML_KEM_768}),
                             Template().With(CKA_LABEL, "kept"), pair));
  EXPECT_RV(CKR_ATTRIBUTE_SENSITIVE, ReadAttribute(session_, pair.private_key, CKA_SEED).rv);
  EXPECT_FALSE(ReadBool(session_, pair.private_key, CKA_DECAPSULATE));
  EXPECT_TRUE(ReadBool(session_, pair.private_key, CKA_ALWAYS_SENSITIVE));
  EXPECT_TRUE(ReadBool(session_, pair.private_key, CKA_NEVER_EXTRACTABLE));
  EXPECT_RV(CKR_KEY_FUNCTION_NOT_PERMITTED,
            Encapsulate(session_, kem_, pair.public_key, SecretTemplate()).rv);
}

TEST_F(MlKemTest, BadKeys) {
  Pair pair;
  const auto generate = [&](const Template& public_key, const Template& private_key = {}) {
    return Generate(public_key, private_key, pair);
  };
  EXPECT_RV(CKR_TEMPLATE_INCOMPLETE, generate({}));
  for (const CK_ULONG set : {CK_ULONG{0}, CK_ULONG{CKP_ML_KEM_512}, CK_ULONG{4}, ~CK_ULONG{0}}) {
    EXPECT_RV(CKR_PARAMETER_SET_NOT_SUPPORTED, generate(Template().With(CKA_PARAMETER_SET, set)));
    EXPECT_RV(CKR_PARAMETER_SET_NOT_SUPPORTED, TryCreate(PublicKey(set, Bytes(1184))));
    EXPECT_RV(CKR_PARAMETER_SET_NOT_SUPPORTED, TryCreate(PrivateKey(set, Bytes(64))));
  }
  EXPECT_RV(CKR_ATTRIBUTE_VALUE_INVALID, generate(Template().With(CKA_PARAMETER_SET, Bytes(3))));
  for (const Sizes& its : kSets) {
    // FIPS 203, 7.2: neither of another length nor with numbers beyond the modulus.
    for (const size_t size : {its.public_key - 1, its.public_key + 1, size_t{1}}) {
      EXPECT_RV(CKR_ATTRIBUTE_VALUE_INVALID, TryCreate(PublicKey(its.set, Bytes(size))));
    }
    EXPECT_RV(CKR_ATTRIBUTE_VALUE_INVALID,
              TryCreate(PublicKey(its.set, Bytes(its.public_key, 0xff))));
    for (const size_t size : {1U, 32U, 63U, 65U, 2400U}) {
      EXPECT_RV(CKR_ATTRIBUTE_VALUE_INVALID, TryCreate(PrivateKey(its.set, Bytes(size))));
    }
    EXPECT_RV(CKR_ATTRIBUTE_TYPE_INVALID,
              TryCreate(PrivateKey(its.set, Bytes(64)).With(CKA_VALUE, Bytes(2400))));
  }
}

TEST_F(MlKemTest, BadCalls) {
  const Pair pair = NewPair(CKP_ML_KEM_768);
  const Bytes ciphertext(1088);
  CK_OBJECT_HANDLE key = 0;
  const OwnedMechanism with_parameter(CKM_ML_KEM, Bytes(1));
  EXPECT_RV(CKR_MECHANISM_PARAM_INVALID,
            Encapsulate(session_, with_parameter, pair.public_key, SecretTemplate()).rv);
  EXPECT_RV(CKR_MECHANISM_PARAM_INVALID, Decapsulate(session_, with_parameter, pair.private_key,
                                                     ciphertext, SecretTemplate(), key));
  EXPECT_RV(CKR_KEY_SIZE_RANGE, Encapsulate(session_, kem_, pair.public_key,
                                            SecretTemplate().With(CKA_VALUE_LEN, CK_ULONG{16}))
                                    .rv);
  EXPECT_RV(CKR_TEMPLATE_INCONSISTENT,
            Decapsulate(session_, kem_, pair.private_key, ciphertext,
                        SecretTemplate().With(CKA_VALUE_LEN, CK_ULONG{33}), key));
  // Keys of the one kind in the other's mechanism.
  const Bytes point = ReferencePublicKey(ReferenceRandom(32));
  const CK_OBJECT_HANDLE x25519 =
      Create(session_, X25519PublicKey(point).With(CKA_ENCAPSULATE, true));
  EXPECT_RV(CKR_KEY_TYPE_INCONSISTENT, Encapsulate(session_, kem_, x25519, SecretTemplate()).rv);
  EXPECT_RV(CKR_KEY_TYPE_INCONSISTENT,
            Encapsulate(session_, EcdhKem(CKD_NULL), pair.public_key, SecretTemplate()).rv);
}

TEST_F(MlKemTest, Wrapped) {
  const Pair pair = NewPair(CKP_ML_KEM_1024);
  const CK_OBJECT_HANDLE aes = ImportKey(session_, CKK_AES, ReferenceRandom(32));
  const OwnedMechanism mechanism(CKM_AES_KEY_WRAP_KWP);
  const Encapsulated sent = Encapsulate(session_, kem_, pair.public_key, SecretTemplate());
  ASSERT_RV(CKR_OK, sent.rv);
  const Result wrapped = Wrap(session_, aes, mechanism, pair.private_key);
  ASSERT_RV(CKR_OK, wrapped.rv);
  const Template wanted = Template()
                              .With(CKA_CLASS, CK_ULONG{CKO_PRIVATE_KEY})
                              .With(CKA_KEY_TYPE, CK_ULONG{CKK_ML_KEM})
                              .With(CKA_TOKEN, false)
                              .With(CKA_DECAPSULATE, true);
  CK_OBJECT_HANDLE again = 0;
  ASSERT_RV(CKR_OK, Unwrap(session_, aes, mechanism, wrapped.value, wanted, again));
  EXPECT_EQ(ReadUlong(session_, again, CKA_PARAMETER_SET), CK_ULONG{CKP_ML_KEM_1024});
  CK_OBJECT_HANDLE received = 0;
  ASSERT_RV(CKR_OK,
            Decapsulate(session_, kem_, again, sent.ciphertext, SecretTemplate(), received));
  EXPECT_EQ(ReadBytes(session_, received, CKA_VALUE), ReadBytes(session_, sent.key, CKA_VALUE));
}

// CKA_SECRETMEM_BOUND_TO (docs/hpke.md): what it decapsulates goes to the binding key alone.
TEST_F(MlKemTest, Bound) {
  if (!HasMechanism(slot_, CKM_SECRETMEM_RESEAL, CKF_WRAP)) GTEST_SKIP() << "no bound keys";
  const Bytes scalar = ReferenceRandom(32);
  const Bytes point = ReferencePublicKey(scalar);
  const CK_OBJECT_HANDLE binding = Create(session_, X25519PublicKey(point).With(CKA_WRAP, true));
  const CK_OBJECT_HANDLE other = Create(
      session_, X25519PublicKey(ReferencePublicKey(ReferenceRandom(32))).With(CKA_WRAP, true));
  Hpke hpke{};
  for (const Sizes& its : kSets) {
    Pair pair;
    ASSERT_RV(CKR_OK, Generate(Template()
                                   .With(CKA_PARAMETER_SET, its.set)
                                   .With(CKA_TOKEN, false)
                                   .With(CKA_ENCAPSULATE, true),
                               Template()
                                   .With(CKA_TOKEN, false)
                                   .With(CKA_DECAPSULATE, true)
                                   .With(CKA_SECRETMEM_BOUND_TO, point),
                               pair));
    EXPECT_RV(CKR_ATTRIBUTE_SENSITIVE, ReadAttribute(session_, pair.private_key, CKA_SEED).rv);
    const Encapsulated sent = Encapsulate(session_, kem_, pair.public_key, SecretTemplate());
    ASSERT_RV(CKR_OK, sent.rv);
    const Bytes secret = ReadBytes(session_, sent.key, CKA_VALUE);
    CK_OBJECT_HANDLE key = 0;
    ASSERT_RV(CKR_OK, Decapsulate(session_, kem_, pair.private_key, sent.ciphertext,
                                  Template().With(CKA_TOKEN, false), key));
    EXPECT_EQ(ReadBytes(session_, key, CKA_SECRETMEM_BOUND_TO), point);
    EXPECT_RV(CKR_ATTRIBUTE_SENSITIVE, ReadAttribute(session_, key, CKA_VALUE).rv);
    EXPECT_RV(CKR_KEY_NOT_WRAPPABLE, Wrap(session_, other, hpke.Mechanism(), key).rv);
    EXPECT_RV(CKR_KEY_FUNCTION_NOT_PERMITTED,
              Sign(session_, key, OwnedMechanism(CKM_SHA256_HMAC), Bytes(1)).rv);
    const Result wrapped = Wrap(session_, binding, hpke.Mechanism(), key);
    ASSERT_RV(CKR_OK, wrapped.rv);
    EXPECT_EQ(ReferenceOpen(hpke, scalar, wrapped.value), secret);
    // The same in one call.
    OwnedMechanism opening = kem_;
    OwnedMechanism sealing = hpke.Mechanism();
    Bytes ciphertext = sent.ciphertext;
    const CK_SECRETMEM_RESEAL_PARAMS parameters{opening.get(), ciphertext.data(), ciphertext.size(),
                                                0, sealing.get()};
    const auto reseal = [&](CK_OBJECT_HANDLE to) {
      return Wrap(session_, to, OwnedMechanism::Of(CKM_SECRETMEM_RESEAL, parameters),
                  pair.private_key);
    };
    const Result resealed = reseal(binding);
    ASSERT_RV(CKR_OK, resealed.rv);
    EXPECT_EQ(ReferenceOpen(hpke, scalar, resealed.value), secret);
    EXPECT_RV(CKR_KEY_NOT_WRAPPABLE, reseal(other).rv);
  }
}

TEST_F(MlKemTest, TokenKeys) {
  Template kept = Template().With(CKA_TOKEN, true).With(CKA_LABEL, "kept ML-KEM key");
  Pair pair;
  ASSERT_RV(CKR_OK, Generate(Template(kept)
                                 .With(CKA_PARAMETER_SET, CK_ULONG{CKP_ML_KEM_1024})
                                 .With(CKA_ENCAPSULATE, true),
                             Template(kept).With(CKA_DECAPSULATE, true), pair));
  const Encapsulated sent = Encapsulate(session_, kem_, pair.public_key, SecretTemplate());
  ASSERT_RV(CKR_OK, sent.rv);
  const Bytes shared = ReadBytes(session_, sent.key, CKA_VALUE);
  ASSERT_NO_FATAL_FAILURE(Reinitialise());
  session_ = Open(kReadWrite);
  ASSERT_RV(CKR_OK, Login(session_, CKU_USER, UserPin()));
  const auto found = FindAll(session_, kept.With(CKA_CLASS, CK_ULONG{CKO_PRIVATE_KEY}));
  ASSERT_EQ(found.size(), 1U);
  CK_OBJECT_HANDLE received = 0;
  ASSERT_RV(CKR_OK,
            Decapsulate(session_, kem_, found[0], sent.ciphertext, SecretTemplate(), received));
  EXPECT_EQ(ReadBytes(session_, received, CKA_VALUE), shared);
}

}  // namespace
}  // namespace secretmem::conformance
