/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Machine-check architecture (SDM volume 3, chapter 16): registers and injection by user space. */
#include "guest-cpuid.h"
#include "msr.h"

#include <errno.h>
#include <stdlib.h>

#define MCG_STATUS_MCIP BIT(2)
#define MCI_STATUS_VAL  BIT(63)
#define MCI_STATUS_OVER BIT(62)
#define MCI_STATUS_UC   BIT(61)
#define MCI_STATUS_PCC  BIT(57)
#define MCI_STATUS_S    BIT(56)
#define MCI_STATUS_AR   BIT(55)
#define MCG_CTL_P       BIT(8)
#define MCI_CTL2_EN     BIT(30)
#define MCI_CTL2_BITS   (MCI_CTL2_EN | 0x7fff) /* and the threshold */

/* The first four are neighbouring MSRs; CTL2's stand apart. */
enum { BANK_CTL, BANK_STATUS, BANK_ADDR, BANK_MISC, BANK_MSRS, BANK_CTL2 = BANK_MSRS, BANK_WORDS };

static unsigned bank_count(const struct vcpu *v)
{
    return v->msr.mcg_cap & 0xff;
}

/* Banks exist once they hold something. */
static uint64_t *banks(struct vcpu *v)
{
    if (!v->mce_banks)
        v->mce_banks = calloc(MCE_BANKS * BANK_WORDS, sizeof(uint64_t));
    return v->mce_banks;
}

long mce_setup(struct vcpu *v, uint64_t mcg_cap)
{
    unsigned count = mcg_cap & 0xff;
    if (!count || count > MCE_BANKS)
        return -EINVAL;
    if (mcg_cap & ~(MCE_CAP_SUPPORTED | 0xff | 0xff0000))
        return -EINVAL;
    uint64_t *b = banks(v);
    if (!b)
        return -ENOMEM;
    v->msr.mcg_cap = mcg_cap;
    if (mcg_cap & MCG_CTL_P)
        v->msr.mcg_ctl = ~0ull;
    for (unsigned i = 0; i < count; i++)
        b[i * BANK_WORDS + BANK_CTL] = ~0ull;
    cpuid_apply(v); /* the LAPIC's entry for corrected errors comes and goes with MCG_CMCI_P */
    return 0;
}

/* An error that asks nothing of the processor is logged, and signalled by an interrupt if the guest
 * wants one (SDM volume 3, 16.5 and 16.6.3). */
static void log_quietly(struct vcpu *v, uint64_t *bank, const struct kvm_x86_mce *mce)
{
    bank[BANK_STATUS] = mce->status;
    bank[BANK_ADDR] = mce->addr;
    bank[BANK_MISC] = mce->misc;
    v->msr.mcg_status = 0;
    if (v->lapic && v->msr.mcg_cap & MCG_CMCI_P && bank[BANK_CTL2] & MCI_CTL2_EN)
        lapic_signal_cmci(v->lapic);
}

long mce_inject(struct vcpu *v, const struct kvm_x86_mce *mce)
{
    if (mce->bank >= bank_count(v) || !(mce->status & MCI_STATUS_VAL))
        return -EINVAL;
    uint64_t *bank = banks(v);
    if (!bank)
        return -ENOMEM;
    bank += mce->bank * BANK_WORDS;
    if (!mce->mcg_status && !(mce->status & (MCI_STATUS_PCC | MCI_STATUS_S | MCI_STATUS_AR))) {
        log_quietly(v, bank, mce);
        return 0;
    }
    bool uncorrected = mce->status & MCI_STATUS_UC;
    /* A disabled bank, or disabled reporting, loses the error. */
    if (uncorrected &&
        ((v->msr.mcg_cap & MCG_CTL_P && v->msr.mcg_ctl != ~0ull) || bank[BANK_CTL] != ~0ull))
        return 0;
    uint64_t status = mce->status;
    if (uncorrected) {
        if (v->msr.mcg_status & MCG_STATUS_MCIP || !(v->processor->cr4 & CR4_MCE)) {
            v->triple_fault = true;
            return 0;
        }
    } else if (bank[BANK_STATUS] & MCI_STATUS_VAL && bank[BANK_STATUS] & MCI_STATUS_UC) {
        bank[BANK_STATUS] |= MCI_STATUS_OVER; /* a corrected error does not replace a worse one */
        return 0;
    }
    if (bank[BANK_STATUS] & MCI_STATUS_VAL)
        status |= MCI_STATUS_OVER;
    bank[BANK_STATUS] = status;
    bank[BANK_ADDR] = mce->addr;
    bank[BANK_MISC] = mce->misc;
    if (uncorrected) {
        v->msr.mcg_status = mce->mcg_status;
        queue_exception(v, VECTOR_MC);
    }
    return 0;
}

