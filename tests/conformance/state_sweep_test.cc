// Every mechanism that the token lists, in every use that is begun by an Init function, in wrong
// states: steps without Init, after the end, after an error, in parts where there are none, two
// Inits. PKCS#11 3.1 §5.2, §5.8 to §5.17.
#include <functional>

#include "tests/conformance/kem.h"
#include "tests/conformance/sweep_fixture.h"

namespace secretmem::conformance {
namespace {

// What is wrong with a call's arguments. A query asks for the length; a short call has no room.
enum class Fault { kNone, kQuery, kShort, kNoInput, kNoLength };

constexpr CK_FLAGS kRecovering = CKF_SIGN_RECOVER | CKF_VERIFY_RECOVER;
constexpr CK_FLAGS kCiphers = CKF_ENCRYPT | CKF_DECRYPT;
constexpr CK_FLAGS kWithSteps[] = {CKF_DIGEST,  CKF_SIGN,         CKF_VERIFY,        CKF_ENCRYPT,
                                   CKF_DECRYPT, CKF_SIGN_RECOVER, CKF_VERIFY_RECOVER};

class StateSweepTest : public SweepTest {
 protected:
  using Produce = std::function<CK_RV(CK_BYTE*, CK_ULONG*)>;

  // Out makes a call that has an output. Its value of a query is as many zeros as it tells.
  static Result Out(Fault fault, const Produce& produce) {
    Bytes out(2048);
    CK_ULONG length = fault == Fault::kShort ? 0 : out.size();
    const CK_RV rv = produce(fault == Fault::kQuery ? nullptr : out.data(),
                             fault == Fault::kNoLength ? nullptr : &length);
    if (rv != CKR_OK) return {rv, {}};
    EXPECT_LE(length, out.size());
    out.resize(length);
    return {rv, out};
  }

  // Whole is the call that does all at once; `signature` is for verification alone.
  Result Whole(CK_FLAGS use, Bytes in, Bytes signature, Fault fault = Fault::kNone) {
    CK_BYTE* const data = fault == Fault::kNoInput ? nullptr : in.data();
    if (use == CKF_VERIFY) {
      CK_BYTE* const given = fault == Fault::kNoLength ? nullptr : signature.data();
      return {P11().C_Verify(session_, data, in.size(), given, signature.size()), {}};
    }
    return Out(fault, [&](CK_BYTE* out, CK_ULONG* length) {
      const auto function = use == CKF_DIGEST         ? P11().C_Digest
                            : use == CKF_SIGN         ? P11().C_Sign
                            : use == CKF_ENCRYPT      ? P11().C_Encrypt
                            : use == CKF_DECRYPT      ? P11().C_Decrypt
                            : use == CKF_SIGN_RECOVER ? P11().C_SignRecover
                                                      : P11().C_VerifyRecover;
      return function(session_, data, in.size(), out, length);
    });
  }

  Result Update(CK_FLAGS use, Bytes in, Fault fault = Fault::kNone) {
    CK_BYTE* const data = fault == Fault::kNoInput ? nullptr : in.data();
    if ((use & kCiphers) != 0) {
      return Out(fault, [&](CK_BYTE* out, CK_ULONG* length) {
        const auto function = use == CKF_ENCRYPT ? P11().C_EncryptUpdate : P11().C_DecryptUpdate;
        return function(session_, data, in.size(), out, length);
      });
    }
    const auto function = use == CKF_DIGEST ? P11().C_DigestUpdate
                          : use == CKF_SIGN ? P11().C_SignUpdate
                                            : P11().C_VerifyUpdate;
    return {function(session_, data, in.size()), {}};
  }

  Result Final(CK_FLAGS use, Bytes signature, Fault fault = Fault::kNone) {
    if (use == CKF_VERIFY) {
      CK_BYTE* const given = fault == Fault::kNoLength ? nullptr : signature.data();
      return {P11().C_VerifyFinal(session_, given, signature.size()), {}};
    }
    return Out(fault, [&](CK_BYTE* out, CK_ULONG* length) {
      const auto function = use == CKF_DIGEST    ? P11().C_DigestFinal
                            : use == CKF_SIGN    ? P11().C_SignFinal
                            : use == CKF_ENCRYPT ? P11().C_EncryptFinal
                                                 : P11().C_DecryptFinal;
      return function(session_, out, length);
    });
  }

