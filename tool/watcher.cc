#include "tool/watcher.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>

#include "tool/exit_codes.h"

namespace secretmem::tool {

namespace {

constexpr size_t kPage = 4096;
constexpr size_t kBufferBytes = size_t{1} << 20;
constexpr size_t kOverlap = 7;  // of two readings, so that no run of eight bytes falls between them
constexpr int kSystemCall = SIGTRAP | 0x80;

constexpr char kTracingRemedy[] =
    "Looking into a process is what a debugger does: /proc/sys/kernel/yama/ptrace_scope may forbid "
    "it (0 and 1 allow this), or a container's seccomp filter; root may.";

long Trace(__ptrace_request request, pid_t pid, uint64_t data = 0) {
  return ptrace(request, pid, nullptr, reinterpret_cast<void*>(data));
}

// Pipe is a pair of descriptors that exec closes.
struct Pipe {
  Pipe() {
    if (pipe2(ends, O_CLOEXEC) != 0)
      throw ToolError(kFailed, std::string("pipe: ") + std::strerror(errno));
  }
  ~Pipe() {
    CloseEnd(0);
    CloseEnd(1);
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  void CloseEnd(int which) {
    if (ends[which] >= 0) close(ends[which]);
    ends[which] = -1;
  }
  int ends[2];
};

// Await blocks until the other end writes a byte (true) or goes away.
bool Await(int descriptor) {
  char byte;
  ssize_t got;
  do {
    got = read(descriptor, &byte, 1);
  } while (got < 0 && errno == EINTR);
  return got == 1;
}

// TerminalSignalsIgnored lets the terminal's signals go to the command alone: when that ends, so
// does the watching.
class TerminalSignalsIgnored {
 public:
  TerminalSignalsIgnored() {
    for (size_t i = 0; i < std::size(kSignals); ++i) old_[i] = signal(kSignals[i], SIG_IGN);
  }
  ~TerminalSignalsIgnored() {
    for (size_t i = 0; i < std::size(kSignals); ++i) signal(kSignals[i], old_[i]);
  }
  TerminalSignalsIgnored(const TerminalSignalsIgnored&) = delete;
  TerminalSignalsIgnored& operator=(const TerminalSignalsIgnored&) = delete;

 private:
  static constexpr int kSignals[] = {SIGINT, SIGQUIT};
  sighandler_t old_[2];
};

std::string NameOf(pid_t pid) {
  std::ifstream in("/proc/" + std::to_string(pid) + "/comm");
  std::string name;
  std::getline(in, name);
  return name;
}

std::string BaseName(const std::string& path) { return path.substr(path.rfind('/') + 1); }

// What is mapped read-only from a file is the file's.
bool MayHoldSecrets(const Mapping& mapping) {
  if (mapping.secret() || mapping.writable()) return true;
  return mapping.name.starts_with('[') && !mapping.name.starts_with("[v");
}

}  // namespace

Watcher::Watcher(const WatchedKeys& keys, std::string module, std::chrono::milliseconds pause,
                 std::function<void(const Watched&)> progress)
    : keys_(keys),
      module_(BaseName(module)),
      pause_(pause),
      progress_(std::move(progress)),
      buffer_(kBufferBytes) {}

Watched Watcher::Run(const std::vector<std::string>& command, bool quiet) {
  std::vector<char*> arguments;
  for (const std::string& argument : command) {
    arguments.push_back(const_cast<char*>(argument.c_str()));
  }
  arguments.push_back(nullptr);

  Pipe go;
  Pipe failed;
  const pid_t child = fork();
  if (child < 0) throw ToolError(kFailed, std::string("fork: ") + std::strerror(errno));
  if (child == 0) {
    go.CloseEnd(1);
    if (quiet) dup2(STDERR_FILENO, STDOUT_FILENO);
    if (Await(go.ends[0])) execvp(arguments[0], arguments.data());
    const int error = errno;
    static_cast<void>(!write(failed.ends[1], &error, sizeof(error)));
    _exit(127);
  }
  go.CloseEnd(0);
  failed.CloseEnd(1);
  constexpr uint64_t kOptions = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK |
                                PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC | PTRACE_O_TRACEEXIT;
  if (Trace(PTRACE_SEIZE, child, kOptions) != 0) {
    const int error = errno;
    go.CloseEnd(1);
    waitpid(child, nullptr, 0);
    throw ToolError(kFailed, std::string("the command cannot be traced: ") + std::strerror(error),
                    kTracingRemedy);
  }
  const TerminalSignalsIgnored ignored;
  static_cast<void>(!write(go.ends[1], "", 1));

  for (bool running = true; running;) {
    int status;
    const pid_t thread = waitpid(-1, &status, __WALL);
    if (thread < 0) {
      if (errno == EINTR) continue;
      break;
    }
    if (WIFSTOPPED(status)) {
      Stopped(thread, status);
      continue;
    }
    threads_.erase(thread);
    if (thread == child) {
      watched_.status = status;
      running = false;
    }
  }
  int error = 0;
  if (read(failed.ends[0], &error, sizeof(error)) == sizeof(error)) {
    throw ToolError(kFailed, command[0] + ": " + std::strerror(error));
  }
  LetGo();
  return std::move(watched_);
}

void Watcher::Stopped(pid_t thread, int status) {
  const int signal = WSTOPSIG(status);
  const int event = status >> 16;
  uint64_t deliver = 0;
  auto resume = PTRACE_SYSCALL;
  if (event == PTRACE_EVENT_STOP) {
    ProcessOf(thread);
    // A stop by a signal stays one: the thread goes on when it is continued.
    if (signal != SIGTRAP) resume = PTRACE_LISTEN;
  } else if (event == PTRACE_EVENT_EXIT) {
    Look(thread, true);
  } else if (event == PTRACE_EVENT_EXEC) {
    // The process's other threads are gone, and this one has the number of its first.
    std::erase_if(threads_, [&](const auto& known) { return known.second == thread; });
    ProcessOf(thread);
    next_look_.erase(thread);
  } else if (signal == kSystemCall) {
    Look(thread, false);
  } else if (event == 0) {
    deliver = static_cast<uint64_t>(signal);
  }
  Trace(resume, thread, deliver);
}

pid_t Watcher::ProcessOf(pid_t thread) {
  if (const auto known = threads_.find(thread); known != threads_.end()) return known->second;
  std::ifstream in("/proc/" + std::to_string(thread) + "/status");
  pid_t process = thread;
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("Tgid:")) process = std::stoi(line.substr(5));
  }
  threads_[thread] = process;
  return process;
}

