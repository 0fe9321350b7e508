/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The local APIC's registers: by memory (xAPIC), by MSR (x2APIC), and IA32_APIC_BASE. */
#include "lapic-internal.h"

#include <errno.h>
#include <string.h>

#define MSR_APIC_BASE    0x1bu
#define MSR_TSC_DEADLINE 0x6e0u
#define MSR_X2APIC       0x800u
#define MSR_X2APIC_LAST  0x8ffu

#define LAPIC_PAGE 4096u

/* Writable bits of the LVT entries; bits 12 and 14 are read-only status. */
#define LVT_COMMON (0xffu | LVT_MASKED)
#define LVT_MODE   (7u << LVT_MODE_SHIFT)
#define LVT_PIN    (BIT(13) | BIT(15)) /* polarity, trigger mode */
#define LVT_STATUS (BIT(12) | BIT(14))

static uint32_t lvt_writable(const struct lapic *l, unsigned offset)
{
    switch (offset) {
    case APIC_LVT_TIMER:
        return LVT_COMMON | (l->features.tsc_deadline ? LVT_TIMER_MODE : LVT_TIMER_PERIODIC);
    case APIC_LVT_LINT0:
    case APIC_LVT_LINT1:
        return LVT_COMMON | LVT_MODE | LVT_PIN;
    case APIC_LVT_ERROR:
        return LVT_COMMON;
    default:
        return LVT_COMMON | LVT_MODE;
    }
}

static void write_lvt(struct lapic *l, unsigned offset, uint32_t value)
{
    bool accepted = lapic_accepts_extint(l);

    value &= lvt_writable(l, offset);
    if (!lapic_software_enabled(l))
        value |= LVT_MASKED;
    if (offset == APIC_LVT_TIMER)
        lapic_timer_write_lvt(l, value);
    else
        reg_set(l, offset, value);
    if (!accepted && lapic_accepts_extint(l))
        l->chip->services->kick(l->vcpu); /* the PIC may be waiting */
}

static void write_svr(struct lapic *l, uint32_t value)
{
    uint32_t writable = 0x3ff;

    if (reg_get(l, APIC_VERSION) & VERSION_DIRECTED_EOI)
        writable |= SVR_NO_EOI_BROADCAST;
    reg_set(l, APIC_SVR, value & writable);
    if (value & SVR_ENABLE)
        return;
    for (unsigned o = APIC_LVT_TIMER; o <= APIC_LVT_ERROR; o += 16)
        write_lvt(l, o, reg_get(l, o)); /* disabled by software: all are masked */
    if (l->features.cmci)
        write_lvt(l, APIC_LVT_CMCI, reg_get(l, APIC_LVT_CMCI));
}

bool lapic_register_read(struct lapic *l, unsigned offset, uint32_t *value)
{
    bool x2apic = lapic_is_x2apic(l);

    switch (offset) {
    case APIC_APR: {
        uint32_t ppr = lapic_ppr(l);
        *value = ppr; /* the arbitration priority of a CPU that never loses a bus arbitration */
        return !x2apic;
    }
    case APIC_PPR:
        *value = lapic_ppr(l);
        return true;
    case APIC_TMCCT:
        *value = lapic_timer_current(l);
        return true;
    case APIC_DFR:
    case APIC_ICR2:
    case APIC_RRD:
        *value = reg_get(l, offset);
        return !x2apic;
    case APIC_LVT_CMCI:
        *value = reg_get(l, offset);
        return l->features.cmci;
    case APIC_ISR ... APIC_ISR + 0x70:
    case APIC_TMR ... APIC_TMR + 0x70:
    case APIC_IRR ... APIC_IRR + 0x70:
        lapic_timer_poll(l);
        *value = reg_get(l, offset);
        return true;
    case APIC_ID:
    case APIC_VERSION:
    case APIC_TPR:
    case APIC_LDR:
    case APIC_SVR:
    case APIC_ESR:
    case APIC_ICR:
    case APIC_LVT_TIMER ... APIC_LVT_ERROR:
    case APIC_TMICT:
    case APIC_TDCR:
        *value = reg_get(l, offset);
        return true;
    default: /* EOI and SELF IPI are write-only */
        *value = 0;
        return offset == APIC_EOI && !x2apic;
    }
}

