"""REFER inside a call (RFC 3515): who asks whom, and how far it has come.

Answers for the events of REFER, of the answer to it and of NOTIFY; what is asked for stays in the call (`referrals`)
until it is carried out or refused. What that does to the subject's calls is `association`'s affair.
"""

from __future__ import annotations

from mediation.core.calls.dialog import Call
from mediation.core.calls.event import Event, Reading
from mediation.core.calls.transfer import referral, referred_as
from mediation.core.network import signal
from mediation.core.network.sip import SipMessage


def refer(call: Call, message: SipMessage) -> list[Reading]:
    """REFER or REFERRED; none for a copy, and for a request that is the same again after a challenge."""
    tag = message.from_.tag
    if call.is_copy(("REFER", message.cseq, tag)):
        return []
    side = call.side_of(tag, message.to.tag)
    by_subject = side is None or side is call.subject_side  # None: outside of the dialog, to the subject's conference
    asked = referral(call, message, by_subject=by_subject)
    if asked is None:
        return []
    again = (by_subject, asked.target, asked.method)
    for key, other in call.referrals.items():
        if not other.settled and (other.by_subject, other.target, other.method) == again:
            call.referrals[tag, message.cseq] = call.referrals.pop(key)  # or a back-to-back agent sends it on
            return []
    call.refer((tag, message.cseq), asked)
    return [Reading(Event.REFER if by_subject else Event.REFERRED, message, call.winner, side, referral=asked)]


def refused(call: Call, message: SipMessage) -> None:
    """The answer to a REFER: one that is refused for good moves nobody."""
    asked = call.referrals.get((message.from_.tag, message.cseq))
    if asked is not None and message.status >= 300 and message.status not in signal.RETRIED:
        asked.settled = True


def notify(call: Call, message: SipMessage) -> list[Reading]:
    """MOVED when a REFER of the subject was carried out; ROSTER when a focus says who is in the conference."""
    if call.is_copy(("NOTIFY", message.cseq, message.from_.tag)):
        return []
    told = referred_as(message)
    if told is None:
        return [Reading(Event.ROSTER, message, call.winner)] if call.focus else []
    identity, status = told
    pending = [(key, each) for key, each in call.referrals.items() if each.by_subject and not each.settled]
    first = pending[0][1] if pending else None
    asked = next((each for (_, cseq), each in pending if str(cseq) == identity), first)
    if asked is None or status is None or status < 200:
        return []
    if status >= 300:
        asked.settled = True
        return []
    return [Reading(Event.MOVED, message, call.winner, referral=asked)]
