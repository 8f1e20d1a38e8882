// audit: runs a command that uses the module, and shows whether a key could be read in its memory.
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <nlohmann/json.hpp>

#include "tool/commands.h"
#include "tool/page.h"
#include "tool/token_files.h"
#include "tool/watcher.h"

namespace secretmem::tool {

namespace {

using nlohmann::ordered_json;

std::string TheToken(const Config& config, const std::string& name) {
  if (!name.empty()) return FindToken(config, name).path;
  const std::vector<TokenFacts> tokens = AllTokens(config);
  if (tokens.size() == 1) return FindToken(config, tokens[0].serial).path;
  throw ToolError(kNoToken, tokens.empty() ? "there is no token" : "there is more than one token",
                  tokens.empty() ? "Make one: secretmem-pkcs11 token init --label NAME."
                                 : "Name one: --token LABEL.");
}

std::string StatusText(int status) {
  if (WIFSIGNALED(status)) return std::string("ended by ") + strsignal(WTERMSIG(status));
  return WEXITSTATUS(status) == 0 ? "done" : "exit code " + std::to_string(WEXITSTATUS(status));
}

// Problem returns why the audit cannot say that all is well; nothing where it can.
std::string Problem(const Watched& watched) {
  const auto any = [&](auto&& is) {
    return std::ranges::any_of(watched.processes, [&](const auto& one) { return is(one.second); });
  };
  if (!watched.findings.empty()) return "key bytes were readable";
  for (const auto& [pid, process] : watched.processes) {
    if (!process.problem.empty()) return process.name + ": " + process.problem;
  }
  if (!any([](const WatchedProcess& one) { return one.loaded_module; })) {
    return "the command never loaded the module";
  }
  if (!any([](const WatchedProcess& one) { return one.loaded_module && one.secret_bytes != 0; })) {
    return "the command opened no key";
  }
  if (watched.status != 0) return "the command failed";
  return "";
}

const char* RemedyFor(const Watched& watched, const std::string& problem) {
  if (!watched.findings.empty()) {
    return "If the module is the one that is installed here, that is a defect: please report it.";
  }
  if (problem.ends_with("loaded the module")) {
    return "Name the module in the command's own configuration, or the module that it uses by "
           "--module.";
  }
  if (problem.ends_with("opened no key")) {
    return "Have it log in and use a key.";
  }
  if (problem.ends_with("failed")) return "Have it work first: what it did not do was not watched.";
  return "Run this as root, and with memory.dumpable not false.";
}

std::string Megabytes(uint64_t bytes) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.1f MiB", static_cast<double>(bytes) / (1 << 20));
  return text;
}

// Named is a key as it is told.
std::string Named(const WatchedKey& key) {
  return key.kind + (key.label.empty() ? "" : " \"" + key.label + "\"");
}

std::string Where(const Finding& finding) {
  return finding.process + " (" + std::to_string(finding.pid) + "), " + Printable(finding.mapping);
}

void Show(const WatchedKeys& keys, const Watched& watched, const std::string& problem) {
  Page page;
  page.Heading("Memory audit");
  page.Line(watched.status == 0 ? Mark::kGood : Mark::kBad, "command", StatusText(watched.status));
  page.Line(Mark::kGood, "looked for",
            Plural(keys.keys().size(), "key") + ", every eight bytes of each");
  for (const WatchedKey& key : keys.open_keys()) {
    page.Line(Mark::kNote, "not looked for",
              Named(key) + ": its value is open to every client, or too short");
  }
  page.Line(Mark::kNone, "looked at",
            Plural(watched.processes.size(), "process") + ", " + Plural(watched.looks, "look") +
                ", " + Megabytes(watched.bytes) + " of memory");
  for (const auto& [pid, process] : watched.processes) {
    if (!process.loaded_module) continue;
    page.Line(process.secret_bytes != 0 ? Mark::kGood : Mark::kNote, Printable(process.name),
              process.secret_bytes != 0 ? Megabytes(process.secret_bytes) +
                                              " of secret memory, which nobody else can read"
                                        : "loaded the module, and had no secret memory");
  }
  for (const Finding& finding : watched.findings) {
    page.Line(Mark::kBad, "readable",
              Named(keys.keys()[finding.key]) + ", " + finding.how + ", in " + Where(finding));
  }
  if (problem.empty()) {
    page.Line(Mark::kGood, "result", "no eight bytes of any key could be read");
  } else {
    page.Line(Mark::kBad, "result", problem);
    page.Remedy(RemedyFor(watched, problem));
  }
}

ordered_json ToJson(const WatchedKeys& keys, const Watched& watched, const std::string& problem) {
  ordered_json out;
  out["ok"] = problem.empty();
  out["problem"] = problem.empty() ? ordered_json(nullptr) : ordered_json(problem);
  out["exit_code"] =
      WIFEXITED(watched.status) ? ordered_json(WEXITSTATUS(watched.status)) : ordered_json(nullptr);
  const auto names = [](const std::vector<WatchedKey>& of) {
    ordered_json list = ordered_json::array();
    for (const WatchedKey& key : of) list.push_back({{"label", key.label}, {"kind", key.kind}});
    return list;
  };
  out["keys"] = names(keys.keys());
  out["open_keys"] = names(keys.open_keys());
  out["looks"] = watched.looks;
  out["bytes"] = watched.bytes;
  out["processes"] = ordered_json::array();
  for (const auto& [pid, process] : watched.processes) {
    out["processes"].push_back({{"pid", pid},
                                {"name", Printable(process.name)},
                                {"loaded_module", process.loaded_module},
                                {"secret_bytes", process.secret_bytes},
                                {"looks", process.looks}});
  }
  out["findings"] = ordered_json::array();
  for (const Finding& finding : watched.findings) {
    out["findings"].push_back({{"pid", finding.pid},
                               {"process", Printable(finding.process)},
                               {"mapping", Printable(finding.mapping)},
                               {"address", finding.address},
                               {"key", Named(keys.keys()[finding.key])},
                               {"form", finding.how}});
  }
  return out;
}

void Draw(const std::string& file, const WatchedKeys& keys, const Watched& watched) {
  std::vector<MappingColumn> columns;
  for (const auto& [pid, process] : watched.processes) {
    if (!process.loaded_module) continue;
    MappingColumn column(Printable(process.name) + " (" + std::to_string(pid) + ")");
    for (const Mapping& mapping : process.mappings) {
      if (mapping.name.starts_with("[v")) continue;
      if (!mapping.readable() && !mapping.secret()) continue;
      MappingBox box;
      box.secret = mapping.secret();
      box.unreadable = box.secret;
      box.name =
          box.secret ? "memfd_secret" : Printable(mapping.name.substr(mapping.name.rfind('/') + 1));
      box.size = mapping.size();
      for (const Finding& finding : watched.findings) {
        if (finding.pid == pid && mapping.contains(finding.address)) {
          box.found.push_back(Named(keys.keys()[finding.key]));
        }
      }
      column.Add(box);
    }
    columns.push_back(std::move(column));
  }
  if (!DrawMappings(file,
                    "Every mapping of the command's processes that loaded the module, searched "
                    "for every eight bytes of the token's keys",
                    columns)) {
    throw ToolError(kFailed, file + ": cannot be written");
  }
}

// Progress is a line that is written over, on a terminal.
void Progress(const Watched& watched) {
  std::fprintf(stderr, "\r%lu looks, %s searched, %s\033[K", watched.looks,
               Megabytes(watched.bytes).c_str(),
               watched.findings.empty() ? "no key seen" : "KEY BYTES SEEN");
}

}  // namespace

