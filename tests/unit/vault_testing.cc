#include "vault_testing.h"

#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <mutex>
#include <sstream>

namespace secretmem {
namespace {

constexpr long kSecretmemMagic = 0x5345434d;  // SECRETMEM_MAGIC of linux/magic.h

std::mutex g_spy_mutex;
std::atomic<bool> g_spying{false};
std::vector<SecretSpy::File> g_files;

void SpyOn(int fd) {
  struct statfs filesystem = {};
  struct stat status = {};
  if (fstatfs(fd, &filesystem) != 0 || filesystem.f_type != kSecretmemMagic) return;
  if (fstat(fd, &status) != 0) return;
  const auto size = static_cast<size_t>(status.st_size);
  void* bytes = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (bytes == MAP_FAILED) return;
  madvise(bytes, size, MADV_DONTFORK);
  const std::lock_guard lock(g_spy_mutex);
  g_files.push_back({filesystem.f_type, status.st_ino, static_cast<uint8_t*>(bytes), size});
}

std::vector<Mapping> AllMappings() {
  std::ifstream file("/proc/self/smaps");
  std::vector<Mapping> mappings;
  std::string line;
  while (std::getline(file, line)) {
    Mapping mapping;
    char permissions[5] = {};
    int name_at = 0;
    if (sscanf(line.c_str(), "%lx-%lx %4s %lx %*s %lu %n", &mapping.low, &mapping.high, permissions,
               &mapping.offset, &mapping.inode, &name_at) == 5) {
      mapping.permissions = permissions;
      mapping.name = line.substr(static_cast<size_t>(name_at));
      mappings.push_back(mapping);
    } else if (line.starts_with("VmFlags:") && !mappings.empty()) {
      mappings.back().flags = line.substr(8) + " ";
    }
  }
  return mappings;
}

int Wait(pid_t child) {
  int status = -1;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return status;
}

}  // namespace

std::vector<uint8_t> FromHex(const std::string& digits) {
  std::vector<uint8_t> bytes;
  for (size_t i = 0; i + 1 < digits.size(); i += 2) {
    bytes.push_back(static_cast<uint8_t>(std::stoul(digits.substr(i, 2), nullptr, 16)));
  }
  return bytes;
}

std::optional<Mapping> MappingOf(const void* address) {
  const auto at = reinterpret_cast<uintptr_t>(address);
  for (const Mapping& mapping : AllMappings()) {
    if (at >= mapping.low && at < mapping.high) return mapping;
  }
  return std::nullopt;
}

std::vector<Mapping> SecretMappings() {
  std::vector<Mapping> mappings = AllMappings();
  std::erase_if(mappings, [](const Mapping& mapping) { return !mapping.IsSecretmem(); });
  return mappings;
}

std::vector<const char*> SecretFlags() {
  constexpr size_t kPage = 4096;
  const int fd = static_cast<int>(syscall(SYS_memfd_secret, O_CLOEXEC));
  bool locked = true;
  if (fd >= 0 && ftruncate(fd, kPage) == 0) {
    void* plain = mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (const auto mapping = MappingOf(plain); plain != MAP_FAILED && mapping) {
      locked = mapping->HasFlag("lo");
      munmap(plain, kPage);
    }
  }
  if (fd >= 0) close(fd);
  return locked ? std::vector<const char*>{"lo", "dd", "dc"} : std::vector<const char*>{"dd", "dc"};
}

std::vector<std::string> Descriptors() {
  std::vector<std::string> descriptors;
  DIR* directory = opendir("/proc/self/fd");
  const std::string own = std::to_string(dirfd(directory));
  while (const dirent* entry = readdir(directory)) {
    if (entry->d_name[0] == '.' || own == entry->d_name) continue;
    char target[256] = {};
    const std::string path = std::string("/proc/self/fd/") + entry->d_name;
    (void)!readlink(path.c_str(), target, sizeof(target) - 1);
    descriptors.push_back(std::string(entry->d_name) + " " + target);
  }
  closedir(directory);
  std::ranges::sort(descriptors);
  return descriptors;
}

SecretSpy::SecretSpy() { g_spying = true; }

SecretSpy::~SecretSpy() {
  g_spying = false;
  const std::lock_guard lock(g_spy_mutex);
  for (const File& file : g_files) munmap(file.bytes, file.size);
  g_files.clear();
}

std::vector<SecretSpy::File> SecretSpy::files() const {
  const std::lock_guard lock(g_spy_mutex);
  return g_files;
}

std::optional<SecretSpy::File> SecretSpy::FileOf(const void* address) const {
  const auto mapping = MappingOf(address);
  if (!mapping) return std::nullopt;
  for (const File& file : files()) {
    if (file.inode == mapping->inode) return file;
  }
  return std::nullopt;
}

std::span<const uint8_t> SecretSpy::Look(const void* address, size_t size) const {
  const auto mapping = MappingOf(address);
  const auto file = FileOf(address);
  if (!file) return {};
  const size_t at = reinterpret_cast<uintptr_t>(address) - mapping->low + mapping->offset;
  if (at + size > file->size) return {};
  return {file->bytes + at, size};
}

int InChild(const std::function<int()>& f) {
  const pid_t child = fork();
  if (child == 0) _exit(f());
  return Wait(child);
}

int InRawChild(const std::function<int()>& f) {
  const auto child = static_cast<pid_t>(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0));
  if (child == 0) _exit(f());
  return Wait(child);
}

