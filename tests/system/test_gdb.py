# SPDX-License-Identifier: LGPL-2.1-or-later
"""The debugger's door: packets by hand, Debian's gdb on small guests and on a stock kernel."""
import contextlib
import os
import re
import signal
import socket
import stat
import struct
import subprocess
import time

import pytest

from console import COMMAND_SECONDS
from qmp import Process, Qmp
from rsp import Rsp, escape, frame

SIGINT, SIGTRAP = 2, 5
INT3 = 0xcc


def symbols_of(image):
    out = subprocess.run(["nm", image], check=True, text=True, stdout=subprocess.PIPE).stdout
    return {name: int(address, 16) for address, _, name in map(str.split, out.splitlines())}


@pytest.fixture
def machine(trapeze, image, tmp_path):
    """WORDS for the test image, ARGUMENTS... -> a machine that has not started, with its doors."""
    with contextlib.ExitStack() as stack:
        def start(words="count", *arguments, engine="software"):
            m = stack.enter_context(Process(
                [trapeze, "run", "--kernel", image(), "--append", words, "--net", "none",
                 "--engine", engine, "--serial", f"file:{tmp_path}/serial", "--paused",
                 "--gdb", f"unix:{tmp_path}/gdb", "--qmp", f"unix:{tmp_path}/qmp", *arguments]))
            m.path, m.serial = tmp_path / "gdb", tmp_path / "serial"
            m.symbols = symbols_of(image())
            m.connect = lambda: stack.enter_context(Rsp(m.path))
            m.qmp = lambda: stack.enter_context(Qmp(tmp_path / "qmp"))
            return m

        yield start


def virtualizes():
    flags = re.search(r"(?m)^flags\s*:(.*)$", open("/proc/cpuinfo").read())
    return bool(flags and {"vmx", "svm"} & set(flags.group(1).split()))


def engines(watches=False):
    """Both engines.  A /dev/kvm that itself is an emulation may not have what WATCHES need."""
    usable = os.access("/dev/kvm", os.R_OK | os.W_OK)
    reason = ("/dev/kvm cannot be opened here" if not usable else
              "this /dev/kvm is an emulation, which has no data breakpoints")
    skip = not usable or (watches and not virtualizes())
    return ["software", pytest.param("kvm", marks=pytest.mark.skipif(skip, reason=reason))]


def wait_for(condition, what):
    end = time.monotonic() + COMMAND_SECONDS
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.01)


# ---- packets ----

def test_what_it_says_of_itself(machine):
    with machine("count", "--cpus", 3).connect() as gdb:
        answer = gdb.ask("qSupported:swbreak+;hwbreak+;vContSupported+")
        assert {"qXfer:features:read+", "QStartNoAckMode+", "swbreak+"} <= set(answer.split(";"))
        assert gdb.ask("vMustReplyEmpty") == "" and gdb.ask("qCRC:0,1") == ""
        assert gdb.ask("qfThreadInfo") == "m1,2,3" and gdb.ask("qsThreadInfo") == "l"
        assert bytes.fromhex(gdb.ask("qThreadExtraInfo,2")).startswith(b"vCPU 1")
        assert gdb.ask("?") == "T05thread:01;"
        assert gdb.ask("qC") == "QC1" and gdb.ask("qAttached") == "1"
        gdb.ok("Hg2")
        assert gdb.ask("qC") == "QC2"
        for thread, alive in [("1", True), ("3", True), ("4", False), ("ffffffff", False)]:
            assert (gdb.ask(f"T{thread}") == "OK") == alive


