// Every mechanism that the token lists, in every use that it lists for it, with parameters and keys
// that are wrong: PKCS#11 3.1 §5.1, §5.2, §5.8 to §5.18. What is refused leaves nothing behind, and
// the same call with what is right works. Wrong states are state_sweep_test.cc's.
#include <cstring>

#include "tests/conformance/sweep_fixture.h"

namespace secretmem::conformance {
namespace {

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

}  // namespace
}  // namespace secretmem::conformance
