#include "vault/vault.h"

#include <gtest/gtest.h>
#include <openssl/curve25519.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <thread>
#include <vector>

#include "vault/fork_gate.h"
#include "vault/secret_heap.h"
#include "vault_testing.h"

namespace secretmem {
namespace {

using PublicKey = std::array<uint8_t, 32>;
constexpr VaultError kWrong = {VaultErrc::kWrongSize};

// Where the bytes are; what no code but a test may do.
const uint8_t* PlaceOf(const Vault& vault) {
  uintptr_t place = 0;
  EXPECT_TRUE(vault.WithSecret(
      [&](std::span<const uint8_t> bytes) { place = reinterpret_cast<uintptr_t>(bytes.data()); }));
  return reinterpret_cast<const uint8_t*>(place);
}

Vault Filled(size_t size, uint8_t byte) {
  auto vault = Vault::New(size);
  EXPECT_TRUE(vault);
  EXPECT_TRUE(
      vault->WriteSecret([&](std::span<uint8_t> bytes) { std::ranges::fill(bytes, byte); }));
  return std::move(*vault);
}

bool Holds(const Vault& vault, size_t size, uint8_t byte) {
  return vault
      .WithSecret([&](std::span<const uint8_t> bytes) {
        return bytes.size() == size && std::ranges::count(bytes, byte) == std::ssize(bytes);
      })
      .value();
}

std::pair<Vault, PublicKey> NewPair() {
  auto vault = Vault::New(32);
  PublicKey public_key;
  EXPECT_TRUE(vault->WriteSecret<32>(
      [&](WritableSecretView<32> key) { X25519_keypair(public_key.data(), key.data()); }));
  return {std::move(*vault), public_key};
}

class VaultTest : public testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(InitialiseVault()); }
};

TEST_F(VaultTest, NewVaultIsZero) {
  for (const size_t size : {1, 31, 32, 33, 4096, 65536, 65537, 1 << 20}) {
    const auto vault = Vault::New(size);
    ASSERT_TRUE(vault) << size;
    EXPECT_EQ(vault->size(), size);
    EXPECT_TRUE(Holds(*vault, size, 0)) << size;
  }
  const auto none = Vault::New(0);
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error(), kWrong);
}

TEST_F(VaultTest, NewRefusesAbsurdSizes) {
  for (const size_t size : {size_t{1} << 40, ~size_t{0}, ~size_t{0} - 4096}) {
    const auto vault = Vault::New(size);
    ASSERT_FALSE(vault);
    EXPECT_EQ(vault.error().code, VaultErrc::kOutOfMemory);
  }
}

TEST_F(VaultTest, WrittenBytesReadBack) {
  auto vault = Vault::New(32);
  ASSERT_TRUE(vault);
  EXPECT_TRUE(vault->WriteSecret<32>([](WritableSecretView<32> bytes) {
    for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(i * 7 + 1);
  }));
  std::array<uint8_t, 32> read = {};
  EXPECT_TRUE(
      vault->WithSecret<32>([&](SecretView<32> bytes) { std::ranges::copy(bytes, read.begin()); }));
  std::array<uint8_t, 32> expected;
  for (size_t i = 0; i < expected.size(); ++i) expected[i] = static_cast<uint8_t>(i * 7 + 1);
  EXPECT_EQ(read, expected);
}

TEST_F(VaultTest, CopyOfTakesAllBytes) {
  std::vector<uint8_t> bytes(5000);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(i * i >> 3);
  const auto vault = Vault::CopyOf(bytes);
  ASSERT_TRUE(vault);
  EXPECT_EQ(vault->WithSecret(
                [&](std::span<const uint8_t> its) { return std::ranges::equal(its, bytes); }),
            VaultResult<bool>(true));
  EXPECT_EQ(Vault::CopyOf({}).error(), kWrong);
}

TEST_F(VaultTest, AnotherSizeIsRefusedWithoutACall) {
  for (const size_t size : {1, 31, 33, 64}) {
    Vault vault = Filled(size, 1);
    bool called = false;
    EXPECT_EQ(vault.WithSecret<32>([&](SecretView<32>) { called = true; }),
              VaultResult<void>(std::unexpected(kWrong)));
    EXPECT_EQ(vault.WriteSecret<32>([&](WritableSecretView<32>) {
      called = true;
      return 1;
    }),
              VaultResult<int>(std::unexpected(kWrong)));
    EXPECT_FALSE(called) << size;
  }
}

