// One plausible call of every function, for tests that need the whole list.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "mechanisms/cryptoki.h"

namespace secretmem::conformance {

// Call is one call with arguments that are well-formed, apart from the session (and the slot, which
// is 0) and handles, which are the caller's.
struct Call {
  std::string name;
  std::function<CK_RV(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object)> run;
  CK_FLAGS needs = 0;  // CKF_* of C_GetMechanismInfo: what mechanisms the function is for
};

// SlotCalls: every function of the 2.40 list that needs the library initialised and takes no
// session, apart from C_Finalize.
std::vector<Call> SlotCalls();

// SessionCalls: every function of the 2.40 list whose first argument is a session and which this
// suite tests elsewhere, C_CloseSession last.
std::vector<Call> SessionCalls();

// StateCalls: C_GetOperationState and C_SetOperationState.
std::vector<Call> StateCalls();

// InitCalls: the functions that begin an encryption, digest, signature and so on, and wrapping; all
// with the mechanism CKM_VENDOR_DEFINED + 0x7ffffff, which no module has.
std::vector<Call> InitCalls();

// StepCalls: the functions that go on with an operation, or end it.
std::vector<Call> StepCalls();

// CryptoCalls is all three.
std::vector<Call> CryptoCalls();

// LegacyCalls: C_GetFunctionStatus and C_CancelFunction (§5.20).
std::vector<Call> LegacyCalls();

}  // namespace secretmem::conformance
