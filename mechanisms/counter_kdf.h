#pragma once

#include "mechanisms/mechanism.h"

namespace secretmem {

// CKM_SP800_108_COUNTER_KDF (PKCS#11 3.2, 6.42; NIST SP 800-108, 4.1) with CK_SP800_108_KDF_PARAMS:
// HMAC or AES-CMAC over a counter of 8 to 32 bits, byte arrays, keys and the length, in any order.
// Several keys get segments of their own each.
CkResult<KeysNamed> CounterKdfNamesKeys(Parameter parameter);
CkResult<std::vector<NewKey>> DeriveCounterKdf(const Derivation& derivation);

}  // namespace secretmem
