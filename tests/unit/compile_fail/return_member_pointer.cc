// A borrow does not return a pointer to a member.
// error: a borrow must not leak a pointer out of its scope

#include "vault/vault.h"

namespace secretmem {

struct Holder {
  int number;
};

void Use(Vault& vault) {
  (void)vault.WithSecret([](std::span<const uint8_t> bytes) { return bytes.size(); });
#ifndef COMPILES
  (void)vault.WithSecret([](std::span<const uint8_t> bytes) {
    (void)bytes;
    return &Holder::number;
  });
#endif
}

}  // namespace secretmem