/* The word of MSR INDEX in the banks, or -1 when it is none of theirs; *EXISTS: V has the bank. */
static int bank_word(const struct vcpu *v, uint32_t index, bool *exists)
{
    unsigned bank, word;
    if (index - MSR_IA32_MC0_CTL < MCE_BANKS * BANK_MSRS) {
        bank = (index - MSR_IA32_MC0_CTL) / BANK_MSRS;
        word = (index - MSR_IA32_MC0_CTL) % BANK_MSRS;
    } else if (index - MSR_IA32_MC0_CTL2 < MCE_BANKS) {
        bank = index - MSR_IA32_MC0_CTL2;
        word = BANK_CTL2;
    } else {
        return -1;
    }
    *exists = bank < bank_count(v);
    return (int)(bank * BANK_WORDS + word);
}

int mce_get_msr(struct vcpu *v, uint32_t index, uint64_t *value, bool host)
{
    switch (index) {
    case 0x179:
        *value = v->msr.mcg_cap;
        return 0;
    case 0x17a:
        *value = v->msr.mcg_status;
        return 0;
    case 0x17b:
        if (!(v->msr.mcg_cap & MCG_CTL_P) && !host)
            return -EINVAL;
        *value = v->msr.mcg_ctl;
        return 0;
    }
    bool exists;
    int at = bank_word(v, index, &exists);
    if (at < 0)
        return -ENOENT;
    if (!exists || (at % BANK_WORDS == BANK_CTL2 && !(v->msr.mcg_cap & MCG_CMCI_P) && !host))
        return -EINVAL;
    *value = v->mce_banks ? v->mce_banks[at] : 0;
    return 0;
}

static int set_bank(struct vcpu *v, unsigned at, uint64_t value, bool host)
{
    /* Without the interrupt there is no register to switch it on. */
    if (at % BANK_WORDS == BANK_CTL2 &&
        (value & ~MCI_CTL2_BITS || (!(v->msr.mcg_cap & MCG_CMCI_P) && (value || !host))))
        return -EINVAL;
    /* All ones or zeros, give or take the bits that old kernels clear. */
    if (at % BANK_WORDS == BANK_CTL && value && (value | BIT(10) | 1) != ~0ull)
        return -EINVAL;
    /* A guest may only clear a status, unless HWCR says otherwise. */
    if (!host && at % BANK_WORDS == BANK_STATUS && value && !(v->msr.hwcr & BIT(18)))
        return -EINVAL;
    uint64_t *b = banks(v);
    if (!b)
        return -EINVAL;
    b[at] = value;
    return 0;
}

int mce_set_msr(struct vcpu *v, uint32_t index, uint64_t value, bool host)
{
    switch (index) {
    case 0x179:
        return -EINVAL;
    case 0x17a:
        v->msr.mcg_status = value;
        return 0;
    case 0x17b:
        if (!(v->msr.mcg_cap & MCG_CTL_P) && (value || !host))
            return -EINVAL;
        if (value != 0 && value != ~0ull)
            return -EINVAL;
        v->msr.mcg_ctl = value;
        return 0;
    }
    bool exists;
    int at = bank_word(v, index, &exists);
    if (at < 0)
        return -ENOENT;
    return exists ? set_bank(v, (unsigned)at, value, host) : -EINVAL;
}
