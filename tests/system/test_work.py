# SPDX-License-Identifier: LGPL-2.1-or-later
"""A Debian guest that works: compilers, interpreters, databases, JITs, stress-ng, with checked results.

Most jobs run on the host first, with the same program of Debian's, or have results that are known; the
host needs nothing beyond Python.  SOAK_MINUTES in the environment is how long stress-ng runs (1)."""
import math
import os

import pytest

from console import Guest
from debian import SYSTEMD_SECONDS, arguments, log_in, make_disk, root_archive

pytestmark = pytest.mark.long

PACKAGES = ("gcc", "libc6-dev", "nodejs", "perl", "postgresql", "python3", "libpython3.11-testsuite",
            "sqlite3", "stress-ng")
MINUTES = float(os.environ.get("SOAK_MINUTES", "1"))
JOB_SECONDS = 3 * SYSTEMD_SECONDS


@pytest.fixture(scope="module")
def work_disk(tmp_path_factory):
    return make_disk(root_archive(PACKAGES), tmp_path_factory.mktemp("work"), 3 << 30)


@pytest.fixture(scope="module")
def worker(trapeze, kernel, initramfs, work_disk, tmp_path_factory):
    """The guest, logged in; the jobs share it."""
    log = tmp_path_factory.mktemp("worker") / "console.log"
    with Guest(trapeze, *arguments(kernel, initramfs, work_disk, 2, "2G"), log=log) as guest:
        log_in(guest)
        yield guest
        guest.run("systemctl --failed --plain --no-legend", SYSTEMD_SECONDS)
        assert "BUG:" not in guest.run("dmesg") and "Oops" not in guest.run("dmesg")
        guest.send(b"poweroff\n")
        assert guest.wait(SYSTEMD_SECONDS) == 0, guest.stderr()


def put(guest, path, text):
    """Writes TEXT to the guest's file PATH, in pieces that its terminal takes."""
    guest.run(f": >{path}")
    for line in text.strip("\n").split("\n"):
        quoted = line.replace("'", "'\\''")
        guest.run(f"printf '%s\\n' '{quoted}' >>{path}")


def collatz(limit):
    """The longest sequence below LIMIT, and its start."""
    best = (0, 0)
    for start in range(1, limit):
        n, steps = start, 0
        while n != 1:
            n = 3 * n + 1 if n % 2 else n // 2
            steps += 1
        best = max(best, (steps, -start))
    return f"{best[0]} {-best[1]}"


C_PROGRAM = """
#include <stdio.h>
#include <math.h>
int main(void) {
  int best = 0, at = 0;
  for (int s = 1; s < 30000; s++) {
    long n = s; int k = 0;
    while (n != 1) { n = n & 1 ? 3 * n + 1 : n / 2; k++; }
    if (k > best) { best = k; at = s; }
  }
  printf("%d %d %.9f\\n", best, at, sqrt(2.0) + atan(1.0));
}
"""


@pytest.mark.parametrize("level", ["-O0", "-O2", "-O3 -march=native"])
def test_gcc(worker, level):
    put(worker, "/root/c.c", C_PROGRAM)
    assert worker.run(f"gcc {level} -o /root/c /root/c.c -lm && /root/c",
                      JOB_SECONDS) == f"{collatz(30000)} {math.sqrt(2) + math.atan(1):.9f}"


def test_python(worker):
    """Parts of Python's own tests."""
    tests = "test_struct test_json test_zlib test_hashlib test_float test_re"
    assert "Tests result: SUCCESS" in worker.run(f"python3 -m test -u none {tests} | tail -n 20",
                                                 JOB_SECONDS)


def test_python_threads(worker):
    assert "Tests result: SUCCESS" in worker.run(
        "python3 -m test test_queue test_signal test_thread | tail -n 20", JOB_SECONDS)


def test_perl(worker):
    put(worker, "/root/p.pl", """
my ($best, $at) = (0, 0); my %known = (1, 0);
for my $s (1 .. 29999) { my ($n, @path) = ($s);
while (!exists $known{$n}) { push @path, $n; $n = $n % 2 ? 3 * $n + 1 : $n / 2; }
my $k = $known{$n}; $known{$_} = ++$k for reverse @path;
($best, $at) = ($known{$s}, $s) if $known{$s} > $best; }
my $t = join "", map { sprintf "%03d;", $_ * 7 % 1000 } 1 .. 20000; my $c = () = $t =~ /7(?=\\d;)/g;
print "$best $at $c\\n";
""")
    text = "".join(f"{n * 7 % 1000:03d};" for n in range(1, 20001))
    count = sum(text[i] == "7" and text[i + 1].isdigit() and text[i + 2] == ";"
                for i in range(len(text) - 2))
    assert worker.run("perl /root/p.pl", JOB_SECONDS) == f"{collatz(30000)} {count}"


SQL = ("CREATE TABLE t (id INTEGER PRIMARY KEY, v BIGINT, s TEXT); {begin}; INSERT INTO t {rows}; "
       "UPDATE t SET v = v + 1 WHERE id % 3 = 0; DELETE FROM t WHERE id % 10 = 7; {end}; "
       "CREATE INDEX i ON t (s, v); "
       "SELECT count(*), sum(v), max(s), count(DISTINCT v % 100) FROM t; "
       "SELECT a.id, b.id FROM t a JOIN t b ON b.id = a.v % 20000 WHERE a.id % 2500 = 0 ORDER BY 1;")


