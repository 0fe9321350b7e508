# SPDX-License-Identifier: LGPL-2.1-or-later
"""`trapeze run` on a terminal of its own, and the guest's shell on it."""
import fcntl
import os
import re
import signal
import struct
import subprocess
import tempfile
import termios

import pexpect
import pexpect.fdpexpect

# Waits are for hangs, not for slowness: minutes, and more on a machine that is slow or busy.
SLOWNESS = float(os.environ.get("TRAPEZE_TEST_SLOWNESS",
                                max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))))
BOOT_SECONDS = 300 * SLOWNESS
COMMAND_SECONDS = 120 * SLOWNESS
END_SECONDS = 90 * SLOWNESS

CTRL_A = b"\x01"
BANNER = rb"Leave with `poweroff`"
LINE_MAX = 900  # busybox's line editor takes 1024


def take_terminal():
    """In the child: its standard input becomes its controlling terminal, and signals do what they do in a
    new session. A shell that runs the tests in the background has SIGINT and SIGQUIT ignored."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)


class Guest:
    """A `trapeze run` (or COMMAND, which runs it) whose standard input and output are a new terminal.

    Every use ends with `close`, best by a `with` statement: it kills the process if it still runs,
    and then checks that a process that ended by itself left the terminal as it was.
    """

    def __init__(self, trapeze, *arguments, log=None, command=None):
        self.master, slave = os.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 200, 0, 0))
        self.modes = termios.tcgetattr(slave)
        self.errors = tempfile.TemporaryFile()
        self.killed = False
        self.commands = 0
        self.log = open(log, "wb") if log else tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            [str(word) for word in command or [trapeze, "run", *arguments]], stdin=slave,
            stdout=slave, stderr=self.errors, start_new_session=True, preexec_fn=take_terminal)
        os.close(slave)
        self.console = pexpect.fdpexpect.fdspawn(self.master, maxread=65536,
                                                 timeout=COMMAND_SECONDS)
        self.console.delaybeforesend = None
        self.console.logfile_read = self.log

    def __enter__(self):
        return self

    def __exit__(self, kind, *rest):
        self.close(check=kind is None)

    # ---- what it says ----

    def stderr(self):
        self.errors.seek(0)
        return self.errors.read().decode(errors="replace")

    def expect(self, pattern, seconds=COMMAND_SECONDS):
        """Waits for PATTERN (bytes) on the terminal; returns the match."""
        try:
            self.console.expect(pattern, timeout=seconds)
        except (pexpect.TIMEOUT, pexpect.EOF) as error:
            end = "trapeze ended" if isinstance(error, pexpect.EOF) else f"{seconds:.0f} s passed"
            raise AssertionError(
                f"{end} without {pattern!r}\n--- the terminal's last words:\n"
                f"{(self.console.before or b'')[-3000:].decode(errors='replace')}\n"
                f"--- standard error:\n{self.stderr()}") from None
        return self.console.match

    def send(self, data):
        self.console.send(data)

    # ---- the guest's shell ----

    def shell(self):
        """Waits until the demo guest's shell takes commands."""
        self.expect(BANNER, BOOT_SECONDS)
        self.expect(rb"[~/] # ", BOOT_SECONDS)
        self.run("dmesg -n 1")
        return self

    def run(self, command, seconds=COMMAND_SECONDS, check=True):
        """Runs COMMAND in the guest's shell; returns its output, or (status, output) with CHECK
        off."""
        self.commands += 1
        n = self.commands
        # The markers are written so that the echo of the line does not look like them.
        line = f"echo b''eg{n}; {{ {command}; }} 2>&1; echo e''nd{n} $?\n"
        assert len(line) < LINE_MAX, "split the command: the guest's line editor is short"
        self.send(line.encode())
        match = self.expect(rb"beg%d\r*\n((?s:.*?))end%d (\d+)\r*\n" % (n, n), seconds)
        output = match.group(1).decode(errors="replace").replace("\r", "").strip()
        status = int(match.group(2))
        if not check:
            return status, output
        assert status == 0, f"in the guest: {command}: status {status}\n{output}"
        return output

    # ---- its end ----

    def signal(self, number):
        os.kill(self.process.pid, number)

    def quit(self):
        """Ctrl-A x."""
        self.send(CTRL_A + b"x")

    def terminal_restored(self):
        return termios.tcgetattr(self.master) == self.modes

    def wait(self, seconds=END_SECONDS):
        """Waits for the end; returns the exit status (negative: by that signal)."""
        self.expect_end(seconds)
        return self.process.wait(seconds)

    def expect_end(self, seconds):
        try:
            self.console.expect(pexpect.EOF, timeout=seconds)
        except pexpect.TIMEOUT:
            raise AssertionError(
                f"trapeze did not end within {seconds:.0f} s\n"
                f"{(self.console.before or b'')[-3000:].decode(errors='replace')}\n"
                f"{self.stderr()}") from None

    def close(self, check=True):
        if self.master < 0:
            return
        if self.process.poll() is None:
            self.killed = True
            self.process.kill()
        self.process.wait()
        restored = self.terminal_restored()
        os.close(self.master)
        self.master = -1
        self.errors.close()
        self.log.close()
        assert self.killed or restored or not check, "trapeze left the terminal in another state"


def one_line(text):
    """True when TEXT is exactly one line that `trapeze` says."""
    return re.fullmatch(r"trapeze: [^\n]+\n", text) is not None


def run_program(program, *arguments, seconds=COMMAND_SECONDS, **options):
    """Runs PROGRAM to its end without a terminal; returns the CompletedProcess."""
    options.setdefault("stdin", subprocess.DEVNULL)
    return subprocess.run([str(program), *map(str, arguments)], text=True, errors="replace",
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=seconds,
                          check=False, **options)
