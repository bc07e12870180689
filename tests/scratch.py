"""Where the tests' files lie: in memory where there is room for them, and those of a test that passed no longer.

What tests write they write as the daemon does, through to the disk: hundreds of thousands of fsync(2), each of which
waits for a virtual machine's disk, and proves no more for it, as no test cuts the power. A tmpfs takes the same calls.
`--basetemp` or PYTEST_DEBUG_TEMPROOT name another place.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

MEMORY: Final = Path("/dev/shm")  # pytest makes a folder of its own there, which nobody else enters
ROOM_OCTETS: Final = 4 << 30  # there, and twice of it in the machine: the hungriest four files take 0.9 GiB (ours)
PLACE: Final = "PYTEST_DEBUG_TEMPROOT"
KEY: Final = "scratch"


def _available() -> int:
    """Octets of memory that programs can still have."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:")), 0)


def choose() -> None:
    """Has pytest make its folders in memory, if there is room and nobody said where."""
    if PLACE in os.environ or not os.access(MEMORY, os.W_OK):
        return
    room = os.statvfs(MEMORY)
    if room.f_flag & os.ST_NOEXEC:
        return  # tests build and load programs
    if room.f_bavail * room.f_frsize >= ROOM_OCTETS and _available() >= 2 * ROOM_OCTETS:
        os.environ[PLACE] = str(MEMORY)


class Scratch:
    """A plug-in of pytest. It stands around all others: what they look for in a test's folder is still there then."""

    def __init__(self) -> None:
        self._failed = False

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_setup(self) -> Iterator[None]:
        self._failed = False
        yield

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self) -> Iterator[None]:
        report = yield
        self._failed |= report.failed
        return report

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Iterator[None]:
        own = getattr(item, "funcargs", {}).get("tmp_path")
        yield
        if own is not None and not self._failed:
            shutil.rmtree(own, ignore_errors=True)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Memory is given back when all is well; else what failed is left to be looked at."""
        if exitstatus == 0 and os.environ.get(PLACE) == str(MEMORY) and not hasattr(session.config, "workerinput"):
            shutil.rmtree(session.config._tmp_path_factory.getbasetemp(), ignore_errors=True)  # type: ignore[attr-defined]
