"""The access function's call journal: a new matcher on the same octets goes on where the one before it was."""

from __future__ import annotations

import random

import pytest

from mediation.access._calls import HEADER_OCTETS, CallJournal
from tests.ext.calls import HOUR, NOW, S2, XID, XID2, Dialog, Point, Rig, event_packet, sdp
from tests.ext.content import FAR, NEAR, RTP, up

SECRET = bytes(range(64))
LEFT = "203.0.113.1"


class Life(Rig):
    """One life of an access process on a journal that outlives it."""

    def __init__(self, octets: bytearray, *points: Point, **options: object) -> None:
        super().__init__(*points, secret=SECRET, **options)
        self.journal = CallJournal(self.matcher, octets)

    def counts(self, name: str) -> int:
        return self.journal.counters()[name]

    def restore(self, xid: bytes = XID) -> int:
        found = self.journal.restore(xid, self.now)
        assert self.pdus() == self.content() == []
        return found


def file(half: int = 1 << 16) -> bytearray:
    return bytearray(HEADER_OCTETS + 2 * half)


def test_dialog_media_digits_and_handle_go_on() -> None:
    octets = file()
    one = Life(octets).arm(dde=True, content=True)
    assert isinstance(one, Life)
    d = up(one)
    (before,) = one.x3(RTP, NEAR, FAR)
    passing = dict(one.open())
    two = Life(octets)
    two.arm(dde=True, content=True)
    two.now += 60_000_000_000
    assert two.x3(RTP, NEAR, FAR) == []
    assert two.restore() == 3
    assert two.open() == passing
    (after,) = two.x3(RTP, NEAR, FAR)
    assert after.correlation == before.correlation
    assert after.sequence == 1
    assert len(two.rtp(event_packet(), FAR)) == 1
    (bye,) = two.send(d.request("BYE", by_callee=True, cseq=7), source=LEFT)
    assert bye.correlation == before.correlation
    assert (bye.direction, bye.role) == (2, 1)
    two.now += 200_000_000
    two.matcher.expire(two.now)
    assert two.open() == {}
    assert two.count("calls") == two.count("calls_joined") == 0  # it is no new one
    assert two.count("matched") == 1


def test_a_call_that_moved_after_its_first_restart_is_where_it_moved_to() -> None:
    octets = file()
    d = up(Life(octets).arm(content=True))
    two = Life(octets)
    two.arm(content=True)
    two.restore()
    two.send(d.request("INVITE", cseq=2, body=sdp(port=42000)))
    two.send(d.response(200, cseq=2, body=sdp(*FAR)), source=LEFT)
    three = Life(octets)
    three.arm(content=True)
    assert three.restore() == 5
    assert len(three.x3(RTP, ("192.0.2.10", 42000), FAR)) == 1
    assert ("192.0.2.10", 42000) in three.open()


def test_nothing_without_its_order() -> None:
    """Not armed, armed for somebody else, armed for a window or an access point that the call is outside of."""
    octets = file()
    up(Life(octets, Point(), Point()).arm(content=True))
    for arm in (
        lambda life: life.arm(XID2, S2, content=True).restore(XID2),
        lambda life: life.arm(XID, S2, content=True).restore(),
        lambda life: life.arm(XID2, content=True).restore(XID2),  # another order: it begins with what comes
        lambda life: life.arm(start=NOW + 1, content=True).restore(),
        lambda life: life.arm(end=NOW, content=True).restore(),
        lambda life: life.arm(iap_mask=2, content=True).restore(),
    ):
        life = Life(bytearray(octets), Point(), Point())
        life.now += HOUR // 2
        assert arm(life) == 0
        assert life.matcher.gauges()["calls"] == 0
        assert life.open() == {}
    last = Life(octets, Point(), Point())
    last.arm(content=True)
    assert last.restore() == 3


def test_content_only_where_the_order_armed_now_has_it() -> None:
    octets = file()
    up(Life(octets).arm(content=True))
    life = Life(octets)
    life.arm()
    assert life.restore() == 3
    assert life.open() == {}
    assert life.x3(RTP, NEAR, FAR) == []


def test_a_call_that_ended_does_not_come_back() -> None:
    octets = file()
    one = Life(octets)
    one.arm(content=True)
    one.send(up(one).request("BYE", cseq=2))
    life = Life(octets)
    life.now += HOUR // 2
    life.arm(content=True)
    life.restore()
    life.matcher.expire(life.now)
    assert life.matcher.gauges()["calls"] == 0
    assert life.open() == {}


def test_two_orders_on_one_call_armed_at_different_times() -> None:
    """The second is armed when the call has gone on, and is over: no media are looked at again."""
    octets = file()
    one = Life(octets)
    one.arm(content=True).arm(XID2, content=True)
    d = up(one)
    two = Life(octets)
    two.arm(content=True)
    assert two.restore() == 3
    two.send(d.request("BYE", cseq=2))
    two.now += 200_000_000
    two.matcher.expire(two.now)
    two.arm(XID2, content=True)
    assert two.restore(XID2) == 4
    two.now += 200_000_000
    two.matcher.expire(two.now)
    assert two.open() == {}
    assert two.x3(RTP, NEAR, FAR) == []


