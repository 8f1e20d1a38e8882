#pragma once

#include <cstddef>

#include "vault/error.h"

namespace secretmem {

// Protection says what kind of memory new mappings get.
enum class Protection {
  kMemfdSecret,  // memfd_secret(2): unmapped from the kernel's own view
  kLocked,       // mlock(2), MADV_DONTDUMP: readable by root and by ptrace
};

// SetProtection chooses the kind of every later mapping. The default is kMemfdSecret.
void SetProtection(Protection protection);
Protection CurrentProtection();

// ProbeSecretMemory makes one page of the current protection, touches it and gives it back, so that
// nothing of it remains. It fails with kUnsupported, kForbidden, kMemoryLockLimit or kOutOfMemory.
VaultResult<void> ProbeSecretMemory();

// ProbeRandom calls getrandom(2) once, because BoringSSL ends the process where it fails. It fails
// with kNoRandom.
VaultResult<void> ProbeRandom();

// ReserveAddresses returns |size| bytes of inaccessible address space, aligned to 64 KiB, or
// kOutOfMemory. It costs no memory and is never given back.
VaultResult<std::byte*> ReserveAddresses(size_t size);

// MapSecret puts |size| bytes of zeroed secret memory at |at|, which lies in reserved addresses;
// both are multiples of the page size. Every page is touched, no descriptor stays open, and a child
// of fork does not get the mapping. The caller holds the fork gate, since a child made between
// mmap and madvise would. Errors are those of ProbeSecretMemory; |at| is then still reserved.
VaultResult<void> MapSecret(std::byte* at, size_t size);

// UnmapSecret gives the memory back and leaves inaccessible addresses behind.
void UnmapSecret(std::byte* at, size_t size);

// MapSecretForChild makes a mapping of |size| bytes that a child of fork does inherit, at an
// address of the kernel's choice. It is meant for the short time around a fork only.
VaultResult<std::byte*> MapSecretForChild(size_t size);

// MoveSecret moves a mapping of MapSecretForChild to |to|, over whatever is there, and takes it
// from later children.
VaultResult<void> MoveSecret(std::byte* from, size_t size, std::byte* to);

// Wipe writes zeros that no optimiser removes.
void Wipe(void* data, size_t size);

}  // namespace secretmem
