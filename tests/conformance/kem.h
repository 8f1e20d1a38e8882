// The functions that PKCS#11 3.2 added, in one call each.
#pragma once

#include "tests/conformance/cipher.h"
#include "tests/conformance/ec.h"

namespace secretmem::conformance {

// P11v32 returns the module's 3.2 function list, or nullptr for an older module.
const CK_FUNCTION_LIST_3_2* P11v32();

// Encapsulated is what C_EncapsulateKey gives: `rv` alone if it refused.
struct Encapsulated {
  CK_RV rv = CKR_OK;
  Bytes ciphertext{};
  CK_OBJECT_HANDLE key = CK_INVALID_HANDLE;
};
// Encapsulate asks for the size and then for the key; checks that a size query and a short buffer
// make none, and that an error leaves the handle alone.
Encapsulated Encapsulate(CK_SESSION_HANDLE session, OwnedMechanism mechanism,
                         CK_OBJECT_HANDLE public_key, Template key);
CK_RV Decapsulate(CK_SESSION_HANDLE session, OwnedMechanism mechanism, CK_OBJECT_HANDLE private_key,
                  Bytes ciphertext, Template key, CK_OBJECT_HANDLE& handle);

Result WrapAuthenticated(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE wrapping,
                         OwnedMechanism mechanism, CK_OBJECT_HANDLE key, Bytes associated);
CK_RV UnwrapAuthenticated(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE unwrapping,
                          OwnedMechanism mechanism, Bytes wrapped, Bytes associated, Template key,
                          CK_OBJECT_HANDLE& handle);

// EcdhKem is CKM_ECDH1_DERIVE (or another type) without a peer. The parameter points to `shared`.
OwnedMechanism EcdhKem(CK_ULONG kdf, const Bytes& shared = {},
                       CK_MECHANISM_TYPE type = CKM_ECDH1_DERIVE);

}  // namespace secretmem::conformance
