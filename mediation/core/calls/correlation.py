"""Which messages with another Call-ID are still the same call: the legs that a back-to-back user agent makes of one.

Answers for that one judgement, and for finding a call by a dialog that somebody names (Replaces, Join). A switch that
is no proxy sends an INVITE on under a Call-ID of its own (RFC 7092); to the agency both are one call with one
Origination or TerminationAttempt and one Release. Evidence in this order, the first that speaks decides and is counted:

  1. Session-ID (RFC 7989): the caller's UUID goes through every such switch unchanged;
  2. icid-value of P-Charging-Vector (RFC 7315 section 5.6): one for the whole dialog, end to end;
  3. the Call-ID itself: the agent kept it and changed the tags only (`reading` sees that by itself);
  4. the media: the same `o=` line but for its version, or the same address and port, within MEDIA_WINDOW, for the same
     caller, and from another host than the first leg: a phone that dials anew sends from its own.

Only a call of the same role that has not been answered yet can get a further leg, and only by an INVITE that asks for
the same (both with Replaces or Join, or neither): a new call in the same session is a call of its own. Of a call that
was up before it was first seen, a further leg shows itself by the pair of UUIDs alone: both ends are the same.
"""

from __future__ import annotations

import enum
from typing import Final

import msgspec

from mediation.core.calls.dialog import Call, State
from mediation.core.calls.transfer import DialogId, dialog_id
from mediation.core.channel.media import Side, describe
from mediation.core.interface.x2 import Pdu, Role
from mediation.core.network.sdp import Sdp
from mediation.core.network.sip import SipMessage

MEDIA_WINDOW: Final = 2_000_000_000  # ns; a switch sends an INVITE on at once, a database dip included. Ours
MAX_PARAMETERS: Final = 32  # of one P-Charging-Vector that are looked at; RFC 7315 defines about ten
MAX_MARK: Final = 128  # characters of one mark: a UUID has 32, an icid about 60; a longer one is no evidence. Ours
_NOBODY: Final = "0" * 32  # the nil UUID of RFC 7989 section 5: it says that there is none


class Evidence(enum.Enum):
    """What showed that two legs are one call. The value is part of the counter's name."""

    SESSION_ID = "session_id"
    ICID = "icid"
    CALL_ID = "call_id"
    MEDIA = "media"


_OPEN: Final = frozenset({State.ATTEMPT, State.ALERTING, State.FORWARDING, State.DIVERTED, State.PENDING})
_TELLING: Final = frozenset({"session-id", "p-charging-vector", "replaces", "join"})


class Marks(msgspec.Struct, frozen=True):
    """What an initial INVITE has that its further legs have too, but for the media."""

    marks: tuple[tuple[Evidence, str], ...]  # best evidence first
    replaces: DialogId | None
    joins: DialogId | None


class Correlator:
    """The marks of the calls of one task. Its memory is that of the calls: every mark goes with its call."""

    def __init__(self) -> None:
        self._marked: dict[tuple[Evidence, str], Call] = {}
        self._named: dict[str, Call] = {}
        self._newest: dict[str, Call] = {}  # by caller

    def add(self, call: Call, message: SipMessage, pdu: Pdu, told: Marks) -> None:
        """A call's first message."""
        self._named[call.main] = call
        call.source, call.caller = pdu.source[0], user_of(message.from_.uri)
        self._newest[call.caller] = call
        if told is not NOTHING:
            call.replaces, call.joins, call.marks = told.replaces, told.joins, told.marks
            for mark in told.marks:
                self._marked[mark] = call

    def name(self, call: Call, call_id: str) -> None:
        """The call is known by this Call-ID too."""
        call.names += (call_id,)
        self._named[call_id] = call

    def named(self, call_id: str) -> Call | None:
        return self._named.get(call_id)

    def leg(self, message: SipMessage, pdu: Pdu, told: Marks) -> tuple[Call, Evidence] | None:
        """The call that an initial INVITE with a new Call-ID belongs to; None: it begins one."""
        for mark in told.marks:
            call = self._marked.get(mark)
            if call is not None and _may_grow(call, pdu, told):
                return call, mark[0]
        call = self._newest.get(user_of(message.from_.uri)) if pdu.source[0] else None
        if call is not None and _may_grow(call, pdu, told) and _sent_on(call, message, pdu):
            return call, Evidence.MEDIA
        return None

    def joined_leg(self, message: SipMessage, pdu: Pdu) -> Call | None:
        """The call, up before it was first seen, that a request inside another dialog is of as well."""
        call = self._marked.get((Evidence.SESSION_ID, session_pair(message)))
        return call if call is not None and call.joined and call.role is pdu.role else None

    def mark_pair(self, call: Call, message: SipMessage) -> None:
        """A call that was up before: `joined_leg` finds it by this."""
        pair = session_pair(message)
        if pair:
            call.marks += ((Evidence.SESSION_ID, pair),)
            self._marked[Evidence.SESSION_ID, pair] = call

    def dialog(self, wanted: DialogId | None) -> Call | None:
        """The call that has this dialog; None when no call of the task has it."""
        call = self._named.get(wanted.call_id) if wanted is not None else None
        if call is None or wanted is None:
            return None
        tags = {wanted.to_tag, wanted.from_tag}
        return call if call.caller_tag in tags or not tags.isdisjoint(call.echoes) else None

    def forget(self, call: Call) -> None:
        for mark in call.marks:
            if self._marked.get(mark) is call:
                del self._marked[mark]
        if self._newest.get(call.caller) is call:
            del self._newest[call.caller]
        for call_id in (call.main, *call.names):
            if self._named.get(call_id) is call:
                del self._named[call_id]
        call.marks, call.names = (), ()


