"""What hides in a file how many things it holds (SEC-19): classes of numbers, and names of things that are none.

Answers for the classes, one for all files of a site, and for names that only the holder of a key can tell from others.
Trust: none; a name that is made up here names nothing anywhere.
"""

from __future__ import annotations

import hmac
import os
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB

LEAST: Final = 64  # how many places a file has at least. Ours
STEP: Final = 4  # from class to class: 64, 256, 1,024, 4,096, 16,384 … Ours
NAME_OCTETS: Final = 16
_HALF: Final = NAME_OCTETS // 2  # 64 bits of chance, and as many of their code


def wanted(count: int, least: int = LEAST) -> int:
    """How many places there are for so many things; `least` is the smallest class."""
    size = least
    while size < count:
        size *= STEP
    return size


def made_up(key: bytes) -> bytes:
    """A name of NAME_OCTETS for nothing: `key`, 32 octets, makes the names of things as well."""
    half = os.urandom(_HALF)
    return half + _code(half, key)


class Hidden:
    """Names of NAME_OCTETS as a file shows them: one block of AES-256 each (FIPS 197), so that who holds `key` can turn
    them back, and to others each is chance. Two names are never one block."""

    def __init__(self, key: bytes) -> None:
        cipher = Cipher(AES(hmac.digest(key, b"hidden", "sha256")), ECB())  # noqa: S305 - one block, no message
        self._hiding, self._showing = cipher.encryptor(), cipher.decryptor()

    def hide(self, name: bytes) -> bytes:
        return self._hiding.update(name)

    def show(self, hidden: bytes) -> bytes:
        return self._showing.update(hidden)


def is_made_up(name: bytes, key: bytes) -> bool:
    return hmac.compare_digest(name[_HALF:], _code(name[:_HALF], key))


def _code(half: bytes, key: bytes) -> bytes:
    return hmac.digest(key, b"nothing " + half, "sha256")[:_HALF]
