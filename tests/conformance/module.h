// The module under test and the options of the run.
#pragma once

#include <optional>
#include <string>

#include "mechanisms/cryptoki.h"

namespace secretmem::conformance {

// Options are those of the command line; Usage() in main.cc explains each.
struct Options {
  std::string module;
  std::string so_pin = "so-pin-123456";
  std::string user_pin = "user-pin-1234";
  std::string expected_differences;
  std::string wycheproof;
  std::optional<CK_SLOT_ID> slot;
  bool own_environment = true;
  bool x25519_as_edwards = false;
};

Options& GlobalOptions();

// LoadModule opens options.module and takes its 2.40 function list. Returns an error text, empty
// if there was none. The module stays loaded until the process ends.
std::string LoadModule(const Options& options);

// P11 returns the module's 2.40 function list.
const CK_FUNCTION_LIST& P11();

// ModuleSymbol returns an exported symbol's address, or nullptr.
void* ModuleSymbol(const char* name);

// Environment prepares a scratch directory with an empty token directory in it and configuration
// files for the modules whose environment variables are known (secretmem-pkcs11 and SoftHSM2),
// and removes it when destroyed in the process that made it.
class Environment {
 public:
  Environment();
  ~Environment();
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

 private:
  std::string directory_;
  int owner_;
};

}  // namespace secretmem::conformance
