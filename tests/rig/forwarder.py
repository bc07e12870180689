"""A small SIP proxy (RFC 3261 §16) for the tests: sends calls on, and diverts them as a subscriber's services ask.

Both its sides lie on the same watched wire, so that a SPAN port sees every message twice under one Call-ID, with other
branches. It diverts as the network does: 181 to the caller, and a new INVITE with Diversion (RFC 5806) and
History-Info (RFC 7044). It keeps one dialog per Call-ID and never retransmits: the clients do.
"""

from __future__ import annotations

import re
import selectors
import socket
import threading
import zlib
from dataclasses import dataclass, field

from mediation.cli.demo.network import open_socket
from mediation.cli.demo.sipp import SIP_PORT

VIA = re.compile(rb"^Via: [^\r\n]*\r?\n", re.MULTILINE | re.IGNORECASE)
REASONS = {"unconditional": "unconditional", "busy": "user-busy", "no-answer": "no-answer"}
CAUSES = {"unconditional": 302, "busy": 486, "no-answer": 408}  # RFC 4458


@dataclass
class Diversion:
    """A subscriber's forwarding service: when, and to whom (user part)."""

    when: str  # "unconditional", "busy" or "no-answer"
    to: str


@dataclass
class _Call:
    """One Call-ID: where it came from and where it is sent now."""

    caller: tuple[str, int]
    invite: bytes  # as the caller sent it
    user: str  # who is called now
    attempt: int = 0
    diversion: Diversion | None = None
    ending: set[int] = field(default_factory=set)  # attempts that were given up


def header(message: bytes, name: str) -> bytes:
    """The first value of a header by its long name, b"" when absent."""
    found = re.search(rb"^" + name.encode() + rb": *([^\r\n]*)", message, re.MULTILINE | re.IGNORECASE)
    return found.group(1) if found else b""


