// What the tests of secret memory share.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace secretmem {

#if defined(__SANITIZE_ADDRESS__)
inline constexpr bool kAddressSanitizer = true;
#else
inline constexpr bool kAddressSanitizer = false;
#endif
#if defined(__SANITIZE_THREAD__)
inline constexpr bool kThreadSanitizer = true;
#else
inline constexpr bool kThreadSanitizer = false;
#endif
inline constexpr bool kSanitized = kAddressSanitizer || kThreadSanitizer;

// FromHex reads an even number of hexadecimal digits.
std::vector<uint8_t> FromHex(const std::string& digits);

// Mapping is what /proc/self/smaps says of one.
struct Mapping {
  uintptr_t low = 0;
  uintptr_t high = 0;
  std::string permissions;
  uint64_t offset = 0;
  uint64_t inode = 0;
  std::string name;
  std::string flags;  // VmFlags, with a space before and behind each

  bool IsSecretmem() const { return name.starts_with("/secretmem"); }
  bool HasFlag(const std::string& flag) const {
    return flags.find(" " + flag + " ") != std::string::npos;
  }
};

// MappingOf returns the mapping of this process that |address| lies in.
std::optional<Mapping> MappingOf(const void* address);
std::vector<Mapping> SecretMappings();

// SecretFlags are those that a mapping of the module's must have: locked, as far as this kernel
// says so of secret memory (Debian's 6.1 does not, and never swaps it either), not dumped, not
// inherited.
std::vector<const char*> SecretFlags();

// Descriptors lists the open ones and what they point to.
std::vector<std::string> Descriptors();

// SecretSpy maps every secretmem file a second time, in the moment before its descriptor is closed.
// It sees the mappings made while it lives. One at a time.
//
// It needs nothing in the code under test: the test program has a close(2) of its own.
class SecretSpy {
 public:
  struct File {
    long magic;  // of the filesystem
    uint64_t inode;
    uint8_t* bytes;
    size_t size;
  };

  SecretSpy();
  ~SecretSpy();
  SecretSpy(const SecretSpy&) = delete;
  SecretSpy& operator=(const SecretSpy&) = delete;

  // FileOf returns the spied file whose mapping |address| lies in.
  std::optional<File> FileOf(const void* address) const;

  // Look returns the |size| bytes at |address| as the second mapping shows them, whatever becomes
  // of the first; empty if that file was not seen.
  std::span<const uint8_t> Look(const void* address, size_t size) const;

  std::vector<File> files() const;
};

// InChild runs |f| in a child of fork(2) and returns what waitpid says: f's answer as exit status.
int InChild(const std::function<int()>& f);

// InRawChild does so in a child of clone(2) itself, in which no fork handler runs.
int InRawChild(const std::function<int()>& f);

// LimitLockedMemory makes RLIMIT_MEMLOCK hold for this process: gives up root if it has it. Only
// in children.
void LimitLockedMemory(size_t bytes);

// Reads tries to read a byte of this process's memory as another program would.
bool ProcMemReads(pid_t pid, const void* address);
bool ProcessVmReads(pid_t pid, const void* address);

// DiesTouching says whether a child that reads |address| dies of SIGSEGV. The child shares this
// process's memory, so that what it cannot read is not there, rather than not inherited.
bool DiesTouching(const void* address);

// IsZero says whether all bytes are.
bool IsZero(std::span<const uint8_t> bytes);

}  // namespace secretmem
