#include "tool/p11_kit.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <sstream>

#include "tool/system.h"

namespace secretmem::tool {

namespace {

namespace fs = std::filesystem;

std::string ValueOf(const std::string& text, const std::string& key) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const size_t begin = line.find_first_not_of(" \t");
    if (begin == std::string::npos || line[begin] == '#') continue;
    const size_t colon = line.find(':', begin);
    if (colon == std::string::npos) continue;
    std::string name = line.substr(begin, colon - begin);
    name.erase(name.find_last_not_of(" \t") + 1);
    if (name != key) continue;
    const size_t value = line.find_first_not_of(" \t", colon + 1);
    if (value == std::string::npos) return {};
    return line.substr(value, line.find_last_not_of(" \t\r") - value + 1);
  }
  return {};
}

}  // namespace

std::vector<ModuleFile> FindModuleFiles() {
  std::vector<std::pair<std::string, bool>> places = {{SECRETMEM_P11_KIT_PACKAGE_MODULES, false},
                                                      {SECRETMEM_P11_KIT_SYSTEM_MODULES, false}};
  if (const char* home = std::getenv("HOME"); home != nullptr && *home != '\0') {
    places.emplace_back(std::string(home) + "/.config/pkcs11/modules", true);
  }
  std::vector<ModuleFile> found;
  for (const auto& [place, users_own] : places) {
    std::error_code ignored;
    for (const fs::directory_entry& entry : fs::directory_iterator(place, ignored)) {
      if (entry.path().extension() != ".module") continue;
      ModuleFile file;
      file.path = entry.path();
      file.users_own = users_own;
      file.module = ValueOf(ReadText(file.path).value_or(""), "module");
      if (file.module.find("secretmem-pkcs11") == std::string::npos) continue;
      const fs::path named(file.module);
      file.target = named.is_absolute() ? named : fs::path(SECRETMEM_P11_KIT_MODULE_PATH) / named;
      file.exists = fs::exists(file.target, ignored);
      found.push_back(file);
    }
  }
  std::ranges::sort(found, {}, &ModuleFile::path);
  return found;
}

}  // namespace secretmem::tool