void Watcher::Look(pid_t thread, bool now) {
  const pid_t pid = ProcessOf(thread);
  const auto began = Clock::now();
  if (!now && began < next_look_[pid]) return;

  WatchedProcess& process = watched_.processes[pid];
  // By the thread's number: a process whose first thread has ended still has its memory.
  const ProcessMemory memory(thread);
  const std::vector<Mapping> mappings = ReadMappings(thread);
  process.name = NameOf(thread);
  ++process.looks;
  ++watched_.looks;
  if (mappings.empty() || !memory.usable()) {
    process.problem = "its memory cannot be read";
    return;
  }
  uint64_t secret = 0;
  for (const Mapping& mapping : mappings) {
    if (BaseName(mapping.name) == module_) process.loaded_module = true;
    // A page by itself is C_Initialize's trial of whether there is such memory.
    if (mapping.secret() && mapping.size() > kPage) secret += mapping.size();
    if (mapping.readable() && MayHoldSecrets(mapping)) LookAtMapping(memory, pid, mapping);
  }
  if (secret >= process.secret_bytes) {
    process.secret_bytes = secret;
    process.mappings = mappings;
  }
  // Half of the time at most is spent on looking.
  const auto ended = Clock::now();
  next_look_[pid] = ended + std::max<Clock::duration>(pause_, ended - began);
  if (progress_) progress_(watched_);
}

void Watcher::LookAtMapping(const ProcessMemory& memory, pid_t pid, const Mapping& mapping) {
  const std::vector<bool> populated = memory.PopulatedPages(mapping.start, mapping.end);
  for (uint64_t at = mapping.start; at < mapping.end;) {
    size_t page = (at - mapping.start) / kPage;
    if (!populated[page]) {
      at = mapping.start + (page + 1) * kPage;
      continue;
    }
    uint64_t end = at;
    while (page < populated.size() && populated[page] && end - at + kPage <= buffer_.size()) {
      end = mapping.start + ++page * kPage;
    }
    const ssize_t got = memory.Read(at, std::span(buffer_).first(end - at));
    if (got <= 0) {
      if (got == -EPERM) watched_.processes[pid].problem = "its memory may not be read";
      at = end;  // Secret memory: nobody outside can read it.
      continue;
    }
    const auto bytes = static_cast<size_t>(got);
    watched_.bytes += bytes;
    for (const WatchedKeys::Hit& hit : keys_.Search(std::span(buffer_).first(bytes))) {
      watched_.findings.insert({pid, watched_.processes[pid].name,
                                mapping.secret() ? "memfd_secret" : mapping.name, at + hit.offset,
                                hit.key, hit.how});
    }
    const bool more = page < populated.size() && populated[page];
    at = at + bytes < end || !more ? end : end - kOverlap;
  }
}

void Watcher::LetGo() {
  // Each of what still runs is stopped, looked at and let go.
  std::set<pid_t> left;
  for (const auto& [thread, process] : threads_) {
    if (Trace(PTRACE_INTERRUPT, thread) == 0) left.insert(thread);
  }
  while (!left.empty()) {
    int status;
    const pid_t thread = waitpid(-1, &status, __WALL);
    if (thread < 0) {
      if (errno == EINTR) continue;
      break;
    }
    if (!WIFSTOPPED(status)) {
      left.erase(thread);
      continue;
    }
    Look(thread, true);
    const int signal = WSTOPSIG(status);
    const bool is_signal = status >> 16 == 0 && signal != kSystemCall;
    Trace(PTRACE_DETACH, thread, is_signal ? static_cast<uint64_t>(signal) : 0);
    left.erase(thread);
  }
}

void SeesWhatIsThere() {
  std::array<uint8_t, 32> bytes;
  if (getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) {
    throw ToolError(kFailed, "no random numbers for a test of looking");
  }
  const WatchedKeys keys = WatchedKeys::Of(bytes);
  Pipe ready;
  Pipe done;
  const pid_t child = fork();
  if (child < 0) throw ToolError(kFailed, std::string("fork: ") + std::strerror(errno));
  if (child == 0) {
    done.CloseEnd(1);
    static_cast<void>(!write(ready.ends[1], "", 1));
    Await(done.ends[0]);
    _exit(0);
  }
  ready.CloseEnd(1);
  Await(ready.ends[0]);
  const ProcessMemory memory(child);
  std::array<uint8_t, 32> seen{};
  const auto address = reinterpret_cast<uint64_t>(bytes.data());
  const bool found = memory.usable() &&
                     memory.Read(address, seen) == static_cast<ssize_t>(seen.size()) &&
                     keys.Search(seen).size() == seen.size() - kOverlap;
  done.CloseEnd(1);
  waitpid(child, nullptr, 0);
  if (!found)
    throw ToolError(kFailed, "the memory of other processes cannot be read here", kTracingRemedy);
}

}  // namespace secretmem::tool
