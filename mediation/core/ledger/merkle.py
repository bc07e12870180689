"""Merkle trees of RFC 6962 §2.1: hashing, and the proof algorithms of RFC 9162 §2.1.3 and §2.1.4.

Answers for the mathematics only: it reads no file and knows no record. A tree is seen through a reading function
`read(level, index)`: the hash of the complete subtree of 2**level leaves that starts at leaf index * 2**level.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256

HASH_OCTETS = 32
EMPTY_ROOT = sha256(b"").digest()

Read = Callable[[int, int], bytes]


def leaf_hash(data: bytes) -> bytes:
    """MTH({d(0)}) = SHA-256(0x00 || d(0))."""
    return sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 || left || right)."""
    return sha256(b"\x01" + left + right).digest()


class Tree:
    """The hashes of all complete subtrees. Only ever appended to. `read` is its reading function, for those below.

    Kept in memory: every subtree of SPAN leaves or more (a quarter octet a leaf), the last incomplete span, and the
    spans used lately. `load(n)` gives the leaf hashes of span n, SPAN * 32 octets, when it is asked for again; without
    it all stays in memory, at about 64 octets a leaf and Python's own for each.
    """

    HEIGHT = 8
    SPAN = 1 << HEIGHT  # the width of a tile of C2SP tlog-tiles, so that a tile is what is loaded
    KEPT = 2_048  # complete spans kept beside `load`: half a million leaves, 60 MB (ours)

    def __init__(self, leaves: Iterable[bytes] = (), *, load: Callable[[int], bytes] | None = None) -> None:
        self._upper: list[bytearray] = [bytearray()]
        self._open: list[list[bytes]] = [[] for _ in range(self.HEIGHT)]
        self._closed: dict[int, list[list[bytes]]] = {}
        self._load = load
        self._above: dict[int, tuple[int, list[bytes]]] = {}  # by span: the path of all its leaves above it, in a tree
        for leaf in leaves:
            self.append(leaf)

    @property
    def size(self) -> int:
        return self._spans * self.SPAN + len(self._open[0])

    @property
    def _spans(self) -> int:
        return len(self._upper[0]) // HASH_OCTETS

    def append(self, leaf: bytes) -> None:
        """Adds one leaf hash (`leaf_hash` of its data)."""
        value = leaf
        for row in self._open:
            row.append(value)
            if len(row) % 2:
                return
            value = node_hash(row[-2], row[-1])
        self._keep(self._spans, self._open)
        self._open = [[] for _ in range(self.HEIGHT)]
        self._push(value)

    def extend(self, leaves: bytes) -> None:
        """Adds leaf hashes that stand one after the other; a whole span at once where one begins."""
        for at in range(0, len(leaves), self.SPAN * HASH_OCTETS):
            part = leaves[at : at + self.SPAN * HASH_OCTETS]
            if len(part) == self.SPAN * HASH_OCTETS and not self._open[0]:
                rows, top = rows_of(part)
                self._keep(self._spans, rows)
                self._push(top)
            else:
                for place in range(0, len(part), HASH_OCTETS):
                    self.append(part[place : place + HASH_OCTETS])

    def append_span(self, root: bytes) -> None:
        """Adds SPAN leaves by the hash over them alone; `load` must know them. Raises ValueError inside a span."""
        if self._open[0]:
            raise ValueError("merkle: the last span is not complete")
        self._push(root)

    def _push(self, value: bytes) -> None:
        level = 0
        while True:
            row = self._upper[level]
            row += value
            if len(row) // HASH_OCTETS % 2:
                return
            value = node_hash(bytes(row[-2 * HASH_OCTETS : -HASH_OCTETS]), bytes(row[-HASH_OCTETS:]))
            level += 1
            if level == len(self._upper):
                self._upper.append(bytearray())

    def truncate(self, size: int) -> None:
        """Forgets all leaves from `size` on: for an append whose writing failed."""
        self._above.clear()
        span, width = divmod(size, self.SPAN)
        if span < self._spans:
            self._open = [list(row) for row in self._rows(span)]
        for level, row in enumerate(self._open):
            del row[width >> level :]
        for level, octets in enumerate(self._upper):
            del octets[(span >> level) * HASH_OCTETS :]
        for n in [n for n in self._closed if n >= span]:
            del self._closed[n]

    def read(self, level: int, index: int) -> bytes:
        """Raises IndexError for a subtree that is not complete, ValueError when what `load` gives does not fit."""
        if level >= self.HEIGHT:
            row = self._upper[level - self.HEIGHT]
            if not 0 <= index < len(row) // HASH_OCTETS:
                raise IndexError("merkle: no such subtree")
            return bytes(row[index * HASH_OCTETS : (index + 1) * HASH_OCTETS])
        span = index >> (self.HEIGHT - level)
        rows = self._open if span == self._spans else self._rows(span)
        return rows[level][index - (span << (self.HEIGHT - level))]

    def inclusion_path(self, index: int, size: int) -> list[bytes]:
        """`inclusion_path` over this tree. Leaves of one complete span share all that lies above it: ten thousand
        proofs under one head cost ten thousand short ones. Raises as that and `read` do."""
        span = index >> self.HEIGHT
        if not 0 <= index < (span + 1) << self.HEIGHT <= size <= self.size:
            return inclusion_path(index, size, self.read)
        above = self._above.get(span)
        if above is None or above[0] != size:
            if len(self._above) >= self.KEPT:
                self._above.clear()
            above = self._above[span] = size, inclusion_path(index, size, self.read)[self.HEIGHT :]
        rows, at = self._rows(span), index - (span << self.HEIGHT)
        return [*(row[(at >> level) ^ 1] for level, row in enumerate(rows)), *above[1]]

    def _rows(self, span: int) -> list[list[bytes]]:
        """The rows of a complete span, from its leaves up to its two halves."""
        rows = self._closed.get(span)
        if rows is None:
            if self._load is None or not 0 <= span < self._spans:
                raise IndexError("merkle: no such subtree")
            rows, top = rows_of(self._load(span))
            if len(rows[0]) != self.SPAN or top != self.read(self.HEIGHT, span):
                raise ValueError("merkle: what was stored is not what the tree was made of")
            self._keep(span, rows)
        return rows

    def _keep(self, span: int, rows: list[list[bytes]]) -> None:
        if self._load is not None and len(self._closed) >= self.KEPT:
            del self._closed[next(iter(self._closed))]
        self._closed[span] = rows

    def root(self, size: int | None = None) -> bytes:
        return root(self.size if size is None else size, self.read)


def rows_of(leaves: bytes) -> tuple[list[list[bytes]], bytes]:
    """The rows over a power of two of leaf hashes (one after the other), bottom first, and the hash over all."""
    row = [leaves[at : at + HASH_OCTETS] for at in range(0, len(leaves), HASH_OCTETS)]
    rows: list[list[bytes]] = []
    while len(row) > 1:
        rows.append(row)
        row = [sha256(b"\1" + left + right).digest() for left, right in zip(row[::2], row[1::2], strict=False)]
    return rows, row[0] if row else EMPTY_ROOT


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


def fold(leaf: bytes, index: int, siblings: Sequence[bytes]) -> bytes:
    """The root of the complete subtree of 2**len(siblings) leaves that holds leaf `index`."""
    value = leaf
    for sibling in siblings:
        value = node_hash(sibling, value) if index & 1 else node_hash(value, sibling)
        index >>= 1
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
