#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""kvm-unit-tests: prebuilt images of that suite, under `trapeze run` and under QEMU with our KVM.

The folder given is a built tree of the suite; its own table, x86/unittests.cfg, says which image runs
with how many processors and what CPU.  Images for 32-bit processors are taken from a second tree in
the subfolder i386 (a link will do).  Beside `make conformance`, by hand:

    scripts/conformance_kut.py --build build --log logs FOLDER [ENTRY...]
"""
import argparse
import collections
import configparser
import dataclasses
import fnmatch
import functools
import os
import pathlib
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time

from conformance_result import FAIL, PASS, SKIP, TIMEOUT, Result

SUITE = "kvm-unit-tests"
DEFAULT_SECONDS = 90    # the suite's, for entries that say nothing
PATIENCE = 4            # we interpret, and the host may be busy: this many times the suite's limits
DEFAULT_MEMORY = 128    # MiB, QEMU's
SUCCESS, SKIPPED = 1, 77  # exit statuses: (value << 1) | 1 of what was written to port 0xf4

# `trapeze run` refuses a CPU with a feature that the engine lacks; the tests skip what they miss.
NEVER_OFFERED = {"vmx", "svm"}

RUN, QEMU = "under trapeze run", "under QEMU with our KVM"
NO_VMX = "VMX inside the guest is not offered yet"
NO_SVM = "SVM inside the guest is not offered"
NO_HYPERV = "Hyper-V's interfaces are not offered"
NO_PMU = "no performance monitoring unit is offered"
NO_KEYS = "protection keys are not offered"
SMALLER = "guests do not get addresses narrower than those of their page tables' processor"
OLD_QEMU = NO_VMX + "; besides, Debian's QEMU does not know the parameter vmx-mbec"

# How entries end that do not pass: (name or pattern, ways) -> (outcome, reason).  All others pass.
EXPECTED = (
    ("access_fep", (RUN, QEMU), SKIP, "Linux's prefix that forces emulation is not offered"),
    ("access-reduced-maxphyaddr", (RUN, QEMU), SKIP, SMALLER),
    ("pku", (RUN, QEMU), SKIP, NO_KEYS),
    ("pks", (RUN, QEMU), SKIP, NO_KEYS),
    ("asyncpf", (RUN, QEMU), SKIP, "needs a host that swaps the guest out (a small memory cgroup)"),
    ("pmu*", (RUN, QEMU), SKIP, NO_PMU),
    ("vmware_backdoors", (RUN, QEMU), SKIP, "VMware's back door is not offered"),
    ("svm*", (RUN, QEMU), SKIP, NO_SVM),
    ("ept*", (QEMU,), FAIL, OLD_QEMU),
    ("ept*", (RUN,), SKIP, NO_VMX),
    ("vmx", (RUN, QEMU), SKIP, NO_VMX),
    ("vmx_*", (RUN, QEMU), SKIP, NO_VMX),
    ("hyperv_*", (RUN, QEMU), SKIP, NO_HYPERV),
    ("intel_iommu", (RUN,), FAIL, "the machine virt-1 has no IOMMU"),
    ("tsx-ctrl", (RUN, QEMU), SKIP, "TSX is not offered"),
    ("cet", (RUN, QEMU), SKIP, "control-flow enforcement is not offered"),
)


@dataclasses.dataclass(frozen=True)
class Entry:
    """One section of unittests.cfg."""
    name: str
    image: pathlib.Path
    cpus: int
    test_arguments: str     # as the table has them
    parameters: tuple       # QEMU's further command line
    seconds: int
    checks: tuple           # of (path, value): files that must hold a value

    def parameter(self, flag, default=None):
        """The word after FLAG on QEMU's command line."""
        words = self.parameters
        for at, word in enumerate(words[:-1]):
            if word == flag:
                return words[at + 1]
        return default

    @property
    def arguments(self):
        """The test's arguments as the suite's shell would see them now."""
        return " ".join(shlex.split(self.test_arguments.replace("`date +%s`",
                                                                str(int(time.time())))))

    @property
    def memory(self):
        """Guest memory in MiB."""
        text = self.parameter("-m", str(DEFAULT_MEMORY))
        units = {"g": 1024, "m": 1}
        return int(text[:-1]) * units[text[-1].lower()] if text[-1].isalpha() else int(text)


