#include "vault/random.h"

#include <openssl/rand.h>

#include "vault/secret_stack.h"

namespace secretmem {

VaultResult<void> RandomBytes(std::span<uint8_t> out) {
  return OnShallowStack([&] { RAND_bytes(out.data(), out.size()); });
}

}  // namespace secretmem