def test_registers_are_as_described(machine):
    with machine("count", "--cpu", "trapeze-v0").connect() as gdb:
        registers = gdb.description()
        names = [name for name, _, _ in registers]
        assert names[:18] == ["rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp",
                              *(f"r{i}" for i in range(8, 16)), "rip", "eflags"]
        assert "ymm0h" not in names, "trapeze-v0 has no AVX"
        values = bytes.fromhex(gdb.ask("g"))
        assert len(values) == sum(bits for _, bits, _ in registers) // 8
        at = 0
        for name, bits, number in registers:
            assert bytes.fromhex(gdb.ask(f"p{number:x}")) == values[at:at + bits // 8], name
            at += bits // 8
        assert gdb.ask("p999") == "E01"


@pytest.mark.parametrize("model", ["trapeze-v0", "trapeze-v1"])
def test_registers_can_be_set(machine, model):
    with machine("count", "--cpu", model).connect() as gdb:
        numbers = {name: number for name, _, number in gdb.description()}
        if model == "trapeze-v1" and "ymm0h" not in numbers:
            pytest.skip("this host has no AVX2")
        for name, value in [("rax", "1122334455667788"), ("r15", "ff" * 8), ("rip", "0" * 16),
                            ("xmm0", "0123456789abcdef" * 2), ("xmm15", "ab" * 16),
                            ("st0", "00000000000000c0ff3f"), ("fctrl", "7f030000"),
                            ("ftag", "fcff0000"), ("mxcsr", "801f0000"), ("fop", "11020000"),
                            ("fs_base", "0010000000000000"), ("k_gs_base", "0020000000000000"),
                            ("ymm7h", "cd" * 16)]:
            if name in numbers:
                gdb.ok(f"P{numbers[name]:x}={value}")
                assert gdb.ask(f"p{numbers[name]:x}") == value, name
        everything = gdb.ask("g")
        gdb.ok("G" + everything)
        assert gdb.ask("g") == everything
        assert gdb.ask(f"P{numbers['cs']:x}=00000000") == "E01"
        assert gdb.ask("P0=11") == "E01" and gdb.ask("G11") == "E01"
        assert gdb.ask("g") == everything


def test_memory(machine, image):
    m = machine()
    start = m.symbols["start"]
    code = image().read_bytes()
    with m.connect() as gdb:
        data = gdb.read(start, 64)
        assert data in code
        assert gdb.raw(f"x{start:x},40") == b"b" + data
        special = bytes(range(256)) * 2
        spot = 0x300000 - 100  # over a page's end
        gdb.ok(b"X%x,%x:" % (spot, len(special)) + escape(special))
        assert gdb.read(spot, len(special)) == special
        assert gdb.raw(f"x{spot:x},{len(special):x}") == b"b" + special
        gdb.ok(f"M{spot:x},4:" + "01234567")
        assert gdb.read(spot, 6) == bytes.fromhex("01234567") + special[4:6]
        # What is there before the end of RAM; beyond it, an error, and nothing written.
        assert len(gdb.read((512 << 20) - 16, 64)) == 16
        assert gdb.ask(f"m{512 << 20:x},10").startswith("E")
        before = gdb.read((512 << 20) - 2, 2)
        assert gdb.ask(f"M{(512 << 20) - 2:x},4:11111111").startswith("E")
        assert gdb.read((512 << 20) - 2, 2) == before
        assert gdb.ask("mfffffffffffffffe,8").startswith("E")
        assert gdb.ask("qqemu.PhyMemMode") == "0"
        gdb.ok("Qqemu.PhyMemMode:1")
        assert gdb.read(start, 64) == data  # no paging in this guest
        assert gdb.ask("qqemu.PhyMemMode") == "1"


def test_breakpoints_do_not_show_in_memory(machine):
    m = machine()
    put = m.symbols["put"]
    with m.connect() as gdb:
        data = gdb.read(put - 8, 32)
        gdb.ok(f"Z0,{put:x},1")
        gdb.ok(f"Z0,{put:x},1")
        assert gdb.read(put - 8, 32) == data and gdb.read(put, 1) == data[8:9]
        gdb.ok(f"M{put - 1:x},3:{data[7:10].hex()}")
        assert gdb.resume() == (SIGTRAP, {"thread": "01"})
        assert gdb.pc() == put
        gdb.ok(f"z0,{put:x},1")
        gdb.ok(f"z0,{put:x},1")
        assert gdb.read(put - 8, 32) == data


def test_software_breakpoint_and_steps(machine):
    m = machine()
    put = m.symbols["put"]
    with m.connect() as gdb:
        gdb.ask("qSupported:swbreak+")
        gdb.ok(f"Z0,{put:x},1")
        assert gdb.resume() == (SIGTRAP, {"thread": "01", "swbreak": ""})
        assert gdb.pc() == put
        gdb.ok(f"z0,{put:x},1")
        # Through the loop that waits for the transmitter: an IN goes to the machine and back.
        places = [gdb.pc()]
        while len(places) < 12:
            assert gdb.resume("vCont;s:1;c") == (SIGTRAP, {"thread": "01"})
            places.append(gdb.pc())
        assert all(put <= place < put + 32 for place in places[:6]), [hex(p) for p in places]
        assert len(set(places)) > 6
        assert all(a != b for a, b in zip(places, places[1:])), "a step that did not move"
        gdb.ok(f"Z0,{put:x},1")
        for _ in range(3):
            assert gdb.resume("c")[1]["swbreak"] == ""
            assert gdb.pc() == put
            gdb.ok(f"z0,{put:x},1")
            gdb.resume("s")
            gdb.ok(f"Z0,{put:x},1")


@pytest.mark.parametrize("engine", engines())
def test_hardware_breakpoint(machine, engine):
    m = machine("count", engine=engine)
    put = m.symbols["put"]
    with m.connect() as gdb:
        gdb.ask("qSupported:hwbreak+")
        for _ in range(3):
            gdb.ok(f"Z1,{put:x},1")
            assert gdb.resume() == (SIGTRAP, {"thread": "01", "hwbreak": ""})
            assert gdb.pc() == put
            gdb.ok(f"z1,{put:x},1")
            assert gdb.resume("vCont;s:1;c") == (SIGTRAP, {"thread": "01"})
            assert put < gdb.pc() < put + 16


@pytest.mark.parametrize("engine", engines(watches=True))
def test_watchpoints(machine, engine):
    m = machine("bss count", engine=engine)
    watched = m.symbols["zeroed"] + 64
    with m.connect() as gdb:
        gdb.ok(f"Z4,{watched:x},1")  # `bss` reads it, and later writes it
        assert gdb.resume() == (SIGTRAP, {"thread": "01", "awatch": f"{watched:x}"})
        assert gdb.read(watched, 1) == b"\0"
        gdb.ok(f"z4,{watched:x},1")
        gdb.ok(f"Z2,{watched:x},1")
        assert gdb.resume() == (SIGTRAP, {"thread": "01", "watch": f"{watched:x}"})
        assert gdb.read(watched, 1) == b"\xa5"
        gdb.ok(f"z2,{watched:x},1")
        for i in range(4):
            gdb.ok(f"Z2,{watched + 8 * i:x},8")
        assert gdb.ask(f"Z2,{watched + 32:x},8").startswith("E"), "there are four debug registers"
        assert gdb.ask(f"Z2,{watched + 1:x},2").startswith("E"), "not aligned"
        assert gdb.ask(f"Z2,{watched:x},3").startswith("E")


def test_interrupt(machine):
    m = machine()
    with m.connect() as gdb:
        for _ in range(3):
            size = m.serial.stat().st_size
            gdb.start("vCont;c")
            wait_for(lambda: m.serial.stat().st_size > size, "the guest does not run")
            gdb.send(b"\x03")
            assert gdb.stopped() == (SIGINT, {"thread": "01"})
            size = m.serial.stat().st_size
            time.sleep(0.1)
            assert m.serial.stat().st_size == size


def test_the_guests_own_debugging_is_left_to_it(machine):
    """Its INT3 and its TF, while the debugger has breakpoints of both kinds elsewhere."""
    m = machine("trap int3 trap count")
    with m.connect() as gdb:
        gdb.ok(f"Z0,{m.symbols['echo']:x},1")
        gdb.ok(f"Z1,{m.symbols['hang']:x},1")
        gdb.start("vCont;c")
        wait_for(lambda: b"count" in m.serial.read_bytes(), m.serial.read_bytes())
        assert re.findall(rb"(?m)^(?:int3|step).*$", m.serial.read_bytes()) == [
            b"step taken, dr6 0x0000000000004000", b"int3 taken",
            b"step taken, dr6 0x0000000000004000"]


def test_a_step_into_the_guests_own_breakpoint(machine):
    m = machine("int3 count")
    with m.connect() as gdb:
        gdb.ok(f"Z1,{m.symbols['debug_entry']:x},1")
        gdb.resume()
        assert gdb.pc() == m.symbols["debug_entry"]
        # The handler's frame holds where it goes back to: behind the INT3.
        rsp = struct.unpack("<Q", bytes.fromhex(gdb.ask("p7")))[0]
        back, = struct.unpack("<I", gdb.read(rsp, 4))
        assert gdb.read(back - 1, 1)[0] == INT3
        # Once more, now stepping over it with a software breakpoint somewhere.
        gdb.ok(f"z1,{m.symbols['debug_entry']:x},1")
        gdb.ok(f"Z0,{m.symbols['hang']:x},1")
        gdb.ok(f"P10={struct.pack('<Q', back - 1).hex()}")
        gdb.resume("vCont;s:1")
        assert gdb.pc() in (m.symbols["debug_entry"], m.symbols["debug_entry"] + 1)


# ---- beside QMP, and coming and going ----

def test_with_qmp(machine):
    m = machine()
    with m.connect() as gdb, m.qmp() as qmp:
        assert qmp.status() == "prelaunch"
        gdb.ask("?")
        assert qmp.status() == "prelaunch"
        gdb.start("vCont;c")
        qmp.event("RESUME")
        assert qmp.status() == "running"
        gdb.send(b"\x03")
        gdb.stopped()
        qmp.event("STOP")
        assert qmp.status() == "debug"
        gdb.start("vCont;c")
        wait_for(lambda: qmp.status() == "running", "it does not run")
        qmp.execute("stop")
        assert gdb.stopped()[0] == SIGINT
        assert qmp.status() == "paused"
        qmp.execute("cont")
        assert qmp.status() == "running"
        gdb.ask("g")  # a debugger that asks wants a guest that stands
        assert qmp.status() == "debug"


def test_detach_and_attach(machine):
    m = machine()
    put = m.symbols["put"]
    qmp = m.qmp()
    with m.connect() as gdb:
        data = gdb.read(put, 16)
        gdb.ok(f"Z0,{put:x},1")
        gdb.ok("D")
        assert qmp.status() == "running"
    size = m.serial.stat().st_size
    wait_for(lambda: m.serial.stat().st_size > size, "the guest does not run")
    with m.connect() as gdb:
        assert qmp.status() == "running", "a connection alone stops nothing"
        assert gdb.ask("?") == "T05thread:01;"
        assert qmp.status() == "debug"
        assert gdb.read(put, 16) == data
        gdb.ok(f"Z0,{put:x},1")
    # Gone without a word: the breakpoint is gone, too, and the guest stands.
    with m.connect() as gdb:
        assert gdb.read(put, 16) == data
        assert qmp.status() == "debug"
        gdb.start("vCont;c")
        wait_for(lambda: qmp.status() == "running", "it does not run")
    size = m.serial.stat().st_size
    wait_for(lambda: m.serial.stat().st_size > size, "the guest does not run on")


def test_one_at_a_time(machine):
    m = machine()
    with m.connect() as gdb:
        gdb.ask("?")
        with m.connect() as second:
            assert second.reply() is None
        assert gdb.ask("qC") == "QC1"


@pytest.mark.parametrize("words, status", [("off", 0), ("exit=3", 7)])
def test_the_end_is_told(machine, words, status):
    m = machine(words)
    with m.connect() as gdb:
        gdb.start("vCont;c")
        assert gdb.reply().decode() == f"W{status:02x}"
    assert m.wait() == status
    assert not m.path.exists()


@pytest.mark.parametrize("packet", ["k", "vKill;1"])
def test_kill(machine, packet):
    m = machine()
    with m.connect() as gdb:
        gdb.start(packet)
        assert m.wait() == 0


def test_a_reset_with_breakpoints(machine):
    m = machine("count reset")
    start = m.symbols["image_main"]
    with m.connect() as gdb, m.qmp() as qmp:
        gdb.ok(f"Z1,{start:x},1")
        gdb.resume()
        qmp.execute("system_reset")
        qmp.event("RESET")
        gdb.resume()
        assert gdb.pc() == start


# ---- packets that mean no good ----

BAD_PACKETS = [
    b"", b"g1", b"G", b"Gzz", b"p", b"pffffffffffffffff", b"pzz", b"P", b"P0", b"P0=", b"P0=zz",
    b"Pffffffff=00", b"m", b"m,", b"m0", b"m0,", b"m0,ffffffffffffffff", b"mffffffffffffffff,1",
    b"m0,zz", b"M0,1", b"M0,1:", b"M0,2:11", b"M0,1:zz", b"Mffffffffffffffff,1:00", b"X0,5:ab",
    b"X0,ffffffff:", b"x", b"x0", b"x0,ffffffffffffffff", b"Z", b"Z0", b"Z0,", b"Z0,0", b"Z9,0,1",
    b"Z0,ffffffffffffffff,1", b"Z2,ffffffffffffffff,8", b"z", b"z0,zz,1",
    b"Z2,0,0", b"H", b"Hg", b"Hgffffffffffffffff", b"Hx1", b"Hg-", b"T", b"T0x", b"vCont", b"vCont;",
    b"vCont;z", b"vCont;c:99", b"vCont;s:", b"vCont;C", b"vCont;t", b"vCont;c:-2", b"vCont;;c",
    b"qXfer:features:read:target.xml:", b"qXfer:features:read:target.xml:ffffffffffffffff,10",
    b"qXfer:features:read:../../etc/passwd:0,100", b"qThreadExtraInfo,", b"qThreadExtraInfo,77",
    b"Qqemu.PhyMemMode:2", b"qRcmd,71756974", b"vRun", b"!", b"\x80\xff\x01", b"A" * 0x3ff0,
]


def test_bad_packets_are_refused(machine):
    m = machine("count", "--cpus", 2)
    with m.connect() as gdb, m.qmp() as qmp:
        registers = gdb.ask("g")
        code = gdb.read(m.symbols["start"], 256)
        for packet in BAD_PACKETS:
            answer = gdb.raw(escape(packet))
            assert answer == b"" or answer[:1] == b"E" or packet[:1] in b"zTg", (packet, answer)
        assert gdb.ask("Hg1") == "OK"
        assert gdb.ask("g") == registers
        assert gdb.read(m.symbols["start"], 256) == code
        assert qmp.status() == "prelaunch"


def test_a_damaged_packet_is_asked_for_again(machine):
    with machine().connect() as gdb:
        for data in [b"$qC#00", b"$qC#zz", b"$" + b"x" * 0x5000 + b"#00", b"$q}#" + b"b2"]:
            gdb.send(data)
            assert gdb.sign() == "-", data
        gdb.send(b"noise\x00\xff+++" + frame(b"qC"))
        assert gdb.sign() == "+"
        assert gdb.reply() == b"QC1"
        gdb.send(b"-")
        assert gdb.reply() == b"QC1"  # the same once more
        gdb.send(b"$q$" + frame(b"qC")[1:])  # cut off, then whole
        assert gdb.sign() == "+" and gdb.reply() == b"QC1"
        gdb.ok("QStartNoAckMode")
        gdb.send(frame(b"qC"))
        assert gdb.reply() == b"QC1"


def test_a_debugger_that_reads_nothing(machine):
    m = machine()
    qmp = m.qmp()
    with m.connect() as gdb:
        gdb.ask("?")
        gdb.socket.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                gdb.socket.send(frame(b"m400000,1000") * 100)
        assert qmp.status() == "prelaunch"
    qmp.execute("cont")
    size = m.serial.stat().st_size
    wait_for(lambda: m.serial.stat().st_size > size, "the guest does not run")


# ---- the sockets ----

def test_the_unix_socket_is_the_owners(machine):
    m = machine()
    with m.connect() as gdb:
        assert stat.S_IMODE(m.path.stat().st_mode) == 0o600
        gdb.ask("?")


@pytest.mark.parametrize("spec", ["tcp::{}", "tcp:{}", "tcp:127.0.0.1:{}"])
def test_tcp_is_for_this_host(trapeze, image, spec):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    command = [trapeze, "run", "--kernel", image(), "--append", "hang", "--net", "none", "--engine",
               "software", "--serial", "none", "--paused", "--gdb", spec.format(port)]
    with Process(command):
        def connected():
            with contextlib.suppress(ConnectionRefusedError), Rsp(port) as gdb:
                return gdb.ask("?")

        wait_for(connected, "nobody listens")
        out = open("/proc/net/tcp").read()
        assert re.findall(rf"([0-9A-F]+):{port:04X} 00000000:0000 0A", out) == ["0100007F"]


# ---- Debian's gdb ----

def run_gdb(*commands, file=None, seconds=COMMAND_SECONDS):
    """Runs gdb with COMMANDS; returns what it said."""
    words = ["gdb", "-nx", "-batch", "-ex", "set confirm off", "-ex", "set pagination off",
             "-ex", "set width 0", *(word for c in commands for word in ("-ex", c))]
    done = subprocess.run(words + ([str(file)] if file else []), text=True, errors="replace",
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=seconds, check=False)
    return done.stdout


@pytest.mark.parametrize("engine", engines(watches=True))
def test_gdb_on_a_small_guest(machine, engine):
    m = machine("bss count", "--cpus", 2, engine=engine)
    m.qmp()
    put, watched = m.symbols["put"], m.symbols["zeroed"] + 64
    out = run_gdb(f"target remote {m.path}", "info threads", f"hbreak *{put:#x}", "continue",
                  "p $pc", "stepi", "p $pc", "delete", f"watch *(char *){watched:#x}", "continue",
                  "delete", "p $cr0 & 1", "set var $rax = 0x1234", "p $rax", "p $xmm0.v4_int32[0]",
                  "maintenance packet Qqemu.PhyMemMode:1", f"x/1xb {watched:#x}", "detach")
    assert re.search(r"\* 1 +Thread 1 \(vCPU 0\)", out) and "Thread 2 (vCPU 1, halted)" in out, out
    assert f"hit Breakpoint 1, {put:#018x}" in out, out
    places = [int(text, 16) for text in re.findall(r"\(void \(\*\)\(\)\) (0x\w+)", out)]
    assert places[0] == put and put < places[1] < put + 16, out
    assert "Hardware watchpoint 2" in out and "New value = -91" in out, out
    assert re.search(r"\$3 = 1\n\$4 = 4660\n\$5 = 0\n", out), out
    assert 'received: "OK"' in out and re.search(rf"{watched:#x}:\t0xa5", out), out
    assert "detached" in out, out


def kernel_symbols(guest, names):
    """Address, size and kind of those of NAMES that the guest's kernel has."""
    lines = guest.run(f"grep -A12 -E ' ({'|'.join(names)})$' /proc/kallsyms").split("\n")
    table = sorted((int(a, 16), name, kind) for a, kind, name in
                   (line.split()[:3] for line in lines if line != "--"))
    found = {}
    for address, name, kind in table:
        if name in names:
            size = next((a - address for a, _, _ in table if a > address), 8)
            found[name] = (address, size, kind)
    return found


def symbol_file(folder, symbols):
    """An ELF file with SYMBOLS at their addresses and nothing else, for gdb."""
    base = min(address for address, _, _ in symbols.values()) & ~0xfff
    end = max(address + size for address, size, _ in symbols.values())
    source = [".section .kernel, \"awx\", @nobits"]
    for name, (address, size, kind) in sorted(symbols.items(), key=lambda item: item[1]):
        source += [f".org {address - base:#x}", f".globl {name}", f"{name}:",
                   f".type {name}, @{'function' if kind in 'tT' else 'object'}",
                   f".size {name}, {size}"]
    source += [f".org {end - base:#x}", ""]
    (folder / "symbols.s").write_text("\n".join(source))
    subprocess.run(["as", "-o", folder / "symbols.o", folder / "symbols.s"], check=True)
    subprocess.run(["ld", "-e", "0", f"--section-start=.kernel={base:#x}", "-o",
                    folder / "symbols", folder / "symbols.o"], check=True)
    return folder / "symbols"


# Where a processor waits that has nothing to do, by the kernel's version.
IDLE = ["default_idle", "native_safe_halt", "pv_native_safe_halt", "acpi_safe_halt"]


def test_gdb_on_a_stock_kernel(start, linux, tmp_path):
    """A breakpoint in a function of a running kernel, both vCPUs' stacks, steps, a watchpoint."""
    door = tmp_path / "gdb"
    with start(*linux(append="nokaslr quiet"), "--engine", "software", "--cpus", 2, "--net", "none",
               "--gdb", f"unix:{door}") as guest:
        guest.shell()
        symbols = kernel_symbols(guest, ["__x64_sys_sethostname", "do_syscall_64", "jiffies", *IDLE])
        function, size, _ = symbols["__x64_sys_sethostname"]
        caller, caller_size, _ = symbols["do_syscall_64"]
        # On the second vCPU, for the backtrace of a thread that is not the first.
        guest.run("(while :; do taskset 2 hostname guest; sleep 0.2; done) >/dev/null 2>&1 & true")
        out = run_gdb(f"target remote {door}", "break *__x64_sys_sethostname", "continue",
                      "info threads", "thread apply all backtrace 2", "x/2i $pc", "stepi", "stepi",
                      "p $pc", "p $cr0 & 0x80000001", "p $efer & 0x500", "delete",
                      "watch *(unsigned long *)&jiffies", "continue", "continue", "delete",
                      "x/8xb __x64_sys_sethostname", "detach",
                      file=symbol_file(tmp_path, symbols), seconds=COMMAND_SECONDS)
        assert re.search(r"Thread 2 hit Breakpoint 1, 0x\w+ in __x64_sys_sethostname \(\)", out), out
        assert re.search(r"\* 2 +Thread 2 \(vCPU 1\)", out), out
        stacks = dict(re.findall(r"Thread (\d) \(Thread.*\):\n((?:#.*\n)+)", out))
        assert set(stacks) == {"1", "2"}, out
        assert re.match(r"#0 +0xffffffff\w+ in __x64_sys_sethostname \(\)\n"
                        r"#1 +0xffffffff\w+ in do_syscall_64 \(\)", stacks["2"]), out
        returns = int(re.search(r"#1 +(0x\w+)", stacks["2"])[1], 16)
        assert caller < returns < caller + caller_size
        assert re.match(r"#0 +0xffffffff\w+", stacks["1"]), out
        if "(vCPU 0, halted)" in out:
            assert re.match(rf"#0 +\w+ in ({'|'.join(IDLE)}) \(\)\n", stacks["1"]), out
        stepped = int(re.search(r"\(\)\) (0x\w+) <__x64_sys_sethostname\+\d+>", out)[1], 16)
        assert function < stepped < function + size
        assert re.search(r"\$2 = 2147483649\n\$3 = 1280\n", out), out  # paging, long mode
        values = [int(n) for n in re.findall(r"(?:Old|New) value = (\d+)", out)]
        assert len(values) == 4 and values[1] == values[2], out
        assert values[0] < values[1] < values[3]
        assert "\t0xcc" not in out.split("detach")[0].rsplit("__x64_sys_sethostname>:", 1)[1], out
        assert guest.run("echo still here") == "still here"
        assert guest.run("dmesg | grep -c 'int3:\\|BUG:\\|lockup' || true") == "0"
        guest.signal(signal.SIGTERM)
        assert guest.wait() == 0, guest.stderr()
