"""A person's key in a PKCS#11 token (OASIS PKCS #11 v3.0): Ed25519 where the token can, else ECDSA on P-256.

The private key never leaves the token. It is found by a URI of RFC 7512: `pkcs11:token=LABEL;object=LABEL`, with
`module-path` and `pin-source` in its query. Its name in the roster comes from its public key, so a token needs no file
beside it. A PIN in the URI is refused: command lines can be read by others (signing/pin.py).
"""

from __future__ import annotations

import hashlib
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import pkcs11
from asn1crypto.core import ObjectIdentifier, OctetString
from pkcs11.util.ec import encode_named_curve_parameters

from mediation.core.authority.key import ALGORITHMS, Key, raw
from mediation.core.case import Role
from mediation.core.errors import ConfigurationError
from mediation.signing import pin

SCHEME = "pkcs11:"
EDWARDS25519 = ObjectIdentifier("1.3.101.112").dump()  # id-Ed25519, RFC 8410 §3
_KNOWN_PATH, _KNOWN_QUERY = frozenset({"token", "object"}), frozenset({"module-path", "pin-source"})


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """A key's place, from its URI."""

    token: str
    object: str
    module_path: str
    pin_source: str

    @classmethod
    def parse(cls, uri: str) -> Place:
        """Raises ConfigurationError, which does not repeat the URI."""
        path, _, query = uri.removeprefix(SCHEME).partition("?")
        facts = dict(part.partition("=")[::2] for part in path.split(";"))
        asked = dict(part.partition("=")[::2] for part in query.split("&") if part)
        if "pin-value" in asked or "pin-value" in facts:
            raise ConfigurationError("a PIN on the command line can be read by others: pin-source=fd:N, or the prompt")
        if set(facts) != _KNOWN_PATH or not set(asked) <= _KNOWN_QUERY or not asked.get("module-path"):
            raise ConfigurationError("a token's key is pkcs11:token=LABEL;object=LABEL?module-path=FILE")
        unquote = urllib.parse.unquote
        return cls(
            token=unquote(facts["token"]), object=unquote(facts["object"]), module_path=unquote(asked["module-path"]),
            pin_source=asked.get("pin-source", ""),
        )  # fmt: skip


@contextmanager
def _session(place: Place, user_pin: str, *, rw: bool = False) -> Iterator[Any]:
    """A session of the user's. Raises ConfigurationError for whatever the token refuses."""
    try:
        token = pkcs11.lib(place.module_path).get_token(token_label=place.token)
        with token.open(rw=rw, user_pin=user_pin) as session:
            yield session
    except (pkcs11.PKCS11Error, RuntimeError) as error:
        said = str(error) or type(error).__name__
        raise ConfigurationError(f"token {place.token}: {said}") from error


class TokenKey:
    """A key in a token, open for signing. Each signature is a session of its own; the PIN is asked for once."""

    role: Role | None = None  # a token does not know
    lab: bool | None = None

    def __init__(self, place: Place) -> None:
        """Finds the key. Raises ConfigurationError."""
        self._place = place
        self._pin = pin.read(place.pin_source, f"token {place.token}")
        with _session(place, self._pin) as session:
            self.form, self.public = _public(session, place.object)
        self.kid = kid(self.public)

    @property
    def algorithm(self) -> str:
        return ALGORITHMS[self.form]

    def key(self) -> TokenKey:
        return self

    def sign(self, octets: bytes) -> bytes:
        """64 octets. Raises ConfigurationError."""
        with _session(self._place, self._pin) as session:
            private = session.get_key(object_class=pkcs11.ObjectClass.PRIVATE_KEY, label=self._place.object)
            if self.form == "ed25519":
                return bytes(private.sign(octets, mechanism=pkcs11.Mechanism.EDDSA))
            signature = private.sign(hashlib.sha256(octets).digest(), mechanism=pkcs11.Mechanism.ECDSA)
            return raw(int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big"))

    def card(self, person: str, not_before_s: int, not_after_s: int, *, lab: bool) -> Key:
        """What is enrolled of it."""
        return Key(
            kid=self.kid, person=person, public=self.public, not_before_s=not_before_s, not_after_s=not_after_s,
            lab=lab, form=self.form,
        )  # fmt: skip


def kid(public: str) -> str:
    """The name of a token's key in the roster, from its public key."""
    return f"p11-{hashlib.sha256(bytes.fromhex(public)).hexdigest()[:16]}"


def make(place: Place, form: str = "") -> TokenKey:
    """A new key pair in the token, which can sign and never be read: of `form`, or Ed25519 if the token can.

    Raises ConfigurationError.
    """
    user_pin = pin.read(place.pin_source, f"token {place.token}")
    with _session(place, user_pin, rw=True) as session:
        if list(session.get_objects({pkcs11.Attribute.LABEL: place.object})):
            raise ConfigurationError(f"token {place.token}: an object of that name is there already")
        identity = hashlib.sha256(place.object.encode()).digest()[:8]
        can = pkcs11.Mechanism.EC_EDWARDS_KEY_PAIR_GEN in session.token.slot.get_mechanisms()
        if form == "ed25519" or (not form and can):
            parameters = session.create_domain_parameters(
                pkcs11.KeyType.EC_EDWARDS, {pkcs11.Attribute.EC_PARAMS: EDWARDS25519}, local=True
            )
            mechanism = pkcs11.Mechanism.EC_EDWARDS_KEY_PAIR_GEN
        else:
            curve = encode_named_curve_parameters("secp256r1")
            parameters = session.create_domain_parameters(
                pkcs11.KeyType.EC, {pkcs11.Attribute.EC_PARAMS: curve}, local=True
            )
            mechanism = pkcs11.Mechanism.EC_KEY_PAIR_GEN
        parameters.generate_keypair(mechanism=mechanism, store=True, label=place.object, id=identity)
    return _Known(place, user_pin)


class _Known(TokenKey):
    """The key just made: the PIN is known."""

    def __init__(self, place: Place, user_pin: str) -> None:
        self._place, self._pin = place, user_pin
        with _session(place, user_pin) as session:
            self.form, self.public = _public(session, place.object)
        self.kid = kid(self.public)


def _public(session: Any, label: str) -> tuple[str, str]:
    """Form and public key (hex) of an object. Raises ConfigurationError."""
    found = session.get_key(object_class=pkcs11.ObjectClass.PUBLIC_KEY, label=label)
    point = bytes(OctetString.load(found[pkcs11.Attribute.EC_POINT]).native).hex()
    form = "ed25519" if found.key_type == pkcs11.KeyType.EC_EDWARDS else "es256"
    if len(point) != (64 if form == "ed25519" else 130):
        raise ConfigurationError("the token's key is on another curve than Ed25519 or P-256")
    return form, point
