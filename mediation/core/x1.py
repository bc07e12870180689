"""X1, the tasking interface (the role of ETSI TS 103 221-1), and the table of tasks that a function holds.

The administrator connects to each function and sends one JSON object a line; the function answers each with one line,
in order. `TaskTable` is what a function does with a request: it asks `authorization.admit` for itself, whoever sent
it, so a compromised administrator can stop interceptions but start none. Sans-I/O: octets in, octets out.

    line in                                             line out
    {"type":"ActivateTask","id":1,"request":{...}}      {"type":"Ok","id":1}
    {"type":"ModifyTask","id":2,"request":{...}}        {"type":"Refused","id":2,"check":"expired","detail":""}
    {"type":"DeactivateTask","id":3,"xid":"<32 hex>"}   {"type":"Ok","id":3}
    {"type":"ReportStatus","id":4}                      {"type":"Ok","id":4,"report":{...}}
    {"type":"Roster","id":5,"lines":[...]}              {"type":"Ok","id":5}
    {"type":"RevokeToken","id":6,"revocation":"..."}    {"type":"Ok","id":6}

A roster must continue the one that is held, and is judged here from end to end; a revocation carries its maker's
signature. Both end at once the tasks that they leave without authority. Neither can begin anything.

Stopping needs no signature and never fails. A task that was stopped can never be armed again here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import msgspec

from mediation.core import authorization, standing
from mediation.core.case import Task, TaskRequest
from mediation.core.check import Check
from mediation.core.errors import AuthorizationError, RemoteProtocolError
from mediation.core.trust import Trust

MAX_LINE_OCTETS = 8 << 20  # an order with MAX_COMMANDS acts, each with its proof, is below 4 MiB
XID_HEX_DIGITS = 32


class Pdu(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type"):
    """Base of all X1 messages; an answer carries the `id` of its request."""

    id: int = 0


class ActivateTask(Pdu, frozen=True, kw_only=True, tag="ActivateTask"):
    request: TaskRequest


class ModifyTask(Pdu, frozen=True, kw_only=True, tag="ModifyTask"):
    """The same order with more of the officer's acts: dialed digit extraction was switched."""

    request: TaskRequest


class DeactivateTask(Pdu, frozen=True, kw_only=True, tag="DeactivateTask"):
    xid: str


class ReportStatus(Pdu, frozen=True, kw_only=True, tag="ReportStatus"):
    pass


class Roster(Pdu, frozen=True, kw_only=True, tag="Roster"):
    """The whole chain of changes of persons, roles and keys (core/roster.py)."""

    lines: tuple[str, ...]


class RevokeToken(Pdu, frozen=True, kw_only=True, tag="RevokeToken"):
    """A legal or carrier token was withdrawn: the signed text itself."""

    revocation: str


class Ok(Pdu, frozen=True, kw_only=True, tag="Ok", omit_defaults=True):
    """`report` answers ReportStatus: counters and states, by case identity at most."""

    report: dict[str, Any] | None = None


class Refused(Pdu, frozen=True, kw_only=True, tag="Refused"):
    check: str
    detail: str = ""


Request = ActivateTask | ModifyTask | DeactivateTask | ReportStatus | Roster | RevokeToken
Answer = Ok | Refused

_requests: msgspec.json.Decoder[Request] = msgspec.json.Decoder(Request)
_answers: msgspec.json.Decoder[Answer] = msgspec.json.Decoder(Answer)
_encoder = msgspec.json.Encoder()
M = TypeVar("M")


def encode(message: Request | Answer) -> bytes:
    """One line, with its newline."""
    return _encoder.encode(message) + b"\n"


def decode_request(line: bytes) -> Request:
    """Raises RemoteProtocolError."""
    return _decode(line, _requests)


def decode_answer(line: bytes) -> Answer:
    """Raises RemoteProtocolError."""
    return _decode(line, _answers)


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
    """What a request did to the table: the task before and after; None where there was or is none."""

    before: Task | None
    after: Task | None


