// A borrow does not return a pointer in a tuple.
// error: a borrow must not leak a pointer out of its scope

#include <tuple>

#include "vault/vault.h"

namespace secretmem {

void Use(Vault& vault) {
  (void)vault.WithSecret([](std::span<const uint8_t> bytes) { return bytes.size(); });
#ifndef COMPILES
  (void)vault.WithSecret(
      [](std::span<const uint8_t> bytes) { return std::tuple(1, 2, bytes.data()); });
#endif
}

}  // namespace secretmem
