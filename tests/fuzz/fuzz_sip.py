"""Mutational fuzzing of everything that reads SIP, SDP, identities and RTP: python -m tests.fuzz.fuzz_sip --seconds 60

Seeded and self-contained; the RFC 4475 messages are mutated as well when they are there. Every input lies against an
unreadable page, so an octet read behind it ends the process, with the sanitizer build or without. What must hold:

* the parsers refuse with RemoteProtocolError or give a message; nothing else is raised
* a message cut from a datagram is octets of that datagram, in order, and is cut the same way again
* the matcher accounts for every message: matched, of nobody, or malformed by reason
* a PDU decodes, and its payload is octets of the datagram or packet that was fed
* the access point's identities are those of mediation.core.network.identity
* the kernel's media filter is empty when no task is left
"""

from __future__ import annotations

import argparse
import ctypes
import dataclasses
import mmap
import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

from mediation.access._matcher import Matcher
from mediation.core.errors import RemoteProtocolError
from mediation.core.interface.x2 import Framer
from mediation.core.network.identity import canonical
from mediation.core.network.sdp import parse_sdp
from mediation.core.network.sip import SipMessage, name_addrs, parse, split_messages
from tests.ext.calls import NOW, PLAN, Dialog, Point, event_packet, sdp

MOST = 65_536  # a UDP payload
STEP_NS = 500_000_000
WORDS = [
    b"\r\n", b"\n", b"\r", b"\r\n ", b"\r\n\t", b"\r\n\r\n", b" ", b":", b";", b",", b"<", b">", b'"', b"\\",
    b"@", b"%", b"%00", b"%2B", b"=", b"\0", b"\xff", b"SIP/2.0", b"SIP/", b"INVITE ", b"BYE ", b"ACK ",
    b"UPDATE ", b"REGISTER ", b"From: ", b"To: ", b"i: ", b"Via: ", b"CSeq: ", b"Content-Length: ", b"l: 0",
    b"Content-Length: 99999999999999999999", b"tag=", b"branch=", b"P-Asserted-Identity: <tel:+12125550100>",
    b"Diversion: <sip:2125550100@x>", b"History-Info: ", b"Authorization: Digest ", b'username="2125550100"',
    b'realm="', b"tel:", b"sip:", b"sips:", b"+12125550100", b";phone-context=+1", b";phone-context=",
    b"[2001:db8::1]", b"v=0", b"m=audio 0", b"m=audio 40000 RTP/AVP 101", b"c=IN IP4 0.0.0.0", b"c=IN IP6 ::1",
    b"a=rtpmap:101 ", b"telephone-event/8000", b"a=sendonly", b"--", b"A" * 300,
]  # fmt: skip


def corpus() -> list[bytes]:
    """Whole calls in both directions, forwarded, held, and what RFC 4475 has when it is there."""
    out = Dialog()
    to = Dialog(caller="sip:+13125550123@example.net", callee="sip:2125550100@example.com", call_id="to")
    reg = Dialog(callee="sip:+12125550100@example.com", call_id="reg")
    samples = [
        out.invite(body=sdp(), headers=["P-Asserted-Identity: <tel:+12125550100>, <sip:alice@example.com>"]),
        out.response(100, to_tag=False), out.response(183, body=sdp("203.0.113.1", 1000)),
        out.response(200, body=sdp("203.0.113.5", 50000, 96)), out.request("ACK"),
        out.request("INVITE", by_callee=True, cseq=2, body=sdp("2001:db8::5", 50002)), out.request("BYE", cseq=3),
        out.response(200, method="BYE", cseq=3), out.response(486), out.request("CANCEL", to_tag=False),
        to.invite(body="--b\r\nContent-Type: application/sdp\r\n\r\n" + sdp() + "--b--\r\n"),
        to.invite(headers=["Diversion: <tel:+12125550100>;reason=no-answer", "History-Info: <sip:+1212555@x>;index=1"]),
        to.response(200, body=sdp(direction="sendonly")), to.request("UPDATE", by_callee=True, body=sdp("0.0.0.0")),
        reg.request("REGISTER", uri="sip:example.com", to_tag=False,
                    headers=['Authorization: Digest username="alice", realm="example.com", nonce="x,y"']),
        b"\r\n\r\n", event_packet(), event_packet(first=0x9F),
    ]  # fmt: skip
    root = Path(os.environ.get("MEDIATION_CORPUS", Path(__file__).resolve().parents[3] / "shared" / "corpus"))
    return samples + [p.read_bytes() for p in sorted((root / "messages" / "rfc4475").glob("*.dat"))]


class Guarded:
    """Memory whose end is the end of what may be read."""

    def __init__(self, most: int = MOST) -> None:
        page = mmap.PAGESIZE
        self._size = (most + page - 1) // page * page
        self._map = mmap.mmap(-1, self._size + page)
        self._hold = ctypes.c_char.from_buffer(self._map)
        libc = ctypes.CDLL(None, use_errno=True)
        address = ctypes.c_void_p(ctypes.addressof(self._hold) + self._size)
        if libc.mprotect(address, ctypes.c_size_t(page), 0):
            raise OSError(ctypes.get_errno(), "mprotect")

    def put(self, data: bytes) -> memoryview:
        self._map[self._size - len(data) : self._size] = data
        return memoryview(self._map)[self._size - len(data) : self._size]


