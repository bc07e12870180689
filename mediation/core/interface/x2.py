"""X2 and X3 PDUs of ETSI TS 103 221-2: what passes from an intercept access point to the mediator.

Layout (all big-endian): 0 version u16, 2 PDU type u16, 4 header length u32, 8 payload length u32, 12 payload format
u16, 14 payload direction u16, 16 XID 16 octets, 32 correlation id u64, 40 conditional attributes {type u16, length
u16, value}. The hot writer is ext/x2.pxd; this module is the reader (cut by ext/pdu.pyx), and the writer for
tests and third-party feeds.

The proprietary attribute (type 4) that our IAP adds, 8 octets:
    u32  bound of the time stamp's error in microseconds (0xffffffff: unknown)
    u8   flags: bit 0 the clock was undisciplined
    u8   role of the subject in this dialog (see Role)
    u16  reserved, zero
"""

from __future__ import annotations

import enum
import ipaddress
import struct

import msgspec

from mediation.core import _pdu
from mediation.core.errors import RemoteProtocolError
from mediation.core.units import NS

HEADER = struct.Struct("!HHIIHH16sQ")
HEADER_OCTETS = 40
_LENGTHS = struct.Struct("!II")
PROPRIETARY = struct.Struct("!IBBH")
# A digit heard in the voice band: version (1), digit in ASCII, RTP payload type (0 PCMU, 8 PCMA), zero, how long it
# sounded in milliseconds, zero. The PDU's stamp is that of the packet in which it began.
INBAND_DIGIT = struct.Struct("!BBBBHH")
VERSION = 0x0005
MAX_PDU_OCTETS = 1 << 17  # a SIP message over TCP can exceed a datagram; the parser refuses more

UNKNOWN_ERROR_US = 0xFFFFFFFF
UNDISCIPLINED = 0x01


class PduType(enum.IntEnum):
    X2 = 1
    X3 = 2
    KEEPALIVE = 3
    KEEPALIVE_ACK = 4


class PayloadFormat(enum.IntEnum):
    PROPRIETARY = 4  # X2: a digit heard in the subject's audio, INBAND_DIGIT, or a notice (notice.py)
    IPV4 = 5  # X3: one IP packet of the call's content, from its IP header on
    IPV6 = 6
    RTP = 8
    SIP = 9


class Direction(enum.IntEnum):
    RESERVED = 0
    UNKNOWN = 1
    TO_TARGET = 2
    FROM_TARGET = 3
    MULTIPLE = 4
    NOT_APPLICABLE = 5


class Attribute(enum.IntEnum):
    PROPRIETARY = 4
    INTERCEPTION_POINT = 7  # IPID: which access point of the network function saw it
    SEQUENCE = 8
    TIMESTAMP = 9
    SOURCE_IPV4 = 10
    DESTINATION_IPV4 = 11
    SOURCE_IPV6 = 12
    DESTINATION_IPV6 = 13
    SOURCE_PORT = 14
    DESTINATION_PORT = 15
    IP_PROTOCOL = 16


class Role(enum.IntEnum):
    """What the match said of the subject in the dialog-forming request."""

    UNKNOWN = 0
    CALLING = 1  # the subject sent the initial request
    CALLED = 2  # the initial request is addressed to the subject


_TYPES = {int(kind): kind for kind in PduType}
_ROLES = tuple(Role)


class Pdu(msgspec.Struct, frozen=True, kw_only=True):
    """One decoded PDU. `xid` is the task; `correlation` the IAP's handle of the call (the same for all its PDUs)."""

    type: PduType
    payload_format: int
    direction: int
    xid: bytes
    correlation: int
    payload: bytes
    stamp_ns: int = 0
    sequence: int | None = None
    source: tuple[str, int] = ("", 0)
    destination: tuple[str, int] = ("", 0)
    error_us: int = UNKNOWN_ERROR_US
    disciplined: bool = False
    role: Role = Role.UNKNOWN
    interception_point: str = ""  # name of the access point; empty when the sender has only one


