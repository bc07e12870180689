"""Calls made of octets for the tests of the call model: SIP messages as a tap delivers them, in X2 PDUs.

A `Wire` is one call: it writes every message with the headers that a real one has, stamps it, and gives it to the model
(and, when it plays a SPAN port, gives it again as the next hop shows it). S is the subject; nothing here knows what the
model should say.
"""

from __future__ import annotations

import dataclasses
import zlib

from mediation.core.call import CallModel
from mediation.core.calls.surveillance import Surveillance
from mediation.core.case import Authority, Capability
from mediation.core.interface.x2 import Direction, PayloadFormat, Pdu, PduType, Role
from mediation.core.message import cdc

MS = 1_000_000
SECOND = 1_000_000_000
START = 1_795_000_000 * SECOND
S = "+12015550123"
A = "+12015550199"
B = "+12015550177"
S_URI, A_URI, B_URI = (f"sip:{number}@carrier.example" for number in (S, A, B))
S_CONTACT, A_CONTACT, B_CONTACT = "sip:line1@10.0.0.5:5060", "sip:a@10.0.9.9:5060", "sip:b@10.0.8.8:5060"
ALL = frozenset(Capability)


def surveillance(**changes: object) -> Surveillance:
    values: dict[str, object] = {
        "case_id": "CASE-1",
        "iap_system_id": "SBC1",
        "authority": Authority.TITLE_III,
        "capabilities": ALL,
        "subjects": (f"tel:{S}",),
        "dde": True,
    }
    return Surveillance(**{**values, **changes})  # type: ignore[arg-type]


def sdp(version: int = 1, *, direction: str = "sendrecv", codec: str = "0 PCMU", address: str = "10.0.0.5",
        origin: str = "s", port: int = 40000) -> str:  # fmt: skip
    family = "IP6" if ":" in address else "IP4"
    number, name = codec.split()
    return "\r\n".join([
        "v=0", f"o={origin} 1 {version} IN {family} {address}", "s=-", f"c=IN {family} {address}", "t=0 0",
        f"m=audio {port} RTP/AVP {number} 101", f"a=rtpmap:{number} {name}/8000",
        "a=rtpmap:101 telephone-event/8000", f"a={direction}", "",
    ])  # fmt: skip


def telephone_event(event: int, timestamp: int, *, end: bool = False, duration: int = 160, marker: bool = False,
                    ssrc: int = 7, sequence: int = 0) -> bytes:  # fmt: skip
    header = bytes([0x80, (0x80 if marker else 0) | 101]) + sequence.to_bytes(2) + timestamp.to_bytes(4)
    return header + ssrc.to_bytes(4) + bytes([event, (0x80 if end else 0) | 10]) + duration.to_bytes(2)


def press(key: str, timestamp: int, *, ends: int = 3, updates: int = 2, ssrc: int = 7) -> list[bytes]:
    """The packets of one key press: a start, updates, and the end packet `ends` times (RFC 4733 2.5.1)."""
    event = "0123456789*#ABCD!".index(key)
    packets = [telephone_event(event, timestamp, marker=True, ssrc=ssrc)]
    packets += [telephone_event(event, timestamp, duration=160 * (n + 2), ssrc=ssrc) for n in range(updates)]
    return packets + [telephone_event(event, timestamp, duration=640, end=True, ssrc=ssrc)] * ends


