# SPDX-License-Identifier: LGPL-2.1-or-later
"""`kill -9` of the manager at random moments, while guests run and definitions change: guests run
on, the next manager finds them in their true state, and no definition is lost or half written."""
import collections
import json
import os
import random
import re
import signal
import socket
import struct
import subprocess
import sys
import textwrap
import time
import uuid
import xml.etree.ElementTree as ElementTree

import pytest

from console import COMMAND_SECONDS
from manager import Trapezed, wait_for

DEFINED = [f"defined{i}" for i in range(4)]
GUESTS = [f"guest{i}" for i in range(3)]

# Does random things until the manager is gone.  Before each it prints what it is about to do, and
# after it whether that was done.
WORKER = """
    import json, random, sys
    import libvirt
    uri, seed, xml, defined, guests = sys.argv[1], int(sys.argv[2]), *map(json.loads, sys.argv[3:])
    libvirt.registerErrorHandler(lambda *a: None, None)
    random.seed(seed)
    def say(*words):
        print(json.dumps(words), flush=True)
    connection = libvirt.open(uri)
    while connection.isAlive():
        name = random.choice(defined)
        mark = random.randrange(1 << 30)
        action = random.choice(["define", "define", "undefine", "start", "start", "destroy", "suspend",
                                "resume"])
        if action not in ("define", "undefine"):
            name = random.choice(guests)
        say(name, action, mark)
        try:
            if action == "define":
                connection.defineXML(xml[name].replace("MARK", str(mark)))
            else:
                domain = connection.lookupByName(name)
                {"undefine": domain.undefine, "start": domain.create, "destroy": domain.destroy,
                 "suspend": domain.suspend, "resume": domain.resume}[action]()
            say(name, "done")
        except libvirt.libvirtError as error:
            if not connection.isAlive() or error.get_error_domain() == libvirt.VIR_FROM_RPC:
                break
            say(name, "failed", str(error))
    """


def kernel_image():
    """A multiboot kernel that halts: `cli; again: hlt; jmp again`."""
    magic, flags, base = 0x1badb002, 1 << 16, 0x100000
    header = struct.pack("<8I", magic, flags, -(magic + flags) & 0xffffffff, base, base, 0, 0,
                         base + 32)
    return header + bytes.fromhex("fa f4 eb fd")


def describe(name, kernel):
    return f"""<domain type='qemu'>
  <name>{name}</name>
  <uuid>{uuid.uuid5(uuid.NAMESPACE_DNS, name)}</uuid>
  <title>MARK</title>
  <memory unit='MiB'>8</memory>
  <os><type>hvm</type><kernel>{kernel}</kernel></os>
</domain>"""


