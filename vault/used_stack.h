#pragma once

#include <cstddef>
#include <cstdint>

namespace secretmem::internal {

// UsedFrom returns where the part of a stack begins that a call has written: the lowest of the
// |bytes| from |low| on, a multiple of 16 both, that is not zero, or some zero bytes before it.
// Stacks are zero before, so what was written as zero below it tells nothing. |bytes| if all is
// zero, or nearly so: what lies behind counts as used whatever it is.
inline size_t UsedFrom(const std::byte* low, size_t bytes) {
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

}  // namespace secretmem::internal
