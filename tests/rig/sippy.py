"""sippy 2.5's back-to-back user agent (`b2bua_simple`): every call that comes in goes out as a call of its own.

It keeps the Call-ID on both legs, with other tags, branches and Contact.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

from tests.rig.kamailio import SIP_PORT
from tests.rig.process import Peer

PROBE_PORT = 5996
PROGRAM = """
import os, sys
os.environ["SIPLOG_BEND"] = "none"
from sippy.b2bua_simple import main_func
main_func()
"""


def possible() -> str:
    """Empty when it can be started here, otherwise what is missing."""
    return "" if find_spec("sippy") else "sippy not installed"


class BackToBack(Peer):
    """One agent; all calls go on to `next_hop`."""

    name = "sippy"

    def __init__(self, namespace: str, address: str, folder: Path, *, next_hop: str) -> None:
        program = [sys.executable, "-u", "-c", PROGRAM, "-f", "-l", address, "-p", str(SIP_PORT), "-n", next_hop]
        super().__init__(namespace, program, folder)
        self._address = address

    def until_ready(self) -> None:
        """Answers NOTIFY outside of a dialog with 200."""
        address = self._address
        self.until_answered(address, SIP_PORT, (
            f"NOTIFY sip:{address} SIP/2.0\r\nVia: SIP/2.0/UDP {address}:{PROBE_PORT};branch=z9hG4bK-ready\r\n"
            f"From: <sip:ready@{address}>;tag=r\r\nTo: <sip:{address}>\r\nCall-ID: ready\r\nCSeq: 1 NOTIFY\r\n"
            "Max-Forwards: 5\r\nContent-Length: 0\r\n\r\n"
        ).encode(), own=(address, PROBE_PORT))  # fmt: skip
