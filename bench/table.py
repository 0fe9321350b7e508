# SPDX-License-Identifier: LGPL-2.1-or-later
"""The benchmark's workloads, floors and aims as data, and what is computed from them."""
import math
import statistics
from dataclasses import dataclass
from typing import Callable

COMPUTE = ["integer", "sort", "crc", "floating", "simd", "chase", "memcpy", "recursion", "indirect",
           "atomics", "two-threads"]
KERNEL = ["system-calls", "pipe", "fork", "fork-exec", "page-faults", "mprotect", "files"]
SELF_MODIFYING = ["self-modifying"]
WORKLOADS = COMPUTE + KERNEL + SELF_MODIFYING

# Writes that leave the guest, to a device that only QEMU has: on its two accelerators.
EXITS = {"exit-port": "a port write", "exit-mmio": "an MMIO write",
         "exit-ioeventfd": "an ioeventfd write"}
EXIT_AMOUNT = 30000  # as in workloads/main.c


def geometric_mean(values):
    return math.exp(statistics.fmean(math.log(v) for v in values))


class Results:
    """Seconds and checksums by side and workload."""

    def __init__(self):
        self.seconds = {}  # (side, workload) -> list
        self.checksums = {}  # workload -> {checksum: sides}
        self.boots = {}  # (side, "init" or "end") -> list

    def add(self, side, found):
        for name, (seconds, checksum) in found.items():
            self.seconds.setdefault((side, name), []).append(seconds)
            self.checksums.setdefault(name, {}).setdefault(checksum, set()).add(side)

    def add_boot(self, side, init, end):
        self.boots.setdefault((side, "init"), []).append(init)
        self.boots.setdefault((side, "end"), []).append(end)

    def median(self, side, name):
        """Seconds, or None where SIDE has no NAME."""
        values = self.seconds.get((side, name))
        return statistics.median(values) if values else None

    def boot(self, side, until):
        values = self.boots.get((side, until))
        return statistics.median(values) if values else None

    def differing(self):
        """{workload: {checksum: sides}} of those whose results differ."""
        return {name: sums for name, sums in self.checksums.items() if len(sums) > 1}

    def slowdown(self, side, name):
        own, native = self.median(side, name), self.median("native", name)
        return own / native if own and native else None

    def mean_slowdown(self, side, names):
        values = [self.slowdown(side, name) for name in names]
        return geometric_mean(values) if all(values) else None

    def ratio(self, side, peer, name):
        own, other = self.median(side, name), self.median(peer, name)
        return own / other if own and other else None

    def worst_ratio(self):
        """(ratio, workload) of the workload that is slowest beside TCG."""
        ratios = [(self.ratio("ours", "tcg", name), name) for name in WORKLOADS]
        ratios = [pair for pair in ratios if pair[0]]
        return max(ratios) if ratios else None

    def boot_ratio(self):
        own, other = self.boot("ours", "init"), self.boot("tcg", "init")
        return own / other if own and other else None

    def kvm_gain(self):
        """How many times faster QEMU is on our KVM than with TCG."""
        ratios = [self.ratio("tcg", "kvm", name) for name in WORKLOADS]
        return geometric_mean(ratios) if all(ratios) else None


@dataclass
class Floor:
    what: str
    measure: Callable  # Results -> the figure, or None where it was not measured
    floor: float
    aim: float = None
    peer: Callable = None  # the same figure of TCG
    at_least: bool = False  # the figure is good when it is high

    def missed(self, value):
        return value < self.floor if self.at_least else value > self.floor


