#include "vault/random.h"

#include <openssl/rand.h>

#include "vault/random_source.h"
#include "vault/secret_memory.h"
#include "vault/secret_stack.h"

namespace secretmem {

VaultResult<void> RandomBytes(std::span<uint8_t> out) {
  // Who asks for randomness itself shall hear that there is no new entropy.
  if (RandomEverFailed()) {
    if (auto random = ProbeRandom(); !random) return random;
  }
  return OnShallowStack([&] { RAND_bytes(out.data(), out.size()); });
}

}  // namespace secretmem