class Forwarder:
    """The proxy of one namespace. `routes` says at which address a user part lives."""

    def __init__(self, namespace: str, address: str, *, routes: dict[str, str], diversions: dict[str, Diversion],
                 lose: frozenset[str] = frozenset(), domain: str = "carrier.example",
                 no_answer_s: float = 0.15) -> None:  # fmt: skip
        """`lose` names the messages ("INVITE", "200 INVITE") whose first copy disappears here, after the tap saw it."""
        self._address, self._routes, self._diversions = address, routes, diversions
        self._domain, self._no_answer_s = domain.encode(), no_answer_s
        self._socket = open_socket(namespace, socket.AF_INET6 if ":" in address else socket.AF_INET)
        self._socket.bind((address, SIP_PORT))
        self._stop_reader, self._stop_writer = socket.socketpair()
        self._calls: dict[bytes, _Call] = {}
        self._lose = set(lose)
        self._due: list[tuple[bytes, int]] = []  # calls that ring and shall be diverted
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stop_writer.send(b".")
        self._thread.join()
        for end in (self._socket, self._stop_reader, self._stop_writer):
            end.close()

    def _serve(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._socket, selectors.EVENT_READ)
            selector.register(self._stop_reader, selectors.EVENT_READ)
            while True:
                ready = selector.select(self._no_answer_s if self._due else None)
                if not ready:
                    self._give_up(*self._due.pop(0))
                for key, _ in ready:
                    if key.fileobj is self._stop_reader:
                        return
                    message, source = self._socket.recvfrom(65_535)
                    if self._lost(message):
                        continue
                    if message.startswith(b"SIP/2.0"):
                        self._response(message)
                    else:
                        self._request(message, (source[0], source[1]))

    def _lost(self, message: bytes) -> bool:
        method = header(message, "CSeq").split()[-1].decode()
        name = f"{message[8:11].decode()} {method}" if message.startswith(b"SIP/2.0") else method
        if name not in self._lose:
            return False
        self._lose.remove(name)
        return True

    def _branch(self, message: bytes, attempt: int) -> bytes:
        """The same for a request and its CANCEL, and for a retransmission (§16.11)."""
        incoming = re.search(rb"branch=([^;\r\n ]+)", header(message, "Via"))
        return b"z9hG4bKfw%08x-%d" % (zlib.crc32(incoming.group(1) if incoming else b""), attempt)

    def _send_on(self, call: _Call, message: bytes) -> None:
        """A request to whom is called now: our Via on top, the target replaced."""
        host = f"[{self._address}]" if ":" in self._address else self._address
        via = b"Via: SIP/2.0/UDP %s:%d;branch=%s\r\n" % (host.encode(), SIP_PORT, self._branch(message, call.attempt))
        first, _, rest = message.partition(b"\r\n")
        method = first.split(b" ")[0]
        target = b"sip:%s@%s" % (call.user.encode(), self._domain)
        extra = b""
        if call.attempt and method == b"INVITE" and b";tag=" not in header(message, "To"):
            assert call.diversion is not None
            old = b"sip:%s@%s" % (self._user(call.invite), self._domain)
            cause = CAUSES[call.diversion.when]
            extra = b"Diversion: <%s>;reason=%s;counter=1\r\n" % (old, REASONS[call.diversion.when].encode())
            extra += b"History-Info: <%s>;index=1,<%s;cause=%d>;index=1.1\r\n" % (old, target, cause)
        self._socket.sendto(
            b"%s %s SIP/2.0\r\n%s%s%s" % (method, target, via, extra, rest), (self._routes[call.user], SIP_PORT)
        )

    @staticmethod
    def _user(request: bytes) -> bytes:
        found = re.match(rb"\S+ sips?:([^@;\s]+)@", request)
        return found.group(1) if found else b""

    def _answer(self, call: _Call, status: bytes) -> None:
        """A response of our own to the caller's INVITE."""
        kept = [b"%s: %s\r\n" % (n.encode(), header(call.invite, n)) for n in ("Via", "From", "To", "Call-ID", "CSeq")]
        self._socket.sendto(b"SIP/2.0 " + status + b"\r\n" + b"".join(kept) + b"Content-Length: 0\r\n\r\n", call.caller)

    def _divert(self, call: _Call) -> None:
        assert call.diversion is not None
        self._answer(call, b"181 Call Is Being Forwarded")
        call.user, call.attempt = call.diversion.to, call.attempt + 1
        self._send_on(call, call.invite)

    def _own(self, call: _Call, method: bytes) -> None:
        """CANCEL or ACK of our own to the attempt that is given up (§9.1, §17.1.1.3)."""
        message = re.sub(rb"^INVITE", method, call.invite)
        message = re.sub(rb"(?im)^CSeq: (\d+) INVITE", rb"CSeq: \1 " + method, message)
        message = re.sub(rb"(?im)^(Content-Type|Contact): [^\r\n]*\r\n", b"", message)
        message = re.sub(rb"(?im)^Content-Length: [^\r\n]*", b"Content-Length: 0", message)
        self._send_on(call, message.partition(b"\r\n\r\n")[0] + b"\r\n\r\n")

    def _give_up(self, call_id: bytes, attempt: int) -> None:
        call = self._calls[call_id]
        if call.attempt == attempt and attempt not in call.ending:
            call.ending.add(attempt)
            self._own(call, b"CANCEL")

    def _request(self, message: bytes, source: tuple[str, int]) -> None:
        call_id = header(message, "Call-ID")
        call = self._calls.get(call_id)
        if call is None:
            if not message.startswith(b"INVITE "):
                return
            user = self._user(message).decode()
            call = self._calls[call_id] = _Call(source, message, user, diversion=self._diversions.get(user))
            if call.diversion is not None and call.diversion.when == "unconditional":
                self._divert(call)
                return
        self._send_on(call, message)

    def _response(self, message: bytes) -> None:
        call_id = header(message, "Call-ID")
        call = self._calls.get(call_id)
        if call is None:
            return
        status, method = int(message[8:11]), header(message, "CSeq").split()[-1]
        found = re.search(rb"branch=z9hG4bKfw[0-9a-f]{8}-(\d+)", header(message, "Via"))
        attempt = int(found.group(1)) if found else -1
        waiting = call.diversion is not None and attempt == 0 == call.attempt
        if waiting and call.diversion is not None:
            if method == b"CANCEL":
                return  # of our own CANCEL
            if status == 180 and call.diversion.when == "no-answer":
                self._due.append((call_id, attempt))
            if method == b"INVITE" and (
                (status == 486 and call.diversion.when == "busy") or (status == 487 and attempt in call.ending)
            ):
                self._own(call, b"ACK")
                self._divert(call)
                return
        self._socket.sendto(VIA.sub(b"", message, count=1), call.caller)
