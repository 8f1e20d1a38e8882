#pragma once

#include <openssl/err.h>

#include "mechanisms/cryptoki.h"

namespace secretmem {

// FailureOr returns CKR_DEVICE_MEMORY if BoringSSL has just failed for want of secret memory, and
// |otherwise| if not. In the borrow in which it failed.
inline CK_RV FailureOr(CK_RV otherwise) {
  while (const uint32_t error = ERR_get_error()) {
    if (ERR_GET_REASON(error) == ERR_R_MALLOC_FAILURE) return CKR_DEVICE_MEMORY;
  }
  return otherwise;
}

}  // namespace secretmem
