"""Keys in the body of a SIP INFO: `application/dtmf-relay`, `application/dtmf`, and hook flashes.

Answers for reading the bodies that phones and gateways send (RFC 2976 and RFC 6086 leave them to the parties; no RFC
defines these types, their vendors do): a `Signal=` and a `Duration=` line, or the key alone. A number from 10 to 16 is
an event of RFC 4733 section 3.2 (`*`, `#`, A to D, flash), as gateways write it. It may not judge whose keys they are.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from mediation.core.channel.digits import EVENTS, FLASH, KEYS, MAX_DIGITS, Source
from mediation.core.errors import RemoteProtocolError

TYPES: Final = {"application/dtmf-relay": Source.DTMF_RELAY, "application/dtmf": Source.DTMF}
FLASH_TYPES: Final = frozenset({"application/hook-flash"})
MAX_BODY_OCTETS: Final = 512  # ours; real ones have 30
MAX_DURATION_MS: Final = 10_000  # ours: a longer press is taken to have begun this long ago

_SIGNAL: Final = re.compile(r"^[ \t]*signal[ \t]*[=:][ \t]*([^\s;]{1,40})", re.IGNORECASE | re.MULTILINE)
_DURATION: Final = re.compile(r"^[ \t]*duration[ \t]*[=:][ \t]*([0-9]{1,9})", re.IGNORECASE | re.MULTILINE)
_FLASHES: Final = frozenset({"!", "HF", "FLASH", "HOOKFLASH", "16"})


class Signal(NamedTuple):
    """Keys (of digits.EVENTS) in the order pressed, and for how long, milliseconds (0: not said)."""

    keys: str
    duration_ms: int


def is_keys(media_type: str) -> bool:
    """Whether a body of this media type (lower case) tells keys."""
    return media_type in TYPES or media_type in FLASH_TYPES


def read(media_type: str, body: bytes) -> Signal:
    """The keys in a body for which `is_keys` holds. Raises RemoteProtocolError when it names none."""
    if media_type in FLASH_TYPES:
        return Signal(FLASH, 0)
    if len(body) > MAX_BODY_OCTETS:
        raise RemoteProtocolError("info: body too long for a key")
    text = body.decode("ascii", "replace")
    named = _SIGNAL.search(text)
    word = (named[1] if named else text.strip(" \t\r\n\0\"'")).upper()
    duration = _DURATION.search(text)
    return Signal(_keys(word), min(int(duration[1]), MAX_DURATION_MS) if duration else 0)


def _keys(word: str) -> str:
    if word in _FLASHES:
        return FLASH
    if len(word) == 2 and word.isascii() and word.isdigit() and 10 <= int(word) < len(EVENTS):
        return EVENTS[int(word)]
    if not 1 <= len(word) <= MAX_DIGITS or any(key not in KEYS for key in word):
        raise RemoteProtocolError("info: no key in the body")
    return word
