"""The ledger's files: C2SP tlog-tiles on a plain folder, and the records beside them.

    checkpoint                     the signed tree head (C2SP tlog-checkpoint)
    tile/L/N, tile/L/N.p/W         hashes, 256 a tile, partial ones by their width
    tile/entries/N[.p/W]           what the leaves are made of: the records' commitments, each after its length u16
    records/N.jsonl                the records with their salts, of 256 leaves a file: not part of the public tree. Each
                                   line is a JSON string: the line sealed by the vault, in base64 (SEC-19)
    history.jsonl                  the checkpoints that were signed, one JSON string a line; of those that added padding
                                   alone, one an hour
    published                      the last checkpoint that the witnesses were asked about
    witnessed                      the last one that their quorum cosigned, with the cosignatures
    witnessed.jsonl                those before it, one JSON string a line, thinned out like the history

Padding leaves have no line each: one line with a seed stands for the run of them that begins at its index and goes on
until the next line, over files that then need not exist. The salt of the leaf at `index` is HMAC-SHA-256(seed, index
as u64): in the tree a padding leaf cannot be told from any other.

On the disk no line can be told from any other either: it is filled up to a size class before it is sealed, its index
is inside, and destruction seals all of a file anew. Only entry 0 lies in clear: it says what keys/ledger.pub says. In
an export the lines that were chosen stand opened, as `Line` has them. What is left to see is how many lines there are.

Answers for names and for cutting files apart; `ledger` writes them, `verify` judges them.
"""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

import msgspec
import pybase64

from mediation.core.errors import LedgerError, LocalProtocolError
from mediation.core.ledger import entry
from mediation.core.ledger.merkle import HASH_OCTETS
from mediation.core.ledger.sealing import Sealer, SealError

HEIGHT = 8
WIDTH = 1 << HEIGHT  # C2SP tlog-tiles: full tiles are 256 wide
ENTRY_OCTETS = 2 + HASH_OCTETS  # a commitment after its length
MAX_FILE_OCTETS = 16 << 20  # 256 records of MAX_RECORD_OCTETS, JSON-escaped, fit four times over
MAX_HISTORY_OCTETS = 1 << 30  # three million checkpoints
CHECKPOINT, HISTORY = "checkpoint", "history.jsonl"
PUBLISHED, WITNESSED, WITNESSED_HISTORY = "published", "witnessed", "witnessed.jsonl"
SEED_OCTETS = 32
HMAC_BLOCK_OCTETS = 64  # of SHA-256, RFC 2104 §2
LEAST_LINE_OCTETS = 1024  # what a line is filled up to, or to a power of two above it. Ours
ASSOCIATED = b"mediation ledger record"
UNREADABLE = b"\xff"  # stands for a line that cannot be opened


class Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One line of a records file, of one of three forms; salts, seeds and hashes in hex.

    `salt` and `record`: one entry, `record` being the exact text that was committed to. `seed` and `record`: padding
    from `index` on. `destroyed`: the record and its salt were destroyed, under the certificate with this SHA-256.
    """

    index: int
    salt: str = ""
    record: str = ""
    seed: str = ""
    destroyed: str = ""


decode = msgspec.json.Decoder(Line).decode  # raises msgspec.MsgspecError or UnicodeDecodeError


def sealed(line: Line, box: Sealer | None) -> bytes:
    """What stands in a records file for `line`, with its end. Raises LocalProtocolError without a vault."""
    octets = msgspec.json.encode(line)
    if line.index == 0:
        return octets + b"\n"
    if box is None:
        raise LocalProtocolError("ledger: there is no vault to seal its records")
    size = max(LEAST_LINE_OCTETS, 1 << (len(octets) - 1).bit_length())
    return b'"' + pybase64.b64encode(box.seal(octets.ljust(size), ASSOCIATED)) + b'"\n'


def opened(octets: bytes, box: Sealer) -> bytes:
    """A records file as `Line` has it. A line that is not what was sealed, or that lies in clear where it must not, is
    UNREADABLE."""
    found = []
    for place, text in enumerate(octets.splitlines()):
        try:
            if text[:1] == b'"' and text[-1:] == b'"':
                found.append(box.open(pybase64.b64decode(text[1:-1], validate=True), ASSOCIATED).rstrip())
            else:
                first = not place and decode(text).index == 0
                found.append(text if first else UNREADABLE)
        except (SealError, ValueError):
            found.append(UNREADABLE)
    return b"".join(text + b"\n" for text in found)


class Padding:
    """A run of padding: what stands in the tree at an index. Raises ValueError for a seed that is none."""

    def __init__(self, seed: str, record: str) -> None:
        octets = bytes.fromhex(seed)
        if len(octets) != SEED_OCTETS or not isinstance(entry.decode(record), entry.Padding):
            raise ValueError("not a run of padding")
        key = octets.ljust(HMAC_BLOCK_OCTETS, b"\x00")
        # RFC 2104 with the keyed states made once: a third of the time of hmac.digest, for millions of leaves.
        self._inner = hashlib.sha256(bytes(octet ^ 0x36 for octet in key))
        self._outer = hashlib.sha256(bytes(octet ^ 0x5C for octet in key))
        self._record = record.encode()

    def salt(self, index: int) -> bytes:
        """HMAC-SHA-256(seed, index)."""
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(index.to_bytes(8, "big"))
        outer.update(inner.digest())
        return outer.digest()

    def commitment(self, index: int) -> bytes:
        """`entry.commitment` of the padding at `index`."""
        return hashlib.sha256(self.salt(index) + self._record).digest()


def number(n: int) -> str:
    """Tile index in groups of three digits, all but the last marked: 1234067 is x001/x234/067."""
    groups = [f"{n % 1000:03}"]
    while n := n // 1000:
        groups.append(f"x{n % 1000:03}")
    return "/".join(reversed(groups))


def tile(level: int | str, n: int, width: int = WIDTH) -> str:
    """Name of a hash tile, or of an entry bundle (level "entries")."""
    return f"tile/{level}/{number(n)}" + ("" if width == WIDTH else f".p/{width}")


def records(n: int) -> str:
    return f"records/{number(n)}.jsonl"


def place(name: str) -> tuple[int, int]:
    """The index and the width that a name below its level (or below records/) stands for."""
    head, partial, width = name.removesuffix(".jsonl").partition(".p/")
    try:
        n = 0
        for group in head.split("/"):
            n = n * 1000 + int(group.removeprefix("x"))
        return n, int(width) if partial else WIDTH
    except ValueError:
        raise LedgerError(f"{name}: not a file of a ledger") from None


class Files(Protocol):
    """A ledger's files, wherever they are."""

    @property
    def opened(self) -> bool:
        """Whether records can be read; what they say is not looked at otherwise."""

    def read(self, name: str) -> bytes | None:
        """The octets, records opened; None when there is no such file. Raises LedgerError for one that is too large."""

    def names(self, folder: str) -> list[str]:
        """The names directly in `folder`, sorted; empty when it does not exist."""


