"""Folders of no link, so that the spool does not tell how many destinations have one (SEC-19).

A link's folder has a name of chance, a cursor and two segments, all of them chance to who has no key (spool.py). A
decoy has the same; by its name alone, and to the holder of the key, it is known for what it is (runtime/cover.py).
There are as many as fill the class: 4, 8, 16 … links. What an earlier process made keeps its name, as links do, and
gets other octets. Once in TURN_S all files of links and decoys get the time of day, so that none is told by when it
was written.

Answers for that, in a thread beside the events. Gives way: on a disk without room to spare no decoy is made, and when
it is nearly full they go. Trust: none; who adds or removes decoys changes nothing but what a thief sees.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Final

from mediation.core.ledger.sealing import Namer
from mediation.delivery import cursor
from mediation.delivery import segment as segments
from mediation.delivery.spool import CURSOR, SEGMENTS
from mediation.runtime import durable
from mediation.runtime.cover import NAME_OCTETS, is_made_up, made_up

LEAST_LINKS: Final = 4  # and twice as many from class to class: a decoy costs 8 MiB. Ours
TURN_S: Final = 1.0  # a decoy is made or renewed in each, until all are there
FILES: Final = 2  # segments of a link without a queue: one to write, one to spare
ROOM_TO_SPARE, ROOM_NEEDED = 64, 16  # segments, free on the disk: below them none is made, and they go. Ours


class DecoyLinks:
    """Of one spool folder. `names` makes the links' names, `box` seals their records; `octets` is a segment's size."""

    def __init__(self, folder: Path, names: bytes, box: Namer, octets: int) -> None:
        self._folder = folder
        self._names = names
        self._key = box.derived(SEGMENTS)
        self._octets = octets
        self._fresh: set[str] = set()  # made or renewed by this process

    def is_decoy(self, path: Path) -> bool:
        try:
            name = bytes.fromhex(path.name)
        except ValueError:
            return False
        return len(name) == NAME_OCTETS and is_made_up(name, self._names)

    def turn(self) -> None:
        """One step towards what should be there. Blocks for some 20 ms. Raises nothing for a disk."""
        with suppress(OSError):
            self._step()
        with suppress(OSError):
            self.touch()

    def touch(self) -> None:
        """All files and folders get the same time. Raises OSError."""
        folders = [path for path in self._folder.iterdir() if path.is_dir()]
        for path in (*folders, *(file for folder in folders for file in folder.iterdir())):
            with suppress(FileNotFoundError):  # segments come and go
                os.utime(path)

    def _step(self) -> None:
        folders = [path for path in self._folder.iterdir() if path.is_dir()]
        decoys = [path for path in folders if self.is_decoy(path)]
        links = len(folders) - len(decoys)
        wanted = LEAST_LINKS
        while wanted < links:
            wanted *= 2
        room = os.statvfs(self._folder)
        free = room.f_bavail * room.f_frsize // self._octets
        keep = 0 if free < ROOM_NEEDED else wanted - links
        for path in decoys[keep:]:
            shutil.rmtree(path)
        due = [path for path in decoys[:keep] if path.name not in self._fresh]
        if not due and len(decoys) < keep and free >= ROOM_TO_SPARE:
            due.append(self._folder / made_up(self._names).hex())
        for path in due[:1]:
            self._renew(path)
            self._fresh.add(path.name)

    def _renew(self, path: Path) -> None:
        """Its files as those of a link whose process has just started, whatever there was."""
        durable.make_folder(path)
        for file in path.iterdir():
            if file.name != CURSOR:
                file.unlink()
        cursor.imitate(path / CURSOR)
        for _ in range(FILES):
            segments.prepare_spare(path, self._octets, self._key).close()
