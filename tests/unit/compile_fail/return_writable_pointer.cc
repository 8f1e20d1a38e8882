// A borrow does not return a pointer that can be written.
// error: a borrow must not leak a pointer out of its scope

#include "vault/vault.h"

namespace secretmem {

void Use(Vault& vault) {
  (void)vault.WithSecret([](std::span<const uint8_t> bytes) { return bytes.size(); });
#ifndef COMPILES
  (void)vault.WriteSecret([](std::span<uint8_t> bytes) { return bytes.data(); });
#endif
}

}  // namespace secretmem
