"""What a SIP message means for the call it belongs to: message and memory in, events out.

Answers for every judgement that is not in the table of `call`: is it a copy, which dialog is it about, is a final
response the last word. It sends nothing and moves no call from one state to another.

Is it the last word? Only a final response on the outermost hop is (see `dialog`), or the ACK to one that we missed.
What fails inside the network is remembered and says nothing: the proxy may go elsewhere, seen here or not.
"""

from __future__ import annotations

import enum
from typing import Final, NamedTuple

import msgspec

from mediation.core import cdc, signal
from mediation.core.dialog import Call, Leg, Offer, Target
from mediation.core.forwarding import Whereabouts, contact_key
from mediation.core.media import Change, Description, Side, describe
from mediation.core.party import Directory, addresses, diversions
from mediation.core.sip import NameAddr, SipMessage
from mediation.core.x2 import Direction, Pdu, Role


class Event(enum.Enum):
    """What can happen to a call."""

    INVITE = "INVITE"  # the initial one, or again under the same Call-ID
    RETARGET = "INVITE to somebody else"
    MIDCALL = "request inside the call, its answer not seen"
    RINGING = "180"
    FORWARDED = "181"
    QUEUED = "182"
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
    TIMEOUT = "time"
    EVICTED = "no room"


HOLD_EVENTS: Final = {
    Change.HELD: Event.HELD,
    Change.HOLD: Event.HOLD,
    Change.RETRIEVED: Event.RETRIEVED,
    Change.MEDIA: Event.MEDIA,
}


class Reading(msgspec.Struct, frozen=True):
    """One event, and what the messages about it need to know."""

    event: Event
    message: SipMessage | None = None
    leg: Leg | None = None
    side: Side | None = None  # who did it
    descriptions: tuple[tuple[Side, Description], ...] = ()  # that are news
    target: Target | None = None  # of RETARGET and REDIRECT


class First(NamedTuple):
    """How a call is taken up."""

    role: Role
    joined: bool  # it was up already


