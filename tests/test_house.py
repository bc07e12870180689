"""The rules of the house, held by reading the sources: who imports whom, what the core may not touch, sizes, hygiene.

docs/ARCHITECTURE.md states the rules. These tests read syntax trees and the list of committed files; they run nothing.
"""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import LONGEST_FIRST

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "mediation"
MODULES = sorted(PACKAGE.rglob("*.py"))
LINES_AT_MOST = 400
OCTETS_AT_MOST = 600_000  # benchmark results are the largest files; captures do not belong here

# Imports go one way: core <- access, delivery, administration, collection <- cli; runtime serves all but the core.
MAY_IMPORT = {
    "core": {"core"},
    "runtime": {"runtime", "core"},
    "access": {"access", "core", "runtime"},
    "delivery": {"delivery", "core", "runtime"},
    "administration": {"administration", "core", "runtime", "signing"},
    "signing": {"signing", "core"},  # on a person's own machine: nothing of the daemon
    "collection": {"collection", "core", "runtime"},
    "reconciliation": {"reconciliation", "core", "runtime"},
    "witness": {"witness", "core", "runtime"},
    "audit": {"audit"},  # a second implementation: it shares no line with the first
    "cli": {
        "cli",
        "core",
        "runtime",
        "access",
        "delivery",
        "administration",
        "collection",
        "reconciliation",
        "signing",
        "witness",
        "audit",
    },
    "": set(),
}
# Of all commands only these may load the collecting side into their process.
COLLECTING = {"cli/collect.py", "cli/replay.py", "cli/replay_content.py", "cli/lab.py", "cli/init.py"}

# Sans-I/O: the core asks for the time, for randomness and for bytes; it never takes them.
NOT_IN_CORE = {
    "asyncio", "concurrent", "ctypes", "fcntl", "http", "io", "logging", "mmap", "multiprocessing", "os", "pathlib",
    "random", "secrets", "select", "selectors", "shutil", "signal", "socket", "sqlite3", "ssl", "structlog",
    "subprocess", "sys", "tempfile", "threading", "time", "trio", "uuid",
}  # fmt: skip
# Independent oracles and load generators: in the daemon they would prove nothing, or cost seconds.
TEST_ONLY = {
    "scapy", "hypothesis", "pytest", "pycrate_asn1rt", "pycrate_asn1dir", "trustme", "hdrhistogram", "dilithium_py",
    "tests",
}  # fmt: skip
DECODER = "asn1tools"  # the collection function's alone

CLOCK_CALLS = {"now", "utcnow", "today", "urandom", "getrandbits"}
BUILTIN_IO = {"open", "print", "input", "exec", "eval", "breakpoint"}


