// The commands. Each prints what it has to say and returns its exit code, or throws a ToolError.
#pragma once

#include <string>
#include <vector>

#include "tool/exit_codes.h"
#include "tool/pin.h"

namespace secretmem::tool {

// Common is what every command takes.
struct Common {
  std::string module;  // the module's path
  bool json = false;
};

ExitCode Status(const Common& common);
ExitCode Doctor(const Common& common);

ExitCode TokenList(const Common& common);

struct TokenInitOptions {
  std::string label;
  PinSource so_pin;
  PinSource user_pin;
};
ExitCode TokenInit(const Common& common, const TokenInitOptions& options);

ExitCode TokenDelete(const Common& common, const std::string& name, bool yes);
ExitCode TokenBackup(const Common& common, const std::string& name, const std::string& file);

struct TokenRestoreOptions {
  std::string file;
  bool replace = false;
  bool ask_pin = false;  // on the terminal
  PinSource pin;         // neither this nor that: no PIN
};
ExitCode TokenRestore(const Common& common, const TokenRestoreOptions& options);

struct TokenImportOptions {
  std::string from_module;
  std::string from_token;
  std::string token;
  PinSource from_pin;
  PinSource pin;
};
ExitCode TokenImport(const Common& common, const TokenImportOptions& options);

struct AuditOptions {
  std::string token;  // empty: the only one
  PinSource pin;
  std::string picture;  // a file for it; empty: none
  unsigned pause_ms = 5;
  std::vector<std::string> command;
};
ExitCode Audit(const Common& common, const AuditOptions& options);

// BenchSubject is a module to be measured; with |token| empty, by a token made for that.
struct BenchSubject {
  std::string prefix;  // of its options: "", "against-"
  std::string module;
  std::string token;
  PinSource pin;
};
struct BenchOptions {
  BenchSubject subject;  // its module is the common one
  BenchSubject against;  // without a module: nothing
  std::vector<std::string> only;
};
ExitCode Bench(const Common& common, const BenchOptions& options);

// BenchIds returns what |only| may name.
std::vector<std::string> BenchIds();

}  // namespace secretmem::tool
