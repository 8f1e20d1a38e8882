// See stack_switch.h. Hand-written because clearing the registers has to be the last thing that
// happens on the secret stack, which no compiler promises.

#if defined(__x86_64__)

// Clears what a callee may use without restoring it. |level|: register that holds the vector level.
        .macro  clear_caller_saved level
        testl   \level, \level
        jz      .Lsse\@
        vzeroall
        cmpl    $2, \level
        jb      .Lgeneral\@
        // Zeroing 128 bits zeroes the whole register, and does not wake the 512-bit units, which would
        // slow down the caller.
        .irp    n, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
        vpxord  %xmm\n, %xmm\n, %xmm\n
        .endr
        kxnorw  %k0, %k0, %k0
        kshiftrw $15, %k0, %k0
        kshiftrw $1, %k0, %k0
        kmovw   %k0, %k1
        kmovw   %k0, %k2
        kmovw   %k0, %k3
        kmovw   %k0, %k4
        kmovw   %k0, %k5
        kmovw   %k0, %k6
        kmovw   %k0, %k7
        jmp     .Lgeneral\@
.Lsse\@:
        .irp    n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
        pxor    %xmm\n, %xmm\n
        .endr
.Lgeneral\@:
        xorl    %eax, %eax
        xorl    %ecx, %ecx
        xorl    %edx, %edx
        xorl    %esi, %esi
        xorl    %edi, %edi
        xorl    %r8d, %r8d
        xorl    %r9d, %r9d
        xorl    %r10d, %r10d
        xorl    %r11d, %r11d
        .endm

        .text
        .globl  secretmem_call_on_stack
        .hidden secretmem_call_on_stack
        .type   secretmem_call_on_stack, @function
        .p2align 4
secretmem_call_on_stack:
        .cfi_startproc
        endbr64
        pushq   %rbp
        .cfi_def_cfa_offset 16
        .cfi_offset %rbp, -16
        movq    %rsp, %rbp
        .cfi_def_cfa_register %rbp
        pushq   %rbx
        pushq   %r12
        pushq   %r13
        pushq   %r14
        pushq   %r15
        .cfi_offset %rbx, -24
        .cfi_offset %r12, -32
        .cfi_offset %r13, -40
        .cfi_offset %r14, -48
        .cfi_offset %r15, -56
        subq    $8, %rsp
        movq    %rsp, (%r8)
        movl    %ecx, %ebx
        movq    %rdi, %rsp
        movq    %rdx, %rdi
        callq   *%rsi

        clear_caller_saved %ebx
.Lleave:
        leaq    -40(%rbp), %rsp
        popq    %r15
        popq    %r14
        popq    %r13
        popq    %r12
        popq    %rbx
        popq    %rbp
        .cfi_def_cfa %rsp, 8
        .cfi_restore %rbx
        .cfi_restore %rbp
        .cfi_restore %r12
        .cfi_restore %r13
        .cfi_restore %r14
        .cfi_restore %r15
        ret
        .cfi_endproc
        .size   secretmem_call_on_stack, . - secretmem_call_on_stack

        .globl  secretmem_abandon_stack
        .hidden secretmem_abandon_stack
        .type   secretmem_abandon_stack, @function
        .p2align 4
secretmem_abandon_stack:
        .cfi_startproc
        endbr64
        leaq    48(%rdi), %rbp
        movl    $1, %eax
        jmp     .Lleave
        .cfi_endproc
        .size   secretmem_abandon_stack, . - secretmem_abandon_stack

        .globl  secretmem_call_outside
        .hidden secretmem_call_outside
        .type   secretmem_call_outside, @function
        .p2align 4
secretmem_call_outside:
        .cfi_startproc
        endbr64
        pushq   %rbp
        .cfi_def_cfa_offset 16
        .cfi_offset %rbp, -16
        pushq   %rbx
        .cfi_def_cfa_offset 24
        .cfi_offset %rbx, -24
        pushq   %r12
        .cfi_def_cfa_offset 32
        .cfi_offset %r12, -32
        pushq   %r13
        .cfi_def_cfa_offset 40
        .cfi_offset %r13, -40
        pushq   %r14
        .cfi_def_cfa_offset 48
        .cfi_offset %r14, -48
        pushq   %r15
        .cfi_def_cfa_offset 56
        .cfi_offset %r15, -56
        // What stays in registers is addresses and the level; the function keeps these for us.
        movq    %rsp, %rbx
        .cfi_def_cfa_register %rbx
        movq    %rdi, %r12
        movq    %rsi, %r13
        movq    %rdx, %r14
        movl    %ecx, %ebp
        clear_caller_saved %ebp
        xorl    %ebp, %ebp
        xorl    %r15d, %r15d
        movq    %r12, %rsp
        movq    %r14, %rdi
        callq   *%r13
        movq    %rbx, %rsp
        .cfi_def_cfa_register %rsp
        popq    %r15
        .cfi_def_cfa_offset 48
        .cfi_restore %r15
        popq    %r14
        .cfi_def_cfa_offset 40
        .cfi_restore %r14
        popq    %r13
        .cfi_def_cfa_offset 32
        .cfi_restore %r13
        popq    %r12
        .cfi_def_cfa_offset 24
        .cfi_restore %r12
        popq    %rbx
        .cfi_def_cfa_offset 16
        .cfi_restore %rbx
        popq    %rbp
        .cfi_def_cfa_offset 8
        .cfi_restore %rbp
        ret
        .cfi_endproc
        .size   secretmem_call_outside, . - secretmem_call_outside

