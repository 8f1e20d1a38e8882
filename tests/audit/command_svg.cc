// A picture of the mappings of processes that use the same keys with different modules.
#include <algorithm>
#include <cstdio>

#include "tests/audit/commands.h"
#include "tests/audit/live.h"
#include "tests/audit/run.h"
#include "tool/mappings_picture.h"

namespace secretmem::audit {
namespace {

std::string BaseName(const std::string& path) {
  return path.starts_with("/") ? path.substr(path.rfind('/') + 1) : path;
}

struct Seen {
  MappingColumn column;
  uint64_t windows = 0;
};

// What is seen of the process while it holds its keys, after it has used them.
Seen MakeColumn(const Token& token) {
  Live live(token);
  const auto decoys = live.remote().PlantDecoys();
  for (int i = 0; i < 20; ++i) live.DeriveAndDestroy();
  Recorder recorder(live.remote().pid());
  // One derivation is stepped: what is there for an instant counts as well.
  if (!recorder.Look("before", Recorder::Scope::kEverything)) throw CannotLook("cannot look");
  StepOptions options;
  options.full_steps = 700'000;
  StepThrough(live.remote(), live.Derive(), recorder, options, 0);
  if (!recorder.Look("after", Recorder::Scope::kEverything)) throw CannotLook("cannot look");
  const std::string missing = CheckDecoys(recorder, decoys);
  if (!missing.empty()) throw CannotLook("did not see the planted " + missing);
  const auto findings = recorder.Search(MakeWindows(live.secrets()));

  Seen seen{MappingColumn(BaseName(token.module()))};
  for (const Mapping& mapping : recorder.mappings()) {
    if (mapping.start == kArenaAddress || mapping.name.starts_with("[v")) continue;
    if (mapping.permissions.starts_with("---") && !mapping.secret()) continue;  // guard pages
    MappingBox box;
    box.name = mapping.secret() ? "memfd_secret" : BaseName(mapping.name);
    box.size = mapping.size();
    box.secret = mapping.secret();
    box.unreadable = recorder.unreadable().contains(mapping.start);
    for (const Finding& finding : findings) {
      if (!mapping.contains(finding.address)) continue;
      seen.windows += finding.windows;
      const std::string form = finding.form.substr(0, finding.form.find(" ("));
      if (std::find(box.found.begin(), box.found.end(), form) == box.found.end()) {
        box.found.push_back(form);
      }
    }
    seen.column.Add(box);
  }
  return seen;
}

}  // namespace

int DrawMappings(const Options& options) {
  std::vector<MappingColumn> columns;
  for (const std::string& module : options.modules) {
    const Token token(options.target, module, options.settings);
    Client::LearnDialect(token);
    const Seen seen = MakeColumn(token);
    std::printf("%s: %zu mappings with key bytes, %lu windows\n", seen.column.title().c_str(),
                seen.column.leaking(), seen.windows);
    columns.push_back(seen.column);
  }
  if (!secretmem::DrawMappings(options.output,
                               "Every mapping of a process that has imported keys, logged in, "
                               "derived and signed, searched for each 8-byte window of its secrets",
                               columns)) {
    throw CannotLook("cannot write " + options.output);
  }
  return 0;
}

}  // namespace secretmem::audit
