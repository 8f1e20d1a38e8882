#include "tests/blackbox/module.h"

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>

namespace secretmem::blackbox {
namespace {

CK_FUNCTION_LIST* g_functions = nullptr;

}  // namespace

void LoadModule(const std::string& path) { g_functions = client::LoadFunctions(path); }

void SetFunctions(CK_FUNCTION_LIST* functions) { g_functions = functions; }

const CK_FUNCTION_LIST& P11() { return *g_functions; }

Scratch::Scratch(std::string_view settings, const std::string& base) : owner_(getpid()) {
  const std::string where = base.empty() ? std::filesystem::temp_directory_path().string() : base;
  std::string name = where + "/secretmem-test-XXXXXX";
  if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp: " + name);
  directory_ = name;
  std::filesystem::create_directory(tokens());
  std::filesystem::permissions(tokens(), std::filesystem::perms::owner_all);
  const std::string file = directory_ + "/config.toml";
  std::ofstream(file) << settings << "\n[tokens]\ndirectory = \"" << tokens() << "\"\n";
  setenv("SECRETMEM_PKCS11_CONF", file.c_str(), 1);
}

Scratch::~Scratch() {
  if (getpid() != owner_) return;
  std::error_code ignored;
  std::filesystem::remove_all(directory_, ignored);
}

void Scratch::EmptyTokens() const {
  for (const auto& entry : std::filesystem::directory_iterator(tokens())) {
    std::filesystem::remove_all(entry.path());
  }
}

CK_RV Initialise() {
  CK_C_INITIALIZE_ARGS args{};
  args.flags = CKF_OS_LOCKING_OK;
  return P11().C_Initialize(&args);
}

}  // namespace secretmem::blackbox
