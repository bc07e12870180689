"""The call journal by itself: what it holds after a crash, what it forgets, and what damage does to it."""

from __future__ import annotations

import os
import zlib
from pathlib import Path

import pytest

from mediation.core.interface.x2 import Direction, PayloadFormat, Pdu, PduType
from mediation.core.ledger.sealing import Box
from mediation.delivery import calls, inputs
from mediation.delivery.calls import CallJournal, Closed, Input, Passed, Seen
from mediation.delivery.calls_file import FRAME, LEAST_ROOM, MAGIC
from mediation.runtime.keystream import NONCE_OCTETS, Keystream
from tests import vault

ONE, OTHER = bytes(range(16)), bytes(range(1, 17))
END_NS = 1 << 60


def pdu(number: int, xid: bytes = ONE, payload: bytes = b"INVITE sip:x SIP/2.0\r\n\r\n", **changes: object) -> Pdu:
    facts = {
        "type": PduType.X2, "payload_format": PayloadFormat.SIP, "xid": xid, "correlation": number,
        "direction": Direction.FROM_TARGET, "payload": payload, "stamp_ns": number, "source": ("192.0.2.1", 5060),
        **changes,
    }  # fmt: skip
    return Pdu(**facts)  # type: ignore[arg-type]


def journal(folder: Path, *, now_ns: int = 1, bound_octets: int = 1 << 20) -> CallJournal:
    return CallJournal(folder, vault.box(), now_ns=now_ns, bound_octets=bound_octets)


def after_crash(folder: Path) -> CallJournal:
    """What another process would find now, on a copy."""
    copy = folder / f"copy-{len(list(folder.glob('copy-*')))}"
    copy.mkdir()
    (copy / calls.FILE).write_bytes((folder / calls.FILE).read_bytes())
    return journal(copy)


def plain(folder: Path, box: Box | None = None) -> bytes:
    """What stands in the file, for who has the key of its stream: its nonce, and all after it."""
    octets = (folder / calls.FILE).read_bytes()
    nonce = octets[:NONCE_OCTETS]
    key = (box or vault.box()).derived(calls.PLACE)
    return nonce + Keystream(key, nonce).apply(octets[NONCE_OCTETS:], NONCE_OCTETS)


def hidden(octets: bytes) -> bytes:
    """The file in which `octets` stand."""
    stream = Keystream(vault.box().derived(calls.PLACE))
    return stream.nonce + stream.apply(octets, NONCE_OCTETS)


def places(octets: bytes) -> list[int]:
    """Where each sealed record begins, in what `plain` gave."""
    found, at = [], NONCE_OCTETS + len(MAGIC)
    while length := FRAME.unpack_from(octets, at)[0]:
        found.append(at + FRAME.size)
        at += FRAME.size + length
    return found


def end(octets: bytes) -> int:
    """Where the last of them ends."""
    last = places(octets)[-1]
    return last + FRAME.unpack_from(octets, last - FRAME.size)[0]


def opened(folder: Path, box: Box | None = None) -> bytes:
    """What the file holds, for who has the key."""
    octets = plain(folder, box)
    box = box if box is not None else vault.box()
    return b"".join(
        box.open(octets[at : at + FRAME.unpack_from(octets, at - FRAME.size)[0]], calls.PLACE) for at in places(octets)
    )


def filled(folder: Path, count: int = 5) -> CallJournal:
    made = journal(folder)
    made.armed(ONE, END_NS)
    for number in range(1, count + 1):
        made.add(ONE, "tap", Seen(False, pdu(number)), number)
        made.write()
    return made


def played(made: CallJournal, xid: bytes = ONE) -> list[int]:
    return [record.pdu.correlation for _, record in made.armed(xid, END_NS) if isinstance(record, Seen)]


def rewrite(made: CallJournal, remembers: object = lambda *_: True) -> bool:
    pieces = made.due(remembers)  # type: ignore[arg-type]
    if pieces is None:
        return False
    for _ in pieces:
        assert made.due() is None  # one at a time
    if (old := made.finish()) >= 0:
        os.close(old)
    return True


def test_a_crash_leaves_what_was_written(tmp_path: Path) -> None:
    first = filled(tmp_path)
    first.add(ONE, "tap", Seen(True, pdu(6)), 6)  # and never written
    again = journal(tmp_path)
    assert again.orders() == [ONE]
    entries = again.armed(ONE, END_NS)
    assert [record for _, record in entries] == [Seen(False, pdu(number)) for number in range(1, 6)]
    assert again.counters.found == 5
    assert again.counters.refused == again.counters.torn == 0


