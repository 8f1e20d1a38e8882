#pragma once

// secretmem_call_on_stack calls |function(argument)| with the stack pointer at |top|, a multiple of
// 16, and returns on the caller's stack. In between it clears every register that the callee may
// have left secrets in: general, vector and mask registers that a caller saves. The others hold
// the caller's own values again by then.
//
// |vectors|: 0 SSE2 only, 1 AVX, 2 AVX-512 with its VL extension. Ignored where the architecture
// has one vector set.
extern "C" void secretmem_call_on_stack(void* top, void (*function)(void*), void* argument,
                                        int vectors);
