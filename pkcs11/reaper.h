#pragma once

#include <pthread.h>

#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>

#include "pkcs11/alarm.h"

namespace secretmem {

// Reaper is the thread that wipes expired keys while no client calls. It is there only while an
// alarm is set: Watch starts it, it ends by itself soon after the last key with a lifetime is gone,
// and Stop ends it for good. All signals are blocked in it but glibc's own, which setuid(2) needs.
class Reaper {
 public:
  // |work| does what is due. Without |may_start| there is never a thread.
  Reaper(const Alarm& alarm, bool may_start, std::function<void()> work)
      : alarm_(alarm), work_(std::move(work)), stopped_(!may_start) {}
  ~Reaper() { Stop(); }
  Reaper(const Reaper&) = delete;
  Reaper& operator=(const Reaper&) = delete;

  // Watch sees to it that the alarm will be heard. It costs next to nothing where it will be. A
  // thread that cannot be started is tried again with the next call.
  void Watch() {
    if (alarm_.due() < armed_for_) Arm();
  }

  // Wake has the thread work now; false where there is none.
  bool Wake();

  // Stop returns when the thread is gone; there is none afterwards. Not for the thread itself.
  void Stop();

 private:
  // What a suspended machine's clock did is noticed this late.
  static constexpr int64_t kLongestWaitMs = 10'000;

  static void* Main(void* self);
  void Run();
  void Arm();
  bool StartLocked();

  const Alarm& alarm_;
  const std::function<void()> work_;

  // The alarm that the thread waits for. kNoDeadline: there is no thread. Less than any: it is
  // awake, and looks at the alarm before it sleeps.
  std::atomic<int64_t> armed_for_{kNoDeadline};

  std::mutex mutex_;
  std::condition_variable woken_;
  bool stopped_;
  bool woken_to_work_ = false;
  bool rearm_ = false;  // the alarm is an earlier one
  bool running_ = false;
  bool joinable_ = false;
  bool warned_ = false;
  pthread_t thread_{};
};

}  // namespace secretmem
