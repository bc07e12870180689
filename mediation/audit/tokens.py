"""Signed texts of persons: compact JWS in the four forms of their keys, checked without the daemon.

Answers for RFC 7515 with the algorithms "Ed25519" (RFC 9864) and "ES256" (RFC 7518), and for the two in which a FIDO2
security key signs: the signature part then holds u16 length || authenticatorData || u16 length || clientDataJSON ||
signature (W3C Web Authentication §7.2), and the challenge is the SHA-256 of what a JWS signs.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

ALGORITHM = {
    "ed25519": "Ed25519", "es256": "ES256", "webauthn-ed25519": "WebAuthn-Ed25519", "webauthn-es256": "WebAuthn-ES256",
}  # fmt: skip
HALF_P256 = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551 // 2
PRESENT_AND_VERIFIED = 0x05
MAX_TOKEN = 65_536


class Bad(Exception):
    """A signed text that is not what it should be; the text says why."""


@dataclass(frozen=True)
class Token:
    """A compact JWS taken apart; not verified yet."""

    algorithm: str
    kid: str
    typ: str
    payload: bytes
    signed: bytes
    signature: bytes

    def members(self) -> dict[str, Any]:
        return members(self.payload)


@dataclass(frozen=True)
class PersonKey:
    """A person's public key as the roster enrolled it."""

    kid: str
    person: str
    form: str
    public: str
    not_before_s: int
    not_after_s: int
    credential: str = ""
    rp_id: str = ""

    @classmethod
    def of(cls, facts: dict[str, Any]) -> PersonKey:
        """Raises Bad."""
        texts = {name: facts.get(name, "") for name in ("kid", "person", "public", "credential", "rp_id")}
        texts["form"] = facts.get("form", "ed25519")
        times = {name: facts.get(name) for name in ("not_before_s", "not_after_s")}
        if not all(isinstance(each, str) for each in texts.values()) or texts["form"] not in ALGORITHM:
            raise Bad("a key that is not readable")
        if not all(isinstance(each, int) for each in times.values()):
            raise Bad("a key without dates")
        return cls(**texts, **times)  # type: ignore[arg-type]


def split(text: str) -> Token:
    """Raises Bad."""
    pieces = text.split(".")
    if len(text) > MAX_TOKEN or len(pieces) != 3:
        raise Bad("not a signed text")
    raw, payload, signature = (_octets(piece) for piece in pieces)
    header = members(raw)
    if set(header) != {"alg", "kid", "typ"} or not all(isinstance(each, str) for each in header.values()):
        raise Bad("a signed text with another header")
    signed = text.rpartition(".")[0].encode()
    return Token(header["alg"], header["kid"], header["typ"], payload, signed, signature)


def members(octets: bytes) -> dict[str, Any]:
    """A JSON object in which no member stands twice. Raises Bad."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({name for name, _ in pairs}) != len(pairs):
            raise Bad("a member stands twice")
        return dict(pairs)

    try:
        found = json.loads(octets.decode(), object_pairs_hook=once)
    except (ValueError, RecursionError):
        raise Bad("not JSON") from None
    if not isinstance(found, dict):
        raise Bad("not a JSON object")
    return found


def verify(token: Token, key: PersonKey) -> None:
    """Raises Bad unless `key` signed this very text."""
    if token.algorithm != ALGORITHM[key.form]:
        raise Bad("another algorithm than the key's")
    signed, signature = token.signed, token.signature
    if key.form.startswith("webauthn"):
        signed, signature = _assertion(token, key)
    if len(signature) != 64:
        raise Bad("a signature of another length")
    try:
        if key.form.endswith("es256"):
            r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
            if s > HALF_P256:
                raise Bad("a second spelling of a signature")
            point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), bytes.fromhex(key.public))
            point.verify(encode_dss_signature(r, s), signed, ec.ECDSA(hashes.SHA256()))
        else:
            Ed25519PublicKey.from_public_bytes(bytes.fromhex(key.public)).verify(signature, signed)
    except InvalidSignature:
        raise Bad("the signature is not of this text") from None
    except ValueError:
        raise Bad("a key that is none") from None


def _assertion(token: Token, key: PersonKey) -> tuple[bytes, bytes]:
    """What the security key signed, and its signature."""
    octets = token.signature
    size = int.from_bytes(octets[:2], "big")
    data, rest = octets[2 : 2 + size], octets[2 + size :]
    size = int.from_bytes(rest[:2], "big")
    said_octets, signature = rest[2 : 2 + size], rest[2 + size :]
    if len(data) != 37 or data[:32] != hashlib.sha256(key.rp_id.encode()).digest():
        raise Bad("a security key's assertion for somebody else")
    if data[32] & PRESENT_AND_VERIFIED != PRESENT_AND_VERIFIED:
        raise Bad("the user of the security key was not verified")
    said = members(said_octets)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(token.signed).digest()).rstrip(b"=").decode()
    if (said.get("type"), said.get("challenge"), said.get("origin")) != (
        "webauthn.get", challenge, f"https://{key.rp_id}",
    ) or said.get("crossOrigin", False) is not False:  # fmt: skip
        raise Bad("a security key's assertion of another act")
    return data + hashlib.sha256(said_octets).digest(), signature


def _octets(piece: str) -> bytes:
    if not re.fullmatch(r"[A-Za-z0-9_-]+", piece) or len(piece) % 4 == 1:
        raise Bad("not base64url")
    octets = base64.urlsafe_b64decode(piece + "=" * (-len(piece) % 4))
    if base64.urlsafe_b64encode(octets).rstrip(b"=").decode() != piece:
        raise Bad("base64url with a second spelling")
    return octets
