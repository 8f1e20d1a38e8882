// Parallel function management functions, PKCS#11 3.2, 5.24, and the asynchronous ones.

#include "pkcs11/entry.h"

using namespace secretmem;

CK_RV C_GetFunctionStatus(CK_SESSION_HANDLE hSession) {
  return EnterSession(__func__, hSession,
                      [](Session&) -> CkStatus { return Refuse(CKR_FUNCTION_NOT_PARALLEL); });
}

CK_RV C_CancelFunction(CK_SESSION_HANDLE hSession) {
  return EnterSession(__func__, hSession,
                      [](Session&) -> CkStatus { return Refuse(CKR_FUNCTION_NOT_PARALLEL); });
}
