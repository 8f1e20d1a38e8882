#include "pkcs11/signal_shield.h"

#include <pthread.h>

#include <cerrno>
#include <ctime>

namespace secretmem {

namespace {
constexpr int kShielded[] = {SIGXFSZ, SIGPIPE};
}  // namespace

SignalShield::SignalShield() noexcept {
  const int saved_errno = errno;
  sigset_t shielded;
  sigset_t pending;
  sigemptyset(&shielded);
  sigemptyset(&pending);
  sigemptyset(&taken_);
  sigpending(&pending);
  for (const int signal : kShielded) {
    sigaddset(&shielded, signal);
    if (sigismember(&pending, signal) == 0) sigaddset(&taken_, signal);
  }
  active_ = pthread_sigmask(SIG_BLOCK, &shielded, &old_mask_) == 0;
  errno = saved_errno;
}

SignalShield::~SignalShield() {
  if (!active_) return;
  const int saved_errno = errno;
  sigset_t pending;
  sigemptyset(&pending);
  sigpending(&pending);
  for (const int signal : kShielded) {
    if (sigismember(&taken_, signal) == 0 || sigismember(&pending, signal) == 0) continue;
    sigset_t one;
    sigemptyset(&one);
    sigaddset(&one, signal);
    const timespec no_wait{0, 0};
    while (sigtimedwait(&one, nullptr, &no_wait) < 0 && errno == EINTR) {
    }
  }
  pthread_sigmask(SIG_SETMASK, &old_mask_, nullptr);
  errno = saved_errno;
}

}  // namespace secretmem
