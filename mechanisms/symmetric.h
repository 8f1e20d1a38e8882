#pragma once

#include <cstring>

#include "mechanisms/mechanism.h"

namespace secretmem {

// What the symmetric ciphers share.

enum class Direction : bool { kDecrypt, kEncrypt };

// CheckSecretKey says whether |key| is a secret key of this type; CKR_KEY_TYPE_INCONSISTENT.
inline CkStatus CheckSecretKey(const Key& key, CK_KEY_TYPE type) {
  if (key.object_class != CKO_SECRET_KEY || key.key_type != type || key.secret == nullptr) {
    return Refuse(CKR_KEY_TYPE_INCONSISTENT);
  }
  return {};
}

// Succeeded turns a borrow that answers whether BoringSSL did it into a status.
inline CkStatus Succeeded(const VaultResult<bool>& result) {
  if (!result) return Refuse(RvOf(result.error()));
  if (!*result) return Refuse(CKR_FUNCTION_FAILED);
  return {};
}

// Settle moves |in| to the start of |out| if the two overlap without being the same, so that what
// follows works in place. Returns where the input is. |out| is at least as long as |in|.
inline const uint8_t* Settle(std::span<const uint8_t> in, std::span<uint8_t> out) {
  if (in.empty() || in.data() == out.data()) return in.data();
  const std::less<const uint8_t*> before;
  if (!before(in.data(), out.data() + out.size()) || !before(out.data(), in.data() + in.size())) {
    return in.data();
  }
  memmove(out.data(), in.data(), in.size());
  return out.data();
}

}  // namespace secretmem
