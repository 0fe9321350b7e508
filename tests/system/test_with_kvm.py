# SPDX-License-Identifier: LGPL-2.1-or-later
"""Other people's programs with our KVM: `trapeze with-kvm`, a client of the tests' own, QEMU."""
import contextlib
import os
import pathlib
import re
import shutil
import socket
import stat
import subprocess
import time

import pexpect
import pytest

HERE = pathlib.Path(__file__).resolve().parent

CASES = ["devices", "two-vms", "mapping", "descriptors", "close-order", "fork", "exec",
         "signal-thread", "cancel", "signal-process", "signal-timer", "signal-jump", "signal-mask",
         "immediate-exit", "cpuid-again", "single-step", "shut-window", "paths",
         "statistics", "dirty-ring"]


def with_kvm(trapeze, *command, timeout=120, **options):
    return subprocess.run([trapeze, "with-kvm", "--", *map(str, command)], text=True, check=False,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          timeout=timeout, **options)


@pytest.fixture(scope="session")
def client(tmp_path_factory):
    program = tmp_path_factory.mktemp("client") / "kvm-client"
    subprocess.run(["gcc", "-std=gnu17", "-D_GNU_SOURCE", "-O1", "-Wall", "-Wextra", "-pthread",
                    HERE / "kvm-client.c", "-o", program], check=True)
    return program


@pytest.mark.parametrize("case", CASES)
def test_client(trapeze, client, case):
    done = with_kvm(trapeze, client, case)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_every_case_of_the_client_runs():
    source = (HERE / "kvm-client.c").read_text()
    assert re.findall(r'^    \{"([a-z-]+)", case_', source, re.M) == CASES


def test_fortified_client(trapeze, tmp_path):
    """A program built with _FORTIFY_SOURCE calls __open64_2."""
    source = tmp_path / "open.c"
    source.write_text("#include <fcntl.h>\n"
                      "#include <sys/ioctl.h>\n"
                      "int main(int argc, char **argv)\n"
                      "{ (void)argv; int fd = open(\"/dev/kvm\", argc > 1 ? O_RDONLY : O_RDWR);\n"
                      "  return ioctl(fd, 0xae00, 0) != 12; }\n")
    subprocess.run(["gcc", "-O2", "-D_FORTIFY_SOURCE=2", "-D_FILE_OFFSET_BITS=64", source,
                    "-o", tmp_path / "open"], check=True)
    symbols = subprocess.run(["nm", "-D", tmp_path / "open"], check=True, text=True,
                             stdout=subprocess.PIPE).stdout
    assert "__open64_2" in symbols
    assert with_kvm(trapeze, tmp_path / "open").returncode == 0


def test_requests_are_logged_on_demand(trapeze, client):
    environment = dict(os.environ, TRAPEZE_KVM_LOG="2")
    done = with_kvm(trapeze, client, "devices", env=environment)
    assert done.returncode == 0
    assert "trapeze-kvm: request 0x0000ae80" in done.stderr


# ---- the command itself

def refused(trapeze, *command):
    """The one line that `with-kvm COMMAND` is refused with."""
    done = with_kvm(trapeze, *command)
    assert done.returncode == 1 and done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("trapeze: with-kvm: ")
    return lines[0]


def test_no_command(trapeze):
    assert "give a command" in refused(trapeze)


def test_missing_program(trapeze):
    assert "/no/such/program" in refused(trapeze, "/no/such/program")


def test_static_program(trapeze, tmp_path):
    assert "statically linked" in refused(trapeze, "/bin/busybox", "true")
    script = tmp_path / "script"
    script.write_text("#!/bin/busybox sh\ntrue\n")
    script.chmod(0o755)
    assert "/bin/busybox is statically linked" in refused(trapeze, script)


def test_setuid_program(trapeze, tmp_path):
    if os.geteuid() != 0:
        pytest.skip("only root can make a program setuid to somebody else")
    program = tmp_path / "setuid"
    shutil.copy("/bin/true", program)
    os.chown(program, 1, 1)
    program.chmod(0o755 | stat.S_ISUID)
    assert "setuid" in refused(trapeze, program)


def test_status_and_output_are_the_programs(trapeze):
    done = with_kvm(trapeze, "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (done.returncode, done.stdout, done.stderr) == (7, "out\n", "err\n")


def test_other_preloaded_libraries_stay(trapeze):
    environment = dict(os.environ, LD_PRELOAD="libc.so.6")
    done = with_kvm(trapeze, "sh", "-c", "echo $LD_PRELOAD", env=environment)
    assert re.fullmatch(r"/\S*/libtrapeze-kvm\.so:libc\.so\.6\n", done.stdout)


def test_doctor_tells(trapeze):
    done = subprocess.run([trapeze, "doctor"], text=True, check=True, stdout=subprocess.PIPE,
                          timeout=60)
    assert re.search(r"^trapeze with-kvm .*/libtrapeze-kvm\.so$", done.stdout, re.M)


# ---- QEMU

class Qemu:
    """Debian's QEMU on our KVM: its serial console, and its monitor."""

    def __init__(self, trapeze, folder, name, *arguments):
        self.monitor_path = folder / f"{name}.monitor"
        self.log = open(folder / f"{name}.log", "w", encoding="utf-8")
        command = ["with-kvm", "--", "qemu-system-x86_64", "-accel", "kvm", "-m", "256",
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
def qemu(trapeze, kernel, initramfs, disk, tmp_path):
    """MACHINE, CPUS, APPEND -> a running Qemu with Debian's kernel, a virtio disk and network."""
    with contextlib.ExitStack() as stack:
        def make(machine, cpus, append, *more, image=None, format="raw"):
            name = f"qemu{len(stack._exit_callbacks)}"
            guest = Qemu(trapeze, tmp_path, name, "-M", machine, "-smp", cpus,
                         "-kernel", kernel().image, "-initrd", initramfs(),
                         "-append", f"console=ttyS0 {append}",
                         "-drive", f"id=d,file={image or disk(name)},format={format},if=none",
                         "-device", "virtio-blk-pci,drive=d",
                         "-netdev", "user,id=n", "-device", "virtio-net-pci,netdev=n", *more)
            stack.callback(guest.close)
            return guest

        yield make


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
