"""A call whose end was not seen hands nobody else's media on, and a call that is up loses nothing (ext/continuity.pxd).

Streams have an SSRC and numbers of their own here. `strangers` are what the next call at the same two addresses sends.
"""

from __future__ import annotations

import random

import pytest

from mediation.core.interface.notice import Notice, notice_of
from tests.ext.calls import S2, XID, XID2, Dialog, Rig, event_packet, sdp
from tests.ext.content import CONTROL, FAR, FAR_RTCP, NEAR, NEAR_RTCP, up

SECOND = 1_000_000_000
OPEN = {NEAR: None, NEAR_RTCP: CONTROL, FAR: None, FAR_RTCP: CONTROL}
OTHER = Dialog("sip:+13105550111@x", "sip:+13105550122@y", call_id="other", caller_tag="o1", callee_tag="o2")
ENDS = {"near": (NEAR, FAR), "far": (FAR, NEAR)}


def rtp(ssrc: int, number: int) -> bytes:
    return b"\x80\x00" + (number & 0xFFFF).to_bytes(2) + (160 * number & 0xFFFFFFFF).to_bytes(4) + ssrc.to_bytes(4)


def rtcp(ssrc: int) -> bytes:
    return b"\x80\xc9\0\1" + ssrc.to_bytes(4)


