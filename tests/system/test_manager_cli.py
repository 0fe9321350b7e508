# SPDX-License-Identifier: LGPL-2.1-or-later
"""`trapeze list`, `info`, `define`, `undefine`, `start`, `stop` and `console`."""
import json
import os
import subprocess

import pexpect
import pytest

from console import BOOT_SECONDS, COMMAND_SECONDS
from manager import Trapezed
from test_manager_kill import describe, kernel_image

PROMPT = "/ # "


@pytest.fixture
def daemon(trapeze):
    with Trapezed(trapeze.parent) as daemon:
        yield daemon


@pytest.fixture
def cli(trapeze, daemon):
    """WORDS... -> the CompletedProcess of `trapeze WORDS...`."""
    def run(*words, **options):
        environment = dict(os.environ, TRAPEZE_SOCKET_DIR=str(daemon.folder / "sockets"))
        return subprocess.run([trapeze, *map(str, words)], text=True, env=environment, check=False,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              timeout=BOOT_SECONDS, **options)
    return run


@pytest.fixture
def good(cli):
    """The same: the output of one that succeeds."""
    def run(*words, **options):
        done = cli(*words, **options)
        assert done.returncode == 0 and not done.stderr, done
        return done.stdout
    return run


@pytest.fixture
def bad(cli):
    """The same: what one says that fails."""
    def run(*words, **options):
        done = cli(*words, **options)
        assert done.returncode == 1, done
        return done.stderr
    return run


def domain(linux, name="web", append="", more=""):
    _, kernel, _, initrd, _, arguments = linux(append=append)
    return f"""<domain type='qemu'>
  <name>{name}</name>
  <title>A title</title>
  <memory unit='MiB'>256</memory>
  <os>
    <type>hvm</type>
    <kernel>{kernel}</kernel>
    <initrd>{initrd}</initrd>
    <cmdline>{arguments}</cmdline>
  </os>
  <devices><serial type='pty'/></devices>{more}
</domain>"""


def test_definitions(daemon, good, bad, linux):
    assert good("list").startswith("no domain is defined")
    assert json.loads(good("list", "--json")) == []
    path = daemon.write("web.xml", domain(linux))
    assert good("define", path) == "domain 'web' is defined; `trapeze start web` starts it\n"
    assert good("define", "-", input=domain(linux, "mail")).startswith("domain 'mail' is defined")
    assert [line.split()[:3] for line in good("list").splitlines()] == [
        ["NAME", "STATE", "VCPUS"], ["mail", "shut", "off"], ["web", "shut", "off"]]
    described, = [d for d in json.loads(good("list", "--json")) if d["name"] == "web"]
    assert described["state"] == "shut off" and described["memory_kib"] == 256 << 10
    told = json.loads(good("info", "web", "--json"))
    assert told["uuid"] == described["uuid"] and told["title"] == "A title" and told["persistent"]
    assert "title        A title\n" in good("info", "web")
    assert good("info", "--xml", "web") == daemon.virsh("dumpxml", "web").stdout[:-1]
    assert good("undefine", "web", "mail").count("not defined any more") == 2
    assert json.loads(good("list", "--json")) == []


def test_errors(daemon, cli, bad, linux):
    assert "there is no domain 'none'" in bad("info", "none")
    assert "there is no domain 'none'" in bad("start", "none")
    assert "usage: trapeze start NAME..." in bad("start")
    assert "No such file" in bad("define", "/nonexistent")
    assert "define: -: (domain_definition):1:" in bad("define", "-", input="<domain>")
    assert "no flag --forc; did you mean --force?" in bad("stop", "--forc", "x")
    nowhere = bad("list", "--socket-dir", daemon.folder / "nowhere")
    assert "nowhere/libvirt-sock" in nowhere and "trapezed" in nowhere
    daemon.good("define", daemon.write("web.xml", domain(linux)))
    assert "domain is not running" in bad("stop", "web")
    assert "domain is not running" in bad("console", "web")


@pytest.mark.parametrize("command", ["list", "info", "define", "undefine", "start", "stop",
                                     "console"])
def test_help(cli, command):
    for words in ([command, "--help"], ["help", command]):
        done = cli(*words)
        assert done.returncode == 0 and done.stdout.startswith(f"Usage: trapeze {command}")
        assert "--socket-dir" in done.stdout


def test_guest(trapeze, daemon, good, bad, linux):
    good("define", daemon.write("web.xml", domain(linux)))
    environment = dict(os.environ, TRAPEZE_SOCKET_DIR=str(daemon.folder / "sockets"))
    console = pexpect.spawn(str(trapeze), ["start", "--console", "web"], env=environment,
                            timeout=BOOT_SECONDS, encoding="utf-8")
    console.expect_exact("domain 'web' runs")
    console.expect_exact(PROMPT)
    console.send("echo $((6 * 7))guests\r")
    console.expect_exact("42guests")
    assert "Active console session exists" in bad("console", "web")
    console.send("\x1d")
    console.expect(pexpect.EOF, timeout=COMMAND_SECONDS)
    console.close()
    assert console.exitstatus == 0
    assert "running" in good("list", "--running")
    assert "already running" in bad("start", "web")

    # Somebody else's console ends when another one is forced.
    first, second = (pexpect.spawn(str(trapeze), ["console", "web", *more], env=environment,
                                   timeout=COMMAND_SECONDS, encoding="utf-8")
                     for more in ([], ["--force"]))
    first.expect(pexpect.EOF)
    second.send("\r")
    second.expect_exact(PROMPT)
    second.close()

    assert good("stop", "web") == "domain 'web' is off\n"
    assert not daemon.guests()
    assert json.loads(good("info", "--json", "web"))["state"] == "shut off"
    good("start", "web", "--paused")
    assert json.loads(good("info", "--json", "web"))["state"] == "paused"
    assert "'web' is paused" in bad("stop", "web")
    assert good("stop", "--force", "web") == "domain 'web' is off\n"
    assert not daemon.guests()


def test_deaf_guest(daemon, good, bad):
    """A guest without a driver for the power button."""
    kernel = daemon.folder / "kernel"
    kernel.write_bytes(kernel_image())
    good("define", daemon.write("deaf.xml", describe("deaf", kernel)))
    good("start", "deaf")
    assert "'deaf' was asked to shut down and has not within 1 s" in bad("stop", "deaf",
                                                                       "--timeout", "1")
    assert good("stop", "deaf", "--timeout", "0") == "domain 'deaf' is shutting down\n"
    assert good("undefine", "deaf") == ("domain 'deaf' is not defined any more, and is forgotten "
                                        "when it is off\n")
    assert json.loads(good("info", "deaf", "--json"))["persistent"] is False
    assert good("stop", "--force", "deaf") == "domain 'deaf' is off\n"
    assert json.loads(good("list", "--json")) == []
