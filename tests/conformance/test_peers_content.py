"""Content of exactly the subject's calls, octet by octet, live: what the agency got against a capture at the tap.

Every test has a stranger's call with as many packets beside the subject's: not one octet of it may arrive.
"""

from __future__ import annotations

import os
import socket
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from tests.rig import exchange
from tests.rig.exchange import Exchange, Floor
from tests.rig.ladder import Dialog, End, sdp
from tests.rig.media import Delivered, Voice, delivered, talk

pytestmark = [pytest.mark.rig, pytest.mark.root]
SPOKEN = 12  # packets of one `talk`: five of RTP and one of RTCP each way


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exchange]:
    missing = exchange.possible()
    if missing:
        pytest.skip(f"real peers cannot be started: {missing}")
    with exchange.built(tmp_path_factory.mktemp("content")) as made:
        yield made


@pytest.fixture
def floor(built: Exchange, request: pytest.FixtureRequest) -> Iterator[Floor]:
    with built.stage(request.node.name.removeprefix("test_")) as made:
        yield made


@pytest.fixture
def agency(floor: Floor) -> Iterator[Delivered]:
    with delivered(floor.exchange) as made:
        yield made


def order(floor: Floor) -> None:
    # One access point: each reports a call that it sees, and the SBC's media passes both.
    floor.order(authority="title3", content="", iap="span", **{"content-form": "packetcable"})


class Scene:
    """S (left) and A (right); B and C, who are strangers, talk beside them from "third" and "proxy"."""

    def __init__(self, floor: Floor) -> None:
        self.left, self.right, third, fourth = floor.ends("left", "right", "third", "proxy")
        self.subject, self.other = Voice(floor, "left", self.left), Voice(floor, "right", self.right)
        self._strangers = Voice(floor, "third", third), Voice(floor, "proxy", fourth)
        self._aside = Dialog(third, fourth, floor.third, floor.fourth).connect()
        self.dialog = Dialog(self.left, self.right, floor.subject, floor.other)
        self.floor = floor
        self.own = {self.left.address}

    def talk(self, packets: int = 5) -> None:
        talk(*self._strangers, packets)
        talk(self.subject, self.other, packets)

    def check(self, agency: Delivered, count: int) -> None:
        """The delivered packets are those of S's call that passed, each once, and nothing else."""
        got = agency.packets(count)
        passed = agency.captured(lambda each: bool(self.own & {each.source[0], each.destination[0]}), got)
        missing, strange = passed - got, got - passed
        assert not strange, f"{strange.total()} packets of something else, or twice"
        assert not missing, f"{missing.total()} of {passed.total()} packets are missing; {counted(self.floor)}"
        assert got.total() == count
        opened = {word for line in self.floor.lines() if line["message"] == "ccOpen" for word in _hex(line)}
        assert agency.channels() <= opened, "content on a channel that was never opened"


def counted(floor: Floor) -> str:
    """What the site says of itself: `content_window_us_max` is how long a description waited for the tap's thread,
    `media_no_flow` what passed the kernel's filter and was no call's."""
    return floor.site.try_command("status", "--site", str(floor.site.path), "--json").stdout


def _hex(line: dict[str, object]) -> set[str]:
    from mediation.cli.demo.site import texts

    return {text for text in texts(line["fields"]) if len(text) == 8}


def sequence(floor: Floor) -> list[str]:
    return [text for text in floor.received() if "networkSignal" not in text]


def test_from_the_first_packet(floor: Floor, agency: Delivered) -> None:
    order(floor)
    scene = Scene(floor)
    invite = scene.dialog.invite(sdp(scene.left.address)).reply(100).reply(180)
    invite.reply(200, body=sdp(scene.right.address))
    scene.talk()  # before the ACK: within the first milliseconds
    invite.ack()
    scene.talk(10)
    scene.dialog.bye()
    scene.check(agency, SPOKEN + 22)
    floor.wait("release")
    assert sequence(floor) == ["origination", "ccOpen", "answer", "ccClose", "release"]


def test_nothing_after_the_release(floor: Floor, agency: Delivered) -> None:
    order(floor)
    scene = Scene(floor)
    scene.dialog.connect()
    scene.talk()
    scene.dialog.bye()
    floor.wait("release")
    talk(scene.subject, scene.other)  # the sockets talk on, the call is over
    assert agency.packets(SPOKEN).total() == SPOKEN


