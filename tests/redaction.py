"""SEC-19 over the whole suite: what the daemon leaves or shows while a test runs names no subject of the test's orders.

A plug-in of pytest (tests/conftest.py registers it). Subjects are taken from the orders themselves: the legal tokens
that a test signs, and the targets it gives to a command. After each test these are looked for, in all spellings
(tests/search.py), in every place of the daemon's that the test used: its site but for `lab/`, which holds the persons'
own papers and the agency's end; what was written by `runtime.durable`; standard error and logs; the answers of status;
command lines and environments of its processes. A site that several tests share, temporary files and core files are
searched when all tests are over. A finding fails the test, or the session, and names the place, never the subject.
"""

from __future__ import annotations

import functools
import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mediation.administration import lab
from mediation.collection import journal
from mediation.core.authority import jws
from mediation.core.case import LegalToken
from mediation.runtime import config as site_config
from mediation.runtime import durable
from tests import warm
from tests.core import authority
from tests.search import Finder

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = "mediation.cli.main"
SERVICES = {"run", "function", "witness", "reconciler"}  # commands that are the daemon's processes
SHOWS = {"status", *SERVICES}  # whose answers are for anybody on the host
PERSONS = "lab"  # of a site: what a real site has on its persons' own machines, and at the agency
COLLECTING = "mediation.collection"
RECEIVED = journal._NAME  # what a collection function in a process of its own keeps
PUBLISHED = {f"tel:{number}" for number in (lab.DIRECTORY_NUMBER, authority.DIRECTORY_NUMBER)}  # stand in the roster
MAX_DESCENDANTS = 64  # of one process that a test started
KEY = "redaction"


class Finding(AssertionError):
    """The daemon left or showed a subject's identity."""


class Tally(msgspec.Struct):
    """What the line at the end says."""

    files: int = 0
    octets: int = 0
    identities: int = 0
    findings: int = 0

    def add(self, other: Tally) -> None:
        for name in self.__struct_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


