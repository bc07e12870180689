"""A SIP message as the call model sees it (RFC 3261), parsed leniently: real devices send what they send.

The octets are cut by the same kernel that matches them at the access point (ext/sip.pxd, through `_sip`), so the two
can never disagree about where a header begins. Text is decoded as UTF-8 with surrogateescape, so nothing is lost.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from mediation.core import _sip
from mediation.core.errors import RemoteProtocolError

# RFC 3261 section 7.3.3 and the registry of compact forms.
COMPACT: Final = {
    "a": "accept-contact",
    "b": "referred-by",
    "c": "content-type",
    "d": "request-disposition",
    "e": "content-encoding",
    "f": "from",
    "i": "call-id",
    "j": "reject-contact",
    "k": "supported",
    "l": "content-length",
    "m": "contact",
    "n": "identity-info",
    "o": "event",
    "r": "refer-to",
    "s": "subject",
    "t": "to",
    "u": "allow-events",
    "v": "via",
    "x": "session-expires",
    "y": "identity",
}
_FOLD: Final = re.compile(rb"[ \t]*\r?\n[ \t]+")  # LWS of section 25.1: it means one space
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)


class NameAddr(msgspec.Struct, frozen=True, kw_only=True):
    """One name-addr or addr-spec: From, To, Contact, P-Asserted-Identity, Diversion, Refer-To …"""

    uri: str  # without angle brackets and header parameters
    display: str = ""
    parameters: tuple[tuple[str, str], ...] = ()  # header parameters, names in lower case
    raw: str = ""  # the header value as received, unfolded

    def parameter(self, name: str) -> str | None:
        """The value of a header parameter ("" when it has none), or None when it is absent."""
        return next((value for key, value in self.parameters if key == name), None)

    @property
    def tag(self) -> str:
        return self.parameter("tag") or ""


class SipMessage(msgspec.Struct, frozen=True, kw_only=True):
    """One request or response. Exactly one of `method` (request) and `status` (response) is set."""

    method: str  # "" in a response
    status: int  # 0 in a request
    reason: str
    request_uri: str  # "" in a response
    call_id: str
    cseq: int
    cseq_method: str
    from_: NameAddr
    to: NameAddr
    branch: str  # of the topmost Via
    headers: tuple[tuple[str, str], ...]  # (long lower-case name, unfolded value), in order, compact forms expanded
    body: bytes

    def all(self, name: str) -> tuple[str, ...]:
        """All values of a header by its long lower-case name, comma-separated lists not split."""
        return tuple(value for key, value in self.headers if key == name)

    def first(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key == name), None)


def split_messages(data: bytes | bytearray | memoryview) -> list[bytes]:
    """The messages in one datagram, cut by Content-Length; keep-alives and junk before a start line are skipped.

    Empty when nothing in it looks like SIP. What is cut may still be refused by `parse`.
    """
    octets = bytes(data)
    spans, _ = _sip.split(octets)
    return [octets[start:end] for start, end in spans]


def parse(octets: bytes | bytearray | memoryview) -> SipMessage:
    """The message that begins at the first octet.

    Raises RemoteProtocolError naming the fault: no start line, another version, a missing Call-ID, From, To or CSeq,
    a CSeq that is not a number and a method, a From or To without an address. Everything else is tolerated.
    """
    (fault, _, method, status, reason, uri, call_id, cseq, cseq_method, from_, to, via, lines, body) = _sip.scan(octets)
    if fault:
        raise RemoteProtocolError(fault)
    headers = []
    for name, value in lines:
        key = _text(name).lower()
        headers.append((COMPACT.get(key, key), _text(_unfold(value))))
    return SipMessage(
        method=_text(method),
        status=status,
        reason=_text(reason),
        request_uri=_text(uri),
        call_id=_text(_unfold(call_id)),
        cseq=int(cseq),
        cseq_method=_text(cseq_method),
        from_=_one_address("From", from_),
        to=_one_address("To", to),
        branch=_branch(via),
        headers=tuple(headers),
        body=body,
    )


def name_addrs(value: str) -> tuple[NameAddr, ...]:
    """All addresses of a header value that may be a comma-separated list. Raises nothing: what holds no address is
    left out."""
    return _addresses(value.encode("utf-8", "surrogateescape"))


def _addresses(value: bytes) -> tuple[NameAddr, ...]:
    return tuple(
        NameAddr(
            uri=_text(uri),
            display=_display(_text(_unfold(display))),
            parameters=tuple((_text(name).lower(), _unquote(_text(_unfold(content)))) for name, content in pairs),
            raw=_text(_unfold(raw)).strip(" ,\t\r\n"),
        )
        for display, uri, pairs, raw in _sip.addresses(value)
        if uri
    )


def _one_address(header: str, value: bytes) -> NameAddr:
    found = _addresses(value)
    if not found:
        raise RemoteProtocolError(f"sip: {header} holds no address")
    return found[0]


def _branch(via: bytes) -> str:
    first = via.partition(b",")[0]
    for name, value in _sip.parameters(first.partition(b";")[2]):
        if name.lower() == b"branch":
            return _text(value)
    return ""


def _unfold(value: bytes) -> bytes:
    return _FOLD.sub(b" ", value) if b"\n" in value else value  # most values are one line: half the time of a parse


def _text(octets: bytes) -> str:
    return octets.decode("utf-8", "surrogateescape")


def _unquote(text: str) -> str:
    if len(text) >= 2 and text[0] == text[-1] == '"':
        return _ESCAPED.sub(r"\1", text[1:-1])
    return text


def _display(text: str) -> str:
    """A display name without its quotes and escapes; an open quote is dropped."""
    text = _unquote(text)
    return text[1:] if text.startswith('"') else text
