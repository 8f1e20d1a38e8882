// What TokenStore is made of: one connection that several threads and forks share, and the order in
// which they have it.
#pragma once

#include <unistd.h>

#include <chrono>
#include <exception>
#include <functional>
#include <list>
#include <mutex>
#include <optional>
#include <type_traits>

#include "pkcs11/signal_shield.h"
#include "pkcs11/store_connection.h"
#include "pkcs11/store_rows.h"
#include "pkcs11/token_store.h"
#include "vault/fork_gate.h"

namespace secretmem {

namespace store {

// Catch returns what f() returns, or the StoreError it throws.
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

}  // namespace store

class TokenStore::Impl {
 public:
  using Connection = store::Connection;
  using StateRow = store::StateRow;
  using Transaction = store::Transaction;

  explicit Impl(std::string path) : path_(std::move(path)) {}
  ~Impl();

  const std::string& path() const { return path_; }

  // Run calls f(connection) on a connection known to be of this process and this file.
  template <typename F>
  auto Run(F&& f) -> StoreResult<std::invoke_result_t<F, Connection&>> {
    const std::lock_guard lock(mutex_);
    if (ForkGoesFirst()) return std::unexpected(Busy());
    const SignalShield shield;
    return store::Catch([&] { return f(Ready()); });
  }

  // Change calls f(connection, state) in a write transaction, and commits. `destroys`: something
  // was overwritten or deleted that must not stay in the log.
  template <typename F>
  auto Change(uint64_t incarnation, bool destroys, F&& f) {
    return Run([&](Connection& connection) {
      Transaction transaction(connection, Transaction::Kind::kWrite);
      StateRow state = store::ReadState(connection);
      CheckIncarnation(state, incarnation);
      auto result = f(connection, state);
      transaction.Commit();
      cached_state_ = state.state();
      if (destroys) truncate_due_ = true;
      TruncateIfDue(destroys);
      return result;
    });
  }

  // What one thread wants done to the objects.
  using Make = std::function<void(Connection&, StateRow&, Committed&)>;

  // ChangeObjects is Change for the objects: gives the change its sequence number. While a thread
  // waits for the disk those behind it gather; the next of them takes the changes of all along, in
  // one transaction.
  StoreResult<Committed> ChangeObjects(uint64_t incarnation, bool destroys, Make make);

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

  StoreState CurrentState(Connection& connection);

  void CloseForFork() noexcept;

  static TokenRecord ReadRecord(Connection& connection);
  static void WriteRecord(Connection& connection, TokenRecord record, const StateRow& state);

  const std::string& serial() const { return serial_; }

  // TruncateIfDue tries to empty the log. What was committed stays committed whether it works or
  // not: a reader in the way only means that it is tried again with the next calls.
  void TruncateIfDue(bool now);

 private:
  // ObjectChange is a change and what became of it.
  struct ObjectChange {
    uint64_t incarnation;
    bool destroys;
    Make make;
    bool done = false;
    Committed committed{};
    std::exception_ptr error{};
  };

  // Commit makes the changes durable together. Where that fails it tries one after the other, so
  // that each has its own answer.
  void Commit(std::list<ObjectChange*>& changes) noexcept;

  // ForkGoesFirst says whether this call has no time left: those before it in the queue may have
  // taken it.
  static bool ForkGoesFirst() { return store::IsPatienceOver() && ForkIsWaiting(); }
  StoreError Busy() const { return {StoreError::Kind::kBusy, path_ + ": a fork goes first"}; }

  // Ready returns the connection, opened if need be.
  Connection& Ready();

  [[noreturn]] void Gone();
  // IsThere throws where it cannot be told.
  bool IsThere() const;
  bool StillThere() const;
  void Disconnect();

  // CheckIncarnation throws kStale if the token was initialised again after |incarnation|.
  void CheckIncarnation(const StateRow& state, uint64_t incarnation) const;
  // CacheState reads the state and remembers it with the data version of the same transaction.
  StateRow CacheState(Connection& connection);

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
  std::chrono::steady_clock::time_point last_truncate_;
  std::optional<StoreState> cached_state_;
  int64_t cached_data_version_ = 0;
};

}  // namespace secretmem
