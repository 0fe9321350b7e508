# SPDX-License-Identifier: LGPL-2.1-or-later
"""trapezed with libvirt's own clients: consoles, events, restarts, other programs that drive it, and
clients that mean no good.  The guests are small images of tests/system/images, but for one Debian."""
import contextlib
import os
import re
import signal
import socket
import struct
import subprocess
import time

import pexpect
import pytest

from console import BANNER, BOOT_SECONDS, COMMAND_SECONDS, END_SECONDS
from manager import Listener, Trapezed, wait_for

DOMAIN = """<domain type='qemu'>
  <name>{name}</name>
  <memory unit='MiB'>{memory}</memory>
  <vcpu>{vcpus}</vcpu>
  <os>
    <type arch='x86_64'>hvm</type>
    <kernel>{kernel}</kernel>{initrd}
    <cmdline>{words}</cmdline>
  </os>
  <devices>
    <serial type='pty'/>
    <console type='pty'/>{devices}
  </devices>
</domain>
"""

NETWORK = "<interface type='user'><model type='virtio'/></interface>"
ESCAPE = "\x1d"


@pytest.fixture
def manager(build):
    with Trapezed(build) as daemon:
        yield daemon


@pytest.fixture
def define(manager, image):
    """NAME, WORDS for the image -> the domain is defined; its XML's path."""
    def make(name, words="", **more):
        values = {"memory": 32, "vcpus": 1, "kernel": image(), "initrd": "", "devices": "", **more}
        path = manager.write(f"{name}.xml", DOMAIN.format(name=name, words=words, **values))
        manager.good("define", path)
        return path

    return make


def console(manager, name, *flags):
    """`virsh console`, on a terminal."""
    command = manager.command("console", name, *flags)
    child = pexpect.spawn(command[0], command[1:], timeout=COMMAND_SECONDS)
    child.delaybeforesend = None
    child.expect(rb"Escape character is")
    return child


def leave(child):
    child.send(ESCAPE)
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0


# ---- a Debian guest, the whole way ----

def test_debian(manager, define, kernel, initramfs):
    debian = kernel()
    define("debian", "console=ttyS0 quiet", memory=512, kernel=debian.image,
           initrd=f"<initrd>{initramfs('cloud-amd64', None)}</initrd>", devices=NETWORK)
    manager.good("start", "debian")
    guest = console(manager, "debian")

    def ask(command):
        """COMMAND's output in the guest's shell."""
        guest.send(f"echo be''gin; {command}; echo e''nd\r")
        guest.expect(rb"begin\r*\n((?s:.*?))end\r*\n")
        return guest.match.group(1).decode().strip()

    def boot():
        guest.expect(BANNER, timeout=BOOT_SECONDS)
        guest.expect(rb"[~/] # ")

    boot()
    ask("dmesg -n 1")
    assert debian.version in ask("uname -r")
    # A counter that stands still while the guest is suspended.
    ask("(while :; do n=$((n+1)); echo $n >/tmp/n; sleep 0.1; done) & sleep 1")
    guest.send("while :; do echo n=$(cat /tmp/n); sleep 0.2; done\r")
    guest.expect(rb"n=(\d+)\r")
    last = int(guest.match.group(1))
    manager.good("suspend", "debian")
    assert manager.state("debian") == "paused"
    while guest.expect([rb"n=(\d+)\r", pexpect.TIMEOUT], timeout=1) == 0:
        last = int(guest.match.group(1))
    before = manager.good("domstats", "--vcpu", "debian")
    time.sleep(3)
    assert guest.expect([rb"n=(\d+)\r", pexpect.TIMEOUT], timeout=1) == 1, "it counts on"
    assert manager.good("domstats", "--vcpu", "debian") == before
    manager.good("resume", "debian")
    guest.expect(rb"n=(\d+)\r")
    # A second's worth may have passed before the line was written; three seconds were not counted.
    assert last <= int(guest.match.group(1)) <= last + 10
    guest.send("\x03")
    guest.expect(rb"[~/] # ")
    # A reboot by ACPI: the guest itself shuts down; the same process, a new kernel.
    pids = manager.guests()
    ask("echo kept >/tmp/file")
    manager.good("reboot", "debian", "--mode", "acpi")
    boot()
    assert "kept" not in ask("cat /tmp/file")
    assert manager.guests() == pids
    # By ACPI: the guest itself powers off, and the console ends with it.
    manager.good("shutdown", "debian", "--mode", "acpi")
    wait_for(lambda: manager.state("debian") == "shut off", "shut off by ACPI", BOOT_SECONDS)
    guest.expect(pexpect.EOF)
    assert manager.good("domstate", "--reason", "debian") == "shut off (shutdown)"
    assert not manager.guests()


# ---- consoles ----

def test_console(manager, define):
    define("echo", "echo")
    manager.good("start", "echo")
    child = console(manager, "echo")
    for word in (b"hello", b"world" * 20):
        child.send(word)
        child.expect(re.escape(word))
    # One at a time, unless forced.
    done = manager.virsh("console", "echo")
    assert done.returncode == 1
    second = console(manager, "echo", "--force")
    child.expect(pexpect.EOF)
    second.send(b"again")
    second.expect(b"again")
    leave(second)
    third = console(manager, "echo")
    third.send(b"q")
    third.expect(b"nothing more to do")
    # The guest's end is the console's.
    manager.good("destroy", "echo")
    third.expect(pexpect.EOF)


def test_shutdown_by_button(manager, define):
    define("button", "button")
    manager.good("start", "button")
    child = console(manager, "button")
    manager.good("shutdown", "button")
    child.expect(b"pressed")
    child.expect(pexpect.EOF)
    wait_for(lambda: manager.state("button") == "shut off", "shut off")
    assert manager.good("domstate", "--reason", "button") == "shut off (shutdown)"


# ---- XML ----

def test_xml_round_trip(manager, define):
    define("round", "echo", vcpus=2, devices=NETWORK)
    first = manager.good("dumpxml", "round")
    manager.good("define", manager.write("again.xml", first))
    assert manager.good("dumpxml", "round") == first
    manager.good("start", "round")
    live = manager.good("dumpxml", "round")
    assert re.search(r"<domain type='qemu' id='\d+'>", live)
    assert "<alias name='serial0'/>" in live and re.search(r"/dev/pts/\d+", live)
    assert manager.good("dumpxml", "--inactive", "round") == first
    assert manager.good("ttyconsole", "round") == re.search(r"/dev/pts/\d+", live).group(0)


# ---- events ----

def test_python_events(manager, define):
    """python3-libvirt: lists, starts, and hears of it in an event loop."""
    import libvirt
    define("one", "echo")
    define("two", "echo")
    with Listener(manager) as listener:
        assert listener.names == ["one", "two"]
        connection = libvirt.open(manager.uri())
        domain = connection.lookupByName("one")
        domain.create()
        assert domain.isActive() and domain.state()[0] == libvirt.VIR_DOMAIN_RUNNING
        assert [d.name() for d in connection.listAllDomains(1)] == ["one"]
        assert connection.listDefinedDomains() == ["two"]
        domain.suspend()
        domain.resume()
        domain.destroy()
        domain.undefine()
        connection.close()
        heard = listener.until("one", libvirt.VIR_DOMAIN_EVENT_UNDEFINED)
    assert [event for name, event, _ in heard] == [
        libvirt.VIR_DOMAIN_EVENT_RESUMED, libvirt.VIR_DOMAIN_EVENT_STARTED,
        libvirt.VIR_DOMAIN_EVENT_SUSPENDED, libvirt.VIR_DOMAIN_EVENT_RESUMED,
        libvirt.VIR_DOMAIN_EVENT_SHUTDOWN, libvirt.VIR_DOMAIN_EVENT_STOPPED,
        libvirt.VIR_DOMAIN_EVENT_UNDEFINED]


def test_virsh_event_loop(manager, define):
    define("loop", "echo")
    command = manager.command("event", "--event", "lifecycle", "--loop")
    watcher = pexpect.spawn(command[0], command[1:], timeout=COMMAND_SECONDS)
    time.sleep(1)  # virsh says nothing once it listens
    manager.good("start", "loop")
    watcher.expect(rb"event 'lifecycle' for domain 'loop': Started Booted")
    manager.good("suspend", "loop")
    watcher.expect(rb"'loop': Suspended Paused")
    manager.good("resume", "loop")
    watcher.expect(rb"'loop': Resumed Unpaused")
    manager.good("destroy", "loop")
    watcher.expect(rb"'loop': Stopped Destroyed")
    watcher.sendintr()
    watcher.expect(rb"events received: \d+")
    watcher.close()


# ---- Pacemaker ----

