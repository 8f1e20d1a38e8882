// Safe points: signals and forks get through a long borrow, and nothing of it shows meanwhile.

#include <gtest/gtest.h>
#include <openssl/aead.h>
#include <openssl/curve25519.h>
#include <pthread.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <functional>
#include <thread>
#include <type_traits>
#include <vector>

#include "mechanisms/aead_state.h"
#include "mechanisms/rsa_key.h"
#include "vault/fork_gate.h"
#include "vault/random.h"
#include "vault/secret_stack.h"
#include "vault/vault.h"

namespace secretmem {
namespace {

constexpr int kSignal = SIGUSR1;
constexpr int kFailed = 1;
constexpr int kPassed = 7;

// What the handler does, and how often it ran.
std::function<void()>* g_on_signal = nullptr;
std::atomic<int> g_signals{0};

void Handle(int) {
  ++g_signals;
  if (g_on_signal != nullptr) (*g_on_signal)();
}

class SafePointTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(InitialiseVault().has_value());
    g_signals = 0;
    struct sigaction action {};
    action.sa_handler = Handle;
    sigaction(kSignal, &action, &before_);
  }
  void TearDown() override {
    sigaction(kSignal, &before_, nullptr);
    g_on_signal = nullptr;
  }

  static void OnSignal(std::function<void()> f) {
    static std::function<void()> kept;
    kept = std::move(f);
    g_on_signal = &kept;
  }

  static int BorrowThatForks(pid_t (*fork_now)(), pid_t* child);

  struct sigaction before_ {};
};

// Whether secret memory works in this process.
bool VaultsWork() {
  auto vault = Vault::New(32);
  if (!vault) return false;
  const auto drawn = vault->WriteSecret(
      [](std::span<uint8_t> bytes) { std::fill(bytes.begin(), bytes.end(), uint8_t{5}); });
  const auto read = vault->WithSecret([](std::span<const uint8_t> bytes) { return bytes[31]; });
  return drawn && read && *read == 5;
}

// The stack that this thread was started with.
std::span<const uint64_t> OrdinaryStack() {
  pthread_attr_t attributes;
  void* low = nullptr;
  size_t size = 0;
  EXPECT_EQ(pthread_getattr_np(pthread_self(), &attributes), 0);
  EXPECT_EQ(pthread_attr_getstack(&attributes, &low, &size), 0);
  pthread_attr_destroy(&attributes);
  return {static_cast<const uint64_t*>(low), size / sizeof(uint64_t)};
}

int ExitCodeOf(pid_t child) {
  int status = 0;
  if (waitpid(child, &status, 0) != child || !WIFEXITED(status)) return -1;
  return WEXITSTATUS(status);
}

TEST_F(SafePointTest, SignalsComeThereAndNowhereElse) {
  const auto counts = OnSecretStack([] {
    std::array<int, 3> seen{};
    pthread_kill(pthread_self(), kSignal);
    seen[0] = g_signals;
    SafePoint();
    seen[1] = g_signals;
    pthread_kill(pthread_self(), kSignal);
    seen[2] = g_signals;
    return seen;
  });
  ASSERT_TRUE(counts.has_value());
  EXPECT_EQ(*counts, (std::array<int, 3>{0, 1, 1}));
  EXPECT_EQ(g_signals, 2);
}

TEST_F(SafePointTest, HandlersRunOnTheOrdinaryStack) {
  const auto stack = OrdinaryStack();
  const auto is_ordinary = [&] {
    const auto* here = static_cast<const uint64_t*>(__builtin_frame_address(0));
    return here >= stack.data() && here < stack.data() + stack.size();
  };
  bool handler = false;
  OnSignal([&] { handler = is_ordinary(); });
  const auto inside = OnSecretStack([&] {
    pthread_kill(pthread_self(), kSignal);
    SafePoint();
    return is_ordinary();
  });
  EXPECT_TRUE(handler);
  EXPECT_EQ(inside, false);
}

// ThreadSanitizer puts signals off.
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
// In two parts, so that it is nowhere but where the borrow puts it.
volatile uint64_t g_mark_a = 0x5a17c0de93b1f00d, g_mark_b = 0xc3a5f1e08d2746b9;

