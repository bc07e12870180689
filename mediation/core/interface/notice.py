"""Notices of an access function about the content of a call, as X2 PDUs of the proprietary format (ext/lapse.pxd).

Answers for telling them from the digits that have the same format. A notice changes what the agency is told and which
channel is open, and nothing else: it can open none.

Layout: version (2), what is noticed.
"""

from __future__ import annotations

import enum
import struct
from typing import Final

from mediation.core.interface.x2 import PayloadFormat, Pdu

LAYOUT: Final = struct.Struct("!BB")
VERSION: Final = 2  # 1 is a digit (INBAND_DIGIT)


class Notice(enum.IntEnum):
    DOUBTED = 1  # packets come that fit the call's addresses, and nothing shows that they are its own: they do not pass
    LAPSED_SESSION = 2  # its session timer ran out, and nothing was heard of it: nothing passes any more
    LAPSED_DOUBTED = 3  # the same, because only such packets came
    LAPSED_SILENT = 4  # the same, because nothing came


_NOTICES: Final = {int(each): each for each in Notice}


def notice_of(pdu: Pdu) -> Notice | None:
    """The notice in this PDU; None when it has none."""
    if pdu.payload_format != PayloadFormat.PROPRIETARY or len(pdu.payload) != LAYOUT.size:
        return None
    version, what = LAYOUT.unpack(pdu.payload)
    return _NOTICES.get(what) if version == VERSION else None