def test_what_comes_while_it_is_rewritten_is_in_the_new_file_too(tmp_path: Path) -> None:
    made = filled(tmp_path)
    made.ended(OTHER)
    made.armed(OTHER, END_NS)
    made.ended(OTHER)
    pieces = made.due(lambda *_: True)
    assert pieces is not None
    expected = [1, 2, 3, 4, 5]
    for number, _ in enumerate(pieces, 6):  # before, between and after the pieces of each kind
        made.add(ONE, "tap", Seen(False, pdu(number)), number)
        made.write()
        expected.append(number)
        assert played(after_crash(tmp_path)) == expected  # a crash now
    made.add(ONE, "tap", Passed(ONE, "tap", 7))
    os.close(made.finish())
    assert len(expected) > 8
    assert made.counters.rewritten == 2  # with the one that made it
    again = after_crash(tmp_path)
    assert played(again) == expected == played(made)
    assert [record for _, record in again.armed(ONE, END_NS)][-1] == Passed(ONE, "tap", 7)


def test_thousands_of_calls_are_rewritten_in_short_pieces(tmp_path: Path) -> None:
    made = filled(tmp_path, 3000)
    made.ended(OTHER)
    made.armed(OTHER, END_NS)
    made.ended(OTHER)
    asked: list[object] = []
    pieces = made.due(lambda *place: bool(asked.append(place)) or place[2] % 2 == 0)  # type: ignore[func-returns-value]
    assert pieces is not None
    before = len(asked)
    for _ in pieces:
        assert len(asked) - before <= inputs.PIECE
        before = len(asked)
    os.close(made.finish())
    assert len(asked) == 3000
    assert played(after_crash(tmp_path)) == played(made) == list(range(2, 3001, 2))


def test_an_order_that_ends_or_comes_back_while_it_is_rewritten(tmp_path: Path) -> None:
    for at in range(6):
        folder = tmp_path / str(at)
        folder.mkdir()
        made = filled(folder)
        made.armed(OTHER, END_NS)
        made.add(OTHER, "tap", Seen(False, pdu(9, OTHER)), 9)
        made._dirty = True
        pieces = made.due(lambda *_: True)
        assert pieces is not None
        for number, _ in enumerate(pieces):
            if number == at:
                made.ended(OTHER)
                made.ended(ONE)
                made.armed(ONE, END_NS)
                made.add(ONE, "tap", Seen(False, pdu(6)), 6)
                made.write()
        os.close(made.finish())
        assert at <= number
        again = after_crash(folder)
        assert again.orders() == [ONE]
        assert played(again) == played(made) == [6]
        assert made._inputs.octets == sum(len(entry.octets) for entry in made._inputs.of(ONE))
        rewrite(made)  # once more, if the old inputs were in the new file already
        assert OTHER not in opened(folder)


def test_a_rewriting_that_is_not_waited_for_is_done_at_the_end(tmp_path: Path) -> None:
    made = filled(tmp_path)
    made.armed(OTHER, END_NS)
    made.ended(OTHER)
    made.write()
    assert OTHER in opened(tmp_path)
    pieces = made.due(lambda *_: True)
    assert pieces is not None
    for _ in range(4):
        next(pieces)
    made.close()
    assert OTHER not in opened(tmp_path)
    assert played(after_crash(tmp_path)) == [1, 2, 3, 4, 5]


def test_a_disk_without_room_for_the_new_file(tmp_path: Path) -> None:
    made = filled(tmp_path)
    made.armed(OTHER, END_NS)
    made.ended(OTHER)
    made.write()
    (tmp_path / f"{calls.FILE}.new").mkdir()
    assert rewrite(made)
    assert made.counters.failed == 1
    assert played(after_crash(tmp_path)) == [1, 2, 3, 4, 5]
    (tmp_path / f"{calls.FILE}.new").rmdir()
    assert rewrite(made)
    assert OTHER not in opened(tmp_path)
    assert played(after_crash(tmp_path)) == [1, 2, 3, 4, 5]


