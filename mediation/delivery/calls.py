"""The call journal: what the call models were told of calls that are up, so that a restart leaves them as they were.

A call model has no state but what its inputs made of it. So the inputs are kept: PDUs of calls in memory, and the few
other things that moved a model (a timer that spoke, a first packet of content, the content link, extraction). A
mediator that starts again plays those of an order to its models as soon as the order is armed again, and throws away
what they say: it was said before. Then the call goes on with the same CallIdentity, one Release, no Origination twice.
Only the end of a content channel waits before it is said (closing.py); that it was is an input of its own (Closed), and
one without it is said by the process that plays it.

Where it stands in the order of things: a batch is appended here after its messages were appended to the spool, by one
write(2) without a sync. A crash between the two loses the state of one batch, never repeats a message (but for an end
that waited); a power failure may take calls with it, which are then joined in mid-call like any that were up before.

Bounds: an order's inputs go with the order, at once; a call's once its model has forgotten it; of one call the first
and the newest are kept; of all together `bound_octets`, beyond which the longest calls' go first. Every way is counted.
The file (calls_file.py) is rewritten when it holds what it should not, when it is twice what is alive, at each start
and each hour, so that no two copies of different days tell what came between. That is done from memory, beside it and
then renamed, in pieces of a fraction of a millisecond between which events have their turn, while what comes goes to
both. A thread for it would hold the interpreter for milliseconds.

Trust: as the spool's (spool.py). Nothing in it is ever delivered but an end that waited: it moves models of orders that
were verified anew, in their own windows, and each record is sealed (core/ledger/sealing.py), so that nobody else makes
or reads one. A record that does not open or is none is refused and counted; a torn end is the end. PDUs are kept as
they came, because what a model makes of the next one depends on them: headers and descriptions of live orders' calls,
never content and never the text of a MESSAGE.
"""

from __future__ import annotations

import os
import time
from collections.abc import Hashable, Iterator
from pathlib import Path
from typing import Final

import msgspec
import trio

from mediation.core.errors import ConfigurationError, RemoteProtocolError
from mediation.core.interface.notice import notice_of
from mediation.core.interface.x2 import PayloadFormat, Pdu
from mediation.core.ledger.sealing import Namer, SealError
from mediation.core.network import sip
from mediation.delivery import calls_file
from mediation.delivery.calls_file import FRAME, CallsFile
from mediation.delivery.inputs import PIECE, Entry, Inputs, Order, Remembers

FILE: Final = "calls.journal"
PLACE: Final = b"calls.journal"
MESSAGES: Final = tuple(b"MESSAGE" + blank for blank in (b" ", b"\t", b"\r"))  # white space that the match reads too
BOUND_OCTETS: Final = 32 << 20  # about 10,000 calls of an INVITE, its answers and some changes. Ours
SLACK_OCTETS: Final = 1 << 20  # the file may be twice what is alive, and so much more, before it is rewritten. Ours
RENEW_S: Final = 3_600  # how old the file may be before it is rewritten in any case. Ours
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


class Closed(msgspec.Struct, frozen=True, array_like=True, tag=6):
    """The end of a call's channel, which waited for its content (closing.py), was said: CCClose and what came after."""

    xid: bytes
    iap: str
    call: str  # CallIdentity.main


