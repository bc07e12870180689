"""Builds frames octet by octet, so that a test says exactly what is on the wire (and what is wrong with it)."""

from __future__ import annotations

import ipaddress
import struct

TCP, UDP, FRAGMENT = 6, 17, 44
FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
MAC = bytes.fromhex("020000000002 020000000001")


def checksum(octets: bytes) -> int:
    octets += b"\0" * (len(octets) % 2)
    total = sum(struct.unpack(f"!{len(octets) // 2}H", octets))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def udp(source: str, destination: str, sport: int, dport: int, payload: bytes) -> bytes:
    header = struct.pack("!HHHH", sport, dport, 8 + len(payload), 0)
    a, b = ipaddress.ip_address(source).packed, ipaddress.ip_address(destination).packed
    length = 8 + len(payload)
    pseudo = a + b + (struct.pack("!IxxxB", length, UDP) if len(a) == 16 else struct.pack("!xBH", UDP, length))
    value = checksum(pseudo + header + payload) or 0xFFFF
    return header[:6] + struct.pack("!H", value) + payload


def tcp(
    source: str, destination: str, sport: int, dport: int, payload: bytes = b"", *, sequence: int = 0, flags: int = ACK,
    options: bytes = b"", acknowledged: int = 1,
) -> bytes:  # fmt: skip
    header = struct.pack(
        "!HHIIBBHHH", sport, dport, sequence & 0xFFFFFFFF, acknowledged & 0xFFFFFFFF,
        (20 + len(options)) // 4 << 4, flags, 65535, 0, 0,
    )  # fmt: skip
    segment = header + options + payload
    a, b = ipaddress.ip_address(source).packed, ipaddress.ip_address(destination).packed
    size = len(segment)
    pseudo = a + b + (struct.pack("!IxxxB", size, TCP) if len(a) == 16 else struct.pack("!xBH", TCP, size))
    return segment[:16] + struct.pack("!H", checksum(pseudo + segment)) + segment[18:]


def ipv4(
    source: str, destination: str, body: bytes, *, protocol: int = UDP, options: bytes = b"", ident: int = 7,
    offset: int = 0, more: bool = False,
) -> bytes:  # fmt: skip
    header = struct.pack(
        "!BBHHHBBH4s4s", 0x45 + len(options) // 4, 0, 20 + len(options) + len(body), ident,
        offset // 8 | more << 13, 64, protocol, 0, ipaddress.ip_address(source).packed,
        ipaddress.ip_address(destination).packed,
    )  # fmt: skip
    value = checksum(header + options)
    return header[:10] + struct.pack("!H", value) + header[12:] + options + body


def ipv6(
    source: str, destination: str, body: bytes, *, extensions: tuple[tuple[int, bytes], ...] = (), protocol: int = UDP
) -> bytes:
    """`extensions` are (type, header without its next-header octet, which is filled in)."""
    chain = b""
    kinds = [kind for kind, _ in extensions] + [protocol]
    for (_, octets), following in zip(extensions, kinds[1:], strict=True):
        chain += bytes([following]) + octets
    return (
        struct.pack("!IHBB", 6 << 28, len(chain + body), kinds[0], 64)
        + ipaddress.ip_address(source).packed
        + ipaddress.ip_address(destination).packed
        + chain
        + body
    )


def fragment_header(ident: int, offset: int, more: bool) -> tuple[int, bytes]:
    return FRAGMENT, struct.pack("!xHI", offset | more, ident)


def ethernet(packet: bytes, *, tags: tuple[int, ...] = (), pppoe: bool = False) -> bytes:
    """`tags` are the EtherTypes of VLAN tags, outermost first."""
    kind = 0x0800 if packet[0] >> 4 == 4 else 0x86DD
    if pppoe:
        packet = struct.pack("!BBHHH", 0x11, 0, 1, len(packet) + 2, 0x0021 if kind == 0x0800 else 0x0057) + packet
        kind = 0x8864
    for tag in reversed(tags):
        packet = struct.pack("!HH", 100, kind) + packet
        kind = tag
    return MAC + struct.pack("!H", kind) + packet


def fragments(source: str, destination: str, datagram: bytes, size: int, *, ident: int = 7) -> list[bytes]:
    """One UDP datagram as IPv4 or IPv6 fragments of `size` octets, whole frames, in order."""
    made = []
    for at in range(0, len(datagram), size):
        part = datagram[at : at + size]
        more = at + size < len(datagram)
        if "." in source:
            packet = ipv4(source, destination, part, ident=ident, offset=at, more=more)
        else:
            packet = ipv6(source, destination, part, extensions=(fragment_header(ident, at, more),))
        made.append(ethernet(packet))
    return made