def test_pacemaker_agent(manager, define):
    """The VirtualDomain agent of resource-agents: validate, start, monitor, stop."""
    config = define("cluster", "button")
    manager.good("undefine", "cluster")
    agent = "/usr/lib/ocf/resource.d/heartbeat/VirtualDomain"
    state = manager.folder / "pacemaker"
    state.mkdir()
    environment = dict(os.environ, OCF_ROOT="/usr/lib/ocf", OCF_RESOURCE_INSTANCE="cluster",
                       OCF_RESOURCE_TYPE="VirtualDomain", OCF_RESKEY_config=str(config),
                       OCF_RESKEY_hypervisor=manager.uri(), OCF_RESKEY_CRM_meta_timeout="90000",
                       OCF_RESKEY_autoset_utilization_cpu="false",
                       OCF_RESKEY_autoset_utilization_hv_memory="false",
                       OCF_RESKEY_autoset_utilization_host_memory="false",
                       HA_RSCTMP=str(state), HA_LOGFACILITY="none", __OCF_ACTION="")

    def act(action):
        done = subprocess.run([agent, action], text=True, env=environment,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=END_SECONDS, check=False)
        return done.returncode, done.stdout

    running, not_running = 0, 7
    assert act("validate-all")[0] == 0
    assert act("monitor")[0] == not_running
    status, said = act("start")
    assert status == 0, said
    assert manager.state("cluster") == "running"
    assert act("monitor")[0] == running
    status, said = act("stop")
    assert status == 0, said
    assert act("monitor")[0] == not_running
    assert manager.virsh("dominfo", "cluster").returncode == 1


# ---- restarts ----

def test_restart(manager, define):
    """Ended in order, and started again: definitions, running guests and their states are there."""
    for name in ("idle", "runs", "waits"):
        define(name, "echo")
    manager.good("autostart", "idle")
    manager.good("start", "runs")
    manager.good("start", "waits")
    manager.good("suspend", "waits")
    pids = manager.guests()
    assert len(pids) == 2
    assert manager.stop() == 0
    assert manager.guests() == pids
    manager.start()
    assert sorted(manager.good("list", "--all", "--name").split()) == ["idle", "runs", "waits"]
    assert [manager.state(n) for n in ("idle", "runs", "waits")] == ["shut off", "running",
                                                                   "paused"]
    assert "enable" in manager.good("dominfo", "idle")
    child = console(manager, "runs")
    child.send(b"still here")
    child.expect(b"still here")
    leave(child)
    manager.good("resume", "waits")
    manager.good("destroy", "waits")
    manager.good("destroy", "runs")
    wait_for(lambda: not manager.guests(), "the guests are gone")


def test_guest_ends_while_manager_is_away(manager, define):
    define("mortal", "echo")
    manager.good("start", "mortal")
    manager.stop(signal.SIGKILL)
    pid, = manager.guests()
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not manager.guests(), "the guest is gone")
    manager.start()
    assert manager.state("mortal") == "shut off"
    manager.good("start", "mortal")
    assert manager.state("mortal") == "running"


# ---- clients that mean no good ----

REMOTE = 0x20008086


def frame(procedure, serial=1, payload=b"", kind=0):
    return struct.pack(">7I", 28 + len(payload), REMOTE, 1, procedure, kind, serial, 0) + payload


def attach(manager):
    client = socket.socket(socket.AF_UNIX)
    client.connect(str(manager.socket))
    return client


OPEN = frame(1, payload=struct.pack(">II", 0, 0))


def test_thousand_connections(manager, define):
    define("calm", "echo")
    descriptors = len(os.listdir(f"/proc/{manager.process.pid}/fd"))
    clients = []
    for n in range(1000):
        client = attach(manager)
        clients.append(client)
        if n % 4 == 0:
            client.sendall(OPEN)
        if n % 100 == 0:
            assert manager.good("list", "--all", "--name") == "calm"
    assert manager.good("list", "--all", "--name") == "calm"
    for client in clients:
        client.close()
    wait_for(lambda: len(os.listdir(f"/proc/{manager.process.pid}/fd")) <= descriptors,
             "its descriptors are closed")


def test_few_descriptors(manager):
    """Without descriptors left, those that are connected are served, and others later."""
    limit = len(os.listdir(f"/proc/{manager.process.pid}/fd")) + 40
    subprocess.run(["prlimit", f"--pid={manager.process.pid}", f"--nofile={limit}"], check=True)
    opened = attach(manager)
    opened.sendall(OPEN)
    assert len(opened.recv(4096)) == 28
    clients = [attach(manager) for _ in range(60)]
    for client in clients:
        with contextlib.suppress(ConnectionError):  # some had to make room for later ones
            client.sendall(OPEN)
    opened.sendall(frame(3, 2))
    assert b"QEMU" in opened.recv(4096)
    for client in clients:
        client.close()
    wait_for(lambda: manager.virsh("version").returncode == 0, "a new client")


def test_client_that_does_not_read(manager, define):
    define("calm", "echo")
    rude = attach(manager)
    rude.sendall(OPEN)
    rude.settimeout(1)
    capabilities = frame(7)
    sent = 0
    with pytest.raises(TimeoutError):
        while True:
            sent += rude.send(capabilities * 100)
    assert manager.good("list", "--all", "--name") == "calm"
    status = open(f"/proc/{manager.process.pid}/status").read()
    assert int(re.search(r"VmRSS:\s+(\d+)", status).group(1)) < 200 << 10
    rude.close()


