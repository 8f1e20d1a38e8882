#include "tool/system.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>

#include "pkcs11/descriptor.h"

#ifndef SYS_memfd_secret
#define SYS_memfd_secret 447
#endif

namespace secretmem::tool {

namespace {

constexpr char kOrLocked[] =
    " Or set memory.protection = \"allow-mlock\": keys are then in locked memory, which root can "
    "read.";

// HasWord looks for a word of the kernel's command line.
bool HasWord(const std::string& line, const std::string& word) {
  const std::string padded = " " + line + " ";
  for (const char* end : {" ", "\n"}) {
    if (padded.find(" " + word + end) != std::string::npos) return true;
  }
  return false;
}

bool SaysEnabled(const std::string& line) {
  return HasWord(line, "secretmem.enable=1") || HasWord(line, "secretmem.enable=y") ||
         HasWord(line, "secretmem.enable=Y") || HasWord(line, "secretmem.enable=on") ||
         HasWord(line, "secretmem.enable");
}

bool SaysDisabled(const std::string& line) {
  return HasWord(line, "secretmem.enable=0") || HasWord(line, "secretmem.enable=n") ||
         HasWord(line, "secretmem.enable=N") || HasWord(line, "secretmem.enable=off");
}

SecretMemory NoSuchCall(const Circumstances& at) {
  int major = 0;
  int minor = 0;
  std::sscanf(at.release.c_str(), "%d.%d", &major, &minor);
  const auto before = [&](int a, int b) { return major < a || (major == a && minor < b); };
  const std::string linux = "Linux " + at.release;
  SecretMemory answer;
  if (before(5, 14)) {
    answer.reason = linux + " is too old: memfd_secret(2) came with 5.14";
    answer.remedy = "Run Linux 6.5 or newer.";
  } else if (SaysDisabled(at.command_line)) {
    answer.reason = "this kernel was booted with memfd_secret(2) switched off";
    answer.remedy = "Take secretmem.enable=0 off the kernel's command line, and boot again.";
  } else if (before(6, 5) && !SaysEnabled(at.command_line)) {
    answer.reason = linux + " offers memfd_secret(2) only if it is booted with secretmem.enable=1";
    answer.remedy =
        "Add secretmem.enable=1 to GRUB_CMDLINE_LINUX in /etc/default/grub, run update-grub, and "
        "boot again; or run Linux 6.5 or newer (on Debian 12, from backports).";
  } else if (at.filtered) {
    answer.reason = "a seccomp filter of this container or service hides memfd_secret(2)";
    answer.remedy =
        "Allow the system call memfd_secret in the container's seccomp profile or the unit's "
        "SystemCallFilter=.";
  } else {
    answer.reason = linux + " was built without memfd_secret(2) (CONFIG_SECRETMEM)";
    answer.remedy = "Run a kernel that has it: Debian's do.";
  }
  answer.remedy += kOrLocked;
  return answer;
}

}  // namespace

SecretMemory Diagnose(const Circumstances& at) {
  SecretMemory answer;
  switch (at.error) {
    case ENOSYS:
      return NoSuchCall(at);
    case EPERM:
    case EACCES:
      answer.reason = at.filtered ? "a seccomp filter of this container or service forbids "
                                    "memfd_secret(2)"
                                  : "memfd_secret(2) is forbidden to this process";
      answer.remedy =
          "Allow the system call memfd_secret in the container's seccomp profile, the unit's "
          "SystemCallFilter= or the security module's policy.";
      answer.remedy += kOrLocked;
      break;
    case EAGAIN:
      answer.reason = "the memory-lock limit leaves no room for a single page";
      answer.remedy =
          "Raise it: ulimit -l, LimitMEMLOCK= in a systemd unit, memlock in "
          "/etc/security/limits.conf.";
      break;
    case EMFILE:
    case ENFILE:
      answer.reason = "no file descriptor is left";
      answer.remedy = "Raise the limit: ulimit -n, LimitNOFILE= in a systemd unit.";
      break;
    default:
      answer.reason = std::string(at.created ? "mapping secret memory" : "memfd_secret(2)") +
                      " failed: " + std::strerror(at.error);
      answer.remedy = "Look for the cause in the kernel's log.";
  }
  return answer;
}

std::optional<std::string> ReadText(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return std::nullopt;
  std::string text{std::istreambuf_iterator<char>(file), {}};
  if (file.bad()) return std::nullopt;
  return text;
}

namespace {

// StatusField returns a line of /proc/self/status without its name.
std::string StatusField(const std::string& name) {
  const std::string text = "\n" + ReadText("/proc/self/status").value_or("");
  const size_t at = text.find("\n" + name + ":");
  if (at == std::string::npos) return {};
  const size_t begin = text.find_first_not_of(" \t", at + name.size() + 2);
  return begin == std::string::npos ? "" : text.substr(begin, text.find('\n', begin) - begin);
}

}  // namespace

SecretPage MapSecretPage() {
  const Descriptor file(static_cast<int>(syscall(SYS_memfd_secret, O_CLOEXEC)));
  SecretPage page;
  page.created = file.get() >= 0;
  void* address = MAP_FAILED;
  if (page.created && ftruncate(file.get(), kPageBytes) == 0) {
    address = mmap(nullptr, kPageBytes, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
  }
  if (address == MAP_FAILED) {
    page.error = errno;
  } else {
    page.address = address;
  }
  return page;
}

SecretMemory TrySecretMemory() {
  const SecretPage page = MapSecretPage();
  if (page.address == nullptr) {
    return Diagnose({.error = page.error,
                     .created = page.created,
                     .release = KernelRelease(),
                     .command_line = ReadText("/proc/cmdline").value_or(""),
                     .filtered = StatusField("Seccomp") == "2"});
  }
  *static_cast<volatile char*>(page.address) = 0;
  munmap(page.address, kPageBytes);
  return {true, {}, {}};
}

std::string KernelRelease() {
  utsname name;
  return uname(&name) == 0 ? name.release : "";
}

MemoryLock ReadMemoryLock() {
  constexpr unsigned kCapIpcLock = 14;
  MemoryLock lock;
  rlimit limit;
  if (getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) {
    lock.limit = limit.rlim_cur;
  }
  const std::string effective = StatusField("CapEff");
  lock.exempt = (std::strtoull(effective.c_str(), nullptr, 16) >> kCapIpcLock & 1) != 0;
  return lock;
}

uint64_t KeysWithin(uint64_t limit, bool page_each) {
  // Beside the keys: stacks, BoringSSL's heaps, the token's own keys.
  constexpr uint64_t kBeside = uint64_t{1} << 20;
  constexpr uint64_t kSlotBytes = 32;
  if (limit <= kBeside) return 0;
  return (limit - kBeside) / (page_each ? kPageBytes : kSlotBytes);
}

}  // namespace secretmem::tool
