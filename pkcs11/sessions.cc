// Session management functions, PKCS#11 3.2, 5.6.

#include <cstring>

#include "pkcs11/entry.h"

using namespace secretmem;

namespace {

CK_STATE StateOf(const Session& session) {
  switch (session.token->login()) {
    case Login::kSecurityOfficer:
      return CKS_RW_SO_FUNCTIONS;
    case Login::kUser:
      return session.read_write() ? CKS_RW_USER_FUNCTIONS : CKS_RO_USER_FUNCTIONS;
    case Login::kNobody:
      break;
  }
  return session.read_write() ? CKS_RW_PUBLIC_SESSION : CKS_RO_PUBLIC_SESSION;
}

// Waiting is the operation begun last of those that wait for a CKU_CONTEXT_SPECIFIC login, under
// the session's mutex.
class Waiting {
 public:
  explicit Waiting(Session& session) {
    Look(session.sign);
    Look(session.sign_recover);
    Look(session.decrypt);
  }
  // Whether there is one.
  explicit operator bool() const { return needs_login_ != nullptr; }
  uint64_t order() const { return order_; }
  void Admit() { *needs_login_ = false; }

 private:
  template <class Operation>
  void Look(OperationSlot<Operation>& slot) {
    if (!slot.active || !slot.active->needs_login || slot.active->order < order_) return;
    needs_login_ = &slot.active->needs_login;
    order_ = slot.active->order;
  }

  bool* needs_login_ = nullptr;
  uint64_t order_ = 0;
};

// Reauthenticate is the login that a key with CKA_ALWAYS_AUTHENTICATE asks for: it serves the one
// operation that was begun just before.
CkStatus Reauthenticate(Session& session, Pin pin) {
  uint64_t order;
  {
    const std::lock_guard lock(session.mutex);
    const Waiting waiting(session);
    if (!waiting) return Refuse(CKR_OPERATION_NOT_INITIALIZED);
    order = waiting.order();
  }
  if (auto right = session.token->CheckUserPin(pin); !right) return right;
  const std::lock_guard lock(session.mutex);
  Waiting waiting(session);
  if (waiting && waiting.order() == order) waiting.Admit();
  return {};
}

CkStatus LogIn(Session& session, CK_USER_TYPE user, const CK_UTF8CHAR* pin, CK_ULONG length) {
  if (user != CKU_USER && user != CKU_SO && user != CKU_CONTEXT_SPECIFIC) {
    return Refuse(CKR_USER_TYPE_INVALID);
  }
  if (pin == nullptr) return Refuse(CKR_ARGUMENTS_BAD);
  // Longer than any PIN can be: wrong, and not worth reading.
  constexpr CK_ULONG kMost = 255;
  if (length > kMost) return Refuse(CKR_PIN_INCORRECT);
  if (user == CKU_CONTEXT_SPECIFIC) return Reauthenticate(session, Pin(pin, length));
  return session.token->LogIn(user, Pin(pin, length));
}

}  // namespace

CK_RV C_OpenSession(CK_SLOT_ID slotID, CK_FLAGS flags, CK_VOID_PTR, CK_NOTIFY,
                    CK_SESSION_HANDLE_PTR phSession) {
  return Enter(__func__, [&](Module& module) -> CkStatus {
    if (phSession == nullptr) return Refuse(CKR_ARGUMENTS_BAD);
    if ((flags & CKF_SERIAL_SESSION) == 0) return Refuse(CKR_SESSION_PARALLEL_NOT_SUPPORTED);
    if ((flags & CKF_ASYNC_SESSION) != 0) return Refuse(CKR_SESSION_ASYNC_NOT_SUPPORTED);
    if ((flags & ~CK_FLAGS{CKF_SERIAL_SESSION | CKF_RW_SESSION}) != 0) {
      return Refuse(CKR_ARGUMENTS_BAD);
    }
    const auto handle = module.OpenSession(slotID, flags);
    if (!handle) return Refuse(handle.error());
    *phSession = *handle;
    return {};
  });
}

CK_RV C_CloseSession(CK_SESSION_HANDLE hSession) {
  return Enter(__func__, [&](Module& module) { return module.CloseSession(hSession); });
}

