#include "pkcs11/store_index.h"

#include <algorithm>

#include "pkcs11/store_rows.h"

namespace secretmem::store {

namespace {

void WriteTags(Connection& connection, Query query, const ObjectRow& row) {
  Statement statement = connection.Get(query);
  for (const IndexHash& hash : row.index) {
    statement.Bind(1, std::span<const uint8_t>(hash));
    statement.Bind(2, row.id);
    statement.Run();
    statement.Again();
  }
}

}  // namespace

void AddToIndex(Connection& connection, const ObjectRow& row) {
  WriteTags(connection, Query::kInsertTag, row);
}

void RemoveFromIndex(Connection& connection, const ObjectRow& row) {
  WriteTags(connection, Query::kDeleteTag, row);
}

void RemoveFromIndex(Connection& connection, int64_t id) {
  Statement statement = connection.Get(Query::kDeleteTagsOf);
  statement.Bind(1, id);
  statement.Run();
}

void ReadByIndex(Connection& connection, std::span<const IndexHash> hashes, Snapshot& snapshot) {
  for (const IndexHash& hash : hashes) {
    Statement statement = connection.Get(Query::kGetObjectsByTag);
    statement.Bind(1, std::span<const uint8_t>(hash));
    ReadObjects(statement, snapshot);
  }
  // A row can have several of them.
  std::ranges::sort(snapshot.rows, {}, &ObjectRow::id);
  const auto again = std::ranges::unique(snapshot.rows, {}, &ObjectRow::id);
  snapshot.rows.erase(again.begin(), again.end());
}

bool IndexIsWhole(Connection& connection, std::span<const ObjectRow> rows) {
  size_t expected = 0;
  for (const ObjectRow& row : rows) {
    // The same hash twice is one entry.
    for (auto it = row.index.begin(); it != row.index.end(); ++it) {
      if (std::find(row.index.begin(), it, *it) == it) ++expected;
    }
  }
  size_t found = 0;
  try {
    Statement statement = connection.Get(Query::kGetTags);
    while (statement.Step()) {
      const int64_t id = statement.Integer(1);
      const auto row = std::ranges::lower_bound(rows, id, {}, &ObjectRow::id);
      if (row == rows.end() || row->id != id) continue;
      const std::span<const uint8_t> hash = statement.Blob(0);
      const bool its = std::ranges::any_of(
          row->index, [&](const IndexHash& each) { return std::ranges::equal(each, hash); });
      if (!its) return false;
      ++found;
    }
  } catch (const StoreError& error) {
    if (error.kind != StoreError::Kind::kCorrupt) throw;
    return false;
  }
  return found == expected;
}

}  // namespace secretmem::store
