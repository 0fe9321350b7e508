# SPDX-License-Identifier: LGPL-2.1-or-later
"""What `make demo </dev/null` runs: status 0 and a summary."""
import re
import sys

from conftest import ROOT
from console import BOOT_SECONDS, Guest, run_program


def test_demo_without_a_terminal(trapeze, kernel):
    release = kernel("cloud-amd64").version
    done = run_program(sys.executable, ROOT / "demo/demo.py", "--trapeze", trapeze,
                       seconds=2 * BOOT_SECONDS)
    assert done.returncode == 0, done.stdout + done.stderr
    _, _, summary = done.stdout.partition("--- summary\n")
    lines = {line[:18].strip(): line[18:].strip() for line in summary.splitlines()}
    assert re.match(r"engine (software|kvm): .+", lines["engine"])
    assert lines["kernel"] == release
    assert re.match(r"\d+\.\d+ on the guest's clock", lines["seconds to init"])
    assert float(lines["seconds in all"]) > 0
    assert lines["checks"] == "memory ok, disk ok, network ok, timers ok, clock ok"
    assert lines["exit status"] == "0"
    exits = re.search(r"(?m)^vCPU exits by reason\n((?: +.*\n)+)", summary)
    assert exits, summary
    counts = dict(re.findall(r"(?m)^ +(\S.*?) +(\d+)$", exits.group(1)))
    assert int(counts["PIO"]) > 0 and int(counts["HLT"]) > 0
    assert summary.rstrip().endswith("All well.")


def test_demo_on_a_terminal(trapeze, kernel, tmp_path):
    kernel("cloud-amd64")
    command = [sys.executable, ROOT / "demo/demo.py", "--trapeze", trapeze]
    with Guest(trapeze, command=command, log=tmp_path / "console.log") as guest:
        guest.shell()
        assert guest.run("cat /sys/block/vda/size") != "0"
        assert "10.0.2.15" in guest.run("ip -4 addr show eth0")
        guest.send(b"poweroff\n")  # as the banner advises
        assert guest.wait() == 0, guest.stderr()
        assert guest.terminal_restored()


def test_demo_with_a_program_that_is_not_there(tmp_path, kernel):
    kernel("cloud-amd64")
    done = run_program(sys.executable, ROOT / "demo/demo.py", "--trapeze", tmp_path / "trapeze")
    assert done.returncode != 0