TEST_F(VaultTest, AnswersComeOutAsTheyAre) {
  const Vault vault = Filled(2, 3);
  const auto sum = [](std::span<const uint8_t> bytes) { return bytes[0] + bytes[1]; };
  EXPECT_EQ(vault.WithSecret(sum), VaultResult<int>(6));
  EXPECT_EQ(vault.WithSecret([](std::span<const uint8_t>) -> VaultResult<int> { return 5; }),
            VaultResult<int>(5));
  const VaultError error = {VaultErrc::kCrypto, 7};
  EXPECT_EQ(vault.WithSecret([&](std::span<const uint8_t>) -> VaultResult<int> {
    return std::unexpected(error);
  }),
            VaultResult<int>(std::unexpected(error)));
  EXPECT_THROW((void)vault.WithSecret([](std::span<const uint8_t>) -> int { throw 17; }), int);
  EXPECT_EQ(vault.WithSecret(sum), VaultResult<int>(6));
}

TEST_F(VaultTest, MovesAreMoves) {
  Vault first = Filled(32, 0xa1);
  const uint8_t* place = PlaceOf(first);
  Vault second(std::move(first));
  EXPECT_EQ(PlaceOf(second), place);
  EXPECT_TRUE(Holds(second, 32, 0xa1));
  // NOLINTBEGIN(bugprone-use-after-move): what is left must be harmless.
  EXPECT_EQ(first.size(), 0u);
  bool called = false;
  EXPECT_EQ(first.WithSecret([&](std::span<const uint8_t>) { called = true; }),
            VaultResult<void>(std::unexpected(kWrong)));
  EXPECT_FALSE(called);
  first = std::move(second);
  EXPECT_TRUE(Holds(first, 32, 0xa1));
  Vault& same = first;
  first = std::move(same);
  EXPECT_TRUE(Holds(first, 32, 0xa1));
  // NOLINTEND
}

TEST_F(VaultTest, AssignmentDestroysWhatItReplaces) {
  Vault target = Filled(48, 0xb1);
  Vault source = Filled(32, 0xb2);
  target = std::move(source);
  EXPECT_TRUE(Holds(target, 32, 0xb2));
  EXPECT_EQ(source.size(), 0u);  // NOLINT(bugprone-use-after-move)
}

TEST_F(VaultTest, BorrowsNest) {
  Vault first = Filled(32, 1);
  Vault second = Filled(32, 2);
  const auto copied = first.WriteSecret<32>([&](WritableSecretView<32> to) {
    return second.WithSecret<32>([&](SecretView<32> from) { std::ranges::copy(from, to.begin()); });
  });
  EXPECT_TRUE(copied);
  EXPECT_TRUE(Holds(first, 32, 2));
}

TEST_F(VaultTest, GeneratedKeyYieldsItsPublicKey) {
  const auto [vault, public_key] = NewPair();
  PublicKey computed = {};
  EXPECT_TRUE(vault.WithSecret<32>(
      [&](SecretView<32> key) { X25519_public_from_private(computed.data(), key.data()); }));
  EXPECT_EQ(computed, public_key);
}

TEST_F(VaultTest, FreshPairsAgree) {
  const auto [vault_a, public_a] = NewPair();
  const auto [vault_b, public_b] = NewPair();
  EXPECT_NE(public_a, public_b);
  const auto secret = [](const Vault& vault, const PublicKey& peer) {
    std::array<uint8_t, 32> shared = {};
    EXPECT_EQ(vault.WithSecret<32>([&](SecretView<32> key) {
      return X25519(shared.data(), key.data(), peer.data()) == 1;
    }),
              VaultResult<bool>(true));
    return shared;
  };
  EXPECT_EQ(secret(vault_a, public_b), secret(vault_b, public_a));
  EXPECT_FALSE(IsZero(secret(vault_a, public_b)));
}

