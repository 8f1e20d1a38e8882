// The module files by which p11-kit knows modules.
#pragma once

#include <string>
#include <vector>

namespace secretmem::tool {

struct ModuleFile {
  std::string path;
  std::string module;  // as written
  std::string target;  // the file that p11-kit would load
  bool exists = false;
  bool users_own = false;  // below the user's home: p11-kit passes it over for root
};

// FindModuleFiles returns the p11-kit module files that name a secretmem-pkcs11 module.
std::vector<ModuleFile> FindModuleFiles();

}  // namespace secretmem::tool
