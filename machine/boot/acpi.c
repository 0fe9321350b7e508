/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The ACPI tables that are plain structures, and their places in memory. */
#include "acpi.h"

#include "machine/chipset/pm.h"

#include <string.h>

#define RESET_VALUE   0x06
#define APIC_IDS_8BIT 255 /* ids from here on need x2APIC entries */

struct header {
    char signature[4];
    uint32_t length;
    uint8_t revision, checksum;
    char oem_id[6], oem_table_id[8];
    uint32_t oem_revision;
    char creator_id[4];
    uint32_t creator_revision;
} __attribute__((packed));

struct address {
    uint8_t space, width, offset, access;
    uint64_t address;
} __attribute__((packed));
enum { SPACE_SYSTEM_IO = 1 };

struct rsdp {
    char signature[8];
    uint8_t checksum;
    char oem_id[6];
    uint8_t revision;
    uint32_t rsdt, length;
    uint64_t xsdt;
    uint8_t extended_checksum, reserved[3];
} __attribute__((packed));

struct facs {
    char signature[4];
    uint32_t length, hardware_signature, waking_vector, global_lock, flags;
    uint64_t x_waking_vector;
    uint8_t version, reserved[31];
} __attribute__((packed));

/* ACPI 6.4, table 5.9. */
struct fadt {
    struct header header;
    uint32_t facs, dsdt;
    uint8_t reserved0, profile;
    uint16_t sci;
    uint32_t smi_command;
    uint8_t acpi_enable, acpi_disable, s4bios, pstate;
    uint32_t pm1a_event, pm1b_event, pm1a_control, pm1b_control, pm2_control, pm_timer, gpe0, gpe1;
    uint8_t pm1_event_length, pm1_control_length, pm2_control_length, pm_timer_length;
    uint8_t gpe0_length, gpe1_length, gpe1_base, cst;
    uint16_t c2_latency, c3_latency, flush_size, flush_stride;
    uint8_t duty_offset, duty_width, day_alarm, month_alarm, century;
    uint16_t boot_flags;
    uint8_t reserved1;
    uint32_t flags;
    struct address reset;
    uint8_t reset_value;
    uint16_t arm_flags;
    uint8_t minor;
    uint64_t x_facs, x_dsdt;
    struct address x_pm1a_event, x_pm1b_event, x_pm1a_control, x_pm1b_control, x_pm2_control;
    struct address x_pm_timer, x_gpe0, x_gpe1, sleep_control, sleep_status;
    uint64_t hypervisor;
} __attribute__((packed));

#define FADT_WBINVD       BIT(0)
#define FADT_C1           BIT(2)
#define FADT_NO_SLEEP_KEY BIT(5) /* there is no fixed sleep button */
#define FADT_TIMER_32     BIT(8)
#define FADT_RESET        BIT(10)
#define FADT_LEGACY       BIT(0)
#define FADT_8042         BIT(1)
#define FADT_NO_VGA       BIT(2)
#define PROFILE_SERVER    4

struct madt {
    struct header header;
    uint32_t lapic, flags;
} __attribute__((packed));
struct madt_lapic {
    uint8_t type, length, uid, apic_id;
    uint32_t flags;
} __attribute__((packed));
struct madt_x2apic {
    uint8_t type, length;
    uint16_t reserved;
    uint32_t apic_id, flags, uid;
} __attribute__((packed));
struct madt_ioapic {
    uint8_t type, length, id, reserved;
    uint32_t address, gsi_base;
} __attribute__((packed));
struct madt_override {
    uint8_t type, length, bus, source;
    uint32_t gsi;
    uint16_t flags;
} __attribute__((packed));
struct madt_nmi {
    uint8_t type, length, uid;
    uint16_t flags;
    uint8_t lint;
} __attribute__((packed));
struct madt_x2apic_nmi {
    uint8_t type, length;
    uint16_t flags;
    uint32_t uid;
    uint8_t lint, reserved[3];
} __attribute__((packed));
enum {
    MADT_LAPIC = 0,
    MADT_IOAPIC = 1,
    MADT_OVERRIDE = 2,
    MADT_NMI = 4,
    MADT_X2APIC = 9,
    MADT_X2APIC_NMI = 10,
};
#define MADT_PCAT_COMPAT 1
#define MADT_ENABLED     1
#define MADT_LEVEL_HIGH  0x000d
#define MADT_ALL_CPUS    0xff
#define MADT_ALL_X2APIC  0xffffffff
#define MADT_LINT_NMI    1

