"""Scenarios under an order with content: where CCOpen, CCChange, CCClose and CCUnavailable stand among the others.

Left is the subject S. In a pen register the same calls give the same without any CC message (the other tables). Each
row speaks, so that a channel that is open has something to carry, and asks the agency's own account of it. Octets are
compared in tests/conformance/test_peers_content.py.
"""

from __future__ import annotations

from datetime import UTC, datetime

from mediation.cli.demo.site import texts
from tests.rig.exchange import Floor
from tests.rig.ladder import Dialog, sdp
from tests.rig.media import Voice, talk
from tests.rig.scenario import ALERT, RINGBACK, Table, second_case
from tests.rig.scenarios_dialogs import MEDIA
from tests.rig.scenarios_services import Conference

OUT = ("origination", RINGBACK, "ccOpen", "answer")
IN = ("termAttempt", ALERT, "ccOpen", "answer")
END = ("ccClose", "release")
SPOKEN = 12  # packets of one `talk`: five of RTP and one of RTCP each way
KEY = "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz"
PRINT = "a=fingerprint:sha-256 " + ":".join(["4A"] * 32)
# A phone's first packet may pass before its 200, which opens the channel; then the answer's SDP is a change of it.
EARLY = "ccChange?"
scenario = Table()


def order(floor: Floor, **more: str) -> None:
    floor.order(authority="title3", content="", iap="span", **more)


def delivered(floor: Floor, count: int, case: str | None = None) -> None:
    """Exactly so many packets are with the agency, and it misses none."""
    got = floor.packets(count, case=case)
    if got != count:
        status = floor.site.try_command("status", "--site", str(floor.site.path), "--json").stdout
        raise AssertionError(f"{got} packets of content instead of {count}; {status}")
    assert not any(line["lost"] for line in floor.content(case).values()), "the agency misses packets"


class Talk:
    """S (left) and A (right) with their media; the call is the row's own."""

    def __init__(self, floor: Floor, *, inwards: bool = False) -> None:
        self.floor = floor
        self.left, self.right = floor.ends("left", "right")
        self.subject, self.other = Voice(floor, "left", self.left), Voice(floor, "right", self.right)
        parties = (self.right, self.left, floor.other, floor.subject)
        self.dialog = Dialog(*parties) if inwards else Dialog(self.left, self.right, floor.subject, floor.other)

    def talk(self) -> None:
        talk(self.subject, self.other)


@scenario("1c", "S calls A, both speak, S hangs up", *OUT, *END)
def outgoing(floor: Floor) -> None:
    order(floor)
    call = Talk(floor)
    call.dialog.connect()
    call.talk()
    call.dialog.bye()
    delivered(floor, SPOKEN)


@scenario("1d", "the same, both directions in one channel (combined CCC)", *OUT, *END)
def combined(floor: Floor) -> None:
    order(floor, **{"content-channels": "combined"})
    call = Talk(floor)
    call.dialog.connect()
    call.talk()
    call.dialog.bye()
    delivered(floor, SPOKEN)
    assert len(floor.content()) == 1


@scenario("3c", "S hears an announcement (183 with SDP), it rings, S gives up", "origination", MEDIA, "ccOpen",
          RINGBACK, "ccClose", "release 487")  # fmt: skip
def given_up(floor: Floor) -> None:
    order(floor)
    call = Talk(floor)
    invite = call.dialog.invite().reply(183, body=sdp(call.right.address))
    call.talk()
    invite.reply(180).cancel()
    delivered(floor, SPOKEN)


@scenario("5c", "A calls S, both speak, A hangs up", *IN, *END)
def incoming(floor: Floor) -> None:
    order(floor)
    call = Talk(floor, inwards=True)
    call.dialog.connect()
    call.talk()
    call.dialog.bye()
    delivered(floor, SPOKEN)


@scenario("8c", "A's phone calls S, the SBC forwards all calls to B's phone", "termAttempt", "redirection", "ccOpen",
          "answer", EARLY, *END)  # fmt: skip
def forwarded(floor: Floor) -> None:
    _subject, other, third = floor.parties("subject", "alice", "bob")
    order(floor)
    floor.kamailio.service("cfu", floor.subject, floor.third)
    call = other.dial(floor.subject)
    answered = third.answers()
    call.until_up().until("media", active=True)
    call.do("digits", digits="1")
    answered.until("digit", digit="1")
    call.hangup()
    call.until_over()
    assert floor.packets(1) > 0, "no content of a forwarded call"


