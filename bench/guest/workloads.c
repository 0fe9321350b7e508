/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The interpreter's own benchmark: fixed workloads on the bare machine.  The command line's last
 * word picks one; "start NAME" and "end NAME VALUE" on the serial line let the host time it.
 */
#include <stdint.h>

#define COM1 0x3f8

static inline void outb(uint16_t port, uint8_t value)
{
    __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static inline uint8_t inb(uint16_t port)
{
    uint8_t value;
    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

static void print(const char *text)
{
    for (; *text; text++) {
        while (!(inb(COM1 + 5) & 0x20))
            ;
        outb(COM1, (uint8_t)*text);
    }
}

static void print_hex(uint64_t n)
{
    char digits[17];
    for (int i = 15; i >= 0; i--, n >>= 4)
        digits[i] = "0123456789abcdef"[n & 15];
    digits[16] = 0;
    print(digits);
}

static uint32_t data[1 << 18];
static uint8_t bytes[1 << 20], copy[1 << 20];

static uint32_t next_random(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

static uint64_t integer(void)
{
    uint64_t a = 1, b = 2, sum = 0;
    for (uint32_t i = 1; i < 12000000; i++) {
        a = a * 6364136223846793005ull + i;
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

static uint64_t sort(void)
{
    uint32_t seed = 7;
    for (int i = 0; i < 1 << 18; i++)
        data[i] = next_random(&seed);
    quick_sort(data, 0, (1 << 18) - 1);
    uint64_t sum = 0;
    for (int i = 0; i < 1 << 18; i++)
        sum = sum * 31 + data[i];
    return sum;
}

static uint64_t crc(void)
{
    static uint32_t table[256];
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int k = 0; k < 8; k++)
            c = c & 1 ? 0xedb88320u ^ c >> 1 : c >> 1;
        table[i] = c;
    }
    uint32_t seed = 3, c = ~0u;
    for (uint32_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)next_random(&seed);
    for (int round = 0; round < 12; round++) {
        for (uint32_t i = 0; i < sizeof(bytes); i++)
            c = table[(c ^ bytes[i]) & 255] ^ c >> 8;
    }
    return ~c;
}

static uint64_t chase(void)
{
    uint32_t seed = 5;
    for (uint32_t i = 0; i < 1 << 18; i++)
        data[i] = i;
    for (uint32_t i = (1 << 18) - 1; i; i--) { /* one cycle through all (Sattolo) */
        uint32_t j = next_random(&seed) % i, t = data[i];
        data[i] = data[j];
        data[j] = t;
    }
    uint32_t at = 0;
    for (int i = 0; i < 12000000; i++)
        at = data[at];
    return at;
}

static __attribute__((noinline)) uint64_t fib(unsigned n)
{
    return n < 2 ? n : fib(n - 1) + fib(n - 2);
}

static uint64_t calls(void)
{
    return fib(31);
}

static uint64_t memory(void)
{
    uint64_t sum = 0;
    for (int round = 0; round < 40; round++) {
        const void *from = bytes;
        void *to = copy;
        uint64_t count = sizeof(bytes);
        __asm__ volatile("rep movsb" : "+S"(from), "+D"(to), "+c"(count) : : "memory");
        for (uint32_t i = 0; i < sizeof(copy); i += 8)
            sum += *(uint64_t *)(copy + i) + round;
    }
    return sum;
}

static uint64_t floating(void)
{
    double x = 0.5, y = 0.25, sum = 0;
    for (int i = 0; i < 6000000; i++) {
        x = 3.9 * x * (1 - x);
        y += x / (1 + y * y);
        sum += x * y - (double)i * 1e-9;
    }
    return (uint64_t)(int64_t)(sum * 1e6);
}

static uint64_t sieve(void)
{
    uint64_t count = 0;
    for (int round = 0; round < 6; round++) {
        for (uint32_t i = 0; i < sizeof(bytes); i++)
            bytes[i] = 1;
        for (uint32_t i = 2; i * i < sizeof(bytes); i++) {
            for (uint32_t j = i * i; bytes[i] && j < sizeof(bytes); j += i)
                bytes[j] = 0;
        }
        for (uint32_t i = 2; i < sizeof(bytes); i++)
            count += bytes[i];
    }
    return count;
}

static const struct {
    const char *name;
    uint64_t (*run)(void);
} workloads[] = {
    {"integer", integer}, {"sort", sort},     {"crc", crc},           {"chase", chase},
    {"calls", calls},     {"memory", memory}, {"floating", floating}, {"sieve", sieve},
};

static int same(const char *a, const char *b)
{
    while (*a && *a == *b) {
        a++;
        b++;
    }
    return !*a && !*b;
}

/* INFO is the multiboot information: flags at 0, the command line's address at 16. */
void main(const uint32_t *info)
{
    const char *word = "";
    outb(COM1 + 3, 3); /* eight data bits: not every machine's port starts so */
    if (info[0] & 4) {
        for (const char *c = (const char *)(uintptr_t)info[4]; *c; c++) {
            if (*c == ' ' && c[1])
                word = c + 1;
        }
    }
    for (unsigned i = 0; i < sizeof(workloads) / sizeof(workloads[0]); i++) {
        if (!same(word, workloads[i].name))
            continue;
        print("start ");
        print(word);
        print("\n");
        uint64_t value = workloads[i].run();
        print("end ");
        print(word);
        print(" ");
        print_hex(value);
        print("\n");
    }
}
