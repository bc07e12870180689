"""The delivery link's protocol: what each side may say when, and that nothing else moves anything."""

from __future__ import annotations

import random
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediation.core.errors import LocalProtocolError, RemoteProtocolError
from mediation.core.interface import frame, link
from mediation.core.interface.link import (
    Ack,
    Close,
    CloseReason,
    Connection,
    Data,
    Epoch,
    Hello,
    Keepalive,
    KeepaliveAck,
    Loss,
    LossClass,
    Position,
    Role,
    State,
    Welcome,
)

U64 = st.integers(0, (1 << 64) - 2)
POSITIONS = st.builds(Position, U64, U64)
EVENTS = st.one_of(
    st.builds(Hello, st.integers(0, 65535), POSITIONS, st.text(min_size=1, max_size=60)),
    st.builds(Welcome, st.integers(0, 65535), POSITIONS),
    st.builds(Data, U64, U64, st.integers(0, (1 << 32) - 1), st.booleans(), st.binary(max_size=400)),
    st.builds(lambda a, b, c: Loss(min(a, b), max(a, b), c), U64, U64, st.sampled_from(LossClass)),
    st.builds(Epoch, POSITIONS),
    st.builds(Ack, POSITIONS),
    st.just(Keepalive()),
    st.just(KeepaliveAck()),
    st.builds(Close, st.sampled_from(CloseReason)),
)


def message(sequence: int, octets: bytes = b"\xa1\x03\x80\x01x") -> Data:
    return Data(sequence, 1_700_000_000_000_000_000 + sequence, 250, True, octets)


START = Position(5, 1)


def opened(position: Position = START, known: Position | None = None) -> tuple[Connection, Connection]:
    """A delivering and a collecting end, greeted; the far side knows `known` already."""
    delivery = Connection(Role.DELIVERY, {position.epoch: position.sequence + 1000})
    collection = Connection(Role.COLLECTION)
    collection.receive(delivery.send(Hello(link.VERSION, position, "site/agency")))
    assert isinstance(collection.next_event(), Hello)
    delivery.receive(collection.send(Welcome(link.VERSION, known or position)))
    assert isinstance(delivery.next_event(), Welcome)
    return delivery, collection


def events_of(connection: Connection) -> list[link.Event]:
    found = []
    while (event := connection.next_event()) is not None:
        found.append(event)
    return found


@given(EVENTS)
def test_a_frame_decodes_to_what_was_encoded(event: link.Event) -> None:
    octets = link.encode(event)
    length, code = struct.unpack_from("!IB", octets)
    assert length == len(octets) - 4
    assert frame.decode(code, memoryview(octets)[5:]) == event


def test_the_octets_of_a_message_are_these() -> None:
    """The layout in the module's head, written out by hand."""
    octets = link.encode(Data(7, 0x0102030405060708, 9, False, b"\xa1\x00"))
    assert octets.hex() == "00000018" + "03" + "0000000000000007" + "0102030405060708" + "00000009" + "01" + "a100"


def test_messages_pass_in_order_whole_and_octet_by_octet() -> None:
    sent = [message(1), Loss(2, 5, LossClass.SPOOL_FULL), message(6, b""), Epoch(Position(6, 7)), message(7)]
    for pieces in (1, 7, 10_000):
        delivery, collection = opened()
        stream = b"".join(delivery.send(event) for event in sent)
        found = []
        for at in range(0, len(stream), pieces):
            collection.receive(stream[at : at + pieces])
            found += events_of(collection)
        assert found == sent
        assert collection.expected == Position(6, 8)


@given(st.data())
def test_any_cut_of_the_stream_gives_the_same_events(data: st.DataObject) -> None:
    delivery, collection = opened()
    sent = [message(number, bytes(data.draw(st.integers(0, 50)))) for number in range(1, 8)]
    stream = b"".join(map(delivery.send, sent))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    found = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        collection.receive(stream[start:end])
        found += events_of(collection)
    assert found == sent


def test_a_repeat_is_counted_and_not_handed_on() -> None:
    delivery, collection = opened(Position(5, 1))
    collection.receive(b"".join(map(delivery.send, [message(1), message(2)])))
    assert len(events_of(collection)) == 2
    collection.receive(link.encode(message(2)) + link.encode(message(1)) + link.encode(message(3)))
    assert events_of(collection) == [message(3)]
    assert collection.duplicates == 2
    assert collection.expected == Position(5, 4)


def test_a_loss_that_overlaps_what_came_is_taken_from_there() -> None:
    delivery, collection = opened()
    collection.receive(delivery.send(message(1)) + link.encode(Loss(1, 4, LossClass.CORRUPT)))
    assert len(events_of(collection)) == 2
    assert collection.expected == Position(5, 5)


