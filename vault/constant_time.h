// Comparisons whose time depends on the lengths of their operands only, never on their bytes.

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace secretmem {

// ConstantTimeEqual returns whether |a| and |b| are equal, comparing in place: nothing is copied
// and every byte is visited. The lengths are public: unequal lengths return false at once.
inline bool ConstantTimeEqual(std::span<const uint8_t> a, std::span<const uint8_t> b) {
  if (a.size() != b.size()) return false;
  unsigned difference = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    difference |= static_cast<unsigned>(a[i] ^ b[i]);
    // Keeps the compiler from leaving the loop once a difference is known.
    __asm__ volatile("" : "+r"(difference));
  }
  return difference == 0;
}

}  // namespace secretmem
