# SPDX-License-Identifier: LGPL-2.1-or-later
"""Debian's kernels to a shell and to the self-check of the demo's init; how a guest ends."""
import os
import pathlib
import re
import signal
import struct
import subprocess
import time

import pytest

from console import BOOT_SECONDS, END_SECONDS
from qmp import Qmp

CHECKS = ["memory", "disk", "network", "timers", "clock"]

# An init that restarts the machine as soon as it runs.
REBOOT_INIT = """#!/bin/busybox sh
/bin/busybox echo "the guest restarts"
/bin/busybox reboot -f
/bin/busybox sleep 60
"""

ORDINARY = [pytest.param("amd64", marks=pytest.mark.long),
            pytest.param("rt-amd64", marks=pytest.mark.long)]


def check_append():
    return f"quiet trapeze.check trapeze.time={int(time.time())}"


@pytest.mark.parametrize("flavour", ["cloud-amd64", *ORDINARY])
@pytest.mark.parametrize("cpus", [1, 2])
def test_self_check(start, linux, disk, flavour, cpus):
    with start(*linux(flavour, check_append()), "--engine", "software", "--cpus", cpus,
               "--disk", disk()) as guest:
        release = guest.expect(rb"trapeze-guest: init after [0-9.]+ s, kernel (\S+)\r*\n",
                               BOOT_SECONDS).group(1).decode()
        assert release.endswith(f"-{flavour}")
        verdicts = {}
        for _ in CHECKS:
            match = guest.expect(rb"trapeze-check: (\w+) (ok|FAILED)(: [^\n]*)\n", BOOT_SECONDS)
            verdicts[match.group(1).decode()] = (match.group(2) + match.group(3)).decode().strip()
        assert sorted(verdicts) == sorted(CHECKS)
        assert all(verdict.startswith("ok") for verdict in verdicts.values()), verdicts
        guest.expect(rb"trapeze-check: cpus %d, 0 failed" % cpus)
        assert guest.wait() == 0, guest.stderr()
        assert guest.stderr() == ""


def processor_facts(guest, cpus):
    """The guest sees as many vCPUs as asked for, of the model's name, and uses them all."""
    info = guest.run("cat /proc/cpuinfo")
    assert len(re.findall(r"(?m)^processor", info)) == cpus
    assert "Trapeze v" in info
    # The default model spares the kernel what would protect nothing here (docs/security.md).
    for name in ("meltdown", "retbleed", "spec_rstack_overflow"):
        fact = guest.run(f"cat /sys/devices/system/cpu/vulnerabilities/{name}")
        assert fact == "Not affected", (name, fact)
    assert "Automatic IBRS" in guest.run("cat /sys/devices/system/cpu/vulnerabilities/spectre_v2")
    for cpu in range(cpus):
        mask = f"{1 << cpu:x}"
        line = guest.run(f"taskset {mask} sh -c 'cat /proc/self/stat'")
        # Field 39 is the CPU it last ran on; the name in field 2 has no blanks.
        assert int(line.split()[38]) == cpu


def uptime(guest):
    return float(guest.run("cat /proc/uptime").split()[0])


def sleeps(guest, path):
    """The guest sleeps in S3 until its clock's alarm, and its vCPUs, memory and network are there."""
    guest.run("echo kept >/tmp/file")
    with Qmp(path) as qmp:
        guest.send(b"echo +3 >/sys/class/rtc/rtc0/wakealarm && echo mem >/sys/power/state; "
                   b"echo slept=$?\n")
        qmp.event("SUSPEND")
        assert qmp.execute("query-status")["status"] == "suspended"
        qmp.execute("stop")  # neither has an effect on one that sleeps
        qmp.execute("cont")
        qmp.event("WAKEUP")
        assert qmp.execute("query-status")["status"] == "running"
    guest.expect(rb"slept=0", BOOT_SECONDS)
    assert guest.run("cat /tmp/file") == "kept"
    assert guest.run("cat /sys/devices/system/cpu/online") == "0-1"
    assert "1 packets received" in guest.run("ping -c 1 10.0.2.2")


