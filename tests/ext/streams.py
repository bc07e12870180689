"""TCP connections as frames, and a walker that tells which messages came out of them."""

from __future__ import annotations

import random
from typing import Any

from mediation.access._matcher import Matcher
from mediation.access._walker import Walker
from mediation.core.interface.x2 import Framer, Pdu
from mediation.runtime.config import DialPlan, Iap
from tests.access import frames as make

CLIENT, SERVER = "192.0.2.7", "192.0.2.1"
NOW = 1_700_000_000_000_000_000
MS = 1_000_000
XID = bytes(range(16))
ISN = 0xFFFFFF00  # so that the sequence numbers of a short stream pass zero


def sip(number: int, *, body: bytes = b"", length: int | None = None, filler: int = 0) -> bytes:
    """A subject's INVITE; `length` is its Content-Length, -1 for none, and `filler` octets make its headers longer."""
    stated = len(body) if length is None else length
    return (
        f"INVITE sip:+13125550111@b.example SIP/2.0\r\nVia: SIP/2.0/TCP {CLIENT};branch=z9hG4bK{number}\r\n"
        f"From: <sip:+12125550100@a.example>;tag=f{number}\r\nTo: <sip:+13125550111@b.example>\r\n"
        f"Call-ID: call-{number}\r\nCSeq: 1 INVITE\r\n"
        + (f"Subject: {'x' * filler}\r\n" if filler else "")
        + (f"Content-Length: {stated}\r\n" if stated >= 0 else "")
        + "\r\n"
    ).encode() + body


def other(number: int) -> bytes:
    """A message of nobody's subject."""
    return sip(number).replace(b"+12125550100", b"+12125550199")


class Tap:
    """A walker with one subject armed."""

    def __init__(self, *, tunnels: tuple[str, ...] = ()) -> None:
        self.matcher = Matcher((Iap(name="tap", interface="none"),), DialPlan(), live=False)
        self.matcher.add_task(XID, ["tel:+12125550100"], 0, 1 << 62)
        self.walker = Walker(self.matcher, 0, [5060])
        self.walker.look_through(tunnels)
        self.stamp = NOW

    def feed(self, frame: bytes, *, after_ns: int = MS) -> None:
        self.stamp += after_ns
        self.walker.feed(frame, 1, self.stamp, NOW)

    def pdus(self) -> list[Pdu]:
        octets = self.matcher.take()
        return Framer().feed(octets) if octets else []

    def messages(self) -> list[bytes]:
        return [pdu.payload for pdu in self.pdus()]

    def counts(self, *names: str) -> tuple[int, ...]:
        found = self.walker.counters()
        return tuple(found[name] for name in names)


class Sender:
    """One direction of a connection: frames with the right sequence numbers."""

    def __init__(self, *, isn: int = ISN, sport: int = 40000, dport: int = 5060, version: int = 4) -> None:
        self.sequence = isn
        self.ports = (sport, dport)
        self.version = version

    def segment(self, payload: bytes = b"", *, at: int | None = None, flags: int = make.ACK) -> bytes:
        """At the stream's end, which moves on, or at octet `at` behind the SYN's number."""
        number = self.sequence if at is None else at
        if at is None:
            self.sequence += len(payload) + bool(flags & (make.SYN | make.FIN))
        if self.version == 6:
            a, b = "2001:db8::7", "2001:db8::1"
            segment = make.tcp(a, b, *self.ports, payload, sequence=number, flags=flags)
            return make.ethernet(make.ipv6(a, b, segment, protocol=6))
        segment = make.tcp(CLIENT, SERVER, *self.ports, payload, sequence=number, flags=flags)
        return make.ethernet(make.ipv4(CLIENT, SERVER, segment, protocol=6))

    def syn(self) -> bytes:
        return self.segment(flags=make.SYN)

    def cut(self, stream: bytes, sizes: list[int]) -> list[bytes]:
        """The stream as segments of these sizes, the last one with the rest."""
        made, at = [], 0
        for size in sizes:
            if at + size >= len(stream):
                break
            made.append(self.segment(stream[at : at + size]))
            at += size
        return [*made, self.segment(stream[at:])]


def pieces(source: random.Random, length: int, largest: int) -> list[int]:
    found: list[int] = []
    while sum(found) < length:
        found.append(source.randrange(1, largest + 1))
    return found


def shuffled(source: random.Random, frames: list[Any], distance: int) -> list[Any]:
    """No frame more than about `distance` places from its own."""
    keyed = sorted(enumerate(frames), key=lambda item: item[0] + source.random() * distance)
    return [frame for _, frame in keyed]
