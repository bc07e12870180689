"""The content of one order's calls: which call content channel (CCC) is open, and what the agency is told of it.

Answers for 47 CFR 1.20007(a)(2), (a)(3) and T1.678's CCOpen, CCChange, CCClose and CCUnavailable: a channel is opened
when the media of a call are established, or at its first content packet; every change of the media is told; content
that is owed and cannot be had is never met with silence. It moves no packet and reads none: what it decides leaves as
`Binding`s, which the delivery function carries out after the messages of the same moment are on their way.

It may open nothing but for a call of its own order. A session description that cannot be read opens no channel and
keeps none from a call; it only stands in the messages as received.

All times are UTC nanoseconds. Nothing here raises for what peers send.
"""

from __future__ import annotations

import enum
from collections.abc import Hashable, Iterable
from typing import Final, NamedTuple

import msgspec

from mediation.core.channel.channels import Channels
from mediation.core.channel.media import Description, Side
from mediation.core.interface.notice import Notice
from mediation.core.interface.x2 import Role
from mediation.core.message import ccc, cdc
from mediation.core.message.ccc import Channel

QUIET_LIMIT: Final = 4_000_000_000  # half of the 8 s of 1.20007(a)(14): the CCUnavailable after it is still in time


class State(enum.Enum):
    """Where the content of one call stands."""

    IDLE = "idle"  # nothing is owed: no media are established
    OPEN = "open"
    QUIET = "quiet"  # open, and the agency knows that no packet passes this access point
    CUT = "cut"  # open, and the agency knows that its content link is down
    BARRED = "barred"  # encrypted, and the carrier does not have the keys; the agency knows
    WAITING = "waiting"  # all channels that the agency procured are in use; it knows
    LAPSED = "lapsed"  # closed, and the agency knows: nothing was heard of the call; its signalling opens it again
    CLOSED = "closed"


class Event(enum.Enum):
    """What can happen to it."""

    CLEAR = "media that can be delivered"
    OPAQUE = "media encrypted, keys not known"
    PARTLY = "a part of the media encrypted, keys not known"
    FULL = "no channel free"
    PACKET = "content packet"
    SILENCE = "no content packet in time"
    DOUBTED = "packets that nothing shows to be the call's"
    EXPIRED = "session timer run out, nothing heard"
    OVERTAKEN = "nothing heard, while others use the addresses"
    SILENT = "nothing heard for an hour"
    LOST = "content link lost"
    BACK = "content link back"
    END = "call, order or the subject's part in the call over"


class Say(enum.Enum):
    OPEN = "CCOpen"
    CHANGE = "CCChange"
    CLOSE = "CCClose"
    UNAVAILABLE = "CCUnavailable"


class Reason(enum.StrEnum):
    """CCUnavailable.unavailabilityReason, a VisibleString."""

    ENCRYPTED = "media encrypted, keys not held by the carrier"
    ELSEWHERE = "no media at this access point"
    NO_CHANNEL = "no content channel free"
    LINK = "content delivery link down"
    DOUBTED = "media not shown to be this call's"
    EXPIRED = "end of call not seen: session timer expired"
    OVERTAKEN = "end of call not seen: addresses used by others"
    SILENT = "end of call not seen: nothing for an hour"


REASONS: Final = {
    Event.OPAQUE: Reason.ENCRYPTED,
    Event.PARTLY: Reason.ENCRYPTED,
    Event.SILENCE: Reason.ELSEWHERE,
    Event.FULL: Reason.NO_CHANNEL,
    Event.LOST: Reason.LINK,
    Event.DOUBTED: Reason.DOUBTED,
    Event.EXPIRED: Reason.EXPIRED,
    Event.OVERTAKEN: Reason.OVERTAKEN,
    Event.SILENT: Reason.SILENT,
}
NOTICES: Final = {
    Notice.DOUBTED: Event.DOUBTED,
    Notice.LAPSED_SESSION: Event.EXPIRED,
    Notice.LAPSED_DOUBTED: Event.OVERTAKEN,
    Notice.LAPSED_SILENT: Event.SILENT,
}


class Row(NamedTuple):
    """In any of these states, this event leads there and says that."""

    states: tuple[State, ...]
    event: Event
    to: State
    say: tuple[Say, ...] = ()


HAVING: Final = (State.OPEN, State.QUIET, State.CUT)  # a channel
OWED: Final = (State.IDLE, State.WAITING, State.LAPSED)

