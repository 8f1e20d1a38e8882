#include <cstdio>

#include "tests/audit/attacks.h"
#include "tests/audit/commands.h"

namespace secretmem::audit {
namespace {

const char* NameOf(Outcome outcome) {
  switch (outcome) {
    case Outcome::kRead:
      return "reads";
    case Outcome::kNothing:
      return "reads nothing";
    case Outcome::kSkipped:
      return "skipped";
  }
  return "?";
}

}  // namespace

int AuditAttacks(const Options& options) {
  std::vector<Attack> attacks = OutsideAttacks();
  for (Attack& attack : InsideAttacks()) attacks.push_back(std::move(attack));
  if (options.list) {
    for (const Attack& attack : attacks) {
      std::printf("%s: %s\n", attack.name.c_str(), NameOf(attack.expected));
    }
    return 0;
  }
  const Token token(options.target, options.modules.at(0), options.settings);
  Client::LearnDialect(token);
  int wrong = 0;
  size_t tried = 0;
  for (const Attack& attack : attacks) {
    if (attack.name.find(options.only) == std::string::npos) continue;
    Live live(token);
    if (!options.expects_leaks() && !live.has_secret_regions()) {
      throw CannotLook("the process has no memfd_secret mapping: there is nothing to attack");
    }
    std::string detail;
    const Outcome outcome = attack.attempt(live, &detail);
    ++tried;
    bool good = outcome == attack.expected || outcome == Outcome::kSkipped;
    if (options.expects_leaks()) {
      good = !attack.reads_ordinary_memory || outcome == Outcome::kRead;
    }
    const char* verdict = outcome == Outcome::kSkipped ? "SKIPPED" : good ? "ok" : "WRONG";
    const char* named = attack.expected == Outcome::kRead ? " (named: not covered)" : "";
    std::printf("%-8s %-50s %s%s: %s\n", verdict, attack.name.c_str(), NameOf(outcome), named,
                detail.c_str());
    wrong += good ? 0 : 1;
  }
  if (tried == 0) throw CannotLook("no such attack");
  return wrong == 0 ? 0 : 1;
}

}  // namespace secretmem::audit
