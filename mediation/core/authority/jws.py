"""One signature over one stored text: compact JWS (RFC 7515) with one fully specified algorithm for each form of key:
"Ed25519" (RFC 9864), "ES256" (RFC 7518), and the two in which a security key signs (core/authority/key.py,
core/authority/assertion.py).

Answers for the form of a signed object and for the mathematics of its signature. It may not decide whose keys count:
that is `authorization`. What is verified is the text as stored; nothing is ever re-serialised.

Narrower than RFC 7515 on purpose, so that a text has one reading only: three header parameters (alg, kid, typ) and no
other; base64url without padding and with zero trailing bits; no JSON member twice; one signature (the JSON
serialisations, which can carry several, are not accepted at all).
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from functools import lru_cache
from typing import Any, Protocol, TypeVar

import msgspec
import pybase64
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mediation.core.authority import assertion
from mediation.core.authority.key import ALGORITHMS, KID, SIGNATURE_OCTETS, Public
from mediation.core.check import Check
from mediation.core.errors import AuthorizationError

ALGORITHM = ALGORITHMS["ed25519"]
MAX_TOKEN_OCTETS = 65_536  # 64 subjects of 255 octets and the particulars fit four times over (ours)
_PLAIN = frozenset({"Ed25519", "ES256"})  # the others carry an assertion in place of a bare signature
_KNOWN = frozenset(ALGORITHMS.values())

_STANDARD = bytes.maketrans(b"-_+/=", b"+/???")  # from RFC 4648 §5 to §4; what §5 has not, §4 shall not have either
_PADDING = (b"", b"===", b"==", b"=")  # by the length modulo 4
_DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
# The last digit by the length modulo 4: after two digits it has four bits to spare, after three two (RFC 4648 §3.5).
_LAST = (frozenset(_DIGITS), frozenset(""), frozenset(_DIGITS[::16]), frozenset(_DIGITS[::4]))
HEADERS_KEPT, HEADER_DIGITS = 256, 512  # the same few headers come ten thousand times; longer ones are not kept
P = TypeVar("P", bound=msgspec.Struct)


class Header(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The protected header: these three parameters and no other."""

    alg: str
    kid: str
    typ: str


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """A compact JWS taken apart; nothing in it is verified yet."""

    header: Header
    payload: bytes
    signed: bytes  # the octets that the signature covers
    signature: bytes
    sha256: bytes  # of the whole text: one text has one reading, so that this names all of the above
    read: Any = None  # the payload as the kind that `split` was told of, where that was seen on the way


def sha256_hex(text: str) -> str:
    """How tokens name each other: SHA-256 over the compact text, lower-case hex."""
    return hashlib.sha256(text.encode()).hexdigest()


def split(text: str, kind: type[msgspec.Struct] | None = None) -> Parts:
    """Takes a compact JWS apart. Raises AuthorizationError `structure` or `algorithm`.

    `kind` spares `content` a second reading: a payload that is the very octets which this kind is written as can have
    no member twice. A payload that is not, of whatever cause, is judged as without it.
    """
    if len(text) > MAX_TOKEN_OCTETS:
        raise AuthorizationError(Check.STRUCTURE, "token too long")
    pieces = text.split(".")
    if len(pieces) != 3:
        raise AuthorizationError(Check.STRUCTURE, "not a compact JWS with one signature")
    header = (_kept_header if len(pieces[0]) <= HEADER_DIGITS else _header)(pieces[0])
    payload, signature = _decode(pieces[1]), _decode(pieces[2])
    read = _as_written(payload, kind) if kind is not None else None
    if read is None:
        _refuse_repeated_members(payload)
    plain = header.alg in _PLAIN
    if (plain and len(signature) != SIGNATURE_OCTETS) or len(signature) > assertion.MAX_OCTETS:
        raise AuthorizationError(Check.STRUCTURE, "length of the signature")
    octets = text.encode()
    return Parts(
        header=header, payload=payload, signed=octets[: len(octets) - len(pieces[2]) - 1], signature=signature,
        sha256=hashlib.sha256(octets).digest(), read=read,
    )  # fmt: skip


def content(parts: Parts, kind: type[P]) -> P:
    """The payload as `kind`, strictly. Raises AuthorizationError `structure`."""
    return parts.read if type(parts.read) is kind else decode(parts.payload, kind)


