// Vendor-defined numbers of this module (PKCS#11 3.2, section 4: CKA_VENDOR_DEFINED and above).
// All carry 'SM' (0x534d) so that they are told from other vendors' numbers in a dump.

#pragma once

#include "mechanisms/cryptoki.h"

#define CKA_SECRETMEM_BASE (CKA_VENDOR_DEFINED | 0x534d0000UL)

// CKA_SECRETMEM_PROTECTION: CK_UTF8CHAR array, no terminator, read-only, on every private and
// secret key. How the key's bytes are kept in this process's memory: "memfd_secret" or "mlock".
#define CKA_SECRETMEM_PROTECTION (CKA_SECRETMEM_BASE | 1UL)

// CKA_SECRETMEM_AT_REST: CK_UTF8CHAR array, no terminator, read-only, on every private and secret
// key. How the key is kept in the token's file: "none" (a session object: never written), "pin"
// (sealed under a key that the PIN unlocks), "store" (CKA_PRIVATE false: sealed under a key that
// lies in the same file, so whoever reads the file reads the key).
#define CKA_SECRETMEM_AT_REST (CKA_SECRETMEM_BASE | 2UL)

// CKA_SECRETMEM_LIFETIME: CK_ULONG, seconds, 1 to 2^32. Given in the template that makes a private
// or secret key, in whatever way; never changed afterwards. When it is over the key is unusable and
// not found, and soon wiped and deleted. A copy ends when its original does, or earlier.
#define CKA_SECRETMEM_LIFETIME (CKA_SECRETMEM_BASE | 0x20UL)

// CKA_SECRETMEM_EXPIRES: CK_ULONG, read-only, on keys with a lifetime. When it is over, in
// milliseconds since 1970: of the token's own time for token objects, which is not the wall clock
// where that was changed; of the wall clock when it was made for session objects.
#define CKA_SECRETMEM_EXPIRES (CKA_SECRETMEM_BASE | 0x21UL)
