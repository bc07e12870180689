"""What the network's answers sound like: SIP status codes to tones, alert information to ringing patterns.

Answers for four tables and nothing else: the audible signal that a calling subject gets for a final response (RFC 3261
section 21 to T1.678 AudibleSignal), what a final response means for the attempt (is it the end, or will the caller try
again under the same Call-ID), the ringing pattern that Alert-Info asks for (RFC 7462; GR-506 patterns), and the tone
that Alert-Info in a provisional response names to a calling subject (RFC 3261 20.4).
"""

from __future__ import annotations

import enum
from typing import Final

from mediation.core.message.cdc import AlertingSignal, AudibleSignal


class Outcome(enum.Enum):
    """What a final response other than 2xx means for the attempt it answers."""

    RETRY = "retry"  # the same attempt is repeated with something added (RFC 3261 8.1.3.5): no tone, no end yet
    REDIRECT = "redirect"  # 3xx: try elsewhere (8.1.3.4)
    FAILURE = "failure"


# Responses that a client answers by repeating its request under the same Call-ID with a higher CSeq.
RETRIED: Final = frozenset(
    {
        401, 407,  # credentials, RFC 3261 22.2
        413, 415, 416, 420, 421,  # shorter, other encoding, other scheme, other options: RFC 3261 8.1.3.5
        422,  # a longer session interval, RFC 4028
        428,  # an Identity header, RFC 8224
        494,  # a security agreement, RFC 3329
    }
)  # fmt: skip

SILENT: Final = RETRIED | {487}  # 487: the caller cancelled, nobody listens any more

# The tone a caller hears, by status code; BY_CLASS when the code is not here.
TONES: Final[dict[int, AudibleSignal]] = {
    404: AudibleSignal.SPECIAL_INFO_TONE,  # not a number of ours
    410: AudibleSignal.SPECIAL_INFO_TONE,  # no longer a number
    484: AudibleSignal.SPECIAL_INFO_TONE,  # not a whole number
    485: AudibleSignal.SPECIAL_INFO_TONE,  # ambiguous
    604: AudibleSignal.SPECIAL_INFO_TONE,  # no number anywhere
    486: AudibleSignal.BUSY_TONE,
    600: AudibleSignal.BUSY_TONE,  # busy everywhere
}
BY_CLASS: Final[dict[int, AudibleSignal]] = {
    4: AudibleSignal.REORDER_TONE,  # 480, 408 and the rest
    5: AudibleSignal.REORDER_TONE,  # 503 and the rest
    6: AudibleSignal.REORDER_TONE,  # 603 declined, 606 not acceptable, 607 unwanted, 608 rejected
}

CALL_WAITING: Final = "service:call-waiting"
# Words in an Alert-Info URI, first match wins; anything else rings normally.
PATTERNS: Final[tuple[tuple[str, AlertingSignal], ...]] = (
    (CALL_WAITING, AlertingSignal.CALL_WAITING_PATTERN_1),  # urn:alert:service:call-waiting
    ("priority:high", AlertingSignal.ALERTING_PATTERN_2),
    ("source:external", AlertingSignal.ALERTING_PATTERN_1),
    ("bellcore-dr2", AlertingSignal.ALERTING_PATTERN_1),
    ("bellcore-dr3", AlertingSignal.ALERTING_PATTERN_2),
    ("bellcore-dr4", AlertingSignal.ALERTING_PATTERN_3),
    ("bellcore-dr5", AlertingSignal.ALERTING_PATTERN_4),
)

# Words in an Alert-Info URI of a provisional response: the network plays this to the caller instead of ringback. Only
# what is named is reported; a dial tone that a phone makes by itself never passes the network.
HEARD: Final[tuple[tuple[str, AudibleSignal], ...]] = (
    ("recall-dial", AudibleSignal.RECALL_DIAL_TONE),
    ("stutter", AudibleSignal.RECALL_DIAL_TONE),
    ("dial-tone", AudibleSignal.DIAL_TONE),
    ("dialtone", AudibleSignal.DIAL_TONE),
    ("busy-tone", AudibleSignal.BUSY_TONE),
    ("reorder", AudibleSignal.REORDER_TONE),
    ("congestion", AudibleSignal.REORDER_TONE),
    ("special-info", AudibleSignal.SPECIAL_INFO_TONE),
    ("confirmation", AudibleSignal.CONFIRMATION_TONE),
)


def heard(alert_info: tuple[str, ...]) -> AudibleSignal | None:
    """The tone that these Alert-Info values name; None when they name none."""
    for value in alert_info:
        lower = value.lower()
        for word, tone_ in HEARD:
            if word in lower:
                return tone_
    return None


def outcome(status: int) -> Outcome:
    """What a final response `status` (300 to 699) means for its attempt."""
    if status < 400:
        return Outcome.REDIRECT
    return Outcome.RETRY if status in RETRIED else Outcome.FAILURE


def tone(status: int) -> AudibleSignal | None:
    """The tone for a caller whose attempt ended with `status`, or None: no signal is reported."""
    return None if status in SILENT else TONES.get(status, BY_CLASS.get(status // 100))


def alerting(alert_info: tuple[str, ...]) -> AlertingSignal:
    """The ringing pattern for these Alert-Info values; without any, the normal one."""
    for value in alert_info:
        lower = value.lower()
        for word, pattern in PATTERNS:
            if word in lower:
                return pattern
    return AlertingSignal.ALERTING_PATTERN_0
