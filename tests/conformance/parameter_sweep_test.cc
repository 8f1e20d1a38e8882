// Every mechanism that the token lists, in every use that it lists for it, with parameters, keys
// and states that are wrong: PKCS#11 3.1 §5.1, §5.2, §5.8 to §5.18. What is refused leaves nothing
// behind, and the same call with what is right works.
#include <algorithm>
#include <cstring>
#include <map>
#include <vector>

#include "tests/conformance/cipher.h"
#include "tests/conformance/ec.h"
#include "tests/conformance/fixtures.h"
#include "tests/conformance/kdf.h"
#include "tests/conformance/rsa.h"
#include "tests/conformance/sweep.h"

namespace secretmem::conformance {
namespace {

using Init = CK_RV (*)(CK_SESSION_HANDLE, CK_MECHANISM*, CK_OBJECT_HANDLE);

// Uses that are begun by an Init function.
constexpr CK_FLAGS kBegun[] = {CKF_DIGEST,          CKF_SIGN,         CKF_VERIFY,
                               CKF_ENCRYPT,         CKF_DECRYPT,      CKF_MESSAGE_ENCRYPT,
                               CKF_MESSAGE_DECRYPT, CKF_SIGN_RECOVER, CKF_VERIFY_RECOVER};
// Uses that are one call.
constexpr CK_FLAGS kCalled[] = {CKF_WRAP, CKF_UNWRAP, CKF_DERIVE, CKF_GENERATE,
                                CKF_GENERATE_KEY_PAIR};
constexpr CK_FLAGS kMessageUses = CKF_MESSAGE_ENCRYPT | CKF_MESSAGE_DECRYPT;
constexpr CK_FLAGS kWithoutKey = CKF_DIGEST | CKF_GENERATE | CKF_GENERATE_KEY_PAIR;

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

// ExpectParameterRv is for values that some parameter can have: what the specification allows.
void ExpectParameterRv(CK_FLAGS use, CK_RV rv) {
  // Another tag length, initial value or AAD than that of the wrapping.
  if (use == CKF_UNWRAP && rv == CKR_WRAPPED_KEY_INVALID) return;
  EXPECT_RV_IN(rv, CKR_OK, CKR_MECHANISM_PARAM_INVALID, CKR_KEY_HANDLE_INVALID,
               CKR_PUBLIC_KEY_INVALID, CKR_TEMPLATE_INCONSISTENT, CKR_KEY_SIZE_RANGE);
}

class ParameterSweepTest : public SweepTest {
 protected:
  void Lengths(const SweepRow& row, CK_FLAGS use) {
    const std::set<size_t> lengths = LengthsFor(row, use);
    const CK_OBJECT_HANDLE key = KeyFor(row.kind, use);
    for (size_t length = 0; length <= *lengths.rbegin() + 8; ++length) {
      SCOPED_TRACE(testing::Message() << "length " << length);
      if (length != 0) {
        EXPECT_RV(CKR_MECHANISM_PARAM_INVALID, Run(use, {row.type, nullptr, length}, key));
      }
      // Making a key pair takes long, and Works does it once.
      if (length == 0 && lengths.contains(0) && use == CKF_GENERATE_KEY_PAIR) continue;
      for (const CK_BYTE fill : {CK_BYTE{0x00}, CK_BYTE{0xff}}) {
        const CK_RV rv = Run(use, row.type, key, Bytes(length, fill));
        if (lengths.contains(length) || row.ignores_parameter) {
          ExpectParameterRv(use, rv);
        } else {
          EXPECT_RV(CKR_MECHANISM_PARAM_INVALID, rv);
        }
      }
    }
    for (const CK_ULONG absurd : {CK_ULONG{1} << 40, CK_ULONG{1} << 63, ~CK_ULONG{0}}) {
      CK_BYTE byte = 0;
      EXPECT_RV(CKR_MECHANISM_PARAM_INVALID, Run(use, {row.type, &byte, absurd}, key));
    }
  }

