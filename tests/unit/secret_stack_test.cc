#include "vault/secret_stack.h"

#include <gtest/gtest.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <barrier>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "vault/canary.h"
#include "vault/fork_gate.h"
#include "vault/random.h"
#include "vault/secret_heap.h"
#include "vault/stack_switch.h"
#include "vault_testing.h"

namespace secretmem {
namespace {

constexpr size_t kStackBytes = 65536;
constexpr size_t kStacks = 32;
constexpr size_t kDeep = 48 * 1024;

uint64_t SignalMask() {
  uint64_t mask = 0;
  syscall(SYS_rt_sigprocmask, SIG_SETMASK, nullptr, &mask, sizeof(mask));
  return mask;
}

// All that can be blocked; SIGKILL and SIGSTOP cannot.
constexpr uint64_t kAllSignals = ~(uint64_t{1} << (SIGKILL - 1)) & ~(uint64_t{1} << (SIGSTOP - 1));

// The stack that this thread's next call will run on, unless others run too.
const uint8_t* NextStack() {
  uintptr_t at = 0;
  EXPECT_TRUE(OnSecretStack([&] { at = reinterpret_cast<uintptr_t>(__builtin_frame_address(0)); }));
  return reinterpret_cast<const uint8_t*>(at / kStackBytes * kStackBytes);
}

// A stack but for its canaries.
std::span<const uint8_t> BetweenCanaries(std::span<const uint8_t> stack) {
  return stack.subspan(kCanaryBytes, stack.size() - kCanaryBytes - 64);
}

class SecretStackTest : public testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(InitialiseVault()); }
};

TEST_F(SecretStackTest, RunsInSecretmem) {
  const uint8_t* stack = NextStack();
  const auto mapping = MappingOf(stack);
  ASSERT_TRUE(mapping);
  EXPECT_TRUE(mapping->IsSecretmem()) << mapping->name;
  EXPECT_EQ(mapping->low, reinterpret_cast<uintptr_t>(stack));
  EXPECT_EQ(mapping->high - mapping->low, kStackBytes);
  for (const char* flag : SecretFlags()) EXPECT_TRUE(mapping->HasFlag(flag)) << flag;
  EXPECT_FALSE(ProcMemReads(getpid(), stack));
  EXPECT_FALSE(ProcessVmReads(getpid(), stack));
  EXPECT_FALSE(DiesTouching(stack));
  EXPECT_TRUE(DiesTouching(stack - 1));
  EXPECT_TRUE(DiesTouching(stack + kStackBytes));
}

TEST_F(SecretStackTest, AnswersAndExceptionsPassThrough) {
  EXPECT_EQ(OnSecretStack([] {}), VaultResult<void>());
  EXPECT_EQ(OnSecretStack([] { return 5; }), VaultResult<int>(5));
  EXPECT_EQ(OnSecretStack([]() -> VaultResult<int> { return 6; }), VaultResult<int>(6));
  const VaultError error = {VaultErrc::kSealBroken, 3};
  EXPECT_EQ(OnSecretStack([&]() -> VaultResult<void> { return std::unexpected(error); }),
            VaultResult<void>(std::unexpected(error)));
  auto owner = OnSecretStack([] { return std::make_unique<int>(7); });
  EXPECT_EQ(**owner, 7);
  try {
    (void)OnSecretStack([]() -> int { throw std::runtime_error("as it was"); });
    FAIL() << "no exception";
  } catch (const std::runtime_error& caught) {
    EXPECT_STREQ(caught.what(), "as it was");
  }
  // Nested ones pass through both.
  EXPECT_THROW((void)OnSecretStack([] { (void)OnSecretStack([] { throw 1; }); }), int);
  EXPECT_EQ(OnSecretStack([] { return internal::OnThisStackAlready(); }), VaultResult<bool>(true));
  EXPECT_FALSE(internal::OnThisStackAlready());
}

