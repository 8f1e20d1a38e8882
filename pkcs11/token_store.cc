#include "pkcs11/token_store.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <functional>
#include <limits>
#include <list>
#include <mutex>
#include <optional>

#include "pkcs11/signal_shield.h"
#include "pkcs11/store_connection.h"
#include "pkcs11/store_file.h"
#include "pkcs11/store_index.h"
#include "pkcs11/store_rows.h"
#include "pkcs11/store_schema.h"
#include "vault/fork_gate.h"

namespace secretmem {

namespace {

using Kind = StoreError::Kind;
using std::chrono::milliseconds;
using std::chrono::steady_clock;
using store::Connection;
using store::Query;
using store::Statement;
using store::StateRow;
using store::Throw;
using store::Transaction;

// Deletions are remembered for this many changes; who looks less often loads everything.
constexpr uint64_t kRememberedChanges = 10'000;

// How often emptying the log is tried again after it could not be done.
constexpr milliseconds kTruncateInterval{100};

bool LogNotEmpty(const std::string& path) {
  struct stat status;
  return stat((path + "-wal").c_str(), &status) == 0 && status.st_size > 0;
}

template <typename F>
auto Catch(F&& f) -> StoreResult<decltype(f())> {
  try {
    if constexpr (std::is_void_v<decltype(f())>) {
      f();
      return {};
    } else {
      return f();
    }
  } catch (StoreError& error) {
    return std::unexpected(std::move(error));
  }
}

}  // namespace

class TokenStore::Impl {
 public:
  explicit Impl(std::string path) : path_(std::move(path)) {}

  ~Impl() {
    if (!connection_) return;
    if (owner_ != getpid()) {
      // A fork that nobody announced. Closing would touch the parent's locks and log; leak it.
      static_cast<void>(connection_.release());
      return;
    }
    const SignalShield shield;
    if (!StillThere()) connection_->LeaveAsIs();
    connection_.reset();
  }

  const std::string& path() const { return path_; }

  // Run calls f(connection) on a connection known to be of this process and this file.
  template <typename F>
  auto Run(F&& f) -> StoreResult<std::invoke_result_t<F, Connection&>> {
    const std::lock_guard lock(mutex_);
    // Those before this call in the queue may have taken its time.
    if (store::IsPatienceOver() && ForkIsWaiting()) {
      return std::unexpected(StoreError{Kind::kBusy, path_ + ": a fork goes first"});
    }
    const SignalShield shield;
    return Catch([&] { return f(Ready()); });
  }

  // Change calls f(connection, state) in a write transaction, and commits. `destroys`: something
  // was overwritten or deleted that must not stay in the log.
  template <typename F>
  auto Change(uint64_t incarnation, bool destroys, F&& f) {
    return Run([&](Connection& connection) {
      Transaction transaction(connection, Transaction::Kind::kWrite);
      StateRow state = store::ReadState(connection);
      if (state.incarnation != incarnation) Stale();
      auto result = f(connection, state);
      transaction.Commit();
      cached_state_ = state.state();
      if (destroys) truncate_due_ = true;
      TruncateIfDue(destroys);
      return result;
    });
  }

  // ObjectChange is what one thread wants done, and what became of it.
  struct ObjectChange {
    using Make = std::function<void(Connection&, StateRow&, Committed&)>;
    uint64_t incarnation;
    bool destroys;
    Make make;
    bool done = false;
    Committed committed{};
    std::exception_ptr error{};
  };

  // ChangeObjects is Change for the objects: gives the change its sequence number. While a thread
  // waits for the disk those behind it gather; the next of them takes the changes of all along, in
  // one transaction.
  StoreResult<Committed> ChangeObjects(uint64_t incarnation, bool destroys,
                                       ObjectChange::Make make) {
    ObjectChange mine{incarnation, destroys, std::move(make)};
    {
      const std::lock_guard lock(waiting_mutex_);
      waiting_.push_back(&mine);
    }
    const std::lock_guard lock(mutex_);
    if (!mine.done) {
      // Nobody else takes it, or any other: that is for who has |mutex_|.
      if (store::IsPatienceOver() && ForkIsWaiting()) {
        const std::lock_guard waiting_lock(waiting_mutex_);
        waiting_.remove(&mine);
        return std::unexpected(StoreError{Kind::kBusy, path_ + ": a fork goes first"});
      }
      std::list<ObjectChange*> all;
      {
        const std::lock_guard waiting_lock(waiting_mutex_);
        all.swap(waiting_);
      }
      const SignalShield shield;
      Commit(all);
    }
    store::NoteLog(destroys && truncate_due_);
    return Catch([&] {
      if (mine.error) std::rethrow_exception(mine.error);
      return std::move(mine.committed);
    });
  }

  // Commit makes the changes durable together. Where that fails it tries one after the other, so
  // that each has its own answer.
  void Commit(std::list<ObjectChange*>& changes) noexcept {
    bool destroys = false;
    try {
      Connection& connection = Ready();
      Transaction transaction(connection, Transaction::Kind::kWrite);
      StateRow state = store::ReadState(connection);
      for (ObjectChange* change : changes) {
        if (state.incarnation != change->incarnation) Stale();
        ++state.sequence;
        change->committed = {};
        change->make(connection, state, change->committed);
        change->committed.state = state.state();
        destroys |= change->destroys;
      }
      store::WriteState(connection, state);
      transaction.Commit();
      cached_state_ = state.state();
    } catch (...) {
      if (changes.size() == 1) {
        changes.front()->error = std::current_exception();
        changes.front()->done = true;
      } else {
        while (!changes.empty()) {
          std::list<ObjectChange*> one;
          one.splice(one.begin(), changes, changes.begin());
          Commit(one);
        }
      }
      return;
    }
    for (ObjectChange* change : changes) change->done = true;
    if (destroys) truncate_due_ = true;
    TruncateIfDue(destroys);
  }

