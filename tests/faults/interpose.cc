#include "tests/faults/interpose.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#include <atomic>
#include <cstddef>

#ifndef SYS_memfd_secret
#define SYS_memfd_secret 447
#endif

#define EXPORT extern "C" __attribute__((visibility("default")))

extern "C" {
void* __libc_malloc(size_t size);
void* __libc_calloc(size_t count, size_t size);
void* __libc_realloc(void* pointer, size_t size);
void* __libc_memalign(size_t alignment, size_t size);
void __libc_free(void* pointer);
}

namespace secretmem::faults {
namespace {

// No constructors and no destructors: malloc is called before and after those of this program.
thread_local Refused t_what = Refused::kNothing;
thread_local uint64_t t_n = 0;
thread_local uint64_t t_count = 0;
thread_local bool t_from_then_on = false;
std::atomic<int64_t> g_live{0};

bool Refuse(Refused what) {
  if (t_what != what) return false;
  ++t_count;
  return t_n != 0 && (t_from_then_on ? t_count >= t_n : t_count == t_n);
}

void* Counted(void* pointer) {
  if (pointer != nullptr) g_live.fetch_add(1, std::memory_order_relaxed);
  return pointer;
}

void* NoMemory() {
  errno = ENOMEM;
  return nullptr;
}

// Next is the C library's own function.
template <class F>
F* Next(const char* name) {
  // Asked for before anything is armed: dlsym allocates.
  return reinterpret_cast<F*>(dlsym(RTLD_NEXT, name));
}

struct Originals {
  decltype(::mmap)* mmap = Next<decltype(::mmap)>("mmap");
  decltype(::madvise)* madvise = Next<decltype(::madvise)>("madvise");
  decltype(::ftruncate)* ftruncate = Next<decltype(::ftruncate)>("ftruncate");
  decltype(::fsync)* fsync = Next<decltype(::fsync)>("fsync");
  decltype(::fdatasync)* fdatasync = Next<decltype(::fdatasync)>("fdatasync");
  decltype(::pread64)* pread64 = Next<decltype(::pread64)>("pread64");
  decltype(::pwrite64)* pwrite64 = Next<decltype(::pwrite64)>("pwrite64");
  int (*open64)(const char*, int, ...) = Next<int(const char*, int, ...)>("open64");
  int (*open)(const char*, int, ...) = Next<int(const char*, int, ...)>("open");
  int (*fcntl64)(int, int, ...) = Next<int(int, int, ...)>("fcntl64");
  decltype(::syscall)* syscall = Next<decltype(::syscall)>("syscall");
};
const Originals& Real() {
  static const Originals originals;
  return originals;
}
// At load, so that no later call is the first.
[[gnu::constructor]] void FindOriginals() { Real(); }

}  // namespace

void Arm(Refused what, uint64_t n, bool from_then_on) {
  t_what = what;
  t_n = n;
  t_count = 0;
  t_from_then_on = from_then_on;
}

uint64_t Disarm() {
  t_what = Refused::kNothing;
  return t_count;
}

int64_t LiveBlocks() { return g_live; }

}  // namespace secretmem::faults

using namespace secretmem::faults;

EXPORT void* malloc(size_t size) noexcept {
  return Refuse(Refused::kMemory) ? NoMemory() : Counted(__libc_malloc(size));
}

EXPORT void* calloc(size_t count, size_t size) noexcept {
  return Refuse(Refused::kMemory) ? NoMemory() : Counted(__libc_calloc(count, size));
}

EXPORT void* realloc(void* pointer, size_t size) noexcept {
  if (Refuse(Refused::kMemory)) return NoMemory();
  void* moved = __libc_realloc(pointer, size);
  return pointer == nullptr ? Counted(moved) : moved;
}

EXPORT void* aligned_alloc(size_t alignment, size_t size) noexcept {
  return Refuse(Refused::kMemory) ? NoMemory() : Counted(__libc_memalign(alignment, size));
}

EXPORT int posix_memalign(void** out, size_t alignment, size_t size) noexcept {
  if (Refuse(Refused::kMemory)) return ENOMEM;
  *out = Counted(__libc_memalign(alignment, size));
  return *out == nullptr ? ENOMEM : 0;
}

EXPORT void free(void* pointer) noexcept {
  if (pointer != nullptr) g_live.fetch_sub(1, std::memory_order_relaxed);
  __libc_free(pointer);
}

EXPORT void* mmap(void* at, size_t size, int protection, int flags, int fd, off_t offset) noexcept {
  if (Refuse(Refused::kSecretMemory)) {
    errno = EAGAIN;
    return MAP_FAILED;
  }
  return Real().mmap(at, size, protection, flags, fd, offset);
}

EXPORT int madvise(void* at, size_t size, int advice) noexcept {
  if (advice == MADV_DONTFORK && Refuse(Refused::kSecretMemory)) {
    errno = ENOMEM;
    return -1;
  }
  return Real().madvise(at, size, advice);
}

EXPORT int ftruncate(int fd, off_t size) noexcept {
  if (Refuse(Refused::kSecretMemory)) {
    errno = ENOMEM;
    return -1;
  }
  return Real().ftruncate(fd, size);
}

EXPORT long syscall(long number, ...) noexcept {
  va_list list;
  va_start(list, number);
  long a[6];
  for (long& each : a) each = va_arg(list, long);
  va_end(list);
  if (number == SYS_memfd_secret && Refuse(Refused::kSecretMemory)) {
    errno = EMFILE;
    return -1;
  }
  return Real().syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

EXPORT int fsync(int fd) {
  if (Refuse(Refused::kFiles)) {
    errno = EIO;
    return -1;
  }
  return Real().fsync(fd);
}

EXPORT int fdatasync(int fd) {
  if (Refuse(Refused::kFiles)) {
    errno = EIO;
    return -1;
  }
  return Real().fdatasync(fd);
}

EXPORT ssize_t pread64(int fd, void* to, size_t size, off64_t at) {
  if (Refuse(Refused::kFiles)) {
    errno = EIO;
    return -1;
  }
  return Real().pread64(fd, to, size, at);
}

EXPORT ssize_t pwrite64(int fd, const void* from, size_t size, off64_t at) {
  if (Refuse(Refused::kFiles)) {
    errno = ENOSPC;
    return -1;
  }
  return Real().pwrite64(fd, from, size, at);
}

EXPORT int open64(const char* path, int flags, ...) {
  va_list list;
  va_start(list, flags);
  const int mode = va_arg(list, int);
  va_end(list);
  if (Refuse(Refused::kFiles)) {
    errno = EMFILE;
    return -1;
  }
  return Real().open64(path, flags, mode);
}

EXPORT int open(const char* path, int flags, ...) {
  va_list list;
  va_start(list, flags);
  const int mode = va_arg(list, int);
  va_end(list);
  if (Refuse(Refused::kFiles)) {
    errno = EMFILE;
    return -1;
  }
  return Real().open(path, flags, mode);
}

EXPORT int fcntl64(int fd, int command, ...) {
  va_list list;
  va_start(list, command);
  void* argument = va_arg(list, void*);
  va_end(list);
  // Giving a lock back never fails, and one that nobody ever gets is waited for.
  if (command == F_SETLK && !t_from_then_on &&
      static_cast<const flock*>(argument)->l_type != F_UNLCK && Refuse(Refused::kFiles)) {
    errno = EIO;
    return -1;
  }
  return Real().fcntl64(fd, command, argument);
}
