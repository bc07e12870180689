"""The site key's wrapped form: `keys/vault.wrapped`, which tells nobody anything but how to ask for the key.

    lab          the key lies in lab/vault.key in clear; only a lab site accepts that
    passphrase   scrypt (RFC 7914, N 2^17, r 8, p 1: 128 MiB) makes the key that the site key is sealed under
    pkcs11       an AES-256 key that cannot leave its token wraps it (RFC 5649, CKM_AES_KEY_WRAP_KWP or _PAD)
    handed       nothing here: each function gets its own keys from its service manager or its parent

`checks` has, for each purpose, what a holder of the right key can compute: a wrong key is found at the start and not by
records that no longer open (SEC-28). Trust: who changes the file can keep the functions from starting.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from msgspec import Meta

from mediation.core.errors import ConfigurationError
from mediation.core.ledger.sealing import KEY_OCTETS, PREFIX_OCTETS, Box, SealError
from mediation.runtime import durable
from mediation.runtime.memory import Secret

FILE: Final = "vault.wrapped"
MAX_OCTETS: Final = 16_384
SCRYPT_N, SCRYPT_R, SCRYPT_P = 1 << 17, 8, 1  # OWASP's first choice for scrypt; 0.4 s
SALT_OCTETS: Final = 32
LEAST_PASSPHRASE: Final = 12  # characters. Ours
PLACE: Final = b"mediation/vault.wrapped"
Hex = Annotated[str, Meta(pattern=r"^([0-9a-f]{2})*$", max_length=2048)]


class Form(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="form"):
    """Base of the forms above."""


class Lab(Form, frozen=True, kw_only=True, tag="lab"):
    pass


class Handed(Form, frozen=True, kw_only=True, tag="handed"):
    pass


class Passphrase(Form, frozen=True, kw_only=True, tag="passphrase"):
    salt: Hex
    sealed: Hex
    n: Annotated[int, Meta(ge=1 << 14, le=1 << 20)] = SCRYPT_N


class Pkcs11(Form, frozen=True, kw_only=True, tag="pkcs11"):
    module: str  # the token's library
    token: str  # its label
    label: str  # of the wrapping key
    wrapped: Hex = ""


class Wrapped(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file. `vault` is this vault's identity, which every key is derived with."""

    vault: Annotated[str, Meta(pattern=r"^[0-9a-f]{32}$")]
    checks: dict[str, str]
    wrap: Lab | Handed | Passphrase | Pkcs11


def read(folder: Path) -> Wrapped:
    """Raises ConfigurationError: a site without a vault starts nothing."""
    try:
        with (folder / FILE).open("rb") as file:
            octets = file.read(MAX_OCTETS + 1)
    except OSError as error:
        make = "mediation vault make --vault passphrase, or pkcs11"
        raise ConfigurationError(f"keys/{FILE}: {error.strerror} ({make})") from error
    if len(octets) > MAX_OCTETS:
        raise ConfigurationError(f"keys/{FILE}: too large")
    try:
        return msgspec.json.decode(octets, type=Wrapped)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigurationError(f"keys/{FILE}: {error}") from error


def write(folder: Path, wrapped: Wrapped) -> None:
    """Whole or not at all, readable to all functions. Raises OSError."""
    durable.replace(folder / FILE, msgspec.json.format(msgspec.json.encode(wrapped), indent=1) + b"\n")
    (folder / FILE).chmod(0o644)


def by_passphrase(key: Secret, passphrase: bytearray) -> Passphrase:
    """Raises ConfigurationError for one that is too short."""
    if len(passphrase.decode(errors="replace")) < LEAST_PASSPHRASE:
        raise ConfigurationError(f"vault: a passphrase of at least {LEAST_PASSPHRASE} characters")
    salt = os.urandom(SALT_OCTETS)
    with _stretched(passphrase, salt, SCRYPT_N) as stretched:
        sealed = Box(stretched.octets, os.urandom(PREFIX_OCTETS)).seal(key.octets, PLACE)
    return Passphrase(salt=salt.hex(), sealed=sealed.hex(), n=SCRYPT_N)