TEST_F(SecretStackTest, NestedCallsShareTheStack) {
  EXPECT_EQ(OnSecretStack([] {
              const auto outer = reinterpret_cast<uintptr_t>(__builtin_frame_address(0));
              return OnSecretStack([&] {
                const auto inner = reinterpret_cast<uintptr_t>(__builtin_frame_address(0));
                return inner / kStackBytes == outer / kStackBytes;
              });
            }),
            VaultResult<bool>(true));
}

TEST_F(SecretStackTest, StackIsZeroAfterwards) {
  TrimVault();
  const SecretSpy spy;
  const auto whole = spy.Look(NextStack(), kStackBytes);
  ASSERT_EQ(whole.size(), kStackBytes);
  EXPECT_TRUE(IsZero(BetweenCanaries(whole)));

  size_t seen_inside = 0;
  ASSERT_TRUE(OnSecretStack([&] {
    uint8_t secret[kDeep];
    memset(secret, 0x91, sizeof(secret));
    __asm__ volatile("" : : "r"(secret) : "memory");
    seen_inside = static_cast<size_t>(std::ranges::count(whole, 0x91));
  }));
  EXPECT_GE(seen_inside, kDeep);
  EXPECT_TRUE(IsZero(BetweenCanaries(whole)));

  // A byte in the depth, nothing between it and the frames above.
  ASSERT_TRUE(OnSecretStack([&] {
    volatile uint8_t secret[kDeep];
    secret[0] = 0x92;
    __asm__ volatile("" : : "r"(&secret[0]) : "memory");
    seen_inside = static_cast<size_t>(std::ranges::count(whole, 0x92));
  }));
  EXPECT_GE(seen_inside, 1u);
  EXPECT_TRUE(IsZero(BetweenCanaries(whole)));

  EXPECT_THROW((void)OnSecretStack([] {
                 volatile uint8_t secret[1000];
                 for (auto& byte : secret) byte = 0x93;
                 __asm__ volatile("" : : "r"(&secret[0]) : "memory");
                 throw 1;
               }),
               int);
  EXPECT_TRUE(IsZero(BetweenCanaries(whole)));
}

TEST_F(SecretStackTest, ShallowStackIsZeroAfterwards) {
  TrimVault();
  const SecretSpy spy;
  ASSERT_TRUE(OnSecretStack([] {}));  // a thread's first call is a deep one
  uintptr_t at = 0;
  ASSERT_TRUE(
      OnShallowStack([&] { at = reinterpret_cast<uintptr_t>(__builtin_frame_address(0)); }));
  const auto mapping = MappingOf(reinterpret_cast<const void*>(at));
  ASSERT_TRUE(mapping);
  const auto* low = reinterpret_cast<const uint8_t*>(mapping->low);
  const auto whole = spy.Look(low, mapping->high - mapping->low);
  ASSERT_GE(whole.size(), size_t{16384});
  EXPECT_TRUE(DiesTouching(low - 1));
  EXPECT_TRUE(DiesTouching(low + whole.size()));
  EXPECT_TRUE(IsZero(BetweenCanaries(whole)));
  size_t seen_inside = 0;
  ASSERT_TRUE(OnShallowStack([&] {
    uint8_t secret[12 * 1024];
    memset(secret, 0x94, sizeof(secret));
    __asm__ volatile("" : : "r"(secret) : "memory");
    seen_inside = static_cast<size_t>(std::ranges::count(whole, 0x94));
  }));
  EXPECT_GE(seen_inside, size_t{12 * 1024});
  EXPECT_TRUE(IsZero(BetweenCanaries(whole)));
}

