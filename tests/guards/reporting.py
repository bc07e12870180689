"""A pytest plug-in that writes what became of each test to $GUARDS_REPORT, for tests/guards/run.py."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

_found: dict[str, list[str]] = {}


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call":
        outcome = report.outcome
    elif report.skipped:
        outcome = "skipped"
    elif report.failed:
        outcome = "broken"
    else:
        return
    _found.setdefault(report.nodeid, []).append(outcome)


def pytest_sessionfinish() -> None:
    Path(os.environ["GUARDS_REPORT"]).write_text(json.dumps(_found))
