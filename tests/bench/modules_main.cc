// bench_modules: PKCS#11 modules beside BoringSSL's own calls, in one run.

#include <CLI/CLI.hpp>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <memory>
#include <optional>

#include "client/bench/measure.h"
#include "tests/bench/children.h"
#include "tests/bench/demands.h"
#include "tests/bench/report.h"

namespace secretmem::bench {
namespace {

struct Options {
  std::vector<std::string> modules;
  std::vector<std::string> parts = {"alone", "threads", "present", "start"};
  std::vector<std::string> only;
  std::vector<size_t> threads = {1, 2, 4, 8};
  std::vector<size_t> objects = {1, 1'000, 100'000};
  size_t token_objects = 1'000;
  size_t rounds = 15;
  double turn_ms = 8;
  double thread_ms = 60;
  double budget = 12;
  double guard = 0;
  std::string json;
  std::string svg;
};

bool Wants(const std::vector<std::string>& names, std::string_view name) {
  return names.empty() || std::ranges::find(names, name) != names.end();
}

Json Known(double value) { return std::isnan(value) ? Json() : Json(value); }

Json MedianOf(const std::vector<double>& values, double factor) {
  return Known(Median(values) * factor);
}

using Modules = std::vector<std::unique_ptr<Module>>;

Worker WorkerOf(const Operation& operation, const Module& module) {
  try {
    return operation.of_module(module);
  } catch (const Lacking& lacking) {
    std::cerr << module.label() << ": " << operation.id << ": " << lacking.what() << '\n';
    return nullptr;
  }
}

Json MeasureAlone(const Options& options, const Modules& modules) {
  Json rows = Json::array();
  for (const Operation& operation : Operations()) {
    if (!Wants(options.only, operation.id)) continue;
    const Demand demand = DemandOf(operation);
    std::vector<Work> works;
    works.push_back(demand.raw != nullptr ? demand.raw()() : Work());
    for (const auto& module : modules) {
      const Worker worker = WorkerOf(operation, *module);
      works.push_back(worker ? worker() : Work());
    }
    // What waits for the disk is measured by the clock.
    const auto seconds = Alone(works, operation.durable ? 5 : options.rounds, options.turn_ms / 1e3,
                               operation.durable ? Clock::kWall : Clock::kThread);
    Json us = {{"BoringSSL", MedianOf(seconds[0], 1e6)}};
    Json speed = Json::object();
    for (size_t i = 0; i < modules.size(); ++i) {
      us[modules[i]->label()] = MedianOf(seconds[i + 1], 1e6);
      if (i > 0) speed[modules[i]->label()] = Known(RatioOf(seconds[i + 1], seconds[1]));
    }
    std::vector<double> more;
    for (size_t i = 0; i < std::min(seconds[0].size(), seconds[1].size()); ++i) {
      more.push_back(seconds[1][i] - seconds[0][i]);
    }
    rows.push_back({{"id", operation.id},
                    {"name", operation.name},
                    {"us", us},
                    {"to_raw", Known(RatioOf(seconds[1], seconds[0]))},
                    {"more_us", MedianOf(more, 1e6)},
                    {"speed_of", speed},
                    {"most_raw", demand.most_raw},
                    {"most_raw_us", demand.most_raw_us},
                    {"most_us", demand.most_us},
                    {"least_softhsm2", demand.least_softhsm2}});
  }
  return rows;
}

// Crew is what one subject's threads do: |works|[i] is thread i's.
struct Crew {
  std::string of;
  std::vector<Work> works;
  std::map<size_t, std::vector<double>> rates;  // by number of threads
};

std::vector<Work> HandsOf(const std::function<Worker()>& make, bool shared, size_t count) {
  std::vector<Work> works;
  const Worker first = make();
  if (!first) return works;
  for (size_t i = 0; i < count; ++i) {
    const Worker worker = shared || i == 0 ? first : make();
    works.push_back(worker());
  }
  return works;
}

Json RowOf(const Options& options, const Operation& operation, bool shared, const Crew& crew,
           const Crew& raw) {
  Json rates = Json::array(), scaling = Json::array();
  for (const size_t count : options.threads) {
    const auto found = crew.rates.find(count);
    rates.push_back(found == crew.rates.end() ? Json() : MedianOf(found->second, 1));
    scaling.push_back(found == crew.rates.end() ? Json()
                                                : Known(RatioOf(found->second, crew.rates.at(1))));
  }
  Json to_raw;
  if (crew.rates.contains(2) && crew.rates.contains(1)) {
    std::vector<double> ratios;
    for (size_t i = 0; i < options.rounds; ++i) {
      ratios.push_back(crew.rates.at(2)[i] / crew.rates.at(1)[i] /
                       (raw.rates.at(2)[i] / raw.rates.at(1)[i]));
    }
    to_raw = Median(ratios);
  }
  return {
      {"id", operation.id},  {"name", operation.name}, {"keys", shared ? "shared" : "of their own"},
      {"of", crew.of},       {"rates", rates},         {"scaling", scaling},
      {"two_to_raw", to_raw}};
}

Json MeasureThreads(const Options& options, const Modules& modules) {
  Json rows = Json::array();
  const size_t most = *std::ranges::max_element(options.threads);
  for (const Operation& operation : Operations()) {
    const Demand demand = DemandOf(operation);
    if (!demand.scales || !Wants(options.only, operation.id)) continue;
    for (const bool shared : {true, false}) {
      // Nobody shares a key that is only made.
      if (!shared && operation.id.ends_with("generate")) continue;
      std::vector<Crew> crews(1 + modules.size());
      crews[0].of = "BoringSSL";
      crews[0].works = HandsOf(demand.raw, shared, most);
      for (size_t i = 0; i < modules.size(); ++i) {
        crews[i + 1].of = modules[i]->label();
        crews[i + 1].works =
            HandsOf([&] { return WorkerOf(operation, *modules[i]); }, shared, most);
      }
      for (size_t round = 0; round < options.rounds; ++round) {
        for (const size_t count : options.threads) {
          for (Crew& crew : crews) {
            if (crew.works.empty()) continue;
            const std::vector<Work> hands(crew.works.begin(),
                                          crew.works.begin() + static_cast<std::ptrdiff_t>(count));
            crew.rates[count].push_back(Rate(hands, options.thread_ms / 1e3));
          }
        }
      }
      for (const Crew& crew : crews)
        rows.push_back(RowOf(options, operation, shared, crew, crews[0]));
    }
  }
  return rows;
}

// Starts is the median of several beginnings.
Json Starts(const Options& options, const ModuleName& name, const Json& request) {
  std::map<std::string, std::vector<double>> values;
  for (size_t i = 0; i < options.rounds; ++i) {
    const Json answer = InChild("start", request);
    if (answer.contains("lacking")) return {{"of", name.label}, {"lacking", answer.at("lacking")}};
    for (const auto& [key, value] : answer.items()) values[key].push_back(value.get<double>());
  }
  Json row = {{"of", name.label}};
  for (const auto& [key, all] : values) row[key] = Median(all);
  return row;
}

Json MeasureStarts(const Options& options, const std::vector<ModuleName>& names) {
  Json rows = Json::array();
  for (const ModuleName& name : names) {
    const TokenDirectory empty;
    rows.push_back(Starts(options, name, {{"path", name.path}, {"directory", empty.path()}}));
    rows.back()["objects"] = nullptr;
    for (const size_t count : {size_t{1}, options.token_objects}) {
      const Json filled = InChild("fill", {{"path", name.path},
                                           {"label", name.label},
                                           {"count", count},
                                           {"budget", options.budget}});
      if (filled.contains("lacking")) {
        rows.push_back({{"of", name.label}, {"lacking", filled.at("lacking")}});
      } else {
        rows.push_back(Starts(
            options, name,
            {{"path", name.path}, {"directory", filled.at("directory")}, {"id", filled.at("id")}}));
        std::filesystem::remove_all(filled.at("directory").get<std::string>());
      }
      rows.back()["objects"] = count;
    }
  }
  return rows;
}

Json Measure(const Options& options) {
  std::vector<ModuleName> names;
  for (const std::string& module : options.modules) names.emplace_back(module);
  Json results = {{"modules", Json::array()}, {"thread_counts", options.threads}};
  for (const ModuleName& name : names) results["modules"].push_back(name.label);
  if (Wants(options.parts, "alone") || Wants(options.parts, "threads")) {
    Modules modules;
    for (const ModuleName& name : names) modules.push_back(std::make_unique<Module>(name));
    if (Wants(options.parts, "alone")) results["alone"] = MeasureAlone(options, modules);
    if (Wants(options.parts, "threads")) results["threads"] = MeasureThreads(options, modules);
  }
  if (Wants(options.parts, "present")) {
    for (const ModuleName& name : names) {
      results["present"][name.label] = InChild("present", {{"path", name.path},
                                                           {"label", name.label},
                                                           {"counts", options.objects},
                                                           {"budget", options.budget}});
    }
  }
  if (Wants(options.parts, "start")) results["start"] = MeasureStarts(options, names);
  return results;
}

int Main(int argc, char** argv) {
  CLI::App app("PKCS#11 modules beside BoringSSL's own calls, in one run");
  Options options;
  std::string child, request, settings;
  app.add_option("--module", options.modules,
                 "PATH or PATH:LABEL, several times; bounds are those of the first");
  app.add_option("--part", options.parts, "alone, threads, present, start")->delimiter(',');
  app.add_option("--only", options.only, "operations of alone and threads")->delimiter(',');
  app.add_option("--threads", options.threads, "numbers of threads, 1 among them")->delimiter(',');
  app.add_option("--objects", options.objects, "numbers of session objects, ascending")
      ->delimiter(',');
  app.add_option("--token-objects", options.token_objects, "objects of the token of start");
  app.add_option("--rounds", options.rounds, "turns of each, of which medians are taken");
  app.add_option("--turn-ms", options.turn_ms, "the length of a turn of one thread");
  app.add_option("--thread-ms", options.thread_ms, "the length of a turn of several");
  app.add_option("--budget", options.budget, "seconds a module may take to make many objects");
  app.add_option("--guard", options.guard, "fail where a bound is missed by more than this factor");
  app.add_option("--json", options.json, "write the results to this file");
  app.add_option("--svg", options.svg, "draw the curves of threads into this file");
  app.add_option("--settings", settings, "more lines of secretmem-pkcs11's configuration");
  app.add_option("--child", child)->group("");
  app.add_option("--request", request)->group("");
  CLI11_PARSE(app, argc, argv);
  TokenDirectory::AddSettings(settings);
  SettingsOfChildren() = settings;
  if (!child.empty()) return Serve(child, request);
  if (options.modules.empty()) return app.exit(CLI::RequiredError("--module"));
  if (options.threads.front() != 1) return app.exit(CLI::ValidationError("--threads", "1 first"));

  const Json results = Measure(options);
  const int missed = PrintTables(results, options.guard > 0 ? options.guard : 1);
  if (!options.json.empty()) std::ofstream(options.json) << results.dump(1) << '\n';
  if (!options.svg.empty() && results.contains("threads")) DrawCurves(results, options.svg);
  return options.guard > 0 && missed > 0 ? 1 : 0;
}

}  // namespace
}  // namespace secretmem::bench

int main(int argc, char** argv) {
  try {
    return secretmem::bench::Main(argc, argv);
  } catch (const std::exception& error) {
    std::cerr << "bench_modules: " << error.what() << '\n';
    return 2;
  }
}
