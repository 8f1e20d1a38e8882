// A borrow does not return an object of a type that nobody sees.
// error: a borrow must not leak a pointer out of its scope

#include <any>

#include "vault/vault.h"

namespace secretmem {

void Use(Vault& vault) {
  (void)vault.WithSecret([](std::span<const uint8_t> bytes) { return bytes.size(); });
#ifndef COMPILES
  (void)vault.WithSecret([](std::span<const uint8_t> bytes) { return std::any(bytes); });
#endif
}

}  // namespace secretmem
