"""A person's key in a file: what the signing commands read where no token is at hand, and all that a lab has.

The daemon holds no person's private key. Trust: whoever reads a person's key file can sign as that person; it is of
mode 0600 in a folder of the person's own. A key of a lab is marked as such, and no real site accepts it.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mediation.core.authority.key import PERSON, Key
from mediation.core.case import Role
from mediation.core.errors import ConfigurationError

YEAR_S = 31_536_000


class PersonKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A person's key file: what signs. `private` is the 32-octet seed of RFC 8032 in hex. `role` is what the person
    had it made for; which role counts is the roster's to say."""

    kid: str
    person: str
    role: Role
    private: str
    not_before_s: int
    not_after_s: int
    lab: bool = False

    def key(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(self.private))

    def ring_key(self) -> Key:
        """What is enrolled of it."""
        public = self.key().public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        return Key(
            kid=self.kid, person=self.person, public=public.hex(), not_before_s=self.not_before_s,
            not_after_s=self.not_after_s, lab=self.lab,
        )  # fmt: skip


def new_person(role: Role, person: str, now_s: int, *, lab: bool, years: int = 2) -> PersonKey:
    """A new key for one person in one role. Raises ConfigurationError for a malformed person."""
    check_person(person)
    return PersonKey(
        kid=f"{'LAB-' if lab else ''}{role}-{secrets.token_hex(4)}",
        person=person,
        role=role,
        private=secrets.token_hex(32),
        not_before_s=now_s - 60,  # a signing machine's clock may run behind
        not_after_s=now_s + years * YEAR_S,
        lab=lab,
    )


def check_person(person: str) -> None:
    """Raises ConfigurationError for a malformed person."""
    if not PERSON.fullmatch(person):
        raise ConfigurationError("person: lower-case letters, digits and . _ @ - only, at most 64")


def write_private(path: Path, text: str) -> None:
    """A new file of mode 0600. Never overwrites: raises ConfigurationError."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigurationError(f"{path.name}: {error.strerror}") from error
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def write_person(path: Path, person: PersonKey) -> None:
    write_private(path, msgspec.json.format(msgspec.json.encode(person), indent=1).decode() + "\n")


def read_person(path: Path) -> PersonKey:
    """Raises ConfigurationError, which does not repeat the file's contents."""
    try:
        person = msgspec.json.decode(path.read_bytes(), type=PersonKey)
        person.key()
    except OSError as error:
        raise ConfigurationError(f"key {path.name}: {error.strerror}") from error
    except (msgspec.MsgspecError, ValueError):
        raise ConfigurationError(f"key {path.name}: not a person's key file") from None
    return person
