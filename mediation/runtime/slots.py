"""What a function remembers of orders, in a file that does not tell how much it is (SEC-19).

A file of slots of 64 octets, a class of them (runtime/cover.py), each used or free, encrypted so that all of it is
chance to who has no key:

    slot   random 16, record 40 (with zeros behind it), mark 8; AES-256-CBC over a page of slots, IV zero

The random octets are a slot's own initialisation vector (NIST SP 800-38A 6.2), so a slot opens without its neighbours.
A slot is written with all others of its page of 64, sealed anew in their places: who has a copy of before sees which
pages changed, not which slots; and where the disk tears a page, each slot is the old one or the new one, the same
record either way. Each opening deals the slots out anew into a new file: no copy of an earlier life says anything.

The file stays open and is written by pwrite64 and fdatasync alone, as a confined process can. Blocking.

Trust: none, and no integrity: these are memories to refuse by. Who changes a slot makes it free, or something of
another order that is none; who empties the file takes the memory away. What the record says, the caller knows.
"""

from __future__ import annotations

import hmac
import os
import secrets
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC

from mediation.runtime import durable
from mediation.runtime.cover import wanted

SLOT_OCTETS: Final = 64
RECORD_OCTETS: Final = 40  # the longest record
PAGE_SLOTS: Final = 64  # 4,096 octets, the least file
MAX_SLOTS: Final = 1 << 20  # 64 MiB; the class above the 1,000,000 that each function remembers. Ours
_RANDOM: Final = 16
_USED: Final = b"\x00used \x00\x00"
_FREE: Final = bytes(RECORD_OCTETS) + b"\x00free \x00\x00"

Records = Iterable[bytes]


class Slots:
    """One file. `records` are what was in it when it was opened, in no order, each RECORD_OCTETS long."""

    def __init__(
        self, path: Path, key: bytes, keep: Callable[[Sequence[bytes]], Records] = lambda found: found
    ) -> None:
        """Reads the file, or makes it, and deals its slots out anew; `keep` says which records stay. `key` is 32 octets
        of the vault's; the file's name separates it from its neighbours. Raises OSError."""
        self._key = AES(hmac.digest(key, b"slots " + path.name.encode(), "sha256"))
        found = self._read(path)
        kept = keep([slot for slot in found if slot is not None])
        self.records = tuple(dict.fromkeys(record.ljust(RECORD_OCTETS, b"\0") for record in kept))
        self._slots: list[bytes | None] = [*self.records]
        self._slots += [None] * (wanted(len(self._slots)) - len(self._slots))
        secrets.SystemRandom().shuffle(self._slots)
        try:
            durable.replace(path, self._sealed(0, len(self._slots)))
        except OSError:
            if not found:
                raise
            self._slots = found  # a full disk: as it was
        self._free = [number for number, slot in enumerate(self._slots) if slot is None]
        self._fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)

    def fileno(self) -> int:
        return self._fd

    def add(self, records: Records) -> None:
        """These are remembered, beside what is there already. Raises OSError, and then none of them is.

        pwrite64 … fdatasync
        """
        waiting = [record.ljust(RECORD_OCTETS, b"\0") for record in records]
        if not waiting:
            return
        before = len(self._slots)
        self._grow(len(waiting))
        taken = []
        for record in waiting:
            place = secrets.choice(range(len(self._free)))
            self._free[place], self._free[-1] = self._free[-1], self._free[place]
            taken.append(self._free.pop())
            self._slots[taken[-1]] = record
        try:
            if len(self._slots) > before:
                durable.write(self._fd, self._sealed(before, len(self._slots)), before * SLOT_OCTETS)
            for page in sorted({number // PAGE_SLOTS for number in taken if number < before}):
                first = page * PAGE_SLOTS
                durable.write(self._fd, self._sealed(first, first + PAGE_SLOTS), first * SLOT_OCTETS)
            os.fdatasync(self._fd)
        except OSError:
            for number in taken:
                self._slots[number] = None
            self._free = [number for number in (*self._free, *taken) if number < before]
            del self._slots[before:]
            raise

    def close(self) -> None:
        os.close(self._fd)

    def _grow(self, more: int) -> None:
        """Room for so many more. Raises OSError when there may not be."""
        size, used = len(self._slots), len(self._slots) - len(self._free)
        if (needed := wanted(used + more)) <= size:
            return
        if needed > MAX_SLOTS:
            raise OSError("no more is remembered in this file")
        self._slots += [None] * (needed - size)
        self._free += range(size, needed)

    def _read(self, path: Path) -> list[bytes | None]:
        """Each slot's record; None for one that is free. What is torn is free."""
        octets = path.read_bytes()[: MAX_SLOTS * SLOT_OCTETS] if path.exists() else b""
        octets = octets[: len(octets) // SLOT_OCTETS * SLOT_OCTETS]
        plain = Cipher(self._key, CBC(bytes(_RANDOM))).decryptor().update(octets)
        end = _RANDOM + RECORD_OCTETS
        return [
            plain[at + _RANDOM : at + end] if plain[at + end : at + SLOT_OCTETS] == _USED else None
            for at in range(0, len(plain), SLOT_OCTETS)
        ]

    def _sealed(self, first: int, end: int) -> bytes:
        """The slots from `first` up to `end` as they stand in the file, other octets each time."""
        slots = self._slots[first:end]
        chance = os.urandom(_RANDOM * len(slots))
        plain = b"".join(
            chance[at * _RANDOM : (at + 1) * _RANDOM] + (_FREE if slot is None else slot + _USED)
            for at, slot in enumerate(slots)
        )
        return Cipher(self._key, CBC(bytes(_RANDOM))).encryptor().update(plain)
