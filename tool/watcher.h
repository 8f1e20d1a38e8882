// Runs a command, and looks into the memory of all its processes from outside while it runs.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "tool/mappings_picture.h"
#include "tool/process_memory.h"
#include "tool/watched_keys.h"

namespace secretmem::tool {

// Finding is a key that could be read.
struct Finding {
  pid_t pid = 0;
  std::string process;  // its name
  std::string mapping;  // "[heap]", "[stack]", a file, "[anonymous]"
  uint64_t address = 0;
  uint32_t key = 0;  // index into WatchedKeys::keys()
  std::string how;

  // Where a key is found is told once for each process, mapping and form.
  auto operator<=>(const Finding& other) const {
    return std::tie(pid, mapping, key, how) <=>
           std::tie(other.pid, other.mapping, other.key, other.how);
  }
};

// WatchedProcess is what was seen of one process.
struct WatchedProcess {
  std::string name;
  bool loaded_module = false;
  uint64_t secret_bytes = 0;  // of memfd_secret memory, at most at one time
  uint64_t looks = 0;
  std::string problem;            // not empty: its memory could not be read
  std::vector<Mapping> mappings;  // at the last look at which keys were in secret memory
};

// Watched is the outcome.
struct Watched {
  int status = 0;  // as waitpid(2) has it, of the command itself
  std::map<pid_t, WatchedProcess> processes;
  std::set<Finding> findings;
  uint64_t looks = 0;
  uint64_t bytes = 0;  // searched in all
};

// Watcher traces a command and every process and thread that comes of it. It looks at a process at
// its system calls, as often as half of the time allows and |pause| apart at least, and whenever
// one of its threads ends. What the command leaves running is looked at once more and let go.
class Watcher {
 public:
  // |module| is the file whose users are meant. |progress| is called after each look.
  Watcher(const WatchedKeys& keys, std::string module, std::chrono::milliseconds pause,
          std::function<void(const Watched&)> progress);

  // Run returns when the command has ended. What it prints goes to standard error with |quiet|.
  // Throws ToolError where it cannot be started or traced.
  Watched Run(const std::vector<std::string>& command, bool quiet);

 private:
  using Clock = std::chrono::steady_clock;
  void Stopped(pid_t thread, int status);
  void Look(pid_t thread, bool now);
  void LookAtMapping(const ProcessMemory& memory, pid_t pid, const Mapping& mapping);
  void LetGo();
  pid_t ProcessOf(pid_t thread);

  const WatchedKeys& keys_;
  std::string module_;
  std::chrono::milliseconds pause_;
  std::function<void(const Watched&)> progress_;
  Watched watched_;
  std::map<pid_t, pid_t> threads_;  // to their processes
  std::map<pid_t, Clock::time_point> next_look_;
  std::vector<uint8_t> buffer_;
};

// SeesWhatIsThere proves that looking works here: it starts a process that has random bytes in its
// memory, and finds them. Throws ToolError where it does not.
void SeesWhatIsThere();

}  // namespace secretmem::tool
