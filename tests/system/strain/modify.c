/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Code that is changed by the processor that runs it. */
#include "strain.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define RWX (PROT_READ | PROT_WRITE | PROT_EXEC)

/* A function rewritten before each call, first seldom, then each time. */
uint64_t self_modify(unsigned rounds)
{
    uint8_t *code = pages(2 * PAGE, RWX);
    uint64_t sum = 0;
    for (unsigned n = 0; n < 20 * rounds; n++) {
        unsigned often = n < 10 * rounds ? 7 : 1, place = n % 3 * 100;
        uint32_t value = n / often * 0x01010101u;
        if (n % often == 0) {
            for (unsigned k = 0; k < 3; k++)
                write_function(code + k * 100, value);
        }
        uint32_t got = call(code + place);
        if (got != value)
            FAIL("round %u: %#x instead of %#x", n, got, value);
        sum = mix(sum, got);
    }
    munmap(code, 2 * PAGE);
    return sum;
}

/* Straight code that changes the instruction right behind the one that writes. */
uint64_t self_modify_ahead(unsigned rounds)
{
    static const uint8_t text[] = {
        0x89, 0x3d, 0x01, 0x00, 0x00, 0x00, /* mov [rip + 1], edi */
        0xb8, 0x00, 0x00, 0x00, 0x00,       /* mov eax, EDI */
        0x89, 0x35, 0x01, 0x00, 0x00, 0x00, /* mov [rip + 1], esi */
        0x05, 0x00, 0x00, 0x00, 0x00,       /* add eax, ESI */
        0xc3,
    };
    uint8_t *code = pages(PAGE, RWX);
    uint64_t sum = 0;
    memcpy(code + 50, text, sizeof(text));
    for (unsigned n = 0; n < 10 * rounds; n++) {
        uint32_t got = ((uint32_t(*)(uint32_t, uint32_t))(void *)(code + 50))(n, n << 9 | 5);
        if (got != n + (n << 9 | 5))
            FAIL("round %u: %#x", n, got);
        sum = mix(sum, got);
    }
    munmap(code, PAGE);
    return sum;
}

/* An instruction that lies across two pages, the second of which changes. */
uint64_t modify_straddling(unsigned rounds)
{
    uint8_t *code = pages(2 * PAGE, RWX), *at = code + PAGE - 3;
    uint64_t sum = 0;
    write_function(at, 0);
    for (unsigned n = 0; n < 10 * rounds; n++) {
        uint16_t low = (uint16_t)(n * 257);
        code[PAGE] = (uint8_t)n;
        if (n % 5 == 0)
            memcpy(at + 1, &low, 2);
        memcpy(&low, at + 1, 2);
        uint32_t value = low | (uint32_t)(uint8_t)n << 16;
        uint32_t got = call(at);
        if (got != value)
            FAIL("round %u: %#x instead of %#x", n, got, value);
        sum = mix(sum, got);
    }
    munmap(code, 2 * PAGE);
    return sum;
}

/* A just-in-time compiler that never has memory writable and executable. */
uint64_t jit_toggle(unsigned rounds)
{
    uint8_t *code = pages(PAGE, PROT_READ | PROT_WRITE);
    uint64_t sum = 0;
    for (unsigned n = 0; n < rounds; n++) {
        for (unsigned k = 0; k < 32; k++)
            write_function(code + k * 64, n * 1000 + k);
        CHECK(mprotect(code, PAGE, PROT_READ | PROT_EXEC) == 0);
        for (unsigned k = 0; k < 64; k++) {
            uint32_t got = call(code + k % 32 * 64);
            if (got != n * 1000 + k % 32)
                FAIL("round %u, function %u: %u", n, k, got);
            sum = mix(sum, got);
        }
        CHECK(mprotect(code, PAGE, PROT_READ | PROT_WRITE) == 0);
    }
    munmap(code, PAGE);
    return sum;
}

/* Written at one address, run at two others. */
uint64_t jit_alias(unsigned rounds)
{
    int fd = memfd_create("code", 0);
    CHECK(fd >= 0 && ftruncate(fd, PAGE) == 0);
    uint8_t *write = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    uint8_t *run[2];
    for (unsigned k = 0; k < 2; k++) {
        run[k] = mmap(NULL, PAGE, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
        CHECK(run[k] != MAP_FAILED);
    }
    CHECK(write != MAP_FAILED);
    uint64_t sum = 0;
    for (unsigned n = 0; n < 10 * rounds; n++) {
        write_function(write + n % 4 * 16, n);
        for (unsigned k = 0; k < 2; k++) {
            uint32_t got = call(run[k] + n % 4 * 16);
            if (got != n)
                FAIL("round %u, alias %u: %u", n, k, got);
            sum = mix(sum, got);
        }
    }
    munmap(write, PAGE);
    munmap(run[0], PAGE);
    munmap(run[1], PAGE);
    close(fd);
    return sum;
}

/* Parent and child each change their own copy of a page. */
uint64_t jit_fork(unsigned rounds)
{
    uint8_t *code = pages(PAGE, RWX);
    uint64_t sum = 0;
    for (unsigned n = 0; n < rounds / 10 + 1; n++) {
        write_function(code, n);
        CHECK(call(code) == n);
        pid_t child = fork();
        CHECK(child >= 0);
        if (!child) {
            for (unsigned k = 0; k < 20; k++) {
                write_function(code, n + k);
                if (call(code) != n + k)
                    _exit(1);
            }
            _exit(0);
        }
        for (unsigned k = 0; k < 20; k++) {
            if (call(code) != n)
                FAIL("round %u: the parent runs the child's code", n);
        }
        int status;
        CHECK(waitpid(child, &status, 0) == child);
        if (status)
            FAIL("round %u: the child ran old code", n);
        sum = mix(sum, call(code));
    }
    munmap(code, PAGE);
    return sum;
}

/* Code that moves to another address, and other code that comes where it was. */
uint64_t jit_move(unsigned rounds)
{
    uint8_t *a = pages(PAGE, RWX), *b = pages(PAGE, RWX), *spare = pages(PAGE, PROT_NONE);
    uint64_t sum = 0;
    write_function(a, 1);
    write_function(b, 2);
    for (unsigned n = 0; n < rounds; n++) {
        uint32_t x = call(a), y = call(b);
        if (x == y || x + y != 3)
            FAIL("round %u: %u and %u", n, x, y);
        if (x != (n & 1) + 1)
            FAIL("round %u: %u", n, x);
        CHECK(mremap(a, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, spare) == spare);
        CHECK(mremap(b, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, a) == a);
        CHECK(mremap(spare, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, b) == b);
        CHECK(mmap(spare, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
              spare);
        sum = mix(sum, x);
    }
    munmap(a, PAGE);
    munmap(b, PAGE);
    munmap(spare, PAGE);
    return sum;
}
