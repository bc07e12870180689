"""An export for an auditor: the ledger and everything public that belongs to it, with what was chosen opened.

    checkpoint, history.jsonl, tile/, …   the ledger's files as they are (C2SP tlog-tiles)
    records/N.jsonl                       the records that are opened, each with its salt
    ledger.pub, keys/…                    public keys, key rings, roster, witness policy: for convenience, to be
                                          compared with what was published
    certifications/SHA256.json            certifications, with the fields that are opened (core/records/opening.py)
    statements/YYYY-MM.jws                the monthly statements of completeness, signed
    plan/signed/SHA256.jws                calls of the plan's contact and orders of the Commission, signed
    certificates/, plans/, stamps/, …     what other parts have filed for the auditor (FOLDERS)
    manifest.json                         every file with its length and SHA-256; which records were withheld

A record that is not opened stays what it is in the tree: a commitment, SHA-256(salt || record). It can be opened later,
one by one, from another export, and nobody can open it to anything else. Records hold no subject's identity.

Nothing private may be taken: FILES and FOLDERS name what is, and a private key's file is in none of them.
"""

from __future__ import annotations

import hashlib
import io
import re
import tarfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from mediation.administration.keys import ledger_files
from mediation.administration.ledger import tiles, verify
from mediation.administration.ledger.snapshot import Snapshot
from mediation.core.errors import LedgerError
from mediation.core.interface.control import Export
from mediation.core.ledger import entry, note
from mediation.runtime.config import Site
from mediation.runtime.keys import read_verifier

FORMAT = 1
MANIFEST = "manifest.json"
FILES = ("keys/*.json", "keys/*.jsonl", "keys/*.policy", "keys/*.pub", "keys/founding",
         "keys/timestamp-authorities.pem")  # fmt: skip
PLAN_TEXT = re.compile(r"plan/[0-9]+\.json")
FOLDERS = ("certificates", "plans", "plan", "stamps", "destruction", "incidents")  # below the site, as they come
PRIVATE = frozenset({".key", ".salt", ".secret", ".new"})
MAX_BESIDE_OCTETS = 1 << 30
ATTEMPTS = 5  # to read what stands beside the ledger while nothing is entered in it
ALWAYS = frozenset({"site-made", "roster-changed", "padding", "witnesses-lost", "witnesses-found", "stamped",
                    "destroyed", "statement-drafted", "statement-signed", "plan-adopted", "modification-ordered",
                    "contact-tested"})  # fmt: skip
# What says nothing of a case is opened in every export: without it the auditor could not read the rest.


class _Manifest(msgspec.Struct):
    """Of the manifest what tells a partial export; further members are passed over."""

    withheld: list[tuple[int, int]]


def make(site: Site, wanted: Export, opened: Iterable[tuple[str, bytes]] = ()) -> bytes:
    """The tar of a site, with what its owner has `opened` of what lies sealed. Raises LedgerError unless the ledger
    verifies."""
    return of(ledger_files(site), read_verifier(site.keys_dir), wanted, lambda: (*_beside(site.path), *opened))


def of(
    folder: tiles.Folder, verifier: note.Verifier, wanted: Export,
    beside: Callable[[], Iterable[tuple[str, bytes]]] = tuple,
) -> bytes:  # fmt: skip
    """The tar of a ledger with what stands `beside` it, as both are at one moment. The same ledger, files and choice
    give the same octets."""
    opened: dict[int, bool] = {}
    snapshot = Snapshot(folder)
    for _ in range(ATTEMPTS):
        stands = list(beside())
        if not snapshot.renew():  # nothing was entered while it was read
            break

    def choose(line: tiles.Line, record: entry.Record) -> None:
        opened[line.index] = chosen(record, wanted)

    report = verify.examine(snapshot, verifier, on_record=choose, again=snapshot.renew)
    report.raise_first()
    files: list[tuple[str, bytes]] = []
    for name in snapshot.all():
        octets = snapshot.read(name) or b""
        if name.startswith("records/"):
            octets = _only(octets, opened)
        files.append((name, octets))
    files.append(("ledger.pub", f"{verifier}\n".encode()))
    files += stands
    manifest = {
        "format": FORMAT,
        "origin": report.head.origin,
        "size": report.head.size,
        "kinds": wanted.kinds,
        "cases": wanted.cases,
        "withheld": _ranges(index for index, shown in sorted(opened.items()) if not shown),
        "files": {
            name: {"octets": len(octets), "sha256": hashlib.sha256(octets).hexdigest()} for name, octets in files
        },
    }
    return tiles.pack([(MANIFEST, msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n"), *files])


def withheld(files: tiles.Files) -> bool:
    """Whether records of an export were not opened; a bare ledger has no manifest and opens all."""
    octets = files.read(MANIFEST)
    try:
        return octets is not None and bool(msgspec.json.decode(octets, type=_Manifest).withheld)
    except msgspec.MsgspecError:
        raise LedgerError(f"{MANIFEST}: not readable") from None


def plan_texts(octets: bytes) -> list[str]:
    """The files of an export, as it was made, that are texts of a plan; none on a site that never adopted one."""
    with tarfile.open(fileobj=io.BytesIO(octets)) as archive:
        return [name for name in archive.getnames() if PLAN_TEXT.fullmatch(name)]


def chosen(record: entry.Record, wanted: Export) -> bool:
    """Whether this record is opened."""
    kind = str(record.__struct_config__.tag)
    if (wanted.kinds is None and wanted.cases is None) or kind in ALWAYS:
        return True
    return kind in (wanted.kinds or ()) or getattr(record, "case", "") in (wanted.cases or ())


def _only(octets: bytes, opened: dict[int, bool]) -> bytes:
    """Of a records file what is opened, with the padding and what says that a record was destroyed."""
    kept = []
    for text in octets.splitlines(keepends=True):
        line = msgspec.json.decode(text, type=tiles.Line)
        if line.seed or line.destroyed or opened.get(line.index, False):
            kept.append(text)
    return b"".join(kept)


def _beside(root: Path) -> Iterator[tuple[str, bytes]]:
    """What stands beside the ledger for the auditor. Raises LedgerError for what is too much to read."""
    found = {path for pattern in FILES for path in root.glob(pattern)}
    found |= {path for name in FOLDERS for path in (root / name).rglob("*")}
    total = 0
    for path in sorted(found):
        if path.is_symlink() or not path.is_file() or path.suffix in PRIVATE:
            continue
        octets = path.read_bytes()
        total += len(octets)
        if total > MAX_BESIDE_OCTETS:
            raise LedgerError(f"export: {path.name}: too large")
        yield path.relative_to(root).as_posix(), octets


def _ranges(indexes: Iterator[int]) -> list[list[Any]]:
    """Ascending numbers as [first, last] pairs."""
    found: list[list[int]] = []
    for index in indexes:
        if found and found[-1][1] == index - 1:
            found[-1][1] = index
        else:
            found.append([index, index])
    return found
