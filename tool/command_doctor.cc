// doctor: what commonly goes wrong with each client, whether it does here, and the remedy.
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>

#include "mechanisms/cryptoki.h"
#include "tool/clients.h"
#include "tool/commands.h"
#include "tool/module.h"
#include "tool/p11_kit.h"
#include "tool/page.h"
#include "tool/probe.h"
#include "tool/system.h"
#include "tool/token_files.h"

namespace secretmem::tool {

namespace {

using nlohmann::ordered_json;
namespace fs = std::filesystem;

struct Finding {
  std::string subject;  // stable, for scripts: "libp11", "ssh-agent"
  Mark mark;
  std::string text;
  std::string remedy;
};

// Examination is what the checks look at, and what they find.
struct Examination {
  std::string module;
  ModuleReport report;
  std::expected<Config, ConfigError> config;
  std::vector<TokenFacts> tokens;
  std::vector<Finding> findings;

  void Good(const std::string& subject, const std::string& text) {
    findings.push_back({subject, Mark::kGood, text, {}});
  }
  void Note(const std::string& subject, const std::string& text, const std::string& remedy) {
    findings.push_back({subject, Mark::kNote, text, remedy});
  }
  void Bad(const std::string& subject, const std::string& text, const std::string& remedy) {
    findings.push_back({subject, Mark::kBad, text, remedy});
  }
};

std::string RealPath(const std::string& path) {
  std::error_code error;
  const fs::path real = fs::canonical(path, error);
  return error ? path : real.string();
}

void CheckMemory(Examination& at) {
  const SecretMemory memory = TrySecretMemory();
  const bool locked =
      at.config.has_value() && at.config->memory.protection == MemoryProtection::kAllowMlock;
  if (memory.works) {
    at.Good("memory", "memfd_secret(2) works");
  } else if (locked) {
    at.Note("memory", memory.reason + "; keys are in locked memory, which root can read",
            memory.remedy);
  } else {
    at.Bad("memory", memory.reason, memory.remedy);
  }
  const MemoryLock lock = ReadMemoryLock();
  if (lock.unlimited() || *lock.limit >= kEnoughLockedBytes) {
    at.Good("memory-lock", "the memory-lock limit is large enough");
  } else {
    at.Bad("memory-lock",
           "the memory-lock limit is " + std::to_string(*lock.limit >> 10) +
               " KiB: programs with several threads or many keys run into it",
           "Raise it to 8 MiB or more: ulimit -l, LimitMEMLOCK=8M in a systemd unit, memlock in "
           "/etc/security/limits.conf.");
  }
}

void CheckModule(Examination& at) {
  if (at.report.works) {
    at.Good("module", at.module + " starts");
  } else {
    std::string text = at.report.problem;
    for (const std::string& line : at.report.log) {
      if (line.starts_with("error: ")) text += "; it says: " + line.substr(7);
    }
    at.Bad("module", text, at.report.remedy);
  }
}

void CheckConfiguration(Examination& at) {
  if (!at.config) {
    at.Bad("configuration", at.config.error().reason,
           "Mend that line: secretmem-pkcs11.toml(5) lists every setting.");
    return;
  }
  at.Good("configuration", at.config->source.empty() ? "no file, all defaults"
                                                     : at.config->source + " is understood");
}

void CheckTokens(Examination& at) {
  if (!at.config) return;
  const std::string& directory = at.config->tokens_directory;
  struct stat status;
  if (stat(directory.c_str(), &status) != 0) {
    at.Note("tokens", "there is no " + directory + " yet",
            "The first token makes it: secretmem-pkcs11 token init --label NAME.");
    return;
  }
  if ((status.st_mode & 077) != 0) {
    char mode[8];
    std::snprintf(mode, sizeof(mode), "%04o", status.st_mode & 07777);
    at.Bad("tokens", directory + " has mode " + mode + ": others can look in",
           "chmod 700 " + directory);
  } else {
    at.Good("tokens", directory + " is closed to others");
  }
  for (const TokenFacts& token : at.tokens) {
    if (!token.problem.empty()) {
      at.Bad("tokens", token.problem,
             "Put back a backup (secretmem-pkcs11 token restore FILE), or move the file away.");
    } else if (token.damaged != 0) {
      at.Bad("tokens", "\"" + token.label + "\" has " + Plural(token.damaged, "damaged object"),
             "Put back a backup: secretmem-pkcs11 token restore --replace FILE");
    }
  }
}

// libp11 before 0.4.17 cannot list a token with Ed25519 keys, before 0.4.19 one with X25519 keys.
void CheckLibp11(Examination& at) {
  std::optional<std::string> version;
  for (const char* package :
       {"libengine-pkcs11-openssl", "libp11-3", "libp11-3t64", "libp11-dev"}) {
    if (!version) version = PackageVersion(package);
  }
  if (!version) {
    at.Good("libp11", "not installed");
    return;
  }
  const bool knows_edwards = UpstreamAtLeast(*version, 0, 4, 17);
  const bool knows_montgomery = UpstreamAtLeast(*version, 0, 4, 19);
  bool good = true;
  for (const TokenFacts& token : at.tokens) {
    const auto found = at.report.key_types.find(token.serial);
    if (found == at.report.key_types.end()) continue;
    bool unlistable = false;
    bool usable = false;
    for (const unsigned long type : found->second) {
      unlistable |= (type == CKK_EC_EDWARDS && !knows_edwards) ||
                    (type == CKK_EC_MONTGOMERY && !knows_montgomery);
      usable |= type == CKK_RSA || type == CKK_EC;
    }
    if (!unlistable) continue;
    good = false;
    const std::string text = "libp11 " + *version + " gives up on the token \"" + token.label +
                             "\": it holds an X25519 or Ed25519 key";
    if (usable) {
      at.Bad("libp11", text + ", and RSA or EC keys that OpenSSL's engine could use",
             "Keep the two apart: secretmem-pkcs11 token init --label curves, and make the X25519 "
             "and Ed25519 keys there.");
    } else {
      at.Note("libp11", text, "Give OpenSSL's engine another token for its RSA and EC keys.");
    }
  }
  if (good) at.Good("libp11", *version + " can list every token, as far as shows without a login");
}

void CheckNamed(Examination& at, const std::string& subject,
                const std::vector<NamedModule>& modules, const std::string& unset) {
  bool ours = false;
  for (const NamedModule& named : modules) {
    if (!IsOurs(named.module)) continue;
    ours = true;
    if (access(named.module.c_str(), R_OK) == 0) {
      at.Good(subject, named.where + " names " + named.module);
    } else {
      at.Bad(subject, named.where + " names " + named.module + ", which cannot be read",
             "Write the module's path there: " + at.module);
    }
  }
  if (!ours) at.Good(subject, unset);
}

void CheckOpenSsl(Examination& at) {
  CheckNamed(at, "openssl", OpenSslModules(),
             "its configuration does not name this module: nothing to be wrong");
}

void CheckNss(Examination& at) {
  CheckNamed(at, "nss", NssModules(),
             "the user's database does not name this module: nothing to be wrong");
}

void CheckSshAgent(Examination& at) {
  const std::string real = RealPath(at.module);
  if (AgentAllows(real)) {
    at.Good("ssh-agent", "takes the module from " + real);
  } else {
    at.Note("ssh-agent", "refuses a module at " + real,
            "Install the module below /usr/lib, or start the agent with it allowed: ssh-agent -P "
            "'" +
                fs::path(real).parent_path().string() +
                "/*'. (ssh itself, with "
                "PKCS11Provider, takes it from anywhere.)");
  }
}

void CheckP11Kit(Examination& at) {
  const std::vector<ModuleFile> files = FindModuleFiles();
  const bool root = geteuid() == 0;
  const std::string here = RealPath(at.module);
  size_t in_force = 0;
  for (const ModuleFile& file : files) {
    if (!file.exists) {
      at.Bad("p11-kit", file.path + " names " + file.target + ", which does not exist",
             "Write the module's path after \"module:\" there: " + here);
    } else if (file.users_own && root) {
      at.Bad("p11-kit", file.path + " is passed over: p11-kit reads no user's folder for root",
             "For root, put it into /etc/pkcs11/modules.");
    } else {
      ++in_force;
      if (RealPath(file.target) == here) {
        at.Good("p11-kit", file.path + " registers this module");
      } else {
        at.Note("p11-kit", file.path + " registers another build: " + file.target,
                "If that is not meant, write " + here + " there.");
      }
    }
  }
  if (in_force > 1) {
    at.Note("p11-kit", "the module is registered " + std::to_string(in_force) + " times",
            "Keep one of the files, or every token is shown more than once.");
  }
  if (files.empty()) {
    at.Note(
        "p11-kit", "the module is not registered: GnuTLS and others do not see it",
        root ? "Put a file with the line \"module: " + here + "\" into /etc/pkcs11/modules."
             : "Put a file with the line \"module: " + here + "\" into ~/.config/pkcs11/modules.");
  }
}

void CheckKernel(Examination& at) {
  if (ReadText("/sys/power/state").value_or("").find("disk") != std::string::npos) {
    at.Note("hibernation", "is refused by the kernel while a process has keys in secret memory",
            "End those processes, or have them log out and finalise, before it hibernates.");
  }
  const std::string paranoid = ReadText("/proc/sys/kernel/perf_event_paranoid").value_or("");
  if (!paranoid.empty() && std::atoi(paranoid.c_str()) < 3 &&
      !(at.config.has_value() && !at.config->memory.dumpable)) {
    at.Note("perf", "may sample the stacks of the same user's processes, a key in use among them",
            "sysctl kernel.perf_event_paranoid=3, where the kernel knows that value, or "
            "memory.dumpable = false.");
  }
}

}  // namespace

ExitCode Doctor(const Common& common) {
  Examination at{common.module, ProbeModule(common.module), LoadConfig(), {}, {}};
  if (at.config) {
    try {
      at.tokens = AllTokens(*at.config);
    } catch (const ToolError& error) {
      at.Bad("tokens", error.what(), error.remedy());
    }
  }
  for (const auto check : {CheckMemory, CheckModule, CheckConfiguration, CheckTokens, CheckOpenSsl,
                           CheckLibp11, CheckP11Kit, CheckSshAgent, CheckNss, CheckKernel}) {
    check(at);
  }
  const bool well = std::ranges::none_of(
      at.findings, [](const Finding& finding) { return finding.mark == Mark::kBad; });
  if (common.json) {
    ordered_json out = ordered_json::array();
    for (const Finding& finding : at.findings) {
      constexpr const char* kWords[] = {"", "good", "note", "bad"};
      out.push_back({{"subject", finding.subject},
                     {"verdict", kWords[static_cast<size_t>(finding.mark)]},
                     {"text", finding.text},
                     {"remedy", finding.remedy}});
    }
    std::printf("%s\n", out.dump(2, ' ', false, ordered_json::error_handler_t::replace).c_str());
  } else {
    Page page;
    for (const Finding& finding : at.findings) {
      page.Line(finding.mark, finding.subject, Printable(finding.text));
      if (!finding.remedy.empty()) page.Remedy(finding.remedy);
    }
  }
  return well ? kDone : kFailed;
}

}  // namespace secretmem::tool
