#pragma once

#include <cstdint>
#include <expected>

namespace secretmem {

// VaultErrc says why a vault operation failed.
enum class VaultErrc : uint8_t {
  // The kernel has no memfd_secret(2): older than 5.14, or before 6.5 without secretmem.enable=1.
  kUnsupported,
  // The call exists but this process may not use it (seccomp).
  kForbidden,
  // RLIMIT_MEMLOCK is used up.
  kMemoryLockLimit,
  // Address space, memory or descriptors are used up.
  kOutOfMemory,
  // The bytes do not have the length that the view needs.
  kWrongSize,
  // A sealed blob does not verify: wrong key, or changed bytes.
  kSealBroken,
  // getrandom(2) does not work here.
  kNoRandom,
  // The secret memory belongs to a process that this one was forked from.
  kForked,
  // BoringSSL refused the operation.
  kCrypto,
  // Somebody wrote over the canaries beside secrets.
  kDamaged,
};

// VaultError carries the reason and the errno that led to it, or zero.
struct VaultError {
  VaultErrc code;
  int system_error = 0;

  friend bool operator==(const VaultError&, const VaultError&) = default;
};

// Describe returns one static English sentence for |code|, with the remedy where there is one.
const char* Describe(VaultErrc code);

template <class T>
using VaultResult = std::expected<T, VaultError>;

}  // namespace secretmem
