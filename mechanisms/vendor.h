// Vendor-defined numbers of this module (PKCS#11 3.2, section 4: CKA_VENDOR_DEFINED and above).
// All carry 'SM' (0x534d) so that they are told from other vendors' numbers in a dump.

#pragma once

#if defined(__cplusplus) && __has_include("mechanisms/cryptoki.h")
#include "mechanisms/cryptoki.h"
#else  // installed, for clients
#include <p11-kit/pkcs11.h>
#endif

#define CKA_SECRETMEM_BASE (CKA_VENDOR_DEFINED | 0x534d0000UL)

// CKA_SECRETMEM_PROTECTION: CK_UTF8CHAR array, no terminator, read-only, on every private and
// secret key. How the key's bytes are kept in this process's memory: "memfd_secret" or "mlock".
#define CKA_SECRETMEM_PROTECTION (CKA_SECRETMEM_BASE | 1UL)

// CKA_SECRETMEM_AT_REST: CK_UTF8CHAR array, no terminator, read-only, on every private and secret
// key. How the key is kept in the token's file: "none" (a session object: never written), "pin"
// (sealed under a key that the PIN unlocks), "store" (CKA_PRIVATE false: sealed under a key that
// lies in the same file, so whoever reads the file reads the key).
#define CKA_SECRETMEM_AT_REST (CKA_SECRETMEM_BASE | 2UL)

// CKA_SECRETMEM_BOUND_TO: byte array. Of a private key for key encapsulation: CKA_EC_POINT, or
// CKA_VALUE for X-Wing, of the one public key, the binding key, to which what is decapsulated may
// be wrapped. Given when the key is made (C_GenerateKeyPair, C_CreateObject) and never changed.
// Such a key is sensitive, cannot be extracted, and decapsulates only. Of a secret key: it was
// decapsulated with such a key. See docs/hpke.md.
#define CKA_SECRETMEM_BOUND_TO (CKA_SECRETMEM_BASE | 0x10UL)

// CKA_SECRETMEM_LIFETIME: CK_ULONG, seconds, 1 to 2^32. Given in the template that makes a private
// or secret key, in whatever way; never changed afterwards. When it is over the key is unusable and
// not found, and soon wiped and deleted. A copy ends when its original does, or earlier.
#define CKA_SECRETMEM_LIFETIME (CKA_SECRETMEM_BASE | 0x20UL)

// CKA_SECRETMEM_EXPIRES: CK_ULONG, read-only, on keys with a lifetime. When it is over, in
// milliseconds since 1970: of the token's own time for token objects, which is not the wall clock
// where that was changed; of the wall clock when it was made for session objects.
#define CKA_SECRETMEM_EXPIRES (CKA_SECRETMEM_BASE | 0x21UL)

// CKK_SECRETMEM_XWING: X-Wing keys (draft-connolly-cfrg-xwing-kem), in builds whose BoringSSL has
// it. CKA_VALUE is a public key's 1,216 bytes, CKA_SEED a private key's 32, secret.
#define CKK_SECRETMEM_XWING (CKK_VENDOR_DEFINED | 0x534d0001UL)

#define CKM_SECRETMEM_BASE (CKM_VENDOR_DEFINED | 0x534d0000UL)

// CKM_SECRETMEM_HPKE: hybrid public key encryption, RFC 9180, with X25519 and X-Wing keys.
// C_WrapKey, C_UnwrapKey and their authenticated forms, C_EncryptInit and C_DecryptInit in one
// part, C_EncapsulateKey and C_DecapsulateKey. The parameter is CK_SECRETMEM_HPKE_PARAMS.
#define CKM_SECRETMEM_HPKE (CKM_SECRETMEM_BASE | 1UL)

