// What is durable costs a flush of the disk, and changes that wait for one share the next.

#include <gmock/gmock.h>
#include <sqlite3.h>
#include <sys/syscall.h>

#include <atomic>
#include <set>
#include <thread>

#include "pkcs11/token.h"
#include "tests/unit/store_testing.h"
#include "vault/secret_stack.h"

namespace {
std::atomic<int> g_flushes{0};
}

// In place of the C library's.
extern "C" int fdatasync(int fd) {
  ++g_flushes;
  return static_cast<int>(syscall(SYS_fdatasync, fd));
}
extern "C" int fsync(int fd) {
  ++g_flushes;
  return static_cast<int>(syscall(SYS_fsync, fd));
}

namespace secretmem {
namespace {

using ::testing::ElementsAre;

template <typename F>
int FlushesOf(F&& f) {
  const int before = g_flushes;
  f();
  return g_flushes - before;
}

class StoreFlushTest : public testing::Test {
 protected:
  StoreFlushTest() { Value(store_.Insert(kIncarnation, std::vector{MakeRow(1)})); }

  // Runs what |calls| are, each on a thread of its own, and all waiting for another connection's
  // lock at the same time. Returns how many flushes they cost together.
  int AtOnce(const std::vector<std::function<void()>>& calls) {
    sqlite3* other = nullptr;
    EXPECT_EQ(sqlite3_open(path_.c_str(), &other), SQLITE_OK);
    EXPECT_EQ(sqlite3_exec(other, "BEGIN IMMEDIATE", nullptr, nullptr, nullptr), SQLITE_OK);
    const int flushes = FlushesOf([&] {
      std::vector<std::thread> threads;
      std::vector<std::atomic<pid_t>> ids(calls.size());
      for (size_t i = 0; i < calls.size(); ++i) {
        threads.emplace_back([&, i] {
          ids[i] = gettid();
          calls[i]();
        });
      }
      // One of them asks for the lock again and again, the others sleep.
      int quiet = 0;
      for (int i = 0; i < 3000 && quiet < 20; ++i, usleep(1000)) {
        const auto asleep = std::ranges::count_if(ids, [](pid_t id) { return IsAsleep(id); });
        quiet = static_cast<size_t>(asleep) + 1 >= calls.size() ? quiet + 1 : 0;
      }
      EXPECT_EQ(quiet, 20);
      sqlite3_exec(other, "ROLLBACK", nullptr, nullptr, nullptr);
      for (std::thread& thread : threads) thread.join();
    });
    sqlite3_close(other);
    return flushes;
  }

  static bool IsAsleep(pid_t thread) {
    const std::string stat = ReadFile("/proc/self/task/" + std::to_string(thread) + "/stat");
    const size_t name_end = stat.rfind(") ");
    return name_end != std::string::npos && stat[name_end + 2] == 'S';
  }

