// Damaged token files: every answer is the right rows, fewer rows named as damaged, or an error.
#include <gmock/gmock.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>

#include "pkcs11/token_store.h"
#include "tests/unit/store_testing.h"

namespace secretmem {
namespace {

class StoreDamageTest : public ::testing::Test {
 protected:
  StoreDamageTest() {
    const std::string path = directory_ / "original.token";
    TokenStore store = Value(TokenStore::Create(path, MakeRecord()));
    std::vector<ObjectRow> rows;
    for (uint64_t i = 0; i < 40; ++i) {
      rows.push_back(MakeRow(1000 + i, std::string(i % 8 == 0 ? 6000 : 50 + i, 's')));
    }
    Value(store.Insert(kIncarnation, rows));
    Value(store.Delete(kIncarnation, std::vector<int64_t>{3, 11, 12, 13, 30}));
    for (const ObjectRow& row : Value(store.LoadAll()).rows) rows_[row.id] = row;
    file_ = ReadFile(path);
    for (uint64_t i = 0; i < 5; ++i) {
      log_states_.insert(Value(store.ChangeCounter()).sequence);
      Value(store.Insert(kIncarnation, std::vector{MakeRow(2000 + i, std::string(700, 'l'))}));
    }
    log_states_.insert(Value(store.ChangeCounter()).sequence);
    for (const ObjectRow& row : Value(store.LoadAll()).rows) rows_with_log_[row.id] = row;
    log_ = ReadFile(path + "-wal");
  }

  // Check writes a damaged file and uses it in every way. Returns whether everything was fine.
  bool Check(const std::string& file, const std::string& log = "") {
    const std::string path = directory_ / "damaged.token";
    for (const char* beside : {"", "-wal", "-shm"}) std::filesystem::remove(path + beside);
    WriteFile(path, file);
    if (!log.empty()) WriteFile(path + "-wal", log);
    StoreResult<TokenStore> store = TokenStore::Open(path);
    if (!store) {
      Expected(store.error());
      return false;
    }
    bool fine = true;
    const StoreResult<TokenRecord> record = store->Read();
    if (record) {
      EXPECT_EQ(*record, MakeRecord());
    } else {
      fine = Expected(record.error());
    }
    const StoreResult<Snapshot> all = store->LoadAll();
    if (all) {
      EXPECT_EQ(all->state.incarnation, kIncarnation);
      const auto& rows = log.empty() ? rows_ : rows_with_log_;
      for (const ObjectRow& row : all->rows) EXPECT_EQ(row, rows.at(row.id));
      if (log.empty()) {
        EXPECT_EQ(all->rows.size() + all->damaged.size() + all->missing, rows_.size());
      } else {
        // Damage in the log may end it early: then it is an earlier state, whole.
        EXPECT_TRUE(log_states_.contains(all->state.sequence)) << all->state.sequence;
        EXPECT_EQ(all->rows.size() + all->damaged.size() + all->missing,
                  rows_.size() + all->state.sequence - *log_states_.begin());
      }
      fine &= all->damaged.empty() && all->missing == 0;
    } else {
      fine = Expected(all.error());
    }
    const StoreResult<Snapshot> changes = store->LoadChangedSince({kIncarnation, 2});
    if (!changes) fine = Expected(changes.error());
    const StoreResult<Snapshot> found = store->LoadByIndex(std::vector{MakeRow(1).index[0]});
    if (found) {
      for (const ObjectRow& row : found->rows) EXPECT_EQ(row, rows_with_log_.at(row.id));
    } else {
      fine = Expected(found.error());
    }
    if (const auto inserted = store->Insert(kIncarnation, std::vector{MakeRow(5000)}); inserted) {
      const StoreResult<ObjectRow> row = store->LoadRow(MakeUid(5000));
      if (row) {
        EXPECT_EQ(row->secret, MakeRow(5000).secret);
      } else {
        // Damage in the index of uids may hide the row from this search, not from loading all.
        fine = Expected(row.error(), true);
        const StoreResult<Snapshot> again = store->LoadAll();
        if (again) {
          EXPECT_TRUE(std::ranges::any_of(
              again->rows, [](const ObjectRow& each) { return each.uid == MakeUid(5000); }));
        }
      }
    } else {
      fine = Expected(inserted.error());
    }
    if (const auto deleted = store->Delete(kIncarnation, std::vector<int64_t>{1}); !deleted) {
      fine = Expected(deleted.error(), !all || all->missing > 0);
    }
    return fine;
  }

