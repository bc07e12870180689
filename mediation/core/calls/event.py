"""What can happen to a call, and one such event with what the messages about it need to know.

Answers for the two types alone: `reading` makes the events, `transitions` says what follows, `report` tells them.
"""

from __future__ import annotations

import enum

import msgspec

from mediation.core.calls.dialog import Leg, Target
from mediation.core.calls.transfer import Referral
from mediation.core.channel.media import Description, Side
from mediation.core.network.sip import SipMessage


class Event(enum.Enum):
    """What can happen to a call."""

    INVITE = "INVITE"  # the initial one, or again under the same Call-ID
    RETARGET = "INVITE to somebody else"
    MIDCALL = "request inside the call, its answer not seen"
    RINGING = "180"
    FORWARDED = "181"
    QUEUED = "182"
    TONE = "18x that names a tone"
    FEATURE = "INVITE to a service code that is no call"
    ANSWER = "2xx"
    RETRY = "401, 407, …"
    REDIRECT = "3xx"
    FAILURE = "4xx–6xx"
    CANCEL = "CANCEL"
    BYE = "BYE"
    MEDIA = "new media"
    HELD = "hold"
    HOLD = "hold by the other side too"
    RETRIEVED = "retrieve"
    REFER = "REFER by the subject"
    REFERRED = "REFER to the subject"
    MOVED = "a REFER was carried out"
    ROSTER = "conference document"
    TIMEOUT = "time"
    EVICTED = "no room"

    __hash__ = object.__hash__  # members are singletons; Enum's own hash is Python, and the table asks for it often


class Reading(msgspec.Struct, frozen=True):
    """One event, and what the messages about it need to know."""

    event: Event
    message: SipMessage | None = None
    leg: Leg | None = None
    side: Side | None = None  # who did it
    descriptions: tuple[tuple[Side, Description], ...] = ()  # that are news
    target: Target | None = None  # of RETARGET and REDIRECT
    referral: Referral | None = None  # of REFER, REFERRED and MOVED
