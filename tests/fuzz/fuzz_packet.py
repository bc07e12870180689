"""Fuzzes the way of a packet: `python -m tests.fuzz.fuzz_packet --seconds 60`, best on a sanitizer build.

Walker: any octets as a frame of any link type are walked to an end that is counted, and the counters add up; TCP
segments whose numbers are tampered with make messages or losses. HEP: any octets have one end. Capture readers: any
octets are frames, or a RemoteProtocolError after some, never another exception. Inputs are mutations of real
encapsulations, of fragments, of segments, of tunnels and of both file formats; the seed is printed, so a finding can be
run again.
`one_input` takes one input and can be given to a coverage-guided engine as it is.

On a sanitizer build: LD_PRELOAD=$(gcc -print-file-name=libasan.so) ASAN_OPTIONS=detect_leaks=0 python -m ...
"""

from __future__ import annotations

import argparse
import io
import random
import time

from mediation.access._hep import HepFeed
from mediation.access._matcher import Matcher
from mediation.access._walker import Walker
from mediation.access.feeds import frames
from mediation.core.errors import RemoteProtocolError
from mediation.runtime.config import DialPlan, Iap
from tests.access import frames as make
from tests.access.test_feeds import GOOD, pcap
from tests.access.test_hep import good as hep_packet
from tests.ext.streams import Sender
from tests.ext.test_tunnel import THROUGH
from tests.ext.test_websocket import GET, MASK, ws

A4, B4, A6, B6 = "192.0.2.1", "198.51.100.2", "2001:db8::1", "2001:db8:ffff::2"
NOW = 1_700_000_000_000_000_000
LINK_TYPES = (0, 1, 12, 14, 101, 108, 113, 228, 229, 276, 147)
ENDS = (
    "to_signalling", "to_media", "to_stream", "link_type_unknown", "link_malformed", "not_ip", "not_udp", "truncated",
    "ip_malformed", "ip_checksum", "extension_headers", "udp_length", "udp_checksum", "other_connection",
    "tcp_malformed", "tcp_checksum", "tunnel_malformed", "fragments",
)  # fmt: skip
FRAGMENT_ENDS = (
    "fragments_used", "fragment_malformed", "fragment_duplicate", "fragment_overlap", "fragment_table_full",
    "fragment_timed_out",
)  # fmt: skip
SIP = (
    b"INVITE sip:+12125550100@a SIP/2.0\r\nVia: SIP/2.0/UDP b;branch=z9hG4bK1\r\nFrom: <sip:c@d>;tag=e\r\n"
    b"To: <sip:+12125550100@a>\r\nCall-ID: f\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n"
)
EXTENSIONS = ((0, b"\0" + bytes(6)), (43, b"\0" + bytes(6)), (60, b"\1" + bytes(14)), (51, b"\4" + bytes(22)))


def _seeds() -> list[bytes]:
    four, six = make.udp(A4, B4, 5060, 5060, SIP), make.udp(A6, B6, 5060, 5060, SIP)
    rtp = make.udp(A4, B4, 30000, 40000, b"\x80\x65" + bytes(10) + b"\5\x8a\3\x20")
    packets = [make.ipv4(A4, B4, four, options=b"\x94\x04\0\0"), make.ipv6(A6, B6, six, extensions=EXTENSIONS)]
    made = [make.ethernet(make.ipv4(A4, B4, rtp)), *packets]
    for packet in packets:
        made += [
            make.ethernet(packet),
            make.ethernet(packet, tags=(0x88A8, 0x8100)),
            make.ethernet(packet, pppoe=True),
            b"\2\0\0\0" + packet,
            bytes(14) + b"\x08\0" + packet,
            b"\x86\xdd" + bytes(18) + packet,
        ]
    made += make.fragments(A4, B4, four, 64) + make.fragments(A6, B6, six, 64)
    made += [make.ethernet(packet) for packet in THROUGH.values()]
    for stream in (SIP * 3, GET + ws(SIP, mask=MASK) + ws(SIP[:50], final=False) + ws(SIP[50:], opcode=0)):
        sender = Sender(isn=len(made))
        made += [sender.syn(), *sender.cut(stream, [40, 1, 300]), sender.segment(flags=make.FIN)]
    return made