def test_delayed_offer(floor: Floor, agency: Delivered) -> None:
    order(floor)
    scene = Scene(floor)
    invite = scene.dialog.invite("").reply(180).reply(200, body=sdp(scene.right.address))
    invite.ack(body=sdp(scene.left.address))
    scene.talk()
    scene.dialog.bye()
    scene.check(agency, SPOKEN)


def test_early_media_at_one_address_then_the_call_at_another(floor: Floor, agency: Delivered) -> None:
    order(floor)
    scene = Scene(floor)
    announcement = Voice(floor, "right", scene.right, 7000)
    invite = scene.dialog.invite(sdp(scene.left.address)).reply(183, body=sdp(scene.right.address, 7000))
    talk(scene.subject, announcement)
    invite.reply(200, body=sdp(scene.right.address, version=2)).ack()
    scene.talk()
    scene.dialog.bye()
    scene.check(agency, 2 * SPOKEN)
    assert sequence(floor).index("ccOpen") < sequence(floor).index("answer")
    assert "ccChange" in sequence(floor)


def _moved(floor: Floor, scene: Scene, name: str, end: End) -> Voice:
    return Voice(floor, name, end, 9000)


def test_update_moves_the_media(floor: Floor, agency: Delivered) -> None:
    order(floor)
    scene = Scene(floor)
    scene.dialog.connect()
    scene.talk()
    scene.other = _moved(floor, scene, "right", scene.right)
    update = scene.dialog.request("UPDATE", by=scene.right, body=sdp(scene.right.address, 9000, version=2))
    update.reply(200, body=sdp(scene.left.address))
    scene.talk()
    scene.dialog.bye()
    scene.check(agency, 2 * SPOKEN)
    assert sequence(floor).count("ccChange") == 1


def test_reinvite_moves_the_subjects_media(floor: Floor, agency: Delivered) -> None:
    order(floor)
    scene = Scene(floor)
    scene.dialog.connect()
    scene.talk()
    scene.subject = _moved(floor, scene, "left", scene.left)
    scene.dialog.reinvite(sdp(scene.left.address, 9000, version=2), sdp(scene.right.address))
    scene.talk()
    scene.dialog.bye()
    scene.check(agency, 2 * SPOKEN)


def test_a_call_that_was_up_when_the_order_came(floor: Floor, agency: Delivered) -> None:
    """From the first session description that passes under the order."""
    scene = Scene(floor)
    scene.dialog.connect()
    scene.talk()
    order(floor)
    scene.dialog.reinvite(sdp(scene.left.address, version=1), sdp(scene.right.address))
    before = agency.captured(lambda each: scene.left.address in {each.source[0], each.destination[0]})
    scene.talk()
    scene.dialog.bye()
    got = agency.packets(SPOKEN)
    assert got.total() == SPOKEN
    assert not got & before, "content from before the order"
    assert "origination" not in sequence(floor)


def test_a_pen_register_gets_no_content(floor: Floor, agency: Delivered) -> None:
    floor.order()
    scene = Scene(floor)
    scene.dialog.connect()
    scene.talk(20)
    scene.dialog.bye()
    floor.wait("release")
    assert agency.packets(0).total() == 0
    assert not any(text.startswith("cc") for text in floor.received())


def test_ipv6(floor: Floor, agency: Delivered) -> None:
    order(floor)
    left, right = floor.ends("left", "right", ipv6=True)
    one, other = Voice(floor, "left", left), Voice(floor, "right", right)
    dialog = Dialog(left, right, floor.other, floor.subject).connect()
    talk(one, other)
    dialog.bye()
    got = agency.packets(SPOKEN)
    assert got == agency.captured(lambda each: left.address in {each.source[0], each.destination[0]}, got)


def sender(packet: bytes) -> str:
    """Who sent an IPv4 packet."""
    return socket.inet_ntoa(packet[12:16])


def receiver(packet: bytes) -> str:
    return socket.inet_ntoa(packet[16:20])


