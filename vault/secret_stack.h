#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <expected>
#include <optional>
#include <type_traits>
#include <utility>

#include "vault/error.h"
#include "vault/secret_memory.h"

namespace secretmem {

// ConfigureVault sets the memory options and puts vaults and operation contexts under them. It is
// called once, before the first vault. It returns what is in force.
MemoryOptions ConfigureVault(const MemoryOptions& wanted);

// InitialiseVault prepares secret memory for use: installs the fork handlers, and checks
// memfd_secret(2) (or the chosen substitute) and getrandom(2) without keeping anything. It may be
// called again, after a fork too. Errors are those of ProbeSecretMemory and ProbeRandom.
VaultResult<void> InitialiseVault();

// TrimVault gives back the secret stacks and the empty chunk of the key heap. What BoringSSL keeps
// per thread stays.
void TrimVault();

// OnSecretStack runs |f| on a stack in secret memory, with every signal blocked and the fork gate
// held, then wipes the stack to the depth used and clears the caller-saved registers. BoringSSL's
// heap is secret memory meanwhile and afterwards. On a secret stack already it just calls |f|.
//
// It returns what |f| returns, in a VaultResult unless it is one already; an exception of |f|
// passes through. It fails, without calling |f|, where no secret memory can be had.
// 48 KiB of stack are |f|'s.
template <class F>
auto OnSecretStack(F&& f);

// OnShallowStack does the same with 12 KiB of stack, which are quicker to look through afterwards.
// It is for calls that are known to need less, whatever they call: X25519, symmetric ciphers,
// digests, random bytes. Beyond them is a guard page.
template <class F>
auto OnShallowStack(F&& f);

// SafePoint, called in a borrow that takes long, lets signals and forks through: for a moment the
// thread is on its ordinary stack, registers cleared, the fork gate open, signals as the caller of
// the borrow has them. A computation calls it every few milliseconds where it holds no lock, of
// BoringSSL's neither, and nothing that another thread or a signal's handler could need.
// What handlers do meanwhile may include borrows of their own.
//
// A handler may fork. In such a child the computation cannot go on, as its memory is not there:
// SafePoint does not return, and the borrow ends with kForked. Destructors of objects on the secret
// stack do not run. A handler must not leave by a jump.
//
// Nothing happens where the gate was held before the borrow began, or is held again inside, or
// outside of borrows.
void SafePoint();

namespace internal {

enum class StackDepth : uint8_t { kShallow, kDeep };

// OnThisStackAlready says that the caller runs on a secret stack.
bool OnThisStackAlready();

// RunOnSecretStack is the part of OnSecretStack that needs no type. |function| must not throw.
// kForked, in the middle of |function|, in a child that was forked at a safe point.
VaultResult<void> RunOnSecretStack(StackDepth depth, void (*function)(void*), void* argument);

template <class T>
struct AsResult {
  using type = VaultResult<T>;
};
template <class T>
struct AsResult<VaultResult<T>> {
  using type = VaultResult<T>;
};

// ResultOf calls |f| and gives its answer the type of OnSecretStack's.
template <class Result, class F>
Result ResultOf(F& f) {
  if constexpr (std::is_void_v<std::invoke_result_t<F&>>) {
    f();
    return Result();
  } else {
    return Result(f());
  }
}

template <StackDepth depth, class F>
auto OnStack(F& f) {
  using Result = typename AsResult<std::invoke_result_t<F&>>::type;
  if (OnThisStackAlready()) return ResultOf<Result>(f);

  struct Call {
    F* f;
    std::optional<Result> result;
    std::exception_ptr exception;
  } call{&f, std::nullopt, nullptr};
  const auto trampoline = [](void* argument) noexcept {
    auto& its = *static_cast<Call*>(argument);
    // An exception that left the entry function of a stack would end the process.
    try {
      its.result.emplace(ResultOf<Result>(*its.f));
    } catch (...) {
      its.exception = std::current_exception();
    }
  };
  if (auto ran = RunOnSecretStack(depth, trampoline, &call); !ran) {
    return Result(std::unexpected(ran.error()));
  }
  if (call.exception != nullptr) std::rethrow_exception(call.exception);
  return Result(std::move(*call.result));
}

}  // namespace internal

template <class F>
auto OnSecretStack(F&& f) {
  return internal::OnStack<internal::StackDepth::kDeep>(f);
}

template <class F>
auto OnShallowStack(F&& f) {
  return internal::OnStack<internal::StackDepth::kShallow>(f);
}

}  // namespace secretmem