FRAMES = _seeds()
HEP = [hep_packet(), hep_packet(source="2001:db8::7", destination="2001:db8::1")]
HEP_ENDS = (
    "hep_sip", "hep_malformed", "hep_incomplete", "hep_unauthenticated", "hep_compressed", "hep_other_type",
    "hep_truncated",
)  # fmt: skip
CAPTURES = [GOOD, pcap("<", ns=False, packets=3), pcap(">", ns=True, packets=3)]


def new_walker() -> Walker:
    matcher = Matcher((Iap(name="tap", interface="none"),), DialPlan(), live=False)
    matcher.add_task(bytes(16), ["tel:+12125550100"], 0, 1 << 62, dde=True)
    walker = Walker(matcher, 0, [5060])
    walker.look_through(("ip", "gre", "vxlan", "gtp"))
    return walker


def new_feed() -> HepFeed:
    matcher = Matcher((Iap(name="tap", interface="none"),), DialPlan(), live=False)
    matcher.add_task(bytes(16), ["tel:+12125550100"], 0, 1 << 62)
    return HepFeed(matcher, 0, -1, b"")


FEED = new_feed()


def mutated(source: random.Random, octets: bytes) -> bytes:
    changed = bytearray(octets)
    for _ in range(source.randrange(6)):
        if not changed:
            break
        at = source.randrange(len(changed))
        match source.randrange(6):
            case 0:
                changed[at] = source.randrange(256)
            case 1:
                changed[at] ^= 1 << source.randrange(8)
            case 2:
                del changed[at : at + source.randrange(1, 40)]
            case 3:
                changed[at:at] = source.randbytes(source.randrange(1, 40))
            case 4:
                changed[at] = source.choice((0, 1, 0x7F, 0x80, 0xFF))
            case 5:
                other = source.choice(FRAMES)
                changed[at:] = other[source.randrange(len(other)) :]
    return bytes(changed)


def one_input(octets: bytes, walker: Walker | None = None, stamp_ns: int = NOW) -> None:
    """One frame (first octet: link type) and the same octets as a capture file. Raises AssertionError on a finding."""
    walker = walker or new_walker()
    if octets:
        walker.feed(octets[1:], LINK_TYPES[octets[0] % len(LINK_TYPES)], stamp_ns, stamp_ns)
    counts = walker.counters()
    assert counts["frames"] == sum(counts[name] for name in ENDS) - counts["datagrams_reassembled"]
    assert counts["fragments"] >= sum(counts[name] for name in FRAGMENT_ENDS)
    FEED.feed(octets, stamp_ns, stamp_ns)
    fed = FEED.counters()
    assert fed["hep_packets"] == sum(fed[name] for name in HEP_ENDS)
    try:
        for frame in frames(io.BytesIO(octets)):
            walker.feed(frame.octets, frame.link_type, frame.stamp_ns, stamp_ns, frame.on_wire)
    except RemoteProtocolError as error:
        assert "capture: " in str(error)


def run(seconds: float, seed: int) -> int:
    """Inputs tried. Raises AssertionError, or the sanitizer ends the process, on a finding."""
    source = random.Random(seed)
    walker, tried = new_walker(), 0
    end = time.monotonic() + seconds
    stamp = NOW
    while time.monotonic() < end:
        stamp += source.choice((0, 1000, 1_000_000, 31_000_000_000))
        if source.randrange(4):
            octets = bytes([source.choice((1, 1, 1, source.randrange(256)))]) + mutated(source, source.choice(FRAMES))
        else:
            octets = mutated(source, source.choice(CAPTURES + HEP))
        try:
            one_input(octets, walker, stamp)
        except BaseException:
            print(f"seed {seed}, input {tried}: {octets.hex()}")
            raise
        tried += 1
        if tried % 50_000 == 0:
            walker = new_walker()
    return tried


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--seed", type=int, default=None)
    chosen = parser.parse_args()
    seed = random.randrange(1 << 32) if chosen.seed is None else chosen.seed
    print(f"seed {seed}", flush=True)
    print(f"{run(chosen.seconds, seed)} inputs, no finding")
