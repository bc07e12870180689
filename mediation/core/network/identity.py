"""Canonical forms of identities: two URIs that mean the same subscriber give the same text.

This is the readable definition; ext/identity.pxd is the fast one, and a differential test holds them together. It may
not decide whom to intercept: `target` says which forms an order arms.

Forms (`canonical`):
    tel:+E164                     a telephone number, from tel: (RFC 3966) or from the user part of sip:/sips: (RFC 3261
                                  section 19.1.6), completed by the site's dial plan. The host is left out: a number
                                  names one subscriber whichever host carries it.
    tel:LOCAL[;phone-context=C]   a number that the dial plan cannot complete (an extension, a short code)
    sip:USER@HOST                 every other SIP URI: the user part exact (escapes decoded, password left out), the
                                  host in lower case; port, URI parameters and headers left out; sips: is the same
Visual separators (- . ( ) and space) and the RFC 3966 parameters of a number (npdi, rn, isub, ext, tgrp …) do not
count.
"""

from __future__ import annotations

import re
from typing import Final, Protocol

import msgspec

MAX_DIGITS: Final = 15  # ITU-T E.164
MIN_GLOBAL_DIGITS: Final = 4  # country code and something
MIN_INTERNATIONAL_DIGITS: Final = 7  # behind an international prefix; shorter ones are local codes
MIN_FOREIGN_DIGITS: Final = 11  # E.164 of another country without + and prefix
MAX_LOCAL_DIGITS: Final = 32
MAX_USER_OCTETS: Final = 255
MAX_HOST_OCTETS: Final = 255  # DNS names have at most 253

_ESCAPE: Final = re.compile(rb"%([0-9A-Fa-f]{2})")
_SEPARATORS: Final = b"-.() "
_HOST: Final = re.compile(rb"[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]")
_BLANKS: Final = b" \t\r\n"
_AFTER_HOST: Final = frozenset((b"", b":", b";", b"?", b">", b" ", b"\t", b"\r", b"\n"))


class Plan(Protocol):
    """What is asked of a dial plan: the site's configuration section has these fields."""

    @property
    def country_code(self) -> str: ...
    @property
    def area_code(self) -> str: ...
    @property
    def national_prefix(self) -> str: ...
    @property
    def international_prefix(self) -> str: ...
    @property
    def national_length(self) -> int: ...
    @property
    def local_length(self) -> int: ...


class DialPlan(msgspec.Struct, frozen=True, kw_only=True):
    """How numbers without + are completed; the North American plan by default."""

    country_code: str = "1"
    area_code: str = ""  # completes numbers of local_length; empty: those stay local
    national_prefix: str = "1"
    international_prefix: str = "011"
    national_length: int = 10
    local_length: int = 7


def canonical(uri: str, plan: Plan) -> str | None:
    """The canonical form of a URI, or None when it names no subscriber (no user part, another scheme, garbage).

    Octets that are not UTF-8 come and go as surrogate escapes.
    """
    octets = uri.encode("utf-8", "surrogateescape").strip(_BLANKS)
    scheme, colon, rest = octets.partition(b":")
    if not colon:
        return None
    match scheme.lower():
        case b"sip" | b"sips":
            found = _of_sip(rest, plan)
        case b"tel":
            number, _, parameters = re.split(rb"[?>]", rest, maxsplit=1)[0].partition(b";")
            found = _of_number(number, parameters, plan, tel=True)
        case _:
            return None
    return None if found is None else found.decode("utf-8", "surrogateescape")


def host_of(uri: str) -> str | None:
    """The host of a SIP URI that has a user part, in lower case; None for every other URI."""
    scheme, _, rest = uri.encode("utf-8", "surrogateescape").strip(_BLANKS).partition(b":")
    parts = _user_and_host(rest) if scheme.lower() in (b"sip", b"sips") else None
    return parts[1].decode() if parts else None


