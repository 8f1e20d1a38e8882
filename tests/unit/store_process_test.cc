// The store among processes: sharing, being killed, forking, limits, permissions.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <poll.h>
#include <sys/resource.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <map>
#include <mutex>
#include <random>
#include <set>
#include <shared_mutex>
#include <thread>

#include "pkcs11/token_store.h"
#include "tests/unit/store_child.h"
#include "tests/unit/store_testing.h"

namespace secretmem {
namespace {

using ::testing::IsEmpty;

// KillRounds is how often the kill loops kill: SECRETMEM_KILL_ROUNDS, else enough for every run.
int KillRounds() {
  const char* rounds = std::getenv("SECRETMEM_KILL_ROUNDS");
  return rounds == nullptr ? 60 : std::atoi(rounds);
}

class StoreProcessTest : public ::testing::Test {
 protected:
  void Create() { Value(TokenStore::Create(path_, MakeRecord())); }

  TemporaryDirectory directory_;
  std::string path_ = TokenFilePath(directory_.path(), "0123456789abcdef");
};

// Acknowledgements is a pipe on which a child tells what has been acknowledged to it.
class Acknowledgements {
 public:
  Acknowledgements() { EXPECT_EQ(pipe2(ends_, O_CLOEXEC), 0); }
  ~Acknowledgements() {
    close(ends_[0]);
    close(ends_[1]);
  }
  Acknowledgements(const Acknowledgements&) = delete;
  Acknowledgements& operator=(const Acknowledgements&) = delete;

  void Tell(uint64_t number) const {
    if (write(ends_[1], &number, sizeof number) != sizeof number) _exit(123);
  }

  // All returns what was told so far.
  std::vector<uint64_t> All() const {
    std::vector<uint64_t> numbers;
    for (pollfd poll_end{ends_[0], POLLIN, 0}; poll(&poll_end, 1, 0) == 1;) {
      uint64_t number = 0;
      if (read(ends_[0], &number, sizeof number) != sizeof number) break;
      numbers.push_back(number);
    }
    return numbers;
  }

