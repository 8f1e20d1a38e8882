// The module as a fuzzer uses it: linked in, with one token in memory that lasts.
#pragma once

#include <vector>

#include "mechanisms/cryptoki.h"

namespace secretmem::fuzz {

// Slot makes the token at the first call.
CK_SLOT_ID Slot();

// OpenSession opens a session, with the user logged in.
CK_SESSION_HANDLE OpenSession();

// LastingSession returns a session with the user logged in, the same one as long as nobody closes
// it or logs out.
CK_SESSION_HANDLE LastingSession();

// CleanUp destroys every object, if need be by initialising the token again.
void CleanUp();

// Mechanisms lists the module's.
const std::vector<CK_MECHANISM_TYPE>& Mechanisms();

// SomeKeys makes a session key of each sort: AES, generic, HKDF, ChaCha20, and pairs for RSA,
// P-256, Ed25519 and X25519.
std::vector<CK_OBJECT_HANDLE> SomeKeys(CK_SESSION_HANDLE session);

// SomeKemKeys makes session keys for encapsulation and wrapping: an X25519 pair, one bound to it,
// X-Wing and ML-KEM where they are, and an AES key.
std::vector<CK_OBJECT_HANDLE> SomeKemKeys(CK_SESSION_HANDLE session);

}  // namespace secretmem::fuzz
