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
The file (calls_file.py) is rewritten from memory beside itself and renamed, in a thread, while what comes goes to both:
when it holds what it should not, when it is twice what is alive, at each start and each hour, so that no two copies of
different days tell what came between.

Trust: as the spool's (spool.py). Nothing in it is ever delivered: it moves models of orders that were verified anew,
in their own windows, and each record is sealed (core/ledger/sealing.py), so that nobody else makes or reads one. A
record that does not open or is none is refused and counted; a torn end is the end. PDUs are kept as they came, because
what a model makes of the next one depends on them: headers and descriptions of live orders' calls, never content and
never the text of a MESSAGE.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from mediation.core.errors import ConfigurationError, RemoteProtocolError
from mediation.core.interface.x2 import PayloadFormat, Pdu
from mediation.core.ledger.sealing import Namer, SealError
from mediation.core.network import sip
from mediation.delivery import calls_file
from mediation.delivery.calls_file import FRAME, CallsFile

FILE: Final = "calls.journal"
PLACE: Final = b"calls.journal"
BOUND_OCTETS: Final = 32 << 20  # about 10,000 calls of an INVITE, its answers and some changes. Ours
SLACK_OCTETS: Final = 1 << 20  # the file may be twice what is alive, and so much more, before it is rewritten. Ours
FIRST_OF_CALL, LAST_OF_CALL = 64, 192  # inputs of one call: how it began, and how it stands. Ours
RENEW_S: Final = 3_600  # how old the file may be before it is rewritten in any case. Ours
KEYS_NS: Final = 60_000_000_000  # presses older than this are told, and no copy of them comes any more. Ours


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


class Entry(msgspec.Struct):
    """One input in memory, as it stands in the file. `call` is its model's name of the call; None: of all calls."""

    octets: bytes
    iap: str
    call: Hashable = None
    pressed_ns: int = 0  # of a key press in the media: when


class JournalCounters(msgspec.Struct):
    recorded: int = 0
    found: int = 0  # inputs read at the start
    refused: int = 0  # records that were none
    torn: int = 0  # files that ended in the middle of a record
    rewritten: int = 0
    failed: int = 0  # writes that the disk refused; the file is rewritten from memory until it takes them
    forgotten: int = 0  # inputs of calls that are up, for want of room


