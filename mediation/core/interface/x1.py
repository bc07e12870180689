"""X1, the tasking interface (the role of ETSI TS 103 221-1), and the table of tasks that a function holds.

The administrator connects to each function and sends one JSON object a line; the function answers each with one line,
in order. `TaskTable` is what a function does with a request: it asks `authorization.admit` for itself, whoever sent
it, so a compromised administrator can stop interceptions but start none. Sans-I/O: octets in, octets out.

    line in                                             line out
    {"type":"ActivateTask","id":1,"request":{...}}      {"type":"Ok","id":1}
    {"type":"ModifyTask","id":2,"request":{...}}        {"type":"Refused","id":2,"check":"expired","detail":""}
    {"type":"DeactivateTask","id":3,"xid":"<32 hex>"}   {"type":"Ok","id":3}
    {"type":"SuspendTask","id":4,"xid":"<32 hex>","sequence":2}    {"type":"Ok","id":4}
    {"type":"ReportStatus","id":5}                      {"type":"Ok","id":5,"report":{...}}
    {"type":"Roster","id":6,"lines":[...]}              {"type":"Ok","id":6}
    {"type":"RevokeToken","id":7,"revocation":"..."}    {"type":"Ok","id":7}
    {"type":"Head","id":8,"checkpoint":"...",           {"type":"Ok","id":8}
     "first":4096,"path":["<64 hex>", ...]}

A roster must continue the one that is held, and is judged here from end to end; a revocation carries its maker's
signature. Both end at once the tasks that they leave without authority. Neither can begin anything; a change of the
roster that is told long after its date never will: nothing is armed that needs it (core/authority/trust.py), and the
answer is a refusal by `roster-dates`.

Stopping and suspending need no signature and never fail. A task that was stopped can never be armed again here; one
that was suspended goes on only with a later act of an officer's. When the lease on the ledger's heads ends
(core/authority/lease.py), all tasks stop, and may be armed again after a newer head: the answer to that head says
`again`.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from typing import Annotated, Any, TypeVar

import msgspec

from mediation.core.authority import authorization, standing
from mediation.core.authority.lease import GRACE_NS, NS, Lease
from mediation.core.authority.trust import Trust
from mediation.core.case import Task, TaskRequest
from mediation.core.check import Check
from mediation.core.errors import AuthorizationError, RemoteProtocolError

MAX_LINE_OCTETS = 8 << 20  # an order with MAX_COMMANDS acts, each with its proof, is below 4 MiB
XID_HEX_DIGITS = 32


class Pdu(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type"):
    """Base of all X1 messages; an answer carries the `id` of its request."""

    id: int = 0


class ActivateTask(Pdu, frozen=True, kw_only=True, tag="ActivateTask"):
    """`dde_off`: an act that the request cannot prove yet switched dialed digit extraction off. It narrows only."""

    request: TaskRequest
    dde_off: bool = False


class ModifyTask(Pdu, frozen=True, kw_only=True, tag="ModifyTask"):
    """The same order with more of the officer's acts: digits switched, extended, suspended or resumed."""

    request: TaskRequest
    dde_off: bool = False


class DeactivateTask(Pdu, frozen=True, kw_only=True, tag="DeactivateTask"):
    xid: str


class Head(Pdu, frozen=True, kw_only=True, tag="Head"):
    """A head of the ledger that the quorum cosigned, and the path to it from the one of `first` leaves (hex)."""

    checkpoint: str
    first: int = 0
    path: tuple[str, ...] = ()


class SuspendTask(Pdu, frozen=True, kw_only=True, tag="SuspendTask"):
    """`sequence`: the number of the act that suspends."""

    xid: str
    sequence: Annotated[int, msgspec.Meta(ge=0, le=authorization.MAX_COMMANDS)]


class ReportStatus(Pdu, frozen=True, kw_only=True, tag="ReportStatus"):
    pass


class Roster(Pdu, frozen=True, kw_only=True, tag="Roster"):
    """The whole chain of changes of persons, roles and keys (core/authority/roster.py)."""

    lines: tuple[str, ...]


