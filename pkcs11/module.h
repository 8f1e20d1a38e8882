#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "mechanisms/message.h"
#include "pkcs11/active_operation.h"
#include "pkcs11/config.h"
#include "pkcs11/drafts.h"
#include "pkcs11/offered_mechanisms.h"
#include "pkcs11/reaper.h"
#include "pkcs11/search.h"
#include "pkcs11/session_table.h"
#include "pkcs11/token.h"

namespace secretmem {

// Session is one PKCS#11 session. Its members may be used from any thread.
class Session {
 public:
  // |offered| outlives every call on the session: it is the module's.
  Session(CK_SESSION_HANDLE its_handle, CK_SLOT_ID slot_id, std::shared_ptr<Token> its_token,
          CK_FLAGS its_flags, const OfferedMechanisms& offered)
      : handle(its_handle),
        slot(slot_id),
        token(std::move(its_token)),
        flags(its_flags),
        mechanisms(offered) {}

  bool read_write() const { return (flags & CKF_RW_SESSION) != 0; }
  Caller caller() const { return {token->login(), read_write()}; }

  bool IsClosed();

  // EndPrivateOperations ends what uses a private key: its user has logged out.
  void EndPrivateOperations();

  // EndExpiredOperations ends what uses an expired key.
  void EndExpiredOperations();

  // Close marks the session as closed, drops its objects and tells the token. Once only.
  void Close();

  const CK_SESSION_HANDLE handle;
  const CK_SLOT_ID slot;
  const std::shared_ptr<Token> token;
  const CK_FLAGS flags;
  const OfferedMechanisms& mechanisms;

  Drafts drafts;

  std::mutex mutex;
  // All under |mutex|.
  std::shared_ptr<Search> search;
  OperationSlot<DigestOperation> digest;
  OperationSlot<SignOperation> sign;
  OperationSlot<VerifyOperation> verify;
  OperationSlot<SignOperation> sign_recover;
  OperationSlot<RecoverOperation> verify_recover;
  OperationSlot<SignatureCheck> verify_signature;
  OperationSlot<CipherOperation> encrypt;
  OperationSlot<CipherOperation> decrypt;
  OperationSlot<MessageOperation> message_encrypt;
  OperationSlot<MessageOperation> message_decrypt;
  uint64_t operations = 0;  // how many were begun; under the mutex

 private:
  // Ends what uses a key that |gone(object)| is true for. Under |mutex|.
  template <class Gone>
  void EndOperations(Gone&& gone) {
    const auto end = [&](auto& place) {
      if (place.active && place.active->Uses(gone)) place.active.reset();
    };
    end(sign);
    end(verify);
    end(verify_signature);
    end(sign_recover);
    end(verify_recover);
    end(encrypt);
    end(decrypt);
    end(message_encrypt);
    end(message_decrypt);
  }

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
  explicit Module(const Config& config, bool may_start_threads = true);
  ~Module();
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;

  // Tend wipes what has expired, before a call begins and before it returns; the reaper does
  // without calls. It costs an atomic load where no key has a lifetime. What is to be done in the
  // tokens' files is left to the reaper where there is one.
  void Tend() noexcept;
  // Watch starts the reaper if it is needed.
  void Watch() noexcept;

  // CloseEverything is C_Finalize's: every session is closed, and the reaper gone.
  void CloseEverything();

  const Config& config() const { return config_; }
  const OfferedMechanisms& mechanisms() const { return mechanisms_; }

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
  void SweepIfDue(int64_t now);
  void Sweep(int64_t now);
  void TidyFiles();
  void Reap() noexcept;
  std::vector<std::shared_ptr<Token>> Tokens();
  CkStatus ScanLocked();
  CkResult<Slot*> FindSlotLocked(CK_SLOT_ID id);
  // Drop makes the next TokenAt open the slot's token anew, if it still is |token|.
  void Drop(CK_SLOT_ID id, const std::shared_ptr<Token>& token);

  const Config& config_;
  const OfferedMechanisms mechanisms_;

  std::mutex slots_mutex_;
  bool scanned_ = false;
  std::vector<Slot> slots_;

  SessionTable sessions_;

  const std::shared_ptr<Alarm> alarm_ = std::make_shared<Alarm>();
  std::mutex sweep_mutex_;
  std::atomic<int64_t> next_sweep_ms_{0};
  std::atomic<bool> files_due_{false};
  Reaper reaper_;
};

// Tended does what Module::Tend says around a call.
class Tended {
 public:
  explicit Tended(Module& module) : module_(module) { module_.Tend(); }
  ~Tended() {
    module_.Tend();
    module_.Watch();
  }
  Tended(const Tended&) = delete;
  Tended& operator=(const Tended&) = delete;

 private:
  Module& module_;
};

}  // namespace secretmem
