/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A vCPU's CPUID table: KVM_SET_CPUID2, what follows from it, and the CPUID instruction. */
#include "guest-cpuid.h"
#include "ioctl.h"
#include "msr.h"

#include <errno.h>
#include <linux/kvm_para.h>
#include <stdlib.h>
#include <string.h>

const struct cpuid_bit cpuid_x2apic = {1, 0, CPUID_ECX, 21};
const struct cpuid_bit cpuid_tsc_deadline = {1, 0, CPUID_ECX, 24};
const struct cpuid_bit cpuid_mwait = {1, 0, CPUID_ECX, 3};
static const struct cpuid_bit cpuid_invpcid = {7, 0, CPUID_EBX, 10};
static const struct cpuid_bit cpuid_rdpid = {7, 0, CPUID_ECX, 22};
static const struct cpuid_bit cpuid_rdtscp = {0x80000001, 0, CPUID_EDX, 27};
const struct cpuid_bit cpuid_mtrr = {1, 0, CPUID_EDX, 12};
const struct cpuid_bit cpuid_tsc_adjust = {7, 0, CPUID_EBX, 1};
const struct cpuid_bit cpuid_arch_capabilities = {7, 0, CPUID_EDX, 29};

/* CR4 and EFER bits that exist only when the guest's CPUID has a feature.  The features behind the
 * other bits of CR4 are in every processor of 64 bits; as on Linux, CPUID cannot take them away. */
static const struct {
    uint64_t bits;
    struct cpuid_bit needs;
} cr4_bits[] =
    {
        {CR4_PCIDE, {1, 0, CPUID_ECX, 17}},   {CR4_OSXSAVE, {1, 0, CPUID_ECX, 26}},
        {CR4_FSGSBASE, {7, 0, CPUID_EBX, 0}}, {CR4_SMEP, {7, 0, CPUID_EBX, 7}},
        {CR4_SMAP, {7, 0, CPUID_EBX, 20}},    {CR4_UMIP, {7, 0, CPUID_ECX, 2}},
        {CR4_LA57, {7, 0, CPUID_ECX, 16}},
},
  efer_bits[] = {
      {EFER_SCE, {0x80000001, 0, CPUID_EDX, 11}},
      {EFER_NXE, {0x80000001, 0, CPUID_EDX, 20}},
      {EFER_LME | EFER_LMA, {0x80000001, 0, CPUID_EDX, 29}},
      {EFER_AIBRSE, {0x80000021, 0, CPUID_EAX, 8}},
};
#define CR4_ALWAYS                                                                                 \
    (CR4_VME | CR4_PVI | CR4_TSD | CR4_DE | CR4_PSE | CR4_PAE | CR4_MCE | CR4_PGE | CR4_PCE |      \
     CR4_OSFXSR | CR4_OSXMMEXCPT)
#define CR4_KNOWN                                                                                  \
    (CR4_ALWAYS | CR4_PCIDE | CR4_OSXSAVE | CR4_FSGSBASE | CR4_SMEP | CR4_SMAP | CR4_UMIP |        \
     CR4_LA57)
#define EFER_KNOWN (EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE | EFER_AIBRSE)

/* ---------------------------------------------------------------- lookup */

static bool index_matters(const struct kvm_cpuid_entry2 *e)
{
    return e->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX;
}

static struct kvm_cpuid_entry2 *find(const struct vcpu *v, uint32_t function, uint32_t index)
{
    for (unsigned i = 0; i < v->cpuid_count; i++) {
        struct kvm_cpuid_entry2 *e = &v->cpuid[i];
        if (e->function == function && (!index_matters(e) || e->index == index))
            return e;
    }
    return NULL;
}

bool cpuid_has(const struct vcpu *v, const struct cpuid_bit *b)
{
    const struct kvm_cpuid_entry2 *e = find(v, b->function, b->index);
    if (!e)
        return false;
    const uint32_t regs[] = {e->eax, e->ebx, e->ecx, e->edx};
    return regs[b->reg] >> b->bit & 1;
}

