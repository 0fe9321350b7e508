/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Registers to and from KVM's structures. */
#include "guest-cpuid.h"
#include "ioctl.h"
#include "msr.h"

#include <errno.h>
#include <string.h>

/* ---------------------------------------------------------------- general registers */

void state_get_regs(struct vcpu *v, struct kvm_regs *r)
{
    const struct processor *p = v->processor;
    const uint64_t *g = p->gpr;
    *r = (struct kvm_regs){
        .rax = g[GPR_RAX],
        .rbx = g[GPR_RBX],
        .rcx = g[GPR_RCX],
        .rdx = g[GPR_RDX],
        .rsi = g[GPR_RSI],
        .rdi = g[GPR_RDI],
        .rsp = g[GPR_RSP],
        .rbp = g[GPR_RBP],
        .r8 = g[GPR_R8],
        .r9 = g[GPR_R9],
        .r10 = g[GPR_R10],
        .r11 = g[GPR_R11],
        .r12 = g[GPR_R12],
        .r13 = g[GPR_R13],
        .r14 = g[GPR_R14],
        .r15 = g[GPR_R15],
        .rip = p->rip,
        .rflags = processor_rflags(p),
    };
}

/* User space moved the vCPU elsewhere: what the former instruction waited for is void. */
static void abandon_pending(struct vcpu *v)
{
    v->complete = NULL;
    vmx_abandon_access(v->processor);
}

void state_set_regs(struct vcpu *v, const struct kvm_regs *r)
{
    struct processor *p = v->processor;
    if (r->rip != p->rip)
        abandon_pending(v);
    const uint64_t values[16] = {
        [GPR_RAX] = r->rax, [GPR_RBX] = r->rbx, [GPR_RCX] = r->rcx, [GPR_RDX] = r->rdx,
        [GPR_RSI] = r->rsi, [GPR_RDI] = r->rdi, [GPR_RSP] = r->rsp, [GPR_RBP] = r->rbp,
        [GPR_R8] = r->r8,   [GPR_R9] = r->r9,   [GPR_R10] = r->r10, [GPR_R11] = r->r11,
        [GPR_R12] = r->r12, [GPR_R13] = r->r13, [GPR_R14] = r->r14, [GPR_R15] = r->r15,
    };
    memcpy(p->gpr, values, sizeof(values));
    p->rip = r->rip;
    /* Reserved bits cannot be set: 1, 3, 5, 15 and all above ID. */
    processor_set_rflags(p, (uint32_t)r->rflags & 0x3f7fd7);
    v->exception.pending = false;
    processor_state_changed(p);
}

/* ---------------------------------------------------------------- segments */

static struct kvm_segment get_segment(const struct segment *s)
{
    uint32_t a = s->access_rights;
    return (struct kvm_segment){
        .base = s->base,
        .limit = s->limit,
        .selector = s->selector,
        .type = a & AR_TYPE,
        .s = !!(a & AR_S),
        .dpl = (a & AR_DPL) >> 5,
        .present = !!(a & AR_P) && !(a & AR_UNUSABLE),
        .avl = !!(a & AR_AVL),
        .l = !!(a & AR_L),
        .db = !!(a & AR_DB),
        .g = !!(a & AR_G),
        .unusable = !!(a & AR_UNUSABLE),
    };
}

static struct segment set_segment(const struct kvm_segment *k)
{
    uint32_t a = (k->type & AR_TYPE) | (k->s ? AR_S : 0) | (uint32_t)(k->dpl & 3) << 5 |
                 (k->present ? AR_P : 0) | (k->avl ? AR_AVL : 0) | (k->l ? AR_L : 0) |
                 (k->db ? AR_DB : 0) | (k->g ? AR_G : 0);
    if (k->unusable || !k->present)
        a |= AR_UNUSABLE;
    return (struct segment){
        .selector = k->selector, .access_rights = a, .limit = k->limit, .base = k->base};
}

/* ---------------------------------------------------------------- system registers */

uint64_t vcpu_apic_base(const struct vcpu *v)
{
    return v->lapic ? lapic_get_base(v->lapic) : v->msr.apic_base;
}

