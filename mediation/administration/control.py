"""The administrator's process: serves the commands, keeps windows and functions in step with the orders.

Holds the roster, the ledger's key and the orders' texts. It holds no authority: what it sends is admitted
again by the access function and by the mediator. It listens on Unix sockets below DIR/run only, and connects to the
witnesses of `keys/witness.policy` and the configured time-stamping authorities, and nowhere else.
"""

from __future__ import annotations

import gc
import signal
import socket
import struct
import sys
from collections.abc import Iterable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import msgspec
import trio

from mediation.administration import desk
from mediation.administration.connections import Connections
from mediation.administration.function import Function
from mediation.administration.ledger.asking import Told
from mediation.administration.ledger.heads import open_witnesses
from mediation.administration.ledger.stamps import Stamps, open_stamps
from mediation.administration.lock import lock
from mediation.administration.order.orders import Orders
from mediation.administration.persons.gate import UNKNOWN_UID, Caller
from mediation.administration.persons.inquiries import Inquiries, Prepared
from mediation.administration.records import reconciling
from mediation.administration.records.code import CodeWatch
from mediation.administration.records.reconciling import Reconciling
from mediation.administration.tasking import Tasking
from mediation.core.authority.ahead import Ahead, texts
from mediation.core.authority.roster import digest
from mediation.core.errors import ConfigurationError, MediationError, RemoteProtocolError
from mediation.core.interface import control, x1
from mediation.core.ledger import entry
from mediation.core.records.alarm import Alarm
from mediation.core.units import NS
from mediation.runtime import log, network, sockets
from mediation.runtime.beside import SWITCH_S, Beside
from mediation.runtime.clock import AuthorityClock, HighWater
from mediation.runtime.config import Site
from mediation.runtime.keys import read_policy, read_verifier
from mediation.runtime.systemd import Notifier

SOCKET = "administrator.control"
FOLDER = "administrator"  # private to this function: the ledger's key, the lock, the clock's high-water mark
GARBAGE = (20_000, 20, 100)  # allocations, and rounds, between two looks for garbage: ten thousand orders make little
TICK_S = 1.0  # the longest sleep: a wall clock that was set forward is noticed by then
ARM_LIMIT_S = 10.0  # how long a command waits for the functions' answers
READY_LIMIT_S = 10.0  # how long the start waits for functions that are away
LOCK_LIMIT_S = 5.0
EGRESS_ASK_S, EGRESS_ALARM_S = 1.0, 60.0  # between two looks at what the egress filter dropped, and after an alarm
STAMP_EVERY_S = 60.0  # signed certifications that have no time stamp yet are looked for so often
RECEIVE_OCTETS = 65_536
MAX_COMMANDS_AT_ONCE = 32
MAX_REPORT_DEPTH = 16  # of a function's report, one in another; ours has four

logger = log.get("administrator")


def open_clock(site: Site) -> AuthorityClock:
    """The clock that orders' windows are judged by; it survives restarts."""
    return AuthorityClock(HighWater(site.path / FOLDER / "clock"))


async def serve(site: Site, notifier: Notifier | None = None) -> None:
    """Runs until SIGTERM or SIGINT. Raises ConfigurationError or LedgerError when it may not start."""
    network.keep_to(site.management.interface)
    with await _lock(site):
        clock = open_clock(site)
        told = await remembered(site, clock.now_ns())
        gc.disable()  # what is read of thousands of orders stays: looking through it for garbage is in vain
        try:
            orders = Orders(site, clock.now_ns(), told=told)
        finally:
            gc.freeze()
            gc.set_threshold(*GARBAGE)
            gc.enable()
        try:
            orders.records.plans.check_retention()
            await Administrator(site, orders, clock).run(notifier)
        finally:
            orders.close()


