// Functions that no mechanism of the table has a use for yet.

#include "pkcs11/entry.h"

using namespace secretmem;

// The first argument is a session in all of them; it is not looked at.
#define UNSUPPORTED(name, ...)                                                                   \
  CK_RV name(__VA_ARGS__) {                                                                      \
    return Enter(#name, [](Module&) -> CkStatus { return Refuse(CKR_FUNCTION_NOT_SUPPORTED); }); \
  }

UNSUPPORTED(C_MessageSignInit, CK_SESSION_HANDLE, CK_MECHANISM_PTR, CK_OBJECT_HANDLE)
UNSUPPORTED(C_SignMessage, CK_SESSION_HANDLE, CK_VOID_PTR, CK_ULONG, CK_BYTE_PTR, CK_ULONG,
            CK_BYTE_PTR, CK_ULONG_PTR)
UNSUPPORTED(C_SignMessageBegin, CK_SESSION_HANDLE, CK_VOID_PTR, CK_ULONG)
UNSUPPORTED(C_SignMessageNext, CK_SESSION_HANDLE, CK_VOID_PTR, CK_ULONG, CK_BYTE_PTR, CK_ULONG,
            CK_BYTE_PTR, CK_ULONG_PTR)
UNSUPPORTED(C_MessageSignFinal, CK_SESSION_HANDLE)
UNSUPPORTED(C_MessageVerifyInit, CK_SESSION_HANDLE, CK_MECHANISM_PTR, CK_OBJECT_HANDLE)
UNSUPPORTED(C_VerifyMessage, CK_SESSION_HANDLE, CK_VOID_PTR, CK_ULONG, CK_BYTE_PTR, CK_ULONG,
            CK_BYTE_PTR, CK_ULONG)
UNSUPPORTED(C_VerifyMessageBegin, CK_SESSION_HANDLE, CK_VOID_PTR, CK_ULONG)
UNSUPPORTED(C_VerifyMessageNext, CK_SESSION_HANDLE, CK_VOID_PTR, CK_ULONG, CK_BYTE_PTR, CK_ULONG,
            CK_BYTE_PTR, CK_ULONG)
UNSUPPORTED(C_MessageVerifyFinal, CK_SESSION_HANDLE)
UNSUPPORTED(C_GetSessionValidationFlags, CK_SESSION_HANDLE, CK_SESSION_VALIDATION_FLAGS_TYPE,
            CK_FLAGS_PTR)
UNSUPPORTED(C_AsyncComplete, CK_SESSION_HANDLE, CK_UTF8CHAR_PTR, CK_ASYNC_DATA_PTR)
UNSUPPORTED(C_AsyncGetID, CK_SESSION_HANDLE, CK_UTF8CHAR_PTR, CK_ULONG_PTR)
UNSUPPORTED(C_AsyncJoin, CK_SESSION_HANDLE, CK_UTF8CHAR_PTR, CK_ULONG, CK_BYTE_PTR, CK_ULONG)

#undef UNSUPPORTED
