"""The witness (C2SP tlog-witness): of each log it remembers one tree head, and cosigns only what follows from it.

Answers for requests and for what is said to them; sans-I/O. The caller makes an answer's `update` durable, then calls
`commit`, and only then sends the answer (tlog-witness: persist before responding), one request at a time: two heads
are never judged against the same state. Time is the caller's, in seconds since 1970.

A request of a log that it does not know is 404, without the log's signature 403. What the log itself signed and does
not follow from what it signed before is 409 or 422, is never cosigned, and is handed back as evidence: a fork when two
heads of one size have two roots, unproven when the log did not show that its new head contains the old one.
"""

from __future__ import annotations

import base64
import binascii
import enum
import hashlib
import re
from collections.abc import Iterable, Sequence

import msgspec

from mediation.core.errors import LocalProtocolError, RemoteProtocolError
from mediation.core.ledger import cosignature, merkle, note

MAX_PROOF = 63  # tlog-witness: consistency proof lines
MAX_SIZE_DIGITS = 15  # as in note.Checkpoint
MAX_REQUEST_OCTETS = len("old ") + MAX_SIZE_DIGITS + 2 + MAX_PROOF * 45 + note.MAX_NOTE_OCTETS * 3
MAX_LOGS = 4_096  # of one witness (ours)
ADD_CHECKPOINT = "/add-checkpoint"
TEXT = "text/plain; charset=utf-8"
SIZE = "text/x.tlog.size"

_OLD = re.compile(rf"old (0|[1-9][0-9]{{0,{MAX_SIZE_DIGITS - 1}}})")
_MONITOR = re.compile(r"/([0-9a-f]{64})/checkpoint")

LogKey = note.Verifier | cosignature.Verifier


class Bad(enum.StrEnum):
    """What a log signed and should not have."""

    FORK = "fork"  # two roots of one size: proof by itself
    UNPROVEN = "unproven"  # a new head that was not shown to contain the old one


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """An add-checkpoint request, taken apart; nothing of it is verified."""

    old: int
    proof: tuple[bytes, ...]
    note: str


class Update(msgspec.Struct, frozen=True, kw_only=True):
    """What must be durable before the answer is sent: the note with the log's and the witness's own signatures."""

    origin: str
    note: str


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """An HTTP answer. `bad` says that `evidence` (the two notes) shows a fault of the log."""

    status: int
    body: str = ""
    content_type: str = TEXT
    update: Update | None = None
    bad: Bad | None = None
    evidence: tuple[str, str] = ("", "")


def parse_request(octets: bytes) -> Request:
    """Raises RemoteProtocolError."""
    if len(octets) > MAX_REQUEST_OCTETS:
        raise RemoteProtocolError("witness: request too long")
    try:
        text = octets.decode()
    except UnicodeDecodeError:
        raise RemoteProtocolError("witness: request not UTF-8") from None
    head, separator, checkpoint = text.partition("\n\n")
    first, *lines = head.split("\n")
    old = _OLD.fullmatch(first)
    if not separator or old is None or len(lines) > MAX_PROOF:
        raise RemoteProtocolError("witness: not an old size, at most 63 hashes, an empty line and a checkpoint")
    return Request(old=int(old[1]), proof=tuple(_hash(line) for line in lines), note=checkpoint)


def compose_request(old: int, proof: Sequence[bytes], checkpoint: str) -> bytes:
    """The body of an add-checkpoint request."""
    if len(proof) > MAX_PROOF:
        raise LocalProtocolError("witness: more than 63 hashes")
    lines = [f"old {old}", *(base64.b64encode(one).decode() for one in proof)]
    return ("\n".join(lines) + "\n\n" + checkpoint).encode()


def parse_cosignatures(octets: bytes) -> list[note.Signature]:
    """The body of a 200 answer: signature lines, none of them verified. Raises RemoteProtocolError."""
    try:
        text = octets.decode()
    except UnicodeDecodeError:
        raise RemoteProtocolError("witness: answer not UTF-8") from None
    lines = text.split("\n")
    if len(octets) > note.MAX_NOTE_OCTETS or lines.pop() or not 0 < len(lines) <= note.MAX_SIGNATURES:
        raise RemoteProtocolError("witness: the answer is not one or more signature lines")
    return [note.parse_line(line) for line in lines]


def parse_size(octets: bytes) -> int:
    """The body of a 409 answer. Raises RemoteProtocolError."""
    found = re.fullmatch(rb"(0|[1-9][0-9]{0,14})\n", octets)
    if found is None:
        raise RemoteProtocolError("witness: the conflict does not say a size")
    return int(found[1])


def monitor_path(origin: str) -> str:
    """Where a witness serves its latest head of a log, below its monitoring prefix."""
    return f"/{hashlib.sha256(origin.encode()).hexdigest()}/checkpoint"


class _Log:
    """One log: the keys that may sign its heads, and the latest head that was cosigned."""

    def __init__(self, origin: str) -> None:
        self.origin = origin
        self.keys: list[LogKey] = []
        self.note = ""
        self.head = note.Checkpoint(origin=origin, size=0, root=merkle.EMPTY_ROOT)

    def own_lines(self, body: str, signatures: list[note.Signature]) -> list[str]:
        """The lines of the log's keys, verified. Raises RemoteProtocolError when one does not verify, or stands twice
        (two lines of one key differ in nothing that the log may mean)."""
        lines: list[str] = []
        for key in self.keys:
            mine = [one for one in signatures if one.name == key.name and one.key_hash == key.hash]
            if len(mine) > 1:
                raise RemoteProtocolError("witness: two signatures of one log key")
            if not mine:
                continue
            if isinstance(key, note.Verifier):
                key.signed(body, mine)
            else:
                key.time(body, mine[0])
            lines.append(mine[0].line())
        return lines


