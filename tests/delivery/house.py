"""A whole site in a folder, with real keys, tokens and certificates, and an access process that a test plays."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import msgspec
import trio

from mediation.core.authority import jws
from mediation.core.case import Act, Destination, LegalToken, Revocation, Role, TaskRequest
from mediation.core.interface import x1, x2
from mediation.core.interface.x2 import Direction, PayloadFormat, Pdu, PduType
from mediation.runtime import config, keys, sockets
from tests import vault
from tests.core import authority, founding
from tests.delivery.support import Certificates

IAP = "access-1"
SUBJECT = "tel:+12125550100"


class House:
    """The site, its persons and its ledger. `now_s` is the time that the tokens are made for."""

    def __init__(self, path: Path, *, now_s: int | None = None, settings: str = "") -> None:
        """`settings` is TOML text of further tables of the configuration."""
        self.path = path
        self.now_s = int(time.time()) if now_s is None else now_s
        for name in ("run", "keys", "spool", "delivery", "certificates"):
            (path / name).mkdir(mode=0o755)
        iap = f'[[iap]]\nname = "{IAP}"\ninterface = "none0"\n'
        config.write_default(path, lab=False, name="house", iaps=iap + settings)
        self.certificates = Certificates(path / "certificates")
        copies = (("mediator.pem", "client.pem"), ("mediator.key", "client.key"), ("ca.pem", "agency-ca.pem"))
        for source, target in copies:
            (path / "delivery" / target).write_bytes((path / "certificates" / source).read_bytes())
        wide = {"not_before_s": 0, "not_after_s": 1 << 33}
        ring = [
            (role, authority.ring_key(authority.KIDS[role], authority.PERSONS[role], authority.KEYS[role], **wide))
            for role in Role
        ]
        founding.write(path / "keys", founding.founded(ring, authority.ORIGIN))
        (path / "keys" / keys.LEDGER).write_text(str(authority.SIGNER.verifier))
        vault.furnish(path)
        self.site = config.load(path)
        self.ledger = authority.Ledger()  # one for the site: its heads follow from one another

    def order(
        self,
        port: int,
        *,
        case: str = "CASE-1",
        dde: tuple[bool, ...] = (False,),
        seconds: int = 3600,
        host: str = "127.0.0.1",
        content: Any = None,
        ledger: authority.Ledger | None = None,
        **changes: Any,
    ) -> TaskRequest:
        """An order for a collection function on this machine; one command for each state of `dde`."""
        destination = Destination(
            host=host, port=port, certificate_sha256=self.certificates.agency_sha256, content=content
        )
        facts = {
            "case": case, "not_before_s": self.now_s - 100, "not_after_s": self.now_s + seconds,
            "destination": destination, "subjects": (SUBJECT,), "issued_s": self.now_s - 60, **changes,
        }  # fmt: skip
        token: LegalToken = msgspec.structs.replace(authority.LEGAL, **facts)
        legal = authority.sign_legal(token)
        carrier = authority.sign_carrier(legal, case=case, issued_s=self.now_s - 50)
        commands = [
            authority.sign_command(
                carrier, case=case, act=Act.DDE if number else Act.ACTIVATE, sequence=number + 1, dde=on,
                issued_s=self.now_s - 40, expires_s=self.now_s + 600,
            )
            for number, on in enumerate(dde)
        ]  # fmt: skip
        ledger = ledger if ledger is not None else self.ledger
        return authority.request(legal, carrier, *commands, ledger=ledger, time_us=(self.now_s - 30) * 1_000_000)


def xid_of(request: TaskRequest) -> bytes:
    return bytes.fromhex(jws.sha256_hex(request.carrier))[:16]


def revocation(request: TaskRequest, case: str = "CASE-1") -> str:
    """The reviewer withdraws the legal token."""
    draft = Revocation(
        type="revocation", case=case, token_sha256=jws.sha256_hex(request.legal), reason="test",
        issued_s=int(time.time()), nonce="04" * 16,
    )  # fmt: skip
    return jws.sign(draft, "mediation-revocation", authority.KIDS[Role.LEGAL], authority.KEYS[Role.LEGAL])


def sip(call: str, start: str, *, to_tag: str = "", cseq: str = "1 INVITE", body: bytes = b"") -> bytes:
    """One SIP message from the subject to 12125550123."""
    to = f";tag={to_tag}" if to_tag else ""
    head = (
        f"{start}\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK{call}{cseq[0]}\r\n"
        f"From: <sip:+12125550100@example.net>;tag=a\r\nTo: <sip:+12125550123@example.net>{to}\r\n"
        f"Call-ID: {call}\r\nCSeq: {cseq}\r\nMax-Forwards: 70\r\n"
        f"Contact: <sip:+12125550100@192.0.2.1>\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def call(name: str) -> list[bytes]:
    """A whole call: attempt, ringing, answer, release. Four messages go to the agency."""
    return [
        sip(name, "INVITE sip:+12125550123@example.net SIP/2.0"),
        sip(name, "SIP/2.0 180 Ringing", to_tag="b"),
        sip(name, "SIP/2.0 200 OK", to_tag="b"),
        sip(name, "BYE sip:+12125550123@192.0.2.2 SIP/2.0", to_tag="b", cseq="2 BYE"),
    ]


MESSAGES_OF_A_CALL = ("origination", "networkSignal", "answer", "release")


class Tap:
    """Plays the access process: listens on run/iap.x2 and sends what a test tells it."""

    def __init__(self, run_dir: Path) -> None:
        self._listener = sockets.listen(run_dir, "iap.x2")
        os.chmod(run_dir / "iap.x2", 0o666)  # the mediator may have become another user
        self._stream: trio.SocketStream | None = None
        self._sequences: dict[bytes, int] = {}

    async def connected(self) -> None:
        self._stream = await self._listener.accept()
        self._sequences.clear()

    def pdus(self, xid: bytes, payloads: list[bytes], correlation: int, **changes: Any) -> bytes:
        """X2 of `payloads`, stamped now and numbered on."""
        found = b""
        for payload in payloads:
            number = self._sequences[xid] = self._sequences.get(xid, 0) + 1
            answer = payload.startswith(b"SIP/2.0")
            facts: dict[str, Any] = {
                "type": PduType.X2, "payload_format": PayloadFormat.SIP, "xid": xid, "correlation": correlation,
                "direction": Direction.TO_TARGET if answer else Direction.FROM_TARGET, "payload": payload,
                "stamp_ns": time.time_ns(), "sequence": number, "source": ("192.0.2.1", 5060),
                "destination": ("192.0.2.2", 5060), "error_us": 100, "disciplined": True, "role": x2.Role.CALLING,
                **changes,
            }  # fmt: skip
            found += x2.encode(Pdu(**facts))
        return found

    async def send(self, octets: bytes) -> None:
        assert self._stream is not None
        await self._stream.send_all(octets)

    async def hang_up(self) -> None:
        assert self._stream is not None
        await self._stream.aclose()

    async def close(self) -> None:
        await self._listener.aclose()
        if self._stream is not None:
            await self._stream.aclose()


class Administrator:
    """Plays the administrator on run/mediator.x1."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._lines = x1.Lines()

    @classmethod
    async def connect(cls, run_dir: Path) -> Administrator:
        return cls(await sockets.connect(run_dir, "mediator.x1"))

    async def ask(self, request: x1.Request) -> x1.Answer:
        await self._stream.send_all(x1.encode(request))
        while True:
            for line in self._lines.feed(await self._stream.receive_some(65536)):
                return x1.decode_answer(line)

    async def close(self) -> None:
        await self._stream.aclose()
