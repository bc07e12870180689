"""A call written message by message, as a ladder diagram: for what no client can be made to do (glare, Join, Replaces
from a stranger, other Call-IDs, odd order). The octets cross a real wire between real sockets; nothing is assumed: each
message is awaited at the other end before the next one is sent. Phones and switches of `exchange` are the rule; this is
for the exact message.

A `Dialog` keeps RFC 3261's identifiers (Call-ID, tags, CSeq, branches) right; every message may be overridden.
"""

from __future__ import annotations

import itertools
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Self

from tests.rig.kamailio import DOMAIN
from tests.rig.wire import datagram_socket

SIP_PORT = 5060
LIMIT_S = 30.0
# Between an offer and its answer: no network has a shorter way there and back, and a script on a busy machine would
# speak from an address before anybody could have read that it is one. What follows the answer follows at once.
ANSWER_S = 0.02
BRANCH = itertools.count(1)
REASONS = {
    100: "Trying", 180: "Ringing", 181: "Call Is Being Forwarded", 182: "Queued", 183: "Session Progress", 200: "OK",
    202: "Accepted", 302: "Moved Temporarily", 404: "Not Found", 422: "Session Interval Too Small",
    480: "Temporarily Unavailable", 481: "Call/Transaction Does Not Exist", 486: "Busy Here", 487: "Request Terminated",
    488: "Not Acceptable Here", 491: "Request Pending", 503: "Service Unavailable", 603: "Decline",
}  # fmt: skip


def sdp(address: str, port: int = 6000, *, direction: str = "sendrecv", codec: int = 0, version: int = 1,
        events: int = 101, profile: str = "RTP/AVP", lines: Sequence[str] = ()) -> str:  # fmt: skip
    """An SDP body (RFC 8866) with one audio stream; `codec` 0 is PCMU, 8 PCMA."""
    kind = "IP6" if ":" in address else "IP4"
    name = {0: "PCMU", 8: "PCMA"}[codec]
    return "".join(f"{line}\r\n" for line in (
        "v=0", f"o=- 42 {version} IN {kind} {address}", "s=-", f"c=IN {kind} {address}", "t=0 0",
        f"m=audio {port} {profile} {codec} {events}", f"a=rtpmap:{codec} {name}/8000",
        f"a=rtpmap:{events} telephone-event/8000", f"a=fmtp:{events} 0-15", *lines, f"a={direction}",
    ))  # fmt: skip


@dataclass
class End:
    """One address that speaks SIP. `transmit` sends octets to another end and awaits them there."""

    address: str
    socket: socket.socket
    port: int = SIP_PORT
    transport: str = "UDP"

    @property
    def host(self) -> str:
        return f"[{self.address}]" if ":" in self.address else self.address

    def transmit(self, other: End, octets: bytes) -> None:
        self.socket.sendto(octets, (other.address, other.port))
        came = other.socket.recv(65_535)
        assert came == octets, f"another message came: {came[:60]!r} instead of {octets[:60]!r}"


Transmit = Callable[[End, End, bytes], None]


@dataclass
class Transaction:
    """One request and its replies; `by` sent the request."""

    dialog: Dialog
    method: str
    sequence: int
    branch: str
    by: End
    to: End
    vias: list[str] = field(default_factory=list)

    def reply(self, status: int, *, body: str = "", kind: str = "application/sdp", tag: str | None = None,
              headers: Sequence[str] = ()) -> Self:  # fmt: skip
        """A response; `tag` of its To when it is not that of the dialog (forking)."""
        dialog = self.dialog
        if body and self.method in ("INVITE", "UPDATE"):
            time.sleep(ANSWER_S)
        dialog.transmit(self.to, self.by, dialog.text(
            f"SIP/2.0 {status} {REASONS[status]}", self, headers=headers, body=body, kind=kind,
            remote_tag=tag or dialog.tag(self.to) if status > 100 else "", contact=self.to if status < 400 else None,
        ))  # fmt: skip
        if tag and status < 300:
            dialog.tags[id(self.to)] = tag
        return self

    def ack(self, *, body: str = "", headers: Sequence[str] = (), refused: bool = False) -> Self:
        """ACK of an INVITE: a transaction of its own after a 200 (RFC 3261 §13.2.2.4)."""
        own = Transaction(
            self.dialog, "ACK", self.sequence, self.branch if refused else f"z9hG4bK-{next(BRANCH)}", self.by, self.to
        )
        self.dialog.send(own, headers=headers, body=body)
        return self

    def cancel(self) -> Self:
        """CANCEL up to the ACK of the 487 (§9)."""
        own = Transaction(self.dialog, "CANCEL", self.sequence, self.branch, self.by, self.to)
        self.dialog.send(own, to_tag=False)
        own.reply(200)
        return self.reply(487).ack(refused=True)


