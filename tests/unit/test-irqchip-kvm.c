/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Linux's own irqchip as the oracle of ours: the same random states, lines, messages and MSR writes
 * go to both, and must give the same results and states.  No guest is run.  Skipped without
 * /dev/kvm.  Left out is what differs on purpose: lowest-priority arbitration, illegal vectors
 * (Linux does not report errors), the PIC's special mask mode (Linux has none), GSI 8 (Linux tracks
 * its EOIs for a status of its own).
 */
#include "irqchip-fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define ROUNDS 300
#define CPUS   4

struct pair {
    struct board ours;
    int system, vm, vcpu[CPUS];
};

static int result(int r)
{
    return r < 0 ? -errno : r;
}

/* Linux checks x2APIC against the vCPU's CPUID. */
static void copy_cpuid(struct pair *p)
{
    struct kvm_cpuid2 *cpuid = g_malloc0(sizeof(*cpuid) + 256 * sizeof(cpuid->entries[0]));

    cpuid->nent = 256;
    g_assert_cmpint(ioctl(p->system, KVM_GET_SUPPORTED_CPUID, cpuid), ==, 0);
    for (unsigned i = 0; i < CPUS; i++)
        g_assert_cmpint(ioctl(p->vcpu[i], KVM_SET_CPUID2, cpuid), ==, 0);
    g_free(cpuid);
}

static bool pair_init(struct pair *p)
{
    const struct kvm_pit_config pit = {.flags = KVM_PIT_SPEAKER_DUMMY};

    p->system = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    p->vm = p->system < 0 ? -1 : ioctl(p->system, KVM_CREATE_VM, 0);
    if (p->vm < 0) {
        g_test_skip("no usable /dev/kvm to compare with");
        if (p->system >= 0)
            close(p->system);
        return false;
    }
    g_assert_cmpint(ioctl(p->vm, KVM_CREATE_IRQCHIP), ==, 0);
    g_assert_cmpint(ioctl(p->vm, KVM_CREATE_PIT2, &pit), ==, 0);
    for (unsigned i = 0; i < CPUS; i++) {
        p->vcpu[i] = ioctl(p->vm, KVM_CREATE_VCPU, i);
        g_assert_cmpint(p->vcpu[i], >=, 0);
    }
    copy_cpuid(p);
    board_init(&p->ours, CPUS);
    g_assert_cmpint(pit_create(p->ours.chip, &pit), ==, 0);
    return true;
}

static void pair_free(struct pair *p)
{
    for (unsigned i = 0; i < CPUS; i++)
        close(p->vcpu[i]);
    close(p->vm);
    close(p->system);
    board_free(&p->ours);
}

/* ---------------------------------------------------------------- comparing */

static void compare_chips(struct pair *p)
{
    struct kvm_irqchip theirs = {0}, ours = {0};

    for (unsigned id = 0; id < KVM_NR_IRQCHIPS; id++) {
        theirs.chip_id = ours.chip_id = id;
        g_assert_cmpint(ioctl(p->vm, KVM_GET_IRQCHIP, &theirs), ==, 0);
        g_assert_cmpint(irqchip_get_chip(p->ours.chip, &ours), ==, 0);
        if (id == KVM_IRQCHIP_IOAPIC) {
            g_assert_cmphex(ours.chip.ioapic.irr, ==, theirs.chip.ioapic.irr);
            g_assert_cmphex(ours.chip.ioapic.id, ==, theirs.chip.ioapic.id);
            g_assert_cmphex(ours.chip.ioapic.base_address, ==, theirs.chip.ioapic.base_address);
            g_assert_cmpmem(ours.chip.ioapic.redirtbl, sizeof(ours.chip.ioapic.redirtbl),
                            theirs.chip.ioapic.redirtbl, sizeof(ours.chip.ioapic.redirtbl));
        } else {
            const uint8_t *a = (uint8_t *)&ours.chip.pic, *b = (uint8_t *)&theirs.chip.pic;
            for (unsigned i = 0; i < sizeof(ours.chip.pic); i++)
                if (a[i] != b[i])
                    g_error("PIC %u byte %u: ours 0x%x, Linux's 0x%x", id, i, a[i], b[i]);
        }
    }
}