  // A row that damage hides is counted as missing, or is an error, where everything is loaded.
  static bool Expected(const StoreError& error, bool may_hide = false) {
    const bool expected = error.kind == StoreError::Kind::kCorrupt ||
                          error.kind == StoreError::Kind::kForeign ||
                          error.kind == StoreError::Kind::kReadOnly ||
                          (may_hide && error.kind == StoreError::Kind::kNoObject);
    EXPECT_TRUE(expected) << error.reason;
    return false;
  }

  TemporaryDirectory directory_{MemoryBase()};
  std::string file_;
  std::string log_;
  std::map<int64_t, ObjectRow> rows_;
  std::map<int64_t, ObjectRow> rows_with_log_;
  std::set<uint64_t> log_states_;
};

TEST_F(StoreDamageTest, WithoutDamageEverythingIsFine) {
  EXPECT_TRUE(Check(file_));
  EXPECT_TRUE(Check(file_, log_));
}

TEST_F(StoreDamageTest, CutAnywhere) {
  for (size_t length = 0; length < file_.size(); length += length < 200 ? 7 : 509) {
    SCOPED_TRACE(length);
    EXPECT_FALSE(Check(file_.substr(0, length)));
  }
  for (size_t length = 4096; length < file_.size(); length += 4096) {
    SCOPED_TRACE(length);
    EXPECT_FALSE(Check(file_.substr(0, length)));
  }
}

TEST_F(StoreDamageTest, ABitFlippedAnywhere) {
  const char* seed = std::getenv("SECRETMEM_DAMAGE_SEED");
  std::mt19937 random(seed == nullptr ? 1u : static_cast<unsigned>(std::atoi(seed)));
  size_t damaged = 0;
  size_t flips = 0;
  // Every byte of the header, and of the start of each page where its structure stands.
  for (size_t at = 0; at < file_.size(); at += at % 4096 < 40 ? 1 : random() % 151 + 1) {
    const unsigned bit = static_cast<unsigned>(random() % 8);
    SCOPED_TRACE(std::to_string(at) + " bit " + std::to_string(bit));
    std::string file = file_;
    file[at] = static_cast<char>(file[at] ^ (1 << bit));
    ++flips;
    if (!Check(file)) ++damaged;
    if (HasFailure()) return;
  }
  // Most of the file is in use: the flips were where it matters.
  EXPECT_GT(damaged, flips / 4);
}

TEST_F(StoreDamageTest, RubbishAnywhere) {
  std::mt19937 random(2);
  for (int round = 0; round < 300; ++round) {
    SCOPED_TRACE(round);
    std::string file = file_;
    const size_t at = random() % file.size();
    const size_t length = std::min<size_t>(file.size() - at, random() % 600 + 1);
    for (size_t i = 0; i < length; ++i) file[at + i] = static_cast<char>(random());
    Check(file);
    if (HasFailure()) return;
  }
}

TEST_F(StoreDamageTest, PagesInTheWrongPlace) {
  const size_t pages = file_.size() / 4096;
  for (size_t from = 0; from < pages; ++from) {
    for (size_t to = 1; to < pages; to += 3) {
      if (from == to) continue;
      SCOPED_TRACE(std::to_string(from) + " over " + std::to_string(to));
      std::string file = file_;
      std::copy_n(file_.begin() + static_cast<std::ptrdiff_t>(4096 * from), 4096,
                  file.begin() + static_cast<std::ptrdiff_t>(4096 * to));
      Check(file);
      if (HasFailure()) return;
    }
  }
}

TEST_F(StoreDamageTest, DamageInTheLog) {
  std::mt19937 random(3);
  ASSERT_GT(log_.size(), 4096u);
  for (size_t at = 0; at < log_.size(); at += at < 100 ? 1 : random() % 901 + 1) {
    SCOPED_TRACE(at);
    std::string log = log_;
    log[at] = static_cast<char>(log[at] ^ (1 << (random() % 8)));
    Check(file_, log);
    Check(file_, log_.substr(0, at + 1));
    if (HasFailure()) return;
  }
}

}  // namespace
}  // namespace secretmem
