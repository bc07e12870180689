"""The files of an export, from a tar archive that is never unpacked to the disk.

Answers for bounded reading of an archive that anybody may have made, and for the manifest: each file is there, whole,
and named once. What the files say is judged elsewhere; the manifest itself is signed by nobody, and nothing that is
believed rests on it but which records the sender says that he withheld.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MANIFEST = "manifest.json"
MAX_OCTETS = 4 << 30
MAX_FILES = 1_000_000
ENTRY_OCTETS = 34  # of a commitment in its tile: u16 length and 32 octets
FORMAT = 1


class Unreadable(Exception):
    """The archive cannot be judged at all; the text says why. `forged`: because what it says is not signed."""

    def __init__(self, text: str, *, forged: bool = False) -> None:
        super().__init__(text)
        self.forged = forged


class _Member(tarfile.TarInfo):
    """A member whose end does not lie before its beginning: a negative size would have tarfile read it for ever."""

    def _block(self, count: int) -> int:
        if count < 0:
            raise tarfile.ReadError("a member of negative size")
        return super()._block(count)  # type: ignore[misc, no-any-return]


@dataclass(frozen=True)
class Export:
    """`files` by name; `withheld` are the indexes of the records that the sender says he did not open."""

    files: dict[str, bytes]
    withheld: frozenset[int] = frozenset()
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())

    @property
    def leaves(self) -> int:
        """How many leaves there can be: each has its commitment in a tile."""
        return _leaves(self.files)

    def text(self, name: str) -> str | None:
        octets = self.files.get(name)
        return None if octets is None else octets.decode("utf-8", "replace")

    def below(self, folder: str) -> list[str]:
        """The names below a folder, sorted."""
        return sorted(name for name in self.files if name.startswith(f"{folder}/"))


def load(path: Path) -> Export:
    """Raises Unreadable."""
    files: dict[str, bytes] = {}
    problems: list[str] = []
    total = 0
    try:
        with tarfile.open(path, "r:", tarinfo=_Member) as archive:
            for member in archive:
                # A sparse one is larger than the archive that it is in.
                if not member.isreg() or member.issparse() or len(files) >= MAX_FILES:
                    problems.append(f"{member.name[:200]!r}: not a plain file, or one too many")
                    continue
                total += member.size
                if total > MAX_OCTETS:
                    raise Unreadable("the archive is too large")
                if member.name in files:
                    problems.append(f"{member.name[:200]!r}: stands twice in the archive")
                    continue
                file = archive.extractfile(member)
                files[member.name] = b"" if file is None else file.read()
    except OSError as error:
        raise Unreadable(f"{path.name}: {error.strerror or error}") from error
    except (tarfile.TarError, EOFError) as error:
        raise Unreadable(f"not a tar archive: {error}") from error
    if MANIFEST not in files:
        return Export(files=files, problems=tuple(problems), notes=("the archive has no manifest",))
    try:
        manifest = json.loads(files[MANIFEST])
        withheld = _withheld(manifest, _leaves(files))
        problems += _compare(manifest, files)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise Unreadable("the manifest is not readable") from error
    return Export(files=files, withheld=withheld, problems=tuple(problems))


def _compare(manifest: dict[str, Any], files: dict[str, bytes]) -> list[str]:
    if manifest["format"] != FORMAT:
        raise Unreadable(f"the manifest is of format {manifest['format']!r}; this tool reads {FORMAT}")
    problems = []
    stated = manifest["files"]
    for name, facts in stated.items():
        octets = files.get(name)
        if octets is None:
            problems.append(f"{name}: the manifest names it and it is not there")
        elif hashlib.sha256(octets).hexdigest() != facts["sha256"] or len(octets) != facts["octets"]:
            problems.append(f"{name}: not the file that the manifest names")
    problems += [f"{name}: the manifest does not name it" for name in files if name not in stated and name != MANIFEST]
    return problems


def _leaves(files: dict[str, bytes]) -> int:
    return sum(len(octets) for name, octets in files.items() if name.startswith("tile/entries/")) // ENTRY_OCTETS


def _withheld(manifest: dict[str, Any], leaves: int) -> frozenset[int]:
    """What is said to be withheld: never more than there is, whatever numbers the manifest says."""
    size = int(manifest["size"])
    ranges = [(int(first), int(last)) for first, last in manifest["withheld"]]
    if any(not 0 <= first <= last < size for first, last in ranges):
        raise ValueError("withheld")
    if sum(last - first + 1 for first, last in ranges) > min(size, leaves):
        raise ValueError("withheld")
    return frozenset(index for first, last in ranges for index in range(first, last + 1))