@dataclasses.dataclass
class Wire:
    """One call. `caller` and `called` are URIs; `span` shows every message on `span` hops."""

    model: CallModel
    role: Role = Role.CALLING
    caller: str = S_URI
    called: str = A_URI
    call_id: str = "a84b4c76e66710"
    span: int = 1
    step_ns: int = 10 * MS
    now_ns: int = START
    caller_tag: str = "caller"
    called_tag: str = "called"
    cseq: int = 1
    caller_contact: str = S_CONTACT
    called_contact: str = A_CONTACT
    events: list[cdc.CallEvent] = dataclasses.field(default_factory=list)
    sent: list[Pdu] = dataclasses.field(default_factory=list)

    # What goes over the wire

    def give(self, octets: bytes, *, from_caller: bool, form: PayloadFormat = PayloadFormat.SIP) -> None:
        own = from_caller == (self.role is Role.CALLING)
        pdu = Pdu(
            type=PduType.X2,
            payload_format=form,
            direction=Direction.FROM_TARGET if own else Direction.TO_TARGET,
            xid=bytes(16),
            correlation=zlib.crc32(self.call_id.encode()) or 1,
            payload=octets,
            stamp_ns=self.now_ns,
            error_us=20,
            disciplined=True,
            role=self.role,
        )
        self.sent.append(pdu)
        self.events += self.model.observe(pdu)

    def request(self, method: str, *, uri: str = "", from_caller: bool = True, to_tag: str | None = "", body: str = "",
                headers: tuple[str, ...] = (), cseq: int | None = None, branch: str = "", from_: str = "",
                contact: str = "", hops: int | None = None) -> None:  # fmt: skip
        """`to_tag` None: outside of a dialog; "": the usual tag of the other party."""
        self.now_ns += self.step_ns
        cseq = self.cseq if cseq is None else cseq
        near, far = (self.caller_tag, self.called_tag) if from_caller else (self.called_tag, self.caller_tag)
        mine, theirs = (self.caller, self.called) if from_caller else (self.called, self.caller)
        tag = "" if to_tag is None else f";tag={to_tag or far}"
        own = contact or (self.caller_contact if from_caller else self.called_contact)
        branch = branch or f"z9hG4bK-{method if method != 'CANCEL' else 'INVITE'}-{cseq}-{near}"
        for hop in range(hops or self.span):
            lines = [
                f"{method} {uri or theirs} SIP/2.0",
                f"Via: SIP/2.0/UDP 10.0.0.{5 + hop}:5060;branch={branch}{f'-hop{hop}' if hop else ''}",
                f"From: {from_ or f'<{mine}>'};tag={near}",
                f"To: <{theirs}>{tag}",
                f"Call-ID: {self.call_id}",
                f"CSeq: {cseq} {method}",
                f"Contact: <{own}>",
                *headers,
            ]
            self.give(_octets(lines, body), from_caller=from_caller)
            self.now_ns += 50_000 if hop + 1 < (hops or self.span) else 0

    def response(self, status: int, reason: str = "", *, method: str = "INVITE", from_caller: bool = False,
                 tag: str = "", body: str = "", headers: tuple[str, ...] = (), cseq: int | None = None,
                 branch: str = "", contact: str = "", hops: int | None = None) -> None:  # fmt: skip
        """Seen on the inner hop first, as it comes back."""
        self.now_ns += self.step_ns
        cseq = self.cseq if cseq is None else cseq
        asker, asked = (self.called_tag, self.caller_tag) if from_caller else (self.caller_tag, self.called_tag)
        mine, theirs = (self.called, self.caller) if from_caller else (self.caller, self.called)
        branch = branch or f"z9hG4bK-{method}-{cseq}-{asker}"
        own = contact or (self.caller_contact if from_caller else self.called_contact)
        count = hops or self.span
        for hop in reversed(range(count)):
            lines = [
                f"SIP/2.0 {status} {reason or REASONS.get(status, 'Status')}",
                f"Via: SIP/2.0/UDP 10.0.0.{5 + hop}:5060;branch={branch}{f'-hop{hop}' if hop else ''}",
                f"From: <{mine}>;tag={asker}",
                f"To: <{theirs}>{f';tag={tag or asked}' if status > 100 else ''}",
                f"Call-ID: {self.call_id}",
                f"CSeq: {cseq} {method}",
                f"Contact: <{own}>",
                *headers,
            ]
            self.give(_octets(lines, body), from_caller=from_caller)
            self.now_ns += 50_000 if hop else 0

    # What people do

    def invite(self, *, body: str | None = None, **more: object) -> None:
        self.request("INVITE", to_tag=None, body=sdp() if body is None else body, **more)  # type: ignore[arg-type]

    def ring(self, **more: object) -> None:
        self.response(180, **more)  # type: ignore[arg-type]

    def answer(self, *, body: str | None = None, **more: object) -> None:
        text = sdp(address="10.0.9.9", origin="a") if body is None else body
        self.response(200, body=text, **more)  # type: ignore[arg-type]
        self.request("ACK", branch=f"z9hG4bK-ack-{self.cseq}", to_tag=str(more.get("tag") or ""))

    def connect(self) -> None:
        self.invite()
        self.response(100)
        self.ring()
        self.answer()

    def bye(self, *, from_caller: bool = True, headers: tuple[str, ...] = ()) -> None:
        self.request("BYE", from_caller=from_caller, cseq=90, headers=headers)
        self.response(200, method="BYE", from_caller=not from_caller, cseq=90)

    def offer(
        self, offer: str, answer: str, *, from_caller: bool = True, cseq: int = 10, method: str = "INVITE"
    ) -> None:
        """An exchange inside the call."""
        self.request(method, from_caller=from_caller, body=offer, cseq=cseq)
        self.response(200, method=method, from_caller=not from_caller, body=answer, cseq=cseq)
        if method == "INVITE":
            self.request("ACK", from_caller=from_caller, cseq=cseq, branch=f"z9hG4bK-ack-{cseq}")

    def play(self, packets: list[bytes], *, from_subject: bool = True, step_ns: int = 20 * MS) -> None:
        for packet in packets:
            self.now_ns += step_ns
            self.give(packet, from_caller=from_subject == (self.role is Role.CALLING), form=PayloadFormat.RTP)

    def dial(self, keys: str, *, gap_ms: int = 100, first: int = 160) -> None:
        for at, key in enumerate(keys):
            self.play(press(key, first + 4000 * at))
            self.now_ns += gap_ms * MS

    def wait(self, seconds: float) -> None:
        self.now_ns += int(seconds * SECOND)
        self.events += self.model.advance(self.now_ns)

    # What the agency got

    @property
    def messages(self) -> list[cdc.Message]:
        return [event.message for event in self.events]

    @property
    def story(self) -> list[str]:
        return [tell(message) for message in self.messages]


