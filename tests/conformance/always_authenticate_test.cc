// CKA_ALWAYS_AUTHENTICATE: PKCS#11 3.1 §4.9 and §5.6.8. Every use of such a key wants the user's
// PIN again, right after its Init.
#include "tests/conformance/cipher.h"
#include "tests/conformance/ec.h"
#include "tests/conformance/fixtures.h"
#include "tests/conformance/kdf.h"
#include "tests/conformance/pkey.h"
#include "tests/conformance/rsa.h"

namespace secretmem::conformance {
namespace {

class AlwaysAuthenticateTest : public UserTest {
 protected:
  void SetUp() override {
    UserTest::SetUp();
    if (HasFatalFailure()) return;
    static const RsaNumbers& numbers =
        *new RsaNumbers(RsaNumbersOf(Pkcs8Of(GeneratePkey("RSA", "2048").get())));
    rsa_ = Create(session_, Guarded(RsaPrivateKey(numbers)));
    const CK_OBJECT_HANDLE public_rsa =
        Create(session_, RsaPublicKey(numbers.n, numbers.e).With(CKA_ENCRYPT, true));
    ciphertext_ = Encrypt(session_, public_rsa, OwnedMechanism(CKM_RSA_PKCS), Bytes(20, 1)).value;
    const EcKeyPair pair = ReferenceEcKey(EcCurveOf("prime256v1"));
    ec_ = Create(session_, Guarded(EcPrivateKey(EcCurveOf("prime256v1"), pair.scalar)));
    point_ = pair.point;
    ed25519_ = Create(session_, Guarded(Ed25519PrivateKey(ReferenceRandom(32))));
    x25519_ = Create(session_, Guarded(X25519PrivateKey(ReferenceRandom(32))));
  }

  static Template Guarded(Template key) {
    key.With(CKA_PRIVATE, true).With(CKA_ALWAYS_AUTHENTICATE, true);
    for (const auto usage : {CKA_SIGN, CKA_SIGN_RECOVER, CKA_DECRYPT, CKA_UNWRAP, CKA_DERIVE}) {
      key.With(usage, true);
    }
    return key;
  }

  CK_RV Again(std::string_view pin) { return Login(session_, CKU_CONTEXT_SPECIFIC, pin); }
  CK_RV Again() { return Again(UserPin()); }

