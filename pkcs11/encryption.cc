// Encryption and decryption functions, PKCS#11 3.2, 5.8 and 5.9.

#include "pkcs11/cipher_step.h"

namespace secretmem {
namespace {

using Active = ActiveOperation<CipherOperation>;
using Part = CipherOperation::Part;
using Slot = OperationSlot<CipherOperation> Session::*;

// Both directions work alike but for the slot.

CkStatus Whole(Session& session, Slot slot, std::span<const uint8_t> in, CK_BYTE* out,
               CK_ULONG* length) {
  const bool fit = IsInput(in.data(), in.size()) && length != nullptr;
  return OnOperation(session, session.*slot, fit, [&](Active& active) -> Step {
    if (active.multi_part) return Step::Error(CKR_OPERATION_ACTIVE);
    if (auto right = active.operation->Check(Part::kWhole, in.size()); !right) {
      return Step::Error(right.error());
    }
    return Deliver(out, length, active.operation->whole_size(in.size()), After::kEnd,
                   [&](std::span<uint8_t> to) { return active.operation->Whole(in, to); });
  });
}

CkStatus Update(Session& session, Slot slot, std::span<const uint8_t> in, CK_BYTE* out,
                CK_ULONG* length) {
  const bool fit = IsInput(in.data(), in.size()) && length != nullptr;
  return OnOperation(session, session.*slot, fit, [&](Active& active) -> Step {
    return UpdateCipher(active, in.size(), out, length,
                        [&](std::span<uint8_t> to) { return active.operation->Update(in, to); });
  });
}

CkStatus Final(Session& session, Slot slot, CK_BYTE* out, CK_ULONG* length) {
  const bool fit = length != nullptr;
  return OnOperation(session, session.*slot, fit, [&](Active& active) -> Step {
    if (auto right = active.operation->Check(Part::kFinal, 0); !right) {
      return Step::Error(right.error());
    }
    return Deliver(out, length, active.operation->final_size(), After::kEnd,
                   [&](std::span<uint8_t> to) { return active.operation->Final(to); });
  });
}

}  // namespace
}  // namespace secretmem

using namespace secretmem;

CK_RV C_EncryptInit(CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism,
                    CK_OBJECT_HANDLE hKey) {
  return EnterSession(__func__, hSession, [&](Session& session) {
    return BeginWithKey(session, session.encrypt, pMechanism, hKey, CKA_ENCRYPT,
                        &Mechanism::encrypt);
  });
}

CK_RV C_Encrypt(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pData, CK_ULONG ulDataLen,
                CK_BYTE_PTR pEncryptedData, CK_ULONG_PTR pulEncryptedDataLen) {
  return EnterSession(__func__, hSession, [&](Session& session) {
    return Whole(session, &Session::encrypt, {pData, ulDataLen}, pEncryptedData,
                 pulEncryptedDataLen);
  });
}

CK_RV C_EncryptUpdate(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pPart, CK_ULONG ulPartLen,
                      CK_BYTE_PTR pEncryptedPart, CK_ULONG_PTR pulEncryptedPartLen) {
  return EnterSession(__func__, hSession, [&](Session& session) {
    return Update(session, &Session::encrypt, {pPart, ulPartLen}, pEncryptedPart,
                  pulEncryptedPartLen);
  });
}

CK_RV C_EncryptFinal(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pLastEncryptedPart,
                     CK_ULONG_PTR pulLastEncryptedPartLen) {
  return EnterSession(__func__, hSession, [&](Session& session) {
    return Final(session, &Session::encrypt, pLastEncryptedPart, pulLastEncryptedPartLen);
  });
}

CK_RV C_DecryptInit(CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism,
                    CK_OBJECT_HANDLE hKey) {
  return EnterSession(__func__, hSession, [&](Session& session) {
    return BeginWithKey(session, session.decrypt, pMechanism, hKey, CKA_DECRYPT,
                        &Mechanism::decrypt);
  });
}

CK_RV C_Decrypt(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pEncryptedData, CK_ULONG ulEncryptedDataLen,
                CK_BYTE_PTR pData, CK_ULONG_PTR pulDataLen) {
  return EnterSession(__func__, hSession, [&](Session& session) {
    return Whole(session, &Session::decrypt, {pEncryptedData, ulEncryptedDataLen}, pData,
                 pulDataLen);
  });
}

CK_RV C_DecryptUpdate(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pEncryptedPart,
                      CK_ULONG ulEncryptedPartLen, CK_BYTE_PTR pPart, CK_ULONG_PTR pulPartLen) {
  return EnterSession(__func__, hSession, [&](Session& session) {
    return Update(session, &Session::decrypt, {pEncryptedPart, ulEncryptedPartLen}, pPart,
                  pulPartLen);
  });
}

CK_RV C_DecryptFinal(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pLastPart,
                     CK_ULONG_PTR pulLastPartLen) {
  return EnterSession(__func__, hSession, [&](Session& session) {
    return Final(session, &Session::decrypt, pLastPart, pulLastPartLen);
  });
}
