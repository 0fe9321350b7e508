# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is hard on a translator (strain/), natively and in guests: both print the same."""
import subprocess
import time

import pytest

import guest as demo_guest
from conftest import HERE
from console import BOOT_SECONDS, COMMAND_SECONDS

INIT = """#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
/bin/strain {rounds}
/bin/busybox echo "strain ended with $?"
/bin/busybox poweroff -f
"""


@pytest.fixture(scope="session")
def strain(tmp_path_factory):
    """The program, static."""
    program = tmp_path_factory.mktemp("strain") / "strain"
    # Inline assembly pushes: no red zone.
    subprocess.run(["gcc", "-std=gnu17", "-D_GNU_SOURCE", "-O2", "-mno-red-zone", "-Wall", "-Wextra",
                    "-static", "-pthread", *sorted((HERE / "strain").glob("*.c")), "-o", program],
                   check=True)
    return program


def run_in_guest(start, kernel, strain, folder, *, cpus, rounds, flavour="cloud-amd64",
                 arguments=(), seconds=8 * COMMAND_SECONDS):
    native = subprocess.run([strain, str(rounds)], check=True, text=True, timeout=COMMAND_SECONDS,
                            stdout=subprocess.PIPE).stdout
    assert native.endswith("strain: all right\n")
    script = folder / "init"
    script.write_text(INIT.format(rounds=rounds))
    image = demo_guest.build_initramfs(kernel(flavour), folder / "strain.gz", script,
                                       {"bin/strain": strain})
    with start("--kernel", kernel(flavour).image, "--initrd", image, "--append",
               "console=ttyS0 quiet", "--cpus", cpus, "--engine", "software", "--net", "none",
               *arguments) as guest:
        guest.expect(rb"strain self-modify: ", BOOT_SECONDS)
        end = time.monotonic() + seconds
        text = "strain self-modify: "
        while "strain ended with" not in text:
            match = guest.expect(rb"([^\n]*)\r*\n", max(1, end - time.monotonic()))
            text += match.group(1).decode(errors="replace").rstrip("\r") + "\n"
        assert text == native + "strain ended with 0\n"
        assert guest.wait() == 0, guest.stderr()


@pytest.mark.parametrize("cpus, translator", [(1, "on"), (2, "on"), (2, "off")])
def test_strain(start, kernel, strain, tmp_path, cpus, translator):
    run_in_guest(start, kernel, strain, tmp_path, cpus=cpus, rounds=30,
                 arguments=["--translator", translator])


@pytest.mark.long
@pytest.mark.parametrize("flavour", ["cloud-amd64", "amd64", "rt-amd64"])
@pytest.mark.parametrize("cpus", [1, 2, 4])
def test_strain_longer(start, kernel, strain, tmp_path, flavour, cpus):
    run_in_guest(start, kernel, strain, tmp_path, cpus=cpus, rounds=400, flavour=flavour,
                 seconds=30 * COMMAND_SECONDS)