/* struct kvm_sregs and kvm_sregs2 are alike up to and including apic_base. */
#define SREGS_COMMON offsetof(struct kvm_sregs, interrupt_bitmap)
_Static_assert(SREGS_COMMON == offsetof(struct kvm_sregs2, flags), "the common part");

static void get_common(struct vcpu *v, struct kvm_sregs *s)
{
    const struct processor *p = v->processor;
    s->cs = get_segment(&p->segment[SEG_CS]);
    s->ds = get_segment(&p->segment[SEG_DS]);
    s->es = get_segment(&p->segment[SEG_ES]);
    s->fs = get_segment(&p->segment[SEG_FS]);
    s->gs = get_segment(&p->segment[SEG_GS]);
    s->ss = get_segment(&p->segment[SEG_SS]);
    s->tr = get_segment(&p->segment[SEG_TR]);
    s->ldt = get_segment(&p->segment[SEG_LDTR]);
    s->gdt = (struct kvm_dtable){.base = p->gdtr.base, .limit = p->gdtr.limit};
    s->idt = (struct kvm_dtable){.base = p->idtr.base, .limit = p->idtr.limit};
    s->cr0 = p->cr0;
    s->cr2 = p->cr2;
    s->cr3 = p->cr3;
    s->cr4 = p->cr4;
    s->cr8 = v->lapic ? lapic_get_cr8(v->lapic) : p->cr8;
    s->efer = p->msr.efer;
    s->apic_base = vcpu_apic_base(v);
}

void state_get_sregs(struct vcpu *v, struct kvm_sregs *s)
{
    memset(s, 0, sizeof(*s));
    get_common(v, s);
    if (v->interrupt_injected && !v->interrupt_soft)
        s->interrupt_bitmap[v->interrupt_vector / 64] |= BIT(v->interrupt_vector % 64);
}

static bool uses_pdptrs(uint64_t cr0, uint64_t cr4, uint64_t efer)
{
    return cr0 & CR0_PG && cr4 & CR4_PAE && !(efer & EFER_LMA);
}

void state_get_sregs2(struct vcpu *v, struct kvm_sregs2 *s)
{
    const struct processor *p = v->processor;
    memset(s, 0, sizeof(*s));
    get_common(v, (struct kvm_sregs *)s);
    if (uses_pdptrs(p->cr0, p->cr4, p->msr.efer)) {
        memcpy(s->pdptrs, p->pdpte, sizeof(s->pdptrs));
        s->flags = KVM_SREGS2_FLAGS_PDPTRS_VALID;
    }
}

#define CR0_DEFINED                                                                                \
    (CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_NW | CR0_CD |     \
     CR0_PG)

static bool common_is_valid(const struct vcpu *v, const struct kvm_sregs *s)
{
    const struct processor *p = v->processor;
    if (s->efer & EFER_LME && s->cr0 & CR0_PG) {
        if (!(s->cr4 & CR4_PAE) || !(s->efer & EFER_LMA))
            return false;
        if (s->cr3 >> p->phys_bits)
            return false;
    } else if (s->efer & EFER_LMA || s->cs.l) {
        return false;
    }
    if (s->cr0 >> 32 || (s->cr0 & CR0_NW && !(s->cr0 & CR0_CD)) ||
        (s->cr0 & CR0_PG && !(s->cr0 & CR0_PE)))
        return false;
    return !(s->cr4 & p->cr4_reserved) && s->cr8 < 16;
}

