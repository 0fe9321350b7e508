/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A vCPU's whole state, got and set by a table of requests, with its MSRs beside them. */
#include "core.h"
#include "vcpu.h"

#include <errno.h>
#include <string.h>

struct machine_vcpu_state {
    struct kvm_sregs sregs;
    struct kvm_regs regs;
    uint8_t xsave[sizeof(struct kvm_xsave)] __attribute__((aligned(64)));
    struct kvm_xcrs xcrs;
    struct kvm_debugregs debug;
    struct kvm_vcpu_events events;
    struct kvm_lapic_state lapic;
    struct kvm_mp_state mp;
    struct kvm_msrs *msrs;
};

/* The parts, in the order in which they are set: EFER and the APIC base come before what depends on
 * them, and XCR0 before the vector state it permits. */
static const struct part {
    const char *name;
    unsigned long get, set;
    uint32_t offset;
    bool optional; /* an engine may not have it */
} parts[] = {
#define PART(get, set, member, optional)                                                           \
    {                                                                                              \
#set, get, set, offsetof(struct machine_vcpu_state, member), optional                      \
    }
    PART(KVM_GET_SREGS, KVM_SET_SREGS, sregs, false),
    PART(KVM_GET_XCRS, KVM_SET_XCRS, xcrs, true),
    PART(KVM_GET_XSAVE, KVM_SET_XSAVE, xsave, true),
    PART(KVM_GET_DEBUGREGS, KVM_SET_DEBUGREGS, debug, true),
    PART(KVM_GET_LAPIC, KVM_SET_LAPIC, lapic, false),
    PART(KVM_GET_REGS, KVM_SET_REGS, regs, false),
    PART(KVM_GET_VCPU_EVENTS, KVM_SET_VCPU_EVENTS, events, true),
    PART(KVM_GET_MP_STATE, KVM_SET_MP_STATE, mp, false),
#undef PART
};

#define MSR_TSC        0x10
#define MSR_TSC_ADJUST 0x3b

/* The time-stamp counters run on: setting them one by one would set the vCPUs' apart. */
static bool msr_is_kept(uint32_t index)
{
    return index == MSR_TSC || index == MSR_TSC_ADJUST;
}

/* The MSRs the engine would save; NULL when it has no list. */
static struct kvm_msr_list *msr_list(struct machine *m)
{
    struct kvm_msr_list probe = {0};
    long result =
        engine_ioctl_pointer(m->engine, m->engine->system, KVM_GET_MSR_INDEX_LIST, &probe);

    if (result != -E2BIG || probe.nmsrs > 4096)
        return NULL;
    struct kvm_msr_list *list =
        g_malloc0(sizeof *list + (size_t)probe.nmsrs * sizeof list->indices[0]);
    list->nmsrs = probe.nmsrs;
    if (engine_ioctl_pointer(m->engine, m->engine->system, KVM_GET_MSR_INDEX_LIST, list) < 0)
        g_clear_pointer(&list, g_free);
    return list;
}

/* Room for one MSR. */
static struct kvm_msrs *one_msr(void)
{
    struct kvm_msrs *one = g_malloc0(sizeof *one + sizeof one->entries[0]);

    one->nmsrs = 1;
    return one;
}

/* Those of the listed MSRs that this vCPU has, with their values. */
static struct kvm_msrs *get_msrs(struct machine_vcpu *v)
{
    struct machine *m = v->machine;
    g_autofree struct kvm_msr_list *list = msr_list(m);
    unsigned room = list ? list->nmsrs : 0;
    struct kvm_msrs *all = g_malloc0(sizeof *all + room * sizeof all->entries[0]);
    g_autofree struct kvm_msrs *one = one_msr();

    for (unsigned i = 0; i < room; i++) {
        one->entries[0] = (struct kvm_msr_entry){.index = list->indices[i]};
        if (!msr_is_kept(list->indices[i]) &&
            engine_ioctl_pointer(m->engine, v->file, KVM_GET_MSRS, one) == 1)
            all->entries[all->nmsrs++] = one->entries[0];
    }
    return all;
}

/* Sets them; one that the engine does not take (a read-only one) is passed over. */
static void set_msrs(struct machine_vcpu *v, const struct kvm_msrs *all)
{
    g_autofree struct kvm_msrs *one = one_msr();

    for (unsigned i = 0; i < all->nmsrs; i++) {
        one->entries[0] = all->entries[i];
        engine_ioctl_pointer(v->machine->engine, v->file, KVM_SET_MSRS, one);
    }
}

struct machine_vcpu_state *machine_vcpu_state_get(struct machine_vcpu *v, GError **error)
{
    struct machine_vcpu_state *s = g_new0(struct machine_vcpu_state, 1);

    for (unsigned i = 0; i < ARRAY_SIZE(parts); i++) {
        const struct part *p = &parts[i];
        long result =
            engine_ioctl_pointer(v->machine->engine, v->file, p->get, (char *)s + p->offset);

        if (result < 0 && !p->optional) {
            core_error(error, v->machine, p->name, result);
            machine_vcpu_state_free(s);
            return NULL;
        }
    }
    s->msrs = get_msrs(v);
    return s;
}

bool machine_vcpu_state_set(struct machine_vcpu *v, const struct machine_vcpu_state *s,
                            GError **error)
{
    for (unsigned i = 0; i < ARRAY_SIZE(parts); i++) {
        const struct part *p = &parts[i];
        long result =
            engine_ioctl_pointer(v->machine->engine, v->file, p->set, (char *)s + p->offset);

        if (result < 0 && !p->optional)
            return core_error(error, v->machine, p->name, result);
        if (i == 0)
            set_msrs(v, s->msrs);
    }
    return true;
}

void machine_vcpu_state_free(struct machine_vcpu_state *s)
{
    if (!s)
        return;
    g_free(s->msrs);
    g_free(s);
}
