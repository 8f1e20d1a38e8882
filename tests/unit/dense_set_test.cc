#include "pkcs11/dense_set.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

namespace secretmem {
namespace {

struct Number {
  uint64_t number = 0;
  uint64_t key() const { return number; }
};

struct Owner {
  int number = 0;
  std::shared_ptr<int> owned;
  int key() const { return number; }
};

std::vector<uint64_t> Numbers(const DenseSet<Number>& set) {
  std::vector<uint64_t> all;
  for (auto at = set.First(); at; ++at) all.push_back(at->number);
  return all;
}

// Fills a leaf many times over.
constexpr uint64_t kMany = 5000;

TEST(DenseSetTest, DoesWhatAnOrderedSetDoes) {
  std::mt19937_64 random(1);
  DenseSet<Number> set;
  std::set<uint64_t> model;
  // Grows, shrinks to nothing, and grows again.
  for (const unsigned erased_of_ten : {2U, 8U, 10U, 3U}) {
    for (uint64_t i = 0; i < 4 * kMany; ++i) {
      const uint64_t number = random() % kMany;
      if (random() % 10 < erased_of_ten) {
        set.Erase(number);
        model.erase(number);
      } else {
        set.Insert({number});
        model.insert(number);
      }
      const uint64_t other = random() % (kMany + 2);
      const Number* found = set.Find(other);
      ASSERT_EQ(found != nullptr, model.contains(other)) << other;
      if (found != nullptr) {
        ASSERT_EQ(found->number, other);
      }
      const auto from = set.From(other);
      const auto want = model.lower_bound(other);
      ASSERT_EQ(static_cast<bool>(from), want != model.end()) << other;
      if (from) {
        ASSERT_EQ(from->number, *want);
      }
    }
    ASSERT_EQ(Numbers(set), std::vector<uint64_t>(model.begin(), model.end()));
  }
}

TEST(DenseSetTest, EveryOrderOfComingAndGoing) {
  for (const uint64_t step : {uint64_t{1}, kMany - 1, uint64_t{1237}}) {
    for (const uint64_t back : {uint64_t{1}, kMany - 1, uint64_t{2741}}) {
      DenseSet<Number> set;
      for (uint64_t i = 0; i < kMany; ++i) set.Insert({i * step % kMany});
      ASSERT_EQ(Numbers(set).size(), kMany) << step;
      for (uint64_t i = 0; i < kMany; ++i) {
        ASSERT_NE(set.Find(i * back % kMany), nullptr);
        set.Erase(i * back % kMany);
        ASSERT_EQ(set.Find(i * back % kMany), nullptr);
      }
      EXPECT_FALSE(set.First());
    }
  }
}

TEST(DenseSetTest, HoldsNothingOfWhatWasErased) {
  DenseSet<Owner> set;
  std::vector<std::weak_ptr<int>> owned;
  for (int i = 0; i < 1000; ++i) {
    auto number = std::make_shared<int>(i);
    owned.push_back(number);
    set.Insert({i, std::move(number)});
  }
  for (int i = 0; i < 1000; i += 3) set.Erase(i);
  for (int i = 0; i < 1000; ++i) {
    EXPECT_EQ(owned[static_cast<size_t>(i)].expired(), i % 3 == 0) << i;
    if (i % 3 != 0) {
      EXPECT_EQ(*set.Find(i)->owned, i);
    }
  }
}

TEST(DenseSetTest, WhatIsThereStays) {
  DenseSet<Owner> set;
  set.Insert({1, std::make_shared<int>(1)});
  set.Insert({1, std::make_shared<int>(2)});
  EXPECT_EQ(*set.Find(1)->owned, 1);
}

}  // namespace
}  // namespace secretmem
