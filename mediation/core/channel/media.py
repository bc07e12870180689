"""What the two sides of a call agreed on for their media: offer and answer (RFC 3264), hold, and what counts as a
change.

Answers for two questions after each exchange: is a side now put on hold or retrieved (RFC 3264 section 8.4; 47 CFR
1.20007(b)(2)), and is anything new that the collection function has not been told. It carries no media and keeps at
most one description for each side.

What is not a change, although octets differ: a session refresh (the same `o=` version, RFC 3264 section 8), and the
second copy of a description on the other side of a proxy that anchors media (the same `o=`, other addresses).
"""

from __future__ import annotations

import enum
from functools import cached_property
from typing import Any

from mediation.core.network.sdp import Direction, Sdp, parse_sdp


class Side(enum.IntEnum):
    """The two ends of a call, by who sent the initial INVITE."""

    CALLER = 0
    CALLEE = 1

    @property
    def other(self) -> Side:
        return Side.CALLEE if self is Side.CALLER else Side.CALLER


class Change(enum.Enum):
    """What an exchange did."""

    NOTHING = "nothing"
    HELD = "held"  # media flowed both ways until now
    HOLD = "hold"  # the hold of one side changed, media stay suspended by the other
    RETRIEVED = "retrieved"  # media flow both ways again
    MEDIA = "media"  # codecs, streams or addresses


class Description:
    """A session description as received; read only when somebody asks what is in it."""

    def __init__(self, body: bytes) -> None:
        self.body = body

    @cached_property
    def sdp(self) -> Sdp | None:
        return parse_sdp(self.body)

    @property
    def text(self) -> str:
        if self.body.startswith(b"v="):
            return self.body.decode("utf-8", "surrogateescape")
        return self.sdp.text if self.sdp else ""

    def same_as(self, other: Description | None) -> bool:
        """Nothing in this description is news to who has `other`."""
        if other is None:
            return False
        if self.body == other.body:
            return True
        if self.sdp is None or other.sdp is None:
            return self.sdp is other.sdp
        if _shape(self.sdp) != _shape(other.sdp):
            return False
        return self.sdp.origin == other.sdp.origin or _addresses(self.sdp) == _addresses(other.sdp)


def describe(body: bytes) -> Description | None:
    """The description in a SIP body, or None when the body is empty or holds none."""
    if not body:
        return None
    found = Description(body)
    return found if body.startswith(b"v=") or found.sdp is not None else None


class Exchange:
    """The media of one call: the description in force on each side, and who holds."""

    __slots__ = ("changed_by", "descriptions", "holding", "removed_by")

    def __init__(self) -> None:
        self.descriptions: list[Description | None] = [None, None]
        self.holding = [False, False]
        self.changed_by = Side.CALLER  # who held or retrieved last
        self.removed_by = Side.CALLER  # whose hold suspended the media

    def set_up(self, side: Side, description: Description | None) -> bool:
        """Before the call is answered there is nothing to hold. True when the description is news."""
        if description is None or description.same_as(self.descriptions[side]):
            return False
        self.descriptions[side] = description
        return True

    def agree(self, offerer: Side, offer: Description | None, answer: Description | None) -> Change:
        """An exchange in an answered call that the other side accepted. `offer` is None when only its answer is new
        (it came in an ACK); both None is an exchange without a body."""
        before = any(self.holding)
        was = tuple(self.holding)
        news = False
        if offer is not None and not offer.same_as(self.descriptions[offerer]):
            self.holding[offerer] = offer.sdp is not None and offer.sdp.held
            self.descriptions[offerer] = offer
            news = True
        if answer is not None and not answer.same_as(self.descriptions[offerer.other]):
            if _invites_both_ways(self.descriptions[offerer]):
                self.holding[offerer.other] = answer.sdp is not None and answer.sdp.held
            self.descriptions[offerer.other] = answer
            news = True
        if tuple(self.holding) != was:
            self.changed_by = offerer if self.holding[offerer] != was[offerer] else offerer.other
            if not before:
                self.removed_by = self.changed_by
                return Change.HELD
            return Change.HOLD if any(self.holding) else Change.RETRIEVED
        return Change.MEDIA if news else Change.NOTHING


def _invites_both_ways(offer: Description | None) -> bool:
    """Only then does a one-way answer come from the answerer's own will (RFC 3264 section 6.1)."""
    if offer is None or offer.sdp is None:
        return False
    return any(m.port and m.direction is Direction.SENDRECV and not m.held for m in offer.sdp.media)


def _shape(sdp: Sdp) -> tuple[Any, ...]:
    return tuple((m.kind, m.port != 0, m.protocol, m.direction, m.held, m.codecs) for m in sdp.media)


def _addresses(sdp: Sdp) -> tuple[Any, ...]:
    return tuple((m.address, m.port) for m in sdp.media)
