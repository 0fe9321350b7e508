# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the suites of `make conformance` report: one Result for each test.

A suite is a module conformance_NAME.py with a function `run(build, ..., progress) -> list of Result`.
`progress(text)` shows a line on the terminal.  A suite compares what it saw with its own table of
expectations and puts both into the result; conformance.py counts, writes docs/conformance.md and sets
the exit status.
"""
import dataclasses

PASS, SKIP, FAIL, TIMEOUT = "pass", "skip", "fail", "timeout"
OUTCOMES = (PASS, SKIP, FAIL, TIMEOUT)


@dataclasses.dataclass(frozen=True)
class Result:
    """One test as it ended.

    expected: whether the suite's table allows this outcome.
    reason: why an outcome other than PASS is expected (for instance the capability that is not
    offered, and why not); empty for PASS and for what nobody expected.
    detail: what the test itself said: the reason of its skip, the last lines of its failure.
    """
    suite: str    # "KVM selftests", "kvm-unit-tests"
    group: str    # a heading of the document: "tier 1: ...", "under trapeze run"
    name: str     # the test, with its arguments where it runs more than once
    outcome: str  # one of OUTCOMES
    expected: bool
    reason: str = ""
    detail: str = ""
    seconds: float = 0.0
    tier: str = ""  # "on" or "off": the translator's; "" where it does not matter
