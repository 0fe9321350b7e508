/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The virtual-machine control structure, by its SDM names (volume 3, chapter 25 and appendix B).
 *
 * Level 0's VMCS belongs to the caller of vmx_enter.  Its guest-state area is the live processor
 * and is not repeated here; its host-state area is the caller of vmx_enter.  Controls not offered
 * are left out until they are.
 */
#ifndef TRAPEZE_VMCS_H
#define TRAPEZE_VMCS_H

#include "common/base/base.h"

/* Basic exit reasons, SDM volume 3 appendix C. */
enum exit_reason {
    EXIT_REASON_EXCEPTION_NMI = 0,
    EXIT_REASON_EXTERNAL_INTERRUPT = 1,
    EXIT_REASON_TRIPLE_FAULT = 2,
    EXIT_REASON_INIT_SIGNAL = 3,
    EXIT_REASON_SIPI = 4,
    EXIT_REASON_INTERRUPT_WINDOW = 7,
    EXIT_REASON_NMI_WINDOW = 8,
    EXIT_REASON_TASK_SWITCH = 9,
    EXIT_REASON_CPUID = 10,
    EXIT_REASON_HLT = 12,
    EXIT_REASON_INVD = 13,
    EXIT_REASON_INVLPG = 14,
    EXIT_REASON_RDPMC = 15,
    EXIT_REASON_RDTSC = 16,
    EXIT_REASON_RSM = 17,
    EXIT_REASON_VMCALL = 18, /* also VMMCALL, so that either vendor's hypercall works */
    EXIT_REASON_VMCLEAR = 19,
    EXIT_REASON_VMLAUNCH = 20,
    EXIT_REASON_VMPTRLD = 21,
    EXIT_REASON_VMPTRST = 22,
    EXIT_REASON_VMREAD = 23,
    EXIT_REASON_VMRESUME = 24,
    EXIT_REASON_VMWRITE = 25,
    EXIT_REASON_VMXOFF = 26,
    EXIT_REASON_VMXON = 27,
    EXIT_REASON_CR_ACCESS = 28,
    EXIT_REASON_DR_ACCESS = 29,
    EXIT_REASON_IO_INSTRUCTION = 30, /* level 1 only; level 0 gets EXIT_REASON_PIO */
    EXIT_REASON_RDMSR = 31,
    EXIT_REASON_WRMSR = 32,
    EXIT_REASON_INVALID_GUEST_STATE = 33,
    EXIT_REASON_MSR_LOADING = 34,
    EXIT_REASON_MWAIT = 36,
    EXIT_REASON_MONITOR_TRAP_FLAG = 37,
    EXIT_REASON_MONITOR = 39,
    EXIT_REASON_PAUSE = 40,
    EXIT_REASON_MACHINE_CHECK = 41,
    EXIT_REASON_TPR_BELOW_THRESHOLD = 43,
    EXIT_REASON_APIC_ACCESS = 44,
    EXIT_REASON_VIRTUALIZED_EOI = 45,
    EXIT_REASON_GDTR_IDTR = 46,
    EXIT_REASON_LDTR_TR = 47,
    EXIT_REASON_EPT_VIOLATION = 48,
    EXIT_REASON_EPT_MISCONFIGURATION = 49,
    EXIT_REASON_INVEPT = 50,
    EXIT_REASON_RDTSCP = 51,
    EXIT_REASON_PREEMPTION_TIMER = 52,
    EXIT_REASON_INVVPID = 53,
    EXIT_REASON_WBINVD = 54,
    EXIT_REASON_XSETBV = 55,
    EXIT_REASON_APIC_WRITE = 56,
    EXIT_REASON_RDRAND = 57,
    EXIT_REASON_INVPCID = 58,
    EXIT_REASON_VMFUNC = 59,
    EXIT_REASON_RDSEED = 61,
    EXIT_REASON_PML_FULL = 62,
    EXIT_REASON_XSAVES = 63,
    EXIT_REASON_XRSTORS = 64,

    /* Our own, outside the SDM's numbers; they bypass level 1. */
    EXIT_REASON_PIO = 0x100,       /* port access with data: vmcs.access */
    EXIT_REASON_MMIO = 0x101,      /* access to an address without (writable) slot: vmcs.access */
    EXIT_REASON_KICK = 0x102,      /* processor_kick was called */
    EXIT_REASON_COMPLETED = 0x103, /* vmx_complete: the pending instruction has retired */
    EXIT_REASON_FETCH = 0x104,     /* instruction fetch from an address without slot (GPA in
                                      guest_physical_address): KVM_EXIT_INTERNAL_ERROR */
    EXIT_REASON_HOST_FAULT = 0x105, /* a slot's address for which the host has no memory (GPA in
                                       guest_physical_address); the instruction can be retried */
    EXIT_REASON_COUNT = 0x106,
};

/* Returns "HLT", "CR access", "MMIO" ... for counting and tracing; "unknown" for others. */
const char *exit_reason_name(unsigned reason);

