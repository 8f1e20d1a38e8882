#include "vault/table_hash.h"

#include <openssl/siphash.h>
#include <sys/auxv.h>

#include <array>
#include <cstring>

namespace secretmem {
namespace {

using Key = std::array<uint64_t, 2>;

// The kernel's 16 random bytes of each program: BoringSSL's generator would need secret memory,
// which there is none of before the first key.
Key ProcessKey() {
  Key key{};
  const auto* random = reinterpret_cast<const void*>(getauxval(AT_RANDOM));
  if (random != nullptr) memcpy(key.data(), random, sizeof(key));
  return key;
}

}  // namespace

uint64_t TableHash(uint64_t domain, std::span<const uint8_t> bytes) {
  static const Key process_key = ProcessKey();
  const Key key = {process_key[0] ^ domain, process_key[1]};
  return SIPHASH_24(key.data(), bytes.data(), bytes.size());
}

}  // namespace secretmem