// Fills the registers with the mark and goes through a safe point.
[[gnu::noinline]] void MarkRegistersAndPause() {
  const uint64_t mark = g_mark_a ^ g_mark_b;
  void (*const pause)() = SafePoint;
  asm volatile(
      "movq %%rsp, %%rbx\n\t"
      "subq $256, %%rsp\n\t"
      "andq $-16, %%rsp\n\t"
      "movq %0, %%xmm0\n\t"
      "punpcklqdq %%xmm0, %%xmm0\n\t"
      "movdqa %%xmm0, %%xmm1\n\t movdqa %%xmm0, %%xmm2\n\t movdqa %%xmm0, %%xmm7\n\t"
      "movdqa %%xmm0, %%xmm8\n\t movdqa %%xmm0, %%xmm15\n\t"
      "movq %0, %%r12\n\t movq %0, %%r13\n\t movq %0, %%r14\n\t movq %0, %%r15\n\t"
      "movq %0, %%rcx\n\t movq %0, %%rdx\n\t movq %0, %%r8\n\t movq %0, %%r11\n\t"
      "call *%1\n\t"
      "movq %%rbx, %%rsp\n\t"
      :
      : "D"(mark), "a"(pause)
      : "rbx", "rcx", "rdx", "rsi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "xmm0",
        "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11",
        "xmm12", "xmm13", "xmm14", "xmm15", "memory", "cc");
}

// Counts the mark in the handler's frames, the signal's frame with all registers, and what is above
// it on the same stack.
int CountMarks(std::span<const uint64_t> stack) {
  const auto* at = static_cast<const uint64_t*>(__builtin_frame_address(0));
  int found = 0;
  for (int i = 0; i < 2048 && at < stack.data() + stack.size(); ++i, ++at) {
    found += (*at ^ g_mark_a) == g_mark_b ? 1 : 0;
  }
  return found;
}

TEST_F(SafePointTest, NoRegisterShowsWhatTheBorrowHas) {
  const auto stack = OrdinaryStack();
  int marks = -1;
  OnSignal([&] { marks = CountMarks(stack); });
  ASSERT_TRUE(OnSecretStack([] {
    pthread_kill(pthread_self(), kSignal);
    MarkRegistersAndPause();
  }));
  EXPECT_EQ(marks, 0);
  // The same registers in a signal that comes at any other place.
  MarkRegistersAndPause();
  std::atomic<bool> stop{false};
  const pthread_t self = pthread_self();
  int most = 0;
  OnSignal([&] { most = std::max(most, CountMarks(stack)); });
  std::thread sender([&] {
    while (!stop) pthread_kill(self, kSignal);
  });
  while (most == 0) MarkRegistersAndPause();
  stop = true;
  sender.join();
  EXPECT_GT(most, 0);
}
#endif

TEST_F(SafePointTest, TheBorrowFindsItsOwnAgain) {
  const auto sums = OnSecretStack([] {
    std::array<uint64_t, 24> numbers;
    std::array<double, 12> doubles;
    uint64_t seed = 1;
    for (auto& number : numbers) number = seed = seed * 6364136223846793005u + 1442695040888963407u;
    for (size_t i = 0; i < doubles.size(); ++i) doubles[i] = static_cast<double>(i) / 3;
    std::pair<uint64_t, double> sum{0, 0};
    for (int round = 0; round < 1000; ++round) {
      SafePoint();
      for (const auto number : numbers) sum.first += number;
      for (const auto number : doubles) sum.second += number;
    }
    return sum;
  });
  ASSERT_TRUE(sums.has_value());
  uint64_t expected = 0, seed = 1;
  for (int i = 0; i < 24; ++i) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    expected += seed * 1000;
  }
  EXPECT_EQ(sums->first, expected);
  EXPECT_NEAR(sums->second, 22000.0, 1e-6);
}

#if !defined(__SANITIZE_THREAD__)  // takes every signal for one that comes anywhere
TEST_F(SafePointTest, HandlersMayBorrow) {
  bool worked = false;
  OnSignal([&] { worked = VaultsWork(); });
  const auto after = OnSecretStack([&] {
    pthread_kill(pthread_self(), kSignal);
    SafePoint();
    return VaultsWork();
  });
  EXPECT_TRUE(worked);
  EXPECT_EQ(after, true);
}
#endif

