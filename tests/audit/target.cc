// audit_target MODULE: the process under audit. It loads MODULE and serves the audit's requests.
#include <dlfcn.h>
#include <linux/memfd.h>
#include <p11-kit-1/p11-kit/pkcs11.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "tests/audit/wire.h"

extern "C" {
extern const char audit_step_begin[];
extern const char audit_step_end[];
extern const char audit_syscall_gadget[];
}

namespace secretmem::audit {
namespace {

using Function = CK_RV (*)(uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t,
                           uint64_t, uint64_t, uint64_t);

constexpr size_t kAlternateStackSize = 64 * 1024;

void* g_module = nullptr;
CK_FUNCTION_LIST* g_functions = nullptr;
uint64_t g_arena_is_secret = 0;
unsigned char* g_alternate_stack = nullptr;
unsigned char g_data_decoy[kDecoySize];
thread_local unsigned char t_decoy[kDecoySize];
volatile sig_atomic_t g_signals = 0;
timer_t g_timer;

[[noreturn]] void Die(const char* what) {
  std::fprintf(stderr, "audit_target: %s: %s\n", what, std::strerror(errno));
  _exit(3);
}

// Copy moves bytes without vector registers, so that none keeps them afterwards.
void Copy(void* to, const void* from, size_t size) {
  asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(size) : : "memory");
}

bool ReadAll(int fd, void* to, size_t size) {
  auto* bytes = static_cast<unsigned char*>(to);
  while (size > 0) {
    const ssize_t got = read(fd, bytes, size);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    bytes += got;
    size -= static_cast<size_t>(got);
  }
  return true;
}

void WriteAll(int fd, const void* from, size_t size) {
  const auto* bytes = static_cast<const unsigned char*>(from);
  while (size > 0) {
    const ssize_t put = write(fd, bytes, size);
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) _exit(4);
    bytes += put;
    size -= static_cast<size_t>(put);
  }
}

unsigned char* Arena() { return reinterpret_cast<unsigned char*>(kArenaAddress); }

// MapArena prefers memfd_secret, which keeps the caller's own buffers out of every look; without
// it the audit leaves the arena's address range out.
void MapArena() {
  void* at = reinterpret_cast<void*>(kArenaAddress);
  const int fd = static_cast<int>(syscall(SYS_memfd_secret, 0));
  void* got = MAP_FAILED;
  if (fd >= 0) {
    if (ftruncate(fd, kArenaSize) == 0) {
      got = mmap(at, kArenaSize, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED_NOREPLACE, fd, 0);
    }
    close(fd);
  }
  g_arena_is_secret = got == at ? 1 : 0;
  if (got == MAP_FAILED) {
    got = mmap(at, kArenaSize, PROT_READ | PROT_WRITE,
               MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
  }
  if (got != at) Die("cannot map the arena");
  madvise(at, kArenaSize, MADV_DONTDUMP);
}

__attribute__((noinline, noclone)) CK_RV CallBetweenStops(Function function, const uint64_t* a) {
  asm volatile(".globl audit_step_begin\naudit_step_begin:\nint3" ::: "memory");
  volatile uint64_t passing[kPassingDecoySize / 8];
  for (size_t i = 0; i < kPassingDecoySize / 8; ++i) {
    passing[i] = reinterpret_cast<const volatile uint64_t*>(kArenaAddress)[i];
  }
  for (auto& word : passing) word = 0;
  const CK_RV rv = function(a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8], a[9]);
  asm volatile(".globl audit_step_end\naudit_step_end:\nint3" ::: "memory");
  return rv;
}

__attribute__((noinline, noclone, used)) void Gadget() {
  asm volatile(".globl audit_syscall_gadget\naudit_syscall_gadget:\nsyscall\nint3" ::
                   : "memory", "rax", "rcx", "r11");
}

