# SPDX-License-Identifier: LGPL-2.1-or-later
"""Small multiboot images (images/image.c): boot information, the debug-exit status, the serial
port's back-ends, resets.  They end within a second, so what needs no Linux is tested with them."""
import os
import re
import signal
import socket
import time

import pytest

from console import BOOT_SECONDS, COMMAND_SECONDS, END_SECONDS, one_line, run_program

KINDS = ["elf", "flat"]
MEBI = 1 << 20


@pytest.fixture
def run_image(trapeze, image):
    """Runs the test image with WORDS as its command line and more flags; the CompletedProcess."""
    def run(words, *arguments, kind="elf", **options):
        return run_program(trapeze, "run", "--kernel", image(kind), "--append", words, "--net",
                           "none", "--engine", "software", *arguments, **options)

    return run


def image_arguments(path, words):
    return ["--kernel", path, "--append", words, "--net", "none", "--engine", "software"]


def wait_for(condition, what):
    """Waits until CONDITION gives something true; returns it."""
    end = time.monotonic() + COMMAND_SECONDS
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError(f"{what}: not within {COMMAND_SECONDS:.0f} s")


# ---- status and boot information ----

@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [0, 1, 5, 127])
def test_debug_exit_status(run_image, kind, value):
    done = run_image(f"exit={value}", kind=kind)
    assert done.returncode == (value << 1) | 1, done.stderr
    assert done.stdout == "magic 0x000000002badb002\n"


@pytest.mark.parametrize("kind", KINDS)
def test_bss_is_zero(run_image, kind):
    done = run_image("bss exit=3", kind=kind)
    assert (done.returncode, done.stdout.splitlines()[1:]) == (7, ["bss zero"]), done.stderr


@pytest.mark.parametrize("kind", KINDS)
def test_command_line(run_image, image, kind):
    done = run_image("info some=word  'quoted text' exit=0", kind=kind)
    assert done.returncode == 1, done.stderr
    # The first word is the image's own name, as boot loaders do it.
    assert f"cmdline [{image(kind)} info some=word  'quoted text' exit=0]" in done.stdout


@pytest.mark.parametrize("kind", KINDS)
def test_modules(run_image, tmp_path, kind):
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_text("one " * 2000)
    second.write_text("two")
    done = run_image("info exit=0", "--initrd", f"{first} with arguments,{second}", kind=kind)
    assert done.returncode == 1, done.stderr
    modules = re.findall(r"module 0x(\w+) 0x(\w+) \[(.*?)\] (.*)", done.stdout)
    assert [(int(size, 16), text, content) for _, size, text, content in modules] == [
        (8000, f"{first} with arguments", "one " * 2000), (3, str(second), "two")]
    starts = [int(start, 16) for start, *_ in modules]
    assert all(start % 4096 == 0 for start in starts)
    assert starts[0] + 8000 <= starts[1]


def memory_map(text):
    return [tuple(int(word, 16) for word in line.split()[1:])
            for line in text.splitlines() if line.startswith("range ")]


@pytest.mark.parametrize("memory", ["16M", "512M", "2G", "3G", "6G"])
def test_memory_map(run_image, memory):
    size = int(memory[:-1]) << (30 if memory[-1] == "G" else 20)
    host = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if size > host:
        pytest.skip(f"this host has {host // MEBI} MiB of memory")
    done = run_image("info exit=0", "--memory", memory)
    assert done.returncode == 1, done.stderr
    ranges = sorted(memory_map(done.stdout))
    assert ranges
    for (base, length, _), (following, *_) in zip(ranges, ranges[1:]):
        assert base + length <= following, "ranges overlap"
    usable = [(base, length) for base, length, kind in ranges if kind == 1]
    # The tables and the first megabyte's holes take something, but not much.
    assert size - 2 * MEBI <= sum(length for _, length in usable) <= size
    above = sum(length for base, length in usable if base >= 4 << 30)
    low_end = max(base + length for base, length in usable if base < 4 << 30)
    assert (above > 0) == (size >= 3 << 30)
    upper = int(re.search(r"upper 0x(\w+)", done.stdout).group(1), 16) << 10
    assert abs(upper + MEBI - low_end) < 2 * MEBI


def test_memory_map_does_not_depend_on_vcpus(run_image):
    with_one = memory_map(run_image("info exit=0").stdout)
    with_four = memory_map(run_image("info exit=0", "--cpus", "4").stdout)
    assert with_one and with_one == with_four


def test_module_too_large_for_memory(run_image, tmp_path):
    module = tmp_path / "module"
    with open(module, "wb") as file:
        file.truncate(64 << 20)
    done = run_image("exit=0", "--initrd", module, "--memory", "16M")
    assert done.returncode == 1
    assert "--initrd" in done.stderr and str(module) in done.stderr and "--memory" in done.stderr


# ---- resets ----

@pytest.mark.parametrize("way", ["reset", "keyboard"])
def test_no_reboot_ends_at_a_reset(run_image, way):
    done = run_image(way, "--no-reboot")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("magic") == 1


def test_no_reboot_tells_of_a_triple_fault(run_image):
    done = run_image("triple", "--no-reboot")
    assert done.returncode == 1
    assert one_line(done.stderr) and "triple fault" in done.stderr


@pytest.mark.parametrize("way", ["reset", "keyboard", "triple"])
def test_reset_boots_again(start, image, way):
    with start(*image_arguments(image(), f"bss {way}")) as guest:
        for _ in range(3):
            guest.expect(b"magic 0x000000002badb002", BOOT_SECONDS)
            guest.expect(b"bss zero", BOOT_SECONDS)
        guest.quit()
        assert guest.wait() == 0


