# SPDX-License-Identifier: LGPL-2.1-or-later
"""Other people's programs with our KVM: `trapeze with-kvm` and a client of the tests' own."""
import os
import pathlib
import re
import shutil
import stat
import subprocess

import pytest

HERE = pathlib.Path(__file__).resolve().parent
CLIENT = HERE / "kvm-client"

CASES = ["devices", "two-vms", "mapping", "descriptors", "close-order", "fork", "exec",
         "signal-thread", "cancel", "unmapped", "signal-process", "signal-timer", "signal-jump", "signal-mask",
         "signal-ignored", "immediate-exit", "cpuid-again", "single-step", "shut-window", "paths",
         "statistics", "dirty-ring"]


def with_kvm(trapeze, *command, timeout=120, **options):
    return subprocess.run([trapeze, "with-kvm", "--", *map(str, command)], text=True, check=False,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          timeout=timeout, **options)


@pytest.fixture(scope="session")
def client(tmp_path_factory):
    program = tmp_path_factory.mktemp("client") / "kvm-client"
    subprocess.run(["gcc", "-std=gnu17", "-D_GNU_SOURCE", "-O1", "-Wall", "-Wextra", "-pthread",
                    "-I", HERE.parent.parent, *CLIENT.glob("*.c"), "-o", program], check=True)
    return program


@pytest.mark.parametrize("case", CASES)
def test_client(trapeze, client, case):
    done = with_kvm(trapeze, client, case)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_every_case_of_the_client_runs():
    source = (CLIENT / "main.c").read_text()
    assert re.findall(r'^    \{"([a-z-]+)", case_', source, re.M) == [*CASES, "translator"]


@pytest.mark.parametrize("asked, does", [
    (None, "translated"), ("", "translated"), ("on", "translated"), ("off", "interpreted"),
    ("check", "translated and compared")])
def test_translator(trapeze, client, asked, does):
    environment = {name: value for name, value in os.environ.items()
                   if name != "TRAPEZE_TRANSLATOR"}
    if asked is not None:
        environment["TRAPEZE_TRANSLATOR"] = asked
    done = with_kvm(trapeze, client, "translator", env=environment)
    assert (done.returncode, done.stdout, done.stderr) == (0, does + "\n", "")


def test_unknown_translator(trapeze):
    environment = dict(os.environ, TRAPEZE_TRANSLATOR="maybe")
    assert "maybe" in refused(trapeze, "true", env=environment)


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

def refused(trapeze, *command, **options):
    """The one line that `with-kvm COMMAND` is refused with."""
    done = with_kvm(trapeze, *command, **options)
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
