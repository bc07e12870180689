"""What the tests of content share: a call that is up, and what its packets look like when they come out."""

from __future__ import annotations

import ipaddress
import struct

from mediation.core.interface.x2 import PayloadFormat, Pdu
from tests.ext.calls import Dialog, Rig, sdp

NEAR, NEAR_RTCP = ("192.0.2.10", 40000), ("192.0.2.10", 40001)
FAR, FAR_RTCP = ("203.0.113.5", 50000), ("203.0.113.5", 50001)
RTP = b"\x80\x00" + bytes(170)
RTCP = b"\x80\xc9\0\1" + bytes(4)  # an empty receiver report
CONTROL = tuple(range(64, 96))  # 192 to 223 without the highest bit


def described(*lines: str, address: str = "192.0.2.10") -> str:
    family = "IP6" if ":" in address else "IP4"
    return f"v=0\r\no=- 1 1 IN {family} {address}\r\ns=-\r\nc=IN {family} {address}\r\nt=0 0\r\n" + "".join(
        f"{line}\r\n" for line in lines
    )


def up(rig: Rig, d: Dialog | None = None, near: str | None = None, far: str | None = None) -> Dialog:
    d = d or Dialog()
    rig.send(d.invite(body=near or sdp()))
    rig.send(d.response(200, body=far or sdp(*FAR)), d.request("ACK"), source="203.0.113.1")
    return d


def udp_of(pdu: Pdu) -> tuple[tuple[str, int], tuple[str, int], bytes]:
    """Source, destination and payload of an X3 PDU's IP packet."""
    octets = pdu.payload
    if pdu.payload_format == PayloadFormat.IPV4:
        assert octets[0] == 0x45
        assert struct.unpack_from("!H", octets, 2)[0] == len(octets)
        a, b, udp = octets[12:16], octets[16:20], octets[20:]
    else:
        assert pdu.payload_format == PayloadFormat.IPV6
        assert octets[0] >> 4 == 6
        a, b, udp = octets[8:24], octets[24:40], octets[40:]
    source, destination, length = struct.unpack_from("!HHH", udp)
    assert length == len(udp)
    return (str(ipaddress.ip_address(a)), source), (str(ipaddress.ip_address(b)), destination), udp[8:]
