#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""make demo: Debian's kernel in a guest, on this terminal or, without one, checked and summed up."""
import argparse
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

from guest import GuestError, build_initramfs, cache_dir, fetch_kernel


def options():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trapeze", default="build/trapeze", help="the program (%(default)s)")
    parser.add_argument("--flavour", default="cloud-amd64",
                        help="Debian kernel: cloud-amd64, amd64, rt-amd64 (%(default)s)")
    parser.add_argument("--cpus", default="1")
    parser.add_argument("--memory", default="512M")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--translator", help="as for `trapeze run`")
    parser.add_argument("--check", action="store_true",
                        help="run the self-check and power off even on a terminal")
    return parser.parse_args()


def command(args, kernel, initramfs, disk, check):
    append = f"console=ttyS0 trapeze.time={int(time.time())}"
    if check:
        append += " trapeze.check quiet"
    return [args.trapeze, "run", "--kernel", str(kernel.image), "--initrd", str(initramfs),
            "--append", append, "--memory", args.memory, "--cpus", args.cpus,
            "--engine", args.engine, "--disk", str(disk), "--net", "user", "--stats",
            *(["--translator", args.translator] if args.translator else [])]


def follow(program):
    """Runs PROGRAM to its end, echoing what it says; returns its status and its text."""
    text = []
    with subprocess.Popen(program, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT) as process:
        for line in process.stdout:
            line = line.decode(errors="replace").rstrip("\r\n")
            print(line, flush=True)
            text.append(line)
    return process.returncode, "\n".join(text)


def summary(status, text, seconds):
    """Prints what the run showed; returns the demo's exit status."""
    def found(pattern, default="not seen"):
        match = re.search(pattern, text)
        return match.group(1) if match else default
    checks = re.findall(r"trapeze-check: (memory|disk|network|timers|clock) (ok|FAILED)", text)
    good = [name for name, verdict in checks if verdict == "ok"]
    print("\n--- summary")
    print("engine            ", found(r"(?m)^trapeze: (engine .*)$"))
    print("kernel            ", found(r"kernel (\S+)"))
    print("seconds to init   ", found(r"init after ([0-9.]+) s"), "on the guest's clock")
    print("seconds in all    ", f"{seconds:.1f}")
    print("checks            ", ", ".join(f"{n} {v}" for n, v in checks) or "none ran")
    exits = text.partition("VM exits by architectural reason")[2].splitlines()[1:]
    print("vCPU exits by reason")
    for line in exits:
        print("  ", line.strip())
    print("exit status       ", status)
    if status:
        print("The guest did not power off: see its output above.")
        return status
    if len(good) != 5:
        print("The self-check did not pass: see the lines `trapeze-check:` above.")
        return 1
    print("All well.")
    return 0


def main():
    args = options()
    check = args.check or not sys.stdin.isatty()
    kernel = fetch_kernel(args.flavour)
    with tempfile.TemporaryDirectory(prefix="trapeze-demo-") as folder:
        initramfs = build_initramfs(kernel, pathlib.Path(folder) / "initramfs.gz")
        disk = pathlib.Path(folder) / "disk.img"
        with open(disk, "wb") as file:
            file.truncate(64 << 20)
        program = command(args, kernel, initramfs, disk, check)
        if not check:
            print("Starting a Debian guest on this terminal; leave it with `poweroff`, "
                  "or Ctrl-A x from outside.")
            return subprocess.run(program, check=False).returncode
        start = time.monotonic()
        status, text = follow(program)
        return summary(status, text, time.monotonic() - start)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except GuestError as error:
        print(f"demo: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
