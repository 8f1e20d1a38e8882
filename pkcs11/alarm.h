#pragma once

#include <atomic>
#include <cstdint>
#include <limits>
#include <mutex>

namespace secretmem {

// Deadlines are times of CLOCK_BOOTTIME in milliseconds; kNoDeadline is the one of a key without.
inline constexpr int64_t kNoDeadline = std::numeric_limits<int64_t>::max();

// Alarm holds the earliest deadline of all the keys of a module, or an earlier time: keys that go
// before their deadline do not set it back. Reading it costs one atomic load, so every call can.
class Alarm {
 public:
  // due returns it; kNoDeadline where no key has one.
  int64_t due() const { return due_; }

  // Lower makes it |deadline| at the latest.
  void Lower(int64_t deadline);

  // A sweep is between Begin and End: |next| is the earliest deadline that it found left, and what
  // came meanwhile counts too. Until then |due| stays, so that others see that there is work.
  void BeginSweep();
  void EndSweep(int64_t next);

 private:
  std::mutex mutex_;
  std::atomic<int64_t> due_{kNoDeadline};
  int64_t meanwhile_ = kNoDeadline;  // under |mutex_|: the least since BeginSweep
};

}  // namespace secretmem