  void Begin(const SweepRow& row, CK_FLAGS use) { ASSERT_RV(CKR_OK, TryToBegin(row, use)); }
  CK_RV TryToBegin(const SweepRow& row, CK_FLAGS use) {
    Bytes parameter = ParameterFor(row, use);
    CK_MECHANISM mechanism{row.type, parameter.empty() ? nullptr : parameter.data(),
                           parameter.size()};
    return InitOf(use)(session_, &mechanism, KeyFor(row.kind, use));
  }

  // Without an operation every step says so, whatever else is wrong with it or active.
  void ExpectNone(CK_FLAGS use) {
    const Bytes data(16, 1);
    EXPECT_RV(CKR_OPERATION_NOT_INITIALIZED, Whole(use, data, data).rv);
    if ((use & kRecovering) != 0) return;
    EXPECT_RV(CKR_OPERATION_NOT_INITIALIZED, Update(use, data).rv);
    EXPECT_RV(CKR_OPERATION_NOT_INITIALIZED, Final(use, data).rv);
    EXPECT_RV(CKR_OPERATION_NOT_INITIALIZED, Final(use, data, Fault::kQuery).rv);
  }

  // Material is what a use's steps take, made by the token itself.
  struct Material {
    Bytes in;
    Bytes signature{};
    Bytes plain;
  };
  Material MaterialFor(const SweepRow& row, CK_FLAGS use) {
    Bytes data(row.type == CKM_RSA_PKCS_PSS ? 32 : 16, 3);
    const auto by = [&](CK_FLAGS other) {
      EXPECT_RV(CKR_OK, TryToBegin(row, other));
      const Result made = Whole(other, data, {});
      EXPECT_RV(CKR_OK, made.rv);
      return made.value;
    };
    if (use == CKF_VERIFY) return {data, by(CKF_SIGN), data};
    if (use == CKF_DECRYPT) return {by(CKF_ENCRYPT), {}, data};
    if (use == CKF_VERIFY_RECOVER) return {by(CKF_SIGN_RECOVER), {}, data};
    return {data, {}, data};
  }

  // Right fails unless `value` is what the use makes of the material.
  void ExpectRight(const SweepRow& row, CK_FLAGS use, const Material& material, Bytes value) {
    if (use == CKF_DECRYPT || use == CKF_VERIFY_RECOVER) {
      // Raw RSA gives numbers as long as the modulus.
      if (row.type == CKM_RSA_X_509) value = WithoutZeros(value);
      EXPECT_EQ(value, material.plain);
    } else if (use != CKF_VERIFY) {
      EXPECT_FALSE(value.empty());
    }
  }

  void AtOnce(const SweepRow& row, CK_FLAGS use, const Material& material) {
    SCOPED_TRACE("at once");
    const auto whole = [&](Fault fault) {
      return Whole(use, material.in, material.signature, fault);
    };
    Begin(row, use);
    if (use != CKF_VERIFY) {
      EXPECT_RV(CKR_OK, whole(Fault::kQuery).rv);
      EXPECT_RV(CKR_BUFFER_TOO_SMALL, whole(Fault::kShort).rv);
    }
    const Result made = whole(Fault::kNone);
    EXPECT_RV(CKR_OK, made.rv) << "a query or a short buffer has ended it";
    ExpectRight(row, use, material, made.value);
    ExpectNone(use);
    for (const Fault fault : {Fault::kNoInput, Fault::kNoLength}) {
      Begin(row, use);
      EXPECT_RV(CKR_ARGUMENTS_BAD, whole(fault).rv);
      ExpectNone(use);
    }
    if (use == CKF_VERIFY) {
      Bytes wrong = material.signature;
      wrong.back() ^= 1;
      Begin(row, use);
      EXPECT_RV(CKR_SIGNATURE_INVALID, Whole(use, material.in, wrong).rv);
      ExpectNone(use);
      wrong.push_back(0);
      Begin(row, use);
      EXPECT_RV(CKR_SIGNATURE_LEN_RANGE, Whole(use, material.in, wrong).rv);
      ExpectNone(use);
    }
  }

