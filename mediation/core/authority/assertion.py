"""A security key's assertion over one act: W3C Web Authentication Level 2, §7.2, as far as an act needs it.

Answers for: the assertion is of this very text (the challenge is the SHA-256 of the exact octets that a JWS signs),
made by the enrolled relying party's credential, with the user present and verified. It keeps everything the key said,
so that an auditor can verify it offline, years later. It knows no person and no role.

    octets     = u16 length || authenticatorData || u16 length || clientDataJSON || signature        big-endian
    signature  over authenticatorData || SHA-256(clientDataJSON)                                      §6.3.3

Narrower than the recommendation, so that an assertion has one reading: authenticatorData is exactly rpIdHash, flags and
counter (no attested credential data, no extensions), clientDataJSON repeats no member, the origin is `https://` and the
relying party's identity. An ECDSA signature is kept as r || s of 32 octets each, not as the DER that the key gave.
"""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import msgspec

from mediation.core.check import Check
from mediation.core.errors import AuthorizationError

TYPE = "webauthn.get"  # §5.8.1
USER_PRESENT, USER_VERIFIED = 0x01, 0x04  # §6.1, bits 0 and 2
ATTESTED_OR_EXTENDED = 0xC0  # bits 6 and 7: more than 37 octets follow
AUTHENTICATOR_DATA_OCTETS = 37  # SHA-256, flags, u32 counter
RP_ID_OCTETS = 32
MAX_CLIENT_DATA_OCTETS = 1_024  # a browser's has under 300 (ours)
MAX_OCTETS = 2 + AUTHENTICATOR_DATA_OCTETS + 2 + MAX_CLIENT_DATA_OCTETS + 64


class Assertion(msgspec.Struct, frozen=True, kw_only=True):
    """What a security key gave. Nothing in it is verified yet."""

    authenticator_data: bytes
    client_data: bytes  # clientDataJSON, exactly
    signature: bytes  # of the credential's algorithm: 64 octets

    def octets(self) -> bytes:
        """The form in which it stands in the signature part of a JWS."""
        parts = (self.authenticator_data, self.client_data)
        return b"".join(len(part).to_bytes(2, "big") + part for part in parts) + self.signature


def parse(octets: bytes) -> Assertion:
    """Raises AuthorizationError `assertion`."""
    parts = []
    at = 0
    for _ in range(2):
        size = int.from_bytes(octets[at : at + 2], "big")
        parts.append(octets[at + 2 : at + 2 + size])
        at += 2 + size
    if at > len(octets) or len(octets) > MAX_OCTETS:
        raise AuthorizationError(Check.ASSERTION)
    return Assertion(authenticator_data=parts[0], client_data=parts[1], signature=octets[at:])


def challenge(signed: bytes) -> str:
    """What the security key is asked to sign for a text: base64url of its SHA-256, without padding (§5.8.1)."""
    return base64.urlsafe_b64encode(hashlib.sha256(signed).digest()).rstrip(b"=").decode()


def origin(rp_id: str) -> str:
    """The one origin that acts are made from."""
    return f"https://{rp_id}"


def client_data(signed: bytes, rp_id: str) -> bytes:
    """The clientDataJSON of an act that is made without a browser, in the order of members of §5.8.1.1."""
    return msgspec.json.encode(
        {"type": TYPE, "challenge": challenge(signed), "origin": origin(rp_id), "crossOrigin": False}
    )


def verify(assertion: Assertion, signed: bytes, rp_id: str) -> bytes:
    """The octets that the credential's signature must cover, once everything but the signature has been checked.

    Raises AuthorizationError `assertion` when it is of another text, another relying party or another ceremony, or when
    the user was not present and verified.
    """
    data = assertion.authenticator_data
    if len(data) != AUTHENTICATOR_DATA_OCTETS or len(assertion.client_data) > MAX_CLIENT_DATA_OCTETS:
        raise AuthorizationError(Check.ASSERTION)
    if data[:RP_ID_OCTETS] != hashlib.sha256(rp_id.encode()).digest():
        raise AuthorizationError(Check.ASSERTION, "of another relying party")
    flags = data[RP_ID_OCTETS]
    if not flags & USER_PRESENT or not flags & USER_VERIFIED:
        raise AuthorizationError(Check.ASSERTION, "the user was not verified")
    if flags & ATTESTED_OR_EXTENDED:
        raise AuthorizationError(Check.ASSERTION)
    said = _members(assertion.client_data)
    if said.get("type") != TYPE or said.get("challenge") != challenge(signed):
        raise AuthorizationError(Check.ASSERTION, "of another act")
    if said.get("origin") != origin(rp_id) or said.get("crossOrigin", False) is not False:
        raise AuthorizationError(Check.ASSERTION, "of another origin")
    return data + hashlib.sha256(assertion.client_data).digest()


def _members(octets: bytes) -> dict[str, Any]:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({name for name, _ in pairs}) != len(pairs):
            raise AuthorizationError(Check.ASSERTION, "a JSON member stands twice")
        return dict(pairs)

    try:
        said = json.loads(octets.decode(), object_pairs_hook=once)
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict):
        raise AuthorizationError(Check.ASSERTION, "clientDataJSON is no JSON object")
    return said
