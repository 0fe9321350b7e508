# SPDX-License-Identifier: LGPL-2.1-or-later
"""The manager with many defined domains, beside Debian's libvirtd with libvirt's test driver."""
import os
import pathlib
import pwd
import signal
import statistics
import subprocess
import time
import uuid

DOMAIN = """<domain type='{type}'>
  <name>guest{n:04}</name>
  <uuid>{uuid}</uuid>
  <memory unit='MiB'>512</memory>
  <vcpu>1</vcpu>
  <os><type arch='{arch}'>hvm</type>{boot}</os>
  <devices>
    <disk type='file' device='disk'>
      <source file='/var/lib/images/guest{n:04}.img'/>
      <target dev='vda' bus='virtio'/>
    </disk>
    <interface type='user'/>
    <console type='pty'/>
  </devices>
</domain>
"""

# Seconds in which a daemon answers at the latest.
START_LIMIT = 120


def domain(n, kind, arch="x86_64", boot="<kernel>/boot/vmlinuz</kernel>"):
    return DOMAIN.format(n=n, type=kind, arch=arch, boot=boot,
                         uuid=uuid.uuid5(uuid.NAMESPACE_OID, f"guest{n}"))


class Daemon:
    """A daemon that virsh reaches by URI; ends with the `with` statement."""

    def __init__(self, command, uri, log, **options):
        self.uri = uri
        self.log = log
        with open(log, "wb") as file:
            self.process = subprocess.Popen(list(map(str, command)), stdin=subprocess.DEVNULL,
                                            stdout=file, stderr=file, **options)

    def __enter__(self):
        end = time.monotonic() + START_LIMIT
        while self.virsh("version").returncode:
            if time.monotonic() > end or self.process.poll() is not None:
                raise OSError(f"{self.process.args[0]} does not answer: "
                              f"{self.log.read_text(errors='replace')[-500:]}")
            time.sleep(0.1)
        return self

    def __exit__(self, *error):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()

    def virsh(self, *words):
        return subprocess.run(["virsh", "-c", self.uri, *words], text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, check=False)

    def kibibytes(self):
        """The daemon's resident memory."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines()
                    if line.startswith("VmRSS:"))

    def seconds(self, times, lists):
        """The median time of one `virsh` process that lists all domains LISTS times."""
        taken = []
        for _ in range(times):
            start = time.monotonic()
            done = self.virsh("; ".join(["list --all"] * lists))
            taken.append(time.monotonic() - start)
            if done.returncode or done.stdout.count("guest") != self.count * lists:
                raise OSError(f"virsh list --all: {done.stderr.strip()[-300:]}")
        return statistics.median(taken)

    count = 0


def ours(args, folder, count):
    config = folder / "config"
    config.mkdir(parents=True)
    for n in range(count):
        (config / f"guest{n:04}.xml").write_text(domain(n, "qemu"))
    mode = "system" if os.geteuid() == 0 else "session"
    return Daemon([pathlib.Path(args.build) / "trapezed", "--socket-dir", folder / "run",
                   "--config-dir", config, "--state-dir", folder / "state"],
                  f"qemu:///{mode}?socket={folder}/run/libvirt-sock", folder / "trapezed.log")


def peers(folder, count):
    """libvirtd of a user's own (nobody's, for root); its test driver reads the domains from a file
    when a client connects."""
    texts = "".join(domain(n, "test", "i686", "") for n in range(count))
    file = folder / "node.xml"
    file.write_text(f"<node>{texts}</node>")
    environment = dict(os.environ, HOME=str(folder))
    for name in ["XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"]:
        environment[name] = str(folder)
    user = {}
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        os.chown(folder, nobody.pw_uid, nobody.pw_gid)
        user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
    return Daemon(["libvirtd"], f"test+unix://{file}?socket={folder}/libvirt/libvirt-sock",
                  folder / "libvirtd.log", env=environment, cwd=folder, **user)


def bench_manager(args, folder, count=1000, lists=20):
    """Prints what `virsh list --all` of COUNT domains takes with both."""
    folder = pathlib.Path(folder)
    folder.chmod(0o755)
    rows = {}
    for name, make in {"trapezed": lambda f: ours(args, f, count),
                       "libvirtd": lambda f: peers(f, count)}.items():
        place = folder / name
        place.mkdir()
        with make(place) as daemon:
            daemon.count = count
            one = daemon.seconds(args.runs, 1)
            many = daemon.seconds(args.runs, lists)
            rows[name] = one * 1e3, (many - one) / (lists - 1) * 1e3, daemon.kibibytes() / 1024
    print(f"\nvirsh list --all of {count} defined domains: the whole program, each further list on "
          "the same\nconnection, and the daemon's memory")
    print(f"{'':<10} {'program':>10} {'list':>10} {'memory':>10}")
    for name, (one, each, memory) in rows.items():
        print(f"{name:<10} {one:>7.0f} ms {each:>7.1f} ms {memory:>6.1f} MiB")
    ratios = [a / b for a, b in zip(rows["trapezed"], rows["libvirtd"])]
    print(f"{'ratio':<10} {ratios[0]:>10.2f} {ratios[1]:>10.2f} {ratios[2]:>10.2f}", flush=True)
