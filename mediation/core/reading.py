"""What a SIP message means for the call it belongs to: message and memory in, events out.

Answers for every judgement that is not in the table of `call`: is it a copy, which dialog is it about, is a final response
the last word, did a call meant for the subject go to somebody else. It sends nothing and changes no state of the call.

Is it the last word? Only a final response on the outermost hop is (see `dialog`). An inner one is `STALLED` when no
other hop is still open: the proxy may go elsewhere, or its word to the caller follows, or was lost.

Did it go elsewhere? A proxy sends a call for the subject on with another Request-URI in two cases that look alike: to
the subject's own registered contact (RFC 3261 16.5), and to somebody else (forwarding). Evidence in this order, the
first that speaks decides:
  1. the Request-URI names a subject of the order: own;
  2. it is a contact that the subject registered, or used itself: own;
  3. the message says who redirected: a Diversion (RFC 5806) or History-Info (RFC 7044) entry more than before, or a
     cause= parameter (RFC 4458): elsewhere;
  4. it is what the subject's phone named in a 302, or the network announced forwarding (181): elsewhere;
  5. it is a telephone number, which is another than the subject's by 1: elsewhere;
  6. its host is the subject's own domain by name, so it is another address of record: elsewhere;
  7. the subject's phone already refused or did not answer, and the user part is new: elsewhere;
  8. otherwise it is a contact that we had not learnt yet: own. To miss a forwarding that nothing in the signalling
     admits is better than to invent one; Answer still names whoever answered.
"""

from __future__ import annotations

import enum
import ipaddress
from typing import Final

import msgspec

from mediation.core import cdc, signal
from mediation.core.dialog import Call, Leg, Offer, Target
from mediation.core.identity import host_of
from mediation.core.media import Change, Description, Side, describe
from mediation.core.party import REDIRECTED, Directory, diversions
from mediation.core.sip import NameAddr, SipMessage, name_addrs
from mediation.core.x2 import Role

MAX_CONTACTS: Final = 256  # contacts of all subjects of one order; ours
MAX_CONTACTS_IN_MESSAGE: Final = 16  # RFC 3261 sets no limit; registrars allow about ten


class Event(enum.Enum):
    """What can happen to a call."""

    INVITE = "INVITE"  # the initial one, or again under the same Call-ID
    RETARGET = "INVITE to somebody else"
    MIDCALL = "request inside a call whose beginning was not seen"
    RINGING = "180"
    FORWARDED = "181"
    QUEUED = "182"
    ANSWER = "2xx"
    RETRY = "401, 407, …"
    REDIRECT = "3xx"
    FAILURE = "4xx–6xx"
    STALLED = "4xx–6xx inside the network"
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


