"""The administrator's side of reconciliation: hears the reconciler, asks the functions about themselves, compares.

Answers for the three counts of 47 CFR 1.20004(c): taps that are there == live cases == certifications. It enters
Reconciled (when something differs, and once an hour when nothing does), opens an incident for each difference that is
believed (core/records/reconciliation.py says when), and raises an alarm when the reconciler is silent for two
intervals or can no longer look where it looked before. The reconciler has a socket of its own and can say nothing but
what it sees.

May not: take the reconciler's word for authority to start or stop anything. What is found is told to people; a phantom
tap is evidence, and pulling it is theirs to decide.
"""

from __future__ import annotations

import pwd
from collections.abc import Callable
from typing import Any, Final

import apsw
import msgspec
import trio

from mediation.administration.order.orders import Orders
from mediation.administration.order.stored import Stored
from mediation.administration.records.incidents import Incidents
from mediation.administration.tasking import Tasking
from mediation.core.case import RUNNING
from mediation.core.errors import MediationError, RemoteProtocolError
from mediation.core.interface import x1
from mediation.core.ledger import entry
from mediation.core.records import incident
from mediation.core.records.alarm import Alarm
from mediation.core.records.incident import BY_HAND, Noted, Observation, Rule, Tap, What
from mediation.core.records.reconciliation import Judge, Reported, Verdict, silent
from mediation.core.units import NS, US
from mediation.runtime import log, sockets
from mediation.runtime.config import Site

SOCKET: Final = "administrator.reconciler"
RECEIVE_OCTETS: Final = 65_536
MAX_CONNECTIONS: Final = 4  # the process, and a command of `mediation reconcile once`
HOUR_NS: Final = 3_600 * NS
LOOK_S: Final = 1.0  # how late silence is noticed at most

logger = log.get("administrator")


class _SaidTap(msgspec.Struct):
    name: str
    interface: str
    inode: int


class _Said(msgspec.Struct):
    """What is wanted of a function's report; it may be anybody's words."""

    tasks: int
    taps: tuple[_SaidTap, ...] = ()


def listen(site: Site) -> trio.SocketListener:
    """The reconciler's socket: its user's, where this process may give it away."""
    owner: tuple[int, int] | None = None
    try:
        found = pwd.getpwnam(site.reconciliation.user)
        owner = (found.pw_uid, found.pw_gid)
        return sockets.listen(site.run_dir, SOCKET, owner=owner)
    except (KeyError, PermissionError):  # not root: a unit's socket has its owner from the unit
        return sockets.listen(site.run_dir, SOCKET)


