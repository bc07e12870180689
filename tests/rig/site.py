"""The lab site of the rig: as `LabSite`, with an agency that can go away and functions that can be killed.

Orders are made in this process, by the same commands that people type: a tenth of the time of a new interpreter.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import click
from click.testing import CliRunner

from mediation.cli.demo.site import AGENCY, LabSite, Lines, free_port
from mediation.cli.main import group
from mediation.core.errors import MediationError
from mediation.runtime import config
from tests.rig.process import readable

STOP_LIMIT_S, START_LIMIT_S = 10.0, 30.0
ASK_AGAIN_S = 0.02
TMPFS = Path("/dev/shm")


class Journal(Lines):
    """What came to the agency, over all runs of its collection function."""

    def __init__(self) -> None:
        self._lines, self._ended, self._changed = [], False, threading.Condition()

    def follow(self, stream: IO[str]) -> None:
        """Reads another run's output behind what there is; its end ends nothing."""

        def read() -> None:
            for text in stream:
                line = json.loads(text)
                with self._changed:
                    self._lines.append(line)
                    self._changed.notify_all()

        threading.Thread(target=read, daemon=True).start()


class RigSite(LabSite):
    """One lab site under test."""

    def __init__(self, path: Path, *, iaps: str = "") -> None:
        # The machine of the tests is a busy one; a site's processors are not (docs/OPERATING.md, latency settings).
        priorities = "[access]\nrealtime_priority = 20\n[delivery]\nrealtime_priority = 10\n"
        super().__init__(path, iaps=priorities + iaps)
        file = path / config.FILE
        settings = file.read_text()
        if "content_port" not in settings:  # sites of other workers run beside this one
            file.write_text(settings.replace("[lab_agency]\n", f"[lab_agency]\ncontent_port = {free_port()}\n"))

        # docs/OPERATING.md: run/ is on tmpfs. On a disk the tap's thread, which stores into iap.calls there, may stand
        # still while that file's pages are written back, and what media passes meanwhile is lost.
        folder = TMPFS if TMPFS.is_dir() else None
        self._run = tempfile.TemporaryDirectory(prefix="mediation-run-", dir=folder)
        Path(self._run.name).chmod(0o755)  # as `mediation run` makes it
        (path / "run").rmdir()  # as `init` made it: empty
        (path / "run").symlink_to(self._run.name)

    def stop(self) -> None:
        super().stop()
        self._run.cleanup()

    def try_command(self, *words: str) -> subprocess.CompletedProcess[str]:
        runner = CliRunner()
        done = runner.invoke(group, list(words), standalone_mode=False)
        error = done.exception
        status, complaint = 0, done.stderr
        if isinstance(error, MediationError):
            status, complaint = 1, f"mediation: {error}"
        elif isinstance(error, click.ClickException):
            status, complaint = 2, error.format_message()
        elif error is not None and not isinstance(error, SystemExit):
            raise error
        elif done.exit_code:
            status = done.exit_code
        return subprocess.CompletedProcess(words, status, done.stdout, complaint)

    def order(self, case: str, *targets: str, authority: str = "pen-register", **options: str) -> None:
        """As the commands have it; an option with an empty value is a flag."""
        words = ["lab", "order", "--site", str(self.path), "--case", case, "--authority", authority]
        for target in targets:
            words += ["--target", target]
        for name, value in options.items():
            words += [f"--{name}", *([value] if value else [])]
        self.command(*words)

    def collect(self) -> None:
        self._collector = self._start("collect", errors=self.path / AGENCY)
        assert self._collector.stdout is not None
        if self.messages is None:
            self.messages = Journal()
        assert isinstance(self.messages, Journal)
        self.messages.follow(self._collector.stdout)

    def _told_of_ports(self) -> int:
        """How many runs of the collection function have said that they listen."""
        return (self.path / AGENCY / "collect.stderr").read_text(errors="replace").count("collecting on ")

    def until_collecting(self, runs: int) -> None:
        """Returns when the collection function listens for the `runs`th time. Raises AssertionError."""
        end = time.monotonic() + START_LIMIT_S
        while self._told_of_ports() < runs:
            assert self._collector is not None and self._collector.poll() is None, self._complaints()
            assert time.monotonic() < end, f"no collection function: {self._complaints()}"
            time.sleep(ASK_AGAIN_S)

    def run(self) -> None:
        super().run()
        if self._collector is not None:
            self.until_collecting(1)

    @contextmanager
    def agency_away(self) -> Iterator[None]:
        """The collection function is down inside the context and up again behind it."""
        self._collector = self._end(self._collector)
        runs = self._told_of_ports()
        try:
            yield
        finally:
            self.collect()
            self.until_collecting(runs + 1)  # the agency's own time to start is not the mediator's

    def armed(self) -> bool:
        """Whether both functions have every order that is in force. They are told one by one after a restart."""
        told = json.loads(self.try_command("status", "--site", str(self.path), "--json").stdout)
        orders = told["orders"].get("active", 0)
        return all((told["functions"].get(name) or {}).get("tasks") == orders for name in ("iap", "mediator"))

    def pid(self, function: str) -> int:
        """Which process is a function of this site ("iap", "mediator")."""
        assert self._functions is not None
        # Listed under the thread that started them, which need not be the first.
        tables = Path(f"/proc/{self._functions.pid}/task").glob("*/children")
        for child in [int(word) for table in tables for word in table.read_text().split()]:
            words = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
            if function.encode() in words:
                return child
        raise AssertionError(f"no process of the {function}")

    def kill(self, function: str) -> None:
        """SIGKILL; returns when the process is gone. The parent starts another."""
        pid = self.pid(function)
        handle = os.pidfd_open(pid)
        os.kill(pid, signal.SIGKILL)
        try:  # it is the parent's child, not ours: the handle tells when it has ended
            assert readable(handle, STOP_LIMIT_S), f"the {function} lives on"
        finally:
            os.close(handle)

    def freeze(self, function: str) -> None:
        """The function stands still and keeps its sockets (SIGSTOP)."""
        os.kill(self.pid(function), signal.SIGSTOP)

    def thaw(self, function: str) -> None:
        os.kill(self.pid(function), signal.SIGCONT)
