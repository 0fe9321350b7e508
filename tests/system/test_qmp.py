# SPDX-License-Identifier: LGPL-2.1-or-later
"""QMP: against its schema, beside QEMU's on the same script, and against clients that mean no good."""
import contextlib
import json
import os
import re
import signal
import socket
import stat
import time

import pytest

from conftest import ROOT
from console import COMMAND_SECONDS, one_line, run_program
from qmp import Error, Process, Qmp

SCHEMA = json.loads((ROOT / "machine/monitor/schema.json").read_text())
UUID = "01234567-89ab-cdef-0123-456789abcdef"


@pytest.fixture
def machine(trapeze, image, tmp_path):
    """WORDS for the test image, ARGUMENTS... -> a running machine with QMP on its `path`."""
    with contextlib.ExitStack() as stack:
        def start(words="hang", *arguments, engine="software", serial="none", **options):
            path = tmp_path / "qmp"
            m = stack.enter_context(Process(
                [trapeze, "run", "--kernel", image(), "--append", words, "--net", "none",
                 "--engine", engine, "--serial", serial, "--qmp", f"unix:{path}", *arguments],
                **options))
            m.path = path
            m.connect = lambda **how: stack.enter_context(Qmp(path, **how))
            return m

        yield start


# ---- the schema ----

def mismatches(value, kind, where=""):
    """What in VALUE is not as the type KIND says, as lines."""
    basic = {"str": str, "int": int, "bool": bool, "any": object}
    if isinstance(kind, str) and kind in basic:
        good = isinstance(value, basic[kind]) and (kind != "int" or not isinstance(value, bool))
        return [] if good else [f"{where}: {value!r} is not of type {kind}"]
    if isinstance(kind, str):
        named = SCHEMA["types"][kind]
        if "enum" in named:
            return [] if value in named["enum"] else [f"{where}: {value!r} is no {kind}"]
        return mismatches(value, named["members"], where)
    if isinstance(kind, list):
        if not isinstance(value, list):
            return [f"{where}: {value!r} is no list"]
        return [line for i, one in enumerate(value) for line in
                mismatches(one, kind[0], f"{where}[{i}]")]
    if not isinstance(value, dict):
        return [f"{where}: {value!r} is no object"]
    members = {name.lstrip("*"): member for name, member in kind.items()}
    found = [f"{where}.{name} is not in the schema" for name in value if name not in members]
    for name in kind:
        plain = name.lstrip("*")
        if plain in value:
            found += mismatches(value[plain], members[plain], f"{where}.{plain}")
        elif name == plain:
            found.append(f"{where}.{name} is missing")
    return found


def test_the_schema_check_finds_what_is_wrong():
    good = {"status": "paused", "running": False, "singlestep": False}
    kind = SCHEMA["commands"]["query-status"]["returns"]
    assert not mismatches(good, kind)
    for bad in [{**good, "status": "asleep"}, {**good, "more": 1}, {**good, "running": 0},
                {"status": "paused"}, [good], None]:
        assert mismatches(bad, kind), bad
    assert mismatches({"base-memory": True, "plugged-memory": 0},
                      SCHEMA["commands"]["query-memory-size-summary"]["returns"])


def test_table_and_schema_have_the_same_names(machine):
    with machine().connect() as qmp:
        commands = [c["name"] for c in qmp.execute("query-commands")]
        events = [e["name"] for e in qmp.execute("query-events")]
    assert sorted(commands) == sorted(SCHEMA["commands"])
    assert sorted(events) == sorted(SCHEMA["events"])


@pytest.mark.parametrize("arguments", [[], ["--name", "web", "--uuid", UUID, "--cpus", 2,
                                            "--serial", "pty", "--console", "none"]],
                         ids=["bare", "full"])
