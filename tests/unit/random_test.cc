#include "vault/random.h"

#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <openssl/curve25519.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <set>
#include <thread>
#include <vector>

#include "vault/secret_heap.h"
#include "vault/secret_stack.h"
#include "vault/vault.h"
#include "vault_testing.h"

// BoringSSL's own table of what a thread has; its trees of different years name it differently.
extern "C" [[gnu::weak]] void* CRYPTO_get_thread_local(unsigned index);
namespace bssl {
enum thread_local_data_t : unsigned;
[[gnu::weak]] void* CRYPTO_get_thread_local(thread_local_data_t index);
}  // namespace bssl

namespace secretmem {
namespace {

TEST(RandomTest, BlocksDifferWithinAndAcrossThreads) {
  ASSERT_TRUE(InitialiseVault());
  using Block = std::array<uint8_t, 16>;
  constexpr size_t kThreads = 4;
  constexpr size_t kEach = 100;
  std::vector<std::vector<Block>> drawn(kThreads, std::vector<Block>(kEach));
  std::vector<std::thread> threads;
  for (auto& blocks : drawn) {
    threads.emplace_back([&blocks] {
      for (Block& block : blocks) EXPECT_TRUE(RandomBytes(block));
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::set<Block> all;
  for (const auto& blocks : drawn) all.insert(blocks.begin(), blocks.end());
  EXPECT_EQ(all.size(), kThreads * kEach);
  EXPECT_FALSE(all.contains(Block{}));
}

TEST(RandomTest, FillsExactlyWhatItIsGiven) {
  ASSERT_TRUE(InitialiseVault());
  EXPECT_TRUE(RandomBytes({}));
  for (const size_t size : {size_t{1}, size_t{33}, size_t{100'000}}) {
    std::vector<uint8_t> bytes(size + 32);
    EXPECT_TRUE(RandomBytes(std::span(bytes).subspan(16, size)));
    for (size_t i = 0; i < 16; ++i) {
      EXPECT_EQ(bytes[i], 0) << size;
      EXPECT_EQ(bytes[bytes.size() - 1 - i], 0) << size;
    }
    if (size < 64) continue;
    // Every value turns up in so many bytes.
    EXPECT_EQ(std::set<uint8_t>(bytes.begin() + 16, bytes.end() - 16).size(), 256u);
  }
}

// StateOfThisThread is where the random generator keeps its key.
const uint8_t* StateOfThisThread() {
  constexpr unsigned kIndex = 1;  // OPENSSL_THREAD_LOCAL_RAND
  void* state = nullptr;
  if (&::CRYPTO_get_thread_local != nullptr) {
    state = ::CRYPTO_get_thread_local(kIndex);
  } else if (&bssl::CRYPTO_get_thread_local != nullptr) {
    state = bssl::CRYPTO_get_thread_local(bssl::thread_local_data_t{kIndex});
  }
  return static_cast<const uint8_t*>(state);
}

// What knows all random bytes to come lies where keys do, in every thread, and ends with it.
TEST(RandomTest, StateLiesInSecretMemoryAndIsWiped) {
  ASSERT_TRUE(InitialiseVault());
  constexpr size_t kAtLeast = 48;  // a key and a counter
  for (int i = 0; i < 3; ++i) {
    const uint8_t* state = nullptr;
    std::thread([&] {
      EXPECT_EQ(StateOfThisThread(), nullptr);
      std::array<uint8_t, 16> block;
      EXPECT_TRUE(RandomBytes(block));
      state = StateOfThisThread();
      ASSERT_NE(state, nullptr);
      EXPECT_TRUE(LibraryHeap().Owns(state));
      EXPECT_GE(LibraryHeap().SizeOf(const_cast<uint8_t*>(state)), kAtLeast);
      EXPECT_FALSE(IsZero({state, kAtLeast}));
      const auto mapping = MappingOf(state);
      ASSERT_TRUE(mapping);
      EXPECT_TRUE(mapping->IsSecretmem()) << mapping->name;
      for (const char* flag : {"lo", "dd", "dc"}) EXPECT_TRUE(mapping->HasFlag(flag)) << flag;
    }).join();
    if (state == nullptr) return;
    const auto after = MappingOf(state);
    const bool there = after && after->IsSecretmem();
    EXPECT_TRUE(!there || IsZero({state, kAtLeast}));
  }
}

// ForbidGetrandom has the kernel refuse it to this process, its threads and children.
bool ForbidGetrandom() {
  sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getrandom, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  sock_fprog program = {std::size(code), code};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) == 0;
}

bool RefusedForRandom(const auto& result) {
  return !result && result.error().code == VaultErrc::kNoRandom;
}

// X25519 with a key that is there, which draws nothing.
bool Derives(const Vault& key) {
  std::array<uint8_t, 32> out;
  return key
      .WithSecret<32>(
          [&](SecretView<32> secret) { X25519_public_from_private(out.data(), secret.data()); })
      .has_value();
}

// A process may lock itself up after C_Initialize. BoringSSL, which wants new entropy every 4096
// calls and in each thread, ends the process where it gets none.
TEST(RandomTest, GetrandomForbiddenLaterIsAnErrorAndEndsNothing) {
  ASSERT_TRUE(InitialiseVault());
  EXPECT_EQ(
      InChild([] {
        std::array<uint8_t, 16> block;
        if (!InitialiseVault() || !RandomBytes(block)) return 1;
        const auto key = Vault::New(32);
        if (!key || !ForbidGetrandom()) return 2;
        int drawn = 0;
        while (drawn < 5000 && RandomBytes(block)) ++drawn;
        // It went on with what it had, then was refused, and is from then on.
        if (drawn < 4000 || drawn > 4100) return 3;
        if (!RefusedForRandom(RandomBytes(block))) return 8;
        if (!Derives(*key)) return 4;
        if (!RefusedForRandom(InitialiseVault())) return 5;
        bool refused = false;
        std::thread([&] {
          refused = RefusedForRandom(RandomBytes(block)) &&
                    RefusedForRandom(Vault::CopyOf(block)) && RefusedForRandom(RandomBytes(block));
        }).join();
        if (!refused) return 6;
        // After a fork it would reseed.
        return InChild([&] { return RefusedForRandom(RandomBytes(block)) ? 0 : 1; }) == 0 ? 0 : 7;
      }),
      0);
}

}  // namespace
}  // namespace secretmem
