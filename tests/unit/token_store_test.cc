#include "pkcs11/token_store.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sqlite3.h>

#include <chrono>
#include <thread>

#include "tests/unit/store_testing.h"

namespace secretmem {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::UnorderedElementsAre;

class TokenStoreTest : public ::testing::Test {
 protected:
  TokenStore Create() { return Value(TokenStore::Create(path_, MakeRecord())); }
  TokenStore Open() { return Value(TokenStore::Open(path_)); }

  std::vector<std::string> Files() const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(directory_.path())) {
      names.push_back(entry.path().filename());
    }
    std::ranges::sort(names);
    return names;
  }

  // Runs SQL behind the store's back.
  void Sql(const std::string& sql) const {
    sqlite3* db = nullptr;
    ASSERT_EQ(sqlite3_open(path_.c_str(), &db), SQLITE_OK);
    char* message = nullptr;
    EXPECT_EQ(sqlite3_exec(db, sql.c_str(), nullptr, nullptr, &message), SQLITE_OK) << message;
    sqlite3_free(message);
    sqlite3_close(db);
  }

  TemporaryDirectory directory_;
  std::string path_ = TokenFilePath(directory_.path(), "0123456789abcdef");
};

TEST_F(TokenStoreTest, CreateKeepsTheRecord) {
  TokenStore store = Create();
  EXPECT_EQ(Value(store.Read()), MakeRecord());
  EXPECT_EQ(Value(Open().Read()), MakeRecord());
  EXPECT_EQ(Value(store.ChangeCounter()), (StoreState{kIncarnation, 1}));
}

