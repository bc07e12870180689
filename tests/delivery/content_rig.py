"""Content in the tests of the delivery function: an access process that a test plays, and the agency's receiver."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Literal

import trio

from mediation.collection.content_account import ChannelAccount, ContentAccount
from mediation.collection.content_decoder import ContentPacket
from mediation.collection.content_receiver import ContentReceiver
from mediation.collection.decoder import Decoded, decode
from mediation.core.case import Authority, Capability, ContentDestination, Destination, TaskRequest
from mediation.core.interface import x2
from mediation.core.interface.x2 import Direction, PayloadFormat, Pdu, PduType
from mediation.runtime import sockets
from tests.delivery.house import IAP, House, sip
from tests.delivery.links import free_port
from tests.delivery.rig import Rig, rig

SDP = (
    "v=0\r\no={name} 1 1 IN IP4 {address}\r\ns=-\r\nc=IN IP4 {address}\r\nt=0 0\r\n"
    "m=audio {port} {protocol} 0\r\na=rtpmap:0 PCMU/8000\r\n{more}"
)
SUBJECT_MEDIA, OTHER_MEDIA = ("192.0.2.1", 40000), ("192.0.2.2", 50000)


def sdp(place: tuple[str, int], protocol: str = "RTP/AVP", more: str = "") -> bytes:
    name = "s" if place == SUBJECT_MEDIA else "a"
    return SDP.format(name=name, address=place[0], port=place[1], protocol=protocol, more=more).encode()


def set_up(name: str, protocol: str = "RTP/AVP", more: str = "") -> list[bytes]:
    """A call by the subject that is answered, with media."""
    offer, answer = sdp(SUBJECT_MEDIA, protocol, more), sdp(OTHER_MEDIA, protocol, more)
    return [
        sip(name, "INVITE sip:+12125550123@example.net SIP/2.0", body=offer),
        sip(name, "SIP/2.0 180 Ringing", to_tag="b"),
        sip(name, "SIP/2.0 200 OK", to_tag="b", body=answer),
    ]


def bye(name: str) -> list[bytes]:
    return [sip(name, "BYE sip:+12125550123@192.0.2.2 SIP/2.0", to_tag="b", cseq="2 BYE")]


def rtp(number: int, *, from_subject: bool = True, call: int = 1) -> bytes:
    """One IPv4 packet of G.711, 20 ms: which, is in its octets."""
    source, destination = (SUBJECT_MEDIA, OTHER_MEDIA) if from_subject else (OTHER_MEDIA, SUBJECT_MEDIA)
    head = struct.pack("!BBHIII", 0x80, 0, number & 0xFFFF, 160 * number, call * 2 + from_subject, number)
    payload = head + bytes([number & 0xFF]) * 156
    udp = struct.pack("!4H", source[1], destination[1], 8 + len(payload), 0) + payload
    addresses = socket.inet_aton(source[0]) + socket.inet_aton(destination[0])
    return struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), number & 0xFFFF, 0, 64, 17, 0) + addresses + udp


class ContentTap:
    """Plays the content side of the access process: listens on run/iap.x3."""

    def __init__(self, run_dir: Path) -> None:
        self._listener = sockets.listen(run_dir, "iap.x3")
        os.chmod(run_dir / "iap.x3", 0o666)
        self._stream: trio.SocketStream | None = None
        self._sequences: dict[bytes, int] = {}

    async def connected(self) -> None:
        self._stream = await self._listener.accept()
        self._sequences.clear()

    def pdus(self, xid: bytes, packets: list[bytes], correlation: int, *, from_subject: bool = True) -> bytes:
        """X3 of `packets`, stamped now and numbered on."""
        found = b""
        for packet in packets:
            number = self._sequences[xid] = self._sequences.get(xid, 0) + 1
            found += x2.encode(
                Pdu(
                    type=PduType.X3,
                    payload_format=PayloadFormat.IPV4,
                    direction=Direction.FROM_TARGET if from_subject else Direction.TO_TARGET,
                    xid=xid,
                    correlation=correlation,
                    payload=packet,
                    stamp_ns=time.time_ns(),
                    sequence=number,
                    error_us=100,
                    disciplined=True,
                    interception_point=IAP,
                )
            )
        return found

    async def send(self, octets: bytes) -> None:
        assert self._stream is not None
        await self._stream.send_all(octets)

    async def hang_up(self) -> None:
        assert self._stream is not None
        await self._stream.aclose()

    async def close(self) -> None:
        await self._listener.aclose()
        if self._stream is not None:
            await self._stream.aclose()


class Agency:
    """The agency's content receiver, with every packet as it came, by channel."""

    def __init__(self, house: House) -> None:
        self.arrivals: list[tuple[int, ContentPacket]] = []
        self.account = ContentAccount(self._packet)
        self.receiver = ContentReceiver(house.certificates.server(), self.account)
        self.count = 0

    def _packet(self, channel: ChannelAccount, packet: ContentPacket) -> None:
        self.arrivals.append((time.time_ns(), packet))
        self.count += 1

    @property
    def packets(self) -> dict[str | None, list[bytes]]:
        """By channel, as the call data said, which come by another connection and perhaps later."""
        found: dict[str | None, list[bytes]] = defaultdict(list)
        for _, packet in self.arrivals:
            place = (packet.case, packet.iap, packet.call, packet.direction)
            found[packet.channel or self.account._calls.get(place)].append(packet.packet)
        return found

    @contextlib.asynccontextmanager
    async def running(self, port: int) -> AsyncIterator[None]:
        async with trio.open_nursery() as nursery:
            await nursery.start(self.receiver.serve, "127.0.0.1", port)
            yield
            nursery.cancel_scope.cancel()


