"""The inputs of the call models in memory, by order: which of them a restart still needs, which go for want of room.

Answers for the bounds of the call journal (calls.py says them): an order's inputs go with the order, at once; a call's
once its model has forgotten it; of one call the first and the newest are kept. Looking through all of them takes
milliseconds when thousands of calls are up, so it is done in pieces, between which anything else may be called.

May not: hold a file, or open what it keeps: it knows sealed octets and whose they are.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Hashable, Iterator
from functools import partial
from typing import Final, NamedTuple

import msgspec

FIRST_OF_CALL, LAST_OF_CALL = 64, 192  # inputs of one call: how it began, and how it stands. Ours
KEYS_NS: Final = 60_000_000_000  # presses older than this are told, and no copy of them comes any more. Ours
PIECE: Final = 200  # inputs, or orders, looked at before others have their turn: some 0.2 ms. Ours
GLANCE: Final = 2_000  # of which no more than one number is read: some 0.1 ms. Ours


class Entry(msgspec.Struct):
    """One input in memory, as it stands in the file. `call` is its model's name of the call; None: of all calls.
    `said`: it says that another was told of, and stays as long as the call, however many there are."""

    octets: bytes
    iap: str
    call: Hashable = None
    pressed_ns: int = 0  # of a key press in the media: when
    said: bool = False


class Order(NamedTuple):
    """What was kept of one order at a moment, oldest first: the first `number` entries, whatever is appended later."""

    xid: bytes
    entries: list[Entry]
    number: int


Remembers = Callable[[bytes, str, Hashable], bool]  # whether the model of this XID and access point has the call


class Inputs:
    """`octets` is the sum of all that is kept. All methods are for one thread."""

    def __init__(self) -> None:
        self.octets = 0
        self._orders: dict[bytes, list[Entry]] = {}

    def __contains__(self, xid: bytes) -> bool:
        return xid in self._orders

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._orders)

    def expect(self, xid: bytes) -> None:
        """The order is in force."""
        self._orders.setdefault(xid, [])

    def of(self, xid: bytes) -> list[Entry]:
        """Those of an order in force, oldest first."""
        return self._orders[xid]

    def add(self, xid: bytes, entry: Entry) -> None:
        """The newest of an order in force."""
        self._orders[xid].append(entry)
        self.octets += len(entry.octets)

    def end(self, xid: bytes) -> bool:
        """The order is over; False when it was not in force."""
        entries = self._orders.pop(xid, None)
        self.octets -= sum(len(entry.octets) for entry in entries or ())
        return entries is not None

    def now(self) -> list[Order]:
        """What is kept at this moment, good until the next `sift` or `make_room`."""
        return [Order(xid, entries, len(entries)) for xid, entries in self._orders.items()]

    def sift(self, remembers: Remembers) -> Iterator[None]:
        """Drops what is not needed of all that is there now, in pieces. What comes meanwhile stays."""
        for number, xid in enumerate(list(self._orders)):
            if number % PIECE == PIECE - 1:
                yield
            entries = self._orders.get(xid)
            if not entries:  # the order is quiet, or ended meanwhile
                continue
            count = len(entries)
            kept: list[Entry] = []
            dropped = yield from _living(entries, count, partial(remembers, xid), kept)
            if self._orders.get(xid) is entries:
                self.octets -= dropped
                self._orders[xid] = kept + entries[count:]
                while entries:  # to give thousands back takes milliseconds too
                    del entries[-PIECE:]
                    yield

    def make_room(self, bound_octets: int) -> int:
        """The calls with the most octets go, until no more than this are left; how many inputs went."""
        sizes: dict[tuple[bytes, str, Hashable], int] = {}
        for xid, entries in self._orders.items():
            for entry in entries:
                place = (xid, entry.iap, entry.call)
                sizes[place] = sizes.get(place, 0) + len(entry.octets)
        gone = set()
        for place, size in sorted(sizes.items(), key=lambda item: -item[1]):
            if self.octets <= bound_octets:
                break
            gone.add(place)
            self.octets -= size
        forgotten = 0
        for xid, entries in self._orders.items():
            kept = [entry for entry in entries if (xid, entry.iap, entry.call) not in gone]
            forgotten += len(entries) - len(kept)
            self._orders[xid] = kept
        return forgotten


def _living(
    entries: list[Entry], count: int, remembers: Callable[[str, Hashable], bool], kept: list[Entry]
) -> Generator[None, None, int]:
    """Adds to `kept`, of the first `count`, the inputs of calls that are remembered, the first and the newest of each;
    of key presses the newest minute. The octets of the others."""
    newest = dropped = 0
    numbers: dict[tuple[str, Hashable], int] = {}
    alive: dict[tuple[str, Hashable], bool] = {}
    found: list[Entry] = []
    for glance in _slices(entries, count, GLANCE):
        newest = max(newest, *(entry.pressed_ns for entry in glance))
        yield
    for piece in _slices(entries, count, PIECE):
        for entry in piece:
            place = (entry.iap, entry.call)
            if place not in alive:
                alive[place] = entry.call is None or remembers(*place)
            if alive[place] and not 0 < entry.pressed_ns < newest - KEYS_NS:
                numbers[place] = numbers.get(place, 0) + (not entry.said)
                found.append(entry)
            else:
                dropped += len(entry.octets)
        yield
    passed: dict[tuple[str, Hashable], int] = {}
    for piece in _slices(found, len(found), PIECE):
        for entry in piece:
            place = (entry.iap, entry.call)
            passed[place] = passed.get(place, 0) + (not entry.said)
            if entry.said or passed[place] <= FIRST_OF_CALL or passed[place] > numbers[place] - LAST_OF_CALL:
                kept.append(entry)
            else:
                dropped += len(entry.octets)
        yield
    return dropped


def _slices(entries: list[Entry], count: int, size: int) -> Iterator[list[Entry]]:
    """The first `count`, whatever is appended meanwhile."""
    for at in range(0, count, size):
        yield entries[at : min(at + size, count)]
