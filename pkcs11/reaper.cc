#include "pkcs11/reaper.h"

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstring>
#include <utility>

#include "pkcs11/clock.h"
#include "pkcs11/log.h"

namespace secretmem {
namespace {

constexpr int64_t kAwake = std::numeric_limits<int64_t>::min();

// Cryptography has stacks of its own; what is left is SQLite, and the host's thread-local storage.
constexpr size_t kStackBytes = size_t{256} << 10;

}  // namespace

void* Reaper::Main(void* self) {
  static_cast<Reaper*>(self)->Run();
  return nullptr;
}

void Reaper::Run() {
  pthread_setname_np(pthread_self(), "secretmem-reap");
  std::unique_lock lock(mutex_);
  while (!stopped_) {
    const int64_t due = alarm_.due();
    armed_for_ = due;
    // Whoever lowered it in between has not seen what it is armed for.
    if (alarm_.due() != due) continue;
    if (!woken_to_work_) {
      if (due == kNoDeadline) break;
      const int64_t wait = std::min(due - BoottimeMs(), kLongestWaitMs);
      if (wait > 0) {
        rearm_ = false;
        const bool woken = woken_.wait_for(lock, std::chrono::milliseconds(wait),
                                           [&] { return stopped_ || woken_to_work_ || rearm_; });
        if (stopped_) break;
        if (woken && !woken_to_work_) continue;
      }
    }
    woken_to_work_ = false;
    armed_for_ = kAwake;
    lock.unlock();
    work_();
    lock.lock();
    // Work that could not be done now, for want of memory, is not tried without a pause.
    if (!stopped_ && alarm_.due() <= BoottimeMs()) {
      woken_.wait_for(lock, std::chrono::milliseconds(100), [&] { return stopped_; });
    }
  }
  armed_for_ = kNoDeadline;
  running_ = false;
}

bool Reaper::Wake() {
  const std::lock_guard lock(mutex_);
  if (!running_ || stopped_) return false;
  woken_to_work_ = true;
  woken_.notify_all();
  return true;
}

void Reaper::Arm() {
  const std::lock_guard lock(mutex_);
  if (stopped_) return;
  if (running_) {
    rearm_ = true;
    woken_.notify_all();
    return;
  }
  if (std::exchange(joinable_, false)) pthread_join(thread_, nullptr);
  running_ = joinable_ = StartLocked();
}

bool Reaper::StartLocked() {
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_attr_t attributes;
  if (pthread_attr_init(&attributes) != 0) return false;
  pthread_attr_setstacksize(&attributes, kStackBytes);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int error = pthread_create(&thread_, &attributes, Main, this);
  if (error == EINVAL) error = pthread_create(&thread_, nullptr, Main, this);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  pthread_attr_destroy(&attributes);
  if (error == 0) return true;
  if (!std::exchange(warned_, true)) {
    LogWarn("no thread to wipe expired keys (%s): they are wiped at the next call",
            std::strerror(error));
  }
  return false;
}

void Reaper::Stop() {
  {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
    woken_.notify_all();
    if (!std::exchange(joinable_, false)) return;
  }
  pthread_join(thread_, nullptr);
}

}  // namespace secretmem
