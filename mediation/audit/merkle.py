"""The root of a growing Merkle tree at each size that somebody signed (RFC 6962 §2.1).

Answers for the mathematics, leaf by leaf in one pass: the perfect subtrees on the right edge are kept, and a root is
folded from them when a size is reached that was asked for. No tile above the leaves is needed or believed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

EMPTY = hashlib.sha256(b"").digest()
OCTETS = 32


def leaf(commitment: bytes) -> bytes:
    """SHA-256(0x00 || commitment)."""
    return hashlib.sha256(b"\x00" + commitment).digest()


def parent(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 || left || right)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class Growing:
    """`roots` holds the root at each of the wanted sizes that was reached so far."""

    def __init__(self, wanted: Iterable[int]) -> None:
        self._wanted = frozenset(wanted)
        self._edge: list[tuple[int, bytes]] = []  # (height, hash), left to right, heights falling
        self.size = 0
        self.roots: dict[int, bytes] = {0: EMPTY}

    def add(self, hashed: bytes) -> None:
        """One more leaf hash."""
        height = 0
        while self._edge and self._edge[-1][0] == height:
            hashed = parent(self._edge.pop()[1], hashed)
            height += 1
        self._edge.append((height, hashed))
        self.size += 1
        if self.size in self._wanted:
            self.roots[self.size] = self._fold()

    def _fold(self) -> bytes:
        hashes = [each for _, each in self._edge]
        root = hashes.pop()
        while hashes:
            root = parent(hashes.pop(), root)
        return root