class Kills:
    def __init__(self, daemon, seed):
        self.daemon = daemon
        self.random = random.Random(seed)
        kernel = daemon.folder / "kernel"
        kernel.write_bytes(kernel_image())
        self.names = DEFINED + GUESTS + ["steady", "halted"]
        self.xml = {name: describe(name, kernel) for name in self.names}
        self.uuid = {name: str(uuid.uuid5(uuid.NAMESPACE_DNS, name)) for name in self.names}
        # What each file may hold: titles, None for no file.
        self.marks = {name: {None} for name in DEFINED}
        self.done = collections.Counter()

    def prepare(self):
        for name in GUESTS + ["steady", "halted"]:
            self.daemon.good("define", self.daemon.write(f"{name}.xml", self.xml[name]))
        self.daemon.good("start", "steady")
        self.daemon.good("start", "halted")
        self.daemon.good("suspend", "halted")
        self.steady = {name: self.pids(name) for name in ("steady", "halted")}
        assert all(len(pids) == 1 for pids in self.steady.values())

    def pids(self, name):
        """Processes of NAME's guest.  A zombie, which somebody else will reap, has no words."""
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                words = open(f"/proc/{pid}/cmdline", "rb").read().split(b"\0")
            except OSError:
                continue
            if b"--uuid" in words and self.uuid[name].encode() in words:
                found.append(int(pid))
        return found

    def status(self, name):
        """What the guest's own monitor says, or None when there is no guest."""
        path = self.daemon.folder / f"state/guests/{self.uuid[name]}.qmp"
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(COMMAND_SECONDS)
                connection.connect(str(path))
                with connection.makefile("rw") as stream:
                    stream.readline()
                    for command in ("qmp_capabilities", "query-status"):
                        stream.write(json.dumps({"execute": command}))
                        stream.flush()
                        answer = json.loads(stream.readline())
                        while "event" in answer:
                            answer = json.loads(stream.readline())
                    return answer["return"]["status"]
        except (FileNotFoundError, ConnectionError, json.JSONDecodeError):
            return None

    def kill_amid_work(self):
        workers = []
        for names in (DEFINED[:2], DEFINED[2:]):
            path = self.daemon.folder / f"worker{len(workers)}"
            with open(path, "w") as file:
                workers.append((path, subprocess.Popen(
                    [sys.executable, "-c", textwrap.dedent(WORKER), self.daemon.uri(),
                     str(self.random.randrange(1 << 30)),
                     *map(json.dumps, (self.xml, names, GUESTS))], stdout=file)))
        wait_for(lambda: all(path.stat().st_size for path, _ in workers), "work to be under way")
        time.sleep(self.random.uniform(0, 0.3))
        self.daemon.stop(signal.SIGKILL)
        for path, worker in workers:
            assert worker.wait(timeout=COMMAND_SECONDS) == 0
            self.account([json.loads(line) for line in path.read_text().splitlines()])

    def account(self, lines):
        """Which definitions there can be after what a worker did; each is one worker's alone."""
        for at, (name, action, *rest) in enumerate(lines):
            if action in ("done", "failed"):
                continue
            known = [line for line in lines[at + 1:at + 2] if line[1] in ("done", "failed")]
            done = bool(known) and known[0][1] == "done"
            self.done[action] += done
            if name not in self.marks or (known and not done):
                continue
            mark = {str(rest[0]) if action == "define" else None}
            self.marks[name] = mark if done else self.marks[name] | mark

    def check_files(self):
        for name, marks in self.marks.items():
            path = self.daemon.config / f"{name}.xml"
            title = ElementTree.parse(path).getroot().findtext("title") if path.exists() else None
            assert title in marks, f"{path} has {title}, and not one of {marks}"
            self.marks[name] = {title}

    def check_guests(self):
        """The manager says what is so."""
        shown = {}

        def agree():
            text = self.daemon.good("list", "--all")
            shown.update(re.findall(r"^ *\S+ +(\S+) +(.*\S) *$", text, re.M))
            return all(
                {"running": "running", "paused": "paused", "shut off": None}.get(shown[name], "?")
                == self.status(name) and len(self.pids(name)) == (shown[name] != "shut off")
                for name in GUESTS)
        wait_for(agree, "the manager's states of guests and their own to agree")
        assert shown["steady"] == "running" and shown["halted"] == "paused"
        assert self.status("steady") == "running" and self.status("halted") == "paused"
        for name in DEFINED:
            assert (name in shown) == (self.marks[name] != {None})

    def round(self):
        self.kill_amid_work()
        for name, pids in self.steady.items():
            assert self.pids(name) == pids
        self.check_files()
        for name in GUESTS:
            assert len(self.pids(name)) <= 1
        self.daemon.start()
        self.check_guests()


@pytest.mark.parametrize("rounds", [8, pytest.param(100, marks=pytest.mark.long)])
def test_kill(trapeze, rounds):
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    with Trapezed(trapeze.parent) as daemon:
        kills = Kills(daemon, seed)
        kills.prepare()
        for _ in range(rounds):
            kills.round()
        print(dict(kills.done))
        # There was something to be lost.
        assert all(kills.done[action] for action in ("define", "undefine", "start", "destroy"))
        for name in ("steady", "halted", *GUESTS):
            if daemon.state(name) != "shut off":
                daemon.good("destroy", name)
        assert not any(kills.pids(name) for name in kills.names)
