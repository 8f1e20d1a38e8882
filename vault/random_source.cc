#include "vault/random_source.h"

#include <errno.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cstdarg>
#include <cstddef>
#include <cstdint>

namespace secretmem {
namespace {

thread_local bool t_failed = false;
std::atomic<bool> g_ever_failed{false};

// Anything keeps the library's loops going: whatever comes of it is thrown away.
void FillWithAnything(uint8_t* out, size_t size) {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  uint64_t state = static_cast<uint64_t>(now.tv_nsec) | 1;
  for (size_t i = 0; i < size; ++i) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    out[i] = static_cast<uint8_t>(state);
  }
}

}  // namespace

bool RandomHasFailed() { return t_failed; }

void SetRandomHasFailed(bool failed) { t_failed = failed; }

bool RandomEverFailed() { return g_ever_failed; }

}  // namespace secretmem

// What BoringSSL's sources call where they say syscall(2): conf/boringssl.cmake renames it for
// them.
extern "C" long secretmem_boringssl_syscall(long number, ...) {
  va_list list;
  va_start(list, number);
  void* first = va_arg(list, void*);
  const size_t second = va_arg(list, size_t);
  const unsigned third = va_arg(list, unsigned);
  va_end(list);
  const long got = syscall(number, first, second, third);
  if (number != SYS_getrandom || got >= 0 || errno == EINTR || errno == EAGAIN) return got;
  secretmem::t_failed = true;
  secretmem::g_ever_failed = true;
  secretmem::FillWithAnything(static_cast<uint8_t*>(first), second);
  return static_cast<long>(second);
}