class ContentRig:
    """The delivery tests' rig, with content beside it. The agency learns from the call data before it counts."""

    def __init__(self, base: Rig, tap: ContentTap) -> None:
        self.base = base
        self.tap = tap
        self.port = free_port()
        self.agency = Agency(base.house)
        self._decoded: list[Decoded] = []

    def order(self, *, form: Literal["cc-apdu", "packetcable"] = "cc-apdu",
              channels: Literal["combined", "separated"] = "separated", maximum: int = 32,
              **changes: Any) -> TaskRequest:  # fmt: skip
        house = self.base.house
        content = ContentDestination(host="127.0.0.1", port=self.port, form=form, channels=channels, maximum=maximum)
        destination = Destination(
            host="127.0.0.1",
            port=self.base.port,
            certificate_sha256=house.certificates.agency_sha256,
            content=content,
        )
        facts: dict[str, Any] = {
            "authority": Authority.TITLE_III,
            "capabilities": (Capability.CALL_DATA, Capability.CONTENT),
            "destination": destination,
        }
        return house.order(self.base.port, **{**facts, **changes})

    @contextlib.asynccontextmanager
    async def collecting(self) -> AsyncIterator[None]:
        """Call data and content are received; what call data say of channels is learnt as it comes."""
        collector = self.base.collector
        keep = collector.receiver._on_message

        def learn(received: Any) -> None:
            keep(received)
            self._decoded.append(decode(received.octets))
            self.agency.account.message(self._decoded[-1])

        collector.receiver._on_message = learn
        async with collector.running(self.base.port), self.agency.running(self.port):
            yield
        collector.receiver._on_message = keep

    def decoded(self) -> list[Decoded]:
        return self._decoded

    def names(self) -> list[str]:
        return [each.message for each in self.decoded()]

    def channels(self, call: str) -> dict[str, str]:
        """Direction -> identifier, from the call's ccOpen."""
        for each in self.decoded():
            if each.message == "ccOpen" and each.call == call:
                named = each.fields["deliveryIdentifier"]["cccId"]
                pair = named.get("sepCCCpair", {})
                found = {"from": pair.get("sepXmitCCC"), "to": pair.get("sepRecvCCC"), "both": named.get("combCCC")}
                return {way: name for way, name in found.items() if name}
        raise AssertionError(f"no ccOpen of {call}")


@contextlib.asynccontextmanager
async def content_rig(path: Path, settings: str = "") -> AsyncIterator[ContentRig]:
    async with rig(path, settings) as base:
        tap = ContentTap(base.house.site.run_dir)
        try:
            await tap.connected()
            yield ContentRig(base, tap)
        finally:
            with trio.CancelScope(shield=True):
                await tap.close()