/* Linux brings PPR up to date when the vCPU runs, and not always before. */
static void compare_lapics(struct pair *p, bool ppr)
{
    struct kvm_lapic_state theirs, ours;

    for (unsigned i = 0; i < CPUS; i++) {
        g_assert_cmpint(ioctl(p->vcpu[i], KVM_GET_LAPIC, &theirs), ==, 0);
        g_assert_cmpint(lapic_get_state(p->ours.cpu[i].lapic, &ours), ==, 0);
        for (unsigned offset = 0; offset < KVM_APIC_REG_SIZE; offset += 16) {
            uint32_t a, b;
            memcpy(&a, ours.regs + offset, 4);
            memcpy(&b, theirs.regs + offset, 4);
            if (a != b && (ppr || offset != R_PPR))
                g_error("LAPIC %u register 0x%x: ours 0x%x, Linux's 0x%x", i, offset, a, b);
        }
    }
}

static void set_chip(struct pair *p, const struct kvm_irqchip *state)
{
    g_assert_cmpint(ioctl(p->vm, KVM_SET_IRQCHIP, state), ==, 0);
    g_assert_cmpint(irqchip_set_chip(p->ours.chip, state), ==, 0);
}

static int set_lapic(struct pair *p, unsigned cpu, const struct kvm_lapic_state *state)
{
    int theirs = result(ioctl(p->vcpu[cpu], KVM_SET_LAPIC, state));
    g_assert_cmpint(lapic_set_state(p->ours.cpu[cpu].lapic, state), ==, theirs);
    return theirs;
}

static void put(struct kvm_lapic_state *s, unsigned offset, uint32_t value)
{
    memcpy(s->regs + offset, &value, sizeof(value));
}

static uint32_t random32(void)
{
    return (uint32_t)g_test_rand_int();
}

static unsigned below(unsigned limit)
{
    return random32() % limit;
}

/* ---------------------------------------------------------------- tests */

static void test_fresh(void)
{
    struct pair p;
    struct kvm_pit_state2 theirs, ours;

    if (!pair_init(&p))
        return;
    compare_chips(&p);
    compare_lapics(&p, false);
    g_assert_cmpint(ioctl(p.vm, KVM_GET_PIT2, &theirs), ==, 0);
    g_assert_cmpint(pit_get(p.ours.chip, &ours), ==, 0);
    for (unsigned i = 0; i < 3; i++)
        ours.channels[i].count_load_time = theirs.channels[i].count_load_time = 0;
    g_assert_cmpmem(&ours, sizeof(ours), &theirs, sizeof(theirs));
    pair_free(&p);
}

static void random_pic(struct pair *p, unsigned id)
{
    struct kvm_irqchip s = {.chip_id = id};
    struct kvm_pic_state *pic = &s.chip.pic;

    pic->last_irr = (uint8_t)random32();
    pic->irr = (uint8_t)random32();
    pic->imr = (uint8_t)random32();
    pic->isr = (uint8_t)(random32() & random32());
    pic->priority_add = (uint8_t)below(8);
    pic->irq_base = (uint8_t)(below(32) * 8);
    pic->special_fully_nested_mode = (uint8_t)below(2);
    pic->auto_eoi = (uint8_t)below(2);
    pic->elcr_mask = id ? 0xde : 0xf8;
    pic->elcr = (uint8_t)random32() & pic->elcr_mask;
    set_chip(p, &s);
}

static void random_ioapic(struct pair *p)
{
    struct kvm_irqchip s = {.chip_id = KVM_IRQCHIP_IOAPIC};
    struct kvm_ioapic_state *io = &s.chip.ioapic;

    io->base_address = 0xfec00000;
    io->id = below(16);
    io->irr = random32() & random32() & 0xffffff;
    for (unsigned pin = 0; pin < KVM_IOAPIC_NUM_PINS; pin++) {
        io->redirtbl[pin].fields.vector = (uint8_t)(16 + below(240));
        io->redirtbl[pin].fields.dest_mode = below(2);
        io->redirtbl[pin].fields.trig_mode = below(2);
        io->redirtbl[pin].fields.mask = below(4) == 0;
        io->redirtbl[pin].fields.remote_irr = io->redirtbl[pin].fields.trig_mode && below(4) == 0;
        io->redirtbl[pin].fields.dest_id = (uint8_t)(below(8) ? below(8) : 0xff);
    }
    set_chip(p, &s);
}

/* An idle LAPIC, mostly enabled by software, with a random logical destination, and, if WILD,
 * random id and model. */
