// model: random calls on a PKCS#11 module, compared with a model of it.
#include <CLI/CLI.hpp>
#include <chrono>
#include <iostream>
#include <random>

#include "tests/blackbox/module.h"
#include "tests/model/world.h"

using namespace secretmem;

namespace {

// Sequence runs one sequence; returns how many calls it made, or nothing after a mismatch.
std::optional<uint64_t> Sequence(const blackbox::Scratch& scratch, uint64_t seed, unsigned steps) {
  scratch.EmptyTokens();
  model::World world(seed);
  unsigned step = 0;
  try {
    for (; step < steps; ++step) world.Step();
    world.Finish();
    return world.calls();
  } catch (const model::Mismatch& mismatch) {
    for (const std::string& call : world.LastCalls()) std::cout << "  " << call << '\n';
    std::cout << "step " << step << ": " << mismatch.what() << "\nreplay: --seed " << seed
              << " --sequences 1 --steps " << steps << '\n';
    return std::nullopt;
  }
}

}  // namespace

int main(int argc, char** argv) try {
  CLI::App app("Random calls on a PKCS#11 module, compared with a model of it");
  std::string path;
  uint64_t seed = 0;
  unsigned steps = 2000;
  unsigned sequences = 0;
  double seconds = 10;
  app.add_option("--module", path, "the module's path")->required();
  app.add_option("--seed", seed, "of the first sequence, the next has the next (default: random)");
  app.add_option("--steps", steps, "of each sequence");
  app.add_option("--sequences", sequences, "how many, instead of --seconds");
  app.add_option("--seconds", seconds, "for how long");
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
    const auto made = Sequence(scratch, seed, steps);
    if (!made) return 1;
    calls += *made;
  }
  std::cout << "model: " << done << " sequences, " << calls << " calls, 0 differences\n";
  return done > 0 ? 0 : 1;
} catch (const std::exception& error) {
  std::cerr << "model: " << error.what() << '\n';
  return 1;
}