# ---- the serial port's back-ends ----

def test_serial_stdio_on_pipes(run_image):
    done = run_image("echo exit=1", stdin=None, input="hello q")
    assert done.returncode == 3, done.stderr
    assert "echo\nhello q\n" in done.stdout


def test_serial_stdio_on_a_terminal(start, image):
    with start(*image_arguments(image(), "echo exit=1")) as guest:
        guest.expect(b"echo\r?\n")
        # Ctrl-A Ctrl-A is one Ctrl-A; Ctrl-C, Ctrl-Z and carriage returns go to the guest.
        guest.send(b"a\x01\x01\x03\x1a\rq")
        guest.expect(rb"a\x01\x03\x1a\rq")
        assert guest.wait() == 3
        assert guest.terminal_restored()


def test_serial_file(run_image, tmp_path):
    path = tmp_path / "serial.log"
    path.write_text("what was there before " * 100)
    done = run_image("bss exit=2", "--serial", f"file:{path}")
    assert (done.returncode, done.stdout) == (5, ""), done.stderr
    assert path.read_text() == "magic 0x000000002badb002\nbss zero\n"


def test_serial_none(run_image):
    done = run_image("info exit=2", "--serial", "none")
    assert (done.returncode, done.stdout) == (5, ""), done.stderr


def exchange(path, data):
    """Connects to the socket PATH, sends DATA and waits for its echo; None if it was turned away."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(COMMAND_SECONDS)
        received = b""
        try:
            client.connect(str(path))
            client.sendall(data)
            while data not in received:
                part = client.recv(100)
                if not part:
                    return None
                received += part
        except ConnectionError:
            return None
        return received


def test_serial_unix(start, image, tmp_path):
    path = tmp_path / "serial.sock"
    with start(*image_arguments(image(), "echo exit=1"), "--serial", f"unix:{path}") as guest:
        wait_for(lambda: path.exists() and exchange(path, b"abc"), "an answer on the socket")
        # The next one finds the same port, as soon as the first has been seen to go.
        wait_for(lambda: exchange(path, b"xq"), "an answer to the second client")
        assert guest.wait() == 3
        assert not path.exists()


def test_serial_pty(start, image):
    with start(*image_arguments(image(), "echo exit=1"), "--serial", "pty") as guest:
        name = wait_for(lambda: re.search(r"serial port on (/dev/\S+)", guest.stderr()),
                        "the pty's name").group(1)
        line = os.open(name, os.O_RDWR | os.O_NOCTTY)
        try:
            received = b""
            os.write(line, b"ab")
            while b"ab" not in received:
                received += os.read(line, 100)
            os.write(line, b"q")
        finally:
            os.close(line)
        assert guest.wait() == 3


# ---- leaving, and the terminal ----

def test_ctrl_a_x_leaves(start, image):
    with start(*image_arguments(image(), "hang")) as guest:
        guest.expect(b"hanging")
        assert not guest.terminal_restored(), "the terminal was never taken"
        guest.send(b"\x01h")
        guest.expect(b"Ctrl-A x ")
        guest.quit()
        assert guest.wait() == 0
        assert guest.terminal_restored()


@pytest.mark.parametrize("numbers", [[signal.SIGTERM] * 2, [signal.SIGINT] * 2, [signal.SIGHUP],
                                     [signal.SIGQUIT], [signal.SIGSEGV], [signal.SIGABRT]],
                         ids=lambda numbers: "+".join(n.name for n in numbers))
def test_signals_end_it_and_restore_the_terminal(start, image, numbers):
    with start(*image_arguments(image(), "hang")) as guest:
        guest.expect(b"hanging")
        for i, number in enumerate(numbers):
            if i:  # two at once would be one
                wait_for(lambda: "power button" in guest.stderr(), "the answer to the first signal")
            guest.signal(number)
        status = guest.wait()
        assert status in (-numbers[0], 128 + numbers[0]), guest.stderr()
        assert guest.terminal_restored()


def test_stop_and_continue_give_and_take_the_terminal(start, image):
    with start(*image_arguments(image(), "hang")) as guest:
        guest.expect(b"hanging")
        taken = not guest.terminal_restored()
        guest.signal(signal.SIGTSTP)
        wait_for(guest.terminal_restored, "the terminal, restored at a stop")
        guest.signal(signal.SIGCONT)
        wait_for(lambda: not guest.terminal_restored(), "the terminal, taken at continuing")
        assert taken
        guest.quit()
        assert guest.wait(END_SECONDS) == 0


def test_a_terminal_that_goes_away(trapeze, image, start):
    guest = start(*image_arguments(image(), "hang"))
    guest.expect(b"hanging")
    os.close(guest.master)  # as when a terminal window is closed
    try:
        assert guest.process.wait(END_SECONDS) in (-signal.SIGHUP, 128 + signal.SIGHUP)
    finally:
        guest.process.kill()
        guest.process.wait()
        guest.master = -1


def test_sixteen_vcpus(run_image):
    done = run_image("exit=9", "--cpus", "16")
    assert done.returncode == 19, done.stderr


def test_stats(run_image):
    done = run_image("exit=0", "--stats")
    assert done.returncode == 1
    assert "engine: software" in done.stderr
    assert re.search(r"(?m)^ +PIO +\d+$", done.stderr)