static void random_lapic(struct pair *p, unsigned cpu, bool wild)
{
    struct kvm_lapic_state s;

    memset(&s, 0, sizeof(s));
    put(&s, R_ID, wild && below(4) == 0 ? below(CPUS) << 24 : cpu << 24);
    put(&s, R_SVR, below(6) ? 0x1ff : 0xff);
    put(&s, R_LDR, (wild && below(2) ? random32() & 0xff : 1u << cpu) << 24);
    put(&s, R_DFR, wild && below(3) == 0 ? 0x0fffffff : 0xffffffff);
    put(&s, R_TPR, below(256));
    for (unsigned offset = R_LVTT; offset <= R_LVTERR; offset += 16)
        put(&s, offset, 0x10000);
    set_lapic(p, cpu, &s);
}

static void test_lines(void)
{
    struct pair p;

    if (!pair_init(&p))
        return;
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i < CPUS; i++)
            random_lapic(&p, i, false);
        random_pic(&p, 0);
        random_pic(&p, 1);
        random_ioapic(&p);
        compare_chips(&p);
        compare_lapics(&p, false);
        for (unsigned n = 0; n < 40; n++) {
            struct kvm_irq_level l = {.irq = below(26), .level = below(2)};
            uint32_t gsi = l.irq, level = l.level;
            if (gsi == 8)
                continue;
            g_assert_cmpint(ioctl(p.vm, KVM_IRQ_LINE_STATUS, &l), ==, 0);
            g_assert_cmpint(irqchip_set_line(p.ours.chip, IRQ_SOURCE_USER, gsi, level), ==,
                            l.status);
            compare_chips(&p);
        }
        compare_lapics(&p, false);
    }
    pair_free(&p);
}

static void test_messages(void)
{
    struct pair p;

    if (!pair_init(&p))
        return;
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i < CPUS; i++)
            random_lapic(&p, i, true);
        for (unsigned n = 0; n < 20; n++) {
            uint32_t destination = below(3) ? below(8) : random32() & 0xff;
            bool logical = below(2);
            /* NMI by physical destination only: Linux does not find LAPICs disabled by software by
             * their logical id, though they should take it. */
            struct kvm_msi m = {.address_lo = 0xfee00000 | destination << 12 | logical << 2,
                                .data = (16 + below(240)) | (logical || below(8) ? 0 : 0x400) |
                                        (below(2) ? 0xc000 : 0)};
            int theirs = result(ioctl(p.vm, KVM_SIGNAL_MSI, &m));
            if (theirs == -EPERM) /* on one of its paths Linux tells nobody there from not taken */
                theirs = 0;
            g_assert_cmpint(irqchip_signal_msi(p.ours.chip, &m), ==, theirs);
        }
        compare_lapics(&p, false);
    }
    pair_free(&p);
}

/* KVM_SET_MSRS or KVM_GET_MSRS of one MSR. */
static int one_msr(int vcpu, unsigned long request, uint32_t index, uint64_t *value)
{
    union {
        struct kvm_msrs list;
        uint8_t room[sizeof(struct kvm_msrs) + sizeof(struct kvm_msr_entry)];
    } m = {.list.nmsrs = 1};
    struct kvm_msr_entry *entry = m.list.entries;
    int done;

    entry->index = index;
    entry->data = *value;
    done = ioctl(vcpu, request, &m);
    *value = entry->data;
    return done == 1 ? 0 : -EINVAL;
}

static void set_both(struct pair *p, unsigned cpu, uint32_t index, uint64_t value)
{
    uint64_t argument = value;
    int theirs = one_msr(p->vcpu[cpu], KVM_SET_MSRS, index, &argument);
    int ours = lapic_set_msr(p->ours.cpu[cpu].lapic, index, value, true);

    if (ours != theirs)
        g_error("MSR 0x%x = 0x%llx: ours %d, Linux's %d", index, (unsigned long long)value, ours,
                theirs);
}

