"""The reconciler's own log: what it saw, signed with its own key, each line chained to the one before.

Answers for a record of sights that the administration cannot write: DIR/reconciler/log.jsonl is appended to by the
reconciler's user alone, each line is a signed note (C2SP signed-note) whose text holds the SHA-256 of the line before.
An administrator that hides an incident leaves a ledger without it beside a log with it, and one that invents one a
ledger with it beside a log without; `mediation reconcile check` names both. The head goes with every observation.

Who gains what: the reconciler's user, or root, can cut off the end of the log or write on with the key, but cannot
change what an auditor holds a copy of, and the head goes to the service manager's journal with every line. Blocking.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from mediation.core.errors import ConfigurationError, LedgerError, RemoteProtocolError
from mediation.core.ledger import note
from mediation.core.records.incident import Sight
from mediation.runtime import durable
from mediation.runtime.config import Site

FILE: Final = "log.jsonl"
KEY: Final = "log.key"
PUBLIC: Final = "reconciler.pub"  # below keys/
MAX_LINE_OCTETS: Final = 2 << 20
START, SEEN, CLEAN = "start", "seen", "clean"


class Line(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One entry. `sights` is everything that was seen, when it differs from the entry before; `beyond` counts those
    that the configuration alone does not account for; `rounds` the looks since the entry before that were the same."""

    number: int
    time_us: int
    previous: str  # SHA-256 of the line before, "" for the first
    kind: str
    rounds: int = 0
    beyond: int = 0
    sights: tuple[Sight, ...] = ()
    more: int = 0
    unseen: tuple[str, ...] = ()


def read_signer(site: Site) -> note.Signer:
    """The reconciler's key. Raises ConfigurationError."""
    try:
        return note.Signer.parse((site.reconciler_dir / KEY).read_text())
    except OSError as error:
        raise ConfigurationError(f"reconciler/{KEY}: {error.strerror}") from error
    except ValueError:
        raise ConfigurationError(f"reconciler/{KEY}: not a signing key") from None


def read_verifier(site: Site) -> note.Verifier:
    """Raises ConfigurationError."""
    try:
        return note.Verifier.parse((site.keys_dir / PUBLIC).read_text().strip())
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"keys/{PUBLIC}: {error}") from error


def held(folder: Path) -> Path:
    """A folder by a descriptor that this process keeps: what lies above it need not be open to its later user. Raises
    ConfigurationError."""
    try:
        return Path(f"/proc/self/fd/{os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)}")
    except OSError as error:
        raise ConfigurationError(f"{folder.name}/: {error.strerror}") from error


class Journal:
    """Open for appending, also after the user that could reach the folder by its name has been left.

    Raises ConfigurationError, LedgerError for a log that does not verify.
    """

    def __init__(self, site: Site) -> None:
        self._signer = read_signer(site)
        self._path = held(site.reconciler_dir) / FILE
        if str(self._signer.verifier) != str(read_verifier(site)):
            raise ConfigurationError(f"reconciler/{KEY} is not the key of keys/{PUBLIC}")
        self._number, self.head = 0, ""
        if self._path.exists():
            _cut_torn(self._path)
            for line, digest in read(self._path, self._signer.verifier):
                self._number, self.head = line.number + 1, digest

    def append(self, line: Line) -> str:
        """Durable when it returns; the text as it was written. `number` and `previous` are set here. Raises OSError."""
        line = msgspec.structs.replace(line, number=self._number, previous=self.head)
        signed = self._signer.sign(msgspec.json.encode(line).decode() + "\n")
        text = msgspec.json.encode(signed) + b"\n"
        durable.append_line(self._path, text)
        self._number += 1
        self.head = hashlib.sha256(text).hexdigest()
        return signed


def _cut_torn(path: Path) -> None:
    """A crash in the middle of an append leaves the beginning of a line, which says nothing.

    Started as root, this may be done by root in a folder of the reconciler's user, who must not choose what is cut: not
    through a symbolic link. Raises ConfigurationError.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError as error:
        raise ConfigurationError(f"reconciler/{FILE}: {error.strerror}") from error
    with os.fdopen(descriptor, "r+b") as file:
        octets = file.read()
        whole = octets.rfind(b"\n") + 1
        if whole < len(octets):
            file.truncate(whole)
            os.fsync(file.fileno())


def read(path: Path, verifier: note.Verifier) -> Iterator[tuple[Line, str]]:
    """Each line with its SHA-256, verified. Raises LedgerError naming the first bad line, ConfigurationError."""
    previous, number = "", 0
    try:
        with path.open("rb") as file:
            while text := file.readline(MAX_LINE_OCTETS + 1):
                try:
                    line = msgspec.json.decode(verifier.open(msgspec.json.decode(text, type=str)), type=Line)
                except (msgspec.MsgspecError, RemoteProtocolError, UnicodeDecodeError):
                    raise LedgerError(f"reconciler's log: line {number} is not signed by its key") from None
                if line.number != number or line.previous != previous:
                    raise LedgerError(f"reconciler's log: line {number} does not follow the one before")
                previous, number = hashlib.sha256(text).hexdigest(), number + 1
                yield line, previous
    except OSError as error:
        raise ConfigurationError(f"reconciler/{FILE}: {error.strerror}") from error
