"""Scenarios of the same call over other transports: TCP in pieces, WebSocket, fragments, tunnels, IPv6 of each.

What the call is stays the same; what is tested is that every message is found, however the octets come.
"""

from __future__ import annotations

from tests.rig.carriers import Stream, Tunnel, WebSocket, connected
from tests.rig.exchange import Floor
from tests.rig.kamailio import WS_PORT
from tests.rig.ladder import SIP_PORT, Dialog, sdp
from tests.rig.scenario import OUT, Table

LONG = tuple(f"X-Padding-{number}: {'0123456789abcdef' * 16}" for number in range(12))  # 3 kB: three fragments
scenario = Table()


def _stream(floor: Floor, kind: type[Stream], port: int, pieces: tuple[int, ...], *, ipv6: bool = False) -> None:
    floor.order()
    left, right = floor.ends("left", "right", ipv6=ipv6)
    left.transport = right.transport = "WS" if kind is WebSocket else "TCP"
    names = floor.exchange.network.namespace
    with connected((names("left"), left), (names("right"), right), port, kind, pieces) as stream:
        if isinstance(stream, WebSocket):
            stream.shake_hands(left, right)
        dialog = Dialog(left, right, floor.subject, floor.other, transmit=stream).connect()
        dialog.reinvite(sdp(left.address, version=1), sdp(right.address))
        dialog.bye()


@scenario("tcp-a", "SIP over TCP, each message in one segment", *OUT, "release")
def tcp_whole(floor: Floor) -> None:
    _stream(floor, Stream, SIP_PORT, ())


@scenario("tcp-b", "SIP over TCP, each message in four segments, cut in the middle of lines", *OUT, "release")
def tcp_in_pieces(floor: Floor) -> None:
    _stream(floor, Stream, SIP_PORT, (7, 60, 111))


@scenario("tcp-6", "SIP over TCP over IPv6, in pieces", *OUT, "release")
def tcp_ipv6(floor: Floor) -> None:
    _stream(floor, Stream, SIP_PORT, (100, 100), ipv6=True)


@scenario("ws-a", "SIP over WebSocket", *OUT, "release")
def websocket(floor: Floor) -> None:
    _stream(floor, WebSocket, WS_PORT, ())


@scenario("ws-b", "SIP over WebSocket, frames in pieces, the first cut in its header", *OUT, "release")  # fmt: skip
def websocket_in_pieces(floor: Floor) -> None:
    _stream(floor, WebSocket, WS_PORT, (1, 2, 200))


@scenario("frag-4", "INVITE of 3 kB in IPv4 fragments", *OUT, "release")
def fragments(floor: Floor) -> None:
    floor.order()
    left, right = floor.ends("left", "right")
    Dialog(left, right, floor.subject, floor.other, headers=LONG).connect().bye()


@scenario("frag-6", "INVITE of 3 kB in IPv6 fragments", *OUT, "release")
def fragments_ipv6(floor: Floor) -> None:
    floor.order()
    left, right = floor.ends("left", "right", ipv6=True)
    Dialog(left, right, floor.subject, floor.other, headers=LONG).connect().bye()


def _tunnel(floor: Floor, kind: str) -> None:
    floor.order()
    left, right = floor.ends("left", "right")
    names = floor.exchange.network.namespace
    tunnel = Tunnel(names("left"), names("right"), kind, ("10.79.31.1", "10.79.32.1"))
    try:
        Dialog(left, right, floor.subject, floor.other, transmit=tunnel).connect().bye()
    finally:
        tunnel.close()


@scenario("tun-ip", "signalling inside IP-in-IP (RFC 2003)", *OUT, "release")
def ip_in_ip(floor: Floor) -> None:
    _tunnel(floor, "ip")


@scenario("tun-gre", "signalling inside GRE (RFC 2784)", *OUT, "release")
def gre(floor: Floor) -> None:
    _tunnel(floor, "gre")


@scenario("tun-vxlan", "signalling inside VXLAN (RFC 7348)", *OUT, "release")
def vxlan(floor: Floor) -> None:
    _tunnel(floor, "vxlan")


@scenario("tun-gtp", "signalling inside GTP-U (3GPP TS 29.281)", *OUT, "release")
def gtp(floor: Floor) -> None:
    _tunnel(floor, "gtp")
