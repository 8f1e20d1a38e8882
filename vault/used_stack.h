#pragma once

#include <cstddef>
#include <cstdint>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace secretmem::internal {

// FirstUsed looks through the zeroed bytes from |low| on, a multiple of 16 both, by steps of eight
// vectors: it returns where the first step begins that is not zero, or where the last whole one
// ends.
inline size_t FirstUsed(const std::byte* low, size_t bytes) {
  // GCC makes vector registers of these, 16 bytes wide on every architecture.
  using Vector [[gnu::vector_size(16)]] = uint64_t;
  constexpr size_t kStep = 8;
  const auto* vectors = reinterpret_cast<const Vector*>(low);
  const size_t count = bytes / sizeof(Vector);
  size_t i = 0;
  for (; i + kStep <= count; i += kStep) {
    const Vector any = vectors[i] | vectors[i + 1] | vectors[i + 2] | vectors[i + 3] |
                       vectors[i + 4] | vectors[i + 5] | vectors[i + 6] | vectors[i + 7];
    if ((any[0] | any[1]) != 0) break;
  }
  return i * sizeof(Vector);
}

#if defined(__x86_64__)
// FirstUsedAvx2 does so with registers twice as wide, of which |low| is a multiple.
[[gnu::target("avx2")]] inline size_t FirstUsedAvx2(const std::byte* low, size_t bytes) {
  constexpr size_t kStep = 8;
  const auto* at = reinterpret_cast<const __m256i*>(low);
  const size_t count = bytes / sizeof(*at);
  size_t i = 0;
  for (; i + kStep <= count; i += kStep) {
    const __m256i any = (at[i] | at[i + 1]) | (at[i + 2] | at[i + 3]) | (at[i + 4] | at[i + 5]) |
                        (at[i + 6] | at[i + 7]);
    if (!_mm256_testz_si256(any, any)) break;
  }
  return i * sizeof(*at);
}
inline const bool kHasAvx2 = __builtin_cpu_supports("avx2") != 0;
#endif

// UsedFrom returns where the part of a stack begins that a call has written: the lowest of the
// |bytes| from |low| on, a multiple of 16 both, that is not zero, or some zero bytes before it.
// Stacks are zero before, so what was written as zero below it tells nothing. |bytes| if all is
// zero, or nearly so: what lies behind counts as used whatever it is.
inline size_t UsedFrom(const std::byte* low, size_t bytes) {
#if defined(__x86_64__)
  if (kHasAvx2) {
    // What lies before the first wide vector's address by itself.
    const size_t before = -reinterpret_cast<uintptr_t>(low) % sizeof(__m256i);
    for (size_t i = 0; i < before; ++i) {
      if (low[i] != std::byte{0}) return 0;
    }
    return before + FirstUsedAvx2(low + before, bytes - before);
  }
#endif
  return FirstUsed(low, bytes);
}

}  // namespace secretmem::internal
