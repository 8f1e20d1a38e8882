#include "vault/secret_memory.h"

#include <gtest/gtest.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <vector>

#include "vault/secret_stack.h"
#include "vault/vault.h"
#include "vault_testing.h"

namespace secretmem {
namespace {

constexpr size_t kPage = 4096;

const uint8_t* Bytes(const std::byte* at) { return reinterpret_cast<const uint8_t*>(at); }

// Makes the system call |number| fail with |error| in this process from now on.
void Forbid(uint32_t number, uint32_t error) {
  sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog program = {4, filter};
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

TEST(SecretMemoryTest, MapsZeroesUnmaps) {
  const auto before = Descriptors();
  const SecretSpy spy;
  auto at = ReserveAddresses(16 * kPage);
  ASSERT_TRUE(at);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(*at) % 65536, 0u);
  EXPECT_EQ(MappingOf(*at)->permissions, "---p");

  ASSERT_TRUE(MapSecret(*at + kPage, 2 * kPage));
  EXPECT_EQ(Descriptors(), before);
  const auto mapping = MappingOf(*at + kPage);
  EXPECT_TRUE(mapping->IsSecretmem()) << mapping->name;
  EXPECT_EQ(mapping->low, reinterpret_cast<uintptr_t>(*at + kPage));
  EXPECT_EQ(mapping->high, mapping->low + 2 * kPage);
  EXPECT_EQ(mapping->permissions, "rw-s");
  for (const char* flag : SecretFlags()) EXPECT_TRUE(mapping->HasFlag(flag)) << flag;
  const auto seen = spy.Look(*at + kPage, 2 * kPage);
  ASSERT_EQ(seen.size(), 2 * kPage);
  EXPECT_TRUE(IsZero(seen));
  memset(*at + kPage, 0x31, 2 * kPage);
  EXPECT_EQ(seen.front(), 0x31);
  EXPECT_EQ(seen.back(), 0x31);
  EXPECT_TRUE(DiesTouching(*at + kPage - 1));
  EXPECT_TRUE(DiesTouching(*at + 3 * kPage));

  UnmapSecret(*at + kPage, 2 * kPage);
  EXPECT_EQ(MappingOf(*at + kPage)->permissions, "---p");
  EXPECT_TRUE(DiesTouching(*at + kPage));
}

TEST(SecretMemoryTest, ProbesLeaveNothing) {
  const auto descriptors = Descriptors();
  const size_t mappings = SecretMappings().size();
  EXPECT_TRUE(ProbeSecretMemory());
  EXPECT_TRUE(ProbeRandom());
  EXPECT_EQ(Descriptors(), descriptors);
  EXPECT_EQ(SecretMappings().size(), mappings);
}

TEST(SecretMemoryTest, MappingForTheChildIsInheritedUntilMoved) {
  auto copy = MapSecretForChild(2 * kPage);
  ASSERT_TRUE(copy);
  EXPECT_FALSE(MappingOf(*copy)->HasFlag("dc"));
  memset(*copy, 0x21, kPage);
  memset(*copy + kPage, 0x22, kPage);
  auto at = ReserveAddresses(2 * kPage);
  ASSERT_TRUE(at);
  // Page by page, in another order.
  ASSERT_TRUE(MoveSecret(*copy, kPage, *at + kPage));
  ASSERT_TRUE(MoveSecret(*copy + kPage, kPage, *at));
  EXPECT_EQ(*Bytes(*at), 0x22);
  EXPECT_EQ(*Bytes(*at + kPage), 0x21);
  EXPECT_TRUE(MappingOf(*at)->IsSecretmem());
  EXPECT_TRUE(MappingOf(*at)->HasFlag("dc"));
}

TEST(SecretMemoryTest, FailedMappingLeavesTheAddressesReserved) {
  const int status = InChild([] {
    LimitLockedMemory(4 * kPage);
    auto at = ReserveAddresses(16 * kPage);
    if (!at) return 1;
    const auto mapped = MapSecret(*at, 16 * kPage);
    if (mapped || mapped.error() != VaultError{VaultErrc::kMemoryLockLimit, EAGAIN}) return 2;
    if (MappingOf(*at)->permissions != "---p") return 3;
    if (!MapSecret(*at, 4 * kPage)) return 4;
    const auto probed = ProbeSecretMemory();
    return probed || probed.error().code != VaultErrc::kMemoryLockLimit ? 5 : 0;
  });
  EXPECT_EQ(status, 0);
}

TEST(SecretMemoryTest, NoDescriptorsLeft) {
  const int status = InChild([] {
    const rlimit none = {0, 0};
    setrlimit(RLIMIT_NOFILE, &none);
    const auto probed = ProbeSecretMemory();
    return !probed && probed.error() == VaultError{VaultErrc::kOutOfMemory, EMFILE} ? 0 : 1;
  });
  EXPECT_EQ(status, 0);
}

TEST(SecretMemoryTest, MissingAndForbiddenCallsAreToldApart) {
  struct Case {
    uint32_t call;
    uint32_t error;
    VaultError expected;
  };
  for (const Case& its : {Case{447, ENOSYS, {VaultErrc::kUnsupported, ENOSYS}},
                          Case{447, EPERM, {VaultErrc::kForbidden, EPERM}},
                          Case{447, EACCES, {VaultErrc::kForbidden, EACCES}},
                          Case{SYS_getrandom, EPERM, {VaultErrc::kNoRandom, EPERM}},
                          Case{SYS_getrandom, ENOSYS, {VaultErrc::kNoRandom, ENOSYS}}}) {
    const int status = InChild([&] {
      Forbid(its.call, its.error);
      const auto initialised = InitialiseVault();
      if (initialised || initialised.error() != its.expected) return 1;
      // Nothing else lets BoringSSL end the process either.
      bool called = false;
      const auto ran = OnSecretStack([&] { called = true; });
      return !ran && ran.error() == its.expected && !called ? 0 : 2;
    });
    EXPECT_EQ(status, 0) << its.call << " " << its.error;
  }
}

TEST(SecretMemoryTest, LockedFallbackIsLockedAndNotDumped) {
  if (kSanitized) GTEST_SKIP() << "the sanitizers make mlock(2) do nothing";
  const int status = InChild([] {
    ConfigureMemory({.protection = Protection::kLocked});
    if (CurrentProtection() != Protection::kLocked) return 1;
    Forbid(447, ENOSYS);
    if (!InitialiseVault()) return 2;
    auto vault = Vault::New(32);
    if (!vault) return 3;
    uintptr_t place = 0;
    if (!vault->WithSecret([&](std::span<const uint8_t> bytes) {
          place = reinterpret_cast<uintptr_t>(bytes.data());
        })) {
      return 4;
    }
    const auto mapping = MappingOf(reinterpret_cast<const void*>(place));
    for (const char* flag : {"lo", "dd", "dc"}) {
      if (!mapping->HasFlag(flag)) return 5;
    }
    // The child of a child has its library heap, locked again.
    return InChild([] { return Vault::New(32) && OnSecretStack([] {}) ? 0 : 1; }) == 0 ? 0 : 6;
  });
  EXPECT_EQ(status, 0);
}

TEST(SecretMemoryTest, LockedFallbackKnowsItsLimit) {
  if (kSanitized) GTEST_SKIP() << "the sanitizers make mlock(2) do nothing";
  const int status = InChild([] {
    ConfigureMemory({.protection = Protection::kLocked});
    LimitLockedMemory(4 * kPage);
    auto at = ReserveAddresses(16 * kPage);
    if (!at) return 1;
    const auto mapped = MapSecret(*at, 16 * kPage);
    if (mapped || mapped.error().code != VaultErrc::kMemoryLockLimit) return 2;
    return MappingOf(*at)->permissions == "---p" ? 0 : 3;
  });
  EXPECT_EQ(status, 0);
}

TEST(SecretMemoryTest, EveryErrorHasItsSentence) {
  std::vector<std::string> sentences;
  for (int code = 0; code <= static_cast<int>(VaultErrc::kCrypto); ++code) {
    sentences.push_back(Describe(static_cast<VaultErrc>(code)));
  }
  EXPECT_EQ(sentences.size(), 9u);
  std::ranges::sort(sentences);
  EXPECT_EQ(std::ranges::adjacent_find(sentences), sentences.end());
  EXPECT_EQ(std::ranges::count(sentences, "unknown error"), 0);
}

}  // namespace
}  // namespace secretmem
