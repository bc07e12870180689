"""The application protocol of one delivery link: no message lost, none handed on twice, over any number of connections.

LAES messages are self-delimiting BER and could travel bare; a connection that breaks would then lose or repeat some.
So each travels in a frame with a sequence number, and the collection function acknowledges what it has stored. The
standards leave this layer to the parties (standards.md section 2, "CDC framing"); it runs inside mutual TLS 1.3.

    frame   u32 length of what follows, u8 type, body (all big-endian)

    HELLO          u16 version, u64 epoch, u64 sequence, link identity      ->   oldest that is not acknowledged
    WELCOME        u16 version, u64 epoch, u64 sequence                     <-   next that the far side expects
    DATA           u64 sequence, u64 received ns, u32 error us, u8 flags, octets ->
    LOSS           u64 first, u64 last, u64 count, u8 class                 ->   will never come, and why (SEC-9)
    EPOCH          u64 epoch, u64 first sequence                            ->   numbers continue under a new epoch
    ACK            u64 epoch, u64 sequence                                  <-   everything before it is stored
    KEEPALIVE      (empty)                                                  ->
    KEEPALIVE_ACK  (empty)                                                  <-
    CLOSE          u8 reason                                                <->

A position is (epoch, sequence). The delivering side opens a new epoch whenever it starts, so a number that a power
failure made it forget is never taken for another message's: within an epoch each number is used once. A sequence is
never skipped: what cannot be delivered is covered by a LOSS of exactly those numbers.

Nothing that the collection side can send changes anything but the cursor (SEC-23), and the cursor moves only forward,
never past what was sent. This module may not touch a socket, a clock or a disk: octets in, events out.
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

_PREFIX = struct.Struct("!IB")
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


class Hello(Event):
    version: int
    position: Position
    link_id: str


class Welcome(Event):
    version: int
    position: Position


class Data(Event):
    """One LAES message. `received_ns` and `error_us` are the IAP's stamp and its bound; `octets` are the BER."""

    sequence: int
    received_ns: int
    error_us: int
    disciplined: bool
    octets: bytes


class Loss(Event):
    """The numbers `first` to `last`, both included, will never come."""

    first: int
    last: int
    loss_class: LossClass

    @property
    def count(self) -> int:
        return self.last - self.first + 1


class Epoch(Event):
    """From here the numbers belong to `position.epoch` and begin at `position.sequence`."""

    position: Position


class Ack(Event):
    position: Position


class Keepalive(Event):
    pass


class KeepaliveAck(Event):
    pass


class Close(Event):
    reason: CloseReason


Sent: TypeAlias = Data | Loss  # what occupies sequence numbers


class Role(enum.Enum):
    DELIVERY = "delivery"
    COLLECTION = "collection"


class State(enum.Enum):
    IDLE = "idle"
    GREETED = "greeted"
    OPEN = "open"
    CLOSED = "closed"
    ERROR = "error"


D, C = Role.DELIVERY, Role.COLLECTION
# (sender of the frame, state it is in) -> frame -> next state. The receiver of a frame walks the same row, so both
# ends of a connection are always in the same state but for what is still in flight.
TRANSITIONS: Final[dict[tuple[Role, State], dict[type[Event], State]]] = {
    (D, State.IDLE): {Hello: State.GREETED, Close: State.CLOSED},
    (C, State.IDLE): {Close: State.CLOSED},
    (D, State.GREETED): {Close: State.CLOSED},
    (C, State.GREETED): {Welcome: State.OPEN, Close: State.CLOSED},
    (D, State.OPEN): {
        Data: State.OPEN,
        Loss: State.OPEN,
        Epoch: State.OPEN,
        Keepalive: State.OPEN,
        Close: State.CLOSED,
    },
    (C, State.OPEN): {Ack: State.OPEN, KeepaliveAck: State.OPEN, Close: State.CLOSED},
    (D, State.CLOSED): {},
    (C, State.CLOSED): {},
    (D, State.ERROR): {},
    (C, State.ERROR): {},
}

_TYPES: Final[tuple[type[Event], ...]] = (
    Hello, Welcome, Data, Ack, Loss, Epoch, Keepalive, KeepaliveAck, Close,
)  # fmt: skip
_CODE: Final = {kind: number for number, kind in enumerate(_TYPES, start=1)}
_DATA_CODE: Final = _CODE[Data]


