"""The kept heads that a quorum cosigned (`witnessed.jsonl`): which was the first to cover an entry.

Answers for finding it without reading the file, which grows by a head an hour. It judges no cosignature: the caller
does, by the policy of today. What was edited in the file is found by `verify`; here it can only be of no use.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from mediation.core.errors import LedgerError, RemoteProtocolError
from mediation.core.ledger import note

MAX_LINE_OCTETS = 2 * note.MAX_NOTE_OCTETS  # a note as a JSON string


def first_covering(path: Path, index: int) -> str:
    """The oldest kept head of more than `index` entries, with its cosignatures; empty when there is none.

    Raises LedgerError for a file that cannot be read so.
    """
    try:
        with path.open("rb") as file:
            low, high = 0, file.seek(0, os.SEEK_END)  # the line that is wanted begins in here, or at the end
            while low < high:
                middle = (low + high) // 2
                file.seek(max(middle - 1, 0))
                if middle:
                    file.readline(MAX_LINE_OCTETS)  # to the first line that begins there or later
                begin, line = file.tell(), file.readline(MAX_LINE_OCTETS)
                if begin >= high or not line.endswith(b"\n") or _size(_text(line)) > index:
                    high = middle
                else:
                    low = begin + len(line)
            file.seek(low)
            line = file.readline(MAX_LINE_OCTETS)
            return _text(line) if line.endswith(b"\n") else ""
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise LedgerError(f"{path.name}: {error.strerror}") from error


def _text(line: bytes) -> str:
    try:
        return msgspec.json.decode(line, type=str)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise LedgerError("a kept head was edited") from None


def _size(text: str) -> int:
    try:
        return note.parse_checkpoint(note.split(text)[0]).size
    except RemoteProtocolError:
        raise LedgerError("a kept head was edited") from None