CK_RV C_CloseAllSessions(CK_SLOT_ID slotID) {
  return Enter(__func__, [&](Module& module) { return module.CloseAllSessions(slotID); });
}

CK_RV C_GetSessionInfo(CK_SESSION_HANDLE hSession, CK_SESSION_INFO_PTR pInfo) {
  return EnterSession(__func__, hSession, [&](Session& session) -> CkStatus {
    if (pInfo == nullptr) return Refuse(CKR_ARGUMENTS_BAD);
    const CK_SESSION_INFO info{session.slot, StateOf(session), session.flags, 0};
    memcpy(pInfo, &info, sizeof(info));
    return {};
  });
}

CK_RV C_SessionCancel(CK_SESSION_HANDLE hSession, CK_FLAGS flags) {
  return EnterSession(__func__, hSession, [&](Session& session) -> CkStatus {
    const std::lock_guard lock(session.mutex);
    if ((flags & CKF_FIND_OBJECTS) != 0) session.search.reset();
    if ((flags & CKF_DIGEST) != 0) session.digest.Cancel();
    if ((flags & CKF_SIGN) != 0) session.sign.Cancel();
    if ((flags & CKF_VERIFY) != 0) session.verify.Cancel();
    if ((flags & CKF_VERIFY) != 0) session.verify_signature.Cancel();
    if ((flags & CKF_SIGN_RECOVER) != 0) session.sign_recover.Cancel();
    if ((flags & CKF_VERIFY_RECOVER) != 0) session.verify_recover.Cancel();
    if ((flags & CKF_ENCRYPT) != 0) session.encrypt.Cancel();
    if ((flags & CKF_DECRYPT) != 0) session.decrypt.Cancel();
    if ((flags & CKF_MESSAGE_ENCRYPT) != 0) session.message_encrypt.Cancel();
    if ((flags & CKF_MESSAGE_DECRYPT) != 0) session.message_decrypt.Cancel();
    return {};
  });
}

CK_RV C_GetOperationState(CK_SESSION_HANDLE hSession, CK_BYTE_PTR, CK_ULONG_PTR) {
  // A saved state would be key-dependent bytes outside the vault.
  return EnterSession(__func__, hSession,
                      [](Session&) -> CkStatus { return Refuse(CKR_FUNCTION_NOT_SUPPORTED); });
}

CK_RV C_SetOperationState(CK_SESSION_HANDLE hSession, CK_BYTE_PTR, CK_ULONG, CK_OBJECT_HANDLE,
                          CK_OBJECT_HANDLE) {
  return EnterSession(__func__, hSession,
                      [](Session&) -> CkStatus { return Refuse(CKR_FUNCTION_NOT_SUPPORTED); });
}

CK_RV C_Login(CK_SESSION_HANDLE hSession, CK_USER_TYPE userType, CK_UTF8CHAR_PTR pPin,
              CK_ULONG ulPinLen) {
  return EnterSession(__func__, hSession,
                      [&](Session& session) { return LogIn(session, userType, pPin, ulPinLen); });
}

CK_RV C_LoginUser(CK_SESSION_HANDLE hSession, CK_USER_TYPE userType, CK_UTF8CHAR_PTR pPin,
                  CK_ULONG ulPinLen, CK_UTF8CHAR_PTR pUsername, CK_ULONG ulUsernameLen) {
  return EnterSession(__func__, hSession, [&](Session& session) -> CkStatus {
    if (pUsername == nullptr && ulUsernameLen != 0) return Refuse(CKR_ARGUMENTS_BAD);
    // A token has one user, who has no name.
    if (ulUsernameLen != 0) return Refuse(CKR_USER_TYPE_INVALID);
    return LogIn(session, userType, pPin, ulPinLen);
  });
}

CK_RV C_Logout(CK_SESSION_HANDLE hSession) {
  return Enter(__func__, [&](Module& module) -> CkStatus {
    const auto session = module.FindSession(hSession);
    if (!session) return Refuse(session.error());
    return module.LogOut((*session)->token);
  });
}