@pytest.mark.parametrize("garbage", [
    b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", b"\0" * 64, b"\xff" * 64,
    struct.pack(">I", 32 << 20) + b"x" * 1000, frame(1, payload=b"\xff\xff\xff\xff"),
    OPEN + frame(273, payload=b"\0" * 3), OPEN + frame(344, payload=b"\x7f\xff\xff\xff" * 3),
    OPEN + frame(14, payload=b"\0\0\0\4\xff\xfe\xfd\xfc" + b"\0" * 24), OPEN + frame(99999)])
def test_garbage(manager, garbage):
    client = attach(manager)
    client.sendall(garbage)
    manager.good("list", "--all")
    client.close()
    manager.good("list", "--all")


# ---- rights ----

def test_read_only(manager, define):
    if manager.base.endswith("session"):
        pytest.skip("session mode has one socket, its user's own")
    define("calm", "echo")
    assert manager.good("list", "--all", "--name", read_only=True) == "calm"
    assert manager.good("domstate", "calm", read_only=True) == "shut off"
    for words in (["start", "calm"], ["undefine", "calm"], ["autostart", "calm"],
                  ["setmem", "calm", "16M", "--config"], ["desc", "calm", "--config", "x"]):
        done = manager.virsh(*words, read_only=True)
        assert done.returncode == 1
        assert "operation forbidden: read only access prevents" in done.stderr
    # A client that does not check by itself is refused, too.
    client = socket.socket(socket.AF_UNIX)
    client.connect(f"{manager.socket}-ro")
    client.sendall(OPEN)
    assert len(client.recv(4096)) == 28
    client.sendall(frame(11, 2, struct.pack(">I", 4) + b"<a/>"))
    assert b"read only access prevents virDomainDefineXML" in client.recv(4096)
    client.close()
    # Whoever is not root may look, and cannot open the other socket.
    user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    for read_only, status in ((True, 0), (False, 1)):
        done = subprocess.run([*user, *manager.command("list", "--all", "--name",
                                                       read_only=read_only)],
                              text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              timeout=COMMAND_SECONDS, check=False)
        assert done.returncode == status, done.stderr
    assert "Permission denied" in done.stderr


# ---- the program ----

def test_options(build):
    program = build / "trapezed"
    help_text = subprocess.run([program, "--help"], text=True, stdout=subprocess.PIPE, check=True)
    assert "virsh -c" in help_text.stdout
    for words, said in ((["--socket-dr", "/x"], "--socket-dr"), (["x"], "takes no operands"),
                        (["--log-level", "loud"], "error, warning, info or debug"),
                        (["--trapeze", "/nowhere"], "/nowhere")):
        done = subprocess.run([program, *words], text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, check=False)
        assert done.returncode == 2 and said in done.stderr, done.stderr


def test_second_manager(manager, build):
    """The same folders twice: the second says what to do, the first is not disturbed."""
    def second(*folders):
        return subprocess.run([build / "trapezed", *map(str, folders)], text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              timeout=END_SECONDS, check=False)

    done = second("--socket-dir", manager.folder / "other", "--config-dir", manager.config,
                  "--state-dir", manager.folder / "state")
    assert done.returncode != 0 and "another manager" in done.stderr
    done = second("--socket-dir", manager.folder / "sockets", "--config-dir",
                  manager.folder / "config2", "--state-dir", manager.folder / "state2")
    assert done.returncode == 1 and "--socket-dir" in done.stderr
    manager.good("list")


def test_timeout(build):
    """--timeout: without clients and guests it ends; the sockets are removed."""
    daemon = Trapezed(build)
    daemon.arguments = ["--timeout", "1"]
    with daemon:
        assert daemon.process.wait(timeout=END_SECONDS) == 0
        assert not daemon.socket.exists()


def test_socket_activation(build):
    daemon = Trapezed(build)
    (daemon.folder / "sockets").mkdir()
    try:
        daemon.launch(["systemd-socket-activate", "-l", daemon.socket, "-l", f"{daemon.socket}-ro",
                       build / "trapezed", "--config-dir", daemon.config, "--state-dir",
                       daemon.folder / "state", "--socket-dir", daemon.folder / "unused"])
        assert daemon.good("list", "--all", "--name") == ""
        done = daemon.virsh("define", daemon.write("x.xml", "<domain/>"), read_only=True)
        assert "read only access" in done.stderr
        assert not (daemon.folder / "unused").exists()
    finally:
        daemon.close()
