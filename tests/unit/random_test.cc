#include "vault/random.h"

#include <gtest/gtest.h>

#include <array>
#include <set>
#include <thread>
#include <vector>

#include "vault/secret_stack.h"

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

}  // namespace
}  // namespace secretmem
