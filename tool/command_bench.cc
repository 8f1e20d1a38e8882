// bench: how many operations a module does in a second, alone or beside another.
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "client/bench/measure.h"
#include "client/bench/operations.h"
#include "client/functions.h"
#include "tool/child.h"
#include "tool/commands.h"
#include "tool/module.h"
#include "tool/page.h"

namespace secretmem::tool {

namespace {

using nlohmann::json;
using nlohmann::ordered_json;

constexpr size_t kRounds = 9;
constexpr double kTurnSeconds = 0.01;

// Subject is a module that is measured, with the user of a token logged in.
class Subject {
 public:
  // |temporary| is where a token can be made; null: |options| names one.
  Subject(const BenchSubject& options, const bench::TokenDirectory* temporary)
      : module_(Initialised(options.module, temporary)),
        slot_(temporary != nullptr ? TemporaryToken(options) : module_->Find(options.token).id),
        session_(*module_, slot_, true),
        bench_(module_->Description(), &module_->functions(), slot_, session_.handle()) {
    if (temporary != nullptr) {
      LogIn(client::Utf8(bench::Module::kPin), bench::Module::kPin.size());
    } else {
      const std::string option = "--" + options.prefix + "pin-";
      const PinText pin = ReadPin(options.pin, "user PIN of \"" + options.token + "\"", false,
                                  option + "file or " + option + "fd");
      LogIn(pin.data(), pin.size());
    }
  }

  const bench::Module& bench() const { return bench_; }

 private:
  static std::unique_ptr<Module> Initialised(const std::string& path,
                                             const bench::TokenDirectory* temporary) {
    if (temporary != nullptr) temporary->Enter();
    return std::make_unique<Module>(path);
  }

  CK_SLOT_ID TemporaryToken(const BenchSubject& options) const try {
    if (!bench::TokenDirectory::Serves(module_->functions())) {
      throw ToolError(kNoToken, "no temporary token can be made for " + module_->path(),
                      "Name one of its tokens: --" + options.prefix + "token NAME.");
    }
    return bench::Module::MakeToken(module_->functions());
  } catch (const client::CallFailed& failed) {
    Check(failed.rv(), "making a temporary token");
    throw;
  }

  void LogIn(unsigned char* pin, size_t size) const {
    Check(module_->functions().C_Login(session_.handle(), CKU_USER, pin, size),
          "logging in to " + module_->path());
  }

