// Bound KEM keys (docs/hpke.md): what a key decapsulates goes to its binding key and nowhere else.
#include "tests/conformance/fixtures.h"
#include "tests/conformance/hpke.h"

namespace secretmem::conformance {
namespace {

class BoundKeyTest : public UserTest {
 protected:
  void SetUp() override {
    if (P11v32() == nullptr) GTEST_SKIP() << "a module before 3.2";
    UserTest::SetUp();
    if (HasFatalFailure()) return;
    if (!Offers(CKM_SECRETMEM_RESEAL)) GTEST_SKIP() << "another vendor's module";
    binding_ = Create(session_, X25519PublicKey(binding_point_).With(CKA_WRAP, true));
    other_ = Create(session_,
                    X25519PublicKey(ReferencePublicKey(ReferenceRandom(32))).With(CKA_WRAP, true));
    ASSERT_RV(CKR_OK, Generate(Bound(), pair_));
  }

  Template Bound() const {
    return Template()
        .With(CKA_TOKEN, false)
        .With(CKA_DECAPSULATE, true)
        .With(CKA_SECRETMEM_BOUND_TO, binding_point_);
  }
  CK_RV Generate(const Template& private_key, KeyPair& pair) const {
    return GenerateKeyPair(session_, PublicTemplate().With(CKA_ENCAPSULATE, true), private_key,
                           pair);
  }
  static Template Wanted() { return Template().With(CKA_TOKEN, false); }

  // A client's part: the ciphertext, and the secret that it stands for.
  Bytes Send(Bytes* secret) const {
    const Encapsulated sent =
        Encapsulate(session_, EcdhKem(CKD_NULL), pair_.public_key, SecretTemplate());
    EXPECT_RV(CKR_OK, sent.rv);
    *secret = ReadBytes(session_, sent.key, CKA_VALUE);
    return sent.ciphertext;
  }
  CK_OBJECT_HANDLE Received(Bytes* secret) const {
    CK_OBJECT_HANDLE key = 0;
    EXPECT_RV(CKR_OK, Decapsulate(session_, EcdhKem(CKD_NULL), pair_.private_key, Send(secret),
                                  Wanted(), key));
    return key;
  }
  Result Reseal(CK_OBJECT_HANDLE to, CK_OBJECT_HANDLE from, OwnedMechanism decapsulation,
                Bytes ciphertext, OwnedMechanism wrapping, CK_ULONG length = 0) const {
    const CK_SECRETMEM_RESEAL_PARAMS parameters{decapsulation.get(), ciphertext.data(),
                                                ciphertext.size(), length, wrapping.get()};
    return Wrap(session_, to, OwnedMechanism::Of(CKM_SECRETMEM_RESEAL, parameters), from);
  }

