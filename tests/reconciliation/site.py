"""A lab site whose functions run in a world of their own, the reconciler among them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import trio

from mediation.administration import client, making
from mediation.administration.keys import ledger_files
from mediation.administration.ledger import verify
from mediation.administration.ledger.tiles import CHECKPOINT
from mediation.core.errors import MediationError
from mediation.core.interface.control import Report, Status
from mediation.core.ledger import entry
from mediation.runtime import config
from mediation.runtime.config import Site
from mediation.runtime.keys import read_verifier
from tests import scratch, warm
from tests.reconciliation.world import World, children

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 60.0
LOOK_AGAIN_S = 0.1
INTERVAL_S = 5
IAP = '[[iap]]\nname = "lab-iap"\ninterface = "one"\n'
SETTINGS = f"""
[reconciliation]
on_lab = true
interval_s = {INTERVAL_S}
namespaces = true
processes = true
"""


class Running:
    """`mediation run` inside a world. Entries are read from the ledger's files."""

    def __init__(self, world: World, path: Path, *, settings: str = SETTINGS, iaps: str = IAP) -> None:
        self.world, self.path = world, path
        made = making.make(path, is_lab=True)
        file = path / config.FILE
        file.write_text(file.read_text().replace("[clock]", f"{iaps}\n{settings}\n[clock]", 1))
        self.site: Site = config.load(made.path)
        self._parent: subprocess.Popen[str] | None = None
        self._read: tuple[bytes, list[entry.Record]] = (b"", [])  # under which checkpoint

    def command(self, *words: str, check: bool = True) -> str:
        """`mediation WORDS`, inside the world where it looks at one."""
        if words[0] != "reconcile":
            done = warm.run(*words, limit_s=LIMIT_S)
        else:
            done = subprocess.run(
                self.world.words(sys.executable, "-m", "mediation.cli.main", *words), capture_output=True, text=True,
                check=False, timeout=LIMIT_S, env=self._environment(),
            )  # fmt: skip
        assert not check or done.returncode == 0, done.stderr
        return done.stdout + ("" if check else done.stderr)

    @staticmethod
    def _environment() -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}

    def order(self, case: str, agency_number: int = 1) -> None:
        self.command(
            "lab", "order", "--site", str(self.path), "--case", case, "--target", f"tel:+1212555{agency_number:04d}",
            "--authority", "pen-register",
        )  # fmt: skip

    def start(self) -> None:
        self._parent = subprocess.Popen(
            self.world.words(sys.executable, "-m", "mediation.cli.main", "run", "--site", str(self.path)),
            stdout=subprocess.PIPE, text=True, env=self._environment(),
        )  # fmt: skip
        assert self._parent.stdout is not None
        line = self._parent.stdout.readline()
        assert line, "".join(f"{path.name}: {path.read_text()[-2000:]}\n" for path in (self.path / "log").iterdir())
        assert json.loads(line)["event"] == "ready", line

    def stop(self) -> None:
        if self._parent is not None and self._parent.poll() is None:
            for child in children(self._parent.pid):
                os.kill(child, signal.SIGTERM)
            self._parent.wait(LIMIT_S)

    def pid(self, function: str) -> int:
        """A function's process, in the host's numbers; one that is being started again is waited for."""
        assert self._parent is not None
        (run,) = children(self._parent.pid)
        if function == "run":
            return run
        begun = time.monotonic()
        while time.monotonic() - begun < LIMIT_S:
            tables = Path(f"/proc/{run}/task").glob("*/children")
            for child in [int(word) for table in tables for word in table.read_text().split()]:
                with suppress(OSError):  # it ended meanwhile
                    if function.encode() in Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0"):
                        return child
            time.sleep(LOOK_AGAIN_S)
        raise AssertionError(f"no process of the {function}")

    def kill(self, function: str) -> None:
        os.kill(self.pid(function), signal.SIGKILL)

    def kill_all(self, pids: list[int]) -> None:
        """The parent first, so that nothing is started again."""
        for pid in pids:
            os.kill(pid, signal.SIGKILL)

    def armed(self) -> bool:
        """Whether both functions have every order that is in force."""
        told = self.status()
        if not told:
            return False
        return all(
            (told["functions"].get(name) or {}).get("tasks") == told["orders"].get("active", 0)
            for name in ("iap", "mediator")
        )

    def records(self) -> list[entry.Record]:
        """All entries; the ledger may grow meanwhile, so the read is tried again when it does not hold together."""
        head = (self.site.ledger_dir / CHECKPOINT).read_bytes()
        if self._read[0] == head:
            return self._read[1]
        for _ in range(50):
            found: list[entry.Record] = []
            report = verify.examine(
                ledger_files(self.site), read_verifier(self.site.keys_dir),
                on_record=lambda _, record, found=found: found.append(record),
            )  # fmt: skip
            if not report.problems:
                self._read = report.checkpoint.encode(), found
                return found
            time.sleep(LOOK_AGAIN_S)
        raise AssertionError(report.problems)

    def of(self, kind: type[entry.Entry]) -> list[entry.Entry]:
        return [record for record in self.records() if isinstance(record, kind)]

    def until(self, wanted: Callable[[list[entry.Record]], bool], limit_s: float = LIMIT_S) -> float:
        """Seconds until the ledger has what is wanted."""
        begun = time.monotonic()
        while not wanted(self.records()):
            assert time.monotonic() - begun < limit_s, self.says()
            time.sleep(LOOK_AGAIN_S)
        return time.monotonic() - begun

    def log(self, function: str) -> list[dict[str, object]]:
        """Its log's lines that are JSON."""
        text = (self.path / "log" / f"{function}.log").read_text()
        return [json.loads(line) for line in text.splitlines() if line.startswith("{")]

    def status(self) -> dict[str, Any]:
        """What the administrator reports, whoever is away; empty while it cannot be asked itself."""
        try:
            answer = client.running(self.site, Status())
        except (MediationError, OSError, trio.BrokenResourceError):
            return {}
        return dict(msgspec.to_builtins(answer)) if isinstance(answer, Report) else {}

    def observations(self) -> int:
        """How often the reconciler was heard since the administrator's start."""
        return int(self.status().get("counters", {}).get("observations", 0))

    def until_observed(self, more: int) -> None:
        """Until that many more looks have been compared; a restart of the administrator counts from nothing again."""
        first, begun = self.observations(), time.monotonic()
        while (now := self.observations()) < first + more:
            first = min(first, now)
            assert time.monotonic() - begun < LIMIT_S * more, self.says()
            time.sleep(LOOK_AGAIN_S)

    def says(self) -> str:
        return "\n".join(
            [str(record)[:300] for record in self.records()[-12:]]
            + [f"{name}: {line}" for name in ("reconciler", "administrator", "iap") for line in self.log(name)[-4:]]
        )


@contextmanager
def running(world: World, *cases: str, settings: str = SETTINGS) -> Iterator[Running]:
    """A site with live cases, taps armed, reconciler at work; in a folder that other users can enter."""
    folder = Path(tempfile.mkdtemp(prefix="reconcile-", dir=os.environ.get(scratch.PLACE)))
    folder.chmod(0o755)
    site: Running | None = None
    try:
        world.veth("one", "two")
        site = Running(world, folder / "site", settings=settings)
        site.start()
        for number, case in enumerate(cases, 100):
            site.order(case, number)
        yield site
    finally:
        if site is not None:
            site.stop()
        shutil.rmtree(folder, ignore_errors=True)
