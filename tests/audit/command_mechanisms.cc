#include <cstdio>
#include <set>

#include "tests/audit/commands.h"
#include "tests/audit/run.h"

namespace secretmem::audit {
namespace {

struct Table {
  std::vector<Scenario> scenarios;
  std::vector<std::string> not_audited;
};

// ScenariosOf follows the module's own table: whatever C_GetMechanismInfo says a mechanism can do
// needs a scenario.
Table ScenariosOf(const Token& token) {
  Table table;
  const auto mechanisms = token.Mechanisms();
  auto has = [&](CK_MECHANISM_TYPE mechanism, CK_FLAGS function) {
    for (const auto& [type, flags] : mechanisms) {
      if (type == mechanism && (flags & function) != 0) return true;
    }
    return false;
  };
  for (auto scenarios : {BasicScenarios(), TokenScenarios(), RefusalScenarios()}) {
    for (Scenario& scenario : scenarios) {
      if (scenario.mechanism == ck::kNone || has(scenario.mechanism, scenario.function)) {
        table.scenarios.push_back(std::move(scenario));
      }
    }
  }
  for (const auto& [type, flags] : mechanisms) {
    for (const CK_FLAGS function : FunctionFlags()) {
      if ((flags & function) == 0 || HasNoSecret(type, function)) continue;
      const auto found = ScenariosFor(type, function);
      if (found.empty()) {
        table.not_audited.push_back(MechanismName(type) + " " + FunctionName(function));
      }
      for (const Scenario& scenario : found) {
        if (scenario.needs == ck::kNone || has(scenario.needs, ~CK_FLAGS{0})) {
          table.scenarios.push_back(scenario);
        }
      }
    }
  }
  return table;
}

// What the module exists for is stepped through to the end, whatever it takes.
bool IsX25519(const Scenario& scenario) {
  // An RSA operation around it is too long for that.
  return scenario.name.find("X25519") != std::string::npos &&
         scenario.mechanism != ck::kRsaAesKeyWrap;
}

// PrintNotAudited returns false when something is not audited and has to be.
bool PrintNotAudited(const Table& table, const Options& options) {
  if (options.expects_leaks()) {
    std::printf("note: %zu functions of this module have no scenario\n", table.not_audited.size());
    return true;
  }
  for (const std::string& what : table.not_audited) {
    std::printf("FAILED: not audited: %s\n", what.c_str());
  }
  return table.not_audited.empty();
}

}  // namespace

int AuditCoverage(const Options& options) {
  const Token token(options.target, options.modules.at(0), options.settings);
  Client::LearnDialect(token);
  const Table table = ScenariosOf(token);
  std::printf("%zu scenarios\n", table.scenarios.size());
  return PrintNotAudited(table, options) ? 0 : 1;
}

int AuditMechanisms(const Options& options) {
  Token token(options.target, options.modules.at(0), options.settings);
  if (options.log) token.KeepLog();
  Client::LearnDialect(token);
  const Table table = ScenariosOf(token);
  RunOptions run;
  run.step = !options.no_steps;
  run.steps.interval = options.interval;
  size_t ran = 0;
  size_t leaking = 0;
  size_t problems = 0;
  size_t without_token_keys = 0;
  for (const Scenario& scenario : table.scenarios) {
    if (scenario.name.find(options.only) == std::string::npos) continue;
    if (options.list) {
      std::printf("%s\n", scenario.name.c_str());
      continue;
    }
    run.steps.full_steps =
        IsX25519(scenario) || scenario.whole ? options.full_steps : options.other_steps;
    // There are many of the others: all that they do on the ordinary stack, and little of the rest.
    run.steps.other_stack_steps = IsX25519(scenario) ? 0 : 500;
    run.steps.max_samples = IsX25519(scenario) ? 300 : 100;
    const RunReport report = RunScenario(token, scenario, run);
    ++ran;
    leaking += report.findings.empty() ? 0 : 1;
    problems += report.problem.empty() ? 0 : 1;
    without_token_keys += report.token_keys || !report.problem.empty() ? 0 : 1;
    const char* verdict = !report.problem.empty()   ? "NOT LOOKED"
                          : report.findings.empty() ? "clean"
                                                    : "LEAKS";
    std::printf("%-10s %-48s %8lu steps%s (%lu on another stack), %lu looks, %lu MB, %zu windows\n",
                verdict, scenario.name.c_str(), report.steps,
                report.sampled               ? " + samples"
                : report.other_stack_sampled ? " + samples of other stacks"
                                             : "",
                report.foreign_steps, report.looks, report.bytes >> 20, report.windows);
    if (!report.problem.empty()) std::printf("    %s\n", report.problem.c_str());
    PrintFindings(report.findings);
  }
  if (options.list) return 0;
  std::printf("%zu scenarios: %zu leak, %zu could not be looked at\n", ran, leaking, problems);
  if (without_token_keys > 0) {
    std::printf(
        "SKIPPED: in %zu scenarios the token key and what PINs are stretched to were not searched "
        "for: this module's token is of no format that the audit knows\n",
        without_token_keys);
  } else if (ran > problems) {
    std::printf("the token key and what PINs are stretched to were searched for throughout\n");
  }
  const bool covered = PrintNotAudited(table, options);
  if (options.log) {
    const size_t lines = token.LogLines();
    std::printf("%zu lines of log were searched\n", lines);
    if (lines < ran) throw CannotLook("the module says next to nothing in its log");
  }
  if (ran == 0) {
    std::printf("FAILED: nothing was audited\n");
    return 2;
  }
  if (options.expects_leaks()) {
    if (leaking == 0) std::printf("FAILED: this module is known to leak, and no leak was seen\n");
    return leaking > 0 ? 0 : 1;
  }
  if (problems > 0) return 2;
  if (without_token_keys > 0) {
    std::printf("FAILED: a module cannot be called clean of what was not searched for\n");
    return 2;
  }
  return leaking == 0 && covered ? 0 : 1;
}

}  // namespace secretmem::audit
