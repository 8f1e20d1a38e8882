// A borrow does not return an expected pointer.
// error: a borrow must not leak a pointer out of its scope

#include <expected>

#include "vault/vault.h"

namespace secretmem {

void Use(Vault& vault) {
  (void)vault.WithSecret([](std::span<const uint8_t> bytes) { return bytes.size(); });
#ifndef COMPILES
  (void)vault.WithSecret([](std::span<const uint8_t> bytes) -> std::expected<const uint8_t*, int> {
    return bytes.data();
  });
#endif
}

}  // namespace secretmem