class Reader:
    """Reads the messages of one task. It remembers the subjects' contacts, nothing else."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._whereabouts = Whereabouts(directory)

    def read(self, call: Call, message: SipMessage) -> list[Reading]:
        """The events in a message of this call; none for copies and for what does not concern the call model."""
        if message.status:
            return self._response(call, message)
        match message.method:
            case "INVITE" if not message.to.tag:
                return self._invite(call, message)
            case "INVITE" | "UPDATE" | "PRACK":
                return self._request_inside(call, message)
            case "ACK":
                return self._ack(call, message)
            case "BYE":
                return self._bye(call, message)
            case "CANCEL":
                return self._cancel(call, message)
        return []

    def first(self, pdu: Pdu, message: SipMessage) -> First | None:
        """What the first message seen of a call says about it; None when it can neither begin nor join one.

        In a call that is joined, whoever sent the transaction counts as its caller.
        """
        inside = bool(message.method in ("INVITE", "UPDATE") and message.to.tag)
        answer = message.cseq_method == "INVITE" and 200 <= message.status < 300
        if not (inside or answer):
            begins = message.method == "INVITE"
            if not begins or pdu.role is not Role.UNKNOWN:
                return First(pdu.role, joined=False) if begins else None
        ways = (Direction.TO_TARGET, Direction.FROM_TARGET) if answer else (Direction.FROM_TARGET, Direction.TO_TARGET)
        calling = pdu.direction == ways[0] if pdu.direction in ways else self._directory.is_subject(message.from_.uri)
        return First(Role.CALLING if calling else Role.CALLED, joined=inside or answer)

    def is_new_attempt(self, call: Call, message: SipMessage) -> bool:
        """An initial INVITE under the Call-ID of a call that is over: a new call, not a late copy."""
        if message.method != "INVITE" or message.to.tag or message.from_.tag in call.echoes:
            return False
        return message.from_.tag != call.caller_tag or message.cseq > call.cseq

    def learn(self, message: SipMessage) -> None:
        """A message outside of calls: it may tell where a subject is reached."""
        self._whereabouts.registered(message)

    def target_of(self, uri: str, display: str = "") -> Target:
        return Target(self._directory.key(uri), self._directory.vouched(uri, display))

    # Requests

    @staticmethod
    def _cancel(call: Call, message: SipMessage) -> list[Reading]:
        """Only the caller's own CANCEL is about the call; a proxy cancels single branches (RFC 3261 16.10)."""
        branch = call.branches.get(message.branch)
        if message.branch == call.outer or branch is None:
            own = message.from_.tag == call.caller_tag and message.cseq == call.cseq
            if own:
                call.status, call.cause, call.failed = 0, cause_of(message), True
            return [Reading(Event.CANCEL, message)] if own else []
        branch.done = True
        return []

    def _invite(self, call: Call, message: SipMessage) -> list[Reading]:
        tag, branch, uri = message.from_.tag, message.branch, message.request_uri
        same = tag == call.caller_tag
        if call.caller_tag and call.answered:
            return []  # the call is up; nothing outside of its dialog belongs to it
        if call.caller_tag and not same and not call.failed:
            call.echo(tag, message.cseq)
            return []
        if same and message.cseq < call.cseq:
            return []
        if same and message.cseq == call.cseq and call.branches:
            if branch in call.branches:
                return []
            reading = self._where(call, message)
            call.add_branch(branch, uri, reading.event is Event.INVITE)
            return [reading]
        first = not call.caller_tag
        reading = self._where(call, message)
        call.begin(tag, message.cseq, branch, uri, reading.event is Event.INVITE)
        if first:
            call.diversions = diversions(message).count
        body = describe(message.body)
        call.media.set_up(Side.CALLER, body)
        self._note_contact(call, Side.CALLER, message)
        return [msgspec.structs.replace(reading, descriptions=((Side.CALLER, body),) if body is not None else ())]

    def _where(self, call: Call, message: SipMessage) -> Reading:
        """INVITE, or RETARGET with the new target."""
        uri = message.request_uri
        if call.role is Role.CALLING:
            elsewhere = call.retry_elsewhere and uri not in (each.uri for each in call.branches.values())
        else:
            elsewhere = self._whereabouts.elsewhere(call, message)
        if not elsewhere:
            return Reading(Event.INVITE, message)
        return Reading(Event.RETARGET, message, target=self.target_of(uri))

    def _request_inside(self, call: Call, message: SipMessage) -> list[Reading]:
        tag, method = message.from_.tag, message.method
        if call.caller_tag and call.caller_tag not in (tag, message.to.tag):
            return []  # the other side of a back-to-back agent says the same once more
        if call.is_copy((method, message.cseq, tag, message.to.tag)):
            return []
        readings = []
        if (not call.answered and method == "INVITE") or not call.caller_tag:
            readings.append(self._midcall(call, message, tag, message.to.tag))
        side = Side.CALLER if tag == call.caller_tag else Side.CALLEE
        key = (tag, message.cseq, method)
        call.offer(key, Offer(side, describe(message.body), _contact(message)))
        return readings

    def _midcall(self, call: Call, message: SipMessage, tag: str, other: str) -> Reading:
        """The call is up although its answer was not seen."""
        call.caller_tag = call.caller_tag or tag
        if call.winner is None:
            call.winner = call.leg(other if tag == call.caller_tag else tag, "")
        call.answered = True
        return Reading(Event.MIDCALL, message)

    def _ack(self, call: Call, message: SipMessage) -> list[Reading]:
        tag = message.from_.tag
        if call.caller_tag not in (tag, message.to.tag) or not message.to.tag:
            return []
        if call.is_copy(("ACK", message.cseq, tag, message.to.tag)):
            return []
        if not call.answered:
            if call.failed or not message.branch or (tag, message.cseq) != (call.caller_tag, call.cseq):
                return []
            # For a 2xx an ACK is a request of its own with a branch of its own (RFC 3261 13.2.2.4); for a failure it
            # repeats the INVITE's (17.1.1.3). So it tells of a last word that was lost on its way to us.
            if message.branch not in call.branches:
                return [self._answer(call, message, call.leg(message.to.tag, message.branch), None)]
            if message.branch != call.outer:
                return []
            call.failed = True
            failure = call.status >= 300 and signal.outcome(call.status) is signal.Outcome.FAILURE
            return [Reading(Event.FAILURE if failure else Event.RETRY, message)]
        side = Side.CALLER if tag == call.caller_tag else Side.CALLEE
        body = describe(message.body)
        return self._agreed(call, message, side.other, None, body) if body is not None else []

    def _bye(self, call: Call, message: SipMessage) -> list[Reading]:
        tags = (message.from_.tag, message.to.tag)
        if call.caller_tag in tags:
            other = tags[1] if tags[0] == call.caller_tag else tags[0]
            if call.answered and call.winner is not None and call.winner.tag not in ("", other):
                return []  # a fork that answered too late is sent away; the call goes on
        elif not any(tag in call.echoes for tag in tags):
            return []
        call.cause = cause_of(message)
        return [Reading(Event.BYE, message)]

    # Responses

    def _response(self, call: Call, message: SipMessage) -> list[Reading]:
        tag = message.from_.tag
        if message.status == 100:
            return []
        initial = message.cseq_method == "INVITE" and tag == call.caller_tag and message.cseq == call.cseq
        if initial and call.branches:
            return self._initial_response(call, message)
        if message.cseq_method == "INVITE" and call.echoes.get(tag) == message.cseq:
            if not 200 <= message.status < 300 or call.answered:
                return []
            leg = next(iter(call.legs.values())) if len(call.legs) == 1 else call.leg("", "")  # "": which, is not known
            return [self._answer(call, message, leg, describe(message.body))]
        if not call.caller_tag and message.cseq_method == "INVITE" and 200 <= message.status < 300:
            return [self._midcall(call, message, tag, message.to.tag)]
        if message.status < 200:
            return []
        offer = call.offers.pop((tag, message.cseq, message.cseq_method), None)
        if offer is None or message.status >= 300:
            return []  # a copy, or the change was refused: nothing changed
        moved = self._note_address(call, offer.side, offer.contact)
        moved |= self._note_address(call, offer.side.other, _contact(message))
        answer_body = describe(message.body)
        if offer.description is None and answer_body is not None:  # the offer came in the response
            return self._agreed(call, message, offer.side.other, answer_body, None, moved=moved)
        return self._agreed(call, message, offer.side, offer.description, answer_body, moved=moved)

    def _initial_response(self, call: Call, message: SipMessage) -> list[Reading]:
        status, tag = message.status, message.to.tag
        final = status >= 300
        branch = call.branches.get(message.branch)
        last_word = message.branch == call.outer or not call.outer
        if final and branch is not None:
            branch.done = True
        if call.is_copy((status, message.cseq, "INVITE", tag, message.branch if final else "")) or call.answered:
            return []
        if final:
            return self._final(call, message, last_word=last_word)
        leg = call.leg(tag, message.branch)
        side = Side.CALLEE
        if leg.subject and call.role is Role.CALLED:
            self._whereabouts.learn(message)
        body = describe(message.body)
        if status >= 200:
            self._note_contact(call, side, message)
            return [self._answer(call, message, leg, body)]
        readings = []
        match status:
            case 180:
                mine = call.role is Role.CALLING or leg.subject
                if mine:
                    leg.ringing = True
                    readings.append(Reading(Event.RINGING, message, leg, side))
            case 181:
                readings.append(self._forwarded(call, message, leg))
            case 182:
                readings.append(Reading(Event.QUEUED, message, leg, side))
        if call.media.set_up(side, body) and body is not None:
            self._note_contact(call, side, message)
            readings.append(Reading(Event.MEDIA, message, leg, side, ((side, body),)))
        return readings

    def _final(self, call: Call, message: SipMessage, *, last_word: bool) -> list[Reading]:
        """A final response other than 2xx."""
        call.status, call.cause, call.failed = message.status, cause_of(message), last_word
        outcome = signal.outcome(message.status)
        if outcome is signal.Outcome.REDIRECT:
            call.retry_elsewhere = True
            best = max(addresses(message, "contact"), key=_preference, default=None)
            target = self.target_of(best.uri, best.display) if best else None
            if last_word and (target is not None or call.role is Role.CALLING):
                return [Reading(Event.REDIRECT, message, target=target)]
            if target is not None and call.role is Role.CALLED:
                return [Reading(Event.RETARGET, message, target=target)]  # the proxy follows it, seen here or not
        if not last_word:
            return []
        return [Reading(Event.RETRY if outcome is signal.Outcome.RETRY else Event.FAILURE, message)]

    def _answer(self, call: Call, message: SipMessage, leg: Leg, body: Description | None) -> Reading:
        call.answered, call.winner = True, leg
        call.status, call.cause, call.failed = 0, None, False
        call.media.set_up(Side.CALLEE, body)
        return Reading(Event.ANSWER, message, leg, Side.CALLEE, ((Side.CALLEE, body),) if body is not None else ())

    def _forwarded(self, call: Call, message: SipMessage, leg: Leg) -> Reading:
        """A 181: the network forwards; where to, the newest History-Info entry may say."""
        if call.role is Role.CALLING:
            return Reading(Event.FORWARDED, message, leg, Side.CALLEE)
        entries = addresses(message, "history-info")
        if len(entries) > 1 and not self._directory.is_subject(entries[-1].uri):
            target = self.target_of(entries[-1].uri, entries[-1].display)
            return Reading(Event.RETARGET, message, leg, Side.CALLEE, target=target)
        call.target = call.target or Target("", None)
        leg.subject = False  # a network that keeps one dialog towards the caller goes on in this one
        return Reading(Event.FORWARDED, message, leg, Side.CALLEE)

    # Media and contacts

    def _agreed(
        self,
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

    def _note_contact(self, call: Call, side: Side, message: SipMessage) -> None:
        self._note_address(call, side, _contact(message))

    def _note_address(self, call: Call, side: Side, contact: str) -> bool:
        """Remembers where a side is reached; True when it moved."""
        old = call.contacts[side]
        if not contact or contact == old:
            return False
        call.contacts[side] = contact
        if side is call.subject_side and side is Side.CALLER:
            self._whereabouts.remember(contact)
        return bool(old) and contact_key(old) != contact_key(contact)


def cause_of(message: SipMessage) -> cdc.Cause | None:
    """Release.cause: the status line of a response, and every Reason (RFC 3326)."""
    lines = [f"SIP/2.0 {message.status} {message.reason}".rstrip()] if message.status else []
    lines += [f"Reason: {value}" for value in message.all("reason")]
    return cdc.Cause(sip=tuple(lines)) if lines else None


def _contact(message: SipMessage) -> str:
    return next((each.uri for each in addresses(message, "contact")), "")


def _preference(contact: NameAddr) -> float:
    """The q value of RFC 3261 20.10; 1 when there is none."""
    try:
        return min(1.0, max(0.0, float(contact.parameter("q") or 1)))
    except ValueError:
        return 1.0
