// What tests of every mechanism in every use begin from: a key for each of them, and one call.
#pragma once

#include <algorithm>
#include <cstring>
#include <map>
#include <optional>
#include <span>
#include <vector>

#include "tests/conformance/cipher.h"
#include "tests/conformance/ec.h"
#include "tests/conformance/fixtures.h"
#include "tests/conformance/kdf.h"
#include "tests/conformance/rsa.h"
#include "tests/conformance/sweep.h"

namespace secretmem::conformance {

using Init = CK_RV (*)(CK_SESSION_HANDLE, CK_MECHANISM*, CK_OBJECT_HANDLE);

// Uses that are begun by an Init function.
inline constexpr CK_FLAGS kBegun[] = {CKF_DIGEST,          CKF_SIGN,         CKF_VERIFY,
                                      CKF_ENCRYPT,         CKF_DECRYPT,      CKF_MESSAGE_ENCRYPT,
                                      CKF_MESSAGE_DECRYPT, CKF_SIGN_RECOVER, CKF_VERIFY_RECOVER};
// Uses that are one call.
inline constexpr CK_FLAGS kCalled[] = {CKF_WRAP, CKF_UNWRAP, CKF_DERIVE, CKF_GENERATE,
                                       CKF_GENERATE_KEY_PAIR};
inline constexpr CK_FLAGS kMessageUses = CKF_MESSAGE_ENCRYPT | CKF_MESSAGE_DECRYPT;
inline constexpr CK_FLAGS kWithoutKey = CKF_DIGEST | CKF_GENERATE | CKF_GENERATE_KEY_PAIR;

inline Init InitOf(CK_FLAGS use) {
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

class SweepTest : public UserTest {
 protected:
  void SetUp() override {
    UserTest::SetUp();
    if (HasFatalFailure()) return;
    const auto both = [&](KeyKind kind, CK_OBJECT_HANDLE key) { keys_[kind] = {key, key}; };
    both(KeyKind::kGeneric,
         Create(session_,
                SecretKeyTemplate(CKK_GENERIC_SECRET, Bytes(48, 7)).With(CKA_DERIVE, true)));
    both(
        KeyKind::kHkdf,
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
    ASSERT_RV(CKR_OK,
              GenerateKeyPair(session_, of_public, of_private, keys_[KeyKind::kMontgomery]));
    const Bytes seed(32, 5);
    keys_[KeyKind::kEdwards] = {
        Create(session_, Ed25519PublicKey(OctetString(ReferenceEd25519Public(seed)))),
        Create(session_, Ed25519PrivateKey(seed))};
    target_ = ImportKey(session_, CKK_GENERIC_SECRET, Bytes(16, 6));
    named_ = Bytes(Template::Encode(target_));
    objects_ = FindAll(session_);
  }
  void TearDown() override {
    if (objects_) {
      EXPECT_EQ(FindAll(session_), *objects_) << "objects have come or gone";
    }
    UserTest::TearDown();
  }

  // ForEach calls check(row, use) for everything that the token offers.
  template <class F>
  void ForEach(std::span<const CK_FLAGS> uses, F check) {
    CK_ULONG count = 0;
    ASSERT_RV(CKR_OK, P11().C_GetMechanismList(slot_, nullptr, &count));
    std::vector<CK_MECHANISM_TYPE> types(count);
    ASSERT_RV(CKR_OK, P11().C_GetMechanismList(slot_, types.data(), &count));
    for (const CK_MECHANISM_TYPE type : types) {
      SCOPED_TRACE(testing::Message() << "mechanism 0x" << std::hex << type);
      const auto row = std::ranges::find(SweepRows(), type, &SweepRow::type);
      ASSERT_NE(row, SweepRows().end()) << "sweep.cc does not have it";
      if (row->kind == KeyKind::kApart) continue;
      CK_MECHANISM_INFO info{};
      ASSERT_RV(CKR_OK, P11().C_GetMechanismInfo(slot_, type, &info));
      for (const CK_FLAGS use : uses) {
        if ((info.flags & use) == 0) continue;
        SCOPED_TRACE(testing::Message() << "use 0x" << std::hex << use);
        check(*row, use);
      }
    }
  }

  CK_OBJECT_HANDLE KeyFor(KeyKind kind, CK_FLAGS use) const {
    if (kind == KeyKind::kNone) return CK_INVALID_HANDLE;
    const KeyPair& pair = keys_.at(kind);
    return (use & (CKF_VERIFY | CKF_VERIFY_RECOVER | CKF_ENCRYPT | CKF_WRAP)) != 0
               ? pair.public_key
               : pair.private_key;
  }

  // ParameterFor is one that works, LengthsFor all that a parameter may have.
  Bytes ParameterFor(const SweepRow& row, CK_FLAGS use) const {
    if ((use & (kMessageUses | CKF_GENERATE_KEY_PAIR)) != 0) return {};
    return row.type == CKM_CONCATENATE_BASE_AND_KEY ? named_ : row.parameter;
  }
  static std::set<size_t> LengthsFor(const SweepRow& row, CK_FLAGS use) {
    if ((use & CKF_GENERATE_KEY_PAIR) != 0) return {0};
    if ((use & kMessageUses) == 0) return row.lengths;
    return {0, row.type == CKM_AES_GCM ? sizeof(CK_GCM_MESSAGE_PARAMS)
                                       : sizeof(CK_SALSA20_CHACHA20_POLY1305_MSG_PARAMS)};
  }

  // Run makes the call and undoes what it did.
  CK_RV Run(CK_FLAGS use, CK_MECHANISM mechanism, CK_OBJECT_HANDLE key) {
    CK_SSL3_KEY_MAT_OUT& set = SweepMaterial();
    set.hClientMacSecret = set.hServerMacSecret = set.hClientKey = set.hServerKey = 0;
    CK_OBJECT_HANDLE one[2] = {CK_INVALID_HANDLE, CK_INVALID_HANDLE};
    const CK_RV rv = Call(use, mechanism, key, one);
    const CK_OBJECT_HANDLE made[] = {
        one[0], one[1], set.hClientMacSecret, set.hServerMacSecret, set.hClientKey, set.hServerKey};
    for (const CK_OBJECT_HANDLE handle : made) {
      EXPECT_TRUE(rv == CKR_OK || handle == CK_INVALID_HANDLE) << "a handle beside an error";
      if (handle != CK_INVALID_HANDLE) {
        EXPECT_RV(CKR_OK, P11().C_DestroyObject(session_, handle));
      }
    }
    return rv;
  }
  CK_RV Run(CK_FLAGS use, CK_MECHANISM_TYPE type, CK_OBJECT_HANDLE key, const Bytes& parameter) {
    // One byte off: the structure need not be aligned.
    Bytes room(parameter.size() + 1);
    std::ranges::copy(parameter, room.begin() + 1);
    return Run(use, {type, parameter.empty() ? nullptr : room.data() + 1, parameter.size()}, key);
  }

  void Works(const SweepRow& row, CK_FLAGS use) {
    EXPECT_RV(CKR_OK, Run(use, row.type, KeyFor(row.kind, use), ParameterFor(row, use)));
  }

  std::map<KeyKind, KeyPair> keys_;
  CK_OBJECT_HANDLE target_ = CK_INVALID_HANDLE;
  Bytes named_;

 private:
  CK_RV Call(CK_FLAGS use, CK_MECHANISM mechanism, CK_OBJECT_HANDLE key, CK_OBJECT_HANDLE* made) {
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
        return P11().C_GenerateKeyPair(session_, &mechanism, open.data(), open.size(),
                                       secret.data(), secret.size(), &made[0], &made[1]);
      }
      default: {
        const CK_RV rv = InitOf(use)(session_, &mechanism, key);
        if (rv == CKR_OK) {
          EXPECT_RV(CKR_OK, InitOf(use)(session_, nullptr, 0));
        }
        return rv;
      }
    }
  }

  // Wrapped is target_ as this mechanism wraps it.
  Bytes& Wrapped(CK_MECHANISM_TYPE type) {
    const auto [at, is_new] = wrapped_.try_emplace(type);
    if (!is_new) return at->second;
    const SweepRow& row = *std::ranges::find(SweepRows(), type, &SweepRow::type);
    const Result result = Wrap(session_, KeyFor(row.kind, CKF_WRAP),
                               OwnedMechanism(type, ParameterFor(row, CKF_WRAP)), target_);
    EXPECT_RV(CKR_OK, result.rv);
    return at->second = result.value;
  }

  std::map<CK_MECHANISM_TYPE, Bytes> wrapped_;
  std::optional<std::vector<CK_OBJECT_HANDLE>> objects_;
};

}  // namespace secretmem::conformance
