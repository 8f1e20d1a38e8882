// A borrow does not return a reference in a wrapper.
// error: a borrow must not leak a pointer out of its scope

#include <functional>

#include "vault/vault.h"

namespace secretmem {

void Use(Vault& vault) {
  (void)vault.WithSecret([](std::span<const uint8_t> bytes) { return bytes.size(); });
#ifndef COMPILES
  (void)vault.WithSecret([](std::span<const uint8_t> bytes) { return std::cref(bytes[0]); });
#endif
}

}  // namespace secretmem
