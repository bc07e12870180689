"""What hides in a file how many things it holds (SEC-19): classes of numbers, and names of things that are none.

Answers for the classes, one for all files of a site, and for names that only the holder of a key can tell from others.
Trust: none; a name that is made up here names nothing anywhere.
"""

from __future__ import annotations

import hmac
import os
from functools import lru_cache
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB

from mediation.core.errors import ConfigurationError

LEAST: Final = 64  # how many places a file has at least. Ours
STEP: Final = 4  # from class to class: 64, 256, 1,024, 4,096, 16,384 … Ours
NAME_OCTETS: Final = 16
_HALF: Final = NAME_OCTETS // 2  # 64 bits of chance, and as many that say that it is none
_NOTHING: Final = bytes(_HALF)
KEYS_KEPT: Final = 16  # a process names things in a few files


def wanted(count: int, least: int = LEAST) -> int:
    """How many places there are for so many things; `least` is the smallest class."""
    size = least
    while size < count:
        size *= STEP
    return size


class Hidden:
    """Names of NAME_OCTETS as a file shows them: one block of AES-256 each (FIPS 197), so that who holds `key` can turn
    them back, and to others each is chance. Two names are never one block."""

    def __init__(self, key: bytes) -> None:
        cipher = Cipher(AES(hmac.digest(key, b"hidden", "sha256")), ECB())  # noqa: S305 - one block, no message
        self._hiding, self._showing = cipher.encryptor(), cipher.decryptor()

    def hide(self, name: bytes) -> bytes:
        return self._hiding.update(name)

    def show(self, hidden: bytes) -> bytes:
        """Raises ConfigurationError for what is no name: it would put the cipher out of step."""
        if len(hidden) != NAME_OCTETS:
            raise ConfigurationError("a hidden name: not of its length")
        return self._showing.update(hidden)


@lru_cache(KEYS_KEPT)
def _hidden(key: bytes) -> Hidden:
    return Hidden(key)


def made_up(key: bytes) -> bytes:
    """A name of NAME_OCTETS for nothing: `key`, 32 octets, hides the names of things as well."""
    return _hidden(key).hide(os.urandom(_HALF) + _NOTHING)


def is_made_up(name: bytes, key: bytes) -> bool:
    """Of 2^64 names of things, one looks made up. Raises ConfigurationError for what is no name."""
    return _hidden(key).show(name)[_HALF:] == _NOTHING
