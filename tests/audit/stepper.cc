#include "tests/audit/stepper.h"

#include <elf.h>
#include <sched.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace secretmem::audit {
namespace {

// OneProcessor keeps the audit and its target on one processor while stepping: they take turns,
// and a wake-up across processors costs several times a step.
class OneProcessor {
 public:
  explicit OneProcessor(pid_t tid) : tid_(tid) {
    if (sched_getaffinity(0, sizeof(before_), &before_) != 0) return;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(static_cast<size_t>(sched_getcpu()), &one);
    sched_setaffinity(0, sizeof(one), &one);
    sched_setaffinity(tid_, sizeof(one), &one);
    pinned_ = true;
  }
  ~OneProcessor() {
    if (!pinned_) return;
    sched_setaffinity(0, sizeof(before_), &before_);
    sched_setaffinity(tid_, sizeof(before_), &before_);
  }
  OneProcessor(const OneProcessor&) = delete;
  OneProcessor& operator=(const OneProcessor&) = delete;

 private:
  pid_t tid_;
  bool pinned_ = false;
  cpu_set_t before_ = {};
};

constexpr uint64_t kBelow = 512;            // below the stack pointer: red zone and what was pushed
constexpr uint64_t kAbove = 1024;           // above the caller's stack pointer
constexpr uint64_t kLargestWindow = 65536;  // deeper stacks are covered by the interval looks

class Stepper {
 public:
  Stepper(Remote& remote, Recorder& recorder, const StepOptions& options, uint64_t first_step)
      : remote_(remote),
        recorder_(recorder),
        options_(options),
        tid_(static_cast<pid_t>(remote.hello().tid)),
        memory_(tid_),
        step_(first_step),
        first_step_(first_step) {}

  StepResult Run(const PreparedCall& call);

 private:
  void Trace(__ptrace_request request, uint64_t data, const char* what) {
    if (ptrace(request, tid_, nullptr, data) != 0) {
      throw CannotLook(std::string("ptrace refused: ") + what + ": " + std::strerror(errno));
    }
  }
  int Wait() {
    int status = 0;
    while (waitpid(tid_, &status, __WALL) < 0) {
      if (errno != EINTR) throw CannotLook("waitpid failed while stepping");
    }
    if (!WIFSTOPPED(status)) throw CannotLook("the target died while being stepped");
    return status;
  }
  void GetRegisters() {
    if (ptrace(PTRACE_GETREGS, tid_, nullptr, &registers_) != 0) {
      throw CannotLook("ptrace refused: registers");
    }
  }
  void Begin();
  bool Step();  // false at the end of the call
  void LookAtStack(uint64_t instruction);
  void LookAtRegisters();
  void Sample();

