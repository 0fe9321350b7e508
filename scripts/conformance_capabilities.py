# SPDX-License-Identifier: LGPL-2.1-or-later
"""KVM's capabilities: which our KVM offers, and of every other one why not.

Names and numbers are those of the selftests' linux/kvm.h; the answers come from our /dev/kvm, asked by
a Python under `trapeze with-kvm`.  A capability that is neither offered nor in NOT_OFFERED is a
departure, as is one that is in both.
"""
import json
import pathlib
import re
import subprocess
import sys

from conformance_result import FAIL, PASS, SKIP, Result

SUITE = "capabilities"
GROUP = "KVM_CHECK_EXTENSION of /dev/kvm"

# Capabilities of other architectures.
FOREIGN = re.compile(
    r"(ARM|PPC|S390|MIPS|RISCV|LOONGARCH|SPAPR|PTP_KVM|DEVICE_CTRL|ONE_REG|SW_TLB|IRQ_MPIC|IRQ_XICS|"
    r"HW_PMU|VCPU_RESETS|SYSTEM_EVENT_DATA|COUNTER_OFFSET)|^KVM_CAP_(ENABLE_CAP|STEAL_TIME)$")

# Why not, by a pattern for the whole name.
NOT_OFFERED = {
    "KVM_CAP_(SYS_)?HYPERV.*": "Hyper-V's interfaces",
    "KVM_CAP_XEN_HVM": "Xen's interfaces",
    "KVM_CAP_(IOMMU|ASSIGN_DEV_IRQ|PCI_2_3|PCI_SEGMENT)":
        "device assignment of old, which Linux has no more",
    "KVM_CAP_PV_MMU": "paravirtual page tables, which Linux has no more",
    "KVM_CAP_VAPIC": "reports TPR accesses where they are slow: 32-bit Windows without a LAPIC in here",
    "KVM_CAP_(X86_SMM|MULTI_ADDRESS_SPACE)":
        "no system management mode, and so one address space only",
    "KVM_CAP_NESTED_STATE": "VMX is not offered to guests yet",
    "KVM_CAP_(PMU_.*)": "no performance counters: CPUID leaf 0xa says version 0",
    "KVM_CAP_MANUAL_DIRTY_LOG_PROTECT": "obsolete: KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2 is offered",
    "KVM_CAP_DIRTY_LOG_RING_WITH_BITMAP": "of architectures that write to memory outside of vCPUs",
    "KVM_CAP_(VM_ATTRIBUTES|GUEST_DEBUG_HW_[BW]PS|MSI_DEVID|LAST_CPU|VM_GPA_BITS)":
        "of other architectures",
    "KVM_CAP_SMALLER_MAXPHYADDR":
        "guests get what their CPUID says; the capability promises Linux's emulation besides",
    "KVM_CAP_X86_BUS_LOCK_EXIT": "split locks stop the other vCPUs, and are not reported",
    "KVM_CAP_SGX_ATTRIBUTE": "SGX is Intel's hardware",
    "KVM_CAP_VM_(COPY|MOVE)_ENC_CONTEXT_FROM": "SEV is AMD's hardware",
    "KVM_CAP_X86_NOTIFY_VMEXIT": "no guest can keep events from its processor for long",
    "KVM_CAP_VM_DISABLE_NX_HUGE_PAGES": "a mitigation of Linux's own page tables; there are none",
    "KVM_CAP_(MEMORY_ATTRIBUTES|GUEST_MEMFD)":
        "private memory: nothing can be kept from the program that runs the engine",
}

QUERY = """
import fcntl, json, os, sys
fd = os.open("/dev/kvm", os.O_RDWR)
print(json.dumps({n: fcntl.ioctl(fd, 0xae03, v) for n, v in json.loads(sys.argv[1]).items()}))
"""


def numbers(header):
    """The capabilities of x86 in linux/kvm.h: name -> number."""
    text = pathlib.Path(header).read_text(encoding="utf-8")
    return {name: int(number)
            for name, number in re.findall(r"^#define (KVM_CAP_\w+)\s+(\d+)\b", text, re.M)
            if not FOREIGN.search(name)}


def reason_of(name):
    return next((why for pattern, why in NOT_OFFERED.items() if re.fullmatch(pattern, name)), "")


def judge(name, answer):
    reason = reason_of(name)
    if answer:
        detail = "offered, and listed as not offered" if reason else ""
        return Result(SUITE, GROUP, name, PASS, not reason, f"answers {answer}", detail)
    detail = "" if reason else "not offered, and no reason is given"
    return Result(SUITE, GROUP, name, SKIP, bool(reason), reason, detail)


def run(build, header):
    """Asks for every capability of HEADER: a list of Result."""
    known = numbers(header)
    done = subprocess.run([str(pathlib.Path(build).resolve() / "trapeze"), "with-kvm", "--",
                           sys.executable, "-c", QUERY, json.dumps(known)], text=True, check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
    if done.returncode:
        return [Result(SUITE, GROUP, "KVM_CHECK_EXTENSION", FAIL, False, "", done.stderr.strip())]
    return [judge(name, answer) for name, answer in json.loads(done.stdout).items()]