bool lapic_register_write(struct lapic *l, unsigned offset, uint32_t value)
{
    bool x2apic = lapic_is_x2apic(l);

    switch (offset) {
    case APIC_EOI:
        lapic_eoi(l);
        return true;
    case APIC_TPR:
        reg_set(l, APIC_TPR, value & 0xff);
        return true;
    case APIC_ICR:
        value &= ~(uint32_t)BIT(12); /* delivery is immediate: never busy */
        reg_set(l, APIC_ICR, value);
        lapic_send_ipi(l, value, x2apic ? reg_get(l, APIC_ICR2) : reg_get(l, APIC_ICR2) >> 24);
        return true;
    case APIC_SVR:
        write_svr(l, value);
        return true;
    case APIC_ESR:
        reg_set(l, APIC_ESR, atomic_exchange(&l->errors, 0));
        return true;
    case APIC_LVT_CMCI:
        if (!l->features.cmci)
            return false;
        write_lvt(l, offset, value);
        return true;
    case APIC_LVT_TIMER ... APIC_LVT_ERROR:
        write_lvt(l, offset, value);
        return true;
    case APIC_TMICT:
        if ((reg_get(l, APIC_LVT_TIMER) & LVT_TIMER_MODE) == LVT_TIMER_DEADLINE)
            return true;
        reg_set(l, APIC_TMICT, value);
        lapic_timer_start(l, value);
        return true;
    case APIC_TDCR:
        lapic_timer_write_divide(l, value);
        return true;
    default:
        break;
    }
    if (x2apic) {
        if (offset != APIC_SELF_IPI)
            return false;
        lapic_send_ipi(l, (uint32_t)(value & 0xff) | 1u << 18, 0);
        return true;
    }
    switch (offset) {
    case APIC_ID:
        reg_set(l, APIC_ID, value & 0xff000000);
        apic_map_update(l->chip, l);
        return true;
    case APIC_LDR:
        reg_set(l, APIC_LDR, value & 0xff000000);
        return true;
    case APIC_DFR:
        reg_set(l, APIC_DFR, value | 0x0fffffff);
        return true;
    case APIC_ICR2:
        reg_set(l, APIC_ICR2, value & 0xff000000);
        return true;
    default:
        /* Read-only registers ignore writes; others do not exist. */
        return lapic_register_read(l, offset, &value);
    }
}

/* ---------------------------------------------------------------- xAPIC: memory */

/* Registers are 32 bits at 16-byte steps; other accesses are undefined (SDM volume 3, 11.4.1):
 * reads within the four bytes give their part, the rest 0, and writes are dropped. */
static void mmio_register(struct lapic *l, unsigned offset, bool write, unsigned size,
                          uint8_t *data)
{
    unsigned in = offset & 15;
    uint32_t value = 0;
    bool known;

    offset -= in;
    if (write) {
        if (in || size != sizeof(value))
            return;
        memcpy(&value, data, sizeof(value));
        known = lapic_register_write(l, offset, value);
    } else {
        memset(data, 0, size);
        if (in >= sizeof(value))
            return;
        known = lapic_register_read(l, offset, &value);
        memcpy(data, (uint8_t *)&value + in, size < sizeof(value) - in ? size : sizeof(value) - in);
    }
    if (!known)
        lapic_error(l, ESR_REGISTER);
}

bool lapic_mmio(struct lapic *l, uint64_t gpa, bool write, unsigned size, uint8_t *data)
{
    uint64_t base = lapic_base(l), page = base & ~(uint64_t)(LAPIC_PAGE - 1);

    if (gpa - page >= LAPIC_PAGE)
        return false;
    if (!(base & BASE_ENABLE) || (base & BASE_X2APIC)) {
        if (l->chip->disabled_quirks & KVM_X86_QUIRK_LAPIC_MMIO_HOLE)
            return false;
        if (!write)
            memset(data, 0xff, size);
        return true;
    }
    mmio_register(l, (unsigned)(gpa - page), write, size, data);
    return true;
}

/* ---------------------------------------------------------------- x2APIC: MSRs */

