// The list of what another module is known to do differently.
#pragma once

#include <map>
#include <string>

namespace secretmem::conformance {

// How a listed test ends: by failed assertions; or in a way that may take the process with it (a
// signal, or no end at all), so that it runs in a child process; or, where threads race, any way.
enum class Ending { kFails, kCrashes, kRaces };

struct Difference {
  Ending ending;
  std::string reason;
};

// Differences maps "Suite.Test" to what is expected of it.
using Differences = std::map<std::string, Difference>;

// ReadDifferences reads lines of `Suite.Test  [crashes:|races:] reason`; `#` begins a comment.
// Throws std::runtime_error for a line without a reason, a duplicate, or a test that does not
// exist.
Differences ReadDifferences(const std::string& path);

// RunWithDifferences runs all selected tests and returns the process's exit status: 0 if exactly
// the listed tests ended as listed and all others passed or were skipped. Tests listed as crashing
// or racing run in a child process each, and may fail there as well as crash.
int RunWithDifferences(const Differences& differences);

}  // namespace secretmem::conformance