def mutate(rng: random.Random, samples: list[bytes]) -> bytes:
    data = bytearray(rng.choice(samples))
    for _ in range(rng.choice((0, 1, 1, 2, 3, 5, 10, 30))):
        at = rng.randrange(len(data) + 1)
        match rng.randrange(8):
            case 0 if data:
                data[at % len(data)] = rng.randrange(256)
            case 1:
                data[at:at] = rng.choice(WORDS)
            case 2:
                del data[at : at + rng.choice((1, 2, 8, 64))]
            case 3:
                other = rng.choice(samples)
                start = rng.randrange(len(other) + 1)
                data[at:at] = other[start : start + rng.choice((4, 40, 400))]
            case 4:
                end = at + rng.choice((1, 10, 100))
                data[at:at] = data[at:end] * rng.choice((1, 2, 20))
            case 5:
                data += rng.choice(samples)
            case 6:
                del data[at:]
            case 7:
                lines = bytes(data).split(b"\r\n")
                rng.shuffle(lines)
                data = bytearray(b"\r\n".join(lines))
    return bytes(data[: MOST - 1])


def check_parsers(guarded: Guarded, data: bytes) -> Iterator[SipMessage]:
    """Split, parse and read everything that can be read; the messages that were understood."""
    messages = split_messages(guarded.put(data))
    at = 0
    for octets in messages:
        at = data.index(octets, at) + len(octets)
        assert split_messages(octets)[:1] == [octets]
        try:
            message = parse(guarded.put(octets))
        except RemoteProtocolError:
            continue
        for _, value in message.headers:
            name_addrs(value)
        parse_sdp(message.body)
        yield message


@dataclasses.dataclass
class Fuzzer:
    seed: int
    rounds: int = 0

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.samples = corpus()
        self.guarded = Guarded()
        points = [Point(), Point("trunk", ("198.51.100.1",)), Point("trusted-trunk")]
        self.matcher = Matcher(points, PLAN, call_capacity=40, out_bound=1 << 20)
        self.now = NOW
        self.armed: set[bytes] = set()
        self.keys = [
            *("tel:+12125550100", "tel:+13125550123", "tel:+1212555*", "tel:4321;phone-context=x"),
            *("sip:alice@example.com", "sip:joe@example.com", "sip:user@example.com", "sip:*@example.com"),
        ]
        self.kernel: dict[tuple[str, int], tuple[int, ...]] = {}

    def change_tasks(self) -> None:
        xid = bytes([self.rng.randrange(12)]) * 16
        if xid not in self.armed:
            keys = self.rng.sample(self.keys, self.rng.randrange(1, 5))
            start = self.now + self.rng.choice((-1, 0, 10 * STEP_NS))
            end = start + self.rng.choice((1, 40 * STEP_NS, 10**15))
            self.matcher.add_task(xid, keys, start, end, self.rng.random() < 0.6, self.rng.choice((1, 3, 2**64 - 1)))
            self.armed.add(xid)
        elif self.rng.random() < 0.5:
            self.matcher.set_dde(xid, self.rng.random() < 0.5)
        else:
            assert self.matcher.remove_task(xid)
            self.armed.remove(xid)

    def check_output(self, data: bytes) -> None:
        for pdu in Framer().feed(self.matcher.take()):
            assert pdu.payload in data
            assert pdu.xid in self.armed
        self.follow_kernel()
        counters = self.matcher.counters()
        malformed = sum(v for k, v in counters.items() if k.startswith("malformed_"))
        assert counters["messages"] == malformed + counters["matched"] + counters["no_match"]

    def follow_kernel(self) -> None:
        for add, address, port, types in self.matcher.take_flow_changes():
            if add:
                assert types
                self.kernel[address, port] = types
            else:
                del self.kernel[address, port]
        assert (self.matcher.gauges()["flows"] == 0) == (not self.kernel)

    def round(self) -> None:
        data = mutate(self.rng, self.samples)
        uris = []
        for message in check_parsers(self.guarded, data):
            uris += [message.request_uri, message.from_.uri, message.to.uri]
        for uri in uris:
            octets = uri.encode("utf-8", "surrogateescape")
            assert self.matcher.canonical(self.guarded.put(octets)) == canonical(uri, PLAN)
        if self.rng.random() < 0.2:
            self.change_tasks()
        self.now += self.rng.choice((0, 1, STEP_NS))
        stamp = self.now - self.rng.choice((0, 0, 10**9))
        iap = self.rng.randrange(4)
        self.matcher.datagram(self.guarded.put(data), stamp_ns=stamp, now_ns=self.now, iap=iap)
        self.check_output(data)
        to = self.rng.choice([*self.kernel, ("203.0.113.5", 50000)])
        source = "192.0.2.10" if "." in to[0] else "2001:db8::9"
        packet = event_packet() if self.rng.random() < 0.5 else data[-60:]
        self.matcher.media(
            self.guarded.put(packet),
            source=(source, 40000),
            destination=to,
            stamp_ns=stamp,
            now_ns=self.now,
            iap=iap % 3,
        )
        self.check_output(packet)
        if self.rng.random() < 0.002:  # every beginning of the datagram, octet by octet
            for end in range(min(len(data), 1500)):
                list(check_parsers(self.guarded, data[:end]))
        self.rounds += 1

    def finish(self) -> None:
        for xid in self.armed:
            assert self.matcher.remove_task(xid)
        self.armed.clear()
        self.follow_kernel()
        gauges = self.matcher.gauges()
        assert (gauges["tasks"], gauges["keys"], gauges["flows"]) == (0, 0, 0)
        assert not self.kernel


def run(seconds: float, seed: int) -> Fuzzer:
    """Fuzz for that long; the fuzzer, for its figures. A finding is an AssertionError or a crash with `seed`."""
    fuzzer = Fuzzer(seed)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        fuzzer.round()
    fuzzer.finish()
    return fuzzer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "big"))
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    fuzzer = run(options.seconds, options.seed)
    counters = {name: value for name, value in fuzzer.matcher.counters().items() if value}
    print(f"{fuzzer.rounds} inputs, no finding\n{counters}")


if __name__ == "__main__":
    main()