Input = Seen | Passed | FirstPacket | LinkMoved | Closed
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

    def __init__(self, folder: Path, box: Namer, *, now_ns: int, bound_octets: int = BOUND_OCTETS) -> None:
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
        self._key = box.derived(PLACE)
        self._file: CallsFile | None = None
        self._new: CallsFile | None = None
        self._renew_s = 0.0  # when it is next written anew in any case, monotonic
        self._floor = 0  # octets of the file at the last rewriting
        self._dirty = False  # it holds what it should not
        self._broken = True  # it is to be written anew before anything is appended
        try:
            self._read(calls_file.read(self._path, self._key, 2 * _room(bound_octets)))
        except OSError as error:
            raise ConfigurationError(f"mediator: {FILE}: {error.strerror}") from error
        for xid in [xid for xid, end in self._ends.items() if end <= now_ns]:
            self.ended(xid)
        self._pending.clear()
        self._put()

    def _put(self) -> None:
        """Blocks for a rewriting that is due."""
        if (pieces := self.due()) is not None:
            for _ in pieces:
                pass
            _close(self.finish())

    def _read(self, found: calls_file.Found) -> None:
        self.counters.refused += found.torn and not found.is_journal
        self.counters.torn += found.torn and found.is_journal
        for frame in found.frames:
            try:
                known = self._take(_decode(self._box.open(frame[FRAME.size :], PLACE)), frame)
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
                self._inputs.add(xid, Entry(frame, "", said=isinstance(record, Closed)))
                self.counters.found += 1
        return True

    # -- orders -------------------------------------------------------------------------------------------------------

    def orders(self) -> list[bytes]:
        """Those in force when the process before this one ended, and now."""
        return list(self._inputs)

    def quiet(self, xid: bytes) -> bool:
        """Whether an order in force has no inputs."""
        return xid in self._inputs and not self._inputs.of(xid)

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
        if (
            isinstance(record, Seen)
            and record.pdu.payload_format != PayloadFormat.SIP
            and notice_of(record.pdu) is None
        ):
            pressed_ns = record.pdu.stamp_ns
        said = isinstance(record, Closed)
        self._inputs.add(xid, Entry(self._append(record), iap, call, pressed_ns, said))
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

        pwrite64
        """
        if not self._pending:
            return
        octets = b"".join(self._pending)
        self._pending.clear()
        if self._broken or self._file is None:
            return  # the rewriting that is due has it all
        try:
            self._file.append(octets)
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
        used = self._file.used if self._file is not None else 0
        full = used > 2 * self._floor + SLACK_OCTETS or self._inputs.octets > self._bound
        old = time.monotonic() >= self._renew_s
        if self._rewriting or not (full or old or self._dirty or self._broken):
            return None
        self._rewriting = True
        return self._rewrite(remembers)

    def _rewrite(self, remembers: Remembers | None) -> Iterator[None]:
        """Writes beside the file. What goes wrong is found by `finish`.

        openat(path.new, O_CREAT|O_TRUNC) pwrite64 …
        """
        if remembers is not None:
            yield from self._inputs.sift(remembers)
        if self._inputs.octets > self._bound:
            self.counters.forgotten += self._inputs.make_room(self._bound * 3 // 4)
        self._dirty = False
        self._since = []
        pieces = _pieces(self._frames([(order, self._ends[order.xid]) for order in self._inputs.now()]))
        try:
            self._new = CallsFile.create(self._path.with_name(FILE + ".new"), self._key)
            for piece in pieces:
                self._new.append(piece)
                yield
            self._floor = self._new.used
            yield from self._new.fill(_room(self._floor))
        except OSError:
            self._drop_new()

    def _frames(self, orders: list[tuple[Order, int]]) -> Iterator[bytes]:
        for (xid, entries, number), not_after_ns in orders:
            yield self._frame(Armed(xid, not_after_ns))
            for at in range(number):
                yield entries[at].octets

    def _drop_new(self) -> None:
        if self._new is not None:
            self._new.close()
        self._new = None

    def finish(self) -> int:
        """The new file takes the old one's place, with what came meanwhile. The old one's descriptor, or -1 when it
        stays: with its close(2) its octets go, for which the disk may take milliseconds. Never raises.

        pwrite64 rename
        """
        since, self._since = b"".join(self._since or ()), None
        self._pending.clear()
        self._rewriting = False
        try:
            if self._new is not None:
                self._new.append(since)
                self._path.with_name(FILE + ".new").rename(self._path)
        except OSError:
            self._drop_new()
        if self._new is None:
            self.counters.failed += 1
            self._broken = True
            return -1
        old, self._file, self._new = self._file, self._new, None
        self._broken = False
        self._renew_s = time.monotonic() + RENEW_S
        self.counters.rewritten += 1
        return old.descriptor if old is not None else -1

    def close(self) -> None:
        """Blocks for a rewriting that is due."""
        if self._rewriting:  # it was not waited for
            self._drop_new()
            self._since, self._rewriting, self._dirty = None, False, True
        self.write()
        self._put()
        if self._file is not None:
            self._file.close()


def _room(octets: int) -> int:
    """For so many octets that are alive: it is rewritten at twice of them, and what comes meanwhile."""
    return 2 * octets + 2 * SLACK_OCTETS


def _close(descriptor: int) -> None:
    if descriptor >= 0:
        os.close(descriptor)


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