def test_an_order_that_ends_is_forgotten_at_once_and_leaves_the_disk(tmp_path: Path) -> None:
    made = filled(tmp_path)
    made.armed(OTHER, END_NS)
    made.add(OTHER, "tap", Seen(False, pdu(9, OTHER, b"INVITE sip:secret SIP/2.0\r\n\r\n")), 9)
    made.write()
    made.ended(OTHER)
    made.write()
    assert after_crash(tmp_path).orders() == [ONE]
    assert b"secret" in opened(tmp_path)
    assert b"secret" not in (tmp_path / calls.FILE).read_bytes()
    assert rewrite(made)
    assert b"secret" not in opened(tmp_path)
    assert played(after_crash(tmp_path)) == [1, 2, 3, 4, 5]


def test_an_order_whose_window_is_over_is_not_expected(tmp_path: Path) -> None:
    filled(tmp_path)
    again = journal(tmp_path, now_ns=END_NS)
    assert again.orders() == []
    again.close()
    assert b"INVITE" not in opened(tmp_path)


def test_calls_that_no_model_remembers_go(tmp_path: Path) -> None:
    made = filled(tmp_path)
    made.ended(OTHER)
    assert not rewrite(made)  # nothing to do yet
    made.armed(OTHER, END_NS)
    made.ended(OTHER)
    assert rewrite(made, lambda xid, iap, call: (xid, iap) == (ONE, "tap") and call in (2, 5))
    assert played(after_crash(tmp_path)) == [2, 5]


def test_of_one_call_the_first_and_the_newest_and_of_keys_the_last_minute(tmp_path: Path) -> None:
    made = journal(tmp_path)
    made.armed(ONE, END_NS)
    for number in range(1, 1001):
        made.add(ONE, "tap", Seen(False, pdu(number)), "long")
    for number in (1, inputs.KEYS_NS + 2):
        key = pdu(number, payload=b"\x80", payload_format=PayloadFormat.RTP)
        made.add(ONE, "tap", Seen(True, key), "keys")
    made.armed(OTHER, END_NS)
    made.ended(OTHER)
    assert rewrite(made)
    found = played(after_crash(tmp_path))
    assert found == [*range(1, inputs.FIRST_OF_CALL + 1), *range(1001 - inputs.LAST_OF_CALL, 1001), inputs.KEYS_NS + 2]


def test_that_an_end_was_said_is_kept_as_long_as_its_call(tmp_path: Path) -> None:
    """However much came before and after it: an end that was said must not be said again."""
    made = journal(tmp_path)
    made.armed(ONE, END_NS)
    for number in range(1, 1001):
        made.add(ONE, "tap", Seen(False, pdu(number)), "long")
        if number in (3, 500):
            made.add(ONE, "tap", Closed(ONE, "tap", "long"), "long")
    made.armed(OTHER, END_NS)
    made.ended(OTHER)
    assert rewrite(made)

    def found() -> list[Input]:
        return [record for _, record in after_crash(tmp_path).armed(ONE, END_NS)]

    assert [isinstance(each, Closed) for each in found()].count(True) == 2
    assert len(found()) == inputs.FIRST_OF_CALL + inputs.LAST_OF_CALL + 2
    assert [isinstance(each, Closed) for each in found()].index(True) == 3
    made.armed(OTHER, END_NS)
    made.ended(OTHER)
    assert rewrite(made, lambda xid, iap, call: False) and found() == []


def test_bounded_whatever_is_up(tmp_path: Path) -> None:
    made = journal(tmp_path, bound_octets=20_000)
    made.armed(ONE, END_NS)
    for number in range(1, 400):
        made.add(ONE, "tap", Seen(False, pdu(number, payload=b"x" * (900 if number < 20 else 300))), number)
        made.write()
        rewrite(made)
        assert (tmp_path / calls.FILE).stat().st_size == LEAST_ROOM
    assert made.counters.forgotten > 300
    kept = played(made)
    assert 10 < len(kept) < 60
    assert made.counters.forgotten + len(kept) == 399


@pytest.mark.parametrize("at", range(8))
def test_damage_costs_what_it_hits(tmp_path: Path, at: int) -> None:
    filled(tmp_path)
    path = tmp_path / calls.FILE
    octets = bytearray(path.read_bytes())
    octets[places(plain(tmp_path))[1] + at * 16] ^= 0x20  # in the first PDU
    path.write_bytes(octets)
    again = journal(tmp_path)
    assert again.counters.refused == 1
    assert played(again) == [2, 3, 4, 5]
    assert after_crash(tmp_path).counters.refused == 0  # it heals