  // Load calls f(connection, state, snapshot) in a read transaction.
  template <typename F>
  StoreResult<Snapshot> Load(F&& f) {
    return Run([&](Connection& connection) {
      Snapshot snapshot;
      {
        Transaction transaction(connection, Transaction::Kind::kRead);
        const StateRow state = CacheState(connection);
        snapshot.state = state.state();
        snapshot.object_count = state.objects;
        f(connection, state, snapshot);
        transaction.Commit();
      }
      TruncateIfDue(false);
      return snapshot;
    });
  }

  StoreState CurrentState(Connection& connection) {
    if (cached_state_ && DataVersion(connection) == cached_data_version_) return *cached_state_;
    Transaction transaction(connection, Transaction::Kind::kRead);
    const StateRow state = CacheState(connection);
    transaction.Commit();
    return state.state();
  }

  void CloseForFork() noexcept {
    const std::lock_guard lock(mutex_);
    if (!connection_ || owner_ != getpid()) return;
    const SignalShield shield;
    connection_->LeaveAsIs();
    Disconnect();
  }

  // Ready returns the connection, opened if need be.
  Connection& Ready() {
    if (lost_) Gone();
    if (connection_) {
      if (owner_ != getpid()) {
        Throw(Kind::kIo, path_ + ": a connection crossed a fork");
      }
      // A permission that is lost may come back; only a file that is not there is gone for good.
      if (!IsThere()) {
        connection_->LeaveAsIs();
        Disconnect();
        Gone();
      }
      connection_->StartClock(milliseconds(kStoreBusyMs));
      if (connection_->RollBack()) return *connection_;
      // A transaction that cannot be ended but with its connection.
      Disconnect();
    }
    auto fresh = std::make_unique<Connection>(path_, Connection::Mode::kExisting);
    try {
      if (identity_ && *identity_ != fresh->identity()) Gone();
      store::CheckSchema(*fresh, path_);
      const TokenRecord record = ReadRecord(*fresh);
      if (!serial_.empty() && serial_ != record.serial) Gone();
      serial_ = record.serial;
    } catch (...) {
      fresh->LeaveAsIs();
      throw;
    }
    identity_ = fresh->identity();
    connection_ = std::move(fresh);
    owner_ = getpid();
    // Whoever wrote the log may have been killed before it could empty it.
    truncate_due_ = LogNotEmpty(path_);
    last_truncate_ = {};
    return *connection_;
  }

  static TokenRecord ReadRecord(Connection& connection) {
    Transaction transaction(connection, Transaction::Kind::kRead);
    TokenRecord record = store::ReadToken(connection);
    transaction.Commit();
    return record;
  }

  static void WriteRecord(Connection& connection, TokenRecord record, const StateRow& state) {
    store::WriteToken(connection, record);
    store::WritePin(connection, PinRole::kSecurityOfficer, record.so);
    store::WritePin(connection, PinRole::kUser, record.user);
    store::WriteState(connection, state);
  }

  const std::string& serial() const { return serial_; }

  // TruncateIfDue tries to empty the log. What was committed stays committed whether it works or
  // not: a reader in the way only means that it is tried again with the next calls.
  void TruncateIfDue(bool now) {
    if (!truncate_due_ || connection_->read_only()) return;
    const auto time = steady_clock::now();
    if (!now && time - last_truncate_ < kTruncateInterval) return;
    connection_->StartClock(milliseconds(now ? kEmptyLogMs : 0));
    truncate_due_ = !connection_->Truncate();
    if (now) store::NoteLog(truncate_due_);
    last_truncate_ = steady_clock::now();
  }

 private:
  [[noreturn]] void Stale() { Throw(Kind::kStale, path_ + ": initialised again"); }

  [[noreturn]] void Gone() {
    lost_ = true;
    Throw(Kind::kNotFound, path_ + ": removed or replaced");
  }

  // IsThere throws where it cannot be told.
  bool IsThere() const {
    try {
      return store::Identify(path_) == identity_;
    } catch (const StoreError& error) {
      if (error.kind == Kind::kPermission || error.kind == Kind::kIo) throw;
      return false;
    }
  }

  bool StillThere() const {
    try {
      return IsThere();
    } catch (const StoreError&) {
      return false;
    }
  }

  void Disconnect() {
    connection_.reset();
    cached_state_.reset();
  }

  static int64_t DataVersion(Connection& connection) {
    Statement statement = connection.Get(Query::kDataVersion);
    return statement.Step() ? statement.Integer(0) : -1;
  }

  // CacheState reads the state and remembers it with the data version of the same transaction.
  StateRow CacheState(Connection& connection) {
    const StateRow state = store::ReadState(connection);
    cached_data_version_ = DataVersion(connection);
    cached_state_ = state.state();
    return state;
  }

  const std::string path_;
  std::string serial_;
  std::mutex mutex_;
  std::mutex waiting_mutex_;  // taken after |mutex_|
  std::list<ObjectChange*> waiting_;
  std::unique_ptr<Connection> connection_;
  pid_t owner_ = 0;
  std::optional<store::FileIdentity> identity_;
  bool lost_ = false;
  bool truncate_due_ = false;
  steady_clock::time_point last_truncate_;
  std::optional<StoreState> cached_state_;
  int64_t cached_data_version_ = 0;
};

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
