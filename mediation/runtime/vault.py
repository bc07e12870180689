"""The vault: keys for everything at rest, which reach a process without touching a disk in clear (SEC-19, SEC-28).

    site key ─ HKDF-SHA256 (RFC 5869), salt = the vault's identity, info = purpose ─> one key for each purpose
        store     orders' and acts' texts beside their own keys          administrator
        orders    wraps one random key for each order (order_keys.py)    administrator
        records   ledger records and certificates                        administrator
        spool     messages on their way to an agency                     mediator
        journal   what call models were told of calls that are up        mediator
        access    what was stopped, suspended and withdrawn              iap
        egress    the same                                               egress

A function holds the keys of its own purposes and never the site key. They come, in this order, from
  (a) an inherited descriptor, a pipe named by $MEDIATION_VAULT_FD (`mediation run` unlocks once and passes them on);
  (b) the service manager's credential $CREDENTIALS_DIRECTORY/vault (systemd LoadCredentialEncrypted=);
  (c) the site key itself: lab/vault.key on a lab site, else `keys/vault.wrapped` opened by passphrase or PKCS#11 token,
      asked for on the terminal or on the descriptor that $MEDIATION_PIN_FD names.
Missing, unreadable or another site's: ConfigurationError, and the function does not start. There is no way to run
without, and no form in which anything is written in clear.
"""

from __future__ import annotations

import getpass
import hmac
import os
import stat
import sys
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from mediation.core.errors import ConfigurationError, LocalProtocolError
from mediation.core.ledger.sealing import KEY_OCTETS, PREFIX_OCTETS, Box, Octets
from mediation.runtime import wrapping
from mediation.runtime.config import Site
from mediation.runtime.memory import Secret, wipe
from mediation.runtime.order_keys import OrderKeys

PURPOSES: Final = {
    "administrator": ("store", "orders", "records"),
    "mediator": ("spool", "journal"),
    "iap": ("access",),
    "egress": ("egress",),
}
ALL: Final = tuple(purpose for purposes in PURPOSES.values() for purpose in purposes)
FD, PIN_FD = "MEDIATION_VAULT_FD", "MEDIATION_PIN_FD"
CREDENTIAL: Final = "vault"
LAB_KEY: Final = "vault.key"
ORDER_KEYS: Final = "order.keys"
MAGIC: Final = b"MEDVAULT"
NAME_OCTETS: Final = 16  # of a purpose in a bundle
MAX_BUNDLE_OCTETS: Final = 4096
MAX_PIN_OCTETS: Final = 1024

_open: dict[tuple[Path, str], Vault] = {}


class Vault:
    """The keys of some purposes of one site."""

    def __init__(self, site: Site, identity: str, keys: dict[str, Secret]) -> None:
        self.identity = identity
        self._site = site
        self._keys = keys
        self._boxes: dict[str, Box] = {}
        self._order_keys: OrderKeys | None = None

    @property
    def purposes(self) -> tuple[str, ...]:
        return tuple(self._keys)

    @property
    def locked(self) -> bool:
        """All key pages are locked in memory."""
        return all(secret.locked for secret in self._keys.values())

    def box(self, purpose: str) -> Box:
        """What seals for this purpose. Raises LocalProtocolError when this function has no business with it."""
        box = self._boxes.get(purpose)
        if box is None:
            box = self._boxes[purpose] = Box(self._key(purpose), os.urandom(PREFIX_OCTETS))
        return box

    def another_box(self, purpose: str) -> Box:
        """As `box`, with nonces that do not continue its own."""
        return Box(self._key(purpose), os.urandom(PREFIX_OCTETS))

    def seal(self, purpose: str, octets: Octets, associated: bytes = b"") -> bytes:
        return self.box(purpose).seal(octets, associated)

    def open(self, purpose: str, sealed: Octets, associated: bytes = b"") -> bytes:
        """Raises SealError."""
        return self.box(purpose).open(sealed, associated)

    def name(self, purpose: str, text: str) -> str:
        """32 hex digits in the place of a name that a folder must not tell."""
        return hmac.digest(self.name_key(purpose), text.encode(), "sha256")[:NAME_OCTETS].hex()

    def name_key(self, purpose: str) -> bytes:
        """32 octets that tell nothing of the key, for names that only its holder can make."""
        return self._check(purpose)

    # -- one order's texts --------------------------------------------------------------------------------------------

    @property
    def order_keys(self) -> OrderKeys:
        if self._order_keys is None:
            path = self._site.path / "administrator" / ORDER_KEYS
            another = partial(self.another_box, "orders")
            self._order_keys = OrderKeys(path, self.box("orders"), self._check("orders"), another)
        return self._order_keys

    def reload_order_keys(self) -> None:
        """Another process may have written the file since; called by whoever opens the store."""
        self._order_keys = None

    def order_key(self, xid: str) -> Box:
        """What seals one order's texts. Raises KeyDestroyedError when it was destroyed or never made."""
        return self.order_keys.get(xid)

    def destroy_order_key(self, xid: str) -> bool:
        """No text of the order can be read any more, by anybody; False when there was no key. Raises OSError."""
        return self.order_keys.destroy(xid)

    # -- handing on ---------------------------------------------------------------------------------------------------

    def bundle(self, purposes: Iterable[str]) -> bytearray:
        """The keys of some purposes for another process; wipe it after use."""
        octets = bytearray(MAGIC + bytes.fromhex(self.identity))
        for purpose in purposes:
            octets += purpose.encode().ljust(NAME_OCTETS, b"\0")
            octets += self._key(purpose)
        return octets

    def hand_over(self, function: str) -> int:
        """A pipe's end from which the child that is started as `function` reads its keys; the caller closes it."""
        reading, writing = os.pipe2(os.O_CLOEXEC)
        octets = self.bundle(PURPOSES.get(function, ()))
        try:
            os.write(writing, octets)  # far below the 64 KiB of a pipe
        finally:
            wipe(octets)
            os.close(writing)
        return reading

    def checks(self) -> dict[str, str]:
        return {purpose: self._check(purpose)[:8].hex() for purpose in self._keys}

    def verify(self, checks: dict[str, str]) -> None:
        """Raises ConfigurationError when a key is not this site's."""
        for purpose, check in self.checks().items():
            if not hmac.compare_digest(check, checks.get(purpose, "")):
                raise ConfigurationError(f"vault: the key for {purpose} is not this site's")

    def wipe(self) -> None:
        """Zeros over all keys; the object is of no use after."""
        for secret in self._keys.values():
            secret.wipe()
        self._boxes.clear()

    def _key(self, purpose: str) -> memoryview:
        secret = self._keys.get(purpose)
        if secret is None:
            raise LocalProtocolError(f"vault: this function has no key for {purpose}")
        return secret.octets

    def _check(self, purpose: str) -> bytes:
        """32 octets that tell nothing of the key."""
        return hmac.digest(self._key(purpose), b"mediation vault check", "sha256")


