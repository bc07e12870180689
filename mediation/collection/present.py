"""A received message as one line of JSON, in the keys that other people's tools rely on: `collect` and `replay`.

Answers for: names and forms of those keys, which may be added to and never changed. Prints what was decoded from the
octets that were sent, not what the daemon meant to send.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from mediation.collection.decoder import Decoded, rfc3339

UNKNOWN_ERROR_US: Final = 0xFFFFFFFF
"""The link's mark for a stamp whose error has no proven bound; printed as null."""


class LinkFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What travelled beside the message.

    `sequence` of the link; `received_ns` when the IAP received the packet that made the event, UTC nanoseconds;
    `error_us` the bound of that stamp's error; `disciplined` whether the clock was; `arrived_ns` when the collection
    function had the message, None in a replay.
    """

    sequence: int
    received_ns: int
    error_us: int
    disciplined: bool
    arrived_ns: int | None = None


def present(decoded: Decoded, octets: bytes, facts: LinkFacts) -> dict[str, Any]:
    """The JSON object. Times are RFC 3339, UTC, microseconds; `latency_us` is received at the IAP to arrived.

    A latency below zero means two clocks disagree, and is printed as it is.
    """
    shown = {
        "case": decoded.case,
        "profile": decoded.profile,
        "message": decoded.message,
        "timestamp": rfc3339(decoded.timestamp_ns),
        "call": decoded.call,
        "sequence": facts.sequence,
        "fields": decoded.fields,
        "ber": octets.hex(),
        "stamp_error_us": None if facts.error_us >= UNKNOWN_ERROR_US else facts.error_us,
        "clock": "disciplined" if facts.disciplined else "undisciplined",
    }
    if facts.arrived_ns is not None:
        shown["arrived"] = rfc3339(facts.arrived_ns)
        shown["latency_us"] = (facts.arrived_ns - facts.received_ns) // 1_000
    return shown


def line(shown: dict[str, Any]) -> bytes:
    """One object on one line, with its newline."""
    return msgspec.json.encode(shown) + b"\n"