TEST_F(VaultTest, LivesInSecretmemThatNobodyElseSees) {
  TrimVault();
  const SecretSpy spy;
  const Vault vault = Filled(32, 0x5a);
  const uint8_t* place = PlaceOf(vault);

  const auto mapping = MappingOf(place);
  ASSERT_TRUE(mapping);
  EXPECT_TRUE(mapping->IsSecretmem()) << mapping->name;
  EXPECT_EQ(mapping->permissions, "rw-s");
  for (const char* flag : SecretFlags()) {
    EXPECT_TRUE(mapping->HasFlag(flag)) << flag << " of" << mapping->flags;
  }
  const auto file = spy.FileOf(place);
  ASSERT_TRUE(file) << "not the mapping of a secretmem file";
  EXPECT_EQ(file->magic, 0x5345434d);
  EXPECT_TRUE(std::ranges::all_of(spy.Look(place, 32), [](uint8_t byte) { return byte == 0x5a; }));

  // The control: the same calls do read ordinary memory.
  const uint8_t ordinary = 1;
  EXPECT_TRUE(ProcMemReads(getpid(), &ordinary));
  EXPECT_TRUE(ProcessVmReads(getpid(), &ordinary));
  EXPECT_FALSE(ProcMemReads(getpid(), place));
  EXPECT_FALSE(ProcessVmReads(getpid(), place));
  // And so from another process, root perhaps.
  const pid_t self = getpid();
  EXPECT_EQ(InChild([&] {
              return (ProcMemReads(self, place) ? 1 : 0) + (ProcessVmReads(self, place) ? 2 : 0);
            }),
            0);
}

TEST_F(VaultTest, BytesAreZeroAfterDestruction) {
  TrimVault();
  const SecretSpy spy;
  for (const size_t size : {1, 32, 2049, 70000}) {
    std::span<const uint8_t> seen;
    {
      const Vault vault = Filled(size, 0x77);
      seen = spy.Look(PlaceOf(vault), size);
      ASSERT_EQ(seen.size(), size);
      EXPECT_EQ(std::ranges::count(seen, 0x77), std::ssize(seen));
    }
    EXPECT_TRUE(IsZero(seen)) << size;
  }
}

TEST_F(VaultTest, AssignedOverBytesAreZero) {
  TrimVault();
  const SecretSpy spy;
  Vault target = Filled(32, 0x78);
  Vault source = Filled(32, 0x79);
  const auto seen = spy.Look(PlaceOf(target), 32);
  ASSERT_EQ(seen.size(), 32u);
  EXPECT_FALSE(IsZero(seen));
  target = std::move(source);
  EXPECT_TRUE(IsZero(seen));
}

TEST_F(VaultTest, BytesAreZeroAfterAnExceptionInABorrow) {
  TrimVault();
  const SecretSpy spy;
  std::span<const uint8_t> seen;
  const auto run = [&] {
    auto vault = Vault::New(32);
    (void)vault->WriteSecret([&](std::span<uint8_t> bytes) {
      std::ranges::fill(bytes, uint8_t{0x66});
      throw 1;
    });
  };
  {
    const Vault place_holder = Filled(32, 1);
    seen = spy.Look(PlaceOf(place_holder), 32);
    ASSERT_EQ(seen.size(), 32u);
  }
  EXPECT_THROW(run(), int);
  EXPECT_TRUE(IsZero(seen));
}

TEST_F(VaultTest, NoDescriptorStaysOpen) {
  const auto before = Descriptors();
  const Vault small = Filled(32, 1);
  const Vault large = Filled(100000, 1);
  std::thread([] { (void)NewPair(); }).join();
  EXPECT_EQ(Descriptors(), before);
}

TEST_F(VaultTest, GuardsLieAroundVaults) {
  for (const size_t size : {32, 70000}) {
    const Vault vault = Filled(size, 1);
    const auto mapping = MappingOf(PlaceOf(vault));
    ASSERT_TRUE(mapping);
    const auto* low = reinterpret_cast<const uint8_t*>(mapping->low);
    const auto* high = reinterpret_cast<const uint8_t*>(mapping->high);
    EXPECT_FALSE(DiesTouching(low)) << size;
    EXPECT_FALSE(DiesTouching(high - 1)) << size;
    for (const size_t distance : {size_t{1}, size_t{4096}, size_t{60000}}) {
      EXPECT_TRUE(DiesTouching(low - distance)) << size << " " << distance;
      EXPECT_TRUE(DiesTouching(high + distance - 1)) << size << " " << distance;
    }
  }
}

