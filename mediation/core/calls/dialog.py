"""What is remembered of one call: its dialogs, the hops its INVITE took, and what has been reported of it.

Answers for the memory of the call model, all of it bounded here; it decides nothing. Everything in a `Call` comes
from one Call-ID (RFC 3261 section 12), or from several that `correlation` found to be one call: the legs are its
dialogs, told apart by To tag; the branches are the hops on
which its INVITE was seen, told apart by the branch of the topmost Via (section 17.1.3), each with the target it
went to.

A tap that sees both sides of a proxy sees every message once per hop. The branch seen first is the `outer` one: it is
the caller's own hop, and only a final response on it is the network's last word to the caller. What comes back on the
others is the proxy's business until then: it may still try elsewhere.
"""

from __future__ import annotations

import enum
from collections.abc import Hashable
from typing import Any, Final

import msgspec

from mediation.core.calls.feature import Code
from mediation.core.calls.transfer import DialogId, Referral
from mediation.core.channel.content import Content
from mediation.core.channel.digits import Dialing
from mediation.core.channel.media import Description, Exchange, Side
from mediation.core.interface.x2 import Role
from mediation.core.message import cdc

MAX_LEGS: Final = 32  # dialogs of one call; the widest forking seen in practice rings ten phones. Ours
MAX_BRANCHES: Final = 64  # hops and targets of one INVITE; Max-Forwards starts at 70 (RFC 3261 8.1.1.6)
MAX_SEEN: Final = 128  # messages remembered against copies; a call in set-up exchanges about 20. Ours
MAX_OFFERS: Final = 8  # offers in flight at once; RFC 3261 section 14 allows one in each direction
MAX_ECHOES: Final = 8  # further legs that back-to-back agents made of one call: two agents that fork to four. Ours


SECOND: Final = 1_000_000_000


class State(enum.Enum):
    """Where a call stands."""

    IDLE = "idle"  # nothing is known of it (any more)
    ATTEMPT = "attempt"
    ALERTING = "alerting"
    FORWARDING = "forwarding"  # the network announced it (181); where to is not known yet
    DIVERTED = "diverted"  # it goes to somebody else than the subject
    PENDING = "pending"  # refused, redirected or cancelled, but another INVITE may continue it
    ANSWERED = "answered"
    HELD = "held"  # answered, media suspended by one side or both
    FEATURE = "feature"  # the subject dialed a service code that is no call
    RELEASED = "released"  # over; lingers so that late copies stay silent

    __hash__ = object.__hash__  # members are singletons; Enum's own hash is Python, and the table asks for it often


PENDING_LIMIT: Final = 4 * SECOND  # half of the 8 s of 1.20007(a)(14): the Release after it is still in time
SETUP_LIMIT: Final = 600 * SECOND  # without any message; Timer C of a proxy is over 180 s (RFC 3261 16.6)
QUIET_LIMIT: Final = 24 * 3600 * SECOND  # an answered call without any signalling: its BYE was missed
LINGER: Final = 32 * SECOND  # 64 × T1, when the last retransmission has ended (RFC 3261 17.1.1.2)

# State -> (limit, whether every message of the call starts it anew).
LIMITS: Final[dict[State, tuple[int, bool]]] = {
    State.ATTEMPT: (SETUP_LIMIT, True),
    State.ALERTING: (SETUP_LIMIT, True),
    State.FORWARDING: (PENDING_LIMIT, False),
    State.DIVERTED: (SETUP_LIMIT, True),
    State.PENDING: (PENDING_LIMIT, False),
    State.ANSWERED: (QUIET_LIMIT, True),
    State.HELD: (QUIET_LIMIT, True),
    State.FEATURE: (SETUP_LIMIT, True),
    State.RELEASED: (LINGER, False),
}


class Branch(msgspec.Struct):
    """The INVITE on one hop."""

    uri: str  # its Request-URI
    subject: bool  # it goes to the subject, as far as can be known (incoming calls)
    done: bool = False  # it got a final response


class Leg(msgspec.Struct):
    """One dialog, early or confirmed."""

    tag: str  # To tag of the responses that made it
    subject: bool  # at the other end is the subject (incoming calls)
    uri: str = ""  # the target it answers for, when a branch tells
    ringing: bool = False
    reported: bool = False  # a message named this leg
    closed: bool = False
    origin: str = ""  # From tag of the back-to-back agent whose INVITE made it; "": the caller's own


