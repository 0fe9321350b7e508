# SPDX-License-Identifier: LGPL-2.1-or-later
"""The manager's protocol under libFuzzer for a minute; `make sanitize` runs the other fuzzers, too."""
import pathlib
import subprocess
import sys

SANITIZE = pathlib.Path(__file__).resolve().parents[2] / "scripts/sanitize.py"


def test_protocol(build):
    done = subprocess.run([sys.executable, SANITIZE, "--folder", build, "--part", "fuzz",
                           "--fuzz-seconds", "60", "--fuzzers", "fuzz-rpc"], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    assert done.returncode == 0, done.stdout
    assert done.stdout.splitlines()[-1] == "1 passed, 0 failed", done.stdout
