// See stack_switch.h. Hand-written because clearing the registers has to be the last thing that
// happens on the secret stack, which no compiler promises.

#if defined(__x86_64__)

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
        .cfi_offset %rbx, -24
        movl    %ecx, %ebx
        movq    %rdi, %rsp
        movq    %rdx, %rdi
        callq   *%rsi

        testl   %ebx, %ebx
        jz      1f
        vzeroall
        cmpl    $2, %ebx
        jb      2f
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
        jmp     2f
1:
        .irp    n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
        pxor    %xmm\n, %xmm\n
        .endr
2:      xorl    %eax, %eax
        xorl    %ecx, %ecx
        xorl    %edx, %edx
        xorl    %esi, %esi
        xorl    %edi, %edi
        xorl    %r8d, %r8d
        xorl    %r9d, %r9d
        xorl    %r10d, %r10d
        xorl    %r11d, %r11d

        leaq    -8(%rbp), %rsp
        popq    %rbx
        .cfi_restore %rbx
        popq    %rbp
        .cfi_restore %rbp
        .cfi_def_cfa %rsp, 8
        ret
        .cfi_endproc
        .size   secretmem_call_on_stack, . - secretmem_call_on_stack

#elif defined(__aarch64__)

        .text
        .globl  secretmem_call_on_stack
        .hidden secretmem_call_on_stack
        .type   secretmem_call_on_stack, %function
        .p2align 4
secretmem_call_on_stack:
        .cfi_startproc
        hint    #25
        stp     x29, x30, [sp, #-16]!
        .cfi_def_cfa_offset 16
        .cfi_offset x29, -16
        .cfi_offset x30, -8
        mov     x29, sp
        .cfi_def_cfa_register x29
        mov     sp, x0
        mov     x9, x1
        mov     x0, x2
        blr     x9

        .irp    n, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
        movi    v\n\().2d, #0
        .endr
        // The lower halves of v8 to v15 are the caller's; the upper halves are nobody's.
        .irp    n, 8, 9, 10, 11, 12, 13, 14, 15
        mov     v\n\().d[1], xzr
        .endr
        .irp    n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17
        mov     x\n, #0
        .endr

        mov     sp, x29
        ldp     x29, x30, [sp], #16
        .cfi_restore x29
        .cfi_restore x30
        .cfi_def_cfa sp, 0
        hint    #29
        ret
        .cfi_endproc
        .size   secretmem_call_on_stack, . - secretmem_call_on_stack

#else
#error "secret stacks need a few lines of assembly for this architecture"
#endif

        .section .note.GNU-stack, "", %progbits
