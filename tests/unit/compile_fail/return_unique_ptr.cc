// A borrow does not return a smart pointer.
// error: a borrow must not leak a pointer out of its scope

#include <memory>

#include "vault/vault.h"

namespace secretmem {

void Use(Vault& vault) {
  (void)vault.WithSecret([](std::span<const uint8_t> bytes) { return bytes.size(); });
#ifndef COMPILES
  (void)vault.WithSecret(
      [](std::span<const uint8_t> bytes) { return std::make_unique<uint8_t>(bytes[0]); });
#endif
}

}  // namespace secretmem