def test_what_ended_leaves_the_file() -> None:
    octets = file()
    life = Life(octets)
    life.arm().arm(XID2, S2)
    up(life)
    up(life, Dialog(caller="sip:+12125550199@example.com", call_id="secret@192.0.2.11"))
    assert b"secret" in octets
    assert not life.journal.tidy(life.now)
    life.matcher.remove_task(XID2)
    assert life.journal.tidy(life.now)
    assert b"secret" not in octets
    assert b"a84b4c76e66710" in octets
    again = Life(octets)
    again.arm()
    assert again.restore() == 3


def test_an_order_that_never_came_back_leaves_when_its_window_ends() -> None:
    octets = file()
    up(Life(octets).arm())
    life = Life(octets)
    life.arm(XID2, S2)
    life.matcher.remove_task(XID2)
    assert life.journal.tidy(NOW)
    assert b"INVITE" in octets
    life.arm(XID2, S2)
    life.matcher.remove_task(XID2)
    assert life.journal.tidy(NOW + HOUR)
    assert b"INVITE" not in octets


def test_others_calls_and_texts_are_never_in_it() -> None:
    octets = file()
    life = Life(octets)
    life.arm()
    life.send(
        Dialog(caller="sip:+13105550177@example.com").invite(body=sdp()),
        Dialog(call_id="text").request("MESSAGE", to_tag=False, body="secret"),
        Dialog(call_id="register").request("REGISTER", to_tag=False),
    )
    assert life.counts("recorded") == 0
    assert not any(octets[HEADER_OCTETS:])
    d = up(life)
    life.send(d.request("MESSAGE", cseq=5, body="secret"))
    assert life.counts("recorded") == 3
    assert b"secret" not in octets


def test_bounded_by_calls_that_are_up() -> None:
    """Room for some 60 messages: calls that end make room, calls that stay up do not, and then it is counted."""
    octets = file()
    life = Life(octets)
    life.arm(end=NOW + 24 * HOUR)
    for number in range(500):
        d = up(life, Dialog(call_id=f"{number}@x"))
        life.send(d.request("BYE", cseq=2))
        life.now += 40_000_000_000
    assert life.counts("refused") == 0
    assert life.counts("compacted") > 5
    assert life.counts("octets") <= 1 << 16
    for number in range(1000, 1200):
        up(life, Dialog(call_id=f"{number}@x"))
    refused = life.counts("refused")
    assert 300 < refused < 600
    assert life.counts("recorded") + refused == 500 * 4 + 200 * 3
    again = Life(octets)
    again.arm(end=NOW + 24 * HOUR)
    again.now = life.now
    assert again.restore() > 0
    assert again.matcher.gauges()["calls"] > 10


@pytest.mark.parametrize("seed", range(20))
def test_damage_never_makes_more_than_there_was(seed: int) -> None:
    """Any octets at all: no crash, no call of nobody's, and what was before the damage is good."""
    octets = file()
    one = Life(octets)
    one.arm(content=True)
    for number in range(10):
        up(one, Dialog(call_id=f"{number}@x"))
    rng = random.Random(seed)
    used = one.counts("octets")
    for _ in range(rng.randint(1, 40)):
        octets[HEADER_OCTETS + rng.randrange(used)] ^= 1 << rng.randrange(8)
    if seed % 4 == 0:
        octets[HEADER_OCTETS:] = rng.randbytes(len(octets) - HEADER_OCTETS)
    other = Life(bytearray(octets))
    other.arm(XID, S2, content=True)
    other.restore()
    assert other.open() == {}
    life = Life(octets)
    life.arm(content=True)
    assert life.restore() <= 30
    assert life.matcher.gauges()["calls"] <= 10
    up(life, Dialog(call_id="after@x"))  # and it goes on
    assert Life(octets).counts("malformed") == 0


def test_a_record_of_another_time_to_come_is_played_at_this_time() -> None:
    octets = file()
    one = Life(octets)
    one.now += HOUR // 2
    up(one.arm(content=True))
    life = Life(octets)
    life.arm(end=NOW + 2 * HOUR, content=True)
    assert life.restore() == 3
    life.matcher.expire(life.now)
    assert life.matcher.gauges()["calls"] == 1


def test_streams_of_a_restored_call_are_heard_anew_and_a_lapsed_call_is_not_taken_up_again() -> None:
    octets = file()
    one = Life(octets).arm(content=True, end=NOW + 100 * HOUR)
    d = up(one)
    assert len(one.x3(RTP, NEAR, FAR)) == len(one.x3(RTP, FAR, NEAR)) == 1
    two = Life(octets)
    two.arm(content=True, end=NOW + 100 * HOUR)
    two.now += 5 * HOUR
    assert two.restore() == 3
    two.matcher.expire(two.now)
    other = RTP[:8] + b"\1\2\3\4" + RTP[12:]
    assert len(two.x3(other, NEAR, FAR)) == len(two.x3(other, FAR, NEAR)) == 1
    two.now += HOUR
    two.matcher.expire(two.now)
    assert two.count("calls_lapsed_silent") == 1 and two.open() == {}
    assert two.journal.tidy(two.now)
    three = Life(octets)
    three.arm(content=True, end=NOW + 100 * HOUR)
    three.now = two.now + 1
    assert three.restore() == 0
    three.send(d.request("INVITE", cseq=5, body=sdp()), d.response(200, cseq=5, body=sdp(*FAR)))
    assert NEAR in three.open() and FAR in three.open()  # its own signalling brings it back
