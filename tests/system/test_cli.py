# SPDX-License-Identifier: LGPL-2.1-or-later
"""What people type: bad input gives exactly one clear line and status 1; help; doctor; --engine."""
import fcntl
import os
import pathlib
import re
import socket
import struct

import pytest

from console import one_line, run_program

# "{name}" in an argument stands for a file of the `files` fixture.
BAD_RUNS = {
    # name: (arguments, what the line has to mention)
    "no kernel": ([], ["--kernel"]),
    "missing kernel": (["--kernel", "{missing}"], ["--kernel", "{missing}", "No such file"]),
    "kernel is a directory": (["--kernel", "{folder}"], ["--kernel", "{folder}", "directory"]),
    "empty kernel": (["--kernel", "{empty}"], ["--kernel", "{empty}", "empty"]),
    "kernel is text": (["--kernel", "{text}"], ["--kernel", "{text}"]),
    "truncated bzImage": (["--kernel", "{cut}"], ["--kernel", "{cut}"]),
    "bzImage cut in its header": (["--kernel", "{header}"], ["--kernel", "{header}"]),
    "truncated ELF": (["--kernel", "{elf}"], ["--kernel", "{elf}"]),
    "kernel is a device": (["--kernel", "/dev/zero"], ["--kernel", "/dev/zero"]),
    "missing initrd": (["--kernel", "{kernel}", "--initrd", "{missing}"],
                       ["--initrd", "{missing}"]),
    "initrd too large": (["--kernel", "{kernel}", "--initrd", "{large}", "--memory", "64M"],
                         ["--initrd", "{large}", "--memory"]),
    "kernel too large": (["--kernel", "{kernel}", "--memory", "8M"], ["--kernel", "--memory"]),
    "append too long": (["--kernel", "{kernel}", "--append", "x" * 5000], ["--append"]),
    "directory as disk": (["--kernel", "{kernel}", "--disk", "{folder}"],
                          ["--disk", "{folder}", "directory"]),
    "missing disk": (["--kernel", "{kernel}", "--disk", "{missing}"],
                     ["--disk", "{missing}", "o such file"]),
    "missing readonly disk": (["--kernel", "{kernel}", "--disk", "{missing},readonly"],
                              ["--disk", "{missing}"]),
    "empty disk": (["--kernel", "{kernel}", "--disk", "{empty}"], ["--disk", "{empty}"]),
    "disk is a device": (["--kernel", "{kernel}", "--disk", "/dev/null"], ["--disk", "/dev/null"]),
    "bad disk option": (["--kernel", "{kernel}", "--disk", "{large},cache=none"],
                        ["--disk", "cache=none"]),
    "missing image": (["{missing}", "--kernel", "{kernel}"], ["{missing}"]),
    "the same disk twice": (["--kernel", "{kernel}", "--disk", "{large}", "--disk", "{large}"],
                            ["--disk", "{large}", "in use"]),
    "zero memory": (["--kernel", "{kernel}", "--memory", "0"], ["--memory"]),
    "little memory": (["--kernel", "{kernel}", "--memory", "3M"], ["--memory"]),
    "negative memory": (["--kernel", "{kernel}", "--memory", "-1G"], ["--memory"]),
    "memory is no number": (["--kernel", "{kernel}", "--memory", "much"], ["--memory", "much"]),
    "memory more than the host's": (["--kernel", "{kernel}", "--memory", "440G"], ["--memory"]),
    "memory too large": (["--kernel", "{kernel}", "--memory", "100T"], ["--memory"]),
    "memory overflows": (["--kernel", "{kernel}", "--memory", "99999999999999999999"],
                         ["--memory"]),
    "memory overflows by its unit": (["--kernel", "{kernel}", "--memory", "17592186044417M"],
                                     ["--memory"]),
    "zero vCPUs": (["--kernel", "{kernel}", "--cpus", "0"], ["--cpus"]),
    "too many vCPUs": (["--kernel", "{kernel}", "--cpus", "256"], ["--cpus"]),
    "unknown flag": (["--kernel", "{kernel}", "--memroy", "1G"], ["--memroy", "--memory"]),
    "flag with one dash": (["-kernel", "{kernel}"], ["-kernel", "two dashes"]),
    "flag without its value": (["--kernel"], ["--kernel", "value"]),
    "switch with a value": (["--kernel", "{kernel}", "--stats=yes"], ["--stats"]),
    "unknown CPU feature": (["--kernel", "{kernel}", "--cpu", "trapeze-v1,+warp"],
                            ["--cpu", "warp"]),
    "unknown CPU model": (["--kernel", "{kernel}", "--cpu", "pentium"], ["--cpu", "pentium"]),
    "bad CPU vendor": (["--kernel", "{kernel}", "--cpu", "trapeze-v0,vendor=me"],
                       ["--cpu", "vendor=me"]),
    "bad physical bits": (["--kernel", "{kernel}", "--cpu", "trapeze-v0,phys-bits=99"],
                          ["--cpu", "phys-bits=99"]),
    "empty CPU model": (["--kernel", "{kernel}", "--cpu", ""], ["--cpu"]),
    "unknown network": (["--kernel", "{kernel}", "--net", "bridge"], ["--net", "bridge"]),
    "bad forward": (["--kernel", "{kernel}", "--net", "user,forward=2222"],
                    ["--net", "forward=2222"]),
    "bad forward port": (["--kernel", "{kernel}", "--net", "user,forward=tcp::70000-:22"],
                         ["--net", "70000"]),
    "unknown network option": (["--kernel", "{kernel}", "--net", "user,speed=fast"],
                               ["--net", "speed=fast"]),
    "port in use": (["--kernel", "{kernel}", "--net", "user,forward=tcp:127.0.0.1:{port}-:22"],
                    ["--net", "{port}", "in use"]),
    "unknown serial": (["--kernel", "{kernel}", "--serial", "tape"], ["--serial", "tape"]),
    "serial file in no folder": (["--kernel", "{kernel}", "--serial", "file:{missing}/log"],
                                 ["--serial", "{missing}/log"]),
    "serial file is a directory": (["--kernel", "{kernel}", "--serial", "file:{folder}"],
                                   ["--serial", "{folder}"]),
    "serial socket in no folder": (["--kernel", "{kernel}", "--serial", "unix:{missing}/s"],
                                   ["--serial", "{missing}/s"]),
    "serial socket over a file": (["--kernel", "{kernel}", "--serial", "unix:{text}"],
                                  ["--serial", "{text}"]),
    "serial socket path too long": (["--kernel", "{kernel}", "--serial", "unix:/tmp/" + "x" * 120],
                                    ["--serial", "long"]),
    "serial without a path": (["--kernel", "{kernel}", "--serial", "file:"], ["--serial"]),
    "unknown engine": (["--kernel", "{kernel}", "--engine", "warp"], ["--engine", "warp"]),
    "unknown QMP address": (["--kernel", "{kernel}", "--qmp", "tcp:4444"], ["--qmp", "tcp:4444"]),
    "QMP without a path": (["--kernel", "{kernel}", "--qmp", "unix:"], ["--qmp", "PATH"]),
    "QMP as a client": (["--kernel", "{kernel}", "--qmp", "unix:/tmp/q,server=off"],
                        ["--qmp", "server=on"]),
    "QMP socket in no folder": (["--kernel", "{kernel}", "--qmp", "unix:{missing}/q"],
                                ["--qmp", "{missing}/q"]),
    "QMP socket over a file": (["--kernel", "{kernel}", "--qmp", "unix:{text}"],
                               ["--qmp", "{text}"]),
    "QMP on a descriptor that is no socket": (["--kernel", "{kernel}", "--qmp", "fd:9"],
                                              ["--qmp", "fd:9"]),
    "QMP on standard error": (["--kernel", "{kernel}", "--qmp", "fd:2"], ["--qmp", "fd:2"]),
    "unknown debugger address": (["--kernel", "{kernel}", "--gdb", "1234"], ["--gdb", "1234"]),
    "bad debugger port": (["--kernel", "{kernel}", "--gdb", "tcp::70000"], ["--gdb", "70000"]),
    "debugger address by name": (["--kernel", "{kernel}", "--gdb", "tcp:localhost:1"],
                                 ["--gdb", "numbers"]),
    "debugger port in use": (["--kernel", "{kernel}", "--gdb", "tcp::{port}"],
                             ["--gdb", "{port}", "in use"]),
    "debugger socket over a file": (["--kernel", "{kernel}", "--gdb", "unix:{text}"],
                                    ["--gdb", "{text}"]),
    "nobody to start it": (["--kernel", "{kernel}", "--paused"], ["--paused", "--qmp", "--gdb"]),
    "bad UUID": (["--kernel", "{kernel}", "--uuid", "17"], ["--uuid", "17"]),
    "empty name": (["--kernel", "{kernel}", "--name", ""], ["--name"]),
    "pidfile in no folder": (["--kernel", "{kernel}", "--pidfile", "{missing}/pid"],
                             ["--pidfile", "{missing}/pid"]),
    "bad translator": (["--kernel", "{kernel}", "--translator", "maybe"],
                       ["--translator", "maybe", "check"]),
    "bad address to trace": (["--kernel", "{kernel}", "--trace-translation", "main"],
                             ["--trace-translation", "main", "hexadecimal"]),
    "a trace of nothing": (["--kernel", "{kernel}", "--engine", "software", "--translator", "off",
                            "--trace-translation", "0x1000"],
                           ["--trace-translation", "--translator on"]),
    "perf's map of nothing": (["--kernel", "{kernel}", "--engine", "software", "--translator", "off",
                               "--perf-map"], ["--perf-map", "--translator on"]),
    "bad PIT": (["--kernel", "{kernel}", "--pit", "maybe"], ["--pit", "maybe"]),
}


