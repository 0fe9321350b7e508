# SPDX-License-Identifier: LGPL-2.1-or-later
"""Segmented protected mode against an oracle: random cases (images/corners.c) run by Trapeze and by
QEMU's processor in software must say the same."""
import subprocess

import pytest

from console import run_program

LIMIT = 240  # seconds: QEMU is quick, and we interpret


@pytest.fixture
def both(trapeze, image):
    """FROM, COUNT, EACH -> what Trapeze says of these cases, and what QEMU says, line by line."""
    kernel = str(image("elf", "corners"))

    def run(start, count, each):
        words = f"from={start} count={count} each={each}"
        ours = run_program(trapeze, "run", "--engine", "software", "--kernel", kernel, "--net", "none",
                           "--no-reboot", "--memory", "64M", "--append", words, seconds=LIMIT)
        theirs = subprocess.run(
            ["qemu-system-x86_64", "-accel", "tcg", "-cpu", "max", "-nodefaults", "-display", "none",
             "-no-reboot", "-m", "64", "-serial", "stdio", "-device",
             "isa-debug-exit,iobase=0xf4,iosize=4", "-kernel", kernel, "-append", words],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT, check=False)
        assert (ours.returncode, theirs.returncode) == (1, 1), ours.stderr + theirs.stderr
        return ours.stdout.splitlines(), theirs.stdout.splitlines()

    return run


def check(both, start, count):
    each = 50
    ours, theirs = both(start, count, each)
    assert len(ours) == len(theirs) == count // each
    for group, pair in enumerate(zip(ours, theirs)):
        if pair[0] != pair[1]:
            cases = zip(*both(start + group * each, each, 1))
            assert not [pair for pair in cases if pair[0] != pair[1]]


def test_corners(both):
    check(both, 0, 5000)


@pytest.mark.long
def test_more_corners(both):
    check(both, 5000, 35000)