# -- making and unlocking ---------------------------------------------------------------------------------------------


def make(site: Site, wrap: wrapping.Form, secret: bytearray | None = None) -> Secret:
    """A new vault for a site that has none. The site key is returned for forms that hand it out; wipe it.

    Raises ConfigurationError, OSError.
    """
    if (site.keys_dir / wrapping.FILE).exists():
        raise ConfigurationError(f"keys/{wrapping.FILE}: there is a vault already (mediation vault rewrap)")
    key = Secret(KEY_OCTETS)
    key.octets[:] = os.urandom(KEY_OCTETS)
    identity = os.urandom(16).hex()
    made = derive(site, identity, key)
    if isinstance(wrap, wrapping.Lab):
        if not site.lab:
            raise ConfigurationError("vault: only a lab site keeps its key beside it")
        descriptor = os.open(
            site.lab_dir / LAB_KEY, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600
        )  # fmt: skip
        with os.fdopen(descriptor, "wb") as file:
            file.write(key.octets)
    wrapping.write(site.keys_dir, rewrapped(wrapping.Wrapped(vault=identity, checks=made.checks(), wrap=wrapping.Lab()),
                                            key, wrap, secret))  # fmt: skip
    made.wipe()
    return key


def rewrapped(
    wrapped: wrapping.Wrapped, key: Secret, wrap: wrapping.Form, secret: bytearray | None
) -> wrapping.Wrapped:
    """The same vault, opened another way from now on. Raises ConfigurationError."""
    form: wrapping.Lab | wrapping.Handed | wrapping.Passphrase | wrapping.Pkcs11
    match wrap:
        case wrapping.Passphrase():
            form = wrapping.by_passphrase(key, secret or ask("new passphrase"))
        case wrapping.Pkcs11():
            form = wrapping.by_token(key, wrap, secret or ask(f"PIN of token {wrap.token}"))
        case wrapping.Lab() | wrapping.Handed():
            form = wrap
        case _:
            raise LocalProtocolError("vault: no such form")
    return wrapping.Wrapped(vault=wrapped.vault, checks=wrapped.checks, wrap=form)


def site_key(site: Site, wrapped: wrapping.Wrapped) -> Secret:
    """The key itself, from where the wrapped form says; wipe it. Raises ConfigurationError."""
    match wrapped.wrap:
        case wrapping.Lab():
            if not site.lab:
                raise ConfigurationError("vault: a lab vault on a real site")
            return _lab_key(site)
        case wrapping.Passphrase() as form:
            return _asked("passphrase of the vault", partial(wrapping.from_passphrase, form))
        case wrapping.Pkcs11() as form:
            return _asked(f"PIN of token {form.token}", partial(wrapping.from_token, form))
        case wrapping.Handed():
            raise ConfigurationError(
                f"vault: no keys: neither ${FD} nor $CREDENTIALS_DIRECTORY/{CREDENTIAL} was given to this process"
            )


