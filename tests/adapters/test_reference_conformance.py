"""The conformance kit on the reference adapter, in process and as a process of its own: one test a check."""

from collections.abc import Mapping
from typing import Any

import pytest

from legato_adapters.conformance import Report
from legato_adapters.conformance.check import Check
from legato_adapters.conformance.suite import SUITE
from tests.adapters.tried import REFERENCE
from tests.support.conformance import PLACEMENTS, RUN_TIMEOUT_S, assert_kept, assert_published, tried

pytestmark = pytest.mark.timeout(RUN_TIMEOUT_S)


@pytest.fixture(scope="module", params=PLACEMENTS)
def report(request: pytest.FixtureRequest, reference_options: Mapping[str, Any]) -> Report:
    return tried(REFERENCE, request.param, reference_options)


@pytest.mark.parametrize("check", SUITE, ids=str)
def test_a_promise_is_kept(report: Report, check: Check) -> None:
    assert_kept(report, check)


def test_what_is_published_is_so(report: Report) -> None:
    assert_published(report, REFERENCE)
