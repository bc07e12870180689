"""The call journal: what the call models were told of calls that are up, so that a restart leaves them as they were.

A call model has no state but what its inputs made of it. So the inputs are kept: PDUs of calls in memory, and the few
other things that moved a model (a timer that spoke, a first packet of content, the content link, extraction). A
mediator that starts again plays those of an order to its models as soon as the order is armed again, and throws away
what they say: it was said before. Then the call goes on with the same CallIdentity, one Release, no Origination twice.

Where it stands in the order of things: a batch is appended here after its messages were appended to the spool, by one
write(2) without a sync. A crash between the two loses the state of one batch, never repeats a message; a power failure
may take calls with it, which are then joined in mid-call like any that were up before.

Bounds: an order's inputs go with the order, at once; a call's once its model has forgotten it; of one call the first
and the newest are kept; of all together `bound_octets`, beyond which the longest calls' go first. Every way is counted.
The file is rewritten from memory beside itself and renamed, in pieces of a fraction of a millisecond between which
events have their turn, while what comes goes to both. A thread for it would hold the interpreter for milliseconds.

Trust: as the spool's (spool.py). Nothing in it is ever delivered: it moves models of orders that were verified anew,
in their own windows, and each record is sealed (core/ledger/sealing.py), so that nobody else makes or reads one. A
record that does not open or is none is refused and counted; a torn end is the end. PDUs are kept as they came, because
what a model makes of the next one depends on them: headers and descriptions of live orders' calls, never content and
never the text of a MESSAGE.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Hashable, Iterator
from pathlib import Path
from typing import Final

import msgspec
import trio

from mediation.core.errors import ConfigurationError, RemoteProtocolError
from mediation.core.interface.x2 import PayloadFormat, Pdu
from mediation.core.ledger.sealing import Sealer, SealError
from mediation.core.network import sip
from mediation.delivery.inputs import PIECE, Entry, Inputs, Order, Remembers
from mediation.runtime import durable

FILE: Final = "calls.journal"
MAGIC: Final = b"CALLS\x00\x00\x02"  # 2: sealed
FRAME: Final = struct.Struct("!I")  # length of the sealed record behind it
PLACE: Final = b"calls.journal"
MESSAGES: Final = tuple(b"MESSAGE" + blank for blank in (b" ", b"\t", b"\r"))  # white space that the match reads too
MAX_RECORD: Final = 1 << 18  # twice the longest PDU
BOUND_OCTETS: Final = 32 << 20  # about 10,000 calls of an INVITE, its answers and some changes. Ours
SLACK_OCTETS: Final = 1 << 20  # the file may be twice what is alive, and so much more, before it is rewritten. Ours
PIECE_OCTETS: Final = 1 << 16  # written before others have their turn: some 50 µs. Ours
PIECE_PAUSE_S: Final = 0.001  # between two pieces: an event waits for one, if for any


class Armed(msgspec.Struct, frozen=True, array_like=True, tag=0):
    """An order is in force here, at the latest until then."""

    xid: bytes
    not_after_ns: int


class Ended(msgspec.Struct, frozen=True, array_like=True, tag=1):
    xid: bytes


class Seen(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """A PDU, when extraction was on or off."""

    dde: bool
    pdu: Pdu


class Passed(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """Time that made a model speak."""

    xid: bytes
    iap: str
    now_ns: int


class FirstPacket(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """Content passed."""

    xid: bytes
    iap: str
    correlation: int
    stamp_ns: int


class LinkMoved(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """The order's content link went down or came back."""

    xid: bytes
    up: bool
    now_ns: int


Input = Seen | Passed | FirstPacket | LinkMoved
_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Armed | Ended | Input).decode


class JournalCounters(msgspec.Struct):
    recorded: int = 0
    found: int = 0  # inputs read at the start
    refused: int = 0  # records that were none
    torn: int = 0  # files that ended in the middle of a record
    rewritten: int = 0
    failed: int = 0  # writes that the disk refused; the file is rewritten from memory until it takes them
    forgotten: int = 0  # inputs of calls that are up, for want of room


