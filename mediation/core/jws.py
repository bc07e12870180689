"""One signature over one stored text: compact JWS (RFC 7515) with the fully specified algorithm "Ed25519" (RFC 9864).

Answers for the form of a signed object and for the mathematics of its signature. It may not decide whose keys count:
that is `authorization`. What is verified is the text as stored; nothing is ever re-serialised (rule 6 of the house).

Narrower than RFC 7515 on purpose, so that a text has one reading only: three header parameters (alg, kid, typ) and no
other; base64url without padding and with zero trailing bits; no JSON member twice; one signature (the JSON
serialisations, which can carry several, are not accepted at all).
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from typing import TypeVar

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from mediation.core.check import Check
from mediation.core.errors import AuthorizationError

ALGORITHM = "Ed25519"
MAX_TOKEN_OCTETS = 65_536  # 64 subjects of 255 octets and the particulars fit four times over (ours)
SIGNATURE_OCTETS = 64  # RFC 8032 §5.1
KID = re.compile(r"[A-Za-z0-9._:-]{1,64}")

_BASE64URL = re.compile(r"[A-Za-z0-9_-]+")
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


def sha256_hex(text: str) -> str:
    """How tokens name each other: SHA-256 over the compact text, lower-case hex."""
    return hashlib.sha256(text.encode()).hexdigest()


def split(text: str) -> Parts:
    """Takes a compact JWS apart. Raises AuthorizationError `structure` or `algorithm`."""
    if len(text) > MAX_TOKEN_OCTETS:
        raise AuthorizationError(Check.STRUCTURE, "token too long")
    pieces = text.split(".")
    if len(pieces) != 3:
        raise AuthorizationError(Check.STRUCTURE, "not a compact JWS with one signature")
    raw_header, payload, signature = (_decode(piece) for piece in pieces)
    _refuse_repeated_members(raw_header)
    _refuse_repeated_members(payload)
    try:
        # The algorithm is judged before the rest of the header, so that a confusion of algorithms has its own name.
        algorithm = msgspec.json.decode(raw_header, type=dict[str, object]).get("alg")
    except msgspec.MsgspecError:
        raise AuthorizationError(Check.STRUCTURE, "header is no JSON object") from None
    if algorithm != ALGORITHM:
        raise AuthorizationError(Check.ALGORITHM)
    header = decode(raw_header, Header)
    if not KID.fullmatch(header.kid):
        raise AuthorizationError(Check.STRUCTURE, "kid")
    if len(signature) != SIGNATURE_OCTETS:
        raise AuthorizationError(Check.STRUCTURE, "length of the signature")
    return Parts(header=header, payload=payload, signed=text[: text.rindex(".")].encode(), signature=signature)


def decode(octets: bytes, kind: type[P]) -> P:
    """JSON octets as `kind`, strictly. Raises AuthorizationError `structure`; the text names fields, not values."""
    try:
        return msgspec.json.decode(octets, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        # msgspec's messages name the path and the expected type, and a value only where the value is a tag of ours.
        place = re.search(r"\$[.\w\[\]]*", str(error))
        raise AuthorizationError(Check.STRUCTURE, f"{kind.__name__}{place[0][1:] if place else ''}") from None


def verify(parts: Parts, key: Ed25519PublicKey) -> None:
    """Raises AuthorizationError `signature` when `key` did not sign this very text."""
    try:
        key.verify(parts.signature, parts.signed)
    except InvalidSignature:
        raise AuthorizationError(Check.SIGNATURE) from None


def sign(payload: msgspec.Struct, typ: str, kid: str, key: Ed25519PrivateKey) -> str:
    """The compact text of `payload`, signed. For the person's own tool; the daemon holds no person's key."""
    header = msgspec.json.encode(Header(alg=ALGORITHM, kid=kid, typ=typ))
    signed = f"{_encode(header)}.{_encode(msgspec.json.encode(payload))}"
    return f"{signed}.{_encode(key.sign(signed.encode()))}"


def _encode(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def _decode(piece: str) -> bytes:
    if not _BASE64URL.fullmatch(piece) or len(piece) % 4 == 1:
        raise AuthorizationError(Check.STRUCTURE, "not base64url")
    octets = base64.urlsafe_b64decode(piece + "=" * (-len(piece) % 4))
    if _encode(octets) != piece:  # trailing bits set: a second spelling of the same octets
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
