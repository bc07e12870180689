"""The vault of sites that tests make by hand: one key for all of them, handed to every process as a credential."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from mediation.core.ledger.sealing import Box
from mediation.runtime import vault, wrapping
from mediation.runtime.memory import Secret

KEY = bytes(range(32))
IDENTITY = "0123456789abcdef" * 2


def box() -> Box:
    """What seals for a test; each call is another process's."""
    return Box(KEY, os.urandom(12))


def derived(site: Any = None) -> vault.Vault:
    return vault.derive(site, IDENTITY, Secret.of(KEY))


def furnish(site_folder: Path) -> None:
    """Gives a hand-made site its vault; `hand_out` gives its processes the keys."""
    wrapped = wrapping.Wrapped(vault=IDENTITY, checks=derived().checks(), wrap=wrapping.Handed())
    wrapping.write(site_folder / "keys", wrapped)


def hand_out(folder: Path) -> None:
    """The credential of all functions of such sites, for this process and those it starts."""
    path = folder / vault.CREDENTIAL
    path.write_bytes(derived(SimpleNamespace(path=folder)).bundle(vault.ALL))
    path.chmod(0o600)
    os.environ["CREDENTIALS_DIRECTORY"] = str(folder)