/* PDPTRS: the four to load, or NULL to read them from memory if they are in use. */
static long set_common(struct vcpu *v, const struct kvm_sregs *s, const uint64_t *pdptrs)
{
    struct processor *p = v->processor;
    if (!common_is_valid(v, s))
        return -EINVAL;
    if (msr_set(v, MSR_IA32_APIC_BASE, s->apic_base, true) < 0)
        return -EINVAL;
    struct segment cs = set_segment(&s->cs);
    if (cs.base != p->segment[SEG_CS].base)
        abandon_pending(v);
    p->segment[SEG_CS] = cs;
    p->segment[SEG_DS] = set_segment(&s->ds);
    p->segment[SEG_ES] = set_segment(&s->es);
    p->segment[SEG_FS] = set_segment(&s->fs);
    p->segment[SEG_GS] = set_segment(&s->gs);
    p->segment[SEG_SS] = set_segment(&s->ss);
    p->segment[SEG_TR] = set_segment(&s->tr);
    p->segment[SEG_LDTR] = set_segment(&s->ldt);
    p->gdtr = (struct descriptor_table){.base = s->gdt.base, .limit = s->gdt.limit};
    p->idtr = (struct descriptor_table){.base = s->idt.base, .limit = s->idt.limit};
    p->cr0 = (s->cr0 & CR0_DEFINED) | CR0_ET;
    p->cr2 = s->cr2;
    p->cr3 = s->cr3;
    p->cr4 = s->cr4;
    p->cr8 = s->cr8;
    p->msr.efer = s->efer & ~p->efer_reserved;
    if (v->lapic)
        lapic_set_cr8(v->lapic, (unsigned)s->cr8);
    if (uses_pdptrs(p->cr0, p->cr4, p->msr.efer)) {
        if (pdptrs)
            memcpy(p->pdpte, pdptrs, sizeof(p->pdpte));
        else
            memory_read(v->vm->memory, p->cr3 & 0xffffffe0, p->pdpte, sizeof(p->pdpte));
    }
    /* The bootstrap processor at its reset vector is no longer halted (kvmtool relies on it). */
    if (vcpu_is_bsp(v) && p->rip == 0xfff0 && cs.selector == 0xf000 && !(p->cr0 & CR0_PE))
        v->mp_state = KVM_MP_STATE_RUNNABLE;
    processor_state_changed(p);
    processor_flush_tlb(p);
    vcpu_request(v, VCPU_REQUEST_EVENT);
    return 0;
}

long state_set_sregs(struct vcpu *v, const struct kvm_sregs *s)
{
    long r = set_common(v, s, NULL);
    if (r < 0)
        return r;
    for (unsigned i = 0; i < KVM_NR_INTERRUPTS; i++)
        if (s->interrupt_bitmap[i / 64] >> i % 64 & 1) {
            v->interrupt_injected = true;
            v->interrupt_soft = false;
            v->interrupt_vector = (uint8_t)i;
            break;
        }
    return 0;
}

long state_set_sregs2(struct vcpu *v, const struct kvm_sregs2 *s)
{
    bool given = s->flags & KVM_SREGS2_FLAGS_PDPTRS_VALID;
    if (s->flags & ~(uint64_t)KVM_SREGS2_FLAGS_PDPTRS_VALID)
        return -EINVAL;
    if (given && !uses_pdptrs(s->cr0, s->cr4, s->efer))
        return -EINVAL;
    return set_common(v, (const struct kvm_sregs *)s, given ? (const uint64_t *)s->pdptrs : NULL);
}

/* ---------------------------------------------------------------- x87, SSE, AVX */

/* FXSAVE's 64-bit layout (SDM volume 1, table 10-2), then the start of the XSAVE header. */
struct legacy_area {
    uint16_t fcw, fsw;
    uint8_t ftw, reserved;
    uint16_t fop;
    uint64_t fip, fdp;
    uint32_t mxcsr, mxcsr_mask;
    uint8_t st[8][16];
    uint8_t xmm[16][16];
    uint8_t unused[96];
    uint64_t xstate_bv;
};
_Static_assert(offsetof(struct legacy_area, xstate_bv) == 512, "XSAVE header");

void state_get_fpu(struct vcpu *v, struct kvm_fpu *f)
{
    struct kvm_xsave image;
    const struct legacy_area *l = (const struct legacy_area *)&image;
    processor_get_xsave(v->processor, &image, sizeof(image));
    memset(f, 0, sizeof(*f));
    f->fcw = l->fcw;
    f->fsw = l->fsw;
    f->ftwx = l->ftw;
    f->last_opcode = l->fop;
    f->last_ip = l->fip;
    f->last_dp = l->fdp;
    f->mxcsr = l->mxcsr;
    memcpy(f->fpr, l->st, sizeof(f->fpr));
    memcpy(f->xmm, l->xmm, sizeof(f->xmm));
}

