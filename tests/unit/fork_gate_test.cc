#include "vault/fork_gate.h"

#include <gtest/gtest.h>
#include <openssl/curve25519.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <csignal>
#include <cstring>
#include <set>
#include <thread>
#include <vector>

#include "vault/random.h"
#include "vault/secret_heap.h"
#include "vault/vault.h"
#include "vault_testing.h"

namespace secretmem {
namespace {

uint64_t SignalMask() {
  uint64_t mask = 0;
  syscall(SYS_rt_sigprocmask, SIG_SETMASK, nullptr, &mask, sizeof(mask));
  return mask;
}
constexpr uint64_t kAllSignals = ~(uint64_t{1} << (SIGKILL - 1)) & ~(uint64_t{1} << (SIGSTOP - 1));

using Block = std::array<uint8_t, 16>;

Block Draw() {
  Block block = {};
  EXPECT_TRUE(RandomBytes(block));
  return block;
}

// Does what a module does with a key; returns 0 or what went wrong.
int UseVault() {
  auto vault = Vault::New(32);
  if (!vault) return 11;
  std::array<uint8_t, 32> public_key;
  std::array<uint8_t, 32> again;
  if (!vault->WriteSecret<32>(
          [&](WritableSecretView<32> key) { X25519_keypair(public_key.data(), key.data()); })) {
    return 12;
  }
  if (!vault->WithSecret<32>(
          [&](SecretView<32> key) { X25519_public_from_private(again.data(), key.data()); })) {
    return 13;
  }
  return public_key == again ? 0 : 14;
}

bool IsForked(const auto& result) {
  return !result && result.error() == VaultError{VaultErrc::kForked};
}

class ForkGateTest : public testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(InitialiseVault()); }
};

TEST_F(ForkGateTest, GuardBlocksEverySignalAndNests) {
  const uint64_t before = SignalMask();
  {
    const ForkGuard outer;
    EXPECT_EQ(SignalMask(), kAllSignals);
    {
      const ForkGuard inner;
      EXPECT_EQ(SignalMask(), kAllSignals);
    }
    EXPECT_EQ(SignalMask(), kAllSignals);
  }
  EXPECT_EQ(SignalMask(), before);
}

// Written by handlers; the child sends its own through a pipe.
std::array<char, 16> g_order;
std::atomic<size_t> g_calls{0};
void Note(char what) { g_order[g_calls++] = what; }

TEST_F(ForkGateTest, HooksRunInOrderAndEightSetsAtMost) {
  const int status = InChild([] {
    AddForkHooks({[] { Note('a'); }, [] { Note('b'); }, [] { Note('c'); }});
    AddForkHooks({nullptr, nullptr, nullptr});
    AddForkHooks({[] { Note('1'); }, [] { Note('2'); }, [] { Note('3'); }});
    for (int i = 0; i < 20; ++i) AddForkHooks({nullptr, nullptr, nullptr});
    // The ninth set and those after it are not taken.
    AddForkHooks({[] { Note('x'); }, [] { Note('x'); }, [] { Note('x'); }});
    const auto noted = [] { return std::string_view(g_order.data(), g_calls); };
    const int child = InChild([&] { return noted() == "1ac3" ? 0 : 1; });
    if (child != 0) return 1;
    return noted() == "1ab2" && SignalMask() != kAllSignals ? 0 : 2;
  });
  EXPECT_EQ(status, 0);
}

TEST_F(ForkGateTest, MaskSurvivesForkOnBothSides) {
  sigset_t some;
  sigemptyset(&some);
  sigaddset(&some, SIGUSR2);
  pthread_sigmask(SIG_BLOCK, &some, nullptr);
  const uint64_t before = SignalMask();
  EXPECT_EQ(InChild([&] { return SignalMask() == before ? 0 : 1; }), 0);
  EXPECT_EQ(SignalMask(), before);
}

TEST_F(ForkGateTest, GenerationCounts) {
  const uint64_t before = ForkGeneration();
  EXPECT_EQ(InChild([&] {
              if (ForkGeneration() != before + 1 || IsForkedWithoutHandlers()) return 1;
              return InChild([&] { return ForkGeneration() == before + 2 ? 0 : 1; });
            }),
            0);
  EXPECT_EQ(ForkGeneration(), before);
  EXPECT_FALSE(IsForkedWithoutHandlers());
}

