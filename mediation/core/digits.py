"""Digits that the subject dials after cut-through: RFC 4733 telephone-events in, strings of digits out.

Answers for one thing: each key the subject pressed is reported once, in order, soon enough. It hears no audio,
parses no SIP, and never sees a packet while dialed digit extraction is off (47 CFR 1.20007(b)(6), the toggle).

Two parts, both sans-I/O, and `Dialing`, which joins them for one call:

* `TelephoneEvents` turns RTP packets into key presses. A key press is an `event` of one RTP source (SSRC) that
  began at one RTP time stamp (RFC 4733 section 2.2), so all packets of a press, its end packet sent three times
  (2.5.1.4) and the second copy that a SPAN port shows, are one press. It counts from the first packet that arrives,
  whichever that is: any of the others may be lost.
* `DigitString` gathers presses until a message is due: at `#`, after the inter-digit timeout, four seconds after
  the first digit (half of the eight seconds that 1.20007(a)(14) gives until arrival), or at 32 digits, which is all
  that DialedDigitExtraction.digits holds (T1.678, VisibleString SIZE(1..32))."""

from __future__ import annotations

from collections import deque
from typing import Final

import msgspec

from mediation.core.errors import RemoteProtocolError

KEYS: Final = "0123456789*#ABCD"  # RFC 4733 section 3.2, events 0 to 15
FLASH: Final = 16  # section 3.2: a hook flash

MAX_SEGMENT: Final = 0xFFFF  # section 2.5.1.3: a longer press goes on as a new segment, this much later
MAX_SEGMENTS_LOST: Final = 8  # half a minute of a held key at 8 kHz whose packets are all missing; ours
MAX_SOURCES: Final = 8  # RTP sources (SSRC) remembered in one call; ours
MAX_PRESSES: Final = 16  # presses remembered for each source, against late copies; ours
MAX_EVENTS_IN_PACKET: Final = 8  # section 2.5.1.5 packs short events together; ours

MAX_DIGITS: Final = 32  # DialedDigitExtraction.digits
INTER_DIGIT_TIMEOUT_NS: Final = 1_500_000_000  # default; a site may choose another
FIRST_DIGIT_TIMEOUT_NS: Final = 4_000_000_000  # half of the 8 s of 1.20007(a)(14)


class Gathered(msgspec.Struct, frozen=True):
    """A string that is due. `first_ns` and `last_ns` are when its first and its last digit were received."""

    digits: str
    first_ns: int
    last_ns: int


class _Source:
    """What is remembered of one SSRC: its latest presses, and how the newest of them stands."""

    __slots__ = ("began", "ended", "event", "presses")

    def __init__(self) -> None:
        self.presses: deque[tuple[int, int]] = deque(maxlen=MAX_PRESSES)  # (event, RTP time stamp)
        self.event = -1
        self.began = 0
        self.ended = True


class TelephoneEvents:
    """Finds the key presses in the telephone-event packets of one call. `copies` counts packets that repeated one."""

    __slots__ = ("_sources", "copies")

    def __init__(self) -> None:
        self._sources: dict[int, _Source] = {}
        self.copies = 0

    def feed(self, packet: bytes) -> list[int]:
        """Events (0 to 255) that begin with this RTP packet; mostly none. Raises RemoteProtocolError."""
        marker, timestamp, ssrc, payload = _rtp(packet)
        source = self._sources.get(ssrc)
        if source is None:
            if len(self._sources) >= MAX_SOURCES:
                del self._sources[next(iter(self._sources))]
            source = self._sources[ssrc] = _Source()
        began = []
        for at in range(0, min(len(payload), 4 * MAX_EVENTS_IN_PACKET) - 3, 4):
            event, ended = payload[at], bool(payload[at + 1] & 0x80)
            if self._is_new(source, event, timestamp, marker and at == 0):
                began.append(event)
            else:
                self.copies += 1
            if ended and (event, timestamp) == (source.event, source.began):
                source.ended = True
            timestamp = (timestamp + int.from_bytes(payload[at + 2 : at + 4])) & 0xFFFFFFFF
        return began

    @staticmethod
    def _is_new(source: _Source, event: int, timestamp: int, marker: bool) -> bool:
        press = (event, timestamp)
        if press in source.presses:
            return False
        source.presses.append(press)
        segments, rest = divmod((timestamp - source.began) & 0xFFFFFFFF, MAX_SEGMENT)
        continues = (
            event == source.event
            and not source.ended
            and not marker
            and rest == 0
            and 1 <= segments <= MAX_SEGMENTS_LOST + 1
        )
        source.event, source.began, source.ended = event, timestamp, False
        return not continues