bool cpuid_vendor_is_amd(const struct vcpu *v)
{
    const struct kvm_cpuid_entry2 *e = find(v, 0, 0);
    return e && (e->ebx == 0x68747541 /* AuthenticAMD */ || e->ebx == 0x6f677948 /* Hygon */);
}

/* KVM's leaf of features: after its signature, which other hypervisors' leaves may push up. */
static struct kvm_cpuid_entry2 *find_pv_features(const struct vcpu *v)
{
    char signature[12];
    for (uint32_t base = KVM_CPUID_SIGNATURE; base < KVM_CPUID_SIGNATURE + 0x10000; base += 0x100) {
        const struct kvm_cpuid_entry2 *e = find(v, base, 0);
        if (!e)
            continue;
        memcpy(signature, &e->ebx, 4);
        memcpy(signature + 4, &e->ecx, 4);
        memcpy(signature + 8, &e->edx, 4);
        if (!memcmp(signature, KVM_SIGNATURE, sizeof(signature)))
            return find(v, base | (KVM_CPUID_FEATURES & 0xff), 0);
    }
    return NULL;
}

uint32_t cpuid_pv_features(const struct vcpu *v)
{
    const struct kvm_cpuid_entry2 *e = find_pv_features(v);
    return e ? e->eax : 0;
}

/* Size of the standard-format XSAVE area that holds XCR0's components. */
static uint32_t xsave_size(uint64_t xcr0)
{
    return xcr0 & 4 ? 576 + 256 : 576;
}

/* Bits that follow the vCPU's state. */
static void make_dynamic(struct vcpu *v, struct kvm_cpuid_entry2 *e)
{
    const struct processor *p = v->processor;
    switch (e->function) {
    case 1:
        e->ecx &= ~(1u << 27); /* OSXSAVE */
        if (p->cr4 & CR4_OSXSAVE)
            e->ecx |= 1u << 27;
        if (!(vcpu_apic_base(v) & BIT(11)))
            e->edx &= ~(1u << 9); /* APIC */
        /* MONITOR follows MISC_ENABLE, unless user space asked to be left alone. */
        if (!(v->vm->disabled_quirks & KVM_X86_QUIRK_MISC_ENABLE_NO_MWAIT)) {
            e->ecx &= ~(1u << 3);
            if (v->msr.misc_enable & BIT(18))
                e->ecx |= 1u << 3;
        }
        break;
    case 7:
        if (e->index == 0)
            e->ecx &= ~(1u << 4); /* OSPKE */
        break;
    case 0xd:
        if (e->index == 0)
            e->ebx = xsave_size(p->vector.xcr0);
        else if (e->index == 1)
            e->ebx = e->eax & 0x2 ? xsave_size(p->vector.xcr0) : 0;
        break;
    }
}

/* Intel answers leaves beyond the last with the last basic leaf's data; AMD with zeros. */
static struct kvm_cpuid_entry2 *find_beyond(const struct vcpu *v, uint32_t function, uint32_t index)
{
    if (cpuid_vendor_is_amd(v))
        return NULL;
    uint32_t range = function & 0x80000000;
    if (function >= 0x40000000 && function <= 0x4fffffff)
        range = function & 0xffffff00;
    const struct kvm_cpuid_entry2 *first = find(v, range, 0);
    if (first && function <= first->eax)
        return NULL; /* within its range: an unused leaf */
    const struct kvm_cpuid_entry2 *basic = find(v, 0, 0);
    return basic ? find(v, basic->eax, index) : NULL;
}

static void answer(struct vcpu *v, uint32_t function, uint32_t index, struct kvm_cpuid_entry2 *out)
{
    struct kvm_cpuid_entry2 *e = find(v, function, index);
    memset(out, 0, sizeof(*out));
    if (!e)
        e = find_beyond(v, function, index);
    if (e) {
        *out = *e;
        make_dynamic(v, out);
    } else if (function == 0xb || function == 0x1f) {
        /* Levels that do not exist still tell the level asked for and the x2APIC id. */
        e = find(v, function, 1);
        if (e) {
            out->ecx = index & 0xff;
            out->edx = e->edx;
        }
    }
}

