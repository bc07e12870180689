"""Takes one guard away at a time, in a copy, and runs the tests that must fail then.

A copy is made once for each worker and mended after each row; its modules are compiled once, into files that name the
hash of their source, so that a guard taken away within the same second and of the same length is never overlooked.
"""

from __future__ import annotations

import json
import os
import py_compile
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from tests.guards.table import Guard

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("mediation", "tests", "config", "ext", "docs", "bench", "pyproject.toml", "setup.py", "Makefile", "README.md")
ROW_LIMIT_S, ALL_LIMIT_S = 300, 1_800  # for the tests of a row, and for all tests with their guards
PASSED, FAILED, SKIPPED, BROKEN = "passed", "failed", "skipped", "broken"


class Shown(NamedTuple):
    """A row: what became of each of its tests, with the guard and without it, and the seconds that the latter took."""

    guard: Guard
    guarded: dict[str, str]
    unguarded: dict[str, str]
    seconds: float

    @property
    def proves(self) -> bool:
        return all((self.guarded[test], self.unguarded[test]) == (PASSED, FAILED) for test in self.guard.tests)


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
    folder.mkdir(mode=0o755)
    ignore = shutil.ignore_patterns("__pycache__", "results", ".hypothesis")
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=ignore)
        elif source.exists():
            shutil.copy2(source, folder / name)
    for path in (folder / "mediation").rglob("*.py"):
        py_compile.compile(str(path), doraise=True, invalidation_mode=py_compile.PycInvalidationMode.CHECKED_HASH)
    return folder


def outcomes(folder: Path, tests: Iterable[str], limit_s: float, *, first_failure: bool = False) -> dict[str, str]:
    """Runs the tests in the copy. A test with parameters has failed when one of them has (`first_failure`: the others
    are left out then); what cannot be collected, fails before it begins or does not end is broken, which proves
    nothing."""
    tests = list(dict.fromkeys(tests))
    report = folder / "outcomes.jsonl"
    report.unlink(missing_ok=True)
    environment = os.environ | {
        "PYTHONPATH": str(folder), "GUARDS_REPORT": str(report), "GUARDS_FIRST_FAILURE": "1" if first_failure else "",
        "PYTEST_ADDOPTS": "",
    }  # fmt: skip
    command = [
        sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--continue-on-collection-errors",
        "-p", "tests.guards.reporting", *tests,
    ]  # fmt: skip
    with subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:  # fmt: skip
        try:
            process.wait(limit_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # with whatever the tests have started
    found: dict[str, list[str]] = {}
    for line in report.read_text().splitlines() if report.exists() else ():
        name, outcome = json.loads(line)
        found.setdefault(name, []).append(outcome)
    return {test: _of(test, found) for test in tests}


def _of(test: str, found: dict[str, list[str]]) -> str:
    said = [each for name, all in found.items() if name == test or name.startswith(f"{test}[") for each in all]
    for outcome in (FAILED, BROKEN, PASSED, SKIPPED):
        if outcome in said:
            return outcome
    return BROKEN


def show(guards: Iterable[Guard], jobs: int = 1, told: Callable[[Shown], None] = lambda _: None) -> list[Shown]:
    """Every row in its order; `told` hears of each as soon as it is known. A row whose guard does not stand where the
    table says is shown as broken."""
    guards = list(guards)
    tests = list(dict.fromkeys(test for guard in guards for test in guard.tests))
    with TemporaryDirectory(prefix="guards-") as name, ThreadPoolExecutor(jobs) as pool:
        os.chmod(name, 0o755)
        free = list(pool.map(copy, [Path(name) / f"copy{n}" for n in range(jobs)]))
        files = list(dict.fromkeys(test.partition("::")[0] for test in tests))
        parts = [[t for t in tests if t.partition("::")[0] in files[n::jobs]] for n in range(jobs)]
        limits = [ALL_LIMIT_S] * jobs
        good = {test: what for found in pool.map(outcomes, free, parts, limits) for test, what in found.items()}
        for test in (test for test in tests if good[test] != PASSED):  # alone: not what another left behind
            good |= outcomes(free[0], [test], ROW_LIMIT_S)

        def one(guard: Guard) -> Shown:
            began = time.monotonic()
            bad = dict.fromkeys(guard.tests, BROKEN)
            folder = free.pop()
            try:
                text = without(guard, folder)
                try:
                    bad = outcomes(folder, guard.tests, ROW_LIMIT_S, first_failure=True)
                finally:
                    (folder / guard.file).write_text(text)
            except (ValueError, SyntaxError) as error:
                print(error, file=sys.stderr)
            finally:
                free.append(folder)
            row = Shown(guard, {test: good[test] for test in guard.tests}, bad, time.monotonic() - began)
            told(row)
            return row

        return list(pool.map(one, guards))