  const Bytes binding_scalar_ = ReferenceRandom(32);
  const Bytes binding_point_ = ReferencePublicKey(binding_scalar_);
  CK_OBJECT_HANDLE binding_ = 0;
  CK_OBJECT_HANDLE other_ = 0;
  KeyPair pair_;
};

TEST_F(BoundKeyTest, KemKey) {
  const CK_OBJECT_HANDLE key = pair_.private_key;
  EXPECT_EQ(ReadBytes(session_, key, CKA_SECRETMEM_BOUND_TO), binding_point_);
  EXPECT_TRUE(ReadBool(session_, key, CKA_SENSITIVE));
  EXPECT_TRUE(ReadBool(session_, key, CKA_ALWAYS_SENSITIVE));
  EXPECT_FALSE(ReadBool(session_, key, CKA_EXTRACTABLE));
  EXPECT_TRUE(ReadBool(session_, key, CKA_NEVER_EXTRACTABLE));
  for (const CK_ATTRIBUTE_TYPE use : {CKA_DERIVE, CKA_SIGN, CKA_DECRYPT, CKA_UNWRAP}) {
    EXPECT_FALSE(ReadBool(session_, key, use)) << use;
  }
}

TEST_F(BoundKeyTest, SecretGoesToTheBindingKey) {
  Bytes secret;
  const CK_OBJECT_HANDLE key = Received(&secret);
  EXPECT_EQ(ReadBytes(session_, key, CKA_SECRETMEM_BOUND_TO), binding_point_);
  EXPECT_TRUE(ReadBool(session_, key, CKA_SENSITIVE));
  EXPECT_FALSE(ReadBool(session_, key, CKA_EXTRACTABLE));
  EXPECT_RV(CKR_ATTRIBUTE_SENSITIVE, ReadAttribute(session_, key, CKA_VALUE).rv);
  Hpke hpke{.info = ToBytes("info"), .aad = ToBytes("aad")};
  const Result sealed = Wrap(session_, binding_, hpke.Mechanism(), key);
  ASSERT_RV(CKR_OK, sealed.rv);
  EXPECT_EQ(ReferenceOpen(hpke, binding_scalar_, sealed.value), secret);
  // Any way to wrap to that key will do.
  const CK_ECDH_AES_KEY_WRAP_PARAMS parameters{256, CKD_SHA256_KDF, 0, nullptr};
  EXPECT_RV(
      CKR_OK,
      Wrap(session_, binding_, OwnedMechanism::Of(CKM_ECDH_X_AES_KEY_WRAP, parameters), key).rv);
}

// The secret can be wrapped to no other key, and used for nothing.
TEST_F(BoundKeyTest, SecretGoesNowhereElse) {
  Bytes secret;
  const CK_OBJECT_HANDLE key = Received(&secret);
  Hpke hpke{};
  EXPECT_RV(CKR_KEY_NOT_WRAPPABLE, Wrap(session_, other_, hpke.Mechanism(), key).rv);
  const CK_OBJECT_HANDLE aes = ImportKey(session_, CKK_AES, ReferenceRandom(32));
  EXPECT_RV(CKR_KEY_NOT_WRAPPABLE,
            Wrap(session_, aes, OwnedMechanism(CKM_AES_KEY_WRAP_KWP), key).rv);
  EXPECT_RV(CKR_KEY_NOT_WRAPPABLE,
            WrapAuthenticated(session_, aes, Gcm(Bytes(12), {}, 128), key, {}).rv);
  EXPECT_RV(CKR_KEY_FUNCTION_NOT_PERMITTED,
            Sign(session_, key, OwnedMechanism(CKM_SHA256_HMAC), Bytes(1)).rv);
  CK_MECHANISM digest{CKM_SHA256, nullptr, 0};
  ASSERT_RV(CKR_OK, P11().C_DigestInit(session_, &digest));
  EXPECT_RV(CKR_KEY_INDIGESTIBLE, P11().C_DigestKey(session_, key));
  EXPECT_RV(CKR_OK, P11v32()->C_SessionCancel(session_, CKF_DIGEST));
  // A check value of a shortened secret would tell the secret byte by byte.
  EXPECT_EQ(ReadBytes(session_, key, CKA_CHECK_VALUE), Bytes());
  // As a PSK it would make a key that everybody could use.
  hpke = {.mode = CK_SECRETMEM_HPKE_MODE_PSK, .psk = key, .psk_id = Bytes(1)};
  const CK_OBJECT_HANDLE target = ImportKey(session_, CKK_GENERIC_SECRET, Bytes(32, 1));
  EXPECT_RV(CKR_KEY_FUNCTION_NOT_PERMITTED, Wrap(session_, other_, hpke.Mechanism(), target).rv);
  // Nor beside another key.
  CK_MECHANISM concatenate{CKM_CONCATENATE_BASE_AND_KEY, const_cast<CK_OBJECT_HANDLE*>(&key),
                           sizeof key};
  const CK_OBJECT_HANDLE base =
      Create(session_, SecretKeyTemplate(CKK_GENERIC_SECRET, Bytes(8, 1)).With(CKA_DERIVE, true));
  CK_OBJECT_HANDLE derived = 0;
  EXPECT_RV(CKR_KEY_FUNCTION_NOT_PERMITTED,
            P11().C_DeriveKey(session_, &concatenate, base, nullptr, 0, &derived));
}

TEST_F(BoundKeyTest, KemKeyDoesNothingElse) {
  CK_OBJECT_HANDLE derived = 0;
  const auto derive = [&] {
    return Derive(session_,
                  {.base = pair_.private_key,
                   .peer = ReferencePublicKey(ReferenceRandom(32)),
                   .key = SecretTemplate()},
                  derived);
  };
  EXPECT_RV(CKR_KEY_FUNCTION_NOT_PERMITTED, derive());
  Template uses = Template().With(CKA_DERIVE, true).With(CKA_UNWRAP, true).With(CKA_DECRYPT, true);
  // Flags can be set as those of any key, and change nothing.
  EXPECT_RV(CKR_OK,
            P11().C_SetAttributeValue(session_, pair_.private_key, uses.data(), uses.size()));
  EXPECT_RV(CKR_KEY_FUNCTION_NOT_PERMITTED, derive());
  Hpke hpke{};
  const Bytes sealed =
      ReferenceSeal(hpke, ReadBytes(session_, pair_.public_key, CKA_EC_POINT), ReferenceRandom(32));
  CK_OBJECT_HANDLE key = 0;
  EXPECT_RV(CKR_KEY_FUNCTION_NOT_PERMITTED,
            Unwrap(session_, pair_.private_key, hpke.Mechanism(), sealed,
                   UnwrappedTemplate(CKK_GENERIC_SECRET), key));
  EXPECT_RV(CKR_KEY_FUNCTION_NOT_PERMITTED,
            Decrypt(session_, pair_.private_key, hpke.Mechanism(), sealed).rv);
  // Not even the binding key gets the KEM key.
  EXPECT_RV(CKR_KEY_UNEXTRACTABLE,
            Wrap(session_, binding_, hpke.Mechanism(), pair_.private_key).rv);
}

TEST_F(BoundKeyTest, NeverChanged) {
  Bytes secret;
  const Bytes point = ReadBytes(session_, other_, CKA_EC_POINT);
  for (const CK_OBJECT_HANDLE key : {pair_.private_key, Received(&secret)}) {
    for (const auto& [type, value] : {std::pair(CKA_SECRETMEM_BOUND_TO, point),
                                      {CKA_SECRETMEM_BOUND_TO, Bytes()},
                                      {CKA_EXTRACTABLE, Bytes{1}},
                                      {CKA_SENSITIVE, Bytes{0}}}) {
      Template change = Template().With(type, value);
      EXPECT_RV(CKR_ATTRIBUTE_READ_ONLY,
                P11().C_SetAttributeValue(session_, key, change.data(), change.size()));
      CK_OBJECT_HANDLE copy = 0;
      EXPECT_RV(CKR_ATTRIBUTE_READ_ONLY,
                P11().C_CopyObject(session_, key, change.data(), change.size(), &copy));
    }
    CK_OBJECT_HANDLE copy = 0;
    ASSERT_RV(CKR_OK, P11().C_CopyObject(session_, key, nullptr, 0, &copy));
    EXPECT_EQ(ReadBytes(session_, copy, CKA_SECRETMEM_BOUND_TO), binding_point_);
    Hpke hpke{};
    EXPECT_NE(CKR_OK, Wrap(session_, other_, hpke.Mechanism(), copy).rv);
  }
}

TEST_F(BoundKeyTest, Templates) {
  KeyPair pair;
  const auto refused = [&](CK_RV code, const Template& private_key) {
    const auto before = FindAll(session_);
    EXPECT_RV(code, Generate(private_key, pair));
    EXPECT_EQ(FindAll(session_), before);
  };
  refused(CKR_TEMPLATE_INCONSISTENT, Bound().With(CKA_SENSITIVE, false));
  refused(CKR_TEMPLATE_INCONSISTENT, Bound().With(CKA_EXTRACTABLE, true));
  refused(CKR_TEMPLATE_INCONSISTENT, Bound().With(CKA_DERIVE, true));
  refused(CKR_TEMPLATE_INCONSISTENT, Bound().With(CKA_TOKEN, true).With(CKA_PRIVATE, false));
  for (const size_t size : {0U, 31U, 33U, 65U}) {
    refused(CKR_ATTRIBUTE_VALUE_INVALID, Bound().With(CKA_SECRETMEM_BOUND_TO, Bytes(size, 4)));
  }
  Bytes secret;
  const Bytes ciphertext = Send(&secret);
  CK_OBJECT_HANDLE key = 0;
  const auto decapsulate = [&](const Template& wanted) {
    return Decapsulate(session_, EcdhKem(CKD_NULL), pair_.private_key, ciphertext, wanted, key);
  };
  EXPECT_RV(CKR_TEMPLATE_INCONSISTENT, decapsulate(Wanted().With(CKA_SENSITIVE, false)));
  EXPECT_RV(CKR_TEMPLATE_INCONSISTENT, decapsulate(Wanted().With(CKA_EXTRACTABLE, true)));
  EXPECT_RV(CKR_TEMPLATE_INCONSISTENT, decapsulate(Wanted().With(CKA_SIGN, true)));
  EXPECT_RV(CKR_TEMPLATE_INCONSISTENT, decapsulate(Wanted().With(CKA_CHECK_VALUE, Bytes(3))));
  EXPECT_RV(CKR_ATTRIBUTE_READ_ONLY,
            decapsulate(Wanted().With(CKA_SECRETMEM_BOUND_TO, binding_point_)));
  EXPECT_RV(CKR_TEMPLATE_INCONSISTENT,
            decapsulate(Wanted().With(CKA_TOKEN, true).With(CKA_PRIVATE, false)));
  // A session object that is not private does not become one of the token's.
  ASSERT_RV(CKR_OK, decapsulate(Wanted().With(CKA_PRIVATE, false)));
  Template to_token = Template().With(CKA_TOKEN, true);
  CK_OBJECT_HANDLE copy = 0;
  EXPECT_RV(CKR_TEMPLATE_INCONSISTENT,
            P11().C_CopyObject(session_, key, to_token.data(), to_token.size(), &copy));
}

TEST_F(BoundKeyTest, AcrossRestarts) {
  KeyPair pair;
  ASSERT_RV(CKR_OK, Generate(Bound().With(CKA_TOKEN, true).With(CKA_LABEL, "kem"), pair));
  ASSERT_RV(CKR_OK, P11().C_CloseAllSessions(slot_));
  Reinitialise();
  session_ = Open(kReadWrite);
  ASSERT_RV(CKR_OK, Login(session_, CKU_USER, UserPin()));
  const auto found = FindAll(session_, Template().With(CKA_LABEL, "kem"));
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(ReadBytes(session_, found.front(), CKA_SECRETMEM_BOUND_TO), binding_point_);
  CK_OBJECT_HANDLE derived = 0;
  EXPECT_RV(
      CKR_KEY_FUNCTION_NOT_PERMITTED,
      Derive(session_, {.base = found.front(), .peer = binding_point_, .key = SecretTemplate()},
             derived));
}

TEST_F(BoundKeyTest, Reseal) {
  const auto before = FindAll(session_);
  Hpke seal{.info = ToBytes("info")};
  {
    Bytes secret;
    const Bytes ciphertext = Send(&secret);
    const Result sealed =
        Reseal(binding_, pair_.private_key, EcdhKem(CKD_NULL), ciphertext, seal.Mechanism());
    ASSERT_RV(CKR_OK, sealed.rv);
    EXPECT_EQ(ReferenceOpen(seal, binding_scalar_, sealed.value), secret);
    // Only to the binding key, and only from a bound key.
    EXPECT_RV(
        CKR_KEY_NOT_WRAPPABLE,
        Reseal(other_, pair_.private_key, EcdhKem(CKD_NULL), ciphertext, seal.Mechanism()).rv);
    KeyPair unbound;
    ASSERT_RV(CKR_OK, Generate(PrivateTemplate().With(CKA_DECAPSULATE, true), unbound));
    EXPECT_RV(
        CKR_KEY_NOT_WRAPPABLE,
        Reseal(binding_, unbound.private_key, EcdhKem(CKD_NULL), ciphertext, seal.Mechanism()).rv);
    EXPECT_RV(
        CKR_WRAPPED_KEY_INVALID,
        Reseal(binding_, pair_.private_key, EcdhKem(CKD_NULL), Bytes(32), seal.Mechanism()).rv);
    EXPECT_RV(
        CKR_WRAPPED_KEY_LEN_RANGE,
        Reseal(binding_, pair_.private_key, EcdhKem(CKD_NULL), Bytes(31), seal.Mechanism()).rv);
  }
  // The exporter's secret by HPKE, of a length.
  Hpke open{.context = ToBytes("context")};
  const Encapsulated sent = Encapsulate(session_, open.Mechanism(), pair_.public_key,
                                        SecretTemplate().With(CKA_VALUE_LEN, CK_ULONG{48}));
  ASSERT_RV(CKR_OK, sent.rv);
  const Result sealed =
      Reseal(binding_, pair_.private_key, open.Mechanism(), sent.ciphertext, seal.Mechanism(), 48);
  ASSERT_RV(CKR_OK, sealed.rv);
  EXPECT_EQ(ReferenceOpen(seal, binding_scalar_, sealed.value),
            ReadBytes(session_, sent.key, CKA_VALUE));
}

// CKA_DECAPSULATE_TEMPLATE with CKA_WRAP_WITH_TRUSTED, the standard's means, beside the binding:
// the binding key itself must be trusted then, which is the security officer's to say.
TEST_F(BoundKeyTest, OnlyToATrustedBindingKey) {
  CK_BBOOL yes = CK_TRUE;
  const CK_ATTRIBUTE imposed[] = {{CKA_WRAP_WITH_TRUSTED, &yes, sizeof yes}};
  const auto* bytes = reinterpret_cast<const CK_BYTE*>(imposed);
  KeyPair pair;
  ASSERT_RV(CKR_OK,
            Generate(Bound()
                         .With(CKA_TOKEN, true)
                         .With(CKA_DECAPSULATE_TEMPLATE, Bytes(bytes, bytes + sizeof imposed)),
                     pair));
  ASSERT_RV(CKR_OK, P11().C_Logout(session_));
  ASSERT_RV(CKR_OK, Login(session_, CKU_SO, SoPin()));
  const CK_OBJECT_HANDLE trusted = Create(session_, X25519PublicKey(binding_point_)
                                                        .With(CKA_WRAP, true)
                                                        .With(CKA_TOKEN, true)
                                                        .With(CKA_PRIVATE, false)
                                                        .With(CKA_TRUSTED, true));
  ASSERT_RV(CKR_OK, P11().C_Logout(session_));
  ASSERT_RV(CKR_OK, Login(session_, CKU_USER, UserPin()));
  const auto kems = FindAll(session_, Template()
                                          .With(CKA_CLASS, CK_ULONG{CKO_PRIVATE_KEY})
                                          .With(CKA_TOKEN, true)
                                          .With(CKA_DECAPSULATE, true));
  ASSERT_EQ(kems.size(), 1U);
  const CK_OBJECT_HANDLE plain =
      Create(session_, X25519PublicKey(binding_point_).With(CKA_WRAP, true));
  const Bytes ciphertext = ReferencePublicKey(ReferenceRandom(32));
  CK_OBJECT_HANDLE secret = 0;
  ASSERT_RV(CKR_OK,
            Decapsulate(session_, EcdhKem(CKD_NULL), kems.front(), ciphertext, Wanted(), secret));
  EXPECT_TRUE(ReadBool(session_, secret, CKA_WRAP_WITH_TRUSTED));
  Hpke hpke{};
  EXPECT_RV(CKR_KEY_NOT_WRAPPABLE, Wrap(session_, plain, hpke.Mechanism(), secret).rv);
  EXPECT_RV(CKR_OK, Wrap(session_, trusted, hpke.Mechanism(), secret).rv);
  const auto reseal = [&](CK_OBJECT_HANDLE to) {
    return Reseal(to, kems.front(), EcdhKem(CKD_NULL), ciphertext, hpke.Mechanism()).rv;
  };
  EXPECT_RV(CKR_KEY_NOT_WRAPPABLE, reseal(plain));
  EXPECT_RV(CKR_OK, reseal(trusted));
}

TEST_F(BoundKeyTest, ResealParameters) {
  Bytes secret;
  const Bytes ciphertext = Send(&secret);
  Hpke seal{};
  const auto refused = [&](OwnedMechanism decapsulation, OwnedMechanism wrapping) {
    EXPECT_RV(CKR_MECHANISM_PARAM_INVALID,
              Reseal(binding_, pair_.private_key, decapsulation, ciphertext, wrapping).rv);
  };
  refused(OwnedMechanism(CKM_SHA256), seal.Mechanism());
  refused(EcdhKem(CKD_NULL), OwnedMechanism(CKM_SHA256));
  refused(EcdhKem(CKD_NULL), OwnedMechanism(CKM_SECRETMEM_RESEAL));
  refused(EcdhKem(77), seal.Mechanism());
  for (const size_t size : {0U, 39U, 41U}) {
    EXPECT_RV(CKR_MECHANISM_PARAM_INVALID,
              Wrap(session_, binding_, OwnedMechanism(CKM_SECRETMEM_RESEAL, Bytes(size)),
                   pair_.private_key)
                  .rv);
  }
  EXPECT_RV(
      CKR_WRAPPING_KEY_HANDLE_INVALID,
      Reseal(0x7777777, pair_.private_key, EcdhKem(CKD_NULL), ciphertext, seal.Mechanism()).rv);
  EXPECT_RV(CKR_KEY_HANDLE_INVALID,
            Reseal(binding_, 0x7777777, EcdhKem(CKD_NULL), ciphertext, seal.Mechanism()).rv);
  // CKA_ALLOWED_MECHANISMS is asked for the inner mechanism too.
  const CK_MECHANISM_TYPE allowed[] = {CKM_SECRETMEM_RESEAL, CKM_SECRETMEM_HPKE};
  const auto* bytes = reinterpret_cast<const CK_BYTE*>(allowed);
  KeyPair pair;
  ASSERT_RV(
      CKR_OK,
      Generate(Bound().With(CKA_ALLOWED_MECHANISMS, Bytes(bytes, bytes + sizeof allowed)), pair));
  EXPECT_RV(CKR_MECHANISM_INVALID,
            Reseal(binding_, pair.private_key, EcdhKem(CKD_NULL), ciphertext, seal.Mechanism()).rv);
}

}  // namespace
}  // namespace secretmem::conformance
