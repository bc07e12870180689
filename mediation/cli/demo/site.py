"""A lab site driven from outside, by the commands that people use: for the demo and the tests.

Everything goes through the `mediation` program; nothing here reaches into a function. Standard output of `collect` is
read by a thread, so that an event can be awaited (never slept for) while a call is up.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from mediation.core.errors import MediationError
from mediation.runtime import config

Line = dict[str, Any]  # one message, as `collect` prints it

AGENCY = Path("lab") / "agency"  # of a lab site: what a real site has elsewhere
COMMAND_LIMIT_S = 60.0
READY_LIMIT_S = 120.0
STOP_LIMIT_S = 10.0


class CommandError(MediationError):
    """A command of the site ended with another status than it should."""


def texts(value: Any) -> Iterator[str]:
    """Every text inside a decoded value."""
    match value:
        case str():
            yield value
        case dict():
            for inner in value.values():
                yield from texts(inner)
        case list() | tuple():
            for inner in value:
                yield from texts(inner)


def label(line: Line) -> str:
    """A message and what tells it from another of its kind, in one short line."""
    fields = line.get("fields", {})  # summaries of content have none
    detail: list[str] = []
    match line["message"]:
        case "networkSignal":
            kinds = ("alertingSignal", "subjectAudibleSignal")
            detail = [str(fields[kind]) for kind in kinds if fields.get(kind) not in (None, "notUsed")]
        case "dialedDgtExtrn":
            detail = [str(fields["digits"])]
        case "surveillanceStatus":
            detail = [str(fields["statusEventType"]), "at", str(fields.get("reportingSystemId", "?"))]
        case "subjectSignal":
            detail = sorted(texts(fields.get("signal")))[:1]
        case "release":
            # The status of SIP that ended the call; a call that simply ended has none.
            words = [word for text in texts(fields.get("cause")) for word in re.split(r"\D+", text)]
            detail = [word for word in words if len(word) == 3][:1]
            # One leg of a forked call may end before the call does.
            detail += ["of a leg"] if "leg" in fields.get("callId", {}) else []
    return " ".join([line["message"], *detail])


def free_port() -> int:
    """A TCP port of the loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Lines:
    """What a program printed, as JSON objects, in order; may be awaited."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._lines: list[Line] = []
        self._ended = False
        self._changed = threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for text in self._stream:
            try:
                line = json.loads(text)
            except ValueError:
                line = {"text": text.rstrip()}
            with self._changed:
                self._lines.append(line)
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def __len__(self) -> int:
        with self._changed:
            return len(self._lines)

    def since(self, position: int = 0) -> list[Line]:
        with self._changed:
            return self._lines[position:]

    def wait(self, wanted: Callable[[Line], bool], limit: float, *, since: int = 0) -> Line | None:
        """The first line from `since` on that is wanted; None when the time is up or the program has ended."""
        end = time.monotonic() + limit
        with self._changed:
            while True:
                for line in self._lines[since:]:
                    if wanted(line):
                        return line
                since = len(self._lines)
                left = end - time.monotonic()
                if left <= 0 or self._ended:
                    return None
                self._changed.wait(left)


class LabSite:
    """One lab site, its functions and its collection function."""

    def __init__(self, path: Path, *, iaps: str = "") -> None:
        """Makes the site at `path`, which must not exist. `iaps` is TOML text of [[iap]] tables."""
        self.path = path
        self._functions: subprocess.Popen[str] | None = None
        self._collector: subprocess.Popen[str] | None = None
        self.messages: Lines | None = None
        self.command("init", str(path), "--lab", "--collector-port", str(free_port()))
        with (path / config.FILE).open("a") as settings:
            settings.write(f"\n{iaps}")

    def try_command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Runs `mediation WORDS`, whatever its status."""
        return subprocess.run(  # noqa: S603 - our own program
            [sys.executable, "-m", "mediation.cli.main", *words],
            capture_output=True, text=True, timeout=COMMAND_LIMIT_S, check=False,
        )  # fmt: skip

    def command(self, *words: str) -> str:
        """Runs `mediation WORDS`; its standard output. Raises CommandError with its complaint."""
        done = self.try_command(*words)
        if done.returncode != 0:
            raise CommandError(f"mediation {' '.join(words[:2])}: status {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def order(self, case: str, *targets: str, authority: str = "pen-register", **options: str) -> None:
        """Both lab tokens and an officer's command for one case (`mediation lab order`)."""
        words = ["lab", "order", "--site", str(self.path), "--case", case, "--authority", authority]
        for target in targets:
            words += ["--target", target]
        for name, value in options.items():
            words += [f"--{name}", value]
        self.command(*words)

    def case(self, act: str, case: str, *words: str) -> str:
        """`mediation case ACT CASE`."""
        return self.command("case", act, case, *words, "--site", str(self.path))

    def revoke(self, case: str) -> str:
        """The legal reviewer withdraws a case's legal token (`mediation lab revoke`)."""
        return self.command("lab", "revoke", "--site", str(self.path), "--case", case, "--token", "legal")

    def collect(self, *, content_dir: Path | None = None) -> None:
        """Starts the collection function; it keeps content in `content_dir`, if any."""
        words = ("--content-dir", str(content_dir)) if content_dir else ()
        self._collector = self._start("collect", *words, errors=self.path / AGENCY)  # it names its links
        assert self._collector.stdout is not None
        self.messages = Lines(self._collector.stdout)

    def run(self) -> None:
        """Starts the functions; returns when the taps are armed. Raises CommandError."""
        self._functions = self._start("run")
        assert self._functions.stdout is not None
        lines = Lines(self._functions.stdout)
        if lines.wait(lambda line: line.get("event") == "ready", READY_LIMIT_S) is None:
            said = lines.since()
            self.stop()
            raise CommandError(f"mediation run did not become ready; it said {said}; {self._complaints()}")

    def _complaints(self) -> str:
        tails = []
        for file in sorted([*(self.path / "log").glob("*"), *(self.path / AGENCY).glob("*.stderr")]):
            lines = file.read_text(errors="replace").strip().splitlines()
            tails += [f"{file.name}: {line}" for line in lines[-4:]]
        return " | ".join(tails) or "no log"

    def _start(self, name: str, *words: str, errors: Path | None = None) -> subprocess.Popen[str]:
        # Its errors go to a file of the site, where the searches of the demo find them as well.
        folder = errors or self.path / "log"
        folder.mkdir(exist_ok=True)
        with (folder / f"{name}.stderr").open("ab") as file:
            return subprocess.Popen(  # noqa: S603 - our own program
                [sys.executable, "-u", "-m", "mediation.cli.main", name, "--site", str(self.path), *words],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=file, text=True,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )  # fmt: skip

    def stop_functions(self) -> None:
        """SIGTERM, as a person's ^C; the processes are gone when this returns."""
        self._functions = self._end(self._functions)

    def stop(self) -> None:
        """Ends everything of the site that runs."""
        self.stop_functions()
        self._collector = self._end(self._collector)

    @staticmethod
    def _end(process: subprocess.Popen[str] | None) -> None:
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
