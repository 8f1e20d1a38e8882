#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <vector>

#include "mechanisms/message.h"
#include "pkcs11/active_operation.h"
#include "pkcs11/config.h"
#include "pkcs11/token.h"

namespace secretmem {

// Search is what C_FindObjectsInit found and C_FindObjects has not handed out yet.
struct Search {
  std::vector<CK_OBJECT_HANDLE> handles;
  size_t next = 0;
};

// Session is one PKCS#11 session. Its members may be used from any thread.
class Session {
 public:
  Session(CK_SESSION_HANDLE its_handle, CK_SLOT_ID slot_id, std::shared_ptr<Token> its_token,
          CK_FLAGS its_flags)
      : handle(its_handle), slot(slot_id), token(std::move(its_token)), flags(its_flags) {}

  bool read_write() const { return (flags & CKF_RW_SESSION) != 0; }
  Caller caller() const { return {token->login(), read_write()}; }

  bool IsClosed();

  // EndPrivateOperations ends what uses a private key: its user has logged out.
  void EndPrivateOperations();

  // Close marks the session as closed, drops its objects and tells the token. Once only.
  void Close();

  const CK_SESSION_HANDLE handle;
  const CK_SLOT_ID slot;
  const std::shared_ptr<Token> token;
  const CK_FLAGS flags;

  std::mutex mutex;
  // All under |mutex|.
  std::optional<Search> search;
  OperationSlot<DigestOperation> digest;
  OperationSlot<SignOperation> sign;
  OperationSlot<VerifyOperation> verify;
  OperationSlot<CipherOperation> encrypt;
  OperationSlot<CipherOperation> decrypt;
  OperationSlot<MessageOperation> message_encrypt;
  OperationSlot<MessageOperation> message_decrypt;

 private:
  bool closed_ = false;  // under |mutex|
};

// Slot is where a token is, or could be made. The uninitialised one has no path.
struct Slot {
  CK_SLOT_ID id;
  std::string path;
  std::shared_ptr<Token> token;  // once opened
};

// Module is what C_Initialize makes and C_Finalize takes away. A child of fork leaves its parent's
// behind and makes one of its own.
class Module {
 public:
  explicit Module(const Config& config) : config_(config) {}
  ~Module();
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;

  // CloseEverything is C_Finalize's: every session is closed.
  void CloseEverything();

  const Config& config() const { return config_; }

  // Slots returns the slot numbers: tokens by number, then one slot without a token. With
  // |refresh| the directory is read anew; a token file keeps its slot as long as it exists.
  CkResult<std::vector<CK_SLOT_ID>> Slots(bool refresh);

  // HasToken says whether the slot holds an initialised token; CKR_SLOT_ID_INVALID.
  CkResult<bool> HasToken(CK_SLOT_ID slot);

  // TokenAt opens the slot's token at the first call. CKR_SLOT_ID_INVALID;
  // CKR_TOKEN_NOT_RECOGNIZED for the slot without a token or a damaged file; null for the former
  // with |may_be_missing|.
  CkResult<std::shared_ptr<Token>> TokenAt(CK_SLOT_ID slot, bool may_be_missing = false);

  // InitToken is C_InitToken.
  CkStatus InitToken(CK_SLOT_ID slot, Pin so_pin, const std::array<uint8_t, 32>& label);

  CkResult<CK_SESSION_HANDLE> OpenSession(CK_SLOT_ID slot, CK_FLAGS flags);
  CkStatus CloseSession(CK_SESSION_HANDLE handle);
  CkStatus CloseAllSessions(CK_SLOT_ID slot);

  // LogOut is C_Logout: private objects go, and with them the operations that use them, in all
  // sessions of the token.
  CkStatus LogOut(const std::shared_ptr<Token>& token);

  // FindSession returns the session; CKR_SESSION_HANDLE_INVALID.
  CkResult<std::shared_ptr<Session>> FindSession(CK_SESSION_HANDLE handle);

 private:
  CkStatus ScanLocked();
  CkResult<Slot*> FindSlotLocked(CK_SLOT_ID id);
  // Drop makes the next TokenAt open the slot's token anew, if it still is |token|.
  void Drop(CK_SLOT_ID id, const std::shared_ptr<Token>& token);

  const Config& config_;

  std::mutex slots_mutex_;
  bool scanned_ = false;
  std::vector<Slot> slots_;

  std::shared_mutex sessions_mutex_;
  std::map<CK_SESSION_HANDLE, std::shared_ptr<Session>> sessions_;
};

}  // namespace secretmem
