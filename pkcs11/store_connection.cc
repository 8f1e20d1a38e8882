#include "pkcs11/store_connection.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>
#include <thread>

namespace secretmem::store {

namespace {

using Kind = StoreError::Kind;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

Kind KindOfErrno(int error, Kind otherwise) {
  switch (error) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
      return Kind::kFull;
    case EROFS:
      return Kind::kReadOnly;
    case EACCES:
    case EPERM:
      return Kind::kPermission;
    case ENOENT:
    case ENOTDIR:
      return Kind::kNotFound;
    case ELOOP:
    case EISDIR:
      return Kind::kForeign;
    default:
      return otherwise;
  }
}

Kind KindOfSqlite(int code, int system_error) {
  if (code == SQLITE_READONLY_DBMOVED) return Kind::kNotFound;
  if (code == SQLITE_READONLY_DIRECTORY || code == SQLITE_READONLY_CANTINIT) {
    return Kind::kPermission;
  }
  if (code == SQLITE_CANTOPEN_SYMLINK || code == SQLITE_CANTOPEN_ISDIR) return Kind::kForeign;
  if (code == SQLITE_IOERR_SHORT_READ || code == SQLITE_IOERR_CORRUPTFS) return Kind::kCorrupt;
  switch (code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_PROTOCOL:  // Lock races in the write-ahead log, given up after many attempts.
      return Kind::kBusy;
    case SQLITE_FULL:
      return Kind::kFull;
    case SQLITE_READONLY:
      return Kind::kReadOnly;
    case SQLITE_PERM:
    case SQLITE_AUTH:
      return Kind::kPermission;
    case SQLITE_CANTOPEN:
      return KindOfErrno(system_error, Kind::kPermission);
    case SQLITE_IOERR:
      return KindOfErrno(system_error, Kind::kIo);
    case SQLITE_ERROR:  // The statements are constant: only the file can make them wrong.
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_FORMAT:
    case SQLITE_MISMATCH:
    case SQLITE_TOOBIG:
      return Kind::kCorrupt;
    case SQLITE_CONSTRAINT:
      return Kind::kConflict;
    default:
      return Kind::kIo;
  }
}

struct Patience {
  bool active = false;
  bool log_left = false;
  steady_clock::time_point deadline;
};
thread_local Patience t_patience;

[[noreturn]] void ThrowSqlite(sqlite3* db, int result, const std::string& path) {
  const int write_error = errno;
  if ((result & 0xff) == SQLITE_NOMEM) throw std::bad_alloc();
  const int code =
      db != nullptr && sqlite3_errcode(db) == result ? sqlite3_extended_errcode(db) : result;
  int system_error = db != nullptr ? sqlite3_system_errno(db) : 0;
  // A failed write is rolled back before it is reported, and SQLite's own note of the cause is
  // gone.
  const bool full = write_error == EFBIG || write_error == ENOSPC || write_error == EDQUOT;
  if (system_error == 0 && full) system_error = write_error;
  std::string reason = path + ": " + (db != nullptr ? sqlite3_errmsg(db) : sqlite3_errstr(result));
  reason += " (" + std::to_string(code) + ")";
  const Kind kind = KindOfSqlite(code, system_error);
  if (system_error != 0 &&
      (kind == Kind::kPermission || kind == Kind::kIo || kind == Kind::kFull)) {
    reason += std::string(": ") + std::strerror(system_error);
  }
  Throw(kind, std::move(reason));
}

}  // namespace

bool IsPatienceOver() { return t_patience.active && steady_clock::now() >= t_patience.deadline; }

void NoteLog(bool left) { t_patience.log_left = left; }

void Throw(StoreError::Kind kind, std::string reason) { throw StoreError{kind, std::move(reason)}; }

FileIdentity Identify(const std::string& path) {
  struct stat status;
  if (lstat(path.c_str(), &status) != 0) {
    const int error = errno;
    Throw(KindOfErrno(error, Kind::kIo), path + ": " + std::strerror(error));
  }
  if (!S_ISREG(status.st_mode)) Throw(Kind::kForeign, path + ": not a regular file");
  return {status.st_dev, status.st_ino};
}

// Statement

Statement::Statement(sqlite3* db, sqlite3_stmt* stmt, const std::string& path)
    : db_(db), stmt_(stmt), path_(path) {}

Statement::~Statement() {
  sqlite3_reset(stmt_);
  sqlite3_clear_bindings(stmt_);
}