class Line:
    """A call that is up, and what passes between its two addresses."""

    def __init__(self, **order: bool) -> None:
        self.rig = Rig().arm(end=2**63, **(order or {"content": True}))
        self.dialog = up(self.rig)
        self.numbers = {"near": 1000, "far": 65_500}
        self.ssrc = {"near": 0x11111111, "far": 0x22222222}
        self.lost = 0  # packets of a party that the tap did not see

    def talk(self, who: str = "near far", *, ms: int = 20, times: int = 1) -> bool:
        """Packets of those who talk; whether each of them came out."""
        whole = True
        for _ in range(times):
            for party in who.split():
                self.numbers[party] += 1
                whole &= len(self.rig.x3(rtp(self.ssrc[party], self.numbers[party]), *ENDS[party])) == 1
            self.rig.now += ms * 1_000_000
            self.rig.matcher.expire(self.rig.now)
        return whole

    def wait(self, seconds: float) -> None:
        """Nothing passes."""
        for _ in range(20):
            self.rig.now += int(seconds * SECOND) // 20
            self.rig.matcher.expire(self.rig.now)

    def strangers(self, *, seconds: float = 1.0, step_ms: int = 20, first: int = 0) -> int:
        """What comes out of a call of others: speech and control packets of both its parties."""
        found = 0
        for number in range(int(seconds * 1000) // step_ms):
            for ssrc, (here, there) in ((0xA0000001, ENDS["near"]), (0xA0000002, ENDS["far"])):
                found += len(self.rig.x3(rtp(ssrc, first + number), here, there))
            if number % 250 == 0:
                found += len(self.rig.x3(rtcp(0xA0000001), NEAR_RTCP, FAR_RTCP))
            self.rig.now += step_ms * 1_000_000
            self.rig.matcher.expire(self.rig.now)
        return found

    def notices(self) -> list[Notice]:
        return [found for pdu in self.rig.pdus() if (found := notice_of(pdu)) is not None]

    def count(self, name: str) -> int:
        return self.rig.count(name)


@pytest.fixture
def line() -> Line:
    return Line()


# ---- the next call on the same ports --------------------------------------------------------------------------------


def test_after_a_lost_bye_the_next_call_s_media_do_not_pass_and_it_is_told(line: Line) -> None:
    assert line.talk(times=50)
    line.wait(31)
    assert line.rig.open() == OPEN
    assert line.strangers(seconds=30) == 0
    assert line.notices() == [Notice.DOUBTED]
    assert (line.count("calls_doubted"), line.count("media_doubted") > 1000) == (1, True)
    assert line.strangers(seconds=31) == 0
    assert line.notices() == [Notice.LAPSED_DOUBTED]
    assert line.rig.open() == {}  # from here on not even the tap sees them
    assert line.strangers(seconds=5) == 0
    assert line.count("calls_lapsed_doubted") == 1
    assert line.rig.matcher.gauges()["calls"] == 1


def test_signalling_of_the_next_call_is_enough_without_thirty_seconds(line: Line) -> None:
    assert line.talk(times=300)
    line.wait(1)
    line.rig.send(OTHER.invite(body=sdp(*NEAR)))
    line.wait(3)
    line.rig.send(OTHER.response(200, body=sdp(*FAR)), OTHER.request("ACK"))
    assert line.rig.pdus() == []  # nothing of that call comes out
    assert line.strangers(seconds=70) == 0
    assert line.notices() == [Notice.DOUBTED, Notice.LAPSED_DOUBTED]
    assert (line.count("calls_claimed"), line.count("calls")) == (1, 1)


def test_one_address_that_is_used_again_is_enough(line: Line) -> None:
    """A relay's port, and the other party's is not described where this tap sees it."""
    assert line.talk(times=300)
    line.rig.send(OTHER.invite(body=sdp("192.0.2.99", 30_000)), OTHER.response(200, body=sdp(*FAR)))
    line.wait(2.1)
    assert line.strangers() == 0


@pytest.mark.parametrize("old_first", [False, True])
def test_the_next_call_of_the_same_subject_is_whole_and_its_own(*, old_first: bool) -> None:
    """Both are in the table, and whichever is found first: the new call's packets are not given to the old one."""
    line = Line()
    places = [Dialog(call_id=f"place-{i}", caller_tag=f"p{i}") for i in range(20)]
    up(line.rig, places[0], sdp("192.0.2.50", 7000), sdp("203.0.113.50", 7000))
    before = up(
        line.rig, Dialog(call_id="before")
    )  # this one's BYE is lost; its places are behind the first two calls'
    line.rig.send(line.dialog.request("BYE", cseq=2), places[0].request("BYE", cseq=2))
    line.wait(1)
    assert line.talk(times=300)
    old = line.rig.send(before.request("INFO"))[0].correlation
    line.wait(6)
    assert line.talk(times=300)
    line.wait(3)
    d = up(line.rig, Dialog(call_id="next", caller_tag="n1", callee_tag="n2"))
    if old_first:  # the table is made anew, and what stands last in it is found first
        for number, each in enumerate(places[1:]):
            up(line.rig, each, sdp("192.0.2.50", 7002 + 2 * number), sdp("203.0.113.50", 7002 + 2 * number))
    handle = line.rig.send(d.request("INFO"))[0].correlation
    for number in range(10):
        for here, there in ENDS.values():
            assert [pdu.correlation for pdu in line.rig.x3(rtp(77, number), here, there)] == [handle] != [old]
    assert line.notices() == [Notice.DOUBTED] * old_first


def test_dialed_digits_of_the_next_call_are_nobody_s() -> None:
    line = Line(dde=True)
    voice = rtp(5, 1) + bytes(160)
    line.rig.rtp(voice, FAR, NEAR)
    line.rig.rtp(event_packet()[:8] + (5).to_bytes(4) + event_packet()[12:], FAR, NEAR)
    line.rig.now += 60 * SECOND
    line.rig.send(OTHER.invite(body=sdp(*NEAR)), OTHER.response(200, body=sdp(*FAR)))
    line.wait(3)
    assert line.rig.rtp(event_packet()[:8] + (6).to_bytes(4) + event_packet()[12:], FAR, NEAR) == []
    assert line.count("media_doubted") == 1
    assert line.notices() == []  # an order without content has no content channel to be told of


# ---- a call that is up loses nothing --------------------------------------------------------------------------------


@pytest.mark.parametrize("pause", [1, 29, 31, 600, 3500])
def test_a_pause_of_both_parties(line: Line, pause: int) -> None:
    """Muted, discontinuous transmission without comfort noise: the streams go on where they were."""
    assert line.talk(times=100)
    line.wait(pause)
    assert line.talk("far") and line.talk("near", times=3) and line.talk(times=100)
    assert (line.count("media_doubted"), line.notices()) == (0, [])


def test_a_hold_without_any_packet_and_new_streams_behind_it(line: Line) -> None:
    assert line.talk(times=100)
    d = line.dialog
    line.rig.send(d.request("INVITE", cseq=2, body=sdp(*NEAR, direction="inactive")))
    line.rig.send(d.response(200, cseq=2, body=sdp(*FAR, direction="inactive")), source="203.0.113.1")
    line.wait(3000)
    line.rig.send(d.request("INVITE", cseq=3, body=sdp(*NEAR)))
    line.ssrc = {"near": 3, "far": 4}
    assert line.talk("far")  # before the 200: the offer holds
    line.rig.send(d.response(200, cseq=3, body=sdp(*FAR)), source="203.0.113.1")
    assert line.talk(times=100)
    assert line.count("media_doubted") == 0


@pytest.mark.parametrize("message", ["UPDATE", "INFO", "OPTIONS", "NOTIFY", "ACK"])
def test_any_message_of_the_call_says_that_it_is_up(line: Line, message: str) -> None:
    assert line.talk(times=100)
    line.wait(100)
    assert line.strangers(seconds=0.1) == 0
    line.rig.send(line.dialog.request(message, cseq=2))
    line.ssrc = {"near": 3, "far": 4}
    assert line.talk(times=100)
    assert line.count("calls_resumed") == 1


def test_what_one_party_sends_anew_while_the_other_goes_on(line: Line) -> None:
    """A relay, a transfer behind a back-to-back agent, music on hold: the far stream changes, unannounced."""
    assert line.talk(times=100)
    for ssrc in range(20):
        assert line.talk("near", times=2000)  # 40 s in which the far side is silent
        line.ssrc["far"] = ssrc
        assert line.talk("far near", times=3)
    assert line.count("media_doubted") == 0


def test_control_packets_show_that_it_is_up(line: Line) -> None:
    assert line.talk(times=100)
    for _ in range(120):
        assert len(line.rig.x3(rtcp(0x11111111), NEAR_RTCP, FAR_RTCP)) == 1
        line.wait(5)
    line.ssrc = {"near": 3, "far": 4}
    assert line.talk(times=100)


def test_a_doubt_ends_with_the_next_packet_of_either_party_s_stream(line: Line) -> None:
    assert line.talk(times=100)
    line.wait(45)
    line.ssrc["far"] = 9
    assert not line.talk("far", times=2)
    assert line.talk("near")  # the subject answers
    assert line.talk(times=100)
    assert (line.count("media_doubted"), line.count("calls_resumed")) == (2, 1)


def test_where_one_direction_alone_is_heard_silence_proves_nothing(line: Line) -> None:
    assert line.talk("far", times=100)
    line.wait(300)
    line.ssrc["far"] = 9
    assert line.talk("far", times=100)


def test_a_tap_that_was_blind(line: Line) -> None:
    """The link was down, the process stood still: the streams are ten minutes further."""
    assert line.talk(times=100)
    line.wait(600)
    line.numbers = {party: number + 30_000 for party, number in line.numbers.items()}
    assert line.talk(times=100)
    assert line.count("media_doubted") == 0


def test_media_that_are_heard_late(line: Line) -> None:
    """Routed elsewhere at first, or the tap began in mid-call."""
    line.wait(1200)
    assert line.talk(times=100)


def test_what_is_no_rtp_makes_no_doubt(line: Line) -> None:
    """Keep-alives and STUN (RFC 6263): not worth a message, and no proof."""
    assert line.talk(times=100)
    line.wait(31)
    assert line.rig.x3(b"\x00\x01\x00\x00\x21\x12\xa4\x42" + bytes(12), NEAR, FAR) == []
    line.wait(80)
    assert line.talk(times=100)
    assert (line.count("media_doubted"), line.count("calls_doubted")) == (1, 0)


def test_legs_that_a_back_to_back_agent_makes_of_the_call() -> None:
    """The same addresses under another Call-ID: at its set-up, and whenever that leg alone is refreshed."""
    line = Line()
    line.rig.send(OTHER.invite(body=sdp(*NEAR)), OTHER.response(200, body=sdp(*FAR)))
    assert line.talk(times=300)
    for refresh in range(5):
        line.rig.send(
            OTHER.request("INVITE", cseq=2 + refresh, body=sdp(*NEAR)),
            OTHER.response(200, cseq=2 + refresh, body=sdp(*FAR)),
        )
        line.ssrc["far"] = refresh  # music
        assert line.talk(times=300)
        line.wait(25)
    line.ssrc = {"near": 3, "far": 4}
    assert line.talk(times=100)
    assert (line.count("calls_claimed"), line.count("media_doubted")) == (1, 0)


def test_a_claim_does_not_stop_the_streams_of_the_call(line: Line) -> None:
    assert line.talk(times=300)
    line.wait(10)
    line.rig.send(OTHER.invite(body=sdp(*NEAR)), OTHER.response(200, body=sdp(*FAR)))
    line.wait(10)
    assert line.talk(times=100)
    line.ssrc = {"near": 3, "far": 4}
    assert line.talk(times=100)


def test_other_messages_and_other_addresses_claim_nothing(line: Line) -> None:
    assert line.talk(times=300)
    far_away = OTHER.invite(body=sdp("203.0.113.6", FAR[1]))
    line.rig.send(far_away, OTHER.response(488, body=sdp(*FAR)), OTHER.request("OPTIONS", body=sdp(*FAR)))
    line.rig.send(OTHER.invite(body=sdp(FAR[0], FAR[1] + 2)), OTHER.invite(body=sdp(*FAR).replace("m=", "a=")))
    assert line.count("calls_claimed") == 0
    chance = random.Random(5)
    for _ in range(2000):  # whatever stands in it
        body = bytes(chance.choice(b"m=audio 50000\r\nc IN4.1") for _ in range(chance.randrange(60)))
        line.rig.send(OTHER.invite()[:-4] + b"\r\n\r\n" + body)
    assert line.talk(times=100)


# ---- session timers -------------------------------------------------------------------------------------------------


def timed(line: Line, cseq: int, header: str = "Session-Expires: 90;refresher=uac", method: str = "UPDATE") -> None:
    """A refresh that both sides agree to."""
    octets = line.dialog.response(200, method=method, cseq=cseq, body=sdp(*FAR) if method == "INVITE" else "")
    head, _, body = octets.partition(b"\r\n\r\n")
    line.rig.send(line.dialog.request(method, cseq=cseq), head + b"\r\n" + header.encode() + b"\r\n\r\n" + body)


def test_a_call_whose_refresh_never_comes(line: Line) -> None:
    timed(line, 2)
    assert line.talk(times=100)
    line.wait(2 * 90 + 31 - 2)
    assert line.rig.open() == OPEN
    line.wait(2)
    assert line.rig.open() == {}
    assert line.notices() == [Notice.LAPSED_SESSION]
    assert line.count("calls_lapsed_session") == 1
    assert line.strangers() == 0


def test_the_media_of_a_call_whose_refreshes_were_not_seen_go_on(line: Line) -> None:
    timed(line, 2, "x: 90")
    assert line.talk(ms=1000, times=400)
    assert line.strangers(seconds=0.5) > 0  # a stream of a party more, in the midst of its speech
    assert line.talk(times=10) and line.notices() == []
    line.wait(2.1)
    assert line.rig.x3(rtp(0xB0000001, 1), *ENDS["far"]) == []
    line.wait(20)
    assert line.talk(times=10)
    line.wait(31)
    assert line.notices()[-1] == Notice.LAPSED_SESSION


@pytest.mark.parametrize("last", ["refreshed", "without", "unreadable"])
def test_a_refresh_and_an_end_of_the_timer(line: Line, last: str) -> None:
    timed(line, 2, method="INVITE")
    for cseq in range(3, 8):
        line.wait(88)
        timed(line, cseq)
    if last != "refreshed":
        timed(line, 9, "Session-Expires: soon" if last == "unreadable" else "Supported: timer")
    line.wait(211 if last == "refreshed" else 1000)
    assert line.rig.open() == OPEN
    line.wait(2)
    assert line.rig.open() == ({} if last == "refreshed" else OPEN)


# ---- silence --------------------------------------------------------------------------------------------------------


def test_an_hour_without_packet_and_message_and_the_call_s_return(line: Line) -> None:
    assert line.talk(times=10)
    line.wait(3599)
    assert line.rig.open() == OPEN
    line.wait(2)
    assert line.rig.open() == {}
    assert line.notices() == [Notice.LAPSED_SILENT]
    line.rig.send(line.dialog.response(481, method="UPDATE", cseq=3), line.dialog.response(408, method="INFO", cseq=4))
    assert line.rig.open() == {}  # the other side knows nothing of the call any more
    line.rig.send(line.dialog.request("INVITE", cseq=2, body=sdp(*NEAR)))
    assert line.rig.open() == OPEN
    line.ssrc = {"near": 3, "far": 4}
    assert line.talk(times=100)
    assert (line.count("calls_lapsed_silent"), line.count("calls_resumed")) == (1, 1)


def test_a_bye_ends_a_lapsed_or_doubted_call_and_opens_nothing(line: Line) -> None:
    assert line.talk(times=10)
    line.wait(40)
    assert line.strangers() == 0
    line.rig.send(line.dialog.request("BYE", cseq=2))
    assert line.strangers(seconds=0.08) == 0  # not in its tail either
    line.wait(60)
    assert (line.rig.open(), line.rig.matcher.gauges()["calls"]) == ({}, 0)


def test_an_order_with_dialed_digits_alone_waits_a_day_for_events() -> None:
    """Of a codec that nobody listens to nothing passes but events: their absence says nothing."""
    line = Line(dde=True)
    line.wait(80_000)
    assert len(line.rig.rtp(event_packet(), FAR, NEAR)) == 1


def test_each_order_with_content_is_told_and_no_other() -> None:
    line = Line(content=True)
    line.rig.send(line.dialog.request("BYE", cseq=2))
    line.wait(1)
    line.rig.arm(XID2, S2, dde=True)
    both = bytes(range(32, 48))
    line.rig.arm(both, S2, content=True, end=2**63)
    up(line.rig, Dialog(call_id="again", callee="sip:+12125550199@x"))
    line.talk(times=10)
    line.wait(31)
    line.rig.pdus()
    line.strangers(seconds=0.1)
    told = line.rig.pdus()
    assert {(pdu.xid, notice_of(pdu)) for pdu in told} == {(XID, Notice.DOUBTED), (both, Notice.DOUBTED)}
    assert len(told) == 2 and all(pdu.stamp_ns <= line.rig.now for pdu in told)