TEST_F(SafePointTest, IsNoneUnderSomebodyElsesGuard) {
  int inside = -1;
  {
    const ForkGuard guard;
    ASSERT_TRUE(OnSecretStack([&] {
      pthread_kill(pthread_self(), kSignal);
      SafePoint();
      inside = g_signals;
    }));
  }
  EXPECT_EQ(inside, 0);
  EXPECT_EQ(g_signals, 1);
  ASSERT_TRUE(OnSecretStack([&] {
    const ForkGuard guard;
    pthread_kill(pthread_self(), kSignal);
    SafePoint();
    inside = g_signals;
  }));
  EXPECT_EQ(inside, 1);
  EXPECT_EQ(g_signals, 2);
  SafePoint();  // outside of borrows
}

TEST_F(SafePointTest, ForksOfOtherThreadsGetThrough) {
  std::atomic<bool> inside{false}, forked{false};
  std::thread worker([&] {
    EXPECT_TRUE(OnSecretStack([&] {
      inside = true;
      while (!forked) SafePoint();
    }));
  });
  while (!inside) std::this_thread::yield();
  const pid_t child = fork();
  if (child == 0) _exit(InitialiseVault() && VaultsWork() ? kPassed : kFailed);
  forked = true;
  worker.join();
  EXPECT_EQ(ExitCodeOf(child), kPassed);
}

// What a borrow answers whose handler forks by |fork_now| at a safe point; -1 in the parent.
int SafePointTest::BorrowThatForks(pid_t (*fork_now)(), pid_t* child) {
  OnSignal([&] { *child = fork_now(); });
  auto secret = Vault::New(16);
  const auto answer = OnSecretStack([&] {
    pthread_kill(pthread_self(), kSignal);
    SafePoint();
    return 3;
  });
  if (*child != 0) return answer == 3 ? -1 : kFailed;
  if (answer || answer.error() != VaultError{VaultErrc::kForked}) return kFailed;
  // The parent's vault is an empty shell.
  if (!secret || secret->WithSecret([](std::span<const uint8_t>) { return 0; })) return kFailed;
  return kPassed;
}

#if !defined(__SANITIZE_THREAD__)
TEST_F(SafePointTest, AHandlerMayForkAndItsChildLivesOn) {
  pid_t child = -1;
  int answer = BorrowThatForks(fork, &child);
  if (child == 0) {
    if (answer == kPassed && !(InitialiseVault() && VaultsWork())) answer = kFailed;
    _exit(answer);
  }
  EXPECT_EQ(answer, -1);
  EXPECT_EQ(ExitCodeOf(child), kPassed);
  EXPECT_TRUE(VaultsWork());
}
#endif

TEST_F(SafePointTest, AHandlerMayForkWithoutHandlers) {
  pid_t child = -1;
  const int answer = BorrowThatForks(_Fork, &child);
  if (child == 0) _exit(answer);
  EXPECT_EQ(answer, -1);
  EXPECT_EQ(ExitCodeOf(child), kPassed);
}

class Wanted : public AttributeSource {
 public:
  std::optional<std::span<const uint8_t>> Get(CK_ATTRIBUTE_TYPE type) const override {
    if (type != CKA_MODULUS_BITS) return {};
    return std::span(reinterpret_cast<const uint8_t*>(&bits_), sizeof(bits_));
  }

  explicit Wanted(CK_ULONG bits = 3072) : bits_(bits) {}

 private:
  CK_ULONG bits_;
};

TEST(RsaGenerationTest, RefusesSizesThatWouldNeverEnd) {
  for (const CK_ULONG bits : {CK_ULONG{8320}, CK_ULONG{16384}, CK_ULONG{1} << 32, ~CK_ULONG{127}}) {
    EXPECT_EQ(GenerateRsa({}, Wanted(bits)).error(), CKR_KEY_SIZE_RANGE);
  }
}

// SignalTimer sends a signal every millisecond while it lives, and counts them in g_signals.
class SignalTimer {
 public:
  SignalTimer() {
    struct sigaction action {};
    action.sa_handler = Handle;
    action.sa_flags = SA_RESTART;
    sigaction(SIGALRM, &action, &before_);
    g_signals = 0;
    const itimerval every_ms{{0, 1000}, {0, 1000}};
    setitimer(ITIMER_REAL, &every_ms, nullptr);
  }
  ~SignalTimer() {
    const itimerval never{};
    setitimer(ITIMER_REAL, &never, nullptr);
    sigaction(SIGALRM, &before_, nullptr);
  }
  SignalTimer(const SignalTimer&) = delete;
  SignalTimer& operator=(const SignalTimer&) = delete;

