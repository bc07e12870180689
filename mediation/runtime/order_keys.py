"""One key for each order, so that destroying the key destroys every text of the order (47 CFR 1.20004(b)).

A file of slots of 96 octets: a name made from the XID, and the order's random key sealed under the vault's purpose
`orders`. Destroying overwrites the slot in place and synchronises; the ledger's tree still verifies, because it holds
salted commitments alone.

A slot that is free or destroyed is random and looks like one that is used: the file's size tells the number of orders
to the next 64. Trust: who changes the file can make an order's texts unreadable, which stops it at the next start; a
key under another order's name does not open (the name is authenticated). What destruction does not reach: a copy of
this file together with the site key, and blocks that a flash device or a copy-on-write file system keeps. Backups
leave this file out, and the manual says so.
"""

from __future__ import annotations

import hmac
import os
from pathlib import Path
from typing import Final

from mediation.core.errors import ConfigurationError
from mediation.core.ledger.sealing import KEY_OCTETS, OVERHEAD_OCTETS, PREFIX_OCTETS, Box, Sealer, SealError
from mediation.runtime import durable

NAME_OCTETS: Final = 16
SLOT_OCTETS: Final = 96  # name 16, sealed key 72, zeros
MAX_ORDERS: Final = 1 << 20  # 100 MB. Ours
FILL_SLOTS: Final = 64  # the file grows by so many. Ours
_USED: Final = NAME_OCTETS + KEY_OCTETS + OVERHEAD_OCTETS


class KeyDestroyedError(ConfigurationError):
    """The order's key is not there (any more): nothing of its texts can be read."""


class OrderKeys:
    """Open on the file. `box` seals the keys; `name` makes a slot's name from an XID. Blocking."""

    def __init__(self, path: Path, box: Sealer, name: bytes) -> None:
        """`name` is the 32-octet key that slots are named with. Raises ConfigurationError."""
        self._path = path
        self._box = box
        self._name_key = name
        self._places: dict[bytes, int] = {}
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
            name, sealed = slot[:NAME_OCTETS], slot[NAME_OCTETS:_USED]
            try:
                box.open(sealed, name)
            except SealError:
                self._free.append(number)
                continue
            self._places[name] = number
            self._sealed[name] = sealed

    def get(self, xid: str) -> Box:
        """The order's seals. Raises KeyDestroyedError."""
        name = self._name(xid)
        sealed = self._sealed.get(name)
        if sealed is None:
            raise KeyDestroyedError("the order's key is destroyed")
        return Box(self._box.open(sealed, name), os.urandom(PREFIX_OCTETS))

    def make(self, xid: str) -> Box:
        """A new order's key, or the one it has; on the disk after `flush`."""
        name = self._name(xid)
        if name in self._sealed:
            return self.get(xid)
        if len(self._sealed) >= MAX_ORDERS:
            raise ConfigurationError(f"{self._path.name}: full")
        key = os.urandom(KEY_OCTETS)
        self._sealed[name] = self._box.seal(key, name)
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
            while len(self._free) < len(self._unsaved):
                durable.write(descriptor, os.urandom(FILL_SLOTS * SLOT_OCTETS), self._size * SLOT_OCTETS)
                self._free += range(self._size, self._size + FILL_SLOTS)
                self._size += FILL_SLOTS
            places, self._free = self._free[: len(self._unsaved)], self._free[len(self._unsaved) :]
            for name, place in zip(self._unsaved, places, strict=True):
                slot = name + self._sealed[name]
                durable.write(descriptor, slot + os.urandom(SLOT_OCTETS - _USED), place * SLOT_OCTETS)
                self._places[name] = place
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)
        durable.sync_folder(self._path.parent)
        self._unsaved.clear()

    def destroy(self, xid: str) -> bool:
        """The key is gone from memory and from its place on the disk; False when there was none. Raises OSError.

        openat pwrite64 fdatasync close
        """
        name = self._name(xid)
        self._sealed.pop(name, None)
        if name in self._unsaved:
            self._unsaved.remove(name)
        place = self._places.pop(name, None)
        if place is None:
            return False
        descriptor = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
        try:
            durable.write(descriptor, os.urandom(SLOT_OCTETS), place * SLOT_OCTETS)
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)
        self._free.append(place)
        return True

    def _name(self, xid: str) -> bytes:
        return hmac.digest(self._name_key, xid.encode(), "sha256")[:NAME_OCTETS]
