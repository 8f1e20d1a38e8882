// A vault is not printed.
// error: no match for .operator<<

#include <iostream>

#include "vault/vault.h"

namespace secretmem {

void Use(Vault& vault) {
  std::cout << vault.size();
#ifndef COMPILES
  std::cout << vault;
#endif
}

}  // namespace secretmem
