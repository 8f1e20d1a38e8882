#include "vault/fork_gate.h"

#include <pthread.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <ranges>

#include "vault/short_mutex.h"

#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
#endif

namespace secretmem {
namespace {

constexpr size_t kMaxHooks = 8;

// A thread's work holds the shared side of the leaf of its stripe, a fork the exclusive side of
// all. Readers come in their thousands a second; a forking thread must not starve behind them, so
// that whoever finds one waiting goes by the turnstile, which it holds. That is the last of the
// locks.
struct alignas(64) Leaf {
  pthread_rwlock_t lock = PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP;
};
std::array<Leaf, kStripes + 1> g_gate;

pthread_rwlock_t* OwnLeaf() { return &g_gate[ThreadStripe()].lock; }
pthread_rwlock_t* Turnstile() { return &g_gate[kStripes].lock; }

std::array<ForkHooks, kMaxHooks> g_hooks;
std::atomic<size_t> g_hook_count{0};
std::atomic<uint64_t> g_generation{0};
std::atomic<int> g_forks_waiting{0};
// A page that the kernel zeroes in every child, however it was made.
std::atomic<uint8_t*> g_wipe_on_fork{nullptr};

thread_local unsigned t_guards = 0;
// What the outermost guard restores. The kernel's signal set is one 64-bit word; glibc's sigset_t
// functions refuse signals 32 and 33.
thread_local uint64_t t_old_mask = 0;
thread_local int t_old_cancel_state = 0;
thread_local bool t_holds_gate = false;
// Between a fork's prepare handler and the others, which run on the same thread.
thread_local uint64_t t_fork_mask = 0;
thread_local bool t_prepared = false;

uint64_t SetSignalMask(uint64_t mask) {
  uint64_t old = 0;
  syscall(SYS_rt_sigprocmask, SIG_SETMASK, &mask, &old, sizeof(mask));
  return old;
}

// Signals may be delivered, and their handlers use the gate themselves, until the one is blocked
// and once the other is not: what this thread remembers is written after and read before.
void EnterGate() {
  const uint64_t mask = SetSignalMask(~uint64_t{0});
  t_old_mask = mask;
  // In a child that came without the handlers the gate is as some other thread had it.
  t_holds_gate = !IsForkedWithoutHandlers();
  if (!t_holds_gate) return;
  for (;;) {
    pthread_rwlock_rdlock(OwnLeaf());
    if (g_forks_waiting == 0) return;
    pthread_rwlock_unlock(OwnLeaf());
    pthread_rwlock_rdlock(Turnstile());
    pthread_rwlock_unlock(Turnstile());
  }
}

void LeaveGate() {
  const uint64_t mask = t_old_mask;
  if (t_holds_gate) pthread_rwlock_unlock(OwnLeaf());
  SetSignalMask(mask);
}

void Prepare() {
  t_fork_mask = SetSignalMask(~uint64_t{0});
  // There the gate may have been copied as other threads held it.
  t_prepared = !IsForkedWithoutHandlers();
  if (!t_prepared) return;
  ++g_forks_waiting;
  for (Leaf& leaf : g_gate | std::views::reverse) pthread_rwlock_wrlock(&leaf.lock);
  --g_forks_waiting;
  for (size_t i = g_hook_count; i > 0; --i) {
    if (g_hooks[i - 1].prepare != nullptr) g_hooks[i - 1].prepare();
  }
}

void Parent() {
  if (t_prepared) {
    for (size_t i = 0; i < g_hook_count; ++i) {
      if (g_hooks[i].parent != nullptr) g_hooks[i].parent();
    }
    for (Leaf& leaf : g_gate) pthread_rwlock_unlock(&leaf.lock);
  }
  SetSignalMask(t_fork_mask);
}

void Child() {
#if defined(__SANITIZE_THREAD__)
  // It remembers who holds what across the fork. glibc's lock, which remembers thread numbers that
  // changed, is not meant to be unlocked here, and is made anew below.
  for (Leaf& leaf : g_gate) {
    if (!t_prepared) break;
    __tsan_mutex_pre_unlock(&leaf.lock, 0);
    __tsan_mutex_post_unlock(&leaf.lock, 0);
  }
#endif
  for (Leaf& leaf : g_gate) leaf = Leaf();
  g_forks_waiting = 0;
  if (uint8_t* page = g_wipe_on_fork; page != nullptr) *page = 1;
  g_generation++;
  for (size_t i = 0; i < g_hook_count; ++i) {
    if (g_hooks[i].child != nullptr) g_hooks[i].child();
  }
  SetSignalMask(t_fork_mask);
}

void InstallOnce() {
  constexpr size_t kPage = 4096;
  void* page = mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) return;
  if (madvise(page, kPage, MADV_WIPEONFORK) != 0 || pthread_atfork(Prepare, Parent, Child) != 0) {
    munmap(page, kPage);
    return;
  }
  *static_cast<uint8_t*>(page) = 1;
  g_wipe_on_fork = static_cast<uint8_t*>(page);
}

pthread_once_t g_install_once = PTHREAD_ONCE_INIT;

}  // namespace

ForkGuard::ForkGuard() {
  if (t_guards > 0) {
    ++t_guards;
    return;
  }
  // Cancellation unwinds the stack, and would end the process where that is a secret one.
  int cancel_state = 0;
  pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_state);
  EnterGate();
  t_old_cancel_state = cancel_state;
  t_guards = 1;
}

ForkGuard::~ForkGuard() {
  if (--t_guards > 0) return;
  LeaveGate();
  pthread_setcancelstate(t_old_cancel_state, nullptr);
}

unsigned HeldForkGuards() { return t_guards; }

ForkPause::ForkPause() : guards_(t_guards), cancel_state_(t_old_cancel_state) {
  t_guards = 0;
  LeaveGate();
}

ForkPause::~ForkPause() {
  EnterGate();
  t_old_cancel_state = cancel_state_;
  t_guards = guards_;
}

bool ForkIsWaiting() { return g_forks_waiting > 0; }

void AddForkHooks(const ForkHooks& hooks) {
  const size_t at = g_hook_count;
  if (at == kMaxHooks) return;
  g_hooks[at] = hooks;
  g_hook_count = at + 1;
}

VaultResult<void> InstallForkGate() {
  pthread_once(&g_install_once, InstallOnce);
  if (g_wipe_on_fork == nullptr) return std::unexpected(VaultError{VaultErrc::kOutOfMemory});
  return {};
}

uint64_t ForkGeneration() { return g_generation; }

bool IsForkedWithoutHandlers() {
  const uint8_t* page = g_wipe_on_fork;
  return page != nullptr && *page == 0;
}

}  // namespace secretmem
