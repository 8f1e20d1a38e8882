// What the configuration's memory options do to vaults. Options are set once in a process, so each
// test has a child of its own.

#include <errno.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>

#include "tests/unit/vault_testing.h"
#include "vault/secret_stack.h"
#include "vault/vault.h"

namespace secretmem {
namespace {

constexpr uint8_t kByte = 0x5a;

// VaultOf makes a vault of 32 times kByte under |options|.
std::optional<Vault> VaultOf(const MemoryOptions& options) {
  ConfigureVault(options);
  if (!InitialiseVault()) return std::nullopt;
  auto vault = Vault::New(32);
  if (!vault) return std::nullopt;
  if (!vault->WriteSecret([](std::span<uint8_t> bytes) { std::ranges::fill(bytes, kByte); })) {
    return std::nullopt;
  }
  return std::move(*vault);
}

// AddressOf lets the address out of a borrow, which only a test may do.
const uint8_t* AddressOf(const Vault& vault) {
  uintptr_t address = 0;
  (void)vault.WithSecret(
      [&](std::span<const uint8_t> bytes) { address = reinterpret_cast<uintptr_t>(bytes.data()); });
  return reinterpret_cast<const uint8_t*>(address);
}

bool Holds(const Vault& vault) {
  return vault
      .WithSecret([](std::span<const uint8_t> bytes) {
        return std::ranges::all_of(bytes, [](uint8_t byte) { return byte == kByte; });
      })
      .value_or(false);
}

TEST(MemoryOptionsTest, WithoutThemTheProcessReadsItsVaults) {
  EXPECT_EQ(InChild([] {
              const auto vault = VaultOf({});
              if (!vault || !Holds(*vault)) return 1;
              return DiesTouching(AddressOf(*vault)) ? 2 : 0;
            }),
            0);
}

TEST(MemoryOptionsTest, MprotectClosesVaultsOutsideOfBorrows) {
  if (kAddressSanitizer) GTEST_SKIP() << "its handler turns the fault into a report";
  EXPECT_EQ(InChild([] {
              const auto vault = VaultOf({.at_rest = AtRest::kMprotect});
              if (!vault || !Holds(*vault)) return 1;
              if (!DiesTouching(AddressOf(*vault))) return 2;
              if (MappingOf(AddressOf(*vault))->permissions != "---s") return 3;
              // It opens again, and a second vault can be made and wiped.
              if (!Holds(*vault) || !Vault::New(48)) return 4;
              return 0;
            }),
            0);
}

TEST(MemoryOptionsTest, ProtectionKeysCloseVaultsOutsideOfBorrows) {
  const int key = pkey_alloc(0, 0);
  if (key < 0) GTEST_SKIP() << "this processor has no protection keys";
  pkey_free(key);
  EXPECT_EQ(InChild([] {
              const auto vault = VaultOf({.at_rest = AtRest::kPkey});
              if (!vault || !Holds(*vault)) return 1;
              return DiesTouching(AddressOf(*vault)) ? 0 : 2;
            }),
            0);
}

TEST(MemoryOptionsTest, WithoutProtectionKeysTheAnswerSaysSo) {
  const int key = pkey_alloc(0, 0);
  if (key >= 0) {
    pkey_free(key);
    GTEST_SKIP() << "this processor has protection keys";
  }
  EXPECT_EQ(InChild([] {
              return ConfigureVault({.at_rest = AtRest::kPkey}).at_rest == AtRest::kNone ? 0 : 1;
            }),
            0);
}

TEST(MemoryOptionsTest, APageForEachVaultHasNothingBesideIt) {
  EXPECT_EQ(InChild([] {
              const auto first = VaultOf({.page_per_vault = true});
              const auto second = Vault::New(32);
              if (!first || !second || !Holds(*first)) return 1;
              const auto mapping = MappingOf(AddressOf(*first));
              if (!mapping || !mapping->IsSecretmem()) return 2;
              if (mapping->high - mapping->low != 4096) return 3;
              for (const uintptr_t beside : {mapping->low - 1, mapping->high}) {
                if (MappingOf(reinterpret_cast<const void*>(beside))->permissions != "---p")
                  return 4;
              }
              return MappingOf(AddressOf(*second))->low == mapping->low ? 5 : 0;
            }),
            0);
}

TEST(MemoryOptionsTest, AVaultOfAWholeChunkIsAloneAndComesBack) {
  EXPECT_EQ(InChild([] {
              const auto first = VaultOf({.page_per_vault = true});
              if (!first) return 1;
              for (const size_t size : {size_t{61'441}, size_t{65'536}}) {
                auto large = Vault::New(size);
                const auto other = Vault::New(size);
                const auto small = Vault::New(32);
                if (!large || !other || !small) return 2;
                const auto low = MappingOf(AddressOf(*large))->low;
                if (MappingOf(AddressOf(*other))->low == low) return 3;
                if (MappingOf(AddressOf(*small))->low == low) return 4;
                (void)large->WriteSecret(
                    [](std::span<uint8_t> bytes) { std::ranges::fill(bytes, kByte); });
                const uint8_t* address = AddressOf(*large);
                large = Vault::New(32);
                // The region may be kept for the next one, but what was in it may not.
                if (MappingOf(address)->permissions == "rw-s" && !IsZero({address, size})) return 6;
              }
              return Holds(*first) ? 0 : 5;
            }),
            0);
}

TEST(MemoryOptionsTest, ADestroyedPageIsUnmapped) {
  EXPECT_EQ(InChild([] {
              auto vault = VaultOf({.page_per_vault = true});
              if (!vault) return 1;
              const uint8_t* address = AddressOf(*vault);
              vault.reset();
              return MappingOf(address)->permissions == "---p" ? 0 : 2;
            }),
            0);
}

TEST(MemoryOptionsTest, SealedRegionsCannotBeUnmapped) {
  constexpr long kMseal = 462;
  if (syscall(kMseal, nullptr, 0, 0) != 0) GTEST_SKIP() << "this kernel has no mseal(2)";
  EXPECT_EQ(InChild([] {
              auto vault = VaultOf({.seal = true});
              if (!vault) return 1;
              const auto mapping = MappingOf(AddressOf(*vault));
              void* low = reinterpret_cast<void*>(mapping->low);
              if (munmap(low, mapping->high - mapping->low) == 0 || errno != EPERM) return 2;
              if (mprotect(low, 4096, PROT_READ) == 0 || errno != EPERM) return 3;
              // Memory that cannot be given back is used again.
              vault.reset();
              TrimVault();
              const auto another = Vault::New(32);
              if (!another || MappingOf(AddressOf(*another))->low != mapping->low) return 4;
              return 0;
            }),
            0);
}

TEST(MemoryOptionsTest, AChildWorksUnderTheSameOptions) {
  EXPECT_EQ(InChild([] {
              const auto vault = VaultOf({.at_rest = AtRest::kMprotect, .page_per_vault = true});
              if (!vault || !Holds(*vault)) return 1;
              return InChild([&] {
                if (Holds(*vault) || !InitialiseVault()) return 2;
                const auto own = Vault::New(32);
                return own && own->WithSecret([](std::span<const uint8_t>) {}) ? 0 : 3;
              });
            }),
            0);
}

}  // namespace
}  // namespace secretmem
