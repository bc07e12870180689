"""One showing with real calls: the telephone network, the site with its tap on the switch's wire, and the screen.

It places the calls of the demo's people and prints what the agency gets, as it comes. It judges nothing: what an act
must show, the act checks (`live`, `content`).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from mediation.cli.demo.media import Speech, write_speech
from mediation.cli.demo.network import SPAN, Network
from mediation.cli.demo.people import EVERYBODY, Person
from mediation.cli.demo.screen import Screen
from mediation.cli.demo.sipp import Called, Caller, Running
from mediation.cli.demo.site import LabSite, Line, label

EVENT_LIMIT_S = 8.0  # 47 CFR 1.20007(a)(14)


class Showing:
    """The network, the site and the screen of one showing."""

    def __init__(self, screen: Screen, folder: Path, site_path: Path, case: str) -> None:
        """Builds the network and the site; shows the messages of `case`. Raises ConfigurationError, CommandError."""
        self.screen, self.folder = screen, folder
        self._stack = ExitStack()
        self.traffic = folder / "telephones"
        self.network = self._stack.enter_context(Network(f"mdemo{os.getpid()}"))
        try:
            switch = self.network.switch()
            for person in EVERYBODY:
                self.network.peer(self._home(person), f"{person.address}/16")
            self.site = LabSite(site_path, iaps=(
                f'[[iap]]\nname = "SWITCH-1"\ninterface = "{SPAN}"\nnamespace = "{switch}"\nside = "access"\n'
            ))  # fmt: skip
            self._stack.callback(self.site.stop)
        except BaseException:
            self._stack.close()
            raise
        self.shown = 0
        self.case = case

    @staticmethod
    def _home(person: Person) -> str:
        return person.name.split()[0].lower()

    def close(self) -> None:
        self._stack.close()

    def dial(self, caller: Person, called: Person, steps: Callable[[Caller], Caller], call_id: str) -> Running:
        """A real call between two telephones, under way when this returns."""
        for_called = Called().ring().answer().released()
        home = self.network.namespace
        answering = Running(for_called, home(self._home(called)), called.address, self.traffic / f"{call_id}-called")
        self._stack.callback(answering.stop)
        from_caller = steps(Caller(caller.number, called.number, name=caller.name))
        calling = Running(from_caller, home(self._home(caller)), caller.address, self.traffic / f"{call_id}-caller",
                          remote=called.address, call_id=call_id)  # fmt: skip
        self._stack.callback(calling.stop)
        return calling

    def keys(self, name: str, digits: str) -> tuple[Path, int]:
        """A recording of keys for one party's telephone."""
        self.traffic.mkdir(parents=True, exist_ok=True)
        voice = Speech(ssrc=len(name) << 8 | len(digits))
        file = self.traffic / f"{name}.pcap"
        return file, write_speech(file, [*voice.silence(2), *voice.keys(digits), *voice.silence(2)])

    def show_until(self, wanted: Callable[[Line], bool] | None, limit: float = EVENT_LIMIT_S) -> Line | None:
        """Prints messages as they arrive, up to the one that is wanted; None when it did not come."""
        messages = self.site.messages
        assert messages is not None
        end = time.monotonic() + limit
        while True:
            line = messages.wait(lambda _: True, max(0.0, end - time.monotonic()) if wanted else 0.0, since=self.shown)
            if line is None:
                return None
            self.shown += 1
            if "message" not in line or line["message"] == "content":
                continue
            if line["case"] == self.case or wanted is None or wanted(line):
                self.screen.event(line, "" if line["case"] == self.case else f"  (of the other case, {line['case']})")
            if wanted is not None and wanted(line):
                return line

    def of(self, case: str, since: int = 0) -> list[Line]:
        assert self.site.messages is not None
        return [line for line in self.site.messages.since(since) if line.get("case") == case]


def is_message(case: str, name: str) -> Callable[[Line], bool]:
    return lambda line: line.get("case") == case and name in (line.get("message"), label(line))
