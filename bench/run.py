#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""make bench: fixed workloads natively, in a guest under QEMU's TCG and in a guest of ours, a kernel's
boot, QEMU on our KVM, and the manager beside libvirtd; fails when a floor is missed (bench/README.md)."""
import argparse
import pathlib
import subprocess
import sys
import tempfile

from guests import Bench, BenchError, say  # bench/guests.py
from manager import bench_manager  # bench/manager.py
import table  # bench/table.py
from guest import GuestError  # demo/guest.py, found by way of guests.py

NATIVE_RUNS = 5  # as many a run as are cheap: a native run is over in a second

PARTS = ["workloads", "boot", "kvm", "manager"]


def measure(args, bench, results, failures):
    """One run of everything that --parts has, the sides one after the other."""
    def attempt(side, run, names):
        say(f"  {side} ...")
        try:
            found = run(names)
        except BenchError as problem:
            failures.append(str(problem))
            return
        results.add(side, found)
        for name in names:
            if name not in found:
                failures.append(f"{side}: {name} gave no result")

    if "workloads" in args.parts:
        for _ in range(NATIVE_RUNS):
            attempt("native", bench.native, args.only)
        attempt("ours", bench.ours, args.only)
    if "workloads" in args.parts or "kvm" in args.parts:
        attempt("tcg", bench.tcg, args.only + (args.exits if "kvm" in args.parts else []))
    if "kvm" in args.parts:
        attempt("kvm", bench.qemu_on_ours, args.only + args.exits)
    if "boot" in args.parts:
        for side in ("tcg", "ours"):
            say(f"  boot, {side} ...")
            try:
                results.add_boot(side, *bench.boot(side))
            except BenchError as problem:
                failures.append(str(problem))


def report(args, bench, results, failures):
    if "workloads" in args.parts:
        table.print_workloads(results, args.only)
    if "boot" in args.parts:
        table.print_boot(results, bench.kernel.version)
    if "kvm" in args.parts:
        table.print_kvm(results, args.only)
    missed, measured = table.print_floors(results)
    for name, sums in results.differing().items():
        failures.append(f"{name}: the results differ: " + "; ".join(
            f"{value} ({', '.join(sorted(sides))})" for value, sides in sorted(sums.items())))
    for line in dict.fromkeys(failures):
        print(f"bench: FAILED: {line}")
    for line in missed:
        print(f"bench: floor missed: {line}")
    if not failures and not missed:
        print(f"bench: {measured} of {len(table.FLOORS)} floors measured, all held")
    return 1 if failures or missed else 0


def options():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default="build", help="the build folder (%(default)s)")
    parser.add_argument("--translator", default="on", help="as for `trapeze run` (%(default)s)")
    parser.add_argument("--qemu", default="qemu-system-x86_64")
    parser.add_argument("--runs", type=int, default=5, help="of everything; medians count (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="one run, of workloads and boot only")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, metavar="PART",
                        help=f"only these of {', '.join(PARTS)}")
    parser.add_argument("--only", nargs="+", metavar="NAME", default=table.WORKLOADS,
                        choices=table.WORKLOADS + list(table.EXITS),
                        help=f"only these workloads of {', '.join(table.WORKLOADS)}; "
                             f"{', '.join(table.EXITS)} (in the part kvm)")
    args = parser.parse_args()
    if args.runs < 1:
        parser.error("--runs must be at least 1")
    if args.quick:
        args.runs, args.parts = 1, [part for part in args.parts if part in ("workloads", "boot")]
    chosen = list(dict.fromkeys(args.only))
    args.only = [name for name in table.WORKLOADS if name in chosen]
    args.exits = [name for name in table.EXITS
                  if name in chosen or set(table.WORKLOADS) <= set(chosen)]
    args.trapeze = pathlib.Path(args.build).resolve() / "trapeze"
    if not args.trapeze.exists():
        parser.error(f"{args.trapeze} is not built: run `make` first")
    return args


def main():
    args = options()
    results, failures, status = table.Results(), [], 0
    with tempfile.TemporaryDirectory(prefix="trapeze-bench-") as folder:
        if set(args.parts) - {"manager"}:
            bench = Bench(args.trapeze, args.translator, args.qemu, folder)
            for n in range(args.runs):
                say(f"run {n + 1} of {args.runs}")
                measure(args, bench, results, failures)
            status = report(args, bench, results, failures)
        if "manager" in args.parts:
            say("a thousand defined domains with trapezed and with libvirtd ...")
            bench_manager(args, folder)
    return status


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (BenchError, GuestError, OSError, subprocess.CalledProcessError) as problem:
        print(f"bench: {problem}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
