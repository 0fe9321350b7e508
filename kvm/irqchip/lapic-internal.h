/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* struct lapic, for lapic.c, lapic-registers.c, lapic-timer.c and lapic-map.c. */
#ifndef TRAPEZE_LAPIC_INTERNAL_H
#define TRAPEZE_LAPIC_INTERNAL_H

#include "internal.h"

/* Register offsets (SDM volume 3, table 11-1). */
#define APIC_ID          0x020u
#define APIC_VERSION     0x030u
#define APIC_TPR         0x080u
#define APIC_APR         0x090u
#define APIC_PPR         0x0a0u
#define APIC_EOI         0x0b0u
#define APIC_RRD         0x0c0u
#define APIC_LDR         0x0d0u
#define APIC_DFR         0x0e0u
#define APIC_SVR         0x0f0u
#define APIC_ISR         0x100u
#define APIC_TMR         0x180u
#define APIC_IRR         0x200u
#define APIC_ESR         0x280u
#define APIC_LVT_CMCI    0x2f0u
#define APIC_ICR         0x300u
#define APIC_ICR2        0x310u
#define APIC_LVT_TIMER   0x320u
#define APIC_LVT_THERMAL 0x330u
#define APIC_LVT_PMC     0x340u
#define APIC_LVT_LINT0   0x350u
#define APIC_LVT_LINT1   0x360u
#define APIC_LVT_ERROR   0x370u
#define APIC_TMICT       0x380u
#define APIC_TMCCT       0x390u
#define APIC_TDCR        0x3e0u
#define APIC_SELF_IPI    0x3f0u

#define SVR_ENABLE           BIT(8)
#define SVR_NO_EOI_BROADCAST BIT(12)
#define VERSION_DIRECTED_EOI BIT(24)
#define LVT_MASKED           BIT(16)
#define LVT_MODE_SHIFT       8
#define LVT_TIMER_MODE       (3u << 17)
#define LVT_TIMER_ONE_SHOT   0u
#define LVT_TIMER_PERIODIC   (1u << 17)
#define LVT_TIMER_DEADLINE   (2u << 17)

/* ESR (SDM volume 3, 11.5.3). */
#define ESR_REDIRECTABLE_IPI BIT(4)
#define ESR_SEND_VECTOR      BIT(5)
#define ESR_RECEIVE_VECTOR   BIT(6)
#define ESR_REGISTER         BIT(7)

/* IA32_APIC_BASE. */
#define BASE_BSP     BIT(8)
#define BASE_X2APIC  BIT(10)
#define BASE_ENABLE  BIT(11)
#define BASE_ADDRESS 0xfee00000ull

#define LAPIC_VECTOR_MIN 16u /* below: illegal */

struct lapic_timer {
    struct timer timer;
    _Atomic bool fired; /* set by the helper thread, consumed by the owner */
    uint64_t target;    /* CLOCK_MONOTONIC of the next expiry; 0: not counting */
    uint64_t period;    /* ns, in periodic mode */
    uint64_t deadline;  /* IA32_TSC_DEADLINE */
};

struct lapic {
    struct irqchip *chip;
    void *vcpu;
    uint32_t id; /* the x2APIC id */
    uint32_t mapped_id;
    bool mapped; /* chip->by_id[mapped_id] may be this */
    bool bsp;
    struct lapic_features features;
    _Atomic uint64_t base; /* IA32_APIC_BASE */
    /* One a 16-byte step of the register page.  IRR, TMR and errors change from any thread; the
     * rest is written by the owner and read by senders. */
    _Atomic uint32_t reg[KVM_APIC_REG_SIZE / 16];
    _Atomic uint32_t errors; /* not yet latched in ESR */
    struct lapic_timer timer;
    struct lapic *next; /* in chip->freed */
};

