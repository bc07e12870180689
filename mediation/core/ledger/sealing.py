"""Authenticated encryption of everything that rests on a disk: XAES-256-GCM (C2SP XAES-256-GCM v1; NIST SP 800-38D).

    key, nonce[0:12] ─ AES-CMAC in counter mode (NIST SP 800-108r1) ─> derived key ─ AES-256-GCM, nonce[12:24]

Why not AES-256-GCM by itself with a nonce of (epoch, sequence): a number whose record a full disk refused is used again
for the loss that takes its place, and a machine brought back from a snapshot repeats its epochs; either would give a
nonce out twice, and with it the authentication key. Here each `Box` takes 96 fresh random bits for the first half
(its caller's `prefix`) and counts in the second, so no two seals of any process share a nonce, whatever is restored.

    sealed   nonce 24, ciphertext, tag 16: 40 octets longer than what it holds

Answers for: octets in, octets out. May not: know where a key came from (runtime/vault.py), or take randomness itself.
"""

from __future__ import annotations

import hmac
import itertools
from typing import Final, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from mediation.core.errors import RemoteProtocolError

KEY_OCTETS: Final = 32
PREFIX_OCTETS: Final = 12
COUNTER_OCTETS: Final = 12
NONCE_OCTETS: Final = PREFIX_OCTETS + COUNTER_OCTETS
TAG_OCTETS: Final = 16
OVERHEAD_OCTETS: Final = NONCE_OCTETS + TAG_OCTETS
DERIVED_KEPT: Final = 32  # prefixes of earlier processes whose derived keys are kept while their records are read. Ours

Octets = bytes | bytearray | memoryview

_BLOCK: Final = 16
_ZEROS: Final = bytes(_BLOCK)
_BLOCK_MASK: Final = (1 << 128) - 1
_REDUCTION: Final = 0x87  # x^128 = x^7 + x^2 + x + 1 (NIST SP 800-38B 5.3)
_FIRST, _SECOND = b"\0\1X\0", b"\0\2X\0"  # counter, label "X" and separator of the two blocks (C2SP XAES-256-GCM)


class SealError(RemoteProtocolError):
    """What was read is not what was sealed: another key, another place, or octets that were changed."""


class Sealer(Protocol):
    """What seals and opens; `associated` is authenticated, not stored."""

    def seal(self, octets: Octets, associated: bytes = b"") -> bytes: ...

    def open(self, sealed: Octets, associated: bytes = b"") -> bytes:
        """Raises SealError."""
        ...


class Namer(Sealer, Protocol):
    """A sealer that has a key for what a seal cannot hide as well: names, and where things stand."""

    def derived(self, label: bytes) -> bytes: ...


class Box:
    """One key's seals, by one process. `prefix` is 12 octets of fresh randomness, never used before with this key."""

    def __init__(self, key: Octets, prefix: bytes) -> None:
        """`key` is 32 octets; it is read again whenever another process's seal is opened and is never copied here."""
        if memoryview(key).nbytes != KEY_OCTETS or len(prefix) != PREFIX_OCTETS:
            raise ValueError("sealing: a key of 32 octets and a prefix of 12")
        self._key = key
        self._prefix = prefix
        self._own: AESGCM | None = None  # derived when it is needed: most orders' keys of a start only open
        self._numbers = itertools.count()
        self._known: dict[bytes, AESGCM] = {}

    def derived(self, label: bytes) -> bytes:
        """32 octets for another use of who holds the key; they tell nothing of it."""
        return hmac.digest(self._key, b"derived " + label, "sha256")

    def seal(self, octets: Octets, associated: bytes = b"") -> bytes:
        """What only the holder of the key can open, and only beside the same `associated`."""
        if self._own is None:
            self._own = _derive(self._key, self._prefix)
        number = next(self._numbers).to_bytes(COUNTER_OCTETS, "big")
        return self._prefix + number + self._own.encrypt(number, octets, associated)

    def open(self, sealed: Octets, associated: bytes = b"") -> bytes:
        """Raises SealError."""
        view = memoryview(sealed)
        if len(view) < OVERHEAD_OCTETS:
            raise SealError("sealed octets: too short")
        prefix = bytes(view[:PREFIX_OCTETS])
        aead = self._own if prefix == self._prefix else self._known.get(prefix)
        if aead is None:
            if len(self._known) >= DERIVED_KEPT:
                self._known.clear()
            aead = self._known[prefix] = _derive(self._key, prefix)
        try:
            return aead.decrypt(view[PREFIX_OCTETS:NONCE_OCTETS], view[NONCE_OCTETS:], associated)
        except InvalidTag:
            raise SealError("sealed octets: changed, or of another key or place") from None


def _derive(key: Octets, prefix: bytes) -> AESGCM:
    """AES-256-GCM under the key that belongs to `prefix`. The derived key's own buffer is wiped."""
    encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # noqa: S305 - one block each, as CMAC asks
    doubled = int.from_bytes(encryptor.update(_ZEROS), "big") << 1
    if doubled >> 128:
        doubled = (doubled & _BLOCK_MASK) ^ _REDUCTION
    blocks = int.from_bytes(_FIRST + prefix + _SECOND + prefix, "big") ^ (doubled << 128 | doubled)
    derived = bytearray(3 * _BLOCK - 1)  # two blocks, and the room that update_into asks for
    try:
        encryptor.update_into(blocks.to_bytes(2 * _BLOCK, "big"), derived)
        return AESGCM(memoryview(derived)[:KEY_OCTETS])
    finally:
        derived[:] = bytes(len(derived))
