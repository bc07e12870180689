"""Keys in a KPML report: NOTIFY with `application/kpml-response+xml` (RFC 4730), and the call that it is about.

Answers for two attributes: `digits` of the response element (section 6.1; `R` is the register recall, a flash) and the
call-id parameter of the Event header (section 4.3), by which a subscription beside the call names the call's dialog.
The document is not parsed as XML: entities, declarations and whatever else a hostile peer may write do nothing here.
"""

from __future__ import annotations

import re
from typing import Final

from mediation.core import _sip
from mediation.core.channel.digits import FLASH, KEYS
from mediation.core.errors import RemoteProtocolError

EVENT: Final = "kpml"
MEDIA_TYPE: Final = "application/kpml-response+xml"
MAX_BODY_OCTETS: Final = 8_192  # ours; a response is one element of about 200 octets
MAX_KEYS: Final = 128  # in one report; ours

_ELEMENT: Final = re.compile(r"<(?:[A-Za-z_][\w.-]{0,64}:)?kpml-response\b([^<>]*)>")
_DIGITS: Final = re.compile(r"\sdigits\s*=\s*(?:\"([^\"]*)\"|'([^']*)')")


def read(body: bytes) -> str:
    """The keys (of digits.EVENTS) that a report tells, "" when it tells of none. Raises RemoteProtocolError."""
    if len(body) > MAX_BODY_OCTETS:
        raise RemoteProtocolError("kpml: report too long")
    element = _ELEMENT.search(body.decode("utf-8", "replace"))
    if element is None:
        raise RemoteProtocolError("kpml: no kpml-response in the body")
    found = _DIGITS.search(element[1])
    keys = "".join((found[1] or found[2] or "").split()).upper().replace("R", FLASH) if found else ""
    if len(keys) > MAX_KEYS or any(key not in KEYS and key != FLASH for key in keys):
        raise RemoteProtocolError("kpml: digits that are no keys")
    return keys


def call_id(event: str) -> str | None:
    """The Call-ID of the call that a subscription is about, by its Event header; None when it names none."""
    for name, value in _sip.parameters(event.partition(";")[2].encode("utf-8", "surrogateescape")):
        if name.lower() == b"call-id":
            text: str = value.decode("utf-8", "surrogateescape").strip('"')
            return text or None
    return None
