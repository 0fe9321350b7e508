#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""make sanitize: the tests under AddressSanitizer with UndefinedBehaviorSanitizer, those of kvm/ and
machine/ under ThreadSanitizer, and the fuzzers for a bounded time.  No stock kernels.

The folders build-asan, build-tsan and build-fuzz are kept, so that a second time is quicker.
"""
import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

from run_tests import ROOT, Tally, run_system, run_unit, unit_tests

# What has threads: kvm/, with its irqchip, and machine/, with its devices.  `engine-events` and `machine`
# hold guests with two vCPUs.
THREADED = ["irqchip", "kvm", "kvm-cpu", "kvm-memory", "kvm-paravirt", "engines", "engine-events", "pci",
            "virtio", "virtio-blk", "virtio-net", "boot", "machine", "machine-run"]

# Sanitizers slow the tests down by so much at most.
SLOWER = 6

# A hash collision or a wild length in the input is no reason to take all of the host's memory.
FUZZ_LIMITS = ["-rss_limit_mb=3000", "-timeout=60", "-max_len=4096", "-print_final_stats=1"]

# Of the multiboot images' tests: all in tests/system/test_images.py boots none of Debian's kernels.
SMALL_GUESTS = "test_images.py"


def run(command, **options):
    """Runs COMMAND in the top folder, quiet unless it fails; then it ends this program."""
    done = subprocess.run(list(map(str, command)), cwd=ROOT, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, check=False, **options)
    if done.returncode:
        print(done.stdout)
        sys.exit(f"sanitize: {' '.join(map(str, command))} failed")


def build(folder, targets, *meson_options, compiler=None):
    """Configures and builds TARGETS in FOLDER with MESON_OPTIONS; returns FOLDER."""
    start = time.monotonic()
    print(f"building {', '.join(targets)} in {folder.name} ...", flush=True)
    environment = dict(os.environ, CC=compiler) if compiler else None
    again = ["--reconfigure"] if (folder / "build.ninja").exists() else []
    run(["meson", "setup", *again, folder, "-Dbuildtype=debugoptimized", "-Db_lundef=false",
         *meson_options], env=environment)
    run(["ninja", "-C", folder, *targets])
    print(f"   {time.monotonic() - start:.0f} s", flush=True)
    return folder


def run_units(folder, tally, wanted, prefix=()):
    """Runs the unit tests of FOLDER whose name WANTED accepts, PREFIX before each command."""
    for name, command, timeout in unit_tests(folder):
        if wanted(name):
            run_unit(name, [*prefix, *command], timeout * SLOWER, tally)


def address(args, tally):
    """ASan and UBSan: every unit test, and the small guests."""
    folder = build(args.folder / "build-asan", ["trapeze", "meson-test-prereq"],
                   "-Db_sanitize=address,undefined")
    os.environ["ASAN_OPTIONS"] = "detect_leaks=1:detect_stack_use_after_return=0"
    os.environ["UBSAN_OPTIONS"] = "print_stacktrace=1:halt_on_error=1"
    # GLib's slices come from malloc, where ASan sees them.
    os.environ["G_SLICE"] = "always-malloc"
    run_units(folder, tally, lambda name: True)
    # A test sends SIGSEGV and expects the program to end by it.
    os.environ["ASAN_OPTIONS"] += ":handle_segv=0"
    run_system(folder, tally, "not long", SMALL_GUESTS)


def thread(args, tally):
    """TSan: what has threads."""
    folder = build(args.folder / "build-tsan", [f"tests/test-{name}" for name in THREADED],
                   "-Db_sanitize=thread")
    os.environ["TSAN_OPTIONS"] = "halt_on_error=0:exitcode=66:second_deadlock_stack=1"
    # ThreadSanitizer 12 cannot place its shadow where the kernel randomises 32 bits.
    run_units(folder, tally, lambda name: name in THREADED, ["setarch", "-R"])


def fuzz(args, tally):
    """libFuzzer, with ASan and UBSan, on every program of tests/fuzz/, or those of --fuzzers."""
    names = args.fuzzers or sorted(path.stem for path in (ROOT / "tests/fuzz").glob("fuzz-*.c"))
    folder = build(args.folder / "build-fuzz", [f"tests/{name}" for name in names],
                   "-Db_sanitize=address,undefined", "-Dfuzzers=true",
                   "-Dc_args=-fsanitize=fuzzer-no-link", compiler="clang")
    os.environ["ASAN_OPTIONS"] = "detect_leaks=1"
    os.environ["UBSAN_OPTIONS"] = "print_stacktrace=1:halt_on_error=1"
    for name in names:
        fuzz_one(folder, name, args.fuzz_seconds, tally)


def fuzz_one(folder, name, seconds, tally):
    corpus = folder / "corpus" / name
    corpus.mkdir(parents=True, exist_ok=True)
    command = [folder / "tests" / name, f"-max_total_time={seconds}", *FUZZ_LIMITS,
               f"-artifact_prefix={folder}/{name}-", corpus]
    try:
        done = subprocess.run(list(map(str, command)), text=True, errors="replace",
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=seconds * 3 + 120, check=False)
        output, status = done.stdout, done.returncode
    except subprocess.TimeoutExpired:
        output, status = "", "no end"
    runs = re.search(r"stat::number_of_executed_units: (\d+)", output)
    if status or not runs or int(runs.group(1)) < 2:
        tally.fail(f"{name}: ended with {status}")
        print(output[-6000:])
    else:
        tally.passed += 1
    print(f"{'FAIL' if status else 'ok  '} {name}: {runs.group(1) if runs else 'no'} inputs in "
          f"{seconds} s", flush=True)


PARTS = {"address": address, "thread": thread, "fuzz": fuzz}


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=pathlib.Path, default=ROOT,
                        help="where the build folders stand (%(default)s)")
    parser.add_argument("--fuzz-seconds", type=int, default=30, help="a fuzzer (%(default)s)")
    parser.add_argument("--fuzzers", nargs="+", metavar="NAME",
                        help="of the part fuzz: these alone, fuzz-rpc for one")
    parser.add_argument("--part", dest="parts", action="append", metavar="PART", choices=PARTS,
                        help="address, thread or fuzz; all if none")
    args = parser.parse_args()
    args.folder = args.folder.resolve()
    for tool in ("clang", "meson", "ninja", "setarch"):
        if not shutil.which(tool):
            sys.exit(f"sanitize: {tool} is not installed: run scripts/packages first")
    tally = Tally()
    for part in args.parts or PARTS:
        print(f"--- {PARTS[part].__doc__}", flush=True)
        PARTS[part](args, tally)
    return tally.report()


if __name__ == "__main__":
    sys.exit(main())
