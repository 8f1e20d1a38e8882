// Public keys to wrap and encapsulate to.
#pragma once

#include "tests/audit/client.h"

namespace secretmem::audit {

CK_OBJECT_HANDLE CreatePublic(Client& client, const Template& attributes);

// CreatePublicPoint makes a public key of X25519 or P-256 with the attribute |use|.
CK_OBJECT_HANDLE CreatePublicPoint(Client& client, KeyKind kind, const Bytes& point,
                                   CK_ATTRIBUTE_TYPE use);

}  // namespace secretmem::audit
