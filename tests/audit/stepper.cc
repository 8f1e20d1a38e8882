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
#include <array>
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
  bool IsOrdinary(uint64_t rsp) const {
    return rsp < stack_.end && rsp + shadow_.size() > stack_.end;
  }
  bool Sample();
  bool SampleOtherStack();
  bool IsReturnAddress(uint64_t address, const std::vector<Mapping>& mappings) const;
  void Break();

  Remote& remote_;
  Recorder& recorder_;
  const StepOptions& options_;
  pid_t tid_;
  ProcessMemory memory_;
  user_regs_struct registers_ = {};
  Mapping stack_;
  uint64_t caller_rsp_ = 0;
  uint64_t last_rsp_ = 0;     // on the ordinary stack
  uint64_t foreign_run_ = 0;  // steps since the stack pointer left the ordinary stack
  uint64_t step_;
  uint64_t first_step_;
  std::array<uint64_t, 4> stop_at_ = {};  // breakpoints, as many as the processor has
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
  const bool ordinary = IsOrdinary(rsp);
  if (!ordinary) ++result_.foreign_stack;
  foreign_run_ = ordinary ? 0 : foreign_run_ + 1;
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

// Break has the target stop at each of the addresses in `stop_at_`; 0 is none.
void Stepper::Break() {
  const auto poke = [&](size_t number, uint64_t value) {
    const size_t offset = offsetof(user, u_debugreg) + number * sizeof(value);
    if (ptrace(PTRACE_POKEUSER, tid_, offset, value) != 0) {
      throw CannotLook(std::string("ptrace refused: breakpoint: ") + std::strerror(errno));
    }
  };
  poke(7, 0);
  uint64_t enabled = 0;
  for (size_t i = 0; i < stop_at_.size(); ++i) {
    if (stop_at_[i] == 0) continue;
    poke(i, stop_at_[i]);
    enabled |= uint64_t{1} << (2 * i);
  }
  poke(7, enabled);
}

bool Stepper::IsReturnAddress(uint64_t address, const std::vector<Mapping>& mappings) const {
  const auto holds = [&](const Mapping& mapping) {
    return mapping.contains(address) && mapping.contains(address - 7) &&
           mapping.permissions.find('x') != std::string::npos;
  };
  if (std::none_of(mappings.begin(), mappings.end(), holds)) return false;
  std::array<uint8_t, 7> before;
  if (memory_.Read(address - 7, before) != static_cast<ssize_t>(before.size())) return false;
  // A call with an offset (e8), or through a register or memory (ff /2) in 2, 3, 4, 6 or 7 bytes.
  if (before[2] == 0xe8) return true;
  for (const size_t at : {5, 4, 3, 1, 0}) {
    if (before[at] == 0xff && (before[at + 1] & 0x38) == 0x10) return true;
  }
  return false;
}

// SampleOtherStack lets the code on another stack run on in samples, and has stepping go on when
// it returns to the ordinary stack. False at the end of the call.
bool Stepper::SampleOtherStack() {
  // Whoever switches stacks leaves the address to come back to near the top of the one that it
  // leaves, among saved registers; old words there may look like one too.
  std::array<uint64_t, 16> top = {};
  if (memory_.Read(last_rsp_, {reinterpret_cast<uint8_t*>(top.data()), sizeof(top)}) !=
      static_cast<ssize_t>(sizeof(top))) {
    throw CannotLook("the ordinary stack cannot be read");
  }
  const std::vector<Mapping> mappings = ReadMappings(tid_);
  size_t candidates = 0;
  for (const uint64_t word : top) {
    if (candidates < stop_at_.size() && IsReturnAddress(word, mappings)) {
      stop_at_[candidates++] = word;
    }
  }
  if (candidates == 0) return Sample();
  Break();
  const bool more = Sample();
  stop_at_ = {};
  Break();
  if (!more) return false;
  LookAtStack(registers_.rip);
  if (!recorder_.Look("back on the ordinary stack after step " + std::to_string(step_),
                      Recorder::Scope::kWritable)) {
    throw CannotLook("the target's memory cannot be read while stepping");
  }
  return true;
}

// Sample lets the call run freely and steps a stretch of it now and then, until it ends (false) or
// is back on the ordinary stack at a breakpoint (true).
bool Stepper::Sample() {
  const bool until_back = stop_at_[0] != 0;
  (until_back ? result_.other_stack_sampled : result_.sampled) = true;
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
    if (registers_.rip == end + 1) return false;
    const auto breakpoint = std::find(stop_at_.begin(), stop_at_.end(), registers_.rip);
    if (breakpoint != stop_at_.end()) {
      if (IsOrdinary(registers_.rsp)) return true;
      // Code that the other stack runs too: not what is waited for.
      *breakpoint = 0;
      Break();
      continue;
    }
    if (registers_.rip == end) continue;  // about to stop there by itself
    ++result_.samples;
    if (!recorder_.Look("sample " + std::to_string(result_.samples), Recorder::Scope::kWritable)) {
      throw CannotLook("the target's memory cannot be read while sampling");
    }
    for (uint64_t i = 0; i < options_.sample_steps; ++i) {
      if (!Step()) {
        registers_.rip = end + 1;
        return false;
      }
      if (until_back && foreign_run_ == 0) return true;
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
    if (more && options_.other_stack_steps != 0 && foreign_run_ >= options_.other_stack_steps) {
      more = SampleOtherStack();
      foreign_run_ = 0;
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