Function Find(uint64_t slot) {
  // CK_FUNCTION_LIST is a version, padded to a pointer, and 68 pointers; later lists go on.
  constexpr uint64_t kFirstList = sizeof(CK_FUNCTION_LIST) / sizeof(void*);
  void** list = reinterpret_cast<void**>(g_functions);
  if (slot >= kFirstList) {
    struct Interface {
      const char* name;
      void* list;
      CK_FLAGS flags;
    };
    using GetInterface = CK_RV (*)(const char*, CK_VERSION*, Interface**, CK_FLAGS);
    auto get = reinterpret_cast<GetInterface>(dlsym(g_module, "C_GetInterface"));
    Interface* found = nullptr;
    CK_VERSION version = {3, static_cast<CK_BYTE>(slot > 92 ? 2 : 0)};
    if (get == nullptr || get("PKCS 11", &version, &found, 0) != CKR_OK || found == nullptr) {
      return nullptr;
    }
    list = static_cast<void**>(found->list);
  }
  Function function = nullptr;
  std::memcpy(&function, list + slot, sizeof(function));
  return function;
}

void OnStormSignal(int) { g_signals = g_signals + 1; }

void UseAlternateStack() {
  stack_t stack = {};
  stack.ss_sp = g_alternate_stack;
  stack.ss_size = kAlternateStackSize;
  if (sigaltstack(&stack, nullptr) != 0) Die("sigaltstack");
}

void StartStorm(uint64_t nanoseconds) {
  struct sigaction action = {};
  action.sa_handler = OnStormSignal;
  action.sa_flags = SA_ONSTACK | SA_RESTART;
  sigfillset(&action.sa_mask);
  if (sigaction(SIGPROF, &action, nullptr) != 0) Die("sigaction");
  struct sigevent event = {};
  event.sigev_notify = SIGEV_SIGNAL;
  event.sigev_signo = SIGPROF;
  if (timer_create(CLOCK_MONOTONIC, &event, &g_timer) != 0) Die("timer_create");
  struct itimerspec every = {};
  every.it_interval.tv_nsec = static_cast<long>(nanoseconds);
  every.it_value.tv_nsec = static_cast<long>(nanoseconds);
  g_signals = 0;
  if (timer_settime(g_timer, 0, &every, nullptr) != 0) Die("timer_settime");
}

void* LeaveOnStack(void* from) {
  volatile unsigned char here[4096];
  Copy(const_cast<unsigned char*>(here + 1024), from, kDecoySize);
  return nullptr;
}

void PlantDecoys(unsigned char* stack_decoy) {
  auto source = [](DecoyPlace place) {
    return Arena() + kArenaStart + static_cast<size_t>(place) * kDecoySize;
  };
  Copy(std::malloc(kDecoySize), source(DecoyPlace::kHeap), kDecoySize);
  Copy(g_data_decoy, source(DecoyPlace::kData), kDecoySize);
  Copy(t_decoy, source(DecoyPlace::kThreadLocal), kDecoySize);
  Copy(stack_decoy, source(DecoyPlace::kStack), kDecoySize);
  Copy(g_alternate_stack + 64, source(DecoyPlace::kAlternateStack), kDecoySize);
  pthread_t thread;
  if (pthread_create(&thread, nullptr, LeaveOnStack, source(DecoyPlace::kEndedThreadStack)) != 0) {
    Die("pthread_create");
  }
  pthread_join(thread, nullptr);
  const int fd = memfd_create("audit-decoy", MFD_CLOEXEC);
  if (fd < 0 || ftruncate(fd, 4096) != 0) Die("memfd_create");
  void* file = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  void* page = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (file == MAP_FAILED || page == MAP_FAILED) Die("mmap");
  Copy(file, source(DecoyPlace::kSharedFile), kDecoySize);
  Copy(page, source(DecoyPlace::kNoAccessPage), kDecoySize);
  mprotect(page, 4096, PROT_NONE);
}

struct Channel {
  int request = kRequestFd;
  int reply = kReplyFd;
};

enum class Leave { kProcess, kThread };
Leave Serve(Channel channel);

void* ServeInThread(void* channel) {
  UseAlternateStack();
  Serve(*static_cast<Channel*>(channel));
  return nullptr;
}

