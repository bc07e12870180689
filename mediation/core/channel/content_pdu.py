"""One delivered packet of call content, in both forms of delivery: the T1.678 CC-APDU and the PacketCable datagram.

Answers for the octets: `CC-APDU ::= SEQUENCE { ccDeliveryHeader [0], payload [1] }` in BER with definite, shortest
lengths, and the PacketCable datagram, CCC identifier (4 octets), NTP time (8 octets, RFC 5905 section 6) and the packet
from its IP header on. It is the reference in Python; what writes at line rate is C and is tested against it. May not
decide whether a packet is delivered.

The constant part of a CC-APDU (whose content it is) is made once for each call by `correlation_info`; a writer puts
time, direction, sequence number and packet behind it. All times are UTC, nanoseconds since 1970-01-01.
"""

from __future__ import annotations

import datetime
import enum
import struct
from typing import Final

from mediation.core.errors import LocalProtocolError
from mediation.core.message import cdc, fitting, t1678
from mediation.core.units import NS, US

MAX_PACKET_OCTETS: Final = 65_575
"""Of one packet from its IP header on: an IPv6 header (40) and the largest payload length (RFC 8200 section 3)."""

MAX_SEQUENCE: Final = (1 << 63) - 1

NTP_OFFSET_S: Final = 2_208_988_800
"""From 1900-01-01 to 1970-01-01 (RFC 5905 figure 4)."""

DATAGRAM: Final = struct.Struct("!III")
"""CCC identifier, NTP seconds, NTP fraction."""

_EPOCH: Final = datetime.datetime(1970, 1, 1)


class PacketDirection(enum.IntEnum):
    FROM_SUBJECT = 0
    TO_SUBJECT = 1


def correlation_info(case_id: str, iap_system_id: str | None, call: cdc.CallIdentity) -> bytes:
    """The whole TLV of ccDeliveryHeader.correlationInfo [0]: caseId, iapId and, as contentIdentifier, the call.

    The call is named exactly as in the messages of the call data channel, a shortened identity included.
    """
    named = fitting.fit(call, t1678.CALL_IDENTITY, fitting.WIDE, fitting.Adapted())
    identity = _tlv(0x80, named.main.encode()) + (_tlv(0x81, named.leg.encode()) if named.leg is not None else b"")
    return _tlv(
        0xA0,
        _tlv(0x80, case_id.encode("ascii"))
        + (b"" if iap_system_id is None else _tlv(0x81, iap_system_id.encode("ascii")))
        + _tlv(0xA2, _tlv(0xA1, identity)),  # contentIdentifier [2]× CHOICE, callID [1]
    )


def cc_apdu(correlation: bytes, stamp_ns: int, direction: PacketDirection, sequence: int, packet: bytes) -> bytes:
    """One CC-APDU; `sequence` counts the APDUs of one channel from 0. Raises LocalProtocolError past the limits."""
    if not 0 <= sequence <= MAX_SEQUENCE or len(packet) > MAX_PACKET_OCTETS:
        raise LocalProtocolError("content: sequence number or packet out of range")
    number = sequence.to_bytes(sequence.bit_length() // 8 + 1, "big")
    header = correlation + _tlv(0x81, _time(stamp_ns)) + _tlv(0x82, bytes((direction,))) + _tlv(0x83, number)
    return _tlv(0x30, _tlv(0xA0, header) + _tlv(0x81, packet))


def datagram(identifier: int, stamp_ns: int, packet: bytes) -> bytes:
    """The UDP payload of the PacketCable form; `identifier` is the channel's, 32 bits. Raises LocalProtocolError."""
    if not 0 <= identifier < 1 << 32 or len(packet) > MAX_PACKET_OCTETS:
        raise LocalProtocolError("content: channel identifier or packet out of range")
    return DATAGRAM.pack(identifier, *ntp(stamp_ns)) + packet


def ntp(stamp_ns: int) -> tuple[int, int]:
    """(seconds, fraction) of an NTP timestamp, 32 bits each, modulo its era; the fraction is cut, never rounded up."""
    seconds, rest = divmod(stamp_ns, NS)
    return (seconds + NTP_OFFSET_S) & 0xFFFFFFFF, (rest << 32) // NS


def _time(stamp_ns: int) -> bytes:
    """GeneralizedTime in the form of X.690 11.7, to the microsecond, cut."""
    microseconds = stamp_ns // 1000
    seconds, rest = divmod(microseconds, US)
    whole = (_EPOCH + datetime.timedelta(seconds=seconds)).strftime("%Y%m%d%H%M%S")
    fraction = f".{rest:06}".rstrip("0").rstrip(".")
    return f"{whole}{fraction}Z".encode("ascii")


def _tlv(identifier: int, contents: bytes) -> bytes:
    length = len(contents)
    if length < 0x80:
        return bytes((identifier, length)) + contents
    octets = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes((identifier, 0x80 | len(octets))) + octets + contents
