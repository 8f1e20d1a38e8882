#include "tests/audit/run.h"

#include <cstdio>
#include <fstream>
#include <iterator>
#include <set>
#include <thread>

#include "tests/audit/symbols.h"
#include "tests/audit/token_file.h"

namespace secretmem::audit {
namespace {

void MustLook(Recorder& recorder, const std::string& when) {
  if (!recorder.Look(when, Recorder::Scope::kEverything)) {
    throw CannotLook("the target's memory cannot be read (" + when + ")");
  }
}

// SecretsOfTokenItself are the PINs and, where the audit knows the token's format, what they are
// stretched to, the token key and the keys derived from it, all as the file stands now.
std::vector<Secret> SecretsOfTokenItself(const Token& token, bool* known) {
  const auto file = TokenFile::Find(token.directory() / "tokens");
  *known = file.has_value();
  if (!file) return {{"user PIN", token.pin()}, {"SO PIN", token.so_pin()}};
  std::vector<Secret> all = file->SecretsOfPin(CKU_USER, "user PIN", token.pin());
  Append(&all, file->SecretsOfPin(CKU_SO, "SO PIN", token.so_pin()));
  Append(&all, file->SecretsOfToken(CKU_USER, token.pin()));
  // Both PINs open one key: what the other wrapping holds is found if it is not the same.
  Append(&all, file->SecretsOfToken(CKU_SO, token.so_pin()));
  return all;
}

std::string Hex(uint64_t value) {
  char text[24];
  std::snprintf(text, sizeof(text), "0x%lx", value);
  return text;
}

}  // namespace

WindowSet MakeWindows(const std::vector<Secret>& secrets) {
  WindowSet windows;
  for (const Secret& secret : secrets) windows.AddSecret(secret);
  return windows;
}

std::string CheckDecoys(const Recorder& recorder, const std::vector<Secret>& decoys) {
  std::set<std::string> found;
  for (const Finding& finding : recorder.Search(MakeWindows(decoys))) found.insert(finding.form);
  std::string missing;
  for (const Secret& decoy : decoys) {
    if (!found.contains(decoy.name)) missing += (missing.empty() ? "" : ", ") + decoy.name;
  }
  return missing;
}

std::vector<std::string> SearchFiles(const std::filesystem::path& directory,
                                     const WindowSet& secrets) {
  std::set<std::string> found;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory)) {
    if (!entry.is_regular_file()) continue;
    std::ifstream in(entry.path(), std::ios::binary);
    const std::string text{std::istreambuf_iterator<char>(in), {}};
    secrets.Search(
        {reinterpret_cast<const uint8_t*>(text.data()), text.size()},
        [&](size_t, const WindowSet::Origin& origin) {
          found.insert(secrets.forms()[origin.form] + " in " + entry.path().filename().string());
        });
  }
  return {found.begin(), found.end()};
}

void PrintFindings(const std::vector<Finding>& findings) {
  for (const Finding& finding : findings) {
    std::printf("    LEAK %-44s %6lu windows in %s at %s\n         first: %s, last: %s\n",
                finding.form.c_str(), finding.windows, finding.place.c_str(),
                Hex(finding.address).c_str(), finding.first.c_str(), finding.last.c_str());
    if (!finding.writer.empty()) {
      std::printf("         written by %s at %s below the caller's stack pointer\n",
                  finding.writer.c_str(), Hex(finding.below_caller).c_str());
    }
  }
}

RunReport RunScenario(const Token& token, const Scenario& scenario, const RunOptions& options) {
  RunReport report;
  report.scenario = scenario.name;
  try {
    Client client(token, scenario.login);
    Remote& remote = client.remote();
    const std::vector<Secret> decoys = remote.PlantDecoys();
    Plan plan = scenario.prepare(client);
    for (const PreparedCall& call : plan.setup) client.Must(call);
    // Before the calls and after them: a new PIN comes with a new salt.
    std::vector<Secret> secrets = SecretsOfTokenItself(token, &report.token_keys);
    Symbols symbols(ReadMappings(remote.pid()));
    Recorder recorder(remote.pid());
    MustLook(recorder, "before the call");
    uint64_t caller_rsp = 0;
    for (const PreparedCall& call : plan.calls) {
      CK_RV rv;
      if (call.pause_ms() > 0) {
        std::this_thread::sleep_for(std::chrono::milliseconds(call.pause_ms()));
        MustLook(recorder, "before " + call.name());
      }
      if (options.step) {
        const StepResult result = StepThrough(remote, call, recorder, options.steps, report.steps);
        report.steps += result.steps;
        report.foreign_steps += result.foreign_stack;
        report.sampled |= result.sampled;
        report.other_stack_sampled |= result.other_stack_sampled;
        caller_rsp = result.caller_rsp;
        rv = result.rv;
      } else {
        rv = remote.Run(call);
      }
      if (rv != call.expected()) {
        report.problem = call.name() + " answered " + Hex(rv);
        return report;
      }
      MustLook(recorder, "after " + call.name());
    }
    std::vector<Secret> own = plan.secrets;
    if (plan.handle != 0) client.Track(remote.Word(plan.handle));
    if (plan.learn) Append(&own, plan.learn(client));
    Append(&secrets, SecretsOfTokenItself(token, &report.token_keys));
    if (own.empty()) throw CannotLook("the scenario names no secret");

    Append(&secrets, own);
    for (const Secret& secret : secrets) {
      if (secret.value.size() < 8) throw CannotLook("no value for " + secret.name);
    }
    client.DestroyObjects();
    MustLook(recorder, "after C_DestroyObject");
    client.Logout();
    MustLook(recorder, "after C_Logout");
    client.CloseSession();
    MustLook(recorder, "after C_CloseSession");
    client.Finalize();
    MustLook(recorder, "after C_Finalize");
    remote.Control(Command::kUnload);
    MustLook(recorder, "after dlclose");
    remote.Exit();

    std::string missing = CheckDecoys(recorder, decoys);
    if (options.step && missing.empty()) missing = CheckDecoys(recorder, {remote.passing_decoy()});
    if (!missing.empty()) throw CannotLook("did not see the planted " + missing);
    const WindowSet windows = MakeWindows(secrets);
    report.findings = recorder.Search(windows);
    for (Finding& finding : report.findings) {
      if (finding.instruction == 0) continue;
      finding.writer = symbols.Name(finding.instruction);
      finding.below_caller = caller_rsp - finding.address;
    }
    for (const std::string& file : SearchFiles(token.directory(), windows)) {
      Finding finding;
      finding.form = file;
      finding.place = "the token's files";
      finding.first = finding.last = "after the process";
      finding.windows = 1;
      report.findings.push_back(finding);
    }
    report.windows = windows.size();
    report.looks = recorder.looks();
    report.bytes = recorder.bytes_read();
  } catch (const CannotLook& error) {
    report.problem = error.what();
  }
  return report;
}

}  // namespace secretmem::audit
