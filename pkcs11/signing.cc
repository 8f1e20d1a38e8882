// Signing and MACing functions and those that verify, PKCS#11 3.2, 5.13 and 5.15.

#include "pkcs11/operation_step.h"

using namespace secretmem;

using Signing = ActiveOperation<SignOperation>;
using Verifying = ActiveOperation<VerifyOperation>;

CK_RV C_SignInit(CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism, CK_OBJECT_HANDLE hKey) {
  return EnterSession(__func__, hSession, [&](Session& session) {
    return BeginWithKey(session, session.sign, pMechanism, hKey, CKA_SIGN, &Mechanism::sign);
  });
}

CK_RV C_Sign(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pData, CK_ULONG ulDataLen,
             CK_BYTE_PTR pSignature, CK_ULONG_PTR pulSignatureLen) {
  return EnterSession(__func__, hSession, [&](Session& session) {
    const bool fit = IsInput(pData, ulDataLen) && pulSignatureLen != nullptr;
    return OnOperation(session, session.sign, fit, [&](Signing& active) -> Step {
      if (active.multi_part) return Step::Error(CKR_OPERATION_ACTIVE);
      return Deliver(pSignature, pulSignatureLen, active.operation->max_size(), After::kEnd,
                     [&](std::span<uint8_t> out) {
                       return active.operation->Sign({pData, ulDataLen}, out);
                     });
    });
  });
}

CK_RV C_SignUpdate(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pPart, CK_ULONG ulPartLen) {
  return EnterSession(__func__, hSession, [&](Session& session) {
    const bool fit = IsInput(pPart, ulPartLen);
    return OnOperation(session, session.sign, fit, [&](Signing& active) -> Step {
      active.multi_part = true;
      return Step::Of(active.operation->Update({pPart, ulPartLen}), After::kKeep);
    });
  });
}

CK_RV C_SignFinal(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pSignature,
                  CK_ULONG_PTR pulSignatureLen) {
  return EnterSession(__func__, hSession, [&](Session& session) {
    const bool fit = pulSignatureLen != nullptr;
    return OnOperation(session, session.sign, fit, [&](Signing& active) -> Step {
      return Deliver(pSignature, pulSignatureLen, active.operation->max_size(), After::kEnd,
                     [&](std::span<uint8_t> out) { return active.operation->Final(out); });
    });
  });
}

CK_RV C_VerifyInit(CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism, CK_OBJECT_HANDLE hKey) {
  return EnterSession(__func__, hSession, [&](Session& session) {
    return BeginWithKey(session, session.verify, pMechanism, hKey, CKA_VERIFY, &Mechanism::verify);
  });
}

CK_RV C_Verify(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pData, CK_ULONG ulDataLen,
               CK_BYTE_PTR pSignature, CK_ULONG ulSignatureLen) {
  return EnterSession(__func__, hSession, [&](Session& session) {
    const bool fit = IsInput(pData, ulDataLen) && pSignature != nullptr;
    return OnOperation(session, session.verify, fit, [&](Verifying& active) -> Step {
      if (active.multi_part) return Step::Error(CKR_OPERATION_ACTIVE);
      return Step::Of(active.operation->Verify({pData, ulDataLen}, {pSignature, ulSignatureLen}),
                      After::kEnd);
    });
  });
}

CK_RV C_VerifyUpdate(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pPart, CK_ULONG ulPartLen) {
  return EnterSession(__func__, hSession, [&](Session& session) {
    const bool fit = IsInput(pPart, ulPartLen);
    return OnOperation(session, session.verify, fit, [&](Verifying& active) -> Step {
      active.multi_part = true;
      return Step::Of(active.operation->Update({pPart, ulPartLen}), After::kKeep);
    });
  });
}

CK_RV C_VerifyFinal(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pSignature, CK_ULONG ulSignatureLen) {
  return EnterSession(__func__, hSession, [&](Session& session) {
    const bool fit = pSignature != nullptr;
    return OnOperation(session, session.verify, fit, [&](Verifying& active) -> Step {
      return Step::Of(active.operation->Final({pSignature, ulSignatureLen}), After::kEnd);
    });
  });
}
