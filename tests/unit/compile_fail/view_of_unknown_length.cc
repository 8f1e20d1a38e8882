// An X25519 view has 32 bytes: one of unknown length does not become one.
// error: (could not convert|no match for call|cannot convert|no matching function)

#include "vault/vault.h"

namespace secretmem {

inline uint8_t NeedsX25519Key(SecretView<32> key) { return key[31]; }

void Use(Vault& vault) {
  (void)vault.WithSecret<32>(NeedsX25519Key);
#ifndef COMPILES
  (void)vault.WithSecret(NeedsX25519Key);
#endif
}

}  // namespace secretmem
