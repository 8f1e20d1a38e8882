#include "pkcs11/store_impl.h"

#include <sys/stat.h>

#include "pkcs11/store_schema.h"

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

// How often emptying the log is tried again after it could not be done.
constexpr milliseconds kTruncateInterval{100};

bool LogNotEmpty(const std::string& path) {
  struct stat status;
  return stat((path + "-wal").c_str(), &status) == 0 && status.st_size > 0;
}

int64_t DataVersion(Connection& connection) {
  Statement statement = connection.Get(Query::kDataVersion);
  return statement.Step() ? statement.Integer(0) : -1;
}

}  // namespace

TokenStore::Impl::~Impl() {
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

StoreResult<Committed> TokenStore::Impl::ChangeObjects(uint64_t incarnation, bool destroys,
                                                       Make make) {
  ObjectChange mine{incarnation, destroys, std::move(make)};
  {
    const std::lock_guard lock(waiting_mutex_);
    waiting_.push_back(&mine);
  }
  const std::lock_guard lock(mutex_);
  if (!mine.done) {
    // Nobody else takes it, or any other: that is for who has |mutex_|.
    if (ForkGoesFirst()) {
      const std::lock_guard waiting_lock(waiting_mutex_);
      waiting_.remove(&mine);
      return std::unexpected(Busy());
    }
    std::list<ObjectChange*> all;
    {
      const std::lock_guard waiting_lock(waiting_mutex_);
      all.swap(waiting_);
    }
    const SignalShield shield;
    Commit(all);
  }
  store::NoteLog(destroys && !mine.error && truncate_due_);
  return store::Catch([&] {
    if (mine.error) std::rethrow_exception(mine.error);
    return std::move(mine.committed);
  });
}

void TokenStore::Impl::Commit(std::list<ObjectChange*>& changes) noexcept {
  bool destroys = false;
  try {
    Connection& connection = Ready();
    Transaction transaction(connection, Transaction::Kind::kWrite);
    StateRow state = store::ReadState(connection);
    for (ObjectChange* change : changes) {
      CheckIncarnation(state, change->incarnation);
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

StoreState TokenStore::Impl::CurrentState(Connection& connection) {
  if (cached_state_ && DataVersion(connection) == cached_data_version_) return *cached_state_;
  Transaction transaction(connection, Transaction::Kind::kRead);
  const StateRow state = CacheState(connection);
  transaction.Commit();
  return state.state();
}

void TokenStore::Impl::CloseForFork() noexcept {
  const std::lock_guard lock(mutex_);
  if (!connection_ || owner_ != getpid()) return;
  const SignalShield shield;
  connection_->LeaveAsIs();
  Disconnect();
}

Connection& TokenStore::Impl::Ready() {
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

TokenRecord TokenStore::Impl::ReadRecord(Connection& connection) {
  Transaction transaction(connection, Transaction::Kind::kRead);
  TokenRecord record = store::ReadToken(connection);
  transaction.Commit();
  return record;
}

void TokenStore::Impl::WriteRecord(Connection& connection, TokenRecord record,
                                   const StateRow& state) {
  store::WriteToken(connection, record);
  store::WritePin(connection, PinRole::kSecurityOfficer, record.so);
  store::WritePin(connection, PinRole::kUser, record.user);
  store::WriteState(connection, state);
}

void TokenStore::Impl::TruncateIfDue(bool now) {
  if (!truncate_due_ || connection_->read_only()) return;
  const auto time = steady_clock::now();
  if (!now && time - last_truncate_ < kTruncateInterval) return;
  connection_->StartClock(milliseconds(now ? kEmptyLogMs : 0));
  truncate_due_ = !connection_->Truncate();
  if (now) store::NoteLog(truncate_due_);
  last_truncate_ = steady_clock::now();
}

void TokenStore::Impl::Gone() {
  lost_ = true;
  Throw(Kind::kNotFound, path_ + ": removed or replaced");
}

bool TokenStore::Impl::IsThere() const {
  try {
    return store::Identify(path_) == identity_;
  } catch (const StoreError& error) {
    if (error.kind == Kind::kPermission || error.kind == Kind::kIo) throw;
    return false;
  }
}

bool TokenStore::Impl::StillThere() const {
  try {
    return IsThere();
  } catch (const StoreError&) {
    return false;
  }
}

void TokenStore::Impl::Disconnect() {
  connection_.reset();
  cached_state_.reset();
}

StateRow TokenStore::Impl::CacheState(Connection& connection) {
  const StateRow state = store::ReadState(connection);
  cached_data_version_ = DataVersion(connection);
  cached_state_ = state.state();
  return state;
}

void TokenStore::Impl::CheckIncarnation(const StateRow& state, uint64_t incarnation) const {
  if (state.incarnation != incarnation) Throw(Kind::kStale, path_ + ": initialised again");
}

}  // namespace secretmem
