#pragma once

#include <expected>

#include "mechanisms/cryptoki.h"
#include "vault/error.h"

namespace secretmem {

// CkResult is a value or the return code that the C_* call answers with.
template <class T>
using CkResult = std::expected<T, CK_RV>;

using CkStatus = std::expected<void, CK_RV>;

inline std::unexpected<CK_RV> Refuse(CK_RV code) { return std::unexpected(code); }

// RvOf translates a vault's failure. Running out of secret memory is CKR_DEVICE_MEMORY.
CK_RV RvOf(const VaultError& error);

// ToCk and Flatten turn what a borrow returned into the answer of a mechanism.
template <class T>
CkResult<T> ToCk(VaultResult<T> result) {
  if (!result) return Refuse(RvOf(result.error()));
  if constexpr (std::is_void_v<T>) {
    return {};
  } else {
    return std::move(*result);
  }
}

inline CkStatus Flatten(const VaultResult<CK_RV>& result) {
  if (!result) return Refuse(RvOf(result.error()));
  if (*result != CKR_OK) return Refuse(*result);
  return {};
}

}  // namespace secretmem
