"""A person's public key: its four forms, and the mathematics of a signature in each.

    form              algorithm of the JWS    what signs
    ed25519           Ed25519                 a file or a PKCS#11 token; RFC 8032, RFC 9864
    es256             ES256                   a PKCS#11 token; ECDSA on P-256 with SHA-256, RFC 7518 §3.4
    webauthn-ed25519  WebAuthn-Ed25519        a FIDO2 security key; core/authority/assertion.py
    webauthn-es256    WebAuthn-ES256          a FIDO2 security key

A key signs in the one form it was enrolled in: the header's algorithm must be the form's own. An ECDSA signature is
r || s with s in the lower half of the group's order, so that nobody can make a second text with the same meaning of
one. Ed25519 is verified by libsodium, which refuses keys and points of small order and all spellings but one (RFC 8032
§5.1.7 without the cofactor), in half of OpenSSL's time: three signatures of each order are most of what admitting it
costs. Whose key it is, and whether it counts, is decided elsewhere.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

import msgspec
import nacl.bindings
import nacl.exceptions
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from mediation.core.authority import assertion
from mediation.core.check import Check
from mediation.core.errors import AuthorizationError

PERSON = re.compile(r"[a-z0-9][a-z0-9._@-]{0,63}")  # lower case only: no second spelling of one person
KID = re.compile(r"[A-Za-z0-9._:-]{1,64}")
RP_ID = re.compile(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?")
CREDENTIAL = re.compile(r"([0-9a-f]{2}){1,1023}")  # credential ids have at most 1,023 octets (WebAuthn §4)

ALGORITHMS = {
    "ed25519": "Ed25519",
    "es256": "ES256",
    "webauthn-ed25519": "WebAuthn-Ed25519",
    "webauthn-es256": "WebAuthn-ES256",
}
WEBAUTHN = frozenset({"webauthn-ed25519", "webauthn-es256"})
# 32 octets (RFC 8032 §5.1.5), or the uncompressed point (SEC 1 §2.3.3): a compressed one would be a second spelling
PUBLIC = {form: re.compile(r"04[0-9a-f]{128}" if form.endswith("es256") else r"[0-9a-f]{64}") for form in ALGORITHMS}
SIGNATURE_OCTETS = 64  # of both algorithms
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551  # FIPS 186-4 D.1.2.3

Interval = tuple[int, int]  # seconds since 1970: from, up to and not including


class Key(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, cache_hash=True):
    """One public key of one person. `public` in hex; `credential` (hex) and `rp_id` of a security key only.

    `held`: when its person held the role that the key was looked up for, by the roster; None where no roster says so.
    """

    kid: str
    person: str
    public: str
    not_before_s: int
    not_after_s: int
    lab: bool = False
    form: str = "ed25519"
    credential: str = ""
    rp_id: str = ""
    held: tuple[Interval, ...] | None = None


def unbroken_until(held: Iterable[Interval], at_s: int) -> int:
    """Until when it was held on from `at_s` without a break; `at_s` itself when it was not held then."""
    held = tuple(held)
    while later := [to_s for from_s, to_s in held if from_s <= at_s < to_s]:
        at_s = max(later)
    return at_s


def well_formed(key: Key) -> bool:
    """Whether the key can be one at all. That its public key is a point of its curve shows at `Public.load`."""
    webauthn = key.form in WEBAUTHN
    return (
        key.form in PUBLIC
        and bool(KID.fullmatch(key.kid) and PERSON.fullmatch(key.person) and PUBLIC[key.form].fullmatch(key.public))
        and bool(CREDENTIAL.fullmatch(key.credential) and RP_ID.fullmatch(key.rp_id) if webauthn else True)
        and (webauthn or not (key.credential or key.rp_id))
    )


class Public:
    """A public key in its verifying form. `sha256` names it with all that a signature by it depends on."""

    def __init__(self, form: str, material: bytes | ec.EllipticCurvePublicKey, rp_id: str, sha256: bytes) -> None:
        self.form = form
        self._material = material
        self._rp_id = rp_id
        self.sha256 = sha256
        self.octets = material if isinstance(material, bytes) else b""  # of Ed25519 only

    @classmethod
    def load(cls, key: Key) -> Public:
        """Raises ValueError for a key that is none."""
        if not well_formed(key):
            raise ValueError("a key is malformed")
        octets = bytes.fromhex(key.public)
        material: bytes | ec.EllipticCurvePublicKey
        if key.form.endswith("es256"):
            material = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), octets)
        else:
            material = ed25519.Ed25519PublicKey.from_public_bytes(octets).public_bytes_raw()
        named = f"{key.form} {key.rp_id} {key.public}".encode()  # none of the three has a space
        return cls(key.form, material, key.rp_id, hashlib.sha256(named).digest())

    def verify(self, algorithm: str, signature: bytes, signed: bytes) -> None:
        """Raises AuthorizationError `algorithm`, `assertion` or `signature` unless this key signed `signed`."""
        if algorithm != ALGORITHMS[self.form]:
            raise AuthorizationError(Check.ALGORITHM)
        if self.form in WEBAUTHN:
            found = assertion.parse(signature)
            signed, signature = assertion.verify(found, signed, self._rp_id), found.signature
        if len(signature) != SIGNATURE_OCTETS:  # `signature` says that the mathematics was done (request.py)
            check = Check.ASSERTION if self.form in WEBAUTHN else Check.SIGNATURE
            raise AuthorizationError(check, "length of a signature")
        try:
            if isinstance(self._material, bytes):
                nacl.bindings.crypto_sign_open(signature + signed, self._material)
            else:
                self._material.verify(_dss(signature), signed, ec.ECDSA(hashes.SHA256()))
        except (InvalidSignature, nacl.exceptions.BadSignatureError):
            raise AuthorizationError(Check.SIGNATURE) from None


def _dss(signature: bytes) -> bytes:
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    if s > P256_ORDER // 2:
        raise AuthorizationError(Check.SIGNATURE, "not the one spelling of this signature")
    return encode_dss_signature(r, s)


def raw(r: int, s: int) -> bytes:
    """An ECDSA signature in its one spelling here: r || s, with the smaller of s and its opposite."""
    return r.to_bytes(32, "big") + min(s, P256_ORDER - s).to_bytes(32, "big")


def raw_from_der(der: bytes) -> bytes:
    """The same, from the DER that security keys give. Raises ValueError."""
    return raw(*decode_dss_signature(der))
