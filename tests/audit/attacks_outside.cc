// Attacks from another process: reading, tracing, descriptors, sampling.
#include <fcntl.h>
#include <linux/perf_event.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "tests/audit/attacks.h"
#include "tests/audit/run.h"

namespace secretmem::audit {
namespace {

constexpr long kSecretMemMagic = 0x5345434d;  // SECRETMEM_MAGIC of linux/magic.h

bool Holds(const WindowSet& windows, std::span<const uint8_t> data) {
  bool found = false;
  windows.Search(data, [&](size_t, const WindowSet::Origin&) { found = true; });
  return found;
}

Outcome ReadPages(Live& live, std::string* detail, bool through_proc) {
  const WindowSet windows = MakeWindows(live.resident());
  const ProcessMemory memory(live.remote().pid());
  bool found = false;
  uint64_t pages = 0;
  for (const Mapping& region : live.Regions()) {
    Bytes page(4096);
    for (uint64_t at = region.start; at < region.end; at += page.size()) {
      const ssize_t got = through_proc ? memory.ReadForced(at, page) : memory.Read(at, page);
      if (got <= 0) continue;
      ++pages;
      found |= Holds(windows, page);
    }
  }
  *detail = std::to_string(pages) + " pages read";
  // Not a page of secret memory may be readable, whatever it holds.
  return found || (live.has_secret_regions() && pages > 0) ? Outcome::kRead : Outcome::kNothing;
}

Outcome PeekWords(Live& live, std::string* detail) {
  const WindowSet windows = MakeWindows(live.resident());
  const pid_t pid = live.remote().pid();
  if (ptrace(PTRACE_SEIZE, pid, nullptr, nullptr) != 0 ||
      ptrace(PTRACE_INTERRUPT, pid, nullptr, nullptr) != 0 ||
      waitpid(pid, nullptr, __WALL) != pid) {
    throw CannotLook("no permission to trace the target");
  }
  bool found = false;
  uint64_t words = 0;
  for (const Mapping& region : live.Regions()) {
    Bytes bytes;
    for (uint64_t at = region.start; at < region.end; at += 8) {
      errno = 0;
      const long word = ptrace(PTRACE_PEEKDATA, pid, at, nullptr);
      if (errno != 0) {
        at = (at | 4095) - 7;  // on to the next page
        continue;
      }
      ++words;
      const Bytes raw = BytesOf(word);
      bytes.insert(bytes.end(), raw.begin(), raw.end());
    }
    found |= Holds(windows, bytes);
  }
  ptrace(PTRACE_DETACH, pid, nullptr, nullptr);
  *detail = std::to_string(words) + " words read";
  return found || (live.has_secret_regions() && words > 0) ? Outcome::kRead : Outcome::kNothing;
}

// IsSecretFile is true for a descriptor of a memfd_secret file.
bool IsSecretFile(int fd) {
  struct statfs info = {};
  return fstatfs(fd, &info) == 0 && info.f_type == kSecretMemMagic;
}

std::vector<int> DescriptorsOf(pid_t pid) {
  std::vector<int> descriptors;
  const std::string directory = "/proc/" + std::to_string(pid) + "/fd";
  for (const auto& entry : std::filesystem::directory_iterator(directory)) {
    descriptors.push_back(std::stoi(entry.path().filename().string()));
  }
  return descriptors;
}

Outcome ReopenDescriptors(Live& live, std::string* detail) {
  const pid_t pid = live.remote().pid();
  size_t looked = 0;
  bool secret = false;
  for (const int fd : DescriptorsOf(pid)) {
    const std::string path = "/proc/" + std::to_string(pid) + "/fd/" + std::to_string(fd);
    std::error_code error;
    const auto link = std::filesystem::read_symlink(path, error);
    ++looked;
    secret |= link.string().starts_with("/secretmem");
  }
  if (looked < 6) throw CannotLook("the target's descriptors cannot be listed");
  *detail = std::to_string(looked) + " descriptors";
  return secret ? Outcome::kRead : Outcome::kNothing;
}

Outcome TakeDescriptors(Live& live, std::string* detail) {
  const pid_t pid = live.remote().pid();
  const int pidfd = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
  if (pidfd < 0) return Outcome::kSkipped;
  size_t taken = 0;
  bool secret = false;
  for (const int fd : DescriptorsOf(pid)) {
    const int copy = static_cast<int>(syscall(SYS_pidfd_getfd, pidfd, fd, 0));
    if (copy < 0) continue;
    ++taken;
    secret |= IsSecretFile(copy);
    close(copy);
  }
  close(pidfd);
  if (taken < 6) throw CannotLook("pidfd_getfd took no descriptor");
  *detail = std::to_string(taken) + " descriptors taken";
  return secret ? Outcome::kRead : Outcome::kNothing;
}

Outcome OpenMapFiles(Live& live, std::string* detail) {
  const std::string directory = "/proc/" + std::to_string(live.remote().pid()) + "/map_files/";
  size_t listed = 0;
  bool opened = false;
  for (const auto& entry : std::filesystem::directory_iterator(directory)) {
    std::error_code error;
    const auto link = std::filesystem::read_symlink(entry.path(), error);
    ++listed;
    if (!link.string().starts_with("/secretmem")) continue;
    const int fd = open(entry.path().c_str(), O_RDONLY | O_CLOEXEC);
    *detail += std::string(fd < 0 ? std::strerror(errno) : "opened") + "; ";
    opened |= fd >= 0;
    if (fd >= 0) close(fd);
  }
  if (listed == 0) return Outcome::kSkipped;
  return opened ? Outcome::kRead : Outcome::kNothing;
}

// SampleStacks profiles the target as perf does and searches the user stacks in the samples.
Outcome SampleStacks(Live& live, std::string* detail) {
  const WindowSet windows = MakeWindows(live.resident());
  perf_event_attr attributes = {};
  attributes.type = PERF_TYPE_SOFTWARE;
  attributes.size = sizeof(attributes);
  attributes.config = PERF_COUNT_SW_CPU_CLOCK;
  attributes.sample_period = 20'000;  // nanoseconds
  attributes.sample_type = PERF_SAMPLE_IP | PERF_SAMPLE_STACK_USER;
  attributes.sample_stack_user = 8192;
  attributes.exclude_kernel = 1;
  attributes.exclude_hv = 1;
  const int fd = static_cast<int>(
      syscall(SYS_perf_event_open, &attributes, live.remote().pid(), -1, -1, PERF_FLAG_FD_CLOEXEC));
  if (fd < 0) {
    *detail = std::string("perf_event_open: ") + std::strerror(errno);
    return Outcome::kSkipped;
  }
  constexpr size_t kData = 64 * 4096;
  void* map = mmap(nullptr, kData + 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (map == MAP_FAILED) {
    close(fd);
    *detail = "no ring buffer";
    return Outcome::kSkipped;
  }
  auto* control = static_cast<perf_event_mmap_page*>(map);
  const auto* data = static_cast<const uint8_t*>(map) + 4096;
  bool found = false;
  uint64_t bytes = 0;
  for (int i = 0; i < 1000 && !found && bytes < 32'000'000; ++i) {
    live.DeriveAndDestroy();
    const uint64_t head = __atomic_load_n(&control->data_head, __ATOMIC_ACQUIRE);
    Bytes samples;
    for (uint64_t at = control->data_tail; at < head; ++at) samples.push_back(data[at % kData]);
    __atomic_store_n(&control->data_tail, head, __ATOMIC_RELEASE);
    bytes += samples.size();
    found = Holds(windows, samples);
  }
  munmap(map, kData + 4096);
  close(fd);
  *detail = std::to_string(bytes) + " bytes of samples";
  if (bytes == 0) return Outcome::kSkipped;
  return found ? Outcome::kRead : Outcome::kNothing;
}

Outcome ReadRegisters(Live& live, std::string* detail) {
  const WindowSet windows = MakeWindows(live.resident());
  Recorder recorder(live.remote().pid());
  StepOptions options;
  options.register_secrets = &windows;
  options.register_interval = 4;
  const StepResult result = StepThrough(live.remote(), live.Derive(), recorder, options, 0);
  *detail = std::to_string(result.register_windows) + " key words in registers";
  return result.register_windows > 0 ? Outcome::kRead : Outcome::kNothing;
}

}  // namespace

std::vector<Attack> OutsideAttacks() {
  return {
      {"process_vm_readv", Outcome::kNothing,
       [](Live& live, std::string* detail) { return ReadPages(live, detail, false); }},
      {"/proc/PID/mem", Outcome::kNothing,
       [](Live& live, std::string* detail) { return ReadPages(live, detail, true); }},
      {"PTRACE_PEEKDATA", Outcome::kNothing, PeekWords},
      {"/proc/PID/fd opened again", Outcome::kNothing, ReopenDescriptors, false},
      {"pidfd_getfd", Outcome::kNothing, TakeDescriptors, false},
      {"/proc/PID/map_files opened", Outcome::kNothing, OpenMapFiles, false},
      {"perf_event_open sampling the user stack", Outcome::kRead, SampleStacks, false},
      {"registers through ptrace during an operation", Outcome::kRead, ReadRegisters, false},
  };
}

}  // namespace secretmem::audit
