"""The walk against a packet builder that is not ours: whatever scapy puts around a datagram, it is found within."""

from __future__ import annotations

import pytest

from mediation.access._walker import Walker
from tests.access.matching import matcher

NOW = 1_700_000_000_000_000_000
PAYLOAD = b"OPTIONS sip:a@example.net SIP/2.0\r\n\r\n"


def _frames() -> dict[str, list[bytes]]:
    from scapy.layers.inet import IP, UDP, fragment
    from scapy.layers.inet6 import (
        IPv6,
        IPv6ExtHdrDestOpt,
        IPv6ExtHdrFragment,
        IPv6ExtHdrHopByHop,
        IPv6ExtHdrRouting,
        fragment6,
    )
    from scapy.layers.l2 import Dot1AD, Dot1Q, Ether
    from scapy.layers.ppp import PPP, PPPoE

    four = IP(src="192.0.2.1", dst="198.51.100.2") / UDP(sport=5060, dport=40000)
    six = IPv6(src="2001:db8::1", dst="2001:db8::2")
    ports = UDP(sport=40000, dport=5060)
    long = PAYLOAD + b"x" * 3000
    whole = {
        "plain": Ether() / four / PAYLOAD,
        "ip options": Ether() / IP(src="192.0.2.1", dst="198.51.100.2", options=b"\x94\x04\x00\x00") / ports / PAYLOAD,
        "vlan": Ether() / Dot1Q(vlan=7) / four / PAYLOAD,
        "qinq": Ether() / Dot1AD(vlan=3) / Dot1Q(vlan=7) / four / PAYLOAD,
        "pppoe": Ether() / PPPoE(sessionid=1) / PPP(proto=0x0021) / four / PAYLOAD,
        "pppoe in a vlan, version 6": Ether() / Dot1Q(vlan=7) / PPPoE() / PPP(proto=0x0057) / six / ports / PAYLOAD,
        "version 6": Ether() / six / ports / PAYLOAD,
        "version 6, extension headers": Ether()
        / six / IPv6ExtHdrHopByHop() / IPv6ExtHdrRouting() / IPv6ExtHdrDestOpt() / ports / PAYLOAD,
    }  # fmt: skip
    parts = {
        "fragments": [Ether() / part for part in fragment(four / long, fragsize=1000)],
        "fragments, version 6": [Ether() / part for part in fragment6(six / IPv6ExtHdrFragment() / ports / long, 1280)],
    }
    return {name: [bytes(frame)] for name, frame in whole.items()} | {
        name: [bytes(frame) for frame in frames] for name, frames in parts.items()
    }


FRAMES = _frames()


@pytest.mark.parametrize("name", FRAMES)
@pytest.mark.parametrize("backwards", [False, True], ids=["in order", "reversed"])
def test_the_datagram_is_found(name: str, backwards: bool) -> None:
    walker = Walker(matcher(), 0, [5060])
    for frame in FRAMES[name][::-1] if backwards else FRAMES[name]:
        walker.feed(frame, 1, NOW, NOW)
    found = walker.counters()
    assert (found["to_signalling"], found["frames"]) == (1, len(FRAMES[name]))


@pytest.mark.parametrize("name", FRAMES)
def test_a_frame_cut_anywhere_is_counted_and_nothing_else(name: str) -> None:
    for frame in FRAMES[name][:1]:
        for length in range(len(frame) - 1):
            walker = Walker(matcher(), 0, [5060])
            walker.feed(frame[:length], 1, NOW, NOW, len(frame))
            found = walker.counters()
            ends = sum(
                value for key, value in found.items() if key not in ("frames", "octets", "to_signalling") and value
            )
            assert found["to_signalling"] == 0
            assert ends >= 1
