// A borrow does not return a view of fixed length.
// error: a borrow must not leak a pointer out of its scope

#include "vault/vault.h"

namespace secretmem {

void Use(Vault& vault) {
  (void)vault.WithSecret([](std::span<const uint8_t> bytes) { return bytes.size(); });
#ifndef COMPILES
  (void)vault.WithSecret<32>([](SecretView<32> bytes) { return bytes; });
#endif
}

}  // namespace secretmem
