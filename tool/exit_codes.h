// The tool's exit codes, as tool/README.md and the manual page document them.
#pragma once

#include <stdexcept>
#include <string>

namespace secretmem::tool {

enum ExitCode : int {
  kDone = 0,            // done; what was asked about is in order
  kFailed = 1,          // it failed, or something is not in order: the output says what
  kUsage = 2,           // wrong arguments
  kNoToken = 3,         // no such token, or more than one of that name
  kPinRefused = 4,      // a PIN was wrong, locked, too short or too long, or could not be read
  kNoSecretMemory = 5,  // keys cannot be protected here
};

// ToolError ends a command: what went wrong, and what to do next.
class ToolError : public std::runtime_error {
 public:
  ToolError(ExitCode code, const std::string& what, std::string remedy = {})
      : std::runtime_error(what), code_(code), remedy_(std::move(remedy)) {}

  ExitCode code() const { return code_; }
  const std::string& remedy() const { return remedy_; }

 private:
  ExitCode code_;
  std::string remedy_;
};

}  // namespace secretmem::tool
