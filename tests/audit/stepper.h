// Steps a target through one call, instruction by instruction, and records what it leaves.
#pragma once

#include <cstdint>
#include <vector>

#include "tests/audit/recorder.h"
#include "tests/audit/remote.h"

namespace secretmem::audit {

struct StepOptions {
  // After this many instructions the call runs on in samples: `sample_steps` instructions are
  // stepped after every `sample_pause_us` microseconds of free running.
  uint64_t full_steps = 1'000'000;
  // When not 0: a stay on another stack is stepped so far only, and goes on in samples until the
  // stack pointer is on the ordinary stack again; there every instruction is stepped.
  uint64_t other_stack_steps = 0;
  uint64_t sample_steps = 200;
  uint64_t sample_pause_us = 2000;
  uint64_t max_samples = 300;
  // All writable memory is looked at every `interval` instructions.
  uint64_t interval = 512;
  // When set, the general and vector registers are searched every `register_interval` steps.
  const WindowSet* register_secrets = nullptr;
  // When not 0: after this many instructions the target is made to crash (it jumps to address 0);
  // StepThrough then returns without an answer from it.
  uint64_t crash_after = 0;
  uint64_t register_interval = 16;
};

struct StepResult {
  CK_RV rv = CKR_GENERAL_ERROR;
  uint64_t caller_rsp = 0;
  uint64_t steps = 0;
  uint64_t samples = 0;
  bool sampled = false;              // on the ordinary stack too, not every instruction was stepped
  bool other_stack_sampled = false;  // the same on other stacks alone
  uint64_t foreign_stack = 0;        // steps whose stack pointer was not on the ordinary stack
  uint64_t register_windows = 0;     // key words seen in registers
};

// StepThrough sends `call` and steps through it, `step` counting on from options of the caller.
// Throws CannotLook where ptrace is refused or the stack cannot be read.
StepResult StepThrough(Remote& remote, const PreparedCall& call, Recorder& recorder,
                       const StepOptions& options, uint64_t first_step);

}  // namespace secretmem::audit