def test_replies_are_as_the_schema_says(machine, disk, arguments):
    if arguments:
        arguments = arguments + ["--disk", disk(), "--disk", f"{disk('second')},readonly"]
    with machine("hang", *arguments).connect() as qmp:
        assert not mismatches(qmp.greeting, SCHEMA["greeting"])
        for name, command in SCHEMA["commands"].items():
            if name in ["qmp_capabilities", "quit"]:
                continue
            given = {"target": "vcpu"} if name == "query-stats" else {}
            try:
                value = qmp.execute(name, **given)
            except Error as error:
                assert error.kind in command.get("errors", []), (name, error)
            else:
                assert not mismatches(value, command["returns"], name)
        assert [e["event"] for e in qmp.events if not re.match("RESET", e["event"])] == \
            ["STOP", "RESUME", "POWERDOWN"]
        qmp.execute("quit")
        qmp.event("SHUTDOWN")


def wrong_value(kind):
    return 17 if kind == "str" or not isinstance(kind, str) or kind in SCHEMA["types"] else "text"


def test_arguments_are_checked(machine):
    with machine().connect() as qmp:
        for name, command in SCHEMA["commands"].items():
            good = {"target": "vm"} if name == "query-stats" else {}
            with pytest.raises(Error, match="nonsense|negotiated"):
                qmp.execute(name, **good, nonsense=1)
            for argument, kind in command["arguments"].items():
                if name == "qmp_capabilities":
                    continue
                plain = argument.lstrip("*")
                with pytest.raises(Error, match=plain):
                    qmp.execute(name, **{**good, plain: wrong_value(kind)})
        with pytest.raises(Error, match="target"):
            qmp.execute("query-stats")
        assert qmp.status() == "running", "a command with wrong arguments was carried out"


# ---- what is told ----

def test_facts(machine, disk):
    path = disk(size=4 << 20)
    m = machine("hang", "--name", "web", "--uuid", UUID.upper(), "--cpus", 2, "--memory", "48M",
                "--disk", path, "--disk", f"{disk('second')},readonly", serial="pty")
    with m.connect() as qmp:
        assert qmp.execute("query-name") == {"name": "web"}
        assert qmp.execute("query-uuid") == {"UUID": UUID}
        assert qmp.execute("query-memory-size-summary")["base-memory"] == 48 << 20
        cpus = qmp.execute("query-cpus-fast")
        names = [(ROOT / f"/proc/{m.process.pid}/task/{c['thread-id']}/comm").read_text().strip()
                 for c in cpus]
        assert names == ["vcpu0", "vcpu1"]
        blocks = qmp.execute("query-block")
        assert [b["device"] for b in blocks] == ["disk0", "disk1"]
        assert [b["inserted"]["ro"] for b in blocks] == [False, True]
        assert blocks[0]["inserted"]["image"]["virtual-size"] == 4 << 20
        assert blocks[0]["inserted"]["file"] == str(path)
        serial, = qmp.execute("query-chardev")
        assert serial["label"] == "serial0"
        pty = serial["filename"].removeprefix("pty:")
        assert stat.S_ISCHR(os.stat(pty).st_mode)


def test_statistics_can_be_picked(machine):
    with machine("hang", "--cpus", 2).connect() as qmp:
        vcpus = qmp.execute("query-stats", target="vcpu")
        assert len(vcpus) == 2
        one, = qmp.execute("query-stats", target="vcpu",
                           vcpus={"vcpus": [vcpus[1]["qom-path"]]},
                           providers=[{"provider": "trapeze", "names": ["kicks"]}])
        assert one["qom-path"] == vcpus[1]["qom-path"]
        assert [s["name"] for s in one["stats"]] == ["kicks"]
        assert qmp.execute("query-stats", target="vm", providers=[{"provider": "kvm"}]) == []
        schema = qmp.execute("query-stats-schemas", provider="trapeze")
        assert {s["target"] for s in schema} == {"vm", "vcpu"}


# ---- a machine's life ----

def engines():
    """Both engines; a /dev/kvm that only emulates does for a small guest."""
    no_kvm = not os.access("/dev/kvm", os.R_OK | os.W_OK)
    return ["software", pytest.param("kvm", marks=pytest.mark.skipif(
        no_kvm, reason="/dev/kvm cannot be opened here"))]


