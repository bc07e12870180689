"""The delivery function: PDUs of live tasks in, encoded messages on the agencies' links.

The whole of it, in the order of an event's way:

    run/iap.x2 ─> Intake (X2 octets) ─> Tracker (call models, encoding) ─> Links ─> Spool ─> Link (TLS)
    third parties (TLS) ─> InterceptionPoints ─> the same Tracker (X2) and ContentDelivery (X3)
    run/mediator.x1 ─> TaskTable (authorization.admit) ─> Tracker, Links

One drain of the X2 socket is one pass: read what is there, parse it, make its messages, one append and one send for
each link. Nothing on that way waits: no thread, no lock, no other task.

Answers for: judging each order itself, whoever sent it (core/authority/authorization.py); delivering nothing whose
task is not live at the moment it comes in, so that a revocation or the end of a window acts on the next PDU;
remembering over restarts what has ended. What was generated before an end is still delivered after it (links.py says
why). May not: capture, sign, or open a connection to an address that is not in an order it has verified.

Settings with a measured effect: see delivery/process.py.
"""

from __future__ import annotations

import gc
import signal
import ssl
import time
from typing import Any, Final

import msgspec
import trio

from mediation.core.case import Task
from mediation.core.check import Check
from mediation.core.errors import AuthorizationError, ConfigurationError, EncodingError
from mediation.core.interface import task_table, x1, x2
from mediation.core.units import NS
from mediation.delivery import process
from mediation.delivery.calls import CallJournal
from mediation.delivery.closing import Closings, Gone
from mediation.delivery.content import ContentDelivery, First
from mediation.delivery.early import Early
from mediation.delivery.intake import Intake
from mediation.delivery.interception_point import InterceptionPoints
from mediation.delivery.links import Links
from mediation.delivery.retired import Retired
from mediation.delivery.sender import link_report
from mediation.delivery.tracker import Outgoing, Tracker
from mediation.runtime import clock, identity, keys, log, network, sockets, tls
from mediation.runtime import vault as vaults
from mediation.runtime.config import Site
from mediation.runtime.remembered import Remembered, trust_report
from mediation.runtime.suspended import SuspendedTasks
from mediation.runtime.systemd import Notifier
from mediation.runtime.x1_server import X1Server

X1_SOCKET: Final = "mediator.x1"
CERTIFICATE, KEY, AUTHORITIES = "client.pem", "client.key", "agency-ca.pem"  # below delivery/
CLOCK_FILE, RETIRED_FILE, SUSPENDED_FILE = "mediator.clock", "mediator.stopped", "mediator.suspended"
TICK_S: Final = 1.0  # clock saved, stops saved that a full disk refused, garbage collected
GRAIN_S: Final = 0.2  # the longest that the end of a window can be noticed late when the clock is set forward


