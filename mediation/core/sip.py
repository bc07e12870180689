"""A SIP message as the call model sees it (RFC 3261), parsed leniently: real devices send what they send.

The octets are cut by the same kernel that matches them at the access point (ext/sip.pxd, through `_sip`), so the two
can never disagree about where a header begins. Text is decoded as UTF-8 with surrogateescape, so nothing is lost.
"""

from __future__ import annotations

import msgspec


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
