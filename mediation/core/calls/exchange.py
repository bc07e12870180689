"""What an exchange of descriptions inside a call changed, and the small facts of a message that go with it.

Answers for turning an offer and its answer (RFC 3264) into the event that `media` finds in it, and for the Contact and
the cause that a message states. It remembers nothing but what the call does.
"""

from __future__ import annotations

from typing import Final

from mediation.core.calls.dialog import Call
from mediation.core.calls.event import Event, Reading
from mediation.core.channel.media import Change, Description, Side
from mediation.core.message import cdc
from mediation.core.network.party import addresses
from mediation.core.network.sip import NameAddr, SipMessage

HOLD_EVENTS: Final = {
    Change.HELD: Event.HELD,
    Change.HOLD: Event.HOLD,
    Change.RETRIEVED: Event.RETRIEVED,
    Change.MEDIA: Event.MEDIA,
}


def agreed(
    call: Call,
    message: SipMessage,
    offerer: Side,
    offer: Description | None,
    answer: Description | None,
    *,
    moved: bool = False,
) -> list[Reading]:
    both = ((offerer, offer), (offerer.other, answer))
    given = tuple((side, body) for side, body in both if body is not None)
    if not call.answered:
        news = [call.media.set_up(side, body) for side, body in given]
        change = Change.MEDIA if any(news) else Change.NOTHING
    else:
        change = call.media.agree(offerer, offer, answer)
    if change is Change.NOTHING and moved:
        change, given = Change.MEDIA, ()
    event = HOLD_EVENTS.get(change)
    return [Reading(event, message, call.winner, offerer, given)] if event else []


def cause_of(message: SipMessage) -> cdc.Cause | None:
    """Release.cause: the status line of a response, and every Reason (RFC 3326)."""
    lines = [f"SIP/2.0 {message.status} {message.reason}".rstrip()] if message.status else []
    lines += [f"Reason: {value}" for value in message.all("reason")]
    return cdc.Cause(sip=tuple(lines)) if lines else None


def contact_of(message: SipMessage) -> str:
    return next((each.uri for each in addresses(message, "contact")), "")


def preference(contact: NameAddr) -> float:
    """The q value of RFC 3261 20.10; 1 when there is none."""
    try:
        return min(1.0, max(0.0, float(contact.parameter("q") or 1)))
    except ValueError:
        return 1.0
