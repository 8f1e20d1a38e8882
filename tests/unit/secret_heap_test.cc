#include "vault/secret_heap.h"

#include <gtest/gtest.h>
#include <openssl/mem.h>
#include <sys/wait.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "vault/canary.h"
#include "vault/fork_gate.h"
#include "vault/secret_memory.h"
#include "vault/vault.h"
#include "vault_testing.h"

namespace secretmem {
namespace {

constexpr size_t kPage = SecretHeap::kPage;
constexpr size_t kChunk = SecretHeap::kChunkBytes;

std::span<const uint8_t> At(const void* pointer, size_t size) {
  return {static_cast<const uint8_t*>(pointer), size};
}

class SecretHeapTest : public testing::Test {
 protected:
  void* Get(size_t size, uint32_t owner = 0) {
    auto got = heap_.Allocate(size, owner);
    EXPECT_TRUE(got) << size;
    return got ? *got : nullptr;
  }

  void SetUp() override { ASSERT_TRUE(InitialiseVault()); }

  SecretHeap heap_;
};

TEST_F(SecretHeapTest, SizesAtEveryEdge) {
  const ForkGuard guard;
  struct Slot {
    uint8_t* at;
    size_t size;
  };
  std::vector<Slot> slots;
  for (size_t size = 0; size <= 2100; ++size) {
    slots.push_back({static_cast<uint8_t*>(Get(size)), size});
  }
  for (const size_t size : {kPage - 1, kPage, kPage + 1, kChunk - kPage, kChunk - 1, kChunk,
                            kChunk + 1, 2 * kChunk, 3 * kChunk + 1, size_t{1} << 22}) {
    slots.push_back({static_cast<uint8_t*>(Get(size)), size});
  }
  for (const Slot& slot : slots) {
    EXPECT_EQ(reinterpret_cast<uintptr_t>(slot.at) % 16, 0u) << slot.size;
    EXPECT_TRUE(heap_.Owns(slot.at));
    const size_t room = heap_.SizeOf(slot.at);
    EXPECT_GE(room, slot.size);
    // No more is lost than the classes say: half, a granule, a page's rest.
    EXPECT_LE(room, slot.size + slot.size / 2 + 16 + (slot.size > 2032 ? kPage : 0)) << slot.size;
    EXPECT_TRUE(IsZero(At(slot.at, room))) << slot.size;
    memset(slot.at, 0xff, room);
  }
  std::ranges::sort(slots, {}, &Slot::at);
  for (size_t i = 0; i + 1 < slots.size(); ++i) {
    EXPECT_LE(slots[i].at + heap_.SizeOf(slots[i].at), slots[i + 1].at);
  }
  for (const Slot& slot : slots) heap_.Free(slot.at);
  heap_.Trim();
  EXPECT_EQ(heap_.mapped_bytes(), 0u);
  const int other = 0;
  EXPECT_FALSE(heap_.Owns(&other));
  EXPECT_FALSE(heap_.Owns(nullptr));
}

// Random work against a model.
class SecretHeapModelTest : public SecretHeapTest, public testing::WithParamInterface<unsigned> {
 protected:
  struct Slot {
    size_t size;
    uint32_t owner;
    uint8_t fill;
  };

  size_t DrawSize() {
    switch (random_() % 8) {
      case 0:
        return random_() % 17;
      case 1:
        return random_() % kPage;
      case 2:
        return random_() % (kChunk + 1);
      case 3:
        return random_() % 64 == 0 ? random_() % (4 * kChunk) : 32;
      default:
        return random_() % 512;
    }
  }

  void Add() {
    const size_t size = DrawSize();
    const auto owner = static_cast<uint32_t>(random_() % 4);
    auto* at = static_cast<uint8_t*>(Get(size, owner));
    const size_t room = heap_.SizeOf(at);
    ASSERT_GE(room, size);
    ASSERT_EQ(reinterpret_cast<uintptr_t>(at) % 16, 0u);
    ASSERT_TRUE(IsZero(At(at, room))) << size;
    const auto after = model_.lower_bound(at);
    if (after != model_.end()) {
      ASSERT_LE(at + room, after->first);
    }
    if (after != model_.begin()) {
      const auto before = std::prev(after);
      ASSERT_LE(before->first + before->second.size, at);
    }
    const auto fill = static_cast<uint8_t>(random_() % 255 + 1);
    memset(at, fill, room);
    model_[at] = {room, owner, fill};
    live_ += room;
  }

