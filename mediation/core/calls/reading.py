"""What a SIP message means for the call it belongs to: message and memory in, events out.

Answers for every judgement that is not in the table of `call`: is it a copy, which dialog is it about, is a final
response the last word. It sends nothing and moves no call from one state to another.

Is it the last word? Only a final response on the outermost hop is (see `dialog`), or the ACK to one that we missed.
What fails inside the network is remembered and says nothing: the proxy may go elsewhere, seen here or not.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec

from mediation.core.calls import referring
from mediation.core.calls.conference import focus_of
from mediation.core.calls.dialog import Call, Echo, Leg, Offer, Target
from mediation.core.calls.event import Event, Reading
from mediation.core.calls.exchange import agreed, cause_of, contact_of, preference
from mediation.core.calls.feature import code_of
from mediation.core.calls.forwarding import Whereabouts, contact_key
from mediation.core.channel.media import Description, Side, describe
from mediation.core.interface.x2 import Direction, Pdu, Role
from mediation.core.network import signal
from mediation.core.network.party import Directory, addresses, diversions
from mediation.core.network.sip import SipMessage

# Requests inside a dialog that only a call makes: any of them shows one that was up before it was seen. An ACK or a
# PRACK proves no call that is up, a NOTIFY or a SUBSCRIBE no call at all (RFC 6665 dialogs have no INVITE).
JOINING: Final = frozenset({"INVITE", "UPDATE", "BYE", "INFO", "REFER", "OPTIONS", "MESSAGE"})


class First(NamedTuple):
    """How a call is taken up."""

    role: Role
    joined: bool  # it was up already


class Reader:
    """Reads the messages of one task. It remembers the subjects' contacts, nothing else."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._whereabouts = Whereabouts(directory)
        self.legs_of_one_call_id = 0  # back-to-back agents that kept the Call-ID

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
            case "REFER":
                return [*self._join(call, message), *referring.refer(call, message)]
            case "NOTIFY":
                return referring.notify(call, message)
        return self._join(call, message)

    def first(self, pdu: Pdu, message: SipMessage) -> First | None:
        """What the first message seen of a call says about it; None when it can neither begin nor join one.

        In a call that is joined, whoever sent the transaction counts as its caller.
        """
        inside = bool(message.method in JOINING and message.to.tag)
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
        if message.call_id != call.main:
            return []  # of one leg that a back-to-back agent made
        if message.branch == call.outer or branch is None:
            own = message.from_.tag == call.caller_tag and message.cseq == call.cseq
            if own:
                call.status, call.cause, call.failed = 0, cause_of(message), True
            return [Reading(Event.CANCEL, message)] if own else []
        branch.done = True
        return []

    def _invite(self, call: Call, message: SipMessage) -> list[Reading]:
        tag, branch, uri = message.from_.tag, message.branch, message.request_uri
        same = tag == call.caller_tag and message.call_id == call.main
        if call.caller_tag and call.answered:
            return []  # the call is up; nothing outside of its dialog belongs to it
        if call.caller_tag and not same and (not call.failed or message.call_id != call.main):
            return self._leg(call, message)
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
            call.diversions = diversions(message).count if call.role is Role.CALLED else 0
            reading = self._ask(call, message, reading)
        body = describe(message.body)
        call.media.set_up(Side.CALLER, body)
        self._note_contact(call, Side.CALLER, message)
        return [msgspec.structs.replace(reading, descriptions=((Side.CALLER, body),) if body is not None else ())]

    def _leg(self, call: Call, message: SipMessage) -> list[Reading]:
        """A back-to-back agent sends the call on, with a From tag of its own: perhaps to somebody else."""
        reading = self._where(call, message)
        elsewhere = reading.event is Event.RETARGET
        echo = Echo(message.call_id, message.cseq, message.request_uri, subject=not elsewhere)
        new = call.echo(message.from_.tag, echo)
        self.legs_of_one_call_id += new and message.call_id == call.main
        return [reading] if new and elsewhere and call.role is Role.CALLED else []

    @staticmethod
    def _ask(call: Call, message: SipMessage, reading: Reading) -> Reading:
        """What only the first INVITE says: a service code instead of a party."""
        taken = call.replaces is not None or call.joins is not None
        call.alerted = taken and call.role is Role.CALLED  # it answers at once: RFC 3891 section 3, RFC 3911 section 4
        if call.role is Role.CALLING:
            call.code = code_of(message.request_uri)
            if call.code is not None and not call.code.is_call:
                return msgspec.structs.replace(reading, event=Event.FEATURE)
        return reading

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
        if call.caller_tag and not self._is_own(call, message):
            return []  # the other side of a back-to-back agent says the same once more
        if call.is_copy((method, message.cseq, tag, message.to.tag)):
            return []
        readings = []
        if (not call.answered and method == "INVITE") or not call.caller_tag:
            readings.append(self._midcall(call, message, tag, message.to.tag))
        side = Side.CALLER if tag == call.caller_tag else Side.CALLEE
        if side is not call.subject_side:
            self._note_focus(call, message)
        key = (tag, message.cseq, method)
        call.offer(key, Offer(side, describe(message.body), contact_of(message)))
        return readings

    def _join(self, call: Call, message: SipMessage) -> list[Reading]:
        """The first request that is seen of a call that was up."""
        if call.caller_tag or message.method not in JOINING or not message.to.tag:
            return []
        return [self._midcall(call, message, message.from_.tag, message.to.tag)]

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
        return agreed(call, message, side.other, None, body) if body is not None else []

    def _bye(self, call: Call, message: SipMessage) -> list[Reading]:
        joined = self._join(call, message)
        tags = (message.from_.tag, message.to.tag)
        if call.caller_tag in tags:
            other = tags[1] if tags[0] == call.caller_tag else tags[0]
            winner = call.winner
            if call.answered and winner is not None and not winner.origin and winner.tag not in ("", other):
                return []  # a fork that answered too late is sent away; the call goes on
        elif not any(tag in call.echoes for tag in tags):
            return []
        call.cause = cause_of(message)
        return [*joined, Reading(Event.BYE, message, side=call.side_of(message.from_.tag, message.to.tag))]

    @staticmethod
    def _is_own(call: Call, message: SipMessage) -> bool:
        """It is in the caller's own dialog, not in one that a back-to-back agent made."""
        return message.call_id == call.main and call.caller_tag in (message.from_.tag, message.to.tag)

    # Responses

    def _response(self, call: Call, message: SipMessage) -> list[Reading]:
        tag = message.from_.tag
        if message.status == 100:
            return []
        if message.cseq_method == "INVITE":
            own = tag == call.caller_tag and message.cseq == call.cseq and message.call_id == call.main
            if own and call.branches:
                return self._initial_response(call, message)
            echo = call.echoes.get(tag)
            if echo is not None and (echo.cseq, echo.call_id) == (message.cseq, message.call_id):
                return self._leg_response(call, echo, message)
        if not call.caller_tag and message.cseq_method == "INVITE" and 200 <= message.status < 300:
            return [self._midcall(call, message, tag, message.to.tag)]
        if message.status < 200:
            return []
        if message.cseq_method == "REFER":
            referring.refused(call, message)
        offer = call.offers.pop((tag, message.cseq, message.cseq_method), None)
        if offer is None or message.status >= 300:
            return []  # a copy, or the change was refused: nothing changed
        if offer.side is call.subject_side:
            self._note_focus(call, message)
        moved = self._note_address(call, offer.side, offer.contact)
        moved |= self._note_address(call, offer.side.other, contact_of(message))
        answer_body = describe(message.body)
        if offer.description is None and answer_body is not None:  # the offer came in the response
            return agreed(call, message, offer.side.other, answer_body, None, moved=moved)
        return agreed(call, message, offer.side, offer.description, answer_body, moved=moved)

    def _leg_response(self, call: Call, echo: Echo, message: SipMessage) -> list[Reading]:
        """What comes back to a back-to-back agent. What fails there is its own affair: it may try elsewhere."""
        status, tag = message.status, message.to.tag
        if call.answered or status >= 300 or call.is_copy((status, tag, message.from_.tag)):
            return []
        alerts = status == 180 and call.role is Role.CALLED and echo.subject
        if not alerts and status < 200:
            return []
        leg = call.leg(tag, "")
        leg.origin, leg.subject, leg.uri = message.from_.tag, echo.subject, echo.uri
        if alerts:
            leg.ringing = True
            return [Reading(Event.RINGING, message, leg, Side.CALLEE)]
        self._note_contact(call, Side.CALLEE, message)
        return [self._answer(call, message, leg, describe(message.body))]

    def _initial_response(self, call: Call, message: SipMessage) -> list[Reading]:
        status, tag = message.status, message.to.tag
        final = status >= 300
        branch = call.branches.get(message.branch)
        last_word = message.branch == call.outer or not call.outer
        if final and branch is not None:
            branch.done = True
        if call.is_copy((status, message.cseq, "INVITE", tag, message.branch if final else "")):
            return []
        if call.answered:
            if status < 300 and status >= 200 and call.winner is not None and call.winner.origin:
                self._adopt(call, message)
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
        if call.role is Role.CALLING and signal.heard(message.all("alert-info")) is not None:
            readings.append(Reading(Event.TONE, message, leg, side))
        match status if not readings else 0:
            case 180:
                mine = call.role is Role.CALLING or leg.subject
                if mine:
                    leg.ringing = True
                    readings.append(Reading(Event.RINGING, message, leg, side))
            case 181:
                readings.append(self._forwarded(call, message, leg))
            case 182 if call.role is Role.CALLING or leg.subject:
                readings.append(Reading(Event.QUEUED, message, leg, side))
        if call.media.set_up(side, body) and body is not None:
            self._note_contact(call, side, message)
            readings.append(Reading(Event.MEDIA, message, leg, side, ((side, body),)))
        return readings

    def _adopt(self, call: Call, message: SipMessage) -> None:
        """The answer reaches the caller's own dialog, after it was told by that of a back-to-back agent."""
        leg, told = call.leg(message.to.tag, message.branch), call.winner
        leg.subject, leg.uri = (told.subject, told.uri) if told is not None else (leg.subject, leg.uri)
        call.winner = leg
        call.media.set_up(Side.CALLEE, describe(message.body))
        self._note_contact(call, Side.CALLEE, message)

    def _final(self, call: Call, message: SipMessage, *, last_word: bool) -> list[Reading]:
        """A final response other than 2xx."""
        call.status, call.cause, call.failed = message.status, cause_of(message), last_word
        outcome = signal.outcome(message.status)
        if outcome is signal.Outcome.REDIRECT:
            call.retry_elsewhere = True
            best = max(addresses(message, "contact"), key=preference, default=None)
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
        if call.role is Role.CALLING:
            self._note_focus(call, message)
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

    def _note_contact(self, call: Call, side: Side, message: SipMessage) -> None:
        self._note_address(call, side, contact_of(message))

    @staticmethod
    def _note_focus(call: Call, message: SipMessage) -> None:
        """The other end may say that it is a conference."""
        call.focus = call.focus or focus_of(message)

    def _note_address(self, call: Call, side: Side, contact: str) -> bool:
        """Remembers where a side is reached; True when it moved."""
        old = call.contacts[side]
        if not contact or contact == old:
            return False
        call.contacts[side] = contact
        if side is call.subject_side and side is Side.CALLER:
            self._whereabouts.remember(contact)
        return bool(old) and contact_key(old) != contact_key(contact)