def elf_header():
    """An ELF64 header whose program headers lie beyond the file's end."""
    return (b"\x7fELF\x02\x01\x01" + bytes(9) +
            struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, 0x1000000, 64, 0, 0, 64, 56, 3, 64, 0, 0))


@pytest.fixture(scope="module")
def files(tmp_path_factory, kernel):
    folder = tmp_path_factory.mktemp("cli")
    image = kernel("cloud-amd64").image
    paths = {name: folder / name for name in ["missing", "folder", "empty", "text", "cut", "header",
                                              "elf", "large"]}
    paths["folder"].mkdir()
    paths["empty"].touch()
    paths["text"].write_text("This is no kernel.\n" * 1000)
    paths["cut"].write_bytes(image.read_bytes()[:1 << 20])
    paths["header"].write_bytes(image.read_bytes()[:0x210])
    paths["elf"].write_bytes(elf_header())
    with open(paths["large"], "wb") as file:
        file.truncate(256 << 20)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield {**paths, "kernel": image, "port": listener.getsockname()[1]}


@pytest.mark.parametrize("name", BAD_RUNS)
def test_bad_input_gives_one_line(trapeze, files, name):
    arguments, mentioned = BAD_RUNS[name]
    done = run_program(trapeze, "run", "--engine", "software",
                       *[argument.format(**files) for argument in arguments])
    assert done.returncode == 1
    assert one_line(done.stderr), done.stderr
    assert done.stdout == ""
    for word in mentioned:
        assert word.format(**files) in done.stderr
    assert files["text"].read_text().startswith("This is no kernel."), "a file was overwritten"