/* Register writes and interprocessor interrupts by MSR, as the host may make them. */
static void test_x2apic(void)
{
    struct pair p;

    if (!pair_init(&p))
        return;
    for (unsigned i = 0; i < CPUS; i++) {
        set_both(&p, i, 0x1b, 0xfee00400 | (i == 0 ? 0x100 : 0)); /* no such mode */
        set_both(&p, i, 0x1b, 0xfee00c00 | (i == 0 ? 0x100 : 0));
        set_both(&p, i, 0x80f, 0x1ff);
        set_both(&p, i, 0x835, 0x10000);
    }
    compare_lapics(&p, false);
    for (unsigned n = 0; n < 20 * ROUNDS; n++) {
        static const uint32_t indices[] = {0x808, 0x80b, 0x80d, 0x80e, 0x830, 0x830, 0x830,
                                           0x831, 0x832, 0x836, 0x837, 0x83f, 0x802, 0x803};
        uint32_t index = indices[below(ARRAY_SIZE(indices))];
        uint64_t value = 0;
        switch (index) {
        case 0x808:
            value = below(256);
            break;
        case 0x80b: /* Linux lets the host write other values */
            break;
        case 0x830: /* fixed and NMI; one in eight with a reserved bit */
            value = (16 + below(240)) | (below(8) ? 0 : 0x400) | (uint64_t)below(2) << 11 |
                    (uint64_t)below(4) << 18 | 0x4000 | (below(8) ? 0 : 0x2000) |
                    (uint64_t)(below(8) ? below(16) : random32()) << 32;
            break;
        case 0x832: /* masked: the timer stands still */
            value = 0x10000 | below(256) | (uint64_t)below(2) << 17;
            break;
        case 0x836:
            value = below(0x800) | (uint64_t)below(2) << 16;
            break;
        case 0x837:
            value = below(256) | (uint64_t)below(2) << 16;
            break;
        case 0x83f:
            value = 16 + below(240);
            break;
        default:
            value = random32();
            break;
        }
        set_both(&p, below(CPUS), index, value);
    }
    compare_lapics(&p, false);
    for (unsigned i = 0; i < CPUS; i++) {
        for (uint32_t index = 0x800; index < 0x840; index++) {
            uint64_t theirs = 0, ours = 0;
            int error = one_msr(p.vcpu[i], KVM_GET_MSRS, index, &theirs);
            if (lapic_get_msr(p.ours.cpu[i].lapic, index, &ours, true) != error)
                g_error("reading MSR 0x%x: Linux's %d", index, error);
            if (!error && ours != theirs)
                g_error("MSR 0x%x: ours 0x%llx, Linux's 0x%llx", index, (unsigned long long)ours,
                        (unsigned long long)theirs);
        }
    }
    pair_free(&p);
}

/* A random state is set, and got back, in both modes and both formats of the id. */
static void test_states(void)
{
    struct pair p;
    struct kvm_enable_cap cap = {.cap = KVM_CAP_X2APIC_API, .args = {1}};
    struct kvm_lapic_state s;

    if (!pair_init(&p))
        return;
    for (unsigned round = 0; round < 2 * ROUNDS; round++) {
        unsigned cpu = below(CPUS);
        if (round == ROUNDS) {
            g_assert_cmpint(ioctl(p.vm, KVM_ENABLE_CAP, &cap), ==, 0);
            g_assert_cmpint(irqchip_set_x2apic_api(p.ours.chip, 1), ==, 0);
        }
        set_both(&p, cpu, 0x1b, 0xfee00800 | (below(2) ? 0x400 : 0));
        memset(&s, 0, sizeof(s));
        put(&s, R_ID, below(2) ? cpu : cpu << 24);
        put(&s, R_SVR, random32() & 0x1ff);
        put(&s, R_TPR, below(256));
        put(&s, R_LDR, random32() & 0xff000000);
        put(&s, R_DFR, random32() | 0x0fffffff);
        put(&s, R_ICR, random32() & 0xcfff);
        put(&s, R_ICR2, random32() & 0xff000000);
        put(&s, R_ESR, random32() & 0xff);
        for (unsigned offset = R_LVTT; offset <= R_LVTERR; offset += 16)
            put(&s, offset, 0x10000 | below(256));
        for (unsigned offset = R_ISR; offset <= R_IRR + 0x70; offset += 16)
            put(&s, offset, offset % 0x80 == 0 ? 0 : random32());
        if (set_lapic(&p, cpu, &s) < 0) { /* a wrong id; Linux has changed some of it by then */
            put(&s, R_ID, cpu);
            g_assert_cmpint(set_lapic(&p, cpu, &s), ==, 0);
        }
        compare_lapics(&p, false);
    }
    pair_free(&p);
}

static void test_routing_errors(void)
{
    struct pair p;
    struct kvm_irq_routing *r;
    const size_t bytes = sizeof(*r) + 6 * sizeof(r->entries[0]);

    if (!pair_init(&p))
        return;
    r = g_malloc(bytes);
    for (unsigned round = 0; round < 20 * ROUNDS; round++) {
        memset(r, 0, bytes);
        r->nr = below(6);
        r->flags = below(50) == 0;
        for (unsigned i = 0; i < r->nr; i++) {
            struct kvm_irq_routing_entry *e = &r->entries[i];
            e->gsi = below(12) ? below(8) : 4090 + below(10);
            e->flags = below(50) == 0;
            if (below(2)) {
                e->type = KVM_IRQ_ROUTING_MSI;
                e->u.msi.address_lo = 0xfee00000;
            } else {
                e->type = below(40) ? KVM_IRQ_ROUTING_IRQCHIP : 77;
                e->u.irqchip.irqchip = below(20) ? below(3) : 3;
                e->u.irqchip.pin = below(25);
                if (e->u.irqchip.irqchip < 2)
                    e->u.irqchip.pin = below(9);
            }
        }
        int theirs = result(ioctl(p.vm, KVM_SET_GSI_ROUTING, r));
        int ours = irqchip_set_routing(p.ours.chip, r->entries, r->nr, r->flags);
        g_assert_cmpint(ours, ==, theirs);
    }
    g_free(r);
    pair_free(&p);
}

