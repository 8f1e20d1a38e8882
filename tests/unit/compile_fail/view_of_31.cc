// An X25519 view has 32 bytes: a function that wants them gets no view of 31.
// error: (could not convert|no match for call|cannot convert|no matching function)

#include "vault/vault.h"

namespace secretmem {

inline uint8_t NeedsX25519Key(SecretView<32> key) { return key[31]; }

void Use(Vault& vault) {
  (void)vault.WithSecret<32>(NeedsX25519Key);
#ifndef COMPILES
  (void)vault.WithSecret<31>(NeedsX25519Key);
#endif
}

}  // namespace secretmem