RTCP_TYPES = range(192, 224)  # RFC 5761 §4
REPORTS = bytes(RTCP_TYPES)
UDP_PAYLOAD = 28  # behind an IPv4 header without options
CALLS = int(os.environ.get("MEDIATION_CALLS", "60"))  # the report's figure is taken with 1,000
ANCHORED = max(3, CALLS // 20)


def test_many_calls_unanchored(floor: Floor, agency: Delivered) -> None:
    """Every packet of every call of S, one call after the other and a stranger's call inside each."""
    order(floor)
    scene = Scene(floor)
    for _ in range(CALLS):
        scene.dialog = Dialog(scene.left, scene.right, floor.subject, floor.other).connect()
        scene.talk()
        scene.dialog.bye()
    scene.check(agency, CALLS * SPOKEN)
    floor.wait("release", count=CALLS)
    assert floor.received().count("ccOpen") == floor.received().count("ccClose") == CALLS


def test_short_calls(floor: Floor, agency: Delivered) -> None:
    """Over before anybody has looked: nobody waits for the agency, BYE follows the last packet at once."""
    order(floor)
    scene = Scene(floor)
    for _ in range(CALLS):
        scene.dialog = Dialog(scene.left, scene.right, floor.subject, floor.other).connect()
        scene.talk()
        scene.dialog.bye()
    floor.wait("release", count=CALLS)
    scene.check(agency, CALLS * SPOKEN)
    told = floor.received()
    assert told.count("ccOpen") == told.count("ccClose") == CALLS
    assert "ccUnavailable" not in told


class Anchored:
    """Real phones whose media pass the SBC: S and A, and beside them two strangers in a call of their own."""

    def __init__(self, floor: Floor) -> None:
        floor.kamailio.service("anchor", floor.subject, "1")
        floor.kamailio.service("anchor", floor.third, "1")
        self.subject, self.other, third, fourth = floor.parties("subject", "alice", "bob", "carol")
        self.floor = floor
        order(floor)
        aside = third.dial(fourth)
        fourth.answers()
        aside.until_up()

    def check(self, agency: Delivered, calls: list[str]) -> None:
        """Each packet of each direction once, from whichever side of the relay, RTCP and all."""
        one, other = exchange.PHONES["subject"], exchange.PHONES["alice"]
        got = agency.packets(0)
        strange = got - agency.captured(lambda each: bool({one, other} & {each.source[0], each.destination[0]}))
        assert not strange, f"{strange.total()} packets of something else, or twice"
        during = Counter(each.packet for call in calls for each in agency.during(call))
        for name, near, far in (
            ("from S", (sender, one), (receiver, other)),
            ("to S", (receiver, one), (sender, other)),
        ):
            owed = _spoken(during, *near) & _spoken(during, *far)
            most = _spoken(agency.captured(), *near) | _spoken(agency.captured(), *far)
            came = _spoken(got, *near) + _spoken(got, *far)
            missing, twice = owed - came, came - most
            assert owed.total() > len(calls), f"{name}: nothing was said"
            assert not missing, (
                f"{name}: {missing.total()} of {owed.total()} packets are missing; {counted(self.floor)}"
            )
            assert not twice, f"{name}: {twice.total()} of {most.total()} packets came twice"


def _spoken(packets: Counter[bytes], end: Callable[[bytes], str], phone: str) -> Counter[bytes]:
    """What was said at one side of the relay: it sends on what came, under other addresses."""
    return Counter(packet[UDP_PAYLOAD:] for packet in packets.elements() if end(packet) == phone)


def test_anchored_in_rtpengine(floor: Floor, agency: Delivered) -> None:
    """Short calls, one behind the other."""
    scene, calls = Anchored(floor), []
    for _ in range(ANCHORED):
        call = scene.subject.dial(scene.other)
        answered = scene.other.answers()
        calls.append(call.call_id)
        call.until_up().until("media", active=True)
        call.do("digits", digits="1")
        answered.until("digit", digit="1")
        call.hangup()
        answered.until_over()
    floor.wait("release", count=ANCHORED)
    floor.exchange.fence()
    scene.check(agency, calls)


def test_reports_of_anchored_media(floor: Floor, agency: Delivered) -> None:
    """A call that is long enough for RTCP of both phones."""
    scene = Anchored(floor)
    call = scene.subject.dial(scene.other)
    answered = scene.other.answers()
    call.until_up()
    for name in ("subject", "alice"):
        assert agency.passed_until(
            lambda each, name=name: each.source[0] == exchange.PHONES[name] and each.payload[1:2] in REPORTS  # type: ignore[misc]
        ), "the phone sent no report"
    call.hangup()
    answered.until_over()
    floor.wait("release")
    floor.exchange.fence()
    scene.check(agency, [call.call_id])
    assert any(packet[29] in RTCP_TYPES for packet in agency.packets(0)), "no RTCP was delivered"
