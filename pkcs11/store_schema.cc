#include "pkcs11/store_schema.h"

namespace secretmem::store {

namespace {

using Kind = StoreError::Kind;

struct SchemaEntry {
  const char* name;
  const char* sql;  // As SQLite keeps it; null for what it makes by itself.
};

// Sorted by name. `sum` guards a row against damage that SQLite cannot see (store_rows.cc).
// `version` is the sequence number of a row's last change; `tombstone` remembers deletions for
// those who follow changes; `tag` finds objects by the hashes in their `tags`.
constexpr SchemaEntry kSchema[] = {
    {"object",
     "CREATE TABLE object(id INTEGER PRIMARY KEY, uid BLOB NOT NULL UNIQUE, kind INTEGER NOT NULL, "
     "version INTEGER NOT NULL, tags BLOB NOT NULL, attributes BLOB NOT NULL, secret BLOB NOT "
     "NULL, "
     "sum INTEGER NOT NULL) STRICT"},
    {"object_version", "CREATE INDEX object_version ON object(version)"},
    {"pin",
     "CREATE TABLE pin(role INTEGER PRIMARY KEY, salt BLOB NOT NULL, iterations INTEGER NOT NULL, "
     "wrapped_key BLOB NOT NULL, failures INTEGER NOT NULL, last_failure INTEGER NOT NULL, "
     "version INTEGER NOT NULL, sum INTEGER NOT NULL) STRICT"},
    {"sqlite_autoindex_object_1", nullptr},
    {"state",
     "CREATE TABLE state(id INTEGER PRIMARY KEY, incarnation INTEGER NOT NULL, "
     "sequence INTEGER NOT NULL, horizon INTEGER NOT NULL, next_id INTEGER NOT NULL, "
     "objects INTEGER NOT NULL, sum INTEGER NOT NULL) STRICT"},
    {"tag",
     "CREATE TABLE tag(hash BLOB NOT NULL, object INTEGER NOT NULL, PRIMARY KEY(hash, object)) "
     "STRICT, WITHOUT ROWID"},
    {"token",
     "CREATE TABLE token(id INTEGER PRIMARY KEY, label BLOB NOT NULL, serial TEXT NOT NULL, "
     "store_key BLOB NOT NULL, sum INTEGER NOT NULL) STRICT"},
    {"tombstone",
     "CREATE TABLE tombstone(id INTEGER PRIMARY KEY, version INTEGER NOT NULL, "
     "sum INTEGER NOT NULL) STRICT"},
};

// Migration brings a file from format `from` to `from + 1`, inside a write transaction.
struct Migration {
  int64_t from;
  const char* sql;
};
// None yet: the first format is the first there is. One row for each later format, ascending.
constexpr std::array<Migration, 0> kMigrations{};

void Migrate(Connection& connection, const std::string& path) {
  Transaction transaction(connection, Transaction::Kind::kWrite);
  int64_t version = connection.PragmaInteger("PRAGMA user_version");
  for (const Migration& migration : kMigrations) {
    if (migration.from != version) continue;
    connection.Execute(migration.sql);
    ++version;
  }
  if (version != kFormatVersion) {
    Throw(Kind::kForeign, path + ": unknown format version " + std::to_string(version));
  }
  connection.Execute(("PRAGMA user_version=" + std::to_string(version)).c_str());
  transaction.Commit();
}

}  // namespace

const char* QueryText(Query query) {
  switch (query) {
    case Query::kBegin:
      return "BEGIN";
    case Query::kBeginImmediate:
      return "BEGIN IMMEDIATE";
    case Query::kCommit:
      return "COMMIT";
    case Query::kRollback:
      return "ROLLBACK";
    case Query::kDataVersion:
      return "PRAGMA data_version";
    case Query::kGetState:
      return "SELECT incarnation, sequence, horizon, next_id, objects, sum FROM state WHERE id=1";
    case Query::kSetState:
      return "INSERT OR REPLACE INTO state(id, incarnation, sequence, horizon, next_id, objects, "
             "sum) VALUES(1, ?1, ?2, ?3, ?4, ?5, ?6)";
    case Query::kGetToken:
      return "SELECT label, serial, store_key, sum FROM token WHERE id=1";
    case Query::kSetToken:
      return "INSERT OR REPLACE INTO token(id, label, serial, store_key, sum) "
             "VALUES(1, ?1, ?2, ?3, ?4)";
    case Query::kGetPin:
      return "SELECT salt, iterations, wrapped_key, failures, last_failure, version, sum FROM pin "
             "WHERE role=?1";
    case Query::kSetPin:
      return "INSERT OR REPLACE INTO pin(role, salt, iterations, wrapped_key, failures, "
             "last_failure, version, sum) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    case Query::kInsertObject:
      return "INSERT INTO object(id, uid, kind, version, tags, attributes, secret, sum) "
             "VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    case Query::kUpdateObject:
      return "UPDATE object SET uid=?2, kind=?3, version=?4, tags=?5, attributes=?6, secret=?7, "
             "sum=?8 WHERE id=?1";
    case Query::kDeleteObject:
      return "DELETE FROM object WHERE id=?1";
    case Query::kDeleteAllObjects:
      return "DELETE FROM object";
    case Query::kGetObjectById:
      return "SELECT id, uid, kind, version, tags, attributes, secret, sum FROM object WHERE id=?1";
    case Query::kGetObjectByUid:
      return "SELECT id, uid, kind, version, tags, attributes, secret, sum FROM object WHERE "
             "uid=?1";
    case Query::kGetObjects:
      return "SELECT id, uid, kind, version, tags, attributes, secret, sum FROM object NOT INDEXED "
             "ORDER BY id";
    case Query::kGetObjectsSince:
      return "SELECT id, uid, kind, version, tags, attributes, secret, sum FROM object "
             "INDEXED BY object_version WHERE version>?1 ORDER BY id";
    case Query::kGetObjectsByTag:
      return "SELECT t.object, o.uid, o.kind, o.version, o.tags, o.attributes, o.secret, o.sum "
             "FROM tag t LEFT JOIN object o ON o.id=t.object WHERE t.hash=?1 ORDER BY t.object";
    case Query::kGetTags:
      return "SELECT hash, object FROM tag";
    case Query::kInsertTag:
      return "INSERT OR IGNORE INTO tag(hash, object) VALUES(?1, ?2)";
    case Query::kDeleteTag:
      return "DELETE FROM tag WHERE hash=?1 AND object=?2";
    case Query::kDeleteTagsOf:
      return "DELETE FROM tag WHERE object=?1";
    case Query::kDeleteAllTags:
      return "DELETE FROM tag";
    case Query::kInsertTombstone:
      return "INSERT INTO tombstone(id, version, sum) VALUES(?1, ?2, ?3)";
    case Query::kGetTombstonesSince:
      return "SELECT id, version, sum FROM tombstone WHERE version>?1 ORDER BY id";
    case Query::kPruneTombstones:
      return "DELETE FROM tombstone WHERE version<=?1";
    case Query::kCount:
      break;
  }
  return "";
}

void WriteSchema(Connection& connection) {
  for (const SchemaEntry& entry : kSchema) {
    if (entry.sql != nullptr) connection.Execute(entry.sql);
  }
  connection.Execute(("PRAGMA user_version=" + std::to_string(kFormatVersion)).c_str());
  connection.Execute(("PRAGMA application_id=" + std::to_string(kApplicationId)).c_str());
}

void CheckSchema(Connection& connection, const std::string& path) {
  if (connection.PragmaInteger("PRAGMA application_id") != kApplicationId) {
    Throw(Kind::kForeign, path + ": not a token file");
  }
  const int64_t version = connection.PragmaInteger("PRAGMA user_version");
  if (version > kFormatVersion) {
    Throw(Kind::kForeign, path + ": written by a newer version (format " + std::to_string(version) +
                              ", this one knows " + std::to_string(kFormatVersion) + ")");
  }
  if (version != kFormatVersion) Migrate(connection, path);
  size_t seen = 0;
  {
    ScratchStatement statement(
        connection, "SELECT name, sql IS NULL, coalesce(sql, '') FROM sqlite_schema ORDER BY name");
    while (statement->Step()) {
      if (seen >= std::size(kSchema)) Throw(Kind::kCorrupt, path + ": unknown tables");
      const SchemaEntry& expected = kSchema[seen++];
      const bool matches = statement->Text(0) == expected.name &&
                           (statement->Integer(1) != 0) == (expected.sql == nullptr) &&
                           statement->Text(2) == (expected.sql == nullptr ? "" : expected.sql);
      if (!matches) Throw(Kind::kCorrupt, path + ": its tables are not those of a token");
    }
  }
  if (seen != std::size(kSchema)) Throw(Kind::kCorrupt, path + ": tables are missing");
  // A copy made by a database tool may have lost the mode.
  if (connection.PragmaText("PRAGMA journal_mode") != "wal" && !connection.read_only() &&
      connection.PragmaText("PRAGMA journal_mode=WAL") != "wal") {
    Throw(Kind::kIo, path + ": no write-ahead log on this file system");
  }
}

}  // namespace secretmem::store
