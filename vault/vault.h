#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <span>
#include <string_view>
#include <tuple>
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

class Vault;

namespace internal {

// kMayLeaveBorrow lists what a borrow's closure may return: values that cannot hold an address. A
// borrow ends when its closure returns, and nothing that points into the vault may come out; of a
// class that is not listed nobody knows what it holds.
template <class T>
inline constexpr bool kMayLeaveBorrow =
    std::is_void_v<T> || std::is_arithmetic_v<T> || std::is_enum_v<T>;
template <>
inline constexpr bool kMayLeaveBorrow<VaultError> = true;
template <>
inline constexpr bool kMayLeaveBorrow<Vault> = true;
template <class T, size_t N>
inline constexpr bool kMayLeaveBorrow<std::array<T, N>> = kMayLeaveBorrow<T>;
template <class T>
inline constexpr bool kMayLeaveBorrow<std::optional<T>> = kMayLeaveBorrow<T>;
template <class T, class E>
inline constexpr bool kMayLeaveBorrow<std::expected<T, E>> =
    kMayLeaveBorrow<T>&& kMayLeaveBorrow<E>;
template <class... T>
inline constexpr bool kMayLeaveBorrow<std::tuple<T...>> = (kMayLeaveBorrow<T> && ...);
template <class A, class B>
inline constexpr bool kMayLeaveBorrow<std::pair<A, B>> = kMayLeaveBorrow<A>&& kMayLeaveBorrow<B>;

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

  // A moved-from vault has 0 bytes; one that is assigned to loses its old bytes at once.
  Vault(Vault&& other) noexcept;
  Vault& operator=(Vault&& other) noexcept;
  Vault(const Vault&) = delete;
  Vault& operator=(const Vault&) = delete;
  ~Vault();

  size_t size() const { return size_; }

  // WithSecret calls |f(std::span<const uint8_t>)| in a borrow and returns its answer in a
  // VaultResult. |f| returns nothing, or numbers, enumerations, a Vault, or an array, tuple,
  // optional or expected of them: never a pointer, reference or view, nor what could hold one.
  template <class F>
  auto WithSecret(F&& f) const {
    return Borrow([&]() -> decltype(auto) { return f(std::span<const uint8_t>(data_, size_)); });
  }

  // WithSecret<N> narrows to exactly N bytes; kWrongSize, without a call, if the vault has another
  // size.
  template <size_t N, class F>
  auto WithSecret(F&& f) const {
    return Narrow<N>([&]() -> decltype(auto) { return f(SecretView<N>(data_, N)); });
  }

  // WriteSecret is WithSecret with bytes that can be written.
  template <class F>
  auto WriteSecret(F&& f) {
    return Borrow([&]() -> decltype(auto) { return f(std::span<uint8_t>(data_, size_)); });
  }

  template <size_t N, class F>
  auto WriteSecret(F&& f) {
    return Narrow<N>([&]() -> decltype(auto) { return f(WritableSecretView<N>(data_, N)); });
  }

 private:
  friend class VaultTestPeer;

  Vault(uint8_t* data, size_t size, uint64_t generation)
      : data_(data), size_(size), generation_(generation) {}

  // Whether the bytes are there: not in a moved-from vault, not in a child of fork.
  VaultResult<void> Check() const;

  template <class F>
  auto Borrow(F&& f) const {
    static_assert(internal::kMayLeaveBorrow<std::invoke_result_t<F&>>,
                  "a borrow must not leak a pointer out of its scope");
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
