"""The frames of the delivery link: what each holds, and their octets. What may be said when is
core/interface/link.py's.

    frame   u32 length of what follows, u8 type, body (all big-endian)

    HELLO          u16 version, u64 epoch, u64 sequence, link identity      ->   oldest that is not acknowledged
    WELCOME        u16 version, u64 epoch, u64 sequence                     <-   next that the far side expects
    DATA           u64 sequence, u64 received ns, u32 error us, u8 flags, octets ->
    ACK            u64 epoch, u64 sequence                                  <-   everything before it is stored
    LOSS           u64 first, u64 last, u64 count, u8 class                 ->   will never come, and why (SEC-9)
    EPOCH          u64 epoch, u64 first sequence                            ->   numbers continue under a new epoch
    KEEPALIVE      (empty)                                                  ->
    KEEPALIVE_ACK  (empty)                                                  <-
    CLOSE          u8 reason                                                <->

DATA carries one LAES message (T1.678 LAESProtocol) untouched. Types are numbered from 1 in this order. Every size is
bounded before the octets have come.
"""

from __future__ import annotations

import enum
import struct
from typing import Final, NamedTuple, TypeAlias

import msgspec

from mediation.core.errors import LocalProtocolError, RemoteProtocolError

VERSION: Final = 1
MAX_MESSAGE_OCTETS: Final = 1 << 18  # twice the longest X2 PDU: a message carries the parts of one SIP message
MAX_LINK_ID_OCTETS: Final = 255
MAX_U64: Final = (1 << 64) - 1

PREFIX: Final = struct.Struct("!IB")
_HELLO = struct.Struct("!HQQ")
_DATA = struct.Struct("!QQIB")
_DATA_FRAME = struct.Struct("!IBQQIB")
_LOSS = struct.Struct("!QQQB")
_POSITION = struct.Struct("!QQ")
_REASON = struct.Struct("!B")

MAX_FRAME_OCTETS: Final = 1 + _DATA.size + MAX_MESSAGE_OCTETS
_UNDISCIPLINED: Final = 0x01


class LossClass(enum.IntEnum):
    """Why messages will never come."""

    SPOOL_FULL = 1  # the bound of the spool was reached while the far side was away
    STORAGE = 2  # the disk was full or failed
    CORRUPT = 3  # the stored record no longer passes its check
    UNENCODABLE = 4  # the message could not be encoded, or was longer than a frame
    RELEASED = 5  # the far side had acknowledged them once and has lost them since


class CloseReason(enum.IntEnum):
    DONE = 0
    PROTOCOL_ERROR = 1
    VERSION = 2
    SUPERSEDED = 3  # the same link came up on a newer connection
    STORAGE = 4  # the far side cannot store
    UNKNOWN = 255


class Position(NamedTuple):
    """A place in a link's numbering; compares by epoch, then by sequence."""

    epoch: int
    sequence: int


class Event(msgspec.Struct, frozen=True):
    """Base of all frames, sent or received."""


class Hello(Event, frozen=True):
    version: int
    position: Position
    link_id: str


class Welcome(Event, frozen=True):
    version: int
    position: Position


class Data(Event, frozen=True):
    """One LAES message. `received_ns` and `error_us` are the IAP's stamp and its bound; `octets` are the BER."""

    sequence: int
    received_ns: int
    error_us: int
    disciplined: bool
    octets: bytes


class Loss(Event, frozen=True):
    """The numbers `first` to `last`, both included, will never come."""

    first: int
    last: int
    loss_class: LossClass

    @property
    def count(self) -> int:
        return self.last - self.first + 1


class Epoch(Event, frozen=True):
    """From here the numbers belong to `position.epoch` and begin at `position.sequence`."""

    position: Position


class Ack(Event, frozen=True):
    position: Position


class Keepalive(Event, frozen=True):
    pass


class KeepaliveAck(Event, frozen=True):
    pass


class Close(Event, frozen=True):
    reason: CloseReason


