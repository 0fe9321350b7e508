# SPDX-License-Identifier: LGPL-2.1-or-later
"""trapezed, and Debian's libvirtd beside it, each with folders of its own, driven by virsh."""
import json
import os
import pathlib
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time

from console import COMMAND_SECONDS, END_SECONDS, SLOWNESS

VIRSH_SECONDS = 60 * SLOWNESS


def wait_for(condition, what, seconds=COMMAND_SECONDS):
    """Waits until CONDITION gives something true; returns it."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError(f"{what}: not within {seconds:.0f} s")


def processes(folder, program=""):
    """The ids of processes that belong to FOLDER: it is in their command line or their output goes
    there; PROGRAM is in the command line, too."""
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            command = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            output = os.readlink(path / "fd/2")
        except OSError:
            continue
        if str(program) in command and (str(folder) in command or str(folder) in output):
            found.append(int(path.name))
    return sorted(found)


class Daemon:
    """A daemon that speaks libvirt's protocol on SOCKET, in FOLDER (world readable, removed at the
    end, with whatever still runs there)."""

    def __init__(self):
        # pytest's folders are their owner's alone; the peer runs as another user.
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="trapeze-manager-"))
        self.folder.chmod(0o755)
        self.log = self.folder / "daemon.log"
        self.process = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *error):
        self.close()

    def launch(self, command, **options):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(list(map(str, command)), stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log, **options)
        wait_for(self.answers, f"{command[0]} on {self.socket}")

    def answers(self):
        assert self.process.poll() is None, f"it ended:\n{self.messages()}"
        return self.virsh("version").returncode == 0

    def messages(self):
        return self.log.read_text(errors="replace")[-3000:]

    def stop(self, number=signal.SIGTERM):
        """Ends the daemon, not its guests; its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(timeout=END_SECONDS)

    def close(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for pid in processes(self.folder):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        shutil.rmtree(self.folder, ignore_errors=True)

    def uri(self, end=""):
        return f"{self.base}?socket={self.socket}{end}"

    def command(self, *words, read_only=False):
        options = ["-r", "-c", self.uri("-ro")] if read_only else ["-c", self.uri()]
        return ["virsh", *options, *map(str, words)]

    def virsh(self, *words, read_only=False, **options):
        """`virsh WORDS...`: the CompletedProcess."""
        return subprocess.run(self.command(*words, read_only=read_only), text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=VIRSH_SECONDS, check=False,
                              env=dict(os.environ, LC_ALL="C"), **options)

    def good(self, *words, **options):
        """The output of a `virsh WORDS...` that succeeds."""
        done = self.virsh(*words, **options)
        assert done.returncode == 0, f"virsh {' '.join(map(str, words))}: {done.stderr}\n" \
                                     f"{self.messages()}"
        return done.stdout.strip()

    def state(self, name):
        return self.good("domstate", name)

    def write(self, name, text):
        """A file NAME in the folder, for virsh to read; its path."""
        path = self.folder / name
        path.write_text(text)
        return path


class Trapezed(Daemon):
    """Ours.  `kill -9` and start it again: its guests run on."""

    def __init__(self, build):
        super().__init__()
        self.build = pathlib.Path(build)
        self.base = "qemu:///system" if os.geteuid() == 0 else "qemu:///session"
        self.socket = self.folder / "sockets/libvirt-sock"
        self.config = self.folder / "config"
        self.arguments = []

    def start(self):
        program = self.build / "trapezed"
        assert program.exists(), f"{program} is not built: run `make` first"
        self.launch([program, "--socket-dir", self.folder / "sockets", "--config-dir", self.config,
                     "--state-dir", self.folder / "state", "--log-level", "info",
                     *self.arguments])

    def guests(self):
        """Process ids of the guests' machines."""
        return processes(self.folder, f"{self.build}/trapeze run ")


class Libvirtd(Daemon):
    """The peer: Debian's libvirtd with its QEMU driver, in session mode and so without systemd.  It
    is the user's own, or nobody's when the tests are root's."""

    def __init__(self):
        super().__init__()
        self.base = "qemu:///session"
        self.socket = self.folder / "run/libvirt/libvirt-sock"

    def start(self):
        environment = dict(os.environ, HOME=str(self.folder))
        for name, folder in {"XDG_RUNTIME_DIR": "run", "XDG_CONFIG_HOME": "config",
                             "XDG_CACHE_HOME": "cache"}.items():
            environment[name] = str(self.folder / folder)
            (self.folder / folder).mkdir(mode=0o700, exist_ok=True)
        user = []
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            for path in [self.folder, *self.folder.iterdir()]:
                os.chown(path, nobody.pw_uid, nobody.pw_gid)
            user = ["setpriv", f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}",
                    "--clear-groups"]
        self.launch([*user, "libvirtd"], env=environment, cwd=self.folder)


class Listener:
    """A program with python3-libvirt that lists DAEMON's domains (`names`) and then hears of
    life-cycle events, in libvirt's event loop."""

    PROGRAM = """
        import json, sys
        import libvirt
        libvirt.virEventRegisterDefaultImpl()
        connection = libvirt.open(sys.argv[1])
        connection.setKeepAlive(5, 3)
        def on_event(connection, domain, event, detail, data):
            print(json.dumps([domain.name(), event, detail]), flush=True)
        connection.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, on_event,
                                          None)
        print(json.dumps(sorted(d.name() for d in connection.listAllDomains())), flush=True)
        while True:
            libvirt.virEventRunDefaultImpl()
        """

    def __init__(self, daemon):
        self.process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(self.PROGRAM), daemon.uri()], text=True,
            stdout=subprocess.PIPE)
        # Who waits for an event that does not come reads the end of a killed program.
        self.timer = threading.Timer(COMMAND_SECONDS, self.process.kill)
        self.timer.start()
        self.names = self.read()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.timer.cancel()
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def read(self):
        line = self.process.stdout.readline()
        assert line, f"the listener ended, or nothing came for {COMMAND_SECONDS:.0f} s"
        return json.loads(line)

    def until(self, name, event):
        """[[domain, event, detail]] up to this EVENT of domain NAME."""
        heard = []
        while not heard or heard[-1][:2] != [name, event]:
            heard.append(self.read())
        return heard
