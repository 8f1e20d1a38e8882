// How an object is stored. Apart from object_codec.h for whoever counts objects without opening
// them.
#pragma once

#include <cstdint>

namespace secretmem {

// RowKind is ObjectRow::kind.
enum class RowKind : uint8_t {
  // No secret, CKA_PRIVATE false: attributes in the clear, and their SHA-256 against damage.
  kPublic = 0,
  // A key with CKA_PRIVATE false: attributes in the clear, the secret sealed under the store's own
  // key with the attributes bound to it.
  kStoreSealed = 1,
  // CKA_PRIVATE true: attributes and secret sealed under the token key, the one bound to the other.
  kPrivate = 2,
  // No object: the token's own time, see token_clock.h.
  kClock = 3,
};

}  // namespace secretmem