def stopped_by_qmp(guest, path):
    """The guest's clock stands while it is stopped; then its power button is pressed."""
    assert guest.run("cat /sys/devices/system/clocksource/*/current_clocksource") == "kvm-clock"
    with Qmp(path) as qmp:
        start, before = time.monotonic(), uptime(guest)
        qmp.execute("stop")
        stopped = time.monotonic()
        time.sleep(3)
        stopped = time.monotonic() - stopped
        qmp.execute("cont")
        # However slow all else is, the guest cannot have seen the time that it was stopped for.
        assert uptime(guest) - before <= time.monotonic() - start - stopped + 0.02  # its resolution
        assert "soft lockup" not in guest.run("dmesg")
        qmp.execute("system_powerdown")
        assert qmp.event("SHUTDOWN")["data"] == {"guest": True, "reason": "guest-shutdown"}


@pytest.mark.parametrize("flavour", ["cloud-amd64", *ORDINARY])
@pytest.mark.parametrize("cpus", [1, 2])
def test_shell(start, linux, tmp_path, flavour, cpus):
    with start(*linux(flavour), "--engine", "software", "--cpus", cpus, "--qmp",
               f"unix:{tmp_path}/qmp") as guest:
        guest.shell()
        assert guest.run("uname -r").endswith(f"-{flavour}")
        processor_facts(guest, cpus)
        kilobytes = int(guest.run("awk '/MemTotal/ {print $2}' /proc/meminfo"))
        assert 400 << 10 < kilobytes <= 512 << 10
        # Job control needs a controlling terminal: Ctrl-C ends what runs, and not trapeze.
        guest.send(b"sh -c \"echo slee''ping; sleep 1000\"\n")
        guest.expect(rb"sleeping")
        guest.send(b"\x03")
        assert guest.run("echo still here") == "still here"
        # The power button: one SIGTERM, or QMP's command, and the guest goes down by itself.
        if cpus == 1:
            guest.signal(signal.SIGTERM)
        else:
            sleeps(guest, tmp_path / "qmp")
            stopped_by_qmp(guest, tmp_path / "qmp")
        assert guest.wait() == 0, guest.stderr()
        assert ("power button" in guest.stderr()) == (cpus == 1)
        assert guest.terminal_restored()


def test_no_reboot(start, linux):
    with start(*linux(init=REBOOT_INIT, append="quiet"), "--engine", "software", "--no-reboot",
               "--net", "none") as guest:
        guest.expect(b"the guest restarts", BOOT_SECONDS)
        assert guest.wait() == 0, guest.stderr()


@pytest.mark.long
def test_reboot_again_and_again(start, linux):
    with start(*linux(init=REBOOT_INIT, append="quiet"), "--engine", "software", "--cpus", 2,
               "--net", "none") as guest:
        for _ in range(4):
            guest.expect(b"the guest restarts", BOOT_SECONDS)
        guest.quit()
        assert guest.wait() == 0, guest.stderr()


def test_two_guests_at_once(start, linux, disk):
    guests = [start(*linux(append="quiet"), "--engine", "software", "--disk", disk(f"disk{i}"))
              for i in range(2)]
    for i, guest in enumerate(guests):
        guest.shell()
        guest.run(f"echo this is guest {i} | dd of=/dev/vda conv=sync,fsync bs=512")
    for i, guest in enumerate(guests):
        assert guest.run("head -n 1 /dev/vda") == f"this is guest {i}"
        guest.send(b"poweroff -f\n")
        assert guest.wait() == 0, guest.stderr()


def test_ctrl_a_x_leaves_a_booting_guest(start, linux):
    with start(*linux(), "--engine", "software", "--cpus", 2) as guest:
        guest.expect(b"Linux version", BOOT_SECONDS)
        guest.quit()
        assert guest.wait() == 0
        assert guest.terminal_restored()


def test_vmlinux_by_pvh(start, kernel, initramfs, tmp_path):
    """The ELF kernel inside Debian's bzImage, entered by its PVH note."""
    vmlinux = tmp_path / "vmlinux"
    vmlinux.write_bytes(uncompressed(kernel("cloud-amd64").image.read_bytes()))
    with start("--kernel", vmlinux, "--initrd", initramfs(), "--append", "console=ttyS0",
               "--engine", "software", "--net", "none") as guest:
        guest.expect(rb"Linux version 6\.[^\n]*\n", BOOT_SECONDS)
        guest.expect(rb"trapeze-guest: init", BOOT_SECONDS)
        guest.quit()
        assert guest.wait() == 0


