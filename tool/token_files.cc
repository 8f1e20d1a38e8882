#include "tool/token_files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "pkcs11/row_kind.h"
#include "pkcs11/store_connection.h"
#include "pkcs11/store_file.h"
#include "pkcs11/store_schema.h"
#include "pkcs11/token_store.h"
#include "tool/exit_codes.h"

namespace secretmem::tool {

namespace {

using store::Connection;

// Trim takes the padding off a label.
std::string Trim(const std::array<uint8_t, 32>& label) {
  std::string text(label.begin(), label.end());
  text.erase(text.find_last_not_of(' ') + 1);
  return text;
}

template <class T>
T Must(StoreResult<T> result, const std::string& doing, const std::string& remedy = {}) {
  if (!result) throw ToolError(kFailed, doing + ": " + result.error().reason, remedy);
  if constexpr (!std::is_void_v<T>) return *std::move(result);
}

// CheckWhole has SQLite read every page of a copy: LookAt reads only what it needs.
void CheckWhole(const std::string& path) {
  Connection connection(path, Connection::Mode::kExisting);
  const std::string answer = connection.PragmaText("PRAGMA integrity_check");
  if (answer != "ok") store::Throw(StoreError::Kind::kCorrupt, path + ": " + answer);
}

// CopyInto fills the empty file |to| with what |from| is at one moment.
void CopyInto(const std::string& from, const std::string& to) {
  Connection source(from, Connection::Mode::kExisting);
  Connection target(to, Connection::Mode::kBuild);
  sqlite3_backup* backup = sqlite3_backup_init(target.db(), "main", source.db(), "main");
  if (backup == nullptr) {
    store::Throw(StoreError::Kind::kIo, to + ": " + sqlite3_errmsg(target.db()));
  }
  // All pages in one step: a copy in several would begin anew with every change by others.
  int result = SQLITE_BUSY;
  for (int attempt = 0; attempt < 50 && (result == SQLITE_BUSY || result == SQLITE_LOCKED);
       ++attempt) {
    if (attempt > 0) sqlite3_sleep(100);
    result = sqlite3_backup_step(backup, -1);
  }
  const int finished = sqlite3_backup_finish(backup);
  if (result != SQLITE_DONE || finished != SQLITE_OK) {
    const int code = result != SQLITE_DONE ? result : finished;
    const auto kind = code == SQLITE_FULL ? StoreError::Kind::kFull : StoreError::Kind::kIo;
    store::Throw(kind, to + ": " + sqlite3_errstr(code));
  }
  // One file, nothing beside it.
  target.PragmaText("PRAGMA journal_mode=DELETE");
}

[[noreturn]] void Broken(const std::string& shown, uint64_t objects) {
  store::Throw(StoreError::Kind::kCorrupt,
               shown + ": " + std::to_string(objects) + " of its objects are damaged");
}

// Verified looks at a file and throws unless everything in it is what was written.
TokenFacts Verified(const std::string& path, const std::string& shown) {
  CheckWhole(path);
  TokenFacts facts = LookAt(path);
  if (!facts.problem.empty()) store::Throw(StoreError::Kind::kCorrupt, facts.problem);
  if (facts.damaged != 0) Broken(shown, facts.damaged);
  return facts;
}

}  // namespace

TokenFacts LookAt(const std::string& path) {
  TokenFacts facts;
  facts.path = path;
  StoreResult<TokenStore> opened = TokenStore::Open(path);
  if (!opened) {
    facts.problem = opened.error().reason;
    return facts;
  }
  const StoreResult<TokenRecord> record = opened->Read();
  const StoreResult<Snapshot> all = opened->LoadAll();
  if (!record || !all) {
    facts.problem = !record ? record.error().reason : all.error().reason;
    return facts;
  }
  facts.label = Trim(record->label);
  facts.serial = record->serial;
  facts.user_pin_set = !record->user.wrapped_key.empty();
  facts.user_failures = record->user.failures;
  facts.so_failures = record->so.failures;
  facts.iterations = record->user.iterations;
  facts.damaged = all->damaged.size() + all->missing;
  if (all->index_damaged) facts.problem = path + ": its index is damaged";
  for (const ObjectRow& row : all->rows) {
    // A row of a kind that is not among these is no object, but the token's own.
    switch (static_cast<RowKind>(row.kind)) {
      case RowKind::kPublic:
        ++facts.others;
        break;
      case RowKind::kStoreSealed:
        ++facts.open_keys;
        break;
      case RowKind::kPrivate:
        ++(row.secret.empty() ? facts.others : facts.keys);
        break;
      default:
        break;
    }
  }
  return facts;
}

std::vector<TokenFacts> AllTokens(const Config& config) {
  std::vector<TokenFacts> tokens;
  for (const std::string& path :
       Must(ListTokenFiles(config.tokens_directory), "listing the tokens")) {
    tokens.push_back(LookAt(path));
  }
  return tokens;
}

TokenFacts FindToken(const Config& config, const std::string& name) {
  std::vector<TokenFacts> found;
  std::string there;
  for (const TokenFacts& token : AllTokens(config)) {
    // A damaged one has no label to go by, but its file has a name.
    const std::string stem = std::filesystem::path(token.path).stem();
    if (token.label == name || token.serial == name || (!token.problem.empty() && stem == name)) {
      found.push_back(token);
    } else if (token.problem.empty()) {
      there += (there.empty() ? "\"" : ", \"") + token.label + "\"";
    }
  }
  if (found.size() == 1) return found[0];
  if (found.empty()) {
    throw ToolError(kNoToken, "there is no token \"" + name + "\" in " + config.tokens_directory,
                    there.empty() ? "Make one: secretmem-pkcs11 token init --label NAME."
                                  : "There are: " + there + ".");
  }
  std::string serials;
  for (const TokenFacts& token : found) serials += (serials.empty() ? "" : ", ") + token.serial;
  throw ToolError(kNoToken, std::to_string(found.size()) + " tokens are called \"" + name + "\"",
                  "Name one by its serial number: " + serials + ".");
}

TokenFacts Backup(const std::string& from, const std::string& to) try {
  store::TemporaryFile file(store::CanonicalPath(to));
  CopyInto(from, file.name());
  TokenFacts facts = Verified(file.name(), from);
  file.Publish();
  facts.path = to;
  return facts;
} catch (const StoreError& error) {
  const bool exists = error.kind == StoreError::Kind::kExists;
  throw ToolError(kFailed, "no backup was made: " + error.reason,
                  exists ? "Name a file that does not exist yet: nothing is written over." : "");
}

Restored Restore(const std::string& from, const Config& config, bool replace,
                 const PinText* pin) try {
  const std::string& directory = config.tokens_directory;
  Must(EnsureTokenDirectory(directory), "making the tokens' directory");
  // A copy is what is looked at and what is put in place: looking writes, and the backup may lie
  // where it must not be written to.
  store::TemporaryFile scratch(store::CanonicalPath(directory + "/restore.token"));
  {
    std::error_code error;
    std::filesystem::copy_file(from, scratch.name(),
                               std::filesystem::copy_options::overwrite_existing, error);
    if (error) {
      throw ToolError(kFailed, from + ": " + error.message(),
                      "Name a file that secretmem-pkcs11 token backup has written.");
    }
    chmod(scratch.name().c_str(), 0600);
  }
  TokenFacts facts = Verified(scratch.name(), from);
  const TokenCheck check = CheckToken(config, scratch.name(), pin);
  if (check.broken != 0) Broken(from, check.broken);
  const std::string path = TokenFilePath(directory, facts.serial);
  store::TemporaryFile file(store::CanonicalPath(path));
  CopyInto(scratch.name(), file.name());
  if (access(path.c_str(), F_OK) == 0) {
    if (!replace) {
      throw ToolError(kFailed,
                      "the token \"" + facts.label + "\" (" + facts.serial + ") is there already",
                      "With --replace it is removed, and the backup takes its place.");
    }
    Remove(path);
  }
  file.Publish();
  facts.path = path;
  return {facts, check};
} catch (const StoreError& error) {
  throw ToolError(kFailed, "nothing was restored: " + error.reason,
                  "This file is not a whole, unchanged backup; take another one.");
}

void Remove(const std::string& path) {
  if (unlink(path.c_str()) != 0) {
    throw ToolError(kFailed, path + ": " + std::strerror(errno));
  }
  for (const char* beside : {"-wal", "-shm", "-journal"}) unlink((path + beside).c_str());
}

}  // namespace secretmem::tool