  std::unique_ptr<Module> module_;
  CK_SLOT_ID slot_;
  Session session_;
  bench::Module bench_;
};

// WorkOf returns null where the module lacks the operation, and says why in |lacking|.
bench::Work WorkOf(const bench::Operation& operation, const Subject& subject, json& lacking) try {
  bench::Work work = operation.of_module(subject.bench())();
  work();
  lacking = nullptr;
  return work;
} catch (const std::runtime_error& error) {
  lacking = error.what();
  return nullptr;
}

json Known(double value) { return std::isnan(value) ? json() : json(value); }

bool Wanted(const BenchOptions& options, const bench::Operation& operation) {
  // What leaves objects behind is not for somebody's token.
  if (operation.durable) return false;
  return options.only.empty() ||
         std::ranges::find(options.only, operation.id) != options.only.end();
}

json MeasureAll(const BenchOptions& options,
                const std::vector<std::unique_ptr<Subject>>& subjects) {
  json result = {{"libraries", json::array()}, {"operations", json::array()}};
  for (const auto& subject : subjects) result["libraries"].push_back(subject->bench().label());
  const bool terminal = isatty(STDERR_FILENO) != 0;
  for (const bench::Operation& operation : bench::Operations()) {
    if (!Wanted(options, operation)) continue;
    if (terminal) {
      std::fprintf(stderr, "\r%s\033[K", std::string(operation.name).c_str());
    }
    std::vector<bench::Work> works;
    json lacking = json::array();
    for (const auto& subject : subjects) {
      works.push_back(WorkOf(operation, *subject, lacking.emplace_back()));
    }
    const auto seconds = bench::Alone(works, kRounds, kTurnSeconds, bench::Clock::kWall);
    json each = json::array();
    for (const auto& its : seconds) each.push_back(Known(bench::Median(its)));
    result["operations"].push_back(
        {{"id", operation.id},
         {"name", operation.name},
         {"seconds", each},
         {"lacking", lacking},
         {"ratio", Known(bench::RatioOf(seconds.back(), seconds.front()))}});
  }
  if (terminal) std::fputs("\r\033[K", stderr);
  return result;
}

json Measure(const BenchOptions& options, const std::vector<const BenchSubject*>& wanted,
             const std::vector<std::unique_ptr<bench::TokenDirectory>>& directories) try {
  std::vector<std::unique_ptr<Subject>> subjects(wanted.size());
  // A temporary token's environment is not for the others: those come first.
  for (const bool temporary : {false, true}) {
    for (size_t i = 0; i < wanted.size(); ++i) {
      if ((directories[i] != nullptr) != temporary) continue;
      subjects[i] = std::make_unique<Subject>(*wanted[i], directories[i].get());
    }
  }
  return MeasureAll(options, subjects);
} catch (const ToolError& error) {
  return {{"error", error.what()}, {"remedy", error.remedy()}, {"code", error.code()}};
} catch (const std::exception& error) {
  return {{"error", error.what()}, {"remedy", ""}, {"code", kFailed}};
}

json PerSecond(const json& seconds) {
  return seconds.is_number() ? json(1 / seconds.get<double>()) : json();
}

void PrintJson(const std::vector<const BenchSubject*>& subjects, const json& found) {
  constexpr const char* kNames[] = {"module", "against"};
  ordered_json out;
  for (size_t i = 0; i < std::size(kNames); ++i) {
    out[kNames[i]] = i < subjects.size() ? ordered_json{{"path", subjects[i]->module},
                                                        {"library", found["libraries"][i]}}
                                         : ordered_json();
  }
  out["operations"] = ordered_json::array();
  for (const json& row : found["operations"]) {
    ordered_json& shown = out["operations"].emplace_back();
    shown["id"] = row["id"];
    shown["name"] = row["name"];
    for (size_t i = 0; i < subjects.size(); ++i) {
      shown[kNames[i]] = {{"per_second", PerSecond(row["seconds"][i])},
                          {"lacking", row["lacking"][i]}};
    }
    if (subjects.size() > 1) shown["ratio"] = row["ratio"];
  }
  std::printf("%s\n", out.dump(2, ' ', false, ordered_json::error_handler_t::replace).c_str());
}

std::string Column(const std::string& text) {
  constexpr size_t kWidth = 10;
  return text + std::string(kWidth - std::min(kWidth - 1, text.size()), ' ');
}

std::string Rate(const json& seconds) {
  return bench::RateText(seconds.is_number() ? seconds.get<double>() : std::nan(""));
}

void Show(const std::vector<const BenchSubject*>& subjects, const json& found) {
  const bool two = subjects.size() > 1;
  Page page;
  page.Heading("Operations in a second, one thread");
  for (size_t i = 0; i < subjects.size(); ++i) {
    page.Line(Mark::kNone, i == 0 ? "module" : "against",
              subjects[i]->module + ": " + Printable(found["libraries"][i]));
  }
  page.Heading("operation             module" + std::string(two ? "    against   ratio" : ""));
  for (const json& row : found["operations"]) {
    std::string text = Column(Rate(row["seconds"][0]));
    bool whole = row["seconds"][0].is_number();
    if (two) {
      whole &= row["seconds"][1].is_number();
      char ratio[32] = "n/a";
      if (row["ratio"].is_number()) {
        std::snprintf(ratio, sizeof(ratio), "%.2f", row["ratio"].get<double>());
      }
      text += Column(Rate(row["seconds"][1])) + Column(ratio);
    }
    text += row["name"].get<std::string>();
    for (const json& reason : row["lacking"]) {
      if (reason.is_string()) text += " (" + Printable(reason) + ")";
    }
    page.Line(whole ? Mark::kNone : Mark::kNote, row["id"], text);
  }
}

}  // namespace

std::vector<std::string> BenchIds() {
  std::vector<std::string> ids;
  for (const bench::Operation& operation : bench::Operations()) {
    if (!operation.durable) ids.emplace_back(operation.id);
  }
  return ids;
}

ExitCode Bench(const Common& common, const BenchOptions& given) {
  BenchOptions options = given;
  options.subject.module = common.module;
  std::vector<const BenchSubject*> subjects = {&options.subject};
  if (!options.against.module.empty()) {
    std::error_code ignored;
    if (std::filesystem::equivalent(options.subject.module, options.against.module, ignored)) {
      throw ToolError(kUsage, "--against names the same module again",
                      "Name another; a copy of the file counts as another.");
    }
    subjects.push_back(&options.against);
  }
  // This process makes the directories and removes them, whatever becomes of the child.
  std::vector<std::unique_ptr<bench::TokenDirectory>> directories;
  for (const BenchSubject* subject : subjects) {
    directories.push_back(subject->token.empty() ? std::make_unique<bench::TokenDirectory>()
                                                 : nullptr);
  }
  const ChildAnswer child = InChild([&] { return Measure(options, subjects, directories); }, false);
  const json& found = child.answer;
  if (!found.is_object()) {
    throw ToolError(kFailed, "the process that used the module died" +
                                 (WIFSIGNALED(child.status)
                                      ? std::string(": ") + strsignal(WTERMSIG(child.status))
                                      : std::string()));
  }
  if (found.contains("error")) {
    throw ToolError(static_cast<ExitCode>(found["code"].get<int>()), found["error"],
                    found["remedy"]);
  }
  if (common.json) {
    PrintJson(subjects, found);
  } else {
    Show(subjects, found);
  }
  return kDone;
}

}  // namespace secretmem::tool
