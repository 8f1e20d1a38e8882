#pragma once

#include <memory>
#include <mutex>
#include <utility>

#include "mechanisms/result.h"
#include "vault/secret_box.h"

namespace secretmem {

// KeyCache keeps what a mechanism makes of a key's bytes, such as BoringSSL's RSA structure with
// what that computes from them, in secret memory beside the key. It is made at the first use and
// lives as long as the key, or the last operation that has it. Any thread may use it.
class KeyCache {
 public:
  // Get returns the key's T. |make()| makes one where there is none and returns a
  // CkResult<SecretBox<T>>, whose error is the answer. No lock is held meanwhile; of threads that
  // come together the first one's T stays. All users of one key are to name the same T: for another
  // than the one that is kept, nothing is kept. T must bear use by several threads at once.
  template <class T, class Make>
  CkResult<std::shared_ptr<SecretBox<T>>> Get(Make&& make) {
    if (auto kept = Find<T>()) return kept;
    CkResult<SecretBox<T>> made = make();
    if (!made) return Refuse(made.error());
    auto mine = std::make_shared<SecretBox<T>>(std::move(*made));
    const std::lock_guard lock(mutex_);
    if (kept_ == nullptr) {
      kept_ = mine;
      tag_ = &kTag<T>;
    } else if (tag_ == &kTag<T>) {
      return std::static_pointer_cast<SecretBox<T>>(kept_);
    }
    return mine;
  }

 private:
  template <class T>
  static constexpr char kTag = 0;

  template <class T>
  std::shared_ptr<SecretBox<T>> Find() {
    const std::lock_guard lock(mutex_);
    return tag_ == &kTag<T> ? std::static_pointer_cast<SecretBox<T>>(kept_) : nullptr;
  }

  std::mutex mutex_;
  std::shared_ptr<void> kept_;
  const void* tag_ = nullptr;
};

}  // namespace secretmem
