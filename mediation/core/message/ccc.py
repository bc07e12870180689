"""Messages about the call content channels (CCC): that content starts, changes, ends, or cannot be had.

They travel on the call data channel like all of `cdc`. Only an order for content has them (`minimisation`). A channel
is of one call and one case: two orders on one subject have different identifiers and different destinations.
"""

from __future__ import annotations

import enum
from typing import ClassVar

from mediation.core.message.cdc import CallIdentity, Media, Message, Record


class Form(enum.StrEnum):
    """How content is delivered; stands in the signed order (case.ContentDestination)."""

    CC_APDU = "cc-apdu"  # T1.678 CC-APDU, BER, over mutual TLS
    PACKETCABLE = "packetcable"  # CCC identifier, NTP time, IP packet, in UDP (T1.678's `scte`)


class Channel(Record, frozen=True, kw_only=True):
    """T1.678 CCCIdentity: combined, or a pair by direction. Each is 32 bits as 8 upper-case hexadecimal digits."""

    combined: str | None = None
    transmit: str | None = None  # what the subject sends
    receive: str | None = None  # what the subject receives


class CCOpen(Message, frozen=True, kw_only=True):
    name: ClassVar[str] = "ccOpen"

    call_id: CallIdentity
    channel: Channel
    form: Form
    subject_media: Media | None = None
    associate_media: Media | None = None


class CCClose(Message, frozen=True, kw_only=True):
    name: ClassVar[str] = "ccClose"

    call_id: CallIdentity
    channel: Channel


class CCChange(Message, frozen=True, kw_only=True):
    name: ClassVar[str] = "ccChange"

    call_id: CallIdentity
    channel: Channel
    subject_media: Media | None = None
    associate_media: Media | None = None


class CCUnavailable(Message, frozen=True, kw_only=True):
    name: ClassVar[str] = "ccUnavailable"

    call_id: CallIdentity
    unavailability_reason: str | None = None