/* MXCSR is left alone, as on Linux: programs hand in zeros. */
long state_set_fpu(struct vcpu *v, const struct kvm_fpu *f)
{
    struct kvm_xsave image;
    struct legacy_area *l = (struct legacy_area *)&image;
    processor_get_xsave(v->processor, &image, sizeof(image));
    l->fcw = f->fcw;
    l->fsw = f->fsw;
    l->ftw = f->ftwx;
    l->fop = f->last_opcode;
    l->fip = f->last_ip;
    l->fdp = f->last_dp;
    memcpy(l->st, f->fpr, sizeof(f->fpr));
    memcpy(l->xmm, f->xmm, sizeof(f->xmm));
    l->xstate_bv |= 3;
    return processor_set_xsave(v->processor, &image, sizeof(image));
}

void state_get_xcrs(struct vcpu *v, struct kvm_xcrs *x)
{
    memset(x, 0, sizeof(*x));
    x->nr_xcrs = 1;
    x->xcrs[0].value = v->processor->vector.xcr0;
}

long state_set_xcrs(struct vcpu *v, const struct kvm_xcrs *x)
{
    if (x->nr_xcrs > KVM_MAX_XCRS || x->flags)
        return -EINVAL;
    for (unsigned i = 0; i < x->nr_xcrs; i++)
        if (x->xcrs[i].xcr == 0)
            return processor_set_xcr0(v->processor, x->xcrs[i].value);
    return -EINVAL;
}

/* ---------------------------------------------------------------- debug registers, MP state */

void state_get_debugregs(struct vcpu *v, struct kvm_debugregs *d)
{
    const struct processor *p = v->processor;
    bool borrowed = v->guest_debug & KVM_GUESTDBG_USE_HW_BP;
    memset(d, 0, sizeof(*d));
    memcpy(d->db, borrowed ? v->guest_dr : p->dr, sizeof(d->db));
    d->dr6 = p->dr6;
    d->dr7 = borrowed ? v->guest_dr7 : p->dr7;
}

long state_set_debugregs(struct vcpu *v, const struct kvm_debugregs *d)
{
    struct processor *p = v->processor;
    bool borrowed = v->guest_debug & KVM_GUESTDBG_USE_HW_BP;
    if (d->flags || d->dr6 >> 32 || d->dr7 >> 32)
        return -EINVAL;
    memcpy(borrowed ? v->guest_dr : p->dr, d->db, sizeof(d->db));
    /* Reserved bits read as SDM volume 3, 18.2 says. */
    p->dr6 = (d->dr6 & 0xe00f) | 0xffff0ff0;
    *(borrowed ? &v->guest_dr7 : &p->dr7) = (d->dr7 & 0xffff2bff) | 0x400;
    processor_state_changed(p);
    return 0;
}

long state_set_mp_state(struct vcpu *v, const struct kvm_mp_state *m)
{
    switch (m->mp_state) {
    case KVM_MP_STATE_RUNNABLE:
        break;
    case KVM_MP_STATE_UNINITIALIZED:
    case KVM_MP_STATE_INIT_RECEIVED:
    case KVM_MP_STATE_HALTED:
    case KVM_MP_STATE_SIPI_RECEIVED:
    case KVM_MP_STATE_AP_RESET_HOLD:
        if (!v->lapic)
            return -EINVAL;
        break;
    default:
        return -EINVAL;
    }
    v->mp_state = m->mp_state;
    if (m->mp_state == KVM_MP_STATE_SIPI_RECEIVED) {
        v->mp_state = KVM_MP_STATE_INIT_RECEIVED;
        vcpu_request(v, VCPU_REQUEST_SIPI);
    }
    vcpu_request(v, VCPU_REQUEST_EVENT);
    return 0;
}
