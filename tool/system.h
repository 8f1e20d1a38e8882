// What this system offers: secret memory, the memory-lock limit.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

namespace secretmem::tool {

// SecretMemory says whether memfd_secret(2) works in this process.
struct SecretMemory {
  bool works = false;
  std::string reason;  // where it does not: why
  std::string remedy;  // and what mends it
};

// Circumstances are what a failed attempt is judged by.
struct Circumstances {
  int error = 0;             // errno of memfd_secret(2), or of mapping what it returned
  bool created = false;      // memfd_secret(2) itself had worked
  std::string release;       // uname -r
  std::string command_line;  // /proc/cmdline
  bool filtered = false;     // a seccomp filter is in force
};

// Diagnose says why there is no secret memory. Looks at nothing but |circumstances|.
SecretMemory Diagnose(const Circumstances& circumstances);

inline constexpr size_t kPageBytes = 4096;

// SecretPage is a page of memfd_secret(2) memory, its caller's to unmap; null where it cannot be
// had.
struct SecretPage {
  void* address = nullptr;
  bool created = false;  // memfd_secret(2) itself worked
  int error = 0;         // errno
};
SecretPage MapSecretPage();

// TrySecretMemory makes a page of secret memory, touches it and gives it back.
SecretMemory TrySecretMemory();

std::string KernelRelease();

// MemoryLock is RLIMIT_MEMLOCK as it applies to this process.
struct MemoryLock {
  std::optional<uint64_t> limit;  // bytes; nullopt: none
  bool exempt = false;            // CAP_IPC_LOCK

  bool unlimited() const { return exempt || !limit; }
};
MemoryLock ReadMemoryLock();

// KeysWithin returns how many keys of 32 bytes, such as X25519 keys, |limit| bytes of locked memory
// hold at least; |page_each|: with memory.isolation = "page".
uint64_t KeysWithin(uint64_t limit, bool page_each);

// kEnoughLockedBytes is what a process needs that uses a few keys in several threads.
inline constexpr uint64_t kEnoughLockedBytes = uint64_t{4} << 20;

// ReadText returns what is in a small file; nullopt where it cannot be read.
std::optional<std::string> ReadText(const std::string& path);

}  // namespace secretmem::tool
