"""Reads a site's key rings and the ledger's public key: the whole of what a function believes.

The rings are public, owned by root and read-only to every function. A ring that somebody else could write to is
refused, and so is a missing or malformed one: a function without trust does not start (SEC-28).
"""

from __future__ import annotations

import stat
from collections.abc import Iterable
from pathlib import Path

import msgspec

from mediation.core import note
from mediation.core.case import Role
from mediation.core.errors import ConfigurationError
from mediation.core.trust import Ring, Trust
from mediation.runtime.config import Site

LEDGER = "ledger.pub"
MAX_RING_OCTETS = 1 << 20  # four thousand keys


def ring_path(folder: Path, role: Role) -> Path:
    return folder / f"{role}.json"


def read_ring(folder: Path, role: Role) -> tuple[Ring, bytes]:
    """One ring and the exact octets of its file. Raises ConfigurationError."""
    path = ring_path(folder, role)
    octets = _read(path)
    try:
        ring = msgspec.json.decode(octets, type=Ring)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigurationError(f"keys/{path.name}: {error}") from error
    if ring.role is not role:
        raise ConfigurationError(f"keys/{path.name}: is the ring of another role")
    return ring, octets


def read_verifier(folder: Path) -> note.Verifier:
    """The ledger's public key. Raises ConfigurationError."""
    try:
        return note.Verifier.parse(_read(folder / LEDGER).decode())
    except ValueError as error:
        raise ConfigurationError(f"keys/{LEDGER}: {error}") from error


def load_trust(site: Site, revoked: Iterable[str] = ()) -> Trust:
    """What this site's functions believe, for `authorization.admit`. Raises ConfigurationError."""
    rings = [read_ring(site.keys_dir, role)[0] for role in Role]
    try:
        return Trust(rings, read_verifier(site.keys_dir), lab=site.lab, revoked=revoked)
    except ValueError as error:
        raise ConfigurationError(str(error)) from error


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            mode = path.stat().st_mode
            octets = file.read(MAX_RING_OCTETS + 1)
    except OSError as error:
        raise ConfigurationError(f"keys/{path.name}: {error.strerror}") from error
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ConfigurationError(f"keys/{path.name}: others than its owner can write to it")
    if len(octets) > MAX_RING_OCTETS:
        raise ConfigurationError(f"keys/{path.name}: too large")
    return octets
