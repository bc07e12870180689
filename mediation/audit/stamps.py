"""The time stamps of an export (RFC 3161): each that the ledger names is there and holds; each day has one.

Answers for the checkpoint of each day (UTC), stamped from the first day on that has one, by an authority that the
auditor believes, and for the stamps of single documents. A stamped head is compared with the tree elsewhere (tree.py):
a ledger that was rewritten after a stamp does not contain what was stamped. Days that nobody stamped are named.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from cryptography import x509

from mediation.audit import timestamp
from mediation.audit.archive import Export
from mediation.audit.findings import US, Finding, Findings
from mediation.audit.tokens import Bad
from mediation.audit.tree import (
    CHECKPOINT as LEDGER_CHECKPOINT,
)
from mediation.audit.tree import (
    HISTORY,
    PUBLISHED,
    WITNESSED,
    WITNESSED_HISTORY,
    Ledger,
    Record,
)

FOLDER, CHECKPOINT, DOCUMENTS = "stamps", "checkpoint", "documents"
AUTHORITIES = "keys/timestamp-authorities.pem"
LEDGER_HEADS, HISTORIES = (LEDGER_CHECKPOINT, PUBLISHED, WITNESSED), (HISTORY, WITNESSED_HISTORY)
MAX_SKEW_S = 900  # between a stamp and its entry: the daemon's five minutes, and the time until it was entered
MAX_DAYS = 36_600
DAY_S = 86_400
_DAY = re.compile(rf"{FOLDER}/(\d{{4}}-\d\d-\d\d)/{CHECKPOINT}")


@dataclass
class Stamps:
    """`days`: the authorities whose stamp of a day's checkpoint holds; `documents`: how many of single documents."""

    believed: str = ""  # where the authorities' certificates came from: given, export, or none
    days: dict[str, list[str]] = field(default_factory=dict)
    documents: int = 0
    missing: list[str] = field(default_factory=list)
    forged: list[Finding] = field(default_factory=list)
    not_checked: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        return {"believed": self.believed, "days": self.days, "missing": self.missing, "documents": self.documents}


def certificates(octets: bytes) -> list[x509.Certificate]:
    """Those of a PEM file. Raises Bad."""
    try:
        return x509.load_pem_x509_certificates(octets)
    except ValueError:
        raise Bad("not certificates in PEM") from None


def examine(export: Export, ledger: Ledger, given: bytes | None, found: Findings) -> Stamps:
    """`given` are the certificates that the auditor believes, PEM. Raises Bad when they are none."""
    stamps = Stamps()
    entries = [each for each in ledger.records if each.kind == "stamped"]
    octets = given if given is not None else export.files.get(AUTHORITIES)
    stamps.believed = "given" if given is not None else "export" if octets is not None else "none"
    believed: list[x509.Certificate] = []
    if octets is not None:
        try:
            believed = certificates(octets)
        except Bad:
            if given is not None:
                raise
            stamps.forged.append(Finding(f"{AUTHORITIES}: not certificates"))
    if entries and not believed:
        stamps.not_checked.append(f"{len(entries)} time stamps: nobody says whose are believed. Give --timestamps")
        return stamps
    if entries and given is None:
        stamps.not_checked.append(
            "whose time stamps they are: the authorities' certificates came with the export. Give --timestamps"
        )
    tokens = {
        hashlib.sha256(export.files[name]).hexdigest(): export.files[name]
        for name in export.below(FOLDER) if name.endswith(".tsr")
    }  # fmt: skip
    heads = _heads(export)
    named = {
        value for each in ledger.records if each.kind != "stamped" for value in each.facts.values()
        if isinstance(value, str)
    }  # fmt: skip
    for record in entries:
        try:
            made_s = _one(record, tokens, believed)
        except Bad as error:
            stamps.forged.append(Finding(f"a time stamp: {error}", (record.index,)))
            continue
        if abs(made_s - record.time_us // US) > MAX_SKEW_S:
            found.anomaly("a time stamp was made at another time than its entry says", record.index)
        subject = str(record.facts.get("subject_sha256"))
        if (day := heads.get(subject)) is None:
            stamps.documents += 1
            if subject not in named:
                gone = ledger.withheld or ledger.destroyed
                (found.notice if gone else found.anomaly)(
                    "a time stamp of something that is not here, and that no opened entry names", record.index
                )
        elif day in ("", _day(made_s)):
            day = _day(made_s)
            stamps.days.setdefault(day, []).append(str(record.facts.get("authority")))
        else:
            found.anomaly(f"the checkpoint of {day} was stamped on {_day(made_s)}", record.index)
    _missing(stamps, ledger, found)
    return stamps


def _heads(export: Export) -> dict[str, str]:
    """Each head of the export by the SHA-256 of its note, with the day in whose folder it lies; without a folder ""."""
    notes = [export.files[name] for name in LEDGER_HEADS if name in export.files]
    for name in HISTORIES:
        for line in (export.files.get(name) or b"").splitlines():
            try:
                notes.append(str(json.loads(line)).encode("utf-8", "replace"))
            except (ValueError, RecursionError):
                continue  # tree.py says so
    found = {hashlib.sha256(each).hexdigest(): "" for each in notes}
    for name in export.below(FOLDER):
        if day := _DAY.fullmatch(name):
            found[hashlib.sha256(export.files[name]).hexdigest()] = day[1]
    return found


def _one(record: Record, tokens: dict[str, bytes], believed: Sequence[x509.Certificate]) -> int:
    """When the stamp of an entry was made. Raises Bad."""
    token = tokens.get(str(record.facts.get("token_sha256")))
    if token is None:
        raise Bad("it is not in the export, or was changed")
    try:
        digest = bytes.fromhex(str(record.facts.get("subject_sha256")))
    except ValueError:
        raise Bad("its entry is of a form that this tool cannot judge") from None
    return timestamp.verify(token, digest, believed)


def _missing(stamps: Stamps, ledger: Ledger, found: Findings) -> None:
    """Days without a stamp, from the first that has one to the day before the last entry's."""
    if not stamps.days:
        return
    begin = datetime.date.fromisoformat(min(stamps.days))
    last = ledger.records[-1].time_us // US
    for n in range(MAX_DAYS):
        day = begin + datetime.timedelta(days=n)
        if day.isoformat() >= _day(last):
            break
        if day.isoformat() not in stamps.days:
            stamps.missing.append(day.isoformat())
    if stamps.missing:
        found.anomaly(f"{len(stamps.missing)} days without a time stamp: {_runs(stamps.missing)}")


def _runs(days: list[str]) -> str:
    """Days that follow each other as FIRST to LAST."""
    runs: list[list[datetime.date]] = []
    for each in map(datetime.date.fromisoformat, days):
        if runs and each - runs[-1][1] == datetime.timedelta(days=1):
            runs[-1][1] = each
        else:
            runs.append([each, each])
    return ", ".join(str(first) if first == last else f"{first} to {last}" for first, last in runs)


def _day(time_s: int) -> str:
    try:
        return datetime.datetime.fromtimestamp(time_s, datetime.UTC).strftime("%Y-%m-%d")
    except (OverflowError, ValueError, OSError):
        return ""