struct mcfg {
    struct header header;
    uint64_t reserved0;
    uint64_t base;
    uint16_t segment;
    uint8_t first_bus, last_bus;
    uint32_t reserved1;
} __attribute__((packed));

static uint8_t checksum(const void *data, size_t length)
{
    const uint8_t *p = data;
    uint8_t sum = 0;

    while (length--)
        sum += *p++;
    return (uint8_t)-sum;
}

/* ---- tables one after the other ---- */

struct area {
    struct machine *machine;
    uint64_t next;
    bool full;
};

/* Places LENGTH bytes; their address. */
static uint64_t place(struct area *a, const void *data, size_t length)
{
    uint64_t at = ALIGN_UP(a->next, 64);

    if (at + length > LAYOUT_RSDP || !ram_write(a->machine, at, data, length))
        a->full = true;
    a->next = at + length;
    return at;
}

/* Fills in a table's header and places it. */
static uint64_t place_table(struct area *a, void *table, size_t length, const char *signature,
                            unsigned revision)
{
    struct header *h = table;

    memcpy(h->signature, signature, 4);
    h->length = (uint32_t)length;
    h->revision = (uint8_t)revision;
    memcpy(h->oem_id, "TRAPEZ", 6);
    memcpy(h->oem_table_id, "VIRT-1  ", 8);
    h->oem_revision = 1;
    memcpy(h->creator_id, "TRPZ", 4);
    h->creator_revision = 1;
    h->checksum = 0;
    h->checksum = checksum(table, length);
    return place(a, table, length);
}

static uint64_t place_dsdt(struct area *a)
{
    struct header h = {0};
    GByteArray *aml = acpi_dsdt(a->machine->config->cpus);

    g_byte_array_prepend(aml, (const uint8_t *)&h, sizeof h);
    uint64_t at = place_table(a, aml->data, aml->len, "DSDT", 2);
    g_byte_array_unref(aml);
    return at;
}

static struct address port(uint16_t at, uint8_t length)
{
    static const uint8_t access[] = {[1] = 1, [2] = 2, [4] = 3};

    return (struct address){SPACE_SYSTEM_IO, (uint8_t)(length * 8), 0,
                            length <= 4 ? access[length] : 1, at};
}

static uint64_t place_fadt(struct area *a, uint64_t dsdt)
{
    const struct facs facs = {
        .signature = {'F', 'A', 'C', 'S'}, .length = sizeof facs, .version = 2};
    uint64_t facs_at = place(a, &facs, sizeof facs);
    a->machine->facs = facs_at;
    struct fadt f = {
        .facs = (uint32_t)facs_at,
        .dsdt = (uint32_t)dsdt,
        .profile = PROFILE_SERVER,
        .sci = IRQ_SCI,
        .pm1a_event = PORT_PM_BASE,
        .pm1a_control = PORT_PM_BASE + PM_CONTROL_OFFSET,
        .pm_timer = PORT_PM_BASE + PM_TIMER_OFFSET,
        .gpe0 = PORT_PM_BASE + PM_GPE0_OFFSET,
        .pm1_event_length = PM_EVENT_LENGTH,
        .pm1_control_length = PM_CONTROL_LENGTH,
        .pm_timer_length = PM_TIMER_LENGTH,
        .gpe0_length = PM_GPE0_LENGTH,
        .c2_latency = 0xfff, /* no C2, no C3 */
        .c3_latency = 0xfff,
        .century = 0x32,
        .boot_flags = FADT_LEGACY | FADT_8042 | FADT_NO_VGA,
        .flags = FADT_WBINVD | FADT_C1 | FADT_NO_SLEEP_KEY | FADT_TIMER_32 | FADT_RESET,
        .reset = port(PORT_RESET, 1),
        .reset_value = RESET_VALUE,
        .minor = 4,
        .x_dsdt = dsdt,
        .x_pm1a_event = port(PORT_PM_BASE, PM_EVENT_LENGTH),
        .x_pm1a_control = port(PORT_PM_BASE + PM_CONTROL_OFFSET, PM_CONTROL_LENGTH),
        .x_pm_timer = port(PORT_PM_BASE + PM_TIMER_OFFSET, PM_TIMER_LENGTH),
        .x_gpe0 = port(PORT_PM_BASE + PM_GPE0_OFFSET, PM_GPE0_LENGTH),
    };

    return place_table(a, &f, sizeof f, "FACP", 6);
}

