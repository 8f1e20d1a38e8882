// The fixture of the sweeps: every mechanism that the token lists, in every use that it lists for
// it, with keys, parameters and templates that work.
#pragma once

#include <algorithm>
#include <map>
#include <optional>
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

// InitOf is the function that begins a use.
Init InitOf(CK_FLAGS use);

// UsageOf is the attribute that a key needs for a use.
CK_ATTRIBUTE_TYPE UsageOf(CK_FLAGS use);

class SweepTest : public UserTest {
 protected:
  void SetUp() override;
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
  CK_RV Call(CK_FLAGS use, CK_MECHANISM mechanism, CK_OBJECT_HANDLE key, CK_OBJECT_HANDLE* made);

  // Wrapped is target_ as this mechanism wraps it.
  Bytes& Wrapped(CK_MECHANISM_TYPE type);

  std::map<CK_MECHANISM_TYPE, Bytes> wrapped_;
  std::optional<std::vector<CK_OBJECT_HANDLE>> objects_;
};

}  // namespace secretmem::conformance