def claimed(text: str, kind: type[P]) -> P:
    """What a text says, of which nothing is judged: not its header, not that it has one reading. Raises
    AuthorizationError `structure`."""
    pieces = text.split(".")
    return decode(_decode(pieces[1] if len(pieces) == 3 else ""), kind)


def _as_written(payload: bytes, kind: type[msgspec.Struct]) -> msgspec.Struct | None:
    """The payload as `kind` when it is the octets that a value of this kind is written as; else None."""
    try:
        found = msgspec.json.decode(payload, type=kind)
        return found if msgspec.json.encode(found) == payload else None
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


def _header(piece: str) -> Header:
    """The protected header, judged. Raises AuthorizationError `structure` or `algorithm`."""
    raw_header = _decode(piece)
    _refuse_repeated_members(raw_header)
    try:
        # The algorithm is judged before the rest of the header, so that a confusion of algorithms has its own name.
        algorithm = msgspec.json.decode(raw_header, type=dict[str, object]).get("alg")
    except msgspec.MsgspecError:
        raise AuthorizationError(Check.STRUCTURE, "header is no JSON object") from None
    if algorithm not in _KNOWN:
        raise AuthorizationError(Check.ALGORITHM)
    header = decode(raw_header, Header)
    if not KID.fullmatch(header.kid):
        raise AuthorizationError(Check.STRUCTURE, "kid")
    return header


_kept_header = lru_cache(HEADERS_KEPT)(_header)


def decode(octets: bytes, kind: type[P]) -> P:
    """JSON octets as `kind`, strictly. Raises AuthorizationError `structure`; the text names fields, not values."""
    try:
        return msgspec.json.decode(octets, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        # msgspec's messages name the path and the expected type, and a value only where the value is a tag of ours.
        place = re.search(r"\$[.\w\[\]]*", str(error))
        raise AuthorizationError(Check.STRUCTURE, f"{kind.__name__}{place[0][1:] if place else ''}") from None


class Signs(Protocol):
    """What can sign one text: a token or a security key behind its driver. `algorithm` as in the header."""

    @property
    def algorithm(self) -> str: ...

    def sign(self, octets: bytes) -> bytes: ...


def verify(parts: Parts, key: Public) -> None:
    """Raises AuthorizationError `algorithm`, `assertion` or `signature` when `key` did not sign this very text."""
    key.verify(parts.header.alg, parts.signature, parts.signed)


def sign(payload: msgspec.Struct, typ: str, kid: str, key: Ed25519PrivateKey | Signs) -> str:
    """The compact text of `payload`, signed. For the person's own tool; the daemon holds no person's key."""
    return sign_octets(msgspec.json.encode(payload), typ, kid, key)


def sign_octets(payload: bytes, typ: str, kid: str, key: Ed25519PrivateKey | Signs) -> str:
    """The same over octets as they stand: for a text that several persons must sign alike."""
    algorithm = ALGORITHM if isinstance(key, Ed25519PrivateKey) else key.algorithm
    header = msgspec.json.encode(Header(alg=algorithm, kid=kid, typ=typ))
    signed = f"{_encode(header)}.{_encode(payload)}"
    return f"{signed}.{_encode(key.sign(signed.encode()))}"


def _encode(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def _decode(piece: str) -> bytes:
    try:
        octets = pybase64.b64decode(piece.encode().translate(_STANDARD) + _PADDING[len(piece) % 4], validate=True)
    except ValueError:
        octets = b""
    if not octets:
        raise AuthorizationError(Check.STRUCTURE, "not base64url")
    if piece[-1] not in _LAST[len(piece) % 4]:  # trailing bits set: a second spelling of the same octets
        raise AuthorizationError(Check.STRUCTURE, "base64url is not canonical")
    return octets


def _refuse_repeated_members(octets: bytes) -> None:
    """A member that stands twice would be read differently by different readers (RFC 8259 §4)."""

    def once(pairs: list[tuple[str, object]]) -> None:
        if len({name for name, _ in pairs}) != len(pairs):
            raise AuthorizationError(Check.STRUCTURE, "a JSON member stands twice")

    try:
        # What our own tools write comes back as the same octets, and then no member was lost: 20 times faster.
        if msgspec.json.encode(msgspec.json.decode(octets)) == octets:
            return
        json.loads(octets, object_pairs_hook=once)
    except (ValueError, RecursionError):
        raise AuthorizationError(Check.STRUCTURE, "not JSON") from None