void Statement::Bind(int parameter, int64_t value) {
  const int result = sqlite3_bind_int64(stmt_, parameter, value);
  if (result != SQLITE_OK) ThrowSqlite(db_, result, path_);
}

void Statement::Bind(int parameter, std::span<const uint8_t> bytes) {
  // A null pointer would bind NULL, not an empty blob.
  const void* data = bytes.empty() ? static_cast<const void*>("") : bytes.data();
  const int result = sqlite3_bind_blob64(stmt_, parameter, data, bytes.size(), SQLITE_STATIC);
  if (result != SQLITE_OK) ThrowSqlite(db_, result, path_);
}

void Statement::Bind(int parameter, std::string_view text) {
  const char* data = text.empty() ? "" : text.data();
  const int result =
      sqlite3_bind_text64(stmt_, parameter, data, text.size(), SQLITE_STATIC, SQLITE_UTF8);
  if (result != SQLITE_OK) ThrowSqlite(db_, result, path_);
}

bool Statement::Step() {
  errno = 0;
  const int result = sqlite3_step(stmt_);
  if (result == SQLITE_ROW) return true;
  if (result == SQLITE_DONE) return false;
  ThrowSqlite(db_, result, path_);
}

void Statement::Run() {
  while (Step()) {
  }
}

void Statement::Again() { sqlite3_reset(stmt_); }

void Statement::ExpectType(int column, int type) const {
  if (sqlite3_column_type(stmt_, column) != type) {
    Throw(Kind::kCorrupt, path_ + ": a value of the wrong type");
  }
}

int64_t Statement::Integer(int column) const {
  ExpectType(column, SQLITE_INTEGER);
  return sqlite3_column_int64(stmt_, column);
}

std::span<const uint8_t> Statement::Blob(int column) const {
  ExpectType(column, SQLITE_BLOB);
  const auto* data = static_cast<const uint8_t*>(sqlite3_column_blob(stmt_, column));
  const int size = sqlite3_column_bytes(stmt_, column);
  if (size > 0 && data == nullptr) ThrowSqlite(db_, sqlite3_errcode(db_), path_);
  return {data, static_cast<size_t>(size)};
}

std::string Statement::Text(int column) const {
  ExpectType(column, SQLITE_TEXT);
  const auto* data = reinterpret_cast<const char*>(sqlite3_column_text(stmt_, column));
  if (data == nullptr) ThrowSqlite(db_, sqlite3_errcode(db_), path_);
  return std::string(data, static_cast<size_t>(sqlite3_column_bytes(stmt_, column)));
}

// Connection

Connection::Connection(const std::string& path, Mode mode) : path_(path) {
  StartClock(milliseconds(kStoreBusyMs));
  const FileIdentity before = Identify(path);
  // An absolute path is never taken for a URI. The calls are serialised by the store's own mutex.
  const int result = sqlite3_open_v2(
      path.c_str(), &db_,
      SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE | SQLITE_OPEN_NOFOLLOW,
      "unix");
  try {
    if (result != SQLITE_OK) ThrowSqlite(db_, result, path_);
    Configure(mode);
    identity_ = Identify(path);
    if (identity_ != before) Throw(Kind::kNotFound, path + ": replaced while it was opened");
  } catch (...) {
    LeaveAsIs();
    sqlite3_close_v2(db_);
    throw;
  }
}

Connection::~Connection() {
  deadline_ = steady_clock::now();
  for (sqlite3_stmt* statement : statements_) sqlite3_finalize(statement);
  sqlite3_close_v2(db_);
}

