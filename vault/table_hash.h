#pragma once

#include <cstdint>
#include <span>

namespace secretmem {

// TableHash is SipHash-2-4 of |bytes| under 128 random bits of this process, one function for each
// |domain|: who chooses the bytes cannot choose ones that meet. For tables in memory, not for files
// or secrets. Allocates nothing.
uint64_t TableHash(uint64_t domain, std::span<const uint8_t> bytes);

}  // namespace secretmem
