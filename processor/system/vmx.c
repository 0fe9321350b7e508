/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* VMX bookkeeping: the names of exits, and level 0's controls compiled to one bit set. */
#include "system.h"

const char *exit_reason_name(unsigned reason)
{
    static const char *const name[EXIT_REASON_COUNT] = {
        [EXIT_REASON_EXCEPTION_NMI] = "exception or NMI",
        [EXIT_REASON_EXTERNAL_INTERRUPT] = "external interrupt",
        [EXIT_REASON_TRIPLE_FAULT] = "triple fault",
        [EXIT_REASON_INIT_SIGNAL] = "INIT",
        [EXIT_REASON_SIPI] = "SIPI",
        [EXIT_REASON_INTERRUPT_WINDOW] = "interrupt window",
        [EXIT_REASON_NMI_WINDOW] = "NMI window",
        [EXIT_REASON_TASK_SWITCH] = "task switch",
        [EXIT_REASON_CPUID] = "CPUID",
        [EXIT_REASON_HLT] = "HLT",
        [EXIT_REASON_INVD] = "INVD",
        [EXIT_REASON_INVLPG] = "INVLPG",
        [EXIT_REASON_RDPMC] = "RDPMC",
        [EXIT_REASON_RDTSC] = "RDTSC",
        [EXIT_REASON_RSM] = "RSM",
        [EXIT_REASON_VMCALL] = "VMCALL",
        [EXIT_REASON_VMCLEAR] = "VMCLEAR",
        [EXIT_REASON_VMLAUNCH] = "VMLAUNCH",
        [EXIT_REASON_VMPTRLD] = "VMPTRLD",
        [EXIT_REASON_VMPTRST] = "VMPTRST",
        [EXIT_REASON_VMREAD] = "VMREAD",
        [EXIT_REASON_VMRESUME] = "VMRESUME",
        [EXIT_REASON_VMWRITE] = "VMWRITE",
        [EXIT_REASON_VMXOFF] = "VMXOFF",
        [EXIT_REASON_VMXON] = "VMXON",
        [EXIT_REASON_CR_ACCESS] = "CR access",
        [EXIT_REASON_DR_ACCESS] = "DR access",
        [EXIT_REASON_IO_INSTRUCTION] = "I/O instruction",
        [EXIT_REASON_RDMSR] = "RDMSR",
        [EXIT_REASON_WRMSR] = "WRMSR",
        [EXIT_REASON_INVALID_GUEST_STATE] = "invalid guest state",
        [EXIT_REASON_MSR_LOADING] = "MSR loading",
        [EXIT_REASON_MWAIT] = "MWAIT",
        [EXIT_REASON_MONITOR_TRAP_FLAG] = "monitor trap flag",
        [EXIT_REASON_MONITOR] = "MONITOR",
        [EXIT_REASON_PAUSE] = "PAUSE",
        [EXIT_REASON_MACHINE_CHECK] = "machine check",
        [EXIT_REASON_TPR_BELOW_THRESHOLD] = "TPR below threshold",
        [EXIT_REASON_APIC_ACCESS] = "APIC access",
        [EXIT_REASON_VIRTUALIZED_EOI] = "virtualized EOI",
        [EXIT_REASON_GDTR_IDTR] = "GDTR or IDTR access",
        [EXIT_REASON_LDTR_TR] = "LDTR or TR access",
        [EXIT_REASON_EPT_VIOLATION] = "EPT violation",
        [EXIT_REASON_EPT_MISCONFIGURATION] = "EPT misconfiguration",
        [EXIT_REASON_INVEPT] = "INVEPT",
        [EXIT_REASON_RDTSCP] = "RDTSCP",
        [EXIT_REASON_PREEMPTION_TIMER] = "preemption timer",
        [EXIT_REASON_INVVPID] = "INVVPID",
        [EXIT_REASON_WBINVD] = "WBINVD",
        [EXIT_REASON_XSETBV] = "XSETBV",
        [EXIT_REASON_APIC_WRITE] = "APIC write",
        [EXIT_REASON_RDRAND] = "RDRAND",
        [EXIT_REASON_INVPCID] = "INVPCID",
        [EXIT_REASON_VMFUNC] = "VMFUNC",
        [EXIT_REASON_RDSEED] = "RDSEED",
        [EXIT_REASON_PML_FULL] = "PML full",
        [EXIT_REASON_XSAVES] = "XSAVES",
        [EXIT_REASON_XRSTORS] = "XRSTORS",
        [EXIT_REASON_PIO] = "PIO",
        [EXIT_REASON_MMIO] = "MMIO",
        [EXIT_REASON_KICK] = "kick",
        [EXIT_REASON_COMPLETED] = "completed",
        [EXIT_REASON_FETCH] = "fetch outside memory",
        [EXIT_REASON_HOST_FAULT] = "host fault",
    };
    if (reason >= ARRAY_SIZE(name) || !name[reason])
        return "unknown";
    return name[reason];
}

void processor_controls_changed(struct processor *p)
{
    static const struct {
        uint32_t control, intercept;
    } primary[] =
        {
            {CPU_HLT_EXITING, INTERCEPT_HLT},
            {CPU_INVLPG_EXITING, INTERCEPT_INVLPG},
            {CPU_MWAIT_EXITING, INTERCEPT_MWAIT},
            {CPU_RDPMC_EXITING, INTERCEPT_RDPMC},
            {CPU_RDTSC_EXITING, INTERCEPT_RDTSC},
            {CPU_CR3_LOAD_EXITING, INTERCEPT_CR3_LOAD},
            {CPU_CR3_STORE_EXITING, INTERCEPT_CR3_STORE},
            {CPU_CR8_LOAD_EXITING, INTERCEPT_CR8_LOAD},
            {CPU_CR8_STORE_EXITING, INTERCEPT_CR8_STORE},
            {CPU_MOV_DR_EXITING, INTERCEPT_MOV_DR},
            {CPU_MONITOR_EXITING, INTERCEPT_MONITOR},
            {CPU_PAUSE_EXITING, INTERCEPT_PAUSE},
        },
      secondary[] = {
          {CPU2_DESCRIPTOR_TABLE_EXITING, INTERCEPT_DTABLE},
          {CPU2_WBINVD_EXITING, INTERCEPT_WBINVD},
          {CPU2_PAUSE_LOOP_EXITING, INTERCEPT_PAUSE_LOOP},
          {CPU2_RDRAND_EXITING, INTERCEPT_RDRAND},
      };
    const struct vmcs *v = &p->vmcs;
    uint32_t intercepts = 0;
    for (unsigned n = 0; n < ARRAY_SIZE(primary); n++)
        if (v->cpu_based_controls & primary[n].control)
            intercepts |= primary[n].intercept;
    for (unsigned n = 0; n < ARRAY_SIZE(secondary); n++)
        if (v->cpu_based_controls2 & secondary[n].control)
            intercepts |= secondary[n].intercept;
    /* A page-fault mask and match can intercept #PF although its bit is clear. */
    if (v->exception_bitmap || v->page_fault_error_code_mask || v->page_fault_error_code_match)
        intercepts |= INTERCEPT_EXCEPTION;
    p->intercepts = intercepts;
    update_slow(p);
}
