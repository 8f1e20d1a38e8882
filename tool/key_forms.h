// The forms in which whoever looks for a key in memory expects it, by runs of eight bytes.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace secretmem {

inline constexpr size_t kKeyWindow = 8;

// kKeyForms names the forms: as big numbers, ciphers and hash functions load a value.
inline constexpr const char* kKeyForms[] = {
    "as it is stored", "backwards", "in swapped words of 4 bytes", "in swapped words of 8 bytes"};

// ByteOfForm returns the byte at |i| of the |form| of |value|. What is left over at the end of a
// value that is no multiple of a word stays as it is.
inline uint8_t ByteOfForm(std::span<const uint8_t> value, size_t form, size_t i) {
  if (form == 0) return value[i];
  if (form == 1) return value[value.size() - 1 - i];
  const size_t word = form == 2 ? 4 : 8;
  const size_t start = i / word * word;
  return start + word <= value.size() ? value[start + word - 1 - i % word] : value[i];
}

// IsTelling says whether eight bytes can be told from chance: memory holds runs of fewer than five
// different ones anyway.
inline bool IsTelling(std::array<uint8_t, kKeyWindow> bytes) {
  constexpr size_t kFewestDistinct = 5;
  std::ranges::sort(bytes);
  return bytes.size() - std::ranges::unique(bytes).size() >= kFewestDistinct;
}

}  // namespace secretmem
