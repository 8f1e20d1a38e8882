// The results, as people read them.
#pragma once

#include <string>

#include "tests/bench/children.h"

namespace secretmem::bench {

// PrintTables prints all that is in |results| and returns how many bounds of the first module do
// not hold, each multiplied by |slack| in its favour.
int PrintTables(const Json& results, double slack);

// DrawCurves writes how rates grow with threads, one picture per operation, as SVG. Throws
// std::runtime_error.
void DrawCurves(const Json& results, const std::string& path);

}  // namespace secretmem::bench