ROWS: Final = (
    Row((*OWED, State.BARRED), Event.CLEAR, State.OPEN, (Say.OPEN,)),
    Row(OWED, Event.PACKET, State.OPEN, (Say.OPEN,)),
    Row((*OWED, State.BARRED), Event.FULL, State.WAITING, (Say.UNAVAILABLE,)),
    Row((*OWED, State.BARRED), Event.OPAQUE, State.BARRED, (Say.UNAVAILABLE,)),
    Row((State.OPEN, State.QUIET), Event.CLEAR, State.OPEN, (Say.CHANGE,)),
    Row((State.CUT,), Event.CLEAR, State.CUT, (Say.CHANGE,)),
    Row(HAVING, Event.OPAQUE, State.BARRED, (Say.UNAVAILABLE, Say.CLOSE)),
    *(Row((state,), Event.PARTLY, state, (Say.UNAVAILABLE,)) for state in HAVING),
    Row((State.OPEN,), Event.SILENCE, State.QUIET, (Say.UNAVAILABLE,)),
    Row((State.QUIET,), Event.PACKET, State.OPEN, (Say.CHANGE,)),
    Row((State.OPEN, State.QUIET), Event.DOUBTED, State.QUIET, (Say.UNAVAILABLE,)),
    Row((State.CUT,), Event.DOUBTED, State.CUT, (Say.UNAVAILABLE,)),
    *(
        Row(HAVING, event, State.LAPSED, (Say.UNAVAILABLE, Say.CLOSE))
        for event in (Event.EXPIRED, Event.OVERTAKEN, Event.SILENT)
    ),
    Row((State.OPEN, State.QUIET), Event.LOST, State.CUT, (Say.UNAVAILABLE,)),
    Row((State.CUT,), Event.BACK, State.OPEN, (Say.CHANGE,)),
    Row(HAVING, Event.END, State.CLOSED, (Say.CLOSE,)),
    Row((*OWED, State.BARRED), Event.END, State.CLOSED),
)

TABLE: Final = {(state, row.event): (row.to, row.say) for row in ROWS for state in row.states}


class Verb(enum.Enum):
    OPEN = "open"  # content of this call goes to this channel, from its first packet on
    WATCH = "watch"  # as before; the next packet is to be told of
    BAR = "bar"  # nothing of this call is delivered: no keys
    CLOSE = "close"


class Binding(msgspec.Struct, frozen=True, kw_only=True):
    """What the delivery function does with the packets that the access function files under `key`."""

    verb: Verb
    key: Hashable  # of the call model: the X3 PDUs' correlation
    at_ns: int  # of CLOSE: what was captured later is no part of the call
    call: str = ""  # CallIdentity.main, of OPEN
    channel: Channel = Channel()
    apart: bool = False  # of CLOSE: others may talk on without the subject, and nothing of that is content


