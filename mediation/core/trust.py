"""Whom a function believes: the key rings of the roles, the ledger's key, and whether the site is a lab.

Answers for looking a key up in the ring of its own role and for the mathematics of its signature. It reads no file
(`runtime.keys` does) and knows no order. An attacker who changes a key ring gains authority: rings are owned by root
and read-only to every function.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from mediation.core import jws, note, term
from mediation.core.case import Role
from mediation.core.check import Check
from mediation.core.errors import AuthorizationError, RemoteProtocolError

PERSON = re.compile(r"[a-z0-9][a-z0-9._@-]{0,63}")  # lower case only: no second spelling of one person
PUBLIC = re.compile(r"[0-9a-f]{64}")


class Key(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One public key of one person, as it stands in a key ring. `public` is 32 octets in hex."""

    kid: str
    person: str
    public: str
    not_before_s: int
    not_after_s: int
    lab: bool = False


class Ring(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All keys of one role. The ring names its role, so that two files cannot be exchanged."""

    role: Role
    keys: tuple[Key, ...] = ()


class Trust:
    """Whom a function believes: the key rings, the ledger's key, and whether the site is a lab.

    `revoked` holds the SHA-256 of tokens that this function knows to be withdrawn. Raises ValueError for a ring that
    holds a kid twice, a key that is none, or a role twice. Not a struct: it keeps the keys in their verifying form,
    and the last signatures that were good (0.1 ms each; ten thousand orders are proven under one checkpoint).
    """

    CHECKPOINTS = 16
    VERIFIED = 8_192

    def __init__(self, rings: Iterable[Ring], ledger: note.Verifier, *, lab: bool, revoked: Iterable[str] = ()) -> None:
        self.ledger = ledger
        self.lab = lab
        self.revoked = frozenset(revoked)
        self.terms = term.STATUTE  # the limits of the site, which are never longer
        self.rings: dict[Role, dict[str, Key]] = {}
        self._public: dict[str, Ed25519PublicKey] = {}
        self._opened: dict[str, note.Checkpoint] = {}
        self._verified: dict[
            bytes, None
        ] = {}  # SHA-256 over signature, key and text: the first two are of fixed length
        for ring in rings:
            if ring.role in self.rings:
                raise ValueError(f"key ring: {ring.role} twice")
            self.rings[ring.role] = {key.kid: key for key in ring.keys}
            if len(self.rings[ring.role]) != len(ring.keys):
                raise ValueError(f"key ring {ring.role}: a kid stands twice")
            for key in ring.keys:
                if not (jws.KID.fullmatch(key.kid) and PERSON.fullmatch(key.person) and PUBLIC.fullmatch(key.public)):
                    raise ValueError(f"key ring {ring.role}: key {key.kid[:64]!r} is malformed")
                self._public[key.public] = Ed25519PublicKey.from_public_bytes(bytes.fromhex(key.public))
        self.roles_of: dict[str, frozenset[Role]] = {}
        for role, keys in self.rings.items():
            for key in keys.values():
                self.roles_of[key.person] = self.roles_of.get(key.person, frozenset()) | {role}

    def with_revoked(self, revoked: Iterable[str]) -> Trust:
        """The same trust, knowing of these withdrawals as well."""
        rings = (Ring(role=role, keys=tuple(keys.values())) for role, keys in self.rings.items())
        trust = Trust(rings, self.ledger, lab=self.lab, revoked=self.revoked | frozenset(revoked))
        trust._opened, trust._verified = self._opened, self._verified
        trust.terms = self.terms
        return trust

    def key(self, role: Role, kid: str) -> Key:
        """Raises AuthorizationError `key-unknown` or `key-role`."""
        found = self.rings.get(role, {}).get(kid)
        if found is None:
            elsewhere = any(kid in keys for keys in self.rings.values())
            raise AuthorizationError(Check.KEY_ROLE if elsewhere else Check.KEY_UNKNOWN)
        return found

    def verify(self, parts: jws.Parts, key: Key) -> None:
        """Raises AuthorizationError `signature` unless `key` signed `parts`."""
        fact = hashlib.sha256(parts.signature + bytes.fromhex(key.public) + parts.signed).digest()
        if fact not in self._verified:
            jws.verify(parts, self._public[key.public])
            if len(self._verified) >= self.VERIFIED:
                del self._verified[next(iter(self._verified))]
            self._verified[fact] = None

    def checkpoint(self, text: str) -> note.Checkpoint:
        """The tree head that this site's ledger signed. Raises AuthorizationError `proof-checkpoint`."""
        found = self._opened.get(text)
        if found is None:
            try:
                found = note.open_checkpoint(text, self.ledger)
            except RemoteProtocolError:
                raise AuthorizationError(Check.PROOF_CHECKPOINT) from None
            if len(self._opened) >= self.CHECKPOINTS:
                del self._opened[next(iter(self._opened))]
            self._opened[text] = found
        return found