class Echo(msgspec.Struct, frozen=True):
    """A further leg of the call: the INVITE that a back-to-back agent sent on with a From tag of its own."""

    call_id: str
    cseq: int
    uri: str  # its Request-URI
    subject: bool  # it goes to the subject, as far as can be known (incoming calls)


class Offer(msgspec.Struct, frozen=True):
    """A request inside the call that waits for its 2xx: what it asks for."""

    side: Side
    description: Description | None
    contact: str


class Target(msgspec.Struct, frozen=True):
    """Whom a call was redirected to."""

    key: str
    party: cdc.Party | None  # None: the network said that it forwards, not to whom


class Call(msgspec.Struct, kw_only=True):
    """One call. Times are UTC nanoseconds; `last_ns` is the newest stamp seen, `since_ns` when `state` was entered."""

    key: Hashable  # how the model finds it
    main: str  # CallIdentity.main: the Call-ID first seen
    role: Role
    state: State
    last_ns: int
    since_ns: int

    caller_tag: str = ""  # From tag of the initial INVITE
    cseq: int = 0  # of the newest initial INVITE
    outer: str = ""  # the branch on which that was seen first
    branches: dict[str, Branch] = {}
    legs: dict[str, Leg] = {}
    echoes: dict[str, Echo] = {}  # by From tag
    seen: dict[Hashable, None] = {}
    offers: dict[Hashable, Offer] = {}

    names: tuple[str, ...] = ()  # Call-IDs of its further legs (`correlation`)
    marks: tuple[Any, ...] = ()  # what those are known by (`correlation`)
    aliases: tuple[Hashable, ...] = ()  # further keys of its legs
    source: str = ""  # host that sent the first INVITE
    caller: str = ""  # user part of the first INVITE's From

    joined: bool = False  # it was up before the first message that was seen
    answered: bool = False
    winner: Leg | None = None  # the leg that answered
    target: Target | None = None  # where the call went instead of to the subject
    retry_elsewhere: bool = False  # the caller was answered 3xx
    diversions: int = 0  # redirections that the first INVITE told of
    code: Code | None = None  # the service code that the subject dialed

    line: str = ""  # which subject's: calls of one line can wait for, hold and join each other (`association`)
    replaces: DialogId | None = None  # the call that this one takes the place of
    joins: DialogId | None = None  # the call that this one joins
    referrals: dict[tuple[str, int], Referral] = {}  # (From tag, CSeq) of a REFER inside this call
    claim: Referral | None = None  # a REFER in another call that asks for this one to be replaced
    focus: str = ""  # the other end is a conference: the key of its contact
    members: dict[str, cdc.Party] = {}  # of that conference, but for the subject
    transferred: bool = False  # its other party was moved elsewhere: it only waits for its end
    asked: str = ""  # the key of its first Request-URI
    roster: int = -1  # version of the newest conference document seen

    subject: cdc.Party = cdc.Party()
    associate: cdc.Party = cdc.Party()  # the other party
    display: cdc.TerminalDisplay | None = None
    alerting: cdc.AlertingSignal = cdc.AlertingSignal.ALERTING_PATTERN_0
    failed: bool = False  # the last word was no, or the caller gave up
    status: int = 0  # of the newest final response other than 2xx, from whatever hop
    cause: cdc.Cause | None = None

    media: Exchange = msgspec.field(default_factory=Exchange)
    contacts: list[str] = msgspec.field(default_factory=lambda: ["", ""])  # Contact URI by Side

    dialing: Dialing | None = None  # the subject's keys, since extraction is on
    content: Content = msgspec.field(default_factory=Content)

    reported: bool = False  # a message named this call since it was last released
    alerted: bool = False  # the subject heard ringback, or was alerted: once in an attempt, however many phones ring
    armed_ns: int | None = None  # the model's own: the earliest entry in its timer queue

    def is_copy(self, fingerprint: Hashable) -> bool:
        """Whether this message was seen before (a retransmission, or the other side of a proxy); remembers it."""
        if fingerprint in self.seen:
            return True
        if len(self.seen) >= MAX_SEEN:
            del self.seen[next(iter(self.seen))]
        self.seen[fingerprint] = None
        return False

    def begin(self, tag: str, cseq: int, branch: str, uri: str, subject: bool) -> None:
        """A new attempt under this Call-ID: only what belongs to an attempt is forgotten."""
        self.caller_tag, self.cseq, self.outer = tag, cseq, branch
        self.branches = {branch: Branch(uri, subject)}
        self.legs = {}
        self.offers = {}
        self.failed, self.status, self.cause, self.retry_elsewhere = False, 0, None, False
        self.alerted = False

    def add_branch(self, branch: str, uri: str, subject: bool) -> None:
        if len(self.branches) >= MAX_BRANCHES:  # the outer one is the first and stays
            del self.branches[next(each for each in self.branches if each != self.outer)]
        self.branches[branch] = Branch(uri, subject)

    def leg(self, tag: str, branch: str) -> Leg:
        """The dialog with this To tag; a new one belongs to the target of the branch that the response came on."""
        found = self.legs.get(tag)
        known = self.branches.get(branch) if branch != self.outer else None
        if found is None:
            if len(self.legs) >= MAX_LEGS:
                del self.legs[next(each for each in self.legs if self.legs[each] is not self.winner)]
            found = self.legs[tag] = Leg(
                tag,
                subject=known.subject if known else self.target is None,
                uri=known.uri if known else "",
            )
        return found

    def offer(self, key: Hashable, offer: Offer) -> None:
        if len(self.offers) >= MAX_OFFERS:
            del self.offers[next(iter(self.offers))]
        self.offers[key] = offer

    def echo(self, tag: str, echo: Echo) -> bool:
        """A further leg; False when it was known."""
        known = tag in self.echoes
        if known or len(self.echoes) < MAX_ECHOES:
            self.echoes[tag] = echo
        return not known

    def side_of(self, from_tag: str, to_tag: str) -> Side | None:
        """Which end sent a request with these tags; None when its dialog is none of the call's."""
        for caller in (self.caller_tag, *self.echoes):
            if caller == from_tag:
                return Side.CALLER
            if caller == to_tag:
                return Side.CALLEE
        return None

    def refer(self, key: tuple[str, int], referral: Referral) -> None:
        if len(self.referrals) >= MAX_OFFERS:
            self.referrals.pop(next(iter(self.referrals))).settled = True
        self.referrals[key] = referral

    def identity(self, leg: Leg | None = None) -> cdc.CallIdentity:
        """CallIdentity of the call, or of one dialog of it, which then counts as named."""
        if leg is None or not leg.tag:
            return cdc.CallIdentity(main=self.main)
        leg.reported = True
        return cdc.CallIdentity(main=self.main, leg=leg.tag)

    def limit_ns(self) -> int | None:
        """When the time limit of the state ends."""
        if self.state is State.IDLE:
            return None
        limit, renewed = LIMITS[self.state]
        return (self.last_ns if renewed else self.since_ns) + limit

    def deadline_ns(self) -> int | None:
        """When something of this call is due: digits, content that does not come, or the limit of its state."""
        digits = self.dialing.deadline_ns if self.dialing is not None else None
        due = (self.limit_ns(), digits, self.content.quiet_ns)
        return min((each for each in due if each is not None), default=None)

    def close(self) -> None:
        """The call is over: only what tells late copies from a new attempt is kept."""
        self.branches, self.legs, self.offers, self.seen = {}, {}, {}, {}
        self.winner, self.target, self.display, self.dialing = None, None, None, None
        self.replaces, self.joins, self.claim, self.code = None, None, None, None
        for each in self.referrals.values():
            each.settled = True
        self.referrals, self.members = {}, {}
        self.media = Exchange()

    @property
    def subject_side(self) -> Side | None:
        """Which end the subject is at; None when the call was redirected away from it."""
        if self.role is Role.CALLING:
            return Side.CALLER
        away = self.target is not None if self.winner is None else not self.winner.subject
        return None if away else Side.CALLEE

    def party(self, side: Side) -> cdc.Party:
        """Who is at that end now."""
        if side is self.subject_side:
            return self.subject
        if side is Side.CALLEE and self.target is not None:
            return self.target.party or cdc.Party()
        return self.associate
