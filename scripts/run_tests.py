#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Runs the unit tests (GLib's harness, TAP) and the system tests (pytest); the last line counts."""
import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import time
import xml.etree.ElementTree

ROOT = pathlib.Path(__file__).resolve().parent.parent


class Tally:
    """How many tests passed, failed and were skipped, and which failed."""

    def __init__(self):
        self.passed = self.failed = self.skipped = 0
        self.failures = []

    def fail(self, what):
        self.failed += 1
        self.failures.append(what)

    def report(self):
        """Prints what failed and the closing line; returns the exit status."""
        for failure in self.failures:
            print("failed:", failure)
        skipped = f", {self.skipped} skipped" if self.skipped else ""
        print(f"{self.passed} passed, {self.failed} failed{skipped}")
        return 1 if self.failed or not self.passed else 0


def build_unit_tests(build):
    """Configures again, for what was installed since (Zydis), and builds the test programs."""
    for command in (["meson", "setup", "--reconfigure", build],
                    ["ninja", "-C", build, "meson-test-prereq"]):
        done = subprocess.run(command, text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, check=False)
        if done.returncode:
            print(done.stdout)
            sys.exit(f"run_tests: {' '.join(command)} failed")


def unit_tests(build):
    """(name, command, seconds it may take) of each test that Meson knows."""
    out = subprocess.run(["meson", "introspect", "--tests", build], check=True, text=True,
                         stdout=subprocess.PIPE).stdout
    return [(t["name"], t["cmd"], t["timeout"]) for t in json.loads(out)]


def check_wired(build, tally):
    """A file of tests that no program holds would never run: it counts as a failure."""
    out = subprocess.run(["meson", "introspect", "--targets", build], check=True, text=True,
                         stdout=subprocess.PIPE).stdout
    used = {pathlib.Path(file).resolve() for target in json.loads(out)
            for sources in target["target_sources"] for file in sources.get("sources", [])}
    for file in sorted((ROOT / "tests/unit").glob("test-*.c")):
        if file not in used:
            tally.fail(f"{file.relative_to(ROOT)} is in no program of tests/meson.build "
                       "(or what it needs is not installed)")


def run_unit(name, command, timeout, tally):
    start = time.monotonic()
    try:
        done = subprocess.run(command + ["--tap"], text=True, errors="replace", timeout=timeout,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        output, status = done.stdout, done.returncode
    except subprocess.TimeoutExpired as error:
        output, status = (error.stdout or b"").decode(errors="replace"), f"{timeout} s passed"
    ok = failed = 0
    for line in output.splitlines():
        if re.match(r"ok \d+", line):
            if "# SKIP" in line:
                tally.skipped += 1
                print("   skipped:", line)
            else:
                ok += 1
        elif re.match(r"not ok \d+.*# TODO", line):
            # g_test_incomplete: nothing went wrong, but not all was done (TAP: no failure).
            tally.skipped += 1
            print("   incomplete:", line)
        elif re.match(r"not ok \d+", line):
            failed += 1
            tally.fail(f"{name}: {line}")
    tally.passed += ok
    if status and not failed:
        failed += 1
        tally.fail(f"{name}: ended with {status}")
    if not ok and not failed and not re.search("# (SKIP|TODO)", output):
        tally.fail(f"{name}: ran no test")
        failed += 1
    print(f"{'FAIL' if failed else 'ok  '} {name}: {ok} passed, {failed} failed, "
          f"{time.monotonic() - start:.1f} s", flush=True)
    for line in output.splitlines():
        if failed or re.match(r"# (seed|note)", line):
            print("   ", line)


def run_system(build, tally, marked, file="."):
    """The system tests in FILE (all, if it is ".") that the marker expression MARKED picks."""
    report = pathlib.Path(build) / "system-tests.xml"
    report.unlink(missing_ok=True)
    command = [sys.executable if not pathlib.Path("/usr/bin/python3").exists() else
               "/usr/bin/python3", "-m", "pytest", "-q", "-rs", "--junitxml", str(report.resolve()),
               "-p", "no:cacheprovider", "-m", marked, str(ROOT / "tests/system" / file)]
    environment = dict(os.environ, TRAPEZE_BUILD=str(pathlib.Path(build).resolve()))
    status = subprocess.run(command, check=False, env=environment).returncode
    if status > 1:  # beyond "some failed": interrupted, wrong usage, nothing collected
        tally.fail(f"system tests: pytest ended with {status}")
    if not report.exists():
        tally.fail("system tests: pytest wrote no report")
        return
    for case in xml.etree.ElementTree.parse(report).getroot().iter("testcase"):
        name = f"{case.get('classname')}.{case.get('name')}"
        if case.find("failure") is not None or case.find("error") is not None:
            tally.fail(name)
        elif case.find("skipped") is not None:
            tally.skipped += 1
        else:
            tally.passed += 1


def soak(build, tally):
    """The tests that hours make sharper."""
    os.environ.setdefault("BOOTS", "50")
    os.environ.setdefault("SOAK_MINUTES", "10")
    for name, command, _ in unit_tests(build):
        if name == "native":
            run_unit(name, [*command, "--count", "10000000", "--seconds", "14400"], 60000, tally)
    for file in ["test_strain.py", "test_work.py", "test_soak.py"]:
        run_system(build, tally, "long", file)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default="build")
    parser.add_argument("--long", action="store_true", help="also what takes longer")
    parser.add_argument("--soak", action="store_true",
                        help="only what proves the translator, for hours: $BOOTS boots (50) of each "
                             "kernel, stress-ng for $SOAK_MINUTES (10), ten million instructions "
                             "against the host's processor")
    parser.add_argument("--unit-only", action="store_true")
    parser.add_argument("--system-only", action="store_true")
    args = parser.parse_args()
    tally = Tally()
    if args.soak:
        build_unit_tests(args.build)
        soak(args.build, tally)
        return tally.report()
    if not args.system_only:
        build_unit_tests(args.build)
        check_wired(args.build, tally)
        for name, command, timeout in unit_tests(args.build):
            run_unit(name, command, timeout, tally)
    if not args.unit_only:
        run_system(args.build, tally, "long or not long" if args.long else "not long")
    return tally.report()


if __name__ == "__main__":
    sys.exit(main())
