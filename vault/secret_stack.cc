#include "vault/secret_stack.h"

#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/nid.h>
#include <openssl/rand.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <iterator>
#include <mutex>
#include <new>

#include "vault/canary.h"
#include "vault/child_copy.h"
#include "vault/fork_gate.h"
#include "vault/random_source.h"
#include "vault/secret_heap.h"
#include "vault/secret_memory.h"
#include "vault/stack_switch.h"
#include "vault/used_stack.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

namespace secretmem {
namespace {

constexpr size_t kDeepBytes = size_t{1} << 16;
#if defined(__SANITIZE_ADDRESS__)
// Its frames are several times as large.
constexpr size_t kShallowBytes = kDeepBytes;
#else
constexpr size_t kShallowBytes = size_t{1} << 14;
#endif
// Bounded, because each counts against the memory-lock limit; further threads wait for one.
constexpr size_t kMaxStacks = 32;
// Inaccessible space between stacks.
constexpr size_t kGap = kDeepBytes;

// Beyond the first frame, as much as keeps the alignment.
constexpr size_t kAboveTop = 64;

// Stack is one of a pool's. Whoever turns kFree into kTaken has it.
struct alignas(64) Stack {
  enum State : uint8_t { kUnmapped, kFree, kTaken };
  std::atomic<uint8_t> state{kUnmapped};
  std::byte* low = nullptr;
  size_t bytes = 0;

  bool TryTake() {
    uint8_t free = kFree;
    return state == kFree && state.compare_exchange_strong(free, kTaken);
  }
  std::byte* top() const { return low + bytes - kAboveTop; }
  void SetCanaries() {
    SetCanary(low);
    SetCanary(top());
  }
  bool CheckCanaries() const { return CheckCanary(low) && CheckCanary(top()); }
};

// StackPool keeps the stacks of one size; those that no thread runs on are all zero.
class StackPool {
 public:
  explicit StackPool(size_t stack_bytes) : bytes_(stack_bytes) {}

  // Take takes the stack that this thread had |last|, of this pool or null, if it is free: it is in
  // this processor's cache, and no lock is needed. Otherwise it waits where every stack is in use
  // and no further one can be had: a thread that has one runs to its end without waiting for
  // anybody.
  VaultResult<Stack*> Take(Stack* last) {
    if (last != nullptr && last->TryTake()) return last;
    std::unique_lock lock(mutex_);
    for (;;) {
      if (Stack* stack = TakeFree()) return stack;
      if (made_ < kMaxStacks) {
        auto made = Make();
        if (made) continue;
        if (made_ == 0) return std::unexpected(made.error());
      }
      ++waiting_;
      // Between the look above and here a stack may have come back without notice.
      if (Stack* stack = TakeFree()) {
        --waiting_;
        return stack;
      }
      returned_.wait(lock);
      --waiting_;
    }
  }

  void Put(Stack* stack) {
    stack->state.store(Stack::kFree);
    if (waiting_.load() == 0) return;
    // Whoever waits has the mutex until it sleeps.
    const std::lock_guard lock(mutex_);
    returned_.notify_one();
  }

  // Trim returns how many stacks it gave back.
  size_t Trim() {
    const std::lock_guard lock(mutex_);
    size_t given_back = 0;
    // Who waits for a stack in use may have to make one now, or hear that none can be had.
    returned_.notify_all();
    while (Stack* stack = TakeFree()) {
      stack->CheckCanaries();
      UnmapSecret(stack->low, bytes_);
      stack->low = nullptr;
      stack->state = Stack::kUnmapped;
      --made_;
      ++given_back;
    }
    return given_back;
  }

  // Refill makes as many free ones as can be had, |count| at most.
  void Refill(size_t count) {
    const std::lock_guard lock(mutex_);
    while (count > 0 && made_ < kMaxStacks && Make()) --count;
    returned_.notify_all();
  }

  // In a child none of the stacks exist, and their addresses may be anybody's.
  void Abandon() {
    for (Stack& stack : stacks_) {
      stack.state = Stack::kUnmapped;
      stack.low = nullptr;
    }
    reserved_ = nullptr;
    made_ = 0;
    waiting_ = 0;
  }

