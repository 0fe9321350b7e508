# SPDX-License-Identifier: LGPL-2.1-or-later
"""A QMP client, and machines (Trapeze's and QEMU's) to talk to."""
import json
import os
import socket
import subprocess
import time

from console import COMMAND_SECONDS, END_SECONDS


class Error(Exception):
    """What a command was refused with: its class, and the text."""

    def __init__(self, error):
        super().__init__(error["desc"])
        self.kind = error["class"]


class Qmp:
    """A connection to the QMP socket at PATH, negotiated unless told otherwise."""

    def __init__(self, path, negotiate=True):
        self.socket = connect(path)
        self.socket.settimeout(COMMAND_SECONDS)
        self.file = self.socket.makefile("rb")
        self.events = []  # that came and were not yet asked for
        self.greeting = self.receive()
        if negotiate:
            self.execute("qmp_capabilities")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.file.close()
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def receive(self):
        """The next message; None at the end."""
        line = self.file.readline()
        return json.loads(line) if line else None

    def request(self, data):
        """Sends DATA; returns the answer, keeping events that come before it."""
        self.send(data)
        while True:
            message = self.receive()
            assert message is not None, f"hung up after {data!r}"
            if "event" not in message:
                return message
            self.events.append(message)

    def execute(self, command, **arguments):
        """Carries out COMMAND; returns its value, or raises Error."""
        request = {"execute": command}
        if arguments:
            request["arguments"] = arguments
        answer = self.request(json.dumps(request).encode() + b"\n")
        if "error" in answer:
            raise Error(answer["error"])
        return answer["return"]

    def status(self):
        return self.execute("query-status")["status"]

    def event(self, name):
        """Waits for the event NAME, forgetting others before it; returns it."""
        while True:
            message = self.events.pop(0) if self.events else self.receive()
            assert message is not None, f"hung up without {name}"
            if message.get("event") == name:
                return message


def connect(path):
    """A socket connected to PATH, which may take a moment to appear."""
    end = time.monotonic() + COMMAND_SECONDS
    while True:
        s = socket.socket(socket.AF_UNIX)
        try:
            s.connect(str(path))
            return s
        except OSError as error:
            s.close()
            if time.monotonic() > end:
                raise AssertionError(f"{path}: {error}") from None
            time.sleep(0.02)


class Process:
    """COMMAND, running without a terminal; killed at the end if it still runs."""

    def __init__(self, command, **options):
        options.setdefault("stdin", subprocess.DEVNULL)
        self.process = subprocess.Popen([str(word) for word in command],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                        **options)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stderr.close()

    def wait(self):
        """Its exit status."""
        return self.process.wait(END_SECONDS)

    def signal(self, number):
        os.kill(self.process.pid, number)
