"""Messages of made-up calls, and a matcher that decodes what it wrote. All numbers are of the fictitious 555 range."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

from mediation.access._matcher import Matcher
from mediation.core.interface.x2 import Framer, Pdu
from mediation.core.network.identity import DialPlan
from mediation.core.target import match_keys

S = "tel:+12125550100"  # the subject
S2 = "tel:+12125550199"  # another subject
PLAN = DialPlan(area_code="212")
NOW = 1_800_000_000_000_000_000
HOUR = 3_600_000_000_000
XID = bytes(range(16))
XID2 = bytes(range(16, 32))
SBC = "198.51.100.1"
PEER = "203.0.113.9"


@dataclasses.dataclass
class Point:
    """An access point as the matcher wants it."""

    side: str = "access"
    own: Sequence[str] = ()


def sdp(address: str = "192.0.2.10", port: int = 40000, event: int | None = 101, direction: str = "sendrecv") -> str:
    family = "IP6" if ":" in address else "IP4"
    formats, rtpmap = "0", ""
    if event is not None:
        formats, rtpmap = f"0 {event}", f"a=rtpmap:{event} telephone-event/8000\r\na=fmtp:{event} 0-15\r\n"
    return (
        f"v=0\r\no=- 1 1 IN {family} {address}\r\ns=-\r\nc=IN {family} {address}\r\nt=0 0\r\n"
        f"m=audio {port} RTP/AVP {formats}\r\n{rtpmap}a={direction}\r\n"
    )


@dataclasses.dataclass
class Dialog:
    """One call from `caller` to `callee`; each method gives the octets of one message of it."""

    caller: str = "sip:+12125550100@example.com"
    callee: str = "sip:+13125550123@example.net"
    call_id: str = "a84b4c76e66710@192.0.2.10"
    caller_tag: str = "1928301774"
    callee_tag: str = "a6c85cf"
    branch: str = "z9hG4bK776asdhds"

    def request(
        self,
        method: str,
        *,
        uri: str | None = None,
        by_callee: bool = False,
        to_tag: bool = True,
        cseq: int = 1,
        body: str = "",
        headers: Iterable[str] = (),
        from_: str | None = None,
        to: str | None = None,
    ) -> bytes:
        near = f"<{from_ or self.caller}>;tag={self.caller_tag}"
        far = f"<{to or self.callee}>" + (f";tag={self.callee_tag}" if to_tag else "")
        if by_callee:
            near, far = far, near
        lines = [
            f"{method} {uri or (self.caller if by_callee else self.callee)} SIP/2.0",
            f"Via: SIP/2.0/UDP 192.0.2.10:5060;branch={self.branch}",
            "Max-Forwards: 70",
            f"From: {near}",
            f"To: {far}",
            f"Call-ID: {self.call_id}",
            f"CSeq: {cseq} {method}",
            *headers,
            *(["Content-Type: application/sdp"] if body else []),
            f"Content-Length: {len(body)}",
        ]
        return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()

    def response(
        self, status: int, *, method: str = "INVITE", by_caller: bool = False, cseq: int = 1, body: str = "",
        to_tag: bool = True, branch: str | None = None,
    ) -> bytes:  # fmt: skip
        """A response; `by_caller` when it answers a request of the callee."""
        near = f"<{self.caller}>;tag={self.caller_tag}"
        far = f"<{self.callee}>" + (f";tag={self.callee_tag}" if to_tag else "")
        if by_caller:
            near, far = far, near
        lines = [
            f"SIP/2.0 {status} Reason",
            f"Via: SIP/2.0/UDP 192.0.2.10:5060;branch={branch or self.branch}",
            f"From: {near}",
            f"To: {far}",
            f"Call-ID: {self.call_id}",
            f"CSeq: {cseq} {method}",
            *(["Content-Type: application/sdp"] if body else []),
            f"Content-Length: {len(body)}",
        ]
        return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()

    def invite(self, *, body: str = "", headers: Iterable[str] = (), uri: str | None = None, **more: str) -> bytes:
        return self.request("INVITE", to_tag=False, body=body, headers=headers, uri=uri, **more)


class Rig:
    """A matcher with tasks, fed by one clock, its output decoded."""

    def __init__(self, *points: Point, **options: object) -> None:
        self.matcher = Matcher(points or (Point(),), PLAN, **options)
        self.now = NOW
        self.passing: dict[tuple[str, int], tuple[int, ...] | None] = {}

    def arm(
        self, xid: bytes = XID, *subjects: str, start: int = NOW - HOUR, end: int = NOW + HOUR, dde: bool = False,
        iap_mask: int = 2**64 - 1, content: bool = False,
    ) -> Rig:  # fmt: skip
        keys = [key for subject in subjects or (S,) for key in match_keys(subject, PLAN)]
        self.matcher.add_task(xid, keys, start, end, dde, iap_mask, content)
        return self

    def send(
        self,
        *datagrams: bytes,
        source: str = "192.0.2.10",
        destination: str = SBC,
        iap: int = 0,
        stamp: int | None = None,
    ) -> list[Pdu]:
        for datagram in datagrams:
            self.matcher.datagram(
                datagram,
                source=(source, 5060),
                destination=(destination, 5060),
                stamp_ns=self.now if stamp is None else stamp,
                now_ns=self.now,
                iap=iap,
            )
        return self.pdus()

    def rtp(
        self, packet: bytes, destination: tuple[str, int], source: tuple[str, int] = ("192.0.2.10", 40000), iap: int = 0
    ) -> list[Pdu]:
        self.matcher.media(packet, source=source, destination=destination, stamp_ns=self.now, now_ns=self.now, iap=iap)
        return self.pdus()

    def pdus(self) -> list[Pdu]:
        return Framer().feed(self.matcher.take())

    def x3(self, packet: bytes, source: tuple[str, int], destination: tuple[str, int], iap: int = 0) -> list[Pdu]:
        """A packet that passed the kernel's filter; what goes out as content."""
        self.matcher.media(packet, source=source, destination=destination, stamp_ns=self.now, now_ns=self.now, iap=iap)
        return self.content()

    def content(self) -> list[Pdu]:
        return Framer().feed(self.matcher.take_content())

    def open(self) -> dict[tuple[str, int], tuple[int, ...] | None]:
        """What the kernel passes now: the payload types of each destination, None for everything."""
        for add, address, port, types in self.flows():
            if add:
                self.passing[address, port] = types
            else:
                del self.passing[address, port]  # taken away once, and nothing that was not there
        return self.passing

    def count(self, name: str) -> int:
        return self.matcher.counters()[name]

    def flows(self) -> list[tuple[bool, str, int, tuple[int, ...] | None]]:
        return self.matcher.take_flow_changes()


def event_packet(payload_type: int = 101, payload: bytes = b"\x05\x8a\x03\x20", first: int = 0x80) -> bytes:
    """An RTP packet with RFC 4733 content."""
    return bytes([first, payload_type]) + bytes(10) + payload
