#pragma once

#include <algorithm>
#include <memory>
#include <optional>
#include <vector>

#include "mechanisms/operation.h"
#include "pkcs11/key_policy.h"

namespace secretmem {

// ActiveOperation is an operation between its Init and its end.
template <class Operation>
struct ActiveOperation {
  std::unique_ptr<Operation> operation;
  std::optional<PermittedKey> key;       // digests have none
  std::vector<PermittedKey> named = {};  // by its parameter
  bool multi_part = false;               // an Update has been called
  // CKA_ALWAYS_AUTHENTICATE: a CKU_CONTEXT_SPECIFIC login must come first.
  bool needs_login = false;
  uint64_t logouts = 0;  // Token::logouts() when it began
  uint64_t order = 0;    // which of the session's operations it is

  // Uses says whether |is(object)| is true for one of its keys.
  template <class Is>
  bool Uses(Is&& is) const {
    return (key && is(key->object())) ||
           std::ranges::any_of(named, [&](const PermittedKey& one) { return is(one.object()); });
  }
};

// SignatureCheck is a verification that was given its signature first, C_VerifySignatureInit.
struct SignatureCheck {
  std::unique_ptr<VerifyOperation> operation;
  std::vector<uint8_t> signature;
};

// OperationSlot is where a session keeps its one operation of a kind. A call takes the operation
// out while it computes, so that no lock is held then. Its members are used under the session's
// mutex.
template <class Operation>
struct OperationSlot {
  std::optional<ActiveOperation<Operation>> active;
  bool busy = false;       // taken out by a call under way
  bool cancelled = false;  // C_SessionCancel came meanwhile

  bool in_use() const { return active.has_value() || busy; }

  void Cancel() {
    active.reset();
    cancelled = busy;
  }
};

}  // namespace secretmem
