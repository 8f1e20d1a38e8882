// A borrow does not return a function object: it may have captured a pointer.
// error: a borrow must not leak a pointer out of its scope

#include <functional>

#include "vault/vault.h"

namespace secretmem {

void Use(Vault& vault) {
  (void)vault.WithSecret([](std::span<const uint8_t> bytes) { return bytes.size(); });
#ifndef COMPILES
  (void)vault.WithSecret([](std::span<const uint8_t> bytes) {
    return std::function<uint8_t()>([bytes] { return bytes[0]; });
  });
#endif
}

}  // namespace secretmem