TEST_F(VaultTest, ForkedChildCannotReadIt) {
  const Vault vault = Filled(32, 0x42);
  const volatile uint8_t* place = PlaceOf(vault);
  const auto read = [&] {
    const sigset_t none = {};
    sigprocmask(SIG_SETMASK, &none, nullptr);
    signal(SIGSEGV, SIG_DFL);
    return *place == 0x42 ? 1 : 2;
  };
  for (const int status : {InChild(read), InRawChild(read)}) {
    ASSERT_TRUE(WIFSIGNALED(status)) << status;
    EXPECT_EQ(WTERMSIG(status), SIGSEGV);
  }
  EXPECT_TRUE(Holds(vault, 32, 0x42));
}

TEST_F(VaultTest, ForkedChildHasEmptyShells) {
  Vault vault = Filled(32, 0x42);
  const auto use = [&] {
    bool called = false;
    const auto got = vault.WithSecret([&](std::span<const uint8_t>) { called = true; });
    if (called || got || got.error() != VaultError{VaultErrc::kForked}) return 1;
    const auto written = vault.WriteSecret<32>([&](WritableSecretView<32>) { called = true; });
    if (called || written || written.error() != VaultError{VaultErrc::kForked}) return 2;
    const Vault dying(std::move(vault));
    return 0;
  };
  EXPECT_EQ(InChild(use), 0);
  EXPECT_EQ(InRawChild(use), 0);
  EXPECT_TRUE(Holds(vault, 32, 0x42));
}

TEST_F(VaultTest, ChildsVaultsAreItsOwn) {
  const Vault parents = Filled(32, 0x42);
  EXPECT_EQ(InChild([&] {
              if (!InitialiseVault()) return 1;
              const Vault own = Filled(32, 0x43);
              if (!Holds(own, 32, 0x43)) return 2;
              // And a grandchild's.
              return InChild([&] {
                const auto fresh = Vault::New(16);
                return fresh && Holds(*fresh, 16, 0) && !own.WithSecret([](auto) {}) ? 0 : 1;
              });
            }),
            0);
  EXPECT_TRUE(Holds(parents, 32, 0x42));
}

TEST_F(VaultTest, MemoryLockLimitIsAnErrorAndEarlierVaultsWork) {
  const int status = InChild([] {
    LimitLockedMemory(size_t{1} << 20);
    if (!InitialiseVault()) return 1;
    const Vault early = Filled(32, 0x11);
    std::vector<Vault> vaults;
    VaultError error = {};
    for (int i = 0; i < 1000; ++i) {
      auto vault = Vault::New(4096);
      if (!vault) {
        error = vault.error();
        break;
      }
      vaults.push_back(std::move(*vault));
    }
    if (error.code != VaultErrc::kMemoryLockLimit) return 2;
    if (vaults.size() < 100) return 3;
    if (!Holds(early, 32, 0x11)) return 4;
    for (const Vault& vault : vaults) {
      if (!Holds(vault, 4096, 0)) return 5;
    }
    // Threads that never used a vault before do with what there is.
    int wrong = 0;
    std::thread([&] { wrong = Holds(early, 32, 0x11) ? 0 : 1; }).join();
    if (wrong != 0) return 6;
    // An X25519 needs no new mapping, neither of the key heap nor of BoringSSL's.
    PublicKey public_key;
    const auto derived = early.WithSecret<32>(
        [&](SecretView<32> key) { X25519_public_from_private(public_key.data(), key.data()); });
    if (!derived) return 7;
    // What is given back can be had again.
    vaults.clear();
    return Vault::New(4096) ? 0 : 8;
  });
  EXPECT_EQ(status, 0) << WEXITSTATUS(status);
}

}  // namespace
}  // namespace secretmem