@pytest.mark.parametrize(
    "bad",
    [
        message(3),  # 2 is missing
        Loss(3, 4, LossClass.STORAGE),
        Epoch(Position(5, 2)),  # not newer
        Epoch(Position(4, 2)),
        Epoch(Position(6, 9)),  # skips 2 to 8 without a reason
        Hello(link.VERSION, Position(5, 2), "again"),
        Ack(Position(5, 2)),  # the collection side's to say
        Welcome(link.VERSION, Position(5, 2)),
        KeepaliveAck(),
    ],
    ids=lambda event: type(event).__name__,
)
def test_the_collection_side_refuses(bad: link.Event) -> None:
    delivery, collection = opened()
    collection.receive(delivery.send(message(1)) + link.encode(bad) + link.encode(message(2)))
    assert collection.next_event() == message(1)
    with pytest.raises(RemoteProtocolError):
        collection.next_event()
    assert collection.state is State.ERROR
    assert collection.next_event() is None  # what came after it is not looked at
    assert collection.expected == Position(5, 2)


@pytest.mark.parametrize(
    "bad",
    [
        Ack(Position(5, 4)),  # beyond what was sent
        Ack(Position(6, 1)),  # an epoch that is none
        Ack(Position(5, 1)),  # back behind the acknowledgement before
        Data(3, 0, 0, True, b"\xa1\x00"),
        Loss(3, 3, LossClass.CORRUPT),
        Epoch(Position(9, 3)),
        Keepalive(),
        Hello(link.VERSION, Position(5, 1), "x"),
        Welcome(link.VERSION, Position(5, 1)),
    ],
    ids=str,
)
def test_the_delivery_side_refuses(bad: link.Event) -> None:
    delivery, _ = opened()
    delivery.send_all([message(1), message(2)])
    delivery.receive(link.encode(Ack(Position(5, 3))) + link.encode(bad))
    assert delivery.next_event() == Ack(Position(5, 3))
    with pytest.raises(RemoteProtocolError):
        delivery.next_event()
    assert delivery.acknowledged == Position(5, 3)


@pytest.mark.parametrize(
    ("position", "accepted"),
    [
        (Position(5, 10), True),  # where we are
        (Position(5, 4), True),  # it has less: lost what it had acknowledged
        (Position(5, 20), True),  # it has more: acknowledgements were lost on the way
        (Position(5, 25), True),  # more than survived here of an older epoch: a power failure
        (Position(7, 30), True),
        (Position(7, 31), False),  # beyond what was ever sent in the newest epoch
        (Position(6, 1), False),  # an epoch that never was
        (Position(4, 10), False),  # an epoch that is over
        (Position(8, 0), False),
    ],
)
def test_a_welcome_moves_the_cursor_only_within_what_was_sent(position: Position, accepted: bool) -> None:
    delivery = Connection(Role.DELIVERY, {5: 20, 7: 30})
    delivery.send(Hello(link.VERSION, Position(5, 10), "site/agency"))
    delivery.receive(link.encode(Welcome(link.VERSION, position)))
    if accepted:
        assert delivery.next_event() == Welcome(link.VERSION, position)
        assert delivery.expected == position
    else:
        with pytest.raises(RemoteProtocolError):
            delivery.next_event()
        assert delivery.state is State.ERROR


def test_an_older_epoch_may_be_acknowledged_after_a_newer_one_began() -> None:
    delivery, _ = opened()
    delivery.send(message(1))
    delivery.send(Epoch(Position(6, 2)))
    delivery.send(message(2))
    delivery.receive(link.encode(Ack(Position(5, 2))) + link.encode(Ack(Position(6, 2))))
    assert events_of(delivery) == [Ack(Position(5, 2)), Ack(Position(6, 2))]


def test_an_older_epoch_may_still_be_acknowledged_by_the_far_side_that_has_more_of_it() -> None:
    """After a power failure the far side has 6 of epoch 5, we only up to 4; its ACK crosses our EPOCH."""
    delivery = Connection(Role.DELIVERY, {5: 4, 7: 4})
    collection = Connection(Role.COLLECTION)
    collection.receive(delivery.send(Hello(link.VERSION, Position(5, 2), "site/agency")))
    delivery.receive(collection.send(Welcome(link.VERSION, Position(5, 6))) if collection.next_event() else b"")
    assert delivery.next_event() == Welcome(link.VERSION, Position(5, 6))
    collection.receive(delivery.send(Epoch(Position(7, 4))) + delivery.send(message(4)))
    assert len(events_of(collection)) == 2
    delivery.receive(collection.send(Ack(Position(5, 6))) + collection.send(Ack(Position(7, 5))))
    assert events_of(delivery) == [Ack(Position(5, 6)), Ack(Position(7, 5))]


