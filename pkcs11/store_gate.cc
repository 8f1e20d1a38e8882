#include "pkcs11/store_gate.h"

#include <pthread.h>

#include <mutex>

namespace secretmem {
namespace {

// The open stores. The mutex is taken under the fork gate only, so it is free when a fork happens.
std::mutex g_mutex;
GatedStore* g_first = nullptr;

}  // namespace

struct StoreForkHooks {
  static void Prepare() {
    for (GatedStore* store = g_first; store != nullptr; store = store->next_) {
      store->store_.CloseConnectionForFork();
    }
  }

  // The child's stores are its parent's, and are left behind with everything else.
  static void Child() { g_first = nullptr; }
};

GatedStore::GatedStore(TokenStore store) : store_(std::move(store)) {
  const ForkGuard guard;
  const std::lock_guard lock(g_mutex);
  next_ = g_first;
  if (g_first != nullptr) g_first->previous_ = this;
  g_first = this;
}

GatedStore::~GatedStore() {
  const ForkGuard guard;
  const std::lock_guard lock(g_mutex);
  if (previous_ != nullptr) {
    previous_->next_ = next_;
  } else if (g_first == this) {
    g_first = next_;
  }
  if (next_ != nullptr) next_->previous_ = previous_;
  // Members die after this body, without the gate: SQLite would be closing while another thread
  // forks, and the child would inherit its locks taken.
  const TokenStore closing = std::move(store_);
}

void GatedStore::EmptyLog() {
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(kEmptyLogMs);
  bool left = true;
  while (left && std::chrono::steady_clock::now() < end) {
    // What was committed stays committed, whatever becomes of this.
    if (!CallInSlices([&] { return store_.EmptyLog(); }, &left)) return;
  }
}

void InstallStoreForkHooks() {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, [] {
    AddForkHooks({StoreForkHooks::Prepare, nullptr, StoreForkHooks::Child});
  });
}

}  // namespace secretmem
