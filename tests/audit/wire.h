// The wire between the audit (which knows the secrets) and its target (which holds them).
//
// The target is a remote hand: it loads a module and makes the calls it is told to make. Every
// argument of a call (templates, parameters, values, PINs, output buffers) lies in the arena, a
// mapping at a fixed address that the audit fills over a pipe, so that the target never has a
// secret in memory that the audit looks at: what the audit finds, the module left behind.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace secretmem::audit {

// kArenaAddress is where the target maps its arena; the audit writes pointers into it.
inline constexpr uint64_t kArenaAddress = 0x5100'0000'0000;
inline constexpr size_t kArenaSize = 128 * 1024;
// The first bytes of the arena are the passing decoy: a stepped call writes it to its stack and
// wipes it again before it enters the module. A step audit that did not see it saw nothing.
inline constexpr size_t kPassingDecoySize = 32;
inline constexpr size_t kArenaStart = 64;

inline constexpr int kRequestFd = 3;
inline constexpr int kReplyFd = 4;
inline constexpr int kChildRequestFd = 5;  // used by the child of Command::kFork
inline constexpr int kChildReplyFd = 6;

enum class Command : uint32_t {
  kHello,        // values of Hello
  kCall,         // number = slot in CK_FUNCTION_LIST; args = its arguments
  kSyscall,      // number, args: a system call made by the target itself
  kDecoys,       // plant one 32-byte decoy from the arena in each DecoyPlace
  kStormStart,   // number = nanoseconds between two SIGPROF, handled on the alternate stack
  kStormStop,    // value = signals handled
  kEnterThread,  // further requests are served by a new thread
  kLeaveThread,  // that thread ends and is joined
  kFork,         // value = pid of a child that serves the child descriptors
  kUnload,       // dlclose
  kExit,         // return from main
};

inline constexpr uint32_t kTraced = 1;  // flag of kCall: stop (int3) before and after the call

struct Request {
  Command command = Command::kHello;
  uint32_t flags = 0;
  uint64_t number = 0;
  std::array<uint64_t, 10> args = {};
  uint64_t arena_bytes = 0;  // sent after the request, and sent back after the reply
};

struct Reply {
  uint64_t value = 0;
  int64_t error = 0;  // errno of a failed system call
  uint64_t arena_bytes = 0;
};

// Hello is what the target writes to the arena at kArenaStart.
struct Hello {
  uint64_t tid = 0;
  uint64_t step_begin = 0;  // address of the int3 before a traced call
  uint64_t step_end = 0;    // address of the int3 after it
  uint64_t syscall_gadget = 0;
  uint64_t alternate_stack = 0;
  uint64_t alternate_stack_size = 0;
  uint64_t arena_is_secret = 0;  // 1 when the arena itself is memfd_secret memory
};

// DecoyPlace names where the target plants decoys: the kinds of memory in which a module could
// leave a secret. A look that does not find every one of them proves nothing.
enum class DecoyPlace : size_t {
  kHeap,
  kData,
  kThreadLocal,
  kStack,
  kAlternateStack,
  kEndedThreadStack,
  kSharedFile,
  kNoAccessPage,
  kCount,
};
inline constexpr size_t kDecoySize = 32;

}  // namespace secretmem::audit