static void test_eventfd_errors(void)
{
    static const uint32_t lengths[] = {0, 1, 2, 3, 4, 8, 16};
    struct pair p;
    struct ioeventfd_set *set;
    int fds[4];

    if (!pair_init(&p))
        return;
    set = ioeventfd_set_new();
    for (unsigned i = 0; i < 3; i++)
        fds[i] = eventfd(0, EFD_CLOEXEC);
    fds[3] = open("/dev/null", O_RDONLY | O_CLOEXEC);
    for (unsigned round = 0; round < 20 * ROUNDS; round++) {
        struct kvm_ioeventfd e = {.addr = below(40) ? 0x1000 + below(4) : UINT64_MAX - below(10),
                                  .len = lengths[below(ARRAY_SIZE(lengths))],
                                  .datamatch = below(3),
                                  .fd = below(30) ? fds[below(4)] : -1,
                                  .flags = below(8) | (below(30) ? 0 : 32)};
        int theirs = result(ioctl(p.vm, KVM_IOEVENTFD, &e));
        g_assert_cmpint(ioeventfd_assign(set, &e), ==, theirs);
    }
    for (unsigned round = 0; round < 5 * ROUNDS; round++) {
        struct kvm_irqfd f = {.fd = (__u32)(below(30) ? fds[below(4)] : -1),
                              .gsi = below(20) ? 3 + below(3) : 5000,
                              .flags = below(30) ? below(2) : below(8),
                              .resamplefd = (__u32)fds[below(4)]};
        int theirs = result(ioctl(p.vm, KVM_IRQFD, &f));
        g_assert_cmpint(irqfd_assign(p.ours.chip, &f), ==, theirs);
    }
    ioeventfd_set_free(set);
    pair_free(&p);
    for (unsigned i = 0; i < 4; i++)
        close(fds[i]);
}

static void test_pit_states(void)
{
    struct pair p;

    if (!pair_init(&p))
        return;
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct kvm_pit_state2 s, theirs, ours;
        memset(&s, 0, sizeof(s));
        for (unsigned i = 0; i < 3; i++) {
            s.channels[i].count = 20000 + below(45537);
            s.channels[i].mode = (uint8_t)below(6);
            s.channels[i].gate = i == 2 ? (uint8_t)below(2) : 1;
            s.channels[i].rw_mode = (uint8_t)(1 + below(3));
            s.channels[i].read_state = s.channels[i].write_state = s.channels[i].rw_mode;
            s.channels[i].latched_count = (uint16_t)random32();
        }
        s.flags = below(4) & KVM_PIT_FLAGS_HPET_LEGACY;
        g_assert_cmpint(ioctl(p.vm, KVM_SET_PIT2, &s), ==, 0);
        g_assert_cmpint(pit_set(p.ours.chip, &s), ==, 0);
        g_assert_cmpint(ioctl(p.vm, KVM_GET_PIT2, &theirs), ==, 0);
        g_assert_cmpint(pit_get(p.ours.chip, &ours), ==, 0);
        for (unsigned i = 0; i < 3; i++)
            ours.channels[i].count_load_time = theirs.channels[i].count_load_time = 0;
        g_assert_cmpmem(&ours, sizeof(ours), &theirs, sizeof(theirs));
    }
    pair_free(&p);
}

void add_kvm_tests(void)
{
    g_test_add_func("/irqchip/linux/fresh", test_fresh);
    g_test_add_func("/irqchip/linux/lines", test_lines);
    g_test_add_func("/irqchip/linux/messages", test_messages);
    g_test_add_func("/irqchip/linux/x2apic", test_x2apic);
    g_test_add_func("/irqchip/linux/states", test_states);
    g_test_add_func("/irqchip/linux/pit", test_pit_states);
    g_test_add_func("/irqchip/linux/routing-errors", test_routing_errors);
    g_test_add_func("/irqchip/linux/eventfd-errors", test_eventfd_errors);
}
