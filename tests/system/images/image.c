/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A guest of the tests: says on the first serial port what the boot loader told it, and does what
 * the words of its command line ask, in their order.
 *
 *   info     the multiboot information: memory, memory map, modules with their contents
 *   bss      whether the .bss section came zeroed
 *   echo     sends back what comes in, until a `q`
 *   hang     waits for ever, with interrupts off
 *   count    says one number after the other for ever
 *   int3     meets a breakpoint of its own;  trap: a single step of its own
 *   off      powers off by ACPI's S5;  button: does so when the power button is pressed
 *   reset    resets by port 0xcf9;  keyboard: by the i8042;  triple: by a triple fault
 *   exit=N   writes N to the debug-exit port
 */
#include <stddef.h>
#include <stdint.h>

#define COM1       0x3f8
#define DEBUG_EXIT 0xf4

#define PM1_STATUS    0x600
#define POWER_BUTTON  0x100
#define PM1_CONTROL   0x604
#define SLEEP_ENABLE  0x2000
#define SLEEP_TYPE_S5 (5 << 10)

struct info {
    uint32_t flags, mem_lower, mem_upper, boot_device, cmdline, mods_count, mods_addr, syms[4];
    uint32_t mmap_length, mmap_addr;
};

struct module {
    uint32_t start, end, cmdline, reserved;
};

struct memory_range {
    uint32_t size;
    uint64_t base, length;
    uint32_t type;
} __attribute__((packed));

static uint8_t zeroed[8192];

static void outb(uint16_t port, uint8_t value)
{
    __asm__ volatile("outb %0, %1" ::"a"(value), "Nd"(port));
}

static void outl(uint16_t port, uint32_t value)
{
    __asm__ volatile("outl %0, %1" ::"a"(value), "Nd"(port));
}

static void outw(uint16_t port, uint16_t value)
{
    __asm__ volatile("outw %0, %1" ::"a"(value), "Nd"(port));
}

static _Noreturn void stop(void)
{
    for (;;)
        __asm__ volatile("cli; hlt");
}

