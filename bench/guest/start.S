/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A multiboot-1 image that enters long mode with the first GiB mapped by 2 MB pages. */
        .set    MAGIC, 0x1badb002
        .set    FLAGS, 0x3
        .section .multiboot, "a"
        .align  4
        .long   MAGIC, FLAGS, -(MAGIC + FLAGS)

        .bss
        .align  4096
pml4:   .skip   4096
pdpt:   .skip   4096
pd:     .skip   4096
        .align  16
stack:  .skip   1 << 20
stack_top:

        .data
        .align  8
gdt:    .quad   0
        .quad   0x00af9a000000ffff      /* 64-bit code */
        .quad   0x00cf92000000ffff      /* data */
gdt_end:
gdtr:   .word   gdt_end - gdt - 1
        .long   gdt

        .text
        .code32
        .globl  start
start:
        movl    $stack_top, %esp
        movl    %ebx, %edi              /* multiboot information, for main */
        movl    $pdpt + 3, pml4
        movl    $pd + 3, pdpt
        xorl    %ecx, %ecx
1:      movl    %ecx, %eax
        shll    $21, %eax
        orl     $0x83, %eax
        movl    %eax, pd(, %ecx, 8)
        movl    $0, pd + 4(, %ecx, 8)
        incl    %ecx
        cmpl    $512, %ecx
        jne     1b
        movl    $pml4, %eax
        movl    %eax, %cr3
        movl    %cr4, %eax
        orl     $0x620, %eax            /* PAE, OSFXSR, OSXMMEXCPT */
        movl    %eax, %cr4
        movl    $0xc0000080, %ecx       /* EFER.LME */
        rdmsr
        orl     $0x100, %eax
        wrmsr
        movl    %cr0, %eax
        andl    $~4, %eax
        orl     $0x80000003, %eax
        movl    %eax, %cr0
        lgdt    gdtr
        ljmp    $8, $long_mode

        .code64
long_mode:
        movl    $16, %eax
        movl    %eax, %ds
        movl    %eax, %es
        movl    %eax, %ss
        movl    %edi, %edi
        call    main
        movl    $0, %eax
        outl    %eax, $0xf4             /* debug exit: status 1 */
2:      hlt
        jmp     2b
        .section .note.GNU-stack, "", @progbits
