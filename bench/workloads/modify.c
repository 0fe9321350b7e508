/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Code that modifies itself, as a just-in-time compiler's does. */
#include "workloads.h"

#include <string.h>
#include <sys/mman.h>

#define SLOT  64
#define SLOTS 32

/* mov eax, IMMEDIATE; add eax, edi; ret */
static const uint8_t function[] = {0xb8, 0, 0, 0, 0, 0x01, 0xf8, 0xc3};

/* Before every call of a function one byte to four of it are written; every eighth time it is
 * written as a whole, to the next place. */
uint64_t self_modifying(uint32_t amount)
{
    uint8_t *code = mmap(NULL, SLOT * SLOTS, PROT_READ | PROT_WRITE | PROT_EXEC,
                         MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uint32_t sum = 1;
    if (code == MAP_FAILED)
        fail("mmap");
    for (uint32_t i = 0; i < amount; i++) {
        uint8_t *place = code + (i / 8 % SLOTS) * SLOT;
        if (i % 8 == 0)
            memcpy(place, function, sizeof(function));
        memcpy(place + 1, &i, sizeof(i));
        __asm__ volatile("" : : : "memory");
        sum = ((uint32_t(*)(uint32_t))(uintptr_t)place)(sum * 5);
    }
    munmap(code, SLOT * SLOTS);
    return sum;
}
