"""The call content channels (CCC) that one agency procured for one order: which are in use, and what they are called.

Answers for the number that the order names (T1.678's CCUnavailable says when none is free) and for identifiers that no
two channels in use share. It opens nothing: core/channel/content.py says when a call takes one and gives it back.

CCC identifiers are 32 bits (PacketCable), as 8 upper-case hexadecimal digits. They come of the order, the access point,
the call and the direction by SHA-256, so that a restart gives a call in progress the identifiers it had.
"""

from __future__ import annotations

import hashlib
from typing import Final

from mediation.core.case import ContentDestination
from mediation.core.message.ccc import Channel, Form

SEPARATED: Final = ("transmit", "receive")
COMBINED: Final = ("combined",)


class Channels:
    """The channels that one agency procured for one order. `taken` are the identifiers in use, of all orders."""

    def __init__(self, xid: bytes, destination: ContentDestination, taken: set[str] | None = None) -> None:
        self.form = Form(destination.form)
        self.link_up = True  # until the delivery function knows better
        self.used = 0
        self.refused = 0  # calls that found none free
        self._xid = xid
        self._maximum = destination.maximum
        self._names = SEPARATED if destination.channels == "separated" else COMBINED
        self._taken = set() if taken is None else taken

    def take(self, iap: str, call: str) -> Channel | None:
        """A channel for one call, or None when all are in use."""
        if self.used >= self._maximum:
            return None
        self.used += 1
        return Channel(**{name: self._identifier(iap, call, name) for name in self._names})

    def give_back(self, channel: Channel) -> None:
        self.used -= 1
        self._taken -= {channel.combined or "", channel.transmit or "", channel.receive or ""}

    def _identifier(self, iap: str, call: str, direction: str) -> str:
        facts = b"\0".join((self._xid, iap.encode(), call.encode("utf-8", "surrogateescape"), direction.encode()))
        probe = 0
        while True:
            found = hashlib.sha256(facts + probe.to_bytes(4, "big")).hexdigest()[:8].upper()
            if found not in self._taken:
                self._taken.add(found)
                return found
            probe += 1
