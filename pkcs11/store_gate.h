#pragma once

#include <chrono>
#include <csignal>
#include <type_traits>
#include <utility>

#include "pkcs11/token_store.h"
#include "vault/fork_gate.h"

namespace secretmem {

// CallInSlices returns |f()|, a StoreResult of store calls, made with the fork gate held. Where
// other processes are in the way it leaves the gate every few milliseconds, so that signals and
// forks come through, and begins again, until kStoreBusyMs are over: a call that fails has changed
// nothing. In a child that such a signal's handler forked it gives up. |log_left| is
// StorePatience's.
template <class F>
std::invoke_result_t<F&> CallInSlices(F&& f, bool* log_left = nullptr) {
  constexpr int kSliceMs = 10;
  using std::chrono::steady_clock;
  const auto end = steady_clock::now() + std::chrono::milliseconds(kStoreBusyMs);
  const uint64_t generation = ForkGeneration();
  for (;;) {
    const ForkGuard guard;
    const StorePatience patience(kSliceMs);
    if (generation != ForkGeneration() || IsForkedWithoutHandlers()) {
      return std::unexpected(StoreError{StoreError::Kind::kIo, "the store is the parent's"});
    }
    auto result = f();
    if (log_left != nullptr) *log_left = patience.log_left();
    const bool busy = !result && result.error().kind == StoreError::Kind::kBusy;
    if (!busy || steady_clock::now() >= end) return result;
  }
}

// GatedStore is a TokenStore whose every call holds the fork gate, and whose idle connection is
// closed before a fork: SQLite must be quiet then, and no connection of its may cross.
class GatedStore {
 public:
  explicit GatedStore(TokenStore store);
  ~GatedStore();
  GatedStore(const GatedStore&) = delete;
  GatedStore& operator=(const GatedStore&) = delete;

  // Call returns f(TokenStore&), a StoreResult, by CallInSlices.
  template <class F>
  auto Call(F&& f) {
    bool log_left = false;
    auto result = CallInSlices([&] { return f(store_); }, &log_left);
    if (log_left) EmptyLog();
    return result;
  }

  // path is that of the file.
  const std::string& path() const { return store_.path(); }

 private:
  friend struct StoreForkHooks;

  // EmptyLog goes on waiting for readers that keep in the log what was destroyed.
  void EmptyLog();

  TokenStore store_;
  GatedStore* next_ = nullptr;
  GatedStore* previous_ = nullptr;
};

// InstallStoreForkHooks registers the closing of connections, once per process.
void InstallStoreForkHooks();

}  // namespace secretmem
