"""The spool's records: read back as written, and whatever a crash or a hand did to them becomes an event or an end."""

from __future__ import annotations

import os
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediation.core.errors import LocalProtocolError, RemoteProtocolError
from mediation.core.interface import record
from mediation.core.interface.link import Data, Loss, LossClass, Position, Sent
from mediation.core.ledger.sealing import Box
from tests import vault

EPOCH = 1_700_000_000
PLACE = b"a spool"
CLEAR = record.Clear(EPOCH)
SEALED = record.Seals(vault.box(), PLACE, EPOCH)


@pytest.fixture(scope="module", params=[CLEAR, SEALED], ids=["clear", "sealed"])
def form(request: pytest.FixtureRequest) -> record.Form:
    found: record.Form = request.param
    return found


def message(sequence: int, octets: bytes = b"\xa1\x03\x80\x01x") -> Data:
    return Data(sequence, 1_700_000_000_000_000_000 + sequence, 250, sequence % 2 == 0, octets)


def segment(form: record.Form, events: list[Sent]) -> tuple[bytes, list[int]]:
    """The octets of the records and where each begins."""
    octets, starts = b"", []
    for event in events:
        starts.append(len(octets))
        octets += form.encode(event)
    return octets, starts


@given(st.lists(st.binary(max_size=300), max_size=20))
def test_what_is_written_is_read(form: record.Form, bodies: list[bytes]) -> None:
    events: list[Sent] = [message(number, body) for number, body in enumerate(bodies, start=10)]
    octets, _ = segment(form, events)
    found = record.scan(octets + bytes(100), form, 10)
    assert found == record.Scanned(events, len(octets), 0, False)


def test_the_octets_of_a_clear_record_are_these() -> None:
    octets = CLEAR.encode(Data(7, 9, 8, False, b"\xa1\x00"))
    assert octets[:4] == b"\xd7REC"
    assert octets[8:].hex() == "00000002" + "01" + "01" + "00000008" + "0000000000000007" + "0000000000000009" + "a100"


def test_a_limit_stops_between_records(form: record.Form) -> None:
    events: list[Sent] = [message(number) for number in range(1, 9)]
    octets, starts = segment(form, events)
    first = record.scan(octets, form, 1, limit=3)
    assert first.events == events[:3]
    assert first.end == starts[3]
    assert record.scan(octets, form, 4, at=first.end).events == events[3:]


@given(st.integers(0, 10_000))
def test_a_torn_tail_ends_at_the_last_whole_record(form: record.Form, cut: int) -> None:
    events: list[Sent] = [message(number) for number in range(1, 6)]
    octets, starts = segment(form, events)
    cut %= len(octets)
    found = record.scan(octets[:cut].ljust(len(octets), b"\0"), form, 1)
    whole = sum(start <= cut for start in [*starts[1:], len(octets)])
    assert found.events == events[:whole]
    assert found.end == (starts[whole] if whole < 5 else len(octets))
    assert found.torn == any(octets[found.end : cut])
    assert not found.damaged


@given(st.integers(0, 10_000_000), st.integers(1, 255))
def test_any_changed_octet_is_found(form: record.Form, at: int, change: int) -> None:
    """The record that was changed is reported lost, all others are read; nothing wrong is ever handed on."""
    events: list[Sent] = [message(1), Loss(2, 4, LossClass.SPOOL_FULL), message(5), message(6), message(7)]
    octets, _ = segment(form, events)
    changed = bytearray(octets)
    changed[at % len(octets)] ^= change
    found = record.scan(bytes(changed), form, 1)
    kept = [event for event in found.events if event in events]
    corrupt = [event for event in found.events if event not in events]
    assert len(kept) == 4
    assert all(isinstance(event, Loss) and event.loss_class is LossClass.CORRUPT for event in corrupt)
    assert (len(corrupt), found.damaged, found.torn) in {(1, 1, False), (0, 0, True)}  # the last one is a torn tail
    numbers = [n for e in found.events for n in (range(e.first, e.last + 1) if isinstance(e, Loss) else [e.sequence])]
    assert numbers == list(range(1, 1 + len(numbers)))


def test_several_lost_records_are_one_loss(form: record.Form) -> None:
    octets, starts = segment(form, [message(number) for number in range(1, 9)])
    torn = octets[: starts[2]] + bytes(starts[5] - starts[2]) + octets[starts[5] :]
    found = record.scan(torn, form, 1)
    assert found.events[2] == Loss(3, 5, LossClass.CORRUPT)
    assert [event.sequence for event in found.events if isinstance(event, Data)] == [1, 2, 6, 7, 8]


def test_records_of_another_epoch_do_not_pass(form: record.Form) -> None:
    octets, _ = segment(form, [message(1), message(2)])
    other = record.Clear(EPOCH + 1) if isinstance(form, record.Clear) else record.Seals(vault.box(), PLACE, EPOCH + 1)
    assert record.scan(octets, other, 1).events == []


def test_sealed_records_are_of_one_key_and_place_and_tell_nothing() -> None:
    octets, _ = segment(SEALED, [message(1, b"+12125550100"), Loss(2, 9, LossClass.CORRUPT), message(10)])
    assert b"2125550100" not in octets
    assert len(octets) == 3 * record.SEALED_OVERHEAD_OCTETS + 12 + 9 + 5
    assert len(record.scan(octets, record.Seals(vault.box(), PLACE, EPOCH), 1).events) == 3  # another process's
    for other in (
        record.Seals(vault.box(), b"another spool", EPOCH),
        record.Seals(Box(bytes(32), os.urandom(12)), PLACE, EPOCH),
    ):
        assert record.scan(octets, other, 1).events == []


def test_records_left_from_before_are_not_read_again(form: record.Form) -> None:
    octets, starts = segment(form, [message(1), message(2), message(3)])
    assert record.scan(octets, form, 4).events == []
    assert record.scan(octets[starts[1] :], form, 2).events == [message(2), message(3)]


def test_a_message_may_contain_what_looks_like_a_record(form: record.Form) -> None:
    inner = form.encode(message(2))
    octets, _ = segment(form, [message(1, inner), message(2, b"true")])
    assert record.scan(octets, form, 1).events == [message(1, inner), message(2, b"true")]


def test_scanning_garbage_ends(form: record.Form) -> None:
    rng = random.Random(5)
    for _ in range(300):
        octets = b"".join(rng.choice([record.MARKER, rng.randbytes(rng.randint(0, 60))]) for _ in range(40))
        found = record.scan(octets, form, 1)
        assert found.events == []
        assert found.torn == any(octets[: record.RECORD_HEADER_OCTETS])


def test_a_segment_header_is_checked() -> None:
    header = record.segment_header(Position(EPOCH, 77))
    assert len(header) == record.SEGMENT_HEADER_OCTETS
    assert record.parse_segment_header(header) == Position(EPOCH, 77)
    for at in (*range(32), 63):
        changed = bytearray(header)
        changed[at] ^= 1
        if at in (10, 11):  # reserved
            continue
        with pytest.raises(RemoteProtocolError):
            record.parse_segment_header(bytes(changed))
    with pytest.raises(RemoteProtocolError):
        record.parse_segment_header(header[:-1])


def test_a_record_is_bounded(form: record.Form) -> None:
    form.encode(message(1, bytes(record.MAX_RECORD_OCTETS)))
    with pytest.raises(LocalProtocolError):
        form.encode(message(1, bytes(record.MAX_RECORD_OCTETS + 1)))
