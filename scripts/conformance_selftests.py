# SPDX-License-Identifier: LGPL-2.1-or-later
"""KVM's own selftests, from Debian's package linux-source-6.12, on our KVM (`trapeze with-kvm`).

They are built out of tree, once for each version of the package, and kept in the cache folder beside
the kernels ($TRAPEZE_CACHE or ~/.cache/trapeze).  TESTS says of each program how it is run and how it
must end; whatever ends otherwise, for better or worse, is a departure.
"""
import concurrent.futures
import dataclasses
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

from conformance_result import FAIL, PASS, SKIP, TIMEOUT, Result

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "demo"))

import guest  # noqa: E402  (demo/guest.py)

SUITE = "KVM selftests"
PACKAGE = "linux-source-6.12"
KSFT_SKIP = 4  # the exit status by which a kernel selftest says that it skips

# What of the source package the build needs.
PARTS = ["Makefile", "arch/x86", "include", "scripts", "tools/arch/x86", "tools/build", "tools/include",
         "tools/lib", "tools/scripts", "tools/testing/selftests/Makefile",
         "tools/testing/selftests/*.h", "tools/testing/selftests/lib.mk",
         "tools/testing/selftests/kvm", "tools/testing/selftests/rseq"]

TIERS = {
    1: "tier 1: run, exits, MSRs, CPUID",
    2: "tier 2: LAPIC, clocks, debugging, paravirtual features",
    3: "tier 3: memory",
    4: "tier 4: processes and threads",
    5: "tier 5: optional",
    6: "tier 6: needs VMX or SVM in the guest",
    7: "tier 7: of other hardware, or of Linux itself",
}


@dataclasses.dataclass(frozen=True)
class Test:
    """One run of a selftest.  seconds bounds it; alone: nothing else runs beside it; expect and reason:
    how it must end, and why so if it is not PASS; or_passes: on other hosts it may also pass."""
    tier: int
    name: str
    arguments: tuple = ()
    seconds: int = 120
    alone: bool = False
    expect: str = PASS
    reason: str = ""
    or_passes: bool = False

    @property
    def title(self):
        return " ".join([self.name.split("/")[-1], *self.arguments])


def skips(tier, names, reason):
    return [Test(tier, name, expect=SKIP, reason=reason) for name in names.split()]


NO_VMX = "VMX is not offered to guests yet"
NO_SVM = "SVM is not offered to guests: the engine's nested mode will be VMX"
NO_HYPERV = "KVM_CAP_HYPERV*: Hyper-V's interfaces are not offered"
NO_PMU = "no performance counters: CPUID leaf 0xa says version 0"

