"""What may happen to a call, and what is said then: the transition table of the call model.

Answers for the rows alone: state × event -> next state, words to say (47 CFR 1.20007(b), T1.678). Which event a SIP
message is, `reading` judges; what a word puts into a message, `report` knows; the walk is `call.CallModel`. An event
without a row changes nothing and says nothing. `diagram` draws the table for the documentation.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from mediation.core.calls.dialog import State
from mediation.core.calls.event import Event
from mediation.core.calls.word import Say
from mediation.core.channel.content_calls import with_content
from mediation.core.interface.x2 import Role


class Row(NamedTuple):
    """In any of these states, this event leads there and says that."""

    states: tuple[State, ...]
    event: Event
    to: State | None  # None: it stays where it is
    say: tuple[Say, ...] = ()


_SETUP = (State.ATTEMPT, State.ALERTING)
_OPEN = (*_SETUP, State.DIVERTED, State.PENDING)
UP: Final = (State.ANSWERED, State.HELD)

_JOINING: Final = (Say.CHANGE, Say.LOSERS, Say.MIX)  # what an answer does to the other legs and calls

BOTH: Final = (
    Row((State.IDLE, *_OPEN, State.FORWARDING), Event.MIDCALL, State.ANSWERED),
    Row(_OPEN, Event.MEDIA, None, (Say.MEDIA,)),
    Row(_OPEN, Event.BYE, State.RELEASED, (Say.RELEASE,)),
    Row((*_SETUP, State.DIVERTED), Event.CANCEL, State.PENDING),
    Row((*_SETUP, State.DIVERTED), Event.RETRY, State.PENDING),
    Row((*_SETUP, State.DIVERTED), Event.TIMEOUT, State.RELEASED, (Say.RELEASE,)),
    Row(UP, Event.MEDIA, None, (Say.MEDIA,)),
    Row((State.ANSWERED,), Event.HELD, State.HELD, (Say.SIGNAL, Say.BREAK)),
    Row((State.HELD,), Event.HOLD, None, (Say.SIGNAL,)),
    Row((State.HELD,), Event.RETRIEVED, State.ANSWERED, (Say.SIGNAL, Say.CONNECTION)),
    Row(UP, Event.REFER, None, (Say.REFER,)),
    Row(UP, Event.REFERRED, None, (Say.REFERRED,)),
    Row(UP, Event.MOVED, None, (Say.TRANSFER,)),
    Row(UP, Event.ROSTER, None, (Say.ROSTER,)),
    Row(UP, Event.BYE, State.RELEASED, (Say.TRANSFER, Say.LEAVE, Say.RELEASE)),
    Row(UP, Event.TIMEOUT, State.RELEASED, (Say.RELEASE,)),
    Row((*_OPEN, *UP, State.FORWARDING), Event.EVICTED, State.RELEASED, (Say.RELEASE,)),
    Row((State.RELEASED,), Event.TIMEOUT, State.IDLE),
)

CALLING: Final = (
    Row((State.IDLE,), Event.INVITE, State.ATTEMPT, (Say.DIALED, Say.ORIGINATION)),
    Row((State.PENDING,), Event.INVITE, State.ATTEMPT),
    Row((State.PENDING,), Event.RETARGET, State.ATTEMPT, (Say.REDIRECTION,)),
    Row((*_SETUP, State.PENDING), Event.RINGING, State.ALERTING, (Say.RINGBACK,)),
    Row(_SETUP, Event.FORWARDED, None, (Say.PHRASE,)),
    Row(_SETUP, Event.QUEUED, None, (Say.PHRASE,)),
    Row((*_SETUP, State.PENDING), Event.TONE, None, (Say.HEARD,)),
    Row(_SETUP, Event.REDIRECT, State.PENDING),
    Row((*_SETUP, State.PENDING), Event.ANSWER, State.ANSWERED, (Say.ANSWER, *_JOINING)),
    Row((*_SETUP, State.PENDING), Event.FAILURE, State.RELEASED, (Say.TONE, Say.RELEASE)),
    Row((State.PENDING,), Event.TIMEOUT, State.RELEASED, (Say.TONE, Say.RELEASE)),
    # A service code that is no call: nothing begins, so nothing is released unless digits named it.
    Row((State.IDLE,), Event.FEATURE, State.FEATURE, (Say.DIALED,)),
    Row((State.FEATURE,), Event.ANSWER, None, (Say.FEATURE,)),
    Row((State.FEATURE,), Event.FAILURE, State.RELEASED, (Say.FEATURE, Say.RELEASE)),
    Row((State.FEATURE,), Event.CANCEL, State.RELEASED),
    Row((State.FEATURE,), Event.BYE, State.RELEASED, (Say.RELEASE,)),
    Row((State.FEATURE,), Event.TIMEOUT, State.RELEASED, (Say.RELEASE,)),
    Row((State.FEATURE,), Event.EVICTED, State.RELEASED, (Say.RELEASE,)),
)

CALLED: Final = (
    Row((State.IDLE,), Event.INVITE, State.ATTEMPT, (Say.TERMINATION_ATTEMPT,)),
    Row((State.IDLE,), Event.RETARGET, State.DIVERTED, (Say.TERMINATION_ATTEMPT, Say.REDIRECTION)),
    Row((State.PENDING,), Event.INVITE, State.ATTEMPT),
    Row((*_OPEN, State.FORWARDING), Event.RETARGET, State.DIVERTED, (Say.REDIRECTION,)),
    Row((*_SETUP, State.PENDING), Event.RINGING, State.ALERTING, (Say.ALERTING,)),
    Row((State.DIVERTED, State.FORWARDING), Event.RINGING, None, (Say.ALERTING,)),
    Row((*_SETUP, State.PENDING), Event.QUEUED, State.ALERTING, (Say.ALERTING,)),  # the phone lets it wait
    Row((*_SETUP, State.PENDING), Event.FORWARDED, State.FORWARDING),
    Row((*_SETUP, State.DIVERTED), Event.REDIRECT, State.PENDING, (Say.REDIRECTION,)),
    Row(_OPEN, Event.ANSWER, State.ANSWERED, (Say.ALERTING, Say.ANSWER, *_JOINING)),
    Row(_OPEN, Event.FAILURE, State.RELEASED, (Say.RELEASE,)),
    Row((State.PENDING,), Event.TIMEOUT, State.RELEASED, (Say.RELEASE,)),
    Row((State.FORWARDING,), Event.MEDIA, None, (Say.MEDIA,)),
    Row((State.FORWARDING,), Event.ANSWER, State.ANSWERED, (Say.REDIRECTION, Say.ANSWER, *_JOINING)),
    Row((State.FORWARDING,), Event.TIMEOUT, State.DIVERTED, (Say.REDIRECTION,)),
    Row((State.FORWARDING,), Event.REDIRECT, State.PENDING, (Say.REDIRECTION,)),
    Row((State.FORWARDING,), Event.CANCEL, State.PENDING, (Say.REDIRECTION,)),
    Row((State.FORWARDING,), Event.FAILURE, State.RELEASED, (Say.REDIRECTION, Say.RELEASE)),
    Row((State.FORWARDING,), Event.BYE, State.RELEASED, (Say.REDIRECTION, Say.RELEASE)),
)

ROWS: Final = {
    role: tuple(row._replace(say=with_content(row.say)) for row in rows)
    for role, rows in ((Role.CALLING, (*BOTH, *CALLING)), (Role.CALLED, (*BOTH, *CALLED)))
}


def _expand(rows: Iterable[Row]) -> Iterator[tuple[tuple[State, Event], tuple[State, tuple[Say, ...]]]]:
    for row in rows:
        for state in row.states:
            yield (state, row.event), (row.to or state, row.say)


TABLE: Final = {role: dict(_expand(rows)) for role, rows in ROWS.items()}
