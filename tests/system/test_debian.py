# SPDX-License-Identifier: LGPL-2.1-or-later
"""A Debian root file system on a virtio disk: systemd, login, apt from the host, reboot, poweroff."""
import hashlib
import http.server
import re
import threading

import pytest

from console import COMMAND_SECONDS, Guest
from debian import SYSTEMD_SECONDS, arguments, log_in, make_disk, root_archive, run

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def debian_disk(tmp_path_factory):
    return make_disk(root_archive(), tmp_path_factory.mktemp("debian"), 1 << 30)


# ---- a package repository on the host ----

def build_package(folder, name, text):
    tree = folder / name
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "usr/share/trapeze").mkdir(parents=True)
    (tree / "usr/share/trapeze" / name).write_text(text)
    control = (f"Package: {name}\nVersion: 1.0\nArchitecture: all\nMaintainer: Nobody <n@example>\n"
               "Description: a package of Trapeze's tests\n")
    (tree / "DEBIAN/control").write_text(control)
    (tree / "DEBIAN/postinst").write_text("#!/bin/sh\necho configured >/var/lib/" + name + "\n")
    (tree / "DEBIAN/postinst").chmod(0o755)
    package = folder / "pool" / f"{name}_1.0_all.deb"
    package.parent.mkdir(exist_ok=True)
    run(["dpkg-deb", "--root-owner-group", "--build", tree, package])
    data = package.read_bytes()
    return (control + f"Filename: ./{package.name}\nSize: {len(data)}\n"
            f"SHA256: {hashlib.sha256(data).hexdigest()}\n\n")


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """The port of an HTTP server with a package repository of two packages."""
    folder = tmp_path_factory.mktemp("repository")
    index = "".join(build_package(folder, name, f"this is {name}\n" * 1000)
                    for name in ["trapeze-one", "trapeze-two"])
    (folder / "pool/Packages").write_text(index)

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=str(folder / "pool"))

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


# ---- the guest ----

@pytest.mark.parametrize("cpus", [1, 2])
def test_debian(trapeze, kernel, initramfs, debian_disk, repository, tmp_path, cpus):
    disk = tmp_path / "disk.img"
    run(["cp", "--sparse=always", debian_disk, disk])
    command = arguments(kernel, initramfs, disk, cpus, "768M")
    with Guest(trapeze, *command, log=tmp_path / "console.log") as guest:
        guest.expect(rb"systemd\[1\]: systemd 2\d\d", SYSTEMD_SECONDS)
        log_in(guest)
        check_system(guest, cpus)
        install(guest, repository)
        guest.run("head -c 3000000 /dev/urandom >/root/kept; sync")
        digest = guest.run("sha256sum /root/kept").split()[0]
        guest.send(b"reboot\n")
        guest.expect(rb"Linux version", SYSTEMD_SECONDS)
        log_in(guest)
        assert guest.run("sha256sum /root/kept").split()[0] == digest
        assert guest.run("dpkg-query -W -f '${Status}' trapeze-one") == "install ok installed"
        guest.send(b"poweroff\n")
        assert guest.wait(SYSTEMD_SECONDS) == 0, guest.stderr()
        assert guest.terminal_restored()
    # An orderly end leaves a clean file system.
    run(["/sbin/e2fsck", "-f", "-n", disk])


def check_system(guest, cpus):
    assert guest.run("nproc") == str(cpus)
    guest.run("systemctl is-system-running --wait", SYSTEMD_SECONDS, check=False)
    assert guest.run("systemctl --failed --plain --no-legend", SYSTEMD_SECONDS) == ""
    assert guest.run("cat /proc/1/comm") == "systemd"
    assert re.search(r"^/dev/vda\s+/\s+ext4", guest.run("findmnt -n -o SOURCE,TARGET,FSTYPE /"))
    guest.run("for i in $(seq 60); do ip route | grep -q '^default' && break; sleep 1; done",
              SYSTEMD_SECONDS)
    assert "10.0.2.15" in guest.run("ip -4 addr")


def install(guest, port):
    """apt from a repository on the host, and a package fetched by hand."""
    guest.run(f"echo 'deb [trusted=yes] http://10.0.2.2:{port}/ ./' >/etc/apt/sources.list")
    guest.run("apt-get update", SYSTEMD_SECONDS)
    guest.run("apt-get install -y trapeze-one", SYSTEMD_SECONDS)
    assert guest.run("wc -l </usr/share/trapeze/trapeze-one") == "1000"
    assert guest.run("cat /var/lib/trapeze-one") == "configured"
    guest.run(f"wget -q -O /tmp/two.deb http://10.0.2.2:{port}/trapeze-two_1.0_all.deb",
              COMMAND_SECONDS)
    guest.run("dpkg -i /tmp/two.deb", SYSTEMD_SECONDS)
    assert guest.run("cat /var/lib/trapeze-two") == "configured"