class Redaction:
    """Of one session, or of one worker of it."""

    def __init__(self) -> None:
        self.tally = Tally()
        self.late: list[str] = []  # findings at the end of the session
        self.temporary: Path | None = None
        self._all: set[str] = set()
        self._subjects: set[str] = set()
        self._places: set[Path] = set()
        self._agencies: set[Path] = set()  # folders of collection functions: what was delivered is theirs
        self._said: dict[str, bytes] = {}
        self._shared: dict[Path, set[str]] = {}
        self._begun = time.time()

    # -- what a test does ---------------------------------------------------------------------------------------------

    def _signed(self, payload: bytes) -> None:
        if b'"subjects":' in payload:
            try:
                self._subjects.update(msgspec.json.decode(payload, type=LegalToken).subjects)
            except msgspec.MsgspecError:
                return  # what a test makes up to be refused

    def _started(self, words: list[str]) -> None:
        for option, value in itertools.pairwise(words):
            if option == "--target":
                self._subjects.add(value)
            elif option == "--site":
                self._places.add(Path(value).resolve())

    def _wrote(self, path: Path) -> None:
        frame = sys._getframe(1)
        while frame.f_back is not None and frame.f_globals["__name__"] in (__name__, durable.__name__):
            frame = frame.f_back
        collecting = frame.f_globals["__name__"].startswith(COLLECTING)
        (self._agencies if collecting else self._places).add(path.absolute())

    def _answered(self, words: list[str], streams: tuple[Any, Any], *, failed: bool) -> None:
        """What a command of ours said: all of it if it is a service's, else its complaint. What it shows to the person
        who signs, or who asked and may know, is for them."""
        if PROGRAM not in words or "collect" in words:
            return
        command = words[words.index(PROGRAM) + 1 :][:1]
        for name, stream in zip(("standard output", "standard error"), streams, strict=True):
            if stream and ((failed and name == "standard error") or SHOWS.issuperset(command)):
                octets = stream if isinstance(stream, bytes) else stream.encode()
                self._said[f"{name} of {' '.join(command)}"] = octets

    def _look(self, pid: int) -> None:
        """Command lines and environments of a process that a test started, and of all below it, if they are ours."""
        waiting, seen = [pid], 0
        while waiting and (seen := seen + 1) <= MAX_DESCENDANTS:
            each = waiting.pop()
            try:
                words = Path(f"/proc/{each}/cmdline").read_bytes()
                waiting += _children(each)
                if PROGRAM.encode() in words and not SERVICES.isdisjoint(words.decode(errors="replace").split("\0")):
                    self._said[f"command line and environment of process {each}"] = (
                        words + Path(f"/proc/{each}/environ").read_bytes()
                    )
            except OSError:
                continue  # it has ended

    def watch(self) -> None:
        """From now on the things that tests do are seen."""
        _before(jws, "sign_octets", lambda payload, *_, **__: self._signed(payload))
        _before(site_config, "load", lambda path: self._places.add(Path(path).resolve()))
        _before(durable, "replace_all", lambda files: [self._wrote(path) for path, _ in files])
        for name in ("append", "make_folder"):
            _before(durable, name, lambda path, *_, **__: self._wrote(path))
        popen = subprocess.Popen
        begin, communicate = popen.__init__, popen.communicate

        @functools.wraps(begin)
        def began(process: Any, args: Any, *rest: Any, **options: Any) -> None:
            self._started(_words(args))
            begin(process, args, *rest, **options)

        @functools.wraps(communicate)
        def communicated(process: Any, *rest: Any, **options: Any) -> tuple[Any, Any]:
            streams = communicate(process, *rest, **options)
            self._answered(_words(process.args), streams, failed=bool(process.returncode))
            return streams

        popen.__init__, popen.communicate = began, communicated  # type: ignore[method-assign]
        command = warm.run

        @functools.wraps(command)
        def commanded(*words: str, **options: Any) -> subprocess.CompletedProcess[str]:
            self._started([*words])
            done = command(*words, **options)
            self._answered([PROGRAM, *words], (done.stdout, done.stderr), failed=bool(done.returncode))
            return done

        warm.run = commanded
        _before(popen, "send_signal", lambda process, *_: self._look(process.pid))

    # -- hooks of pytest ----------------------------------------------------------------------------------------------

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self) -> None:
        """What was signed while tests were collected is no site's order."""
        self._subjects, self._places, self._said = set(), set(), {}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self) -> Iterator[None]:
        try:
            yield
        finally:
            for child in _children(os.getpid()):
                self._look(child)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Iterator[None]:
        yield
        for _, name, text in item._report_sections:
            if name in ("stderr", "log"):
                self._said[f"captured {name}"] = _logged(text)
        own = getattr(item, "funcargs", {}).get("tmp_path")
        if found := self._conclude(own):
            self.tally.findings += len(found)
            raise Finding("; ".join(found))

    def _conclude(self, own: Path | None) -> list[str]:
        """The findings of one test whose own folder this is; other places are left for the end."""
        subjects, places, said = self._subjects - PUBLISHED, self._places, self._said
        self._subjects, self._places, self._said = set(), set(), {}
        self._all |= subjects
        mine = set()
        for place in places:
            if own is not None and place.is_relative_to(own):
                mine.add(place)
            elif not place.is_relative_to(ROOT):
                self._shared.setdefault(place, set()).update(subjects)
        finder = Finder(subjects)
        if not finder:
            return []
        found = [f"{name}: {why}" for name, octets in said.items() if (why := self._find(finder, octets))]
        return found + [each for place in _outermost(mine) for each in self._search(finder, place)]

    def _search(self, finder: Finder, place: Path) -> Iterator[str]:
        for path in self._entries(place):
            why = finder.find(os.fsencode(path.name))
            if path.is_file():
                try:
                    why |= self._find(finder, path.read_bytes())
                except OSError:
                    continue  # it went with the process that had it
                self.tally.files += 1
            if why:
                yield f"{path}: a subject's identity ({', '.join(sorted(why))})"

    def _entries(self, place: Path) -> Iterator[Path]:
        """The daemon's files and folders at or below `place`."""
        if place in self._agencies:
            return
        yield place
        for folder, names, files in os.walk(place):
            names[:] = (name for name in names if name != PERSONS and Path(folder, name) not in self._agencies)
            yield from (Path(folder, name) for name in (*names, *files) if not RECEIVED.fullmatch(name))

    def _find(self, finder: Finder, octets: bytes) -> set[str]:
        octets = octets.rstrip(b"\0")  # what was written ahead
        self.tally.octets += len(octets)
        return finder.find(octets)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        for child in _children(os.getpid()):
            self._look(child)
        self.late += self._conclude(None)
        for place in _outermost(set(self._shared)):
            below = (subjects for each, subjects in self._shared.items() if each.is_relative_to(place))
            if finder := Finder(set().union(*below)):
                self.late += self._search(finder, place)
        every = Finder(self._all)
        for path in (*self._cores(), *([self.temporary] if self.temporary else [])):
            self.late += self._search(every, path)
        self.tally.identities += len(self._all)  # of the workers, in their controller
        self.tally.findings += len(self.late)
        if (out := getattr(session.config, "workeroutput", None)) is not None:
            out[KEY] = json.dumps([msgspec.to_builtins(self.tally), self.late])
        elif self.late:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def _cores(self) -> Iterator[Path]:
        for path in ROOT.glob("core*"):
            if path.is_file() and path.stat().st_mtime >= self._begun:
                yield path

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """A worker of pytest-xdist has ended; this is in its controller."""
        said = getattr(node, "workeroutput", {}).get(KEY)
        if said:
            tally, late = json.loads(said)
            self.tally.add(msgspec.convert(tally, Tally))
            self.late += late

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        tally = self.tally
        terminalreporter.write_line(
            f"redaction: {tally.files} files, {tally.octets} octets searched for {tally.identities} identities of "
            f"subjects: {tally.findings} findings"
        )
        for line in self.late:
            terminalreporter.write_line(f"redaction: {line}", red=True)


def _before(owner: Any, name: str, see: Callable[..., object]) -> None:
    """`see` is called with the arguments of `owner.name` before it is."""
    done = getattr(owner, name)

    @functools.wraps(done)
    def both(*args: Any, **options: Any) -> Any:
        see(*args, **options)
        return done(*args, **options)

    setattr(owner, name, both)


def _words(args: Any) -> list[str]:
    return [args] if isinstance(args, str | bytes | os.PathLike) else [os.fspath(word) for word in args]  # type: ignore[list-item]


def _children(pid: int) -> list[int]:
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        return [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except OSError:
        return []


def _logged(text: str) -> bytes:
    """The lines that the daemon's code wrote in the test's own process: logs are JSON objects."""
    return "\n".join(line for line in text.splitlines() if line.startswith("{")).encode()


def _outermost(places: set[Path]) -> list[Path]:
    return [place for place in sorted(places) if places.isdisjoint(place.parents)]