 private:
  Stack* TakeFree() {
    for (Stack& stack : stacks_) {
      if (stack.TryTake()) return &stack;
    }
    return nullptr;
  }

  VaultResult<void> Make() {
    if (reserved_ == nullptr) {
      auto reserved = ReserveAddresses(kMaxStacks * (bytes_ + kGap) + kGap);
      if (!reserved) return std::unexpected(reserved.error());
      reserved_ = *reserved + kGap;
    }
    Stack* stack = stacks_;
    while (stack->state != Stack::kUnmapped) ++stack;
    std::byte* low = reserved_ + static_cast<size_t>(stack - stacks_) * (bytes_ + kGap);
    if (auto mapped = MapSecret(low, bytes_); !mapped) {
      return std::unexpected(mapped.error());
    }
    stack->low = low;
    stack->bytes = bytes_;
    stack->SetCanaries();
    stack->state = Stack::kFree;
    ++made_;
    return {};
  }

  const size_t bytes_;
  // Of those who make, unmap or wait.
  std::mutex mutex_;
  std::condition_variable returned_;
  std::atomic<size_t> waiting_{0};
  Stack stacks_[kMaxStacks];
  std::byte* reserved_ = nullptr;
  size_t made_ = 0;
};

alignas(StackPool) std::byte g_pools[2][sizeof(StackPool)];
struct MakePools {
  MakePools() {
    new (g_pools[0]) StackPool(kShallowBytes);
    new (g_pools[1]) StackPool(kDeepBytes);
  }
};
const MakePools g_make_pools;
StackPool& PoolOf(internal::StackDepth depth) {
  return *std::launder(reinterpret_cast<StackPool*>(g_pools[static_cast<size_t>(depth)]));
}
constexpr internal::StackDepth kDepths[] = {internal::StackDepth::kShallow,
                                            internal::StackDepth::kDeep};

// Run is one borrow, from outside: where its two stacks are. On the ordinary stack.
struct Run {
  Stack* stack;
  bool has_safe_points;
  void* ordinary = nullptr;
  // AddressSanitizer's view of the ordinary stack.
  void* fake_stack = nullptr;
  const void* ordinary_low = nullptr;
  size_t ordinary_size = 0;
};

// The borrow that this thread is in.
thread_local Run* t_run = nullptr;
// The stacks that this thread ran on last, by depth.
thread_local Stack* t_last[2] = {};
// BoringSSL's state of this thread is made, in the library heap.
thread_local bool t_thread_warm = false;
// Its random generator began with entropy that was none.
thread_local bool t_thread_spoiled = false;
std::atomic<bool> g_library_warm{false};
std::mutex g_warm_mutex;

int VectorLevel() {
  if (__builtin_cpu_supports("avx512vl")) return 2;
  return __builtin_cpu_supports("avx") ? 1 : 0;
}
const int g_vectors = VectorLevel();

// FindUsed sets |used| to the part of |stack| that the call has written, between the canaries. It
// runs on the secret stack: the search brings its words into registers, which the way back clears.
struct UsedPart {
  const Stack* stack;
  size_t first = 0;
};
void FindUsed(void* argument) {
  auto& used = *static_cast<UsedPart*>(argument);
  used.first = kCanaryBytes + internal::UsedFrom(used.stack->low + kCanaryBytes,
                                                 used.stack->bytes - kAboveTop - kCanaryBytes);
}

// The switches below announce themselves to AddressSanitizer. To ThreadSanitizer they are calls
// like any other: it keeps its own stack of calls.
#if defined(__SANITIZE_ADDRESS__)
void Leave(void** fake_stack, const void* low, size_t size) {
  __sanitizer_start_switch_fiber(fake_stack, low, size);
}
void Arrive(void* fake_stack, const void** from_low, size_t* from_size) {
  __sanitizer_finish_switch_fiber(fake_stack, from_low, from_size);
}
void Abandon(void* ordinary) {
  // The frames that are jumped over.
  __asan_handle_no_return();
  secretmem_abandon_stack(ordinary);
}
#else
void Leave(void**, const void*, size_t) {}
void Arrive(void*, const void**, size_t*) {}
void Abandon(void* ordinary) { secretmem_abandon_stack(ordinary); }
#endif

// CallOn returns false if the call was abandoned.
bool CallOn(Run& run, void (*function)(void*), void* argument) {
  struct Begin {
    Run& run;
    void (*function)(void*);
    void* argument;
  } begin{run, function, argument};
  const auto enter = [](void* its) {
    const auto& self = *static_cast<Begin*>(its);
    Arrive(nullptr, &self.run.ordinary_low, &self.run.ordinary_size);
    self.function(self.argument);
    Leave(nullptr, self.run.ordinary_low, self.run.ordinary_size);
  };
  Leave(&run.fake_stack, run.stack->low, run.stack->bytes);
  if (secretmem_call_on_stack(run.stack->top(), enter, &begin, g_vectors, &run.ordinary) != 0) {
    return false;
  }
  Arrive(run.fake_stack, nullptr, nullptr);
  return true;
}

// Outside is what happens on the ordinary stack at a safe point.
void Outside(void* argument) {
  Run& run = *static_cast<Run*>(argument);
  Arrive(run.fake_stack, nullptr, nullptr);
  const uint64_t generation = ForkGeneration();
  const bool random_failed = RandomHasFailed();
  // Handlers find the thread as if it were in no borrow.
  WorkHeap().Close();
  KeyHeap().Close();
  t_run = nullptr;
  { const ForkPause pause; }
  if (generation != ForkGeneration() || IsForkedWithoutHandlers()) Abandon(run.ordinary);
  t_run = &run;
  SetRandomHasFailed(random_failed);
  KeyHeap().Open();
  WorkHeap().Open();
  Leave(&run.fake_stack, run.stack->low, run.stack->bytes);
}

// The search is the last that happens in a borrow, but under AddressSanitizer, whose own calls
// follow.
#if defined(__SANITIZE_ADDRESS__)
constexpr bool kSearchInside = false;
#else
constexpr bool kSearchInside = true;
#endif

// Clear wipes what the call has written.
void Clear(Stack* stack, UsedPart& used) {
  if (!kSearchInside) {
    Run run{.stack = stack, .has_safe_points = false};
    CallOn(run, FindUsed, &used);
  }
  Wipe(stack->low + used.first, stack->bytes - kAboveTop - used.first);
  stack->CheckCanaries();
}

// WarmLibrary lets BoringSSL make what it makes once per process.
void WarmLibrary() {
  const std::lock_guard lock(g_warm_mutex);
  if (g_library_warm) return;
  const LibraryHeapScope scope(Lifetime::kProcess);
  for (const int nid : {NID_secp224r1, NID_X9_62_prime256v1, NID_secp384r1, NID_secp521r1}) {
    EC_GROUP_free(EC_GROUP_new_by_curve_name(nid));
  }
  // Its first chunk stays mapped from here on, so that keys go on working at the memory-lock limit.
  if (auto first = WorkHeap().Allocate(1)) WorkHeap().Free(*first);
  g_library_warm = true;
}

// WarmThread lets BoringSSL make what it keeps per thread.
void WarmThread() {
  if (!g_library_warm) WarmLibrary();
  const LibraryHeapScope scope(Lifetime::kThread);
  ERR_clear_error();
  uint8_t byte;
  RAND_bytes(&byte, sizeof(byte));
  t_thread_warm = !RandomHasFailed();
  t_thread_spoiled = RandomHasFailed();
}

struct Call {
  void (*function)(void*);
  void* argument;
  UsedPart* used;
};

void Enter(void* argument) {
  const auto& call = *static_cast<const Call*>(argument);
  if (!t_thread_warm) WarmThread();
  if (t_thread_warm) call.function(call.argument);
  // Entries may carry allocations of the key heap, which must not outlive it.
  if (ERR_peek_error() != 0) ERR_clear_error();
  if (kSearchInside) FindUsed(call.used);
}

// The random generator of the forking thread came over with the library heap; it notices the fork
// at its next use and reseeds.
// Before that getrandom(2) is looked at once more: the child may be on its way into a sandbox.
void ChildAfterFork() {
  for (const auto depth : kDepths) PoolOf(depth).Abandon();
  t_thread_warm = false;
}

// How many stacks of each pool made room for a child.
size_t g_gave_room[std::size(kDepths)] = {};

void MakeRoom() {
  for (size_t i = 0; i < std::size(kDepths); ++i) g_gave_room[i] = PoolOf(kDepths[i]).Trim();
}

void TakeBackRoom() {
  for (size_t i = 0; i < std::size(kDepths); ++i) PoolOf(kDepths[i]).Refill(g_gave_room[i]);
}

void InstallOnce() {
  SetRoomForChild({MakeRoom, TakeBackRoom});
  InstallHeapForkHooks();
  AddForkHooks({nullptr, nullptr, ChildAfterFork});
}
pthread_once_t g_install_once = PTHREAD_ONCE_INIT;

}  // namespace

MemoryOptions ConfigureVault(const MemoryOptions& wanted) {
  const MemoryOptions options = ConfigureMemory(wanted);
  if (options.at_rest != AtRest::kNone || options.seal) {
    KeyHeap().GuardAtRest();
    WorkHeap().GuardAtRest();
  }
  return options;
}

VaultResult<void> InitialiseVault() {
  if (IsForkedWithoutHandlers()) return std::unexpected(VaultError{VaultErrc::kForked});
  if (auto installed = InstallForkGate(); !installed) return installed;
  pthread_once(&g_install_once, InstallOnce);
  const ForkGuard guard;
  if (LibraryHeapLost()) return std::unexpected(VaultError{VaultErrc::kForked});
  if (IsMemoryDamaged()) return std::unexpected(VaultError{VaultErrc::kDamaged});
  if (auto random = ProbeRandom(); !random) return random;
  return ProbeSecretMemory();
}

void TrimVault() {
  const ForkGuard guard;
  // What lies at the addresses there is somebody else's.
  if (LibraryHeapLost() || IsForkedWithoutHandlers()) return;
  for (const auto depth : kDepths) (void)PoolOf(depth).Trim();
  KeyHeap().Trim();
}

void SafePoint() {
  Run* run = t_run;
  if (run == nullptr || !run->has_safe_points || HeldForkGuards() != 1) return;
  void* fake_stack = nullptr;
  Leave(&fake_stack, run->ordinary_low, run->ordinary_size);
  secretmem_call_outside(run->ordinary, Outside, run, g_vectors);
  Arrive(fake_stack, nullptr, nullptr);
}

namespace internal {

bool OnThisStackAlready() { return t_run != nullptr; }

VaultResult<void> RunOnSecretStack(StackDepth depth, void (*function)(void*), void* argument) {
  const ForkGuard guard;
  const bool outermost = HeldForkGuards() == 1;
  if (LibraryHeapLost() || IsForkedWithoutHandlers()) {
    return std::unexpected(VaultError{VaultErrc::kForked});
  }
  if (IsMemoryDamaged()) return std::unexpected(VaultError{VaultErrc::kDamaged});
  if (t_thread_spoiled) return std::unexpected(VaultError{VaultErrc::kNoRandom});
  if (!t_thread_warm) {
    if (auto random = ProbeRandom(); !random) return random;
  }
  // Making the library's state of a thread goes deeper than most calls.
  if (!t_thread_warm) depth = StackDepth::kDeep;
  StackPool& pool = PoolOf(depth);
  Stack*& last = t_last[static_cast<size_t>(depth)];
  auto stack = pool.Take(last);
  if (!stack) return std::unexpected(stack.error());
  last = *stack;
  SetRandomHasFailed(false);
  UsedPart used{*stack};
  Call call{function, argument, &used};
  Run run{.stack = *stack, .has_safe_points = outermost};
  t_run = &run;
  KeyHeap().Open();
  WorkHeap().Open();
  const bool finished = CallOn(run, Enter, &call);
  t_run = nullptr;
  // Where it was abandoned there are no stack and no heaps of it any more.
  if (!finished) return std::unexpected(VaultError{VaultErrc::kForked});
  WorkHeap().Close();
  KeyHeap().Close();
  Clear(*stack, used);
  pool.Put(*stack);
  if (IsMemoryDamaged()) return std::unexpected(VaultError{VaultErrc::kDamaged});
  if (RandomHasFailed()) return std::unexpected(VaultError{VaultErrc::kNoRandom});
  return {};
}

}  // namespace internal
}  // namespace secretmem