int cpuid_exit(struct vcpu *v)
{
    struct processor *p = v->processor;
    if (v->msr.misc_features & MISC_FEATURES_CPUID_FAULT && p->cpl > 0) {
        queue_gp(v);
        return 1;
    }
    struct kvm_cpuid_entry2 e;
    answer(v, (uint32_t)p->gpr[GPR_RAX], (uint32_t)p->gpr[GPR_RCX], &e);
    p->gpr[GPR_RAX] = e.eax;
    p->gpr[GPR_RBX] = e.ebx;
    p->gpr[GPR_RCX] = e.ecx;
    p->gpr[GPR_RDX] = e.edx;
    return exit_skip(v);
}

/* ---------------------------------------------------------------- consequences */

/* Instructions that are #UD where CPUID does not have them. */
static void apply_controls(struct vcpu *v)
{
    uint32_t *controls = &v->processor->vmcs.cpu_based_controls2;
    *controls |= CPU2_ENABLE_RDTSCP | CPU2_ENABLE_INVPCID;
    if (!v->cpuid_count)
        return;
    if (!cpuid_has(v, &cpuid_rdtscp) && !cpuid_has(v, &cpuid_rdpid))
        *controls &= ~CPU2_ENABLE_RDTSCP;
    if (!cpuid_has(v, &cpuid_invpcid))
        *controls &= ~CPU2_ENABLE_INVPCID;
}

void cpuid_apply(struct vcpu *v)
{
    struct processor *p = v->processor;
    uint64_t cr4 = CR4_ALWAYS, efer = 0;
    if (!v->cpuid_count) {
        cr4 = CR4_KNOWN;
        efer = EFER_KNOWN;
    }
    for (size_t i = 0; i < ARRAY_SIZE(cr4_bits); i++)
        if (cpuid_has(v, &cr4_bits[i].needs))
            cr4 |= cr4_bits[i].bits;
    for (size_t i = 0; i < ARRAY_SIZE(efer_bits); i++)
        if (cpuid_has(v, &efer_bits[i].needs))
            efer |= efer_bits[i].bits;
    p->cr4_reserved = ~cr4;
    apply_controls(v);
    p->efer_reserved = ~efer;

    const struct kvm_cpuid_entry2 *e = find(v, 0x80000008, 0);
    uint32_t bits = e ? e->eax & 0xff : 36;
    if (!v->cpuid_count)
        bits = v->vm->system->phys_bits;
    p->phys_bits = bits < 32 ? 32 : bits > 52 ? 52 : bits;
    p->amd = cpuid_vendor_is_amd(v);

    uint64_t have = processor_has_feature(FEATURE_AVX) ? 7 : 3;
    e = find(v, 0xd, 0);
    if (!v->cpuid_count)
        p->xcr0_supported = have;
    else
        p->xcr0_supported = e ? (e->eax & have) | 1 : 1;

    if (v->lapic) {
        struct lapic_features f = {
            .x2apic = !v->cpuid_count || cpuid_has(v, &cpuid_x2apic),
            .tsc_deadline = !v->cpuid_count || cpuid_has(v, &cpuid_tsc_deadline),
            .phys_bits = p->phys_bits,
            .cmci = v->msr.mcg_cap & MCG_CMCI_P,
        };
        lapic_set_features(v->lapic, &f);
    }
    processor_state_changed(p);
}

/* ---------------------------------------------------------------- requests */

/* Whether COUNT entries are those that the guest has, but for the bits that follow its state. */
static bool same_as_now(struct vcpu *v, const struct kvm_cpuid_entry2 *entries, unsigned count)
{
    if (count != v->cpuid_count)
        return false;
    for (unsigned i = 0; i < count; i++) {
        struct kvm_cpuid_entry2 wanted = entries[i], now = v->cpuid[i];
        make_dynamic(v, &wanted);
        make_dynamic(v, &now);
        if (memcmp(&wanted, &now, sizeof(now)))
            return false;
    }
    return true;
}