 private:
  struct sigaction before_;
};

// Blocked, the timer's signals would be one at the end.
TEST_F(SafePointTest, RsaGenerationLetsSignalsThrough) {
  const auto pair = [] {
    const SignalTimer timer;
    return GenerateRsa({}, Wanted());
  }();
  EXPECT_TRUE(pair.has_value());
  EXPECT_GT(g_signals, 3);
}

// SignalsDuring counts those of a timer that come while |f| runs, in one borrow.
template <class F>
int SignalsDuring(F&& f) {
  const SignalTimer timer;
  int before_the_end = 0;
  EXPECT_TRUE(OnSecretStack([&] {
    f();
    before_the_end = g_signals;
  }));
  return before_the_end;
}

// Of 64 MiB in slices of 4, nearly every one of which takes longer than the timer.
constexpr size_t kLongBytes = size_t{64} << 20;

TEST_F(SafePointTest, LongMessagesLetSignalsThroughEd25519) {
  const std::vector<uint8_t> message(kLongBytes, 0x5a);
  uint8_t public_key[32], signature[64];
  const int signals = SignalsDuring([&] {
    uint8_t private_key[64];
    const uint8_t seed[32] = {7};
    ED25519_keypair_from_seed(public_key, private_key, seed);
    EXPECT_EQ(ED25519_sign(signature, message.data(), message.size(), private_key), 1);
  });
  EXPECT_GT(signals, 3);
  EXPECT_EQ(ED25519_verify(message.data(), message.size(), signature, public_key), 1);
}

TEST_F(SafePointTest, LongAssociatedDataLetsSignalsThrough) {
  const std::vector<uint8_t> data(kLongBytes, 0x5a);
  const uint8_t key[32] = {3};
  const uint8_t nonce[12] = {4};
  const auto tag_of = [&](auto state_of_kind, std::array<uint8_t, 16>* tag) {
    using State = decltype(state_of_kind)::type;
    return SignalsDuring([&] {
      State state;
      EXPECT_TRUE(state.SetKey(key));
      EXPECT_TRUE(state.Start(nonce, data, {0, 16}, Direction::kEncrypt));
      EXPECT_TRUE(state.MakeTag(*tag));
    });
  };
  const auto whole = [&](const EVP_AEAD* aead) {
    std::array<uint8_t, 16> tag{};
    EXPECT_TRUE(OnSecretStack([&] {
      bssl::ScopedEVP_AEAD_CTX context;
      size_t size = 0;
      EXPECT_EQ(EVP_AEAD_CTX_init(context.get(), aead, key, sizeof(key), 16, nullptr), 1);
      EXPECT_EQ(EVP_AEAD_CTX_seal(context.get(), tag.data(), &size, tag.size(), nonce,
                                  sizeof(nonce), nullptr, 0, data.data(), data.size()),
                1);
    }));
    return tag;
  };
  std::array<uint8_t, 16> gcm, chacha, ccm;
  EXPECT_GT(tag_of(std::type_identity<GcmState>(), &gcm), 3);
  EXPECT_GT(tag_of(std::type_identity<ChaChaState>(), &chacha), 3);
  EXPECT_GT(tag_of(std::type_identity<CcmState>(), &ccm), 3);
  EXPECT_EQ(gcm, whole(EVP_aead_aes_256_gcm()));
  EXPECT_EQ(chacha, whole(EVP_aead_chacha20_poly1305()));
}

TEST_F(SafePointTest, RsaGenerationLetsForksThrough) {
  std::atomic<bool> done{false};
  std::thread worker([&] {
    EXPECT_TRUE(GenerateRsa({}, Wanted()).has_value());
    done = true;
  });
  do {
    const pid_t child = fork();
    if (child == 0) _exit(InitialiseVault() && VaultsWork() ? kPassed : kFailed);
    EXPECT_EQ(ExitCodeOf(child), kPassed);
  } while (!done);
  worker.join();
}

}  // namespace
}  // namespace secretmem
