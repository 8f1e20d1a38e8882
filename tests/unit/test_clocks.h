// Clocks that a test sets.
#pragma once

#include <atomic>

#include "pkcs11/clock.h"

namespace secretmem {

// TestClocks are the current clocks while they live. They stand still until they are set.
class TestClocks {
 public:
  TestClocks() {
    boottime_ms = 5'000'000;
    wall_ms = 1'700'000'000'000;
    boot = BootId{1};
    SetClocksForTesting(&kClocks);
  }
  ~TestClocks() { SetClocksForTesting(nullptr); }
  TestClocks(const TestClocks&) = delete;
  TestClocks& operator=(const TestClocks&) = delete;

  // Pass lets time go by, suspended or not.
  static void Pass(int64_t milliseconds) {
    boottime_ms += milliseconds;
    wall_ms += milliseconds;
  }

  // Reboot begins another boot, in which CLOCK_BOOTTIME begins anew.
  static void Reboot() {
    boottime_ms = 1'000;
    ++boot[0];
  }

  static inline std::atomic<int64_t> boottime_ms = 0;
  static inline std::atomic<int64_t> wall_ms = 0;
  static inline BootId boot{};

 private:
  static constexpr Clocks kClocks{[] { return boottime_ms.load(); }, [] { return wall_ms.load(); },
                                  [] { return boot; }};
};

}  // namespace secretmem
