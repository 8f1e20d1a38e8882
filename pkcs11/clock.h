#pragma once

#include <array>
#include <cstdint>

namespace secretmem {

// BootId tells one run of CLOCK_BOOTTIME from another: the boot, and the time namespace, in which
// that clock may have an offset of its own. All zero: not to be had, and then equal to no other.
using BootId = std::array<uint8_t, 16>;

// Clocks are what lifetimes are counted by, in milliseconds.
struct Clocks {
  int64_t (*boottime_ms)();  // CLOCK_BOOTTIME: runs on in suspend, and nobody sets it
  int64_t (*wall_ms)();      // CLOCK_REALTIME, since 1970
  BootId (*boot)();
};

// CurrentClocks are the system's, unless a test has put others in their place.
const Clocks& CurrentClocks();

// SetClocksForTesting puts |clocks|, which must live on, in their place; null: the system's again.
void SetClocksForTesting(const Clocks* clocks);

inline int64_t BoottimeMs() { return CurrentClocks().boottime_ms(); }

}  // namespace secretmem
