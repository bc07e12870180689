"""The words of the transition table: what can be said of a call when something happens to it.

Answers for their names alone; `report` and `association` make the messages, `transitions` says when.
"""

from __future__ import annotations

import enum
from typing import TypedDict


class Say(enum.Enum):
    """What a transition sends. The value is how the diagram writes it."""

    DIALED = "SubjectSignal(dialedDigits) if a feature code was dialed"
    FEATURE = "FeatureManagement"
    ORIGINATION = "Origination"
    TERMINATION_ATTEMPT = "TerminationAttempt"
    RINGBACK = "NetworkSignal(ringbackTone) once"
    ALERTING = "NetworkSignal(alerting or call waiting, display) once"
    PHRASE = "NetworkSignal(other)"
    HEARD = "NetworkSignal(tone that the network names)"
    TONE = "NetworkSignal(tone of the status)"
    REDIRECTION = "Redirection"
    ANSWER = "Answer"
    CHANGE = "Change if it takes the place of a call or joins one"
    LOSERS = "Release of each other leg"
    MIX = "Connection of all if another call is up too"
    SIGNAL = "SubjectSignal if the subject did it"
    BREAK = "ConnectionBreak"
    CONNECTION = "Connection"
    MEDIA = "MediaAndAddressReporting"
    REFER = "SubjectSignal(refer)"
    REFERRED = "NetworkSignal(refer)"
    TRANSFER = "what a REFER did: Redirection, Change, ConfPartyChange"
    ROSTER = "ConfPartyChange if somebody came or went"
    LEAVE = "ConnectionBreak or ConfPartyChange if others stay connected"
    RELEASE = "Release"
    CONTENT_OPEN = "CCOpen unless open"
    CONTENT = "CCOpen, CCChange or CCUnavailable as the media want"
    CONTENT_END = "CCClose if open"

    __hash__ = object.__hash__  # members are singletons; Enum's own hash is Python, and the table asks for it often


class Prefix(TypedDict):
    """The common prefix of every message."""

    case_id: str
    iap_system_id: str
    timestamp_ns: int