  // WaitForOne waits until there is something.
  void WaitForOne() const {
    pollfd poll_end{ends_[0], POLLIN, 0};
    EXPECT_EQ(poll(&poll_end, 1, 60'000), 1);
  }

 private:
  int ends_[2];
};

// KillSoon kills a child at a random moment after its first acknowledgement.
void KillSoon(pid_t child, const Acknowledgements& acknowledged, std::mt19937& random) {
  acknowledged.WaitForOne();
  std::this_thread::sleep_for(std::chrono::microseconds(random() % 8000));
  kill(child, SIGKILL);
  EXPECT_EQ(EndOf(child), -SIGKILL);
}

TEST_F(StoreProcessTest, WhatOneCommitsTheOthersSee) {
  Create();
  std::vector<pid_t> children;
  for (uint64_t c = 0; c < 4; ++c) {
    children.push_back(StartChild([&] {
      TokenStore store = Value(TokenStore::Open(path_));
      StoreState seen = Value(store.LoadAll()).state;
      std::set<int64_t> known;
      for (uint64_t i = 0; i < 25; ++i) {
        const std::vector<ObjectRow> pair = {MakeRow(1000 * c + 2 * i),
                                             MakeRow(1000 * c + 2 * i + 1)};
        const Committed committed = Value(store.Insert(kIncarnation, pair));
        const Snapshot changes = Value(store.LoadChangedSince(seen));
        seen = changes.state;
        for (const ObjectRow& row : changes.rows) known.insert(row.id);
        if (!known.contains(committed.ids[0]) || !known.contains(committed.ids[1])) return 1;
        // Pairs are seen whole.
        if (changes.object_count % 2 != 0) return 2;
        if (Value(store.RecordPinFailure(kIncarnation, PinRole::kUser, 1)).failures < i + 1)
          return 3;
      }
      return 0;
    }));
  }
  TokenStore store = Value(TokenStore::Open(path_));
  // Following the changes gives what loading everything gives.
  std::map<int64_t, ObjectRow> followed;
  StoreState seen{kIncarnation, 1};
  while (followed.size() < 200) {
    if (Value(store.ChangeCounter()) == seen) continue;
    const Snapshot changes = Value(store.LoadChangedSince(seen));
    EXPECT_FALSE(changes.complete);
    for (const ObjectRow& row : changes.rows) followed[row.id] = row;
    ASSERT_EQ(followed.size(), changes.object_count);
    seen = changes.state;
  }
  for (const pid_t child : children) EXPECT_EQ(EndOf(child), 0);
  const Snapshot all = Value(store.LoadAll());
  ASSERT_EQ(all.rows.size(), 200u);
  for (const ObjectRow& row : all.rows) EXPECT_EQ(followed[row.id], row);
  EXPECT_EQ(Value(store.Read()).user.failures, 100u);
}

TEST_F(StoreProcessTest, AKilledWriterLosesNothingAcknowledgedAndLeavesNoHalfPair) {
  Create();
  std::mt19937 random(1);
  std::set<uint64_t> expected;
  for (int round = 0; round < KillRounds(); ++round) {
    const Acknowledgements acknowledged;
    const uint64_t base = uint64_t{1'000'000} * static_cast<uint64_t>(round + 1);
    const pid_t child = StartChild([&] {
      TokenStore store = Value(TokenStore::Open(path_));
      for (uint64_t i = base;; i += 2) {
        Value(store.Insert(kIncarnation,
                           std::vector{MakeRow(i, std::string(i % 3000, 's')), MakeRow(i + 1)}));
        acknowledged.Tell(i);
      }
      return 0;
    });
    KillSoon(child, acknowledged, random);
    for (const uint64_t number : acknowledged.All()) {
      expected.insert(number);
      expected.insert(number + 1);
    }
    TokenStore store = Value(TokenStore::Open(path_));
    const Snapshot all = Value(store.LoadAll());
    EXPECT_THAT(all.damaged, IsEmpty());
    std::set<uint64_t> found;
    for (const ObjectRow& row : all.rows) {
      uint64_t number = 0;
      for (size_t i = 0; i < 8; ++i) number |= uint64_t{row.uid[i]} << (8 * i);
      ObjectRow written =
          number % 2 == 0 ? MakeRow(number, std::string(number % 3000, 's')) : MakeRow(number);
      written.id = row.id;
      written.version = row.version;
      EXPECT_EQ(row, written);
      found.insert(number);
    }
    for (const uint64_t number : expected) EXPECT_TRUE(found.contains(number)) << number;
    for (const uint64_t number : found) EXPECT_TRUE(found.contains(number ^ 1)) << number;
    expected = found;  // Committed and not acknowledged: now it must stay.
    // Keep the file small: half of the time everything goes, by a store that is then used on.
    if (round % 2 == 0) {
      std::vector<int64_t> ids;
      for (const ObjectRow& row : all.rows) ids.push_back(row.id);
      Value(store.Delete(kIncarnation, ids));
      expected.clear();
    }
  }
}

TEST_F(StoreProcessTest, AKillUndoesNoDeletion) {
  Create();
  std::mt19937 random(2);
  uint64_t next = 0;
  for (int round = 0; round < KillRounds() / 3 + 1; ++round) {
    std::vector<int64_t> ids;
    {
      TokenStore store = Value(TokenStore::Open(path_));
      std::vector<ObjectRow> rows;
      for (int i = 0; i < 60; ++i) rows.push_back(MakeRow(next++, "DELETED-MARKER"));
      ids = Value(store.Insert(kIncarnation, rows)).ids;
    }
    const Acknowledgements acknowledged;
    const pid_t child = StartChild([&] {
      TokenStore store = Value(TokenStore::Open(path_));
      for (size_t i = 0; i + 1 < ids.size(); i += 2) {
        Value(store.Delete(kIncarnation, std::vector{ids[i], ids[i + 1]}));
        acknowledged.Tell(i);
      }
      pause();
      return 0;
    });
    KillSoon(child, acknowledged, random);
    TokenStore store = Value(TokenStore::Open(path_));
    const Snapshot all = Value(store.LoadAll());
    std::set<int64_t> left;
    for (const ObjectRow& row : all.rows) left.insert(row.id);
    for (const uint64_t i : acknowledged.All()) {
      EXPECT_FALSE(left.contains(ids[i]));
      EXPECT_FALSE(left.contains(ids[i + 1]));
    }
    EXPECT_EQ(left.size() % 2, 0u);
    // The first load of the next process finishes what the killed one began.
    EXPECT_EQ(ReadFile(path_ + "-wal"), "");
    Value(store.Delete(kIncarnation, std::vector<int64_t>(left.begin(), left.end())));
    EXPECT_EQ((ReadFile(path_) + ReadFile(path_ + "-wal")).find("DELETED-MARKER"),
              std::string::npos);
  }
}

TEST_F(StoreProcessTest, AKillUndoesNoCountedPin) {
  Create();
  std::mt19937 random(3);
  uint32_t least = 0;
  for (int round = 0; round < KillRounds() / 3 + 1; ++round) {
    const Acknowledgements acknowledged;
    const pid_t child = StartChild([&] {
      TokenStore store = Value(TokenStore::Open(path_));
      for (;;) {
        acknowledged.Tell(Value(store.RecordPinFailure(kIncarnation, PinRole::kUser, 1)).failures);
      }
      return 0;
    });
    KillSoon(child, acknowledged, random);
    const std::vector<uint64_t> told = acknowledged.All();
    for (size_t i = 0; i < told.size(); ++i) EXPECT_EQ(told[i], least + i + 1);
    least += static_cast<uint32_t>(told.size());
    const uint32_t counted = Value(Value(TokenStore::Open(path_)).Read()).user.failures;
    EXPECT_GE(counted, least);
    EXPECT_LE(counted, least + 1);
    least = counted;
  }
}

TEST_F(StoreProcessTest, AKilledCreatorLeavesWholeTokensOrNone) {
  std::mt19937 random(4);
  for (int round = 0; round < KillRounds() / 3 + 1; ++round) {
    const Acknowledgements acknowledged;
    const pid_t child = StartChild([&] {
      acknowledged.Tell(0);
      for (uint64_t i = 1;; ++i) {
        TokenRecord record = MakeRecord();
        record.serial = std::to_string(i);
        Value(TokenStore::Create(TokenFilePath(directory_.path(), record.serial), record));
        acknowledged.Tell(i);
      }
      return 0;
    });
    KillSoon(child, acknowledged, random);
    const std::vector<std::string> files = Value(ListTokenFiles(directory_.path()));
    std::set<std::string> serials;
    for (const std::string& file : files) {
      serials.insert(Value(Value(TokenStore::Open(file)).Read()).serial);
    }
    EXPECT_EQ(serials.size(), files.size());
    for (const uint64_t number : acknowledged.All()) {
      EXPECT_TRUE(number == 0 || serials.contains(std::to_string(number)));
    }
    std::filesystem::remove_all(directory_.path());
    std::filesystem::create_directory(directory_.path());
  }
}

TEST_F(StoreProcessTest, ManyCreateOneFileAndOneWins) {
  std::vector<pid_t> children;
  for (int c = 0; c < 6; ++c) {
    children.push_back(StartChild([&] {
      const auto created = TokenStore::Create(path_, MakeRecord());
      if (created) return 0;
      return created.error().kind == StoreError::Kind::kExists ? 1 : 2;
    }));
  }
  std::vector<int> ends;
  for (const pid_t child : children) ends.push_back(EndOf(child));
  std::ranges::sort(ends);
  EXPECT_THAT(ends, ::testing::ElementsAre(0, 1, 1, 1, 1, 1));
  EXPECT_EQ(Value(Value(TokenStore::Open(path_)).Read()), MakeRecord());
}

TEST_F(StoreProcessTest, AStoreWorksOnBothSidesOfAFork) {
  Create();
  TokenStore store = Value(TokenStore::Open(path_));
  // The gate a module has around its calls: shared to use a store, exclusive to fork. The turnstile
  // lets the one who forks through, whom a stream of users would keep out for ever.
  std::mutex turnstile;
  std::shared_mutex gate;
  std::atomic<bool> stop = false;
  std::atomic<uint64_t> inserted = 0;
  std::vector<std::thread> threads;
  for (uint64_t t = 0; t < 2; ++t) {
    threads.emplace_back([&, t] {
      for (uint64_t i = 0; !stop; ++i) {
        { const std::lock_guard pass(turnstile); }
        const std::shared_lock shared(gate);
        Value(store.Insert(kIncarnation, std::vector{MakeRow(1'000'000 * (t + 1) + i)}));
        ++inserted;
      }
    });
  }
  constexpr uint64_t kForks = 40;
  for (uint64_t f = 0; f < kForks; ++f) {
    pid_t child;
    {
      const std::lock_guard stop_others(turnstile);
      const std::unique_lock alone(gate);
      store.CloseConnectionForFork();
      child = StartChild([&] {
        const uint64_t before = Value(store.LoadAll()).object_count;
        Value(store.Insert(kIncarnation, std::vector{MakeRow(f)}));
        return Value(store.LoadAll()).object_count > before ? 0 : 1;
      });
    }
    EXPECT_EQ(EndOf(child), 0);
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(Value(store.LoadAll()).object_count, inserted + kForks);
}

TEST_F(StoreProcessTest, AnUnannouncedForkIsAnErrorAndHarmless) {
  Create();
  TokenStore store = Value(TokenStore::Open(path_));
  Value(store.Insert(kIncarnation, std::vector{MakeRow(1)}));
  EXPECT_EQ(InChild([&] {
              if (KindOf(store.LoadAll()) != "kIo") return 1;
              { const TokenStore ends = std::move(store); }
              return 0;
            }),
            0);
  Value(store.Insert(kIncarnation, std::vector{MakeRow(2)}));
  EXPECT_EQ(Value(store.LoadAll()).object_count, 2u);
}

TEST_F(StoreProcessTest, ClosingForForkLeavesTheLogAndLosesNothing) {
  Create();
  TokenStore store = Value(TokenStore::Open(path_));
  Value(store.Insert(kIncarnation, std::vector{MakeRow(1)}));
  const std::string log = ReadFile(path_ + "-wal");
  EXPECT_NE(log, "");
  store.CloseConnectionForFork();
  store.CloseConnectionForFork();
  EXPECT_EQ(ReadFile(path_ + "-wal"), log);
  EXPECT_EQ(Value(store.LoadAll()).object_count, 1u);
  store.CloseConnectionForFork();
  std::filesystem::rename(path_, path_ + ".old");
  for (const char* beside : {"-wal", "-shm"}) std::filesystem::remove(path_ + beside);
  Create();
  EXPECT_EQ(KindOf(store.Read()), "kNotFound");
}

TEST_F(StoreProcessTest, ADescriptorOfTheStoreDoesNotSurviveExec) {
  Create();
  TokenStore store = Value(TokenStore::Open(path_));
  Value(store.LoadAll());
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code error;
    const std::string target = std::filesystem::read_symlink(entry.path(), error);
    if (!target.starts_with(directory_.path())) continue;
    const int flags = fcntl(std::stoi(entry.path().filename()), F_GETFD);
    EXPECT_EQ(flags & FD_CLOEXEC, FD_CLOEXEC) << target;
  }
}

TEST_F(StoreProcessTest, AFileSizeLimitIsAnErrorAndKillsNobody) {
  Create();
  EXPECT_EQ(InChild([&] {
              signal(SIGXFSZ, SIG_DFL);
              TokenStore store = Value(TokenStore::Open(path_));
              const rlimit limit{300'000, RLIM_INFINITY};
              if (setrlimit(RLIMIT_FSIZE, &limit) != 0) return 1;
              uint64_t inserted = 0;
              for (;; ++inserted) {
                const auto result = store.Insert(
                    kIncarnation, std::vector{MakeRow(inserted, std::string(20'000, 'x'))});
                if (result) continue;
                if (KindOf(result) != "kFull") return 2;
                break;
              }
              if (inserted == 0) return 3;
              if (Value(store.LoadAll()).object_count != inserted) return 4;
              if (KindOf(TokenStore::Create(directory_ / "b.token", [] {
                    TokenRecord record = MakeRecord();
                    record.store_key_blob.resize(1'000'000);
                    return record;
                  }())) != "kFull") {
                return 5;
              }
              const rlimit none{RLIM_INFINITY, RLIM_INFINITY};
              setrlimit(RLIMIT_FSIZE, &none);
              Value(store.Insert(kIncarnation, std::vector{MakeRow(1'000'000)}));
              return Value(store.LoadAll()).object_count == inserted + 1 ? 0 : 6;
            }),
            0);
  EXPECT_THAT(Value(ListTokenFiles(directory_.path())), ::testing::ElementsAre(path_));
  TokenStore store = Value(TokenStore::Open(path_));
  EXPECT_THAT(Value(store.LoadAll()).damaged, IsEmpty());
}

TEST_F(StoreProcessTest, WhatMayNotBeWrittenCanStillBeRead) {
  Create();
  if (geteuid() == 0) {
    ASSERT_EQ(chown(directory_.path().c_str(), kNobody, kNobody), 0);
    ASSERT_EQ(chown(path_.c_str(), kNobody, kNobody), 0);
  }
  ASSERT_EQ(chmod(path_.c_str(), 0400), 0);
  EXPECT_EQ(AsOrdinaryUser([&] {
              TokenStore store = Value(TokenStore::Open(path_));
              if (Value(store.Read()) != MakeRecord()) return 1;
              if (Value(store.LoadAll()).object_count != 0) return 2;
              if (KindOf(store.Insert(kIncarnation, std::vector{MakeRow(1)})) != "kReadOnly")
                return 3;
              if (KindOf(store.RecordPinFailure(kIncarnation, PinRole::kUser, 1)) != "kReadOnly") {
                return 4;
              }
              return 0;
            }),
            0);
  ASSERT_EQ(chmod(path_.c_str(), 0), 0);
  EXPECT_EQ(
      AsOrdinaryUser([&] { return KindOf(TokenStore::Open(path_)) == "kPermission" ? 0 : 1; }), 0);
}

TEST_F(StoreProcessTest, AReadOnlyDirectoryIsAPermissionError) {
  Create();
  if (geteuid() == 0) {
    ASSERT_EQ(chown(directory_.path().c_str(), kNobody, kNobody), 0);
    ASSERT_EQ(chown(path_.c_str(), kNobody, kNobody), 0);
  }
  ASSERT_EQ(chmod(directory_.path().c_str(), 0500), 0);
  EXPECT_EQ(
      AsOrdinaryUser([&] {
        if (KindOf(TokenStore::Open(path_)) != "kPermission") return 1;
        if (KindOf(TokenStore::Create(directory_ / "b.token", MakeRecord())) != "kPermission") {
          return 2;
        }
        return KindOf(EnsureTokenDirectory(directory_ / "sub")) == "kPermission" ? 0 : 3;
      }),
      0);
  ASSERT_EQ(chmod(directory_.path().c_str(), 0), 0);
  EXPECT_EQ(AsOrdinaryUser([&] {
              if (KindOf(ListTokenFiles(directory_.path())) != "kPermission") return 1;
              return KindOf(TokenStore::Open(path_)) == "kPermission" ? 0 : 2;
            }),
            0);
}

}  // namespace
}  // namespace secretmem