  Remote& remote_;
  Recorder& recorder_;
  const StepOptions& options_;
  pid_t tid_;
  ProcessMemory memory_;
  user_regs_struct registers_ = {};
  Mapping stack_;
  uint64_t caller_rsp_ = 0;
  uint64_t last_rsp_ = 0;
  uint64_t step_;
  uint64_t first_step_;
  Bytes shadow_;
  Bytes window_;
  StepResult result_;
};

void Stepper::Begin() {
  const int status = Wait();
  GetRegisters();
  if (WSTOPSIG(status) != SIGTRAP || registers_.rip != remote_.hello().step_begin + 1) {
    throw CannotLook("the target stopped elsewhere than before the call");
  }
  for (const Mapping& mapping : ReadMappings(tid_)) {
    if (mapping.contains(registers_.rsp)) stack_ = mapping;
  }
  result_.caller_rsp = caller_rsp_ = last_rsp_ = registers_.rsp;
  if (stack_.size() == 0) throw CannotLook("the target has no ordinary stack");
  // The kernel grows the main stack on demand: leave room below.
  shadow_.assign(8 * 1024 * 1024, 0);
}

bool Stepper::Step() {
  const uint64_t instruction = registers_.rip;
  int deliver = 0;
  for (;;) {
    Trace(PTRACE_SINGLESTEP, static_cast<uint64_t>(deliver), "single step");
    const int status = Wait();
    if (WSTOPSIG(status) == SIGTRAP) break;
    deliver = WSTOPSIG(status);
    if (deliver == SIGSEGV || deliver == SIGILL || deliver == SIGBUS || deliver == SIGABRT) {
      throw CannotLook("the target crashed while being stepped");
    }
  }
  GetRegisters();
  ++step_;
  ++result_.steps;
  LookAtStack(instruction);
  if (options_.register_secrets != nullptr && step_ % options_.register_interval == 0) {
    LookAtRegisters();
  }
  if (step_ % options_.interval == 0 &&
      !recorder_.Look("step " + std::to_string(step_), Recorder::Scope::kWritable)) {
    throw CannotLook("the target's memory cannot be read while stepping");
  }
  return registers_.rip != remote_.hello().step_end;
}

void Stepper::LookAtStack(uint64_t instruction) {
  uint64_t rsp = registers_.rsp;
  const bool ordinary = rsp < stack_.end && rsp + shadow_.size() > stack_.end;
  if (!ordinary) ++result_.foreign_stack;
  if (!ordinary) rsp = last_rsp_;
  uint64_t low = (std::min(rsp, last_rsp_) - kBelow) & ~uint64_t{7};
  last_rsp_ = rsp;
  const uint64_t high = std::min({stack_.end, caller_rsp_ + kAbove, low + kLargestWindow});
  window_.resize(high - low);
  const ssize_t got = memory_.Read(low, window_);
  if (got < static_cast<ssize_t>(window_.size())) {
    // Below the lowest page of a thread's stack lies its guard: read what there is.
    low = (rsp & ~uint64_t{7});
    window_.resize(high - low);
    if (memory_.Read(low, window_) < static_cast<ssize_t>(window_.size())) {
      throw CannotLook("the ordinary stack cannot be read");
    }
  }
  uint8_t* known = shadow_.data() + (shadow_.size() - (stack_.end - low));
  if (std::memcmp(known, window_.data(), window_.size()) == 0) return;
  for (size_t i = 0; i < window_.size(); i += 8) {
    uint64_t now;
    uint64_t before;
    std::memcpy(&now, window_.data() + i, sizeof(now));
    std::memcpy(&before, known + i, sizeof(before));
    if (now == before) continue;
    recorder_.StackWrite(step_, instruction, low + i, now);
    std::memcpy(known + i, &now, sizeof(now));
  }
}

void Stepper::LookAtRegisters() {
  const auto* general = reinterpret_cast<const uint8_t*>(&registers_);
  auto count = [&](size_t, const WindowSet::Origin&) { ++result_.register_windows; };
  options_.register_secrets->Search({general, sizeof(registers_)}, count);
  uint8_t vector[8192];
  iovec io = {vector, sizeof(vector)};
  if (ptrace(PTRACE_GETREGSET, tid_, NT_X86_XSTATE, &io) == 0) {
    options_.register_secrets->Search({vector, io.iov_len}, count);
  }
}

// Sample lets the call run freely and steps a stretch of it now and then, until it ends.
void Stepper::Sample() {
  result_.sampled = true;
  const uint64_t end = remote_.hello().step_end;
  for (;;) {
    const bool last = result_.samples >= options_.max_samples;
    Trace(PTRACE_CONT, 0, "continue");
    if (!last) {
      usleep(static_cast<useconds_t>(options_.sample_pause_us));
      Trace(PTRACE_INTERRUPT, 0, "interrupt");
    }
    int status = Wait();
    while (status >> 16 == 0 && WSTOPSIG(status) != SIGTRAP) {
      Trace(PTRACE_CONT, static_cast<uint64_t>(WSTOPSIG(status)), "continue");
      status = Wait();
    }
    GetRegisters();
    if (registers_.rip == end + 1) return;
    if (registers_.rip == end) {  // about to stop there by itself
      Trace(PTRACE_CONT, 0, "continue");
      continue;
    }
    ++result_.samples;
    if (!recorder_.Look("sample " + std::to_string(result_.samples), Recorder::Scope::kWritable)) {
      throw CannotLook("the target's memory cannot be read while sampling");
    }
    for (uint64_t i = 0; i < options_.sample_steps; ++i) {
      if (!Step()) {
        registers_.rip = end + 1;
        return;
      }
    }
  }
}

StepResult Stepper::Run(const PreparedCall& call) {
  if (ptrace(PTRACE_SEIZE, tid_, nullptr, nullptr) != 0) {
    throw CannotLook(std::string("no permission to trace the target (PTRACE_SEIZE): ") +
                     std::strerror(errno));
  }
  const OneProcessor one_processor(tid_);
  remote_.Send(call, kTraced);
  Begin();
  bool more = true;
  while (more && result_.steps < options_.full_steps) {
    more = Step();
    if (options_.crash_after != 0 && result_.steps >= options_.crash_after) {
      registers_.rip = 0;
      ptrace(PTRACE_SETREGS, tid_, nullptr, &registers_);
      Trace(PTRACE_DETACH, 0, "detach");
      return result_;
    }
  }
  if (more) Sample();
  if (!recorder_.Look("return of " + call.name(), Recorder::Scope::kWritable)) {
    throw CannotLook("the target's memory cannot be read");
  }
  registers_.rip = remote_.hello().step_end + 1;
  if (ptrace(PTRACE_SETREGS, tid_, nullptr, &registers_) != 0) {
    throw CannotLook("ptrace refused: set registers");
  }
  Trace(PTRACE_DETACH, 0, "detach");
  result_.rv = remote_.Receive();
  return result_;
}

}  // namespace

StepResult StepThrough(Remote& remote, const PreparedCall& call, Recorder& recorder,
                       const StepOptions& options, uint64_t first_step) {
  return Stepper(remote, recorder, options, first_step).Run(call);
}

}  // namespace secretmem::audit