class Dialog:
    """One dialog between two ends, or a request outside of any. `uri` of a party is its address of record."""

    def __init__(self, caller: End, called: End, from_: str, to: str, *, call_id: str = "", target: str = "",
                 from_header: str = "", to_header: str = "", headers: Sequence[str] = (), stamp: str = "",
                 transmit: Transmit | None = None) -> None:  # fmt: skip
        self.caller, self.called = caller, called
        uri = {
            id(caller): from_ if ":" in from_ else f"sip:{from_}@{DOMAIN}",
            id(called): to if ":" in to else f"sip:{to}@{DOMAIN}",
        }
        self.target = target or uri[id(called)]
        self.parties = {
            id(caller): from_header or f"<{uri[id(caller)]}>",
            id(called): to_header or f"<{uri[id(called)]}>",
        }
        self.uris = uri
        number = next(BRANCH)
        self.call_id = call_id or f"ladder-{number}{stamp}@{caller.host}"
        self.tags = {id(caller): f"c{number}", id(called): f"d{number}"}
        self.sequences = {id(caller): 0, id(called): 0}
        self.headers = headers
        self.established = False
        self._transmit = transmit
        self.last: Transaction | None = None

    def tag(self, end: End) -> str:
        return self.tags[id(end)]

    def transmit(self, sender: End, receiver: End, octets: bytes) -> None:
        if self._transmit is not None:
            self._transmit(sender, receiver, octets)
        else:
            sender.transmit(receiver, octets)

    def text(self, first: str, of: Transaction, *, headers: Sequence[str], body: str, kind: str, remote_tag: str,
             contact: End | None) -> bytes:  # fmt: skip
        """The octets of one message of a transaction."""
        by, to = of.by, of.to
        user = self.uris[id(contact)].split(":", 1)[1].split("@")[0] if contact is not None else ""
        lines = [
            first,
            *of.vias,
            f"Via: SIP/2.0/{by.transport} {by.host}:{by.port};branch={of.branch}",
            *(["Max-Forwards: 70"] if not first.startswith("SIP/2.0") else []),
            f"From: {self.parties[id(by)]};tag={self.tag(by)}",
            f"To: {self.parties[id(to)]}{f';tag={remote_tag}' if remote_tag else ''}",
            f"Call-ID: {self.call_id}",
            f"CSeq: {of.sequence} {of.method}",
            *([f"Contact: <sip:{user}@{contact.host}:{contact.port}>"]
              if contact is not None and not any(line.lower().startswith("contact:") for line in headers) else []),
            *headers,
            *([f"Content-Type: {kind}"] if body else []),
            f"Content-Length: {len(body.encode())}",
        ]  # fmt: skip
        return "\r\n".join([*lines, "", body]).encode()

    def send(self, of: Transaction, *, headers: Sequence[str] = (), body: str = "", kind: str = "application/sdp",
             to_tag: bool = True, target: str = "") -> Transaction:  # fmt: skip
        """The request of a transaction."""
        target = target or (self.target if of.by is self.caller else self.uris[id(of.to)])
        contact = of.by if of.method in ("INVITE", "UPDATE", "REFER", "SUBSCRIBE", "NOTIFY") else None
        self.transmit(of.by, of.to, self.text(
            f"{of.method} {target} SIP/2.0", of, headers=headers, body=body, kind=kind,
            remote_tag=self.tag(of.to) if to_tag else "", contact=contact,
        ))  # fmt: skip
        self.last = of
        return of

    def request(self, method: str, *, by: End | None = None, **more: object) -> Transaction:
        """A new request within the dialog, by the caller unless said otherwise."""
        by = by or self.caller
        self.sequences[id(by)] += 1
        to = self.called if by is self.caller else self.caller
        of = Transaction(self, method, self.sequences[id(by)], f"z9hG4bK-{next(BRANCH)}", by, to)
        return self.send(of, **more)  # type: ignore[arg-type]

    def first(self, method: str, **more: object) -> Transaction:
        """A request that opens a dialog or stands alone: no tag in To."""
        headers = (*self.headers, *more.pop("headers", ()))  # type: ignore[misc]
        return self.request(method, to_tag=False, headers=headers, **more)

    def invite(self, body: str | None = None, **more: object) -> Transaction:
        return self.first("INVITE", body=sdp(self.caller.address) if body is None else body, **more)

    def connect(self, offer: str | None = None, answer: str | None = None, **more: object) -> Self:
        """INVITE, 180, 200, ACK."""
        invite = self.invite(offer, **more).reply(100).reply(180)
        invite.reply(200, body=sdp(self.called.address) if answer is None else answer).ack()
        return self

    def reinvite(self, offer: str, answer: str, *, by: End | None = None, headers: Sequence[str] = ()) -> Self:
        self.request("INVITE", by=by, body=offer, headers=headers).reply(200, body=answer).ack()
        return self

    def bye(self, *, by: End | None = None) -> Self:
        self.request("BYE", by=by).reply(200)
        return self


def udp_end(namespace: str, address: str, port: int = SIP_PORT) -> End:
    """An end at a bound UDP socket."""
    return End(address, datagram_socket(namespace, address, port, limit_s=LIMIT_S), port)
