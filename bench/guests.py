# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the benchmark runs: its program, the guests that have it as their first process, and the clock
beside them."""
import os
import pathlib
import re
import selectors
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "demo"))
from guest import build_initramfs, fetch_kernel  # noqa: E402

# Seconds that one guest may take: tens of times what it takes on a quiet host.
LIMIT = 600

# How far the guest's clock may fall behind the host's in one workload (a part of it, and seconds: the
# serial line takes its time) before its figures are refused.
CLOCK_PART, CLOCK_SECONDS = 0.2, 0.5

MEMORY, CPUS = 512, 2


class BenchError(Exception):
    """A run that cannot be counted; the message says which and why."""


def say(text):
    print(text, file=sys.stderr, flush=True)


class Run:
    """A program whose lines on standard output are noted with the time at which they came."""

    def __init__(self, title, command):
        self.title = title
        self.command = [str(word) for word in command]
        self.lines = []  # (seconds since the start, text)
        self.seconds = None

    def go(self):
        with tempfile.TemporaryFile() as errors:
            start = time.monotonic()
            process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL,
                                       stdout=subprocess.PIPE, stderr=errors)
            try:
                self._read(process, start)
                status = process.wait(timeout=LIMIT)
            except subprocess.TimeoutExpired:
                raise BenchError(f"{self.title} did not end") from None
            finally:
                process.kill()
                process.wait()
                process.stdout.close()
            self.seconds = time.monotonic() - start
            errors.seek(0)
            if status:
                raise BenchError(f"{self.title} ended with {status}: "
                                 f"{errors.read().decode(errors='replace').strip()[-300:]}")
        return self

    def _read(self, process, start):
        pending = b""
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while True:
                left = start + LIMIT - time.monotonic()
                if left <= 0 or not selector.select(left):
                    raise BenchError(f"{self.title} is still running after {LIMIT} s; its last line: "
                                     f"{self.last()}")
                data = os.read(process.stdout.fileno(), 65536)
                now = time.monotonic() - start
                if not data:
                    return
                *complete, pending = (pending + data).split(b"\n")
                for line in complete:
                    self.lines.append((now, line.decode(errors="replace").strip()))

    def last(self):
        return self.lines[-1][1] if self.lines else "nothing"

    def when(self, pattern):
        """The seconds at which the first line came that matches PATTERN."""
        for when, text in self.lines:
            if re.search(pattern, text):
                return when
        raise BenchError(f"{self.title}: no line '{pattern}'; the last was '{self.last()}'")

    def results(self):
        """Workload -> (seconds by the program's clock, checksum)."""
        found, began = {}, {}
        for when, text in self.lines:
            if failed := re.search(r"bench: failed: (.*)", text):
                raise BenchError(f"{self.title}: {failed.group(1)}")
            if begin := re.search(r"bench: begin (\S+)", text):
                began[begin.group(1)] = when
            elif done := re.search(r"bench: (\S+) ([0-9.]+) ([0-9a-f]{16})$", text):
                name, seconds = done.group(1), float(done.group(2))
                host = when - began.get(name, when)
                if host - seconds > host * CLOCK_PART + CLOCK_SECONDS:
                    raise BenchError(f"{self.title}: {name} took {seconds:.2f} s by the guest's clock "
                                     f"and {host:.2f} s by the host's")
                found[name] = seconds, done.group(3)
        return found


def build_program(folder):
    program = pathlib.Path(folder) / "bench"
    sources = sorted((ROOT / "bench/workloads").glob("*.c"))
    subprocess.run([os.environ.get("CC", "gcc"), "-std=gnu17", "-O2", "-Wall", "-Wextra", "-static",
                    "-pthread", "-o", program, *sources], check=True)
    return program


class Bench:
    """The files that all runs share, and a method for each side."""

    def __init__(self, trapeze, translator, qemu, folder):
        self.trapeze, self.translator, self.qemu = trapeze, translator, qemu
        self.program = build_program(folder)
        self.kernel = fetch_kernel()
        folder = pathlib.Path(folder)
        self.initramfs = build_initramfs(self.kernel, folder / "bench.gz", init=self.program)
        self.demo_initramfs = build_initramfs(self.kernel, folder / "demo.gz")

    def native(self, names):
        return Run("the program itself", [self.program, *names]).go().results()

    def _linux(self, names):
        append = "console=ttyS0 quiet panic=-1 bench.run=" + ",".join(names)
        return self.initramfs, append

    def _ours(self, initramfs, append):
        return [self.trapeze, "run", "--engine", "software", "--translator", self.translator,
                "--memory", f"{MEMORY}M", "--cpus", CPUS, "--serial", "stdio", "--no-reboot",
                "--kernel", self.kernel.image, "--initrd", initramfs, "--append", append]

    def _qemu(self, accelerator, initramfs, append, *more):
        return [self.qemu, "-M", "q35", "-accel", accelerator, "-cpu", "max", "-m", MEMORY, "-smp",
                CPUS, "-display", "none", "-serial", "stdio", "-monitor", "none", "-nic", "none",
                "-no-reboot", "-kernel", self.kernel.image, "-initrd", initramfs, "-append", append,
                *more]

    def ours(self, names):
        return Run("the guest under trapeze", self._ours(*self._linux(names))).go().results()

    def tcg(self, names):
        return Run("the guest under TCG",
                   self._qemu("tcg", *self._linux(names), "-device", "pci-testdev")).go().results()

    def qemu_on_ours(self, names):
        """Debian's QEMU with -accel kvm, our KVM."""
        command = self._qemu("kvm", *self._linux(names), "-device", "pci-testdev")
        return Run("QEMU on our KVM", [self.trapeze, "with-kvm", *command]).go().results()

    def boot(self, side):
        """Seconds from the start of SIDE ("ours" or "tcg") to its guest's init, and to its end."""
        append = "console=ttyS0 quiet panic=-1 trapeze.check"
        command = (self._ours(self.demo_initramfs, append) if side == "ours" else
                   self._qemu("tcg", self.demo_initramfs, append))
        run = Run(f"the boot under {side}", command).go()
        return run.when("trapeze-guest: init after"), run.seconds
