"""The cursor of one spool: how far the far side has acknowledged, the newest epoch, and a loss not yet recorded.

Two slots in a file of fixed size, written in turn: a torn write leaves the other slot good, and a full disk cannot
stop it. A slot is a page of chance to who has no key (SEC-19): 16 octets of a nonce, the state under its key stream
(runtime/keystream.py), and what was there before. Trust: whoever changes this file can make the mediator resend (the
far side drops what it has) or skip what is spooled (the far side sees a gap that no loss report explains); it holds no
identity and no destination.
"""

from __future__ import annotations

import fcntl
import os
import struct
import zlib
from pathlib import Path
from typing import Final

import msgspec

from mediation.core.errors import ConfigurationError
from mediation.core.interface.link import Loss, LossClass, Position
from mediation.core.ledger.sealing import Namer
from mediation.runtime import durable
from mediation.runtime.keystream import NONCE_OCTETS, Keystream

_MAGIC: Final = b"MEDCURSR"
_SLOT = struct.Struct("!8sIQQQQQQB")
_SLOT_OCTETS: Final = 4096  # one page, so that one slot's write cannot tear the other
_STATE_OCTETS: Final = NONCE_OCTETS + _SLOT.size  # what of a slot changes
FILE_OCTETS: Final = 2 * _SLOT_OCTETS
_LABEL: Final = b"cursor"


class State(msgspec.Struct, frozen=True):
    acknowledged: Position
    epoch: int  # the newest that was begun
    loss: Loss | None = None  # lost after the last record


class Cursor:
    """The file, held under a lock for as long as it is open: one spool, one process."""

    def __init__(self, path: Path, box: Namer) -> None:
        """Opens or makes it; `box` is that of the spool's records.

        Raises ConfigurationError when another process holds it, OSError.
        """
        self._key = box.derived(_LABEL)
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, durable.MODE)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(self._descriptor).st_size < FILE_OCTETS:
                os.posix_fallocate(self._descriptor, 0, FILE_OCTETS)
                durable.write(self._descriptor, os.urandom(FILE_OCTETS), 0)
                os.fsync(self._descriptor)
                durable.sync_folder(path.parent)
        except BlockingIOError as error:
            os.close(self._descriptor)
            raise ConfigurationError("spool: another process holds it") from error
        except OSError:
            os.close(self._descriptor)
            raise
        slots = [self._load(number) for number in (0, 1)]
        newest = max((slot for slot in slots if slot is not None), default=None, key=lambda slot: slot[0])
        self._generation = newest[0] if newest else 0
        self.state = newest[1] if newest else None

    def save(self, state: State) -> None:
        """Into the kernel; durable after `sync`. Raises OSError.

        pwrite64
        """
        self._generation += 1
        loss = state.loss
        body = _SLOT.pack(
            _MAGIC, 0, self._generation, *state.acknowledged, state.epoch,
            loss.first if loss else 0, loss.last if loss else 0, loss.loss_class if loss else 0,
        )  # fmt: skip
        slot = body[:8] + zlib.crc32(body[12:]).to_bytes(4, "big") + body[12:]
        stream = Keystream(self._key)
        slot = stream.nonce + stream.apply(slot, NONCE_OCTETS)
        durable.write(self._descriptor, slot, self._generation % 2 * _SLOT_OCTETS)
        self.state = state

    def sync(self) -> None:
        """fdatasync"""
        os.fdatasync(self._descriptor)

    def close(self) -> None:
        os.close(self._descriptor)

    def _load(self, number: int) -> tuple[int, State] | None:
        found = os.pread(self._descriptor, _STATE_OCTETS, number * _SLOT_OCTETS)
        if len(found) < _STATE_OCTETS:
            return None
        octets = Keystream(self._key, found[:NONCE_OCTETS]).apply(found[NONCE_OCTETS:], NONCE_OCTETS)
        magic, check, generation, epoch, sequence, newest, first, last, loss_class = _SLOT.unpack(octets)
        if magic != _MAGIC or check != zlib.crc32(octets[12:]):
            return None
        loss = Loss(first, last, LossClass(loss_class)) if loss_class in set(LossClass) else None
        return generation, State(Position(epoch, sequence), newest, loss)


def imitate(path: Path) -> None:
    """A file like a cursor's, of no spool; one that is there changes as a cursor does. Raises OSError.

    openat(O_CREAT) [ftruncate] pwrite64 … fsync close
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, durable.MODE)
    try:
        if os.fstat(descriptor).st_size != FILE_OCTETS:
            os.ftruncate(descriptor, 0)
            durable.write(descriptor, os.urandom(FILE_OCTETS), 0)
        for number in (0, 1):
            durable.write(descriptor, os.urandom(_STATE_OCTETS), number * _SLOT_OCTETS)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
