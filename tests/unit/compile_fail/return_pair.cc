// A borrow does not return a pointer in a pair.
// error: a borrow must not leak a pointer out of its scope

#include <utility>

#include "vault/vault.h"

namespace secretmem {

void Use(Vault& vault) {
  (void)vault.WithSecret([](std::span<const uint8_t> bytes) { return bytes.size(); });
#ifndef COMPILES
  (void)vault.WithSecret(
      [](std::span<const uint8_t> bytes) { return std::pair(bytes.data(), bytes.size()); });
#endif
}

}  // namespace secretmem