class Content(msgspec.Struct, kw_only=True):
    """What is remembered of one call's content."""

    state: State = State.IDLE
    channel: Channel | None = None
    source: Hashable = None  # the key whose packets are delivered
    told: list[Description | None] = msgspec.field(default_factory=lambda: [None, None])  # by side
    reasons: set[Reason] = msgspec.field(default_factory=set)  # that the agency knows
    seen: bool = False  # a packet came since the media were last established
    quiet_ns: int | None = None  # when its silence is to be told


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What this module needs to know of a call."""

    key: Hashable
    identity: cdc.CallIdentity
    role: Role
    answered: bool
    apart: bool = False  # when the subject's part is over, the others may go on: a conference, a call moved to others
    descriptions: tuple[Description | None, Description | None]  # by side


class ContentModel:
    """The content of all calls of one order at one access point."""

    def __init__(self, case_id: str, iap_system_id: str, channels: Channels) -> None:
        self._case_id = case_id
        self._iap_system_id = iap_system_id
        self._channels = channels
        self._bindings: list[Binding] = []

    def take(self) -> list[Binding]:
        """What to do, since the last time and in this order; after the messages of the same time have been sent."""
        bindings, self._bindings = self._bindings, []
        return bindings

    # What happens

    def media(self, content: Content, facts: Facts, now_ns: int, *, change: bool = True) -> list[cdc.Message]:
        """The media of the call were agreed, or may have changed; `change` False: only a channel that is not open yet
        is opened."""
        known = facts.descriptions
        if content.state in HAVING:
            if not change:
                return []
            new = any(one is not None and not one.same_as(old) for one, old in zip(known, content.told, strict=True))
            if not new:
                self._watch(content, facts, now_ns)
                return []
        elif not all(flowing(each) for each in known):
            return []
        secrecy = worst(known)
        if secrecy is Event.OPAQUE:
            return self._step(content, secrecy, facts, now_ns)
        messages = self._step(content, Event.CLEAR, facts, now_ns)
        return messages + self._step(content, Event.PARTLY, facts, now_ns) if secrecy is Event.PARTLY else messages

    def packet(self, content: Content, facts: Facts, key: Hashable, now_ns: int) -> list[cdc.Message]:
        """The first packet since the last binding of this call, filed under `key`."""
        if content.state in HAVING and content.source != key:
            if content.seen:  # the call is seen twice, before and behind a server: once is enough
                self._bindings.append(Binding(verb=Verb.BAR, key=key, at_ns=now_ns))
                return []
            self._bindings.append(Binding(verb=Verb.CLOSE, key=content.source, at_ns=now_ns))
            content.source = key
            self._bind(content, facts, Verb.OPEN, now_ns)
        if content.state is State.BARRED or content.state in OWED:
            if worst(facts.descriptions) is Event.OPAQUE:
                self._bindings.append(Binding(verb=Verb.BAR, key=key, at_ns=now_ns))
                return self._step(content, Event.OPAQUE, facts, now_ns)
            content.source = key
        content.seen, content.quiet_ns = True, None
        return self._step(content, Event.PACKET, facts, now_ns)

    def noticed(self, content: Content, facts: Facts, notice: Notice, now_ns: int) -> list[cdc.Message]:
        """What the access function noticed of the call's packets."""
        return self._step(content, NOTICES[notice], facts, now_ns)

    def link(self, content: Content, facts: Facts, now_ns: int) -> list[cdc.Message]:
        """The link that content goes by was lost, or came back: `Channels.link_up` says."""
        return self._step(content, Event.BACK if self._channels.link_up else Event.LOST, facts, now_ns)

    def due(self, content: Content, facts: Facts, now_ns: int) -> list[cdc.Message]:
        """To be asked at `quiet_ns`."""
        if content.quiet_ns is None or content.quiet_ns > now_ns:
            return []
        content.quiet_ns = None
        return self._step(content, Event.SILENCE, facts, now_ns)

    def end(self, content: Content, facts: Facts, now_ns: int) -> list[cdc.Message]:
        """The call, the order, or the subject's part in the call is over: at once, and for good."""
        return self._step(content, Event.END, facts, now_ns)

    # Inside

    def _step(self, content: Content, event: Event, facts: Facts, now_ns: int) -> list[cdc.Message]:
        """One event through the table."""
        found = TABLE.get((content.state, event))
        if found is None:
            return []
        to, say = found
        if Say.OPEN in say:
            content.channel = self._channels.take(self._iap_system_id, facts.identity.main)
            if content.channel is None:
                return self._step(content, Event.FULL, facts, now_ns)
            content.source = facts.key if content.source is None else content.source
            content.seen = event is Event.PACKET
        content.state = to
        messages = [message for word in say for message in self._say(word, event, content, facts, now_ns)]
        if to is State.BARRED and Say.CLOSE not in say:
            self._bindings.append(Binding(verb=Verb.BAR, key=facts.key, at_ns=now_ns))
        if event is Event.DOUBTED:
            content.seen, content.quiet_ns = False, None
            self._bind(content, facts, Verb.WATCH, now_ns)  # the next one is the call's
        if to in (State.OPEN, State.CUT) and (Say.OPEN in say or Say.CHANGE in say):
            content.reasons &= {Reason.ENCRYPTED}
            if event is Event.CLEAR and Say.CHANGE in say:
                content.seen = False  # whether the media come here is to be seen again
            self._watch(content, facts, now_ns)
        if Say.OPEN in say and not self._channels.link_up:
            messages += self._step(content, Event.LOST, facts, now_ns)
        return messages

    def _watch(self, content: Content, facts: Facts, now_ns: int) -> None:
        """Content that is owed and does not come is told of; until then, or while all are on hold, nothing is."""
        owed = facts.answered and all(flowing(each) for each in facts.descriptions) and not held(facts.descriptions)
        if not owed or content.seen or content.state is not State.OPEN:
            content.quiet_ns = None
        elif content.quiet_ns is None:
            content.quiet_ns = now_ns + QUIET_LIMIT

    def _bind(self, content: Content, facts: Facts, verb: Verb, now_ns: int) -> None:
        assert content.channel is not None
        self._bindings.append(
            Binding(
                verb=verb,
                key=content.source,
                at_ns=now_ns,
                call=facts.identity.main,
                channel=content.channel,
                apart=facts.apart,
            )
        )

    def _say(
        self, word: Say, event: Event, content: Content, facts: Facts, now_ns: int
    ) -> Iterable[cdc.Message]:  # fmt: skip
        case, iap = self._case_id, self._iap_system_id
        if word is Say.UNAVAILABLE:
            reason = REASONS[event]
            if reason not in content.reasons:
                content.reasons.add(reason)
                self._channels.refused += reason is Reason.NO_CHANNEL
                yield ccc.CCUnavailable(
                    case_id=case, iap_system_id=iap, timestamp_ns=now_ns, call_id=facts.identity,
                    unavailability_reason=reason.value,
                )  # fmt: skip
            return
        channel = content.channel
        assert channel is not None
        if word is Say.CLOSE:
            self._bind(content, facts, Verb.CLOSE, now_ns)
            self._channels.give_back(channel)
            content.channel, content.source, content.quiet_ns = None, None, None
            yield ccc.CCClose(
                case_id=case, iap_system_id=iap, timestamp_ns=now_ns, call_id=facts.identity, channel=channel
            )
            return
        content.told = list(facts.descriptions)
        own = Side.CALLER if facts.role is Role.CALLING else Side.CALLEE
        subject, associate = _media(facts.descriptions[own]), _media(facts.descriptions[own.other])
        if word is Say.OPEN:
            self._bind(content, facts, Verb.OPEN, now_ns)
            yield ccc.CCOpen(
                case_id=case, iap_system_id=iap, timestamp_ns=now_ns, call_id=facts.identity, channel=channel,
                form=self._channels.form, subject_media=subject, associate_media=associate,
            )  # fmt: skip
        else:
            self._bind(content, facts, Verb.WATCH, now_ns)
            yield ccc.CCChange(
                case_id=case, iap_system_id=iap, timestamp_ns=now_ns, call_id=facts.identity, channel=channel,
                subject_media=subject, associate_media=associate,
            )  # fmt: skip