TESTS = [
    Test(1, "guest_print_test"),
    Test(1, "x86_64/userspace_io_test"),
    Test(1, "x86_64/set_sregs_test"),
    Test(1, "x86_64/cpuid_test"),
    Test(1, "x86_64/get_msr_index_features"),
    Test(1, "x86_64/hwcr_msr_test"),
    Test(1, "x86_64/platform_info_test"),
    Test(1, "x86_64/set_boot_cpu_id"),
    Test(1, "x86_64/max_vcpuid_cap_test"),
    Test(1, "kvm_create_max_vcpus"),
    Test(1, "x86_64/sync_regs_test"),
    Test(1, "x86_64/exit_on_emulation_failure_test", expect=FAIL,
         reason="demands that FLDS from a device's memory cannot be executed; here it can"),
    Test(1, "x86_64/fix_hypercall_test"),
    Test(1, "x86_64/cr4_cpuid_sync_test"),
    Test(1, "x86_64/xcr0_cpuid_test"),
    Test(1, "x86_64/xss_msr_test", expect=SKIP, reason="XSAVES is not offered: no supervisor states"),
    Test(1, "x86_64/recalc_apic_map_test"),
    Test(2, "x86_64/xapic_ipi_test", alone=True),
    Test(2, "x86_64/xapic_state_test"),
    Test(2, "x86_64/apic_bus_clock_test", alone=True),
    Test(2, "x86_64/tsc_msrs_test"),
    Test(2, "x86_64/tsc_scaling_sync"),
    Test(2, "system_counter_offset_test"),
    Test(2, "x86_64/kvm_clock_test"),
    Test(2, "steal_time"),
    Test(2, "x86_64/kvm_pv_test"),
    Test(2, "x86_64/debug_regs"),
    Test(2, "x86_64/userspace_msr_exit_test"),
    Test(2, "x86_64/monitor_mwait_test", expect=SKIP, or_passes=True,
         reason="asks for MWAIT in the host's own CPUID, which a virtual machine's may lack"),
    Test(2, "x86_64/ucna_injection_test"),
    Test(2, "x86_64/state_test"),
    Test(3, "set_memory_region_test"),
    Test(3, "coalesced_io_test"),
    Test(3, "demand_paging_test"),
    Test(3, "dirty_log_test", ("-M", "dirty-log"), seconds=400),
    Test(3, "dirty_log_test", ("-M", "clear-log"), seconds=400),
    Test(3, "dirty_log_test", ("-M", "dirty-ring"), seconds=400),
    Test(3, "dirty_log_perf_test", seconds=400),
    Test(3, "kvm_page_table_test", seconds=400),
    Test(3, "memslot_modification_stress_test", seconds=400),
    Test(3, "memslot_perf_test", seconds=1200, alone=True),
    Test(3, "max_guest_memory_test", seconds=600, alone=True),
    Test(3, "pre_fault_memory_test"),
    Test(3, "kvm_binary_stats_test"),
    Test(4, "hardware_disable_test", seconds=2400, alone=True),
    Test(4, "rseq_test", seconds=300),
    *skips(5, "x86_64/smm_test", "KVM_CAP_X86_SMM: no system management mode"),
    *skips(5, "x86_64/hyperv_clock x86_64/hyperv_cpuid x86_64/hyperv_extended_hypercalls "
              "x86_64/hyperv_features x86_64/hyperv_ipi x86_64/hyperv_tlb_flush", NO_HYPERV),
    *skips(5, "x86_64/xen_shinfo_test x86_64/xen_vmcall_test",
           "KVM_CAP_XEN_HVM: Xen's interfaces are not offered"),
    *skips(5, "guest_memfd_test x86_64/private_mem_conversions_test x86_64/private_mem_kvm_exits_test",
           "KVM_CAP_GUEST_MEMFD: no private memory, nothing is confidential here"),
    *skips(5, "x86_64/smaller_maxphyaddr_emulation_test",
           "KVM_CAP_SMALLER_MAXPHYADDR: not offered, the test demands that FLDS cannot be executed"),
    *skips(5, "x86_64/pmu_counters_test x86_64/pmu_event_filter_test x86_64/vmx_pmu_caps_test", NO_PMU),
    *skips(5, "x86_64/amx_test", "AMX is not offered"),
    *skips(6, "x86_64/nested_exceptions_test x86_64/triple_fault_event_test x86_64/hyperv_evmcs "
              "x86_64/vmx_apic_access_test x86_64/vmx_close_while_nested_test x86_64/vmx_dirty_log_test "
              "x86_64/vmx_exception_with_invalid_guest_state x86_64/vmx_invalid_nested_guest_state "
              "x86_64/vmx_msrs_test x86_64/vmx_nested_tsc_scaling_test "
              "x86_64/vmx_preemption_timer_test x86_64/vmx_set_nested_state_test "
              "x86_64/vmx_tsc_adjust_test", NO_VMX),
    *skips(6, "x86_64/hyperv_svm_test x86_64/svm_int_ctl_test x86_64/svm_nested_shutdown_test "
              "x86_64/svm_nested_soft_inject_test x86_64/svm_vmcall_test", NO_SVM),
    *skips(7, "x86_64/sev_init2_tests x86_64/sev_migrate_tests x86_64/sev_smoke_test",
           "SEV is AMD's hardware"),
    *skips(7, "x86_64/dirty_log_page_splitting_test",
           "counts the large pages of Linux's own page tables"),
    *skips(7, "access_tracking_perf_test", "needs Linux's idle page tracking"),
    *skips(7, "x86_64/nx_huge_pages_test",
           "KVM_CAP_VM_DISABLE_NX_HUGE_PAGES: there are no such pages"),
]

# What `make test` runs: the quick ones, and others with their arguments shortened.
FAST = [t for t in TESTS if t.tier in (1, 2) and t.expect == PASS and t.name not in (
    "kvm_create_max_vcpus", "x86_64/xapic_ipi_test", "x86_64/apic_bus_clock_test",
    "system_counter_offset_test")] + [
    Test(2, "x86_64/xapic_ipi_test", ("1",)),
    Test(3, "set_memory_region_test"),
    Test(3, "coalesced_io_test"),
    Test(3, "dirty_log_test", ("-M", "all", "-i", "4", "-I", "2")),
    Test(3, "kvm_page_table_test", ("-p", "0x2000000", "-b", "1M")),
    Test(3, "memslot_modification_stress_test", ("-i", "50")),
    Test(3, "demand_paging_test", ("-b", "4M")),
    Test(3, "pre_fault_memory_test"),
    Test(3, "kvm_binary_stats_test", ("1", "2")),
]


class SelftestError(Exception):
    """The selftests cannot be had; the message says why and what to do."""


# ---------------------------------------------------------------- building

def version():
    """The version of the source package that is installed."""
    done = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", PACKAGE], text=True, check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    if done.returncode or not done.stdout:
        raise SelftestError(f"{PACKAGE} is not installed: run scripts/packages test")
    return done.stdout