  TemporaryDirectory directory_;
  std::string path_ = TokenFilePath(directory_.path(), "0123456789abcdef");
  TokenStore store_ = Value(TokenStore::Create(path_, MakeRecord()));
};

TEST_F(StoreFlushTest, AnInsertionCostsOneHoweverManyRowsItHas) {
  EXPECT_EQ(FlushesOf([&] { Value(store_.Insert(kIncarnation, std::vector{MakeRow(2)})); }), 1);
  EXPECT_EQ(FlushesOf([&] {
              Value(store_.Insert(kIncarnation, std::vector{MakeRow(3), MakeRow(4), MakeRow(5)}));
            }),
            1);
  EXPECT_EQ(FlushesOf([&] { Value(store_.LoadAll()); }), 0);
}

TEST_F(StoreFlushTest, ChangesThatWaitShareOne) {
  constexpr size_t kThreads = 16;
  std::vector<StoreResult<Committed>> results(kThreads);
  std::vector<std::function<void()>> calls;
  for (size_t i = 0; i < kThreads; ++i) {
    calls.emplace_back([&, i] {
      results[i] = store_.Insert(kIncarnation, std::vector{MakeRow(2 * i + 2), MakeRow(2 * i + 3)});
    });
  }
  // The first takes those along that were there when it began, and the next all others.
  EXPECT_LE(AtOnce(calls), 2);
  std::set<uint64_t> sequences;
  std::vector<ObjectRow> rows = Value(store_.LoadAll()).rows;
  ASSERT_EQ(rows.size(), 1 + 2 * kThreads);
  for (size_t i = 0; i < kThreads; ++i) {
    const Committed committed = Value(results[i]);
    sequences.insert(committed.state.sequence);
    ASSERT_EQ(committed.ids.size(), 2U);
    for (size_t j = 0; j < 2; ++j) {
      const ObjectRow& row = rows.at(static_cast<size_t>(committed.ids[j] - 1));
      EXPECT_EQ(row.uid, MakeUid(2 * i + 2 + j));
      EXPECT_EQ(row.version, committed.state.sequence);
    }
  }
  EXPECT_EQ(sequences.size(), kThreads);
  EXPECT_EQ(Value(store_.ChangeCounter()), (StoreState{kIncarnation, *sequences.rbegin()}));
  EXPECT_EQ(Value(Value(TokenStore::Open(path_)).LoadAll()).rows, rows);
}

TEST_F(StoreFlushTest, EachChangeHasItsOwnAnswer) {
  Value(store_.Insert(kIncarnation, std::vector{MakeRow(2), MakeRow(3)}));
  ObjectRow changed = Value(store_.LoadRow(MakeUid(2)));
  changed.secret = Bytes("changed");
  ObjectRow outdated = Value(store_.LoadRow(MakeUid(3)));
  outdated.version = 1;
  std::vector<std::string> kinds(8);
  AtOnce({
      [&] { kinds[0] = KindOf(store_.Insert(kIncarnation, std::vector{MakeRow(10)})); },
      [&] {
        kinds[1] = KindOf(store_.Insert(kIncarnation, std::vector{MakeRow(11), MakeRow(1)}));
      },
      [&] { kinds[2] = KindOf(store_.Insert(kIncarnation + 1, std::vector{MakeRow(12)})); },
      [&] { kinds[3] = KindOf(store_.Delete(kIncarnation, std::vector<int64_t>{1})); },
      [&] { kinds[4] = KindOf(store_.Delete(kIncarnation, std::vector<int64_t>{77})); },
      [&] { kinds[5] = KindOf(store_.Update(kIncarnation, changed)); },
      [&] { kinds[6] = KindOf(store_.Update(kIncarnation, outdated)); },
      [&] { kinds[7] = KindOf(store_.Insert(kIncarnation, std::vector{MakeRow(13)})); },
  });
  // Whether uid 1 is free again depends on the order.
  EXPECT_TRUE(kinds[1] == "kConflict" || kinds[1] == "no error") << kinds[1];
  const bool both = kinds[1] == "no error";
  kinds.erase(kinds.begin() + 1);
  EXPECT_THAT(kinds, ElementsAre("no error", "kStale", "no error", "kNoObject", "no error",
                                 "kConflict", "no error"));
  std::set<ObjectUid> uids;
  for (const ObjectRow& row : Value(store_.LoadAll()).rows) uids.insert(row.uid);
  std::set<ObjectUid> expected = {MakeUid(2), MakeUid(3), MakeUid(10), MakeUid(13)};
  if (both) expected.insert({MakeUid(1), MakeUid(11)});
  EXPECT_EQ(uids, expected);
  EXPECT_EQ(Value(store_.LoadRow(MakeUid(2))).secret, Bytes("changed"));
  EXPECT_EQ(Value(store_.LoadAll()).missing, 0U);
}

TEST_F(StoreFlushTest, AKeyPairCostsOne) {
  if (const auto ready = InitialiseVault(); !ready) GTEST_SKIP() << Describe(ready.error().code);
  Config config;
  config.tokens_directory = directory_ / "tokens";
  config.pin.iterations = 1000;
  std::array<uint8_t, 32> label;
  label.fill(' ');
  const auto token = Token::Create(config, 0, PinOf("so pin"), label).value();
  const auto pair = [&] {
    std::vector<std::shared_ptr<Object>> objects;
    for (const CK_OBJECT_CLASS object_class : {CKO_PUBLIC_KEY, CKO_PRIVATE_KEY}) {
      auto object = std::make_shared<Object>();
      object->uid = token->NewUid().value();
      object->attributes.SetUlong(CKA_CLASS, object_class);
      object->attributes.SetBool(CKA_TOKEN, true);
      if (object_class == CKO_PRIVATE_KEY) {
        object->secret = std::make_shared<KeySecret>(Vault::New(32).value());
      }
      objects.push_back(std::move(object));
    }
    EXPECT_TRUE(token->Add(std::move(objects)));
  };
  pair();
  EXPECT_EQ(FlushesOf(pair), 1);
}

}  // namespace
}  // namespace secretmem