  // What can be done with which key; `calls` are those that finish it, one after the other.
  struct Use {
    const char* name;
    CK_RV (*init)(CK_SESSION_HANDLE, CK_MECHANISM*, CK_OBJECT_HANDLE);
    CK_MECHANISM_TYPE mechanism;
    CK_OBJECT_HANDLE key;
    std::vector<CK_RV (*)(CK_SESSION_HANDLE, CK_BYTE*, CK_ULONG, CK_BYTE*, CK_ULONG*)> calls;
  };
  std::vector<Use> Uses() {
    const auto sign = P11().C_Sign;
    const auto update = [](CK_SESSION_HANDLE session, CK_BYTE* in, CK_ULONG size, CK_BYTE*,
                           CK_ULONG*) { return P11().C_SignUpdate(session, in, size); };
    const auto final = [](CK_SESSION_HANDLE session, CK_BYTE*, CK_ULONG, CK_BYTE* out,
                          CK_ULONG* length) { return P11().C_SignFinal(session, out, length); };
    return {
        {"RSA", P11().C_SignInit, CKM_RSA_PKCS, rsa_, {sign}},
        {"RSA in parts", P11().C_SignInit, CKM_SHA256_RSA_PKCS, rsa_, {update, update, final}},
        {"ECDSA", P11().C_SignInit, CKM_ECDSA, ec_, {sign}},
        {"EDDSA", P11().C_SignInit, CKM_EDDSA, ed25519_, {sign}},
        {"decryption", P11().C_DecryptInit, CKM_RSA_PKCS, rsa_, {P11().C_Decrypt}},
        {"recovery", P11().C_SignRecoverInit, CKM_RSA_PKCS, rsa_, {P11().C_SignRecover}},
    };
  }
  CK_RV Begin(const Use& use) {
    CK_MECHANISM mechanism{use.mechanism, nullptr, 0};
    return use.init(session_, &mechanism, use.key);
  }
  CK_RV Call(const Use& use, size_t at) {
    Bytes in = use.mechanism == CKM_RSA_PKCS && use.init == P11().C_DecryptInit ? ciphertext_
                                                                                : Bytes(32, 7);
    Bytes out(256);
    CK_ULONG length = out.size();
    return use.calls[at](session_, in.data(), in.size(), out.data(), &length);
  }
  CK_OBJECT_HANDLE rsa_ = 0, ec_ = 0, ed25519_ = 0, x25519_ = 0;
  Bytes point_, ciphertext_;
};

TEST_F(AlwaysAuthenticateTest, EachUse) {
  for (const Use& use : Uses()) {
    SCOPED_TRACE(use.name);
    EXPECT_RV(CKR_OPERATION_NOT_INITIALIZED, Again()) << "before the operation";
    // Without the login: refused, and over.
    ASSERT_RV(CKR_OK, Begin(use));
    EXPECT_RV(CKR_USER_NOT_LOGGED_IN, Call(use, 0));
    EXPECT_RV(CKR_OPERATION_NOT_INITIALIZED, Call(use, 0));
    EXPECT_RV(CKR_OPERATION_NOT_INITIALIZED, Again());
    // With a wrong PIN it is as if there had been none; a right one may follow.
    ASSERT_RV(CKR_OK, Begin(use));
    EXPECT_RV(CKR_PIN_INCORRECT, Again("not the PIN"));
    EXPECT_RV(CKR_USER_NOT_LOGGED_IN, Call(use, 0));
    ASSERT_RV(CKR_OK, Begin(use));
    EXPECT_RV(CKR_PIN_INCORRECT, Again("not the PIN"));
    EXPECT_RV(CKR_OK, Again());
    EXPECT_RV(CKR_OPERATION_NOT_INITIALIZED, Again()) << "nothing waits for it any more";
    for (size_t i = 0; i < use.calls.size(); ++i) EXPECT_RV(CKR_OK, Call(use, i)) << i;
    // It was for one use.
    ASSERT_RV(CKR_OK, Begin(use));
    EXPECT_RV(CKR_USER_NOT_LOGGED_IN, Call(use, 0));
    EXPECT_EQ(State(session_), CKS_RW_USER_FUNCTIONS) << "the session's own login";
  }
}

// The PIN is for the operation begun last.
TEST_F(AlwaysAuthenticateTest, OneAtATime) {
  const std::vector<Use> uses = Uses();
  const Use& first = uses[0];
  const Use& second = uses[4];
  ASSERT_STREQ(second.name, "decryption");
  ASSERT_RV(CKR_OK, Begin(first));
  ASSERT_RV(CKR_OK, Begin(second));
  EXPECT_RV(CKR_OK, Again());
  EXPECT_RV(CKR_OK, Call(second, 0));
  EXPECT_RV(CKR_USER_NOT_LOGGED_IN, Call(first, 0));
  ASSERT_RV(CKR_OK, Begin(second));
  ASSERT_RV(CKR_OK, Begin(first));
  EXPECT_RV(CKR_OK, Again());
  EXPECT_RV(CKR_OK, Again());
  EXPECT_RV(CKR_OK, Call(first, 0));
  EXPECT_RV(CKR_OK, Call(second, 0));
}

// Unwrapping and deriving are one call: there is no login that could come first.
TEST_F(AlwaysAuthenticateTest, OneCall) {
  const auto before = FindAll(session_);
  CK_OBJECT_HANDLE key = CK_INVALID_HANDLE;
  EXPECT_RV(CKR_USER_NOT_LOGGED_IN,
            Unwrap(session_, rsa_, OwnedMechanism(CKM_RSA_PKCS), ciphertext_,
                   UnwrappedTemplate(CKK_GENERIC_SECRET), key));
  Derivation derivation{.base = ec_, .peer = point_, .key = SecretTemplate()};
  EXPECT_RV(CKR_USER_NOT_LOGGED_IN, Derive(session_, derivation, key));
  derivation = {.base = x25519_, .peer = ReferencePublicKey(Bytes(32, 9)), .key = SecretTemplate()};
  EXPECT_RV(CKR_USER_NOT_LOGGED_IN, Derive(session_, derivation, key));
  EXPECT_EQ(FindAll(session_), before);
}

// Other keys do not ask, and then there is nobody to log in.
TEST_F(AlwaysAuthenticateTest, OtherKeys) {
  Template key =
      Ed25519PrivateKey(ReferenceRandom(32)).With(CKA_PRIVATE, true).With(CKA_SIGN, true);
  const CK_OBJECT_HANDLE plain = Create(session_, key);
  const Use use{"EDDSA", P11().C_SignInit, CKM_EDDSA, plain, {P11().C_Sign}};
  ASSERT_RV(CKR_OK, Begin(use));
  EXPECT_RV(CKR_OPERATION_NOT_INITIALIZED, Again());
  EXPECT_RV(CKR_OK, Call(use, 0));
}

// §4.9: only with CKA_PRIVATE.
TEST_F(AlwaysAuthenticateTest, PublicObjects) {
  Template key = Guarded(X25519PrivateKey(ReferenceRandom(32))).With(CKA_PRIVATE, false);
  CK_OBJECT_HANDLE handle = CK_INVALID_HANDLE;
  EXPECT_RV(CKR_TEMPLATE_INCONSISTENT,
            P11().C_CreateObject(session_, key.data(), key.size(), &handle));
}

}  // namespace
}  // namespace secretmem::conformance
