"""Whether a ledger's time stamps are what its entries say: offline, from files and roots alone (RFC 3161 2.4.2).

Each entry `stamped` must have its token, the token must verify, hold the entry's hash, and a stamped head must be
contained in the ledger: a ledger that was rewritten after a stamp cannot contain the head that was stamped, even where
no witness is asked. Names the first bad entry. It needs no network and may not write.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import msgspec
from cryptography import x509

from mediation.administration.ledger import tiles, verify
from mediation.administration.ledger.stamps import CHECKPOINT, FOLDER, MAX_TOKEN_OCTETS, verify_digest
from mediation.core.errors import LedgerError, RemoteProtocolError
from mediation.core.ledger import entry, note

MAX_TOKENS = 100_000  # two a day for a century, and some documents


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """One token that holds. `size` is that of the head that was stamped, 0 for a document."""

    index: int
    authority: str
    time_s: int
    size: int


def check(
    site_dir: Path, files: tiles.Files, ledger: note.Verifier, roots: Sequence[x509.Certificate]
) -> tuple[Checked, ...]:
    """All stamps of a site in the ledger's order. Raises LedgerError naming the first entry that does not hold, or the
    first bad entry of the ledger itself."""
    entries: list[tuple[int, entry.Stamped]] = []

    def keep(line: tiles.Line, record: entry.Record) -> None:
        if isinstance(record, entry.Stamped):
            entries.append((line.index, record))

    report = verify.examine(files, ledger, on_record=keep)
    report.raise_first()
    tokens = _tokens(site_dir / FOLDER)
    found: list[Checked] = []
    for index, record in entries:
        try:
            path = tokens.get(record.token_sha256)
            if path is None:
                raise LedgerError(f"entry {index}: its time stamp is missing or was changed")
            time_s = verify_digest(path.read_bytes(), bytes.fromhex(record.subject_sha256), roots)
            size = _head_size(path.parent / CHECKPOINT, record, report, ledger)
        except (RemoteProtocolError, OSError, UnicodeDecodeError) as error:
            raise LedgerError(f"entry {index}: {error}") from error
        found.append(Checked(index=index, authority=record.authority, time_s=time_s, size=size))
    return tuple(found)


def _head_size(path: Path, record: entry.Stamped, report: verify.Report, ledger: note.Verifier) -> int:
    """The size of the stamped head, which the ledger contains; 0 for a document. Raises RemoteProtocolError."""
    if not path.exists():
        return 0
    octets = path.read_bytes()
    if hashlib.sha256(octets).hexdigest() != record.subject_sha256:
        raise RemoteProtocolError("the head beside its time stamp is not the one that was stamped")
    head = note.open_checkpoint(octets.decode(), ledger)
    if head.size > report.head.size or report.tree.root(head.size) != head.root:
        raise RemoteProtocolError(f"the ledger does not contain the head of {head.size} entries that was stamped")
    return head.size


def _tokens(folder: Path) -> dict[str, Path]:
    """Every token by its SHA-256."""
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*.tsr")):
        if len(found) == MAX_TOKENS:
            raise LedgerError("stamps: too many tokens")
        if path.is_file() and path.stat().st_size <= MAX_TOKEN_OCTETS:
            found[hashlib.sha256(path.read_bytes()).hexdigest()] = path
    return found
