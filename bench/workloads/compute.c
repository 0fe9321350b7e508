/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Workloads that compute: nothing of the kernel, nothing of the C library. */
#include "workloads.h"

#define WORDS (1u << 15)
#define BYTES (1u << 18)
#define CYCLE (1u << 18)

static uint32_t words[CYCLE];
static uint8_t bytes[BYTES] __attribute__((aligned(64))), other[BYTES] __attribute__((aligned(64)));

static uint32_t next_random(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

/* Multiply, shift and remainder in registers. */
uint64_t integer(uint32_t amount)
{
    uint64_t a = 1, b = 2, sum = 0;
    for (uint32_t i = 1; i < amount; i++) {
        a = a * 6364136223846793005u + i;
        b ^= a >> 29;
        b += b << 3;
        sum += (a ^ b) % 7 == 0 ? i : b & 15;
    }
    return sum;
}

static void quick_sort(uint32_t *v, int low, int high)
{
    while (low < high) {
        uint32_t pivot = v[(low + high) / 2];
        int i = low, j = high;
        while (i <= j) {
            while (v[i] < pivot)
                i++;
            while (v[j] > pivot)
                j--;
            if (i <= j) {
                uint32_t t = v[i];
                v[i++] = v[j];
                v[j--] = t;
            }
        }
        if (j - low < high - i) {
            quick_sort(v, low, j);
            low = i;
        } else {
            quick_sort(v, i, high);
            high = j;
        }
    }
}

/* Quicksort of WORDS words: branches that nobody predicts, loads and stores. */
uint64_t sort(uint32_t amount)
{
    uint32_t seed = 7;
    uint64_t sum = 0;
    for (uint32_t round = 0; round < amount; round++) {
        for (uint32_t i = 0; i < WORDS; i++)
            words[i] = next_random(&seed);
        quick_sort(words, 0, WORDS - 1);
        for (uint32_t i = 0; i < WORDS; i++)
            sum = sum * 31 + words[i];
    }
    return sum;
}

/* CRC-32 by a table of 256 words: loads whose address is the last load's result. */
uint64_t crc(uint32_t amount)
{
    static uint32_t table[256];
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int k = 0; k < 8; k++)
            c = c & 1 ? 0xedb88320u ^ c >> 1 : c >> 1;
        table[i] = c;
    }
    uint32_t seed = 3, c = ~0u;
    for (uint32_t i = 0; i < BYTES; i++)
        bytes[i] = (uint8_t)next_random(&seed);
    for (uint32_t round = 0; round < amount; round++) {
        for (uint32_t i = 0; i < BYTES; i++)
            c = table[(c ^ bytes[i]) & 255] ^ c >> 8;
    }
    return ~c;
}

/* Scalar double precision: the logistic map, a division and a conversion a round. */
uint64_t floating(uint32_t amount)
{
    double x = 0.5, y = 0.25, sum = 0;
    for (uint32_t i = 0; i < amount; i++) {
        x = 3.9 * x * (1 - x);
        y += x / (1 + y * y);
        sum += x * y - (double)i * 1e-9;
    }
    return (uint64_t)(int64_t)(sum * 1e6);
}

typedef float floats __attribute__((vector_size(16)));
typedef uint32_t lanes __attribute__((vector_size(16)));

/* Vectors of four: single precision (a filter that stays bounded) and 32-bit integers. */
uint64_t simd(uint32_t amount)
{
    static floats signal[256];
    floats state = {0, 0, 0, 0};
    lanes hash = {1, 2, 3, 4};
    uint32_t seed = 11;
    for (int i = 0; i < 256; i++) {
        for (int k = 0; k < 4; k++)
            signal[i][k] = (float)(next_random(&seed) & 0xffff) / 65536.0f;
    }
    for (uint32_t round = 0; round < amount; round++) {
        for (int i = 0; i < 256; i++) {
            state = state * 0.75f + signal[i] * 0.25f;
            signal[i] = signal[i] * 0.5f + state * 0.5f;
            hash = (hash << 5) + (hash >> 3) + (lanes)state;
        }
    }
    uint64_t sum = 0;
    for (int k = 0; k < 4; k++)
        sum = sum * 31 + hash[k];
    return sum;
}

/* A cycle through CYCLE indices (1 MiB) in random order: the latency of loads, TLB and caches. */
uint64_t chase(uint32_t amount)
{
    uint32_t seed = 5;
    for (uint32_t i = 0; i < CYCLE; i++)
        words[i] = i;
    for (uint32_t i = CYCLE - 1; i; i--) { /* one cycle through all (Sattolo) */
        uint32_t j = next_random(&seed) % i, t = words[i];
        words[i] = words[j];
        words[j] = t;
    }
    uint32_t at = 0;
    for (uint32_t i = 0; i < amount; i++)
        at = words[at];
    return at;
}

typedef uint64_t pair __attribute__((vector_size(16)));

/* Copies of COUNT bytes (a multiple of 16), as C libraries make them: short ones by vectors, long
 * ones by REP MOVSB. */
static void copy_bytes(uint8_t *to, const uint8_t *from, uint32_t count)
{
    if (count >= 4096) {
        uint64_t left = count;
        __asm__ volatile("rep movsb" : "+S"(from), "+D"(to), "+c"(left) : : "memory");
        return;
    }
    for (uint32_t i = 0; i < count; i += 16)
        *(pair *)(to + i) = *(const pair *)(from + i);
}

/* Copies of 16 bytes to 64 KiB, as many bytes of each size, and a look at what came. */
uint64_t copy(uint32_t amount)
{
    uint32_t seed = 9;
    uint64_t sum = 0;
    for (uint32_t i = 0; i < BYTES; i++)
        bytes[i] = (uint8_t)next_random(&seed);
    for (uint32_t round = 0; round < amount; round++) {
        for (uint32_t size = 16; size <= 65536; size *= 4) {
            for (uint32_t at = 0; at < BYTES; at += size)
                copy_bytes(other + at, bytes + at, size);
            sum = sum * 31 + other[(round * 4093 + size) % BYTES];
        }
        bytes[round * 4099 % BYTES]++;
    }
    return sum;
}

static __attribute__((noinline)) uint64_t fibonacci(uint32_t n)
{
    return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2);
}

/* Fibonacci by recursion: calls, returns, pushes, pops. */
uint64_t recursion(uint32_t amount)
{
    return fibonacci(amount);
}

static uint64_t add_one(uint64_t x)
{
    return x + 1;
}
static uint64_t triple(uint64_t x)
{
    return x * 3;
}
static uint64_t turn(uint64_t x)
{
    return x << 7 | x >> 57;
}
static uint64_t flip(uint64_t x)
{
    return x ^ 0x5555555555555555u;
}

/* Calls through pointers, of which the compiler knows nothing, in an order with a long period. */
uint64_t indirect(uint32_t amount)
{
    static uint64_t (*const volatile table[])(uint64_t) = {add_one, triple, turn,   flip,
                                                           turn,    flip,   triple, add_one};
    uint64_t x = 1;
    for (uint32_t i = 0; i < amount; i++)
        x = table[(i ^ i >> 5) & 7](x);
    return x;
}