static inline uint32_t reg_get(const struct lapic *l, unsigned offset)
{
    return atomic_load_explicit(&l->reg[offset >> 4], memory_order_relaxed);
}
static inline void reg_set(struct lapic *l, unsigned offset, uint32_t value)
{
    atomic_store_explicit(&l->reg[offset >> 4], value, memory_order_relaxed);
}

/* The 256-bit registers ISR, TMR, IRR: FIRST is the offset of the first of eight. */
static inline bool vector_test(const struct lapic *l, unsigned first, unsigned vector)
{
    return reg_get(l, first + (vector >> 5 << 4)) >> (vector & 31) & 1;
}
static inline void vector_set(struct lapic *l, unsigned first, unsigned vector)
{
    atomic_fetch_or(&l->reg[(first >> 4) + (vector >> 5)], 1u << (vector & 31));
}
static inline void vector_clear(struct lapic *l, unsigned first, unsigned vector)
{
    atomic_fetch_and(&l->reg[(first >> 4) + (vector >> 5)], ~(1u << (vector & 31)));
}
/* The highest vector set, or -1. */
static inline int vector_highest(const struct lapic *l, unsigned first)
{
    for (int word = 7; word >= 0; word--) {
        uint32_t bits = atomic_load(&l->reg[(first >> 4) + (unsigned)word]);
        if (bits)
            return word * 32 + 31 - __builtin_clz(bits);
    }
    return -1;
}

static inline uint64_t lapic_base(const struct lapic *l)
{
    return atomic_load_explicit(&l->base, memory_order_acquire);
}
static inline bool lapic_enabled(const struct lapic *l)
{
    return lapic_base(l) & BASE_ENABLE;
}
static inline bool lapic_is_x2apic(const struct lapic *l)
{
    return (lapic_base(l) & (BASE_ENABLE | BASE_X2APIC)) == (BASE_ENABLE | BASE_X2APIC);
}
static inline bool lapic_software_enabled(const struct lapic *l)
{
    return reg_get(l, APIC_SVR) & SVR_ENABLE;
}

/* The logical id that x2APIC mode derives from the id (SDM volume 3, 11.12.10.2). */
static inline uint32_t lapic_x2apic_ldr(uint32_t id)
{
    return (id >> 4) << 16 | 1u << (id & 15);
}

/* lapic.c */
uint32_t lapic_ppr(const struct lapic *l);
void lapic_interrupt(struct lapic *l, uint8_t vector, bool level); /* from any thread */
void lapic_raise_lvt(struct lapic *l, unsigned offset);            /* from any thread */
void lapic_error(struct lapic *l, uint32_t bits);                  /* from any thread */
void lapic_send_ipi(struct lapic *l, uint32_t low, uint32_t destination);
/* Sets all registers as after RESET but for what KEEP_ID says. */
void lapic_reset_registers(struct lapic *l);

/* lapic-registers.c */
/* Register accesses by offset; false: no such register, or it cannot be accessed so. */
bool lapic_register_read(struct lapic *l, unsigned offset, uint32_t *value);
bool lapic_register_write(struct lapic *l, unsigned offset, uint32_t value);
bool lapic_mmio(struct lapic *l, uint64_t gpa, bool write, unsigned size, uint8_t *data);

/* lapic-timer.c */
int lapic_timer_init(struct lapic *l);
void lapic_timer_free(struct lapic *l);
/* Delivers an expiry that the helper thread noted. */
void lapic_timer_poll(struct lapic *l);
void lapic_timer_stop(struct lapic *l);
/* Starts counting from COUNT ticks (the initial count, or when restoring the current one). */
void lapic_timer_start(struct lapic *l, uint32_t count);
uint32_t lapic_timer_current(struct lapic *l);
void lapic_timer_write_lvt(struct lapic *l, uint32_t value);
void lapic_timer_write_divide(struct lapic *l, uint32_t value);
uint64_t lapic_timer_get_deadline(const struct lapic *l);
void lapic_timer_set_deadline(struct lapic *l, uint64_t deadline);

#endif
