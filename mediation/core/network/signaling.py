"""A SIP message cut down to what an order is given of it (RFC 3261 section 7; 18 USC 3121(c)).

Answers for: of a signalling message that is reported as it was (DirectSignalReporting), only the start line, the header
lines and the body that the caller says yes to remain. The message is put together anew from those parts, so that octets
outside of them (after the body, in lines that are no headers) never pass. May not decide what is given: that is the
table in `entitlement`. What cannot be taken apart is refused whole: a parse error never widens what is delivered.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from mediation.core import _sip
from mediation.core.network.sip import COMPACT

_LENGTH: Final = "content-length"
_TYPE: Final = "content-type"


def reduced(
    octets: bytes, keeps_line: Callable[[str], bool], keeps_body: Callable[[str], bool]
) -> tuple[bytes | None, int]:
    """(message, how many lines and bodies were removed); (None, 1) when `octets` are no SIP message.

    `keeps_line` is asked with "Name: value" of each header, `keeps_body` with the media type in lower case ("" when the
    message names none). A message whose body is removed says Content-Length: 0.
    """
    fault, _, method, status, reason, uri, *_, lines, body = _sip.scan(octets)
    if fault:
        return None, 1
    headers = [(_long_name(name), name, value) for name, value in lines]
    body_stays = not body or keeps_body(_media_type(headers))
    # A Request-URI has no headers (RFC 3261 19.1.1): what stands there is somebody's words.
    start = b"SIP/2.0 %d %s" % (status, reason) if status else b"%s %s SIP/2.0" % (method, uri.partition(b"?")[0])
    kept = [start]
    removed = 0 if body_stays else 1
    for long_name, name, value in headers:
        shown = value if body_stays or long_name != _LENGTH else b"0"
        if keeps_line(f"{long_name}: {shown.decode(errors='surrogateescape')}"):
            kept.append(name + b": " + shown)
        else:
            removed += 1
    return b"\r\n".join((*kept, b"", body if body_stays else b"")), removed


def _long_name(name: bytes) -> str:
    text = name.decode(errors="surrogateescape").strip().lower()
    return COMPACT.get(text, text)


def _media_type(headers: list[tuple[str, bytes, bytes]]) -> str:
    """Of the only Content-Type; two of them are none, since a reader could believe either."""
    found = [value for long_name, _, value in headers if long_name == _TYPE]
    if len(found) != 1:
        return ""
    return found[0].partition(b";")[0].decode(errors="surrogateescape").strip().lower()