class CallJournal:
    """See the head of this file. All methods but `rewrite` are for one thread."""

    def __init__(self, folder: Path, box: Namer, *, now_ns: int, bound_octets: int = BOUND_OCTETS) -> None:
        """Reads what an earlier process left, but of orders whose window is over. Raises ConfigurationError."""
        self.counters = JournalCounters()
        self._box = box
        self._path = folder / FILE
        self._bound = bound_octets
        self._orders: dict[bytes, list[Entry]] = {}
        self._ends: dict[bytes, int] = {}
        self._pending: list[bytes] = []
        self._since: list[bytes] | None = None  # while it is rewritten: what goes to the new file as well
        self._key = box.derived(PLACE)
        self._file: CallsFile | None = None
        self._new: CallsFile | None = None
        self._renew_s = 0.0  # when it is next written anew in any case, monotonic
        self._octets = 0  # of inputs in memory
        self._floor = 0  # of the file, at the last rewriting
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
        if (octets := self.due()) is not None:
            self.rewrite(octets)
            self.finish()

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
                self._orders.setdefault(record.xid, [])
                self._ends[record.xid] = record.not_after_ns
            case Ended():
                self.ended(record.xid)
            case _:
                xid = record.pdu.xid if isinstance(record, Seen) else record.xid
                if xid not in self._orders:
                    return False
                self._keep(xid, Entry(frame, ""))
                self.counters.found += 1
        return True

    # -- orders -------------------------------------------------------------------------------------------------------

    def orders(self) -> list[bytes]:
        """Those in force when the process before this one ended, and now."""
        return list(self._orders)

    def armed(self, xid: bytes, not_after_ns: int) -> list[tuple[Entry, Input]]:
        """The order is armed, perhaps again: its inputs, oldest first."""
        self.extended(xid, not_after_ns)
        found: list[tuple[Entry, Input]] = []
        for entry in self._orders[xid]:
            record = _decode(self._box.open(entry.octets[FRAME.size :], PLACE))
            if not isinstance(record, (Armed, Ended)):
                found.append((entry, record))
        return found

    def extended(self, xid: bytes, not_after_ns: int) -> None:
        """The order's end is this one from now on; nothing happens if it was before."""
        if self._ends.get(xid) != not_after_ns:
            self._ends[xid] = not_after_ns
            self._orders.setdefault(xid, [])
            self._append(Armed(xid, not_after_ns))

    def ended(self, xid: bytes) -> None:
        """Nothing of this order is played any more; its octets leave the disk with the next rewriting, which is due."""
        self._ends.pop(xid, None)
        entries = self._orders.pop(xid, None)
        if entries is not None:
            self._octets -= sum(len(entry.octets) for entry in entries)
            self._append(Ended(xid))
            self._dirty = True

    # -- inputs -------------------------------------------------------------------------------------------------------

    def add(self, xid: bytes, iap: str, record: Input, call: Hashable = None) -> None:
        """Something moved a model of an order that is armed; on the disk with the next `write`."""
        if xid not in self._orders or (isinstance(record, Seen) and record.pdu.payload.startswith(b"MESSAGE ")):
            return
        if self._octets > 2 * self._bound:  # until the next rewriting
            self.counters.forgotten += 1
            return
        pressed_ns = 0
        if isinstance(record, Seen) and record.pdu.payload_format != PayloadFormat.SIP:
            pressed_ns = record.pdu.stamp_ns
        self._keep(xid, Entry(self._append(record), iap, call, pressed_ns))
        self.counters.recorded += 1

    def _keep(self, xid: bytes, entry: Entry) -> None:
        self._orders[xid].append(entry)
        self._octets += len(entry.octets)

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

    def due(self, remembers: Callable[[bytes, str, Hashable], bool] | None = None) -> list[bytes] | None:
        """The octets that `rewrite` is to write, when it is time; `remembers` says whether a model still has a call."""
        used = self._file.used if self._file is not None else 0
        full = used > 2 * self._floor + SLACK_OCTETS or self._octets > self._bound
        old = time.monotonic() >= self._renew_s
        if self._since is not None or not (full or old or self._dirty or self._broken):
            return None
        if remembers is not None:
            for xid, entries in self._orders.items():
                self._orders[xid] = list(_living(entries, partial(remembers, xid)))
        self._octets = sum(len(entry.octets) for entries in self._orders.values() for entry in entries)
        if self._octets > self._bound:
            self._make_room()
        self._dirty = self._broken = False
        self._since = []
        found = []
        for xid, entries in self._orders.items():
            found.append(self._frame(Armed(xid, self._ends[xid])))
            found += [entry.octets for entry in entries]
        self._floor = sum(map(len, found))
        return found

    def _make_room(self) -> None:
        """The calls with the most octets go, until three quarters of the bound are enough."""
        sizes: dict[tuple[bytes, str, Hashable], int] = {}
        for xid, entries in self._orders.items():
            for entry in entries:
                place = (xid, entry.iap, entry.call)
                sizes[place] = sizes.get(place, 0) + len(entry.octets)
        gone = set()
        for place, size in sorted(sizes.items(), key=lambda item: -item[1]):
            if self._octets <= self._bound * 3 // 4:
                break
            gone.add(place)
            self._octets -= size
        for xid, entries in self._orders.items():
            kept = [entry for entry in entries if (xid, entry.iap, entry.call) not in gone]
            self.counters.forgotten += len(entries) - len(kept)
            self._orders[xid] = kept

    def rewrite(self, octets: Iterable[bytes]) -> None:
        """Writes beside the file; blocks. What goes wrong is found by `finish`.

        openat(path.new, O_CREAT|O_TRUNC) pwrite64 …
        """
        with suppress(OSError):
            self._new = CallsFile.create(
                self._path.with_name(FILE + ".new"), self._key, octets, _room(self._floor)
            )  # fmt: skip

    def finish(self) -> None:
        """The new file takes the old one's place, with what came meanwhile. Never raises.

        pwrite64 rename
        """
        since, self._since = b"".join(self._since or ()), None
        self._pending.clear()
        new, self._new = self._new, None
        try:
            if new is not None:
                new.append(since)
                self._path.with_name(FILE + ".new").rename(self._path)
        except OSError:
            assert new is not None
            new.close()
            new = None
        if new is None:
            self.counters.failed += 1
            self._broken = True
            return
        if self._file is not None:
            self._file.close()
        self._file = new
        self._renew_s = time.monotonic() + RENEW_S
        self.counters.rewritten += 1

    def close(self) -> None:
        """Blocks for a rewriting that is due."""
        self.write()
        self._put()
        if self._file is not None:
            self._file.close()


def _room(octets: int) -> int:
    """For so many octets that are alive: it is rewritten at twice of them, and what comes meanwhile."""
    return 2 * octets + 2 * SLACK_OCTETS


def _living(entries: list[Entry], remembers: Callable[[str, Hashable], bool]) -> Iterable[Entry]:
    """Inputs of calls that are remembered, the first and the newest of each; of key presses the newest minute."""
    newest = max((entry.pressed_ns for entry in entries), default=0)
    numbers: dict[tuple[str, Hashable], int] = {}
    alive: dict[tuple[str, Hashable], bool] = {}
    found = []
    for entry in entries:
        place = (entry.iap, entry.call)
        if place not in alive:
            alive[place] = entry.call is None or remembers(*place)
        if alive[place] and not 0 < entry.pressed_ns < newest - KEYS_NS:
            numbers[place] = numbers.get(place, 0) + 1
            found.append(entry)
    passed: dict[tuple[str, Hashable], int] = {}
    for entry in found:
        place = (entry.iap, entry.call)
        passed[place] = passed.get(place, 0) + 1
        if passed[place] <= FIRST_OF_CALL or passed[place] > numbers[place] - LAST_OF_CALL:
            yield entry


def handle_of(pdu: Pdu) -> Hashable:
    """What a call model files the PDU's call under; None for one that it cannot file."""
    if pdu.correlation or pdu.payload_format != PayloadFormat.SIP:
        return pdu.correlation
    try:
        return sip.parse(pdu.payload).call_id
    except RemoteProtocolError:
        return None
