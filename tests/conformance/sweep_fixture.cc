#include "tests/conformance/sweep_fixture.h"

namespace secretmem::conformance {

Init InitOf(CK_FLAGS use) {
  switch (use) {
    case CKF_SIGN:
      return P11().C_SignInit;
    case CKF_VERIFY:
      return P11().C_VerifyInit;
    case CKF_ENCRYPT:
      return P11().C_EncryptInit;
    case CKF_DECRYPT:
      return P11().C_DecryptInit;
    case CKF_SIGN_RECOVER:
      return P11().C_SignRecoverInit;
    case CKF_VERIFY_RECOVER:
      return P11().C_VerifyRecoverInit;
    case CKF_MESSAGE_ENCRYPT:
      return reinterpret_cast<Init>(ModuleSymbol("C_MessageEncryptInit"));
    case CKF_MESSAGE_DECRYPT:
      return reinterpret_cast<Init>(ModuleSymbol("C_MessageDecryptInit"));
    default:
      return [](CK_SESSION_HANDLE session, CK_MECHANISM* mechanism, CK_OBJECT_HANDLE) {
        return P11().C_DigestInit(session, mechanism);
      };
  }
}

CK_ATTRIBUTE_TYPE UsageOf(CK_FLAGS use) {
  switch (use) {
    case CKF_SIGN:
      return CKA_SIGN;
    case CKF_VERIFY:
      return CKA_VERIFY;
    case CKF_SIGN_RECOVER:
      return CKA_SIGN_RECOVER;
    case CKF_VERIFY_RECOVER:
      return CKA_VERIFY_RECOVER;
    case CKF_ENCRYPT:
    case CKF_MESSAGE_ENCRYPT:
      return CKA_ENCRYPT;
    case CKF_DECRYPT:
    case CKF_MESSAGE_DECRYPT:
      return CKA_DECRYPT;
    case CKF_WRAP:
      return CKA_WRAP;
    case CKF_UNWRAP:
      return CKA_UNWRAP;
    default:
      return CKA_DERIVE;
  }
}

void SweepTest::SetUp() {
  UserTest::SetUp();
  if (HasFatalFailure()) return;
  const auto both = [&](KeyKind kind, CK_OBJECT_HANDLE key) { keys_[kind] = {key, key}; };
  both(
      KeyKind::kGeneric,
      Create(session_, SecretKeyTemplate(CKK_GENERIC_SECRET, Bytes(48, 7)).With(CKA_DERIVE, true)));
  both(KeyKind::kHkdf,
       Create(
           session_,
           SecretKeyTemplate(CKK_HKDF, Bytes(32, 4)).Without(CKA_ENCRYPT).With(CKA_DERIVE, true)));
  both(KeyKind::kAes, ImportKey(session_, CKK_AES, Bytes(16, 8)));
  both(KeyKind::kChaCha, ImportKey(session_, CKK_CHACHA20, Bytes(32, 9)));
  KeyPair rsa;
  CK_MECHANISM generate{CKM_RSA_PKCS_KEY_PAIR_GEN, nullptr, 0};
  Template open = Template().With(CKA_MODULUS_BITS, CK_ULONG{2048});
  Template secret = Template().With(CKA_PRIVATE, false);
  for (const auto use : {CKA_VERIFY, CKA_VERIFY_RECOVER, CKA_ENCRYPT, CKA_WRAP})
    open.With(use, true);
  for (const auto use : {CKA_SIGN, CKA_SIGN_RECOVER, CKA_DECRYPT, CKA_UNWRAP})
    secret.With(use, true);
  ASSERT_RV(CKR_OK,
            P11().C_GenerateKeyPair(session_, &generate, open.data(), open.size(), secret.data(),
                                    secret.size(), &rsa.public_key, &rsa.private_key));
  keys_[KeyKind::kRsa] = {rsa.public_key, rsa.private_key};
  const EcCurve& curve = EcCurveOf("prime256v1");
  const EcKeyPair pair = ReferenceEcKey(curve);
  keys_[KeyKind::kEc] = {
      Create(session_, EcPublicKey(curve, OctetString(pair.point)).With(CKA_WRAP, true)),
      Create(session_, EcPrivateKey(curve, pair.scalar).With(CKA_UNWRAP, true))};
  Template of_public = PublicTemplate();
  Template of_private = PrivateTemplate();
  for (const auto use : {CKA_WRAP, CKA_ENCRYPT}) of_public.With(use, true);
  for (const auto use : {CKA_UNWRAP, CKA_DECRYPT}) of_private.With(use, true);
  ASSERT_RV(CKR_OK, GenerateKeyPair(session_, of_public, of_private, keys_[KeyKind::kMontgomery]));
  const Bytes seed(32, 5);
  keys_[KeyKind::kEdwards] = {
      Create(session_, Ed25519PublicKey(OctetString(ReferenceEd25519Public(seed)))),
      Create(session_, Ed25519PrivateKey(seed))};
  target_ = ImportKey(session_, CKK_GENERIC_SECRET, Bytes(16, 6));
  named_ = Bytes(Template::Encode(target_));
  objects_ = FindAll(session_);
}

CK_RV SweepTest::Call(CK_FLAGS use, CK_MECHANISM mechanism, CK_OBJECT_HANDLE key,
                      CK_OBJECT_HANDLE* made) {
  switch (use) {
    case CKF_WRAP: {
      Bytes out(1024);
      CK_ULONG length = out.size();
      return P11().C_WrapKey(session_, &mechanism, key, target_, out.data(), &length);
    }
    case CKF_UNWRAP: {
      Bytes& wrapped = Wrapped(mechanism.mechanism);
      Template wanted = UnwrappedTemplate(CKK_GENERIC_SECRET);
      return P11().C_UnwrapKey(session_, &mechanism, key, wrapped.data(), wrapped.size(),
                               wanted.data(), wanted.size(), made);
    }
    case CKF_DERIVE: {
      Template wanted = DerivesWith(mechanism.mechanism);
      return P11().C_DeriveKey(session_, &mechanism, key, wanted.data(), wanted.size(), made);
    }
    case CKF_GENERATE: {
      Template wanted = GeneratesWith(mechanism.mechanism);
      return P11().C_GenerateKey(session_, &mechanism, wanted.data(), wanted.size(), made);
    }
    case CKF_GENERATE_KEY_PAIR: {
      Template open = GeneratesWith(mechanism.mechanism);
      Template secret = Template().With(CKA_PRIVATE, false);
      return P11().C_GenerateKeyPair(session_, &mechanism, open.data(), open.size(), secret.data(),
                                     secret.size(), &made[0], &made[1]);
    }
    default: {
      const CK_RV rv = InitOf(use)(session_, &mechanism, key);
      if (rv == CKR_OK) {
        EXPECT_RV(CKR_OK, InitOf(use)(session_, nullptr, 0));
      } else if (use != CKF_MESSAGE_ENCRYPT && use != CKF_MESSAGE_DECRYPT) {
        // A refused Init leaves no operation to end.
        EXPECT_RV(CKR_ARGUMENTS_BAD, InitOf(use)(session_, nullptr, 0));
      }
      return rv;
    }
  }
}

Bytes& SweepTest::Wrapped(CK_MECHANISM_TYPE type) {
  const auto [at, is_new] = wrapped_.try_emplace(type);
  if (!is_new) return at->second;
  const SweepRow& row = *std::ranges::find(SweepRows(), type, &SweepRow::type);
  const Result result = Wrap(session_, KeyFor(row.kind, CKF_WRAP),
                             OwnedMechanism(type, ParameterFor(row, CKF_WRAP)), target_);
  EXPECT_RV(CKR_OK, result.rv);
  return at->second = result.value;
}

}  // namespace secretmem::conformance
