// The index by which rows are found: the tag table. Every row carries its hashes, guarded by its
// checksum; the index says the same the other way round, and nothing guards it.
#pragma once

#include "pkcs11/store_connection.h"

namespace secretmem::store {

void AddToIndex(Connection& connection, const ObjectRow& row);
void RemoveFromIndex(Connection& connection, const ObjectRow& row);

// The same for a row of which nothing but its id is known: looks at the whole index.
void RemoveFromIndex(Connection& connection, int64_t id);

// ReadByIndex adds the rows that have any of `hashes` to snapshot.rows and snapshot.damaged.
void ReadByIndex(Connection& connection, std::span<const IndexHash> hashes, Snapshot& snapshot);

// IndexIsWhole says whether the index is what `rows`, by ascending id, say of themselves. What it
// says of others is passed over.
bool IndexIsWhole(Connection& connection, std::span<const ObjectRow> rows);

}  // namespace secretmem::store