def uncompressed(image):
    """The kernel within a bzImage whose payload is LZ4 in its old frame format."""
    setup = image[0x1f1] or 4
    offset, length = struct.unpack_from("<II", image, 0x248)
    payload = image[(setup + 1) * 512 + offset:][:length]
    assert payload[:4] == b"\x02\x21\x4c\x18", "not LZ4: this needs another way"
    out, at = [], 4
    while at + 4 <= len(payload) - 4:  # the last word is the size
        size, = struct.unpack_from("<I", payload, at)
        out.append(lz4_block(payload[at + 4:at + 4 + size]))
        at += 4 + size
    return b"".join(out)


def lz4_block(data):
    out, at = bytearray(), 0

    def longer(count):
        nonlocal at
        if count == 15:
            while data[at] == 255:
                count += 255
                at += 1
            count += data[at]
            at += 1
        return count

    while at < len(data):
        token = data[at]
        at += 1
        literals = longer(token >> 4)
        out += data[at:at + literals]
        at += literals
        if at >= len(data):
            break
        distance = data[at] | data[at + 1] << 8
        at += 2
        count = longer(token & 15) + 4
        start = len(out) - distance
        if distance >= count:
            out += out[start:start + count]
        else:
            pattern = bytes(out[start:])
            out += (pattern * (count // distance + 1))[:count]
    return bytes(out)


def test_translations_are_shown(trapeze, linux):
    """The code of busybox' entry, which every command of init's runs, and perf's name for it."""
    header = pathlib.Path("/bin/busybox").read_bytes()[:64]
    kind, entry = struct.unpack_from("<H6xQ", header, 16)
    assert kind == 2, "busybox-static is no program of a fixed address"
    command = [trapeze, "run", *linux(append=check_append()), "--engine", "software", "--translator",
               "on", "--stats", "--trace-translation", f"{entry:#x}", "--perf-map", "--net", "none"]
    process = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               errors="replace")
    names = pathlib.Path(f"/tmp/perf-{process.pid}.map")
    try:
        _, errors = process.communicate(timeout=BOOT_SECONDS)
        assert process.returncode == 0, errors
        # The ABI has programs begin so.
        assert re.search(rf"(?m)^{entry:016x}  xor ebp, ebp +\| [0-9a-f]{{12}}  ", errors), errors
        assert "out of line\n" in errors
        assert re.search(rf"(?m)^[0-9a-f]+ [0-9a-f]+ guest_{entry:x}$", names.read_text())
        for line in ("TLB misses", "other page's entry", "page fault", "instructions by handler"):
            assert re.search(rf"(?m)^ +{line} +[1-9]\d*$", errors), line
    finally:
        process.kill()
        process.wait()
        names.unlink(missing_ok=True)


@pytest.mark.long
@pytest.mark.parametrize("translator", ["off", "on"])
def test_five_level_paging(start, linux, translator):
    guest = start(*linux(), "--engine", "software", "--cpu", "trapeze-v1,+la57", "--translator",
                  translator).shell()
    assert "57 bits virtual" in guest.run("grep -m1 'address sizes' /proc/cpuinfo")
    guest.send(b"poweroff -f\n")
    assert guest.wait() == 0


@pytest.mark.long
@pytest.mark.parametrize("memory,floor", [("96M", 40 << 10), ("1G", 900 << 10), ("3G", 2800 << 10),
                                          ("5G", 4700 << 10)])
def test_memory(start, linux, memory, floor):
    size = int(memory[:-1]) << (20 if memory[-1] == "G" else 10)  # KiB
    host = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 10
    if size * 3 // 4 > host:
        pytest.skip(f"this host has {host >> 10} MiB of memory")
    with start(*linux(), "--engine", "software", "--memory", memory) as guest:
        guest.shell()
        kilobytes = int(guest.run("awk '/MemTotal/ {print $2}' /proc/meminfo"))
        assert floor <= kilobytes <= size
        above = guest.run("awk -F'[-: ]' '/System RAM/ && length($1) > 8' /proc/iomem")
        assert bool(above) == (size >= 3 << 20)
        # Linux gives memory from the top first.
        guest.run("dd if=/dev/urandom of=/tmp/a bs=1M count=8 && cp /tmp/a /tmp/b")
        guest.run("cmp /tmp/a /tmp/b")
        guest.send(b"poweroff -f\n")
        assert guest.wait(END_SECONDS) == 0, guest.stderr()
