# SPDX-License-Identifier: LGPL-2.1-or-later
"""Disks, network and entropy, in a guest that most tests here share (it boots once)."""
import contextlib
import hashlib
import http.server
import os
import re
import socket
import subprocess
import threading
import time
import urllib.request

import pytest

from console import BOOT_SECONDS, COMMAND_SECONDS, Guest
from qmp import Qmp

MEBI = 1 << 20
FULL_DISK = 32 * MEBI  # of which its file system has room for a part
FULL_ROOM = 4 * MEBI
GUEST_PORT = 8080


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def make_image(path, size, content=b""):
    with open(path, "wb") as file:
        file.write(content)
        file.truncate(size)
    return path


@contextlib.contextmanager
def small_file_system(folder):
    """A tmpfs of FULL_ROOM bytes at FOLDER; yields the reason why not, or None."""
    folder.mkdir()
    if os.getuid() != 0:
        yield "needs root, to mount a small tmpfs"
        return
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={FULL_ROOM}", "tmpfs", folder],
                          stderr=subprocess.PIPE, text=True, check=False)
    try:
        yield f"cannot mount a tmpfs: {done.stderr.strip()}" if done.returncode else None
    finally:
        if done.returncode == 0:
            subprocess.run(["umount", "-l", folder], check=False)


class Shared:
    """The shared guest, and what it was given."""


@pytest.fixture(scope="module")
def shared(trapeze, linux, tmp_path_factory):
    folder = tmp_path_factory.mktemp("devices")
    s = Shared()
    s.port = free_port()
    s.virtio_console = folder / "hvc0.log"
    s.readonly_content = os.urandom(MEBI)
    s.disks = [make_image(folder / "first.img", 64 * MEBI),
               make_image(folder / "readonly.img", 8 * MEBI, s.readonly_content)]
    with small_file_system(folder / "small") as s.no_full_disk:
        s.disks.append(make_image(folder / "small/full.img", FULL_DISK))
        with Guest(trapeze, *linux(), "--engine", "software", "--cpus", 2,
                   "--disk", s.disks[0], "--disk", f"{s.disks[1]},readonly", "--disk", s.disks[2],
                   "--net", f"user,forward=tcp:127.0.0.1:{s.port}-:{GUEST_PORT}",
                   "--console", f"file:{s.virtio_console}", "--qmp", f"unix:{folder}/qmp",
                   log=folder / "console.log") as s.guest:
            s.guest.shell()
            with Qmp(folder / "qmp") as s.qmp:
                yield s


@pytest.fixture
def guest(shared):
    if shared.guest.process.poll() is not None:
        pytest.fail(f"the shared guest ended before: {shared.guest.stderr()}")
    return shared.guest


@pytest.fixture
def web_server():
    """FOLDER -> the port of an HTTP server on the host's loopback that serves it."""
    with contextlib.ExitStack() as stack:
        def serve(folder):
            class Handler(http.server.SimpleHTTPRequestHandler):
                def __init__(self, *arguments):
                    super().__init__(*arguments, directory=str(folder))

                def log_message(self, *_):
                    pass

            server = stack.enter_context(
                http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler))
            threading.Thread(target=server.serve_forever, daemon=True).start()
            stack.callback(server.shutdown)
            return server.server_port

        yield serve


# ---- disks ----

def test_disk_sizes(shared, guest):
    for name, path in zip(["vda", "vdb", "vdc"], shared.disks):
        assert int(guest.run(f"cat /sys/block/{name}/size")) * 512 == path.stat().st_size
    assert [guest.run(f"cat /sys/block/{name}/ro") for name in ["vda", "vdb", "vdc"]] == list("010")


def test_statistics_by_qmp(shared, guest):
    def counts():
        return shared.qmp.execute("query-blockstats")[0]["stats"]

    guest.run("sync; echo 3 >/proc/sys/vm/drop_caches")
    before = counts()
    guest.run("dd if=/dev/zero of=/dev/vda bs=64k count=16 conv=fsync")
    guest.run("echo 3 >/proc/sys/vm/drop_caches; dd if=/dev/vda of=/dev/null bs=64k count=8")
    now = counts()
    assert now["wr_bytes"] - before["wr_bytes"] == MEBI
    assert now["wr_highest_offset"] >= MEBI
    assert now["rd_bytes"] - before["rd_bytes"] >= MEBI / 2
    for name in ["wr_operations", "rd_operations", "flush_operations", "wr_total_time_ns",
                 "rd_total_time_ns"]:
        assert now[name] > before[name], name
    assert now["failed_wr_operations"] == 0


