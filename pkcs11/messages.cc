// Message-based encryption and decryption functions, PKCS#11 3.2, 5.9 and 5.11.

#include "mechanisms/message.h"
#include "pkcs11/operation_step.h"

namespace secretmem {
namespace {

using Active = ActiveOperation<MessageOperation>;
using Slot = OperationSlot<MessageOperation> Session::*;

// Both directions work alike but for the slot. An error is one of the message: the operation goes
// on until its Final.

Step OfMessage(const CkStatus& status) { return {status ? CKR_OK : status.error(), After::kKeep}; }

// On runs |step| with the message's parameter; |fits|: the other arguments are such at all.
template <class F>
CkStatus On(Session& session, Slot slot, bool fits, const void* parameter, CK_ULONG parameter_size,
            F&& step) {
  return OnOperation(session, session.*slot, true, [&](Active& active) -> Step {
    if (!fits) return OfMessage(Refuse(CKR_ARGUMENTS_BAD));
    const auto bytes = ParameterBytes(parameter, parameter_size);
    if (!bytes) return OfMessage(Refuse(bytes.error()));
    return step(active, *bytes);
  });
}

// DeliverMessage is Deliver for functions whose errors do not end the operation.
template <class Produce>
Step DeliverMessage(CK_BYTE* out, CK_ULONG* length, size_t needed, Produce&& produce) {
  Step step = Deliver(out, length, needed, After::kKeep, std::forward<Produce>(produce));
  step.after = After::kKeep;
  return step;
}

CkStatus Begin(Session& session, Slot slot, const CK_MECHANISM* mechanism, CK_OBJECT_HANDLE key,
               CK_ATTRIBUTE_TYPE usage,
               CkResult<std::unique_ptr<MessageOperation>> (*Mechanism::*make)(CK_MECHANISM_TYPE,
                                                                               Parameter,
                                                                               const Key&)) {
  if (mechanism == nullptr) {
    const std::lock_guard lock(session.mutex);
    (session.*slot).Cancel();
    return {};
  }
  return BeginWithKey(session, session.*slot, mechanism, key, usage, make);
}

CkStatus Whole(Session& session, Slot slot, const void* parameter, CK_ULONG parameter_size,
               std::span<const uint8_t> aad, std::span<const uint8_t> in, CK_BYTE* out,
               CK_ULONG* length) {
  const bool fits =
      IsInput(aad.data(), aad.size()) && IsInput(in.data(), in.size()) && length != nullptr;
  return On(session, slot, fits, parameter, parameter_size,
            [&](Active& active, Parameter message) -> Step {
              if (active.multi_part) return OfMessage(Refuse(CKR_OPERATION_ACTIVE));
              return DeliverMessage(out, length, in.size(), [&](std::span<uint8_t> to) {
                return active.operation->Whole(message, aad, in, to);
              });
            });
}

CkStatus BeginMessage(Session& session, Slot slot, const void* parameter, CK_ULONG parameter_size,
                      std::span<const uint8_t> aad) {
  return On(session, slot, IsInput(aad.data(), aad.size()), parameter, parameter_size,
            [&](Active& active, Parameter message) -> Step {
              if (active.multi_part) return OfMessage(Refuse(CKR_OPERATION_ACTIVE));
              const auto begun = active.operation->Begin(message, aad);
              active.multi_part = begun.has_value();
              return OfMessage(begun);
            });
}

CkStatus NextPart(Session& session, Slot slot, const void* parameter, CK_ULONG parameter_size,
                  std::span<const uint8_t> in, CK_BYTE* out, CK_ULONG* length, CK_FLAGS flags) {
  const bool fits = IsInput(in.data(), in.size()) && length != nullptr;
  return On(session, slot, fits, parameter, parameter_size,
            [&](Active& active, Parameter message) -> Step {
              if (!active.multi_part) return OfMessage(Refuse(CKR_OPERATION_NOT_INITIALIZED));
              const bool last = (flags & CKF_END_OF_MESSAGE) != 0;
              const size_t needed = active.operation->next_size(in.size(), last);
              return DeliverMessage(
                  out, length, needed, [&](std::span<uint8_t> to) -> CkResult<size_t> {
                    const auto made = active.operation->Next(message, in, to, last);
                    active.multi_part = made && !last;
                    return made;
                  });
            });
}

CkStatus Finish(Session& session, Slot slot) {
  return OnOperation(session, session.*slot, true, [](Active&) {
    return Step{CKR_OK, After::kEnd};
  });
}

}  // namespace
}  // namespace secretmem

using namespace secretmem;

CK_RV C_MessageEncryptInit(CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism,
                           CK_OBJECT_HANDLE hKey) {
  return EnterSession(__func__, hSession, [&](Session& session) {
    return Begin(session, &Session::message_encrypt, pMechanism, hKey, CKA_ENCRYPT,
                 &Mechanism::encrypt_messages);
  });
}

