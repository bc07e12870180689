"""Keeps the tasks of each function as the orders want them: X1 from the administrator's side (core/x1.py).

Answers for telling every function what to arm, change and stop, again after either side has restarted, and for the
ledger's second entry with what it answered. It gives nothing authority: each request is admitted here before it is
sent, and by the receiver before it is believed.

Order of things: the mediator is armed before the access function, so that nothing arrives that has no taker; stops go
to both at once and before everything that waits. Nothing is sent that the ledger does not have.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec
import trio

from mediation.administration.orders import Orders
from mediation.administration.store import Stored
from mediation.core import authorization, entry, x1
from mediation.core.authorization import NS
from mediation.core.case import ENDED, State, TaskRequest
from mediation.core.check import Check
from mediation.core.errors import AuthorizationError, RemoteProtocolError
from mediation.runtime import log, sockets

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.02, 0.25  # between attempts to connect: a function that is back is found at once
WINDOW = 64  # requests on the way to one function: a stop never waits behind more
OUTCOMES_AT_ONCE = 512  # answers under one checkpoint
ADMITTED_KEPT = 512  # requests; what is on its way to one function and not yet to the other
REPORT_LIMIT_S = 2.0
RECEIVE_OCTETS = 65_536
MAX_SIZE_DIGITS = 16
DONE, AWAY = "done", "away"

logger = log.get("administrator")


class _Sent(msgspec.Struct):
    """A request on its way. `act` is armed, changed, disarmed, suspended, head, report, roster or revocation;
    `sequence` of a head is its size."""

    act: str
    order: Stored | None = None
    sequence: int = 0
    dde_off: bool = False
    report: trio.MemorySendChannel[dict[str, Any]] | None = None


class Function:
    """One function: the connection to it, and what it is to be told."""

    def __init__(self, name: str, tasking: Tasking) -> None:
        self.name = name
        self.connected = False
        self.armed: dict[str, tuple[int, bool]] = {}  # the acts it accepted and whether less digits, by carrier token
        self.answers: dict[str, str] = {}  # DONE or the check it refused by, by carrier token
        self._tasking = tasking
        self._stops: dict[str, Stored] = {}
        self._holds: dict[str, Stored] = {}  # suspended
        self._arms: dict[str, Stored] = {}
        self._reports: deque[trio.MemorySendChannel[dict[str, Any]]] = deque()
        self._sent: deque[_Sent] = deque()
        self._roster = False  # it is to be told of the roster before anything is armed
        self._revocations: deque[str] = deque()
        self._busy: Counter[str] = Counter()
        self._wake = trio.Event()
        self.met = trio.Event()  # it was connected once, and told everything
        self._head_due = False
        self._head_size = 0  # of the head that it saw last, as far as it is known here

    def want(self, order: Stored) -> None:
        """Has the function told what the order wants now; nothing while it is away."""
        if not self.connected:
            return
        if order.state is State.SUSPENDED:  # told as it is, before its act is proven: stops wait for nothing
            self._holds[order.carrier_sha256] = order
        if self._tasking.orders.wanted(order):
            self._arms[order.carrier_sha256] = order
        elif order.state in ENDED:
            self._arms.pop(order.carrier_sha256, None)
            self._holds.pop(order.carrier_sha256, None)
            self._stops[order.carrier_sha256] = order
        self._wake.set()

    def tell_roster(self) -> None:
        """Has the function told who holds which role now; nothing while it is away."""
        if self.connected:
            self._roster = True
            self._wake.set()

    def tell_revocation(self, text: str) -> None:
        """Has the function told that a token was withdrawn; nothing while it is away."""
        if self.connected:
            self._revocations.append(text)
            self._wake.set()

    def busy(self, carrier_sha256: str | None) -> bool:
        """Whether anything (of one order) is still to be answered."""
        if carrier_sha256 is None:
            told = any(sent.order is not None or sent.act in ("roster", "revocation") for sent in self._sent)
            return bool(self._stops or self._holds or self._arms or told or self._roster or self._revocations)
        waiting = (self._stops, self._holds, self._arms)
        return any(carrier_sha256 in each for each in waiting) or self._busy[carrier_sha256] > 0

    def follow(self) -> None:
        """Has the function told of the witnessed head, before anything that is proven under it."""
        if self.connected and self._tasking.orders.ledger.witnessed.size:
            self._head_due = True
            self._wake.set()

    async def report(self) -> dict[str, Any] | None:
        """What the function says of itself; None when it is away or does not answer in time."""
        if not self.connected:
            return None
        send, receive = trio.open_memory_channel[dict[str, Any]](1)
        self._reports.append(send)
        self._wake.set()
        with trio.move_on_after(REPORT_LIMIT_S):
            try:
                return await receive.receive()
            except trio.EndOfChannel:
                pass
        return None

    async def run(self) -> None:
        """For ever: connects, tells everything, keeps telling."""
        pause = FIRST_PAUSE_S
        while True:
            try:
                stream = await sockets.connect(self._tasking.run_dir, f"{self.name}.x1")
            except OSError:
                await trio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE_S)
                continue
            pause = FIRST_PAUSE_S
            try:
                async with stream:
                    await self._session(stream)
            except* (trio.BrokenResourceError, trio.ClosedResourceError):
                pass
            except* RemoteProtocolError as group:
                self._tasking.counters["x1_protocol_errors"] += 1
                logger.error("x1_protocol_error", peer=self.name, error=str(group.exceptions[0]))  # noqa: TRY400  (no traceback wanted)
            finally:
                self._forget()
            logger.warning("x1_disconnected", peer=self.name)

    async def _session(self, stream: trio.SocketStream) -> None:
        self.connected = True
        self._head_size = 0
        self._roster = bool(self._tasking.orders.trust.roster.lines)
        self._revocations.extend(self._tasking.orders.revocations(self._tasking.now_ns()))
        self.follow()
        for order in self._tasking.orders:
            # Those that ended early are told again: they may have ended while nobody was connected.
            if (
                self._tasking.orders.wanted(order)
                or order.state is State.SUSPENDED
                or (order.state in ENDED and order.not_after_s * NS > self._tasking.now_ns())
            ):
                self.want(order)
        self.met.set()
        logger.info("x1_connected", peer=self.name, orders=len(self._arms))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._send, stream)
            await self._receive(stream)
            nursery.cancel_scope.cancel()

    def _forget(self) -> None:
        """The connection is gone: what was under way is unknown, and all is told again at the next."""
        self.connected = self._roster = self._head_due = False
        waiting = [*self._arms.values(), *(sent.order for sent in self._sent if sent.order is not None)]
        for channel in (*self._reports, *(sent.report for sent in self._sent if sent.report is not None)):
            channel.close()
        for held in (
            self._stops,
            self._holds,
            self._arms,
            self._sent,
            self._reports,
            self._revocations,
            self._busy,
            self.armed,
            self.answers,
        ):
            held.clear()
        for order in waiting:
            self._tasking.answered(self, order)
        self._tasking.move()

    async def _send(self, stream: trio.SocketStream) -> None:
        while True:
            lines: list[bytes] = []
            while len(self._sent) < WINDOW and (request := self._next()) is not None:
                lines.append(x1.encode(request))
            if lines:
                await stream.send_all(b"".join(lines))
                continue
            self._tasking.move()
            self._wake = trio.Event()
            if len(self._sent) >= WINDOW or not self._waiting():
                await self._wake.wait()

    def _waiting(self) -> bool:
        if self._stops or self._holds or self._reports or self._revocations or self._roster:
            return True
        if self._head_due and self._head_under_way():
            return False  # it, and what is proven under it, waits for the answer to the head before
        return bool(self._arms) or self._head_due

    def _head_under_way(self) -> bool:
        return any(sent.act == "head" for sent in self._sent)

    def _next(self) -> x1.Request | None:
        """The next request to send, noted as sent; stops first."""
        if self._stops:
            carrier = next(iter(self._stops))
            order = self._stops.pop(carrier)
            self._note(_Sent(act="disarmed", order=order))
            return x1.DeactivateTask(xid=order.xid)
        while self._holds:
            order = self._holds.pop(next(iter(self._holds)))
            if order.state is State.SUSPENDED:  # else it was resumed meanwhile
                self._note(_Sent(act="suspended", order=order, sequence=order.suspended_at))
                return x1.SuspendTask(xid=order.xid, sequence=order.suspended_at)
        if self._roster:
            self._roster = False
            self._note(_Sent(act="roster"))
            return x1.Roster(lines=self._tasking.orders.trust.roster.lines)
        if self._revocations:
            self._note(_Sent(act="revocation"))
            return x1.RevokeToken(revocation=self._revocations.popleft())
        if self._reports:
            self._note(_Sent(act="report", report=self._reports.popleft()))
            return x1.ReportStatus()
        if self._head_due:
            if self._head_under_way():
                return None
            self._head_due = False
            return self._head()
        orders = self._tasking.orders
        while self._arms:
            carrier = next(iter(self._arms))
            order = self._arms.pop(carrier)
            shown, dde_off = orders.standing(order)
            if not orders.wanted(order) or self.armed.get(carrier) == (shown, dde_off):
                continue
            try:
                request = self._tasking.admitted(order)
            except AuthorizationError as error:
                # Nobody is told of an order that this process itself does not find good (a key left its ring …).
                logger.error("order_not_admitted", case=order.case, check=error.check)  # noqa: TRY400
                self._tasking.outcome(self, _Sent(act="armed", order=order, sequence=shown), error.check)
                continue
            new = carrier not in self.armed
            self._note(_Sent(act="armed" if new else "changed", order=order, sequence=shown, dde_off=dde_off))
            kind = x1.ActivateTask if new else x1.ModifyTask
            return kind(request=request, dde_off=dde_off)
        return None

    def _head(self) -> x1.Head:
        """The witnessed head, and that it contains the one before."""
        ledger = self._tasking.orders.ledger
        witnessed, first = ledger.witnessed, self._head_size
        path = ledger.consistency(first, witnessed.size) if first < witnessed.size else []
        self._note(_Sent(act="head", sequence=witnessed.size))
        return x1.Head(checkpoint=witnessed.text, first=first, path=tuple(node.hex() for node in path))

    def _followed(self, sent: _Sent, answer: x1.Answer) -> None:
        """What came of a head. A function that saw another one last says which."""
        if isinstance(answer, x1.Ok):
            self._head_size = sent.sequence
            if answer.again:  # its lease had ended: all that it held is gone
                self.armed.clear()
                for order in self._tasking.orders:
                    self.want(order)
            return
        self._tasking.counters["heads_refused"] += 1
        known = int(answer.detail) if answer.detail.isdigit() and len(answer.detail) < MAX_SIZE_DIGITS else 0
        if answer.check == Check.PROOF_CONSISTENCY and 0 < known <= sent.sequence and known != self._head_size:
            self._head_size, self._head_due = known, True
        else:
            logger.error("alarm_head_refused", peer=self.name, check=answer.check, size=sent.sequence)

    def _note(self, sent: _Sent) -> None:
        self._sent.append(sent)
        if sent.order is not None:
            self._busy[sent.order.carrier_sha256] += 1

    async def _receive(self, stream: trio.SocketStream) -> None:
        lines = x1.Lines()
        while octets := await stream.receive_some(RECEIVE_OCTETS):
            for line in lines.feed(octets):
                answer = x1.decode_answer(line)
                if not self._sent:
                    raise RemoteProtocolError("x1: an answer to nothing")
                self._answered(self._sent.popleft(), answer)
            self._wake.set()

    def _answered(self, sent: _Sent, answer: x1.Answer) -> None:
        if sent.report is not None:
            if isinstance(answer, x1.Ok):
                sent.report.send_nowait(answer.report or {})
            sent.report.close()
            return
        if sent.act == "head":
            self._followed(sent, answer)
            return
        if sent.order is None:
            self._tasking.told(self, sent.act, answer)
            return
        carrier = sent.order.carrier_sha256
        self._busy[carrier] -= 1
        if not self._busy[carrier]:
            del self._busy[carrier]
        if isinstance(answer, x1.Ok):
            if sent.act == "disarmed":
                self.armed.pop(carrier, None)
            elif sent.act != "suspended":
                self.armed[carrier] = (sent.sequence, sent.dde_off)
        self._tasking.outcome(self, sent, answer.check if isinstance(answer, x1.Refused) else "")


class Tasking:
    """The mediator and the access function, as the orders want them. `now_ns` is the authority clock."""

    def __init__(self, orders: Orders, run_dir: Path, now_ns: Callable[[], int]) -> None:
        self.orders = orders
        self.run_dir = run_dir
        self.now_ns = now_ns
        self.counters: Counter[str] = Counter()
        self.mediator = Function("mediator", self)
        self.iap = Function("iap", self)
        self.functions = (self.mediator, self.iap)
        self._outcomes: list[entry.Outcome] = []
        self._admitted: dict[str, TaskRequest] = {}
        self._moved = trio.Event()
        orders.changed = self.changed
        orders.followed = self.follow
        orders.roster_changed = self.roster_changed
        orders.revoked = self.revoked

    def admitted(self, order: Stored) -> TaskRequest:
        """The request for an order, found good by this process; kept a while, since two functions are told of it.

        Raises AuthorizationError.
        """
        request = self._admitted.get(order.carrier_sha256)
        if request is None or len(request.commands) != self.orders.standing(order)[0]:
            request = self.orders.request(order)
            authorization.admit(request, self.orders.trust, self.now_ns())
            self._admitted.pop(order.carrier_sha256, None)
            if len(self._admitted) >= ADMITTED_KEPT:
                del self._admitted[next(iter(self._admitted))]
            self._admitted[order.carrier_sha256] = request
        return request

    def follow(self) -> None:
        """There is a newly witnessed head."""
        for function in self.functions:
            function.follow()
        self.move()

    def changed(self, order: Stored) -> None:
        """An order wants something else than before."""
        self.mediator.want(order)
        if order.state in ENDED or order.state is State.SUSPENDED or not self.mediator.connected:
            self.iap.want(order)

    def roster_changed(self) -> None:
        """Persons, roles or keys are others than before."""
        self._admitted.clear()
        for function in self.functions:
            function.tell_roster()

    def revoked(self, text: str) -> None:
        """A token was withdrawn: told as the signed text, so that it is remembered where it is not armed."""
        for function in self.functions:
            function.tell_revocation(text)

    def told(self, function: Function, act: str, answer: x1.Answer) -> None:
        """What a function said to a roster or a revocation."""
        if isinstance(answer, x1.Refused):
            self.counters["x1_refusals"] += 1
            logger.error(f"{act}_refused", peer=function.name, check=answer.check)
        self.move()

    def answered(self, function: Function, order: Stored) -> None:
        """The mediator has taken a task, or is gone: now the access function."""
        if function is self.mediator:
            self.iap.want(order)

    def outcome(self, function: Function, sent: _Sent, check: str) -> None:
        """Keeps what a function answered for the ledger."""
        assert sent.order is not None
        order = sent.order
        function.answers[order.carrier_sha256] = check or DONE
        if check:
            self.counters["x1_refusals"] += 1
            logger.error("task_refused", case=order.case, peer=function.name, check=check)
        elif sent.act not in ("disarmed", "suspended"):
            self.answered(function, order)
        self._outcomes.append(
            entry.Outcome(
                time_us=self.now_ns() // 1000, case=order.case, xid=order.xid, function=function.name, act=sent.act,
                sequence=sent.sequence, refused=check,
            )
        )  # fmt: skip
        self.move()

    def move(self) -> None:
        """Something was answered: enters it when enough has gathered or nothing more is under way; wakes who waits."""
        idle = not any(function.busy(None) for function in self.functions)
        if self._outcomes and (idle or len(self._outcomes) >= OUTCOMES_AT_ONCE):
            self.flush()
        self._moved.set()
        self._moved = trio.Event()

    def flush(self) -> None:
        """Enters the outcomes gathered so far."""
        outcomes, self._outcomes = self._outcomes, []
        self.orders.outcomes(outcomes)

    async def settled(self, carriers: Iterable[str] | None, limit_s: float) -> None:
        """Until the connected functions have answered for these orders (None: for all), or the limit has passed."""
        waiting: set[str | None] = {None} if carriers is None else set(carriers)
        with trio.move_on_after(limit_s):
            while True:
                waiting = {c for c in waiting if self._busy(c)}
                if not waiting:
                    return
                await self._moved.wait()

    def _busy(self, carrier_sha256: str | None) -> bool:
        if any(function.busy(carrier_sha256) for function in self.functions):
            return True
        if self.orders.heads.lost:
            return False  # nobody can say how long that takes
        if carrier_sha256 is None:
            return any(self.orders.waiting(order) for order in self.orders)
        order = self.orders.get(carrier_sha256)
        return order is not None and self.orders.waiting(order)

    def answers(self, order: Stored) -> dict[str, str]:
        """What each function last answered for an order."""
        if self.orders.waiting(order):
            return dict.fromkeys((function.name for function in self.functions), Check.WITNESSES_AWAY.value)
        return {
            function.name: function.answers.get(order.carrier_sha256, "") if function.connected else AWAY
            for function in self.functions
        }