REASONS = {100: "Trying", 180: "Ringing", 200: "OK", 486: "Busy Here", 487: "Request Terminated", 404: "Not Found"}


def incoming(model: CallModel, **more: object) -> Wire:
    """A calls S."""
    values: dict[str, object] = {
        "role": Role.CALLED,
        "caller": A_URI,
        "called": S_URI,
        "caller_contact": A_CONTACT,
        "called_contact": S_CONTACT,
    }
    return Wire(model, **{**values, **more})  # type: ignore[arg-type]


def tell(message: cdc.Message) -> str:
    """One line for a message: its name and what tells it apart."""
    match message:
        case cdc.NetworkSignal():
            if message.subject_audible_signal is not None:
                return f"networkSignal {message.subject_audible_signal.name}"
            if message.alerting_signal is not None:
                return f"networkSignal {message.alerting_signal.name}"
            return f"networkSignal {'refer' if message.refer else message.other}"
        case cdc.Release():
            leg = f" leg {message.call_id.leg}" if message.call_id.leg else ""
            return f"release{leg}" + (f" {message.cause.sip[0]}" if message.cause else "")
        case cdc.SubjectSignal():
            told = message.other_signaling_information or message.switchhook_flash or message.dialed_digits
            return f"subjectSignal {told or ('refer' if message.refer else None)}"
        case cdc.DialedDigitExtraction():
            return f"dialedDgtExtrn {message.digits}"
        case cdc.SurveillanceStatus():
            return f"surveillanceStatus {message.status_event_type.name}"
        case _:
            return message.name


def _octets(lines: list[str], body: str) -> bytes:
    kind = ["Content-Type: application/sdp"] if body else []
    head = [*lines, *kind, f"Content-Length: {len(body.encode())}", "", ""]
    return ("\r\n".join(head) + body).encode()
