"""Key presses in RFC 4733 telephone-events: RTP packets in, presses out.

Answers for one thing: which packets are one press. A press is an `event` of one RTP source (SSRC) that began at one RTP
time stamp (RFC 4733 section 2.2), so all packets of a press, its end packet sent three times (2.5.1.4) and the second
copy that a SPAN port shows, are one press. It counts from the first packet that arrives, whichever that is: any of the
others may be lost. It may not judge whose packet it is, nor hear audio.
"""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

from mediation.core.errors import RemoteProtocolError

MAX_SEGMENT: Final = 0xFFFF  # section 2.5.1.3: a longer press goes on as a new segment, this much later
MAX_SEGMENTS_LOST: Final = 8  # half a minute of a held key at 8 kHz whose packets are all missing; ours
MAX_SOURCES: Final = 8  # RTP sources (SSRC) remembered in one call; ours
MAX_PRESSES: Final = 16  # presses remembered for each source, against late copies; ours
MAX_EVENTS_IN_PACKET: Final = 8  # section 2.5.1.5 packs short events together; ours


class Heard(NamedTuple):
    """What one packet told: events (0 to 255) that begin with it, and those that go on, of one RTP source."""

    ssrc: int
    began: list[int]
    held: list[int]


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

    def feed(self, packet: bytes) -> Heard:
        """What this RTP packet tells; mostly that a key is still held. Raises RemoteProtocolError."""
        marker, timestamp, ssrc, payload = _rtp(packet)
        source = self._sources.get(ssrc)
        if source is None:
            if len(self._sources) >= MAX_SOURCES:
                del self._sources[next(iter(self._sources))]
            source = self._sources[ssrc] = _Source()
        began: list[int] = []
        held: list[int] = []
        for at in range(0, min(len(payload), 4 * MAX_EVENTS_IN_PACKET) - 3, 4):
            event, ended = payload[at], bool(payload[at + 1] & 0x80)
            if self._is_new(source, event, timestamp, marker and at == 0):
                began.append(event)
            else:
                self.copies += 1
                if (event, timestamp) == (source.event, source.began):
                    held.append(event)
            if ended and (event, timestamp) == (source.event, source.began):
                source.ended = True
            timestamp = (timestamp + int.from_bytes(payload[at + 2 : at + 4])) & 0xFFFFFFFF
        return Heard(ssrc, began, held)

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