static long store(struct vcpu *v, struct kvm_cpuid_entry2 *entries, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        unsigned linear = entries[i].eax >> 8 & 0xff;
        if (entries[i].function == 0x80000008 && linear != 48 && linear != 57 && linear != 0)
            return -EINVAL;
    }
    /* What a guest has seen must stay. */
    if (v->has_run) {
        if (!same_as_now(v, entries, count))
            return -EINVAL;
        free(entries);
        return 0;
    }
    free(v->cpuid);
    v->cpuid = entries;
    v->cpuid_count = count;
    /* A guest whose HLT does not exit must not wait for KVM_HC_KICK_CPU in it. */
    struct kvm_cpuid_entry2 *pv = find_pv_features(v);
    if (pv && v->vm->disabled_exits & KVM_X86_DISABLE_EXITS_HLT)
        pv->eax &= ~(1u << KVM_FEATURE_PV_UNHALT);
    cpuid_apply(v);
    return 0;
}

long cpuid_set2(struct vcpu *v, unsigned long argument)
{
    struct kvm_cpuid2 header;
    if (user_read(&header, argument, sizeof(header)) < 0)
        return -EFAULT;
    if (header.nent > CPUID_ENTRIES_MAX)
        return -E2BIG;
    struct kvm_cpuid_entry2 *entries = calloc(header.nent + 1, sizeof(*entries));
    if (!entries)
        return -ENOMEM;
    long r = 0;
    if (header.nent)
        r = user_read(entries, argument + sizeof(header), header.nent * sizeof(*entries));
    for (unsigned i = 0; i < header.nent; i++)
        memset(entries[i].padding, 0, sizeof(entries[i].padding));
    if (r == 0)
        r = store(v, entries, header.nent);
    if (r < 0)
        free(entries);
    return r;
}

long cpuid_set(struct vcpu *v, unsigned long argument)
{
    struct kvm_cpuid header;
    if (user_read(&header, argument, sizeof(header)) < 0)
        return -EFAULT;
    if (header.nent > CPUID_ENTRIES_MAX)
        return -E2BIG;
    struct kvm_cpuid_entry2 *entries = calloc(header.nent + 1, sizeof(*entries));
    if (!entries)
        return -ENOMEM;
    long r = 0;
    for (unsigned i = 0; i < header.nent && r == 0; i++) {
        struct kvm_cpuid_entry old;
        r = user_read(&old, argument + sizeof(header) + i * sizeof(old), sizeof(old));
        if (r == 0)
            entries[i] = (struct kvm_cpuid_entry2){
                .function = old.function,
                .eax = old.eax,
                .ebx = old.ebx,
                .ecx = old.ecx,
                .edx = old.edx,
            };
    }
    if (r == 0)
        r = store(v, entries, header.nent);
    if (r < 0)
        free(entries);
    return r;
}

/* Writes COUNT entries behind a header whose nent said how many there is room for. */
static long give(unsigned long argument, const struct kvm_cpuid_entry2 *entries, unsigned count)
{
    struct kvm_cpuid2 header;
    if (user_read(&header, argument, sizeof(header)) < 0)
        return -EFAULT;
    if (header.nent < count)
        return -E2BIG;
    header.nent = count;
    if (count && user_write(argument + sizeof(header), entries, count * sizeof(*entries)) < 0)
        return -EFAULT;
    return user_write(argument, &header, sizeof(header));
}

long cpuid_get2(struct vcpu *v, unsigned long argument)
{
    struct kvm_cpuid_entry2 *now = calloc(v->cpuid_count + 1, sizeof(*now));
    if (!now)
        return -ENOMEM;
    for (unsigned i = 0; i < v->cpuid_count; i++) {
        now[i] = v->cpuid[i];
        make_dynamic(v, &now[i]);
    }
    long r = give(argument, now, v->cpuid_count);
    free(now);
    return r;
}

long cpuid_get_supported(struct system *s, unsigned long argument)
{
    return give(argument, s->cpuid, s->cpuid_count);
}

/* Nothing is emulated that is not supported. */
long cpuid_get_emulated(unsigned long argument)
{
    return give(argument, NULL, 0);
}