/* Bits whose being set raises #GP (SDM volume 3, 11.12.1.2 and figures of the registers). */
static uint64_t x2apic_reserved(const struct lapic *l, unsigned offset)
{
    switch (offset) {
    case APIC_EOI:
    case APIC_ESR:
        return ~0ull;
    case APIC_TPR:
    case APIC_SELF_IPI:
        return ~0xffull;
    case APIC_SVR:
        return ~(0x3ffull | (reg_get(l, APIC_VERSION) & VERSION_DIRECTED_EOI ? BIT(12) : 0));
    case APIC_ICR:
        return 0xfff32000ull;
    case APIC_TDCR:
        return ~0xbull;
    case APIC_LVT_CMCI:
    case APIC_LVT_TIMER ... APIC_LVT_ERROR:
        return ~(uint64_t)(lvt_writable(l, offset) | LVT_STATUS);
    default:
        return 0xffffffff00000000ull;
    }
}

static int x2apic_read(struct lapic *l, uint32_t index, uint64_t *value)
{
    unsigned offset = (index - MSR_X2APIC) << 4;
    uint32_t low;

    if (!lapic_is_x2apic(l) || offset >= KVM_APIC_REG_SIZE || !lapic_register_read(l, offset, &low))
        return -EINVAL;
    *value = low;
    if (offset == APIC_ICR)
        *value |= (uint64_t)reg_get(l, APIC_ICR2) << 32;
    return 0;
}

static int x2apic_write(struct lapic *l, uint32_t index, uint64_t value)
{
    unsigned offset = (index - MSR_X2APIC) << 4;

    if (!lapic_is_x2apic(l) || offset >= KVM_APIC_REG_SIZE || (value & x2apic_reserved(l, offset)))
        return -EINVAL;
    if (offset == APIC_ICR)
        reg_set(l, APIC_ICR2, (uint32_t)(value >> 32));
    return lapic_register_write(l, offset, (uint32_t)value) ? 0 : -EINVAL;
}

/* ---------------------------------------------------------------- IA32_APIC_BASE */

static int set_base(struct lapic *l, uint64_t value, bool host)
{
    const uint64_t modes = BASE_ENABLE | BASE_X2APIC;
    uint64_t before = lapic_base(l), changed = before ^ value;
    uint64_t reserved = 0x2ff | ~(BIT(l->features.phys_bits) - 1);

    if (!l->features.x2apic)
        reserved |= BASE_X2APIC;
    if ((value & reserved) || (value & modes) == BASE_X2APIC)
        return -EINVAL;
    if (!host) {
        /* From x2APIC one leaves only by disabling, from disabled only to xAPIC (figure 11-27). */
        if ((before & modes) == modes && (value & modes) == BASE_ENABLE)
            return -EINVAL;
        if (!(before & BASE_ENABLE) && (value & modes) == modes)
            return -EINVAL;
    }
    if ((changed & BASE_ENABLE) && !(value & BASE_ENABLE) && !host)
        lapic_reset_registers(l);
    atomic_store(&l->base, value);
    if (changed & modes) {
        if (lapic_is_x2apic(l)) {
            reg_set(l, APIC_ID, l->id);
            reg_set(l, APIC_LDR, lapic_x2apic_ldr(l->id));
        } else {
            reg_set(l, APIC_ID, l->id << 24);
            if (before & BASE_X2APIC)
                reg_set(l, APIC_LDR, 0);
        }
        apic_map_update(l->chip, l);
        l->chip->services->kick(l->vcpu);
    }
    return 0;
}

uint64_t lapic_get_base(const struct lapic *l)
{
    return lapic_base(l);
}

bool lapic_in_x2apic_mode(const struct lapic *l)
{
    return lapic_is_x2apic(l);
}

int lapic_get_msr(struct lapic *l, uint32_t index, uint64_t *value, bool host)
{
    (void)host;
    switch (index) {
    case MSR_APIC_BASE:
        *value = lapic_base(l);
        return 0;
    case MSR_TSC_DEADLINE:
        lapic_timer_poll(l);
        *value = lapic_timer_get_deadline(l);
        return 0;
    case MSR_X2APIC ... MSR_X2APIC_LAST:
        return x2apic_read(l, index, value);
    default:
        return -ENOENT;
    }
}

int lapic_set_msr(struct lapic *l, uint32_t index, uint64_t value, bool host)
{
    switch (index) {
    case MSR_APIC_BASE:
        return set_base(l, value, host);
    case MSR_TSC_DEADLINE:
        lapic_timer_set_deadline(l, value);
        return 0;
    case MSR_X2APIC ... MSR_X2APIC_LAST:
        return x2apic_write(l, index, value);
    default:
        return -ENOENT;
    }
}