class Connection:
    """One end of one connection. Feed octets with `receive`, take events with `next_event`, get octets from `send`.

    The delivery side states with `extents` which numbers it may have sent in each epoch it still knows: epoch ->
    sequence after the last one. The far side may acknowledge nothing beyond them.
    """

    def __init__(self, role: Role, extents: dict[int, int] | None = None) -> None:
        self.role = role
        self.state = State.IDLE
        self.link_id = ""
        self.expected: Position | None = None  # the next number to pass, in the direction of delivery
        self.acknowledged: Position | None = None
        self.duplicates = 0  # DATA and LOSS that repeated what had come already, and were not handed on
        self._extents = dict(extents or {})
        self._buffer = bytearray()
        self._at = 0

    # -- sending ------------------------------------------------------------------------------------------------------

    def send(self, event: Event) -> bytes:
        """The octets of `event`. Raises LocalProtocolError when it is not our turn to say it."""
        self._step(self.role, event, LocalProtocolError)
        return encode(event)

    def send_all(self, events: list[Sent]) -> bytes:
        """The octets of a batch, in one piece. Raises LocalProtocolError."""
        return b"".join([self.send(event) for event in events])

    # -- receiving ----------------------------------------------------------------------------------------------------

    def receive(self, octets: bytes | memoryview) -> None:
        """Take in octets, in pieces of any size. The buffer holds at most one frame and what came with it."""
        if self._at:
            del self._buffer[: self._at]
            self._at = 0
        self._buffer += octets

    def next_event(self) -> Event | None:
        """The next whole event, or None until more octets come.

        Raises RemoteProtocolError for what the protocol does not allow; the connection is then of no more use.
        """
        while True:
            have = len(self._buffer) - self._at
            if self.state in (State.CLOSED, State.ERROR):
                if have and self.state is State.CLOSED:
                    self._fail("octets after the end")
                return None
            if have < _PREFIX.size:
                return None
            length, code = _PREFIX.unpack_from(self._buffer, self._at)
            if not 1 <= length <= MAX_FRAME_OCTETS:
                self._fail("impossible frame length")
            if have < 4 + length:
                return None
            start = self._at + _PREFIX.size
            self._at += 4 + length
            try:
                event = _decode(code, memoryview(self._buffer)[start : self._at])
            except RemoteProtocolError:
                self.state = State.ERROR
                raise
            peer = Role.COLLECTION if self.role is Role.DELIVERY else Role.DELIVERY
            if self._repeats(event):
                self.duplicates += 1
                continue
            self._step(peer, event, RemoteProtocolError)
            return event

    # -- the rules ----------------------------------------------------------------------------------------------------

    def _repeats(self, event: Event) -> bool:
        if self.role is not Role.COLLECTION or self.state is not State.OPEN or self.expected is None:
            return False
        last = event.sequence if type(event) is Data else event.last if type(event) is Loss else None
        return last is not None and last < self.expected.sequence

    def _step(self, sender: Role, event: Event, guilty: type[LocalProtocolError | RemoteProtocolError]) -> None:
        kind = type(event)
        follows = TRANSITIONS[sender, self.state].get(kind)
        if follows is None:
            self._fail(f"{kind.__name__} from {sender.value} while {self.state.value}", guilty)
        if kind is Data:  # the hot case first
            self._pass(event.sequence, event.sequence, guilty)  # type: ignore[attr-defined]
        elif isinstance(event, Loss):
            self._pass(event.first, event.last, guilty)
        elif isinstance(event, Epoch):
            self._enter(event.position, guilty)
        elif isinstance(event, Ack):
            self._acknowledge(event.position, guilty)
        elif isinstance(event, Welcome):
            self._welcome(event, guilty)
        elif isinstance(event, Hello):
            if event.version != VERSION:
                self._fail("unknown version", guilty)
            self.link_id = event.link_id
            self.expected = event.position
        self.state = follows

    def _pass(self, first: int, last: int, guilty: type[LocalProtocolError | RemoteProtocolError]) -> None:
        assert self.expected is not None
        epoch, expected = self.expected
        if first != expected and not (guilty is RemoteProtocolError and first < expected <= last):
            self._fail("sequence out of order", guilty)
        if last < first:
            self._fail("loss that ends before it begins", guilty)
        self.expected = Position(epoch, last + 1)
        if self.role is Role.DELIVERY:
            self._extents[epoch] = max(self._extents.get(epoch, 0), last + 1)

    def _enter(self, position: Position, guilty: type[LocalProtocolError | RemoteProtocolError]) -> None:
        assert self.expected is not None
        if position.epoch <= self.expected.epoch:
            self._fail("epoch that is not newer", guilty)
        if guilty is RemoteProtocolError and position.sequence > self.expected.sequence:
            self._fail("epoch that skips numbers without a loss report", guilty)
        # An acknowledgement of the epoch that ends here may still be on its way.
        epoch, sequence = self.expected
        self._extents[epoch] = max(self._extents.get(epoch, 0), sequence)
        self.expected = position
        self._extents.setdefault(position.epoch, position.sequence)

    def _acknowledge(self, position: Position, guilty: type[LocalProtocolError | RemoteProtocolError]) -> None:
        assert self.expected is not None
        if self.acknowledged is not None and position < self.acknowledged:
            self._fail("acknowledgement that goes back", guilty)
        if position.epoch == self.expected.epoch:
            beyond = position.sequence > self.expected.sequence
        else:  # an older epoch, acknowledged while a newer one was already on the way
            beyond = position.epoch > self.expected.epoch or position.sequence > self._extents.get(position.epoch, 0)
        if beyond:
            self._fail("acknowledgement of what was never sent", guilty)
        self.acknowledged = position

    def _welcome(self, event: Welcome, guilty: type[LocalProtocolError | RemoteProtocolError]) -> None:
        if event.version != VERSION:
            self._fail("unknown version", guilty)
        assert self.expected is not None
        position = event.position
        if position.epoch < self.expected.epoch:
            self._fail("welcome to an epoch that is over", guilty)
        if self.role is Role.DELIVERY:
            if position.epoch not in self._extents:
                self._fail("welcome to an epoch that never was", guilty)
            # Only the newest epoch is complete: of an older one the far side may have more than survived here.
            if position.epoch == max(self._extents) and position.sequence > self._extents[position.epoch]:
                self._fail("welcome beyond what was ever sent", guilty)
        self.expected = position
        self.acknowledged = position

    def _fail(self, what: str, guilty: type[LocalProtocolError | RemoteProtocolError] = RemoteProtocolError) -> None:
        if guilty is RemoteProtocolError:
            self.state = State.ERROR
        raise guilty(f"link: {what}")


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
    return _PREFIX.pack(1 + len(body), _CODE[kind]) + body


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


def _decode(code: int, body: memoryview) -> Event:
    """One frame's body. Raises RemoteProtocolError."""
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
