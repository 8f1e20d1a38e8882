#pragma once

#include <csignal>
#include <cstdint>

#include "vault/error.h"

namespace secretmem {

// The fork gate keeps fork(2) away from anything that a child could not use half done: secret
// memory in the hands of BoringSSL, the allocators' books, SQLite. Work holds its shared side, a
// fork takes the exclusive one in pthread_atfork's prepare handler. Nobody holds it with signals
// deliverable: a handler that forks would wait for its own thread.

// ForkGuard blocks every signal, glibc's own two included, puts off cancellation, and holds the
// gate's shared side. It nests: an inner guard of the same thread does nothing.
class ForkGuard {
 public:
  ForkGuard();
  ~ForkGuard();
  ForkGuard(const ForkGuard&) = delete;
  ForkGuard& operator=(const ForkGuard&) = delete;
};

// HeldForkGuards counts this thread's ForkGuards.
unsigned HeldForkGuards();

// ForkPause lets go of the gate and unblocks signals between its construction and its end, whoever
// of this thread's guards are held. Signals that wait are delivered, forks that wait go first. It
// may be in a child of fork that it ends: a signal's handler can fork.
class ForkPause {
 public:
  ForkPause();
  ~ForkPause();
  ForkPause(const ForkPause&) = delete;
  ForkPause& operator=(const ForkPause&) = delete;

 private:
  unsigned guards_;
  int cancel_state_;
};

// ForkIsWaiting says whether some thread is held up in fork(2) by the guards of others.
bool ForkIsWaiting();

// ForkHooks are called around fork(2) while nobody holds the gate: |prepare| in the parent before,
// |parent| and |child| after. Any may be null. They must not throw. Where IsForkedWithoutHandlers,
// a fork calls |child| only: what |prepare| would wait for may never come.
struct ForkHooks {
  void (*prepare)();
  void (*parent)();
  void (*child)();
};

// AddForkHooks registers |hooks| for the life of the process. At most eight sets; called once per
// set, before the first ForkGuard of the part of the program that it protects. Prepare handlers
// run in the reverse order of registration, the others in order.
void AddForkHooks(const ForkHooks& hooks);

// InstallForkGate registers the handlers with pthread_atfork, once. kOutOfMemory if that fails.
VaultResult<void> InstallForkGate();

// ForkGeneration counts the forks between the process that loaded this library and this one.
uint64_t ForkGeneration();

// IsForkedWithoutHandlers is true in a child made by clone(2) or _Fork() itself, in which the
// handlers did not run and the secret memory is missing.
bool IsForkedWithoutHandlers();

}  // namespace secretmem