class DigitString:
    """Digits on their way to one DialedDigitExtraction. Times are UTC nanoseconds."""

    __slots__ = ("_digits", "_first_ns", "_last_ns", "_timeout_ns")

    def __init__(self, timeout_ns: int = INTER_DIGIT_TIMEOUT_NS) -> None:
        self._timeout_ns = timeout_ns
        self._digits = ""
        self._first_ns = 0
        self._last_ns = 0

    def add(self, digit: str, stamp_ns: int) -> Gathered | None:
        """Takes a digit received at `stamp_ns`; the string, when this digit completes it."""
        if not self._digits:
            self._first_ns = stamp_ns
        self._digits += digit
        self._last_ns = max(stamp_ns, self._first_ns)
        return self.flush() if digit == "#" or len(self._digits) == MAX_DIGITS else None

    @property
    def deadline_ns(self) -> int | None:
        """When the string is due at the latest, or None while there is no digit."""
        if not self._digits:
            return None
        return min(self._last_ns + self._timeout_ns, self._first_ns + FIRST_DIGIT_TIMEOUT_NS)

    def flush(self) -> Gathered | None:
        """What has been gathered, if anything: a deadline passed, the call ended, the toggle went off."""
        if not self._digits:
            return None
        due = Gathered(self._digits, self._first_ns, self._last_ns)
        self._digits = ""
        return due


class Flash(msgspec.Struct, frozen=True):
    """A hook flash; what was dialed before it is complete."""


class Tally(msgspec.Struct):
    """What happened to telephone-event packets; numbers only, shared by all calls of a task."""

    copies: int = 0  # packets that repeated a key press
    early: int = 0  # presses before cut-through, not reported
    ignored: int = 0  # events that are neither digit nor flash


class Dialing:
    """The subject's keys in one call."""

    __slots__ = ("_events", "_string", "_tally")

    def __init__(self, timeout_ns: int, tally: Tally) -> None:
        self._events = TelephoneEvents()
        self._string = DigitString(timeout_ns)
        self._tally = tally

    def feed(self, packet: bytes, stamp_ns: int, *, cut_through: bool) -> list[Gathered | Flash]:
        """What is complete with this packet. Before cut-through presses are only remembered, so that a key held across
        the answer is not taken for a new one. Raises RemoteProtocolError for what is no telephone-event."""
        copies = self._events.copies
        events = self._events.feed(packet)
        self._tally.copies += self._events.copies - copies
        if not cut_through:
            self._tally.early += len(events)
            return []
        done: list[Gathered | Flash] = []
        for event in events:
            if event < len(KEYS):
                complete = self._string.add(KEYS[event], stamp_ns)
                done += [complete] if complete else []
            elif event == FLASH:
                done += [*self.flush(), Flash()]
            else:
                self._tally.ignored += 1
        return done

    @property
    def deadline_ns(self) -> int | None:
        return self._string.deadline_ns

    def flush(self) -> list[Gathered]:
        """What has been dialed so far: the time has come, the call ended, the toggle went off."""
        due = self._string.flush()
        return [due] if due else []


def _rtp(packet: bytes) -> tuple[bool, int, int, bytes]:
    """Marker, time stamp, SSRC and payload of an RTP packet (RFC 3550 section 5.1). Raises RemoteProtocolError."""
    if len(packet) < 12 or packet[0] >> 6 != 2:
        raise RemoteProtocolError("rtp: not a version 2 packet")
    at = 12 + 4 * (packet[0] & 0x0F)
    if packet[0] & 0x10:  # header extension, section 5.3.1
        at += 4 + 4 * int.from_bytes(packet[at + 2 : at + 4])
    end = len(packet) - (packet[-1] if packet[0] & 0x20 else 0)  # padding
    if end - at < 4:
        raise RemoteProtocolError("rtp: no telephone-event in the packet")
    return (
        bool(packet[1] & 0x80),
        int.from_bytes(packet[4:8]),
        int.from_bytes(packet[8:12]),
        packet[at:end],
    )
