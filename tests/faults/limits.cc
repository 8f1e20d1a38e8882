// fault_limits: takes away what the module needs of the system, in the middle, and gives it back:
// locked memory, descriptors, file size, disk, permissions; and system calls, for good.
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <iostream>
#include <stdexcept>

#include "tests/conformance/rv.h"
#include "tests/faults/scenario.h"

#ifndef SYS_memfd_secret
#define SYS_memfd_secret 447
#endif

using namespace secretmem;
using namespace secretmem::faults;

namespace {

constexpr int kNotHere = 77;
unsigned g_tried = 0;
unsigned g_defects = 0;

void Defect(const std::string& text) {
  ++g_defects;
  std::cout << "  " << text << std::endl;
}

// DropPrivileges leaves root nothing that limits and permissions do not bind.
void DropPrivileges() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  if (syscall(SYS_capset, &header, data) != 0) throw std::runtime_error("capset");
}

// Set changes a limit's soft value and returns what it was.
rlim_t Set(__rlimit_resource what, rlim_t value) {
  rlimit limit{};
  getrlimit(what, &limit);
  const rlim_t before = limit.rlim_cur;
  limit.rlim_cur = std::min(value, limit.rlim_max);
  setrlimit(what, &limit);
  return before;
}

// EachStep makes every step with something taken away; afterwards the step must work.
template <class Take, class Give>
void EachStep(const char* name, bool files, Take&& take, Give&& give) {
  const blackbox::Scratch scratch;
  Scenario scenario;
  scenario.Begin(scratch);
  for (const Step& step : scenario.Steps()) {
    take(scratch);
    const CK_RV rv = step.run();
    give(scratch);
    ++g_tried;
    const std::string where = std::string(name) + ", " + step.name;
    if (!SaysWhy(rv, files)) Defect(where + ": " + conformance::RvName(rv));
    try {
      scenario.Restore();
      const CK_RV again = step.run();
      if (again != CKR_OK) Defect(where + ", afterwards: " + conformance::RvName(again));
      scenario.Restore();
    } catch (const std::exception& error) {
      Defect(where + " (" + conformance::RvName(rv) + "), afterwards: " + error.what());
      blackbox::P11().C_Finalize(nullptr);
      scenario.Restore();
    }
  }
  scenario.End();
}

void MemoryLock() {
  DropPrivileges();
  rlim_t before = 0;
  EachStep(
      "memory-lock limit", false, [&](auto&) { before = Set(RLIMIT_MEMLOCK, 0); },
      [&](auto&) { Set(RLIMIT_MEMLOCK, before); });
}

// From nothing to enough: each limit in a process that begins with it.
void MemoryLockFromTheStart() {
  DropPrivileges();
  const blackbox::Scratch scratch;
  for (rlim_t limit = 0; limit <= 2048; limit += limit < 512 ? 4 : 64) {
    const pid_t child = fork();
    if (child == 0) {
      Set(RLIMIT_MEMLOCK, limit * 1024);
      scratch.EmptyTokens();
      const CK_RV rv = blackbox::Initialise();
      if (rv != CKR_OK) _exit(rv == CKR_DEVICE_MEMORY ? 0 : 1);
      blackbox::P11().C_Finalize(nullptr);
      try {
        Scenario scenario;
        scenario.Begin(scratch);
        for (const Step& step : scenario.Steps()) {
          if (!SaysWhy(step.run(), false)) _exit(2);
          scenario.Restore();
        }
      } catch (const std::exception& error) {
        // A step that was refused may leave the next without what it needs.
        const bool named =
            std::string_view(error.what()).find("DEVICE_MEMORY") != std::string_view::npos;
        if (!named) std::cout << "  " << error.what() << std::endl;
        _exit(named ? 0 : 3);
      }
      _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    ++g_tried;
    if (status != 0) {
      Defect("memory-lock limit of " + std::to_string(limit) + " KiB: status " +
             std::to_string(status));
    }
  }
}

void Descriptors() {
  rlim_t before = 0;
  EachStep(
      "descriptors", true, [&](auto&) { before = Set(RLIMIT_NOFILE, 3); },
      [&](auto&) { Set(RLIMIT_NOFILE, before); });
}

void FileSize() {
  signal(SIGXFSZ, SIG_DFL);
  rlim_t before = 0;
  EachStep(
      "file size", true, [&](auto&) { before = Set(RLIMIT_FSIZE, 0); },
      [&](auto&) { Set(RLIMIT_FSIZE, before); });
}

void Permission(const char* name, mode_t directory, mode_t file) {
  DropPrivileges();
  const auto change = [](const std::string& where, mode_t of_directory, mode_t of_file) {
    chmod(where.c_str(), 0700);
    for (const auto& entry : std::filesystem::directory_iterator(where)) {
      chmod(entry.path().c_str(), of_file);
    }
    chmod(where.c_str(), of_directory);
  };
  EachStep(
      name, true, [&](auto& scratch) { change(scratch.tokens(), directory, file); },
      [&](auto& scratch) { change(scratch.tokens(), 0700, 0600); });
}

void ReadOnlyDirectory() { Permission("read-only directory", 0500, 0600); }
void NoDirectory() { Permission("closed directory", 0, 0600); }
void ReadOnlyFile() { Permission("read-only file", 0700, 0400); }

// A file system of its own with room for little more than the token.
void FullDisk() {
  char place[] = "/tmp/secretmem-full-XXXXXX";
  if (unshare(CLONE_NEWNS) != 0 ||
      mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
      mkdtemp(place) == nullptr || mount("none", place, "tmpfs", 0, "size=1m") != 0) {
    _exit(kNotHere);
  }
  setenv("TMPDIR", place, 1);
  const std::string ballast = std::string(place) + "/ballast";
  EachStep(
      "full disk", true,
      [&](auto&) {
        const int fd = open(ballast.c_str(), O_CREAT | O_WRONLY, 0600);
        const std::string page(4096, 'x');
        while (write(fd, page.data(), page.size()) > 0) {
        }
        close(fd);
      },
      [&](auto&) { unlink(ballast.c_str()); });
  umount2(place, MNT_DETACH);
  rmdir(place);
}

void Forbid(long number, int error) {
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<unsigned>(number), 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | static_cast<unsigned>(error)),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
  const sock_fprog filter{std::size(program), program};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
      prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0) {
    _exit(kNotHere);
  }
}

