"""Merkle trees of RFC 6962 §2.1: hashing, and the proof algorithms of RFC 9162 §2.1.3 and §2.1.4.

Answers for the mathematics only: it reads no file and knows no record. A tree is seen through a reading function
`read(level, index)`: the hash of the complete subtree of 2**level leaves that starts at leaf index * 2**level.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence

HASH_OCTETS = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()

Read = Callable[[int, int], bytes]


def leaf_hash(data: bytes) -> bytes:
    """MTH({d(0)}) = SHA-256(0x00 || d(0))."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 || left || right)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class Tree:
    """The hashes of all complete subtrees, in memory: 64 octets a leaf. Only ever appended to.

    `read` is its reading function, for the functions below.
    """

    def __init__(self, leaves: Iterable[bytes] = ()) -> None:
        self._levels: list[list[bytes]] = [[]]
        for leaf in leaves:
            self.append(leaf)

    @property
    def size(self) -> int:
        return len(self._levels[0])

    def append(self, leaf: bytes) -> None:
        """Adds one leaf hash (`leaf_hash` of its data)."""
        level, value = 0, leaf
        while True:
            row = self._levels[level]
            row.append(value)
            if len(row) % 2:
                return
            value = node_hash(row[-2], row[-1])
            level += 1
            if level == len(self._levels):
                self._levels.append([])

    def truncate(self, size: int) -> None:
        """Forgets all leaves from `size` on: for an append whose writing failed."""
        for level, row in enumerate(self._levels):
            del row[size >> level :]

    def read(self, level: int, index: int) -> bytes:
        """Raises IndexError for a subtree that is not complete."""
        return self._levels[level][index]

    def root(self, size: int | None = None) -> bytes:
        return root(self.size if size is None else size, self.read)


def root(size: int, read: Read) -> bytes:
    """MTH of the first `size` leaves."""
    return _range(0, size, read) if size else EMPTY_ROOT


def inclusion_path(index: int, size: int, read: Read) -> list[bytes]:
    """PATH(index, D[size]) of RFC 9162 §2.1.3.1, leaf side first. Raises ValueError unless 0 <= index < size."""
    if not 0 <= index < size:
        raise ValueError("merkle: index outside the tree")
    path: list[bytes] = []
    start, end = 0, size
    while end - start > 1:
        split = start + _split(end - start)
        if index < split:
            path.append(_range(split, end, read))
            end = split
        else:
            path.append(_range(start, split, read))
            start = split
    path.reverse()
    return path


def root_from_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes:
    """The root that an inclusion proof leads to, RFC 9162 §2.1.3.2. Raises ValueError when the proof cannot fit."""
    if not 0 <= index < size:
        raise ValueError("merkle: index outside the tree")
    node, last = index, size - 1
    value = leaf
    for sibling in path:
        if last == 0:
            raise ValueError("merkle: inclusion path too long")
        if node & 1 or node == last:
            value = node_hash(sibling, value)
            while not node & 1 and node:
                node >>= 1
                last >>= 1
        else:
            value = node_hash(value, sibling)
        node >>= 1
        last >>= 1
    if last:
        raise ValueError("merkle: inclusion path too short")
    return value


def consistency_path(first: int, second: int, read: Read) -> list[bytes]:
    """PROOF(first, D[second]) of RFC 9162 §2.1.4.1. Raises ValueError unless 0 < first <= second."""
    if not 0 < first <= second:
        raise ValueError("merkle: sizes out of order")
    path: list[bytes] = []
    start, end, complete = 0, second, True
    while first != end:
        split = start + _split(end - start)
        if first <= split:
            path.append(_range(split, end, read))
            end = split
        else:
            path.append(_range(start, split, read))
            start, complete = split, False
    if not complete:
        path.append(_range(start, end, read))
    path.reverse()
    return path


def consistent(first: int, second: int, first_root: bytes, second_root: bytes, path: Sequence[bytes]) -> bool:
    """Whether the tree of `second` leaves begins with the tree of `first`, RFC 9162 §2.1.4.2."""
    if first == second:
        return first_root == second_root and not path
    if not 0 < first < second or not path:
        return False
    nodes = list(path)
    if first & (first - 1) == 0:
        nodes.insert(0, first_root)
    node, last = first - 1, second - 1
    while node & 1:
        node >>= 1
        last >>= 1
    old = new = nodes[0]
    for sibling in nodes[1:]:
        if last == 0:
            return False
        if node & 1 or node == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while not node & 1 and node:
                node >>= 1
                last >>= 1
        else:
            new = node_hash(new, sibling)
        node >>= 1
        last >>= 1
    return last == 0 and old == first_root and new == second_root


def _split(size: int) -> int:
    """The largest power of two smaller than `size` (size > 1)."""
    return 1 << (size - 1).bit_length() - 1


def _range(start: int, end: int, read: Read) -> bytes:
    """The hash over leaves [start, end): complete subtrees from the left, folded from the right."""
    parts: list[bytes] = []
    while start < end:
        # The largest aligned complete subtree that begins here and fits.
        level = min((start & -start).bit_length() - 1 if start else 63, (end - start).bit_length() - 1)
        parts.append(read(level, start >> level))
        start += 1 << level
    value = parts.pop()
    while parts:
        value = node_hash(parts.pop(), value)
    return value