class Mediator:
    """One delivery function. Times of orders come from `authority_clock`, those of events from their stamps."""

    def __init__(self, site: Site, nursery: trio.Nursery) -> None:
        """Reads everything that a confined process could not. Raises ConfigurationError."""
        self._site = site
        self._log = log.get("mediator")
        self._identity = identity.Identity(site).report()
        self._wake = trio.Event()
        self._vault = vaults.unlock(site)
        self._planned_ns = 0  # when `_keep_time` looks again of its own accord
        folder = site.delivery_dir
        context = tls.context(ssl.Purpose.SERVER_AUTH, folder / CERTIFICATE, folder / KEY, folder / AUTHORITIES)
        trust = keys.load_trust(site)
        listener = sockets.listen(site.run_dir, X1_SOCKET, owner=sockets.owner_of(site.path))
        network.keep_to(site.delivery.interface)
        for point in site.interception_points if site.delivery.interface else ():
            network.check(f"interception_point {point.name}", site.delivery.interface, point.listen)
        self.points = InterceptionPoints(site.interception_points, folder, self._drained, self._content)
        run_dir, spool_dir = process.confine_to(site)
        try:
            self.retired = Retired(spool_dir / RETIRED_FILE, key := self._vault.name_key("journal"))
        except OSError as error:
            raise ConfigurationError(f"mediator: {RETIRED_FILE}: {error.strerror}") from error
        self._remembered = Remembered(spool_dir, "mediator", key)
        self.suspended = SuspendedTasks(spool_dir / SUSPENDED_FILE, key)
        self._high_water = clock.HighWater(spool_dir / CLOCK_FILE)
        self.authority_clock = clock.AuthorityClock(self._high_water)
        self.journal = CallJournal(spool_dir, self._vault.box("journal"), now_ns=self.authority_clock.now_ns())
        for xid in self.retired:
            self.journal.ended(xid)
        self.early = Early(self.journal, time.monotonic_ns(), third_parties=bool(site.interception_points))
        self.table = task_table.TaskTable(
            self._remembered.believed(trust), self._changed, grace_ns=site.ledger.grace_ns,
            suspended=self.suspended.add, may_wait=self.early.may_wait,
        )  # fmt: skip
        self._x1 = X1Server(listener, self.handle, self.table, self._log, self._taken)
        self.points.judge_by(self.table.get)
        self._remembered.resume(self.table.lease, trust.ledger)
        for xid in self.retired:
            self.table.stop(xid)
        for xid, sequence in self.suspended:
            self.table.hold(xid, sequence)
        self._begun: bytes | None = None  # the order that the X1 request in hand has armed
        self._starts: list[Outgoing] = []  # what newly armed orders say first: handed on before anything else is
        self.tracker = Tracker(
            site.dial_plan,
            site.point_names,
            digit_timeout_ns=site.delivery.digit_timeout_ms * 1_000_000,
            status_messages=site.delivery.surveillance_status,
            journal=self.journal,
        )
        self.links = Links(
            site.name,
            spool_dir,
            context,
            nursery,
            bound_octets=site.delivery.spool_mib << 20,
            now_s=lambda: self.authority_clock.now_ns() // NS,
            vault=self._vault,
        )
        self.content = ContentDelivery(
            run_dir,
            context,
            nursery,
            now_ns=self.authority_clock.now_ns,
            caught_up=self.links.caught_up,
            on_first=self._first_packets,
            on_link=self._content_link,
            point=site.point_names[0] if site.point_names else "",
        )
        self.closings = Closings(self.content, self.tracker.closed)
        self.links.on_caught_up = self.content.open
        self.intake = Intake(run_dir, self._drained)

    async def run(self, notifier: Notifier | None = None) -> None:
        """Serves until it is cancelled."""
        process.prepare()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._x1.run)
            nursery.start_soon(self.intake.run)
            nursery.start_soon(self.content.run)
            nursery.start_soon(self.points.run)
            nursery.start_soon(self._keep_time)
            nursery.start_soon(self._tick)
            if notifier is not None:
                notifier.ready()

    def close(self) -> None:
        """Blocks for a last commit of each spool."""
        self.points.close()
        self._begin_all()
        self.links.deliver(self.closings.end())
        self.links.close()
        self.journal.close()
        self._high_water.close()
        for file in (self._remembered, self.suspended, self.retired):
            file.close()

    # -- events -------------------------------------------------------------------------------------------------------

    def _drained(self, pdus: list[x2.Pdu]) -> None:
        """Everything that one drain of the X2 socket brought."""
        now_ns = self.authority_clock.now_ns()
        for xid in dict.fromkeys(pdu.xid for pdu in pdus) if self.table.waiting else ():
            self.table.judge(xid, now_ns)
            self._release()
        pdus = self.early.hold(pdus, time.monotonic_ns())
        refused = self.tracker.counters.refused_unknown
        self._deliver(self.tracker.observe(pdus, lambda xid: self.table.live(xid, now_ns)))
        if self.tracker.counters.refused_unknown > refused:
            self._log.error("alarm_task_unknown", count=self.tracker.counters.refused_unknown)
        deadline = self.tracker.next_deadline_ns()
        if deadline is not None and deadline < self._planned_ns:
            self._wake.set()

    def _deliver(self, outgoing: list[Outgoing]) -> None:
        """Messages to their links, then content to where they said it goes."""
        now_ns = time.time_ns()
        self._hand_on(self.closings.sort(outgoing, self.tracker.take_bound(), now_ns))
        if len(self.closings):
            self._close(now_ns)
        self.journal.write()  # what was said is remembered to have been said, not the other way round

    def _begin_all(self) -> None:
        """Many orders that are armed one after the other make one append to each link."""
        if self._starts:
            starts, self._starts = self._starts, []
            self.links.deliver(starts)

    def _hand_on(self, gone: Gone) -> None:
        self._begin_all()
        self.links.deliver(gone.messages)
        if gone.bounds:
            self.content.apply(gone.bounds)

    def _close(self, now_ns: int) -> None:
        """Ends of calls whose content is through."""
        while (gone := self.closings.take(now_ns)) is not None:
            self._hand_on(gone)
        due = self.closings.next_ns()
        if due is not None and due < self._planned_ns:
            self._wake.set()

    def _first_packets(self, firsts: list[First]) -> None:
        now_ns = self.authority_clock.now_ns()
        self._deliver(self.tracker.content_seen(firsts, lambda xid: self.table.live(xid, now_ns)))
        self._wake.set()

    def _content_link(self, xids: frozenset[bytes], up: bool) -> None:
        self._deliver(self.tracker.content_link(xids, up, time.time_ns()))

    def _content(self, pdus: list[x2.Pdu]) -> None:
        """X3 of third parties: judged like that of our own access function."""
        self.content.third_party(pdus)

    async def _keep_time(self) -> None:
        """Ends windows at their second and gives the call models their time."""
        while True:
            self._wake = trio.Event()
            self._expire(self.authority_clock.now_ns())
            self._deliver(self.tracker.advance(time.time_ns()))
            pause = GRAIN_S
            if (due := self.closings.next_ns()) is not None:
                pause = min(pause, (due - time.time_ns()) / 1e9)
            if (end := self.table.next_end_ns()) is not None:
                pause = min(pause, (end - self.authority_clock.now_ns()) / 1e9)
            if (deadline := self.tracker.next_deadline_ns()) is not None:
                pause = min(pause, (deadline - time.time_ns()) / 1e9)
            self._planned_ns = time.time_ns() + int(pause * 1e9)
            with trio.move_on_after(max(0.0, pause)):
                await self._wake.wait()

    def _expire(self, now_ns: int) -> None:
        if over := self.table.expire(now_ns):
            self._retire([task.xid for task in over])
            self._log.info("tasks_expired", count=len(over))

    async def _tick(self) -> None:
        while True:
            await trio.sleep(TICK_S)
            gc.collect(1)  # what `process.prepare` took from the events' way
            self.links.tick()
            self.content.tick()
            await self.journal.keep_small(self.tracker.remembers)
            if not self.retired.save():
                self._log.error("alarm_stops_not_saved", failures=self.retired.failures)
            try:
                await trio.to_thread.run_sync(self.authority_clock.save)
            except OSError as error:
                self._log.error("alarm_clock_not_saved", reason=error.strerror)

    # -- tasks --------------------------------------------------------------------------------------------------------

    def _changed(self, change: task_table.Change) -> None:
        """Brings call models and links in line with one change. Raises AuthorizationError to refuse it."""
        before, after, now_ns = change.before, change.after, time.time_ns()
        if before is not None and after is not None:
            self._must_keep_destination(before, after)
        was, will = (task is not None and not task.suspended for task in (before, after))
        if was and not will:
            assert before is not None
            self._silence(before, after, now_ns)
        elif was and will:
            assert before is not None and after is not None
            self._deliver(self.tracker.modify(before, after, now_ns))
            self.content.begin(after)
            self.journal.extended(after.xid, after.not_after_ns)
        elif will:
            assert after is not None
            self._begin(after, now_ns, fresh=before is None)
        if before is None and after is not None and not will:
            self._join(after)  # armed suspended: its link is there when it is resumed
        if after is None and before is not None:
            self.links.leave(before, revoked=change.revoked)
            if not change.lapsed:  # what comes back goes on with its calls
                self.journal.ended(before.xid)
            self.journal.write()

    def _silence(self, task: Task, after: Task | None, now_ns: int) -> None:
        """A task ends, or is suspended: what it made until now goes, and nothing after it."""
        self._begin_all()
        self.content.end(task)  # before anything is said of it
        if self.authority_clock.now_ns() >= task.not_after_ns:
            now_ns = task.not_after_ns  # over by its own time, whatever the wall clock says
        outgoing = self.closings.end(task.xid)
        outgoing += self.tracker.end(task, now_ns) if after is None else self.tracker.suspend(after, now_ns)
        self.tracker.take_bound()
        self.links.deliver(outgoing)
        if after is not None:  # a restart must not play its calls again
            self.journal.ended(task.xid)
            self.journal.write()

    def _join(self, task: Task) -> None:
        try:
            self.links.join(task)
        except (OSError, ConfigurationError) as error:
            self._log.error("alarm_no_spool", reason=str(error))
            raise AuthorizationError(Check.DESTINATION, "the delivery function cannot spool") from error

    def _begin(self, task: Task, now_ns: int, *, fresh: bool) -> None:
        """A task is armed, or resumed when it is not `fresh`."""
        self._join(task)
        try:
            outgoing = self.tracker.begin(task, now_ns)
        except EncodingError as error:
            self.links.leave(task)
            raise AuthorizationError(Check.UNENCODABLE, str(error)) from error
        self.content.begin(task)
        self._starts += outgoing
        inputs = self.journal.armed(task.xid, task.not_after_ns)
        if fresh:
            self.tracker.restore(task, inputs, self.closings, now_ns)
            self._begun = task.xid
        if inputs:
            self._hand_on(Gone([], self.tracker.take_bound()))  # of an earlier process: its messages have gone
            self._deliver([])
        if self.content.down(task):
            self._content_link(frozenset({task.xid}), False)

    @staticmethod
    def _must_keep_destination(before: Task, after: Task) -> None:
        if (before.agency, before.destination) != (after.agency, after.destination):
            raise AuthorizationError(Check.DESTINATION)

    def _retire(self, xids: list[bytes]) -> None:
        if not self.retired.add(xids):
            self._log.error("alarm_stops_not_saved", failures=self.retired.failures)

    def handle(self, request: x1.Request) -> x1.Answer:
        """Carries one X1 request out. Never raises for what a peer sent."""
        now_ns = self.authority_clock.now_ns()
        self._expire(now_ns)
        answer = self.table.handle(request, now_ns, self.report)
        if isinstance(request, x1.DeactivateTask) and isinstance(answer, x1.Ok):
            self._retire([bytes.fromhex(request.xid)])
            self.journal.ended(bytes.fromhex(request.xid))
            self.early.lose(bytes.fromhex(request.xid))
        if isinstance(request, x1.Roster | x1.ProveRoster | x1.RevokeToken):
            self._remembered.keep(self.table.trust)
        self._remembered.followed(self.table.lease)
        self._release()
        if not isinstance(request, x1.ActivateTask):
            self._wake.set()
        return answer

    def _release(self) -> None:
        """What came before the order that was armed just now."""
        if self._begun is not None:
            begun, self._begun = self._begun, None
            if early := self.early.release(begun):
                self._drained(early)

    def _taken(self) -> None:
        """All requests that came in together were carried out: what newly armed orders say first goes as one append."""
        self._begin_all()
        self._wake.set()

    # -- what the operator sees ---------------------------------------------------------------------------------------

    def report(self) -> dict[str, Any]:
        """For ReportStatus: states and counters, no case and no target."""
        return {
            "function": "mediator",
            "tasks": len(self.table),
            "waiting": self.table.waiting,
            "lease": {"ends_ns": self.table.lease.ends_ns, "lapses": self.table.lapses},
            "roster": trust_report(self.table, self._remembered),
            "calls": self.tracker.calls,
            "clock_ahead_ns": self.authority_clock.ahead_ns(),
            "identity": self._identity,
            "x1_malformed": self._x1.malformed,
            "stops_not_saved": self.retired.failures,
            "suspensions_not_saved": self.suspended.unrecorded,
            "stranded_spools": self.links.stranded(),
            "intake": msgspec.to_builtins(self.intake.counters) | {"connected": self.intake.connected},
            "interception_points": self.points.report(),
            "tracker": msgspec.to_builtins(self.tracker.counters),
            "adapted": self.tracker.adapted(),
            "journal": msgspec.to_builtins(self.journal.counters) | msgspec.to_builtins(self.early.counters),
            "content": self.content.report() | {"closing": len(self.closings), "unsettled": self.closings.unsettled},
            "call_models": {name: count for name, count in self.tracker.model_counters().items() if count},
            "links": [link_report(link) for link in self.links],
        }


async def serve(site: Site, notifier: Notifier | None = None) -> None:
    """The mediator's process, from its start to SIGTERM. Raises ConfigurationError."""
    mediator: Mediator | None = None
    try:
        async with trio.open_nursery() as nursery:
            mediator = Mediator(site, nursery)
            nursery.start_soon(mediator.run, notifier)
            with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
                async for _ in signals:
                    nursery.cancel_scope.cancel()
    finally:
        if mediator is not None:
            mediator.close()
