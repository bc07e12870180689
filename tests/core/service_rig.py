"""SIP beside calls, as text in X2 PDUs, for the tests of the call model: one phone of the subject and its network."""

from __future__ import annotations

import dataclasses
import zlib

from mediation.core.call import CallModel
from mediation.core.interface.x2 import Direction, PayloadFormat, Pdu, PduType, Role
from mediation.core.message import cdc
from tests.core.call_rig import A_URI, MS, S_CONTACT, S_URI, SECOND, START

PHONE, REGISTRAR = ("10.0.0.5", 5060), ("10.0.3.3", 5060)


@dataclasses.dataclass
class Line:
    """Both directions between a subject's phone and its proxy; `hops` shows every message so many times."""

    model: CallModel
    hops: int = 1
    now_ns: int = START
    events: list[cdc.CallEvent] = dataclasses.field(default_factory=list)

    def give(self, text: str, *, from_subject: bool, by_subject: bool = True) -> list[cdc.Message]:
        """`by_subject`: the subject sent the first request of this Call-ID."""
        self.now_ns += 10 * MS
        call_id = next(line for line in text.splitlines() if line.startswith("Call-ID:"))
        pdu = Pdu(
            type=PduType.X2,
            payload_format=PayloadFormat.SIP,
            direction=Direction.FROM_TARGET if from_subject else Direction.TO_TARGET,
            xid=bytes(16),
            correlation=zlib.crc32(call_id.removeprefix("Call-ID:").strip().encode()),
            payload=text.encode("utf-8", "surrogateescape"),
            stamp_ns=self.now_ns,
            source=PHONE if from_subject else REGISTRAR,
            destination=REGISTRAR if from_subject else PHONE,
            error_us=20,
            disciplined=True,
            role=Role.CALLING if by_subject else Role.CALLED,
        )
        found = []
        for _ in range(self.hops):
            found += self.model.observe(pdu)
        self.events += found
        return [each.message for each in found]

    def wait(self, seconds: float) -> list[cdc.Message]:
        self.now_ns += int(seconds * SECOND)
        found = self.model.advance(self.now_ns)
        self.events += found
        return [each.message for each in found]

    @property
    def messages(self) -> list[cdc.Message]:
        return [each.message for each in self.events]

    def request(self, method: str, *, uri: str = "", from_: str = S_URI, to: str = A_URI, call_id: str = "beside",
                cseq: int = 1, headers: tuple[str, ...] = (), body: str = "", to_tag: str = "", from_tag: str = "f",
                from_subject: bool = True, by_subject: bool | None = None) -> list[cdc.Message]:  # fmt: skip
        text = octets(
            f"{method} {uri or to} SIP/2.0",
            (f"From: <{from_}>;tag={from_tag}", f"To: <{to}>" + (f";tag={to_tag}" if to_tag else ""), call_id,
             f"{cseq} {method}"), headers, body,
        )  # fmt: skip
        return self.give(text, from_subject=from_subject, by_subject=from_subject if by_subject is None else by_subject)

    def response(self, status: int, method: str, *, from_: str = S_URI, to: str = A_URI, call_id: str = "beside",
                 cseq: int = 1, headers: tuple[str, ...] = (), body: str = "", from_tag: str = "f",
                 from_subject: bool = False, by_subject: bool | None = None) -> list[cdc.Message]:  # fmt: skip
        text = octets(
            f"SIP/2.0 {status} Reason",
            (f"From: <{from_}>;tag={from_tag}", f"To: <{to}>;tag=t", call_id, f"{cseq} {method}"), headers, body,
        )  # fmt: skip
        own = (not from_subject) if by_subject is None else by_subject
        return self.give(text, from_subject=from_subject, by_subject=own)

    # Registration

    def register(self, *contacts: str, expires: int | None = 3600, cseq: int = 1, call_id: str = "reg",
                 from_: str = S_URI, to: str = S_URI, registrar: str = "sip:carrier.example",
                 from_tag: str = "f") -> list[cdc.Message]:  # fmt: skip
        headers = tuple(f"Contact: {each}" for each in contacts)
        headers += () if expires is None else (f"Expires: {expires}",)
        return self.request("REGISTER", uri=registrar, from_=from_, to=to, call_id=call_id, cseq=cseq, headers=headers,
                            from_tag=from_tag)  # fmt: skip

    def accept(self, *contacts: str, status: int = 200, cseq: int = 1, call_id: str = "reg", from_: str = S_URI,
               to: str = S_URI, headers: tuple[str, ...] = ()) -> list[cdc.Message]:  # fmt: skip
        headers += tuple(f"Contact: {each}" for each in contacts)
        return self.response(status, "REGISTER", from_=from_, to=to, call_id=call_id, cseq=cseq, headers=headers)


def octets(start: str, dialog: tuple[str, str, str, str], headers: tuple[str, ...], body: str) -> str:
    from_, to, call_id, cseq = dialog
    lines = [
        start, f"Via: SIP/2.0/UDP 10.0.0.5:5060;branch=z9hG4bK{cseq.replace(' ', '')}", from_, to,
        f"Call-ID: {call_id}", f"CSeq: {cseq}", *headers, f"Content-Length: {len(body.encode())}", "", "",
    ]  # fmt: skip
    return "\r\n".join(lines) + body


CONTACT = f"<{S_CONTACT}>"
