#pragma once

#include <cstddef>
#include <cstdint>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace secretmem::internal {

// FirstUsed looks through the zeroed bytes from |low| on, aligned as Vector is, by steps of eight
// vectors: it returns where the first step begins that is not zero, or where the last whole one
// ends. A macro, as a template cannot be for another processor than the code that it is in.
#define SECRETMEM_FIRST_USED(FirstUsed, Vector, attributes, IsZero)                                \
  attributes inline size_t FirstUsed(const std::byte* low, size_t bytes) {                         \
    constexpr size_t kStep = 8;                                                                    \
    const auto* at = reinterpret_cast<const Vector*>(low);                                         \
    const size_t count = bytes / sizeof(Vector);                                                   \
    size_t i = 0;                                                                                  \
    for (; i + kStep <= count; i += kStep) {                                                       \
      const Vector any = (at[i] | at[i + 1]) | (at[i + 2] | at[i + 3]) | (at[i + 4] | at[i + 5]) | \
                         (at[i + 6] | at[i + 7]);                                                  \
      if (!(IsZero)) break;                                                                        \
    }                                                                                              \
    return i * sizeof(Vector);                                                                     \
  }

// GCC makes vector registers of these, 16 bytes wide on every architecture.
using Narrow [[gnu::vector_size(16)]] = uint64_t;
SECRETMEM_FIRST_USED(FirstUsedNarrow, Narrow, , (any[0] | any[1]) == 0)
#if defined(__x86_64__)
SECRETMEM_FIRST_USED(FirstUsedAvx2, __m256i, [[gnu::target("avx2")]], _mm256_testz_si256(any, any))
SECRETMEM_FIRST_USED(FirstUsedAvx512, __m512i, [[gnu::target("avx512f")]],
                     _mm512_test_epi64_mask(any, any) == 0)
inline const bool kHasAvx2 = __builtin_cpu_supports("avx2") != 0;
inline const bool kHasAvx512 = __builtin_cpu_supports("avx512vl") != 0;
#endif
#undef SECRETMEM_FIRST_USED

// UsedFrom returns where the part of a stack begins that a call has written: the lowest of the
// |bytes| from |low| on, a multiple of 16 both, that is not zero, or some zero bytes before it.
// Stacks are zero before, so what was written as zero below it tells nothing. |bytes| if all is
// zero, or nearly so: what lies behind counts as used whatever it is.
inline size_t UsedFrom(const std::byte* low, size_t bytes) {
#if defined(__x86_64__)
  if (kHasAvx2) {
    // What lies before the widest vector's alignment by itself.
    const size_t before = -reinterpret_cast<uintptr_t>(low) % sizeof(__m512i);
    for (size_t i = 0; i < before; i += sizeof(Narrow)) {
      const Narrow first = *reinterpret_cast<const Narrow*>(low + i);
      if ((first[0] | first[1]) != 0) return 0;
    }
    return before + (kHasAvx512 ? FirstUsedAvx512(low + before, bytes - before)
                                : FirstUsedAvx2(low + before, bytes - before));
  }
#endif
  return FirstUsedNarrow(low, bytes);
}

}  // namespace secretmem::internal