Sent: TypeAlias = Data | Loss  # what occupies sequence numbers


_TYPES: Final[tuple[type[Event], ...]] = (
    Hello, Welcome, Data, Ack, Loss, Epoch, Keepalive, KeepaliveAck, Close,
)  # fmt: skip
_CODE: Final = {kind: number for number, kind in enumerate(_TYPES, start=1)}
_DATA_CODE: Final = _CODE[Data]


def encode(event: Event) -> bytes:
    """The frame of `event`. Raises LocalProtocolError for a value that the frame cannot hold."""
    kind = type(event)
    try:
        if kind is Data:
            return _encode_data(event)  # type: ignore[arg-type]
        if isinstance(event, Loss):
            body = _LOSS.pack(event.first, event.last, event.count, event.loss_class)
        elif isinstance(event, Hello):
            identity = event.link_id.encode()
            if not 1 <= len(identity) <= MAX_LINK_ID_OCTETS:
                raise LocalProtocolError("link: identity of a wrong size")
            body = _HELLO.pack(event.version, *event.position) + identity
        elif isinstance(event, Welcome):
            body = _HELLO.pack(event.version, *event.position)
        elif isinstance(event, Epoch | Ack):
            body = _POSITION.pack(*event.position)
        elif isinstance(event, Close):
            body = _REASON.pack(event.reason)
        else:
            body = b""
    except struct.error as error:
        raise LocalProtocolError("link: a number does not fit its field") from error
    return PREFIX.pack(1 + len(body), _CODE[kind]) + body


def _encode_data(event: Data) -> bytes:
    size = len(event.octets)
    if size > MAX_MESSAGE_OCTETS:
        raise LocalProtocolError("link: message longer than a frame")
    return (
        _DATA_FRAME.pack(
            1 + _DATA.size + size,
            _DATA_CODE,
            event.sequence,
            event.received_ns,
            event.error_us,
            0 if event.disciplined else _UNDISCIPLINED,
        )
        + event.octets
    )


def decode(code: int, body: memoryview) -> Event:
    """The frame of type `code` with this body. Raises RemoteProtocolError."""
    if not 1 <= code <= len(_TYPES):
        raise RemoteProtocolError("link: unknown frame")
    kind = _TYPES[code - 1]
    try:
        if kind is Data:
            sequence, received_ns, error_us, flags = _DATA.unpack_from(body)
            if flags & ~_UNDISCIPLINED or sequence == MAX_U64:
                raise RemoteProtocolError("link: DATA with a value that is not allowed")
            return Data(sequence, received_ns, error_us, not flags, bytes(body[_DATA.size :]))
        if kind is Loss:
            first, last, count, loss_class = _LOSS.unpack(body)
            if last < first or count != last - first + 1 or last == MAX_U64:
                raise RemoteProtocolError("link: LOSS whose numbers do not agree")
            return Loss(first, last, LossClass(loss_class))
        if kind is Hello:
            version, *position = _HELLO.unpack_from(body)
            identity = bytes(body[_HELLO.size :])
            if not 1 <= len(identity) <= MAX_LINK_ID_OCTETS:
                raise RemoteProtocolError("link: identity of a wrong size")
            return Hello(version, Position(*position), identity.decode())
        if kind is Welcome:
            version, *position = _HELLO.unpack(body)
            return Welcome(version, Position(*position))
        if kind is Epoch:
            return Epoch(Position(*_POSITION.unpack(body)))
        if kind is Ack:
            return Ack(Position(*_POSITION.unpack(body)))
        if kind is Close:
            (reason,) = _REASON.unpack(body)
            return Close(CloseReason(reason) if reason in set(CloseReason) else CloseReason.UNKNOWN)
        if len(body):
            raise RemoteProtocolError("link: body where there is none")
        return Keepalive() if kind is Keepalive else KeepaliveAck()
    except (struct.error, ValueError) as error:  # UnicodeDecodeError is a ValueError
        raise RemoteProtocolError(f"link: {kind.__name__} of a wrong size or value") from error