def flowing(description: Description | None) -> bool:
    """This side announced at least one stream that is in use."""
    return description is not None and description.sdp is not None and any(m.port for m in description.sdp.media)


def held(descriptions: Iterable[Description | None]) -> bool:
    """One side holds all streams: nothing need flow."""
    return any(each is not None and each.sdp is not None and each.sdp.held for each in descriptions)


def worst(descriptions: Iterable[Description | None]) -> Event:
    """Whether all (OPAQUE) or some (PARTLY) streams that a side announced are encrypted with keys that stand in no
    description; else CLEAR.

    RTP/SAVP with RFC 4568 `a=crypto` lines has its keys in the description; the descriptions go out in CCOpen. With
    DTLS (RFC 5763, UDP/TLS/RTP/SAVP) the keys are known to the two ends alone.
    """
    found = [_secrecy(each) for each in descriptions if flowing(each)]
    return next((each for each in (Event.OPAQUE, Event.PARTLY) if each in found), Event.CLEAR)


def _secrecy(description: Description | None) -> Event:
    assert description is not None
    clear = closed = False
    using = secret = keyed = False
    for each in (*description.text.splitlines(), "m= 0"):  # the last one ends the last section
        line = each.strip()
        if line.startswith("m="):
            clear |= using and (keyed or not secret)
            closed |= using and secret and not keyed
            words = line[2:].split()
            using = len(words) > 2 and words[1].partition("/")[0].strip("0") != ""
            secret, keyed = len(words) > 2 and "SAVP" in words[2].upper(), False
        elif line.startswith("a=crypto:"):
            keyed = True
    if not closed:
        return Event.CLEAR
    return Event.PARTLY if clear else Event.OPAQUE


def _media(description: Description | None) -> cdc.Media | None:
    return cdc.Media(sdp=description.text, status=cdc.MediaStatus.GRANTED) if description is not None else None