Leave Serve(Channel channel) {
  unsigned char stack_decoy[kDecoySize] = {};
  for (;;) {
    Request request;
    if (!ReadAll(channel.request, &request, sizeof(request))) _exit(5);
    if (request.arena_bytes > kArenaSize) _exit(6);
    if (!ReadAll(channel.request, Arena(), request.arena_bytes)) _exit(5);
    Reply reply;
    reply.arena_bytes = request.arena_bytes;
    switch (request.command) {
      case Command::kHello: {
        Hello hello;
        hello.tid = static_cast<uint64_t>(gettid());
        hello.step_begin = reinterpret_cast<uint64_t>(audit_step_begin);
        hello.step_end = reinterpret_cast<uint64_t>(audit_step_end);
        hello.syscall_gadget = reinterpret_cast<uint64_t>(audit_syscall_gadget);
        hello.alternate_stack = reinterpret_cast<uint64_t>(g_alternate_stack);
        hello.alternate_stack_size = kAlternateStackSize;
        hello.arena_is_secret = g_arena_is_secret;
        std::memcpy(Arena() + kArenaStart, &hello, sizeof(hello));
        break;
      }
      case Command::kCall: {
        const Function function = Find(request.number);
        const uint64_t* a = request.args.data();
        if (function == nullptr) {
          reply.value = CKR_FUNCTION_NOT_SUPPORTED;
          reply.error = ENOSYS;
        } else if ((request.flags & kTraced) != 0) {
          reply.value = CallBetweenStops(function, a);
        } else {
          reply.value = function(a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8], a[9]);
        }
        break;
      }
      case Command::kSyscall: {
        const auto& a = request.args;
        errno = 0;
        const long got =
            syscall(static_cast<long>(request.number), a[0], a[1], a[2], a[3], a[4], a[5]);
        reply.value = static_cast<uint64_t>(got);
        reply.error = got == -1 ? errno : 0;
        break;
      }
      case Command::kDecoys:
        PlantDecoys(stack_decoy);
        asm volatile("" : : "r"(stack_decoy) : "memory");
        break;
      case Command::kStormStart:
        StartStorm(request.number);
        break;
      case Command::kStormStop:
        timer_delete(g_timer);
        reply.value = static_cast<uint64_t>(g_signals);
        break;
      case Command::kEnterThread: {
        pthread_t thread;
        if (pthread_create(&thread, nullptr, ServeInThread, &channel) != 0) Die("pthread_create");
        WriteAll(channel.reply, &reply, sizeof(reply));
        WriteAll(channel.reply, Arena(), reply.arena_bytes);
        pthread_join(thread, nullptr);
        break;  // the reply below answers kLeaveThread
      }
      case Command::kLeaveThread:
        return Leave::kThread;
      case Command::kFork: {
        const pid_t child = fork();
        if (child == 0) {
          channel = {kChildRequestFd, kChildReplyFd};
          continue;
        }
        reply.value = static_cast<uint64_t>(child);
        break;
      }
      case Command::kUnload:
        reply.value = static_cast<uint64_t>(dlclose(g_module));
        break;
      case Command::kExit:
        return Leave::kProcess;
    }
    WriteAll(channel.reply, &reply, sizeof(reply));
    WriteAll(channel.reply, Arena(), reply.arena_bytes);
  }
}

int Main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: audit_target MODULE (started by audit)\n");
    return 2;
  }
  MapArena();
  g_alternate_stack = static_cast<unsigned char*>(mmap(
      nullptr, kAlternateStackSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  if (g_alternate_stack == MAP_FAILED) Die("mmap");
  UseAlternateStack();
  g_module = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
  if (g_module == nullptr) {
    std::fprintf(stderr, "audit_target: cannot load %s: %s\n", argv[1], dlerror());
    return 3;
  }
  using GetFunctionList = CK_RV (*)(CK_FUNCTION_LIST**);
  auto get = reinterpret_cast<GetFunctionList>(dlsym(g_module, "C_GetFunctionList"));
  if (get == nullptr || get(&g_functions) != CKR_OK || g_functions == nullptr) {
    std::fprintf(stderr, "audit_target: %s is no PKCS#11 module\n", argv[1]);
    return 3;
  }
  Serve({});
  return 0;
}

}  // namespace
}  // namespace secretmem::audit

int main(int argc, char** argv) { return secretmem::audit::Main(argc, argv); }
