/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Halting, identification, time stamps, caches and TLB invalidation, and port permissions. */
#include "system.h"

#include <sched.h>
#include <x86intrin.h>

/* When level 0 lets the guest halt by itself, the wait is over at once: every halting loop allows
 * for that, as any interrupt ends it. */
const struct insn *system_hlt(struct processor *p, const struct insn *i)
{
    require_cpl0(p);
    if (likely(p->intercepts & INTERCEPT_HLT))
        vm_exit(p, EXIT_REASON_HLT, 0);
    sched_yield();
    return insn_resync(p, i);
}

const struct insn *system_cpuid(struct processor *p, const struct insn *i)
{
    (void)i;
    vm_exit(p, EXIT_REASON_CPUID, 0);
}

const struct insn *system_vmcall(struct processor *p, const struct insn *i)
{
    (void)i;
    vm_exit(p, EXIT_REASON_VMCALL, 0);
}

uint64_t processor_tsc(const struct processor *p)
{
    /* A guest that put LFENCE before it gets a TSC no older than what it loaded before. */
    _mm_lfence();
    uint64_t tsc = __rdtsc();
    if (p->vmcs.tsc_multiplier)
        tsc = (uint64_t)((unsigned __int128)tsc * p->vmcs.tsc_multiplier >> 48);
    return tsc + p->vmcs.tsc_offset;
}

static void read_tsc(struct processor *p, unsigned reason)
{
    if (p->cr4 & CR4_TSD && p->cpl > 0)
        raise_gp(p);
    if (p->intercepts & INTERCEPT_RDTSC)
        vm_exit(p, reason, 0);
    uint64_t tsc = processor_tsc(p);
    p->gpr[REG_RAX] = (uint32_t)tsc;
    p->gpr[REG_RDX] = tsc >> 32;
}

const struct insn *system_rdtsc(struct processor *p, const struct insn *i)
{
    read_tsc(p, EXIT_REASON_RDTSC);
    return i + 1;
}

/* RDTSCP and RDPID have one control. */
static void require_rdtscp(struct processor *p)
{
    if (!(p->vmcs.cpu_based_controls2 & CPU2_ENABLE_RDTSCP))
        raise_ud(p);
}

const struct insn *system_rdtscp(struct processor *p, const struct insn *i)
{
    require_rdtscp(p);
    read_tsc(p, EXIT_REASON_RDTSCP);
    p->gpr[REG_RCX] = (uint32_t)p->msr.tsc_aux;
    return i + 1;
}

const struct insn *system_rdpid(struct processor *p, const struct insn *i)
{
    require_rdtscp(p);
    reg_write(p, i->rm, p->msr.tsc_aux, in_64bit_code(p) ? 8 : 4);
    return i + 1;
}

/* No performance counter is offered: whatever RCX names does not exist. */
const struct insn *system_rdpmc(struct processor *p, const struct insn *i)
{
    (void)i;
    if (!(p->cr4 & CR4_PCE) && p->cpl > 0)
        raise_gp(p);
    if (p->intercepts & INTERCEPT_RDPMC)
        vm_exit(p, EXIT_REASON_RDPMC, 0);
    raise_gp(p);
}

const struct insn *system_invd(struct processor *p, const struct insn *i)
{
    (void)i;
    require_cpl0(p);
    vm_exit(p, EXIT_REASON_INVD, 0);
}

const struct insn *system_wbinvd(struct processor *p, const struct insn *i)
{
    require_cpl0(p);
    if (p->intercepts & INTERCEPT_WBINVD)
        vm_exit(p, EXIT_REASON_WBINVD, 0);
    return i + 1;
}

const struct insn *system_invlpg(struct processor *p, const struct insn *i)
{
    require_cpl0(p);
    uint64_t linear = p->flat_base[i->seg] + insn_ea(p, i);
    if (!in_64bit_code(p))
        linear = (uint32_t)linear;
    if (p->intercepts & INTERCEPT_INVLPG)
        vm_exit(p, EXIT_REASON_INVLPG, linear);
    if (linear_is_canonical(p, linear))
        tlb_invalidate_page(p, linear);
    return insn_resync(p, i);
}

const struct insn *system_invpcid(struct processor *p, const struct insn *i)
{
    enum { ADDRESS, SINGLE_CONTEXT, ALL_WITH_GLOBAL, ALL };
    if (!(p->vmcs.cpu_based_controls2 & CPU2_ENABLE_INVPCID))
        raise_ud(p);
    if (p->mode & MODE_V86)
        raise_gp(p);
    require_cpl0(p);
    if (p->intercepts & INTERCEPT_INVLPG)
        vm_exit(p, EXIT_REASON_INVPCID, 0);
    uint64_t type = reg_read(p, i->reg, in_64bit_code(p) ? 8 : 4);
    uint64_t descriptor[2];
    mem_read_bytes(p, insn_linear(p, i, sizeof descriptor, MEM_READ), descriptor,
                   sizeof descriptor);
    if (type > ALL || descriptor[0] >> 12)
        raise_gp(p);
    if (type <= SINGLE_CONTEXT && descriptor[0] && !(p->cr4 & CR4_PCIDE))
        raise_gp(p);
    if (type == ADDRESS && !base_is_canonical(p, descriptor[1]))
        raise_gp(p);
    tlb_invalidate_pcid(p, (unsigned)type, descriptor[0], descriptor[1]);
    return insn_resync(p, i);
}

/* MONITOR and MWAIT are not offered; level 0 may still want to see them (KVM ends them as no-ops).
 */
static const struct insn *monitor_wait(struct processor *p, uint32_t intercept, unsigned reason)
{
    if (p->cpl != 0 || !(p->intercepts & intercept))
        raise_ud(p);
    vm_exit(p, reason, 0);
}

const struct insn *system_monitor(struct processor *p, const struct insn *i)
{
    (void)i;
    return monitor_wait(p, INTERCEPT_MONITOR, EXIT_REASON_MONITOR);
}

const struct insn *system_mwait(struct processor *p, const struct insn *i)
{
    (void)i;
    return monitor_wait(p, INTERCEPT_MWAIT, EXIT_REASON_MWAIT);
}

/* SDM volume 1, 19.5.2: the map's base stands at offset 0x66 of a 32- or 64-bit TSS; two bytes are
 * read, so that a byte of ones must follow the map. */
void io_check_permission(struct processor *p, uint16_t port, unsigned size)
{
    if (p->mode & MODE_REAL || (!(p->mode & MODE_V86) && p->cpl <= iopl(p)))
        return;
    const struct segment *tr = &p->segment[SEG_TR];
    if (!(tr->access_rights & 8) || tr->access_rights & AR_UNUSABLE || tr->limit < 0x67)
        raise_gp(p);
    uint32_t map = (uint32_t)mem_read_system(p, system_linear(p, tr->base + 0x66), 2);
    uint32_t at = map + port / 8;
    if (at + 1 > tr->limit)
        raise_gp(p);
    uint32_t bits = (uint32_t)mem_read_system(p, system_linear(p, tr->base + at), 2);
    if (bits >> (port & 7) & ((1u << size) - 1))
        raise_gp(p);
}
