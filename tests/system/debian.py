# SPDX-License-Identifier: LGPL-2.1-or-later
"""Debian root file systems on disks, made by mmdebstrap, and the guests that run them."""
import functools
import hashlib
import os
import shutil
import subprocess

import pytest

import guest as demo_guest
from conftest import HERE
from console import BOOT_SECONDS

SUITE = "bookworm"
PACKAGES = ["systemd-sysv", "udev", "dbus", "login", "passwd", "iproute2", "apt",
            "wget", "kmod", "procps", "iputils-ping"]
PASSWORD = "trapeze"
SYSTEMD_SECONDS = 4 * BOOT_SECONDS

# What makes it a guest: a password, networking by DHCP, no waiting for it; and patience, for a slow
# host (see also APPEND).
TIMEOUTS = ["DefaultTimeoutStartSec", "DefaultTimeoutStopSec", "DefaultDeviceTimeoutSec"]
APPEND = "root=/dev/vda console=ttyS0 systemd.service_watchdogs=no"
CUSTOMIZE = [
    "mkdir -p \"$1/etc/systemd/system.conf.d\"",
    "printf '[Manager]\\n" + "".join(f"{name}=30min\\n" for name in TIMEOUTS) +
    "' >\"$1/etc/systemd/system.conf.d/patience.conf\"",
    f"echo root:{PASSWORD} | chroot \"$1\" chpasswd",
    "echo trapeze-guest >\"$1/etc/hostname\"",
    "printf '[Match]\\nName=e*\\n[Network]\\nDHCP=yes\\n' >\"$1/etc/systemd/network/20-wired.network\"",
    "chroot \"$1\" systemctl enable systemd-networkd",
    "chroot \"$1\" systemctl disable systemd-networkd-wait-online",
    "echo '/dev/vda / ext4 defaults 0 1' >\"$1/etc/fstab\"",
    "rm -rf \"$1\"/var/lib/apt/lists/* \"$1\"/etc/apt/sources.list \"$1\"/etc/apt/sources.list.d/*",
]


def run(command, **options):
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          check=False, **options)
    assert done.returncode == 0, f"{' '.join(map(str, command))}:\n{done.stdout[-4000:]}"


def as_root():
    """What a command that has to keep owners and devices is put behind."""
    if os.getuid() == 0:
        return []
    if shutil.which("fakeroot"):
        return ["fakeroot"]
    pytest.skip("needs root or fakeroot, to build a root file system")
    return None


@functools.lru_cache
def root_archive(more=(), hooks=()):
    """The root file system, with the packages MORE and after the commands HOOKS, as a tar file that is
    kept in the cache under its contents' names."""
    if not shutil.which("mmdebstrap"):
        pytest.skip("needs mmdebstrap")
    packages, customize = PACKAGES + list(more), list(hooks) + CUSTOMIZE
    key = hashlib.sha256(repr((SUITE, packages, customize)).encode()).hexdigest()[:16]
    path = demo_guest.cache_dir() / f"debian-{SUITE}-{key}.tar"
    if not path.exists():
        unfinished = path.with_suffix(f".{os.getpid()}.tar")
        try:
            run(["mmdebstrap", "--variant=minbase", f"--include={','.join(packages)}",
                 f"--mode={'root' if os.getuid() == 0 else 'unshare'}",
                 *[f"--customize-hook={hook}" for hook in customize], SUITE, unfinished])
            unfinished.rename(path)
        finally:
            unfinished.unlink(missing_ok=True)
    return path


def make_disk(archive, folder, size):
    """A disk image of SIZE bytes with an ext4 file system of ARCHIVE's contents."""
    prefix = as_root()
    root, image = folder / "root", folder / "debian.img"
    root.mkdir()
    with open(image, "wb") as file:
        file.truncate(size)
    run([*prefix, "sh", "-ec", f"tar -C {root} --numeric-owner -xf {archive}; "
         f"/sbin/mke2fs -q -F -t ext4 -d {root} {image}"])
    run([*prefix, "rm", "-rf", str(root)])
    return image


def arguments(kernel, initramfs, disk, cpus, memory):
    """What `trapeze run` is told to boot DISK."""
    return ["--kernel", kernel("cloud-amd64").image,
            "--initrd", initramfs("cloud-amd64", (HERE / "root-init").read_text()),
            "--append", APPEND, "--disk", disk, "--memory", memory,
            "--cpus", cpus, "--engine", "software"]


def log_in(guest):
    guest.expect(rb"trapeze-guest login: ", SYSTEMD_SECONDS)
    guest.send(b"root\n")
    guest.expect(rb"Password: ", SYSTEMD_SECONDS)
    guest.send(PASSWORD.encode() + b"\n")
    guest.expect(rb"root@trapeze-guest:~# ", SYSTEMD_SECONDS)
    guest.run("dmesg -n 1; bind 'set enable-bracketed-paste off'; PS1='# '", check=False)