def version(folder):
    """The commit that the tree was built from, as far as can be told."""
    done = subprocess.run(["git", "-C", folder, "log", "-1", "--format=%h of %cs"], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    return done.stdout.strip() or "an unknown version"


def read_entries(folder):
    """All sections of the table, in its order."""
    config = configparser.ConfigParser(interpolation=None, strict=False)
    config.read(folder / "x86" / "unittests.cfg")
    if not config.sections():
        sys.exit(f"conformance: {folder}/x86/unittests.cfg: no such table; KUT= wants the folder of a "
                 "built kvm-unit-tests tree")
    entries = []
    for name in config.sections():
        section = config[name]
        tree = folder / "i386" if section.get("arch") == "i386" else folder
        entries.append(Entry(
            name=name,
            image=tree / "x86" / section["file"],
            cpus=int(section.get("smp", "1")),
            test_arguments=section.get("test_args", ""),
            parameters=tuple(shlex.split(section.get("qemu_params", section.get("extra_params", "")))),
            seconds=int(section.get("timeout", str(DEFAULT_SECONDS)).rstrip("s")),
            checks=tuple(tuple(c.split("=", 1)) for c in section.get("check", "").split())))
    return entries


# ---- the two ways ----

def trapeze_cpu(text, known):
    """--cpu for QEMU's -cpu: the full set where QEMU's model is one, else ours, and what is added to
    it or taken away, as far as we have a name for it."""
    model, *changes = (text or "qemu64").split(",")
    parts = ["host" if model in ("max", "host") else "trapeze-v1"]
    for change in changes:
        if change[0] in "+-" and change[1:] in known:
            parts.append(change)
        elif change.startswith(("vendor=", "phys-bits=")):
            parts.append(change)
    return ",".join(parts)


def known_features(build):
    """The names of `trapeze help cpu` that can be asked for."""
    out = subprocess.run([build / "trapeze", "help", "cpu"], text=True, stdout=subprocess.PIPE,
                         check=True).stdout
    return set(re.findall(r"[a-z0-9_-]+", out)) - NEVER_OFFERED


class TrapezeRun:
    """`trapeze run --kernel`, without firmware: what the suite asks fw_cfg for is in a module."""
    name = RUN

    def __init__(self, build, scratch, flags=()):
        self.build, self.scratch, self.flags = build, scratch, flags
        self.features = known_features(build)

    def command(self, entry):
        module = self.scratch / f"{entry.name}.env"
        module.write_text(f"NR_CPUS={entry.cpus}\nMEMSIZE={entry.memory}\nMEMLIMIT=0\nTEST_DEVICE=1\n")
        command = [self.build / "trapeze", "run", "--engine", "software", "--kernel", entry.image,
                   "--initrd", module, "--test-device", "--net", "none", "--no-reboot",
                   *self.flags, "--cpus", entry.cpus, "--memory", f"{entry.memory}M",
                   "--cpu", trapeze_cpu(entry.parameter("-cpu"), self.features)]
        if "pit=off" in (entry.parameter("-machine") or ""):
            command += ["--pit", "off"]
        if entry.arguments:
            command += ["--append", entry.arguments]
        return [str(word) for word in command]


class QemuWithKvm:
    """Debian's QEMU on our /dev/kvm, started as the suite's own script starts it."""
    name = QEMU

    def __init__(self, build, scratch):
        self.build, self.scratch = build, scratch

    def command(self, entry):
        module = self.scratch / f"{entry.name}.env"
        module.write_text("")
        command = [self.build / "trapeze", "with-kvm", "--", "qemu-system-x86_64", "--no-reboot",
                   "-nodefaults", "-global", "kvm-pit.lost_tick_policy=discard",
                   "-device", "pc-testdev", "-device", "isa-debug-exit,iobase=0xf4,iosize=0x4",
                   "-display", "none", "-serial", "stdio", "-device", "pci-testdev",
                   "-machine", "accel=kvm", "-kernel", entry.image, "-smp", entry.cpus]
        if entry.arguments:
            command += ["-append", entry.arguments]
        return [str(word) for word in command + list(entry.parameters)]


# ---- running ----

def run_command(command, seconds):
    """(exit status or None for out of time, output, seconds it took)."""
    start = time.monotonic()
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, start_new_session=True) as process:
        try:
            out = process.communicate(timeout=seconds)[0]
            status = process.returncode
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            out = process.communicate()[0]
            status = None
    return status, out.decode(errors="replace").replace("\r", ""), time.monotonic() - start


