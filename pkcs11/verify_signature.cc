// Verification of a signature that is known before the data, PKCS#11 3.2, 5.16.

#include "pkcs11/operation_step.h"

using namespace secretmem;

using Checking = ActiveOperation<SignatureCheck>;

CK_RV C_VerifySignatureInit(CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism,
                            CK_OBJECT_HANDLE hKey, CK_BYTE_PTR pSignature,
                            CK_ULONG ulSignatureLen) {
  return EnterSession(__func__, hSession, [&](Session& session) -> CkStatus {
    constexpr CK_ULONG kLongest = CK_ULONG{1} << 16;
    if (pSignature == nullptr) return Refuse(CKR_ARGUMENTS_BAD);
    return BeginOperation(session, session.verify_signature, [&]() -> CkResult<Checking> {
      auto begun = MakeWithKey(session, pMechanism, hKey, CKA_VERIFY, &Mechanism::verify);
      if (!begun) return Refuse(begun.error());
      if (ulSignatureLen > kLongest) return Refuse(CKR_SIGNATURE_LEN_RANGE);
      auto check = std::make_unique<SignatureCheck>();
      check->operation = std::move(begun->operation);
      check->signature.assign(pSignature, pSignature + ulSignatureLen);
      return Checking{.operation = std::move(check),
                      .key = std::move(begun->key),
                      .named = std::move(begun->named),
                      .needs_login = begun->needs_login,
                      .logouts = begun->logouts};
    });
  });
}

CK_RV C_VerifySignature(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pData, CK_ULONG ulDataLen) {
  return EnterSession(__func__, hSession, [&](Session& session) {
    const bool fit = IsInput(pData, ulDataLen);
    return OnOperation(session, session.verify_signature, fit, [&](Checking& active) -> Step {
      if (active.multi_part) return Step::Error(CKR_OPERATION_ACTIVE);
      SignatureCheck& check = *active.operation;
      return Step::Of(check.operation->Verify({pData, ulDataLen}, check.signature), After::kEnd);
    });
  });
}

CK_RV C_VerifySignatureUpdate(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pPart, CK_ULONG ulPartLen) {
  return EnterSession(__func__, hSession, [&](Session& session) {
    const bool fit = IsInput(pPart, ulPartLen);
    return OnOperation(session, session.verify_signature, fit, [&](Checking& active) -> Step {
      active.multi_part = true;
      return Step::Of(active.operation->operation->Update({pPart, ulPartLen}), After::kKeep);
    });
  });
}

CK_RV C_VerifySignatureFinal(CK_SESSION_HANDLE hSession) {
  return EnterSession(__func__, hSession, [&](Session& session) {
    return OnOperation(session, session.verify_signature, true, [&](Checking& active) -> Step {
      SignatureCheck& check = *active.operation;
      return Step::Of(check.operation->Final(check.signature), After::kEnd);
    });
  });
}