def derive(site: Site, identity: str, key: Secret) -> Vault:
    """All purposes' keys from the site key."""
    keys = {}
    for purpose in ALL:
        keys[purpose] = secret = Secret(KEY_OCTETS)
        info = b"mediation vault 1 " + purpose.encode()
        HKDF(hashes.SHA256(), KEY_OCTETS, bytes.fromhex(identity), info).derive_into(key.octets, secret.octets)
    return Vault(site, identity, keys)


def unlock(site: Site) -> Vault:
    """This process's vault; a second call gives the same. Raises ConfigurationError: then nothing may start."""
    wrapped = wrapping.read(site.keys_dir)
    found = _open.get((site.path, wrapped.vault))
    if found is None:
        if FD in os.environ:
            found = _unbundle(site, _read_all(int(os.environ.pop(FD))), f"${FD}")
        elif not isinstance(wrapped.wrap, wrapping.Lab) and (credential := _credential()).exists():
            found = _unbundle(site, _read_file(credential), "credential")
        else:
            with site_key(site, wrapped) as key:
                found = derive(site, wrapped.vault, key)
        if found.identity != wrapped.vault:
            raise ConfigurationError("vault: the keys are of another site")
        found.verify(wrapped.checks)
        _open[site.path, wrapped.vault] = found
    return found


def _credential() -> Path:
    return Path(os.environ.get("CREDENTIALS_DIRECTORY", "/nonexistent")) / CREDENTIAL


def _lab_key(site: Site) -> Secret:
    octets = _read_file(site.lab_dir / LAB_KEY)
    if len(octets) != KEY_OCTETS:
        raise ConfigurationError(f"lab/{LAB_KEY}: not a key")
    secret = Secret.of(octets)
    wipe(octets)
    return secret


def _asked(what: str, opened: Callable[[bytearray], Secret]) -> Secret:
    octets = ask(what)
    try:
        return opened(octets)
    finally:
        wipe(octets)


def ask(what: str) -> bytearray:
    """From $MEDIATION_PIN_FD, else from the terminal without an echo. Raises ConfigurationError where neither is."""
    if PIN_FD in os.environ:
        try:
            octets = _read_all(int(os.environ[PIN_FD]), MAX_PIN_OCTETS)
        except (ValueError, ConfigurationError):
            raise ConfigurationError(f"vault: ${PIN_FD} is not the number of an open descriptor") from None
        while octets.endswith((b"\n", b"\r")):
            del octets[-1]
        return octets
    if not sys.stdin.isatty():
        raise ConfigurationError(f"vault: {what} needed: a terminal, or ${PIN_FD}")
    # CPython keeps this one string until it is collected; a token's PIN pad or a descriptor does not have that.
    return bytearray(getpass.getpass(f"{what}: ").encode())


def _unbundle(site: Site, octets: bytearray, source: str) -> Vault:
    head = len(MAGIC) + NAME_OCTETS
    each = NAME_OCTETS + KEY_OCTETS
    try:
        if not octets.startswith(MAGIC) or len(octets) < head or (len(octets) - head) % each:
            raise ConfigurationError(f"vault: {source}: not a bundle of keys")
        keys = {}
        for at in range(head, len(octets), each):
            purpose = octets[at : at + NAME_OCTETS].rstrip(b"\0").decode("ascii", "replace")
            keys[purpose] = Secret.of(memoryview(octets)[at + NAME_OCTETS : at + each])
        return Vault(site, octets[len(MAGIC) : head].hex(), keys)
    finally:
        wipe(octets)


def _read_all(descriptor: int, limit: int = MAX_BUNDLE_OCTETS) -> bytearray:
    """All that an inherited descriptor has, which is closed. Raises ConfigurationError."""
    found = bytearray()
    buffer = bytearray(limit)
    try:
        while len(found) <= limit and (got := os.readv(descriptor, [buffer])):
            found += memoryview(buffer)[:got]
        os.close(descriptor)
    except OSError as error:
        raise ConfigurationError(f"vault: inherited descriptor: {error.strerror}") from error
    finally:
        wipe(buffer)
    if len(found) > limit:
        raise ConfigurationError("vault: inherited descriptor: too much")
    return found


def _read_file(path: Path) -> bytearray:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise ConfigurationError(f"vault: {path.name}: {error.strerror}") from error
    if os.fstat(descriptor).st_mode & (stat.S_IRWXO | stat.S_IWGRP):
        os.close(descriptor)
        raise ConfigurationError(f"vault: {path.name}: others than its owner can reach it")
    return _read_all(descriptor)
