#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>

#include "vault/error.h"
#include "vault/secret_stack.h"

namespace secretmem {

// SecretView is what a borrow of exactly N secret bytes sees. Its length is part of its type: an
// X25519 view of anything but 32 bytes does not compile.
template <size_t N>
using SecretView = std::span<const uint8_t, N>;

template <size_t N>
using WritableSecretView = std::span<uint8_t, N>;

namespace internal {

template <class T>
inline constexpr bool kIsView = false;
template <class T, size_t N>
inline constexpr bool kIsView<std::span<T, N>> = true;
template <class C, class T>
inline constexpr bool kIsView<std::basic_string_view<C, T>> = true;
template <class T>
inline constexpr bool kIsView<std::reference_wrapper<T>> = true;
template <class T, class E>
inline constexpr bool kIsView<std::expected<T, E>> = std::is_pointer_v<T> || kIsView<T>;
template <class T>
inline constexpr bool kIsView<std::optional<T>> = std::is_pointer_v<T> || kIsView<T>;

// A borrow ends when its closure returns; nothing that points into the vault may come out.
template <class T>
concept LeavesBorrow = !std::is_reference_v<T> && !std::is_pointer_v<T> && !kIsView<T>;

}  // namespace internal

// Vault owns a fixed number of secret bytes in the key heap. It can be moved, not copied, and it
// cannot be printed or compared. Its bytes are reached only inside a borrow, which runs on a secret
// stack; when the vault dies they are wiped. After a fork the child's vaults are empty shells.
class Vault {
 public:
  // New returns a vault of |size| zero bytes, at least 1. Errors are those of OnSecretStack.
  static VaultResult<Vault> New(size_t size);

  // CopyOf returns a vault of the same bytes as |bytes|, at least 1, which are read on a secret
  // stack. The caller's memory is left as it is.
  static VaultResult<Vault> CopyOf(std::span<const uint8_t> bytes);

  Vault(Vault&& other) noexcept { *this = std::move(other); }
  Vault& operator=(Vault&& other) noexcept;
  Vault(const Vault&) = delete;
  Vault& operator=(const Vault&) = delete;
  ~Vault();

  size_t size() const { return size_; }

  // WithSecret calls |f(std::span<const uint8_t>)| in a borrow and returns its answer in a
  // VaultResult. |f| may not return a pointer, reference or view.
  template <class F>
  auto WithSecret(F&& f) const {
    static_assert(internal::LeavesBorrow<std::invoke_result_t<F&, std::span<const uint8_t>>>,
                  "a borrow must not leak a pointer out of its scope");
    return Borrow([&] { return f(std::span<const uint8_t>(data_, size_)); });
  }

  // WithSecret<N> narrows to exactly N bytes; kWrongSize, without a call, if the vault has another
  // size.
  template <size_t N, class F>
  auto WithSecret(F&& f) const {
    static_assert(internal::LeavesBorrow<std::invoke_result_t<F&, SecretView<N>>>,
                  "a borrow must not leak a pointer out of its scope");
    return Narrow<N>([&] { return f(SecretView<N>(data_, N)); });
  }

  // WriteSecret is WithSecret with bytes that can be written.
  template <class F>
  auto WriteSecret(F&& f) {
    static_assert(internal::LeavesBorrow<std::invoke_result_t<F&, std::span<uint8_t>>>,
                  "a borrow must not leak a pointer out of its scope");
    return Borrow([&] { return f(std::span<uint8_t>(data_, size_)); });
  }

  template <size_t N, class F>
  auto WriteSecret(F&& f) {
    static_assert(internal::LeavesBorrow<std::invoke_result_t<F&, WritableSecretView<N>>>,
                  "a borrow must not leak a pointer out of its scope");
    return Narrow<N>([&] { return f(WritableSecretView<N>(data_, N)); });
  }

 private:
  friend class VaultTestPeer;

  Vault(uint8_t* data, size_t size, uint64_t generation)
      : data_(data), size_(size), generation_(generation) {}

  // Whether the bytes are there: not in a moved-from vault, not in a child of fork.
  VaultResult<void> Check() const;

  template <class F>
  auto Borrow(F&& f) const {
    return OnSecretStack([&] {
      using Result = typename internal::AsResult<std::invoke_result_t<F&>>::type;
      if (auto there = Check(); !there) return Result(std::unexpected(there.error()));
      return internal::ResultOf<Result>(f);
    });
  }

  template <size_t N, class F>
  auto Narrow(F&& f) const {
    using Result = typename internal::AsResult<std::invoke_result_t<F&>>::type;
    if (size_ != N) return Result(std::unexpected(VaultError{VaultErrc::kWrongSize}));
    return Result(Borrow(f));
  }

  uint8_t* data_ = nullptr;
  size_t size_ = 0;
  uint64_t generation_ = 0;
};

}  // namespace secretmem
