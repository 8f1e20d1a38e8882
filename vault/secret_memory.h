#pragma once

#include <cstddef>

#include "vault/error.h"

namespace secretmem {

// Protection says what kind of memory new mappings get.
enum class Protection {
  kMemfdSecret,  // memfd_secret(2): unmapped from the kernel's own view
  kLocked,       // mlock(2), MADV_DONTDUMP: readable by root and by ptrace
};

// AtRest says what protects the vaults and operation contexts from the process's own code while no
// borrow is under way.
enum class AtRest {
  kNone,
  kPkey,      // a protection key that only a borrow opens, for its own thread (pkeys(7))
  kMprotect,  // mprotect(2): inaccessible until some thread borrows
};

// MemoryOptions are the choices of the configuration. They are made once, before the first mapping.
struct MemoryOptions {
  Protection protection = Protection::kMemfdSecret;
  AtRest at_rest = AtRest::kNone;
  // Each vault on a page of its own between inaccessible addresses, instead of slots side by side.
  bool page_per_vault = false;
  // mseal(2), Linux 6.10, where nothing else has to change the mapping: not with kMprotect. Sealed
  // regions are never unmapped.
  bool seal = false;
};

// ConfigureMemory sets the options. It returns what of them is in force: kPkey becomes kNone on a
// processor without protection keys, |seal| false on a kernel without mseal(2).
MemoryOptions ConfigureMemory(const MemoryOptions& wanted);
const MemoryOptions& CurrentMemoryOptions();

inline Protection CurrentProtection() { return CurrentMemoryOptions().protection; }

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

// GuardSecret puts a new mapping under at-rest protection and, if it |may_be_sealed|, seals it, as
// the options say. It returns whether the mapping is sealed. With kMprotect it is inaccessible now.
VaultResult<bool> GuardSecret(std::byte* at, size_t size, bool may_be_sealed);

// SetAccess opens or closes a mapping by mprotect(2).
void SetAccess(std::byte* at, size_t size, bool open);

// SetThreadAccess opens or closes all guarded mappings to this thread by the protection key, and
// does nothing with another kind of at-rest protection. It nests.
void SetThreadAccess(bool open);

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
