#include "pkcs11/token_store.h"

#include <algorithm>
#include <limits>

#include "pkcs11/store_file.h"
#include "pkcs11/store_impl.h"
#include "pkcs11/store_index.h"
#include "pkcs11/store_schema.h"

namespace secretmem {

namespace {

using Kind = StoreError::Kind;
using store::Catch;
using store::Connection;
using store::Query;
using store::Statement;
using store::StateRow;
using store::Throw;
using store::Transaction;

// Deletions are remembered for this many changes; who looks less often loads everything.
constexpr uint64_t kRememberedChanges = 10'000;

}  // namespace

TokenStore::TokenStore(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
TokenStore::TokenStore(TokenStore&&) noexcept = default;
TokenStore& TokenStore::operator=(TokenStore&&) noexcept = default;
TokenStore::~TokenStore() = default;

const std::string& TokenStore::path() const { return impl_->path(); }

StoreResult<void> TokenStore::Make(const std::string& path, const TokenRecord& record) {
  const SignalShield shield;
  return Catch([&] {
    store::CheckRecord(record);
    store::TemporaryFile file(store::CanonicalPath(path));
    {
      Connection connection(file.name(), Connection::Mode::kBuild);
      Transaction transaction(connection, Transaction::Kind::kWrite);
      store::WriteSchema(connection);
      Impl::WriteRecord(connection, record, StateRow{.incarnation = record.incarnation});
      transaction.Commit();
      if (connection.PragmaText("PRAGMA journal_mode=WAL") != "wal") {
        Throw(Kind::kIo, path + ": no write-ahead log on this file system");
      }
    }
    file.Publish();
  });
}

StoreResult<TokenStore> TokenStore::Create(const std::string& path, const TokenRecord& record) {
  const StoreResult<void> created = Make(path, record);
  if (!created) return std::unexpected(created.error());
  return Open(path);
}

StoreResult<TokenStore> TokenStore::Open(const std::string& path) {
  return Catch([&] {
    auto impl = std::make_unique<Impl>(store::CanonicalPath(path));
    const StoreResult<void> opened = impl->Run([](Connection&) {});
    if (!opened) throw StoreError(opened.error());
    return TokenStore(std::move(impl));
  });
}

StoreResult<TokenRecord> TokenStore::Read() {
  return impl_->Run([](Connection& connection) { return Impl::ReadRecord(connection); });
}

StoreResult<Committed> TokenStore::Reinitialise(uint64_t incarnation, const TokenRecord& record) {
  return impl_->Change(incarnation, true, [&](Connection& connection, StateRow& state) {
    store::CheckRecord(record);
    if (record.incarnation == incarnation) Throw(Kind::kInvalid, "the same incarnation again");
    if (record.serial != impl_->serial()) Throw(Kind::kInvalid, "another serial number");
    connection.Get(Query::kDeleteAllObjects).Run();
    connection.Get(Query::kDeleteAllTags).Run();
    {
      Statement prune = connection.Get(Query::kPruneTombstones);
      prune.Bind(1, std::numeric_limits<int64_t>::max());
      prune.Run();
    }
    state.incarnation = record.incarnation;
    ++state.sequence;
    state.horizon = state.sequence;
    state.objects = 0;
    TokenRecord fresh = record;
    // Versions go on, so that a PIN change begun before cannot match by chance.
    fresh.so.version = store::ReadPin(connection, PinRole::kSecurityOfficer).version + 1;
    fresh.user.version = store::ReadPin(connection, PinRole::kUser).version + 1;
    Impl::WriteRecord(connection, fresh, state);
    return Committed{state.state(), {}};
  });
}

StoreResult<uint64_t> TokenStore::UpdatePin(uint64_t incarnation, PinRole role,
                                            const PinRecord& pin) {
  return impl_->Change(incarnation, true, [&](Connection& connection, StateRow&) {
    store::CheckPin(pin);
    if (store::ReadPin(connection, role).version != pin.version) {
      Throw(Kind::kConflict, "the PIN was changed meanwhile");
    }
    PinRecord fresh = pin;
    ++fresh.version;
    store::WritePin(connection, role, fresh);
    return fresh.version;
  });
}

StoreResult<PinFailures> TokenStore::RecordPinFailure(uint64_t incarnation, PinRole role,
                                                      int64_t unix_ms) {
  return impl_->Change(incarnation, false, [&](Connection& connection, StateRow&) {
    PinRecord pin = store::ReadPin(connection, role);
    if (pin.failures < std::numeric_limits<uint32_t>::max()) ++pin.failures;
    pin.last_failure_unix_ms = unix_ms;
    store::WritePin(connection, role, pin);
    return PinFailures{pin.failures, pin.last_failure_unix_ms};
  });
}

StoreResult<void> TokenStore::ResetPinFailures(uint64_t incarnation, PinRole role) {
  const StoreResult<TokenRecord> record = Read();
  if (!record) return std::unexpected(record.error());
  const PinRecord& seen = role == PinRole::kUser ? record->user : record->so;
  if (record->incarnation == incarnation && seen.failures == 0) return {};
  const auto changed = impl_->Change(incarnation, false, [&](Connection& connection, StateRow&) {
    PinRecord pin = store::ReadPin(connection, role);
    pin.failures = 0;
    pin.last_failure_unix_ms = 0;
    store::WritePin(connection, role, pin);
    return true;
  });
  if (!changed) return std::unexpected(changed.error());
  return {};
}

StoreResult<Committed> TokenStore::Insert(uint64_t incarnation, std::span<const ObjectRow> rows) {
  return impl_->ChangeObjects(incarnation, false,
                              [&](Connection& connection, StateRow& state, Committed& committed) {
                                for (const ObjectRow& given : rows) {
                                  store::CheckRow(given);
                                  ObjectRow row = given;
                                  row.id = state.next_id++;
                                  row.version = state.sequence;
                                  store::InsertObject(connection, row);
                                  committed.ids.push_back(row.id);
                                }
                                state.objects += rows.size();
                              });
}

StoreResult<Committed> TokenStore::Update(uint64_t incarnation, const ObjectRow& row) {
  return impl_->ChangeObjects(incarnation, true,
                              [&](Connection& connection, StateRow& state, Committed& committed) {
                                store::CheckRow(row);
                                std::optional<ObjectRow> old;
                                {
                                  Statement statement = connection.Get(Query::kGetObjectById);
                                  statement.Bind(1, row.id);
                                  if (!statement.Step())
                                    Throw(Kind::kNoObject, "the object is gone");
                                  old = store::DecodeObject(statement);
                                }
                                if (!old) Throw(Kind::kCorrupt, "the object is damaged");
                                if (old->uid != row.uid) Throw(Kind::kInvalid, "another uid");
                                if (old->version != row.version)
                                  Throw(Kind::kConflict, "the object was changed meanwhile");
                                ObjectRow fresh = row;
                                fresh.version = state.sequence;
                                store::ReplaceObject(connection, *old, fresh);
                                committed.ids.push_back(row.id);
                              });
}

namespace {

// What is left to do after committed.ids were removed.
void CountRemoved(Connection& connection, StateRow& state, const Committed& committed) {
  if (state.objects < committed.ids.size()) Throw(Kind::kCorrupt, "more objects than counted");
  state.objects -= committed.ids.size();
  if (state.sequence > state.horizon + 2 * kRememberedChanges) {
    state.horizon = state.sequence - kRememberedChanges;
    Statement prune = connection.Get(Query::kPruneTombstones);
    prune.Bind(1, state.horizon);
    prune.Run();
  }
}

}  // namespace

StoreResult<Committed> TokenStore::Delete(uint64_t incarnation, std::span<const int64_t> ids) {
  return impl_->ChangeObjects(
      incarnation, true, [&](Connection& connection, StateRow& state, Committed& committed) {
        for (const int64_t id : ids) {
          if (!store::RemoveObject(connection, id, state.sequence)) {
            Throw(Kind::kNoObject, "object " + std::to_string(id) + " is gone");
          }
          committed.ids.push_back(id);
        }
        CountRemoved(connection, state, committed);
      });
}

StoreResult<Committed> TokenStore::Discard(uint64_t incarnation, std::span<const int64_t> ids) {
  return impl_->ChangeObjects(incarnation, true,
                              [&](Connection& connection, StateRow& state, Committed& committed) {
                                for (const int64_t id : ids) {
                                  if (store::RemoveObject(connection, id, state.sequence))
                                    committed.ids.push_back(id);
                                }
                                if (committed.ids.empty())
                                  Throw(Kind::kNoObject, "the objects are gone");
                                CountRemoved(connection, state, committed);
                              });
}

StoreResult<StoreState> TokenStore::ChangeCounter() {
  return impl_->Run([&](Connection& connection) { return impl_->CurrentState(connection); });
}

namespace {

void LoadEverything(Connection& connection, const StateRow& state, Snapshot& snapshot) {
  snapshot.complete = true;
  try {
    Statement statement = connection.Get(Query::kGetObjects);
    store::ReadObjects(statement, snapshot);
  } catch (const StoreError& error) {
    if (error.kind != Kind::kCorrupt || !store::SalvageObjects(connection, state, snapshot)) throw;
  }
  const uint64_t found = snapshot.rows.size() + snapshot.damaged.size();
  snapshot.missing = state.objects > found ? state.objects - found : 0;
  snapshot.index_damaged = !store::IndexIsWhole(connection, snapshot.rows);
}

}  // namespace

StoreResult<Snapshot> TokenStore::LoadAll() { return impl_->Load(LoadEverything); }

StoreResult<Snapshot> TokenStore::LoadChangedSince(const StoreState& since) {
  return impl_->Load([&](Connection& connection, const StateRow& state, Snapshot& snapshot) {
    if (since == state.state()) return;
    if (since.incarnation != state.incarnation || since.sequence > state.sequence ||
        since.sequence < state.horizon) {
      LoadEverything(connection, state, snapshot);
      return;
    }
    Statement statement = connection.Get(Query::kGetObjectsSince);
    statement.Bind(1, since.sequence);
    store::ReadObjects(statement, snapshot);
    store::ReadTombstones(connection, since.sequence, snapshot);
  });
}

StoreResult<Snapshot> TokenStore::LoadByIndex(std::span<const IndexHash> hashes) {
  return impl_->Load([&](Connection& connection, const StateRow& state, Snapshot& snapshot) {
    try {
      store::ReadByIndex(connection, hashes, snapshot);
    } catch (const StoreError& error) {
      if (error.kind != Kind::kCorrupt) throw;
      snapshot.rows.clear();
      snapshot.damaged.clear();
      LoadEverything(connection, state, snapshot);
    }
  });
}

StoreResult<ObjectRow> TokenStore::LoadRow(const ObjectUid& uid) {
  return impl_->Run([&](Connection& connection) {
    std::optional<ObjectRow> row;
    Statement statement = connection.Get(Query::kGetObjectByUid);
    statement.Bind(1, std::span<const uint8_t>(uid));
    if (!statement.Step()) Throw(Kind::kNoObject, "no object with this uid");
    row = store::DecodeObject(statement);
    if (!row || row->uid != uid) Throw(Kind::kCorrupt, "the object is damaged");
    return *std::move(row);
  });
}

StoreResult<void> TokenStore::EmptyLog() {
  return impl_->Run([&](Connection&) { impl_->TruncateIfDue(true); });
}

void TokenStore::CloseConnectionForFork() noexcept {
  if (impl_) impl_->CloseForFork();
}

}  // namespace secretmem