def test_written_data_is_in_the_host_file(shared, guest):
    guest.run("dd if=/dev/urandom of=/tmp/data bs=64k count=32")
    guest.run("dd if=/tmp/data of=/dev/vda bs=64k seek=16 conv=fsync")
    digest = guest.run("sha256sum </tmp/data").split()[0]
    with open(shared.disks[0], "rb") as file:
        file.seek(MEBI)
        assert hashlib.sha256(file.read(2 * MEBI)).hexdigest() == digest


def test_host_data_is_read(shared, guest):
    digest = guest.run("dd if=/dev/vdb bs=64k count=16 2>/dev/null | sha256sum").split()[0]
    assert digest == hashlib.sha256(shared.readonly_content).hexdigest()


def test_readonly_disk_refuses_writes(shared, guest):
    status, _ = guest.run("dd if=/dev/zero of=/dev/vdb bs=512 count=1 conv=fsync", check=False)
    assert status != 0
    # Nor when the guest's kernel is told that it may.
    guest.run("blockdev --setrw /dev/vdb", check=False)
    guest.run("dd if=/dev/zero of=/dev/vdb bs=512 count=1 conv=fsync", check=False)
    with open(shared.disks[1], "rb") as file:
        assert file.read(MEBI) == shared.readonly_content


def test_disks_are_apart(shared, guest):
    guest.run("echo the first | dd of=/dev/vda bs=512 seek=40 conv=sync,fsync")
    assert guest.run("dd if=/dev/vdb bs=512 skip=40 count=1 2>/dev/null | sha256sum") == \
        hashlib.sha256(shared.readonly_content[40 * 512:41 * 512]).hexdigest() + "  -"
    with open(shared.disks[0], "rb") as file:
        file.seek(40 * 512)
        assert file.read(10) == b"the first\n"


def test_discard_frees_the_host_file(shared, guest):
    guest.run("dd if=/dev/urandom of=/dev/vda bs=1M seek=16 count=8 conv=fsync")
    before = shared.disks[0].stat().st_blocks
    guest.run("blkdiscard -o $((16 << 20)) -l $((8 << 20)) /dev/vda")
    guest.run("echo 3 >/proc/sys/vm/drop_caches")
    zeroes = hashlib.sha256(bytes(8 * MEBI)).hexdigest()
    assert guest.run("dd if=/dev/vda bs=1M skip=16 count=8 2>/dev/null | sha256sum").split()[0] \
        == zeroes
    after = shared.disks[0].stat().st_blocks
    if after == before:
        pytest.skip("the host's file system does not punch holes")
    assert (before - after) * 512 >= 7 * MEBI


def test_full_host_disk(shared, guest):
    if shared.no_full_disk:
        pytest.skip(shared.no_full_disk)
    before = shared.guest.stderr()
    status, output = guest.run("dd if=/dev/urandom of=/dev/vdc bs=1M count=8 conv=fsync",
                               check=False)
    assert status != 0
    assert "error" in output.lower() or "no space" in output.lower(), output
    warnings = shared.guest.stderr()[len(before):].splitlines()
    about = [line for line in warnings if str(shared.disks[2]) in line]
    assert about, warnings
    assert shared.qmp.execute("query-blockstats")[2]["stats"]["failed_wr_operations"] > 0
    assert all(re.match(r"trapeze: warning: ", line) for line in about)
    assert any("No space left" in line for line in about)
    assert len(about) <= 10, "a flood of warnings"
    # Only that disk is concerned.
    assert guest.run("echo still here") == "still here"
    guest.run("dd if=/dev/urandom of=/dev/vda bs=64k count=1 seek=32 conv=fsync")
    guest.run("dd if=/dev/vdc of=/dev/null bs=64k count=16")


# ---- network ----

def test_lease(guest):
    address = guest.run("ip -4 -o addr show eth0")
    assert "10.0.2.15/24" in address
    assert "default via 10.0.2.2" in guest.run("ip route")


def test_download_from_the_host(guest, web_server, tmp_path):
    content = os.urandom(3 * MEBI + 17)
    (tmp_path / "file").write_bytes(content)
    port = web_server(tmp_path)
    guest.run(f"wget -q -O /tmp/got http://10.0.2.2:{port}/file")
    assert guest.run("sha256sum </tmp/got").split()[0] == hashlib.sha256(content).hexdigest()


def test_many_downloads_at_once(guest, web_server, tmp_path):
    content = os.urandom(200_000)
    (tmp_path / "file").write_bytes(content)
    port = web_server(tmp_path)
    guest.run(f"for i in 1 2 3 4 5 6 7 8; do wget -q -O /tmp/g$i http://10.0.2.2:{port}/file & "
              "done; wait")
    sums = guest.run("sha256sum /tmp/g?").splitlines()
    assert [line.split()[0] for line in sums] == [hashlib.sha256(content).hexdigest()] * 8


