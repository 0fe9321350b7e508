#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""make conformance: other people's suites on our KVM, and docs/conformance.md, which they fill.

Each suite is run with translated and with interpreted code, and knows how each of its tests must end;
the exit status says whether all did.  The document is written when everything was run, not by --only.
"""
import argparse
import dataclasses
import datetime
import importlib
import itertools
import os
import pathlib
import platform
import re
import subprocess
import sys

import conformance_capabilities
import conformance_selftests
from conformance_result import OUTCOMES, PASS, Result

ROOT = pathlib.Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs/conformance.md"

INTRODUCTION = """\
# Conformance

Other people's programs and tests are the proof that Trapeze's KVM is one. This file is written by
`make conformance` (`scripts/conformance.py`); do not edit it. A test that ends otherwise than its row in
`scripts/conformance_*.py` says makes that command fail, be it for better or for worse. *translator* says
how code ran: a row stands for both tiers where they ended alike.
"""


def progress(text):
    print(text, flush=True)


def output_of(command):
    try:
        return subprocess.run(command, text=True, check=True, cwd=ROOT, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def processor():
    for line in pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return "unknown"


def versions(args):
    rows = [("date", datetime.date.today().isoformat()),
            ("Trapeze", output_of(["git", "describe", "--always", "--dirty"])),
            ("KVM selftests",
             f"{conformance_selftests.PACKAGE} {conformance_selftests.version()}"),
            ("host", f"Linux {platform.release()}, {os.cpu_count()} processors, {processor()}")]
    if args.kut:
        rows.append(("kvm-unit-tests", importlib.import_module("conformance_kut").version(args.kut)))
    return rows


# ---------------------------------------------------------------- the document

def cell(text):
    return text.replace("|", "\\|").replace("\n", " ")


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return lines + ["| " + " | ".join(cell(str(c)) for c in row) + " |" for row in rows]


def grouped(results):
    return [(key, list(group))
            for key, group in itertools.groupby(results, key=lambda r: (r.suite, r.group))]


def counts_table(results):
    rows = []
    for (suite, group), rs in grouped(results):
        for tier in sorted({r.tier for r in rs}, reverse=True):
            of_tier = [r for r in rs if r.tier == tier]
            rows.append([suite, group, tier, *(sum(r.outcome == o for r in of_tier)
                                               for o in OUTCOMES),
                         sum(not r.expected for r in of_tier)])
    return table(["suite", "tests", "translator", *OUTCOMES, "departures"], rows)


def remark(result):
    """What the document says beside an outcome."""
    if not result.expected:
        return UNEXPECTED + result.detail
    if result.outcome == PASS or not result.detail or result.detail == result.reason:
        return result.reason
    return f"{result.reason} (it says: {result.detail})" if len(result.detail) < 120 else result.reason


def result_rows(results):
    """A row for each test, or for each way in which its tiers ended."""
    rows = {}
    for r in results:
        rows.setdefault((r.name, r.outcome, remark(r)), []).append(r.tier)
    order = list(dict.fromkeys(r.name for r in results))
    return [[name, ", ".join(tiers), outcome, told] for (name, outcome, told), tiers in
            sorted(rows.items(), key=lambda row: order.index(row[0][0]))]


def document(args, results):
    results = sorted(results, key=lambda r: [(s.suite, s.group) for s in results].index(
        (r.suite, r.group)))
    lines = [INTRODUCTION, *table(["", ""], versions(args)), "", "## Counts", "",
             *counts_table(results)]
    for (suite, group), rows in grouped(results):
        lines += ["", f"## {suite}: {group}", "",
                  *table(["test", "translator", "result", ""], result_rows(rows))]
    return "\n".join(lines) + "\n"


UNEXPECTED = "**not as expected**: "


def read_document():
    """The results that the document holds, for those that are not run again."""
    results, heading = [], None
    for line in DOCUMENT.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            heading = line[3:].split(": ", 1)
        cells = [c.strip().replace("\\|", "|") for c in re.split(r"(?<!\\)\|", line)[1:-1]]
        if heading and len(heading) == 2 and len(cells) == 4 and cells[2] in OUTCOMES:
            name, tiers, outcome, told = cells
            expected = not told.startswith(UNEXPECTED)
            results += [Result(*heading, name, outcome, expected, told if expected else "",
                               "" if expected else told[len(UNEXPECTED):], tier=tier)
                        for tier in tiers.split(", ")]
    return results


def replaced(results, again):
    """RESULTS with those of AGAIN in the place of the same tests."""
    new = {(r.suite, r.group, r.name, r.tier): r for r in again}
    return [new.get((r.suite, r.group, r.name, r.tier), r) for r in results]


# ---------------------------------------------------------------- the run

def each_tier(args, run):
    """What RUN() finds with each of the tiers that --translator names."""
    results = []
    for tier in args.translator.split(","):
        progress(f"translator {tier}")
        os.environ["TRAPEZE_TRANSLATOR"] = tier  # of `trapeze run` and of programs under with-kvm
        results += [dataclasses.replace(r, tier=tier) for r in run()]
    return results


def run_suites(args):
    header = conformance_selftests.programs(progress) / "kvm.h"

    def run():
        results = conformance_selftests.run(args.build, progress, args.only, args.jobs)
        if args.kut:
            # A module of its own, which only those need who have the images.
            kut = importlib.import_module("conformance_kut")
            results += kut.run(args.build, args.kut, progress)
        return results

    results = [] if args.only else conformance_capabilities.run(args.build, header)
    return results + each_tier(args, run)


def run_again(args):
    """Runs the tests named by --again, and puts their results where the document has others."""
    def run():
        results = []
        if any(t.title in args.again for t in conformance_selftests.TESTS):
            results += conformance_selftests.run(args.build, progress, jobs=1, titles=args.again)
        if args.kut:
            kut = importlib.import_module("conformance_kut")
            results += kut.run(args.build, args.kut, progress, args.again)
        return results

    return replaced(read_document(), each_tier(args, run))


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build", help="the build folder (%(default)s)")
    parser.add_argument("--kut", type=pathlib.Path, metavar="DIR",
                        help="prebuilt images of kvm-unit-tests")
    parser.add_argument("--only", nargs="+", default=(), metavar="NAME",
                        help="selftests whose name contains one of these; writes no document")
    parser.add_argument("--again", nargs="+", default=(), metavar="TEST",
                        help="runs these again, on a quiet machine say, and corrects the document")
    parser.add_argument("--translator", default="on,off", metavar="TIERS",
                        choices=["on", "off", "on,off"],
                        help="on, off or on,off: how code runs (%(default)s)")
    parser.add_argument("--jobs", type=int, help="tests at a time (the number of processors)")
    args = parser.parse_args()
    try:
        results = run_again(args) if args.again else run_suites(args)
    except (conformance_selftests.SelftestError, conformance_selftests.guest.GuestError) as error:
        sys.exit(f"conformance: {error}")
    if not args.only:
        DOCUMENT.write_text(document(args, results), encoding="utf-8")
        progress(f"wrote {DOCUMENT.relative_to(ROOT)}")
    departures = [r for r in results if not r.expected]
    for r in departures:
        progress(f"not as expected: {r.suite}: {r.name}: {r.outcome}: {r.detail}")
    told = ", ".join(f"{sum(r.outcome == o for r in results)} {o}" for o in OUTCOMES)
    progress(f"{told}; {len(departures)} not as expected")
    return 1 if departures or not results else 0


if __name__ == "__main__":
    sys.exit(main())