@pytest.mark.parametrize("engine", engines())
def test_a_stopped_guest_stands_still(machine, tmp_path, engine):
    log = tmp_path / "serial.log"

    def grows_from(size):
        end = time.monotonic() + COMMAND_SECONDS
        while log.stat().st_size <= size:
            assert time.monotonic() < end, "the guest does not run"
            time.sleep(0.01)

    with machine("count", "--paused", engine=engine, serial=f"file:{log}").connect() as qmp:
        assert qmp.status() == "prelaunch"
        assert log.stat().st_size == 0
        for _ in range(3):
            qmp.execute("cont")
            assert qmp.status() == "running"
            grows_from(log.stat().st_size)
            qmp.execute("stop")
            assert qmp.status() == "paused"
            size = log.stat().st_size
            time.sleep(0.2)
            assert log.stat().st_size == size
        assert [e["event"] for e in qmp.events] == ["RESUME", "STOP"] * 3
        qmp.execute("quit")


def test_quit(machine):
    m = machine()
    with m.connect() as qmp:
        qmp.execute("quit")
        assert qmp.event("SHUTDOWN")["data"] == {"guest": False, "reason": "host-qmp-quit"}
        assert qmp.receive() is None
    assert m.wait() == 0
    assert not m.path.exists()


@pytest.mark.parametrize("words, flags, reason", [
    ("off", [], "guest-shutdown"),
    ("exit=0", [], "guest-shutdown"),
    ("reset", ["--no-reboot"], "guest-reset"),
])
def test_the_guest_ends_it(machine, words, flags, reason):
    m = machine(words, "--paused", *flags)
    with m.connect() as qmp:
        before = time.time()
        qmp.execute("cont")
        event = qmp.event("SHUTDOWN")
        assert event["data"] == {"guest": True, "reason": reason}
        seconds = event["timestamp"]["seconds"] + event["timestamp"]["microseconds"] / 1e6
        assert before - 1 <= seconds <= time.time() + 1
        assert qmp.receive() is None
    assert m.wait() == (1 if words == "exit=0" else 0)


def test_a_reset_by_the_guest(machine):
    with machine("reset", "--paused").connect() as qmp:
        qmp.execute("cont")
        assert qmp.event("RESET")["data"] == {"guest": True, "reason": "guest-reset"}
        qmp.event("RESET")
        assert qmp.status() == "running"


def test_signals(machine):
    m = machine()
    with m.connect() as qmp:
        m.signal(signal.SIGTERM)
        qmp.event("POWERDOWN")
        m.signal(signal.SIGTERM)
        assert qmp.event("SHUTDOWN")["data"] == {"guest": False, "reason": "host-signal"}
    assert m.wait() == 128 + signal.SIGTERM


def test_a_signal_ends_a_stopped_guest_at_once(machine):
    m = machine("hang", "--paused")
    with m.connect() as qmp:
        m.signal(signal.SIGTERM)
        qmp.event("SHUTDOWN")
    assert m.wait() == 128 + signal.SIGTERM


@pytest.mark.parametrize("words, flags", [("off", []), ("reset", ["--no-reboot"])],
                         ids=["off", "reset"])
def test_no_shutdown(machine, words, flags):
    """The machine stays when the guest has ended, and a reset begins anew (unless that ends it)."""
    m = machine(words, "--paused", "--no-shutdown", *flags)
    with m.connect() as qmp:
        qmp.execute("cont")
        qmp.event("SHUTDOWN")
        qmp.event("STOP")
        assert qmp.status() == "shutdown"
        with pytest.raises(Error, match="reset"):
            qmp.execute("cont")
        qmp.execute("stop")
        assert qmp.status() == "shutdown"
        qmp.execute("system_reset")
        if not flags:
            qmp.event("RESET")
            assert qmp.status() == "prelaunch"
            qmp.execute("cont")
        qmp.event("SHUTDOWN")
        qmp.execute("quit")
    assert m.wait() == 0


# ---- beside QEMU ----

