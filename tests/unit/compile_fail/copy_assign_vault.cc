// A vault is not copied by assignment.
// error: use of deleted function

#include <utility>

#include "vault/vault.h"

namespace secretmem {

void Use(Vault& vault) {
  auto other = Vault::New(1);
  vault = std::move(*other);
#ifndef COMPILES
  vault = *other;
#endif
}

}  // namespace secretmem
