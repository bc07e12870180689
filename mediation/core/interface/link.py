"""The application protocol of one delivery link: no message lost, none handed on twice, over any number of connections.

LAES messages are self-delimiting BER and could travel bare; a connection that breaks would then lose or repeat some.
So each travels in a frame with a sequence number, and the collection function acknowledges what it has stored. The
standards leave this layer to the parties (standards.md section 2, "CDC framing"); it runs inside mutual TLS 1.3.

    delivery side                             collection side
    HELLO oldest not acknowledged   ->
                                    <-        WELCOME next expected
    DATA, LOSS, EPOCH, KEEPALIVE    ->
                                    <-        ACK, KEEPALIVE_ACK
    CLOSE                           <->       CLOSE                    (frames and their octets:
    core/interface/frame.py)

A position is (epoch, sequence). The delivering side opens a new epoch whenever it starts, so a number that a power
failure made it forget is never taken for another message's: within an epoch each number is used once. A sequence is
never skipped: what cannot be delivered is covered by a LOSS of exactly those numbers.

Nothing that the collection side can send changes anything but the cursor (SEC-23), and the cursor moves only forward,
never past what was sent. This module may not touch a socket, a clock or a disk: octets in, events out.
"""

from __future__ import annotations

import enum
from typing import Final, NoReturn, TypeAlias

from mediation.core.errors import LocalProtocolError, RemoteProtocolError
from mediation.core.interface.frame import (
    MAX_FRAME_OCTETS,
    MAX_LINK_ID_OCTETS,
    MAX_MESSAGE_OCTETS,
    MAX_U64,
    PREFIX,
    VERSION,
    Ack,
    Close,
    CloseReason,
    Data,
    Epoch,
    Event,
    Hello,
    Keepalive,
    KeepaliveAck,
    Loss,
    LossClass,
    Position,
    Sent,
    Welcome,
    decode,
    encode,
)

__all__ = [
    "MAX_FRAME_OCTETS",
    "MAX_LINK_ID_OCTETS",
    "MAX_MESSAGE_OCTETS",
    "MAX_U64",
    "TRANSITIONS",
    "VERSION",
    "Ack",
    "Close",
    "CloseReason",
    "Connection",
    "Data",
    "Epoch",
    "Event",
    "Hello",
    "Keepalive",
    "KeepaliveAck",
    "Loss",
    "LossClass",
    "Position",
    "Role",
    "Sent",
    "State",
    "Welcome",
    "encode",
]  # fmt: skip


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

Guilty: TypeAlias = type[LocalProtocolError | RemoteProtocolError]


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
            if have < PREFIX.size:
                return None
            length, code = PREFIX.unpack_from(self._buffer, self._at)
            if not 1 <= length <= MAX_FRAME_OCTETS:
                self._fail("impossible frame length")
            if have < 4 + length:
                return None
            start = self._at + PREFIX.size
            self._at += 4 + length
            try:
                event = decode(code, memoryview(self._buffer)[start : self._at])
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

    def _step(self, sender: Role, event: Event, guilty: Guilty) -> None:
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

    def _pass(self, first: int, last: int, guilty: Guilty) -> None:
        assert self.expected is not None
        epoch, expected = self.expected
        if first != expected and not (guilty is RemoteProtocolError and first < expected <= last):
            self._fail("sequence out of order", guilty)
        if last < first:
            self._fail("loss that ends before it begins", guilty)
        self.expected = Position(epoch, last + 1)
        if self.role is Role.DELIVERY:
            self._extents[epoch] = max(self._extents.get(epoch, 0), last + 1)

    def _enter(self, position: Position, guilty: Guilty) -> None:
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

    def _acknowledge(self, position: Position, guilty: Guilty) -> None:
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

    def _welcome(self, event: Welcome, guilty: Guilty) -> None:
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

    def _fail(self, what: str, guilty: Guilty = RemoteProtocolError) -> NoReturn:
        if guilty is RemoteProtocolError:
            self.state = State.ERROR
        raise guilty(f"link: {what}")