@scenario("10", "A calls S, forwarded into another carrier's network; its media never pass here", "termAttempt",
          "redirection", "ccOpen", "answer", "ccUnavailable", *END)  # fmt: skip
def media_elsewhere(floor: Floor) -> None:
    order(floor)
    left, right = floor.ends("left", "right")
    history = f"<sip:{floor.subject}@carrier.example>;index=1,<sip:{floor.third}@carrier.example;cause=302>;index=1.1"
    dialog = Dialog(left, right, floor.other, floor.subject)
    invite = dialog.invite(sdp("192.0.2.10")).reply(181, headers=(f"History-Info: {history}",))
    invite.reply(200, body=sdp("192.0.2.20")).ack()
    floor.wait("ccUnavailable")
    dialog.bye()


@scenario("12c", "S holds A and takes A back", *OUT, "subjectSignal hold", "connectionBreak", "ccChange",
          "subjectSignal retrieve", "connection", "ccChange", *END)  # fmt: skip
def hold(floor: Floor) -> None:
    order(floor)
    call = Talk(floor)
    call.dialog.connect()
    call.talk()
    left, right = call.left.address, call.right.address
    call.dialog.reinvite(sdp(left, direction="sendonly", version=2), sdp(right, direction="recvonly", version=2))
    call.subject.say(call.other)  # music on hold is content of the call too
    call.dialog.reinvite(sdp(left, version=3), sdp(right, version=3))
    call.talk()
    call.dialog.bye()
    delivered(floor, 2 * SPOKEN + SPOKEN // 2)


CONSULTED = (*OUT, "subjectSignal hold", "connectionBreak", "ccChange", *OUT, "origination", "ccOpen", "answer")
MOVED = ("subjectSignal refer", "change", "confPartyChange joined 1", *END)


# CCClose and Release of a call with content wait for its last packets, and later messages of other calls pass them.
@scenario("17c", "S leaves its three-way call; A and B go on, and nothing of that is delivered", *CONSULTED, *MOVED,
          *MOVED, "confPartyChange removed 1", *END, by_time=True)  # fmt: skip
def leaves_three_way(floor: Floor) -> None:
    order(floor)
    room = Conference(floor)
    subject, focus = Voice(floor, "left", room.left, 6004), Voice(floor, "proxy", room.focus, 6100)
    talk(subject, focus)
    room.room.bye()
    floor.wait("release", count=3)
    talk(subject, focus)
    for leg in room.legs:
        leg.bye()
    delivered(floor, SPOKEN)


@scenario("18c", "blind transfer by S: A and B speak without S, and nothing of that is delivered", *OUT,
          "subjectSignal refer", "redirection", *END)  # fmt: skip
def blind_transfer(floor: Floor) -> None:
    order(floor)
    call = Talk(floor)
    call.dialog.connect()
    call.talk()
    third = floor.end("third")
    call.dialog.request("REFER", headers=(f"Refer-To: <sip:{floor.third}@carrier.example>",)).reply(202)
    new = Dialog(call.right, third, floor.other, floor.third, headers=(f"Referred-By: <sip:{floor.subject}@x>",))
    new.connect(sdp(call.right.address, 6200))
    call.dialog.request(
        "NOTIFY", by=call.right, body="SIP/2.0 200 OK\r\n", kind="message/sipfrag;version=2.0",
        headers=("Event: refer", "Subscription-State: terminated;reason=noresource"),
    ).reply(200)  # fmt: skip
    call.dialog.bye()
    talk(Voice(floor, "right", call.right, 6200), Voice(floor, "third", third))
    new.bye()
    delivered(floor, SPOKEN)


@scenario("29c", "S changes the codec in mid-call", *OUT, MEDIA, "ccChange", *END)
def codec_change(floor: Floor) -> None:
    order(floor)
    call = Talk(floor)
    call.dialog.connect()
    call.talk()
    call.dialog.reinvite(sdp(call.left.address, codec=8, version=2), sdp(call.right.address, codec=8, version=2))
    call.talk()
    call.dialog.bye()
    delivered(floor, 2 * SPOKEN)


@scenario("33c", "two agencies on one S, one with content, one with a pen register", *OUT, *END,
          second=("origination", RINGBACK, "answer", "release"))  # fmt: skip
def two_agencies(floor: Floor) -> None:
    order(floor)
    floor.order(second_case(floor), agency="LAB-OTHER-AGENCY", iap="span")
    call = Talk(floor)
    call.dialog.connect()
    call.talk()
    call.dialog.bye()
    floor.wait("release", case=second_case(floor))
    delivered(floor, SPOKEN)
    assert not floor.content(second_case(floor)), "content for a pen register"
    mine = [bytes.fromhex(line["ber"]) for line in floor.lines() if "ber" in line]
    theirs = [bytes.fromhex(line["ber"]) for line in floor.lines(second_case(floor)) if "ber" in line]
    assert not any(second_case(floor).encode() in octets for octets in mine), "one case names the other"
    assert all(second_case(floor).encode() in octets for octets in theirs)


@scenario("34c", "the order ends in mid-call, to the second: nothing of what is said then", *OUT, "ccClose",
          "surveillanceStatus deactivation at span")  # fmt: skip
def order_ends(floor: Floor) -> None:
    end = int(datetime.now(UTC).timestamp()) + 6  # the order and the call are made meanwhile, on a busy machine too
    order(floor, end=datetime.fromtimestamp(end, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
    call = Talk(floor)
    call.dialog.connect()
    call.talk()
    closed = floor.wait("ccClose")
    call.talk()
    call.dialog.bye()
    delivered(floor, SPOKEN)
    assert datetime.fromisoformat(closed["timestamp"]).timestamp() == end, "the end of delivery is not the order's"


# No Origination is made up. What S and A speak is reported from the first description that passes under the order.
@scenario("35c", "the order starts in mid-call; a session refresh shows the media", MEDIA, "ccOpen", *END)
def order_starts(floor: Floor) -> None:
    call = Talk(floor)
    call.dialog.connect()
    call.talk()
    order(floor)
    call.dialog.reinvite(sdp(call.left.address), sdp(call.right.address))
    call.talk()
    call.dialog.bye()
    delivered(floor, SPOKEN)


@scenario("38a", "S's and A's phones encrypt (SRTP, SDES): content, and the keys in CCOpen", *OUT, EARLY, *END)
def keys_in_sdp(floor: Floor) -> None:
    subject, other = floor.party("subject", srtp=True), floor.party("alice", srtp=True)
    order(floor)
    call = subject.dial(other)
    answered = other.answers()
    call.until_up().until("media", active=True)
    call.do("digits", digits="1")
    answered.until("digit", digit="1")
    call.hangup()
    call.until_over()
    floor.wait("release")
    told = {
        text for line in floor.lines() if line["message"] in ("ccOpen", "ccChange") for text in texts(line["fields"])
    }
    assert sum("inline:" in text for text in told) == 2, "the keys of both sides were not told"
    assert floor.packets(1) > 0, "no content"


@scenario("38b", "DTLS-SRTP: nobody but the ends has the keys", "origination", RINGBACK, "ccUnavailable", "answer",
          "release")  # fmt: skip
def no_keys(floor: Floor) -> None:
    order(floor)
    call = Talk(floor)
    profile = {"profile": "UDP/TLS/RTP/SAVP", "lines": (PRINT, "a=setup:actpass")}
    call.dialog.connect(sdp(call.left.address, **profile), sdp(call.right.address, **profile))  # type: ignore[arg-type]
    call.talk()
    call.dialog.bye()
    floor.wait("release")
    assert not floor.content(), "content that nobody can read"


@scenario("38c", "SRTP with a key, exact ladder: the encrypted packets as they passed", *OUT, *END)
def keyed_ladder(floor: Floor) -> None:
    order(floor)
    call = Talk(floor)
    profile = {"profile": "RTP/SAVP", "lines": (KEY,)}
    call.dialog.connect(sdp(call.left.address, **profile), sdp(call.right.address, **profile))  # type: ignore[arg-type]
    call.talk()
    call.dialog.bye()
    delivered(floor, SPOKEN)
    assert sum("inline:" in text for text in texts(floor.wait("ccOpen")["fields"])) == 2