FLOORS = [
    Floor("slowdown, all workloads (geometric mean)",
          lambda r: r.mean_slowdown("ours", WORKLOADS), 2.5, 1.6,
          lambda r: r.mean_slowdown("tcg", WORKLOADS)),
    Floor("slowdown, compute (geometric mean)",
          lambda r: r.mean_slowdown("ours", COMPUTE), 2.0, 1.3,
          lambda r: r.mean_slowdown("tcg", COMPUTE)),
    Floor("slowdown, self-modifying code",
          lambda r: r.mean_slowdown("ours", SELF_MODIFYING), 60, 10,
          lambda r: r.mean_slowdown("tcg", SELF_MODIFYING)),
    Floor("slowdown, kernel-heavy (geometric mean)",
          lambda r: r.mean_slowdown("ours", KERNEL), 3.5, 2.0,
          lambda r: r.mean_slowdown("tcg", KERNEL)),
    Floor("slowest workload beside TCG",
          lambda r: (r.worst_ratio() or [None])[0], 1.0, 0.5),
    Floor("start to init beside TCG", lambda r: r.boot_ratio(), 0.4, 0.2),
    Floor("QEMU on our KVM, times TCG's speed", lambda r: r.kvm_gain(), 2.5, at_least=True),
]


def number(value, form="{:.2f}"):
    return form.format(value) if value is not None else "-"


def print_workloads(results, names):
    print("Seconds natively and in guests, medians; slowdown against native; ours/TCG below 1 is faster")
    print(f"{'workload':<16}{'native':>9}{'TCG':>9}{'trapeze':>9}{'TCG/nat.':>10}{'ours/nat.':>10}"
          f"{'ours/TCG':>10}")
    for name in names:
        print(f"{name:<16}{number(results.median('native', name), '{:.4f}'):>9}"
              f"{number(results.median('tcg', name), '{:.3f}'):>9}"
              f"{number(results.median('ours', name), '{:.3f}'):>9}"
              f"{number(results.slowdown('tcg', name), '{:.1f}'):>10}"
              f"{number(results.slowdown('ours', name), '{:.1f}'):>10}"
              f"{number(results.ratio('ours', 'tcg', name)):>10}")
    print(flush=True)


def print_boot(results, version):
    print(f"Debian's {version}, seconds from the program's start")
    for until, what in (("init", "to its init"), ("end", "to the end, after poweroff")):
        own, peer = results.boot("ours", until), results.boot("tcg", until)
        print(f"  {what:<28} TCG {number(peer):>6}  trapeze {number(own):>6}  ours/TCG "
              f"{number(own / peer if own and peer else None)}")
    print(flush=True)


def print_kvm(results, names):
    print("Debian's QEMU, seconds with -accel tcg and with -accel kvm on our KVM; tcg/kvm above 1 is faster")
    for name in names:
        print(f"{name:<16}{number(results.median('tcg', name), '{:.3f}'):>9}"
              f"{number(results.median('kvm', name), '{:.3f}'):>9}"
              f"{number(results.ratio('tcg', 'kvm', name)):>10}")
    print("Thousands of exits a second to QEMU's pci-testdev, with -accel tcg and on our KVM")
    for name, what in EXITS.items():
        rates = [EXIT_AMOUNT / s / 1000 if (s := results.median(side, name)) else None
                 for side in ("tcg", "kvm")]
        print(f"{what:<20}{number(rates[0], '{:.0f}'):>9}{number(rates[1], '{:.0f}'):>9}")
    print(flush=True)


def print_floors(results):
    """The table of floors; returns those that were missed, as lines of text, and how many were measured."""
    missed, measured = [], 0
    print(f"{'':<44}{'TCG':>8}{'trapeze':>9}{'floor':>8}{'aim':>7}")
    for floor in FLOORS:
        value = floor.measure(results)
        peer = floor.peer(results) if floor.peer else None
        verdict = ""
        measured += value is not None
        if value is None:
            verdict = "  not measured"
        elif floor.missed(value):
            verdict = "  MISSED"
            missed.append(f"{floor.what}: {value:.2f}, the floor is {floor.floor}")
        print(f"{floor.what:<44}{number(peer):>8}{number(value):>9}{floor.floor:>8}"
              f"{number(floor.aim, '{}'):>7}{verdict}")
    if (worst := results.worst_ratio()) and worst[0] > 1:
        slow = [f"{name} ({ratio:.2f})" for name in WORKLOADS
                if (ratio := results.ratio("ours", "tcg", name)) and ratio > 1]
        missed.append("slower than TCG: " + ", ".join(slow))
    print(flush=True)
    return missed, measured
