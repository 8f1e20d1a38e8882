// A vault does not tell where its bytes are.
// error: private within this context

#include "vault/vault.h"

namespace secretmem {

void Use(Vault& vault) {
  (void)vault.size();
#ifndef COMPILES
  (void)vault.data_;
#endif
}

}  // namespace secretmem