@pytest.mark.parametrize("role", Role)
def test_each_side_refuses_its_own_bugs(role: Role) -> None:
    connection = Connection(role)
    for event in (message(1), Ack(Position(5, 1)), Keepalive(), Epoch(Position(9, 1))):
        with pytest.raises(LocalProtocolError):
            connection.send(event)
    assert connection.state is State.IDLE


def test_a_bug_of_ours_cannot_skip_or_repeat_a_number() -> None:
    delivery, collection = opened()
    delivery.send(message(1))
    for event in (message(1), message(3), Loss(3, 4, LossClass.CORRUPT)):
        with pytest.raises(LocalProtocolError):
            delivery.send(event)
    with pytest.raises(LocalProtocolError):
        collection.send(Ack(Position(5, 2)))  # it has not come yet


def test_sizes_are_bounded() -> None:
    delivery, collection = opened()
    with pytest.raises(LocalProtocolError):
        link.encode(message(1, bytes(link.MAX_MESSAGE_OCTETS + 1)))
    collection.receive(delivery.send(message(1, bytes(link.MAX_MESSAGE_OCTETS))))
    assert isinstance(collection.next_event(), Data)
    for length in (0, link.MAX_FRAME_OCTETS + 1, 0xFFFFFFFF):
        _, collection = opened()
        collection.receive(struct.pack("!IB", length, 3))
        with pytest.raises(RemoteProtocolError):  # before the octets have come
            collection.next_event()


def test_nothing_follows_a_close() -> None:
    delivery, collection = opened()
    collection.receive(delivery.send(Close(CloseReason.DONE)) + link.encode(Keepalive()))
    assert collection.next_event() == Close(CloseReason.DONE)
    with pytest.raises(RemoteProtocolError):
        collection.next_event()
    with pytest.raises(LocalProtocolError):
        delivery.send(message(1))


def test_an_unknown_version_ends_the_greeting() -> None:
    collection = Connection(Role.COLLECTION)
    collection.receive(link.encode(Hello(2, Position(1, 1), "x")))
    with pytest.raises(RemoteProtocolError, match="version"):
        collection.next_event()


def test_every_state_and_event_has_a_decision() -> None:
    """A frame that the table does not list is refused for both sides in every state."""
    everything = [Hello, Welcome, Data, Loss, Epoch, Ack, Keepalive, KeepaliveAck, Close]
    allowed = sum(len(row) for row in link.TRANSITIONS.values())
    assert set(link.TRANSITIONS) == {(role, state) for role in Role for state in State}
    assert allowed == 2 + 1 + 1 + 2 + 5 + 3
    assert all(kind in everything for row in link.TRANSITIONS.values() for kind in row)


def test_nothing_that_the_far_side_sends_moves_more_than_the_cursor() -> None:
    """SEC-23: ten thousand mutations of what a far side may send; the cursor stays within what was sent."""
    rng = random.Random(23)
    good = [Ack(Position(5, 2)), Ack(Position(5, 4)), KeepaliveAck(), Close(CloseReason.DONE), Ack(Position(5, 3))]
    errors = 0
    for _ in range(10_000):
        delivery, _ = opened()
        delivery.send_all([message(number) for number in range(1, 5)])
        stream = bytearray(b"".join(link.encode(rng.choice(good)) for _ in range(rng.randint(1, 4))))
        for _ in range(rng.randint(1, 4)):
            kind = rng.randrange(3)
            at = rng.randrange(len(stream))
            if kind == 0:
                stream[at] = rng.randrange(256)
            elif kind == 1:
                del stream[at:]
                stream += b"\0"
            else:
                stream[at:at] = rng.randbytes(rng.randint(1, 9))
        at = 0
        try:
            while at < len(stream):
                step = rng.randint(1, 9)
                delivery.receive(stream[at : at + step])
                at += step
                while delivery.next_event() is not None:
                    pass
        except RemoteProtocolError:
            errors += 1
        assert delivery.expected == Position(5, 5)  # what we send next
        assert delivery.acknowledged is not None
        assert Position(5, 1) <= delivery.acknowledged <= Position(5, 5)
    assert errors > 5_000


@given(st.binary(max_size=300))
def test_random_octets_never_break_a_collection_side(octets: bytes) -> None:
    _, collection = opened()
    collection.receive(octets)
    try:
        while collection.next_event() is not None:
            pass
    except RemoteProtocolError:
        assert collection.state is State.ERROR
