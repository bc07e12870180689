"""Other ways than one datagram in which a ladder's messages cross the wire: TCP in pieces, WebSocket, tunnels.

Each is a `Transmit` for `ladder.Dialog`: it sends octets from one end to the other and awaits them there. Pieces are
awaited one by one, so that each is a segment of its own on the wire.
"""

from __future__ import annotations

import base64
import hashlib
import os
import socket
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from mediation.cli.demo.media import checksum, udp_frame
from tests.rig.ladder import End
from tests.rig.wire import ETH_P_ALL, inside_of, raw_socket, stream_socket

LIMIT_S = 30.0
WS_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 §1.3
IPIP, GRE_PROTOCOL, UDP = 4, 47, 17
GTPU_PORT, VXLAN_PORT = 2152, 4789
ETHERTYPE_IPV4, ETHERTYPE_TEB = 0x0800, 0x6558


class Stream:
    """One TCP connection between two ends; `pieces` are the sizes of the first segments of every message."""

    def __init__(self, ours: End, theirs: End, client: socket.socket, server: socket.socket,
                 pieces: Sequence[int] = ()) -> None:  # fmt: skip
        self._sockets = {id(ours): client, id(theirs): server}
        self._client, self._pieces = id(ours), pieces

    def write(self, sender: End, octets: bytes, pieces: Sequence[int] = ()) -> bytes:
        """Sends octets segment by segment; what arrived. Raises TimeoutError."""
        writing = self._sockets[id(sender)]
        reading = next(end for key, end in self._sockets.items() if key != id(sender))
        came = b""
        cuts, at = [*pieces, len(octets)], 0
        for size in cuts:
            piece = octets[at : at + size]
            at += len(piece)
            if piece:
                writing.sendall(piece)
                while len(came) < at:
                    came += reading.recv(65_535)
        return came

    def __call__(self, sender: End, _: End, octets: bytes) -> None:
        assert self.write(sender, octets, self._pieces) == octets


class WebSocket(Stream):
    """SIP over WebSocket (RFC 7118): one message a text frame, masked by the client (RFC 6455 §5.3)."""

    def shake_hands(self, client: End, server: End) -> None:
        key = base64.b64encode(os.urandom(16))
        accept = base64.b64encode(hashlib.sha1(key + WS_GUID, usedforsecurity=False).digest())
        self.write(client, b"GET / HTTP/1.1\r\nHost: carrier.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                   b"Sec-WebSocket-Key: " + key + b"\r\nSec-WebSocket-Protocol: sip\r\n"
                   b"Sec-WebSocket-Version: 13\r\n\r\n")  # fmt: skip
        self.write(server, b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                   b"Sec-WebSocket-Accept: " + accept + b"\r\nSec-WebSocket-Protocol: sip\r\n\r\n")  # fmt: skip

    def frame(self, sender: End, octets: bytes) -> bytes:
        """One final text frame."""
        masked = id(sender) == self._client
        size = len(octets)
        head = bytes([0x81]) + (
            bytes([size | masked << 7]) if size < 126 else struct.pack("!BH", 126 | masked << 7, size)
        )
        if not masked:
            return head + octets
        mask = os.urandom(4)
        return head + mask + bytes(octet ^ mask[index & 3] for index, octet in enumerate(octets))

    def __call__(self, sender: End, _: End, octets: bytes) -> None:
        framed = self.frame(sender, octets)
        assert self.write(sender, framed, self._pieces) == framed


@contextmanager
def connected(near: tuple[str, End], far: tuple[str, End], port: int, kind: type[Stream] = Stream,
              pieces: Sequence[int] = ()) -> Iterator[Stream]:  # fmt: skip
    """A connection from the first end to a port of the second; each end comes with its namespace."""
    listening = stream_socket(far[0], far[1].address, limit_s=LIMIT_S)
    client = stream_socket(near[0], near[1].address, limit_s=LIMIT_S)
    with listening, client:
        listening.bind((far[1].address, port))
        listening.listen(1)
        client.connect((far[1].address, port))
        server, _ = listening.accept()
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        server.settimeout(LIMIT_S)
        with server:
            yield kind(near[1], far[1], client, server, pieces)


def ipv4(source: str, destination: str, protocol: int, payload: bytes) -> bytes:
    """An IPv4 packet (RFC 791)."""
    ends = socket.inet_aton(source), socket.inet_aton(destination)
    header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), 0, 0, 64, protocol, 0, *ends)
    return header[:10] + struct.pack("!H", checksum(header)) + header[12:] + payload


def wrapped(kind: str, packet: bytes, outer: tuple[str, str]) -> bytes:
    """An IPv4 packet inside a tunnel: "ip" (RFC 2003), "gre" (RFC 2784), "vxlan" (RFC 7348), "gtp" (TS 29.281)."""
    match kind:
        case "ip":
            return ipv4(*outer, IPIP, packet)
        case "gre":
            return ipv4(*outer, GRE_PROTOCOL, struct.pack("!HH", 0, ETHERTYPE_IPV4) + packet)
        case "vxlan":
            ethernet = b"\x02\0\0\0\0\x0a\x02\0\0\0\0\x0b\x08\0" + packet
            return udp_frame((outer[0], 40_000), (outer[1], VXLAN_PORT), b"\x08\0\0\0\0\0\x2a\0" + ethernet)[14:]
        case "gtp":
            header = struct.pack("!BBHI", 0x30, 0xFF, len(packet), 0x1234)
            return udp_frame((outer[0], GTPU_PORT), (outer[1], GTPU_PORT), header + packet)[14:]
    raise ValueError(kind)


class Tunnel:
    """Messages as UDP packets inside tunnel packets, written to the cable of the first end's namespace."""

    def __init__(self, near: str, far: str, kind: str, outer: tuple[str, str]) -> None:
        self._kind, self._outer = kind, outer
        self._writing = raw_socket(near)
        self._reading = inside_of(
            far, lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        )
        self._reading.bind(("eth0", ETH_P_ALL))
        self._reading.settimeout(LIMIT_S)

    def __call__(self, sender: End, receiver: End, octets: bytes) -> None:
        inner = udp_frame((sender.address, sender.port), (receiver.address, receiver.port), octets)[14:]
        packet = wrapped(self._kind, inner, self._outer)
        # To all stations: the switch floods it, and who is no end of the tunnel drops it.
        frame = b"\xff" * 6 + b"\x02\0\0\0\0\x0c\x08\0" + packet
        self._writing.send(frame)
        while self._reading.recv(65_535) != frame:
            continue

    def close(self) -> None:
        for end in (self._writing, self._reading):
            with suppress(OSError):
                end.close()
