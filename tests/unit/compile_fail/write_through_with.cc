// WithSecret gives bytes that cannot be written.
// error: (read-only|could not convert|no match for call|cannot convert)

#include "vault/vault.h"

namespace secretmem {

void Use(Vault& vault) {
  (void)vault.WriteSecret([](std::span<uint8_t> bytes) { bytes[0] = 1; });
#ifndef COMPILES
  (void)vault.WithSecret([](std::span<const uint8_t> bytes) { bytes[0] = 1; });
#endif
}

}  // namespace secretmem
