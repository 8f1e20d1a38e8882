// Attacks by way of the process itself: its children, its system calls, a debugger's calls.
#include <fcntl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>

#include "tests/audit/attacks.h"
#include "tests/audit/run.h"

namespace secretmem::audit {
namespace {

constexpr uint64_t kImage = kArenaAddress + kArenaStart;

Bytes Text(const std::string& text) { return Bytes(text.c_str(), text.c_str() + text.size() + 1); }

bool Holds(const WindowSet& windows, const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  bool found = false;
  windows.Search({reinterpret_cast<const uint8_t*>(text.data()), text.size()},
                 [&](size_t, const WindowSet::Origin&) { found = true; });
  return found;
}

// OpenInTarget opens a file in the token's directory from inside the target; -errno on failure.
int64_t OpenInTarget(Live& live, const std::string& path, int flags) {
  return live.remote().Syscall(
      SYS_openat, {static_cast<uint64_t>(AT_FDCWD), kImage, static_cast<uint64_t>(flags), 0600},
      Text(path));
}

std::string SpillPath(Live& live) { return (live.client().token().directory() / "spill").string(); }

// WriteRegions has the process served by the wire write(2) its regions to a file, page by page.
Outcome WriteRegions(Live& live, const std::vector<Mapping>& regions, std::string* detail,
                     int flags) {
  const std::string path = SpillPath(live);
  const int64_t fd = OpenInTarget(live, path, O_RDWR | O_CREAT | O_TRUNC | flags);
  if (fd < 0) {
    *detail = std::string("open: ") + std::strerror(static_cast<int>(-fd));
    return Outcome::kSkipped;
  }
  uint64_t written = 0;
  uint64_t refused = 0;
  for (const Mapping& region : regions) {
    for (uint64_t at = region.start; at < region.end; at += 4096) {
      const int64_t put = live.remote().Syscall(SYS_write, {static_cast<uint64_t>(fd), at, 4096});
      ++(put > 0 ? written : refused);
    }
  }
  live.remote().Syscall(SYS_close, {static_cast<uint64_t>(fd)});
  const bool found = Holds(MakeWindows(live.resident()), path);
  std::filesystem::remove(path);
  *detail = std::to_string(written) + " pages written, " + std::to_string(refused) + " refused";
  if (written + refused == 0) throw CannotLook("no region to write");
  return found ? Outcome::kRead : Outcome::kNothing;
}

Outcome WriteCall(Live& live, std::string* detail) {
  return WriteRegions(live, live.Regions(), detail, 0);
}

Outcome DirectWrite(Live& live, std::string* detail) {
  return WriteRegions(live, live.Regions(), detail, O_DIRECT);
}

// SendCall has the process send(2) its regions to itself, page by page.
Outcome SendCall(Live& live, std::string* detail) {
  const int64_t rv = live.remote().Syscall(
      SYS_socketpair, {AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, kImage}, Bytes(16, 0));
  if (rv != 0) throw CannotLook("the target gets no sockets");
  int ends[2];
  const Bytes raw = live.remote().ArenaBytes(kArenaStart, sizeof(ends));
  std::memcpy(ends, raw.data(), sizeof(ends));
  const WindowSet windows = MakeWindows(live.resident());
  bool found = false;
  uint64_t sent = 0;
  for (const Mapping& region : live.Regions()) {
    for (uint64_t at = region.start; at < region.end; at += 4096) {
      const auto to = static_cast<uint64_t>(ends[0]);
      if (live.remote().Syscall(SYS_sendto, {to, at, 4096, 0, 0, 0}) != 4096) continue;
      ++sent;
      const auto from = static_cast<uint64_t>(ends[1]);
      if (live.remote().Syscall(SYS_read, {from, kImage, 4096}, Bytes(4096, 0)) != 4096) {
        throw CannotLook("what was sent does not come");
      }
      windows.Search(live.remote().ArenaBytes(kArenaStart, 4096),
                     [&](size_t, const WindowSet::Origin&) { found = true; });
    }
  }
  for (const int end : ends) live.remote().Syscall(SYS_close, {static_cast<uint64_t>(end)});
  *detail = std::to_string(sent) + " pages sent";
  return found ? Outcome::kRead : Outcome::kNothing;
}

Outcome Vmsplice(Live& live, std::string* detail) {
  const int64_t rv = live.remote().Syscall(SYS_pipe2, {kImage, O_NONBLOCK}, Bytes(16, 0));
  if (rv != 0) return Outcome::kSkipped;
  int ends[2];
  const Bytes raw = live.remote().ArenaBytes(kArenaStart, sizeof(ends));
  std::memcpy(ends, raw.data(), sizeof(ends));
  uint64_t spliced = 0;
  std::string error;
  for (const Mapping& region : live.Regions()) {
    const iovec vector = {reinterpret_cast<void*>(region.start), 4096};
    const int64_t got = live.remote().Syscall(
        SYS_vmsplice, {static_cast<uint64_t>(ends[1]), kImage, 1, 0}, BytesOf(vector));
    if (got > 0) ++spliced;
    if (got < 0) error = std::strerror(static_cast<int>(-got));
    if (got > 0) break;
  }
  for (const int end : ends) live.remote().Syscall(SYS_close, {static_cast<uint64_t>(end)});
  *detail = std::to_string(spliced) + " pages spliced; " + error;
  return spliced > 0 ? Outcome::kRead : Outcome::kNothing;
}

// ForkedChild looks at a child from outside and has it write out whatever it maps at the
// addresses of the parent's regions.
Outcome ForkedChild(Live& live, std::string* detail) {
  const std::vector<Mapping> regions = live.Regions();
  const auto child = static_cast<pid_t>(live.remote().Control(Command::kFork));
  if (child <= 0) throw CannotLook("the target cannot fork");
  live.remote().UseChild(true);
  const WindowSet windows = MakeWindows(live.secrets());
  Recorder recorder(child);
  if (!recorder.Look("in the child", Recorder::Scope::kEverything)) {
    throw CannotLook("the child cannot be looked at");
  }
  bool found = !recorder.Search(windows).empty();
  size_t inherited = 0;
  std::vector<Mapping> present;
  for (const Mapping& mapping : recorder.mappings()) {
    if (mapping.start == kArenaAddress) continue;
    for (const Mapping& region : regions) {
      if (mapping.contains(region.start)) ++inherited;
    }
    if (mapping.secret()) present.push_back(mapping);
  }
  *detail = std::to_string(regions.size()) + " regions in the parent, " +
            std::to_string(inherited) + " addresses mapped in the child";
  if (!present.empty()) {
    std::string written;
    found |= WriteRegions(live, present, &written, 0) == Outcome::kRead;
    *detail += ", " + written + " by the child";
  }
  Request leave;
  live.remote().Control(Command::kHello);
  live.remote().UseChild(false);
  kill(child, SIGKILL);
  return found ? Outcome::kRead : Outcome::kNothing;
}

// DebuggerCall stops the target and makes it write a region to a file, as gdb's `call` does.
Outcome DebuggerCall(Live& live, std::string* detail) {
  const std::string path = SpillPath(live);
  const int64_t fd = OpenInTarget(live, path, O_RDWR | O_CREAT | O_TRUNC);
  if (fd < 0) return Outcome::kSkipped;
  const std::vector<Mapping> regions = live.Regions();
  const pid_t pid = live.remote().pid();
  if (ptrace(PTRACE_SEIZE, pid, nullptr, nullptr) != 0 ||
      ptrace(PTRACE_INTERRUPT, pid, nullptr, nullptr) != 0 ||
      waitpid(pid, nullptr, __WALL) != pid) {
    throw CannotLook("no permission to trace the target");
  }
  user_regs_struct saved;
  ptrace(PTRACE_GETREGS, pid, nullptr, &saved);
  uint64_t calls = 0;
  for (const Mapping& region : regions) {
    for (uint64_t at = region.start; at < region.end; at += 4096) {
      user_regs_struct call = saved;
      call.rip = live.remote().hello().syscall_gadget;
      call.orig_rax = ~0ull;
      call.rax = SYS_write;
      call.rdi = static_cast<uint64_t>(fd);
      call.rsi = at;
      call.rdx = 4096;
      ptrace(PTRACE_SETREGS, pid, nullptr, &call);
      ptrace(PTRACE_CONT, pid, nullptr, nullptr);
      if (waitpid(pid, nullptr, __WALL) != pid) throw CannotLook("the target died");
      ++calls;
    }
  }
  ptrace(PTRACE_SETREGS, pid, nullptr, &saved);
  ptrace(PTRACE_DETACH, pid, nullptr, nullptr);
  live.remote().Syscall(SYS_close, {static_cast<uint64_t>(fd)});
  const bool found = Holds(MakeWindows(live.resident()), path);
  std::filesystem::remove(path);
  *detail = std::to_string(calls) + " calls made by the debugger";
  return found ? Outcome::kRead : Outcome::kNothing;
}

// Flags checks what the kernel keeps the regions from: swap, dumps, children.
Outcome MappingFlags(Live& live, std::string* detail) {
  if (!live.has_secret_regions()) return Outcome::kSkipped;
  bool good = true;
  for (const Mapping& region : live.Regions()) {
    // lo: locked, never swapped; dd: not dumped; dc: not copied to a child.
    for (const char* flag : {" lo", " dd", " dc"}) {
      if (region.flags.find(flag) != std::string::npos) continue;
      good = false;
      *detail += region.name + " lacks" + flag + "; ";
    }
  }
  if (good) *detail = std::to_string(live.Regions().size()) + " regions: lo dd dc";
  return good ? Outcome::kNothing : Outcome::kRead;
}

}  // namespace

std::vector<Attack> InsideAttacks() {
  return {
      {"swap, dumps and children (flags of the regions)", Outcome::kNothing, MappingFlags, false},
      {"a forked child", Outcome::kNothing, ForkedChild},
      {"write(2) by the process itself", Outcome::kRead, WriteCall},
      {"send(2) by the process itself", Outcome::kRead, SendCall},
      {"a debugger that makes the process write", Outcome::kRead, DebuggerCall},
      {"vmsplice by the process itself", Outcome::kNothing, Vmsplice},
      {"O_DIRECT write by the process itself", Outcome::kNothing, DirectWrite, false},
  };
}

}  // namespace secretmem::audit