/* Pin-based controls. */
#define PIN_EXTERNAL_INTERRUPT_EXITING BIT(0)
#define PIN_NMI_EXITING                BIT(3)
#define PIN_VIRTUAL_NMIS               BIT(5)
/* Primary processor-based controls. */
#define CPU_INTERRUPT_WINDOW_EXITING BIT(2)
#define CPU_USE_TSC_OFFSETTING       BIT(3)
#define CPU_HLT_EXITING              BIT(7)
#define CPU_INVLPG_EXITING           BIT(9)
#define CPU_MWAIT_EXITING            BIT(10)
#define CPU_RDPMC_EXITING            BIT(11)
#define CPU_RDTSC_EXITING            BIT(12)
#define CPU_CR3_LOAD_EXITING         BIT(15)
#define CPU_CR3_STORE_EXITING        BIT(16)
#define CPU_CR8_LOAD_EXITING         BIT(19)
#define CPU_CR8_STORE_EXITING        BIT(20)
#define CPU_NMI_WINDOW_EXITING       BIT(22)
#define CPU_MOV_DR_EXITING           BIT(23)
#define CPU_UNCONDITIONAL_IO_EXITING BIT(24)
#define CPU_MONITOR_TRAP_FLAG        BIT(27)
#define CPU_USE_MSR_BITMAPS          BIT(28)
#define CPU_MONITOR_EXITING          BIT(29)
#define CPU_PAUSE_EXITING            BIT(30)
/* Secondary processor-based controls. */
#define CPU2_DESCRIPTOR_TABLE_EXITING BIT(2)
#define CPU2_ENABLE_RDTSCP            BIT(3) /* and RDPID: else they raise #UD */
#define CPU2_WBINVD_EXITING           BIT(6)
#define CPU2_PAUSE_LOOP_EXITING       BIT(10)
#define CPU2_RDRAND_EXITING           BIT(11)
#define CPU2_ENABLE_INVPCID           BIT(12)
#define CPU2_TSC_SCALING              BIT(25)

/* VM-entry and VM-exit interruption-information fields (SDM volume 3, 25.8.3, 25.9.2). */
#define INTR_INFO_VECTOR_MASK    0xffu
#define INTR_INFO_TYPE_MASK      0x700u
#define INTR_INFO_DELIVER_CODE   0x800u /* the error code is valid */
#define INTR_INFO_VALID          0x80000000u
#define INTR_TYPE_EXTERNAL       (0u << 8)
#define INTR_TYPE_NMI            (2u << 8)
#define INTR_TYPE_HARD_EXCEPTION (3u << 8)
#define INTR_TYPE_SOFT_INTERRUPT (4u << 8)
#define INTR_TYPE_PRIV_EXCEPTION (5u << 8) /* INT1 */
#define INTR_TYPE_SOFT_EXCEPTION (6u << 8) /* INT3, INTO */

/* One port or memory access that leaves the processor.  For a read, the caller puts the data into
 * data[] before the next vmx_enter, which re-runs the instruction with the accesses made so far
 * replayed.  At most 8 bytes; a wider or page-crossing one leaves in pieces. */
struct bus_access {
    uint64_t address; /* port or guest-physical address */
    uint8_t size;     /* 1, 2, 4, 8 (MMIO also 3, 5, 6, 7 at page ends) */
    bool write;
    uint8_t data[8]; /* little-endian */
    /* EXIT_REASON_PIO of a string instruction may be followed by more of the same; the caller need
     * not care: each element leaves by itself, unless... */
    bool string;
    /* ... it is an INS: so many elements beside this one would be taken at once, if the caller has
     * them (vmcs.string_data). */
    uint16_t more;
};

struct vmcs {
    /* Control fields: set by the caller between entries.  Call processor_controls_changed after
     * changing anything but the entry_* fields, tsc_offset and tsc_multiplier. */
    uint32_t pin_based_controls;
    uint32_t cpu_based_controls;
    uint32_t cpu_based_controls2;
    uint32_t exception_bitmap;
    uint32_t page_fault_error_code_mask, page_fault_error_code_match;
    uint64_t tsc_offset;       /* added to the scaled TSC */
    uint64_t tsc_multiplier;   /* 48 fraction bits; 0 means 1.0 */
    const uint8_t *msr_bitmap; /* 4 KiB in the SDM's layout; NULL: every RDMSR and WRMSR exits */
    uint64_t cr0_guest_host_mask, cr0_read_shadow;
    uint64_t cr4_guest_host_mask, cr4_read_shadow;
    uint32_t ple_gap, ple_window; /* pause-loop exiting: PAUSEs in one loop before an exit */

    /* Entry controls: consumed by vmx_enter, valid bit cleared when the event was delivered or when
     * an exit during its delivery handed it back in idt_vectoring_info. */
    uint32_t entry_interruption_info;
    uint32_t entry_exception_error_code;
    uint32_t entry_instruction_length; /* for software interrupts and exceptions */

    /* Exit information: set by every exit. */
    uint32_t exit_reason;
    uint64_t exit_qualification;
    uint64_t guest_linear_address;
    uint64_t guest_physical_address;
    uint32_t exit_interruption_info, exit_interruption_error_code;
    uint32_t idt_vectoring_info, idt_vectoring_error_code;
    uint32_t exit_instruction_length;
    uint32_t exit_instruction_info;

    struct bus_access access; /* EXIT_REASON_PIO, EXIT_REASON_MMIO */
    /* Set by the caller together with the data of an access that has more: elements beside the
     * first.  vmx_complete takes what it can of them, and sets string_left to 0. */
    const uint8_t *string_data;
    unsigned string_left;

    uint64_t exits[EXIT_REASON_COUNT]; /* counted by reason, for --stats */
};

#endif
