/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* VMCALL and VMMCALL of a guest: Linux's hypercalls (Documentation/virt/kvm/x86/hypercalls.rst). */
#include "guest-cpuid.h"
#include "ioctl.h"

#include <errno.h>
#include <linux/kvm_para.h>
#include <sched.h>
#include <string.h>
#include <time.h>

/* Number and arguments, as wide as the guest's registers now are. */
struct hypercall {
    uint64_t number, a0, a1, a2, a3;
    bool wide; /* 64-bit code */
};

/* KVM_HC_KICK_CPU: wake the vCPU whose APIC id is given. */
static int64_t kick_cpu(struct vcpu *v, const struct hypercall *h)
{
    struct vcpu *target = h->a1 <= UINT32_MAX ? vm_vcpu_by_id(v->vm, (uint32_t)h->a1) : NULL;
    if (target)
        vcpu_request(target, VCPU_REQUEST_UNHALT);
    sched_yield();
    return 0;
}

/* KVM_HC_SCHED_YIELD: which thread runs next is the kernel's choice. */
static int64_t yield(struct vcpu *v, const struct hypercall *h)
{
    (void)h;
    v->stats.directed_yields++;
    sched_yield();
    return 0;
}

static int64_t send_ipi(struct vcpu *v, const struct hypercall *h)
{
    struct irqchip *chip = atomic_load_explicit(&v->vm->irqchip, memory_order_relaxed);
    const uint64_t bits[2] = {h->a0, h->a1};
    if (!chip)
        return 0;
    int r = irqchip_send_ipis(chip, bits, h->wide ? 64 : 32, h->a2, h->a3);
    return r < 0 ? -KVM_EINVAL : r;
}

/* KVM_HC_CLOCK_PAIRING: the host's time of day together with the guest's TSC at that moment. */
static int64_t clock_pairing(struct vcpu *v, const struct hypercall *h)
{
    struct timespec now;
    if (h->a1 != KVM_CLOCK_PAIRING_WALLCLOCK)
        return -KVM_EOPNOTSUPP;
    clock_gettime(CLOCK_REALTIME, &now);
    const struct kvm_clock_pairing pairing = {
        .sec = now.tv_sec, .nsec = now.tv_nsec, .tsc = vcpu_tsc(v)};
    return memory_write(v->vm->memory, h->a0, &pairing, sizeof(pairing)) < 0 ? -KVM_EFAULT : 0;
}

static void set_result(struct vcpu *v, int64_t result, bool wide)
{
    v->processor->gpr[GPR_RAX] = wide ? (uint64_t)result : (uint32_t)result;
}

static void complete_in_user_space(struct vcpu *v)
{
    const struct kvm_run *run = v->run;
    set_result(v, (int64_t)run->hypercall.ret, run->hypercall.longmode);
    exit_skip(v);
}

/* KVM_HC_MAP_GPA_RANGE: user space's, if it asked for it (KVM_CAP_EXIT_HYPERCALL).  True: KVM_RUN
 * returns. */
static bool map_gpa_range(struct vcpu *v, const struct hypercall *h, int64_t *result)
{
    struct kvm_run *run = v->run;
    *result = -KVM_ENOSYS;
    if (!(v->vm->exit_hypercalls & BIT(KVM_HC_MAP_GPA_RANGE)))
        return false;
    uint64_t page = h->a0 >> PAGE_BITS;
    *result = -KVM_EINVAL;
    if (h->a0 % PAGE_BYTES || !h->a1 || page + h->a1 <= page)
        return false;
    run->exit_reason = KVM_EXIT_HYPERCALL;
    memset(&run->hypercall, 0, sizeof(run->hypercall));
    run->hypercall.nr = KVM_HC_MAP_GPA_RANGE;
    run->hypercall.args[0] = h->a0;
    run->hypercall.args[1] = h->a1;
    run->hypercall.args[2] = h->a2;
    run->hypercall.longmode = h->wide;
    v->complete = complete_in_user_space;
    return true;
}

