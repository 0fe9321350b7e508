# SPDX-License-Identifier: LGPL-2.1-or-later
"""A client of GDB's remote protocol, for what gdb itself would not send."""
import contextlib
import re
import socket
import struct
import xml.etree.ElementTree

from console import COMMAND_SECONDS
from qmp import connect


def frame(body):
    """The packet of BODY (bytes, escaped already)."""
    return b"$" + body + b"#%02x" % (sum(body) & 0xff)


def escape(data):
    return re.sub(rb"[#$}*]", lambda m: b"}" + bytes([m[0][0] ^ 0x20]), data)


def unescape(data):
    return re.sub(rb"}(.)", lambda m: bytes([m[1][0] ^ 0x20]), data, flags=re.S)


class Rsp:
    """A connection to the stub at PATH (a socket's, or a TCP port)."""

    def __init__(self, path):
        if isinstance(path, int):
            self.socket = socket.create_connection(("127.0.0.1", path))
        else:
            self.socket = connect(path)
        self.socket.settimeout(COMMAND_SECONDS)
        self.file = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.file.close()
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def sign(self):
        """The next + or -; None at the end."""
        return self.file.read(1).decode() or None

    def reply(self):
        """The next packet's body; None at the end."""
        start = self.file.read(1)
        if not start:
            return None
        assert start == b"$", start
        body = b""
        while not body.endswith(b"#"):
            byte = self.file.read(1)
            assert byte, f"hung up within {body!r}"
            body += byte
        body = body[:-1]
        assert int(self.file.read(2), 16) == sum(body) & 0xff
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # those were last words
            self.send(b"+")
        return unescape(body)

    def start(self, body):
        """Sends a packet, and takes its acknowledgement."""
        self.send(frame(body if isinstance(body, bytes) else body.encode()))
        assert self.sign() == "+"

    def raw(self, body):
        self.start(body)
        return self.reply()

    def ask(self, body):
        return self.raw(body).decode()

    def ok(self, body):
        assert self.ask(body) == "OK", body

    # ---- registers and memory ----

    def description(self):
        """(name, bits, number) of the registers, in the order of their numbers."""
        xml_text = b""
        while True:
            part = self.raw(f"qXfer:features:read:target.xml:{len(xml_text):x},800")
            xml_text += part[1:]
            if part[:1] == b"l":
                break
        root = xml.etree.ElementTree.fromstring(xml_text)
        registers = [(r.get("name"), int(r.get("bitsize")), int(r.get("regnum")))
                     for r in root.iter("reg")]
        return sorted(registers, key=lambda r: r[2])

    def pc(self):
        return struct.unpack("<Q", bytes.fromhex(self.ask("p10")))[0]

    def read(self, address, length):
        return bytes.fromhex(self.ask(f"m{address:x},{length:x}"))

    def resume(self, how="vCont;c"):
        """Lets it go; the stop reply: (signal, {key: value})."""
        self.start(how)
        return self.stopped()

    def stopped(self):
        text = self.reply().decode()
        assert text.startswith("T"), text
        pairs = dict(pair.split(":") for pair in text[3:].rstrip(";").split(";") if pair)
        return int(text[1:3], 16), pairs
