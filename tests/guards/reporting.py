"""A pytest plug-in that writes what became of each test to $GUARDS_REPORT, a line each as soon as it is known, for
tests/guards/run.py. With $GUARDS_FIRST_FAILURE a test's further parameters are not run once one of them has failed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

_REPORT = Path(os.environ["GUARDS_REPORT"])
_FIRST = bool(os.environ["GUARDS_FIRST_FAILURE"])
_failed: set[str] = set()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    if _FIRST and item.nodeid.partition("[")[0] in _failed:
        pytest.skip("another of its parameters has failed")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call":
        outcome = report.outcome
    elif report.skipped:
        outcome = "skipped"
    elif report.failed:
        outcome = "broken"
    else:
        return
    if outcome == "failed":
        _failed.add(report.nodeid.partition("[")[0])
    with _REPORT.open("a") as file:
        file.write(json.dumps([report.nodeid, outcome]) + "\n")
