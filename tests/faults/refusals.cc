// fault_refusals: every step of the scenario, again and again, with the n-th call refused, for
// every n: of malloc, of what makes secret memory, of what reads and writes files.
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstring>
#include <iostream>
#include <map>
#include <stdexcept>

#include "tests/conformance/rv.h"
#include "tests/faults/interpose.h"
#include "tests/faults/scenario.h"

using namespace secretmem;
using namespace secretmem::faults;

namespace {

// Shared is what a child has done, seen by the parent after it died.
struct Shared {
  volatile size_t step;
  volatile uint64_t n;
  volatile uint64_t tried;
  volatile uint64_t defects;
  volatile bool finished;
  char text[2000];
};

struct Sweep {
  const char* name;
  Refused what;
  bool from_then_on;
};
constexpr Sweep kSweeps[] = {{"malloc", Refused::kMemory, false},
                             {"malloc from then on", Refused::kMemory, true},
                             {"file call", Refused::kFiles, false},
                             {"file call from then on", Refused::kFiles, true}};

void Note(Shared& shared, const std::string& text) {
  shared.defects = shared.defects + 1;
  std::cout << "  " << text << std::endl;
}

// One step, refused its n-th call; returns whether there was one.
bool Try(Scenario& scenario, const Step& step, const Sweep& sweep, uint64_t n, Shared& shared) {
  Arm(sweep.what, n, sweep.from_then_on);
  const CK_RV rv = step.run();
  const uint64_t count = Disarm();
  shared.tried = shared.tried + 1;
  const std::string where = step.name + ", " + sweep.name + " " + std::to_string(n);
  if (!SaysWhy(rv, sweep.what == Refused::kFiles))
    Note(shared, where + ": " + conformance::RvName(rv));
  try {
    scenario.Restore();
  } catch (const std::exception& error) {
    Note(shared, where + " (" + conformance::RvName(rv) + "), afterwards: " + error.what());
    // A new start may still do.
    blackbox::P11().C_Finalize(nullptr);
    scenario.Restore();
  }
  return count >= n;
}

// Runs the steps from |first| on, that from n on.
void Run(const Sweep& sweep, Shared& shared, size_t first, uint64_t n) {
  const blackbox::Scratch scratch(blackbox::Scratch::kQuickPins, "/dev/shm");
  Scenario scenario;
  scenario.Begin(scratch);
  const auto& steps = scenario.Steps();
  for (size_t i = first; i < steps.size(); ++i) {
    shared.step = i;
    // Twice without: what is made once is made.
    for (int warm = 0; warm < 2; ++warm) {
      blackbox::Must(steps[i].run(), steps[i].name.c_str());
      scenario.Restore();
    }
    const int64_t live = LiveBlocks();
    const uint64_t from = i == first ? n : 1;
    uint64_t at = from;
    for (;; ++at) {
      shared.n = at;
      if (!Try(scenario, steps[i], sweep, at, shared)) break;
    }
    const int64_t grown = LiveBlocks() - live;
    const auto tries = static_cast<int64_t>(at - from);
    if (tries > 8 && grown >= tries) {
      Note(shared, steps[i].name + ", " + sweep.name + ": " + std::to_string(grown) +
                       " blocks more after " + std::to_string(tries) + " refusals");
    }
  }
  scenario.End();
  shared.finished = true;
}

uint64_t g_tried = 0;
uint64_t g_defects = 0;
uint64_t g_crashes = 0;

// Each sweep is in a process of its own, and goes on in another after a crash.
void RunSweep(const Sweep& sweep, Shared& shared, size_t step, uint64_t n) {
  for (int crashes = 0; crashes < 40; ++crashes) {
    shared = {};
    const pid_t child = fork();
    if (child == 0) {
      try {
        Run(sweep, shared, step, n);
        _exit(0);
      } catch (const std::exception& error) {
        Disarm();
        std::cout << "  " << sweep.name << ", step " << shared.step << ", call " << shared.n << ": "
                  << error.what() << std::endl;
        _exit(1);
      }
    }
    int status = 0;
    waitpid(child, &status, 0);
    g_tried += shared.tried;
    g_defects += shared.defects;
    if (shared.finished) return;
    ++g_crashes;
    step = shared.step;
    n = shared.n + 1;
    std::cout << "  " << sweep.name << ", step " << step << ", call " << shared.n
              << ": the process " << (WIFSIGNALED(status) ? strsignal(WTERMSIG(status)) : "gave up")
              << std::endl;
  }
}

// Secret memory is made once and kept, so here each try is a whole run in a new process.
void RunSecret(bool from_then_on, Shared& shared) {
  for (uint64_t n = 1;; ++n) {
    shared = {};
    const pid_t child = fork();
    if (child == 0) {
      try {
        const blackbox::Scratch scratch(blackbox::Scratch::kQuickPins, "/dev/shm");
        // The keys are made without, and used by the first to come.
        Scenario maker;
        const pid_t other = fork();
        if (other == 0) {
          maker.Begin(scratch);
          maker.End();
          _exit(0);
        }
        int made = 0;
        waitpid(other, &made, 0);
        if (made != 0) _exit(2);
        Arm(Refused::kSecretMemory, n, from_then_on);
        const CK_RV rv = blackbox::Initialise();
        CK_RV second = CKR_OK;
        CK_SESSION_HANDLE session = 0;
        if (rv == CKR_OK) {
          CK_ULONG count = 0;
          blackbox::P11().C_GetSlotList(CK_TRUE, nullptr, &count);
          const CK_SLOT_ID slot = blackbox::FindToken("faults");
          second = blackbox::P11().C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, nullptr,
                                                 nullptr, &session);
          if (second == CKR_OK) {
            second = blackbox::P11().C_Login(session, CKU_USER, blackbox::Utf8("user pin"), 8);
          }
          if (second == CKR_OK) second = blackbox::Find(session, blackbox::Template()).rv;
        }
        const uint64_t count = Disarm();
        shared.n = count;
        shared.tried = 1;
        for (const CK_RV each : {rv, second}) {
          if (!SaysWhy(each, false)) {
            Note(shared, "secret memory " + std::to_string(n) + ": " + conformance::RvName(each));
          }
        }
        _exit(0);
      } catch (const std::exception& error) {
        Disarm();
        std::cout << "  secret memory " << n << ": " << error.what() << std::endl;
        _exit(1);
      }
    }
    int status = 0;
    waitpid(child, &status, 0);
    g_tried += shared.tried;
    g_defects += shared.defects;
    if (status != 0) {
      ++g_crashes;
      std::cout << "  secret memory " << n << ": the process "
                << (WIFSIGNALED(status) ? strsignal(WTERMSIG(status)) : "gave up") << std::endl;
      if (n > 200) return;
      continue;
    }
    if (shared.n < n) return;
  }
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Refuses a module memory and files, call by call");
  std::string path;
  std::string only;
  app.add_option("--module", path, "the module's path")->required();
  app.add_option("--only", only, "the sweep with this name");
  size_t step = 0;
  uint64_t call = 1;
  app.add_option("--step", step, "begin with this step");
  app.add_option("--call", call, "and this call");
  CLI11_PARSE(app, argc, argv);
  blackbox::LoadModule(path);
  auto* shared = static_cast<Shared*>(
      mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  for (const Sweep& sweep : kSweeps) {
    if (!only.empty() && only != sweep.name) continue;
    std::cout << sweep.name << std::endl;
    RunSweep(sweep, *shared, step, call);
  }
  if (only.empty() || only == "secret memory") {
    std::cout << "secret memory" << std::endl;
    for (const bool from_then_on : {false, true}) RunSecret(from_then_on, *shared);
  }
  std::cout << "refusals: " << g_tried << " tried, " << g_crashes << " crashes, " << g_defects
            << " other defects\n";
  return g_crashes + g_defects == 0 && g_tried > 0 ? 0 : 1;
}
