#pragma once

#include "mechanisms/reseal.h"
#include "pkcs11/named_keys.h"

namespace secretmem {

// ResealKey is C_WrapKey with a mechanism that decapsulates and wraps: |kem| is a bound private
// key, |binding| its binding key. Both keys must permit the outer mechanism and their inner one,
// and what CKA_DECAPSULATE_TEMPLATE would have the secret be holds for it here too.
CkResult<std::vector<uint8_t>> ResealKey(Session& session, const Chosen& chosen,
                                         CK_OBJECT_HANDLE binding, CK_OBJECT_HANDLE kem);

}  // namespace secretmem
