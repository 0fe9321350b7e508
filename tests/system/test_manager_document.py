# SPDX-License-Identifier: LGPL-2.1-or-later
"""docs/manager.md works as printed: its sessions are typed into a shell, and what the shell prints is
compared.  In the document `$ ` begins a command, `> ` continues it, `/ # ` is typed into the guest's
console, and `...` stands for any text, alone on a line for any lines."""
import os
import re
import signal
import time

import pexpect
import pytest

from conftest import ROOT
from console import BOOT_SECONDS, COMMAND_SECONDS

DOCUMENT = ROOT / "docs/manager.md"
SHELL_PROMPT = "document$ "
GUEST_PROMPT = "/ # "
LEAVE = "^]"


def steps(text):
    """[command, its expected lines], of all blocks that have commands."""
    found = []
    for block in re.findall(r"(?:^    .*\n|^\n(?=    ))+", text, re.M):
        lines = [line[4:].rstrip() for line in block.splitlines() if line.strip()]
        if not any(line.startswith("$ ") for line in lines):
            continue
        for line in lines:
            if line.startswith("$ "):
                found.append([line[2:], []])
            elif line.startswith("> ") or line == ">":
                found[-1][0] += "\n" + line[2:]
            else:
                found[-1][1].append(line)
    return found


def pattern(lines):
    def one(line):
        if line.strip() == "...":
            return r"(?:.*\n)*?"
        return re.escape(line.strip()).replace(re.escape("..."), ".*") + r"\n"
    return "".join(map(one, lines))


def clean(output):
    lines = [line.strip() for line in output.replace("\r", "").splitlines()]
    # virsh on a terminal asks for polkit, which need not be there.
    return "".join(line + "\n" for line in lines
                   if line and not line.startswith("Authorization not available"))


class Shell:
    def __init__(self, folder, log):
        environment = dict(os.environ, PS1=SHELL_PROMPT, PS2="", LC_ALL="C",
                           **{name: str(folder / name) for name in
                              ("XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME")})
        environment.pop("TRAPEZE_SOCKET_DIR", None)
        for name in ("XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
            (folder / name).mkdir()
        environment.setdefault("TRAPEZE_CACHE", os.path.expanduser("~/.cache/trapeze"))
        self.process = pexpect.spawn("bash", ["--norc", "--noediting"], cwd=folder, echo=False,
                                     env=environment, timeout=BOOT_SECONDS, encoding="utf-8",
                                     logfile=log, dimensions=(50, 200))
        self.process.expect_exact(SHELL_PROMPT)

    def run(self, command, expected):
        self.process.send(command + "\n")
        typed = [i for i, line in enumerate(expected) if line.startswith(GUEST_PROMPT)]
        if typed:
            output = self.converse(expected[:typed[0]], expected[typed[0]:])
            expected = expected[:typed[0]]
        else:
            self.process.expect_exact(SHELL_PROMPT)
            output = self.process.before
        # What is heard of a job that has ended, at this prompt or the next, is bash's.
        output = re.sub(r"(?m)^\[1\].*(?:Killed|Done) .*\n", "", clean(output))
        assert re.fullmatch(pattern(expected), output), \
            f"{command}\nprinted\n{output}instead of\n" + "\n".join(expected)

    def converse(self, greeting, lines):
        """Types into a guest's console; what was printed before the first prompt of its."""
        self.process.expect(re.escape(greeting[-1].strip()))
        before = self.process.before + self.process.after
        self.process.send("\r")
        self.process.expect_exact(GUEST_PROMPT)
        for line in lines:
            if line == GUEST_PROMPT + LEAVE:
                self.process.send("\x1d")
                self.process.expect_exact(SHELL_PROMPT)
            elif line.startswith(GUEST_PROMPT):
                time.sleep(0.2)  # the console's echo of Enter may bring a second prompt
                self.process.send(line[len(GUEST_PROMPT):] + "\r")
            else:
                self.process.expect_exact("\n" + line)
                self.process.expect_exact(GUEST_PROMPT)
        return before


@pytest.fixture
def shell(trapeze, tmp_path):
    (tmp_path / "build").symlink_to(trapeze.parent)
    (tmp_path / "demo").symlink_to(ROOT / "demo")
    with open(tmp_path / "shell.log", "w") as log:
        shell = Shell(tmp_path, log)
        yield shell
        shell.process.close(force=True)
    for pid in started_from(tmp_path):
        os.kill(pid, signal.SIGKILL)


def started_from(folder):
    """Processes whose environment has FOLDER's run directory."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if f"XDG_RUNTIME_DIR={folder}".encode() in open(f"/proc/{pid}/environ", "rb").read():
                found.append(int(pid))
        except OSError:
            continue
    return found


def test_document(shell):
    found = steps(DOCUMENT.read_text())
    assert len(found) > 20
    for command, expected in found:
        shell.run(command, expected)
        if command.endswith("&"):
            wait_for_manager(shell)


def wait_for_manager(shell):
    """A person takes longer to type than the manager to listen."""
    path = os.path.join(shell.process.cwd, "XDG_RUNTIME_DIR/trapeze/libvirt-sock")
    end = time.monotonic() + COMMAND_SECONDS
    while time.monotonic() < end:
        probe = pexpect.run(f"{shell.process.cwd}/build/trapeze list --socket-dir "
                            f"{os.path.dirname(path)}", withexitstatus=True)
        if probe[1] == 0:
            return
        time.sleep(0.1)
    raise AssertionError("the manager does not answer")
