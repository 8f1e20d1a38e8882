#pragma once

#include <pthread.h>

#include <cstddef>

namespace secretmem {

// ShortMutex is a mutex for critical sections of some dozen instructions. A thread that finds it
// taken looks again for a while before it sleeps: to sleep and be woken takes longer than those.
class ShortMutex {
 public:
  constexpr ShortMutex() = default;
  ShortMutex(const ShortMutex&) = delete;
  ShortMutex& operator=(const ShortMutex&) = delete;

  void lock() { pthread_mutex_lock(&mutex_); }
  void unlock() { pthread_mutex_unlock(&mutex_); }

 private:
  pthread_mutex_t mutex_ = PTHREAD_ADAPTIVE_MUTEX_INITIALIZER_NP;
};

// What every call of every thread looks at is kept kStripes times, so that threads do not take
// cache lines from each other.
inline constexpr size_t kStripes = 16;

// ThreadStripe returns the number, below kStripes, of the copy that is this thread's for its life.
size_t ThreadStripe();

}  // namespace secretmem