class TaskTable:
    """The live tasks of one function.

    `changed` is called with each Change before the answer is made; what it raises as AuthorizationError refuses the
    request and leaves the table as it was (a stop cannot be refused: there it must not raise). `kept` says what of a
    judged task stays in memory: a function that needs no case identity can forget it.
    """

    MAX_STOPPED = 1_000_000  # XIDs remembered as stopped, 100 octets each; once full, nothing is armed any more (ours)

    def __init__(
        self, trust: Trust, changed: Callable[[Change], None], *, kept: Callable[[Task], Task] = lambda task: task
    ) -> None:
        self._trust = trust
        self._changed = changed
        self._kept = kept
        self._tasks: dict[bytes, Task] = {}
        self._stopped: set[bytes] = set()
        self.fallen = 0  # tasks that ended because a signer's role, key or token did

    def __len__(self) -> int:
        return len(self._tasks)

    def __iter__(self) -> Iterator[Task]:
        return iter(list(self._tasks.values()))

    def get(self, xid: bytes) -> Task | None:
        return self._tasks.get(xid)

    def live(self, xid: bytes, now_ns: int) -> Task | None:
        """The task, if its window is open at `now_ns`: the question to ask for each event."""
        task = self._tasks.get(xid)
        return task if task is not None and task.not_before_ns <= now_ns < task.not_after_ns else None

    def handle(self, request: Request, now_ns: int, report: Callable[[], dict[str, Any]] = dict) -> Answer:
        """Carries `request` out, or refuses it by the name of a check. Never raises for what a peer sent."""
        try:
            match request:
                case ActivateTask():
                    self._arm(request.request, now_ns, new=True)
                case ModifyTask():
                    self._arm(request.request, now_ns, new=False)
                case DeactivateTask():
                    self.stop(_xid(request.xid))
                case Roster():
                    self.believe(self._trust.with_roster(self._trust.roster.continued(request.lines)))
                case RevokeToken():
                    token = standing.revoked_token(request.revocation, self._trust)
                    self.believe(self._trust.with_revoked((token,)))
                case ReportStatus():
                    return Ok(id=request.id, report=report())
        except AuthorizationError as error:
            return Refused(id=request.id, check=error.check, detail=error.detail)
        return Ok(id=request.id)

    def _arm(self, request: TaskRequest, now_ns: int, *, new: bool) -> None:
        task = authorization.admit(request, self._trust, now_ns)
        before = self._tasks.get(task.xid)
        if task.xid in self._stopped or len(self._stopped) >= self.MAX_STOPPED:
            raise AuthorizationError(Check.DEACTIVATED)
        if before is None and not new:
            raise AuthorizationError(Check.TASK_UNKNOWN)
        if before is not None and task.sequence < before.sequence:
            raise AuthorizationError(Check.SUPERSEDED)
        self._changed(Change(before=before, after=task))
        self._tasks[task.xid] = self._kept(task)

    @property
    def trust(self) -> Trust:
        """Whom this function believes now."""
        return self._trust

    def believe(self, trust: Trust) -> None:
        """Judges all tasks anew by `trust`; those that it does not carry end for good."""
        self._trust = trust
        for task in list(self._tasks.values()):
            try:
                standing.check(task.standing, trust)
            except AuthorizationError:
                self.fallen += 1
                self.stop(task.xid)

    def stop(self, xid: bytes) -> None:
        """Ends a task for good; an XID that was never armed here is remembered all the same."""
        before = self._tasks.pop(xid, None)
        if len(self._stopped) < self.MAX_STOPPED:
            self._stopped.add(xid)
        if before is not None:
            self._changed(Change(before=before, after=None))

    def expire(self, now_ns: int) -> list[Task]:
        """Ends and returns the tasks whose window is over at `now_ns`."""
        over = [task for task in self._tasks.values() if now_ns >= task.not_after_ns]
        for task in over:
            self.stop(task.xid)
        return over

    def next_end_ns(self) -> int | None:
        """The nearest end of a window, to wait for."""
        return min((task.not_after_ns for task in self._tasks.values()), default=None)


def _xid(text: str) -> bytes:
    if len(text) != XID_HEX_DIGITS:
        raise AuthorizationError(Check.STRUCTURE, "xid")
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise AuthorizationError(Check.STRUCTURE, "xid") from None