static uint8_t inb(uint16_t port)
{
    uint8_t value;

    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

static void put(char c)
{
    while (!(inb(COM1 + 5) & 0x20))
        ;
    outb(COM1, (uint8_t)c);
}

static void text(const char *s)
{
    while (*s)
        put(*s++);
}

static void hex(uint64_t value)
{
    text("0x");
    for (int shift = 60; shift >= 0; shift -= 4)
        put("0123456789abcdef"[value >> shift & 15]);
}

static void field(const char *name, uint64_t value)
{
    text(name);
    hex(value);
}

static void say_map(const struct info *info)
{
    uint32_t at = info->mmap_addr, end = at + info->mmap_length;

    while (at < end) {
        const struct memory_range *r = (const void *)at;

        field("range ", r->base);
        field(" ", r->length);
        field(" ", r->type);
        text("\n");
        at += r->size + sizeof r->size;
    }
}

static void say_modules(const struct info *info)
{
    const struct module *m = (const void *)info->mods_addr;

    for (uint32_t i = 0; i < info->mods_count; i++, m++) {
        field("module ", m->start);
        field(" ", m->end - m->start);
        text(" [");
        text((const char *)m->cmdline);
        text("] ");
        for (const char *p = (const char *)m->start; p < (const char *)m->end; p++)
            put(*p);
        text("\n");
    }
}

static void say_info(const struct info *info)
{
    field("flags ", info->flags);
    field("\nlower ", info->mem_lower);
    field("\nupper ", info->mem_upper);
    text("\ncmdline [");
    text((const char *)info->cmdline);
    text("]\n");
    say_map(info);
    say_modules(info);
}

static void say_bss(void)
{
    unsigned sum = 0;

    for (unsigned i = 0; i < sizeof zeroed; i++)
        sum += ((volatile uint8_t *)zeroed)[i];
    text(sum ? "bss dirty\n" : "bss zero\n");
    for (unsigned i = 0; i < sizeof zeroed; i++) /* a reset has to zero it again */
        ((volatile uint8_t *)zeroed)[i] = 0xa5;
}

static __attribute__((noinline)) void echo(void)
{
    uint8_t c = 0;

    text("echo\n");
    while (c != 'q') {
        while (!(inb(COM1 + 5) & 1))
            ;
        c = inb(COM1);
        put((char)c);
    }
    text("\n");
}

static void triple_fault(void)
{
    static const struct {
        uint16_t limit;
        uint32_t base;
    } __attribute__((packed)) none = {0, 0};

    __asm__ volatile("lidt %0; ud2" ::"m"(none));
    stop();
}

static __attribute__((noinline)) void hang(void)
{
    text("hanging\n");
    for (;;)
        __asm__ volatile("pause");
}

static void count(void)
{
    for (uint32_t i = 0;; i++) {
        field("count ", i);
        text("\n");
    }
}

/* ---- its own debug exceptions ---- */

struct gate {
    uint16_t low, selector, flags, high;
};

uint32_t seen_eip, seen_dr6; /* that the assembler finds */

void debug_entry(void);
/* Notes where the exception came from and what DR6 says, clears DR6 and the interrupted TF. */
__asm__("debug_entry:\n"
        "push %eax\n"
        "mov 4(%esp), %eax\n"
        "mov %eax, seen_eip\n"
        "mov %dr6, %eax\n"
        "mov %eax, seen_dr6\n"
        "xor %eax, %eax\n"
        "mov %eax, %dr6\n"
        "andl $~0x100, 12(%esp)\n"
        "pop %eax\n"
        "iret\n");

/* Takes exceptions 1 and 3. */
static void catch_debug_exceptions(void)
{
    static struct gate idt[4];
    struct {
        uint16_t limit;
        uint32_t base;
    } __attribute__((packed)) idtr = {sizeof idt - 1, (uint32_t)idt};
    uint32_t entry = (uint32_t)debug_entry;
    uint16_t cs;

    __asm__("mov %%cs, %0" : "=r"(cs));
    for (unsigned i = 1; i <= 3; i += 2)
        idt[i] = (struct gate){(uint16_t)entry, cs, 0x8e00, (uint16_t)(entry >> 16)};
    __asm__ volatile("lidt %0" ::"m"(idtr));
}

static void own_breakpoint(void)
{
    uint32_t next;

    catch_debug_exceptions();
    __asm__ volatile("movl $1f, %0\n int3\n 1:" : "=r"(next)::"memory");
    text(seen_eip == next ? "int3 taken\n" : "int3 astray\n");
}

static void own_step(void)
{
    uint32_t next;

    catch_debug_exceptions();
    __asm__ volatile("movl $1f, %0\n pushf\n orl $0x100, (%%esp)\n popf\n nop\n 1:"
                     : "=r"(next)::"memory", "cc");
    text(seen_eip == next ? "step taken" : "step astray");
    field(", dr6 ", seen_dr6 & 0xe00f);
    text("\n");
}

static _Noreturn void power_off(void)
{
    outw(PM1_CONTROL, SLEEP_ENABLE | SLEEP_TYPE_S5);
    stop();
}

static _Noreturn void await_button(void)
{
    text("waiting for the button\n");
    while (!(inb(PM1_STATUS + 1) & POWER_BUTTON >> 8))
        __asm__ volatile("pause");
    text("pressed\n");
    power_off();
}

static uint32_t number(const char *s)
{
    uint32_t value = 0;

    while (*s >= '0' && *s <= '9')
        value = value * 10 + (uint32_t)(*s++ - '0');
    return value;
}

/* Writes VALUE to PORT, which should be the end. */
static _Noreturn void end_by(uint16_t port, uint8_t value)
{
    outb(port, value);
    stop();
}

/* The rest behind PREFIX, when WORD starts with it. */
static const char *after(const char *word, const char *prefix)
{
    while (*prefix)
        if (*word++ != *prefix++)
            return NULL;
    return word;
}

static void obey(const char *word, const struct info *info)
{
    if (after(word, "info"))
        say_info(info);
    else if (after(word, "bss"))
        say_bss();
    else if (after(word, "echo"))
        echo();
    else if (after(word, "hang"))
        hang();
    else if (after(word, "count"))
        count();
    else if (after(word, "button"))
        await_button();
    else if (after(word, "int3"))
        own_breakpoint();
    else if (after(word, "trap"))
        own_step();
    else if (after(word, "off"))
        power_off();
    else if (after(word, "reset"))
        end_by(0xcf9, 6);
    else if (after(word, "keyboard"))
        end_by(0x64, 0xfe);
    else if (after(word, "triple"))
        triple_fault();
    else if (after(word, "exit="))
        outl(DEBUG_EXIT, number(after(word, "exit=")));
}

void image_main(uint32_t magic, const struct info *info);
void image_main(uint32_t magic, const struct info *info)
{
    const char *p = (const char *)info->cmdline;

    field("magic ", magic);
    text("\n");
    while (*p) {
        obey(p, info);
        while (*p && *p != ' ')
            p++;
        while (*p == ' ')
            p++;
    }
    text("nothing more to do\n");
}