def e164(digits: str, plan: Plan) -> str | None:
    """The E.164 digits (without +) that a number dialled without + means in this plan, or None."""
    length = len(digits)
    prefix = plan.international_prefix
    if prefix and digits.startswith(prefix) and length - len(prefix) >= MIN_INTERNATIONAL_DIGITS:
        found = digits[len(prefix) :]
    elif (
        plan.national_prefix
        and digits.startswith(plan.national_prefix)
        and length == len(plan.national_prefix) + plan.national_length
    ):
        found = plan.country_code + digits[len(plan.national_prefix) :]
    elif digits.startswith(plan.country_code) and length == len(plan.country_code) + plan.national_length:
        found = digits
    elif length == plan.national_length:
        found = plan.country_code + digits
    elif plan.area_code and plan.local_length and length == plan.local_length:
        found = plan.country_code + plan.area_code + digits
    elif length >= MIN_FOREIGN_DIGITS and digits[0] != "0":
        found = digits
    else:
        return None
    return found if len(found) <= MAX_DIGITS else None


def _unescape(octets: bytes) -> bytes:
    return _ESCAPE.sub(lambda m: bytes([int(m[1], 16)]), octets)


def _of_sip(rest: bytes, plan: Plan) -> bytes | None:
    parts = _user_and_host(rest)
    if parts is None:
        return None
    user, host = parts
    number, _, parameters = user.partition(b";")
    found = _of_number(number, parameters, plan, tel=False)
    if found is not None:
        return found
    user = _unescape(user)
    if len(user) > MAX_USER_OCTETS:
        return None
    return b"sip:" + user + b"@" + host


def _user_and_host(rest: bytes) -> tuple[bytes, bytes] | None:
    """The user part (escaped, no password) and the host (lower case) behind the scheme of a SIP URI."""
    userinfo, at, hostport = rest.partition(b"@")
    user = userinfo.partition(b":")[0]
    if not at or not user:
        return None
    found = _HOST.match(hostport)
    if found is None or hostport[found.end() : found.end() + 1] not in _AFTER_HOST:
        return None
    host = found[0].lower().removesuffix(b".")
    return (user, host) if 0 < len(host) <= MAX_HOST_OCTETS else None


def _of_number(number: bytes, parameters: bytes, plan: Plan, *, tel: bool) -> bytes | None:
    """tel: forms of a number with its ;parameters; None when it is none (or, in a SIP user part, only local)."""
    text = _unescape(number)
    plus = text.startswith(b"+")
    text = text[plus:].translate(None, _SEPARATORS)
    if not text or not re.fullmatch(rb"[0-9*#A-Da-d]+" if tel and not plus else rb"[0-9]+", text):
        return None
    if plus:
        if text[:1] == b"0" or not MIN_GLOBAL_DIGITS <= len(text) <= MAX_DIGITS:
            return None
        return b"tel:+" + text
    context = _context(parameters)
    if text.isdigit():
        found = _in_context(text.decode(), context.decode("ascii", "replace"), plan)
        if found is not None:
            return b"tel:+" + found.encode()
    if len(text) > MAX_LOCAL_DIGITS or (not context and not tel):
        return None
    return b"tel:" + text.lower() + (b";phone-context=" + context if context else b"")


def _context(parameters: bytes) -> bytes:
    """The phone-context, in lower case, a global one without separators; empty when absent or impossible."""
    for parameter in parameters.split(b";"):
        name, _, value = parameter.partition(b"=")
        if name.lower() == b"phone-context":
            value = _unescape(value).lower()
            if value.startswith(b"+"):
                digits = value[1:].translate(None, _SEPARATORS)
                return b"+" + digits if digits.isdigit() and len(digits) <= MAX_DIGITS else b""
            return value if _HOST.fullmatch(value) and len(value) <= MAX_HOST_OCTETS else b""
    return b""


def _in_context(digits: str, context: str, plan: Plan) -> str | None:
    """RFC 3966 section 5.1.5: a global context can give the area code; another country's says nothing to our plan."""
    if context.startswith("+"):
        if not context[1:].startswith(plan.country_code):
            return None
        area = context[1 + len(plan.country_code) :]
        if area and len(digits) == plan.local_length and len(area) + len(digits) == plan.national_length:
            return plan.country_code + area + digits
    return e164(digits, plan)
