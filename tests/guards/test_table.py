"""The table of guards is whole: every requirement, each guard where it says, each test there; and a few are shown.

All of them: `python -m tests.guards`.
"""

from __future__ import annotations

import ast
import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest

from mediation.core.authority import authorization
from mediation.core.errors import AuthorizationError
from tests.core.mutations import ROWS
from tests.guards.table import ADMIT, GUARDS, REQUIRED, Guard

ROOT = Path(__file__).resolve().parents[2]


def test_every_requirement_has_a_guard() -> None:
    assert {guard.sec for guard in GUARDS} == REQUIRED


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: f"{guard.sec} {guard.requirement}")
def test_the_guard_stands_where_the_table_says(guard: Guard) -> None:
    text = (ROOT / guard.file).read_text()
    assert text.count(guard.search) == 1
    left = text.replace(guard.search, guard.replace)
    assert left != text
    compile(left, guard.file, "exec")


def test_each_test_is_there() -> None:
    missing = []
    for place in {test for guard in GUARDS for test in guard.tests}:
        file, _, name = place.partition("::")
        tree = ast.parse((ROOT / file).read_text())
        names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
        if name.split("[")[0] not in names:
            missing.append(place)
    assert missing == []


# --- a few, in this process -------------------------------------------------------------------------------------------


def functions(module: Any) -> Iterator[tuple[str, FunctionType]]:
    """The module's own functions and methods."""
    for owner in (module, *(each for each in vars(module).values() if isinstance(each, type))):
        for name, value in vars(owner).items():
            function = value.__func__ if isinstance(value, classmethod | staticmethod) else value
            if isinstance(function, FunctionType) and function.__module__ == module.__name__:
                yield f"{getattr(owner, '__qualname__', '')}.{name}", function


@contextmanager
def removed(guard: Guard) -> Iterator[None]:
    """The functions of the guard's module as they are without it, wherever they were imported."""
    name = guard.file.removesuffix(".py").replace("/", ".")
    module = importlib.import_module(name)
    text = (ROOT / guard.file).read_text().replace(guard.search, guard.replace)
    other: Any = type(module)(name)
    other.__dict__.update({"__file__": module.__file__, "__package__": module.__package__})
    exec(compile(text, guard.file, "exec"), other.__dict__)
    here, there = dict(functions(module)), dict(functions(other))
    kept = {function: function.__code__ for function in here.values()}
    try:
        for place, function in here.items():
            if place in there and there[place].__code__.co_freevars == function.__code__.co_freevars:
                function.__code__ = there[place].__code__
        yield
    finally:
        for function, code in kept.items():
            function.__code__ = code


CASES = {name: make() for name, (_, make) in ROWS.items()}
OF_ADMISSION = [guard for guard in GUARDS if ADMIT in guard.tests]


def missed() -> Iterator[str]:
    """Rows of the mutation matrix that are not refused by their own check."""
    for name, (request, trust, now_ns) in CASES.items():
        trust._opened.clear()
        trust._verified.clear()
        try:
            authorization.admit(request, trust, now_ns)
        except AuthorizationError as error:
            if error.check == ROWS[name][0]:
                continue
        yield name


def test_without_one_guard_the_matrix_shows_it() -> None:
    assert len(OF_ADMISSION) > 8
    assert list(missed()) == []
    unnoticed = []
    for guard in OF_ADMISSION:
        with removed(guard):
            if next(missed(), None) is None:
                unnoticed.append(guard.requirement)
    assert unnoticed == []
    assert list(missed()) == []


def test_a_guard_that_is_moved_is_noticed(tmp_path: Path) -> None:
    from tests.guards.run import without

    moved: Callable[[Guard], str] = lambda guard: without(guard, tmp_path)  # noqa: E731
    (tmp_path / "mediation" / "core" / "authority").mkdir(parents=True)
    guard = next(each for each in GUARDS if each.file == "mediation/core/authority/lease.py")
    (tmp_path / guard.file).write_text("pass\n")
    with pytest.raises(ValueError, match="0 times"):
        moved(guard)
    (tmp_path / guard.file).write_text((ROOT / guard.file).read_text())
    assert guard.search in moved(guard)
    assert guard.search not in (tmp_path / guard.file).read_text()
