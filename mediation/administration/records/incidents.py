"""Incidents: what reconciliation found, preserved, certified as unauthorized, and drafted as reports to the agencies.

Answers for the papers of each incident: the evidence (its SHA-256 is in the ledger) and one letter to each agency with
live cases, which names its own cases alone (47 CFR 1.20003(c)); and for the draft of the "unauthorized" certification
(1.20004(a): "with or without appropriate authorization"), which is kept with the others. Papers lie sealed below
DIR/administrator/incidents; officers and auditors read them by a signed request, and every reading is entered. Nothing
is sent from here: a report must not travel through what it suspects, so a person delivers it.

Papers are filled up, and letters to nobody lie between the others: a folder tells how many agencies have live cases to
a factor of four.

Order of things: papers first, durable; then the entries; the certification last. A crash between leaves papers without
an entry, and the next look finds the same thing again. Blocking. Trust in the files: a changed one does not open.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import msgspec

from mediation.administration.order.orders import Orders
from mediation.administration.order.stored import Stored
from mediation.core.authority import jws
from mediation.core.case import LIVE, LegalToken
from mediation.core.check import Check
from mediation.core.errors import AuthorizationError, ConfigurationError
from mediation.core.interface.control import Paper
from mediation.core.ledger import entry
from mediation.core.ledger.sealing import SealError
from mediation.core.records import incident
from mediation.core.records.alarm import Alarm
from mediation.core.records.incident import Finding, Observation
from mediation.runtime import durable, vault
from mediation.runtime.config import Site

FOLDER: Final = Path("administrator") / "incidents"
PURPOSE: Final = "records"
EVIDENCE = "evidence.json"
IDENTITY: Final = re.compile(r"[0-9]{1,12}-[0-9a-f]{16}")
MAX_INCIDENTS: Final = 10_000  # kept; beyond, entries alone are made, and counted
MAX_SHOWN: Final = 1_000
LEAST_OCTETS: Final = 8_192  # what a paper is filled up to, or to a power of two above it. Ours
LEAST_LETTERS, STEP = 8, 4  # how many letters there are, and from class to class. Ours


class Incidents:
    """Of one site."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders

    def open(self, finding: Finding, seen: Observation, now_ns: int) -> int:
        """Keeps the papers and makes the entries of one finding; how many agencies it concerns. Raises LedgerError,
        OSError."""
        orders, identity, now_us = self._orders, finding.identity, now_ns // 1000
        evidence = msgspec.json.encode({"finding": finding, "observation": seen, "host": _host()})
        digest = hashlib.sha256(evidence).hexdigest()
        agencies = live_cases(orders) if finding.what.interception else {}
        papers = {EVIDENCE: evidence}
        nobody: list[tuple[str, set[str]]] = [("", set())] if finding.what.interception else []
        for number, (agency, cases) in enumerate(sorted(agencies.items()) or nobody):
            text = incident.letter(
                finding, site=orders.site.name, lab=orders.site.lab, agency=agency, cases=tuple(cases), found_us=now_us,
                evidence_sha256=digest,
            )  # fmt: skip
            papers[f"letter-{number}.txt"] = text.encode()
        self._keep(identity, papers)
        record = entry.Incident(
            time_us=now_us, incident=identity, what=finding.what.value, evidence_sha256=digest, agencies=len(agencies)
        )
        orders.note(record, stop=True)
        if finding.what.interception:
            orders.alarms.sound(Alarm.UNAUTHORIZED_TAP, now_ns, detail=f"{finding.what} {identity}")
            orders.records.certificates.draft_unauthorized(
                (finding.place,), incident=identity, found_us=now_us, evidence_sha256=digest, now_ns=now_ns
            )
        orders.alarms.sound(Alarm.INCIDENT, now_ns, detail=identity)
        return len(agencies)

    def _keep(self, identity: str, papers: dict[str, bytes]) -> None:
        folder = self._orders.site.path / FOLDER / identity
        if not folder.exists() and len(_folders(self._orders.site)) >= MAX_INCIDENTS:
            self._orders.counters["incidents_not_kept"] += 1
            return
        durable.make_folder(folder.parent)
        durable.make_folder(folder)
        box = vault.unlock(self._orders.site)
        letters = LEAST_LETTERS
        while letters < len(papers) - 1:
            letters *= STEP
        names = (EVIDENCE, *(f"letter-{number}.txt" for number in range(letters)))
        durable.replace_all(
            [
                (folder / name, box.seal(PURPOSE, _filled(papers.get(name, b"")), _associated(identity, name)))
                for name in names
            ]
        )

    def read(self, identity: str | None) -> Iterator[Paper]:
        """The papers of one incident, or of the newest. Raises AuthorizationError for a malformed name,
        ConfigurationError for a paper that does not open."""
        site = self._orders.site
        if identity is not None and not IDENTITY.fullmatch(identity):
            raise AuthorizationError(Check.STRUCTURE, "incident")
        box = vault.unlock(site)
        names = _folders(site)[-MAX_SHOWN:] if identity is None else [identity]
        for each in names:
            folder = site.path / FOLDER / each
            for path in sorted(folder.iterdir()) if folder.is_dir() else ():
                if path.suffix == durable.UNFINISHED:
                    continue
                try:
                    octets = box.open(PURPOSE, path.read_bytes(), _associated(each, path.name))
                except (OSError, SealError):
                    raise ConfigurationError(f"incident {each}: {path.name} does not open") from None
                if text := octets.rstrip(b"\0")[:-1].decode():  # not a letter to nobody
                    yield Paper(incident=each, name=path.name, text=text)


def live_cases(orders: Iterable[Stored]) -> dict[str, set[str]]:
    """Case identities of live orders, by agency."""
    found: dict[str, set[str]] = {}
    for order in orders:
        if order.state in LIVE:
            legal = jws.decode(jws.split(order.legal).payload, LegalToken)
            found.setdefault(legal.agency, set()).add(order.case)
    return found


def _folders(site: Site) -> list[str]:
    try:
        return sorted(path.name for path in (site.path / FOLDER).iterdir() if IDENTITY.fullmatch(path.name))
    except FileNotFoundError:
        return []


def _filled(octets: bytes) -> bytes:
    """The octets, a mark and zeros (ISO/IEC 7816-4 padding)."""
    return (octets + b"\x80").ljust(max(LEAST_OCTETS, 1 << len(octets).bit_length()), b"\0")


def _associated(identity: str, name: str) -> bytes:
    return f"incident {identity} {name}".encode()


def _host() -> dict[str, str]:
    """The machine and its kernel, as evidence has it."""
    name = os.uname()
    return {"host": name.nodename, "kernel": name.release, "machine": name.machine}