void Connection::LeaveAsIs() noexcept {
  if (db_ != nullptr) sqlite3_db_config(db_, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
}

void Connection::StartClock(milliseconds limit) {
  deadline_ = steady_clock::now() + limit;
  if (t_patience.active) deadline_ = std::min(deadline_, t_patience.deadline);
}

int Connection::OnBusy(void* self, int count) {
  const auto left = std::chrono::duration_cast<std::chrono::microseconds>(
      static_cast<Connection*>(self)->deadline_ - steady_clock::now());
  if (left.count() <= 0) return 0;
  // Always short: who writes without pause leaves the lock free only for moments, and a waiter that
  // backs off would never meet one. The odd steps keep several waiters from waking together.
  const int wait = std::min(100 + 100 * count, 500) + count % 7 * 53;
  std::this_thread::sleep_for(std::min(left, std::chrono::microseconds(wait)));
  return 1;
}

void Connection::Configure(Mode mode) {
  sqlite3_extended_result_codes(db_, 0);
  sqlite3_busy_handler(db_, &Connection::OnBusy, this);
  sqlite3_limit(db_, SQLITE_LIMIT_LENGTH, static_cast<int>(3 * kMaxBlobBytes + (1u << 16)));
  sqlite3_limit(db_, SQLITE_LIMIT_ATTACHED, 0);
  sqlite3_limit(db_, SQLITE_LIMIT_TRIGGER_DEPTH, 1);
  sqlite3_db_config(db_, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  sqlite3_db_config(db_, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, nullptr);
  sqlite3_db_config(db_, SQLITE_DBCONFIG_ENABLE_VIEW, 0, nullptr);
  sqlite3_db_config(db_, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
  // None of these reads the file.
  Execute("PRAGMA cell_size_check=ON");
  Execute("PRAGMA mmap_size=0");
  Execute("PRAGMA temp_store=MEMORY");
  Execute("PRAGMA secure_delete=ON");
  if (mode == Mode::kBuild) {
    Execute("PRAGMA synchronous=OFF");
    return;
  }
  Execute("PRAGMA synchronous=FULL");
}

Statement Connection::Get(Query query) {
  sqlite3_stmt*& statement = statements_[static_cast<size_t>(query)];
  if (statement == nullptr) {
    const int result = sqlite3_prepare_v3(db_, QueryText(query), -1, SQLITE_PREPARE_PERSISTENT,
                                          &statement, nullptr);
    if (result != SQLITE_OK) ThrowSqlite(db_, result, path_);
  }
  return Statement(db_, statement, path_);
}

void Connection::Execute(const char* sql) {
  const int result = sqlite3_exec(db_, sql, nullptr, nullptr, nullptr);
  if (result != SQLITE_OK) ThrowSqlite(db_, result, path_);
}

int64_t Connection::PragmaInteger(const char* sql) {
  ScratchStatement statement(*this, sql);
  return statement->Step() ? statement->Integer(0) : 0;
}

std::string Connection::PragmaText(const char* sql) {
  ScratchStatement statement(*this, sql);
  return statement->Step() ? statement->Text(0) : std::string();
}

bool Connection::Truncate() {
  return sqlite3_wal_checkpoint_v2(db_, "main", SQLITE_CHECKPOINT_TRUNCATE, nullptr, nullptr) ==
         SQLITE_OK;
}

bool Connection::RollBack() noexcept {
  sqlite3_stmt* statement = statements_[static_cast<size_t>(Query::kRollback)];
  if (statement != nullptr && sqlite3_get_autocommit(db_) == 0) {
    sqlite3_step(statement);
    sqlite3_reset(statement);
  }
  return sqlite3_get_autocommit(db_) != 0;
}

bool Connection::read_only() const { return sqlite3_db_readonly(db_, "main") == 1; }

ScratchStatement::ScratchStatement(Connection& connection, const char* sql) {
  const int result = sqlite3_prepare_v2(connection.db(), sql, -1, &prepared_, nullptr);
  if (result != SQLITE_OK) ThrowSqlite(connection.db(), result, connection.path());
  statement_.emplace(connection.db(), prepared_, connection.path());
}

ScratchStatement::~ScratchStatement() {
  statement_.reset();
  sqlite3_finalize(prepared_);
}

// Transaction

Transaction::Transaction(Connection& connection, Kind kind) : connection_(connection) {
  if (kind == Kind::kWrite && connection.read_only()) {
    Throw(StoreError::Kind::kReadOnly, "the token file is read-only");
  }
  // To be at hand when there is no memory to prepare it: an open transaction stops everybody else.
  connection.Get(Query::kRollback);
  connection.Get(kind == Kind::kWrite ? Query::kBeginImmediate : Query::kBegin).Run();
}

Transaction::~Transaction() {
  if (open_) connection_.RollBack();
}

void Transaction::Commit() {
  connection_.Get(Query::kCommit).Run();
  open_ = false;
}

}  // namespace secretmem::store

namespace secretmem {

StorePatience::StorePatience(int milliseconds) {
  using std::chrono::steady_clock;
  store::t_patience = {true, false, steady_clock::now() + std::chrono::milliseconds(milliseconds)};
}

StorePatience::~StorePatience() { store::t_patience = {}; }

bool StorePatience::log_left() const { return store::t_patience.log_left; }

}  // namespace secretmem
