#pragma once

#include <csignal>
#include <utility>

#include "pkcs11/token_store.h"
#include "vault/fork_gate.h"

namespace secretmem {

// GatedStore is a TokenStore whose every call holds the fork gate, and whose idle connection is
// closed before a fork: SQLite must be quiet then, and no connection of its may cross.
class GatedStore {
 public:
  explicit GatedStore(TokenStore store);
  ~GatedStore();
  GatedStore(const GatedStore&) = delete;
  GatedStore& operator=(const GatedStore&) = delete;

  // Call returns f(TokenStore&).
  template <class F>
  auto Call(F&& f) {
    const ForkGuard guard;
    return f(store_);
  }

 private:
  friend struct StoreForkHooks;

  TokenStore store_;
  GatedStore* next_ = nullptr;
  GatedStore* previous_ = nullptr;
};

// InstallStoreForkHooks registers the closing of connections, once per process.
void InstallStoreForkHooks();

}  // namespace secretmem
