"""The IP packet that is made around a payload is one that an independent reader takes for right."""

from __future__ import annotations

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6

from mediation.core.channel.content_ip import MAX_PAYLOAD_OCTETS, Endpoint, udp_packet
from mediation.core.errors import LocalProtocolError

V4 = (("192.0.2.1", 40000), ("198.51.100.2", 50001))
V6 = (("2001:db8::1", 40000), ("2001:db8::2", 50001))


@pytest.mark.parametrize("payload", [b"", b"\x80", bytes(range(160)), bytes(MAX_PAYLOAD_OCTETS)])
@pytest.mark.parametrize("ends", [V4, V6], ids=["IPv4", "IPv6"])
def test_headers_and_checksums(ends: tuple[Endpoint, Endpoint], payload: bytes) -> None:
    made = udp_packet(*ends, payload)
    assert made is not None
    layer = IPv6 if ":" in ends[0][0] else IP
    read = layer(made)
    assert ((read.src, read[UDP].sport), (read.dst, read[UDP].dport)) == ends
    assert bytes(read[UDP].payload) == payload
    again = layer(made)
    del again[UDP].chksum
    if layer is IP:
        del again.chksum
    assert bytes(again) == made, "scapy computes other checksums"


@pytest.mark.parametrize(
    ("source", "destination"),
    [(("", 0), V4[1]), (V4[0], ("", 0)), (("192.0.2.1", 0), V4[1]), (V4[0], ("198.51.100.2", 0)), (V4[0], V6[1])],
)
def test_nothing_is_invented(source: Endpoint, destination: Endpoint) -> None:
    assert udp_packet(source, destination, b"x") is None


def test_what_fits_into_no_datagram() -> None:
    with pytest.raises(LocalProtocolError):
        udp_packet(*V4, bytes(MAX_PAYLOAD_OCTETS + 1))
