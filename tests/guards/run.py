"""Takes one guard away at a time, in a copy, and runs the tests that must fail then."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from tests.guards.table import Guard

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("mediation", "tests", "config", "ext", "docs", "bench", "pyproject.toml", "setup.py", "Makefile", "README.md")
LIMIT_S = 600
PASSED, FAILED, SKIPPED, BROKEN = "passed", "failed", "skipped", "broken"


class Shown(NamedTuple):
    guard: Guard
    test: str
    guarded: str
    unguarded: str

    @property
    def proves(self) -> bool:
        return (self.guarded, self.unguarded) == (PASSED, FAILED)


def without(guard: Guard, folder: Path) -> str:
    """Takes the guard out of the copy in `folder`; the text as it was. Raises ValueError when it does not stand there
    exactly once, SyntaxError when what is left is no program."""
    path = folder / guard.file
    text = path.read_text()
    if (found := text.count(guard.search)) != 1:
        raise ValueError(f"SEC-{guard.sec}: {guard.requirement}: stands {found} times in {guard.file}")
    left = text.replace(guard.search, guard.replace)
    compile(left, guard.file, "exec")
    path.write_text(left)
    return text


def copy(folder: Path) -> Path:
    """The package as it was built, with its tests."""
    ignore = shutil.ignore_patterns("__pycache__", "results", ".hypothesis")
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=ignore)
        elif source.exists():
            shutil.copy2(source, folder / name)
    return folder


def outcomes(folder: Path, tests: Iterable[str]) -> dict[str, str]:
    """Runs the tests in the copy. A test with parameters has failed when one of them has; what cannot be collected, or
    fails before it begins, is broken, which proves nothing."""
    tests = list(dict.fromkeys(tests))
    report = folder / "outcomes.json"
    report.unlink(missing_ok=True)
    environment = os.environ | {
        "PYTHONPATH": str(folder), "GUARDS_REPORT": str(report), "PYTHONDONTWRITEBYTECODE": "1",
        "PYTEST_ADDOPTS": "",
    }  # fmt: skip
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--continue-on-collection-errors",
        "-p",
        "tests.guards.reporting",
        *tests,
    ]
    subprocess.run(
        command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=LIMIT_S,
        check=False,
    )  # fmt: skip
    found: dict[str, list[str]] = json.loads(report.read_text()) if report.exists() else {}
    return {test: _of(test, found) for test in tests}


def _of(test: str, found: dict[str, list[str]]) -> str:
    said = [each for name, all in found.items() if name == test or name.startswith(f"{test}[") for each in all]
    for outcome in (FAILED, BROKEN, PASSED, SKIPPED):
        if outcome in said:
            return outcome
    return BROKEN


def show(guards: Iterable[Guard], jobs: int = 1) -> list[Shown]:
    """Every test with its guard and without it."""
    guards = list(guards)
    with TemporaryDirectory(prefix="guards-") as name, ThreadPoolExecutor(jobs) as pool:
        os.chmod(name, 0o755)
        places = [copy(_made(Path(name) / f"copy{n}")) for n in range(jobs)]
        good = outcomes(places[0], (test for guard in guards for test in guard.tests))
        free = list(places)

        def one(guard: Guard) -> list[Shown]:
            folder = free.pop()
            try:
                text = without(guard, folder)
                try:
                    bad = outcomes(folder, guard.tests)
                finally:
                    (folder / guard.file).write_text(text)
            finally:
                free.append(folder)
            return [Shown(guard, test, good[test], bad[test]) for test in guard.tests]

        return [each for found in pool.map(one, guards) for each in found]


def _made(folder: Path) -> Path:
    folder.mkdir(mode=0o755)
    return folder