class Reconciling:
    """Of one administrator; `now_ns` is the authority clock."""

    def __init__(self, site: Site, orders: Orders, tasking: Tasking, now_ns: Callable[[], int]) -> None:
        self.incidents = Incidents(orders)
        self._site, self._orders, self._tasking, self._now_ns = site, orders, tasking, now_ns
        rules = [
            Rule(
                what=each.what, namespace=each.namespace, interface=each.interface, uid=each.uid,
                protocol=each.protocol, command=each.command, executable_sha256=each.executable_sha256,
                filter_sha256=each.filter_sha256, detail=each.detail,
            )
            for each in site.reconciliation.expected
        ]  # fmt: skip
        self._judge = Judge(rules, [(iap.interface, iap.namespace) for iap in site.iaps])
        self._heard_us = now_ns() // 1000
        self._silent = False
        self._unseen: frozenset[str] | None = None
        self._entered_ns = 0
        self._differences = 0
        self._rounds = 0
        orders.counters.update(observations=0, differences=0, not_looked_at=0)

    async def run(self, listener: trio.SocketListener) -> None:
        """Until cancelled."""
        limit = trio.CapacityLimiter(MAX_CONNECTIONS)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch)
            while True:
                nursery.start_soon(self._serve, await sockets.accept(listener), limit)

    async def _watch(self) -> None:
        """An alarm for each silence."""
        while True:
            now_us = self._now_ns() // 1000
            quiet = silent(self._heard_us, self._site.reconciliation.interval_s, now_us)
            if quiet and not self._silent:
                self._orders.alarms.sound(
                    Alarm.RECONCILER_SILENT, self._now_ns(), detail=f"since {self._heard_us // US}"
                )
            self._silent = quiet
            await trio.sleep(LOOK_S)

    async def _serve(self, stream: trio.SocketStream, limit: trio.CapacityLimiter) -> None:
        lines = x1.Lines(incident.MAX_LINE_OCTETS)
        async with limit, stream:
            try:
                while octets := await stream.receive_some(RECEIVE_OCTETS):
                    for line in lines.feed(octets):
                        seen = incident.decode_observation(line)
                        await stream.send_all(incident.encode(Noted(again=await self.observed(seen))))
            except RemoteProtocolError as error:
                self._orders.counters["reconciler_malformed"] += 1
                logger.warning("reconciler_malformed", reason=str(error))
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass

    async def observed(self, seen: Observation) -> bool:
        """One look, compared and entered; whether another is wanted at once. A look by hand has other privileges than
        the process: it breaks no silence, and what it could look at says nothing of what the process cannot."""
        reported = await self._reported()
        now_ns = self._now_ns()
        if seen.number != BY_HAND:
            self._heard_us = now_ns // 1000
            self._sight_lost(seen, now_ns)
        live = [order for order in self._orders if order.state in RUNNING and self._orders.wanted(order)]
        verdict = self._judge.observe(seen, reported, live=len(live))
        self._orders.counters["observations"] += 1
        self._orders.counters["differences"] = verdict.differences
        for finding in verdict.believed:
            await (
                trio.lowlevel.checkpoint()
            )  # each takes tens of milliseconds, and there may be a thousand: stops go on
            logger.error("alarm_difference", what=finding.what.value, incident=finding.identity)
            try:
                agencies = self.incidents.open(finding, seen, now_ns)
                logger.error("incident", incident=finding.identity, agencies=agencies)
            except (MediationError, OSError, apsw.Error) as error:
                # The alarm stands in the log and the reconciler's own; the papers are missing, and that is said.
                self._orders.counters["incidents_not_kept"] += 1
                logger.error("alarm_incident_not_kept", incident=finding.identity, reason=str(error))  # noqa: TRY400
            if finding.what is What.TAP_GONE:
                self._orders.alarms.sound(Alarm.TAP_GONE, now_ns, detail=f"{finding.detail} {finding.identity}")
        self._enter(verdict, live, now_ns)
        return verdict.again

    def _enter(self, verdict: Verdict, live: list[Stored], now_ns: int) -> None:
        """Reconciled: at once when the number of differences changes, else once an hour."""
        self._rounds += 1
        if verdict.differences == self._differences and now_ns - self._entered_ns < HOUR_NS:
            return
        certificates = self._orders.records.certificates
        certified = [order for order in live if certificates.of_order(order.xid)]
        record = entry.Reconciled(
            time_us=now_ns // 1000, taps=verdict.taps, cases=len(live), certifications=len(certified),
            differences=verdict.differences, rounds=self._rounds,
        )  # fmt: skip
        self._orders.note(record, stop=True)
        self._entered_ns, self._differences, self._rounds = now_ns, verdict.differences, 0

    def _sight_lost(self, seen: Observation, now_ns: int) -> None:
        """What the reconciler could look at in its last observation and now cannot."""
        unseen = frozenset(seen.unseen)
        if self._unseen is not None and (lost := unseen - self._unseen):
            detail = f"{', '.join(sorted(lost))[:100]} {now_ns // NS}"
            self._orders.alarms.sound(Alarm.RECONCILER_BLIND, now_ns, detail=detail)
        self._unseen = unseen
        self._orders.counters["not_looked_at"] = len(unseen)

    async def _reported(self) -> Reported | None:
        """What the functions say of themselves; None when the access function is away."""
        reports: dict[str, _Said | None] = {}

        async def ask(name: str) -> None:
            reports[name] = self._said(name, await getattr(self._tasking, name).report())

        async with trio.open_nursery() as nursery:
            for name in ("mediator", "iap"):
                nursery.start_soon(ask, name)
        iap = reports["iap"]
        if iap is None:
            return None
        tasks, armed = {}, {}
        for name in ("mediator", "iap"):
            function, report = getattr(self._tasking, name), reports[name]
            if report is not None and function.connected and not function.busy(None):
                tasks[name], armed[name] = report.tasks, len(function.armed)
        by_name = {point.name: point for point in self._site.iaps}
        taps = tuple(
            Tap(tap.name, tap.interface, by_name[tap.name].namespace, tap.inode)
            for tap in iap.taps
            if tap.name in by_name
        )
        certificates = self._orders.records.certificates
        intercepted = [self._orders.get(carrier) for carrier in self._tasking.iap.armed]
        without = [each for each in intercepted if each is not None and not certificates.of_order(each.xid)]
        return Reported(taps=taps, tasks=tasks, armed=armed, uncertified=len(without))

    def _said(self, name: str, report: dict[str, Any] | None) -> _Said | None:
        """A report taken apart; one that is none counts like none at all."""
        try:
            return None if report is None else msgspec.convert(report, _Said)
        except msgspec.ValidationError:
            self._orders.counters["reports_malformed"] += 1
            logger.error("report_malformed", peer=name)  # noqa: TRY400
            return None
