// A vault is not copied.
// error: use of deleted function

#include <utility>

#include "vault/vault.h"

namespace secretmem {

void Use(Vault& vault) {
  Vault moved(std::move(vault));
  (void)moved;
#ifndef COMPILES
  Vault copy(moved);
  (void)copy;
#endif
}

}  // namespace secretmem
