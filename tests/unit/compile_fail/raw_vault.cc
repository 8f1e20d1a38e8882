// A vault is not made of bytes that lie elsewhere.
// error: private within this context

#include "vault/vault.h"

namespace secretmem {

void Use(Vault& vault) {
  (void)vault;
#ifndef COMPILES
  uint8_t byte = 0;
  const Vault made(&byte, 1, 0);
#endif
}

}  // namespace secretmem
