# SPDX-License-Identifier: LGPL-2.1-or-later
"""Debian's kernels, and small initramfs images for them: for the demo, the tests and the benchmarks.

Kernels come unmodified from Debian's packages (apt-get download, dpkg-deb -x) into a cache folder,
$TRAPEZE_CACHE or ~/.cache/trapeze.  The initramfs holds Debian's static busybox, the modules that a
guest of ours needs, from the kernel's own package, and demo/init.
"""
import gzip
import os
import pathlib
import shutil
import stat
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent

# Loaded by the guest's init in this order (their dependencies first); those that a kernel has built in
# are left out.
MODULES = ["virtio_pci", "virtio_blk", "virtio_net", "virtio-rng", "virtio_console", "button", "evdev",
           "ext4"]


class GuestError(Exception):
    """Something about the guest's files is wrong; the message says what and what to do."""


def cache_dir():
    path = pathlib.Path(os.environ.get("TRAPEZE_CACHE", "~/.cache/trapeze")).expanduser()
    path.mkdir(parents=True, exist_ok=True)
    return path


def run(command, **options):
    try:
        return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, **options).stdout
    except FileNotFoundError as error:
        raise GuestError(f"{command[0]} is not installed: run scripts/packages first") from error
    except subprocess.CalledProcessError as error:
        raise GuestError(f"{' '.join(map(str, command))} failed: {error.stderr.strip()}") from error


class Kernel:
    """A kernel of Debian's, unpacked: its image, its modules, its version."""

    def __init__(self, root):
        self.root = pathlib.Path(root)
        images = sorted(self.root.glob("boot/vmlinuz-*"))
        if not images:
            raise GuestError(f"{root}: no boot/vmlinuz-* in it; delete the folder and try again")
        self.image = images[-1]
        self.version = self.image.name[len("vmlinuz-"):]
        self.modules = self.root / "lib/modules" / self.version


def fetch_kernel(flavour="cloud-amd64"):
    """Debian's current kernel of FLAVOUR (cloud-amd64, amd64, rt-amd64), downloaded once."""
    meta = f"linux-image-{flavour}"
    depends = run(["apt-cache", "depends", meta])
    names = [line.split()[-1] for line in depends.splitlines() if "Depends: linux-image" in line]
    if not names:
        raise GuestError(f"apt knows no package {meta}: run `apt-get update` as root first")
    target = cache_dir() / "kernels" / names[0]
    if not (target / "complete").exists():
        if target.exists():
            shutil.rmtree(target)
        target.mkdir(parents=True)
        print(f"fetching Debian's {names[0]}", file=sys.stderr)
        run(["apt-get", "download", names[0]], cwd=target)
        package = next(target.glob("*.deb"))
        run(["dpkg-deb", "-x", package, target])
        package.unlink()
        kernel = Kernel(target)
        run(["/sbin/depmod", "-b", target, kernel.version])
        (target / "complete").touch()
    return Kernel(target)


def module_files(kernel, names):
    """Paths, relative to the module folder, of NAMES and what they need, dependencies first."""
    needs = {}
    for line in (kernel.modules / "modules.dep").read_text().splitlines():
        path, _, rest = line.partition(":")
        needs[path] = rest.split()
    by_name = {pathlib.Path(p).name.split(".ko")[0].replace("-", "_"): p for p in needs}
    order = []
    for name in names:
        path = by_name.get(name.replace("-", "_"))
        if path:
            # modules.dep lists what a module needs nearest first.
            order += [p for p in [*reversed(needs[path]), path] if p not in order]
    return order


class Cpio:
    """Writes an initramfs in the `newc` format (kernel's Documentation, early userspace)."""

    def __init__(self):
        self.parts = []
        self.number = 0

    def add(self, name, data=b"", mode=stat.S_IFREG | 0o644, device=(0, 0)):
        self.number += 1
        encoded = name.encode() + b"\0"
        fields = [self.number, mode, 0, 0, 1, 0, len(data), 0, 0, device[0], device[1],
                  len(encoded), 0]
        header = b"070701" + b"".join(b"%08X" % f for f in fields) + encoded
        self.parts.append(header + b"\0" * (-len(header) % 4) + data + b"\0" * (-len(data) % 4))

    def folder(self, name):
        self.add(name, mode=stat.S_IFDIR | 0o755)

    def link(self, name, target):
        self.add(name, target.encode(), mode=stat.S_IFLNK | 0o777)

    def bytes(self):
        self.add("TRAILER!!!", mode=0)
        return b"".join(self.parts)


def build_initramfs(kernel, path, init=None, files=None):
    """Writes an initramfs for KERNEL to PATH: busybox, modules, INIT (demo/init if None) as /init,
    and FILES, a dictionary of guest path to host path (kept executable)."""
    busybox = pathlib.Path("/bin/busybox")
    if not busybox.exists():
        raise GuestError("/bin/busybox is not there: install the package busybox-static")
    archive = Cpio()
    for name in ["bin", "dev", "etc", "lib", "lib/modules", "proc", "root", "sys", "tmp", "mnt"]:
        archive.folder(name)
    archive.add("dev/console", mode=stat.S_IFCHR | 0o600, device=(5, 1))
    archive.add("dev/null", mode=stat.S_IFCHR | 0o666, device=(1, 3))
    archive.add("bin/busybox", busybox.read_bytes(), mode=stat.S_IFREG | 0o755)
    archive.link("bin/sh", "busybox")
    names = []
    for file in module_files(kernel, MODULES):
        name = pathlib.Path(file).name
        archive.add(f"lib/modules/{name}", (kernel.modules / file).read_bytes())
        names.append(name)
    archive.add("lib/modules/order", ("\n".join(names) + "\n").encode())
    script = pathlib.Path(init) if init else HERE / "init"
    archive.add("init", script.read_bytes(), mode=stat.S_IFREG | 0o755)
    archive.add("bin/dhcp-event", (HERE / "dhcp-event").read_bytes(), mode=stat.S_IFREG | 0o755)
    for guest, host in (files or {}).items():
        archive.add(guest.lstrip("/"), pathlib.Path(host).read_bytes(), mode=stat.S_IFREG | 0o755)
    pathlib.Path(path).write_bytes(gzip.compress(archive.bytes(), 1))
    return path
