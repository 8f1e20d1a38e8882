// A borrow does not return an array of pointers.
// error: a borrow must not leak a pointer out of its scope

#include <array>

#include "vault/vault.h"

namespace secretmem {

void Use(Vault& vault) {
  (void)vault.WithSecret([](std::span<const uint8_t> bytes) { return bytes.size(); });
#ifndef COMPILES
  (void)vault.WithSecret([](std::span<const uint8_t> bytes) { return std::array{bytes.data()}; });
#endif
}

}  // namespace secretmem
