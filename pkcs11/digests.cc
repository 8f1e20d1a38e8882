// Message digesting functions, PKCS#11 3.2, 5.10.

#include "pkcs11/bound_key.h"
#include "pkcs11/operation_step.h"

using namespace secretmem;

using Active = ActiveOperation<DigestOperation>;

CK_RV C_DigestInit(CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism) {
  return EnterSession(__func__, hSession, [&](Session& session) -> CkStatus {
    if (pMechanism == nullptr) return EndOperation(session, session.digest);
    return BeginOperation(session, session.digest, [&]() -> CkResult<Active> {
      const auto chosen = Choose(session, pMechanism);
      if (!chosen) return Refuse(chosen.error());
      if (chosen->row.digest == nullptr) return Refuse(CKR_MECHANISM_INVALID);
      auto operation = chosen->row.digest(chosen->row.type, chosen->parameter);
      if (!operation) return Refuse(operation.error());
      return Active{std::move(*operation), std::nullopt};
    });
  });
}

CK_RV C_Digest(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pData, CK_ULONG ulDataLen,
               CK_BYTE_PTR pDigest, CK_ULONG_PTR pulDigestLen) {
  return EnterSession(__func__, hSession, [&](Session& session) {
    const bool fit = IsInput(pData, ulDataLen) && pulDigestLen != nullptr;
    return OnOperation(session, session.digest, fit, [&](Active& active) -> Step {
      if (active.multi_part) return Step::Error(CKR_OPERATION_ACTIVE);
      DigestOperation& operation = *active.operation;
      return Deliver(pDigest, pulDigestLen, operation.size(), After::kEnd,
                     [&](std::span<uint8_t> out) -> CkResult<size_t> {
                       const auto done = operation.Whole({pData, ulDataLen}, out);
                       if (!done) return Refuse(done.error());
                       return out.size();
                     });
    });
  });
}

CK_RV C_DigestUpdate(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pPart, CK_ULONG ulPartLen) {
  return EnterSession(__func__, hSession, [&](Session& session) {
    const bool fit = IsInput(pPart, ulPartLen);
    return OnOperation(session, session.digest, fit, [&](Active& active) -> Step {
      active.multi_part = true;
      return Step::Of(active.operation->Update({pPart, ulPartLen}), After::kKeep);
    });
  });
}

CK_RV C_DigestKey(CK_SESSION_HANDLE hSession, CK_OBJECT_HANDLE hKey) {
  return EnterSession(__func__, hSession, [&](Session& session) {
    return OnOperation(session, session.digest, true, [&](Active& active) -> Step {
      active.multi_part = true;
      const ObjectPtr key = session.token->Find(hKey);
      // Of this function the specification does not say that its errors end the operation.
      if (key == nullptr) return {CKR_KEY_HANDLE_INVALID, After::kKeep};
      if (key->object_class() != CKO_SECRET_KEY || IsBound(*key))
        return {CKR_KEY_INDIGESTIBLE, After::kKeep};
      const auto secret = key->secret->Open();
      if (!secret) return Step::Error(secret.error());
      return Step::Of(active.operation->UpdateSecret(**secret), After::kKeep);
    });
  });
}

CK_RV C_DigestFinal(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pDigest, CK_ULONG_PTR pulDigestLen) {
  return EnterSession(__func__, hSession, [&](Session& session) {
    const bool fit = pulDigestLen != nullptr;
    return OnOperation(session, session.digest, fit, [&](Active& active) -> Step {
      return Deliver(pDigest, pulDigestLen, active.operation->size(), After::kEnd,
                     [&](std::span<uint8_t> out) -> CkResult<size_t> {
                       const auto done = active.operation->Final(out);
                       if (!done) return Refuse(done.error());
                       return out.size();
                     });
    });
  });
}
