/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* An irqchip with vCPUs that only count what is asked of them, for test-irqchip*.c. */
#ifndef TRAPEZE_TESTS_IRQCHIP_FIXTURE_H
#define TRAPEZE_TESTS_IRQCHIP_FIXTURE_H

#include "kvm/irqchip/irqchip.h"

#include <glib.h>
#include <stdatomic.h>

#define CPUS_MAX 16

/* LAPIC registers, by their offset in the page. */
#define R_ID     0x20u
#define R_LVR    0x30u
#define R_TPR    0x80u
#define R_PPR    0xa0u
#define R_EOI    0xb0u
#define R_LDR    0xd0u
#define R_DFR    0xe0u
#define R_SVR    0xf0u
#define R_ISR    0x100u
#define R_TMR    0x180u
#define R_IRR    0x200u
#define R_ESR    0x280u
#define R_ICR    0x300u
#define R_ICR2   0x310u
#define R_LVTT   0x320u
#define R_LINT0  0x350u
#define R_LINT1  0x360u
#define R_LVTERR 0x370u
#define R_TMICT  0x380u
#define R_TMCCT  0x390u
#define R_TDCR   0x3e0u

#define APIC_PAGE   0xfee00000ull
#define IOAPIC_PAGE 0xfec00000ull

struct cpu {
    struct lapic *lapic;
    _Atomic unsigned kicks, nmis, smis, inits, sipis, eois;
    uint8_t sipi_vector, eoi_vector;
    int64_t tsc_offset; /* the guest's TSC is CLOCK_MONOTONIC in ns, plus this */
};

struct board {
    struct irqchip *chip;
    unsigned cpus;
    struct cpu cpu[CPUS_MAX];
};

/* A full irqchip with CPUS LAPICs, ids from 0, number 0 the bootstrap processor. */
void board_init(struct board *b, unsigned cpus);
void board_init_split(struct board *b, unsigned cpus, unsigned pins);
void board_free(struct board *b);

void port_out(struct board *b, uint16_t port, uint8_t value);
uint8_t port_in(struct board *b, uint16_t port);
uint32_t apic_read(struct board *b, unsigned cpu, unsigned offset);
void apic_write(struct board *b, unsigned cpu, unsigned offset, uint32_t value);
/* Enables the LAPIC by software, masks LINT0. */
void apic_enable(struct board *b, unsigned cpu);
void apic_enter_x2apic(struct board *b, unsigned cpu);
uint32_t ioapic_read(struct board *b, unsigned reg);
void ioapic_write(struct board *b, unsigned reg, uint32_t value);
void ioapic_set_entry(struct board *b, unsigned pin, uint64_t entry);
uint64_t ioapic_entry(struct board *b, unsigned pin);

/* Waits until lapic_pending(cpu) is VECTOR; false after some seconds. */
bool wait_pending(struct board *b, unsigned cpu, int vector);
/* Accepts and ends the interrupt, and returns its vector. */
int serve(struct board *b, unsigned cpu);

uint64_t now_ns(void);

void add_chip_tests(void);  /* test-irqchip-chips.c */
void add_lapic_tests(void); /* test-irqchip-lapic.c */
void add_event_tests(void); /* test-irqchip-events.c */
void add_kvm_tests(void);   /* test-irqchip-kvm.c */

#endif
