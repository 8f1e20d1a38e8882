// Another process's mappings and memory, as an observer outside it sees them.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace secretmem {

struct Mapping {
  uint64_t start = 0;
  uint64_t end = 0;
  std::string permissions;  // "rw-p"
  uint64_t file_offset = 0;
  std::string name;   // "[heap]", a path, or "[anonymous]"
  std::string flags;  // VmFlags, only from ReadMappingsWithFlags

  bool writable() const { return permissions[1] == 'w'; }
  bool readable() const { return permissions[0] == 'r'; }
  bool contains(uint64_t address) const { return start <= address && address < end; }
  // By the name that the kernel gives: the module's own file is called something like it, too.
  bool secret() const { return name.starts_with("/secretmem"); }
  uint64_t size() const { return end - start; }
};

// ReadMappings reads /proc/PID/maps; an empty answer means that it could not be read.
std::vector<Mapping> ReadMappings(pid_t pid);

// ReadMappingsWithFlags reads /proc/PID/smaps.
std::vector<Mapping> ReadMappingsWithFlags(pid_t pid);

// ProcessMemory reads a process's memory by process_vm_readv(2), and by /proc/PID/mem where a
// mapping's own permissions forbid reading (the kernel lets a tracer read those all the same).
class ProcessMemory {
 public:
  explicit ProcessMemory(pid_t pid);
  ~ProcessMemory();
  ProcessMemory(const ProcessMemory&) = delete;
  ProcessMemory& operator=(const ProcessMemory&) = delete;

  pid_t pid() const { return pid_; }
  bool usable() const { return mem_ >= 0 && pagemap_ >= 0; }

  // Read fills `to` from `address` by process_vm_readv; -errno on failure, else bytes read.
  ssize_t Read(uint64_t address, std::span<uint8_t> to) const;

  // ReadForced does the same through /proc/PID/mem.
  ssize_t ReadForced(uint64_t address, std::span<uint8_t> to) const;

  // PopulatedPages says for each page of the range whether it is present or swapped.
  std::vector<bool> PopulatedPages(uint64_t start, uint64_t end) const;

 private:
  pid_t pid_;
  int mem_;
  int pagemap_;
};

}  // namespace secretmem
