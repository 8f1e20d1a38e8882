// A borrow does not return a reference.
// error: a borrow must not leak a pointer out of its scope

#include "vault/vault.h"

namespace secretmem {

void Use(Vault& vault) {
  (void)vault.WithSecret([](std::span<const uint8_t> bytes) { return bytes.size(); });
#ifndef COMPILES
  (void)vault.WithSecret([](std::span<const uint8_t> bytes) -> const uint8_t& { return bytes[0]; });
#endif
}

}  // namespace secretmem