class Witness:
    """The witness's whole state: its keys, and a head for each log."""

    def __init__(self, signers: Sequence[cosignature.Signer], logs: Iterable[LogKey]) -> None:
        """`logs` are their keys; a log's origin is its key's name. Raises ValueError."""
        if not signers:
            raise ValueError("witness: no key")
        self.signers = tuple(signers)
        self._logs: dict[str, _Log] = {}
        own = {signer.verifier.public for signer in signers}
        for key in logs:
            if key.public in own:
                raise ValueError("witness: a log's key is the witness's own")
            self._logs.setdefault(key.name, _Log(key.name)).keys.append(key)
        if len(self._logs) > MAX_LOGS:
            raise ValueError("witness: too many logs")

    @property
    def origins(self) -> tuple[str, ...]:
        return tuple(self._logs)

    def head(self, origin: str) -> note.Checkpoint:
        """The latest head that was cosigned; of size 0 when none was. Raises KeyError for an unknown log."""
        return self._logs[origin].head

    def restore(self, origin: str, text: str) -> None:
        """Takes up the state that an earlier process kept for a log, "" for none.

        Raises RemoteProtocolError unless the log and this witness signed it: nobody else can have written it.
        """
        log = self._logs[origin]
        if not text:
            return
        body, signatures = note.split(text)
        head = note.parse_checkpoint(body)
        if head.origin != origin or not log.own_lines(body, signatures):
            raise RemoteProtocolError("witness: its state is not of this log")
        if not any(
            signer.verifier.mine(one) and signer.verifier.time(body, one)
            for signer in self.signers
            for one in signatures
        ):
            raise RemoteProtocolError("witness: its state was not cosigned by itself")
        log.note, log.head = text, head

    def add_checkpoint(self, octets: bytes, now_s: int) -> Answer:
        """Judges one request. Nothing changes before `commit`."""
        try:
            request = parse_request(octets)
            body, signatures = note.split(request.note)
            head = note.parse_checkpoint(body)
        except RemoteProtocolError as error:
            return Answer(status=400, body=f"{error}\n")
        log = self._logs.get(head.origin)
        if log is None:
            return Answer(status=404, body="unknown log\n")
        try:
            lines = log.own_lines(body, signatures)
        except RemoteProtocolError:
            lines = []
        if not lines:
            return Answer(status=403, body="not signed by the log\n")
        return self._judge(log, request, body, head, "".join(lines), now_s=now_s)

    def _judge(
        self, log: _Log, request: Request, body: str, head: note.Checkpoint, lines: str, *, now_s: int
    ) -> Answer:
        """What the log itself signed: the order of the checks is the specification's."""
        seen = log.head
        evidence = (log.note, request.note)
        forked = head.size == seen.size and head.root != seen.root and bool(log.note)
        if request.old > head.size:
            return Answer(status=400, body="the old size is larger than the new\n")
        if request.old != seen.size:
            bad = Bad.FORK if forked else None
            return Answer(status=409, body=f"{seen.size}\n", content_type=SIZE, bad=bad, evidence=evidence)
        if not _follows(request, seen, head):
            bad = Bad.FORK if forked else Bad.UNPROVEN if head != seen else None
            return Answer(status=422, body="not consistent with what was seen before\n", bad=bad, evidence=evidence)
        cosigned = "".join(signer.line(body, now_s) for signer in self.signers)
        update = Update(origin=log.origin, note=f"{body}\n{lines}{cosigned}")
        return Answer(status=200, body=cosigned, update=update)

    def commit(self, update: Update) -> None:
        """The update is durable: it is the state now. Raises LocalProtocolError when it does not follow from it."""
        log = self._logs[update.origin]
        head = note.parse_checkpoint(note.split(update.note)[0])
        if head.size < log.head.size or (head.size == log.head.size and head.root != log.head.root):
            raise LocalProtocolError("witness: two requests were judged against one state")
        log.note, log.head = update.note, head

    def monitor(self, path: str) -> Answer:
        """The answer to GET <prefix>/<origin hash>/checkpoint."""
        found = _MONITOR.fullmatch(path)
        for log in self._logs.values() if found is not None else ():
            if log.note and monitor_path(log.origin) == path:
                return Answer(status=200, body=log.note)
        return Answer(status=404, body="nothing cosigned\n")


def _follows(request: Request, seen: note.Checkpoint, head: note.Checkpoint) -> bool:
    """Whether the proof shows that `head` contains `seen`; request.old is seen.size."""
    if head.size == 0:
        return head.root == merkle.EMPTY_ROOT and not request.proof
    if seen.size == 0:
        return not request.proof  # the empty tree is contained in any
    return merkle.consistent(seen.size, head.size, seen.root, head.root, request.proof)


def _hash(line: str) -> bytes:
    try:
        octets = base64.b64decode(line, validate=True)
    except (binascii.Error, ValueError):
        octets = b""
    if len(octets) != merkle.HASH_OCTETS or base64.b64encode(octets).decode() != line:
        raise RemoteProtocolError("witness: a line of the proof is not a hash")
    return octets
