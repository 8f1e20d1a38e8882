#pragma once

#include <new>
#include <utility>

#include "vault/error.h"
#include "vault/fork_gate.h"
#include "vault/secret_heap.h"
#include "vault/secret_stack.h"

namespace secretmem {

// SecretBox owns one T in the work heap: the state of an operation that lasts over several calls,
// such as a digest or a cipher under way. T is constructed, used and destroyed on secret stacks
// only. Movable. In a child of fork it is an empty shell.
template <class T>
class SecretBox {
 public:
  // Make constructs T from |arguments|, which are taken by reference, on a shallow stack as it is
  // destroyed on one. Errors are those of OnSecretStack.
  template <class... Arguments>
  static VaultResult<SecretBox> Make(Arguments&&... arguments) {
    return OnShallowStack([&]() -> VaultResult<SecretBox> {
      auto slot = WorkHeap().Allocate(sizeof(T));
      if (!slot) return std::unexpected(slot.error());
      return SecretBox(new (*slot) T(std::forward<Arguments>(arguments)...));
    });
  }

  SecretBox(SecretBox&& other) noexcept
      : object_(std::exchange(other.object_, nullptr)), generation_(other.generation_) {}
  SecretBox& operator=(SecretBox&& other) noexcept {
    std::swap(object_, other.object_);
    std::swap(generation_, other.generation_);
    return *this;
  }
  SecretBox(const SecretBox&) = delete;
  SecretBox& operator=(const SecretBox&) = delete;

  ~SecretBox() {
    if (object_ == nullptr) return;
    const ForkGuard guard;
    if (generation_ != ForkGeneration() || IsForkedWithoutHandlers()) return;
    (void)OnShallowStack([&] { object_->~T(); });
    WorkHeap().Free(object_);
  }

  // With calls |f(T&)| in a borrow and returns its answer in a VaultResult.
  template <class F>
  auto With(F&& f) {
    return OnSecretStack([&] {
      using Result = typename internal::AsResult<std::invoke_result_t<F&, T&>>::type;
      if (object_ == nullptr || generation_ != ForkGeneration()) {
        return Result(std::unexpected(VaultError{VaultErrc::kForked}));
      }
      const auto call = [&] { return f(*object_); };
      return internal::ResultOf<Result>(call);
    });
  }

 private:
  static_assert(alignof(T) <= SecretHeap::kGranule);

  explicit SecretBox(T* object) : object_(object), generation_(ForkGeneration()) {}

  T* object_;
  uint64_t generation_;
};

}  // namespace secretmem
