"""X1, the tasking interface (the role of ETSI TS 103 221-1).

The administrator connects to each function and sends one JSON object a line; the function answers each with one line,
in order. What a function does with a request is the affair of core/interface/task_table.py. Sans-I/O: octets in, octets
out.

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
    {"type":"ActivateTask","id":9,"may_wait":true,...}  {"type":"Ok","id":9,"waits":true}
    {"type":"JudgeTask","id":10,"xid":"<32 hex>"}       {"type":"Ok","id":10}
    {"type":"ProveRoster","id":11,"first":3,            {"type":"Ok","id":11}
     "proofs":[{...}, ...]}
    {"type":"Ping","id":12}                             {"type":"Ok","id":12}

A roster must continue the one that is held, and is judged here from end to end; a revocation carries its maker's
signature. Both end at once the tasks that they leave without authority. Neither can begin anything: nothing is armed
that needs a change of the roster before ProveRoster has shown its entry in the ledger, under a head that the quorum
cosigned (core/authority/proof.py).
"""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

import msgspec

from mediation.core.authority.authorization import MAX_COMMANDS
from mediation.core.case import Proof, TaskRequest
from mediation.core.check import Check
from mediation.core.errors import RemoteProtocolError

MAX_LINE_OCTETS = 8 << 20  # an order with MAX_COMMANDS acts, each with its proof, is below 4 MiB
CHANGES_AT_ONCE = 32  # proofs of changes of the roster in one message: 4 MiB with 32 witnesses' ML-DSA-44 signatures


class Pdu(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type"):
    """Base of all X1 messages; an answer carries the `id` of its request."""

    id: int = 0


class ActivateTask(Pdu, frozen=True, kw_only=True, tag="ActivateTask"):
    """`dde_off`: an act that the request cannot prove yet switched dialed digit extraction off. It narrows only.
    `may_wait`: it may be judged when it is first needed, or with JudgeTask; the answer says whether it `waits`."""

    request: TaskRequest
    dde_off: bool = False
    may_wait: bool = False


class JudgeTask(Pdu, frozen=True, kw_only=True, tag="JudgeTask"):
    """An order that waits is to be judged now. Refused by `task-unknown` where none waits or stands."""

    xid: str


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
    sequence: Annotated[int, msgspec.Meta(ge=0, le=MAX_COMMANDS)]


class ReportStatus(Pdu, frozen=True, kw_only=True, tag="ReportStatus"):
    pass


class Ping(Pdu, frozen=True, kw_only=True, tag="Ping"):
    """Asks for nothing but an answer."""


class Roster(Pdu, frozen=True, kw_only=True, tag="Roster"):
    """The whole chain of changes of persons, roles and keys (core/authority/roster.py)."""

    lines: tuple[str, ...]


class ProveRoster(Pdu, frozen=True, kw_only=True, tag="ProveRoster"):
    """That changes of the roster which were told stand in the ledger, from number `first` on."""

    first: Annotated[int, msgspec.Meta(ge=0)]
    proofs: Annotated[tuple[Proof, ...], msgspec.Meta(max_length=CHANGES_AT_ONCE)]


class RevokeToken(Pdu, frozen=True, kw_only=True, tag="RevokeToken"):
    """A legal or carrier token was withdrawn: the signed text itself."""

    revocation: str


class Ok(Pdu, frozen=True, kw_only=True, tag="Ok", omit_defaults=True):
    """`report` answers ReportStatus: counters and states, by case identity at most. `again` answers a Head: the tasks
    had stopped for want of one, and are to be told again. `waits` answers an ActivateTask that has not been judged."""

    report: dict[str, Any] | None = None
    again: bool = False
    waits: bool = False


class Refused(Pdu, frozen=True, kw_only=True, tag="Refused"):
    check: str
    detail: str = ""


Request = (
    ActivateTask | ModifyTask | JudgeTask | DeactivateTask | SuspendTask | ReportStatus | Ping | Roster | ProveRoster
    | RevokeToken | Head
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