TEST_F(ForkGateTest, FiveHundredForksBesideWorkingThreads) {
  constexpr int kForks = kSanitized ? 100 : 500;
  std::atomic<bool> stop{false};
  std::atomic<int> failed{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&] {
      while (!stop) failed += UseVault() == 0 ? 0 : 1;
    });
  }
  for (int i = 0; i < kForks; ++i) {
    const int status = InChild([] {
      alarm(60);
      if (!InitialiseVault()) return 1;
      return UseVault();
    });
    ASSERT_EQ(status, 0) << "fork " << i;
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(failed, 0);
}

TEST_F(ForkGateTest, ForksBesideThreadsThatComeAndGo) {
  // From a thread that has nothing of BoringSSL's yet: its child has to make it.
  constexpr int kForks = kSanitized ? 50 : 500;
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&] {
      while (!stop) std::thread([] { (void)Draw(); }).join();
    });
  }
  std::thread([&] {
    for (int i = 0; i < kForks; ++i) {
      const int status = InChild([] {
        alarm(60);
        if (!InitialiseVault()) return 1;
        return UseVault();
      });
      ASSERT_EQ(status, 0) << "fork " << i;
    }
  }).join();
  stop = true;
  for (std::thread& thread : threads) thread.join();
}

// Between memfd_secret(2) and close(2) there is a descriptor, and a mapping that a child would have
// too: forks of other threads do not come in between.
TEST_F(ForkGateTest, ForksMeetNoRegionInTheMaking) {
  constexpr int kForks = kSanitized ? 100 : 500;
  std::atomic<bool> stop{false};
  std::atomic<int> made{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 2; ++i) {
    threads.emplace_back([&] {
      // Each is a region of its own.
      while (!stop) made += Vault::New(size_t{200'000}) ? 1 : 0;
    });
  }
  for (int i = 0; i < kForks; ++i) {
    const int status = InChild([] {
      alarm(60);
      for (const std::string& descriptor : Descriptors()) {
        if (descriptor.find("secretmem") != std::string::npos) return 1;
      }
      // The child has its own copy of what BoringSSL keeps for long, and nothing else.
      for (const Mapping& mapping : SecretMappings()) {
        bool own = false;
        LibraryHeap().ForEachChunk([&](std::byte* chunk, size_t size) {
          const auto low = reinterpret_cast<uintptr_t>(chunk);
          own |= mapping.low >= low && mapping.high <= low + size;
        });
        if (!own) return 2;
      }
      return 0;
    });
    ASSERT_EQ(status, 0) << "fork " << i;
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
  EXPECT_GT(made, 0);
}

TEST_F(ForkGateTest, RandomBytesDifferBetweenParentAndChildren) {
  (void)Draw();
  constexpr size_t kChildren = 20;
  auto* drawn = static_cast<Block*>(mmap(nullptr, kChildren * sizeof(Block), PROT_READ | PROT_WRITE,
                                         MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  ASSERT_NE(drawn, MAP_FAILED);
  std::set<Block> blocks;
  for (size_t i = 0; i < kChildren; ++i) {
    EXPECT_EQ(InChild([&] {
                drawn[i] = Draw();
                return 0;
              }),
              0);
    blocks.insert(drawn[i]);
    blocks.insert(Draw());
  }
  EXPECT_EQ(blocks.size(), 2 * kChildren);
}

TEST_F(ForkGateTest, ForkBeforeAnythingWasUsed) {
  EXPECT_EQ(InChild([] {
              // Nothing of BoringSSL's is there yet in a fresh process; here at least not on this
              // thread.
              int result = -1;
              std::thread([&] {
                result = InChild([] { return InitialiseVault() ? UseVault() : 1; });
              }).join();
              return result == 0 ? 0 : 1;
            }),
            0);
}

TEST_F(ForkGateTest, ChildWithoutHandlersIsRefusedEverything) {
  const auto vault = Vault::New(32);
  ASSERT_TRUE(vault);
  EXPECT_EQ(UseVault(), 0);
  EXPECT_EQ(InRawChild([&] {
              if (!IsForkedWithoutHandlers()) return 1;
              if (!IsForked(InitialiseVault())) return 2;
              if (!IsForked(Vault::New(32))) return 3;
              if (!IsForked(OnSecretStack([] {}))) return 4;
              if (!IsForked(vault->WithSecret([](std::span<const uint8_t>) {}))) return 5;
              Block block;
              if (!IsForked(RandomBytes(block))) return 6;
              TrimVault();
              return 0;
            }),
            0);
}

TEST_F(ForkGateTest, ChildWithoutHandlersIsRefusedBesideBusyThreads) {
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&] {
      while (!stop) (void)UseVault();
    });
  }
  for (int i = 0; i < 50; ++i) {
    // Locks may have been copied as they were held.
    const int status = InRawChild([] {
      alarm(60);
      TrimVault();
      return IsForked(Vault::New(32)) && IsForked(OnSecretStack([] {})) ? 0 : 1;
    });
    ASSERT_EQ(status, 0) << i;
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
}

TEST_F(ForkGateTest, TrimInAChildWithoutHandlersTouchesNobodysMemory) {
  EXPECT_EQ(UseVault(), 0);
  uintptr_t at = 0;
  ASSERT_TRUE(OnSecretStack([&] { at = reinterpret_cast<uintptr_t>(__builtin_frame_address(0)); }));
  auto* page = reinterpret_cast<void*>(at & ~uintptr_t{4095});
  EXPECT_EQ(InRawChild([&] {
              // The addresses are free there, and somebody moves in.
              void* mapped = mmap(page, 4096, PROT_READ | PROT_WRITE,
                                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
              if (mapped != page) return 1;
              memset(mapped, 1, 4096);
              TrimVault();
              return MappingOf(mapped)->permissions == "rw-p" ? 0 : 2;
            }),
            0);
}

TEST_F(ForkGateTest, ChildWithoutHandlersCanForkAgain) {
  EXPECT_EQ(UseVault(), 0);
  EXPECT_EQ(InRawChild([] {
              alarm(60);
              return InChild([] {
                // BoringSSL's memory is missing here as it was in the parent.
                return IsForked(OnSecretStack([] {})) && IsForked(InitialiseVault()) ? 0 : 1;
              });
            }),
            0);
}

TEST_F(ForkGateTest, ChildWithoutHandlersCanForkAgainBesideBusyThreads) {
  std::atomic<bool> stop{false};
  std::atomic<int> at_work{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&] {
      (void)UseVault();
      ++at_work;
      while (!stop) (void)UseVault();
    });
  }
  // A thread that begins takes locks of malloc's, which fork(3) would wait for in such a child.
  while (at_work < 3) std::this_thread::yield();
  for (int i = 0; i < 50; ++i) {
    const int status = InRawChild([] {
      alarm(20);
      return InChild([] { return IsForked(OnSecretStack([] {})) ? 0 : 1; });
    });
    EXPECT_EQ(status, 0) << i;
    if (status != 0) break;
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
}

TEST_F(ForkGateTest, ChildOfAParentAtItsLimitWorks) {
  if (SecretFlags().size() < 3) {
    GTEST_SKIP() << "this kernel counts the secret memory of all of a user's processes together";
  }
  const int status = InChild([] {
    LimitLockedMemory(size_t{1} << 20);
    if (!InitialiseVault() || UseVault() != 0) return 1;
    std::vector<Vault> vaults;
    for (auto vault = Vault::New(4000); vault; vault = Vault::New(4000)) {
      vaults.push_back(std::move(*vault));
    }
    for (int i = 0; i < 20; ++i) {
      const int child = InChild([&] {
        if (!IsForked(vaults.front().WithSecret([](std::span<const uint8_t>) {}))) return 1;
        if (!InitialiseVault()) return 2;
        if (const int used = UseVault(); used != 0) return used;
        Block block;
        if (!RandomBytes(block)) return 3;
        return InChild([] { return InitialiseVault() ? UseVault() : 1; }) == 0 ? 0 : 4;
      });
      if (child != 0) return WIFEXITED(child) ? 10 + WEXITSTATUS(child) : 30;
      // The parent goes on, its stacks are back.
      if (!vaults.front().WithSecret([](std::span<const uint8_t>) {})) return 3;
    }
    return 0;
  });
  EXPECT_EQ(status, 0) << WEXITSTATUS(status);
}

}  // namespace
}  // namespace secretmem
