"""One key for each order, so that destroying the key destroys every text of the order (47 CFR 1.20004(b)).

A file of slots of 96 octets: a name made from the XID, and the order's random key sealed under the vault's purpose
`orders`. Destroying overwrites the slot in place and synchronises; the ledger's tree still verifies, because it holds
salted commitments alone.

A slot that is free or destroyed is random and looks like one that is used: it bears a name that is made up, and each
key is sealed with a nonce of its own. The file's size tells the class of the number of orders (runtime/cover.py).

Trust: who changes the file can make an order's texts unreadable, which stops it at the next start; a key under another
order's name does not open (the name is authenticated). What destruction does not reach: a copy of this file together
with the site key, and blocks that a flash device or a copy-on-write file system keeps. Backups leave this file out, and
the manual says so.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from mediation.core.errors import ConfigurationError
from mediation.core.ledger.sealing import (
    COUNTER_OCTETS,
    KEY_OCTETS,
    OVERHEAD_OCTETS,
    PREFIX_OCTETS,
    Box,
    Sealer,
    SealError,
)
from mediation.runtime import durable
from mediation.runtime.cover import NAME_OCTETS, is_made_up, made_up, wanted

SLOT_OCTETS: Final = 96  # name 16, sealed key 72, zeros
MAX_ORDERS: Final = 1 << 20  # 100 MB. Ours
_USED: Final = NAME_OCTETS + KEY_OCTETS + OVERHEAD_OCTETS


class KeyDestroyedError(ConfigurationError):
    """The order's key is not there (any more): nothing of its texts can be read."""


class OrderKeys:
    """Open on the file. `name` makes a slot's name from an XID. Blocking."""

    def __init__(self, path: Path, box: Sealer, name: bytes, another: Callable[[], Sealer]) -> None:
        """`box` opens the keys, and `another` gives what seals one. `name` is the 32-octet key that slots are named
        with. Raises ConfigurationError."""
        self._path = path
        self._box = box
        self._another = another
        self._name_key = name
        self._places: dict[bytes, list[int]] = {}  # a write that failed may have left a key in more than one
        self._sealed: dict[bytes, bytes] = {}
        self._free: list[int] = []
        self._unsaved: list[bytes] = []
        self._size = 0
        try:
            octets = path.read_bytes() if path.exists() else b""
        except OSError as error:
            raise ConfigurationError(f"{path.name}: {error.strerror}") from error
        if len(octets) > MAX_ORDERS * SLOT_OCTETS:
            raise ConfigurationError(f"{path.name}: too large")
        self._size = len(octets) // SLOT_OCTETS
        for number in range(self._size):
            slot = octets[number * SLOT_OCTETS : (number + 1) * SLOT_OCTETS]
            slot_name = slot[:NAME_OCTETS]
            if is_made_up(slot_name, name):
                self._free.append(number)
            else:
                self._places.setdefault(slot_name, []).append(number)
                self._sealed[slot_name] = slot[NAME_OCTETS:_USED]

    def get(self, xid: str) -> Box:
        """The order's seals. Raises KeyDestroyedError."""
        name = self._name(xid)
        sealed = self._sealed.get(name)
        if sealed is None:
            raise KeyDestroyedError("the order's key is destroyed")
        try:
            return Box(self._box.open(sealed, name), os.urandom(PREFIX_OCTETS))
        except SealError:
            raise KeyDestroyedError("the order's key was changed") from None

    def make(self, xid: str) -> Box:
        """A new order's key, or the one it has; on the disk after `flush`."""
        name = self._name(xid)
        if name in self._sealed:
            return self.get(xid)
        if len(self._sealed) >= MAX_ORDERS:
            raise ConfigurationError(f"{self._path.name}: full")
        key = os.urandom(KEY_OCTETS)
        self._sealed[name] = self._another().seal(key, name)
        self._unsaved.append(name)
        return Box(key, os.urandom(PREFIX_OCTETS))

    def flush(self) -> None:
        """The new keys are durable. Raises OSError.

        openat [pwrite64 …] fdatasync close
        """
        if not self._unsaved:
            return
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, durable.MODE)
        try:
            needed = wanted(self._size - len(self._free) + len(self._unsaved))
            if needed > self._size:
                durable.write(
                    descriptor, b"".join(self._empty() for _ in range(needed - self._size)), self._size * SLOT_OCTETS
                )
                self._free += range(self._size, needed)
                self._size = needed
            places, self._free = self._free[: len(self._unsaved)], self._free[len(self._unsaved) :]
            for name, place in zip(self._unsaved, places, strict=True):
                slot = name + self._sealed[name]
                self._places.setdefault(name, []).append(place)
                durable.write(descriptor, slot + os.urandom(SLOT_OCTETS - _USED), place * SLOT_OCTETS)
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)
        durable.sync_folder(self._path.parent)
        self._unsaved.clear()

    def destroy(self, xid: str) -> bool:
        """The key is gone from memory and from the disk; False when there was none. Raises OSError, and then it is
        there as before: destroy it again.

        openat pwrite64 … fdatasync close
        """
        name = self._name(xid)
        places = self._places.get(name, [])
        if places:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
            try:
                for place in places:
                    durable.write(descriptor, self._empty(), place * SLOT_OCTETS)
                os.fdatasync(descriptor)
            finally:
                os.close(descriptor)
            del self._places[name]
            self._free += places
        self._sealed.pop(name, None)
        if name in self._unsaved:
            self._unsaved.remove(name)
        return bool(places)

    def _empty(self) -> bytes:
        """A slot of no order. Its nonce counts from 0, as all do."""
        prefix = made_up(self._name_key) + os.urandom(PREFIX_OCTETS)
        return prefix + bytes(COUNTER_OCTETS) + os.urandom(SLOT_OCTETS - len(prefix) - COUNTER_OCTETS)

    def _name(self, xid: str) -> bytes:
        return hmac.digest(self._name_key, xid.encode(), "sha256")[:NAME_OCTETS]