def test_disk_in_use(trapeze, files, disk):
    path = disk()
    with open(path, "r+b") as holder:
        # As another machine's lock: of the open file, over all of it.
        lock = struct.pack("hhqqixxxx", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        fcntl.fcntl(holder, fcntl.F_OFD_SETLK, lock)
        done = run_program(trapeze, "run", "--kernel", files["kernel"], "--disk", path)
    assert done.returncode == 1
    assert one_line(done.stderr) and str(path) in done.stderr and "in use" in done.stderr


def test_a_disk_that_may_not_be_written(trapeze, files, disk):
    if os.getuid() == 0:
        pytest.skip("root may write everything")
    path = disk()
    path.chmod(0o444)
    done = run_program(trapeze, "run", "--kernel", files["kernel"], "--disk", path)
    assert done.returncode == 1
    assert one_line(done.stderr) and "readonly" in done.stderr


def test_unknown_translator_in_the_environment(trapeze, files):
    done = run_program(trapeze, "run", "--kernel", files["kernel"], "--engine", "software",
                       env=dict(os.environ, TRAPEZE_TRANSLATOR="maybe"))
    assert (done.returncode, done.stdout) == (1, "")
    assert one_line(done.stderr) and "TRAPEZE_TRANSLATOR" in done.stderr and "maybe" in done.stderr


def test_engine_kvm_where_there_is_none(trapeze, files):
    if os.path.exists("/dev/kvm") and os.access("/dev/kvm", os.R_OK | os.W_OK):
        pytest.skip("/dev/kvm can be opened here")
    done = run_program(trapeze, "run", "--kernel", files["kernel"], "--engine", "kvm")
    assert done.returncode == 1
    assert one_line(done.stderr) and "/dev/kvm" in done.stderr


@pytest.mark.parametrize("arguments", [[], ["fly"], ["doctor", "--fast"], ["help", "weather"]],
                         ids=lambda words: " ".join(words) or "nothing")
def test_bad_commands(trapeze, arguments):
    done = run_program(trapeze, *arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert one_line(done.stderr)


@pytest.mark.parametrize("arguments", [["--help"], ["help"], ["-h"]], ids=" ".join)
def test_help(trapeze, arguments):
    done = run_program(trapeze, *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    for command in ["run", "doctor", "help", "version"]:
        assert re.search(rf"(?m)^ +{command} ", done.stdout)


@pytest.mark.parametrize("arguments", [["run", "--help"], ["help", "run"]], ids=" ".join)
def test_help_of_run_names_every_flag(trapeze, arguments):
    done = run_program(trapeze, *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    for flag in ["kernel", "initrd", "append", "memory", "cpus", "disk", "net", "serial", "engine",
                 "translator", "cpu", "pit", "qmp", "gdb", "paused", "name", "uuid", "pidfile",
                 "no-reboot", "no-shutdown", "stats", "verbose"]:
        assert re.search(rf"(?m)^ +--{flag}\b", done.stdout), flag
    assert "Ctrl-A x" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 100


def test_help_cpu_lists_models_and_features(trapeze):
    done = run_program(trapeze, "help", "cpu")
    assert (done.returncode, done.stderr) == (0, "")
    assert {"trapeze-v1", "trapeze-v0", "host", "avx2", "aes"} <= set(re.findall(r"[\w-]+",
                                                                              done.stdout))


def test_version(trapeze):
    done = run_program(trapeze, "--version")
    assert done.returncode == 0
    assert re.fullmatch(r"trapeze \d+(\.\d+)+\n", done.stdout)


def test_doctor(trapeze):
    done = run_program(trapeze, "doctor")
    assert (done.returncode, done.stderr) == (0, "")
    lines = {line[:18].strip(): line[18:] for line in done.stdout.splitlines()}
    assert set(lines) >= {"processor", "/dev/kvm", "TAP", "huge pages", "user namespaces",
                          "--engine auto", "advice"}
    assert re.match(r"(kvm|software), because ", lines["--engine auto"])
    assert all(lines.values())


def only_emulates():
    """Whether /dev/kvm is there though the processor has no virtualization; or why not to tell."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "/dev/kvm cannot be opened here"
    flags = re.search(r"(?m)^flags\s*:(.*)$", pathlib.Path("/proc/cpuinfo").read_text())
    if flags and {"vmx", "svm"} & set(flags.group(1).split()):
        return "this processor virtualizes"
    return None


def test_engine_auto_sees_through_an_emulating_kvm(trapeze, image):
    reason = only_emulates()
    if reason:
        pytest.skip(f"needs a machine whose /dev/kvm only emulates: {reason}")
    done = run_program(trapeze, "run", "--kernel", image(), "--append", "exit=1", "--net", "none")
    assert done.returncode == 3
    assert one_line(done.stderr)
    assert re.match(r"trapeze: engine software: /dev/kvm .*emulates", done.stderr)
    doctor = run_program(trapeze, "doctor")
    assert re.search(r"(?m)^--engine auto +software, because /dev/kvm .*emulates", doctor.stdout)


def test_engine_auto_says_what_it_took(trapeze, image):
    done = run_program(trapeze, "run", "--kernel", image(), "--append", "exit=1", "--net", "none")
    assert done.returncode == 3
    assert re.fullmatch(r"trapeze: engine (software|kvm): .+\n", done.stderr)


def test_a_named_engine_is_not_announced(trapeze, image):
    done = run_program(trapeze, "run", "--kernel", image(), "--append", "exit=1", "--net", "none",
                       "--engine", "software")
    assert (done.returncode, done.stderr) == (3, "")
