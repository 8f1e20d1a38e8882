// Attacks on a live process, each with its expected outcome (the threat model's table).
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "tests/audit/live.h"

namespace secretmem::audit {

enum class Outcome {
  kRead,     // the attack read a secret
  kNothing,  // it did not
  kSkipped,  // this system does not allow the attempt
};

struct Attack {
  std::string name;
  // What must happen to memfd_secret memory. kRead marks what the promise does not cover.
  Outcome expected;
  std::function<Outcome(Live&, std::string* detail)> attempt;
  // Whether the same attempt must read the secrets of a module that keeps them in ordinary memory.
  bool reads_ordinary_memory = true;
};

std::vector<Attack> OutsideAttacks();  // attacks_outside.cc
std::vector<Attack> InsideAttacks();   // attacks_inside.cc

}  // namespace secretmem::audit