@pytest.fixture
def qemu(disk, tmp_path):
    """A stopped QEMU of the same configuration as `peer_arguments`."""
    path = tmp_path / "qemu"
    command = ["qemu-system-x86_64", "-M", "q35", "-accel", "tcg", "-S", "-display", "none",
               "-nodefaults", "-smp", "2", "-m", "64", "-name", "web", "-uuid", UUID,
               "-serial", "pty", "-qmp", f"unix:{path},server=on,wait=off",
               "-drive", f"file={disk('qemu.img')},if=none,id=disk0,format=raw",
               "-device", "virtio-blk-pci,drive=disk0,id=disk0"]
    with Process(command) as process:
        with Qmp(path, negotiate=False) as qmp:
            yield qmp
        assert process.wait() == 0


def peer_arguments(disk):
    return ["--paused", "--cpus", 2, "--memory", 64, "--name", "web", "--uuid", UUID, "--disk",
            disk("trapeze.img")]


# What both are asked, in this order.
SCRIPT = [
    b'{"execute": "query-status", "id": 1}', b'{"execute": "no-such-command"}', b"[]", b"{}",
    b'{"execute": "qmp_capabilities", "id": {"a": [1, "b"]}}', b'{"execute": "qmp_capabilities"}',
    b'{"execute": "query-version", "id": "x"}', b'{"execute": "query-name"}',
    b'{"execute": "query-uuid"}', b'{"execute": "query-cpus-fast"}', b'{"execute": "query-block"}',
    b'{"execute": "query-blockstats"}', b'{"execute": "query-chardev"}',
    b'{"execute": "query-memory-size-summary"}', b'{"execute": "query-balloon", "id": null}',
    b'{"execute": "query-kvm"}', b'{"execute": "no-such-command", "id": 1.5}',
    b'{"execute": "query-commands"}', b'{"execute": "query-stats"}',
    b'{"execute": "query-stats", "arguments": {"target": "house"}}',
    b'{"execute": "query-stats", "arguments": {"target": 3}}',
    b'{"execute": "query-stats", "arguments": {"target": "vm", "vcpus": {"vcpus": []}}}',
    b'{"execute": "query-stats-schemas"}',
    b'"query-status"', b"17", b"true", b"{]", b'{"execute": stop}', b'{"execute" "stop"}',
    b'{"execute": 1}', b'{"execute": "stop", "more": 1}', b'{"execute": "stop", "arguments": []}',
    b'{"execute": "stop", "arguments": {"a": 1}}', b'{"id": 5}', b'{"id": 5, "execute": []}',
    b'{"execute": "query-status", "execute": "stop"}',
    b'{"execute": "query-status"}', b'{"execute": "stop"}', b'{"execute": "query-status"}',
    b'{"execute": "cont"}', b'{"execute": "query-status"}', b'{"execute": "cont"}',
    b'{"execute": "stop"}', b'{"execute": "query-status"}', b'{"execute": "stop"}',
    b'{"execute": "system_reset"}', b'{"execute": "query-status"}', b'{"execute": "cont"}',
    b'{"execute": "system_powerdown"}', b'{"execute": "query-status"}',
    b'{"execute": "system_reset"}', b'{"execute": "query-status"}', b'{"execute": "quit"}',
]

# Members of QEMU's answers that describe what is not here: layers of a disk's format and protocol.
NOT_HERE = {"[].parent", "[].driver-specific"}


def shape_differences(ours, theirs, where=""):
    """Members of THEIRS that OURS lacks or has with another type, and members that are new."""
    kinds = [type(ours), type(theirs)]
    if kinds[0] is not kinds[1]:
        return [f"{where}: {kinds[0].__name__} for {kinds[1].__name__}"]
    if isinstance(ours, list):
        both = ours and theirs
        return shape_differences(ours[0], theirs[0], where + "[]") if both else []
    if not isinstance(ours, dict):
        return []
    found = []
    for name in sorted({*ours, *theirs}):
        path = f"{where}.{name}"
        if name in ours and name in theirs:
            found += shape_differences(ours[name], theirs[name], path)
        elif path not in NOT_HERE:
            found.append(f"{path}: only {'here' if name in ours else 'in QEMU'}")
    return found


