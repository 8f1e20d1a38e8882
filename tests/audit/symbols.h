// Names for instruction addresses of another process, for reports.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "tool/process_memory.h"

namespace secretmem::audit {

class Symbols {
 public:
  explicit Symbols(std::vector<Mapping> mappings) : mappings_(std::move(mappings)) {}

  // Name returns "function+0x12 (library.so)", or the mapping and offset where no symbol is known.
  std::string Name(uint64_t address);

 private:
  struct Function {
    uint64_t size;
    std::string name;
  };
  struct File {
    std::map<uint64_t, Function> functions;         // by virtual address
    std::vector<std::array<uint64_t, 3>> segments;  // file offset, size, virtual address
  };
  const File& Load(const std::string& path);

  std::vector<Mapping> mappings_;
  std::map<std::string, File> files_;
};

}  // namespace secretmem::audit
