// Signatures that contain their data: C_SignRecover and C_VerifyRecover, PKCS#11 3.2, 5.13
// and 5.15.

#include "pkcs11/operation_step.h"

using namespace secretmem;

using Signing = ActiveOperation<SignOperation>;
using Recovering = ActiveOperation<RecoverOperation>;

CK_RV C_SignRecoverInit(CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism,
                        CK_OBJECT_HANDLE hKey) {
  return EnterSession(__func__, hSession, [&](Session& session) {
    return BeginWithKey(session, session.sign_recover, pMechanism, hKey, CKA_SIGN_RECOVER,
                        &Mechanism::sign_recover);
  });
}

CK_RV C_SignRecover(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pData, CK_ULONG ulDataLen,
                    CK_BYTE_PTR pSignature, CK_ULONG_PTR pulSignatureLen) {
  return EnterSession(__func__, hSession, [&](Session& session) {
    const bool fit = IsInput(pData, ulDataLen) && pulSignatureLen != nullptr;
    return OnOperation(session, session.sign_recover, fit, [&](Signing& active) -> Step {
      return Deliver(pSignature, pulSignatureLen, active.operation->max_size(), After::kEnd,
                     [&](std::span<uint8_t> out) {
                       return active.operation->Sign({pData, ulDataLen}, out);
                     });
    });
  });
}

CK_RV C_VerifyRecoverInit(CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism,
                          CK_OBJECT_HANDLE hKey) {
  return EnterSession(__func__, hSession, [&](Session& session) {
    return BeginWithKey(session, session.verify_recover, pMechanism, hKey, CKA_VERIFY_RECOVER,
                        &Mechanism::verify_recover);
  });
}

CK_RV C_VerifyRecover(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pSignature, CK_ULONG ulSignatureLen,
                      CK_BYTE_PTR pData, CK_ULONG_PTR pulDataLen) {
  return EnterSession(__func__, hSession, [&](Session& session) {
    const bool fit = pSignature != nullptr && pulDataLen != nullptr;
    return OnOperation(session, session.verify_recover, fit, [&](Recovering& active) -> Step {
      if (pData == nullptr) {
        *pulDataLen = active.operation->max_size();
        return Step::Keep();
      }
      // Nothing here is secret: the buffer need be no longer than what was signed.
      const auto data = active.operation->Recover({pSignature, ulSignatureLen});
      if (!data) return Step::Error(data.error());
      return Deliver(pData, pulDataLen, data->size(), After::kEnd, [&](std::span<uint8_t> out) {
        std::ranges::copy(*data, out.begin());
        return CkResult<size_t>(out.size());
      });
    });
  });
}
