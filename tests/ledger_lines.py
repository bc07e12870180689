"""A ledger's records file as whoever has the vault's key sees it: opened, changed, and sealed again."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import msgspec

from mediation.administration.ledger import tiles
from mediation.core.ledger.sealing import PREFIX_OCTETS, Box

BOX = Box(bytes(range(32)), os.urandom(PREFIX_OCTETS))
FILE = "records/000.jsonl"


def opened(folder: Path, name: str = FILE) -> bytes:
    return tiles.opened((folder / name).read_bytes(), BOX)


def read(folder: Path, name: str = FILE) -> list[dict[str, Any]]:
    return [json.loads(line) for line in opened(folder, name).splitlines()]


def write(folder: Path, lines: list[dict[str, Any]], name: str = FILE) -> None:
    put(folder, [msgspec.convert(line, tiles.Line) for line in lines], name)


def put(folder: Path, lines: list[tiles.Line], name: str = FILE) -> None:
    (folder / name).write_bytes(b"".join(tiles.sealed(line, BOX) for line in lines))
