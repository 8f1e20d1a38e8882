#include "vault/canary.h"

#include <sys/random.h>

#include <atomic>
#include <cstdint>
#include <cstring>

namespace secretmem {
namespace {

std::atomic<uint64_t> g_secret{0};
std::atomic<bool> g_damaged{false};

uint64_t Secret() {
  uint64_t secret = g_secret;
  if (secret != 0) return secret;
  uint64_t drawn = 0;
  // Where there is no randomness the address alone must do: nothing else works there either.
  (void)!getrandom(&drawn, sizeof(drawn), GRND_NONBLOCK);
  drawn |= 1;
  return g_secret.compare_exchange_strong(secret, drawn) ? drawn : secret;
}

struct Canary {
  uint64_t words[2];
};
static_assert(sizeof(Canary) == kCanaryBytes);

Canary CanaryFor(const std::byte* at) {
  const uint64_t secret = Secret();
  return {{secret ^ reinterpret_cast<uintptr_t>(at), ~secret}};
}

}  // namespace

void SetCanary(std::byte* at) {
  const Canary canary = CanaryFor(at);
  memcpy(at, &canary, sizeof(canary));
}

bool CheckCanary(const std::byte* at) {
  const Canary canary = CanaryFor(at);
  if (memcmp(at, &canary, sizeof(canary)) == 0) return true;
  g_damaged = true;
  return false;
}

bool IsMemoryDamaged() { return g_damaged; }

}  // namespace secretmem
