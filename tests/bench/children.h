// What is measured in processes of their own: how a module starts, and what it is like when many
// objects are there. Each answers with JSON.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "client/bench/subject.h"

namespace secretmem::bench {

using Json = nlohmann::json;

// InChild runs this program again, to do |what|(|request|), and returns its answer;
// {"lacking": reason} where it had none.
Json InChild(const std::string& what, const Json& request);

// SettingsOfChildren are those of TokenDirectory that children get too.
std::string& SettingsOfChildren();

// Serve is the other side: it prints the answer and returns the exit status.
int Serve(const std::string& what, const std::string& request);

// What children do.
//
// "start": {path, directory} -> milliseconds of dlopen, C_Initialize and C_GetSlotList together;
// and where there is a token in the directory, of login, the first search and the first derivation.
Json MeasureStart(const Json& request);
// "present": {path, label, counts, budget} -> per count what searches, sessions and derivations
// cost with so many session objects present, and the memory that an object takes. It gives up with
// counts for which making the objects would take more than |budget| seconds.
Json MeasurePresent(const Json& request);
// "fill": {path, label, count, budget} -> a directory with a token of |count| token objects, which
// is the caller's to remove.
Json FillToken(const Json& request);

}  // namespace secretmem::bench