  void InParts(const SweepRow& row, CK_FLAGS use, const Material& material) {
    SCOPED_TRACE("in parts");
    const auto update = [&](Fault fault = Fault::kNone) { return Update(use, material.in, fault); };
    const auto final = [&](Fault fault = Fault::kNone) {
      return Final(use, material.signature.empty() ? Bytes(1) : material.signature, fault);
    };
    Begin(row, use);
    const Result first = update();
    if (first.rv != CKR_OK) {
      // A mechanism for one part.
      EXPECT_RV(CKR_FUNCTION_NOT_SUPPORTED, first.rv);
      ExpectNone(use);
      Begin(row, use);
      EXPECT_RV(CKR_FUNCTION_NOT_SUPPORTED, final().rv);
      ExpectNone(use);
      return;
    }
    EXPECT_RV(CKR_OPERATION_ACTIVE, TryToBegin(row, use));
    const Result rest = [&] {
      if (use == CKF_VERIFY) return final();
      const Result query = final(Fault::kQuery);
      EXPECT_RV(CKR_OK, query.rv);
      if (!query.value.empty()) {
        EXPECT_RV(CKR_BUFFER_TOO_SMALL, final(Fault::kShort).rv);
      }
      return final();
    }();
    EXPECT_RV(CKR_OK, rest.rv);
    Bytes all = first.value;
    all.insert(all.end(), rest.value.begin(), rest.value.end());
    ExpectRight(row, use, material, all);
    ExpectNone(use);
    // The call that does all at once cannot end it.
    Begin(row, use);
    EXPECT_RV(CKR_OK, update().rv);
    EXPECT_RV(CKR_OPERATION_ACTIVE, Whole(use, material.in, material.signature).rv);
    ExpectNone(use);
    for (const Fault fault : {Fault::kNoInput, Fault::kNoLength}) {
      if (fault == Fault::kNoLength && (use & kCiphers) == 0) continue;
      Begin(row, use);
      EXPECT_RV(CKR_OK, update().rv);
      EXPECT_RV(CKR_ARGUMENTS_BAD, update(fault).rv);
      ExpectNone(use);
    }
    Begin(row, use);
    EXPECT_RV(CKR_OK, update().rv);
    EXPECT_RV(CKR_ARGUMENTS_BAD, final(Fault::kNoLength).rv);
    ExpectNone(use);
    if (use == CKF_VERIFY) {
      Begin(row, use);
      EXPECT_RV(CKR_OK, update().rv);
      Bytes wrong = material.signature;
      wrong.back() ^= 1;
      EXPECT_RV(CKR_SIGNATURE_INVALID, Final(use, wrong).rv);
      ExpectNone(use);
    }
  }
};

TEST_F(StateSweepTest, Steps) {
  for (const CK_FLAGS use : kWithSteps) ExpectNone(use);
  ForEach(kWithSteps, [&](const SweepRow& row, CK_FLAGS use) {
    const Material material = MaterialFor(row, use);
    AtOnce(row, use, material);
    if ((use & kRecovering) == 0) InParts(row, use, material);
    Works(row, use);
  });
}

// One operation of each kind may be active, and none is another's.
TEST_F(StateSweepTest, OfAnotherKind) {
  ForEach(kWithSteps, [&](const SweepRow& row, CK_FLAGS use) {
    const Material material = MaterialFor(row, use);
    Begin(row, use);
    for (const CK_FLAGS other : kWithSteps) {
      if (other != use) ExpectNone(other);
    }
    EXPECT_RV(CKR_OK, Whole(use, material.in, material.signature).rv);
  });
}

// §5.6.8: C_SessionCancel ends the kind that it names, and no other.
TEST_F(StateSweepTest, SessionCancel) {
  if (P11v32() == nullptr) GTEST_SKIP() << "a module before 3.2";
  CK_FLAGS all = 0;
  for (const CK_FLAGS use : kBegun) all |= use;
  ForEach(kBegun, [&](const SweepRow& row, CK_FLAGS use) {
    EXPECT_RV(CKR_OK, P11v32()->C_SessionCancel(session_, use)) << "nothing to cancel";
    Begin(row, use);
    EXPECT_RV(CKR_OK, P11v32()->C_SessionCancel(session_, all & ~use));
    EXPECT_RV(CKR_OPERATION_ACTIVE, TryToBegin(row, use)) << "another kind's cancellation";
    EXPECT_RV(CKR_OK, P11v32()->C_SessionCancel(session_, use));
    if ((use & kMessageUses) == 0) ExpectNone(use);
    Works(row, use);
  });
}

// A key without the flag for it: refused, nothing begun, nothing made.
TEST_F(StateSweepTest, UsageFlags) {
  const auto check = [&](const SweepRow& row, CK_FLAGS use) {
    if ((use & kWithoutKey) != 0) return;
    Template change = Template().With(UsageOf(use), false);
    CK_OBJECT_HANDLE copy = CK_INVALID_HANDLE;
    ASSERT_RV(CKR_OK, P11().C_CopyObject(session_, KeyFor(row.kind, use), change.data(),
                                         change.size(), &copy));
    EXPECT_RV(CKR_KEY_FUNCTION_NOT_PERMITTED, Run(use, row.type, copy, ParameterFor(row, use)));
    EXPECT_RV(CKR_OK, P11().C_DestroyObject(session_, copy));
    Works(row, use);
  };
  ForEach(kBegun, check);
  ForEach(kCalled, check);
}

// §5.9, §5.11: messages without Init, two Inits, and Final, which ends it.
TEST_F(StateSweepTest, Messages) {
  if (P11v32() == nullptr) GTEST_SKIP() << "a module before 3.2";
  const auto step = [&](CK_FLAGS use) {
    Bytes in(16), out(16), tag(16), iv(12);
    CK_GCM_MESSAGE_PARAMS parameter{iv.data(), iv.size(), 0, CKG_NO_GENERATE, tag.data(), 128};
    CK_ULONG length = out.size();
    const auto function =
        use == CKF_MESSAGE_ENCRYPT ? P11v32()->C_EncryptMessage : P11v32()->C_DecryptMessage;
    return function(session_, &parameter, sizeof parameter, nullptr, 0, in.data(), in.size(),
                    out.data(), &length);
  };
  const auto final = [&](CK_FLAGS use) {
    return use == CKF_MESSAGE_ENCRYPT ? P11v32()->C_MessageEncryptFinal(session_)
                                      : P11v32()->C_MessageDecryptFinal(session_);
  };
  const CK_FLAGS uses[] = {CKF_MESSAGE_ENCRYPT, CKF_MESSAGE_DECRYPT};
  ForEach(uses, [&](const SweepRow& row, CK_FLAGS use) {
    EXPECT_RV(CKR_OPERATION_NOT_INITIALIZED, step(use));
    EXPECT_RV(CKR_OPERATION_NOT_INITIALIZED, final(use));
    Begin(row, use);
    EXPECT_RV(CKR_OPERATION_ACTIVE, TryToBegin(row, use));
    EXPECT_RV(CKR_OPERATION_NOT_INITIALIZED, step(use ^ kMessageUses));
    EXPECT_RV(CKR_OPERATION_NOT_INITIALIZED, final(use ^ kMessageUses));
    EXPECT_RV(CKR_OK, final(use));
    EXPECT_RV(CKR_OPERATION_NOT_INITIALIZED, step(use));
    EXPECT_RV(CKR_OPERATION_NOT_INITIALIZED, final(use));
    Works(row, use);
  });
}

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