class RevokeToken(Pdu, frozen=True, kw_only=True, tag="RevokeToken"):
    """A legal or carrier token was withdrawn: the signed text itself."""

    revocation: str


class Ok(Pdu, frozen=True, kw_only=True, tag="Ok", omit_defaults=True):
    """`report` answers ReportStatus: counters and states, by case identity at most. `again` answers a Head: the tasks
    had stopped for want of one, and are to be told again."""

    report: dict[str, Any] | None = None
    again: bool = False


class Refused(Pdu, frozen=True, kw_only=True, tag="Refused"):
    check: str
    detail: str = ""


Request = (
    ActivateTask | ModifyTask | DeactivateTask | SuspendTask | ReportStatus | Roster | RevokeToken | Head
)  # fmt: skip
Answer = Ok | Refused

_requests: msgspec.json.Decoder[Request] = msgspec.json.Decoder(Request)
_answers: msgspec.json.Decoder[Answer] = msgspec.json.Decoder(Answer)
_encoder = msgspec.json.Encoder()
_CHECKS = frozenset(check.value for check in Check)
M = TypeVar("M")


def encode(message: Request | Answer) -> bytes:
    """One line, with its newline."""
    return _encoder.encode(message) + b"\n"


def decode_request(line: bytes) -> Request:
    """Raises RemoteProtocolError."""
    return _decode(line, _requests)


def decode_answer(line: bytes) -> Answer:
    """Raises RemoteProtocolError, also for a refusal by what is no check: its words are entered and logged, and must
    not be the other side's own."""
    answer = _decode(line, _answers)
    if isinstance(answer, Refused) and answer.check not in _CHECKS:
        raise RemoteProtocolError("x1: refused by a check that there is not")
    return answer


def _decode(line: bytes, decoder: msgspec.json.Decoder[M]) -> M:
    try:
        return decoder.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        # The error's own text could quote the line, which may hold a subject.
        raise RemoteProtocolError("x1: not a message of this interface") from None


