#pragma once

// secretmem_call_on_stack calls |function(argument)| with the stack pointer at |top|, a multiple of
// 16, and returns 0 on the caller's stack. In between it clears every register that the callee may
// have left secrets in: general, vector and mask registers that a caller saves. The others hold
// the caller's own values again by then. Meanwhile |*ordinary| is the caller's stack pointer, a
// multiple of 16, for the two functions below.
//
// |vectors|: 0 SSE2 only, 1 AVX, 2 AVX-512 with its VL extension. Ignored where the architecture
// has one vector set.
extern "C" int secretmem_call_on_stack(void* top, void (*function)(void*), void* argument,
                                       int vectors, void** ordinary);

// secretmem_call_outside, called on the secret stack, calls |function(argument)| on the ordinary
// one, and returns on the secret one. Every register is cleared in between; those that the caller
// may expect to find again lie on the secret stack. |function| must not throw.
extern "C" void secretmem_call_outside(void* ordinary, void (*function)(void*), void* argument,
                                       int vectors);

// secretmem_abandon_stack, called on the ordinary stack by such a function, never returns:
// secretmem_call_on_stack returns 1 instead, with its caller's registers. Nothing on the secret
// stack is touched or destroyed.
extern "C" [[noreturn]] void secretmem_abandon_stack(void* ordinary);