TEST_F(SecretStackTest, OverflowDies) {
  const int status = InChild([] {
    if (!InitialiseVault()) return 1;
    struct Recursion {
      static uint8_t Down(size_t left) {
        volatile uint8_t frame[1024];
        frame[0] = static_cast<uint8_t>(left);
        return left == 0 ? frame[0] : static_cast<uint8_t>(Down(left - 1) + frame[0]);
      }
    };
    const auto ran = OnSecretStack([] { return Recursion::Down(200); });
    return ran ? 2 : 3;
  });
  ASSERT_TRUE(WIFSIGNALED(status)) << status;
  EXPECT_EQ(WTERMSIG(status), SIGSEGV);
}

std::atomic<int> g_signals{0};

TEST_F(SecretStackTest, SignalsWaitOutside) {
  struct sigaction action = {};
  action.sa_handler = [](int) { ++g_signals; };
  sigaction(SIGUSR1, &action, nullptr);
  sigset_t some;
  sigemptyset(&some);
  sigaddset(&some, SIGUSR2);
  pthread_sigmask(SIG_BLOCK, &some, nullptr);
  const uint64_t before = SignalMask();
  uint64_t inside = 0;
  int during = -1;
  ASSERT_TRUE(OnSecretStack([&] {
    inside = SignalMask();
    syscall(SYS_tgkill, getpid(), gettid(), SIGUSR1);
    during = g_signals;
  }));
  EXPECT_EQ(inside, kAllSignals);
  EXPECT_EQ(SignalMask(), before);
  EXPECT_EQ(during, 0);
  // A sanitizer may pass it on a little later.
  while (g_signals == 0) sched_yield();
  EXPECT_EQ(g_signals, 1);
  EXPECT_THROW((void)OnSecretStack([] { throw 1; }), int);
  EXPECT_EQ(SignalMask(), before);
}

TEST_F(SecretStackTest, CancellationWaitsOutside) {
  struct Thread {
    bool finished = false;
    bool after = false;
  } its;
  pthread_t thread;
  ASSERT_EQ(pthread_create(
                &thread, nullptr,
                [](void* argument) -> void* {
                  auto& mine = *static_cast<Thread*>(argument);
                  pthread_cancel(pthread_self());
                  const auto ran = OnSecretStack([&] {
                    pthread_testcancel();
                    mine.finished = true;
                  });
                  mine.finished = mine.finished && ran;
                  pthread_testcancel();
                  mine.after = true;
                  return nullptr;
                },
                &its),
            0);
  void* answer = nullptr;
  pthread_join(thread, &answer);
  EXPECT_TRUE(its.finished);
  EXPECT_FALSE(its.after);
  EXPECT_EQ(answer, PTHREAD_CANCELED);
}