class CallJournal:
    """See the head of this file. All methods are for one thread."""

    def __init__(self, folder: Path, box: Sealer, *, now_ns: int, bound_octets: int = BOUND_OCTETS) -> None:
        """Reads what an earlier process left, but of orders whose window is over. Raises ConfigurationError."""
        self.counters = JournalCounters()
        self._box = box
        self._path = folder / FILE
        self._bound = bound_octets
        self._inputs = Inputs()
        self._ends: dict[bytes, int] = {}
        self._pending: list[bytes] = []
        self._rewriting = False
        self._since: list[bytes] | None = None  # what goes to the new file as well, once its first octet is written
        self._new = -1
        self._floor = 0  # octets of inputs in memory at the last rewriting
        self._dirty = False  # it holds what it should not
        self._broken = False  # a part of a record may be there
        try:
            octets = self._path.read_bytes()[: 4 * bound_octets] if self._path.exists() else b""
            self._read(octets)
            for xid in [xid for xid, end in self._ends.items() if end <= now_ns]:
                self.ended(xid)
            self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, durable.MODE)
        except OSError as error:
            raise ConfigurationError(f"mediator: {FILE}: {error.strerror}") from error
        self._size = len(octets)
        self._broken = not octets.startswith(MAGIC) or bool(self.counters.refused or self.counters.torn)
        self._pending.clear()
        self._put()

    def _put(self) -> None:
        """Blocks for a rewriting that is due."""
        if (pieces := self.due()) is not None:
            for _ in pieces:
                pass
            _close(self.finish())

    def _read(self, octets: bytes) -> None:
        if octets and not octets.startswith(MAGIC):
            self.counters.refused += 1
            return
        at = len(MAGIC)
        while at < len(octets):
            if at + FRAME.size > len(octets):
                self.counters.torn += 1
                return
            (length,) = FRAME.unpack_from(octets, at)
            body = octets[at + FRAME.size : at + FRAME.size + length]
            if length > MAX_RECORD or len(body) < length:
                self.counters.torn += 1
                return
            frame = octets[at : at + FRAME.size + length]
            at += len(frame)
            try:
                known = self._take(_decode(self._box.open(body, PLACE)), frame)
            except (SealError, msgspec.DecodeError):
                known = False
            self.counters.refused += not known

    def _take(self, record: Armed | Ended | Input, frame: bytes) -> bool:
        """False for an input of no order."""
        match record:
            case Armed():
                self._inputs.expect(record.xid)
                self._ends[record.xid] = record.not_after_ns
            case Ended():
                self.ended(record.xid)
            case _:
                xid = record.pdu.xid if isinstance(record, Seen) else record.xid
                if xid not in self._inputs:
                    return False
                self._inputs.add(xid, Entry(frame, ""))
                self.counters.found += 1
        return True

    # -- orders -------------------------------------------------------------------------------------------------------

    def orders(self) -> list[bytes]:
        """Those in force when the process before this one ended, and now."""
        return list(self._inputs)

    def armed(self, xid: bytes, not_after_ns: int) -> list[tuple[Entry, Input]]:
        """The order is armed, perhaps again: its inputs, oldest first."""
        self.extended(xid, not_after_ns)
        found: list[tuple[Entry, Input]] = []
        for entry in self._inputs.of(xid):
            record = _decode(self._box.open(entry.octets[FRAME.size :], PLACE))
            if not isinstance(record, (Armed, Ended)):
                found.append((entry, record))
        return found

    def extended(self, xid: bytes, not_after_ns: int) -> None:
        """The order's end is this one from now on; nothing happens if it was before."""
        if self._ends.get(xid) != not_after_ns:
            self._ends[xid] = not_after_ns
            self._inputs.expect(xid)
            self._append(Armed(xid, not_after_ns))

    def ended(self, xid: bytes) -> None:
        """Nothing of this order is played any more; its octets leave the disk with the next rewriting, which is due."""
        self._ends.pop(xid, None)
        if self._inputs.end(xid):
            self._append(Ended(xid))
            self._dirty = True

    # -- inputs -------------------------------------------------------------------------------------------------------

    def add(self, xid: bytes, iap: str, record: Input, call: Hashable = None) -> None:
        """Something moved a model of an order that is armed; on the disk with the next `write`."""
        if xid not in self._inputs or (isinstance(record, Seen) and record.pdu.payload.startswith(MESSAGES)):
            return
        if self._inputs.octets > 2 * self._bound:  # until the next rewriting
            self.counters.forgotten += 1
            return
        pressed_ns = 0
        if isinstance(record, Seen) and record.pdu.payload_format != PayloadFormat.SIP:
            pressed_ns = record.pdu.stamp_ns
        self._inputs.add(xid, Entry(self._append(record), iap, call, pressed_ns))
        self.counters.recorded += 1

    def _append(self, record: Armed | Ended | Input) -> bytes:
        octets = self._frame(record)
        self._pending.append(octets)
        if self._since is not None:
            self._since.append(octets)
        return octets

    def _frame(self, record: Armed | Ended | Input) -> bytes:
        sealed = self._box.seal(_encode(record), PLACE)
        return FRAME.pack(len(sealed)) + sealed

    def write(self) -> None:
        """What was added since the last time is in the page cache, or the file is rewritten soon. Never raises.

        write
        """
        if not self._pending:
            return
        octets = b"".join(self._pending)
        self._pending.clear()
        if self._broken:
            return  # the rewriting that is due has it all
        try:
            _append_to(self._fd, octets)
            self._size += len(octets)
        except OSError:
            self.counters.failed += 1
            self._broken = True

    # -- rewriting ----------------------------------------------------------------------------------------------------

    async def keep_small(self, remembers: Remembers) -> None:
        """Rewrites the file if it is time to; `remembers` says whether a model still has a call."""
        if (pieces := self.due(remembers)) is not None:
            for _ in pieces:
                await trio.sleep(PIECE_PAUSE_S)
            await trio.to_thread.run_sync(_close, self.finish())

    def due(self, remembers: Remembers | None = None) -> Iterator[None] | None:
        """The rewriting in pieces, when it is time, of inputs that are needed; `finish` when there is none left."""
        full = self._size > 2 * self._floor + SLACK_OCTETS or self._inputs.octets > self._bound
        if self._rewriting or not (full or self._dirty or self._broken):
            return None
        self._rewriting = True
        return self._rewrite(remembers)

    def _rewrite(self, remembers: Remembers | None) -> Iterator[None]:
        """Writes beside the file. What goes wrong is found by `finish`.

        openat(path.new, O_CREAT|O_TRUNC) write …
        """
        if remembers is not None:
            yield from self._inputs.sift(remembers)
        if self._inputs.octets > self._bound:
            self.counters.forgotten += self._inputs.make_room(self._bound * 3 // 4)
        self._floor = self._inputs.octets
        self._dirty = False
        self._since = []
        pieces = _pieces(self._frames([(order, self._ends[order.xid]) for order in self._inputs.now()]))
        try:
            self._new = os.open(
                self._path.with_name(FILE + ".new"),
                os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC,
                durable.MODE,
            )
            for piece in pieces:
                _append_to(self._new, piece)
                yield
        except OSError:
            self._drop_new()

    def _frames(self, orders: list[tuple[Order, int]]) -> Iterator[bytes]:
        yield MAGIC
        for (xid, entries, number), not_after_ns in orders:
            yield self._frame(Armed(xid, not_after_ns))
            for at in range(number):
                yield entries[at].octets

    def _drop_new(self) -> None:
        _close(self._new)
        self._new = -1

    def finish(self) -> int:
        """The new file takes the old one's place, with what came meanwhile. The old one's descriptor, or -1 when it
        stays: with its close(2) its octets go, for which the disk may take milliseconds. Never raises.

        write rename
        """
        since, self._since = b"".join(self._since or ()), None
        self._pending.clear()
        self._rewriting = False
        try:
            _append_to(self._new, since)
            size = os.fstat(self._new).st_size
            self._path.with_name(FILE + ".new").rename(self._path)
        except OSError:
            self._drop_new()
            self.counters.failed += 1
            self._broken = True
            return -1
        old, self._fd, self._size, self._broken = self._fd, self._new, size, False
        self._new = -1
        self.counters.rewritten += 1
        return old

    def close(self) -> None:
        """Blocks for a rewriting that is due."""
        if self._rewriting:  # it was not waited for
            self._drop_new()
            self._since, self._rewriting, self._dirty = None, False, True
        self.write()
        self._put()
        os.close(self._fd)


def _close(descriptor: int) -> None:
    if descriptor >= 0:
        os.close(descriptor)


def _append_to(descriptor: int, octets: bytes) -> None:
    """All of it. Raises OSError."""
    if octets and os.write(descriptor, octets) < len(octets):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _pieces(frames: Iterator[bytes]) -> Iterator[bytes]:
    """As many frames as it takes for PIECE_OCTETS, or PIECE of them."""
    found: list[bytes] = []
    size = 0
    for frame in frames:
        found.append(frame)
        size += len(frame)
        if size >= PIECE_OCTETS or len(found) >= PIECE:
            yield b"".join(found)
            found, size = [], 0
    yield b"".join(found)


def handle_of(pdu: Pdu) -> Hashable:
    """What a call model files the PDU's call under; None for one that it cannot file."""
    if pdu.correlation or pdu.payload_format != PayloadFormat.SIP:
        return pdu.correlation
    try:
        return sip.parse(pdu.payload).call_id
    except RemoteProtocolError:
        return None