CK_RV C_EncryptMessage(CK_SESSION_HANDLE hSession, CK_VOID_PTR pParameter, CK_ULONG ulParameterLen,
                       CK_BYTE_PTR pAssociatedData, CK_ULONG ulAssociatedDataLen,
                       CK_BYTE_PTR pPlaintext, CK_ULONG ulPlaintextLen, CK_BYTE_PTR pCiphertext,
                       CK_ULONG_PTR pulCiphertextLen) {
  return EnterSession(__func__, hSession, [&](Session& session) {
    return Whole(session, &Session::message_encrypt, pParameter, ulParameterLen,
                 {pAssociatedData, ulAssociatedDataLen}, {pPlaintext, ulPlaintextLen}, pCiphertext,
                 pulCiphertextLen);
  });
}

CK_RV C_EncryptMessageBegin(CK_SESSION_HANDLE hSession, CK_VOID_PTR pParameter,
                            CK_ULONG ulParameterLen, CK_BYTE_PTR pAssociatedData,
                            CK_ULONG ulAssociatedDataLen) {
  return EnterSession(__func__, hSession, [&](Session& session) {
    return BeginMessage(session, &Session::message_encrypt, pParameter, ulParameterLen,
                        {pAssociatedData, ulAssociatedDataLen});
  });
}

CK_RV C_EncryptMessageNext(CK_SESSION_HANDLE hSession, CK_VOID_PTR pParameter,
                           CK_ULONG ulParameterLen, CK_BYTE_PTR pPlaintextPart,
                           CK_ULONG ulPlaintextPartLen, CK_BYTE_PTR pCiphertextPart,
                           CK_ULONG_PTR pulCiphertextPartLen, CK_FLAGS flags) {
  return EnterSession(__func__, hSession, [&](Session& session) {
    return NextPart(session, &Session::message_encrypt, pParameter, ulParameterLen,
                    {pPlaintextPart, ulPlaintextPartLen}, pCiphertextPart, pulCiphertextPartLen,
                    flags);
  });
}

CK_RV C_MessageEncryptFinal(CK_SESSION_HANDLE hSession) {
  return EnterSession(__func__, hSession,
                      [](Session& session) { return Finish(session, &Session::message_encrypt); });
}

CK_RV C_MessageDecryptInit(CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism,
                           CK_OBJECT_HANDLE hKey) {
  return EnterSession(__func__, hSession, [&](Session& session) {
    return Begin(session, &Session::message_decrypt, pMechanism, hKey, CKA_DECRYPT,
                 &Mechanism::decrypt_messages);
  });
}

CK_RV C_DecryptMessage(CK_SESSION_HANDLE hSession, CK_VOID_PTR pParameter, CK_ULONG ulParameterLen,
                       CK_BYTE_PTR pAssociatedData, CK_ULONG ulAssociatedDataLen,
                       CK_BYTE_PTR pCiphertext, CK_ULONG ulCiphertextLen, CK_BYTE_PTR pPlaintext,
                       CK_ULONG_PTR pulPlaintextLen) {
  return EnterSession(__func__, hSession, [&](Session& session) {
    return Whole(session, &Session::message_decrypt, pParameter, ulParameterLen,
                 {pAssociatedData, ulAssociatedDataLen}, {pCiphertext, ulCiphertextLen}, pPlaintext,
                 pulPlaintextLen);
  });
}

CK_RV C_DecryptMessageBegin(CK_SESSION_HANDLE hSession, CK_VOID_PTR pParameter,
                            CK_ULONG ulParameterLen, CK_BYTE_PTR pAssociatedData,
                            CK_ULONG ulAssociatedDataLen) {
  return EnterSession(__func__, hSession, [&](Session& session) {
    return BeginMessage(session, &Session::message_decrypt, pParameter, ulParameterLen,
                        {pAssociatedData, ulAssociatedDataLen});
  });
}

CK_RV C_DecryptMessageNext(CK_SESSION_HANDLE hSession, CK_VOID_PTR pParameter,
                           CK_ULONG ulParameterLen, CK_BYTE_PTR pCiphertextPart,
                           CK_ULONG ulCiphertextPartLen, CK_BYTE_PTR pPlaintextPart,
                           CK_ULONG_PTR pulPlaintextPartLen, CK_FLAGS flags) {
  return EnterSession(__func__, hSession, [&](Session& session) {
    return NextPart(session, &Session::message_decrypt, pParameter, ulParameterLen,
                    {pCiphertextPart, ulCiphertextPartLen}, pPlaintextPart, pulPlaintextPartLen,
                    flags);
  });
}

CK_RV C_MessageDecryptFinal(CK_SESSION_HANDLE hSession) {
  return EnterSession(__func__, hSession,
                      [](Session& session) { return Finish(session, &Session::message_decrypt); });
}