def run_script(qmp):
    # An object ends by itself; QEMU would end with a line's end after `quit` unread, and reset.
    answers = [qmp.request(line if line.endswith(b"}") else line + b"\r\n") for line in SCRIPT]
    while True:
        message = qmp.receive()
        if message is None:
            return answers, [(e["event"], e.get("data")) for e in qmp.events]
        qmp.events.append(message)


def test_like_qemu(machine, disk, qemu):
    with machine("hang", *peer_arguments(disk), serial="pty").connect(negotiate=False) as qmp:
        assert shape_differences(qmp.greeting, qemu.greeting) == []
        ours, our_events = run_script(qmp)
        theirs, their_events = run_script(qemu)
    for line, a, b in zip(SCRIPT, ours, theirs):
        assert sorted(a) == sorted(b), f"{line}: {a} for {b}"
        assert a.get("id") == b.get("id"), line
        if "error" in a:
            assert a["error"]["class"] == b["error"]["class"], f"{line}: {a} for {b}"
            assert sorted(a["error"]) == sorted(b["error"])
        elif b"query-status" in line or b"query-name" in line or b"query-uuid" in line:
            assert a["return"] == b["return"], line
        else:
            assert shape_differences(a["return"], b["return"]) == [], line
    assert our_events == their_events


# ---- several clients ----

def test_each_client_negotiates_and_gets_events(machine):
    m = machine()
    first, second = m.connect(), m.connect()
    silent = m.connect(negotiate=False)
    first.execute("stop")
    second.execute("cont")
    for qmp in [first, second]:
        qmp.event("STOP")
        qmp.event("RESUME")
    with pytest.raises(Error) as refused:
        silent.execute("query-status")
    assert refused.value.kind == "CommandNotFound"
    assert not silent.events
    silent.execute("qmp_capabilities")
    assert silent.status() == "running"


def test_requests_in_pieces_and_in_one(machine):
    with machine().connect() as qmp:
        line = b'{"execute": "query-status", "id": "\\"}{[\\\\"}'
        for i in range(len(line)):
            qmp.send(line[i:i + 1])
        assert qmp.receive()["id"] == '"}{[\\'
        qmp.send(line * 3)
        assert [qmp.receive()["return"]["status"] for _ in range(3)] == ["running"] * 3


def test_a_client_that_reads_nothing_is_dropped(machine, tmp_path):
    """It holds up neither the guest nor other clients; its events go as far as they are kept."""
    log = tmp_path / "serial.log"
    m = machine("count", serial=f"file:{log}")
    lazy, qmp = m.connect(), m.connect()
    commands = b'{"execute": "query-commands"}' * 4000
    lazy.socket.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        lazy.socket.sendall(commands)
    assert sessions(m) == 2
    pairs = 200
    for _ in range(100):  # of 200 pairs: some 3 MiB of events
        qmp.send(b'{"execute": "stop"}{"execute": "cont"}' * pairs)
        done = 0
        while done < 2 * pairs:
            done += "return" in qmp.receive()
        if sessions(m) == 1:
            break
    else:
        pytest.fail("the client that does not read is still there")
    assert qmp.status() == "running"
    size = log.stat().st_size
    end = time.monotonic() + COMMAND_SECONDS
    while log.stat().st_size <= size:
        assert time.monotonic() < end, "the guest does not run"
        time.sleep(0.01)


def sessions(m):
    """How many connections the machine's QMP socket has."""
    text = open(f"/proc/{m.process.pid}/net/unix").read()
    return len(re.findall(rf" 03 +\d+ {re.escape(str(m.path))}$", text, re.M))


