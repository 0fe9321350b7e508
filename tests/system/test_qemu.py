# SPDX-License-Identifier: LGPL-2.1-or-later
"""Debian's QEMU on our KVM: machines, firmware with a boot loader, snapshots, migration."""
import contextlib
import pathlib
import shutil
import socket
import struct
import subprocess
import time

import pexpect
import pytest

class Qemu:
    """Debian's QEMU on our KVM: its serial console, and its monitor."""

    def __init__(self, trapeze, folder, name, *arguments, accel="kvm"):
        self.monitor_path = folder / f"{name}.monitor"
        self.log = open(folder / f"{name}.log", "w", encoding="utf-8")
        command = ["with-kvm", "--", "qemu-system-x86_64", "-accel", accel, "-m", "256",
                   "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
                   "-serial", "stdio", "-monitor", f"unix:{self.monitor_path},server=on,wait=off",
                   *map(str, arguments)]
        self.console = pexpect.spawn(str(trapeze), command, encoding="utf-8",
                                     codec_errors="replace", logfile=self.log, echo=False)

    def expect(self, pattern, timeout=300):
        self.console.expect(pattern, timeout=timeout)
        return self.console.match

    def status(self):
        """Waits for the end: QEMU's exit status."""
        self.expect(pexpect.EOF)
        self.console.wait()
        return self.console.exitstatus

    @contextlib.contextmanager
    def _monitor(self):
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(str(self.monitor_path))
            s.settimeout(120)
            self._answer(s)
            yield s

    def command(self, text):
        """The monitor's answer to one command."""
        with self._monitor() as s:
            s.sendall(f"{text}\n".encode())
            return self._answer(s)

    def quit(self):
        """Tells QEMU to end: its exit status."""
        with self._monitor() as s:
            s.sendall(b"quit\n")
            return self.status()

    @staticmethod
    def _answer(s):
        data = b""
        while not data.endswith(b"(qemu) "):
            part = s.recv(65536)
            assert part, "the monitor's connection ended"
            data += part
        return data.decode(errors="replace")

    def close(self):
        self.console.close(force=True)
        self.log.close()


@pytest.fixture
def start_qemu(trapeze, tmp_path):
    """ARGUMENTS... -> a running Qemu, closed at the end."""
    with contextlib.ExitStack() as stack:
        def make(*arguments, accel="kvm"):
            name = f"qemu{len(stack._exit_callbacks)}"
            guest = Qemu(trapeze, tmp_path, name, *arguments, accel=accel)
            stack.callback(guest.close)
            return guest

        yield make


@pytest.fixture
def qemu(start_qemu, kernel, initramfs, disk, tmp_path):
    """MACHINE, CPUS, APPEND -> a running Qemu with Debian's kernel, a virtio disk and network."""
    def make(machine, cpus, append, *more, image=None, format="raw", accel="kvm"):
        image = image or disk(f"disk{len(list(tmp_path.iterdir()))}")
        return start_qemu("-M", machine, "-smp", cpus,
                          "-kernel", kernel().image, "-initrd", initramfs(),
                          "-append", f"console=ttyS0 {append}",
                          "-drive", f"id=d,file={image},format={format},if=none",
                          "-device", "virtio-blk-pci,drive=d",
                          "-netdev", "user,id=n", "-device", "virtio-net-pci,netdev=n", *more,
                          accel=accel)

    return make


def check_boot(qemu, machine, cpus):
    guest = qemu(machine, cpus, f"trapeze.check trapeze.time={int(time.time())}")
    guest.expect(f"trapeze-check: cpus {cpus}, 0 failed")
    assert guest.status() == 0


def test_qemu_microvm(qemu):
    check_boot(qemu, "microvm,pit=on,pic=on,rtc=on,pcie=on", 2)


@pytest.mark.long
@pytest.mark.parametrize("cpus", [1, 2])
@pytest.mark.parametrize("machine", ["microvm,pit=on,pic=on,rtc=on,pcie=on", "pc", "q35",
                                     "q35,kernel-irqchip=split"])
def test_qemu_boots(qemu, machine, cpus):
    check_boot(qemu, machine, cpus)


SHELL = r"/ # "


def run_in_guest(guest, command):
    """Types COMMAND at the guest's shell; its output's last line."""
    guest.console.sendline(f"{command}; echo status=$?")
    guest.expect(r"status=(\d+)\s")
    assert guest.console.match.group(1) == "0"
    return guest.console.before


@pytest.mark.long
@pytest.mark.parametrize("machine, cpus", [("q35", 2), ("pc", 1)])
def test_qemu_saves_and_loads(qemu, tmp_path, machine, cpus):
    image = tmp_path / "disk.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", image, "64M"], check=True)
    guest = qemu(machine, cpus, "", image=image, format="qcow2")
    guest.expect(SHELL)
    run_in_guest(guest, "echo before >/tmp/state")
    assert "Error" not in guest.command("savevm one")
    run_in_guest(guest, "echo after >/tmp/state")
    assert "Error" not in guest.command("loadvm one")
    guest.console.sendline("")
    assert "before" in run_in_guest(guest, "cat /tmp/state")
    run_in_guest(guest, f"[ $(grep -c ^processor /proc/cpuinfo) = {cpus} ]")
    run_in_guest(guest, "sleep 1")
    assert guest.quit() == 0