def where(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def room(path: Path) -> str:
    """The folder of a module below mediation/, "" for the package itself."""
    parts = path.relative_to(PACKAGE).parts
    return parts[0] if len(parts) > 1 else ""


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def imported(path: Path) -> Iterator[tuple[str, int]]:
    """Every module that `path` imports, at its top or inside a function, with the line."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            assert node.module is not None
            yield node.module, node.lineno
            if node.module.startswith("mediation"):
                yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)


def test_there_is_something_to_hold() -> None:
    assert {room(path) for path in MODULES} >= set(MAY_IMPORT)


@pytest.mark.parametrize("path", MODULES, ids=where)
def test_imports_go_one_way(path: Path) -> None:
    for module, line in imported(path):
        if module.split(".")[0] != "mediation" or "." not in module:
            continue
        target = module.split(".")[1]
        if target not in MAY_IMPORT:
            continue  # a name of the package itself
        assert target in MAY_IMPORT[room(path)], f"{where(path)}:{line} imports {module}"
        if target == "collection" and room(path) == "cli":
            assert where(path) in COLLECTING, f"{where(path)}:{line}: only {sorted(COLLECTING)} collect"


@pytest.mark.parametrize("path", [path for path in MODULES if room(path) == "core"], ids=where)
def test_the_core_is_sans_io(path: Path) -> None:
    for module, line in imported(path):
        assert module.split(".")[0] not in NOT_IN_CORE, f"{where(path)}:{line} imports {module}"
        assert not module.startswith("urllib.req"), f"{where(path)}:{line}: of urllib only its parsing is free of I/O"
    for node in ast.walk(tree(path)):
        if not isinstance(node, ast.Call):
            continue
        if isinstance(node.func, ast.Name):
            assert node.func.id not in BUILTIN_IO, f"{where(path)}:{node.lineno} calls {node.func.id}()"
        if isinstance(node.func, ast.Attribute):
            assert node.func.attr not in CLOCK_CALLS, f"{where(path)}:{node.lineno} calls .{node.func.attr}()"


@pytest.mark.parametrize("path", MODULES, ids=where)
def test_oracles_stay_out_of_the_daemon(path: Path) -> None:
    for module, line in imported(path):
        first = module.split(".")[0]
        assert first not in TEST_ONLY, f"{where(path)}:{line} imports {module}"
        assert first != DECODER or room(path) == "collection", f"{where(path)}:{line} imports {module}"


@pytest.mark.parametrize("path", MODULES, ids=where)
def test_a_module_says_what_it_answers_for(path: Path) -> None:
    text = path.read_text()
    if text.strip():
        assert ast.get_docstring(tree(path)), f"{where(path)} does not say what it answers for"


def promises(module: ast.Module) -> Iterator[ast.AST]:
    """Functions whose body is nothing but a docstring, `pass` or `...`; a Protocol's methods have none by design."""
    by_design = {
        id(inner)
        for node in ast.walk(module)
        if isinstance(node, ast.ClassDef) and any("Protocol" in ast.unparse(base) for base in node.bases)
        for inner in node.body
    }
    for node in ast.walk(module):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or id(node) in by_design:
            continue
        overload = any("overload" in ast.unparse(mark) for mark in node.decorator_list)
        does = [step for step in node.body if not isinstance(step, ast.Pass) and not (
            isinstance(step, ast.Expr) and isinstance(step.value, ast.Constant)
        )]  # fmt: skip
        if not does and not overload:
            yield node


@pytest.mark.parametrize("path", MODULES, ids=where)
def test_no_empty_promises(path: Path) -> None:
    """click's groups are the one kind of function that does its work by its decorators."""
    for node in promises(tree(path)):
        assert isinstance(node, ast.FunctionDef)
        groups = [ast.unparse(mark) for mark in node.decorator_list]
        assert any(".group" in mark for mark in groups), f"{where(path)}:{node.lineno}: {node.name} does nothing"


def committed() -> list[Path]:
    """The files of the repository; without git, what lies here and is no product of the build."""
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if done.returncode == 0 and done.stdout:
        return [ROOT / name for name in done.stdout.decode().split("\0") if name and (ROOT / name).is_file()]
    made = {".venv", "build", "__pycache__", ".git", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis"}
    return [path for path in ROOT.rglob("*") if path.is_file() and not made & set(path.relative_to(ROOT).parts)]


FILES = committed()
SOURCES = [p for p in FILES if p.suffix in {".py", ".pyx", ".pxd", ".c", ".h"} and "results" not in p.parts]


def test_one_noun_one_file() -> None:
    long = {
        str(path.relative_to(ROOT)): count
        for path in SOURCES
        if (count := len(path.read_text(errors="replace").splitlines())) > LINES_AT_MOST
    }
    assert not long, f"over {LINES_AT_MOST} lines: {long}"


# Written so that this file does not find itself.
UNFINISHED = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X|HA" + r"CK|NotImplemented" + r"Error)\b")
PLACES = re.compile(r"(/wo" + r"rk/|/tm" + r"p/wt|/tm" + r"p/mv|/ro" + r"ot/|/ho" + r"me/\w|/op" + r"t/(wheels|pypi))")


def text_files() -> Iterator[tuple[Path, str]]:
    for path in FILES:
        try:
            yield path, path.read_text()
        except UnicodeDecodeError:
            continue  # test_nothing_binary decides about it


@pytest.mark.parametrize(("words", "why"), [(UNFINISHED, "unfinished work"), (PLACES, "a path of one machine")],
                         ids=["unfinished", "places"])  # fmt: skip
def test_no_word_of(words: re.Pattern[str], why: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path, text in text_files()
        for number, line in enumerate(text.splitlines(), 1)
        if words.search(line)
    ]
    assert not found, f"{why}: {found}"


def test_nothing_binary_or_large() -> None:
    """Keys, captures and products of the build are made, never kept; recordings of others are not ours to publish."""
    for path in FILES:
        name = path.relative_to(ROOT)
        assert path.suffix not in {".so", ".o", ".pyc", ".pcap", ".pcapng", ".pem", ".key", ".sqlite"}, name
        assert path.stat().st_size <= OCTETS_AT_MOST, name
        assert "corpus" not in name.parts, f"{name}: recordings stay outside"
        if path.suffix != ".dat":
            assert b"\0" not in path.read_bytes()[:4096], f"{name} is binary"


def test_vectors_say_where_they_come_from() -> None:
    vectors = ROOT / "tests" / "vectors"
    if any(vectors in path.parents for path in FILES):
        assert any(path.name.startswith("PROVENANCE") and vectors in path.parents for path in FILES)


def test_the_files_that_begin_first_are_there() -> None:
    """Else one that was renamed is begun last, and a worker waits for it alone."""
    assert [name for name in LONGEST_FIRST if not (ROOT / "tests" / name).is_file()] == []