def step(command, log, **options):
    with open(log, "a", encoding="utf-8") as out:
        done = subprocess.run(list(map(str, command)), check=False, stdout=out,
                              stderr=subprocess.STDOUT, **options)
    if done.returncode:
        raise SelftestError(f"{' '.join(map(str, command))} failed: see {log}")


def unpack_and_make(work, log):
    """Builds the programs in WORK/out."""
    tree = work / PACKAGE
    step(["tar", "-C", work, "-xf", f"/usr/src/{PACKAGE}.tar.xz", "--wildcards",
          *(f"{PACKAGE}/{part}" for part in PARTS)], log)
    step(["make", "-C", tree, "headers"], log)
    (work / "out").mkdir()
    step(["make", "-j", os.cpu_count() or 1, "-C", tree / "tools/testing/selftests/kvm",
          f"OUTPUT={work / 'out'}"], log)


def programs(progress=lambda text: None):
    """The folder of the built programs, with linux/kvm.h of the same kernel as kvm.h; built if need
    be."""
    target = guest.cache_dir() / "kvm-selftests" / version()
    if target.exists():
        return target
    progress(f"building KVM's selftests of {PACKAGE} {version()}, once: some minutes")
    work = target.parent / f"{target.name}.{os.getpid()}"
    log = target.parent / "build.log"
    target.parent.mkdir(exist_ok=True)
    log.unlink(missing_ok=True)
    work.mkdir()
    try:
        unpack_and_make(work, log)
        kept = work / "kept"
        for name in {test.name for test in TESTS}:
            (kept / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(work / "out" / name, kept / name)
        shutil.copy2(work / PACKAGE / "usr/include/linux/kvm.h", kept / "kvm.h")
        subprocess.run(["strip", *(kept / test.name for test in TESTS)], check=False)
        try:
            kept.rename(target)
        except OSError:
            if not target.exists():  # not because another run was quicker
                raise
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return target


# ---------------------------------------------------------------- running

def execute(trapeze, folder, test):
    """(outcome, what the test said, seconds)"""
    command = [trapeze, "with-kvm", "--", folder / test.name, *test.arguments]
    start = time.monotonic()
    with subprocess.Popen(list(map(str, command)), text=True, errors="replace", cwd="/tmp",
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, start_new_session=True) as process:
        try:
            output, _ = process.communicate(timeout=test.seconds)
            outcome = {0: PASS, KSFT_SKIP: SKIP}.get(process.returncode, FAIL)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, _ = process.communicate()
            outcome = TIMEOUT
    return outcome, said(outcome, process.returncode, output), time.monotonic() - start


def said(outcome, status, output):
    """What of OUTPUT tells why."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    if outcome == PASS:
        return ""
    if outcome == SKIP:
        wanted = [line for line in lines if re.search("skip|requirement not met", line, re.I)]
        return re.sub(r"^.*?# SKIP:?\s*(-\s*)?", "", wanted[-1]) if wanted else "no reason given"
    if outcome == TIMEOUT:
        return "; ".join(lines[-2:])
    # A failed assertion stands at the top of its stack trace.
    at = next((n for n, line in enumerate(lines) if "Test Assertion Failure" in line), None)
    told = lines[at:at + 3] + lines[-2:] if at is not None else lines[-4:]
    ended = f"signal {-status}" if status < 0 else f"status {status}"
    return f"{ended}: " + "; ".join(dict.fromkeys(told))


def run_one(build, folder, test):
    outcome, detail, seconds = execute(pathlib.Path(build).resolve() / "trapeze", folder, test)
    expected = outcome == test.expect or (test.or_passes and outcome == PASS)
    reason = test.reason if expected and outcome != PASS else ""
    return Result(SUITE, TIERS[test.tier], test.title, outcome, expected, reason, detail, seconds)


def run(build, progress, only=(), jobs=None, titles=()):
    """Runs TESTS (those whose name contains one of ONLY, or is one of TITLES, if any are given): a list
    of Result in TESTS' order."""
    folder = programs(progress)
    wanted = [t for t in TESTS if (not only or any(o in t.name for o in only)) and
              (not titles or t.title in titles)]
    results = {}

    def done(test, result):
        results[test] = result
        mark = "" if result.expected else "   <-- not as expected"
        progress(f"[{len(results)}/{len(wanted)}] {result.outcome:7} {test.title} "
                 f"({result.seconds:.0f} s){mark}")
        if not result.expected:
            progress(f"        {result.detail}")

    with concurrent.futures.ThreadPoolExecutor(jobs or os.cpu_count() or 1) as pool:
        futures = {pool.submit(run_one, build, folder, t): t for t in wanted if not t.alone}
        for future in concurrent.futures.as_completed(futures):
            done(futures[future], future.result())
    for test in wanted:
        if test.alone:
            done(test, run_one(build, folder, test))
    return [results[t] for t in wanted]
