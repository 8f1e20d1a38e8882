// A borrow does not return a string, which would be a copy in ordinary memory.
// error: a borrow must not leak a pointer out of its scope

#include <string>

#include "vault/vault.h"

namespace secretmem {

void Use(Vault& vault) {
  (void)vault.WithSecret([](std::span<const uint8_t> bytes) { return bytes.size(); });
#ifndef COMPILES
  (void)vault.WithSecret(
      [](std::span<const uint8_t> bytes) { return std::string(bytes.begin(), bytes.end()); });
#endif
}

}  // namespace secretmem