def summary(out):
    """What tells most: the failures, or the last line."""
    lines = [line.strip() for line in out.splitlines() if line.strip()]
    failed = [line for line in lines if line.startswith("FAIL")]
    lines = [line for line in lines if "warning: host doesn't support" not in line]
    last = [line for line in lines if line.startswith(("SUMMARY", "SKIP", "trapeze:", "qemu"))][-1:]
    return "; ".join(failed[:3] + (last or lines[-1:]))


def unmet_check(entry, build):
    """The first file of the entry's conditions that is not as it wants it, by our KVM's /sys."""
    for path, value in entry.checks:
        done = subprocess.run([build / "trapeze", "with-kvm", "--", "cat", path], text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
        if done.stdout.strip() != value:
            return f"{path} is not {value}"
    return None


def expectation(entry, way):
    """(outcome, reason) of the table above."""
    for pattern, ways, outcome, reason in EXPECTED:
        if way.name in ways and fnmatch.fnmatchcase(entry.name, pattern):
            return outcome, reason
    return PASS, ""


def outcome_of(status, out):
    if status is None:
        return TIMEOUT
    if status == SUCCESS and not re.search(r"^(trapeze|qemu-system-x86_64): (?!warning)", out, re.M):
        return PASS
    return SKIP if status == SKIPPED else FAIL


def run_entry(entry, way, build, log=None):
    """The Result of ENTRY by WAY."""
    unmet = unmet_check(entry, build)
    seconds = 0.0
    limit = entry.seconds * PATIENCE
    if not entry.image.exists():
        outcome, detail = SKIP, f"{entry.image.name} is not built"
    elif unmet:
        outcome, detail = SKIP, unmet
    else:
        command = way.command(entry)
        status, out, seconds = run_command(command, limit)
        outcome, detail = outcome_of(status, out), summary(out)
        if log:
            text = f"{shlex.join(command)}\n{out}\nexit status {status}, {seconds:.1f} s\n"
            (log / f"{entry.name}.{type(way).__name__}").write_text(text)
    expected, reason = expectation(entry, way)
    return Result(SUITE, way.name, entry.name, outcome, outcome == expected, reason,
                  "" if outcome == PASS else detail, seconds)


def run(build, directory, progress, only=(), ways=(TrapezeRun, QemuWithKvm), log=None):
    """Runs all entries of the built tree DIRECTORY (or those named), each way; a list of Results."""
    build, directory = pathlib.Path(build).resolve(), pathlib.Path(directory).resolve()
    entries = [e for e in read_entries(directory) if not only or e.name in only]
    results = []
    with tempfile.TemporaryDirectory() as scratch:
        for way in (w(build, pathlib.Path(scratch)) for w in ways):
            for number, entry in enumerate(entries, 1):
                result = run_entry(entry, way, build, log)
                results.append(result)
                mark = "" if result.expected else ", not as expected"
                progress(f"{way.name} {number}/{len(entries)} {entry.name}: {result.outcome}{mark} "
                         f"({result.seconds:.0f} s) {result.detail}")
    return results


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default="build", help="the build folder (default: build)")
    parser.add_argument("--way", choices=["run", "qemu"], help="only `trapeze run`, or only QEMU")
    parser.add_argument("--flags", default="", help="further flags of `trapeze run`")
    parser.add_argument("--log", type=pathlib.Path, help="keep each entry's output in this folder")
    parser.add_argument("folder", help="a built kvm-unit-tests tree")
    parser.add_argument("entry", nargs="*", help="entries of x86/unittests.cfg (default: all)")
    options = parser.parse_args()
    if options.log:
        options.log.mkdir(parents=True, exist_ok=True)
    ways = [QemuWithKvm] if options.way != "run" else []
    if options.way != "qemu":
        ways.insert(0, functools.partial(TrapezeRun, flags=shlex.split(options.flags)))
    results = run(options.build, options.folder, lambda line: print(line, flush=True),
                  options.entry, ways, options.log)
    counts = collections.Counter(r.outcome for r in results)
    print(", ".join(f"{count} {outcome}" for outcome, count in counts.items()))
    return 0 if all(r.expected for r in results) else 1


if __name__ == "__main__":
    sys.exit(main())