void LimitLockedMemory(size_t bytes) {
  const rlimit limit = {bytes, bytes};
  setrlimit(RLIMIT_MEMLOCK, &limit);
  // The system calls themselves: what glibc does for other threads is of no use in a child.
  if (geteuid() == 0) {
    constexpr long kNobody = 65534;
    syscall(SYS_setresgid, kNobody, kNobody, kNobody);
    syscall(SYS_setresuid, kNobody, kNobody, kNobody);
    prctl(PR_SET_DUMPABLE, 1);
  }
}

bool ProcMemReads(pid_t pid, const void* address) {
  const std::string path = "/proc/" + std::to_string(pid) + "/mem";
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  uint8_t byte;
  const ssize_t got =
      fd < 0 ? -1 : pread(fd, &byte, 1, static_cast<off_t>(reinterpret_cast<uintptr_t>(address)));
  if (fd >= 0) close(fd);
  return got == 1;
}

bool ProcessVmReads(pid_t pid, const void* address) {
  uint8_t byte;
  const iovec local = {&byte, 1};
  const iovec remote = {const_cast<void*>(address), 1};
  return process_vm_readv(pid, &local, 1, &remote, 1, 0) == 1;
}

bool DiesTouching(const void* address) {
  // The vfork way: this thread rests until the child has gone.
  alignas(16) static uint8_t stack[1 << 16];
  const auto touch = [](void* at) {
    // No handler of a sanitizer's: the kernel itself shall end the child.
    const uint64_t all = ~uint64_t{0};
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, nullptr, sizeof(all));
    (void)*static_cast<volatile uint8_t*>(at);
    syscall(SYS_exit, 0);
    return 0;
  };
  const pid_t child = clone(touch, stack + sizeof(stack), CLONE_VM | CLONE_VFORK | SIGCHLD,
                            const_cast<void*>(address));
  const int status = Wait(child);
  return WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV;
}

bool IsZero(std::span<const uint8_t> bytes) {
  return std::ranges::all_of(bytes, [](uint8_t byte) { return byte == 0; });
}

}  // namespace secretmem

// The whole program's close(2).
extern "C" __attribute__((visibility("default"))) int close(int fd) {
  if (secretmem::g_spying) secretmem::SpyOn(fd);
  static std::atomic<int (*)(int)> next{nullptr};
  if (next == nullptr) next = reinterpret_cast<int (*)(int)>(dlsym(RTLD_NEXT, "close"));
  return next.load()(fd);
}
