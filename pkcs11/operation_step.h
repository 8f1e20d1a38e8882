#pragma once

#include "mechanisms/mechanism.h"
#include "pkcs11/entry.h"
#include "pkcs11/named_keys.h"

namespace secretmem {

// After says what becomes of an operation when a call on it is over.
enum class After : bool { kKeep, kEnd };

// Step is the outcome of one call on an operation: PKCS#11 ends it on every error but
// CKR_BUFFER_TOO_SMALL (3.2, 5.2).
struct Step {
  CK_RV code;
  After after;

  static Step Keep() { return {CKR_OK, After::kKeep}; }
  static Step Error(CK_RV code) { return {code, After::kEnd}; }
  // Of a status: |after| if it is well, the end if not.
  static Step Of(const CkStatus& status, After after) {
    return status ? Step{CKR_OK, after} : Error(status.error());
  }
};

// Deliver is the output convention of operations: a null |out| asks for the length, a short one is
// CKR_BUFFER_TOO_SMALL, both keep the operation. Otherwise produce(span of |needed| bytes) returns
// how many it wrote, and |after| follows.
template <class Produce>
Step Deliver(CK_BYTE* out, CK_ULONG* length, size_t needed, After after, Produce&& produce) {
  if (out == nullptr) {
    *length = needed;
    return Step::Keep();
  }
  if (*length < needed) {
    *length = needed;
    return {CKR_BUFFER_TOO_SMALL, After::kKeep};
  }
  const CkResult<size_t> written = produce(std::span<uint8_t>(out, needed));
  if (!written) return Step::Error(written.error());
  *length = *written;
  return {CKR_OK, after};
}

// IsInput says whether a pointer and length are an input at all.
inline bool IsInput(const void* data, CK_ULONG length) { return data != nullptr || length == 0; }

// HasExpired says whether the lifetime of one of an operation's keys is over.
template <class Operation>
bool HasExpired(const ActiveOperation<Operation>& active) {
  return active.Uses([](const Object& object) { return object.IsExpired(); });
}

// BeginOperation puts a new operation into |slot|. |make| returns CkResult<ActiveOperation>; it is
// not called while another one is active: CKR_OPERATION_ACTIVE.
template <class Operation, class Make>
CkStatus BeginOperation(Session& session, OperationSlot<Operation>& slot, Make&& make) {
  {
    const std::lock_guard lock(session.mutex);
    if (slot.in_use()) return Refuse(CKR_OPERATION_ACTIVE);
    slot.busy = true;
  }
  struct Idle {
    Session& session;
    OperationSlot<Operation>& slot;
    ~Idle() {
      const std::lock_guard lock(session.mutex);
      slot.busy = false;
      slot.cancelled = false;
    }
  } idle{session, slot};
  CkResult<ActiveOperation<Operation>> made = make();
  if (!made) return Refuse(made.error());
  const bool closed = session.IsClosed();
  const std::lock_guard lock(session.mutex);
  if (closed) return Refuse(CKR_SESSION_CLOSED);
  if (HasExpired(*made)) return Refuse(CKR_KEY_HANDLE_INVALID);
  made->order = ++session.operations;
  if (!slot.cancelled) slot.active = std::move(*made);
  return {};
}

// EndOperation is an Init function's work for a null mechanism: it ends the operation in |slot|.
// CKR_ARGUMENTS_BAD if there is none.
template <class Operation>
CkStatus EndOperation(Session& session, OperationSlot<Operation>& slot) {
  const std::lock_guard lock(session.mutex);
  if (!slot.in_use()) return Refuse(CKR_ARGUMENTS_BAD);
  slot.Cancel();
  return {};
}

// OnOperation runs |step(ActiveOperation&)| on the operation in |slot|, without a lock.
// Without |arguments_fit| CKR_ARGUMENTS_BAD, and its end. CKR_OPERATION_NOT_INITIALIZED without
// one; CKR_OPERATION_ACTIVE while another thread uses it; CKR_USER_NOT_LOGGED_IN, and its end, if
// its private key's user has logged out.
template <class Operation, class F>
CkStatus OnOperation(Session& session, OperationSlot<Operation>& slot, bool arguments_fit,
                     F&& step) {
  std::optional<ActiveOperation<Operation>> mine;
  {
    const std::lock_guard lock(session.mutex);
    if (!arguments_fit) {
      mine.swap(slot.active);
      return Refuse(CKR_ARGUMENTS_BAD);
    }
    if (slot.busy) return Refuse(CKR_OPERATION_ACTIVE);
    if (!slot.active) return Refuse(CKR_OPERATION_NOT_INITIALIZED);
    mine.swap(slot.active);
    slot.busy = true;
  }
  struct PutBack {
    Session& session;
    OperationSlot<Operation>& slot;
    std::optional<ActiveOperation<Operation>>& mine;
    After after = After::kEnd;
    ~PutBack() {
      const bool closed = session.IsClosed();
      const std::lock_guard lock(session.mutex);
      // A sweep that came meanwhile has not seen this one.
      const bool expired = mine && HasExpired(*mine);
      if (after == After::kKeep && !slot.cancelled && !closed && !expired) slot.active.swap(mine);
      slot.busy = slot.cancelled = false;
    }
  } put_back{session, slot, mine};
  if (mine->Uses([](const Object& object) { return object.Is(CKA_PRIVATE); })) {
    if (session.token->login() != Login::kUser) return Refuse(CKR_USER_NOT_LOGGED_IN);
    if (session.token->logouts() != mine->logouts) return Refuse(CKR_OPERATION_NOT_INITIALIZED);
  }
  if (HasExpired(*mine)) return Refuse(CKR_OPERATION_NOT_INITIALIZED);
  if (mine->needs_login) return Refuse(CKR_USER_NOT_LOGGED_IN);
  const Step done = step(*mine);
  put_back.after = done.after;
  if (done.code != CKR_OK) return Refuse(done.code);
  return {};
}

// MakeWithKey makes an operation for an Init function: |make| is the member of the row that does,
// |usage| the attribute that the key must have.
template <class Operation>
CkResult<ActiveOperation<Operation>> MakeWithKey(
    Session& session, const CK_MECHANISM* given, CK_OBJECT_HANDLE key_handle,
    CK_ATTRIBUTE_TYPE usage,
    CkResult<std::unique_ptr<Operation>> (*Mechanism::*make)(CK_MECHANISM_TYPE, Parameter,
                                                             const Key&)) {
  const auto chosen = Choose(session, given);
  if (!chosen) return Refuse(chosen.error());
  if (chosen->row.*make == nullptr) return Refuse(CKR_MECHANISM_INVALID);
  const uint64_t logouts = session.token->logouts();
  auto key = PermittedKey::Permit(session.token->Find(key_handle), usage, chosen->row.type);
  if (!key) return Refuse(key.error());
  auto named = NamedKeys::Find(session, *chosen);
  if (!named) return Refuse(named.error());
  auto operation = (chosen->row.*make)(chosen->row.type, chosen->parameter, named->Beside(*key));
  if (!operation) return Refuse(operation.error());
  const bool needs_login = key->object().Is(CKA_ALWAYS_AUTHENTICATE);
  return ActiveOperation<Operation>{.operation = std::move(*operation),
                                    .key = std::move(*key),
                                    .named = named->Take(),
                                    .needs_login = needs_login,
                                    .logouts = logouts};
}

// BeginWithKey is an Init function's work.
template <class Operation>
CkStatus BeginWithKey(Session& session, OperationSlot<Operation>& slot, const CK_MECHANISM* given,
                      CK_OBJECT_HANDLE key_handle, CK_ATTRIBUTE_TYPE usage,
                      CkResult<std::unique_ptr<Operation>> (*Mechanism::*make)(CK_MECHANISM_TYPE,
                                                                               Parameter,
                                                                               const Key&)) {
  if (given == nullptr) return EndOperation(session, slot);
  return BeginOperation(session, slot,
                        [&] { return MakeWithKey(session, given, key_handle, usage, make); });
}

}  // namespace secretmem
