"""An IP packet around a payload that came without one: both forms of content begin with an IP header.

For points of interception that hand on RTP alone (ETSI TS 103 221-2, payload format RTP) and tell its endpoints beside
it. Answers for a header that is right in every octet that follows from the endpoints (RFC 791, RFC 8200, RFC 768, with
checksums). May not invent an endpoint: the caller refuses a payload without them. What the original header said beyond
them (identification, hop limit, options) is not known and stands as the constants here.
"""

from __future__ import annotations

import ipaddress
import struct
from typing import Final

from mediation.core.errors import LocalProtocolError

UDP: Final = 17
HOPS: Final = 64
MAX_PAYLOAD_OCTETS: Final = 65_507
"""Of a UDP datagram in IPv4 (RFC 791: 65,535 in all)."""

Endpoint = tuple[str, int]

_V4: Final = struct.Struct("!BBHHHBBH4s4s")
_V6: Final = struct.Struct("!IHBB16s16s")
_PORTS: Final = struct.Struct("!HHHH")


def udp_packet(source: Endpoint, destination: Endpoint, payload: bytes) -> bytes | None:
    """The packet from its IP header on; None when an endpoint is missing, or the two are of different families.

    Raises LocalProtocolError when `payload` fits into no datagram.
    """
    if len(payload) > MAX_PAYLOAD_OCTETS:
        raise LocalProtocolError("content: payload longer than a datagram's")
    if not (source[0] and destination[0] and source[1] and destination[1]):
        return None
    here, there = ipaddress.ip_address(source[0]), ipaddress.ip_address(destination[0])
    if here.version != there.version:
        return None
    length = _PORTS.size + len(payload)
    pseudo = here.packed + there.packed + struct.pack("!IHH", length, 0, UDP)
    ports = _PORTS.pack(source[1], destination[1], length, 0)
    check = _checksum(pseudo + ports + payload) or 0xFFFF  # 0 would say that there is none
    datagram = _PORTS.pack(source[1], destination[1], length, check) + payload
    if here.version == 6:
        return _V6.pack(6 << 28, length, UDP, HOPS, here.packed, there.packed) + datagram
    fields = (0x45, 0, _V4.size + length, 0, 0x4000, HOPS, UDP)
    header = _V4.pack(*fields, 0, here.packed, there.packed)
    return _V4.pack(*fields, _checksum(header), here.packed, there.packed) + datagram


def _checksum(octets: bytes) -> int:
    """RFC 1071."""
    padded = octets + bytes(len(octets) & 1)
    total: int = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF
