#include "tests/audit/symbols.h"

#include <elf.h>

#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>

namespace secretmem::audit {
namespace {

template <typename T>
bool Get(const std::string& image, uint64_t offset, T* value) {
  if (offset > image.size() || image.size() - offset < sizeof(T)) return false;
  std::memcpy(value, image.data() + offset, sizeof(T));
  return true;
}

std::string Hex(uint64_t value) {
  char text[32];
  std::snprintf(text, sizeof(text), "0x%" PRIx64, value);
  return text;
}

}  // namespace

const Symbols::File& Symbols::Load(const std::string& path) {
  auto [at, fresh] = files_.try_emplace(path);
  File& file = at->second;
  if (!fresh) return file;
  std::ifstream in(path, std::ios::binary);
  const std::string image{std::istreambuf_iterator<char>(in), {}};
  Elf64_Ehdr header;
  if (!Get(image, 0, &header) || std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0) return file;
  for (uint64_t i = 0; i < header.e_phnum; ++i) {
    Elf64_Phdr segment;
    if (!Get(image, header.e_phoff + i * header.e_phentsize, &segment)) break;
    if (segment.p_type == PT_LOAD) {
      file.segments.push_back({segment.p_offset, segment.p_filesz, segment.p_vaddr});
    }
  }
  for (uint64_t i = 0; i < header.e_shnum; ++i) {
    Elf64_Shdr section;
    Elf64_Shdr strings;
    if (!Get(image, header.e_shoff + i * header.e_shentsize, &section)) break;
    if (section.sh_type != SHT_SYMTAB && section.sh_type != SHT_DYNSYM) continue;
    if (!Get(image, header.e_shoff + section.sh_link * header.e_shentsize, &strings)) continue;
    for (uint64_t offset = 0; offset + sizeof(Elf64_Sym) <= section.sh_size;
         offset += sizeof(Elf64_Sym)) {
      Elf64_Sym symbol;
      if (!Get(image, section.sh_offset + offset, &symbol)) break;
      if (ELF64_ST_TYPE(symbol.st_info) != STT_FUNC || symbol.st_value == 0) continue;
      const uint64_t name = strings.sh_offset + symbol.st_name;
      if (name < image.size()) {
        file.functions[symbol.st_value] = {symbol.st_size, image.c_str() + name};
      }
    }
  }
  return file;
}

std::string Symbols::Name(uint64_t address) {
  for (const Mapping& mapping : mappings_) {
    if (!mapping.contains(address)) continue;
    const std::string base = mapping.name.substr(mapping.name.rfind('/') + 1);
    uint64_t offset = address - mapping.start + mapping.file_offset;
    const File& file = Load(mapping.name);
    for (const auto& [start, size, virtual_address] : file.segments) {
      if (offset < start || offset >= start + size) continue;
      offset = offset - start + virtual_address;
      auto after = file.functions.upper_bound(offset);
      if (after != file.functions.begin()) {
        const auto& [at, function] = *std::prev(after);
        if (offset < at + std::max<uint64_t>(function.size, 1)) {
          return function.name + "+" + Hex(offset - at) + " (" + base + ")";
        }
      }
      break;
    }
    return base + "+" + Hex(offset);
  }
  return Hex(address);
}

}  // namespace secretmem::audit
