/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The multiboot header and the way into C.  With ADDRESSES the header carries the load addresses, so
 * that the image may be a raw binary; without, it is an ELF file. */
#define MAGIC 0x1badb002
#ifdef ADDRESSES
#define FLAGS 0x10003
#else
#define FLAGS 0x3
#endif
    .section .multiboot, "ax"
    .align 4
header:
    .long MAGIC, FLAGS, -(MAGIC + FLAGS)
#ifdef ADDRESSES
    .long header, image_start, image_end, bss_end, start
#endif

    .global start
start:
    mov $stack_end, %esp
    push %ebx
    push %eax
    call image_main
1:  cli
    hlt
    jmp 1b

    .bss
    .align 16
    .space 16384
stack_end:
    .section .note.GNU-stack, "", @progbits
