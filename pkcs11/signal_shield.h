// SignalShield keeps signals that our own writes can raise from reaching the host.
#pragma once

#include <csignal>

namespace secretmem {

// SignalShield blocks SIGXFSZ (a write beyond RLIMIT_FSIZE) and SIGPIPE (a write to a pipe without
// reader) in this thread while it lives. Both are raised in the thread that writes and would by
// default kill the host, for a limit or a log reader that is our trouble; the write itself reports
// EFBIG or EPIPE. What became pending meanwhile is taken off again, what was pending before stays.
class SignalShield {
 public:
  SignalShield() noexcept;
  ~SignalShield();
  SignalShield(const SignalShield&) = delete;
  SignalShield& operator=(const SignalShield&) = delete;

 private:
  sigset_t old_mask_;
  sigset_t taken_;  // What to take off: was not pending, or could not be.
  bool active_;
};

}  // namespace secretmem