def from_passphrase(form: Passphrase, passphrase: bytearray) -> Secret:
    """Raises ConfigurationError for another passphrase."""
    with _stretched(passphrase, bytes.fromhex(form.salt), form.n) as stretched:
        try:
            return Secret.of(Box(stretched.octets, os.urandom(PREFIX_OCTETS)).open(bytes.fromhex(form.sealed), PLACE))
        except SealError:
            raise ConfigurationError("vault: not the passphrase") from None


def _stretched(passphrase: bytearray, salt: bytes, n: int) -> Secret:
    secret = Secret(KEY_OCTETS)
    Scrypt(salt=salt, length=KEY_OCTETS, n=n, r=SCRYPT_R, p=SCRYPT_P).derive_into(passphrase, secret.octets)
    return secret


def by_token(key: Secret, form: Pkcs11, pin: bytearray) -> Pkcs11:
    """Wraps in the token, whose wrapping key is made if it has none of that label. Raises ConfigurationError."""
    with _Session(form, pin) as session:
        site_key = session.put(key)
        wrapped: bytes = session.kek(make=True).wrap_key(site_key, mechanism=session.mechanism)
    return msgspec.structs.replace(form, wrapped=wrapped.hex())


def from_token(form: Pkcs11, pin: bytearray) -> Secret:
    """Raises ConfigurationError when the token, its key or the PIN is another."""
    with _Session(form, pin) as session:
        return session.take(bytes.fromhex(form.wrapped))


class _Session:
    """A session on the token. python-pkcs11 has no types."""

    def __init__(self, form: Pkcs11, pin: bytearray) -> None:
        import pkcs11  # noqa: PLC0415 - in this process only where a token is used

        self._p: Any = pkcs11
        self._form = form
        self.mechanism: Any = pkcs11.Mechanism.AES_KEY_WRAP
        try:
            token = pkcs11.lib(form.module).get_token(token_label=form.token)
            self._session: Any = token.open(user_pin=pin.decode(), rw=True)
        except (pkcs11.PKCS11Error, UnicodeDecodeError, OSError, RuntimeError) as error:
            raise ConfigurationError(f"vault: token {form.token}: {type(error).__name__}") from None

    def __enter__(self) -> _Session:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def kek(self, *, make: bool = False) -> Any:
        """The wrapping key, which cannot leave the token."""
        p, attribute = self._p, self._p.Attribute
        try:
            return self._session.get_key(object_class=p.ObjectClass.SECRET_KEY, label=self._form.label)
        except p.NoSuchKey:
            if not make:
                raise ConfigurationError(f"vault: the token has no key {self._form.label}") from None
        return self._session.generate_key(
            p.KeyType.AES, 256, label=self._form.label, store=True,
            capabilities=p.MechanismFlag.WRAP | p.MechanismFlag.UNWRAP,
            template={attribute.SENSITIVE: True, attribute.EXTRACTABLE: False},
        )  # fmt: skip

    def put(self, key: Secret) -> Any:
        """The site key as an object of this session, never stored in the token."""
        p, attribute = self._p, self._p.Attribute
        return self._session.create_object(
            {
                attribute.CLASS: p.ObjectClass.SECRET_KEY, attribute.KEY_TYPE: p.KeyType.AES, attribute.TOKEN: False,
                attribute.VALUE: bytes(key.octets), attribute.EXTRACTABLE: True, attribute.SENSITIVE: False,
            }
        )  # fmt: skip

    def take(self, wrapped: bytes) -> Secret:
        p, attribute = self._p, self._p.Attribute
        try:
            opened = self.kek().unwrap_key(
                p.ObjectClass.SECRET_KEY, p.KeyType.AES, wrapped, mechanism=self.mechanism, store=False,
                template={attribute.EXTRACTABLE: True, attribute.SENSITIVE: False, attribute.TOKEN: False},
            )  # fmt: skip
            return Secret.of(opened[attribute.VALUE])
        except p.PKCS11Error as error:
            raise ConfigurationError(f"vault: the token does not unwrap it: {type(error).__name__}") from None