TEST_F(SecretStackTest, MoreThreadsThanStacks) {
  constexpr size_t kThreads = 2 * kStacks;
  constexpr int kRounds = kSanitized ? 20 : 200;
  std::atomic<size_t> inside{0};
  std::atomic<size_t> entered{0};
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (size_t i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] {
      for (int round = 0; round < kRounds; ++round) {
        const auto ran = OnSecretStack([&] {
          uint8_t frame[4096];
          memset(frame, static_cast<int>(i), sizeof(frame));
          __asm__ volatile("" : : "r"(frame) : "memory");
          if (++inside > kStacks) ++wrong;
          // The first of them wait for each other: so many do run at a time.
          if (entered.fetch_add(1) < kStacks) {
            while (entered < kStacks) sched_yield();
          }
          for (const uint8_t byte : frame) wrong += byte == i ? 0 : 1;
          --inside;
        });
        if (!ran) ++wrong;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(entered, kThreads * kRounds);
}

TEST_F(SecretStackTest, TrimGivesStacksBack) {
  const uint8_t* stack = NextStack();
  EXPECT_TRUE(MappingOf(stack)->IsSecretmem());
  TrimVault();
  EXPECT_EQ(MappingOf(stack)->permissions, "---p");
  EXPECT_EQ(OnSecretStack([] { return 1; }), VaultResult<int>(1));
}

TEST_F(SecretStackTest, ThreadsLeaveNothingBehind) {
  const auto run = [](int threads) {
    for (int i = 0; i < threads; ++i) {
      std::thread([] {
        uint8_t byte;
        EXPECT_TRUE(RandomBytes({&byte, 1}));
      }).join();
    }
  };
  run(20);
  const size_t mapped = LibraryHeap().mapped_bytes() + WorkHeap().mapped_bytes();
  run(500);
  EXPECT_EQ(LibraryHeap().mapped_bytes() + WorkHeap().mapped_bytes(), mapped);
}

#if defined(__x86_64__)

// --- what registers hold afterwards ---

constexpr uint64_t kPattern = 0x5ec2e7ba5ec2e7ba;

struct Registers {
  alignas(64) uint64_t vectors[32][8];
  uint64_t general[9];
  uint64_t masks[8];

  // Not inlined: the pattern itself must not get into a register before Capture.
  [[gnu::noinline]] std::vector<std::string> Found() const {
    std::vector<std::string> found;
    for (int i = 0; i < 32; ++i) {
      for (int j = 0; j < 8; ++j) {
        if (vectors[i][j] == kPattern) {
          found.push_back("vector " + std::to_string(i) + ", word " + std::to_string(j));
        }
      }
    }
    for (int i = 0; i < 9; ++i) {
      if (general[i] == kPattern) found.push_back("general " + std::to_string(i));
    }
    return found;
  }

  [[gnu::noinline]] int CountPattern() const {
    const auto* words = reinterpret_cast<const uint64_t*>(this);
    return static_cast<int>(std::count(words, words + sizeof(*this) / sizeof(uint64_t), kPattern));
  }
};
Registers g_captured;
alignas(64) uint64_t g_fill[8];

int Level() {
  if (__builtin_cpu_supports("avx512vl")) return 2;
  return __builtin_cpu_supports("avx") ? 1 : 0;
}

#define FOR_16(DO) \
  DO(0)            \
  DO(1) DO(2) DO(3) DO(4) DO(5) DO(6) DO(7) DO(8) DO(9) DO(10) DO(11) DO(12) DO(13) DO(14) DO(15)
#define FOR_HIGH_16(DO) \
  DO(16)                \
  DO(17)                \
  DO(18) DO(19) DO(20) DO(21) DO(22) DO(23) DO(24) DO(25) DO(26) DO(27) DO(28) DO(29) DO(30) DO(31)
#define FOR_MASKS(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5) DO(6) DO(7)

[[gnu::always_inline]] inline void LoadVectors() {
#define LOAD_SSE(n) "movups (%0), %%xmm" #n "\n"
#define LOAD_AVX(n) "vmovups (%0), %%ymm" #n "\n"
#define LOAD_512(n) "vmovups (%0), %%zmm" #n "\n"
#define LOAD_MASK(n) "kmovw (%0), %%k" #n "\n"
  switch (Level()) {
    case 2:
      __asm__ volatile(FOR_16(LOAD_512) FOR_HIGH_16(LOAD_512) FOR_MASKS(LOAD_MASK)
                       :
                       : "r"(g_fill)
                       : "memory");
      break;
    case 1:
      __asm__ volatile(FOR_16(LOAD_AVX) : : "r"(g_fill) : "memory");
      break;
    default:
      __asm__ volatile(FOR_16(LOAD_SSE) : : "r"(g_fill) : "memory");
  }
}

[[gnu::always_inline]] inline void Capture() {
#define STORE_SSE(n) "movups %%xmm" #n ", " #n "*64(%0)\n"
#define STORE_AVX(n) "vmovups %%ymm" #n ", " #n "*64(%0)\n"
#define STORE_512(n) "vmovups %%zmm" #n ", " #n "*64(%0)\n"
#define STORE_MASK(n) "kmovw %%k" #n ", " #n "*8(%0)\n"
  // General registers first, before anything else is computed.
  __asm__ volatile(
      "movq %%rax, 0(%0)\n movq %%rcx, 8(%0)\n movq %%rdx, 16(%0)\n movq %%rsi, 24(%0)\n"
      "movq %%rdi, 32(%0)\n movq %%r8, 40(%0)\n movq %%r9, 48(%0)\n movq %%r10, 56(%0)\n"
      "movq %%r11, 64(%0)\n"
      :
      : "b"(g_captured.general)
      : "memory");
  switch (Level()) {
    case 2:
      __asm__ volatile(FOR_16(STORE_512) FOR_HIGH_16(STORE_512)
                       :
                       : "r"(g_captured.vectors)
                       : "memory");
      __asm__ volatile(FOR_MASKS(STORE_MASK) : : "r"(g_captured.masks) : "memory");
      break;
    case 1:
      __asm__ volatile(FOR_16(STORE_AVX) : : "r"(g_captured.vectors) : "memory");
      break;
    default:
      __asm__ volatile(FOR_16(STORE_SSE) : : "r"(g_captured.vectors) : "memory");
  }
}

[[gnu::noinline]] void LoadAll(void*) {
  LoadVectors();
  __asm__ volatile(
      "movq (%0), %%rax\n movq (%0), %%rcx\n movq (%0), %%rdx\n movq (%0), %%rsi\n"
      "movq (%0), %%r8\n movq (%0), %%r9\n movq (%0), %%r10\n movq (%0), %%r11\n"
      "movq (%0), %%rdi\n"
      :
      : "b"(g_fill)
      : "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "memory");
}

class RegisterTest : public SecretStackTest {
 protected:
  void SetUp() override {
    if (kThreadSanitizer) GTEST_SKIP() << "the sanitizer's calls come in between";
    SecretStackTest::SetUp();
    std::ranges::fill(g_fill, kPattern);
    g_captured = {};
  }
};

TEST_F(RegisterTest, ControlSeesThePattern) {
  LoadAll(nullptr);
  Capture();
  const int level = Level();
  EXPECT_GE(g_captured.CountPattern(), level == 2 ? 256 : level == 1 ? 64 : 32);
}

TEST_F(RegisterTest, SwitchClearsThem) {
  alignas(64) static uint8_t stack[1 << 16];
  for (int level = 0; level <= Level(); ++level) {
    g_captured = {};
    void* ordinary = nullptr;
    secretmem_call_on_stack(stack + sizeof(stack), LoadAll, nullptr, level, &ordinary);
    Capture();
    if (level == Level()) {
      EXPECT_EQ(g_captured.CountPattern(), 0) << level;
      for (const uint64_t mask : g_captured.masks) EXPECT_EQ(mask, 0u);
    } else {
      // A CPU without the wider registers has nothing in them.
      for (int i = 0; i < 16; ++i) {
        EXPECT_NE(g_captured.vectors[i][0], kPattern) << level << " " << i;
        EXPECT_NE(g_captured.vectors[i][1], kPattern) << level << " " << i;
      }
      EXPECT_EQ(std::ranges::count(g_captured.general, kPattern), 0) << level;
    }
  }
}

TEST_F(RegisterTest, NothingOfTheStackIsInRegistersAfterwards) {
  // The stack is wiped after the call: that must not bring its words back into registers.
  const auto fill = [](void*) {
    volatile uint64_t frame[1024];
    for (auto& word : frame) word = kPattern;
    __asm__ volatile("" : : "r"(&frame[0]) : "memory");
    LoadVectors();
  };
  for (const auto depth : {internal::StackDepth::kShallow, internal::StackDepth::kDeep}) {
    g_captured = {};
    const auto ran = internal::RunOnSecretStack(depth, fill, nullptr);
    Capture();
    EXPECT_EQ(g_captured.Found(), std::vector<std::string>());
    EXPECT_TRUE(ran);
  }
}

#endif

}  // namespace
}  // namespace secretmem
