"""Which keys a PDU tells of: SIP INFO, KPML reports and digits heard in the voice band, made alike for `digits`.

Answers for finding the keys in a message and the call they belong to. It decides neither whose they are (the direction
of the PDU does) nor whether they may be looked at (the toggle does, before anything here is called).
"""

from __future__ import annotations

import struct
from collections import OrderedDict
from typing import Final

from mediation.core.channel.digits import KEYS, Keys, Source
from mediation.core.errors import RemoteProtocolError
from mediation.core.interface.x2 import INBAND_DIGIT, Pdu
from mediation.core.network import info, kpml
from mediation.core.network.sip import SipMessage
from mediation.core.recent import remember

MAX_SUBSCRIPTIONS: Final = 256  # KPML subscriptions of one task whose call is remembered, the newest; ours
CODECS: Final = {0: Source.PCMU, 8: Source.PCMA}  # RFC 3551 section 6
IN_BAND_VERSION: Final = 1
MS: Final = 1_000_000


class Keypad:
    """Finds keys. It remembers which KPML subscription is about which call."""

    def __init__(self) -> None:
        self._about: OrderedDict[str, str] = OrderedDict()  # Call-ID of a subscription -> Call-ID of the call

    def learn(self, message: SipMessage) -> None:
        """A SUBSCRIBE for KPML: its NOTIFYs may leave out what it is about."""
        event = message.first("event") or ""
        if message.method != "SUBSCRIBE" or event_package(event) != kpml.EVENT:
            return
        about = kpml.call_id(event)
        if about is None or about == message.call_id:
            return
        remember(self._about, message.call_id, about, MAX_SUBSCRIPTIONS)

    def tells_keys(self, message: SipMessage) -> bool:
        """Whether this request carries keys."""
        match message.method:
            case "INFO":
                return info.is_keys(media_type(message))
            case "NOTIFY":
                return media_type(message) == kpml.MEDIA_TYPE
        return False

    def call_id(self, message: SipMessage) -> str:
        """The Call-ID of the call whose keys are told: another than the message's own for KPML beside the call."""
        about = kpml.call_id(message.first("event") or "") if message.method == "NOTIFY" else None
        return about or self._about.get(message.call_id, message.call_id)

    def of_message(self, message: SipMessage, stamp_ns: int) -> Keys:
        """The keys of a request for which `tells_keys` holds. Raises RemoteProtocolError when they cannot be read."""
        if message.method == "NOTIFY":
            keys, source, duration_ms = kpml.read(message.body), Source.KPML, 0
        else:
            kind = media_type(message)
            keys, duration_ms = info.read(kind, message.body)
            source = info.TYPES.get(kind, Source.DTMF_RELAY)
        return Keys(
            source=source,
            keys=keys,
            place=place(message),
            began_ns=stamp_ns - duration_ms * MS,  # told at the release; who tells it at once is near enough
            ended_ns=stamp_ns,
            number=message.cseq,
            request=message.cseq,
        )


def of_tone(pdu: Pdu) -> Keys:
    """The key of an X2 PDU with INBAND_DIGIT. Raises RemoteProtocolError."""
    try:
        version, octet, codec, _, duration_ms, _ = INBAND_DIGIT.unpack(pdu.payload)
    except struct.error as error:
        raise RemoteProtocolError("x2: a digit of a wrong size") from error
    if version != IN_BAND_VERSION or codec not in CODECS or chr(octet) not in KEYS:
        raise RemoteProtocolError("x2: a digit that is none")
    return Keys(source=CODECS[codec], keys=chr(octet), began_ns=pdu.stamp_ns, ended_ns=pdu.stamp_ns + duration_ms * MS)


def place(message: SipMessage) -> tuple[str, str]:
    """What tells streams of requests apart: whose numbering the CSeq is."""
    return message.call_id, message.from_.tag


def media_type(message: SipMessage) -> str:
    """Of the body, in lower case, without parameters; "" when none is named."""
    return (message.first("content-type") or "").partition(";")[0].strip().lower()


def event_package(event: str) -> str:
    """The package of an Event header (RFC 6665 section 8.2.1), in lower case, without parameters."""
    return event.partition(";")[0].strip().lower()
