#include "pkcs11/store_rows.h"

#include <algorithm>
#include <cstring>

#include "pkcs11/store_index.h"

namespace secretmem::store {

namespace {

using Kind = StoreError::Kind;

// Checksum is FNV-1a, 64 bits, over values and lengths. It finds damage (SQLite has no checksums in
// its pages): against intent, the sealing of what matters is what helps.
class Checksum {
 public:
  explicit Checksum(char table) { Byte(static_cast<uint8_t>(table)); }

  Checksum& Add(uint64_t value) {
    for (int i = 0; i < 8; ++i) Byte(static_cast<uint8_t>(value >> (8 * i)));
    return *this;
  }
  Checksum& Add(int64_t value) { return Add(static_cast<uint64_t>(value)); }
  Checksum& Add(std::span<const uint8_t> bytes) {
    Add(uint64_t{bytes.size()});
    for (const uint8_t byte : bytes) Byte(byte);
    return *this;
  }
  Checksum& Add(std::string_view text) {
    return Add({reinterpret_cast<const uint8_t*>(text.data()), text.size()});
  }
  uint64_t value() const { return value_; }

 private:
  void Byte(uint8_t byte) { value_ = (value_ ^ byte) * 0x100000001b3u; }
  uint64_t value_ = 0xcbf29ce484222325u;
};

std::vector<uint8_t> Copy(std::span<const uint8_t> bytes) { return {bytes.begin(), bytes.end()}; }

uint64_t Sum(const StateRow& state) {
  return Checksum('s')
      .Add(state.incarnation)
      .Add(state.sequence)
      .Add(state.horizon)
      .Add(state.next_id)
      .Add(state.objects)
      .value();
}

uint64_t Sum(PinRole role, const PinRecord& pin) {
  return Checksum('p')
      .Add(static_cast<uint64_t>(role))
      .Add(pin.salt)
      .Add(uint64_t{pin.iterations})
      .Add(pin.wrapped_key)
      .Add(uint64_t{pin.failures})
      .Add(pin.last_failure_unix_ms)
      .Add(pin.version)
      .value();
}

uint64_t Sum(const TokenRecord& record) {
  return Checksum('t').Add(record.label).Add(record.serial).Add(record.store_key_blob).value();
}

// Objects are summed as they stand in the file, so that reading copies nothing before the check.
uint64_t SumObject(int64_t id, std::span<const uint8_t> uid, uint64_t kind, uint64_t version,
                   std::span<const uint8_t> tags, std::span<const uint8_t> attributes,
                   std::span<const uint8_t> secret) {
  return Checksum('o')
      .Add(id)
      .Add(uid)
      .Add(kind)
      .Add(version)
      .Add(tags)
      .Add(attributes)
      .Add(secret)
      .value();
}

uint64_t SumTombstone(int64_t id, uint64_t version) {
  return Checksum('d').Add(id).Add(version).value();
}

[[noreturn]] void Damaged(const Connection& connection, const char* what) {
  Throw(Kind::kCorrupt, connection.path() + ": " + what + " is missing or damaged");
}

std::span<const uint8_t> TagBytes(const ObjectRow& row) {
  static_assert(sizeof(IndexHash) == 16);
  return {row.index.empty() ? nullptr : row.index.front().data(),
          row.index.size() * sizeof(IndexHash)};
}

void WriteObject(Connection& connection, Query query, const ObjectRow& row) {
  const std::span<const uint8_t> tags = TagBytes(row);
  Statement statement = connection.Get(query);
  statement.Bind(1, row.id);
  statement.Bind(2, std::span<const uint8_t>(row.uid));
  statement.Bind(3, uint64_t{row.kind});
  statement.Bind(4, row.version);
  statement.Bind(5, tags);
  statement.Bind(6, row.attributes);
  statement.Bind(7, row.secret);
  statement.Bind(
      8, SumObject(row.id, row.uid, row.kind, row.version, tags, row.attributes, row.secret));
  statement.Run();
}

void CheckBlob(size_t size, const char* what) {
  if (size > kMaxBlobBytes) Throw(Kind::kInvalid, std::string(what) + " is too large to store");
}

std::optional<ObjectRow> Decode(const Statement& statement) {
  ObjectRow row;
  row.id = statement.Integer(0);
  const std::span<const uint8_t> uid = statement.Blob(1);
  const uint64_t kind = statement.Unsigned(2);
  row.version = statement.Unsigned(3);
  const std::span<const uint8_t> tags = statement.Blob(4);
  const std::span<const uint8_t> attributes = statement.Blob(5);
  const std::span<const uint8_t> secret = statement.Blob(6);
  const bool intact =
      uid.size() == row.uid.size() && kind <= 0xff && tags.size() % sizeof(IndexHash) == 0 &&
      statement.Unsigned(7) == SumObject(row.id, uid, kind, row.version, tags, attributes, secret);
  if (!intact) return std::nullopt;
  std::ranges::copy(uid, row.uid.begin());
  row.kind = static_cast<uint8_t>(kind);
  row.attributes = Copy(attributes);
  row.secret = Copy(secret);
  row.index.resize(tags.size() / sizeof(IndexHash));
  if (!tags.empty()) std::memcpy(row.index.data(), tags.data(), tags.size());
  return row;
}

}  // namespace

StateRow ReadState(Connection& connection) {
  Statement statement = connection.Get(Query::kGetState);
  if (!statement.Step()) Damaged(connection, "the state row");
  StateRow state;
  state.incarnation = statement.Unsigned(0);
  state.sequence = statement.Unsigned(1);
  state.horizon = statement.Unsigned(2);
  state.next_id = statement.Integer(3);
  state.objects = statement.Unsigned(4);
  if (statement.Unsigned(5) != Sum(state)) Damaged(connection, "the state row");
  return state;
}

void WriteState(Connection& connection, const StateRow& state) {
  Statement statement = connection.Get(Query::kSetState);
  statement.Bind(1, state.incarnation);
  statement.Bind(2, state.sequence);
  statement.Bind(3, state.horizon);
  statement.Bind(4, state.next_id);
  statement.Bind(5, state.objects);
  statement.Bind(6, Sum(state));
  statement.Run();
}

PinRecord ReadPin(Connection& connection, PinRole role) {
  Statement statement = connection.Get(Query::kGetPin);
  statement.Bind(1, static_cast<int64_t>(role));
  if (!statement.Step()) Damaged(connection, "a PIN record");
  PinRecord pin;
  pin.salt = Copy(statement.Blob(0));
  pin.iterations = static_cast<uint32_t>(statement.Unsigned(1));
  pin.wrapped_key = Copy(statement.Blob(2));
  pin.failures = static_cast<uint32_t>(statement.Unsigned(3));
  pin.last_failure_unix_ms = statement.Integer(4);
  pin.version = statement.Unsigned(5);
  const bool fits =
      statement.Unsigned(1) == pin.iterations && statement.Unsigned(3) == pin.failures;
  if (!fits || statement.Unsigned(6) != Sum(role, pin)) Damaged(connection, "a PIN record");
  return pin;
}

void WritePin(Connection& connection, PinRole role, const PinRecord& pin) {
  Statement statement = connection.Get(Query::kSetPin);
  statement.Bind(1, static_cast<int64_t>(role));
  statement.Bind(2, pin.salt);
  statement.Bind(3, uint64_t{pin.iterations});
  statement.Bind(4, pin.wrapped_key);
  statement.Bind(5, uint64_t{pin.failures});
  statement.Bind(6, pin.last_failure_unix_ms);
  statement.Bind(7, pin.version);
  statement.Bind(8, Sum(role, pin));
  statement.Run();
}

TokenRecord ReadToken(Connection& connection) {
  TokenRecord record;
  {
    Statement statement = connection.Get(Query::kGetToken);
    if (!statement.Step()) Damaged(connection, "the token row");
    const std::span<const uint8_t> label = statement.Blob(0);
    if (label.size() != record.label.size()) Damaged(connection, "the token row");
    std::ranges::copy(label, record.label.begin());
    record.serial = statement.Text(1);
    record.store_key_blob = Copy(statement.Blob(2));
    if (statement.Unsigned(3) != Sum(record)) Damaged(connection, "the token row");
  }
  record.so = ReadPin(connection, PinRole::kSecurityOfficer);
  record.user = ReadPin(connection, PinRole::kUser);
  record.incarnation = ReadState(connection).incarnation;
  return record;
}

void WriteToken(Connection& connection, const TokenRecord& record) {
  Statement statement = connection.Get(Query::kSetToken);
  statement.Bind(1, std::span<const uint8_t>(record.label));
  statement.Bind(2, std::string_view(record.serial));
  statement.Bind(3, record.store_key_blob);
  statement.Bind(4, Sum(record));
  statement.Run();
}

void InsertObject(Connection& connection, const ObjectRow& row) {
  WriteObject(connection, Query::kInsertObject, row);
  AddToIndex(connection, row);
}

void ReplaceObject(Connection& connection, const ObjectRow& old, const ObjectRow& row) {
  if (old.index != row.index) RemoveFromIndex(connection, old);
  WriteObject(connection, Query::kUpdateObject, row);
  if (old.index != row.index) AddToIndex(connection, row);
}

bool RemoveObject(Connection& connection, int64_t id, uint64_t version) {
  std::optional<ObjectRow> old;
  {
    Statement statement = connection.Get(Query::kGetObjectById);
    statement.Bind(1, id);
    if (!statement.Step()) return false;
    old = DecodeObject(statement);
  }
  if (old) {
    RemoveFromIndex(connection, *old);
  } else {
    RemoveFromIndex(connection, id);
  }
  {
    Statement statement = connection.Get(Query::kDeleteObject);
    statement.Bind(1, id);
    statement.Run();
  }
  Statement statement = connection.Get(Query::kInsertTombstone);
  statement.Bind(1, id);
  statement.Bind(2, version);
  statement.Bind(3, SumTombstone(id, version));
  statement.Run();
  return true;
}

std::optional<ObjectRow> DecodeObject(const Statement& statement) {
  try {
    return Decode(statement);
  } catch (const StoreError& error) {
    if (error.kind != Kind::kCorrupt) throw;  // A value of another type: this row only.
    return std::nullopt;
  }
}

void ReadObjects(Statement& statement, Snapshot& snapshot) {
  int64_t last = 0;
  while (statement.Step()) {
    const int64_t id = statement.Integer(0);
    if (std::optional<ObjectRow> row = DecodeObject(statement)) {
      // A page that stands in the file twice.
      if (row->id <= last) continue;
      last = row->id;
      snapshot.rows.push_back(*std::move(row));
    } else {
      snapshot.damaged.push_back(id);
    }
  }
}

bool SalvageObjects(Connection& connection, const StateRow& state, Snapshot& snapshot) {
  // Looking for each takes microseconds; who has used up more ids than this has another problem.
  constexpr int64_t kMostIds = 1'000'000;
  snapshot.rows.clear();
  snapshot.damaged.clear();
  for (int64_t id = 1; id < state.next_id && id <= kMostIds; ++id) {
    try {
      Statement statement = connection.Get(Query::kGetObjectById);
      statement.Bind(1, id);
      if (!statement.Step()) continue;
      if (std::optional<ObjectRow> row = DecodeObject(statement); row && row->id == id) {
        snapshot.rows.push_back(*std::move(row));
      } else {
        snapshot.damaged.push_back(id);
      }
    } catch (const StoreError& error) {
      if (error.kind != Kind::kCorrupt) throw;
    }
  }
  return !snapshot.rows.empty();
}

void ReadTombstones(Connection& connection, uint64_t sequence, Snapshot& snapshot) {
  Statement statement = connection.Get(Query::kGetTombstonesSince);
  statement.Bind(1, sequence);
  while (statement.Step()) {
    if (statement.Unsigned(2) != SumTombstone(statement.Integer(0), statement.Unsigned(1))) {
      Damaged(connection, "a deletion record");
    }
    snapshot.deleted.push_back(statement.Integer(0));
  }
}

void CheckPin(const PinRecord& pin) {
  CheckBlob(pin.salt.size(), "a PIN's salt");
  CheckBlob(pin.wrapped_key.size(), "a PIN's wrapped key");
}

void CheckRecord(const TokenRecord& record) {
  const bool serial_ok =
      !record.serial.empty() && record.serial.size() <= 16 &&
      std::ranges::all_of(record.serial, [](char c) {
        return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
      });
  if (!serial_ok) Throw(Kind::kInvalid, "a serial number is 1 to 16 letters and digits");
  CheckBlob(record.store_key_blob.size(), "the store key");
  CheckPin(record.so);
  CheckPin(record.user);
}

void CheckRow(const ObjectRow& row) {
  CheckBlob(row.attributes.size(), "an object's attributes");
  CheckBlob(row.secret.size(), "an object's secret part");
  if (row.index.size() > kMaxIndexHashes) Throw(Kind::kInvalid, "too many index hashes");
}

}  // namespace secretmem::store
