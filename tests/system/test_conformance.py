# SPDX-License-Identifier: LGPL-2.1-or-later
"""Linux's own tests of KVM on ours: the quick ones of what `make conformance` runs."""
import sys

import pytest

from conftest import ROOT

sys.path.insert(0, str(ROOT / "scripts"))

import conformance_capabilities as capabilities  # noqa: E402
import conformance_selftests as selftests  # noqa: E402


@pytest.fixture(scope="session")
def suite():
    """The folder of the built selftests; the first time, building them takes some minutes."""
    return selftests.programs(print)


@pytest.mark.parametrize("test", selftests.FAST, ids=lambda test: test.title)
def test_selftest(trapeze, suite, test):
    result = selftests.run_one(trapeze.parent, suite, test)
    assert result.expected, f"{result.outcome}: {result.detail}"


def test_capabilities(trapeze, suite):
    """Each is offered, or the list says why not."""
    results = capabilities.run(trapeze.parent, suite / "kvm.h")
    assert len(results) > 100
    assert [r.name for r in results if not r.expected] == []