// Before C_Initialize: that says why.
void ForbiddenBefore(const char* name, long number, int error, CK_RV want) {
  const blackbox::Scratch scratch;
  Forbid(number, error);
  const CK_RV rv = blackbox::Initialise();
  ++g_tried;
  if (rv != want) {
    Defect(std::string(name) + " forbidden before C_Initialize: " + conformance::RvName(rv));
  }
}

// After it: there is no way back, but no crash either.
void ForbiddenAfter(const char* name, long number, int error) {
  const blackbox::Scratch scratch;
  Scenario scenario;
  scenario.Begin(scratch);
  Forbid(number, error);
  for (const Step& step : scenario.Steps()) {
    // Which ends what the others need, and is tried alone above.
    if (step.name.find("C_Finalize") != std::string::npos) continue;
    if (step.name.find("new process") != std::string::npos) continue;
    if (step.name.find("C_InitPIN") != std::string::npos) continue;
    if (step.name.find("C_Logout") != std::string::npos) continue;
    const CK_RV rv = step.run();
    ++g_tried;
    if (!SaysWhy(rv, false)) {
      Defect(std::string(name) + " forbidden, " + step.name + ": " + conformance::RvName(rv));
    }
  }
}

void NoMemfdSecretBefore() {
  ForbiddenBefore("memfd_secret", SYS_memfd_secret, EPERM, CKR_FUNCTION_FAILED);
}
void NoGetrandomBefore() {
  ForbiddenBefore("getrandom", SYS_getrandom, EPERM, CKR_FUNCTION_FAILED);
}
void NoMmapBefore() { ForbiddenBefore("mmap", SYS_mmap, ENOMEM, CKR_DEVICE_MEMORY); }
void NoMemfdSecretAfter() { ForbiddenAfter("memfd_secret", SYS_memfd_secret, EPERM); }
void NoMmapAfter() { ForbiddenAfter("mmap", SYS_mmap, ENOMEM); }
void NoGetrandomAfter() { ForbiddenAfter("getrandom", SYS_getrandom, EPERM); }

struct Limit {
  const char* name;
  void (*run)();
};
constexpr Limit kLimits[] = {{"memory-lock limit", MemoryLock},
                             {"memory-lock limit from the start", MemoryLockFromTheStart},
                             {"descriptors", Descriptors},
                             {"file size", FileSize},
                             {"read-only directory", ReadOnlyDirectory},
                             {"closed directory", NoDirectory},
                             {"read-only file", ReadOnlyFile},
                             {"full disk", FullDisk},
                             {"no memfd_secret from the start", NoMemfdSecretBefore},
                             {"no getrandom from the start", NoGetrandomBefore},
                             {"no mmap from the start", NoMmapBefore},
                             {"no memfd_secret", NoMemfdSecretAfter},
                             {"no getrandom", NoGetrandomAfter},
                             {"no mmap", NoMmapAfter}};

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Takes away what a module needs of the system");
  std::string path;
  std::string only;
  app.add_option("--module", path, "the module's path")->required();
  app.add_option("--only", only, "the limit with this name");
  CLI11_PARSE(app, argc, argv);
  blackbox::LoadModule(path);
  unsigned failed = 0;
  unsigned run = 0;
  for (const Limit& limit : kLimits) {
    if (!only.empty() && only != limit.name) continue;
    const pid_t child = fork();
    if (child == 0) {
      try {
        limit.run();
      } catch (const std::exception& error) {
        Defect(std::string(limit.name) + ": " + error.what());
      }
      std::cout << limit.name << ": " << g_tried << " tried, " << g_defects << " defects"
                << std::endl;
      _exit(g_defects == 0 && g_tried > 0 ? 0 : 1);
    }
    int status = 0;
    waitpid(child, &status, 0);
    ++run;
    if (WIFEXITED(status) && WEXITSTATUS(status) == kNotHere) {
      std::cout << limit.name << ": not possible here" << std::endl;
    } else if (status != 0) {
      ++failed;
      std::cout << limit.name << ": failed"
                << (WIFSIGNALED(status) ? std::string(", ") + strsignal(WTERMSIG(status)) : "")
                << std::endl;
    }
  }
  std::cout << "limits: " << run << ", " << failed << " failed\n";
  return failed == 0 && run > 0 ? 0 : 1;
}
