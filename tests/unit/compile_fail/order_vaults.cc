// Vaults have no order.
// error: no match for .operator<

#include "vault/vault.h"

namespace secretmem {

void Use(Vault& vault) {
  auto other = Vault::New(1);
  (void)other;
  (void)vault;
#ifndef COMPILES
  (void)(vault < *other);
#endif
}

}  // namespace secretmem
