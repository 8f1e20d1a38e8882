// The suite's PKCS#11 declarations: the tree's own header where it exists, else p11-kit's with the
// few 3.x names used here, so that the suite builds alone as well.
#pragma once

#if __has_include("mechanisms/cryptoki.h")
#include "mechanisms/cryptoki.h"
#else
#include <p11-kit/pkcs11.h>

// p11-kit 0.24 has this code under another number.
#undef CKR_PUBLIC_KEY_INVALID
#define CKR_PUBLIC_KEY_INVALID (0x1b9UL)
#ifndef CKR_CURVE_NOT_SUPPORTED
#define CKR_CURVE_NOT_SUPPORTED (0x140UL)
#endif
#ifndef CKR_ACTION_PROHIBITED
#define CKR_ACTION_PROHIBITED (0x1bUL)
#endif
#ifndef CKR_OPERATION_CANCEL_FAILED
#define CKR_OPERATION_CANCEL_FAILED (0x202UL)
#endif
#ifndef CKO_PROFILE
#define CKO_PROFILE (9UL)
#endif
#ifndef CKK_EC_MONTGOMERY
#define CKK_EC_MONTGOMERY (0x41UL)
#endif
#ifndef CKK_HKDF
#define CKK_HKDF (0x42UL)
#endif
#ifndef CKM_EC_EDWARDS_KEY_PAIR_GEN
#define CKM_EC_EDWARDS_KEY_PAIR_GEN (0x1055UL)
#endif
#ifndef CKM_EC_MONTGOMERY_KEY_PAIR_GEN
#define CKM_EC_MONTGOMERY_KEY_PAIR_GEN (0x1056UL)
#endif
#ifndef CKA_UNIQUE_ID
#define CKA_UNIQUE_ID (4UL)
#endif
#ifndef CKA_COPYABLE
#define CKA_COPYABLE (0x171UL)
#endif
#ifndef CKA_DESTROYABLE
#define CKA_DESTROYABLE (0x172UL)
#endif
#ifndef CKA_DERIVE_TEMPLATE
#define CKA_DERIVE_TEMPLATE (CKF_ARRAY_ATTRIBUTE | 0x213UL)
#endif
#ifndef CKD_SHA224_KDF
#define CKD_SHA224_KDF (5UL)
#define CKD_SHA256_KDF (6UL)
#define CKD_SHA384_KDF (7UL)
#define CKD_SHA512_KDF (8UL)
#endif
#ifndef CKF_INTERFACE_FORK_SAFE
#define CKF_INTERFACE_FORK_SAFE (1UL)
typedef struct CK_INTERFACE {
  CK_UTF8CHAR* pInterfaceName;
  void* pFunctionList;
  CK_FLAGS flags;
} CK_INTERFACE;
#endif
#endif
