"""What came of each call content channel: packets, octets, and what is missing between them.

Answers for the content summary of `collect` and `replay`: which channel belongs to which call and direction is learnt
from the call data channel (ccOpen and its like), never guessed. Content itself is counted and forgotten; `on_packet`
is for who was asked to keep it.

What is lost: a CC-APDU has the number of its channel, and a gap is a loss of the delivery. A PacketCable datagram has
none; there the RTP sequence numbers (RFC 3550 section 5.1) are counted, which also miss what the network lost.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec

from mediation.collection.content_decoder import ContentPacket
from mediation.collection.decoder import Decoded

MAX_CHANNELS: Final = 100_000  # ours; beyond it, channels that were closed are forgotten first
OPENING: Final = frozenset({"ccOpen", "ccChange", "ccopen", "ccchange"})
BEGINNING: Final = frozenset({"ccOpen", "ccopen"})
CLOSING: Final = frozenset({"ccClose", "ccclose"})
WAYS: Final = {"sepXmitCCC": "fromSubject", "sepRecvCCC": "toSubject", "combCCC": "both"}
RTCP_TYPES: Final = range(64, 96)  # RFC 5761 section 4: of the RTP payload type field
_PORTS: Final = struct.Struct("!2H")


class ChannelAccount(msgspec.Struct, kw_only=True):
    """One channel. `ccc` None: its ccOpen did not come."""

    ccc: str | None
    direction: str | None
    case: str | None = None
    call: str | None = None
    packets: int = 0
    octets: int = 0  # of the IP packets
    numbered: int = 0  # CC-APDUs
    lowest: int | None = None  # of their numbers; 0 when the opening was seen
    following: int = 0  # after their highest number
    gaps: int = 0  # in RTP sequence numbers
    sources: dict[int, int] = msgspec.field(default_factory=dict)  # SSRC -> RTP sequence number expected
    shown: int = 0  # packets when it was last shown
    closed: bool = False

    @property
    def lost(self) -> int:
        """Packets that are missing until now."""
        first = self.following if self.lowest is None else self.lowest
        return max(0, self.following - first - self.numbered) + self.gaps

    def join(self, early: ChannelAccount) -> None:
        """What came before the message that opened the channel: the two travel by different connections."""
        self.packets += early.packets
        self.octets += early.octets
        self.gaps += early.gaps
        self.numbered += early.numbered
        self.following = max(self.following, early.following)
        known = [each.lowest for each in (self, early) if each.lowest is not None]
        self.lowest = min(known, default=None)
        self.sources.update(early.sources)

    def summary(self) -> dict[str, Any]:
        """One JSON object, as `collect` prints it."""
        return {
            "case": self.case,
            "message": "content",
            "call": self.call,
            "ccc": self.ccc,
            "direction": self.direction,
            "packets": self.packets,
            "octets": self.octets,
            "lost": self.lost,
            "closed": self.closed,
        }


class ContentAccount:
    """All channels of one collection function."""

    def __init__(self, on_packet: Callable[[ChannelAccount, ContentPacket], None] | None = None) -> None:
        self.unknown = 0  # packets of channels beyond the bound
        self._on_packet = on_packet
        self._channels: dict[str, ChannelAccount] = {}  # by identifier
        self._calls: dict[tuple[str | None, ...], str] = {}  # case, access point, call, direction -> identifier
        self._strangers: dict[tuple[str | None, ...], ChannelAccount] = {}

    def message(self, decoded: Decoded) -> list[ChannelAccount]:
        """A message of the call data channel. The channels that it closed."""
        if decoded.message in CLOSING:
            return [self._close(each) for _, each in _identifiers(decoded) if each in self._channels]
        if decoded.message in OPENING:
            for way, identifier in _identifiers(decoded):
                self._open(decoded, WAYS[way], identifier)
        return []

    def packet(self, packet: ContentPacket) -> None:
        """One packet of content."""
        channel = self._channel(packet)
        if channel is None:
            self.unknown += 1
            return
        channel.packets += 1
        channel.octets += len(packet.packet)
        if packet.sequence is not None:
            channel.numbered += 1
            channel.lowest = packet.sequence if channel.lowest is None else min(channel.lowest, packet.sequence)
            channel.following = max(channel.following, packet.sequence + 1)
        else:
            _count_rtp(channel, packet.packet)
        if self._on_packet is not None:
            self._on_packet(channel, packet)

    def changed(self) -> Iterator[ChannelAccount]:
        """Channels with packets that no summary has shown; what is asked for counts as shown."""
        for channel in (*self._channels.values(), *self._strangers.values()):
            if channel.packets != channel.shown:
                channel.shown = channel.packets
                yield channel

    def _open(self, decoded: Decoded, direction: str, identifier: str) -> None:
        channel = self._channels.get(identifier)
        if channel is None or channel.closed:
            if len(self._channels) >= MAX_CHANNELS:
                self._forget()
            channel = self._channels[identifier] = ChannelAccount(ccc=identifier, direction=direction)
            channel.lowest = 0 if decoded.message in BEGINNING else None
        channel.case, channel.call = decoded.case, decoded.call
        for each in ("fromSubject", "toSubject") if direction == "both" else (direction,):
            place = (decoded.case, decoded.iap, decoded.call, each)
            self._calls[place] = identifier
            for key in ((None, *place), (identifier, None, None, None, None)):
                if (early := self._strangers.pop(key, None)) is not None:
                    channel.join(early)

    def _close(self, identifier: str) -> ChannelAccount:
        channel = self._channels[identifier]
        channel.closed = True
        return channel

    def _channel(self, packet: ContentPacket) -> ChannelAccount | None:
        place = (packet.case, packet.iap, packet.call, packet.direction)
        identifier = packet.channel or self._calls.get(place)
        found = self._channels.get(identifier) if identifier is not None else None
        if found is not None:
            return found
        key = (identifier, *place)
        if key not in self._strangers and len(self._strangers) < MAX_CHANNELS:
            self._strangers[key] = ChannelAccount(
                ccc=identifier, direction=packet.direction, case=packet.case, call=packet.call
            )
        return self._strangers.get(key)

    def _forget(self) -> None:
        for identifier in [name for name, each in self._channels.items() if each.closed]:
            del self._channels[identifier]
        self._calls = {place: name for place, name in self._calls.items() if name in self._channels}


def _identifiers(decoded: Decoded) -> Iterator[tuple[str, str]]:
    """(kind of channel, identifier) of each that a message names, in both profiles."""
    named = decoded.fields.get("cCCId") or decoded.fields.get("deliveryIdentifier", {}).get("cccId", {})
    pairs = {**named, **named.get("sepCCCpair", {})}
    for way in WAYS:
        if isinstance(each := pairs.get(way), str):
            yield way, each


def _count_rtp(channel: ChannelAccount, packet: bytes) -> None:
    """Gaps in the RTP sequence numbers of one source; anything that is no RTP over UDP is passed over."""
    at = 40 if packet[:1] and packet[0] >> 4 == 6 else (packet[0] & 0x0F) * 4 if packet else 0
    protocol = packet[6] if at == 40 and len(packet) > 6 else packet[9] if len(packet) > 9 else 0
    rtp = packet[at + 8 :]
    if protocol != 17 or len(rtp) < 12 or rtp[0] >> 6 != 2 or rtp[1] & 0x7F in RTCP_TYPES:
        return
    sequence, source = int.from_bytes(rtp[2:4], "big"), int.from_bytes(rtp[8:12], "big")
    expected = channel.sources.get(source)
    ahead = (sequence - expected) & 0xFFFF if expected is not None else 0
    if ahead < 0x8000:  # else it comes late: what is missing was counted when it was passed
        channel.gaps += ahead
        channel.sources[source] = (sequence + 1) & 0xFFFF
    else:
        channel.gaps = max(0, channel.gaps - 1)