def encode(pdu: Pdu) -> bytes:
    """The octets of `pdu`. Raises nothing for a Pdu that `decode` made."""
    attributes = bytearray()

    def add(kind: Attribute, value: bytes) -> None:
        attributes.extend(struct.pack("!HH", kind, len(value)))
        attributes.extend(value)

    if pdu.interception_point:
        add(Attribute.INTERCEPTION_POINT, pdu.interception_point.encode())
    if pdu.sequence is not None:
        add(Attribute.SEQUENCE, struct.pack("!I", pdu.sequence & 0xFFFFFFFF))
    add(Attribute.TIMESTAMP, struct.pack("!II", *divmod(pdu.stamp_ns, NS)))
    for (address, port), v4, v6, at in (
        (pdu.source, Attribute.SOURCE_IPV4, Attribute.SOURCE_IPV6, Attribute.SOURCE_PORT),
        (pdu.destination, Attribute.DESTINATION_IPV4, Attribute.DESTINATION_IPV6, Attribute.DESTINATION_PORT),
    ):
        if address:
            packed = ipaddress.ip_address(address).packed
            add(v4 if len(packed) == 4 else v6, packed)
            add(at, struct.pack("!H", port))
    flags = 0 if pdu.disciplined else UNDISCIPLINED
    add(Attribute.PROPRIETARY, PROPRIETARY.pack(pdu.error_us, flags, pdu.role, 0))
    header = HEADER.pack(
        VERSION, pdu.type, HEADER_OCTETS + len(attributes), len(pdu.payload), pdu.payload_format,
        pdu.direction, pdu.xid, pdu.correlation,
    )  # fmt: skip
    return header + bytes(attributes) + pdu.payload


def decode(octets: bytes | memoryview, *, ours: bool = True) -> Pdu:
    """One whole PDU. Raises RemoteProtocolError naming what is wrong with it.

    Not `ours`: sent by somebody else's point of interception, whose proprietary attribute is not this one. What only
    that tells is unknown then: the error of the stamp, whether its clock is governed, the subject's role.
    """
    found = _pdu.read(octets if type(octets) is bytes else bytes(octets), ours)
    if isinstance(found, str):
        raise RemoteProtocolError(found)
    (
        kind, form, direction, xid, correlation, payload, stamp_ns, sequence, source, destination,
        error_us, disciplined, role, point,
    ) = found  # fmt: skip
    return Pdu(
        type=_TYPES[kind],
        payload_format=form,
        direction=direction,
        xid=xid,
        correlation=correlation,
        payload=payload,
        stamp_ns=stamp_ns,
        sequence=sequence,
        source=source,
        destination=destination,
        error_us=error_us,
        disciplined=disciplined,
        role=_ROLES[role],
        interception_point=point,
    )


class Framer:
    """Cuts a byte stream into PDUs. Feed octets in any pieces; bounded by MAX_PDU_OCTETS.

    `failure` is what is wrong with the stream, once something is: it is of no more use, what was whole before is good.
    """

    def __init__(self, *, ours: bool = True) -> None:
        self.failure: RemoteProtocolError | None = None
        self._ours = ours
        self._buffer = bytearray()

    def feed(self, octets: bytes | memoryview) -> list[Pdu]:
        """All PDUs that are whole now. Raises RemoteProtocolError when the very next one is none."""
        if self.failure is not None:
            raise self.failure
        whole = not self._buffer  # most often: what comes is whole PDUs, which need no second buffer
        if not whole:
            self._buffer += octets
        source = octets if whole else self._buffer
        size = len(source)
        found: list[Pdu] = []
        at = 0
        try:
            while size - at >= HEADER_OCTETS:
                header, length = _LENGTHS.unpack_from(source, at + 4)
                _possible(header, length)
                end = at + header + length
                if end > size:
                    break
                found.append(decode(bytes(source[at:end]), ours=self._ours))
                at = end
        except RemoteProtocolError as error:
            self.failure = error
            if not found:
                raise
        if whole:
            self._buffer += octets[at:]
        else:
            del self._buffer[:at]
        return found


def _possible(header: int, length: int) -> None:
    if header < HEADER_OCTETS or header + length > MAX_PDU_OCTETS:
        raise RemoteProtocolError("x2: impossible length")
