"""A SIP message as the call model sees it (RFC 3261), parsed leniently: real devices send what they send.

The octets are cut by the same kernel that matches them at the access point (ext/sip.pxd, through `_sip`), so the two
can never disagree about where a header begins. Text is decoded as UTF-8 with surrogateescape, so nothing is lost.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote

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


_URI_HEADER: Final = re.compile(r"[?&]\s*([^\s?&=<>]+)\s*=")


def long_name(name: str) -> str:
    """A header's name in lower case, its compact form expanded."""
    name = name.strip().lower()
    return COMPACT.get(name, name)


def uri_headers(line: str) -> list[str]:
    """Long names of the headers that the URIs in a header line carry (RFC 3261 section 19.1.1), escapes undone; rather
    one too many than one too few where a line is no good SIP."""
    _, mark, behind = line.partition("?")
    return [long_name(unquote(name)) for name in _URI_HEADER.findall(mark + behind)]


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
    fault, method, status, reason, uri, call_id, cseq, cseq_method, from_, to, branch, headers, body = _sip.message(
        octets if type(octets) is bytes else bytes(octets), COMPACT
    )
    if fault:
        raise RemoteProtocolError(fault)
    if from_ is None or to is None:
        raise RemoteProtocolError(f"sip: {'From' if from_ is None else 'To'} holds no address")
    return SipMessage(
        method=method,
        status=status,
        reason=reason,
        request_uri=uri,
        call_id=call_id,
        cseq=cseq,
        cseq_method=cseq_method,
        from_=_address(from_),
        to=_address(to),
        branch=branch,
        headers=headers,
        body=body,
    )


def name_addrs(value: str) -> tuple[NameAddr, ...]:
    """All addresses of a header value that may be a comma-separated list. Raises nothing: what holds no address is
    left out."""
    return tuple(map(_address, _sip.addresses(value.encode("utf-8", "surrogateescape"))))


def _address(found: tuple[str, str, tuple[tuple[str, str], ...], str]) -> NameAddr:
    uri, display, parameters, raw = found
    return NameAddr(uri=uri, display=display, parameters=parameters, raw=raw)
