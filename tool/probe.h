// Asking the module about itself from a child process, which may fail without harm.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace secretmem::tool {

// ModuleReport is what a child found that loaded the module and initialised it.
struct ModuleReport {
  bool works = false;
  std::string problem;           // where it does not: why
  std::string remedy;            // and what to do
  std::vector<std::string> log;  // what the module itself said, at level info
  std::string description;       // C_GetInfo's
  std::string version;           // "0.1"
  unsigned long mechanisms = 0;
  // By serial number of the token: the key types of its public keys and of the private keys that
  // show without a login.
  std::map<std::string, std::vector<unsigned long>> key_types;
};

ModuleReport ProbeModule(const std::string& path);

}  // namespace secretmem::tool
