// Dual-function cryptographic operations, PKCS#11 3.2, 5.17: two operations of a session that take
// the same data.

#include "pkcs11/cipher_step.h"

using namespace secretmem;

namespace {

using Cipher = ActiveOperation<CipherOperation>;

// OnBoth runs |step(cipher, other)| on two operations of the session. Where one of the two is not
// there, or is at work, the other is left alone; otherwise what becomes of one becomes of both.
template <class Operation, class F>
CkStatus OnBoth(Session& session, OperationSlot<CipherOperation>& cipher_slot,
                OperationSlot<Operation>& other_slot, bool fit, F&& step) {
  if (!fit) (void)OnOperation(session, other_slot, false, [](auto&) { return Step::Keep(); });
  return OnOperation(session, cipher_slot, fit, [&](Cipher& cipher) -> Step {
    std::optional<Step> outcome;
    const CkStatus inner =
        OnOperation(session, other_slot, true, [&](ActiveOperation<Operation>& other) -> Step {
          outcome = step(cipher, other);
          if (outcome->code == CKR_OK) other.multi_part = true;
          return *outcome;
        });
    if (!outcome) return {inner.error(), After::kKeep};
    return *outcome;
  });
}

// EncryptUpdate gives the part to |other| before it is encrypted, which may happen in place.
template <class Operation>
CkStatus EncryptUpdate(Session& session, OperationSlot<Operation>& other_slot,
                       std::span<const uint8_t> part, CK_BYTE* out, CK_ULONG* length) {
  const bool fit = IsInput(part.data(), part.size()) && length != nullptr;
  return OnBoth(session, session.encrypt, other_slot, fit,
                [&](Cipher& cipher, ActiveOperation<Operation>& other) {
                  return UpdateCipher(cipher, part.size(), out, length,
                                      [&](std::span<uint8_t> to) -> CkResult<size_t> {
                                        other.multi_part = true;
                                        if (auto done = other.operation->Update(part); !done) {
                                          return Refuse(done.error());
                                        }
                                        return cipher.operation->Update(part, to);
                                      });
                });
}

// DecryptUpdate gives what was decrypted to |other|.
template <class Operation>
CkStatus DecryptUpdate(Session& session, OperationSlot<Operation>& other_slot,
                       std::span<const uint8_t> part, CK_BYTE* out, CK_ULONG* length) {
  const bool fit = IsInput(part.data(), part.size()) && length != nullptr;
  return OnBoth(session, session.decrypt, other_slot, fit,
                [&](Cipher& cipher, ActiveOperation<Operation>& other) {
                  return UpdateCipher(cipher, part.size(), out, length,
                                      [&](std::span<uint8_t> to) -> CkResult<size_t> {
                                        const auto written = cipher.operation->Update(part, to);
                                        if (!written) return written;
                                        if (auto done = other.operation->Update(to.first(*written));
                                            !done) {
                                          return Refuse(done.error());
                                        }
                                        return written;
                                      });
                });
}

}  // namespace

CK_RV C_DigestEncryptUpdate(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pPart, CK_ULONG ulPartLen,
                            CK_BYTE_PTR pEncryptedPart, CK_ULONG_PTR pulEncryptedPartLen) {
  return EnterSession(__func__, hSession, [&](Session& session) {
    return EncryptUpdate(session, session.digest, {pPart, ulPartLen}, pEncryptedPart,
                         pulEncryptedPartLen);
  });
}

CK_RV C_DecryptDigestUpdate(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pEncryptedPart,
                            CK_ULONG ulEncryptedPartLen, CK_BYTE_PTR pPart,
                            CK_ULONG_PTR pulPartLen) {
  return EnterSession(__func__, hSession, [&](Session& session) {
    return DecryptUpdate(session, session.digest, {pEncryptedPart, ulEncryptedPartLen}, pPart,
                         pulPartLen);
  });
}

CK_RV C_SignEncryptUpdate(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pPart, CK_ULONG ulPartLen,
                          CK_BYTE_PTR pEncryptedPart, CK_ULONG_PTR pulEncryptedPartLen) {
  return EnterSession(__func__, hSession, [&](Session& session) {
    return EncryptUpdate(session, session.sign, {pPart, ulPartLen}, pEncryptedPart,
                         pulEncryptedPartLen);
  });
}

CK_RV C_DecryptVerifyUpdate(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pEncryptedPart,
                            CK_ULONG ulEncryptedPartLen, CK_BYTE_PTR pPart,
                            CK_ULONG_PTR pulPartLen) {
  return EnterSession(__func__, hSession, [&](Session& session) {
    return DecryptUpdate(session, session.verify, {pEncryptedPart, ulEncryptedPartLen}, pPart,
                         pulPartLen);
  });
}
