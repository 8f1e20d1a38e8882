// Mechanism parameters: every mechanism with every function that takes one, on keys of every type.
#include <map>

#include "mechanisms/vendor.h"
#include "tests/fuzz/input.h"
#include "tests/fuzz/token.h"

namespace secretmem::fuzz {
namespace {

struct State {
  CK_SESSION_HANDLE session = LastingSession();
  std::vector<CK_OBJECT_HANDLE> keys = SomeKeys(session);
  std::vector<CK_OBJECT_HANDLE> kem_keys = SomeKemKeys(session);
};

// The functions of PKCS#11 3.2, and wrapping, with the mechanisms and keys that do either.
void Encapsulate(const State& state, std::span<CK_ATTRIBUTE> given, std::span<uint8_t> data,
                 std::span<uint8_t> more, std::span<uint8_t> out, Input& input) {
  constexpr CK_MECHANISM_TYPE kTypes[] = {CKM_SECRETMEM_HPKE, CKM_SECRETMEM_RESEAL,
                                          CKM_ECDH1_DERIVE,   CKM_ECDH_X_AES_KEY_WRAP,
                                          CKM_ML_KEM,         CKM_AES_GCM};
  Keep keep;
  CK_MECHANISM mechanism = AnyMechanism(input, keep, kTypes, state.kem_keys);
  const CK_OBJECT_HANDLE key = input.Of(state.kem_keys);
  const CK_OBJECT_HANDLE other = input.Of(state.kem_keys);
  CK_ULONG sent = out.size();
  CK_ULONG length = out.size();
  CK_OBJECT_HANDLE made = 0, again = 0;
  switch (input.Below(6)) {
    case 0:
      if (C_EncapsulateKey(state.session, &mechanism, key, given.data(), given.size(), out.data(),
                           &sent, &made) == CKR_OK) {
        C_DecapsulateKey(state.session, &mechanism, other, given.data(), given.size(), out.data(),
                         sent, &again);
      }
      break;
    case 1:
      C_DecapsulateKey(state.session, &mechanism, key, given.data(), given.size(), data.data(),
                       data.size(), &made);
      break;
    case 2:
      // What was wrapped, all but one byte.
      if (C_WrapKey(state.session, &mechanism, key, other, out.data(), &length) == CKR_OK &&
          length != 0 && length <= out.size()) {
        out[input.Below(length)] ^= input.Byte();
        C_UnwrapKey(state.session, &mechanism, input.Of(state.kem_keys), out.data(), length,
                    given.data(), given.size(), &made);
      }
      break;
    case 3:
      C_UnwrapKey(state.session, &mechanism, key, data.data(), data.size(), given.data(),
                  given.size(), &made);
      break;
    case 4:
      C_WrapKeyAuthenticated(state.session, &mechanism, key, other, data.data(), data.size(),
                             out.data(), &length);
      break;
    default:
      C_UnwrapKeyAuthenticated(state.session, &mechanism, key, data.data(), data.size(),
                               given.data(), given.size(), more.data(), more.size(), &made);
  }
  for (const CK_OBJECT_HANDLE object : {made, again}) {
    if (object != 0) C_DestroyObject(state.session, object);
  }
}

void Operate(const State& state, Input& input) {
  const auto& [session, keys, kem_keys] = state;
  Keep keep;
  CK_MECHANISM mechanism = AnyMechanism(input, keep, Mechanisms(), keys);
  const CK_OBJECT_HANDLE key = input.Of(keys);
  const size_t what = input.Below(9);
  const auto given = what >= 6 ? AnyTemplate(input, keep) : std::span<CK_ATTRIBUTE>();
  const auto data = keep.Bytes(input.Some());
  const auto more = keep.Bytes(input.Some());
  const auto out = keep.Bytes(Bytes(input.Below(4) == 0 ? input.Below(64) : 1200));
  CK_ULONG length = out.size();
  CK_OBJECT_HANDLE made = 0;
  const bool parts = input.Below(2) == 0;
  switch (what) {
    case 0:
      if (C_DigestInit(session, &mechanism) != CKR_OK) return;
      C_DigestUpdate(session, data.data(), data.size());
      C_DigestFinal(session, out.data(), &length);
      break;
    case 1:
      if (C_SignInit(session, &mechanism, key) != CKR_OK) return;
      if (!parts) {
        C_Sign(session, data.data(), data.size(), out.data(), &length);
        break;
      }
      C_SignUpdate(session, data.data(), data.size());
      C_SignUpdate(session, more.data(), more.size());
      C_SignFinal(session, out.data(), &length);
      break;
    case 2:
      if (C_VerifyInit(session, &mechanism, key) != CKR_OK) return;
      C_Verify(session, data.data(), data.size(), more.data(), more.size());
      break;
    case 3:
      if (C_EncryptInit(session, &mechanism, key) != CKR_OK) return;
      if (!parts) {
        C_Encrypt(session, data.data(), data.size(), out.data(), &length);
        break;
      }
      C_EncryptUpdate(session, data.data(), data.size(), out.data(), &length);
      length = out.size();
      C_EncryptUpdate(session, more.data(), more.size(), out.data(), &length);
      length = out.size();
      C_EncryptFinal(session, out.data(), &length);
      break;
    case 4:
      if (C_DecryptInit(session, &mechanism, key) != CKR_OK) return;
      if (!parts) {
        C_Decrypt(session, data.data(), data.size(), out.data(), &length);
        break;
      }
      C_DecryptUpdate(session, data.data(), data.size(), out.data(), &length);
      length = out.size();
      C_DecryptUpdate(session, more.data(), more.size(), out.data(), &length);
      length = out.size();
      C_DecryptFinal(session, out.data(), &length);
      break;
    case 5:
      C_WrapKey(session, &mechanism, key, input.Of(keys), out.data(), &length);
      break;
    case 6:
      C_DeriveKey(session, &mechanism, key, given.data(), given.size(), &made);
      break;
    case 7:
      C_UnwrapKey(session, &mechanism, key, data.data(), data.size(), given.data(), given.size(),
                  &made);
      break;
    default:
      if (parts) {
        Encapsulate(state, given, data, more, out, input);
        break;
      }
      C_GenerateKey(session, &mechanism, given.data(), given.size(), &made);
  }
  if (made != 0) C_DestroyObject(session, made);
  C_SessionCancel(session, ~CK_FLAGS{0});
}

}  // namespace
}  // namespace secretmem::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace secretmem::fuzz;
  static const State state;
  Input input(data, size);
  for (int i = 0; i < 8 && !input.empty(); ++i) Operate(state, input);
  return 0;
}
