# SPDX-License-Identifier: LGPL-2.1-or-later
"""One script of virsh commands, with trapezed and with Debian's libvirtd and its QEMU driver
(type='qemu'): output, messages and exit status are the same."""
import re
import shutil

import pytest

from manager import Libvirtd, Listener, Trapezed

UUID = "11111111-2222-3333-4444-555555555555"
OTHER_UUID = "99999999-8888-7777-6666-555555555555"

DOMAIN = """<domain type='qemu'>
  <name>{name}</name>
  <uuid>{uuid}</uuid>
  <memory unit='MiB'>64</memory>
  <vcpu>2</vcpu>
  <os>
    <type arch='x86_64'>hvm</type>
    <kernel>{folder}/kernel</kernel>
    <cmdline>{words}</cmdline>
  </os>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='raw'/>
      <source file='{folder}/disk.img'/>
      <target dev='vda' bus='virtio'/>
    </disk>
    <interface type='user'>
      <mac address='52:54:00:12:34:56'/>
      <model type='virtio'/>
    </interface>
    <serial type='pty'/>
  </devices>
</domain>
"""

# A step is the words of a virsh command; {f} is the folder with the files.
LIFE = """
list --all
define {f}/web.xml
define {f}/web.xml
list --all
list
list --all --name
list --all --uuid
list --inactive --persistent
list --transient --all
dominfo web
dominfo {uuid}
domid web
domuuid web
domname {uuid}
domstate web
domstate --reason web
vcpucount web
vcpucount web --live
vcpupin web
vcpuinfo web
domcontrol web
domjobinfo web
domblklist web
domblklist web --details
domblkinfo web vda
domiflist web
domblkstat web vda
domifstat web vnet0
dommemstat web
ttyconsole web
console web
domdisplay web
domjobinfo web
suspend web
resume web
shutdown web
reboot web
reset web
destroy web
setmem web 32M
setmem web 32M --config
setmaxmem web 128M --config
setmem web 256M --config
setvcpus web 1 --config
setvcpus web 9 --config
vcpucount web
dominfo web
setvcpus web 2 --config
setmaxmem web 64M --config
desc web
desc web --title
desc web --config --title --new-desc The.title
desc web --config A.description
desc web
desc web --title
list --all --title
metadata web http://example.org/x
autostart web
dominfo web
list --all --autostart
autostart --disable web
list --all --autostart
domstats --state --balloon --vcpu web
start web
start web
list
list --all --state-running
domid web
domname 1
domstate web
domstate --reason web
dominfo web
vcpucount web
vcpucount web --maximum --live
domcontrol web
domjobinfo web
domblklist web
domblkinfo web vda --human
domstats --state web
domstats --list-running --state
define {f}/web.xml
undefine nobody
suspend web
domstate --reason web
list --all
list --all --state-paused
suspend web
dominfo web
resume web
resume web
domstate --reason web
reset web
domstate web
managedsave-remove nobody
destroy web
domstate --reason web
destroy web
list --all
start web --paused
domstate --reason web
resume web
destroy web --graceful
undefine web
undefine web
list --all
"""

ERRORS = """
dominfo nobody
domstate nobody
start nobody
destroy nobody
dumpxml nobody
domid nobody
domuuid nobody
domname 4711
domname {uuid}
console nobody
undefine nobody
autostart nobody
define {f}/web.xml
define {f}/same-name.xml
define {f}/same-uuid.xml
create {f}/same-name.xml
create {f}/same-uuid.xml
define {f}/not-closed.xml
define {f}/not-xml.xml
define {f}/empty.xml
define {f}/other-root.xml
define {f}/no-name.xml
define {f}/no-type.xml
define {f}/bad-type.xml
define {f}/no-memory.xml
define {f}/bad-memory.xml
define {f}/no-os.xml
define {f}/bad-uuid.xml
define {f}/bad-vcpu.xml
define {f}/slash.xml
define {f}/missing.xml
create {f}/not-closed.xml
create {f}/no-kernel.xml
define {f}/no-kernel.xml
undefine nokernel
list --all
undefine web
list --all
"""

TRANSIENT = """
create {f}/web.xml
list --all
dominfo web
autostart web
undefine web
list --transient
create {f}/web.xml
define {f}/web.xml
dominfo web
undefine web
dominfo web
destroy web
dominfo web
list --all
create {f}/web.xml --paused
domstate --reason web
destroy web
list --all
"""