def test_forwarded_port_reaches_the_guest(shared, guest):
    guest.run("mkdir -p /tmp/www && dd if=/dev/urandom of=/tmp/www/file bs=1k count=1500")
    digest = guest.run("sha256sum </tmp/www/file").split()[0]
    guest.run(f"httpd -p {GUEST_PORT} -h /tmp/www")
    url = f"http://127.0.0.1:{shared.port}/file"
    for _ in range(3):
        with urllib.request.urlopen(url, timeout=COMMAND_SECONDS) as answer:
            assert hashlib.sha256(answer.read()).hexdigest() == digest
    guest.run("killall httpd")


def test_forwarded_port_without_a_listener(shared, guest):
    """The connection is made by libslirp and then ends; the guest and trapeze go on."""
    with socket.create_connection(("127.0.0.1", shared.port), timeout=COMMAND_SECONDS) as client:
        client.settimeout(COMMAND_SECONDS)
        with contextlib.suppress(ConnectionError):
            assert client.recv(1) == b""
    assert guest.run("echo still here") == "still here"


def test_network_only_on_the_forwarded_address(shared, guest):
    """A forward to 127.0.0.1 listens there, not on every address of the host."""
    listening = {line.split()[3] for line in subprocess.run(
        ["ss", "-Hltn"], stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()} \
        if os.access("/usr/bin/ss", os.X_OK) else None
    if listening is None:
        pytest.skip("no `ss` here (package iproute2)")
    assert f"127.0.0.1:{shared.port}" in listening
    assert f"0.0.0.0:{shared.port}" not in listening


# ---- entropy, console ----

def test_entropy(guest):
    assert "virtio_rng" in guest.run("cat /sys/class/misc/hw_random/rng_current")
    first = guest.run("dd if=/dev/hwrng bs=64 count=4 iflag=fullblock 2>/dev/null | sha256sum")
    second = guest.run("dd if=/dev/hwrng bs=64 count=4 iflag=fullblock 2>/dev/null | sha256sum")
    nothing = hashlib.sha256(b"").hexdigest()
    assert first != second and not first.startswith(nothing)


def test_virtio_console(guest, shared):
    # The guest's write returns before the host's file has it.
    assert guest.run("echo said on hvc0 >/dev/hvc0; echo $?") == "0"
    deadline = time.monotonic() + COMMAND_SECONDS
    while "said on hvc0" not in shared.virtio_console.read_text():
        assert time.monotonic() < deadline, "nothing came out of the virtio console"
        time.sleep(0.1)


def test_much_output_and_input_on_the_console(guest):
    lines = guest.run("i=0; while [ $i -lt 400 ]; do echo line $i of the flood; i=$((i+1)); done")
    assert lines.splitlines() == [f"line {i} of the flood" for i in range(400)]
    word = "0123456789" * 70
    assert guest.run(f"echo {word}") == word


def test_interrupts_by_msix(guest):
    table = guest.run("grep -c 'PCI-MSI.*virtio' /proc/interrupts")
    assert int(table) >= 4


def test_clock_goes_on(guest):
    before = float(guest.run("cut -d' ' -f1 /proc/uptime"))
    guest.run("sleep 0.2")
    assert float(guest.run("cut -d' ' -f1 /proc/uptime")) >= before + 0.2
    assert abs(int(guest.run("date +%s")) - time.time()) < 60 + COMMAND_SECONDS


# ---- the last two tests end the shared guest ----

def test_data_survives_a_reboot(shared, guest):
    guest.run("echo written before the reboot | dd of=/dev/vda bs=512 seek=80 conv=sync,fsync")
    guest.send(b"reboot -f\n")
    guest.expect(rb"Linux version", BOOT_SECONDS)
    guest.shell()
    assert guest.run("dd if=/dev/vda bs=512 skip=80 count=1 2>/dev/null | head -n 1") == \
        "written before the reboot"
    assert "10.0.2.15/24" in guest.run("ip -4 -o addr show eth0")
    assert guest.run("nproc") == "2"


def test_poweroff_ends_with_status_zero(shared, guest):
    guest.run("echo the last words | dd of=/dev/vda bs=512 seek=81 conv=sync")
    guest.send(b"sync; poweroff -f\n")
    assert guest.wait() == 0, guest.stderr()
    assert guest.terminal_restored()
    with open(shared.disks[0], "rb") as file:
        file.seek(81 * 512)
        assert file.read(15) == b"the last words\n"