/* Those that are answered in here; the last two need no feature. */
static const struct {
    uint8_t number;
    int8_t feature; /* KVM_FEATURE_*, or -1 */
    int64_t (*handler)(struct vcpu *v, const struct hypercall *h);
} hypercalls[] = {
    {KVM_HC_KICK_CPU, KVM_FEATURE_PV_UNHALT, kick_cpu},
    {KVM_HC_SEND_IPI, KVM_FEATURE_PV_SEND_IPI, send_ipi},
    {KVM_HC_SCHED_YIELD, KVM_FEATURE_PV_SCHED_YIELD, yield},
    {KVM_HC_CLOCK_PAIRING, -1, clock_pairing},
};

static int64_t answer(struct vcpu *v, const struct hypercall *h)
{
    if (h->number == KVM_HC_VAPIC_POLL_IRQ)
        return 0;
    for (size_t i = 0; i < ARRAY_SIZE(hypercalls); i++) {
        if (hypercalls[i].number != h->number)
            continue;
        if (hypercalls[i].feature >= 0 && !pv_allows(v, (unsigned)hypercalls[i].feature))
            break;
        return hypercalls[i].handler(v, h);
    }
    return -KVM_ENOSYS;
}

/* ---------------------------------------------------------------- the instruction */

static const uint8_t vmcall[3] = {0x0f, 0x01, 0xc1}, vmmcall[3] = {0x0f, 0x01, 0xd9};

/* The processor takes both vendors' instruction.  Linux's KVM knows the host's own only: the other
 * is #UD, unless the quirk (on at first) rewrites it in the guest's memory.  False: #UD. */
static bool instruction_is_right(struct vcpu *v)
{
    struct processor *p = v->processor;
    uint64_t linear = p->rip, gpa;
    uint8_t code[3];
    bool writable;
    if (!(p->mode & MODE_LONG && p->segment[SEG_CS].access_rights & AR_L))
        linear = (uint32_t)(linear + p->segment[SEG_CS].base);
    const uint8_t *native = v->vm->system->amd ? vmmcall : vmcall;
    /* One with prefixes, or across two pages, works and is left alone. */
    if ((linear & PAGE_OFFSET_MASK) > PAGE_BYTES - sizeof(code) ||
        !processor_translate(p, linear, &gpa, &writable, NULL) ||
        memory_read(v->vm->memory, gpa, code, sizeof(code)) < 0)
        return true;
    const uint8_t *other = native == vmcall ? vmmcall : vmcall;
    if (memcmp(code, other, sizeof(code)))
        return true;
    if (v->vm->disabled_quirks & KVM_X86_QUIRK_FIX_HYPERCALL_INSN)
        return false;
    if (writable)
        memory_write(v->vm->memory, gpa, native, sizeof(code));
    return true;
}

int hypercall_exit(struct vcpu *v)
{
    struct processor *p = v->processor;
    if (!instruction_is_right(v)) {
        queue_exception(v, VECTOR_UD);
        return 1;
    }
    struct hypercall h = {.wide = p->mode & MODE_LONG && p->segment[SEG_CS].access_rights & AR_L};
    uint64_t mask = h.wide ? ~0ull : UINT32_MAX;
    h.number = p->gpr[GPR_RAX] & mask;
    h.a0 = p->gpr[GPR_RBX] & mask;
    h.a1 = p->gpr[GPR_RCX] & mask;
    h.a2 = p->gpr[GPR_RDX] & mask;
    h.a3 = p->gpr[GPR_RSI] & mask;
    int64_t result;
    if (p->cpl)
        result = -KVM_EPERM;
    else if (h.number != KVM_HC_MAP_GPA_RANGE)
        result = answer(v, &h);
    else if (map_gpa_range(v, &h, &result))
        return 0;
    set_result(v, result, h.wide);
    return exit_skip(v);
}