# ---- migration

def migrate(source, path):
    """Moves SOURCE's guest to the QEMU that comes up at the unix socket PATH; how it ended."""
    deadline = time.monotonic() + 300
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    source.command("migrate_set_parameter max-bandwidth 1G")
    assert "Error" not in source.command(f"migrate -d unix:{path}")
    while time.monotonic() < deadline:
        told = source.command("info migrate")
        for status in ("completed", "failed", "cancelled"):
            if f"Migration status: {status}" in told:
                return status
        time.sleep(0.3)
    return "still under way"


@pytest.mark.long
@pytest.mark.parametrize("machine, cpus, accel", [
    ("q35", 2, "kvm"), ("pc", 1, "kvm"), ("pc", 2, "kvm,dirty-ring-size=4096"),
    ("q35,kernel-irqchip=split", 1, "kvm")])
def test_qemu_migrates(qemu, disk, tmp_path, machine, cpus, accel):
    image, path = disk("shared"), tmp_path / "migration"
    source = qemu(machine, cpus, "", image=image, accel=accel)
    source.expect(SHELL)
    # Something that keeps memory dirty, and must go on.
    run_in_guest(source, "(while true; do echo >>/tmp/count; done) & true")
    run_in_guest(source, "dd if=/dev/urandom of=/tmp/data bs=1M count=8 2>/dev/null; "
                         "md5sum /tmp/data >/tmp/sum")
    target = qemu(machine, cpus, "", "-incoming", f"unix:{path}", image=image, accel=accel)
    assert migrate(source, path) == "completed"
    assert source.quit() == 0
    target.console.sendline("")
    target.expect(SHELL)
    run_in_guest(target, "md5sum -c /tmp/sum")
    run_in_guest(target, "a=$(wc -c </tmp/count); sleep 1; [ $(wc -c </tmp/count) -gt $a ]")
    run_in_guest(target, f"[ $(grep -c ^processor /proc/cpuinfo) = {cpus} ]")
    run_in_guest(target, "dd if=/dev/vda of=/dev/null bs=1M count=4 2>/dev/null")
    assert target.quit() == 0


# ---- firmware and a boot loader

GRUB = pathlib.Path("/usr/lib/grub/i386-pc")
SECTOR = 512
PARTITION = 2048  # where the first partition starts, in sectors
MENU = """\
serial --unit=0
terminal_input serial
terminal_output serial
linux /vmlinuz console=ttyS0 trapeze.check trapeze.time={time}
initrd /initrd
boot
"""


@pytest.fixture
def bootable(kernel, initramfs, tmp_path):
    """A disk with a boot sector, GRUB behind it, and a file system with a kernel and GRUB's menu; all
    made without root: GRUB's parts find each other by their places on the disk."""
    folder, core, image = tmp_path / "root", tmp_path / "core.img", tmp_path / "boot.img"
    (folder / "boot/grub").mkdir(parents=True)
    shutil.copy(kernel().image, folder / "vmlinuz")
    shutil.copy(initramfs(), folder / "initrd")
    (folder / "boot/grub/grub.cfg").write_text(MENU.format(time=int(time.time())))
    subprocess.run(["grub-mkimage", "-O", "i386-pc", "-o", core, "-p", "(hd0,msdos1)/boot/grub",
                    "biosdisk", "part_msdos", "ext2", "normal", "linux", "serial", "terminal",
                    "configfile"], check=True)
    sectors = (96 << 20) // SECTOR
    with open(image, "wb") as file:
        file.truncate((PARTITION + sectors) * SECTOR)
        file.write((GRUB / "boot.img").read_bytes()[:440])
        file.seek(446)
        # Active, of type Linux; the addresses by cylinder are not used.
        file.write(struct.pack("<B3sB3sII", 0x80, b"\xfe\xff\xff", 0x83, b"\xfe\xff\xff",
                               PARTITION, sectors))
        file.seek(510)
        file.write(b"\x55\xaa")
        assert core.stat().st_size < (PARTITION - 1) * SECTOR
        file.write(core.read_bytes())
    subprocess.run(["/sbin/mke2fs", "-q", "-t", "ext2", "-d", folder, "-E",
                    f"offset={PARTITION * SECTOR}", image, f"{sectors // 2}k"], check=True,
                   stderr=subprocess.DEVNULL)
    return image


@pytest.mark.long
@pytest.mark.parametrize("machine, cpus, drive", [
    ("pc", 1, ["-drive", "file={},format=raw,if=ide"]),
    ("q35", 2, ["-drive", "file={},format=raw,if=none,id=d", "-device", "virtio-blk-pci,drive=d"]),
])
def test_qemu_boots_a_disk(start_qemu, bootable, machine, cpus, drive):
    """SeaBIOS, GRUB, Linux."""
    guest = start_qemu("-M", machine, "-smp", cpus, *(d.format(bootable) for d in drive),
                       "-netdev", "user,id=n", "-device", "virtio-net-pci,netdev=n")
    guest.expect("trapeze-check: cpus %d" % cpus)
    guest.status()