TEST_F(TokenStoreTest, FilesAreForTheOwnerOnlyWhateverTheUmask) {
  const mode_t old = umask(0);
  {
    TokenStore store = Create();
    Value(store.Insert(kIncarnation, std::vector{MakeRow(1)}));
    EXPECT_THAT(Files(), ElementsAre("0123456789abcdef.token", "0123456789abcdef.token-shm",
                                     "0123456789abcdef.token-wal"));
    for (const std::string& name : Files()) {
      struct stat status;
      ASSERT_EQ(stat((directory_ / name).c_str(), &status), 0);
      EXPECT_EQ(status.st_mode & 07777, 0600u) << name;
    }
  }
  EXPECT_THAT(Files(), ElementsAre("0123456789abcdef.token"));
  umask(0777);
  path_ = directory_ / "b.token";
  Create();
  umask(old);
  struct stat status;
  ASSERT_EQ(stat(path_.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0600u);
}

TEST_F(TokenStoreTest, CreateReplacesNothing) {
  Create();
  const std::string before = ReadFile(path_);
  EXPECT_EQ(KindOf(TokenStore::Create(path_, MakeRecord())), "kExists");
  EXPECT_EQ(ReadFile(path_), before);
  EXPECT_EQ(KindOf(TokenStore::Create(directory_ / "none/x.token", MakeRecord())), "kNotFound");
  ASSERT_EQ(symlink("nowhere", (directory_ / "l.token").c_str()), 0);
  EXPECT_EQ(KindOf(TokenStore::Create(directory_ / "l.token", MakeRecord())), "kExists");
  EXPECT_THAT(Files(), ElementsAre("0123456789abcdef.token", "l.token"));
}

TEST_F(TokenStoreTest, CreateChecksItsArguments) {
  TokenRecord record = MakeRecord();
  for (const char* serial : {"", "../x", "12345678901234567", "a b", "a/b"}) {
    record.serial = serial;
    EXPECT_EQ(KindOf(TokenStore::Create(path_, record)), "kInvalid") << serial;
  }
  record = MakeRecord();
  record.store_key_blob.resize(kMaxBlobBytes + 1);
  EXPECT_EQ(KindOf(TokenStore::Create(path_, record)), "kInvalid");
  EXPECT_EQ(KindOf(TokenStore::Create("", MakeRecord())), "kInvalid");
  EXPECT_EQ(KindOf(TokenStore::Create(directory_ / "..", MakeRecord())), "kInvalid");
  EXPECT_THAT(Files(), IsEmpty());
}

TEST_F(TokenStoreTest, CreateIgnoresTheLogOfARemovedFile) {
  {
    TokenStore store = Create();
    Value(store.Insert(kIncarnation, std::vector{MakeRow(1), MakeRow(2)}));
    std::filesystem::copy(path_ + "-wal", directory_ / "saved");
    std::filesystem::remove(path_);
  }
  std::filesystem::rename(directory_ / "saved", path_ + "-wal");
  TokenStore store = Create();
  EXPECT_EQ(Value(store.LoadAll()).object_count, 0u);
}

TEST_F(TokenStoreTest, CreateTakesAwayOldLeftovers) {
  WriteFile(directory_ / ".new-1-2-3", "killed long ago");
  WriteFile(directory_ / ".new-4-5-6", "perhaps at work");
  WriteFile(directory_ / "new-7", "not ours");
  const timespec long_ago[2] = {{1, 0}, {1, 0}};
  for (const char* name : {".new-1-2-3", "new-7"}) {
    ASSERT_EQ(utimensat(AT_FDCWD, (directory_ / name).c_str(), long_ago, 0), 0);
  }
  Create();
  EXPECT_THAT(Files(), ElementsAre(".new-4-5-6", "0123456789abcdef.token", "new-7"));
}

TEST_F(TokenStoreTest, InsertedRowsComeBackAsTheyWere) {
  TokenStore store = Create();
  std::vector<ObjectRow> rows = {MakeRow(7), MakeRow(8)};
  rows[0].attributes.clear();
  rows[0].secret.clear();
  rows[0].index.clear();
  rows[1].attributes.assign(100'000, 0);
  rows[1].secret = {0, 255, 0};
  const Committed committed = Value(store.Insert(kIncarnation, rows));
  EXPECT_THAT(committed.ids, ElementsAre(1, 2));
  EXPECT_EQ(committed.state, (StoreState{kIncarnation, 2}));
  for (size_t i = 0; i < rows.size(); ++i) {
    rows[i].id = committed.ids[i];
    rows[i].version = committed.state.sequence;
  }
  const Snapshot all = Value(store.LoadAll());
  EXPECT_EQ(all.rows, rows);
  EXPECT_TRUE(all.complete);
  EXPECT_EQ(all.object_count, 2u);
  EXPECT_EQ(all.state, committed.state);
  EXPECT_THAT(all.damaged, IsEmpty());
  EXPECT_THAT(all.deleted, IsEmpty());
  TokenStore second = Open();
  EXPECT_EQ(Value(second.LoadAll()).rows, rows);
  EXPECT_EQ(Value(second.LoadRow(MakeUid(8))), rows[1]);
  EXPECT_EQ(KindOf(second.LoadRow(MakeUid(9))), "kNoObject");
}

TEST_F(TokenStoreTest, InsertIsAllOrNothing) {
  TokenStore store = Create();
  const StoreState before = Value(store.Insert(kIncarnation, std::vector{MakeRow(1)})).state;
  EXPECT_EQ(KindOf(store.Insert(kIncarnation, std::vector{MakeRow(2), MakeRow(1)})), "kConflict");
  ObjectRow large = MakeRow(3);
  large.secret.resize(kMaxBlobBytes + 1);
  EXPECT_EQ(KindOf(store.Insert(kIncarnation, std::vector{MakeRow(2), large})), "kInvalid");
  ObjectRow many = MakeRow(4);
  many.index.resize(kMaxIndexHashes + 1);
  EXPECT_EQ(KindOf(store.Insert(kIncarnation, std::vector{MakeRow(2), many})), "kInvalid");
  const Snapshot all = Value(store.LoadAll());
  EXPECT_EQ(all.rows.size(), 1u);
  EXPECT_EQ(all.state, before);
  EXPECT_THAT(Value(store.Insert(kIncarnation, std::vector{MakeRow(2)})).ids, ElementsAre(2));
}

TEST_F(TokenStoreTest, TheLargestRowFits) {
  TokenStore store = Create();
  ObjectRow row = MakeRow(1);
  row.attributes.assign(kMaxBlobBytes, 1);
  row.secret.assign(kMaxBlobBytes, 2);
  row.index.assign(kMaxIndexHashes, MakeUid(5));
  const Committed committed = Value(store.Insert(kIncarnation, std::vector{row}));
  row.id = committed.ids[0];
  row.version = committed.state.sequence;
  EXPECT_EQ(Value(store.LoadRow(row.uid)), row);
}

TEST_F(TokenStoreTest, UpdateWantsTheVersionItWasReadWith) {
  TokenStore store = Create();
  Value(store.Insert(kIncarnation, std::vector{MakeRow(1), MakeRow(2)}));
  ObjectRow row = Value(store.LoadRow(MakeUid(1)));
  const ObjectRow stale = row;
  row.attributes = Bytes("changed");
  row.index = {MakeUid(77)};
  const Committed committed = Value(store.Update(kIncarnation, row));
  EXPECT_THAT(committed.ids, ElementsAre(row.id));
  row.version = committed.state.sequence;
  EXPECT_EQ(Value(store.LoadRow(row.uid)), row);
  EXPECT_EQ(KindOf(store.Update(kIncarnation, stale)), "kConflict");
  ObjectRow other_uid = row;
  other_uid.uid = MakeUid(99);
  EXPECT_EQ(KindOf(store.Update(kIncarnation, other_uid)), "kInvalid");
  ObjectRow gone = row;
  gone.id = 99;
  EXPECT_EQ(KindOf(store.Update(kIncarnation, gone)), "kNoObject");
  EXPECT_EQ(Value(store.LoadRow(row.uid)), row);
  EXPECT_EQ(Value(store.LoadByIndex(std::vector{MakeUid(77)})).rows, std::vector{row});
  EXPECT_THAT(Value(store.LoadByIndex(std::vector{MakeUid(1)})).rows, IsEmpty());
}

TEST_F(TokenStoreTest, DeleteIsAllOrNothingAndIdsAreNotUsedAgain) {
  TokenStore store = Create();
  Value(store.Insert(kIncarnation, std::vector{MakeRow(1), MakeRow(2)}));
  EXPECT_EQ(KindOf(store.Delete(kIncarnation, std::vector<int64_t>{1, 3})), "kNoObject");
  EXPECT_EQ(Value(store.LoadAll()).rows.size(), 2u);
  EXPECT_EQ(KindOf(store.Delete(kIncarnation, std::vector<int64_t>{1, 1})), "kNoObject");
  EXPECT_THAT(Value(store.Delete(kIncarnation, std::vector<int64_t>{2, 1})).ids, ElementsAre(2, 1));
  EXPECT_EQ(Value(store.LoadAll()).object_count, 0u);
  EXPECT_THAT(Value(store.Insert(kIncarnation, std::vector{MakeRow(1)})).ids, ElementsAre(3));
}

TEST_F(TokenStoreTest, IndexFindsRowsThatHaveAnyOfTheHashes) {
  TokenStore store = Create();
  Value(store.Insert(kIncarnation, std::vector{MakeRow(1), MakeRow(2), MakeRow(3)}));
  const IndexHash common = MakeRow(1).index[0];
  const auto ids = [&](std::vector<IndexHash> hashes) {
    std::vector<int64_t> found;
    for (const ObjectRow& row : Value(store.LoadByIndex(hashes)).rows) found.push_back(row.id);
    return found;
  };
  EXPECT_THAT(ids({common}), ElementsAre(1, 2, 3));
  EXPECT_THAT(ids({MakeUid(2)}), ElementsAre(2));
  EXPECT_THAT(ids({MakeUid(3), common, MakeUid(3)}), ElementsAre(1, 2, 3));
  EXPECT_THAT(ids({MakeUid(3), MakeUid(4), MakeUid(2)}), ElementsAre(2, 3));
  EXPECT_THAT(ids({MakeUid(4)}), IsEmpty());
  EXPECT_THAT(ids({}), IsEmpty());
  Value(store.Delete(kIncarnation, std::vector<int64_t>{2}));
  EXPECT_THAT(ids({common}), ElementsAre(1, 3));
  EXPECT_THAT(ids({MakeUid(2)}), IsEmpty());
}

TEST_F(TokenStoreTest, ChangesOfOthersAreSeen) {
  TokenStore one = Create();
  TokenStore two = Open();
  Snapshot seen = Value(two.LoadAll());
  EXPECT_EQ(Value(two.ChangeCounter()), seen.state);
  Value(one.Insert(kIncarnation, std::vector{MakeRow(1), MakeRow(2), MakeRow(3)}));
  EXPECT_NE(Value(two.ChangeCounter()), seen.state);
  EXPECT_EQ(Value(two.ChangeCounter()), Value(one.ChangeCounter()));
  seen = Value(two.LoadChangedSince(seen.state));
  EXPECT_FALSE(seen.complete);
  EXPECT_EQ(seen.rows.size(), 3u);

  ObjectRow row = seen.rows[1];
  row.secret = Bytes("new");
  Value(one.Update(kIncarnation, row));
  Value(one.Delete(kIncarnation, std::vector<int64_t>{1}));
  row.version += 1;
  const Snapshot changes = Value(two.LoadChangedSince(seen.state));
  EXPECT_FALSE(changes.complete);
  EXPECT_EQ(changes.rows, std::vector{row});
  EXPECT_THAT(changes.deleted, ElementsAre(1));
  EXPECT_EQ(changes.object_count, 2u);
  EXPECT_EQ(changes.state, Value(one.ChangeCounter()));

  const Snapshot nothing = Value(two.LoadChangedSince(changes.state));
  EXPECT_FALSE(nothing.complete);
  EXPECT_THAT(nothing.rows, IsEmpty());
  EXPECT_THAT(nothing.deleted, IsEmpty());
  EXPECT_EQ(nothing.object_count, 2u);

  for (const StoreState& unknown :
       {StoreState{kIncarnation + 1, 1}, StoreState{kIncarnation, 1000}, StoreState{}}) {
    const Snapshot whole = Value(two.LoadChangedSince(unknown));
    EXPECT_TRUE(whole.complete);
    EXPECT_EQ(whole.rows.size(), 2u);
  }
}

TEST_F(TokenStoreTest, PinChangesLeaveTheStateAlone) {
  TokenStore one = Create();
  TokenStore two = Open();
  const StoreState before = Value(two.ChangeCounter());
  Value(one.RecordPinFailure(kIncarnation, PinRole::kUser, 5));
  EXPECT_EQ(Value(two.ChangeCounter()), before);
  EXPECT_EQ(Value(one.ChangeCounter()), before);
}

TEST_F(TokenStoreTest, ForgottenDeletionsMeanLoadingEverything) {
  TokenStore store = Create();
  Value(store.Insert(kIncarnation, std::vector{MakeRow(1), MakeRow(2)}));
  const StoreState before = Value(store.ChangeCounter());
  // As if very many changes had been made: the sum is FNV-1a, as the store writes it.
  uint64_t sum = 0xcbf29ce484222325u;
  const auto byte = [&](uint8_t value) { sum = (sum ^ value) * 0x100000001b3u; };
  byte('s');
  for (const uint64_t value :
       {kIncarnation, uint64_t{50'000}, uint64_t{1}, uint64_t{3}, uint64_t{2}}) {
    for (int i = 0; i < 8; ++i) byte(static_cast<uint8_t>(value >> (8 * i)));
  }
  Sql("UPDATE state SET sequence=50000, sum=" + std::to_string(static_cast<int64_t>(sum)));
  const Snapshot kept = Value(store.LoadChangedSince(before));
  EXPECT_FALSE(kept.complete);
  Value(store.Delete(kIncarnation, std::vector<int64_t>{1}));
  const Snapshot forgotten = Value(store.LoadChangedSince(before));
  EXPECT_TRUE(forgotten.complete);
  EXPECT_EQ(forgotten.rows.size(), 1u);
  const Snapshot recent = Value(store.LoadChangedSince({kIncarnation, 50'000}));
  EXPECT_FALSE(recent.complete);
  EXPECT_THAT(recent.deleted, ElementsAre(1));
}

TEST_F(TokenStoreTest, PinsAreReplacedByVersion) {
  TokenStore store = Create();
  PinRecord pin = {Bytes("salt"), 2000, Bytes("wrapped"), 0, 0, 0};
  EXPECT_EQ(Value(store.UpdatePin(kIncarnation, PinRole::kUser, pin)), 1u);
  EXPECT_EQ(KindOf(store.UpdatePin(kIncarnation, PinRole::kUser, pin)), "kConflict");
  pin.version = 1;
  EXPECT_EQ(Value(store.Read()).user, pin);
  EXPECT_EQ(Value(store.Read()).so, MakeRecord().so);
  pin.iterations = 3000;
  EXPECT_EQ(Value(store.UpdatePin(kIncarnation, PinRole::kUser, pin)), 2u);
  pin.version = 2;
  EXPECT_EQ(Value(Open().Read()).user, pin);
}

TEST_F(TokenStoreTest, WrongPinsAreCounted) {
  TokenStore store = Create();
  TokenStore other = Open();
  EXPECT_EQ(Value(store.RecordPinFailure(kIncarnation, PinRole::kUser, 11)).failures, 1u);
  const PinFailures second = Value(other.RecordPinFailure(kIncarnation, PinRole::kUser, 12));
  EXPECT_EQ(second.failures, 2u);
  EXPECT_EQ(second.last_failure_unix_ms, 12);
  TokenRecord record = Value(store.Read());
  EXPECT_EQ(record.user.failures, 2u);
  EXPECT_EQ(record.user.last_failure_unix_ms, 12);
  EXPECT_EQ(record.so.failures, 0u);
  Value(store.ResetPinFailures(kIncarnation, PinRole::kUser));
  EXPECT_EQ(Value(other.Read()), MakeRecord());
  EXPECT_EQ(Value(store.RecordPinFailure(kIncarnation, PinRole::kSecurityOfficer, 13)).failures,
            1u);
  EXPECT_EQ(Value(other.Read()).so.failures, 1u);
  Value(store.ResetPinFailures(kIncarnation, PinRole::kUser));
  EXPECT_EQ(Value(other.Read()).so.failures, 1u);
}

TEST_F(TokenStoreTest, ReinitialiseEndsTheIncarnation) {
  TokenStore store = Create();
  TokenStore other = Open();
  Value(store.Insert(kIncarnation, std::vector{MakeRow(1), MakeRow(2)}));
  const Snapshot before = Value(other.LoadAll());
  TokenRecord record = MakeRecord();
  EXPECT_EQ(KindOf(store.Reinitialise(kIncarnation, record)), "kInvalid");
  record.incarnation = 5;
  record.label.fill('x');
  TokenRecord other_serial = record;
  other_serial.serial = "7";
  EXPECT_EQ(KindOf(store.Reinitialise(kIncarnation, other_serial)), "kInvalid");
  EXPECT_EQ(KindOf(store.Reinitialise(4, record)), "kStale");
  EXPECT_EQ(Value(store.LoadAll()).rows, before.rows);
  Value(store.Reinitialise(kIncarnation, record));
  record.so.version = 1;
  record.user.version = 1;
  EXPECT_EQ(Value(other.Read()), record);

  EXPECT_EQ(KindOf(other.Insert(kIncarnation, std::vector{MakeRow(3)})), "kStale");
  EXPECT_EQ(KindOf(other.Update(kIncarnation, before.rows[0])), "kStale");
  EXPECT_EQ(KindOf(other.Delete(kIncarnation, std::vector<int64_t>{1})), "kStale");
  EXPECT_EQ(KindOf(other.UpdatePin(kIncarnation, PinRole::kUser, PinRecord{})), "kStale");
  EXPECT_EQ(KindOf(other.RecordPinFailure(kIncarnation, PinRole::kUser, 1)), "kStale");
  EXPECT_EQ(KindOf(other.ResetPinFailures(kIncarnation, PinRole::kUser)), "kStale");
  EXPECT_EQ(KindOf(other.Reinitialise(kIncarnation, record)), "kStale");

  const Snapshot after = Value(other.LoadChangedSince(before.state));
  EXPECT_TRUE(after.complete);
  EXPECT_EQ(after.state.incarnation, 5u);
  EXPECT_THAT(after.rows, IsEmpty());
  EXPECT_THAT(Value(other.Insert(5, std::vector{MakeRow(1)})).ids, ElementsAre(3));
}

TEST_F(TokenStoreTest, ARemovedOrReplacedFileIsGoneForGood) {
  TokenStore store = Create();
  TokenStore other = Open();
  std::filesystem::rename(path_, path_ + ".away");
  EXPECT_EQ(KindOf(store.Read()), "kNotFound");
  path_ = path_ + ".away";
  std::filesystem::remove(path_);
  path_ = path_.substr(0, path_.size() - 5);
  for (const char* beside : {"-wal", "-shm"}) std::filesystem::remove(path_ + beside);
  TokenStore fresh = Create();
  Value(fresh.Insert(kIncarnation, std::vector{MakeRow(1)}));
  EXPECT_EQ(KindOf(store.Read()), "kNotFound");
  EXPECT_EQ(KindOf(other.Insert(kIncarnation, std::vector{MakeRow(2)})), "kNotFound");
  // Its end must not take the log of the new file away.
  { TokenStore ends = std::move(other); }
  EXPECT_EQ(Value(Open().LoadAll()).object_count, 1u);
}

TEST_F(TokenStoreTest, OpenRefusesWhatIsNoTokenFile) {
  const auto open = [&](const std::string& name) {
    return KindOf(TokenStore::Open(directory_ / name));
  };
  EXPECT_EQ(open("missing.token"), "kNotFound");
  EXPECT_EQ(open("missing/x.token"), "kNotFound");
  std::filesystem::create_directory(directory_ / "directory.token");
  EXPECT_EQ(open("directory.token"), "kForeign");
  ASSERT_EQ(mkfifo((directory_ / "fifo.token").c_str(), 0600), 0);
  EXPECT_EQ(open("fifo.token"), "kForeign");
  ASSERT_EQ(symlink("loop.token", (directory_ / "loop.token").c_str()), 0);
  EXPECT_EQ(open("loop.token"), "kForeign");
  EXPECT_EQ(KindOf(TokenStore::Open("/dev/null")), "kForeign");
  WriteFile(directory_ / "empty.token", "");
  EXPECT_EQ(open("empty.token"), "kForeign");
  EXPECT_EQ(ReadFile(directory_ / "empty.token"), "");
  WriteFile(directory_ / "text.token", "this is no database, but it is long enough to be read");
  EXPECT_EQ(open("text.token"), "kCorrupt");
  Create();
  ASSERT_EQ(symlink(path_.c_str(), (directory_ / "link.token").c_str()), 0);
  EXPECT_EQ(open("link.token"), "kForeign");
}

TEST_F(TokenStoreTest, ALinkedDirectoryIsFollowed) {
  TemporaryDirectory elsewhere;
  ASSERT_EQ(symlink(directory_.path().c_str(), (elsewhere / "link").c_str()), 0);
  path_ = elsewhere / "link/0123456789abcdef.token";
  TokenStore store = Create();
  EXPECT_EQ(Value(store.Read()), MakeRecord());
  EXPECT_EQ(store.path(), directory_ / "0123456789abcdef.token");
}

TEST_F(TokenStoreTest, OpenRefusesOtherFormats) {
  const auto after = [&](const char* sql) {
    std::filesystem::remove(path_);
    Create();
    Sql(sql);
    return KindOf(TokenStore::Open(path_));
  };
  EXPECT_EQ(after("PRAGMA application_id=1"), "kForeign");
  EXPECT_EQ(after("PRAGMA user_version=2"), "kForeign");
  EXPECT_EQ(after("PRAGMA user_version=0"), "kForeign");
  EXPECT_EQ(after("PRAGMA user_version=-1"), "kForeign");
  EXPECT_EQ(after("CREATE TABLE extra(x)"), "kCorrupt");
  EXPECT_EQ(after("DROP TABLE tag"), "kCorrupt");
  EXPECT_EQ(after("CREATE TRIGGER t AFTER INSERT ON object BEGIN DELETE FROM object; END"),
            "kCorrupt");
  EXPECT_EQ(after("DELETE FROM state"), "kCorrupt");
  EXPECT_EQ(after("DELETE FROM pin"), "kCorrupt");
  EXPECT_EQ(after("DELETE FROM token"), "kCorrupt");
  EXPECT_EQ(after("UPDATE token SET label=x'00'"), "kCorrupt");
  EXPECT_EQ(after("UPDATE pin SET failures=0, iterations=1"), "kCorrupt");
  EXPECT_EQ(after("UPDATE state SET incarnation=1"), "kCorrupt");
}

TEST_F(TokenStoreTest, ACopyInAnotherJournalModeWorks) {
  Create();
  Sql("PRAGMA journal_mode=DELETE");
  TokenStore store = Open();
  Value(store.Insert(kIncarnation, std::vector{MakeRow(1)}));
  EXPECT_THAT(Files(), ::testing::Contains("0123456789abcdef.token-wal"));
}

TEST_F(TokenStoreTest, OneDamagedRowLosesNoOther) {
  TokenStore store = Create();
  Value(store.Insert(kIncarnation, std::vector{MakeRow(1), MakeRow(2), MakeRow(3)}));
  const char* damages[] = {"kind=kind+1", "secret=x'00'", "attributes=x''", "uid=x'00'",
                           "tags=x''",    "sum=sum+1",    "version=1"};
  for (const char* damage : damages) {
    Sql("UPDATE object SET " + std::string(damage) + " WHERE id=2");
    const Snapshot all = Value(store.LoadAll());
    EXPECT_THAT(all.damaged, ElementsAre(2)) << damage;
    EXPECT_EQ(all.rows.size(), 2u);
    EXPECT_EQ(all.object_count, 3u);
  }
  EXPECT_EQ(KindOf(store.Update(kIncarnation,
                                [] {
                                  ObjectRow row = MakeRow(2);
                                  row.id = 2;
                                  return row;
                                }())),
            "kCorrupt");
  Value(store.Delete(kIncarnation, std::vector<int64_t>{2}));
  EXPECT_THAT(Value(store.LoadAll()).damaged, IsEmpty());
  EXPECT_EQ(Value(store.LoadByIndex(std::vector{MakeRow(1).index[0]})).rows.size(), 2u);
}

TEST_F(TokenStoreTest, DamageOfTheIndexIsNoticedWhereEverythingIsLoaded) {
  TokenStore store = Create();
  Value(store.Insert(kIncarnation, std::vector{MakeRow(1), MakeRow(2), MakeRow(3)}));
  EXPECT_FALSE(Value(store.LoadAll()).index_damaged);
  const std::string other = "x'" + std::string(32, 'f') + "'";
  const std::string its_own = " WHERE object=2 AND substr(hash, 1, 1)=x'02'";
  for (const std::string& damage : std::vector<std::string>{
           "DELETE FROM tag" + its_own, "DELETE FROM tag", "UPDATE tag SET hash=" + other + its_own,
           "UPDATE tag SET object=3" + its_own, "INSERT INTO tag VALUES(" + other + ", 1)",
           "INSERT INTO tag VALUES(x'', 1)"}) {
    Sql(damage);
    EXPECT_TRUE(Value(store.LoadAll()).index_damaged) << damage;
    Sql("DELETE FROM tag; INSERT INTO tag SELECT substr(tags, 1, 16), id FROM object;"
        "INSERT INTO tag SELECT substr(tags, 17, 16), id FROM object");
    const Snapshot mended = Value(store.LoadAll());
    EXPECT_FALSE(mended.index_damaged) << damage;
    EXPECT_EQ(mended.rows.size(), 3U);
  }
  // What it says of rows that cannot be read is not known to be wrong.
  Sql("UPDATE object SET sum=0 WHERE id=1; DELETE FROM object WHERE id=2");
  EXPECT_FALSE(Value(store.LoadAll()).index_damaged);
}

TEST_F(TokenStoreTest, IndexNamesRowsThatAreNotThere) {
  TokenStore store = Create();
  Value(store.Insert(kIncarnation, std::vector{MakeRow(1), MakeRow(2), MakeRow(3)}));
  Sql("DELETE FROM object WHERE id=2; UPDATE object SET sum=0 WHERE id=3");
  const Snapshot found = Value(store.LoadByIndex(std::vector{MakeRow(1).index[0]}));
  EXPECT_FALSE(found.complete);
  ASSERT_EQ(found.rows.size(), 1U);
  EXPECT_EQ(found.rows[0].uid, MakeUid(1));
  EXPECT_THAT(found.damaged, ElementsAre(2, 3));
  EXPECT_THAT(Value(store.LoadByIndex(std::vector{MakeUid(2)})).damaged, ElementsAre(2));
}

TEST_F(TokenStoreTest, AMissingRowIsNoticed) {
  TokenStore store = Create();
  Value(store.Insert(kIncarnation, std::vector{MakeRow(1), MakeRow(2)}));
  Sql("DELETE FROM object WHERE id=1");
  const Snapshot all = Value(store.LoadAll());
  EXPECT_EQ(all.missing, 1u);
  ASSERT_EQ(all.rows.size(), 1u);
  EXPECT_EQ(all.rows[0].uid, MakeUid(2));
}

TEST_F(TokenStoreTest, WhatWasDestroyedIsGoneFromTheFiles) {
  TokenStore store = Create();
  PinRecord pin = {Bytes("salt"), 1000, Bytes("OLDPIN-MARKER"), 0, 0, 0};
  Value(store.UpdatePin(kIncarnation, PinRole::kUser, pin));
  std::vector<ObjectRow> rows;
  for (uint64_t i = 0; i < 300; ++i) {
    // From a few bytes to several pages, so that pages split and overflow.
    rows.push_back(MakeRow(1000 + i, "OBJECT-MARKER" + std::string(i * i % 9000, 'x')));
    rows.back().attributes = Bytes("ATTR-MARKER");
    rows.back().index = {MakeUid(0x4d41524b54414721u)};  // "!GATKRAM"
  }
  std::vector<int64_t> ids;
  for (const ObjectRow& row : rows) {
    ids.push_back(Value(store.Insert(kIncarnation, std::vector{row})).ids[0]);
  }
  const auto everything = [&] { return ReadFile(path_) + ReadFile(path_ + "-wal"); };
  for (const char* marker : {"OLDPIN-MARKER", "OBJECT-MARKER", "ATTR-MARKER", "!GATKRAM"}) {
    ASSERT_THAT(everything(), HasSubstr(marker));
  }
  pin.wrapped_key = Bytes("another");
  pin.version = 1;
  Value(store.UpdatePin(kIncarnation, PinRole::kUser, pin));
  EXPECT_EQ(everything().find("OLDPIN-MARKER"), std::string::npos);
  EXPECT_EQ(ReadFile(path_ + "-wal"), "");
  // In an order of its own, one by one and many at once.
  for (size_t i = 0; i < 100; ++i) {
    Value(store.Delete(kIncarnation, std::vector{ids[i * 3]}));
  }
  std::vector<int64_t> rest;
  for (size_t i = 0; i < 300; ++i) {
    if (i % 3 != 0) rest.push_back(ids[i]);
  }
  Value(store.Delete(kIncarnation, rest));
  for (const char* marker : {"OBJECT-MARKER", "ATTR-MARKER", "!GATKRAM"}) {
    EXPECT_EQ(everything().find(marker), std::string::npos) << marker;
  }
}

TEST_F(TokenStoreTest, AnUpdatedOrReinitialisedValueIsGoneFromTheFiles) {
  TokenStore store = Create();
  const auto everything = [&] { return ReadFile(path_) + ReadFile(path_ + "-wal"); };
  Value(
      store.Insert(kIncarnation, std::vector{MakeRow(1, "FIRST-MARKER"), MakeRow(2, "SECOND-M")}));
  ObjectRow row = Value(store.LoadRow(MakeUid(1)));
  row.secret = Bytes("x");
  Value(store.Update(kIncarnation, row));
  EXPECT_EQ(everything().find("FIRST-MARKER"), std::string::npos);
  EXPECT_NE(everything().find("SECOND-M"), std::string::npos);
  TokenRecord record = MakeRecord();
  record.incarnation = 1;
  record.store_key_blob = Bytes("other");
  Value(store.Reinitialise(kIncarnation, record));
  EXPECT_EQ(everything().find("SECOND-M"), std::string::npos);
  EXPECT_EQ(everything().find("store key"), std::string::npos);
}

TEST_F(TokenStoreTest, AReaderInTheWayOnlyDelaysTheCleaning) {
  TokenStore store = Create();
  Value(store.Insert(kIncarnation, std::vector{MakeRow(1, "DELAYED-MARKER")}));
  sqlite3* reader = nullptr;
  ASSERT_EQ(sqlite3_open(path_.c_str(), &reader), SQLITE_OK);
  ASSERT_EQ(sqlite3_exec(reader, "BEGIN; SELECT * FROM object", nullptr, nullptr, nullptr),
            SQLITE_OK);
  Value(store.Delete(kIncarnation, std::vector<int64_t>{1}));
  EXPECT_THAT(ReadFile(path_ + "-wal"), HasSubstr("DELAYED-MARKER"));
  sqlite3_close(reader);
  std::this_thread::sleep_for(std::chrono::milliseconds(150));
  EXPECT_EQ(Value(store.LoadAll()).object_count, 0u);
  EXPECT_EQ(ReadFile(path_ + "-wal"), "");
  EXPECT_THAT(ReadFile(path_), Not(HasSubstr("DELAYED-MARKER")));
}

TEST_F(TokenStoreTest, AWriterInTheWayIsWaitedForButNotForEver) {
  TokenStore store = Create();
  sqlite3* writer = nullptr;
  ASSERT_EQ(sqlite3_open(path_.c_str(), &writer), SQLITE_OK);
  ASSERT_EQ(sqlite3_exec(writer, "BEGIN IMMEDIATE", nullptr, nullptr, nullptr), SQLITE_OK);
  std::thread ends([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    sqlite3_exec(writer, "COMMIT", nullptr, nullptr, nullptr);
  });
  Value(store.Insert(kIncarnation, std::vector{MakeRow(1)}));
  ends.join();
  ASSERT_EQ(sqlite3_exec(writer, "BEGIN IMMEDIATE", nullptr, nullptr, nullptr), SQLITE_OK);
  EXPECT_EQ(KindOf(store.Insert(kIncarnation, std::vector{MakeRow(2)})), "kBusy");
  EXPECT_EQ(Value(store.LoadAll()).object_count, 1u);
  sqlite3_close(writer);
  Value(store.Insert(kIncarnation, std::vector{MakeRow(2)}));
}

TEST_F(TokenStoreTest, ThreadsShareAStore) {
  TokenStore store = Create();
  TokenStore second = Open();
  std::vector<std::thread> threads;
  for (uint64_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (uint64_t i = 0; i < 25; ++i) {
        TokenStore& used = (t + i) % 2 == 0 ? store : second;
        Value(used.Insert(kIncarnation, std::vector{MakeRow(100 * t + i)}));
        Value(used.ChangeCounter());
        Value(used.LoadAll());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  const Snapshot all = Value(store.LoadAll());
  EXPECT_EQ(all.object_count, 100u);
  EXPECT_EQ(all.state.sequence, 101u);
  EXPECT_EQ(Value(second.LoadAll()).rows, all.rows);
}

TEST(TokenDirectoryTest, EnsureMakesWhatIsMissing) {
  TemporaryDirectory directory;
  const mode_t old = umask(0777);
  Value(EnsureTokenDirectory(directory / "a/b/c/"));
  umask(old);
  for (const char* name : {"a", "a/b", "a/b/c"}) {
    struct stat status;
    ASSERT_EQ(stat((directory / name).c_str(), &status), 0);
    EXPECT_EQ(status.st_mode, S_IFDIR | 0700u) << name;
  }
  chmod((directory / "a").c_str(), 0755);
  Value(EnsureTokenDirectory(directory / "a"));
  struct stat status;
  ASSERT_EQ(stat((directory / "a").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0755u);
  WriteFile(directory / "file", "");
  EXPECT_EQ(KindOf(EnsureTokenDirectory(directory / "file")), "kInvalid");
  EXPECT_EQ(KindOf(EnsureTokenDirectory(directory / "file/x")), "kInvalid");
  EXPECT_EQ(KindOf(EnsureTokenDirectory("relative")), "kInvalid");
  EXPECT_EQ(KindOf(EnsureTokenDirectory("")), "kInvalid");
}

TEST(TokenDirectoryTest, ListIsSortedAndComplete) {
  TemporaryDirectory directory;
  EXPECT_THAT(Value(ListTokenFiles(directory / "none")), IsEmpty());
  for (const char* name :
       {"b.token", "a.token", ".new-1.token", "x.token-wal", "other", "c.token"}) {
    WriteFile(directory / name, "");
  }
  std::filesystem::create_directory(directory / "d.token");
  EXPECT_THAT(Value(ListTokenFiles(directory.path())),
              ElementsAre(directory / "a.token", directory / "b.token", directory / "c.token",
                          directory / "d.token"));
  EXPECT_EQ(KindOf(ListTokenFiles(directory / "other")), "kInvalid");
}

}  // namespace
}  // namespace secretmem
