// One SQLite connection: opening it safely, prepared statements, transactions, errors.
// Inside the store errors are thrown as StoreError; token_store.cc stops them.
#pragma once

#include <sqlite3.h>
#include <sys/types.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "pkcs11/token_store.h"

namespace secretmem::store {

// Query names a statement; its text stands in store_schema.cc.
enum class Query : uint8_t {
  kBegin,
  kBeginImmediate,
  kCommit,
  kRollback,
  kDataVersion,
  kGetState,
  kSetState,
  kGetToken,
  kSetToken,
  kGetPin,
  kSetPin,
  kInsertObject,
  kUpdateObject,
  kDeleteObject,
  kDeleteAllObjects,
  kGetObjectById,
  kGetObjectByUid,
  kGetObjects,
  kGetObjectsSince,
  kGetObjectsByTag,
  kGetTags,
  kInsertTag,
  kDeleteTag,
  kDeleteTagsOf,
  kDeleteAllTags,
  kInsertTombstone,
  kGetTombstonesSince,
  kPruneTombstones,
  kCount,
};

const char* QueryText(Query query);

// IsPatienceOver says whether this thread has a StorePatience whose time is up.
bool IsPatienceOver();

// NoteLog tells this thread's StorePatience, if any, whether the log could not be emptied.
void NoteLog(bool left);

[[noreturn]] void Throw(StoreError::Kind kind, std::string reason);

// Statement is one use of a prepared statement; its end resets it. Columns and parameters count
// from 0 and 1, as SQLite's do. A column of another type than asked for means damage.
class Statement {
 public:
  Statement(sqlite3* db, sqlite3_stmt* stmt, const std::string& path);
  ~Statement();
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;

  // Bound bytes must live until the statement ends.
  void Bind(int parameter, int64_t value);
  void Bind(int parameter, uint64_t value) { Bind(parameter, static_cast<int64_t>(value)); }
  void Bind(int parameter, std::span<const uint8_t> bytes);
  void Bind(int parameter, std::string_view text);

  // Step returns whether there is a row.
  bool Step();
  // Run steps a statement that gives no rows.
  void Run();
  // Again makes the statement ready for other parameters.
  void Again();

  int64_t Integer(int column) const;
  uint64_t Unsigned(int column) const { return static_cast<uint64_t>(Integer(column)); }
  std::span<const uint8_t> Blob(int column) const;  // Until the next step.
  std::string Text(int column) const;

 private:
  void ExpectType(int column, int type) const;

  sqlite3* db_;
  sqlite3_stmt* stmt_;
  const std::string& path_;
};

// FileIdentity tells one file from another of the same name.
struct FileIdentity {
  dev_t device = 0;
  ino_t inode = 0;
  bool operator==(const FileIdentity&) const = default;
};

class Connection {
 public:
  enum class Mode : uint8_t {
    kExisting,  // A token file in use by others perhaps.
    kBuild,     // A new file nobody knows of: no durability, made durable by the caller.
  };
  // Opens `path`, which must be absolute and canonical. Does not look at what is inside.
  Connection(const std::string& path, Mode mode);
  // Checkpoints and removes the write-ahead log if this was its last user.
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // LeaveAsIs makes the destructor leave the write-ahead log alone.
  void LeaveAsIs() noexcept;

  // StartClock begins the time that all waiting of one call may take together.
  void StartClock(std::chrono::milliseconds limit);

  Statement Get(Query query);
  void Execute(const char* sql);
  int64_t PragmaInteger(const char* sql);
  std::string PragmaText(const char* sql);

  // Truncate checkpoints everything into the file and empties the write-ahead log. Returns whether
  // it could; readers in other processes can be in the way.
  bool Truncate();

  // RollBack ends a transaction that was begun, without allocating. Returns whether none is left.
  bool RollBack() noexcept;

  bool read_only() const;
  const FileIdentity& identity() const { return identity_; }
  const std::string& path() const { return path_; }
  sqlite3* db() const { return db_; }

 private:
  static int OnBusy(void* self, int count);
  void Configure(Mode mode);

  std::string path_;
  sqlite3* db_ = nullptr;
  FileIdentity identity_;
  std::chrono::steady_clock::time_point deadline_;
  std::array<sqlite3_stmt*, static_cast<size_t>(Query::kCount)> statements_{};
};

// ScratchStatement is a statement prepared for one use.
class ScratchStatement {
 public:
  ScratchStatement(Connection& connection, const char* sql);
  ~ScratchStatement();
  ScratchStatement(const ScratchStatement&) = delete;
  ScratchStatement& operator=(const ScratchStatement&) = delete;
  Statement& operator*() { return *statement_; }
  Statement* operator->() { return &*statement_; }

 private:
  sqlite3_stmt* prepared_ = nullptr;
  std::optional<Statement> statement_;
};

// Transaction is rolled back at its end unless committed.
class Transaction {
 public:
  enum class Kind : uint8_t { kRead, kWrite };
  Transaction(Connection& connection, Kind kind);
  ~Transaction();
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;
  void Commit();

 private:
  Connection& connection_;
  bool open_ = true;
};

// Identify returns the identity of the regular file at `path`. Throws kNotFound, kForeign (another
// type of file, an empty one), kPermission, kIo.
FileIdentity Identify(const std::string& path);

}  // namespace secretmem::store