class Reader:
    """Reads the messages of one task. It remembers the subjects' contacts, nothing else."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._contacts: dict[str, None] = {}

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

    def is_new_attempt(self, call: Call, message: SipMessage) -> bool:
        """An initial INVITE under the Call-ID of a call that is over: a new call, not a late copy."""
        if message.method != "INVITE" or message.to.tag or message.from_.tag in call.echoes:
            return False
        return message.from_.tag != call.caller_tag or message.cseq > call.cseq

    def learn(self, message: SipMessage) -> None:
        """A 2xx to REGISTER lists all contacts of a subject (RFC 3261 10.3): the registrar's word, not a claim."""
        if message.cseq_method == "REGISTER" and 200 <= message.status < 300:
            if self._directory.is_subject(message.to.uri):
                self._learn_contacts(message)

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
                call.cause = cause_of(message)
            return [Reading(Event.CANCEL, message)] if own else []
        branch.done = True
        return []

    def _invite(self, call: Call, message: SipMessage) -> list[Reading]:
        tag, branch, uri = message.from_.tag, message.branch, message.request_uri
        same = tag == call.caller_tag
        if call.caller_tag and call.answered:
            return []  # the call is up; nothing outside of its dialog belongs to it
        if call.caller_tag and not same and not call.status:
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
        return [
            msgspec.structs.replace(reading, descriptions=((Side.CALLER, body),) if body is not None else ())
        ]

    def _where(self, call: Call, message: SipMessage) -> Reading:
        """INVITE, or RETARGET with the new target."""
        uri = message.request_uri
        if call.role is Role.CALLING:
            elsewhere = call.retry_elsewhere and uri not in (each.uri for each in call.branches.values())
        else:
            elsewhere = self._elsewhere(call, message)
        if not elsewhere:
            return Reading(Event.INVITE, message)
        return Reading(Event.RETARGET, message, target=self.target_of(uri))

    def _elsewhere(self, call: Call, message: SipMessage) -> bool:
        """The evidence in the order of this module's first page."""
        uri = message.request_uri
        key = self._directory.key(uri)
        if self._directory.is_subject(uri) or _contact_key(uri) in self._contacts:
            return False
        before = diversions(message)
        first = not call.caller_tag
        if first:
            return bool(before.parties) and self._directory.is_subject(before.parties[0].uri)
        if before.count > call.diversions or REDIRECTED in uri.lower():
            return True
        if call.target is not None and (call.target.party is None or call.target.key == key):
            return True
        if key.startswith("tel:+"):
            return True
        host = host_of(uri) or ""
        if not _is_address(host) and host == host_of(message.to.uri):
            return True
        users = {_user(each.uri) for each in call.branches.values()}
        tried = any(each.done and each.subject for tag, each in call.branches.items() if tag != call.outer)
        return (tried or call.status >= 300) and _user(uri) not in users

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
            # For a 2xx an ACK is a request of its own with a branch of its own (RFC 3261 13.2.2.4, 17.1.1.3): the
            # answer was lost on its way to us. After a failure it repeats the INVITE's branch and says nothing.
            fresh = message.branch and message.branch not in call.branches and not call.status
            if not (fresh and tag == call.caller_tag and message.cseq == call.cseq):
                return []
            return [self._answer(call, message, call.leg(message.to.tag, message.branch), None)]
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
            answer = 200 <= message.status < 300 and not call.answered
            return [self._answer(call, message, call.leg("", ""), describe(message.body))] if answer else []
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
        last_word = final and (branch is None or message.branch == call.outer)
        if final and branch is not None:
            branch.done = True
        if call.is_copy((status, message.cseq, "INVITE", tag, message.branch if final else "")) or call.answered:
            return []
        if final:
            return self._final(call, message, last_word=last_word)
        leg = call.leg(tag, message.branch)
        side = Side.CALLEE
        if leg.subject and call.role is Role.CALLED:
            self._learn_contacts(message)
        body = describe(message.body)
        if status >= 200:
            self._note_contact(call, side, message)
            return [self._answer(call, message, leg, body)]
        readings = []
        match status:
            case 180:
                mine = call.role is Role.CALLING or leg.subject
                if mine and not leg.ringing:
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
        outcome = signal.outcome(message.status)
        away = call.role is Role.CALLED and outcome is signal.Outcome.REDIRECT
        if not last_word and not away and call.live:
            return []
        call.status = message.status
        call.cause = cause_of(message)
        call.retry_elsewhere = outcome is signal.Outcome.REDIRECT
        if outcome is signal.Outcome.REDIRECT and (last_word or away):
            found = _addresses(message, "contact")
            best = max(found, key=_preference) if found else None
            if best is not None or call.role is Role.CALLING:
                target = self.target_of(best.uri, best.display) if best else None
                return [Reading(Event.REDIRECT, message, target=target)]
        if not last_word:
            return [Reading(Event.STALLED, message)]
        event = Event.RETRY if outcome is signal.Outcome.RETRY else Event.FAILURE
        return [Reading(event, message)]

    def _answer(self, call: Call, message: SipMessage, leg: Leg, body: Description | None) -> Reading:
        call.answered, call.winner = True, leg
        call.status, call.cause = 0, None
        call.media.set_up(Side.CALLEE, body)
        return Reading(
            Event.ANSWER, message, leg, Side.CALLEE, ((Side.CALLEE, body),) if body is not None else ()
        )

    def _forwarded(self, call: Call, message: SipMessage, leg: Leg) -> Reading:
        """A 181: the network forwards; where to, the newest History-Info entry may say."""
        if call.role is Role.CALLING:
            return Reading(Event.FORWARDED, message, leg, Side.CALLEE)
        entries = _addresses(message, "history-info")
        if len(entries) > 1 and not self._directory.is_subject(entries[-1].uri):
            target = self.target_of(entries[-1].uri, entries[-1].display)
            return Reading(Event.RETARGET, message, leg, Side.CALLEE, target=target)
        call.target = call.target or Target("", None)
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
            self._remember(contact)
        return bool(old) and _contact_key(old) != _contact_key(contact)

    def _learn_contacts(self, message: SipMessage) -> None:
        for each in _addresses(message, "contact")[:MAX_CONTACTS_IN_MESSAGE]:
            self._remember(each.uri)

    def _remember(self, uri: str) -> None:
        key = _contact_key(uri)
        self._contacts.pop(key, None)
        if len(self._contacts) >= MAX_CONTACTS:
            del self._contacts[next(iter(self._contacts))]
        self._contacts[key] = None


def cause_of(message: SipMessage) -> cdc.Cause | None:
    """Release.cause: the status line of a response, and every Reason (RFC 3326)."""
    lines = [f"SIP/2.0 {message.status} {message.reason}".rstrip()] if message.status else []
    lines += [f"Reason: {value}" for value in message.all("reason")]
    return cdc.Cause(sip=tuple(lines)) if lines else None


def _addresses(message: SipMessage, header: str) -> list[NameAddr]:
    return [each for value in message.all(header) for each in name_addrs(value)]


def _contact(message: SipMessage) -> str:
    found = message.first("contact")
    return next((each.uri for each in name_addrs(found)), "") if found else ""


def _preference(contact: NameAddr) -> float:
    """The q value of RFC 3261 20.10; 1 when there is none."""
    try:
        return min(1.0, max(0.0, float(contact.parameter("q") or 1)))
    except ValueError:
        return 1.0


def _contact_key(uri: str) -> str:
    """user@host:port of a contact, so that parameters do not matter."""
    return uri.partition(":")[2].partition(";")[0].partition("?")[0].lower()


def _user(uri: str) -> str:
    return uri.partition(":")[2].rpartition("@")[0].partition(";")[0]


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True
