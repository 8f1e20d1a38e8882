#include "tests/conformance/module.h"

#include <dlfcn.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>

namespace secretmem::conformance {
namespace {

void* g_library = nullptr;
CK_FUNCTION_LIST* g_functions = nullptr;

}  // namespace

Options& GlobalOptions() {
  static Options options;
  return options;
}

std::string LoadModule(const Options& options) {
  g_library = dlopen(options.module.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (g_library == nullptr) return dlerror();
  auto get_list =
      reinterpret_cast<CK_RV (*)(CK_FUNCTION_LIST**)>(dlsym(g_library, "C_GetFunctionList"));
  if (get_list == nullptr) return "no symbol C_GetFunctionList in " + options.module;
  if (get_list(&g_functions) != CKR_OK || g_functions == nullptr) {
    return "C_GetFunctionList failed in " + options.module;
  }
  return {};
}

const CK_FUNCTION_LIST& P11() { return *g_functions; }

void* ModuleSymbol(const char* name) { return dlsym(g_library, name); }

Environment::Environment() : owner_(getpid()) {
  std::string name =
      (std::filesystem::temp_directory_path() / "pkcs11-conformance-XXXXXX").string();
  if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp: " + name);
  directory_ = name;
  const std::string tokens = directory_ + "/tokens";
  std::filesystem::create_directory(tokens);
  std::filesystem::permissions(tokens, std::filesystem::perms::owner_all);

  const std::string toml = directory_ + "/secretmem-pkcs11.toml";
  std::ofstream(toml) << "[tokens]\ndirectory = \"" << tokens << "\"\n\n"
                      << "[pin]\niterations = 1000\ndelay_ms = 0\n";
  setenv("SECRETMEM_PKCS11_CONF", toml.c_str(), 1);

  const std::string softhsm = directory_ + "/softhsm2.conf";
  std::ofstream(softhsm) << "directories.tokendir = " << tokens << "\n"
                         << "objectstore.backend = file\nlog.level = ERROR\n"
                         << "slots.removable = false\n";
  setenv("SOFTHSM2_CONF", softhsm.c_str(), 1);
}

Environment::~Environment() {
  if (getpid() != owner_) return;
  std::error_code ignored;
  std::filesystem::remove_all(directory_, ignored);
}

}  // namespace secretmem::conformance
