"""One function as the administrator sees it: the connection to its X1 socket, and what it is still to be told.

Answers for the order of what is said (stops first, then the roster and revocations, then the ledger's head, the proofs
of the roster's changes, then the orders), for a bounded number of requests on their way, and for telling everything
again after either side has restarted. Decides nothing: `tasking` says what an order wants.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec
import trio

from mediation.administration.order.stored import Stored
from mediation.administration.persons.entries import Shown
from mediation.administration.silence import Silence
from mediation.core.case import ENDED, State
from mediation.core.check import Check
from mediation.core.errors import AuthorizationError, LedgerError, RemoteProtocolError
from mediation.core.interface import x1
from mediation.core.units import NS
from mediation.runtime import log, sockets

if TYPE_CHECKING:
    from mediation.administration.tasking import Tasking

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.02, 0.25  # between attempts to connect: a function that is back is found at once
WINDOW = 128  # requests on the way to one function, a tenth of a second of its work: no stop waits behind more
REFILL = 64  # of them are sent together, once so many have been answered. Ours
REPORT_LIMIT_S = 2.0
RECEIVE_OCTETS = 65_536
MAX_SIZE_DIGITS = 16
TOLD = ("roster", "roster_proof", "revocation")  # what ends tasks, or lets others begin

logger = log.get("administrator")


class Sent(msgspec.Struct):
    """A request on its way. `act` is armed, changed, disarmed, suspended, head, report, ping or one of TOLD; `sequence`
    of a head is its size. `waited`: the function holds the order already, and was asked to judge it."""

    act: str
    order: Stored | None = None
    sequence: int = 0
    dde_off: bool = False
    waited: bool = False
    report: trio.MemorySendChannel[dict[str, Any]] | None = None


class Function:
    """One function: the connection to it, and what it is to be told."""

    def __init__(self, name: str, tasking: Tasking) -> None:
        self.name = name
        self.connected = False
        self.armed: dict[str, tuple[int, bool]] = {}  # the acts it accepted and whether less digits, by carrier token
        self.answers: dict[str, str] = {}  # DONE or the check it refused by, by carrier token
        self._tasking = tasking
        # Taken from the front: of a plain dict that takes longer with each that was taken before.
        self._stops: OrderedDict[str, Stored] = OrderedDict()
        self._holds: OrderedDict[str, Stored] = OrderedDict()  # suspended
        self._arms: OrderedDict[str, Stored] = OrderedDict()
        self._judges: OrderedDict[str, Sent] = OrderedDict()  # held there, to be judged when nothing else is left
        self._reports: deque[trio.MemorySendChannel[dict[str, Any]]] = deque()
        self._sent: deque[Sent] = deque()
        self._at_once: set[str] = set()  # carrier tokens of orders that may not wait
        self._roster = False  # it is to be told of the roster before anything is armed
        self.shown = Shown(tasking.orders.entries)
        self._revocations: deque[str] = deque()
        self._busy: Counter[str] = Counter()
        self._wake = trio.Event()
        wake = lambda: self._wake.set()  # noqa: E731, PLW0108  (another event each time)
        self.silence = Silence(lambda: bool(self._sent), wake, lambda: tasking.silent(self))
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
            self._judges.pop(order.carrier_sha256, None)
        elif order.state in ENDED:
            self._arms.pop(order.carrier_sha256, None)
            self._judges.pop(order.carrier_sha256, None)
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
            told = any(sent.order is not None or sent.act in TOLD for sent in self._sent)
            waiting = bool(self._stops or self._holds or self._arms or self._judges)
            return waiting or told or self._roster or bool(self._revocations)
        held = carrier_sha256 in self._stops or carrier_sha256 in self._holds or carrier_sha256 in self._arms
        return held or carrier_sha256 in self._judges or self._busy[carrier_sha256] > 0

    @property
    def arming(self) -> bool:
        """Whether orders are still to be told, or their answers to come; what waits unjudged can do so."""
        return bool(self._arms) or any(sent.order is not None and not sent.waited for sent in self._sent)

    def go_on(self) -> None:
        """Somebody else has answered: what was left to the end may be asked for now."""
        if self._judges and not self._tasking.behind(self):
            self._wake.set()

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
        with trio.move_on_after(REPORT_LIMIT_S), suppress(trio.EndOfChannel):
            return await receive.receive()
        if send in self._reports:  # else they gather before one that stands still
            self._reports.remove(send)
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
                    await self.silence.ends(stream)
                    await self._session(stream)
            except* (trio.BrokenResourceError, trio.ClosedResourceError):
                pass
            except* RemoteProtocolError as group:
                self._tasking.counters["x1_protocol_errors"] += 1
                logger.error("x1_protocol_error", peer=self.name, error=str(group.exceptions[0]))  # noqa: TRY400  (no traceback wanted)
                pause = LONGEST_PAUSE_S
            finally:
                self._forget()
            logger.warning("x1_disconnected", peer=self.name)
            if pause == LONGEST_PAUSE_S:  # who speaks nonsense is not told everything again without a rest
                await trio.sleep(pause)

    async def _session(self, stream: trio.SocketStream) -> None:
        await self._tasking.before(self)
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
        for order in self._tasking.orders.lost:
            self.want(order)
        self.met.set()
        logger.info("x1_connected", peer=self.name, orders=len(self._arms))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._send, stream)
            nursery.start_soon(self.silence.watch, nursery.cancel_scope)
            await self._receive(stream)
            nursery.cancel_scope.cancel()

    def _forget(self) -> None:
        """The connection is gone: what was under way is unknown, and all is told again at the next."""
        self.connected = self._roster = self._head_due = False
        waiting = [*self._arms.values(), *(sent.order for sent in self._sent if sent.order is not None)]
        for channel in (*self._reports, *(sent.report for sent in self._sent if sent.report is not None)):
            channel.close()
        for held in (
            self._stops, self._holds, self._arms, self._judges, self._at_once, self._sent, self._reports,
            self._revocations, self._busy, self.armed, self.answers,
        ):  # fmt: skip
            held.clear()
        for order in waiting:
            self._tasking.answered(self, order)
        self._tasking.move()

    async def _send(self, stream: trio.SocketStream) -> None:
        while True:
            lines: list[bytes] = []
            full = self._full()
            while not full and len(self._sent) < WINDOW and (line := self._next()) is not None:
                lines.append(line)
            if lines:
                await stream.send_all(b"".join(lines))
                continue
            self._tasking.move()
            self._wake = trio.Event()
            if self._full() or not self._waiting():
                await self._wake.wait()

    def _full(self) -> bool:
        """Whether to wait for answers. What only arms goes many at a time: the functions then read and answer so."""
        narrows = self._stops or self._holds or self._reports or self._revocations or self._roster
        return len(self._sent) > (WINDOW - 1 if narrows else WINDOW - REFILL)

    def _waiting(self) -> bool:
        if self._stops or self._holds or self._reports or self._revocations or self._roster or self.silence.due:
            return True
        if self._head_due and self._head_under_way():
            return False  # it, and what is proven under it, waits for the answer to the head before
        more = bool(self._arms) or self._head_due or self.shown.due
        return more or (bool(self._judges) and not self._tasking.behind(self))

    def _head_under_way(self) -> bool:
        return any(sent.act == "head" for sent in self._sent)

    def _next(self) -> bytes | None:
        """The next request's line, noted as sent: the roster, which can end many tasks at once, then stops."""
        if self._roster:
            self._roster = False
            self.shown.again()
            self._note(Sent(act="roster"))
            return x1.encode(x1.Roster(lines=self._tasking.orders.trust.roster.lines))
        if self._revocations:  # stops too; before the stop of the order, which does not say why it is
            self._note(Sent(act="revocation"))
            return x1.encode(x1.RevokeToken(revocation=self._revocations.popleft()))
        if self._stops:
            _, order = self._stops.popitem(last=False)
            self._note(Sent(act="disarmed", order=order))
            return x1.encode(x1.DeactivateTask(xid=order.xid))
        while self._holds:
            _, order = self._holds.popitem(last=False)
            if order.state is State.SUSPENDED:  # else it was resumed meanwhile
                self._note(Sent(act="suspended", order=order, sequence=order.suspended_at))
                return x1.encode(x1.SuspendTask(xid=order.xid, sequence=order.suspended_at))
        if self._reports:
            self._note(Sent(act="report", report=self._reports.popleft()))
            return x1.encode(x1.ReportStatus())
        if self.silence.due:
            self._note(Sent(act="ping"))
            return self.silence.ping()
        if self._head_due:
            if self._head_under_way():
                return None
            self._head_due = False
            try:
                return x1.encode(self._head())
            except LedgerError as error:  # a tile that was changed under this process
                self._tasking.counters["heads_not_proven"] += 1
                logger.error("alarm_head_not_proven", peer=self.name, reason=str(error))  # noqa: TRY400
        if (proofs := self.shown.line()) is not None:
            self._note(Sent(act="roster_proof"))
            return proofs
        orders = self._tasking.orders
        while self._arms:
            carrier, order = self._arms.popitem(last=False)
            shown, dde_off = orders.standing(order)
            if not orders.wanted(order) or self.armed.get(carrier) == (shown, dde_off):
                continue
            if self._busy[carrier] and self._on_its_way(order, shown, dde_off=dde_off):
                continue
            new = carrier not in self.armed
            try:
                line = self._tasking.admitted(order, new=new, dde_off=dde_off, may_wait=carrier not in self._at_once)
            except AuthorizationError as error:
                # Nobody is told of an order that this process itself does not find good (a key left its ring …).
                logger.error("order_not_admitted", case=order.case, check=error.check)  # noqa: TRY400
                self._tasking.outcome(self, Sent(act="armed", order=order, sequence=shown), error.check)
                continue
            self._note(Sent(act="armed" if new else "changed", order=order, sequence=shown, dde_off=dde_off))
            return line
        if self._judges and not self._tasking.behind(self):
            _, sent = self._judges.popitem(last=False)
            assert sent.order is not None
            self._note(sent)
            return x1.encode(x1.JudgeTask(xid=sent.order.xid))
        return None

    def _on_its_way(self, order: Stored, shown: int, *, dde_off: bool) -> bool:
        """Whether just this was told already, and nothing since that could make its answer another one."""
        for sent in reversed(self._sent):
            if sent.act in (*TOLD, "disarmed", "suspended"):
                return False
            if sent.order is order and (sent.sequence, sent.dde_off) == (shown, dde_off):
                return sent.act in ("armed", "changed")
        return False

    def _head(self) -> x1.Head:
        """The witnessed head, and that it contains the one before."""
        ledger = self._tasking.orders.ledger
        witnessed, first = ledger.witnessed, self._head_size
        path = ledger.consistency(first, witnessed.size) if first < witnessed.size else []
        self._note(Sent(act="head", sequence=witnessed.size))
        return x1.Head(checkpoint=witnessed.text, first=first, path=tuple(node.hex() for node in path))

    def _followed(self, sent: Sent, answer: x1.Answer) -> None:
        """What came of a head. A function that saw another one last says which."""
        if isinstance(answer, x1.Ok):
            self._head_size = sent.sequence
            if answer.again:  # its lease had ended: all that it held is gone
                self.armed.clear()
                for order in self._tasking.orders:
                    self.want(order)
            return
        self._tasking.counters["heads_refused"] += 1
        stated = answer.detail.isascii() and answer.detail.isdigit() and len(answer.detail) < MAX_SIZE_DIGITS
        known = int(answer.detail) if stated else 0
        if answer.check == Check.PROOF_CONSISTENCY and 0 < known <= sent.sequence and known != self._head_size:
            self._head_size, self._head_due = known, True
        else:
            logger.error("alarm_head_refused", peer=self.name, check=answer.check, size=sent.sequence)

    def _note(self, sent: Sent) -> None:
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
                self.silence.heard()
                self._answered(self._sent.popleft(), answer)
            self._tasking.move()
            self._wake.set()

    def _kept_waiting(self, sent: Sent, order: Stored) -> None:
        """The function holds an order unjudged, and judges it when something of it comes: the next can be told."""
        if sent.act != "armed" or sent.waited or order.carrier_sha256 in self._at_once:
            raise RemoteProtocolError("x1: what must be judged now does not wait")
        if self._tasking.orders.wanted(order):
            self._judges[order.carrier_sha256] = msgspec.structs.replace(sent, waited=True)
            self._tasking.answered(self, order)

    def _answered(self, sent: Sent, answer: x1.Answer) -> None:
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
        if isinstance(answer, x1.Ok) and answer.waits:
            self._kept_waiting(sent, sent.order)
            return
        if sent.waited and isinstance(answer, x1.Refused) and answer.check == Check.TASK_UNKNOWN:
            self._at_once.add(carrier)  # judged when something of it came, and refused: told again, it says why
            if self._tasking.orders.wanted(sent.order):
                self.want(sent.order)
            return
        if isinstance(answer, x1.Ok):
            if sent.act == "disarmed":
                self.armed.pop(carrier, None)
            elif sent.act != "suspended":
                self.armed[carrier] = (sent.sequence, sent.dde_off)
        check = answer.check if isinstance(answer, x1.Refused) else ""
        self._tasking.disputes.answered(self.name, carrier, check)
        self._tasking.outcome(self, sent, check)
