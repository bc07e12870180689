"""Where the live scenarios play: the network, one lab site with a tap on it, and what each scenario may use of them.

One site serves all scenarios, each with its own case, subject, numbers and addresses, so that the functions are started
once and nothing of one scenario can be taken for another's. Nothing waits by sleeping: a scenario's messages are
complete when those of a later call, the fence, have come down the same ordered path.
"""

from __future__ import annotations

import itertools
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from mediation.cli.demo.media import Speech, write_speech
from mediation.cli.demo.network import SPAN, Network, open_socket
from mediation.cli.demo.sipp import SIP_PORT, Called, Caller, Running
from mediation.cli.demo.site import LabSite, Line, label
from tests.rig.forwarder import Diversion, Forwarder
from tests.rig.scenario import Scenario

SCENARIOS_AT_MOST = 60  # addresses given to each peer
EVENT_LIMIT_S = 8.0  # 47 CFR 1.20007(a)(14)
FENCE = "+12025559999"
MAIN_SPAN, TRUNK = "span", "trunk"
COUNTER = itertools.count(1)


class Rig:
    """The network and the site. Use as a context manager; needs root, ip and sipp."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.network = Network(f"mtest{os.getpid()}")
        self._sockets: list[socket.socket] = []
        self._site: LabSite | None = None

    @property
    def site(self) -> LabSite:
        assert self._site is not None
        return self._site

    def __enter__(self) -> Self:
        try:
            self._build()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _build(self) -> None:
        network = self.network
        switch = network.switch()
        numbers = range(1, SCENARIOS_AT_MOST + 1)
        for name, net in (("caller", 1), ("callee", 2), ("third", 3), ("proxy", 4)):
            network.peer(name, *(f"10.77.{net}.{n}/16" for n in numbers), *(f"fd77::{net}:{n:x}/64" for n in numbers))
        network.switch("exchange")
        network.peer("stranger", *(f"10.78.1.{n}/16" for n in numbers), switch="exchange")
        network.peer("sbc", *(f"10.78.2.{n}/16" for n in numbers), switch="exchange")
        own = ", ".join(f'"10.78.2.{n}"' for n in numbers)
        self._site = LabSite(self.folder / "site", iaps=(
            f'[[iap]]\nname = "{MAIN_SPAN}"\ninterface = "{SPAN}"\nnamespace = "{switch}"\nside = "access"\n'
            f'[[iap]]\nname = "{TRUNK}"\ninterface = "{SPAN}"\nnamespace = "{network.namespace("exchange")}"\n'
            f'side = "trunk"\nown = [{own}]\n'
        ))  # fmt: skip
        self.site.order("FENCE", f"tel:{FENCE}")
        self.site.collect()
        self.site.run()
        self._sockets = [open_socket(network.namespace(name)) for name in ("caller", "callee")]
        for end, net in zip(self._sockets, (1, 2), strict=True):
            end.settimeout(EVENT_LIMIT_S)
            end.bind((f"10.77.{net}.{SCENARIOS_AT_MOST}", SIP_PORT))  # the fence's own; no scenario has it

    def close(self) -> None:
        for end in self._sockets:
            end.close()
        if self._site is not None:
            self._site.stop()
        self.network.close()

    def fence(self) -> None:
        """Returns when everything that the tap saw before has arrived at the agency. Raises AssertionError."""
        assert self.site.messages is not None
        start = len(self.site.messages)
        call_id = f"fence-{next(COUNTER)}"
        caller, callee = self._sockets
        common = (
            f"Via: SIP/2.0/UDP 10.77.1.{SCENARIOS_AT_MOST}:5060;branch=z9hG4bK-{call_id}\r\n"
            f"From: <sip:{FENCE}@carrier.example>;tag=f\r\n"
            f"To: <sip:+13035559999@carrier.example>%s\r\nCall-ID: {call_id}\r\nCSeq: 1 %s\r\n"
            "Content-Length: 0\r\n\r\n"
        )
        target = "sip:+13035559999@carrier.example"
        caller.sendto(f"INVITE {target} SIP/2.0\r\n{common % ('', 'INVITE')}".encode(), callee.getsockname())
        callee.recv(65_535)
        callee.sendto(f"SIP/2.0 404 Not Found\r\n{common % (';tag=g', 'INVITE')}".encode(), caller.getsockname())
        caller.recv(65_535)
        caller.sendto(f"ACK {target} SIP/2.0\r\n{common % (';tag=g', 'ACK')}".encode(), callee.getsockname())
        callee.recv(65_535)
        came = self.site.messages.wait(
            lambda line: (line.get("case"), line.get("message")) == ("FENCE", "release"), EVENT_LIMIT_S, since=start
        )
        assert came is not None, "the fence's own call did not reach the agency: is the path up?"

    @contextmanager
    def stage(self, name: str) -> Iterator[Stage]:
        """What the next scenario may use."""
        yield Stage(self, name)


class Stage:
    """What one scenario may use: its subject, its other parties, their addresses, its case and what came of it."""

    def __init__(self, rig: Rig, name: str) -> None:
        self.rig, self.site = rig, rig.site
        number = next(COUNTER)
        self.index = number % (SCENARIOS_AT_MOST - 2) + 1
        self.case = f"S-{name}"[:25]
        self.subject = f"+1202555{1000 + number:04}"
        self.other = f"+1303555{1000 + number:04}"
        self.third = f"+1404555{1000 + number:04}"
        self.folder = rig.folder / name
        self.folder.mkdir(parents=True, exist_ok=True)
        assert rig.site.messages is not None
        self._messages = rig.site.messages
        self._start = len(self._messages)
        self.caller_address = f"10.77.1.{self.index}"
        self.called_address = f"10.77.2.{self.index}"
        self.third_address = f"10.77.3.{self.index}"
        self.proxy_address = f"10.77.4.{self.index}"

    def ipv6(self) -> None:
        """The parties speak IPv6 from here on."""
        self.caller_address, self.called_address = f"fd77::1:{self.index:x}", f"fd77::2:{self.index:x}"

    def order(self, case: str | None = None, **options: str) -> None:
        """An order on the subject under this scenario's case (or another)."""
        self.site.order(case or self.case, f"tel:{self.subject}", **options)

    def out(self, **more: Any) -> Caller:
        """The subject calls the other party."""
        return Caller(self.subject, self.other, **more)

    def into(self, called: str | None = None, **more: Any) -> Caller:
        """The other party calls the subject."""
        return Caller(self.other, called or self.subject, **more)

    def speech(self, packets: list[tuple[int, bytes]]) -> tuple[Path, int]:
        """A recording for `Party.play`: the file and its length in milliseconds."""
        file = self.folder / f"speech{next(COUNTER)}.pcap"
        return file, write_speech(file, packets)

    def keys(self, digits: str, **more: Any) -> tuple[Path, int]:
        """A recording of silence and keys, each stream with its own SSRC."""
        voice = Speech(ssrc=0x5000 + next(COUNTER))
        return self.speech([*voice.silence(2), *voice.keys(digits, **more), *voice.silence(2)])

    @contextmanager
    def running(self, caller: Caller, called: Called | None, *, third: Called | None = None, remote: str | None = None,
                namespaces: tuple[str, str] = ("caller", "callee")) -> Iterator[Running]:  # fmt: skip
        """The call is under way inside the context; at its end it must have gone as written."""
        network, folder = self.rig.network, self.folder
        call_id = f"{self.case}.{next(COUNTER)}@{'v6' if ':' in self.caller_address else self.caller_address}"
        started: list[Running] = []
        try:
            if called is not None:
                where = network.namespace(namespaces[1])
                started.append(Running(called, where, self.called_address, folder / "called"))
            if third is not None:
                started.append(Running(third, network.namespace("third"), self.third_address, folder / "third"))
            calling = Running(
                caller, network.namespace(namespaces[0]), self.caller_address, folder / "caller",
                remote=remote or self.called_address, call_id=call_id,
            )  # fmt: skip
            started.append(calling)
            yield calling
            for party in reversed(started):
                party.wait()
        finally:
            for party in started:
                party.stop()

    def call(self, caller: Caller, called: Called | None, **more: Any) -> None:
        """A call from beginning to end."""
        with self.running(caller, called, **more):
            pass

    @contextmanager
    def proxy(self, diversion: Diversion | None = None, *, lose: frozenset[str] = frozenset()) -> Iterator[str]:
        """A proxy between the parties, with the subject's forwarding service, or with losses; its address."""
        routes = {self.subject: self.called_address, self.other: self.called_address, self.third: self.third_address}
        diversions = {self.subject: diversion} if diversion is not None else {}
        forwarder = Forwarder(
            self.rig.network.namespace("proxy"), self.proxy_address, routes=routes, diversions=diversions, lose=lose
        )
        try:
            yield self.proxy_address
        finally:
            forwarder.close()

    def wait(self, wanted: str, *, case: str | None = None, limit: float = EVENT_LIMIT_S) -> Line:
        """Awaits a message of this scenario's case, by its name or its whole label, while the call is up."""
        case = case or self.case

        def is_it(line: Line) -> bool:
            return line.get("case") == case and wanted in (line["message"], label(line))

        line = self._messages.wait(is_it, limit, since=self._start)
        assert line is not None, f"no {wanted} for {case}; it got {self.received(case)}"
        return line

    def lines(self, case: str | None = None) -> list[Line]:
        """What came for a case so far."""
        return [line for line in self._messages.since(self._start) if line.get("case") == (case or self.case)]

    def received(self, case: str | None = None) -> list[str]:
        """The same as labels, without the case's own activation (its order is part of every scenario)."""
        labels = [label(line) for line in self.lines(case)]
        return [text for text in labels if not text.startswith("surveillanceStatus activation")]

    def settle(self, scenario: Scenario) -> None:
        """Nothing: sipp's processes have ended, so that all their messages had passed the tap."""
        assert scenario.points == ("span",)

    def in_seconds(self, seconds: float) -> tuple[str, float]:
        """A whole second of UTC at least `seconds` ahead, as RFC 3339 and as seconds since 1970."""
        when = int(datetime.now(UTC).timestamp() + seconds) + 1
        return datetime.fromtimestamp(when, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), float(when)


@contextmanager
def built(folder: Path) -> Iterator[Rig]:
    """A rig for a session of tests."""
    with Rig(folder) as rig:
        try:
            yield rig
        finally:
            with suppress(OSError):
                (folder / "status.json").write_text(
                    rig.site.try_command("status", "--site", str(rig.site.path), "--json").stdout
                )
