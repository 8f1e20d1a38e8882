// A borrow does not return a structure: a pointer may be in it.
// error: a borrow must not leak a pointer out of its scope

#include "vault/vault.h"

namespace secretmem {

struct Holder {
  std::span<const uint8_t> bytes;
};

void Use(Vault& vault) {
  (void)vault.WithSecret([](std::span<const uint8_t> bytes) { return bytes.size(); });
#ifndef COMPILES
  (void)vault.WithSecret([](std::span<const uint8_t> bytes) { return Holder{bytes}; });
#endif
}

}  // namespace secretmem
