#include "vault/canary.h"

#include <gtest/gtest.h>

#include <csignal>
#include <cstdint>
#include <utility>
#include <vector>

#include "vault/secret_heap.h"
#include "vault/secret_memory.h"
#include "vault/secret_stack.h"
#include "vault/vault.h"
#include "vault_testing.h"

namespace secretmem {
namespace {

bool IsDamage(const auto& result) { return !result && result.error().code == VaultErrc::kDamaged; }

// Everything that would use a key is refused, and nothing crashes.
bool EverythingIsRefused(const Vault& key) {
  return IsDamage(Vault::New(32)) && IsDamage(OnSecretStack([] {})) &&
         IsDamage(key.WithSecret([](std::span<const uint8_t>) {})) && IsDamage(InitialiseVault());
}

uint8_t* AddressOf(Vault& vault) {
  uintptr_t at = 0;
  (void)vault.WriteSecret(
      [&](std::span<uint8_t> bytes) { at = reinterpret_cast<uintptr_t>(bytes.data()); });
  return reinterpret_cast<uint8_t*>(at);
}

// Overwrites |count| bytes of a bug's making. Volatile, as the compiler can see that they are not
// the vault's.
void Overwrite(volatile uint8_t* at, size_t count) {
  // Any fixed byte is at times what was there: canaries are random.
  for (size_t i = 0; i < count; ++i) at[i] = static_cast<uint8_t>(~at[i]);
}

class PageCanaryTest : public testing::TestWithParam<size_t> {};

// What is written over the end of the page, or before its start, shows when a key goes.
TEST_P(PageCanaryTest, WritingBeforeTheKeysIsFoundWhenOneGoes) {
  EXPECT_EQ(InChild([] {
              if (!InitialiseVault()) return 1;
              auto key = Vault::New(GetParam());
              auto other = Vault::New(GetParam());
              if (!key || !other) return 2;
              const auto page = reinterpret_cast<uintptr_t>(AddressOf(*key)) & ~uintptr_t{4095};
              Overwrite(reinterpret_cast<uint8_t*>(page), 1);
              if (!key->WithSecret([](std::span<const uint8_t>) {})) return 3;
              { const Vault goes = std::move(*key); }
              return EverythingIsRefused(*other) ? 0 : 4;
            }),
            0);
}

TEST_P(PageCanaryTest, WritingOverTheEndIsFoundByTrimming) {
  EXPECT_EQ(InChild([] {
              if (!InitialiseVault()) return 1;
              auto key = Vault::New(GetParam());
              if (!key) return 2;
              const auto at = reinterpret_cast<uintptr_t>(AddressOf(*key));
              const uintptr_t end = (at + GetParam() + kCanaryBytes + 4095) & ~uintptr_t{4095};
              Overwrite(reinterpret_cast<uint8_t*>(end - 1), 1);
              TrimVault();
              return EverythingIsRefused(*key) ? 0 : 3;
            }),
            0);
}

INSTANTIATE_TEST_SUITE_P(Sizes, PageCanaryTest, testing::Values(1, 32, 2032, 5000, 100'000));

TEST(CanaryTest, WritingAboveOrBelowAStackFailsItsBorrow) {
  if (kAddressSanitizer) GTEST_SKIP() << "its frames are laid out otherwise";
  for (const bool above : {false, true}) {
    EXPECT_EQ(InChild([&] {
                if (!InitialiseVault()) return 1;
                auto key = Vault::New(32);
                if (!key) return 2;
                const auto ran = OnSecretStack([&] {
                  const auto mapping = MappingOf(__builtin_frame_address(0));
                  Overwrite(reinterpret_cast<uint8_t*>(above ? mapping->high - 64 : mapping->low),
                            1);
                });
                if (!IsDamage(ran)) return 3;
                return EverythingIsRefused(*key) ? 0 : 4;
              }),
              0)
        << above;
  }
}

// Beyond the canaries are inaccessible addresses: the fault really happens.
TEST(CanaryTest, WritingFurtherFaults) {
  if (kSanitized) GTEST_SKIP() << "the handler turns the fault into a report";
  for (const bool before : {false, true}) {
    EXPECT_EQ(InChild([&] {
                if (!InitialiseVault()) return 1;
                auto key = Vault::New(32);
                if (!key) return 2;
                const auto mapping = MappingOf(AddressOf(*key));
                Overwrite(reinterpret_cast<uint8_t*>(before ? mapping->low - 1 : mapping->high), 1);
                return 3;
              }),
              SIGSEGV)
        << before;
  }
}

TEST(CanaryTest, KeysAreAsDenseAsBefore) {
  ASSERT_TRUE(InitialiseVault());
  std::vector<Vault> keys;
  const size_t before = KeyHeap().mapped_bytes();
  for (int i = 0; i < 10'000; ++i) keys.push_back(Vault::New(32).value());
  EXPECT_LE(KeyHeap().mapped_bytes() - before, size_t{10'000} * 33 + SecretHeap::kChunkBytes);
}

}  // namespace
}  // namespace secretmem
