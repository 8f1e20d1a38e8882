#include "vault/fork_gate.h"

#include <pthread.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>

namespace secretmem {
namespace {

constexpr size_t kMaxHooks = 8;

// Readers come in their thousands a second; a forking thread must not starve behind them.
constexpr pthread_rwlock_t kFreshGate = PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP;
pthread_rwlock_t g_gate = kFreshGate;

std::array<ForkHooks, kMaxHooks> g_hooks;
std::atomic<size_t> g_hook_count{0};
std::atomic<uint64_t> g_generation{0};
// A page that the kernel zeroes in every child, however it was made.
std::atomic<uint8_t*> g_wipe_on_fork{nullptr};

thread_local unsigned t_guards = 0;
// What the outermost guard restores. The kernel's signal set is one 64-bit word; glibc's sigset_t
// functions refuse signals 32 and 33.
thread_local uint64_t t_old_mask = 0;
uint64_t g_fork_mask;  // the forking thread's mask; only read under the exclusive gate

uint64_t SetSignalMask(uint64_t mask) {
  uint64_t old = 0;
  syscall(SYS_rt_sigprocmask, SIG_SETMASK, &mask, &old, sizeof(mask));
  return old;
}

void Prepare() {
  const uint64_t mask = SetSignalMask(~uint64_t{0});
  pthread_rwlock_wrlock(&g_gate);
  g_fork_mask = mask;
  for (size_t i = g_hook_count; i > 0; --i) {
    if (g_hooks[i - 1].prepare != nullptr) g_hooks[i - 1].prepare();
  }
}

void Parent() {
  for (size_t i = 0; i < g_hook_count; ++i) {
    if (g_hooks[i].parent != nullptr) g_hooks[i].parent();
  }
  const uint64_t mask = g_fork_mask;
  pthread_rwlock_unlock(&g_gate);
  SetSignalMask(mask);
}

void Child() {
  g_gate = kFreshGate;
  if (uint8_t* page = g_wipe_on_fork; page != nullptr) *page = 1;
  g_generation++;
  for (size_t i = 0; i < g_hook_count; ++i) {
    if (g_hooks[i].child != nullptr) g_hooks[i].child();
  }
  SetSignalMask(g_fork_mask);
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
  t_old_mask = SetSignalMask(~uint64_t{0});
  pthread_rwlock_rdlock(&g_gate);
  t_guards = 1;
}

ForkGuard::~ForkGuard() {
  if (--t_guards > 0) return;
  pthread_rwlock_unlock(&g_gate);
  SetSignalMask(t_old_mask);
}

unsigned HeldForkGuards() { return t_guards; }

ForkPause::ForkPause() : guards_(t_guards), mask_(t_old_mask) {
  t_guards = 0;
  pthread_rwlock_unlock(&g_gate);
  SetSignalMask(mask_);
}

ForkPause::~ForkPause() {
  // The handler of a signal may have changed the mask that it returns to.
  t_old_mask = SetSignalMask(~uint64_t{0});
  // In a child that came without the handlers the gate is as some other thread had it.
  if (IsForkedWithoutHandlers()) g_gate = kFreshGate;
  pthread_rwlock_rdlock(&g_gate);
  t_guards = guards_;
}

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