/* ---- MADT ---- */

static void put_cpus(GByteArray *t, unsigned cpus)
{
    for (unsigned i = 0; i < cpus; i++) {
        const struct madt_lapic small = {MADT_LAPIC, sizeof small, (uint8_t)i, (uint8_t)i,
                                         MADT_ENABLED};
        const struct madt_x2apic large = {MADT_X2APIC, sizeof large, 0, i, MADT_ENABLED, i};

        if (i < APIC_IDS_8BIT)
            g_byte_array_append(t, (const uint8_t *)&small, sizeof small);
        else
            g_byte_array_append(t, (const uint8_t *)&large, sizeof large);
    }
}

static uint64_t place_madt(struct area *a)
{
    const struct madt madt = {.lapic = (uint32_t)LAYOUT_LAPIC, .flags = MADT_PCAT_COMPAT};
    const struct madt_ioapic ioapic = {MADT_IOAPIC, sizeof ioapic,           0,
                                       0,           (uint32_t)LAYOUT_IOAPIC, 0};
    const struct madt_override overrides[] = {
        {MADT_OVERRIDE, sizeof overrides[0], 0, 0, 2, 0}, /* the timer, as irq.c routes it */
        {MADT_OVERRIDE, sizeof overrides[0], 0, IRQ_SCI, IRQ_SCI, MADT_LEVEL_HIGH},
    };
    const struct madt_nmi nmi = {MADT_NMI, sizeof nmi, MADT_ALL_CPUS, 0, MADT_LINT_NMI};
    const struct madt_x2apic_nmi x2apic_nmi = {.type = MADT_X2APIC_NMI,
                                               .length = sizeof x2apic_nmi,
                                               .uid = MADT_ALL_X2APIC,
                                               .lint = MADT_LINT_NMI};
    GByteArray *t = g_byte_array_new();

    g_byte_array_append(t, (const uint8_t *)&madt, sizeof madt);
    put_cpus(t, a->machine->config->cpus);
    g_byte_array_append(t, (const uint8_t *)&ioapic, sizeof ioapic);
    g_byte_array_append(t, (const uint8_t *)overrides, sizeof overrides);
    g_byte_array_append(t, (const uint8_t *)&nmi, sizeof nmi);
    if (a->machine->config->cpus > APIC_IDS_8BIT)
        g_byte_array_append(t, (const uint8_t *)&x2apic_nmi, sizeof x2apic_nmi);
    uint64_t at = place_table(a, t->data, t->len, "APIC", 4);
    g_byte_array_unref(t);
    return at;
}

static uint64_t place_mcfg(struct area *a)
{
    struct mcfg m = {.base = LAYOUT_ECAM, .last_bus = (LAYOUT_ECAM_SIZE >> 20) - 1};

    return place_table(a, &m, sizeof m, "MCFG", 1);
}

static void write_rsdp(struct area *a, uint64_t xsdt)
{
    struct rsdp r = {.revision = 2, .length = sizeof r, .xsdt = xsdt};

    memcpy(r.signature, "RSD PTR ", 8);
    memcpy(r.oem_id, "TRAPEZ", 6);
    r.checksum = checksum(&r, 20); /* ACPI 1.0's part */
    r.extended_checksum = checksum(&r, sizeof r);
    if (!ram_write(a->machine, LAYOUT_RSDP, &r, sizeof r))
        a->full = true;
}

uint32_t acpi_waking_vector(struct machine *m)
{
    uint32_t vector = 0;

    ram_read(m, m->facs + offsetof(struct facs, waking_vector), &vector, sizeof vector);
    return GUINT32_FROM_LE(vector);
}

bool acpi_write(struct machine *m, GError **error)
{
    struct area a = {.machine = m, .next = ACPI_BASE};
    uint64_t dsdt = place_dsdt(&a);
    struct {
        struct header header;
        uint64_t table[3];
    } __attribute__((packed))
    xsdt = {.table = {place_fadt(&a, dsdt), place_madt(&a), place_mcfg(&a)}};

    write_rsdp(&a, place_table(&a, &xsdt, sizeof xsdt, "XSDT", 1));
    if (a.full)
        g_set_error(error, MACHINE_ERROR, MACHINE_ERROR_CONFIG,
                    "--cpus: the ACPI tables of so many vCPUs do not fit");
    return !a.full;
}
