// The audit's commands. Each returns the program's exit status: 0 as expected, 1 not as expected,
// 2 could not look, 77 skipped (the system lacks what the command needs).
#pragma once

#include <string>
#include <vector>

#include "tests/audit/remote.h"

namespace secretmem::audit {

inline constexpr int kSkipped = 77;

struct Options {
  std::string target;
  std::vector<std::string> modules;
  std::string expect = "clean";
  std::string only;
  std::string settings;
  std::string output;
  // Instructions of a call that are stepped before samples do: with X25519, and otherwise.
  uint64_t full_steps = 1'000'000;
  uint64_t other_steps = 60'000;
  uint64_t interval = 512;
  bool no_steps = false;
  bool list = false;
  bool log = false;

  bool expects_leaks() const { return expect == "leaks"; }
};

int AuditMechanisms(const Options& options);
int AuditCoverage(const Options& options);
int AuditCores(const Options& options);
int AuditStorm(const Options& options);
int AuditThreads(const Options& options);
int AuditAttacks(const Options& options);
int DrawMappings(const Options& options);

}  // namespace secretmem::audit
