/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The state after RESET and INIT (SDM volume 3, table 10-1), and skipping an instruction. */
#include "system.h"

#define SIGNATURE_FAMILY6 0x600u
#define PAT_RESET         0x0007040600070406ull

/* What a guest is told by default; kvm/ replaces it from the guest's CPUID. */
static void set_default_features(struct processor *p)
{
    const uint64_t cr4_known = CR4_VME | CR4_PVI | CR4_TSD | CR4_DE | CR4_PSE | CR4_PAE | CR4_MCE |
                               CR4_PGE | CR4_PCE | CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_UMIP |
                               CR4_FSGSBASE | CR4_PCIDE | CR4_OSXSAVE | CR4_SMEP | CR4_SMAP;
    p->cr4_reserved = ~cr4_known;
    p->efer_reserved = ~(EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE);
    p->xcr0_supported = 7;
    p->vmcs.cpu_based_controls2 = CPU2_ENABLE_RDTSCP | CPU2_ENABLE_INVPCID;
}

static void reset_segments(struct processor *p)
{
    for (unsigned n = SEG_ES; n <= SEG_GS; n++)
        p->segment[n] = (struct segment){.access_rights = AR_REAL, .limit = 0xffff};
    p->segment[SEG_CS] = (struct segment){
        .selector = 0xf000,
        .access_rights = AR_REAL | AR_CODE,
        .limit = 0xffff,
        .base = 0xffff0000,
    };
    p->segment[SEG_LDTR] = (struct segment){.access_rights = AR_P | SYSTEM_LDT, .limit = 0xffff};
    p->segment[SEG_TR] = (struct segment){.access_rights = AR_P | SYSTEM_TSS_BUSY, .limit = 0xffff};
    p->gdtr = p->idtr = (struct descriptor_table){.base = 0, .limit = 0xffff};
}

void processor_reset(struct processor *p, bool init)
{
    memset(p->gpr, 0, sizeof p->gpr);
    p->gpr[REG_RDX] = SIGNATURE_FAMILY6;
    p->rip = 0xfff0;
    processor_set_rflags(p, 0);
    reset_segments(p);
    p->cr0 = CR0_ET | (init ? p->cr0 & (CR0_CD | CR0_NW) : CR0_CD | CR0_NW);
    p->cr2 = p->cr3 = p->cr4 = p->cr8 = 0;
    memset(p->pdpte, 0, sizeof p->pdpte);
    memset(p->dr, 0, sizeof p->dr);
    p->dr6 = DR6_FIXED;
    p->dr7 = DR7_FIXED;
    p->msr.efer = 0;
    p->interruptibility = 0;
    p->pending_debug = 0;
    p->in_event = false;
    if (!init) {
        memset(&p->msr, 0, sizeof p->msr);
        p->msr.pat = PAT_RESET;
        p->vmcs.entry_interruption_info = 0;
        if (!p->cr4_reserved)
            set_default_features(p);
        vector_reset(p);
    }
    vmx_abandon_access(p);
    processor_state_changed(p);
}

void processor_skip_instruction(struct processor *p)
{
    p->rip += p->vmcs.exit_instruction_length;
    if (!in_64bit_code(p))
        p->rip = (uint32_t)p->rip;
    p->interruptibility &= ~(BLOCKING_BY_STI | BLOCKING_BY_MOV_SS);
    p->rflags &= ~FLAG_RF;
    if (p->rflags & FLAG_TF)
        p->pending_debug |= DR6_BS;
    update_slow(p);
}
