"""Content kept on request: one capture file for each channel, raw IP, as any analyser opens it.

Format: pcap with nanosecond stamps (draft-ietf-opsawg-pcap), link type 101 (LINKTYPE_RAW). Only the collection side has
this, and only when it is asked for: the carrier's functions never write content.
"""

from __future__ import annotations

import os
import re
import struct
from collections import OrderedDict
from pathlib import Path
from typing import BinaryIO, Final

from mediation.collection.content_account import ChannelAccount
from mediation.collection.content_decoder import ContentPacket
from mediation.core.units import NS

MAX_OPEN: Final = 256  # files; the one that was quiet longest is closed and opened again when it goes on
SNAPLEN: Final = 1 << 17
_FILE: Final = struct.Struct("!IHHiIII")
_PACKET: Final = struct.Struct("!IIII")
_UNFIT: Final = re.compile(r"[^A-Za-z0-9._-]")


class ContentCapture:
    """Writes below `folder`, which it makes for its owner alone. Raises OSError."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        self._open: OrderedDict[str, BinaryIO] = OrderedDict()

    def packet(self, channel: ChannelAccount, packet: ContentPacket) -> None:
        """For ContentAccount's `on_packet`."""
        way = packet.direction or channel.direction or "unknown"
        name = _UNFIT.sub("_", f"{channel.case}-{channel.ccc or 'unknown'}-{way}.pcap").lstrip(".")
        file = self._file(name)
        size = len(packet.packet)
        file.write(_PACKET.pack(*divmod(packet.timestamp_ns or 0, NS), size, size) + packet.packet)
        file.flush()

    def _file(self, name: str) -> BinaryIO:
        file = self._open.get(name)
        if file is not None:
            self._open.move_to_end(name)
            return file
        if len(self._open) >= MAX_OPEN:
            self._open.popitem(last=False)[1].close()
        descriptor = os.open(
            self._folder / name, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
        )
        file = self._open[name] = os.fdopen(descriptor, "ab")
        if not file.tell():
            file.write(_FILE.pack(0xA1B23C4D, 2, 4, 0, 0, SNAPLEN, 101))
        return file

    def close(self) -> None:
        while self._open:
            self._open.popitem()[1].close()
