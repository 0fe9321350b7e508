# SPDX-License-Identifier: LGPL-2.1-or-later
"""The translator for long: boots in a row, and lockstep over a boot and over the benchmark's workloads.

BOOTS in the environment is how many boots each kernel does with each number of vCPUs (2); `make soak`
does 50."""
import os
import re
import subprocess
import sys
import time

import pytest

import guest as demo_guest
from conftest import ROOT
from console import BOOT_SECONDS, COMMAND_SECONDS

sys.path.append(str(ROOT / "bench"))
import guests as bench_guests  # noqa: E402
import table as bench_table  # noqa: E402

pytestmark = pytest.mark.long

BOOTS = int(os.environ.get("BOOTS", "2"))
LOCKSTEP_SECONDS = 10 * BOOT_SECONDS


@pytest.mark.parametrize("flavour", ["cloud-amd64", "amd64", "rt-amd64"])
@pytest.mark.parametrize("cpus", [1, 2, 4])
def test_boots_in_a_row(start, linux, disk, flavour, cpus):
    for boot in range(BOOTS):
        append = f"quiet trapeze.check trapeze.time={int(time.time())}"
        with start(*linux(flavour, append), "--engine", "software", "--cpus", cpus,
                   "--disk", disk()) as guest:
            guest.expect(rb"trapeze-check: cpus %d, 0 failed" % cpus, BOOT_SECONDS)
            assert guest.wait() == 0, f"boot {boot}: {guest.stderr()}"


def compared(guest):
    """After the end of a guest with --translator check and --stats: nothing differed."""
    assert guest.wait(COMMAND_SECONDS) == 0, guest.stderr()
    counts = dict(re.findall(r"(?m)^  (compared|differences) +(\d+)$", guest.stderr()))
    assert int(counts["differences"]) == 0, guest.stderr()
    return int(counts["compared"])


def test_lockstep_boot(start, linux, disk):
    append = f"quiet trapeze.check trapeze.time={int(time.time())}"
    with start(*linux(append=append), "--engine", "software", "--translator", "check", "--stats",
               "--disk", disk()) as guest:
        guest.expect(rb"trapeze-check: cpus 1, 0 failed", LOCKSTEP_SECONDS)
        assert compared(guest) > 100_000_000


def test_lockstep_workloads(start, kernel, tmp_path):
    """The workloads' checksums are those of the same program on the host, too."""
    names = list(bench_table.WORKLOADS)
    program = bench_guests.build_program(tmp_path)
    native = subprocess.run([program, *names], check=True, text=True, timeout=COMMAND_SECONDS,
                            stdout=subprocess.PIPE).stdout
    expected = re.findall(r"bench: (\S+) [0-9.]+ ([0-9a-f]{16})\n", native)
    assert [name for name, _ in expected] == names
    image = demo_guest.build_initramfs(kernel("cloud-amd64"), tmp_path / "bench.gz", program)
    with start("--kernel", kernel("cloud-amd64").image, "--initrd", image, "--append",
               "console=ttyS0 quiet panic=-1 bench.run=" + ",".join(names), "--engine", "software",
               "--translator", "check", "--stats", "--no-reboot", "--net", "none") as guest:
        for name, checksum in expected:
            match = guest.expect(rb"bench: %s [0-9.]+ ([0-9a-f]{16})\r*\n" % name.encode(),
                                 LOCKSTEP_SECONDS)
            assert match.group(1).decode() == checksum, name
        assert compared(guest) > 100_000_000
