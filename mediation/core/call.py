"""The call model: SIP as an access point saw it goes in, call-identifying messages of one order come out.

Start here. One `CallModel` serves one task (one case at one intercept access point). It is sans-I/O: `observe`
takes one X2 PDU, `advance` takes the time, both return messages; nothing else happens. 47 CFR 1.20007(b) and T1.678
say what has to be reported; RFC 3261 says what happened.

How a message passes through (the parts are in calls/, network/ and channel/ beside this file):

    x2.Pdu ─> sip.parse ─> reading.Reader ─> events ─> TABLE ─> report.Reporter ─> minimisation ─> cdc.CallEvent
                                  │                                     │
                                  └────────── dialog.Call ──────────────┘
                                     what is remembered of the call

    this file      the model that walks the table
    transitions    the TABLE: state × event -> state, words (`diagram` draws it); `word` lists the words
    memory         all calls that are remembered
    dialog         the states, their time limits, and the memory of one call: legs (To tags), branches (hops), offers
    reading        what a message means, as an `event`: copy or news, whose dialog, last word or not
    exchange       of it, offers and answers; referring: of it, REFER and how far it has come
    correlation    which Call-IDs are one call (legs of back-to-back agents)
    association    what is said of several calls at once: waiting, mixed, moved, replaced, in conference
    transfer       REFER, Replaces and Join; conference: the focus and its document; feature: service codes
    forwarding     does it go to somebody else, or to the subject's own phone
    media          offer and answer: hold, retrieve, what is a change
    party          PartyIdentity out of headers: the network's word apart from claims
    report         the messages
    signal         status code -> tone, Alert-Info -> ringing pattern; timers: when something is due
    service        what the subject does beside calls: registration, messages, message waiting, transfer
    extraction     may keys be heard, and whose; `keypad` finds them, `digits` makes each one digit
    minimisation   what this order may be given of it (`outbox` lets nothing pass it by)
    surveillance   what the model is told of the order, and the names of its counters

Three rules that explain most of it:

1. State belongs to the call (the Call-ID), not to a transaction. A tap that sees both sides of a proxy, a
   retransmission and a back-to-back agent that keeps the Call-ID all show the same thing twice; the second time the
   table has no row for it, so nothing is said. An event without a row changes nothing: that is the rule, not an error.
2. Nothing is invented. What was not seen is not reported: no Origination for a call that was up before the order began,
   no Answer that only a BYE suggests. Time stamps are those of the packet that made the event; a timer's event has the
   timer's time.
3. Every call that was named in a message is closed by exactly one Release without a leg (`report` explains legs), be it
   by signalling, by a timer or for want of room; the last two say so in the cause.

When is a called subject alerted? With the 180 of the subject's own phone, not with the INVITE. The INVITE may yet be
forwarded without ever ringing (scenarios 8 and 9), and a tap in front of the proxy cannot tell. If the phone answers
without a 180, the alert is reported with the answer, which proves that the INVITE and what it displays were delivered.

When is it over? A final response on the caller's own hop is the network's last word. A failure inside the network says
nothing: the proxy may try elsewhere, within this tap's sight or out of it. A challenge (401, 407), a 3xx or a CANCEL
leaves the call PENDING for PENDING_LIMIT: another INVITE continues it, a last word ends it, otherwise the time does.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Final

from mediation.core.calls import report
from mediation.core.calls.correlation import NOTHING, Marks, marks
from mediation.core.calls.dialog import Call, State
from mediation.core.calls.event import Event, Reading
from mediation.core.calls.memory import Calls
from mediation.core.calls.outbox import Outbox
from mediation.core.calls.reading import JOINING, Reader
from mediation.core.calls.report import Reporter
from mediation.core.calls.service import Service
from mediation.core.calls.surveillance import COUNTERS, Surveillance
from mediation.core.calls.transfer import is_about_call
from mediation.core.calls.word import Say
from mediation.core.channel.content import Binding
from mediation.core.channel.content_calls import WORDS, CallContent
from mediation.core.channel.digits import Flash, Gathered
from mediation.core.channel.extraction import FORMATS, Extraction
from mediation.core.errors import RemoteProtocolError
from mediation.core.interface.notice import Notice, notice_of
from mediation.core.interface.x2 import PayloadFormat, Pdu
from mediation.core.message import cdc
from mediation.core.minimisation import Minimiser
from mediation.core.network import sip
from mediation.core.network.party import Directory
from mediation.core.timers import Timers
from mediation.core.transitions import TABLE, UP

MAX_CALLS: Final = 20_000  # of one task, a trunk group at its busiest: twice the 10,000 calls of the memory benchmark


class CallModel:
    """All calls of one task. Times are UTC nanoseconds; `observe` and `advance` never raise for what peers send."""

    def __init__(self, surveillance: Surveillance) -> None:
        """Raises EncodingError (naming no identity) when a subject could never match."""
        self._order = surveillance
        self._directory = Directory(surveillance.subjects, surveillance.plan)
        self._reader = Reader(self._directory)
        self.memory = self._calls = Calls()
        self._reporter = Reporter(surveillance, self._directory, self._calls.correlator)
        self._associations = self._reporter.associations
        self._content = CallContent(surveillance)
        self._minimiser = Minimiser(surveillance.authority, surveillance.capabilities)
        self._timers: Timers[Call] = Timers(Call.deadline_ns)
        self._service = Service(surveillance, self._directory, self._minimiser)
        self._extraction = Extraction(surveillance)
        self._stopped = False
        self._outbox = Outbox(self._minimiser)
        self._counters = dict.fromkeys(COUNTERS, 0)

    @property
    def calls(self) -> int:
        """Calls in memory, those that linger included."""
        return len(self._calls)

    @property
    def counters(self) -> dict[str, int]:
        """Numbers since the start; no name and no value identifies anybody."""
        return {
            **self._counters,
            **self._calls.counters,
            "legs_joined_call_id": self._reader.legs_of_one_call_id,
            "conference_members_refused": self._associations.members_refused,
            **self._service.counters,
            **self._extraction.counters,
            "fields_minimised": self._minimiser.removed,
            "messages_withheld": self._minimiser.withheld,
        }

    def start(self, now_ns: int) -> list[cdc.CallEvent]:
        """The order begins."""
        self._service.start(now_ns)
        return report.begun(self._order, self._outbox, now_ns)

    def stop(self, now_ns: int) -> list[cdc.CallEvent]:
        """The order ends: digits dialed until now, then nothing more, whatever comes (calls go on untouched)."""
        if self._stopped:
            return []
        self._flush_all()
        for call in self._calls.values():
            self._send_all(self._content.say(Say.CONTENT_END, call, now_ns), now_ns, call)
        inactive = cdc.StatusEvent.DEACTIVATION, cdc.CurrentStatus.INACTIVE
        events = report.status(self._order, self._outbox, *inactive, now_ns)
        self._stopped = True
        for call in list(self._calls.values()):
            self._forget(call)
        self._timers = Timers(Call.deadline_ns)
        self._service.stop()
        return events

    def set_dde(self, on: bool, now_ns: int) -> list[cdc.CallEvent]:
        """The toggle (1.20007(b)(6)); takes effect in mid-call. Off: what was dialed while it was on is sent now, and
        no packet is looked at any more."""
        self._extraction.set(on)
        if not self._extraction.on:
            self._flush_all()
        return self._outbox.take()

    def advance(self, now_ns: int) -> list[cdc.CallEvent]:
        """Everything that is due at `now_ns`."""
        for call in self._timers.due(now_ns):
            self._expire(call, now_ns)
        self._report(self._service.advance(now_ns))
        return self._outbox.take()

    def next_deadline_ns(self) -> int | None:
        """When `advance` is wanted at the latest; None: not before something was observed."""
        due = (self._timers.next_ns(), self._service.next_deadline_ns())
        return min((each for each in due if each is not None), default=None)

    def observe(self, pdu: Pdu) -> list[cdc.CallEvent]:
        """The messages that one PDU of this task makes."""
        if self._stopped:
            self._counters["after_stop"] += 1
            return []
        if (notice := notice_of(pdu)) is not None:
            return self.content_seen(pdu.correlation, pdu.stamp_ns, notice)
        self._outbox.note_quality(pdu)
        if pdu.payload_format == PayloadFormat.SIP:
            self._sip(pdu)
        elif pdu.payload_format in FORMATS:
            self._keys(pdu)
        else:
            self._counters["unknown_format"] += 1
        return self._outbox.take()

    # Content

    def content_seen(self, key: Hashable, stamp_ns: int, notice: Notice | None = None) -> list[cdc.CallEvent]:
        """A content packet filed under `key` passed: the first, or the first since its binding said to watch. Or what
        the access function noticed of its packets."""
        call = self._find(key, stamp_ns) if not self._stopped else None
        if call is not None:
            self._send_all(self._content.packet(call, key, notice, stamp_ns), stamp_ns, call)
            self._timers.arm(call)
        return self._outbox.take()

    def content_link(self, now_ns: int) -> list[cdc.CallEvent]:
        """The order's content link was lost or came back, as `Surveillance.channels` says."""
        for call, messages in self._content.link(self._calls.values(), now_ns):
            self._send_all(messages, now_ns, call)
        return self._outbox.take()

    def bindings(self) -> list[Binding]:
        """What the delivery function does with content packets from now on; to be asked after each of the above."""
        return self._content.take()

    # Signalling

    def _sip(self, pdu: Pdu) -> None:
        try:
            message = sip.parse(pdu.payload)
        except RemoteProtocolError:
            self._counters["unparsable"] += 1
            return
        key = pdu.correlation or message.call_id
        if self._service.takes(message):
            if not self._inside(key, pdu, message):
                self._beside(pdu, message)
            return
        call = self._find(key, pdu.stamp_ns, message.call_id)
        if call is not None and call.state is State.RELEASED:
            if not self._reader.is_new_attempt(call, message):
                return
            self._forget(call)
            call = None
        if call is None:
            told = marks(message)
            call = self._calls.leg(key, pdu, message, told) or self._open(key, pdu, message, told)
        if call is None:
            self._counters["unknown_call"] += 1
            return
        for reading in self._reader.read(call, message):
            self._step(call, reading, pdu.stamp_ns)
        self._send_all(self._content.signalled(call, pdu.stamp_ns), pdu.stamp_ns, call)
        if call.state is State.IDLE:  # nothing became of it
            self._forget(call)
        else:
            self._timers.arm(call)

    def _inside(self, key: Hashable, pdu: Pdu, message: sip.SipMessage) -> bool:
        """Whether a message whose method makes no call is all the same about one: REFER in its dialog, or what became
        of it. Any request in a dialog that only a call makes may be the first that is seen of one."""
        call = self._find(key, pdu.stamp_ns, message.call_id) or self._associations.asked(message)
        if call is not None and message.method == "REFER":
            self._calls.alias(call, key, message.call_id)  # how far it comes is told there
        if call is None and message.method in JOINING and message.to.tag:
            call = self._calls.leg(key, pdu, message, NOTHING) or self._open(key, pdu, message, NOTHING)
        if call is None or call.state is State.RELEASED:
            return False
        for reading in self._reader.read(call, message):
            self._step(call, reading, pdu.stamp_ns)
        self._timers.arm(call)
        return is_about_call(message)

    def _beside(self, pdu: Pdu, message: sip.SipMessage) -> None:
        """What makes no call: keys belong to the call that they are dialed in, all else is the service's."""
        self._reader.learn(message)
        if self._extraction.tells_keys(message):
            self._keys(pdu, message)
            return
        if message.status:
            call = self._calls.get(pdu.correlation or message.call_id)
            if call is not None and self._extraction.answered(call, message):
                return
        self._report(self._service.observe(pdu, message))

    def _find(self, key: Hashable, stamp_ns: int, call_id: str = "") -> Call | None:
        """A known call, brought up to the time of this packet."""
        call = self._calls.get(key, call_id)
        if call is None:
            return None
        self._expire(call, stamp_ns)
        call.last_ns = max(call.last_ns, stamp_ns)
        self._calls.touch(call)
        return call if call.state is not State.IDLE else None

    def _open(self, key: Hashable, pdu: Pdu, message: sip.SipMessage, told: Marks) -> Call | None:
        """A call for its first message, or None when that message cannot begin or join one."""
        first = self._reader.first(pdu, message)
        if first is None:
            return None
        if len(self._calls) >= MAX_CALLS:
            self._evict(pdu.stamp_ns)
        at = pdu.stamp_ns
        call = Call(key=key, main=message.call_id, role=first.role, state=State.IDLE, last_ns=at, since_ns=at)
        if first.joined:
            call.joined = True
            self._reporter.introduce(call, message)
            self._counters["calls_joined"] += 1
        self._counters["calls"] += 1
        self._calls.add(call, message, pdu, told)
        return call

    def _step(self, call: Call, reading: Reading, stamp_ns: int) -> None:
        """One event through the table."""
        row = TABLE[call.role].get((call.state, reading.event))
        if row is None:
            return
        to, say = row
        if say:
            self._flush(call)  # digits dialed before this event are told before it
        for word in say:
            about = self._content.say(word, call, stamp_ns) if word in WORDS else None
            for message in self._reporter.say(word, call, reading, stamp_ns) if about is None else about:
                for other in self._associations.named(message, call):
                    self._flush(other)
                self._send(message, stamp_ns, call)
        if to is not call.state:
            if to in UP and call.state not in UP:
                self._associations.enter(call)
            call.state, call.since_ns = to, stamp_ns
        if call.focus and to in UP:
            self._associations.note_focus(call)
        if to is State.RELEASED:
            self._flush(call)
            self._associations.leave(call)
            call.close()
            self._calls.linger(call)

    def _expire(self, call: Call, now_ns: int) -> None:
        """Whatever of this call is due; its timer is set anew."""
        if call.dialing is not None and (due := call.dialing.deadline_ns) is not None and due <= now_ns:
            self._flush(call)
        self._send_all(self._content.due(call, now_ns), now_ns, call)
        while (limit := call.limit_ns()) is not None and limit <= now_ns:
            self._counters["calls_timed_out"] += call.state not in (State.PENDING, State.FORWARDING, State.RELEASED)
            self._step(call, Reading(Event.TIMEOUT), now_ns)
        if call.state is State.IDLE:
            self._forget(call)
        else:
            self._timers.arm(call)

    def _evict(self, now_ns: int) -> None:
        """Makes room for a call."""
        oldest, over = self._calls.oldest()
        if not over:
            self._counters["calls_evicted"] += 1
            self._step(oldest, Reading(Event.EVICTED), now_ns)
        self._forget(oldest)

    def _forget(self, call: Call) -> None:
        self._timers.disarm(call)
        self._associations.leave(call)
        self._calls.forget(call)

    # Digits

    def _keys(self, pdu: Pdu, message: sip.SipMessage | None = None) -> None:
        if not self._extraction.admits(pdu):
            return
        call = self._dialed_in(pdu, message)
        if call is None:
            self._counters["unknown_call"] += 1
            return
        if call.state is State.RELEASED:
            return
        try:
            done = self._extraction.hear(call, pdu, message, cut_through=call.answered)
        except RemoteProtocolError:
            self._counters["unparsable"] += 1
            return
        for each in done:
            if isinstance(each, Flash):
                self._send(self._reporter.flash(call, pdu.stamp_ns), pdu.stamp_ns, call)
            else:
                self._dialed(call, each)
        self._timers.arm(call)

    def _dialed_in(self, pdu: Pdu, message: sip.SipMessage | None) -> Call | None:
        """The call that keys belong to; a KPML subscription beside it names its Call-ID."""
        if message is None:
            return self._find(pdu.correlation, pdu.stamp_ns)
        main = self._extraction.call_id(message)
        if main == message.call_id:
            return self._find(pdu.correlation or main, pdu.stamp_ns)
        call = self._calls.named(main)
        return self._find(call.key, pdu.stamp_ns) if call is not None else None

    def _flush(self, call: Call) -> None:
        for due in call.dialing.flush() if call.dialing is not None else ():
            self._dialed(call, due)

    def _flush_all(self) -> None:
        for call in self._calls.values():
            self._flush(call)

    def _dialed(self, call: Call, due: Gathered) -> None:
        """The message is stamped with its last digit; its eight seconds run from its first."""
        self._send(self._reporter.digits(call, due.digits, due.source.label, due.last_ns), due.first_ns, call)

    # Out

    def _report(self, messages: list[cdc.Message]) -> None:
        for message in messages:
            self._outbox.add(message, message.timestamp_ns)

    def _send_all(self, messages: Iterable[cdc.Message], received_ns: int, call: Call) -> None:
        for message in messages:
            self._send(message, received_ns, call)

    def _send(self, message: cdc.Message, received_ns: int, call: Call) -> None:
        named = type(message) is not cdc.FeatureManagement and getattr(message, "call_id", call) is not None
        call.reported |= self._outbox.add(message, received_ns) and named
