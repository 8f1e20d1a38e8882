// A const vault is not written.
// error: (discards qualifiers|no matching function)

#include "vault/vault.h"

namespace secretmem {

void Use(Vault& vault) {
  const Vault& constant = vault;
  (void)constant.size();
#ifndef COMPILES
  (void)constant.WriteSecret([](std::span<uint8_t> bytes) { bytes[0] = 1; });
#endif
}

}  // namespace secretmem