  // Each word of a parameter that works, by others: pointers by NULL.
  void Words(const SweepRow& row, CK_FLAGS use) {
    const Bytes good = ParameterFor(row, use);
    const CK_OBJECT_HANDLE key = KeyFor(row.kind, use);
    for (size_t at = 0; at + sizeof(CK_ULONG) <= good.size(); at += sizeof(CK_ULONG)) {
      SCOPED_TRACE(testing::Message() << "word " << at / sizeof(CK_ULONG));
      CK_ULONG word;
      memcpy(&word, &good[at], sizeof word);
      const auto with = [&](CK_ULONG value) {
        Bytes bad = good;
        memcpy(&bad[at], &value, sizeof value);
        return Run(use, row.type, key, bad);
      };
      if (word >> 32 != 0) {  // an address
        EXPECT_RV(CKR_MECHANISM_PARAM_INVALID, with(0));
        continue;
      }
      for (const CK_ULONG value :
           {CK_ULONG{0}, CK_ULONG{1} << 40, CK_ULONG{1} << 63, ~CK_ULONG{0} - 7, ~CK_ULONG{0}}) {
        ExpectParameterRv(use, with(value));
      }
    }
  }
};

TEST_F(ParameterSweepTest, Operations) {
  ForEach(kBegun, [&](const SweepRow& row, CK_FLAGS use) {
    Lengths(row, use);
    Words(row, use);
    Works(row, use);
  });
}

TEST_F(ParameterSweepTest, Keys) {
  ForEach(kCalled, [&](const SweepRow& row, CK_FLAGS use) {
    Lengths(row, use);
    Words(row, use);
    Works(row, use);
  });
}

class KeySweepTest : public SweepTest {};

TEST_F(KeySweepTest, Handles) {
  const auto check = [&](const SweepRow& row, CK_FLAGS use) {
    if ((use & kWithoutKey) != 0) return;
    const CK_RV invalid = use == CKF_WRAP     ? CKR_WRAPPING_KEY_HANDLE_INVALID
                          : use == CKF_UNWRAP ? CKR_UNWRAPPING_KEY_HANDLE_INVALID
                                              : CKR_KEY_HANDLE_INVALID;
    const CK_OBJECT_HANDLE data = Create(session_, DataObject("no key"));
    for (const CK_OBJECT_HANDLE none :
         {CK_OBJECT_HANDLE{0}, CK_OBJECT_HANDLE{0xffffff}, ~CK_OBJECT_HANDLE{0}, data}) {
      EXPECT_RV(invalid, Run(use, row.type, none, ParameterFor(row, use)));
    }
    EXPECT_RV(CKR_OK, P11().C_DestroyObject(session_, data));
    Works(row, use);
  };
  ForEach(kBegun, check);
  ForEach(kCalled, check);
}

// A key of another type, or the other half of a pair. Where it is the flag that forbids it, that
// may be seen first.
TEST_F(KeySweepTest, Types) {
  const auto check = [&](const SweepRow& row, CK_FLAGS use) {
    if ((use & kWithoutKey) != 0) return;
    const CK_RV inconsistent = use == CKF_WRAP     ? CKR_WRAPPING_KEY_TYPE_INCONSISTENT
                               : use == CKF_UNWRAP ? CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT
                                                   : CKR_KEY_TYPE_INCONSISTENT;
    for (const auto& [kind, pair] : keys_) {
      for (const CK_OBJECT_HANDLE key : {pair.public_key, pair.private_key}) {
        if (key == KeyFor(row.kind, use)) continue;
        // Some mechanisms of these curves are X25519's as well.
        if (row.kind == KeyKind::kEc && kind == KeyKind::kMontgomery) continue;
        SCOPED_TRACE(testing::Message() << "kind " << static_cast<int>(kind) << " key " << key);
        // What derives from a generic secret does so from any secret key.
        const bool secret =
            kind == KeyKind::kHkdf || kind == KeyKind::kAes || kind == KeyKind::kChaCha;
        const CK_RV rv = Run(use, row.type, key, ParameterFor(row, use));
        if (use == CKF_DERIVE && row.kind == KeyKind::kGeneric && secret) {
          EXPECT_RV_IN(rv, CKR_OK, CKR_KEY_FUNCTION_NOT_PERMITTED, inconsistent);
        } else {
          EXPECT_RV_IN(rv, inconsistent, CKR_KEY_FUNCTION_NOT_PERMITTED);
        }
      }
    }
    Works(row, use);
  };
  ForEach(kBegun, check);
  ForEach(kCalled, check);
}

class StateSweepTest : public SweepTest {};

// §5.2, §5.8.2 and its kin: a second Init changes nothing; a NULL mechanism ends the operation.
TEST_F(StateSweepTest, TwoInits) {
  ForEach(kBegun, [&](const SweepRow& row, CK_FLAGS use) {
    const Init init = InitOf(use);
    Bytes parameter = ParameterFor(row, use);
    CK_MECHANISM mechanism{row.type, parameter.empty() ? nullptr : parameter.data(),
                           parameter.size()};
    const CK_OBJECT_HANDLE key = KeyFor(row.kind, use);
    ASSERT_RV(CKR_OK, init(session_, &mechanism, key));
    EXPECT_RV(CKR_OPERATION_ACTIVE, init(session_, &mechanism, key));
    CK_MECHANISM unknown{CKM_VENDOR_DEFINED | 0x7ffffff, nullptr, 0};
    EXPECT_RV(CKR_OPERATION_ACTIVE, init(session_, &unknown, key));
    EXPECT_RV(CKR_OK, init(session_, nullptr, 0)) << "the first has gone";
    EXPECT_RV_IN(init(session_, nullptr, 0), CKR_OK, CKR_ARGUMENTS_BAD);
    Works(row, use);
  });
}

// After a NULL mechanism there is no operation to go on with.
TEST_F(StateSweepTest, StepsAfterNull) {
  CK_BYTE data[16] = {}, out[64];
  CK_ULONG length = sizeof out;
  CK_MECHANISM sha{CKM_SHA256, nullptr, 0}, cmac{CKM_AES_CMAC, nullptr, 0},
      ecb{CKM_AES_ECB, nullptr, 0};
  const CK_OBJECT_HANDLE aes = KeyFor(KeyKind::kAes, CKF_SIGN);
  ASSERT_RV(CKR_OK, P11().C_DigestInit(session_, &sha));
  ASSERT_RV(CKR_OK, P11().C_DigestUpdate(session_, data, sizeof data));
  ASSERT_RV(CKR_OK, P11().C_SignInit(session_, &cmac, aes));
  ASSERT_RV(CKR_OK, P11().C_VerifyInit(session_, &cmac, aes));
  ASSERT_RV(CKR_OK, P11().C_EncryptInit(session_, &ecb, aes));
  ASSERT_RV(CKR_OK, P11().C_DecryptInit(session_, &ecb, aes));
  // Each ends its own operation alone.
  EXPECT_RV(CKR_OK, P11().C_DigestInit(session_, nullptr));
  EXPECT_RV(CKR_OPERATION_NOT_INITIALIZED, P11().C_DigestFinal(session_, out, &length));
  EXPECT_RV(CKR_OK, P11().C_SignUpdate(session_, data, sizeof data));
  EXPECT_RV(CKR_OK, P11().C_SignInit(session_, nullptr, aes));
  EXPECT_RV(CKR_OPERATION_NOT_INITIALIZED, P11().C_SignFinal(session_, out, &length));
  EXPECT_RV(CKR_OK, P11().C_VerifyUpdate(session_, data, sizeof data));
  EXPECT_RV(CKR_OK, P11().C_VerifyInit(session_, nullptr, 0));
  EXPECT_RV(CKR_OPERATION_NOT_INITIALIZED, P11().C_VerifyFinal(session_, out, length));
  EXPECT_RV(CKR_OK, P11().C_EncryptUpdate(session_, data, sizeof data, out, &length));
  EXPECT_RV(CKR_OK, P11().C_EncryptInit(session_, nullptr, 0));
  EXPECT_RV(CKR_OPERATION_NOT_INITIALIZED, P11().C_EncryptFinal(session_, out, &length));
  length = sizeof out;
  EXPECT_RV(CKR_OK, P11().C_DecryptUpdate(session_, data, sizeof data, out, &length));
  EXPECT_RV(CKR_OK, P11().C_DecryptInit(session_, nullptr, 0));
  EXPECT_RV(CKR_OPERATION_NOT_INITIALIZED, P11().C_DecryptFinal(session_, out, &length));
}

}  // namespace
}  // namespace secretmem::conformance
