// C_GenerateRandom and C_SeedRandom: PKCS#11 3.1 §5.19.
#include <algorithm>
#include <set>
#include <vector>

#include "tests/conformance/fixtures.h"

namespace secretmem::conformance {
namespace {

class RandomTest : public SessionTest {
 protected:
  CK_RV Generate(Bytes& buffer, CK_ULONG length) const {
    return P11().C_GenerateRandom(session_, buffer.data(), length);
  }
};

TEST_F(RandomTest, FillsExactlyTheBuffer) {
  for (const CK_ULONG length : {1UL, 16UL, 255UL, 256UL, 4096UL, 65537UL}) {
    // A byte that stays zero in eight runs was not written (2^-64 for each by chance).
    Bytes ever(length, 0);
    for (int run = 0; run < 8; ++run) {
      Bytes buffer(length + 16, 0);
      ASSERT_RV(CKR_OK, Generate(buffer, length));
      EXPECT_EQ(Bytes(buffer.begin() + static_cast<long>(length), buffer.end()), Bytes(16, 0));
      for (size_t i = 0; i < length; ++i) ever[i] = static_cast<CK_BYTE>(ever[i] | buffer[i]);
    }
    EXPECT_EQ(std::count(ever.begin(), ever.end(), 0), 0) << length;
  }
}

TEST_F(RandomTest, OutputsDiffer) {
  std::set<Bytes> seen;
  for (int i = 0; i < 1000; ++i) {
    Bytes buffer(16);
    ASSERT_RV(CKR_OK, Generate(buffer, 16));
    EXPECT_TRUE(seen.insert(buffer).second);
  }
}

// Nothing asked for is nothing done: clients probe with it.
TEST_F(RandomTest, LengthZero) {
  Bytes buffer(1, 0xee);
  EXPECT_RV(CKR_OK, Generate(buffer, 0));
  EXPECT_EQ(buffer[0], 0xee);
}

TEST_F(RandomTest, Null) {
  EXPECT_RV(CKR_ARGUMENTS_BAD, P11().C_GenerateRandom(session_, nullptr, 16));
}

// §5.19.1: a module that mixes seeds in itself may refuse them, and says so.
TEST_F(RandomTest, Seed) {
  Bytes seed(32, 1);
  EXPECT_RV_IN(P11().C_SeedRandom(session_, seed.data(), seed.size()), CKR_OK,
               CKR_RANDOM_SEED_NOT_SUPPORTED);
  EXPECT_RV_IN(P11().C_SeedRandom(session_, nullptr, 32), CKR_ARGUMENTS_BAD,
               CKR_RANDOM_SEED_NOT_SUPPORTED);
}

// The same seed must not give the same output twice.
TEST_F(RandomTest, SeedDoesNotDetermine) {
  Bytes seed(32, 1);
  Bytes one(32);
  Bytes two(32);
  const CK_RV rv = P11().C_SeedRandom(session_, seed.data(), seed.size());
  ASSERT_RV(CKR_OK, Generate(one, 32));
  EXPECT_RV(rv, P11().C_SeedRandom(session_, seed.data(), seed.size()));
  ASSERT_RV(CKR_OK, Generate(two, 32));
  EXPECT_NE(one, two);
}

}  // namespace
}  // namespace secretmem::conformance
