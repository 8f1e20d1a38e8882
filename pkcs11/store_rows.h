// Rows in and out of a connection, each guarded by a checksum.
#pragma once

#include <optional>

#include "pkcs11/store_connection.h"

namespace secretmem::store {

// StateRow is the one row that changes with every change of the objects.
struct StateRow {
  uint64_t incarnation = 0;
  uint64_t sequence = 1;
  uint64_t horizon = 1;  // Deletions up to this sequence number are forgotten.
  int64_t next_id = 1;
  uint64_t objects = 0;

  StoreState state() const { return {incarnation, sequence}; }
};

// Those that read throw kCorrupt for a row that is missing or not what was written.
StateRow ReadState(Connection& connection);
void WriteState(Connection& connection, const StateRow& state);

PinRecord ReadPin(Connection& connection, PinRole role);
void WritePin(Connection& connection, PinRole role, const PinRecord& pin);

TokenRecord ReadToken(Connection& connection);
void WriteToken(Connection& connection,
                const TokenRecord& record);  // Without incarnation and PINs.

// InsertObject adds the row under `row.id`; ReplaceObject writes over it. Both write its tags too.
// The old row's tags are those of `old`.
void InsertObject(Connection& connection, const ObjectRow& row);
void ReplaceObject(Connection& connection, const ObjectRow& old, const ObjectRow& row);

// RemoveObject deletes row `id`, damaged or not, and leaves a tombstone of `version`. Returns false
// if there is none.
bool RemoveObject(Connection& connection, int64_t id, uint64_t version);

// DecodeObject takes the row a kGetObject… statement stands on; nullopt if it is damaged.
std::optional<ObjectRow> DecodeObject(const Statement& statement);

// ReadObjects adds what `statement` finds to snapshot.rows and snapshot.damaged.
void ReadObjects(Statement& statement, Snapshot& snapshot);

// SalvageObjects reads what can be read row by row, after ReadObjects met a damaged page. False if
// that is nothing.
bool SalvageObjects(Connection& connection, const StateRow& state, Snapshot& snapshot);

// ReadTombstones adds the ids deleted after `sequence`.
void ReadTombstones(Connection& connection, uint64_t sequence, Snapshot& snapshot);

// CheckRecord and CheckRow throw kInvalid for what cannot be stored.
void CheckRecord(const TokenRecord& record);
void CheckPin(const PinRecord& pin);
void CheckRow(const ObjectRow& row);

}  // namespace secretmem::store
