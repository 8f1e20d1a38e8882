// Runs one scenario under the recorder and judges what was recorded.
#pragma once

#include <string>
#include <vector>

#include "tests/audit/recorder.h"
#include "tests/audit/scenario.h"
#include "tests/audit/stepper.h"

namespace secretmem::audit {

struct RunOptions {
  bool step = true;
  StepOptions steps;
};

struct RunReport {
  std::string scenario;
  std::string problem;            // not empty: the audit could not look (never a pass)
  std::vector<Finding> findings;  // key words that were readable
  size_t windows = 0;             // 8-byte windows searched for
  uint64_t steps = 0;
  uint64_t foreign_steps = 0;  // of these, with the stack pointer on another stack
  bool sampled = false;        // see StepResult
  bool other_stack_sampled = false;
  uint64_t looks = 0;
  uint64_t bytes = 0;
  bool token_keys = false;  // the token key and what PINs are stretched to were searched for too
};

// RunScenario steps through the scenario's calls, looks at everything after each and after every
// end of life (destroy, logout, close, finalize, unload), and searches all of it. The decoys
// planted before must have been found in the same records, or `problem` says so.
RunReport RunScenario(const Token& token, const Scenario& scenario, const RunOptions& options);

// PrintFindings prints one line per finding.
void PrintFindings(const std::vector<Finding>& findings);

// CheckDecoys returns the decoys that `recorder` does not show, as text; empty when all are there.
std::string CheckDecoys(const Recorder& recorder, const std::vector<Secret>& decoys);

// SearchFiles searches all files below `directory` and returns the forms found there.
std::vector<std::string> SearchFiles(const std::filesystem::path& directory,
                                     const WindowSet& secrets);

// MakeWindows builds the set of windows; values too short to search for are left out.
WindowSet MakeWindows(const std::vector<Secret>& secrets);

}  // namespace secretmem::audit
