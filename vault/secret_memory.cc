#include "vault/secret_memory.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>

#ifndef SYS_memfd_secret
#define SYS_memfd_secret 447
#endif
#ifndef SYS_mseal
#define SYS_mseal 462
#endif

namespace secretmem {
namespace {

constexpr size_t kPage = 4096;
constexpr size_t kReserveAlignment = size_t{1} << 16;
constexpr int kReserveFlags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;

MemoryOptions g_options;
int g_pkey = -1;
thread_local unsigned t_open = 0;

std::unexpected<VaultError> Failure(VaultErrc code) {
  return std::unexpected(VaultError{code, errno});
}

VaultErrc FromMapErrno() {
  // mmap of a secretmem file and mlock both answer EAGAIN (mlock also ENOMEM) at the limit.
  return errno == EAGAIN ? VaultErrc::kMemoryLockLimit : VaultErrc::kOutOfMemory;
}

// Touch gets the pages, all zero. They are charged then: where the kernel has none left it answers
// a system call that writes there, while a write of our own would end the process by SIGBUS.
// (Debian's 6.1 counts secret pages against RLIMIT_MEMLOCK here, others already in mmap.)
VaultResult<void> Touch(std::byte* at, size_t size) {
  for (size_t i = 0; i < size; i += kPage) {
    auto* word = reinterpret_cast<volatile uint64_t*>(at + i);
    if (syscall(SYS_rt_sigprocmask, SIG_BLOCK, nullptr, word, sizeof(*word)) != 0) {
      return std::unexpected(VaultError{VaultErrc::kMemoryLockLimit, EAGAIN});
    }
    *word = 0;
  }
  return {};
}

// Resize is ftruncate(2), which beyond RLIMIT_FSIZE would end the process by SIGXFSZ.
int Resize(int fd, size_t size) {
  sigset_t limit;
  sigset_t pending;
  sigemptyset(&limit);
  sigaddset(&limit, SIGXFSZ);
  // The kernel's own call: glibc's would leave glibc's signals unblocked, in a borrow too.
  constexpr uint64_t kLimit = uint64_t{1} << (SIGXFSZ - 1);
  uint64_t before = 0;
  syscall(SYS_rt_sigprocmask, SIG_BLOCK, &kLimit, &before, sizeof(before));
  sigpending(&pending);
  const int result = ftruncate(fd, static_cast<off_t>(size));
  const int error = errno;
  if (result != 0 && error == EFBIG && sigismember(&pending, SIGXFSZ) == 0) {
    const timespec none{};
    sigtimedwait(&limit, nullptr, &none);
  }
  syscall(SYS_rt_sigprocmask, SIG_SETMASK, &before, nullptr, sizeof(before));
  errno = error;
  return result;
}

VaultResult<std::byte*> MapMemfdSecret(std::byte* at, size_t size, int flags) {
  const int fd = static_cast<int>(syscall(SYS_memfd_secret, O_CLOEXEC));
  if (fd < 0) {
    if (errno == ENOSYS) return Failure(VaultErrc::kUnsupported);
    if (errno == EPERM || errno == EACCES) return Failure(VaultErrc::kForbidden);
    return Failure(VaultErrc::kOutOfMemory);
  }
  if (Resize(fd, size) != 0) {
    const auto failure = Failure(VaultErrc::kOutOfMemory);
    close(fd);
    return failure;
  }
  void* mapped = mmap(at, size, PROT_READ | PROT_WRITE, MAP_SHARED | flags, fd, 0);
  const auto failure = Failure(FromMapErrno());
  // Whoever holds the descriptor can map the memory again: it must not outlive this call.
  close(fd);
  if (mapped == MAP_FAILED) return failure;
  return static_cast<std::byte*>(mapped);
}

VaultResult<std::byte*> MapLocked(std::byte* at, size_t size, int flags) {
  void* mapped = mmap(at, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | flags, -1, 0);
  if (mapped == MAP_FAILED) return Failure(FromMapErrno());
  if (mlock(mapped, size) != 0) {
    const auto failure =
        Failure(errno == ENOMEM || errno == EPERM || errno == EAGAIN ? VaultErrc::kMemoryLockLimit
                                                                     : VaultErrc::kOutOfMemory);
    UnmapSecret(static_cast<std::byte*>(mapped), size);
    return failure;
  }
  madvise(mapped, size, MADV_DONTDUMP);
  return static_cast<std::byte*>(mapped);
}

VaultResult<std::byte*> Map(std::byte* at, size_t size) {
  const int flags = at != nullptr ? MAP_FIXED : 0;
  return CurrentProtection() == Protection::kMemfdSecret ? MapMemfdSecret(at, size, flags)
                                                         : MapLocked(at, size, flags);
}

}  // namespace

MemoryOptions ConfigureMemory(const MemoryOptions& wanted) {
  g_options = wanted;
  if (g_options.at_rest == AtRest::kPkey && g_pkey < 0) {
    g_pkey = pkey_alloc(0, PKEY_DISABLE_ACCESS);
    if (g_pkey < 0) g_options.at_rest = AtRest::kNone;
  }
  if (g_options.seal) {
    // An empty range is nothing to seal; only a kernel without the call refuses it.
    g_options.seal =
        g_options.at_rest != AtRest::kMprotect && syscall(SYS_mseal, nullptr, 0, 0) == 0;
  }
  return g_options;
}

const MemoryOptions& CurrentMemoryOptions() { return g_options; }

VaultResult<void> ProbeSecretMemory() {
  auto mapped = Map(nullptr, kPage);
  if (!mapped) return std::unexpected(mapped.error());
  const auto touched = Touch(*mapped, kPage);
  munmap(*mapped, kPage);
  return touched;
}

VaultResult<void> ProbeRandom() {
  uint8_t byte;
  ssize_t got;
  do {
    got = getrandom(&byte, 1, 0);
  } while (got < 0 && errno == EINTR);
  if (got != 1) return Failure(VaultErrc::kNoRandom);
  return {};
}

VaultResult<std::byte*> ReserveAddresses(size_t size) {
  void* mapped = mmap(nullptr, size + kReserveAlignment, PROT_NONE, kReserveFlags, -1, 0);
  if (mapped == MAP_FAILED) return Failure(VaultErrc::kOutOfMemory);
  // gcore would write out gigabytes of nothing.
  madvise(mapped, size + kReserveAlignment, MADV_DONTDUMP);
  const auto address = reinterpret_cast<uintptr_t>(mapped);
  const uintptr_t aligned = (address + kReserveAlignment - 1) & ~(kReserveAlignment - 1);
  return reinterpret_cast<std::byte*>(aligned);
}

VaultResult<void> MapSecret(std::byte* at, size_t size) {
  auto mapped = Map(at, size);
  if (!mapped) {
    // A failed MAP_FIXED may have removed what was there.
    const VaultError error = mapped.error();
    UnmapSecret(at, size);
    return std::unexpected(error);
  }
  if (madvise(at, size, MADV_DONTFORK) != 0) {
    const auto failure = Failure(VaultErrc::kOutOfMemory);
    UnmapSecret(at, size);
    return failure;
  }
  if (auto touched = Touch(at, size); !touched) {
    UnmapSecret(at, size);
    return touched;
  }
  return {};
}

VaultResult<bool> GuardSecret(std::byte* at, size_t size, bool may_be_sealed) {
  switch (g_options.at_rest) {
    case AtRest::kNone:
      break;
    case AtRest::kPkey:
      if (pkey_mprotect(at, size, PROT_READ | PROT_WRITE, g_pkey) != 0) {
        return Failure(VaultErrc::kOutOfMemory);
      }
      break;
    case AtRest::kMprotect:
      SetAccess(at, size, false);
      break;
  }
  return may_be_sealed && g_options.seal && syscall(SYS_mseal, at, size, 0) == 0;
}

void SetAccess(std::byte* at, size_t size, bool open) {
  mprotect(at, size, open ? PROT_READ | PROT_WRITE : PROT_NONE);
}

void SetThreadAccess(bool open) {
  if (g_options.at_rest != AtRest::kPkey) return;
  if (open ? t_open++ == 0 : --t_open == 0) pkey_set(g_pkey, open ? 0 : PKEY_DISABLE_ACCESS);
}

void UnmapSecret(std::byte* at, size_t size) {
  // One call: between an munmap and a second mmap another thread's mapping could move in.
  if (mmap(at, size, PROT_NONE, kReserveFlags | MAP_FIXED, -1, 0) == MAP_FAILED) {
    munmap(at, size);
    return;
  }
  madvise(at, size, MADV_DONTDUMP);
}

VaultResult<std::byte*> MapSecretForChild(size_t size) {
  auto mapped = Map(nullptr, size);
  if (!mapped) return mapped;
  if (auto touched = Touch(*mapped, size); !touched) {
    munmap(*mapped, size);
    return std::unexpected(touched.error());
  }
  return mapped;
}

VaultResult<void> MoveSecret(std::byte* from, size_t size, std::byte* to) {
  if (mremap(from, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, to) == MAP_FAILED) {
    return Failure(VaultErrc::kOutOfMemory);
  }
  if (madvise(to, size, MADV_DONTFORK) != 0) return Failure(VaultErrc::kOutOfMemory);
  // Locks are not inherited by a child. A secretmem mapping needs none; the fallback does.
  if (CurrentProtection() == Protection::kLocked) mlock(to, size);
  return {};
}

void Wipe(void* data, size_t size) {
  memset(data, 0, size);
  __asm__ __volatile__("" : : "r"(data) : "memory");
}

}  // namespace secretmem
