"""The file of the call journal (calls.py): records one after the other, in room that does not tell how many (SEC-19).

    nonce 16, then under a key stream (runtime/keystream.py): magic 8, records, zeros up to the room
    record    u32 octets, sealed

The room is a class of sizes: 4 MiB, 16 MiB …, chosen so that the file is written anew (calls.py) before it is used up;
where a burst is faster it grows for that second. A length of zero is the end. Knows files; what records are, and when
they are written anew, is the journal's.

Trust: as the journal's; who changes the file makes records that do not open.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple, Self

from mediation.runtime import durable
from mediation.runtime.cover import wanted
from mediation.runtime.keystream import CHUNK_OCTETS, NONCE_OCTETS, Keystream

MAGIC: Final = b"CALLS\x00\x00\x03"  # 3: under a key stream
FRAME: Final = struct.Struct("!I")  # length of the sealed record behind it
MAX_RECORD: Final = 1 << 18  # twice the longest PDU
LEAST_ROOM: Final = 4 << 20  # 4,000 messages. Ours


class Found(NamedTuple):
    """What a file holds: records with their length before them, whether it is a journal, whether it breaks off."""

    frames: list[bytes]
    is_journal: bool
    torn: bool


class CallsFile:
    """Open for appending. `used` is the offset behind its last record."""

    def __init__(self, descriptor: int, stream: Keystream) -> None:
        self.descriptor = descriptor
        self.used = NONCE_OCTETS
        self._stream = stream

    @classmethod
    def create(cls, path: Path, key: bytes) -> Self:
        """A new file without a record, and without room. Raises OSError.

        openat(path, O_CREAT|O_TRUNC) pwrite64
        """
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, durable.MODE)
        try:
            made = cls(descriptor, Keystream(key))
            durable.write(descriptor, made._stream.nonce, 0)
            made.append(MAGIC)
        except BaseException:
            os.close(descriptor)
            raise
        return made

    def fill(self, room: int) -> Iterator[None]:
        """Makes room for `room` octets in all, at least, in pieces. Raises OSError.

        pwrite64 …
        """
        size = wanted(room, LEAST_ROOM)
        for at in range(self.used, size, CHUNK_OCTETS):
            self._stream.fill(self.descriptor, at, min(at + CHUNK_OCTETS, size))
            yield

    def append(self, octets: bytes) -> None:
        """Whole records, behind the others. Raises OSError, and nothing may be appended then.

        pwrite64
        """
        if octets:
            durable.write(self.descriptor, self._stream.apply(octets, self.used), self.used)
            self.used += len(octets)

    def close(self) -> None:
        os.close(self.descriptor)


def read(path: Path, key: bytes, limit: int) -> Found:
    """What stands in the file, of which `limit` octets are read at most. Raises OSError."""
    if not path.exists():
        return Found([], False, False)
    with path.open("rb") as file:
        octets = file.read(limit)
    if len(octets) < NONCE_OCTETS:
        return Found([], False, bool(octets))
    plain = Keystream(key, octets[:NONCE_OCTETS]).apply(octets[NONCE_OCTETS:], NONCE_OCTETS)
    if not plain.startswith(MAGIC):
        return Found([], False, True)
    return _frames(plain)


def _frames(plain: bytes) -> Found:
    frames: list[bytes] = []
    at = len(MAGIC)
    while at < len(plain):
        if at + FRAME.size > len(plain):
            return Found(frames, True, True)
        (length,) = FRAME.unpack_from(plain, at)
        if not length:
            break
        end = at + FRAME.size + length
        if length > MAX_RECORD or end > len(plain):
            return Found(frames, True, True)
        frames.append(plain[at:end])
        at = end
    return Found(frames, True, False)