def test_many_connections(machine):
    """More than are served at a time: the rest waits until others go."""
    m = machine()
    qmp = m.connect()
    with contextlib.ExitStack() as stack:
        idle = [stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(75)]
        for s in idle:
            s.connect(str(m.path))
        assert qmp.status() == "running"
        idle[-1].settimeout(0.2)
        with pytest.raises(TimeoutError):
            idle[-1].recv(100)
        for s in idle[:20]:
            s.close()
        idle[-1].settimeout(COMMAND_SECONDS)
        assert b"QMP" in idle[-1].recv(100)
    assert m.connect().status() == "running"


# ---- input that means no good ----

HOSTILE = {
    "binary": (bytes(range(256)) * 40 + b"\n", False),
    "no end": (b'{"execute": "query-status", "id": "' + b"x" * (2 << 20), True),
    "deep lists": (b"[" * 100000, True),
    "deep objects": (b'{"a":' * 100000, True),
    "closing": (b"}]" * 1000 + b"\n", False),
    "numbers": (b"1e999\n-\n99999999999999999999999999\n0x17\n", False),
    "not UTF-8": (b'{"execute": "\xff\xfe\xc0\x80"}', False),
    "NUL": (b'{"execute": "stop\\u0000"}{"execute": "st\x00op"}', False),
    "a surrogate": (b'{"execute": "\\ud800"}', False),
    "many members": (b"{" + b",".join(b'"%d":0' % i for i in range(50000)) + b"}", False),
    "many keys alike": (b'{"execute":"query-name","id":{"a":1,"a":2}}', False),
    "half a request": (b'{"execute": "query-st', False),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_input(machine, name):
    data, dropped = HOSTILE[name]
    m = machine()
    good = m.connect()
    with m.connect() as bad:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            bad.send(data)
            bad.socket.shutdown(socket.SHUT_WR)
        answers = []
        with contextlib.suppress(ConnectionResetError):
            for line in bad.file:
                answers.append(json.loads(line))
        assert all(a["error"]["class"] in ["GenericError", "CommandNotFound"] for a in answers)
        assert answers or name == "half a request"
        if dropped:
            assert len(answers) == 1
    assert good.status() == "running"


# ---- the socket ----

def test_the_socket_is_the_owners(machine, tmp_path):
    m = machine(umask=0)
    with m.connect() as qmp:
        assert stat.S_IMODE(m.path.stat().st_mode) == 0o600
        qmp.execute("quit")
    m.wait()
    assert not m.path.exists()


def test_a_stale_socket_is_replaced(machine, tmp_path):
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "qmp"))
    with machine().connect() as qmp:
        assert qmp.status() == "running"


def test_a_live_socket_is_not(machine, trapeze, image, tmp_path):
    m = machine()
    with m.connect() as qmp:
        done = run_program(trapeze, "run", "--kernel", image(), "--net", "none", "--engine",
                           "software", "--qmp", f"unix:{m.path}")
        assert done.returncode == 1
        assert one_line(done.stderr) and "--qmp" in done.stderr and str(m.path) in done.stderr
        assert qmp.status() == "running"


def test_several_sockets_with_qemus_options(machine, tmp_path):
    second = tmp_path / "second"
    machine("hang", "--qmp", f"unix:{second},server=on,wait=off")
    with Qmp(second) as qmp:
        assert qmp.status() == "running"


def test_an_inherited_socket(machine, tmp_path):
    path = tmp_path / "inherited"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        machine("hang", "--qmp", f"fd:{listener.fileno()}", pass_fds=[listener.fileno()])
        with Qmp(path) as qmp:
            assert qmp.status() == "running"


def test_pidfile(machine, trapeze, image, tmp_path):
    pidfile = tmp_path / "pid"
    m = machine("hang", "--pidfile", pidfile)
    with m.connect() as qmp:
        assert int(pidfile.read_text()) == m.process.pid
        done = run_program(trapeze, "run", "--kernel", image(), "--net", "none", "--engine",
                           "software", "--pidfile", pidfile)
        assert done.returncode == 1
        assert one_line(done.stderr) and "--pidfile" in done.stderr
        assert int(pidfile.read_text()) == m.process.pid
        qmp.execute("quit")
    assert m.wait() == 0
    assert not pidfile.exists()
