"""What an append that was interrupted left of itself: entries and tiles that no checkpoint covers.

Answers for taking them away before the next append (ledger.py), and for completing the history of checkpoints. Nobody
was told of any of it, for an append has returned only when its checkpoint is durable. It signs nothing. Blocking.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from mediation.administration.ledger import tiles
from mediation.administration.ledger.tiles import HISTORY, WIDTH, Folder, Line
from mediation.core.ledger.sealing import Sealer
from mediation.runtime import durable


def cut(files: Folder, box: Sealer | None, size: int, checkpoint: str) -> None:
    """Takes away what stands beyond the `size` entries of `checkpoint`, the last that was signed. Raises OSError."""
    folder = files.path
    last = size // WIDTH
    path = folder / tiles.records(last)
    if path.exists():
        kept = _before(size, files.read(tiles.records(last)) or b"")
        durable.replace(path, b"".join(tiles.sealed(line, box) for line in kept))
    for later in (folder / "records").rglob("*.jsonl"):
        if tiles.place(later.relative_to(folder / "records").as_posix())[0] > last:
            durable.remove(later)
    for level in sorted(path.name for path in (folder / "tile").iterdir()):
        at = size if level == "entries" else size >> (int(level) * tiles.HEIGHT)
        last, width = divmod(at, WIDTH)
        for path in (path for path in (folder / "tile" / level).rglob("*") if path.is_file()):
            n, wide = tiles.place(path.relative_to(folder / "tile" / level).as_posix().removesuffix(".new"))
            if n > last or (n == last and wide > width) or path.suffix == ".new":
                path.unlink()
    history = folder / HISTORY
    lines = history.read_bytes().splitlines() if history.exists() else []
    current = msgspec.json.encode(checkpoint)
    if not lines or lines[-1] != current:
        durable.append_line(history, current + b"\n")


def _before(size: int, octets: bytes) -> Iterator[Line]:
    """The lines of a records file that stand before `size`, up to the first that cannot be read."""
    for text in octets.splitlines():
        try:
            line = msgspec.json.decode(text, type=Line)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return
        if line.index >= size:
            return
        yield line