def directly_in(folder: str, names: Iterable[str]) -> list[str]:
    """Of files that are held by their whole names, those and the folders that stand in `folder`, sorted."""
    below = (name[len(folder) + 1 :] for name in names if name.startswith(f"{folder}/"))
    return sorted({name.partition("/")[0] for name in below})


class Folder:
    """A ledger on the disk. Without `box`, the vault's for records, they stay sealed."""

    def __init__(self, path: Path, box: Sealer | None = None) -> None:
        self.path = path
        self._box = box

    @property
    def opened(self) -> bool:
        return self._box is not None

    def read(self, name: str) -> bytes | None:
        limit = MAX_HISTORY_OCTETS if name in (HISTORY, WITNESSED_HISTORY) else MAX_FILE_OCTETS
        try:
            with (self.path / name).open("rb") as file:
                octets = file.read(limit + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise LedgerError(f"{name}: {error.strerror}") from error
        octets = _bounded(name, octets, limit)
        return opened(octets, self._box) if self._box is not None and name.startswith("records/") else octets

    def names(self, folder: str) -> list[str]:
        try:
            return sorted(path.name for path in (self.path / folder).iterdir())
        except (FileNotFoundError, NotADirectoryError):
            return []

    def all(self) -> list[str]:
        """Every file of the ledger, sorted: what an export holds. A folder that goes meanwhile is passed over: a full
        tile has taken the place of what lay there."""
        found = (Path(folder, name) for folder, _, names in os.walk(self.path) for name in names)
        files = (path for path in found if path.suffix != ".new" and path.is_file())
        return sorted(path.relative_to(self.path).as_posix() for path in files)


class _Member(tarfile.TarInfo):
    """A member whose end does not lie before its beginning: a negative size would have tarfile read it for ever."""

    def _block(self, count: int) -> int:
        if count < 0:
            raise tarfile.ReadError("a member of negative size")
        return super()._block(count)  # type: ignore[misc, no-any-return]


class Archive:
    """A ledger in a tar file that `export` made; nothing is ever unpacked to the disk."""

    MAX_ARCHIVE_OCTETS = 4 << 30
    opened = True  # what was chosen is

    def __init__(self, path: Path) -> None:
        self._files: dict[str, bytes] = {}
        total = 0
        try:
            with tarfile.open(path, "r:", tarinfo=_Member) as archive:
                for member in archive:
                    if not member.isreg() or member.issparse():  # it would be larger than the archive
                        continue
                    total += member.size
                    if total > self.MAX_ARCHIVE_OCTETS:
                        raise LedgerError("archive: too large")
                    file = archive.extractfile(member)
                    self._files[member.name] = file.read() if file is not None else b""
        except (tarfile.TarError, OSError, EOFError) as error:
            raise LedgerError(f"archive: {error}") from error

    def read(self, name: str) -> bytes | None:
        octets = self._files.get(name)
        return None if octets is None else _bounded(name, octets, MAX_HISTORY_OCTETS)

    def names(self, folder: str) -> list[str]:
        return directly_in(folder, self._files)


def pack(files: list[tuple[str, bytes]]) -> bytes:
    """A tar of `files` in their order: the same octets each time, for no name, time or owner of this machine is in."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:", format=tarfile.USTAR_FORMAT) as archive:
        for name, octets in files:
            member = tarfile.TarInfo(name)
            member.size = len(octets)
            member.mode = 0o600
            archive.addfile(member, io.BytesIO(octets))
    return buffer.getvalue()


def _bounded(name: str, octets: bytes, limit: int) -> bytes:
    if len(octets) > limit:
        raise LedgerError(f"{name}: too large")
    return octets