ExitCode Audit(const Common& common, const AuditOptions& options) {
  const auto config = LoadConfig();
  if (!config) throw ToolError(kFailed, config.error().reason);
  const std::string path = TheToken(*config, options.token);
  SeesWhatIsThere();
  const WatchedKeys keys = [&] {
    const PinText pin =
        ReadPin(options.pin, "user PIN of the token", false, "--pin-file or --pin-fd");
    return WatchedKeys::Open(*config, path, pin);
  }();
  if (keys.keys().empty()) {
    throw ToolError(kFailed, "the token has no key to look for",
                    "Have the command use a key that is on the token already.");
  }
  const bool terminal = isatty(STDERR_FILENO) != 0 && !common.json;
  Watcher watcher(keys, common.module, std::chrono::milliseconds(options.pause_ms),
                  terminal ? Progress : nullptr);
  const Watched watched = watcher.Run(options.command, common.json);
  if (terminal) std::fputs("\r\033[K", stderr);

  const std::string problem = Problem(watched);
  if (common.json) {
    std::printf("%s\n", ToJson(keys, watched, problem).dump(2).c_str());
  } else {
    Show(keys, watched, problem);
  }
  if (!options.picture.empty()) Draw(options.picture, keys, watched);
  return problem.empty() ? kDone : kFailed;
}

}  // namespace secretmem::tool
