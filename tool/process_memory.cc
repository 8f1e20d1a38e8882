#include "tool/process_memory.h"

#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <fstream>
#include <sstream>

namespace secretmem {
namespace {

bool ParseMapping(const std::string& line, Mapping* mapping) {
  char permissions[5] = {};
  int name = -1;
  if (std::sscanf(line.c_str(), "%" SCNx64 "-%" SCNx64 " %4s %" SCNx64 " %*s %*s %n",
                  &mapping->start, &mapping->end, permissions, &mapping->file_offset, &name) < 4) {
    return false;
  }
  mapping->permissions = permissions;
  if (name >= 0) mapping->name = line.substr(static_cast<size_t>(name));
  if (mapping->name.empty()) mapping->name = "[anonymous]";
  return true;
}

}  // namespace

std::vector<Mapping> ReadMappings(pid_t pid) {
  std::vector<Mapping> mappings;
  std::ifstream in("/proc/" + std::to_string(pid) + "/maps");
  for (std::string line; std::getline(in, line);) {
    Mapping mapping;
    if (ParseMapping(line, &mapping)) mappings.push_back(mapping);
  }
  return mappings;
}

std::vector<Mapping> ReadMappingsWithFlags(pid_t pid) {
  std::vector<Mapping> mappings;
  std::ifstream in("/proc/" + std::to_string(pid) + "/smaps");
  for (std::string line; std::getline(in, line);) {
    Mapping mapping;
    if (line.starts_with("VmFlags:")) {
      if (!mappings.empty()) mappings.back().flags = line.substr(8);
    } else if (!line.empty() && line.find('-') != std::string::npos &&
               line.find('-') < line.find(' ') && ParseMapping(line, &mapping)) {
      mappings.push_back(mapping);
    }
  }
  return mappings;
}

ProcessMemory::ProcessMemory(pid_t pid) : pid_(pid) {
  const std::string proc = "/proc/" + std::to_string(pid);
  mem_ = open((proc + "/mem").c_str(), O_RDONLY | O_CLOEXEC);
  pagemap_ = open((proc + "/pagemap").c_str(), O_RDONLY | O_CLOEXEC);
}

ProcessMemory::~ProcessMemory() {
  if (mem_ >= 0) close(mem_);
  if (pagemap_ >= 0) close(pagemap_);
}

ssize_t ProcessMemory::Read(uint64_t address, std::span<uint8_t> to) const {
  const iovec local = {to.data(), to.size()};
  const iovec remote = {reinterpret_cast<void*>(address), to.size()};
  const ssize_t got = process_vm_readv(pid_, &local, 1, &remote, 1, 0);
  return got < 0 ? -errno : got;
}

ssize_t ProcessMemory::ReadForced(uint64_t address, std::span<uint8_t> to) const {
  const ssize_t got = pread(mem_, to.data(), to.size(), static_cast<off_t>(address));
  return got < 0 ? -errno : got;
}

std::vector<bool> ProcessMemory::PopulatedPages(uint64_t start, uint64_t end) const {
  const size_t count = (end - start) / 4096;
  std::vector<uint64_t> entries(count, 0);
  const ssize_t got = pread(pagemap_, entries.data(), count * 8, static_cast<off_t>(start / 512));
  std::vector<bool> populated(count, true);  // when in doubt, look
  for (size_t i = 0; got > 0 && i < static_cast<size_t>(got) / 8; ++i) {
    populated[i] = (entries[i] >> 62) != 0;
  }
  return populated;
}

}  // namespace secretmem
