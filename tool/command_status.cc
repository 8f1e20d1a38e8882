// status: does secret memory work here, and what is set up?
#include <cstdio>
#include <nlohmann/json.hpp>

#include "pkcs11/config.h"
#include "tool/commands.h"
#include "tool/config_words.h"
#include "tool/p11_kit.h"
#include "tool/page.h"
#include "tool/probe.h"
#include "tool/system.h"
#include "tool/token_files.h"

namespace secretmem::tool {

namespace {

using nlohmann::ordered_json;

struct Facts {
  SecretMemory memory;
  MemoryLock lock;
  ModuleReport module;
  std::expected<Config, ConfigError> config;
  std::vector<TokenFacts> tokens;
  std::string tokens_problem;
  std::vector<ModuleFile> module_files;

  bool page_each() const {
    return config.has_value() && config->memory.isolation == MemoryIsolation::kPage;
  }
  // Keys in locked memory were asked for, which is no failure of this page.
  bool locked_memory_will_do() const {
    return config.has_value() && config->memory.protection == MemoryProtection::kAllowMlock;
  }
};

Facts Gather(const Common& common) {
  Facts facts{TrySecretMemory(), ReadMemoryLock(), ProbeModule(common.module), LoadConfig(), {}, {},
              FindModuleFiles()};
  if (facts.config) {
    try {
      facts.tokens = AllTokens(*facts.config);
    } catch (const ToolError& error) {
      facts.tokens_problem = error.what();
    }
  }
  return facts;
}

ExitCode Judge(const Facts& facts) {
  if (!facts.memory.works && !facts.locked_memory_will_do()) return kNoSecretMemory;
  if (!facts.lock.unlimited() && KeysWithin(*facts.lock.limit, facts.page_each()) == 0) {
    return kNoSecretMemory;
  }
  if (!facts.module.works || !facts.config || !facts.tokens_problem.empty()) return kFailed;
  for (const TokenFacts& token : facts.tokens) {
    if (!token.problem.empty() || token.damaged != 0) return kFailed;
  }
  return kDone;
}

ordered_json TextOrNull(const std::string& text) {
  return text.empty() ? ordered_json(nullptr) : ordered_json(text);
}

ordered_json ToJson(const Common& common, const Facts& facts) {
  ordered_json out;
  out["ok"] = Judge(facts) == kDone;
  out["kernel"] = KernelRelease();
  out["secret_memory"] = {{"works", facts.memory.works},
                          {"reason", TextOrNull(facts.memory.reason)},
                          {"remedy", TextOrNull(facts.memory.remedy)}};
  out["memory_lock"]["unlimited"] = facts.lock.unlimited();
  out["memory_lock"]["bytes"] = facts.lock.limit ? ordered_json(*facts.lock.limit) : nullptr;
  out["memory_lock"]["keys"] = facts.lock.unlimited()
                                   ? ordered_json(nullptr)
                                   : ordered_json(KeysWithin(*facts.lock.limit, facts.page_each()));
  out["module"] = {{"path", common.module},
                   {"works", facts.module.works},
                   {"problem", TextOrNull(facts.module.problem)},
                   {"version", TextOrNull(facts.module.version)},
                   {"library", TextOrNull(facts.module.description)},
                   {"mechanisms", facts.module.mechanisms},
                   {"log", facts.module.log}};
  if (facts.config) {
    const MemoryConfig& memory = facts.config->memory;
    out["configuration"] = {{"file", TextOrNull(facts.config->source)},
                            {"tokens_directory", facts.config->tokens_directory},
                            {"protection", WordOf(memory.protection)},
                            {"isolation", WordOf(memory.isolation)},
                            {"at_rest", WordOf(memory.at_rest)},
                            {"dumpable", memory.dumpable},
                            {"mseal", memory.mseal}};
  } else {
    out["configuration"] = {{"problem", facts.config.error().reason}};
  }
  out["tokens"] = ordered_json::array();
  for (const TokenFacts& token : facts.tokens) out["tokens"].push_back(TokenJson(token));
  out["p11_kit"] = ordered_json::array();
  for (const ModuleFile& file : facts.module_files) {
    out["p11_kit"].push_back(
        {{"file", file.path}, {"module", file.target}, {"exists", file.exists}});
  }
  return out;
}

void ShowMemory(Page& page, const Facts& facts) {
  page.Heading("Memory");
  page.Line(Mark::kNone, "kernel", "Linux " + KernelRelease());
  if (facts.memory.works) {
    page.Line(Mark::kGood, "memfd_secret", "works: keys are in memory that root cannot read");
  } else {
    page.Line(facts.locked_memory_will_do() ? Mark::kNote : Mark::kBad, "memfd_secret",
              "no: " + facts.memory.reason);
    page.Remedy(facts.memory.remedy);
    if (facts.locked_memory_will_do()) {
      page.Line(Mark::kNote, "instead",
                "locked memory, which root can read (memory.protection = \"allow-mlock\")");
    }
  }
  if (facts.lock.unlimited()) {
    page.Line(Mark::kGood, "memory lock",
              facts.lock.exempt ? "no limit (CAP_IPC_LOCK)" : "no limit");
  } else {
    const uint64_t limit = *facts.lock.limit;
    const uint64_t keys = KeysWithin(limit, facts.page_each());
    const bool enough = limit >= kEnoughLockedBytes;
    page.Line(enough      ? Mark::kGood
              : keys == 0 ? Mark::kBad
                          : Mark::kNote,
              "memory lock",
              std::to_string(limit >> 10) + " KiB: room for " +
                  (keys == 0 ? "next to no" : "at least " + std::to_string(keys)) +
                  " keys of 32 bytes" + (facts.page_each() ? ", a page each" : ""));
    if (!enough) {
      page.Remedy(
          "Raise it to 8 MiB or more: ulimit -l, LimitMEMLOCK=8M in a systemd unit, "
          "memlock in /etc/security/limits.conf.");
    }
  }
}

void ShowModule(Page& page, const Common& common, const Facts& facts) {
  page.Heading("Module");
  page.Line(Mark::kNone, "file", Printable(common.module));
  if (facts.module.works) {
    page.Line(Mark::kGood, "version",
              facts.module.version + ", " + Plural(facts.module.mechanisms, "mechanism"));
    page.Line(Mark::kNone, "library", Printable(facts.module.description));
  } else {
    page.Line(Mark::kBad, "does not start", Printable(facts.module.problem));
    if (!facts.module.remedy.empty()) page.Remedy(facts.module.remedy);
  }
  for (const std::string& line : facts.module.log) {
    const bool bad = line.starts_with("error: ");
    if (bad || line.starts_with("warning: ")) {
      page.Line(bad ? Mark::kBad : Mark::kNote, "it says", Printable(line));
    }
  }
}

void ShowConfiguration(Page& page, const Facts& facts) {
  page.Heading("Configuration");
  if (!facts.config) {
    page.Line(Mark::kBad, "not usable", Printable(facts.config.error().reason));
    page.Remedy(
        "Mend that line: secretmem-pkcs11.toml(5) lists every setting. The module refuses "
        "to start with a configuration it does not understand.");
    return;
  }
  const MemoryConfig& memory = facts.config->memory;
  page.Line(Mark::kNone, "file",
            facts.config->source.empty() ? "none, all defaults" : Printable(facts.config->source));
  page.Line(Mark::kNone, "tokens", Printable(facts.config->tokens_directory));
  const char* at_rest = memory.at_rest == MemoryAtRest::kNone ? "nothing more than secret memory"
                        : memory.at_rest == MemoryAtRest::kAuto
                            ? "closed where protection keys do it"
                            : "closed while unused";
  page.Line(Mark::kNone, "keys at rest",
            std::string(at_rest) + " (memory.at_rest = \"" + WordOf(memory.at_rest) + "\")");
  page.Line(Mark::kNone, "keys apart",
            memory.isolation == MemoryIsolation::kPage ? "a page each" : "side by side");
  if (!memory.dumpable) page.Line(Mark::kNone, "process", "undumpable");
  if (memory.mseal) page.Line(Mark::kNone, "mappings", "sealed");
}

void ShowModuleFiles(Page& page, const Facts& facts) {
  page.Heading("p11-kit");
  if (facts.module_files.empty()) {
    page.Line(Mark::kNote, "not registered", "programs that use p11-kit must be told the path");
  }
  for (const ModuleFile& file : facts.module_files) {
    page.Line(file.exists ? Mark::kGood : Mark::kBad, "registered",
              Printable(file.path) + ": " + Printable(file.target));
    if (!file.exists)
      page.Remedy("No such file: correct its line \"module:\", or remove the file.");
  }
}

}  // namespace

ExitCode Status(const Common& common) {
  const Facts facts = Gather(common);
  if (common.json) {
    std::printf(
        "%s\n",
        ToJson(common, facts).dump(2, ' ', false, ordered_json::error_handler_t::replace).c_str());
    return Judge(facts);
  }
  Page page;
  ShowMemory(page, facts);
  ShowModule(page, common, facts);
  ShowConfiguration(page, facts);
  page.Heading("Tokens");
  if (!facts.tokens_problem.empty()) {
    page.Line(Mark::kBad, "not readable", Printable(facts.tokens_problem));
  }
  ShowTokens(page, facts.tokens);
  ShowModuleFiles(page, facts);
  return Judge(facts);
}

}  // namespace secretmem::tool
