// Secret memory as the configuration wants it.
#pragma once

#include "mechanisms/result.h"
#include "pkcs11/config.h"

namespace secretmem {

// PrepareVault puts the configuration's memory options into force, once in a process and before
// there are any vaults, and sees whether keys can be had: CKR_DEVICE_MEMORY where too little memory
// may be locked, CKR_FUNCTION_FAILED where there is no secret memory and locked memory is not
// allowed. The log says why. Not for two threads at once.
CkStatus PrepareVault(const Config& config);

}  // namespace secretmem