async def remembered(site: Site, now_ns: int) -> tuple[Told, ...]:
    """What each witness remembers of this site's ledger, for the opening. Raises ConfigurationError."""
    ledger = read_verifier(site.keys_dir)
    witnesses = open_witnesses(site, read_policy(site), ledger)
    if witnesses is None:
        return ()
    try:
        return await witnesses.fetch_states(now_s=now_ns // NS)
    finally:
        await witnesses.close()


async def _lock(site: Site) -> AbstractContextManager[None]:
    """The site's lock, waiting for a command that acts in this place. Raises ConfigurationError."""
    with trio.move_on_after(LOCK_LIMIT_S):
        while True:
            try:
                return lock(site.path / FOLDER)
            except BlockingIOError:
                await trio.sleep(TICK_S / 20)
    raise ConfigurationError("the site's administration is held by another process")


class Administrator:
    """Orders, tasking and the control socket under one nursery."""

    def __init__(self, site: Site, orders: Orders, clock: AuthorityClock) -> None:
        self._site = site
        self._orders = orders
        self._clock = clock
        self._inquiries = Inquiries(orders, clock.now_ns())
        self._tasking = Tasking(orders, site.run_dir, clock.now_ns)
        self._stamps = open_stamps(site)
        self._code = CodeWatch(site, orders, clock.now_ns)
        self._reconciling: Reconciling | None = None
        if site.reconciles:
            self._reconciling = Reconciling(site, orders, self._tasking, clock.now_ns)
        self._connections = Connections(MAX_COMMANDS_AT_ONCE)
        self._due = trio.Event()
        self._beside = Beside("signatures")

    async def run(self, notifier: Notifier | None) -> None:
        held = self._orders.trust.roster
        rings = {"roster": held.head, "founding": digest(held.lines[0]) if held.lines else ""}
        now_ns = self._clock.now_ns()
        self._orders.note(entry.KeysLoaded(time_us=now_ns // 1000, rings=rings), stop=True)
        self._code.started()
        if self._orders.counters["ledger_append_failed"] or self._orders.counters["store_write_failed"]:
            self._orders.alarms.sound(Alarm.DISK_FULL, now_ns, detail=f"at the start {now_ns // NS}")
        logger.info("administrator_started", ledger_size=self._orders.ledger.size, **self._orders.counters)
        if self._orders.held:
            logger.error("orders_held", count=len(self._orders.held), why="the store is older than the ledger")
        self._beside.start()
        sys.setswitchinterval(SWITCH_S)
        listener = sockets.listen(self._site.run_dir, SOCKET)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._until_signal, nursery.cancel_scope)
                for function in self._tasking.functions:
                    nursery.start_soon(function.run)
                nursery.start_soon(self._keep_time)
                nursery.start_soon(self._code.run)
                if self._reconciling is not None:
                    nursery.start_soon(self._reconciling.run, reconciling.listen(self._site))
                if self._tasking.egress is not None:
                    nursery.start_soon(self._watch_egress, self._tasking.egress)
                nursery.start_soon(self._orders.heads.run, self._clock.now_ns)
                nursery.start_soon(self._orders.heads.look_at_old_padding, self._clock.now_ns)
                if self._stamps is not None:
                    self._stamps.counters = self._orders.counters
                    now_s = self._clock.now_ns() // NS
                    self._orders.note(*self._stamps.left_over(self._orders.records.stamped, now_s), stop=True)
                    note = partial(self._orders.note, stop=True)  # a ledger that is full ends nothing here
                    nursery.start_soon(self._stamps.run, self._latest, note, self._clock.now_ns)
                    nursery.start_soon(self._stamp_certifications, self._stamps)
                nursery.start_soon(trio.serve_listeners, self._serve, [listener])
                await self._armed(READY_LIMIT_S)
                if notifier is not None:
                    notifier.ready()
        finally:
            self._tasking.flush()
            self._save_clock()

    def _latest(self) -> str:
        return self._orders.ledger.witnessed.text

    async def _armed(self, limit_s: float) -> None:
        """Until the functions have taken all live orders, or the limit has passed."""
        with trio.move_on_after(limit_s):
            for function in self._tasking.functions:
                await function.met.wait()
            await self._tasking.in_force(limit_s)

    async def _until_signal(self, scope: trio.CancelScope) -> None:
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async for _ in signals:
                scope.cancel()
                return

    async def _keep_time(self) -> None:
        """Begins and ends windows when they are due; saves the clock."""
        while True:
            now_ns = self._clock.now_ns()
            self._tasking.disputes.announce(now_ns)  # what waited for its time
            self._orders.advance(now_ns)
            self._save_clock()
            moment_s = self._orders.next_moment_s()
            wait_s = TICK_S if moment_s is None else min(TICK_S, (moment_s * NS - now_ns) / NS)
            self._due = trio.Event()
            with trio.move_on_after(max(wait_s, 0.0)):
                await self._due.wait()

    def _save_clock(self) -> None:
        try:
            self._clock.save()
        except OSError as error:  # a full disk must not take the stops with it
            logger.error("alarm_clock_not_saved", reason=error.strerror)  # noqa: TRY400

    async def _stamp_certifications(self, stamps: Stamps) -> None:
        """For ever: has each signed certification stamped by each authority (RFC 3161); one that is away is asked
        again."""
        while True:
            askable = stamps.askable(self._clock.now_ns() // NS)
            for signature in self._orders.records.certificates.unstamped(askable):
                try:
                    done = await stamps.stamp_document(signature.encode(), self._clock.now_ns() // NS)
                except OSError as error:
                    self._orders.counters["stamps_not_written"] += 1
                    logger.error("alarm_stamp_not_written", error=error.strerror)  # noqa: TRY400
                    break
                self._orders.note(*(each.record for each in done if each.record is not None), stop=True)
                for failed in (each for each in done if each.record is None):
                    logger.warning("not_stamped", authority=failed.authority, why=failed.failure)
            await trio.sleep(STAMP_EVERY_S)

    async def _watch_egress(self, egress: Function) -> None:
        """For ever: packets that the egress filter dropped since it was last asked become an alarm in the ledger, the
        first at once and no more than one in EGRESS_ALARM_S."""
        said: int | None = None
        while True:
            report = await egress.report()
            total = report.get("refused_packets") if report is not None else None
            pause = EGRESS_ASK_S
            if isinstance(total, int) and total >= 0:
                fresh = total - said if said is not None and total >= said else total
                now_ns = self._clock.now_ns()
                if fresh:
                    detail = f"{fresh} packets by {now_ns // NS}"
                    self._orders.alarms.sound(Alarm.EGRESS_REFUSED, now_ns, detail=detail)
                    pause = EGRESS_ALARM_S
                said = total
            await trio.sleep(pause)

    async def _serve(self, stream: trio.SocketStream) -> None:
        """One command's connection."""
        lines = x1.Lines(control.MAX_LINE_OCTETS)
        caller = Caller(uid=_peer_uid(stream))
        with self._connections.one() as scope:
            async with stream:
                try:
                    while octets := await self._heard(stream, scope):
                        for line in lines.feed(octets):
                            answer = await self._answer(line, caller)
                            await self._say(stream, scope, answer)
                            if caller.over:
                                return
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    pass
                except RemoteProtocolError as error:
                    self._orders.counters["control_protocol_errors"] += 1
                    logger.warning("control_refused", error=str(error))

    async def _heard(self, stream: trio.SocketStream, scope: trio.CancelScope) -> bytes | bytearray:
        with self._connections.waiting(scope):
            return await stream.receive_some(RECEIVE_OCTETS)

    async def _say(
        self, stream: trio.SocketStream, scope: trio.CancelScope, answer: control.Answer | Prepared
    ) -> None:  # fmt: skip
        """An answer; an export is read in a thread: a stop does not wait for it."""
        parts: Iterable[control.Answer]
        if not isinstance(answer, Prepared):
            parts = (answer,)
        else:
            try:
                parts = control.parts(await trio.to_thread.run_sync(answer.make))
            except MediationError as error:
                parts = (control.Failed(detail=str(error)),)
            except (msgspec.MsgspecError, OSError, ValueError) as error:  # a file that was changed or taken meanwhile
                self._orders.counters["exports_failed"] += 1
                parts = (control.Failed(detail=f"export: {type(error).__name__}"),)
        with self._connections.waiting(scope):
            for part in parts:
                await stream.send_all(control.encode(part))

    async def _answer(self, line: bytes, caller: Caller) -> control.Answer | Prepared:
        try:
            request = control.decode_request(line)
        except RemoteProtocolError as error:
            self._orders.counters["control_protocol_errors"] += 1
            return control.Failed(detail=str(error))
        if isinstance(request, control.Status):
            return await self._report()
        if isinstance(request, control.Submit) and not caller.over:
            await self._verify_ahead(request)
        answer = self._inquiries.handle(request, caller, self._clock.now_ns())
        self._orders.trust.forget_parts()
        self._due.set()  # the next moment may be nearer now
        if isinstance(request, control.Settle | control.ChangeRoster | control.RevokeAgency):
            await self._tasking.settled(None, ARM_LIMIT_S)
        elif isinstance(answer, control.Results) and getattr(request, "wait", False):
            orders = desk.touched(self._orders, answer)
            await self._tasking.settled({order.carrier_sha256 for order in orders}, ARM_LIMIT_S)
            return desk.with_functions(answer, {order.xid: self._tasking.answers(order) for order in orders})
        return answer

    async def _verify_ahead(self, request: control.Submit) -> None:
        """The signatures of many orders, while the functions are told of those before."""
        ahead = Ahead((text for each in request.filings for text in texts(each)), self._orders.trust)
        if ahead.worth_a_thread:
            await self._beside.do(ahead.verify).wait()
        self._orders.trust.learn(ahead)

    async def _report(self) -> control.Report:
        functions: dict[str, dict[str, Any] | None] = {}

        async def ask(name: str) -> None:
            said = await getattr(self._tasking, name).report()
            if not _shallow(said, MAX_REPORT_DEPTH):  # what is told on must fit into an answer
                self._orders.counters["reports_malformed"] += 1
                said = None
            functions[name] = said

        async with trio.open_nursery() as nursery:
            for function in self._tasking.functions:
                nursery.start_soon(ask, function.name)
        report = desk.report(self._orders, functions)
        report.counters.update(self._tasking.counters, connections_ended=self._connections.ended)
        return report


def _shallow(said: object, depth: int) -> bool:
    """Whether a function's report is nested no deeper."""
    inner = said.values() if isinstance(said, dict) else said if isinstance(said, list) else ()
    return depth > 0 and all(_shallow(each, depth - 1) for each in inner)


def _peer_uid(stream: trio.SocketStream) -> int:
    """Whose process is at the other end (unix(7), SO_PEERCRED); UNKNOWN_UID when the kernel does not say."""
    form = struct.Struct("3i")  # struct ucred: pid, uid, gid
    try:
        octets = stream.socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, form.size)
    except OSError:
        return UNKNOWN_UID
    return int(form.unpack(octets)[1])