SCRIPTS = {"life": LIFE, "errors": ERRORS, "transient": TRANSIENT}


def files(folder, image):
    """What the scripts name."""
    shutil.copy(image(), folder / "kernel")
    with open(folder / "disk.img", "wb") as disk:
        disk.truncate(1 << 20)
    (folder / "disk.img").chmod(0o666)  # the peer is another user
    good = DOMAIN.format(name="web", uuid=UUID, folder=folder, words="")
    texts = {
        "web": good,
        "same-name": good.replace(UUID, OTHER_UUID),
        "same-uuid": good.replace("<name>web", "<name>other"),
        "not-closed": good.replace("</name>", "</nam>"),
        "not-xml": "name: web\n",
        "empty": "",
        "other-root": "<network><name>x</name></network>",
        "no-name": good.replace("  <name>web</name>\n", ""),
        "no-type": good.replace(" type='qemu'", "", 1),
        "bad-type": good.replace("type='qemu'", "type='abacus'", 1),
        "no-memory": re.sub(r"  <memory.*\n", "", good),
        "bad-memory": good.replace(">64<", ">much<"),
        "no-os": re.sub(r"(?s)  <os>.*</os>\n", "", good),
        "bad-uuid": good.replace(UUID, "1234"),
        "bad-vcpu": good.replace("<vcpu>2", "<vcpu>two"),
        "slash": good.replace("<name>web", "<name>we/b").replace(UUID, OTHER_UUID),
        "no-kernel": good.replace("<name>web", "<name>nokernel").replace(UUID, OTHER_UUID)
                         .replace(f"{folder}/kernel", "/nowhere/kernel"),
    }
    for name, text in texts.items():
        (folder / f"{name}.xml").write_text(text)


# Where a guest's program refuses to start, both give its own words, which differ.
REFUSED = (r"internal error: (process exited while connecting to monitor|"
           r"qemu unexpectedly closed the monitor): (?s:.*)")


def normal(text, folder):
    """Without the few things that are no fault when they differ: the folder's name, trailing space,
    CPU time (a line that is not there while it is 0), and how the peer's printf shows a NULL."""
    text = text.replace(str(folder), "FOLDER").replace("(null)\n", "")
    text = re.sub(r"(?m)^CPU time: .*\n", "", text)
    text = re.sub(REFUSED, "internal error: the guest's program ended", text)
    return "\n".join(line.rstrip() for line in text.splitlines())


def run_script(daemon, text, image):
    """[(command, status, output, messages)] of each line."""
    files(daemon.folder, image)
    results = []
    for line in text.strip().splitlines():
        done = daemon.virsh(*line.format(f=daemon.folder, uuid=UUID).split())
        results.append((line, done.returncode, normal(done.stdout, daemon.folder),
                        normal(done.stderr, daemon.folder)))
    return results


def show(result):
    line, status, output, messages = result
    return f"virsh {line}  [{status}]\n{output}\n{messages}".rstrip()


@pytest.mark.parametrize("name", SCRIPTS)
def test_like_libvirtd(name, build, image):
    with Libvirtd() as peer:
        theirs = run_script(peer, SCRIPTS[name], image)
    with Trapezed(build) as manager:
        ours = run_script(manager, SCRIPTS[name], image)
    differences = [f"--- libvirtd: {show(a)}\n+++ trapezed: {show(b)}"
                   for a, b in zip(theirs, ours) if a != b]
    assert not differences, "\n\n".join(differences)


EVENTS = """
define {f}/web.xml
define {f}/web.xml
start web
suspend web
resume web
reset web
destroy web
start web --paused
resume web
destroy web
create {f}/no-kernel.xml
define {f}/no-kernel.xml
start nokernel
undefine nokernel
undefine web
create {f}/web.xml
destroy web
define {f}/web.xml
create {f}/web.xml
undefine web
destroy web
define {f}/web.xml
undefine web
"""


def events(daemon, image):
    """What a listener hears of the steps above, up to the last one's event."""
    undefined = 1
    with Listener(daemon) as listener:
        run_script(daemon, EVENTS, image)
        heard = []
        for _ in range(EVENTS.count("undefine web")):
            heard += listener.until("web", undefined)
        return heard


def test_events_like_libvirtd(build, image):
    with Libvirtd() as peer:
        theirs = events(peer, image)
    with Trapezed(build) as manager:
        ours = events(manager, image)
    assert ours == theirs