@pytest.mark.parametrize("how", ["cut off", "zeros", "what was there"])
def test_any_torn_end_is_the_end(tmp_path: Path, how: str) -> None:
    filled(tmp_path, 2)
    path = tmp_path / calls.FILE
    whole, shown = path.read_bytes(), plain(tmp_path)
    last, behind = places(shown)[-1], end(shown)
    for size in (*range(last - 3, last + 60, 7), *range(behind - 20, behind, 7)):
        rest = {"cut off": b"", "zeros": bytes(len(whole) - size), "what was there": os.urandom(len(whole) - size)}
        path.write_bytes(whole[:size] + rest[how])
        again = journal(tmp_path)
        assert played(again) == [1]
        again.add(ONE, "tap", Seen(False, pdu(3)), 3)
        again.write()
        again.close()
        assert played(after_crash(tmp_path)) == [1, 3]


def test_any_octets_at_all_are_a_journal_without_calls(tmp_path: Path) -> None:
    path = tmp_path / calls.FILE
    for octets in (b"", b"x", os.urandom(5000), hidden(MAGIC + os.urandom(5000)), hidden(MAGIC + b"\xff" * 100)):
        path.write_bytes(octets)
        made = journal(tmp_path)
        assert made.orders() == []
        assert made.counters.refused + made.counters.torn == bool(octets)


def test_an_input_of_an_order_that_is_not_in_force_is_refused(tmp_path: Path) -> None:
    made = filled(tmp_path, 1)
    made.add(OTHER, "tap", Seen(False, pdu(9, OTHER)), 9)
    for blank in (b" ", b"\t"):
        made.add(ONE, "tap", Seen(False, pdu(1, payload=b"MESSAGE" + blank + b"sip:x SIP/2.0\r\n\r\ntext")), 1)
    made.write()
    octets = plain(tmp_path)
    assert OTHER not in opened(tmp_path)
    assert b"text" not in opened(tmp_path)
    frame = made._frame(Seen(False, pdu(9, OTHER)))
    (tmp_path / calls.FILE).write_bytes(hidden(octets[NONCE_OCTETS : end(octets)] + frame))
    again = journal(tmp_path)
    assert again.counters.refused == 1
    assert again.orders() == [ONE]


def test_a_disk_that_refuses_is_counted_and_made_good(tmp_path: Path) -> None:
    made = filled(tmp_path, 1)
    assert made._file is not None
    keep = os.dup(made._file.descriptor)
    os.dup2(os.open("/dev/full", os.O_WRONLY), made._file.descriptor)
    made.add(ONE, "tap", Seen(False, pdu(2)), 2)
    made.write()
    os.dup2(keep, made._file.descriptor)
    made.add(ONE, "tap", Seen(False, pdu(3)), 3)
    made.write()
    assert made.counters.failed == 1
    assert rewrite(made)
    assert played(after_crash(tmp_path)) == [1, 2, 3]


def test_the_file_tells_neither_orders_nor_calls(tmp_path: Path) -> None:
    """SEC-19: of one size whatever is up, and chance from one end to the other; another file at each rewriting."""
    quiet, busy = tmp_path / "quiet", tmp_path / "busy"
    for folder in (quiet, busy):
        folder.mkdir()
    journal(quiet)
    made = filled(busy, 2000)
    copies = [(folder / calls.FILE).read_bytes() for folder in (quiet, busy)]
    assert [len(copy) for copy in copies] == [LEAST_ROOM] * 2
    for copy in copies:
        assert len(zlib.compress(copy, 1)) > len(copy)
        assert len({copy[at : at + 16] for at in range(0, len(copy), 16)}) == len(copy) // 16
    assert not rewrite(made)
    made._renew_s = 0  # an hour later
    assert rewrite(made)
    renewed = (busy / calls.FILE).read_bytes()
    assert len(renewed) == LEAST_ROOM
    assert not any(renewed[at : at + 16] == copies[1][at : at + 16] for at in range(0, len(renewed), 16))
    assert played(after_crash(busy)) == played(made) == list(range(1, 2001))


def test_its_room_is_a_class_also_of_orders_without_a_call(tmp_path: Path) -> None:
    made = journal(tmp_path, bound_octets=64 << 20)
    for number in range(30_000):
        made.armed(number.to_bytes(16, "big"), END_NS)
    made.write()
    assert rewrite(made)
    assert (tmp_path / calls.FILE).stat().st_size == 4 * LEAST_ROOM
    assert not rewrite(made)  # nothing was added since
    assert len(after_crash(tmp_path).orders()) == 30_000