def sql_answer():
    rows = {n: n * n % 9973 for n in range(1, 20001)}
    rows = {n: v + (n % 3 == 0) for n, v in rows.items() if n % 10 != 7}
    lines = ["|".join(map(str, [len(rows), sum(rows.values()), max(f"s{n % 977:03d}" for n in rows),
                               len({v % 100 for v in rows.values()})]))]
    lines += [f"{n}|{v}" for n, v in rows.items() if n % 2500 == 0 and v % 20000 in rows]
    return "\n".join(lines)


def test_sqlite(worker):
    rows = ("WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM c WHERE n < 20000) "
            "SELECT n, n*n%9973, printf('s%03d', n%977) FROM c")
    put(worker, "/root/s.sql", SQL.format(begin="BEGIN", rows=rows, end="COMMIT").replace("; ", ";\n"))
    assert worker.run("rm -f /root/s.db; sqlite3 /root/s.db </root/s.sql", JOB_SECONDS) == sql_answer()
    assert worker.run("sqlite3 /root/s.db 'PRAGMA integrity_check'", JOB_SECONDS) == "ok"


def test_postgresql(worker):
    rows = "SELECT n, n*n%9973, 's' || lpad((n%977)::text, 3, '0') FROM generate_series(1, 20000) n"
    put(worker, "/tmp/p.sql", SQL.format(begin="BEGIN", rows=rows, end="COMMIT").replace("; ", ";\n"))
    worker.run("cd /; pg_ctlcluster 15 main start || pg_ctlcluster 15 main status", JOB_SECONDS)
    assert worker.run("su postgres -c 'psql -q -At -v ON_ERROR_STOP=1 -f /tmp/p.sql postgres'",
                      JOB_SECONDS) == sql_answer()
    # pgbench checks nothing itself: its history must add up to its balances.
    worker.run("su postgres -c 'pgbench -q -i postgres && pgbench -c 4 -j 2 -t 50 postgres'",
               JOB_SECONDS)
    assert worker.run("su postgres -c \"psql -At -c 'SELECT (SELECT count(*) FROM pgbench_history), "
                      "(SELECT sum(delta) FROM pgbench_history) = "
                      "(SELECT sum(abalance) FROM pgbench_accounts)' postgres\"",
                      JOB_SECONDS) == "200|t"


def test_nodejs(worker):
    """A JIT under load: code is compiled, thrown away and compiled anew, in workers, too."""
    put(worker, "/root/n.js", """
const { Worker, isMainThread, parentPort } = require('worker_threads');
function collatz(limit) { let best = 0, at = 0;
for (let s = 1; s < limit; s++) { let n = s, k = 0;
while (n !== 1) { n = n % 2 ? 3 * n + 1 : n / 2; k++; } if (k > best) { best = k; at = s; } }
return best + ' ' + at; }
function fresh(n) { let sum = 0;
for (let i = 0; i < n; i++) { const f = new Function('a', 'let s = 0; for (let k = 0; k < 200; k++) s += a * k % '
+ (i + 2) + '; return s;'); for (let k = 0; k < 20; k++) sum += f(k); } return sum; }
function poly(x) { return typeof x === 'string' ? x.length : x + 1; }
function deopt() { let s = 0; for (let i = 0; i < 300000; i++) s += poly(i % 1000 === 999 ? 'abcd' : i % 2 ? i : i + 0.5);
return s; }
const all = () => [collatz(30000), fresh(300), deopt()].join(' ');
if (isMainThread) { const said = []; for (let w = 0; w < 3; w++) new Worker(__filename).on('message', (m) => {
said.push(m); if (said.length === 3) console.log(new Set([...said, all()]).size, said[0]); }); }
else parentPort.postMessage(all());
""")
    fresh = sum(a * k % (i + 2) for i in range(300) for a in range(20) for k in range(200))
    deopt = sum(4 if i % 1000 == 999 else (i + 1 if i % 2 else i + 1.5) for i in range(300000))
    assert worker.run("node /root/n.js", JOB_SECONDS) == f"1 {collatz(30000)} {fresh} {deopt:.0f}"


STRESSORS = {
    "cpu": "--cpu 2",
    "vm": "--vm 2 --vm-bytes 64M",
    "fork": "--fork 2 --vfork 1",
    "signal": "--sigsegv 1 --sigfpe 1 --sigq 1 --kill 1",
    "futex": "--futex 2 --mutex 1",
    "cache": "--cache 1 --icache 1",
}


@pytest.mark.parametrize("kind", STRESSORS)
def test_stress(worker, kind):
    seconds = max(1, round(60 * MINUTES / len(STRESSORS)))
    status, output = worker.run(f"stress-ng {STRESSORS[kind]} --verify --timeout {seconds}s "
                                "--metrics-brief", JOB_SECONDS + 10 * seconds, check=False)
    assert status == 0 and "successful run completed" in output, output
    assert "fail:" not in output, output
