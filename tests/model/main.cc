// model: random calls on a PKCS#11 module, compared with a model of it.
#include <CLI/CLI.hpp>
#include <chrono>
#include <iostream>
#include <random>
#include <thread>

#include "tests/blackbox/module.h"
#include "tests/model/turns.h"
#include "tests/model/world.h"

using namespace secretmem;

namespace {

// What is the same for every sequence of a run.
struct Options {
  unsigned steps = 2000;
  unsigned turns = 0;
  unsigned at_once = 0;
};

// How many steps threads that run at once make before what they share is changed.
constexpr unsigned kStepsBetween = 50;

void Report(const model::World& world, uint64_t seed, const Options& options,
            const std::string& what) {
  for (const std::string& call : world.LastCalls()) std::cout << "  " << call << '\n';
  std::cout << what << "\nreplay: --seed " << seed << " --sequences 1 --steps " << options.steps;
  if (options.turns > 0) std::cout << " --turns " << options.turns;
  if (options.at_once > 0) std::cout << " --at-once " << options.at_once;
  std::cout << '\n';
}

// Sequence runs one sequence; returns how many calls it made, or nothing after a mismatch. With
// turns it makes the same calls, each on a thread that the seed says.
std::optional<uint64_t> Sequence(const blackbox::Scratch& scratch, uint64_t seed,
                                 const Options& options) {
  scratch.EmptyTokens();
  model::World world(seed);
  model::Random order(~seed);
  model::Turns turns(options.turns);
  unsigned step = 0;
  try {
    for (; step < options.steps; ++step) {
      if (turns.size() == 0) {
        world.Step();
        continue;
      }
      const size_t thread = order.Below(turns.size());
      turns.Run(thread, [&] { world.Step(); });
      if (order.OneIn(200)) turns.Replace(thread);
    }
    world.Finish();
    return world.calls();
  } catch (const model::Mismatch& mismatch) {
    Report(world, seed, options, "step " + std::to_string(step) + ": " + mismatch.what());
    return std::nullopt;
  }
}

// Beside runs steps on a thread of its own; the mismatch, if there is one, is in the end.
struct Beside {
  model::World* world;
  std::string mismatch;
  void Run() {
    try {
      for (unsigned i = 0; i < kStepsBetween; ++i) world->Step();
    } catch (const std::exception& error) {
      mismatch = error.what();
    }
  }
};

// AtOnce runs one sequence of threads that run at once, each with a world of its own. The calls of
// each follow from the seed alone; how they fall together does not.
std::optional<uint64_t> AtOnce(const blackbox::Scratch& scratch, uint64_t seed,
                               const Options& options) {
  scratch.EmptyTokens();
  model::World shared(seed);
  std::vector<std::unique_ptr<model::World>> worlds;
  for (unsigned i = 0; i < options.at_once; ++i) {
    worlds.push_back(std::make_unique<model::World>(seed + (uint64_t{i + 1} << 32), shared,
                                                    "thread " + std::to_string(i)));
  }
  unsigned step = 0;
  try {
    for (; step < options.steps; step += kStepsBetween) {
      shared.StepShared(worlds);
      std::vector<Beside> lives;
      for (const auto& world : worlds) {
        world->Follow(shared);
        lives.push_back({world.get(), {}});
      }
      {
        std::vector<std::jthread> threads;
        for (Beside& life : lives) threads.emplace_back([&life] { life.Run(); });
      }
      for (size_t i = 0; i < lives.size(); ++i) {
        if (lives[i].mismatch.empty()) continue;
        Report(*worlds[i], seed, options,
               "thread " + std::to_string(i) + ", steps after " + std::to_string(step) + ": " +
                   lives[i].mismatch);
        return std::nullopt;
      }
    }
    shared.Finish();
  } catch (const model::Mismatch& mismatch) {
    Report(shared, seed, options, "before step " + std::to_string(step) + ": " + mismatch.what());
    return std::nullopt;
  }
  uint64_t calls = shared.calls();
  for (const auto& world : worlds) calls += world->calls();
  return calls;
}

}  // namespace

int main(int argc, char** argv) try {
  CLI::App app("Random calls on a PKCS#11 module, compared with a model of it");
  std::string path;
  uint64_t seed = 0;
  Options options;
  unsigned sequences = 0;
  double seconds = 10;
  app.add_option("--module", path, "the module's path")->required();
  app.add_option("--seed", seed, "of the first sequence, the next has the next (default: random)");
  app.add_option("--steps", options.steps, "of each sequence, or of each thread that runs at once");
  app.add_option("--sequences", sequences, "how many, instead of --seconds");
  app.add_option("--seconds", seconds, "for how long");
  auto* turns = app.add_option("--turns", options.turns,
                               "threads that take turns, in an order that the seed gives");
  app.add_option("--at-once", options.at_once,
                 "threads that run at once, each with sessions and objects of its own")
      ->excludes(turns);
  CLI11_PARSE(app, argc, argv);
  if (app.count("--seed") == 0) seed = std::random_device()();

  const blackbox::Scratch scratch(model::World::kSettings);
  blackbox::LoadModule(path);
  std::cout << "seed " << seed << std::endl;
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  uint64_t calls = 0;
  unsigned done = 0;
  for (;; ++done, ++seed) {
    if (sequences > 0 ? done >= sequences : std::chrono::steady_clock::now() >= end) break;
    const auto made =
        options.at_once > 0 ? AtOnce(scratch, seed, options) : Sequence(scratch, seed, options);
    if (!made) return 1;
    calls += *made;
  }
  std::cout << "model: " << done << " sequences, " << calls << " calls, 0 differences\n";
  return done > 0 ? 0 : 1;
} catch (const std::exception& error) {
  std::cerr << "model: " << error.what() << '\n';
  return 1;
}