#elif defined(__aarch64__)

// The lower halves of v8 to v15 are their owner's, who gets them back; the upper halves are
// nobody's.
        .macro  clear_caller_saved
        .irp    n, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
        movi    v\n\().2d, #0
        .endr
        .irp    n, 8, 9, 10, 11, 12, 13, 14, 15
        mov     v\n\().d[1], xzr
        .endr
        .irp    n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17
        mov     x\n, #0
        .endr
        .endm

        .macro  save_callee_saved
        stp     x29, x30, [sp, #-160]!
        stp     x19, x20, [sp, #16]
        stp     x21, x22, [sp, #32]
        stp     x23, x24, [sp, #48]
        stp     x25, x26, [sp, #64]
        stp     x27, x28, [sp, #80]
        stp     d8, d9, [sp, #96]
        stp     d10, d11, [sp, #112]
        stp     d12, d13, [sp, #128]
        stp     d14, d15, [sp, #144]
        .endm

        .macro  restore_callee_saved
        ldp     x19, x20, [sp, #16]
        ldp     x21, x22, [sp, #32]
        ldp     x23, x24, [sp, #48]
        ldp     x25, x26, [sp, #64]
        ldp     x27, x28, [sp, #80]
        ldp     d8, d9, [sp, #96]
        ldp     d10, d11, [sp, #112]
        ldp     d12, d13, [sp, #128]
        ldp     d14, d15, [sp, #144]
        ldp     x29, x30, [sp], #160
        .endm

        .text
        .globl  secretmem_call_on_stack
        .hidden secretmem_call_on_stack
        .type   secretmem_call_on_stack, %function
        .p2align 4
secretmem_call_on_stack:
        .cfi_startproc
        hint    #25
        save_callee_saved
        mov     x29, sp
        .cfi_def_cfa x29, 160
        .cfi_offset x29, -160
        .cfi_offset x30, -152
        str     x29, [x4]
        mov     sp, x0
        mov     x9, x1
        mov     x0, x2
        blr     x9
        clear_caller_saved
.Lleave:
        mov     sp, x29
        restore_callee_saved
        .cfi_restore x29
        .cfi_restore x30
        .cfi_def_cfa sp, 0
        hint    #29
        ret
        .cfi_endproc
        .size   secretmem_call_on_stack, . - secretmem_call_on_stack

        .globl  secretmem_abandon_stack
        .hidden secretmem_abandon_stack
        .type   secretmem_abandon_stack, %function
        .p2align 4
secretmem_abandon_stack:
        mov     x29, x0
        mov     x0, #1
        b       .Lleave
        .size   secretmem_abandon_stack, . - secretmem_abandon_stack

        .globl  secretmem_call_outside
        .hidden secretmem_call_outside
        .type   secretmem_call_outside, %function
        .p2align 4
secretmem_call_outside:
        .cfi_startproc
        hint    #25
        save_callee_saved
        mov     x29, sp
        .cfi_def_cfa x29, 160
        .cfi_offset x29, -160
        .cfi_offset x30, -152
        // What stays in registers is addresses; the function keeps x19 and x29 for us.
        mov     x19, x1
        mov     x20, x2
        mov     sp, x0
        clear_caller_saved
        .irp    n, 8, 9, 10, 11, 12, 13, 14, 15
        movi    v\n\().2d, #0
        .endr
        .irp    n, 21, 22, 23, 24, 25, 26, 27, 28
        mov     x\n, #0
        .endr
        mov     x0, x20
        blr     x19
        mov     sp, x29
        restore_callee_saved
        .cfi_restore x29
        .cfi_restore x30
        .cfi_def_cfa sp, 0
        hint    #29
        ret
        .cfi_endproc
        .size   secretmem_call_outside, . - secretmem_call_outside

#else
#error "secret stacks need a few lines of assembly for this architecture"
#endif

        .section .note.GNU-stack, "", %progbits
