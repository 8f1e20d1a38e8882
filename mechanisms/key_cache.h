#pragma once

#include <atomic>
#include <memory>
#include <utility>

#include "mechanisms/result.h"
#include "vault/secret_box.h"

namespace secretmem {

// KeyCache keeps what a mechanism makes of a key's bytes, such as BoringSSL's RSA structure with
// what that computes from them, in secret memory beside the key. It is made at the first use and
// lives as long as the key, or the last operation that has it. Any thread may use it.
class KeyCache {
 public:
  KeyCache() = default;
  KeyCache(const KeyCache&) = delete;
  KeyCache& operator=(const KeyCache&) = delete;
  ~KeyCache() { delete kept_.load(); }

  // Get returns the key's T. |make()| makes one where there is none and returns a
  // CkResult<SecretBox<T>>, whose error is the answer. No lock is held meanwhile; of threads that
  // come together the first one's T stays. All users of one key are to name the same T: for another
  // than the one that is kept, nothing is kept. T must bear use by several threads at once.
  template <class T, class Make>
  CkResult<std::shared_ptr<SecretBox<T>>> Get(Make&& make) {
    const Kept* kept = kept_;
    if (kept != nullptr && kept->tag == &kTag<T>) return kept->As<T>();
    CkResult<SecretBox<T>> made = make();
    if (!made) return Refuse(made.error());
    auto mine = std::make_shared<SecretBox<T>>(std::move(*made));
    if (kept != nullptr) return mine;
    auto keeping = std::make_unique<const Kept>(&kTag<T>, mine);
    if (kept_.compare_exchange_strong(kept, keeping.get())) {
      keeping.release();
    } else if (kept->tag == &kTag<T>) {
      return kept->As<T>();
    }
    return mine;
  }

 private:
  template <class T>
  static constexpr char kTag = 0;

  struct Kept {
    const void* tag;
    std::shared_ptr<void> value;

    template <class T>
    std::shared_ptr<SecretBox<T>> As() const {
      return std::static_pointer_cast<SecretBox<T>>(value);
    }
  };

  // Every key has a cache, and most keep nothing in it. What is there stays.
  std::atomic<const Kept*> kept_{nullptr};
};

}  // namespace secretmem
