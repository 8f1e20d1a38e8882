// An X25519 view has 32 bytes: an array of 31 does not become one.
// error: (conversion from|could not convert|no matching function)

#include "vault/vault.h"

namespace secretmem {

void Use(Vault& vault) {
  uint8_t right[32] = {};
  const SecretView<32> view = right;
  (void)view;
  (void)vault;
#ifndef COMPILES
  uint8_t wrong[31] = {};
  const SecretView<32> short_view = wrong;
  (void)short_view;
#endif
}

}  // namespace secretmem