// CKM_SECRETMEM_RESEAL: C_WrapKey that decapsulates with a bound key, which is its hKey, and wraps
// the secret to the binding key, its hWrappingKey; no object is made. The parameter is
// CK_SECRETMEM_RESEAL_PARAMS.
#define CKM_SECRETMEM_RESEAL (CKM_SECRETMEM_BASE | 2UL)

// CKM_SECRETMEM_XWING_KEY_PAIR_GEN: C_GenerateKeyPair for CKK_SECRETMEM_XWING. No parameter.
#define CKM_SECRETMEM_XWING_KEY_PAIR_GEN (CKM_SECRETMEM_BASE | 3UL)

// ulMode, RFC 9180, 5.
#define CK_SECRETMEM_HPKE_MODE_BASE 0UL
#define CK_SECRETMEM_HPKE_MODE_PSK 1UL

// ulKem, ulKdf and ulAead: RFC 9180, 7, and the registry for X-Wing. CK_SECRETMEM_HPKE_EXPORT_ONLY
// is for encapsulation only.
#define CK_SECRETMEM_HPKE_X25519_HKDF_SHA256 0x0020UL
#define CK_SECRETMEM_HPKE_XWING 0x647aUL
#define CK_SECRETMEM_HPKE_HKDF_SHA256 0x0001UL
#define CK_SECRETMEM_HPKE_AES_128_GCM 0x0001UL
#define CK_SECRETMEM_HPKE_AES_256_GCM 0x0002UL
#define CK_SECRETMEM_HPKE_CHACHA20_POLY1305 0x0003UL
#define CK_SECRETMEM_HPKE_EXPORT_ONLY 0xffffUL

// ulOutput: what an encapsulation gives.
#define CK_SECRETMEM_HPKE_OUTPUT_EXPORT 0UL  // an exported secret, RFC 9180, 5.3
#define CK_SECRETMEM_HPKE_OUTPUT_KEM 1UL     // the KEM's shared secret itself, RFC 9180, 4

typedef struct CK_SECRETMEM_HPKE_PARAMS CK_SECRETMEM_HPKE_PARAMS;
struct CK_SECRETMEM_HPKE_PARAMS {
  CK_ULONG ulMode;
  CK_ULONG ulKem;
  CK_ULONG ulKdf;
  CK_ULONG ulAead;
  CK_BYTE* pInfo;
  CK_ULONG ulInfoLen;
  CK_BYTE* pAAD;  // not for encapsulation
  CK_ULONG ulAADLen;
  // Where the encapsulated key goes, or comes from, if it is not to be in front of the ciphertext:
  // 32 bytes, 1,120 for X-Wing. NULL and 0 otherwise, and for encapsulation, whose ciphertext it
  // is.
  CK_BYTE* pEncapsulatedKey;
  CK_ULONG ulEncapsulatedKeyLen;
  CK_OBJECT_HANDLE hPsk;  // 0 in base mode
  CK_BYTE* pPskId;
  CK_ULONG ulPskIdLen;
  CK_ULONG ulOutput;          // encapsulation only, otherwise 0
  CK_BYTE* pExporterContext;  // of an exported secret
  CK_ULONG ulExporterContextLen;
};
typedef CK_SECRETMEM_HPKE_PARAMS* CK_SECRETMEM_HPKE_PARAMS_PTR;

typedef struct CK_SECRETMEM_RESEAL_PARAMS CK_SECRETMEM_RESEAL_PARAMS;
struct CK_SECRETMEM_RESEAL_PARAMS {
  CK_MECHANISM* pDecapsulation;  // as for C_DecapsulateKey; it may not name keys
  CK_BYTE* pCiphertext;
  CK_ULONG ulCiphertextLen;
  CK_ULONG ulSecretLen;     // CKA_VALUE_LEN of the secret, a generic one; 0: as long as it is
  CK_MECHANISM* pWrapping;  // as for C_WrapKey; it may not name keys
};
typedef CK_SECRETMEM_RESEAL_PARAMS* CK_SECRETMEM_RESEAL_PARAMS_PTR;
