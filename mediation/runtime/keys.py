"""Reads what a function believes: the site's roster, the pin of its founding, the ledger's public key, its witnesses.

`keys/founding` and `keys/ledger.pub` are public, owned by root and read-only to every function. `keys/roster.jsonl`
proves itself from the founding on (core/authority/roster.py), so the administrator may append to it. A file that
somebody else could write to is refused, and so is a missing or malformed one: a function without trust does not start
(SEC-28). A site that nobody has founded yet has neither roster nor pin, and nobody whose signature counts.
`keys/witness.policy` (C2SP tlog-policy) is owned by root like the pin; until it is there, nothing can be admitted.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable
from pathlib import Path

from mediation.core.authority.roster import MAX_LINE_OCTETS, Roster
from mediation.core.authority.trust import Trust
from mediation.core.errors import AuthorizationError, ConfigurationError
from mediation.core.ledger import note, policy
from mediation.runtime.config import Site

LEDGER = "ledger.pub"
ROSTER = "roster.jsonl"
FOUNDING = "founding"
POLICY = "witness.policy"
MAX_ROSTER_OCTETS = 64 * MAX_LINE_OCTETS  # 16 MiB: sixteen thousand ordinary changes

_SHA256 = re.compile(r"[0-9a-f]{64}\n")


def read_verifier(folder: Path) -> note.Verifier:
    """The ledger's public key. Raises ConfigurationError."""
    try:
        return note.Verifier.parse(_read(folder / LEDGER).decode())
    except ValueError as error:
        raise ConfigurationError(f"keys/{LEDGER}: {error}") from error


def read_lines(folder: Path) -> list[str]:
    """The roster's lines as they stand. What a crash tore at the end is not a line. Raises ConfigurationError."""
    try:
        return _read(folder / ROSTER).decode().split("\n")[:-1]
    except UnicodeDecodeError:
        raise ConfigurationError(f"keys/{ROSTER}: not text") from None


def load_roster(folder: Path, site: str, *, lab: bool) -> Roster:
    """The judged roster of the ledger `site`; empty before the founding. Raises ConfigurationError."""
    if not (folder / ROSTER).exists() and not (folder / FOUNDING).exists():
        return Roster(site, lab=lab)
    pin = _read(folder / FOUNDING).decode(errors="replace")
    if not _SHA256.fullmatch(pin):
        raise ConfigurationError(f"keys/{FOUNDING}: not a SHA-256")
    try:
        return Roster.replay(read_lines(folder), pin.strip(), site, lab=lab)
    except AuthorizationError as error:
        raise ConfigurationError(f"keys/{ROSTER}: {error}") from error


def load_trust(site: Site, revoked: Iterable[str] = ()) -> Trust:
    """What this site's functions believe, for `authorization.admit`. Raises ConfigurationError."""
    ledger = read_verifier(site.keys_dir)
    trust = Trust.of(
        load_roster(site.keys_dir, ledger.name, lab=site.lab), ledger, lab=site.lab, policy=read_policy(site),
        revoked=revoked,
    )  # fmt: skip
    trust.terms = site.terms.limits()
    return trust


def read_policy(site: Site) -> policy.Policy | None:
    """Whose cosignatures count; None when nobody was named yet. Raises ConfigurationError for a malformed file."""
    if not (site.keys_dir / POLICY).exists():
        return None
    try:
        return policy.parse(_read(site.keys_dir / POLICY), lab=site.lab)
    except ValueError as error:
        raise ConfigurationError(f"keys/{POLICY}: {error}") from error


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode  # of what is read, whatever has the name meanwhile
            octets = file.read(MAX_ROSTER_OCTETS + 1)
    except OSError as error:
        raise ConfigurationError(f"keys/{path.name}: {error.strerror}") from error
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ConfigurationError(f"keys/{path.name}: others than its owner can write to it")
    if len(octets) > MAX_ROSTER_OCTETS:
        raise ConfigurationError(f"keys/{path.name}: too large")
    return octets