class Lines:
    """Cuts a byte stream into lines, each bounded by MAX_LINE_OCTETS."""

    def __init__(self, limit: int = MAX_LINE_OCTETS) -> None:
        self._limit = limit
        self._pieces: list[bytes] = []
        self._held = 0

    def feed(self, octets: bytes | bytearray) -> list[bytes]:
        """All lines that are whole now, without their newlines. Raises RemoteProtocolError; the stream is then lost."""
        *whole, rest = bytes(octets).split(b"\n")
        found: list[bytes] = []
        for line in whole:
            found.append(b"".join((*self._pieces, line)))
            self._pieces, self._held = [], 0
        self._pieces.append(rest)
        self._held += len(rest)
        if self._held > self._limit or any(len(line) > self._limit for line in found):
            raise RemoteProtocolError("x1: line too long")
        return found


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What a request did to the table: the task before and after; None where there was or is none. `lapsed`: it ended
    with the lease, and may come back. `revoked`: a token, a key or a role that it stood by was withdrawn. What is
    suspended stands in the table and is not live: `suspended` says so on either side."""

    before: Task | None
    after: Task | None
    lapsed: bool = False
    revoked: bool = False


class TaskTable:
    """The live tasks of one function.

    `changed` is called with each Change before the answer is made; what it raises as AuthorizationError refuses the
    request and leaves the table as it was (a stop cannot be refused: there it must not raise). `kept` says what of a
    judged task stays in memory: a function that needs no case identity can forget it. `suspended` is called with each
    suspension that the function must remember over its restarts: the XID, and the number of the act.
    """

    MAX_STOPPED = 1_000_000  # XIDs remembered as stopped, 100 octets each; once full, nothing is armed any more (ours)

    def __init__(
        self, trust: Trust, changed: Callable[[Change], None], *, kept: Callable[[Task], Task] = lambda task: task,
        grace_ns: int = GRACE_NS, suspended: Callable[[bytes, int], None] = lambda xid, sequence: None,
    ) -> None:  # fmt: skip
        self._trust = trust
        self._arming = trust.arming()  # without changes of the roster that may only end something
        self._changed = changed
        self._kept = kept
        self._suspended = suspended
        self._held: dict[bytes, int] = {}  # the act that suspended an XID last: only a later one lets it go on
        self._tasks: dict[bytes, Task] = {}
        self._ends: list[tuple[int, bytes]] = []  # a heap of ends; those of tasks that are gone or moved stay until due
        self._stopped: set[bytes] = set()
        self.lease = Lease(grace_ns)
        self.lapses = 0  # tasks that ended with the lease
        self._lapsed = False
        self.fallen = 0  # tasks that ended because a signer's role, key or token did

    def __len__(self) -> int:
        return len(self._tasks)

    def __iter__(self) -> Iterator[Task]:
        return iter(list(self._tasks.values()))

    def get(self, xid: bytes) -> Task | None:
        return self._tasks.get(xid)

    def live(self, xid: bytes, now_ns: int) -> Task | None:
        """The task, if its window is open at `now_ns` and it is not suspended: the question to ask for each event."""
        task = self._tasks.get(xid)
        if task is None or task.suspended or now_ns >= self.lease.ends_ns:
            return None
        return task if task.not_before_ns <= now_ns < task.not_after_ns else None

    def handle(self, request: Request, now_ns: int, report: Callable[[], dict[str, Any]] = dict) -> Answer:
        """Carries `request` out, or refuses it by the name of a check. Never raises for what a peer sent."""
        try:
            match request:
                case ActivateTask() | ModifyTask():
                    self._arm(request, now_ns, new=isinstance(request, ActivateTask))
                case Head():
                    return self._follow(request, now_ns)
                case DeactivateTask():
                    self.stop(_xid(request.xid))
                case Roster():
                    self._continue(request.lines, now_ns)
                case RevokeToken():
                    tokens = standing.revoked_tokens(request.revocation, self._trust)
                    self.believe(self._trust.with_revoked(tokens))
                case SuspendTask():
                    self.suspend(_xid(request.xid), request.sequence)
                case ReportStatus():
                    return Ok(id=request.id, report=report())
        except AuthorizationError as error:
            return Refused(id=request.id, check=error.check, detail=error.detail)
        return Ok(id=request.id)

    def _continue(self, lines: tuple[str, ...], now_ns: int) -> None:
        """Whom a longer roster ends, it ends; what it begins needs each change to be told in time."""
        self.believe(self._trust.continued(lines, now_ns // NS))
        if self._arming is not self._trust:
            raise AuthorizationError(Check.ROSTER_DATES, f"change {self._trust.believed}: nothing is armed by it")

    def _follow(self, request: Head, now_ns: int) -> Ok:
        self._lapse(now_ns)
        self.lease.follow(request.checkpoint, request.first, request.path, self._trust, now_ns)
        again = self._lapsed and self.lease.valid(now_ns)
        self._lapsed = self._lapsed and not again
        return Ok(id=request.id, again=again)

    def _lapse(self, now_ns: int) -> None:
        """Ends all tasks, not for good, when the lease has ended."""
        if self.lease.valid(now_ns) or not self._tasks:
            return
        self._lapsed = True
        tasks, self._tasks = self._tasks, {}
        self.lapses += len(tasks)
        for task in tasks.values():
            self._changed(Change(before=task, after=None, lapsed=True))

    def _arm(self, asked: ActivateTask | ModifyTask, now_ns: int, *, new: bool) -> None:
        request = asked.request
        task = authorization.admit(request, self._trust, now_ns)
        if self._arming is not self._trust:
            authorization.admit(request, self._arming, now_ns)
        before = self._tasks.get(task.xid)
        if task.xid in self._stopped or len(self._stopped) >= self.MAX_STOPPED:
            raise AuthorizationError(Check.DEACTIVATED)
        if before is None and not new:
            raise AuthorizationError(Check.TASK_UNKNOWN)
        if before is not None and task.sequence < before.sequence:
            raise AuthorizationError(Check.SUPERSEDED)
        held = self._held.get(task.xid, -1)
        if task.sequence < held or (task.sequence == held and not task.suspended):
            raise AuthorizationError(Check.SUSPENDED)
        for text in dict.fromkeys(proof.checkpoint for proof in request.proofs):
            self.lease.proven(text, self._trust, now_ns)
        if not self.lease.valid(now_ns):
            raise AuthorizationError(Check.LEASE)
        if asked.dde_off:
            task = msgspec.structs.replace(task, dde=False)
        self._changed(Change(before=before, after=task))
        self._tasks[task.xid] = self._kept(task)
        if before is None or before.not_after_ns != task.not_after_ns:
            heapq.heappush(self._ends, (task.not_after_ns, task.xid))
        if task.suspended:
            self.hold(task.xid, task.sequence)

    def suspend(self, xid: bytes, sequence: int) -> None:
        """Suspends a task at once: kept, and nothing of it lives until an act later than `sequence`, and later than
        all that were seen here, resumes it. An XID that is not armed here is remembered all the same."""
        before = self._tasks.get(xid)
        if before is not None and not before.suspended:
            after = msgspec.structs.replace(before, suspended=True)
            self._changed(Change(before=before, after=after))
            self._tasks[xid] = after
            sequence = max(sequence, before.sequence + 1)
        self.hold(xid, sequence)

    def hold(self, xid: bytes, sequence: int) -> None:
        """Remembers a suspension, as after a restart of the function."""
        if self._held.get(xid, -1) >= sequence:
            return
        if xid not in self._held and len(self._held) >= self.MAX_STOPPED:
            self.stop(xid)  # no room to remember it by: ended rather than resumed by nobody
            return
        self._held[xid] = sequence
        self._suspended(xid, sequence)

    @property
    def trust(self) -> Trust:
        """Whom this function believes now."""
        return self._trust

    def believe(self, trust: Trust) -> None:
        """Judges all tasks anew by `trust`; those that it does not carry end for good."""
        self._trust, self._arming = trust, trust.arming()
        for task in list(self._tasks.values()):
            try:
                standing.check(task.standing, trust)
            except AuthorizationError:
                self.fallen += 1
                self.stop(task.xid, revoked=True)

    def stop(self, xid: bytes, *, revoked: bool = False) -> None:
        """Ends a task for good; an XID that was never armed here is remembered all the same."""
        before = self._tasks.pop(xid, None)
        if len(self._stopped) < self.MAX_STOPPED:
            self._stopped.add(xid)
        if before is not None:
            self._changed(Change(before=before, after=None, revoked=revoked))

    def expire(self, now_ns: int) -> list[Task]:
        """Ends and returns the tasks whose window is over at `now_ns`; ends all when the lease is, not for good."""
        over: list[Task] = []
        while self._ends and self._ends[0][0] <= now_ns:
            task = self._tasks.get(heapq.heappop(self._ends)[1])
            if task is not None and now_ns >= task.not_after_ns:
                over.append(task)
                self.stop(task.xid)
        self._lapse(now_ns)
        return over

    def next_end_ns(self) -> int | None:
        """The nearest end of a window or of the lease, to wait for."""
        while self._ends and self._gone(*self._ends[0]):
            heapq.heappop(self._ends)
        return min(self.lease.ends_ns, self._ends[0][0]) if self._tasks else None

    def _gone(self, end_ns: int, xid: bytes) -> bool:
        """Whether a moment of the heap is no task's end any more."""
        task = self._tasks.get(xid)
        return task is None or task.not_after_ns != end_ns


def _xid(text: str) -> bytes:
    if len(text) != XID_HEX_DIGITS or not text.isalnum():  # `fromhex` passes blanks over
        raise AuthorizationError(Check.STRUCTURE, "xid")
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise AuthorizationError(Check.STRUCTURE, "xid") from None