  void Check(uint8_t* at) {
    const Slot& slot = model_.at(at);
    ASSERT_EQ(std::ranges::count(At(at, slot.size), slot.fill),
              static_cast<std::ptrdiff_t>(slot.size));
    ASSERT_EQ(heap_.SizeOf(at), slot.size);
  }

  uint8_t* Any() {
    const auto from = model_.lower_bound(std::next(model_.begin())->first + random_() % (1 << 24));
    return from == model_.end() ? model_.begin()->first : from->first;
  }

  void Remove(uint8_t* at) {
    Check(at);
    live_ -= model_.at(at).size;
    heap_.Free(at);
    model_.erase(at);
  }

  std::mt19937 random_{GetParam()};
  std::map<uint8_t*, Slot> model_;
  size_t live_ = 0;
};

TEST_P(SecretHeapModelTest, BehavesAsTheModel) {
  const ForkGuard guard;
  const int steps = kSanitized ? 5000 : 30000;
  for (int i = 0; i < steps && !HasFatalFailure(); ++i) {
    // Waves: now more come, now more go.
    const bool growing = i / 2000 % 2 == 0 && live_ < (size_t{4} << 20);
    if (model_.size() < 2 || random_() % 8 < (growing ? 6u : 2u)) {
      Add();
    } else {
      Remove(Any());
    }
    if (random_() % 1000 == 0) heap_.Trim();
    if (random_() % 4000 == 0) {
      const auto keep = static_cast<uint32_t>(random_() % 4);
      heap_.FreeOthers(keep);
      std::erase_if(model_, [&](const auto& entry) {
        const bool freed = entry.second.owner != 0 && entry.second.owner != keep;
        if (freed) live_ -= entry.second.size;
        return freed;
      });
    }
    ASSERT_GE(heap_.mapped_bytes(), live_);
  }
  while (!model_.empty() && !HasFatalFailure()) Remove(model_.begin()->first);
  EXPECT_LE(heap_.mapped_bytes(), kChunk);
  heap_.Trim();
  EXPECT_EQ(heap_.mapped_bytes(), 0u);
}

INSTANTIATE_TEST_SUITE_P(Seeds, SecretHeapModelTest, testing::Range(1u, 6u));

TEST_F(SecretHeapTest, FreedBytesAreZeroForTheSpy) {
  const SecretSpy spy;
  const ForkGuard guard;
  void* keep = Get(32);
  for (const size_t size :
       {size_t{16}, size_t{32}, size_t{2048}, kPage, 3 * kPage, kChunk, kChunk + 1, 3 * kChunk}) {
    void* slot = Get(size);
    const size_t room = heap_.SizeOf(slot);
    const auto seen = spy.Look(slot, room);
    ASSERT_EQ(seen.size(), room);
    memset(slot, 0x3c, room);
    EXPECT_EQ(std::ranges::count(seen, 0x3c), static_cast<std::ptrdiff_t>(room));
    heap_.Free(slot);
    EXPECT_TRUE(IsZero(seen)) << size;
  }
  heap_.Free(keep);
  heap_.Trim();
}

TEST_F(SecretHeapTest, FreeOthersKeepsNobodysAndOnes) {
  const SecretSpy spy;
  const ForkGuard guard;
  struct Slot {
    uint8_t* at;
    size_t room;
    uint32_t owner;
    std::span<const uint8_t> seen;
  };
  std::vector<Slot> slots;
  for (const uint32_t owner : {0u, 1u, 2u, 3u}) {
    for (const size_t size :
         {size_t{1}, size_t{16}, size_t{100}, size_t{2048}, kPage, 5 * kPage, kChunk, 2 * kChunk}) {
      auto* at = static_cast<uint8_t*>(Get(size, owner));
      const size_t room = heap_.SizeOf(at);
      slots.push_back({at, room, owner, spy.Look(at, room)});
      ASSERT_EQ(slots.back().seen.size(), room);
      memset(at, 0xee, room);
    }
  }
  heap_.FreeOthers(2);
  for (const Slot& slot : slots) {
    if (slot.owner == 0 || slot.owner == 2) {
      EXPECT_EQ(std::ranges::count(slot.seen, 0xee), static_cast<std::ptrdiff_t>(slot.room));
      heap_.Free(slot.at);
    } else {
      EXPECT_TRUE(IsZero(slot.seen)) << slot.owner << " " << slot.room;
    }
  }
  heap_.Trim();
  EXPECT_EQ(heap_.mapped_bytes(), 0u);
}

TEST_F(SecretHeapTest, OwnersDoNotOutliveTheirSlots) {
  const ForkGuard guard;
  heap_.Free(Get(32, 7));
  void* slot = Get(32);
  memset(slot, 1, 32);
  heap_.FreeOthers(1);
  EXPECT_EQ(std::ranges::count(At(slot, 32), 1), 32);
  heap_.Free(slot);
  heap_.Trim();
}

TEST_F(SecretHeapTest, AMillionAllocationsAreGivenBack) {
  const ForkGuard guard;
  constexpr int kTotal = kSanitized ? 100'000 : 1'000'000;
  constexpr size_t kLive = 50'000;  // fits the default memory-lock limit
  std::mt19937 random(1);
  std::vector<void*> live;
  for (int i = 0; i < kTotal; ++i) {
    if (live.size() == kLive) {
      std::swap(live[random() % kLive], live.back());
      heap_.Free(live.back());
      live.pop_back();
    }
    auto got = heap_.Allocate(64);
    ASSERT_TRUE(got);
    live.push_back(*got);
  }
  // 64 pages of 64-byte slots fill a page each; no more than a few chunks above that.
  EXPECT_LE(heap_.mapped_bytes(), live.size() * 64 + 4 * kChunk);
  std::ranges::shuffle(live, random);
  for (void* slot : live) heap_.Free(slot);
  EXPECT_EQ(heap_.mapped_bytes(), kChunk);
  heap_.Trim();
  EXPECT_EQ(heap_.mapped_bytes(), 0u);
}

TEST_F(SecretHeapTest, ThreadsShareIt) {
  std::vector<std::thread> threads;
  std::atomic<int> wrong{0};
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937 random(static_cast<unsigned>(t));
      std::vector<std::pair<void*, size_t>> mine;
      for (int i = 0; i < 3000; ++i) {
        const ForkGuard guard;
        if (mine.empty() || random() % 2 == 0) {
          const size_t size = random() % 3000 + 1;
          auto got = heap_.Allocate(size, static_cast<uint32_t>(t));
          if (!got || !IsZero(At(*got, size))) {
            ++wrong;
            continue;
          }
          memset(*got, t + 1, size);
          mine.emplace_back(*got, size);
        } else {
          const auto [at, size] = mine.back();
          mine.pop_back();
          if (std::ranges::count(At(at, size), t + 1) != static_cast<std::ptrdiff_t>(size)) ++wrong;
          heap_.Free(at);
        }
      }
      const ForkGuard guard;
      for (const auto& [at, size] : mine) heap_.Free(at);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  const ForkGuard guard;
  heap_.Trim();
  EXPECT_EQ(heap_.mapped_bytes(), 0u);
}

TEST_F(SecretHeapTest, AbandonedHeapBeginsElsewhere) {
  const ForkGuard guard;
  void* first = Get(32);
  void* large = Get(2 * kChunk);
  memset(first, 9, 32);
  heap_.Abandon();
  EXPECT_EQ(heap_.mapped_bytes(), 0u);
  EXPECT_FALSE(heap_.Owns(first));
  EXPECT_FALSE(heap_.Owns(large));
  // It was not touched.
  EXPECT_EQ(std::ranges::count(At(first, 32), 9), 32);
  void* second = Get(32);
  EXPECT_NE(second, first);
  EXPECT_TRUE(IsZero(At(second, 32)));
  heap_.Free(second);
  heap_.Trim();
  EXPECT_EQ(heap_.mapped_bytes(), 0u);
}

TEST_F(SecretHeapTest, ChunksHaveGuardsBetweenThem) {
  const ForkGuard guard;
  std::vector<void*> slots;
  for (int i = 0; i < 4; ++i) slots.push_back(Get(kChunk - 2 * kCanaryBytes));
  slots.push_back(Get(kChunk + 1));
  slots.push_back(Get(kChunk - 2 * kCanaryBytes));
  for (void* slot : slots) {
    const auto mapping = MappingOf(slot);
    ASSERT_TRUE(mapping);
    auto* low = static_cast<uint8_t*>(slot) - kCanaryBytes;
    const size_t bytes = heap_.SizeOf(slot) + 2 * kCanaryBytes;
    EXPECT_EQ(mapping->low, reinterpret_cast<uintptr_t>(low));
    EXPECT_EQ(mapping->high - mapping->low, bytes);
    for (const uint8_t* outside : {low - 1, low - kPage, low + bytes}) {
      EXPECT_EQ(MappingOf(outside)->permissions, "---p");
    }
  }
  for (void* slot : slots) heap_.Free(slot);
  heap_.Trim();
}

TEST_F(SecretHeapTest, RefusesWhatNobodyHas) {
  const ForkGuard guard;
  for (const size_t size : {size_t{1} << 34, size_t{1} << 62, ~size_t{0}, ~size_t{0} - kPage}) {
    const auto got = heap_.Allocate(size);
    ASSERT_FALSE(got);
    EXPECT_EQ(got.error().code, VaultErrc::kOutOfMemory);
  }
  EXPECT_EQ(heap_.mapped_bytes(), 0u);
}

TEST_F(SecretHeapTest, TheLimitIsAnErrorAndWhatIsFreedComesBack) {
  const int status = InChild([] {
    constexpr size_t kUsable = kPage - 2 * kCanaryBytes;
    LimitLockedMemory(4 * kChunk);
    static SecretHeap heap;
    const ForkGuard guard;
    std::vector<void*> slots;
    VaultError error = {};
    for (int i = 0; i < 1000; ++i) {
      auto got = heap.Allocate(kUsable);
      if (!got) {
        error = got.error();
        break;
      }
      memset(*got, 0x55, kUsable);
      slots.push_back(*got);
    }
    if (error != VaultError{VaultErrc::kMemoryLockLimit, EAGAIN}) return 1;
    if (slots.size() != 4 * kChunk / kPage) return 2;
    for (const void* slot : slots) {
      if (std::ranges::count(At(slot, kUsable), 0x55) != static_cast<std::ptrdiff_t>(kUsable))
        return 3;
    }
    if (heap.Allocate(kChunk + 1)) return 4;
    heap.Free(slots.back());
    slots.pop_back();
    auto again = heap.Allocate(kUsable);
    if (!again || !IsZero(At(*again, kUsable))) return 5;
    heap.Free(*again);
    for (void* slot : slots) heap.Free(slot);
    // A whole chunk back to the kernel, and out again as one of another kind.
    if (!heap.Allocate(3 * kChunk - 2 * kCanaryBytes)) return 6;
    return 0;
  });
  EXPECT_EQ(status, 0) << WEXITSTATUS(status);
}

// --- BoringSSL's hooks ---

TEST_F(SecretHeapTest, BoringSslAllocatesInTheWorkHeap) {
  uint8_t* block = static_cast<uint8_t*>(OPENSSL_malloc(100));
  ASSERT_NE(block, nullptr);
  EXPECT_TRUE(WorkHeap().Owns(block));
  EXPECT_TRUE(MappingOf(block)->IsSecretmem());
  for (size_t size = 100; size < 200'000; size = size * 3 / 2) {
    memset(block, 0x19, size);
    block = static_cast<uint8_t*>(OPENSSL_realloc(block, size * 3 / 2));
    ASSERT_NE(block, nullptr);
    EXPECT_EQ(std::ranges::count(At(block, size), 0x19), static_cast<std::ptrdiff_t>(size));
  }
  OPENSSL_free(block);
  OPENSSL_free(nullptr);
  EXPECT_EQ(OPENSSL_malloc(~size_t{0} / 2), nullptr);
}

TEST_F(SecretHeapTest, ScopeSendsAllocationsToTheLibraryHeap) {
  void* block;
  {
    const LibraryHeapScope scope(Lifetime::kThread);
    block = OPENSSL_malloc(10);
  }
  EXPECT_TRUE(LibraryHeap().Owns(block));
  EXPECT_FALSE(WorkHeap().Owns(block));
  OPENSSL_free(block);
  void* after = OPENSSL_malloc(10);
  EXPECT_TRUE(WorkHeap().Owns(after));
  OPENSSL_free(after);
}

}  // namespace
}  // namespace secretmem
