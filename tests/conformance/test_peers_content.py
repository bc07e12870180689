"""Content of exactly the subject's calls, octet by octet, live: what the agency got against a capture at the tap.

Every test has a stranger's call with as many packets beside the subject's: not one octet of it may arrive.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

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

    def end(self, agency: Delivered, count: int) -> None:
        """BYE when the agency has so many packets: what is not delivered during the call is missed here."""
        agency.until(count)
        self.dialog.bye()

    def check(self, agency: Delivered, count: int) -> None:
        """The delivered packets are those of S's call that passed, each once, and nothing else."""
        got = agency.packets(count)
        passed = agency.captured(lambda each: bool(self.own & {each.source[0], each.destination[0]}))
        missing, strange = passed - got, got - passed
        assert not strange, f"{strange.total()} packets of something else, or twice"
        assert not missing, f"{missing.total()} of {passed.total()} packets are missing"
        assert got.total() == count
        opened = {word for line in self.floor.lines() if line["message"] == "ccOpen" for word in _hex(line)}
        assert agency.channels() <= opened, "content on a channel that was never opened"


def _hex(line: dict[str, object]) -> set[str]:
    from mediation.cli.demo_site import texts

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
    scene.end(agency, SPOKEN + 22)
    scene.check(agency, SPOKEN + 22)
    assert sequence(floor) == ["origination", "ccOpen", "answer", "ccClose", "release"]


def test_nothing_after_the_release(floor: Floor, agency: Delivered) -> None:
    order(floor)
    scene = Scene(floor)
    scene.dialog.connect()
    scene.talk()
    scene.end(agency, SPOKEN)
    floor.wait("release")
    talk(scene.subject, scene.other)  # the sockets talk on, the call is over
    assert agency.packets(SPOKEN).total() == SPOKEN


def test_delayed_offer(floor: Floor, agency: Delivered) -> None:
    order(floor)
    scene = Scene(floor)
    invite = scene.dialog.invite("").reply(180).reply(200, body=sdp(scene.right.address))
    invite.ack(body=sdp(scene.left.address))
    scene.talk()
    scene.end(agency, SPOKEN)
    scene.check(agency, SPOKEN)


def test_early_media_at_one_address_then_the_call_at_another(floor: Floor, agency: Delivered) -> None:
    order(floor)
    scene = Scene(floor)
    announcement = Voice(floor, "right", scene.right, 7000)
    invite = scene.dialog.invite(sdp(scene.left.address)).reply(183, body=sdp(scene.right.address, 7000))
    talk(scene.subject, announcement)
    invite.reply(200, body=sdp(scene.right.address, version=2)).ack()
    scene.talk()
    scene.end(agency, 2 * SPOKEN)
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
    scene.end(agency, 2 * SPOKEN)
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
    scene.end(agency, 2 * SPOKEN)
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
    scene.end(agency, SPOKEN)
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
    agency.until(SPOKEN)
    dialog.bye()
    got = agency.packets(SPOKEN)
    assert got == agency.captured(lambda each: left.address in {each.source[0], each.destination[0]})


def test_media_that_never_comes_is_told(floor: Floor) -> None:
    """Scenario 10: forwarded into another carrier's network; its media never passes here."""
    order(floor)
    left, right = floor.ends("left", "right")
    headers = (f"History-Info: <sip:{floor.subject}@carrier.example>;index=1, "
               f"<sip:{floor.third}@carrier.example;cause=302>;index=1.1",)  # fmt: skip
    dialog = Dialog(left, right, floor.other, floor.subject)
    invite = dialog.invite(sdp("192.0.2.10")).reply(181, headers=headers)
    invite.reply(200, body=sdp("192.0.2.20")).ack()
    floor.wait("ccUnavailable")
    dialog.bye()
    floor.wait("release")


RTCP_TYPES = range(192, 224)  # RFC 5761 §4
UDP_PAYLOAD = 28  # behind an IPv4 header without options
FIRST_PACKET_S = 0.005  # after the 200: no phone is faster
SHORTEST_S = 0.001  # for the kernel's filter to know the call's ports; what comes before is counted there
CALLS = int(os.environ.get("MEDIATION_CALLS", "60"))  # the report's figure is taken with 1,000


def test_many_calls_unanchored(floor: Floor, agency: Delivered) -> None:
    """Every packet of every call of S, one call after the other and a stranger's call inside each."""
    order(floor)
    scene = Scene(floor)
    for number in range(1, CALLS + 1):
        scene.dialog = Dialog(scene.left, scene.right, floor.subject, floor.other).connect()
        time.sleep(FIRST_PACKET_S)  # the phone's own pace, not a wait for an event
        scene.talk()
        scene.end(agency, number * SPOKEN)
    scene.check(agency, CALLS * SPOKEN)
    floor.wait("release", count=CALLS)
    assert floor.received().count("ccOpen") == floor.received().count("ccClose") == CALLS


def test_short_calls(floor: Floor, agency: Delivered) -> None:
    """Over before anybody has looked: nobody waits for the agency, BYE follows the last packet at once."""
    order(floor)
    scene = Scene(floor)
    for _ in range(CALLS):
        scene.dialog = Dialog(scene.left, scene.right, floor.subject, floor.other).connect()
        time.sleep(SHORTEST_S)
        scene.talk()
        scene.dialog.bye()
    floor.wait("release", count=CALLS)
    scene.check(agency, CALLS * SPOKEN)
    told = floor.received()
    assert told.count("ccOpen") == told.count("ccClose") == CALLS
    assert "ccUnavailable" not in told


def test_anchored_in_rtpengine(floor: Floor, agency: Delivered) -> None:
    """Real phones, media through the SBC: every packet passes the tap twice; each is there, none is a stranger's."""
    floor.kamailio.service("anchor", floor.subject, "1")
    floor.kamailio.service("anchor", floor.third, "1")
    subject, other, third, fourth = floor.parties("subject", "alice", "bob", "carol")
    order(floor)
    aside = third.dial(fourth)
    fourth.answers()
    aside.until_up()
    for _ in range(3):
        call = subject.dial(other)
        answered = other.answers()
        call.until_up().until("media", active=True)
        call.do("digits", digits="1")
        answered.until("digit", digit="1")
        call.hangup()
        answered.until_over()
    aside.hangup()
    floor.wait("release", count=3)
    own = {exchange.PHONES["subject"], exchange.PHONES["alice"]}
    floor.exchange.fence()
    got = agency.packets(agency.captured(lambda each: bool(own & {each.source[0], each.destination[0]})).total())
    passed = agency.captured(lambda each: bool(own & {each.source[0], each.destination[0]}))
    strange = got - passed
    assert not strange, f"{strange.total()} packets of something else, or twice"
    near = agency.captured(lambda each: exchange.PHONES["subject"] in {each.source[0], each.destination[0]})
    assert near.total() > 20
    # The relay sends RTP on as it came: what is delivered is either copy of a packet, never none. RTCP it writes anew,
    # and the phones' last reports leave them behind their BYE.
    heard = {packet[UDP_PAYLOAD:] for packet in got}
    voice = [packet[UDP_PAYLOAD:] for packet in near if packet[UDP_PAYLOAD + 1] not in RTCP_TYPES]
    missing = [packet for packet in voice if packet not in heard]
    assert voice
    assert not missing, f"{len(missing)} of {len(voice)} RTP packets at S's side are missing on both sides"
