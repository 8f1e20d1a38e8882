#include "tests/conformance/calls.h"

#include "tests/conformance/module.h"
#include "tests/conformance/template.h"
#include "tests/conformance/x25519.h"

namespace secretmem::conformance {
namespace {

// One buffer serves all calls: tests that share it run in one thread.
CK_BYTE g_buffer[64];
CK_ULONG g_length;
CK_OBJECT_HANDLE g_handle;

// Fresh resets the length and returns its address, so that no call sees another's result.
CK_ULONG* Fresh() {
  g_length = sizeof g_buffer;
  return &g_length;
}

CK_MECHANISM* Mechanism(CK_MECHANISM_TYPE type) {
  static CK_MECHANISM mechanism;
  mechanism = {type, nullptr, 0};
  return &mechanism;
}

}  // namespace

#define CALL_FOR(flags, name, ...)                                                            \
  Call {                                                                                      \
#name, []([[maybe_unused]] CK_SESSION_HANDLE s,                                           \
              [[maybe_unused]] CK_OBJECT_HANDLE o) { return P11().name(__VA_ARGS__); }, flags \
  }
#define CALL(name, ...) CALL_FOR(0, name, __VA_ARGS__)

std::vector<Call> SlotCalls() {
  static CK_INFO info;
  static CK_SLOT_INFO slot_info;
  static CK_TOKEN_INFO token_info;
  static CK_MECHANISM_INFO mechanism_info;
  static CK_SLOT_ID slots[16];
  static CK_ULONG count;
  count = 16;
  return {
      CALL(C_GetInfo, &info),
      CALL(C_GetSlotList, 0, slots, &count),
      CALL(C_GetSlotList, 1, nullptr, &count),
      CALL(C_GetSlotInfo, 0, &slot_info),
      CALL(C_GetTokenInfo, 0, &token_info),
      CALL(C_GetMechanismList, 0, nullptr, &count),
      CALL(C_GetMechanismInfo, 0, CKM_ECDH1_DERIVE, &mechanism_info),
      CALL(C_InitToken, 0, g_buffer, 8, g_buffer),
      CALL(C_OpenSession, 0, CKF_SERIAL_SESSION, nullptr, nullptr, &g_handle),
      CALL(C_CloseAllSessions, 0),
  };
}

std::vector<Call> SessionCalls() {
  static CK_SESSION_INFO info;
  static Template data = DataObject("call");
  static CK_ATTRIBUTE label{CKA_LABEL, g_buffer, 4};
  static CK_OBJECT_HANDLE second;
  static Template public_key = PublicTemplate();
  static Template private_key = PrivateTemplate();
  static Template secret = SecretTemplate().With(CKA_VALUE_LEN, CK_ULONG{32});
  static CK_ECDH1_DERIVE_PARAMS parameters{CKD_NULL, 0, nullptr, 32, g_buffer};
  static CK_MECHANISM derive{CKM_ECDH1_DERIVE, &parameters, sizeof parameters};
  return {
      CALL(C_InitPIN, s, g_buffer, 8),
      CALL(C_SetPIN, s, g_buffer, 8, g_buffer, 8),
      CALL(C_GetSessionInfo, s, &info),
      CALL(C_Login, s, CKU_USER, g_buffer, 8),
      CALL(C_Logout, s),
      CALL(C_CreateObject, s, data.data(), data.size(), &g_handle),
      CALL(C_CopyObject, s, o, &label, 1, &g_handle),
      CALL(C_GetObjectSize, s, o, Fresh()),
      CALL(C_GetAttributeValue, s, o, &label, 1),
      CALL(C_SetAttributeValue, s, o, &label, 1),
      CALL(C_DestroyObject, s, o),
      CALL(C_FindObjectsInit, s, nullptr, 0),
      CALL(C_FindObjects, s, &g_handle, 1, Fresh()),
      CALL(C_FindObjectsFinal, s),
      CALL(C_GenerateKey, s, Mechanism(CKM_GENERIC_SECRET_KEY_GEN), secret.data(), secret.size(),
           &g_handle),
      CALL(C_GenerateKeyPair, s, Mechanism(X25519KeyPairMechanism()), public_key.data(),
           public_key.size(), private_key.data(), private_key.size(), &g_handle, &second),
      CALL(C_DeriveKey, s, &derive, o, secret.data(), secret.size(), &g_handle),
      CALL(C_SeedRandom, s, g_buffer, 8),
      CALL(C_GenerateRandom, s, g_buffer, 8),
      CALL(C_CloseSession, s),
  };
}

std::vector<Call> StateCalls() {
  return {
      CALL(C_GetOperationState, s, g_buffer, Fresh()),
      CALL(C_SetOperationState, s, g_buffer, 8, 0, 0),
  };
}

