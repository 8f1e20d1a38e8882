// Work in a child process, which may fail without harm.
#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <string>

namespace secretmem::tool {

// ChildAnswer is what came of it.
struct ChildAnswer {
  nlohmann::json answer;  // null where it died before it had one
  std::string said;       // on standard error, if that was kept
  int status = 0;         // waitpid's
};

// InChild runs |work| in a child and waits for its answer. Signals that would end this process end
// the child, so that the caller can tidy up. |keep_errors|: what it says on standard error is kept,
// not shown. Throws ToolError where there can be no child.
ChildAnswer InChild(const std::function<nlohmann::json()>& work, bool keep_errors);

}  // namespace secretmem::tool
