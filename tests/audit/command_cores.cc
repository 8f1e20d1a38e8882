// Core dumps: gdb's of a live process, and the kernel's of a process that crashed, at rest and in
// the middle of an operation.
#include <elf.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <set>

#include "tests/audit/commands.h"
#include "tests/audit/live.h"
#include "tests/audit/run.h"

namespace secretmem::audit {
namespace {

struct CoreReport {
  std::set<std::string> in_memory;
  std::set<std::string> in_registers;  // the notes: registers of the threads
  uint64_t memory_bytes = 0;
};

CoreReport SearchCore(const std::filesystem::path& path, const WindowSet& windows) {
  std::ifstream in(path, std::ios::binary);
  const std::string image{std::istreambuf_iterator<char>(in), {}};
  Elf64_Ehdr header;
  if (image.size() < sizeof(header)) throw CannotLook("no core file at " + path.string());
  std::memcpy(&header, image.data(), sizeof(header));
  if (std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_type != ET_CORE) {
    throw CannotLook(path.string() + " is no core file");
  }
  CoreReport report;
  for (size_t i = 0; i < header.e_phnum; ++i) {
    Elf64_Phdr segment;
    const size_t at = header.e_phoff + i * header.e_phentsize;
    if (at + sizeof(segment) > image.size()) break;
    std::memcpy(&segment, image.data() + at, sizeof(segment));
    if (segment.p_offset > image.size()) continue;
    const size_t size = std::min<size_t>(segment.p_filesz, image.size() - segment.p_offset);
    const std::span<const uint8_t> data(
        reinterpret_cast<const uint8_t*>(image.data()) + segment.p_offset, size);
    const bool arena =
        segment.p_vaddr >= kArenaAddress && segment.p_vaddr < kArenaAddress + kArenaSize;
    if (segment.p_type == PT_LOAD && !arena) {
      report.memory_bytes += size;
      windows.Search(data, [&](size_t, const WindowSet::Origin& origin) {
        report.in_memory.insert(windows.forms()[origin.form]);
      });
    } else if (segment.p_type == PT_NOTE) {
      windows.Search(data, [&](size_t, const WindowSet::Origin& origin) {
        report.in_registers.insert(windows.forms()[origin.form]);
      });
    }
  }
  return report;
}

// Judge prints what a core shows; the number of secrets in its memory. Decoys in ordinary memory
// must be in it, else the core proves nothing.
size_t Judge(const std::string& name, const std::filesystem::path& path, const Live& live,
             std::vector<Secret> decoys) {
  // Shared file mappings and pages without access are not in every core.
  decoys.resize(static_cast<size_t>(DecoyPlace::kEndedThreadStack));
  const CoreReport planted = SearchCore(path, MakeWindows(decoys));
  for (const Secret& decoy : decoys) {
    if (!planted.in_memory.contains(decoy.name)) {
      throw CannotLook(name + " does not show the planted " + decoy.name);
    }
  }
  const CoreReport report = SearchCore(path, MakeWindows(live.secrets()));
  std::printf("%-10s %s: %lu KiB of memory\n", report.in_memory.empty() ? "clean" : "LEAKS",
              name.c_str(), report.memory_bytes >> 10);
  for (const auto& form : report.in_memory) std::printf("    LEAK %s\n", form.c_str());
  for (const auto& form : report.in_registers) {
    std::printf("    named: %s in the notes (registers are not covered)\n", form.c_str());
  }
  std::filesystem::remove(path);
  return report.in_memory.size();
}

size_t GdbCore(const Token& token) {
  Live live(token);
  const auto decoys = live.remote().PlantDecoys();
  const std::string prefix = (token.directory() / "gcore").string();
  const pid_t pid = live.remote().pid();
  std::ofstream("/proc/" + std::to_string(pid) + "/coredump_filter") << "0xff";
  // gdb writes reserved address space too, unless it is MADV_DONTDUMP: a dump of gigabytes is a
  // fault of the module, not something to wait for.
  const std::string command = "ulimit -f 2000000; timeout -k 1 40 gcore -o " + prefix + " " +
                              std::to_string(pid) + " >/dev/null 2>&1";
  if (std::system(command.c_str()) != 0) {
    throw CannotLook("gcore failed: no gdb, or gigabytes of reserved address space in the dump");
  }
  return Judge("gcore", prefix + "." + std::to_string(pid), live, decoys);
}

// GdbDump asks gdb for each region by its address, which is what `gcore -a` does with regions
// that are not to be dumped (gcore -a itself would also write all reserved address space).
size_t GdbDump(const Token& token) {
  Live live(token);
  if (!live.has_secret_regions()) return 0;
  std::string command = "gdb -nx -batch -p " + std::to_string(live.remote().pid());
  size_t regions = 0;
  for (const Mapping& region : live.Regions()) {
    char range[64];
    std::snprintf(range, sizeof(range), " 0x%lx 0x%lx'", region.start, region.end);
    command += " -ex 'dump binary memory " + (token.directory() / "dump").string() +
               std::to_string(regions++) + range;
  }
  command += " >/dev/null 2>&1";
  if (std::system(command.c_str()) < 0) throw CannotLook("gdb failed");
  uint64_t bytes = 0;
  for (size_t i = 0; i < regions; ++i) {
    std::error_code error;
    const auto size =
        std::filesystem::file_size(token.directory() / ("dump" + std::to_string(i)), error);
    if (!error) bytes += size;
  }
  const auto found = SearchFiles(token.directory(), MakeWindows(live.resident()));
  std::printf("%-10s gdb's dump of %zu secret regions: %lu bytes\n",
              bytes == 0 && found.empty() ? "clean" : "LEAKS", regions, bytes);
  return found.size() + (bytes > 0 ? 1 : 0);
}

void AllowCores(pid_t pid) {
  const rlimit unlimited = {RLIM_INFINITY, RLIM_INFINITY};
  if (prlimit(pid, RLIMIT_CORE, &unlimited, nullptr) != 0) {
    rlimit now = {};
    if (prlimit(pid, RLIMIT_CORE, nullptr, &now) == 0) {
      now.rlim_cur = now.rlim_max;
      prlimit(pid, RLIMIT_CORE, &now, nullptr);
    }
  }
  std::ofstream("/proc/" + std::to_string(pid) + "/coredump_filter") << "0xff";
}

// CrashCore crashes a process and judges the kernel's core file; -1 when the system keeps none.
int CrashCore(const Token& token, const std::string& name, uint64_t after_steps) {
  Live live(token);
  const auto decoys = live.remote().PlantDecoys();
  const pid_t pid = live.remote().pid();
  AllowCores(pid);
  if (after_steps == 0) {
    try {
      live.remote().Syscall(SYS_kill, {static_cast<uint64_t>(pid), SIGABRT});
    } catch (const CannotLook&) {
      // It died, as it should.
    }
  } else {
    Recorder recorder(pid);
    StepOptions options;
    options.crash_after = after_steps;
    StepThrough(live.remote(), live.Derive(), recorder, options, 0);
  }
  const int status = live.remote().WaitForEnd();
  if (!WIFSIGNALED(status)) throw CannotLook("the target did not crash");
  for (const auto& entry : std::filesystem::directory_iterator(token.directory())) {
    if (entry.path().filename().string().starts_with("core")) {
      return static_cast<int>(Judge(name, entry.path(), live, decoys));
    }
  }
  std::ifstream pattern("/proc/sys/kernel/core_pattern");
  std::string text;
  std::getline(pattern, text);
  const bool here = WCOREDUMP(status) && text.find_first_of("|/") == std::string::npos;
  if (here) throw CannotLook("a core was dumped but is not to be found");
  std::printf("SKIPPED    %s: no core file here (core_pattern is \"%s\")\n", name.c_str(),
              text.c_str());
  return -1;
}

}  // namespace

int AuditCores(const Options& options) {
  const Token token(options.target, options.modules.at(0), options.settings);
  Client::LearnDialect(token);
  size_t leaks = GdbDump(token);
  const std::pair<const char*, uint64_t> crashes[] = {
      {"crash at rest", 0},
      {"crash early in C_DeriveKey", 3'000},
      {"crash in the middle of C_DeriveKey", 60'000},
      {"crash late in C_DeriveKey", 300'000},
  };
  for (const auto& [name, after] : crashes) {
    const int found = CrashCore(token, name, after);
    if (found > 0) leaks += static_cast<size_t>(found);
  }
  leaks += GdbCore(token);
  if (options.expects_leaks()) return leaks > 0 ? 0 : 1;
  return leaks == 0 ? 0 : 1;
}

}  // namespace secretmem::audit