std::vector<Call> InitCalls() {
  static Template secret = SecretTemplate();
  constexpr CK_MECHANISM_TYPE kNone = CKM_VENDOR_DEFINED + 0x7ffffff;
  return {
      CALL_FOR(CKF_ENCRYPT, C_EncryptInit, s, Mechanism(kNone), o),
      CALL_FOR(CKF_DECRYPT, C_DecryptInit, s, Mechanism(kNone), o),
      CALL_FOR(CKF_DIGEST, C_DigestInit, s, Mechanism(kNone)),
      CALL_FOR(CKF_SIGN, C_SignInit, s, Mechanism(kNone), o),
      CALL_FOR(CKF_SIGN_RECOVER, C_SignRecoverInit, s, Mechanism(kNone), o),
      CALL_FOR(CKF_VERIFY, C_VerifyInit, s, Mechanism(kNone), o),
      CALL_FOR(CKF_VERIFY_RECOVER, C_VerifyRecoverInit, s, Mechanism(kNone), o),
      CALL_FOR(CKF_WRAP, C_WrapKey, s, Mechanism(kNone), o, o, g_buffer, Fresh()),
      CALL_FOR(CKF_UNWRAP, C_UnwrapKey, s, Mechanism(kNone), o, g_buffer, 24, secret.data(),
               secret.size(), &g_handle),
  };
}

std::vector<Call> StepCalls() {
  return {
      CALL_FOR(CKF_ENCRYPT, C_Encrypt, s, g_buffer, 16, g_buffer, Fresh()),
      CALL_FOR(CKF_ENCRYPT, C_EncryptUpdate, s, g_buffer, 16, g_buffer, Fresh()),
      CALL_FOR(CKF_ENCRYPT, C_EncryptFinal, s, g_buffer, Fresh()),
      CALL_FOR(CKF_DECRYPT, C_Decrypt, s, g_buffer, 16, g_buffer, Fresh()),
      CALL_FOR(CKF_DECRYPT, C_DecryptUpdate, s, g_buffer, 16, g_buffer, Fresh()),
      CALL_FOR(CKF_DECRYPT, C_DecryptFinal, s, g_buffer, Fresh()),
      CALL_FOR(CKF_DIGEST, C_Digest, s, g_buffer, 16, g_buffer, Fresh()),
      CALL_FOR(CKF_DIGEST, C_DigestUpdate, s, g_buffer, 16),
      CALL_FOR(CKF_DIGEST, C_DigestKey, s, o),
      CALL_FOR(CKF_DIGEST, C_DigestFinal, s, g_buffer, Fresh()),
      CALL_FOR(CKF_SIGN, C_Sign, s, g_buffer, 16, g_buffer, Fresh()),
      CALL_FOR(CKF_SIGN, C_SignUpdate, s, g_buffer, 16),
      CALL_FOR(CKF_SIGN, C_SignFinal, s, g_buffer, Fresh()),
      CALL_FOR(CKF_SIGN_RECOVER, C_SignRecover, s, g_buffer, 16, g_buffer, Fresh()),
      CALL_FOR(CKF_VERIFY, C_Verify, s, g_buffer, 16, g_buffer, 16),
      CALL_FOR(CKF_VERIFY, C_VerifyUpdate, s, g_buffer, 16),
      CALL_FOR(CKF_VERIFY, C_VerifyFinal, s, g_buffer, 16),
      CALL_FOR(CKF_VERIFY_RECOVER, C_VerifyRecover, s, g_buffer, 16, g_buffer, Fresh()),
      CALL_FOR(CKF_DIGEST, C_DigestEncryptUpdate, s, g_buffer, 16, g_buffer, Fresh()),
      CALL_FOR(CKF_DIGEST, C_DecryptDigestUpdate, s, g_buffer, 16, g_buffer, Fresh()),
      CALL_FOR(CKF_SIGN, C_SignEncryptUpdate, s, g_buffer, 16, g_buffer, Fresh()),
      CALL_FOR(CKF_VERIFY, C_DecryptVerifyUpdate, s, g_buffer, 16, g_buffer, Fresh()),
  };
}

std::vector<Call> CryptoCalls() {
  std::vector<Call> all = StateCalls();
  for (const std::vector<Call>& more : {InitCalls(), StepCalls()}) {
    all.insert(all.end(), more.begin(), more.end());
  }
  return all;
}

std::vector<Call> LegacyCalls() {
  return {CALL(C_GetFunctionStatus, s), CALL(C_CancelFunction, s)};
}

#undef CALL
#undef CALL_FOR

}  // namespace secretmem::conformance
