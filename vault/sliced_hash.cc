// Hashing in slices for BoringSSL's Ed25519, which goes through the whole message twice in one
// call.

#include <openssl/sha.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "vault/secret_stack.h"

// What BoringSSL's curve25519 calls where it says SHA512_Update: conf/boringssl.cmake renames it
// there. It holds no lock then, and what it has so far lies on the secret stack.
extern "C" int secretmem_boringssl_sha512_update(SHA512_CTX* context, const void* data,
                                                 size_t size) {
  constexpr size_t kSlice = size_t{1} << 22;
  const auto* at = static_cast<const uint8_t*>(data);
  for (; size > kSlice; at += kSlice, size -= kSlice) {
    if (SHA512_Update(context, at, kSlice) != 1) return 0;
    secretmem::SafePoint();
  }
  return SHA512_Update(context, at, size);
}