NOTHING: Final = Marks((), None, None)


def marks(message: SipMessage) -> Marks:
    """Session-ID, icid, and the dialogs that it names; one pass, for every call of the task pays it."""
    session = icid = ""
    replaces = joins = None
    for name, value in message.headers:
        if name not in _TELLING:
            continue
        if name == "session-id":
            session = value.partition(";")[0].strip().lower()
        elif name == "p-charging-vector":
            icid = _icid(value)
        elif name == "replaces":
            replaces = dialog_id(value)
        else:
            joins = dialog_id(value)
    if not session and not icid and replaces is None and joins is None:
        return NOTHING
    found = []
    if session and session != _NOBODY and len(session) <= MAX_MARK:
        found.append((Evidence.SESSION_ID, session))
    if icid and len(icid) <= MAX_MARK:
        found.append((Evidence.ICID, icid))
    return Marks(tuple(found), replaces, joins)


def session_pair(message: SipMessage) -> str:
    """Both UUIDs of a Session-ID inside a dialog (RFC 7989 section 6), in one order whoever sends; "" without both."""
    local, _, rest = (message.first("session-id") or "").partition(";")
    remote = next((part.strip()[7:] for part in rest.split(";") if part.strip().lower().startswith("remote=")), "")
    pair = sorted((local.strip().lower(), remote.strip().lower()))
    if not pair[0] or _NOBODY in pair or len(pair[0]) + len(pair[1]) >= MAX_MARK:
        return ""
    return " ".join(pair)


def _icid(value: str) -> str:
    for part in value.split(";")[:MAX_PARAMETERS]:
        name, _, content = part.strip().partition("=")
        if name.strip().lower() == "icid-value":
            return content.strip().strip('"')
    return ""


def _may_grow(call: Call, pdu: Pdu, told: Marks) -> bool:
    if call.state not in _OPEN or (call.role is not pdu.role and pdu.role is not Role.UNKNOWN):
        return False
    return (call.replaces, call.joins) == (told.replaces, told.joins)


def _sent_on(call: Call, message: SipMessage, pdu: Pdu) -> bool:
    """The media say it: at once, another host that sends, and what it offers."""
    host = pdu.source[0]
    if not host or not call.source or host == call.source or abs(pdu.stamp_ns - call.since_ns) > MEDIA_WINDOW:
        return False
    first, second = call.media.descriptions[Side.CALLER], describe(message.body)
    if first is None or second is None or first.sdp is None or second.sdp is None:
        return False
    one, other = _origin(first.sdp.origin), _origin(second.sdp.origin)
    return (bool(one) and one == other) or _stream(first.sdp) == _stream(second.sdp) != ("", 0)


def _origin(value: str) -> tuple[str, ...]:
    """`o=` without its version (RFC 8866 5.2)."""
    words = value.split()
    return (words[0], words[1], words[5]) if len(words) == 6 else ()


def _stream(sdp: Sdp) -> tuple[str, int]:
    audio = sdp.audio
    return (audio.address, audio.port) if audio is not None and audio.port else ("", 0)


def user_of(uri: str) -> str:
    """The user part, which switches keep when they put their own host into a URI."""
    return uri.partition(":")[2].partition("@")[0].partition(";")[0].lower()
