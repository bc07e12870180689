"""Scenarios beside plain calls: registration, message waiting, feature codes, emergency, conferences, three agencies.

Left is the subject S unless said otherwise. Conferences are those of RFC 4579: a focus in the network, to which S
refers its calls; who is in it, the focus says itself (RFC 4575).
"""

from __future__ import annotations

from tests.rig.exchange import Floor
from tests.rig.ladder import Dialog, End, sdp
from tests.rig.scenario import OUT, RINGBACK, Table, second_case

scenario = Table()


@scenario("24", "S's phone makes its own dial tone and sends nothing; then it calls", *OUT, "release")
def dial_tone(floor: Floor) -> None:
    floor.order()
    left, right = floor.ends("left", "right")
    assert not floor.lines() or all("networkSignal" not in text for text in floor.received())
    Dialog(left, right, floor.subject, floor.other).connect().bye()


def _summary(floor: Floor, subject: End, server: End, waiting: str) -> Dialog:
    dialog = Dialog(server, subject, "sip:vm@carrier.example", floor.subject)
    body = f"Messages-Waiting: {waiting}\r\nMessage-Account: sip:vm@carrier.example\r\nVoice-Message: 2/8 (0/2)\r\n"
    dialog.first(
        "NOTIFY", body=body, kind="application/simple-message-summary",
        headers=("Event: message-summary", "Subscription-State: active;expires=3600"),
    ).reply(200)  # fmt: skip
    return dialog


@scenario("25", "S subscribes to its mailbox; messages wait (NOTIFY, RFC 3842)", "networkSignal messageWaitingNotif")
def message_waiting(floor: Floor) -> None:
    floor.order()
    left, right = floor.ends("left", "right")
    asking = Dialog(left, right, floor.subject, "sip:vm@carrier.example")
    asking.first("SUBSCRIBE", headers=("Event: message-summary", "Expires: 3600")).reply(
        200, headers=("Expires: 3600",)
    )
    _summary(floor, left, right, "yes")


@scenario("25b", "MWI without a subscription, then the same state again", "networkSignal messageWaitingNotif")
def message_waiting_unasked(floor: Floor) -> None:
    floor.order()
    left, right = floor.ends("left", "right")
    _summary(floor, left, right, "yes")
    _summary(floor, left, right, "yes")


def _code(floor: Floor, dialed: str) -> None:
    """S dials a code; the switch accepts, plays its tone and hangs up."""
    floor.order()
    left, right = floor.ends("left", "right")
    dialog = Dialog(left, right, floor.subject, dialed)
    dialog.invite().reply(100).reply(200, body=sdp(right.address)).ack()
    dialog.bye(by=right)


@scenario("26a", "S dials *72 and a number: forwarding on", "subjectSignal dialedDigits *72+",
          "featureManagement activation Call_Forwarding_Variable")  # fmt: skip
def forwarding_on(floor: Floor) -> None:
    _code(floor, f"*72{floor.third[2:]}")


@scenario("26b", "S dials *73: forwarding off", "subjectSignal dialedDigits *73",
          "featureManagement deactivation Call_Forwarding_Variable")  # fmt: skip
def forwarding_off(floor: Floor) -> None:
    _code(floor, "*73")


@scenario("27a", "S dials *69: return call", "subjectSignal dialedDigits *69", *OUT, "release")
def return_call(floor: Floor) -> None:
    floor.order()
    left, right = floor.ends("left", "right")
    Dialog(left, right, floor.subject, "*69").connect().bye()


@scenario("27b", "S dials *66: repeat call", "subjectSignal dialedDigits *66", *OUT, "release")
def repeat_call(floor: Floor) -> None:
    floor.order()
    left, right = floor.ends("left", "right")
    Dialog(left, right, floor.subject, "*66").connect().bye()


def _emergency(floor: Floor, called: str) -> None:
    floor.order()
    left, right = floor.ends("left", "right")
    Dialog(left, right, floor.subject, called).connect().bye()


@scenario("28a", "S calls 911", *OUT, "release")
def emergency(floor: Floor) -> None:
    _emergency(floor, "911")


@scenario("28b", "S calls 911 as a service URN (RFC 5031)", *OUT, "release")
def emergency_urn(floor: Floor) -> None:
    _emergency(floor, "urn:service:sos")


@scenario("28c", "S calls 988", *OUT, "release")
def lifeline(floor: Floor) -> None:
    _emergency(floor, "988")


def _register(floor: Floor, subject: End, registrar: End, expires: int, dialog: Dialog | None = None) -> Dialog:
    dialog = dialog or Dialog(subject, registrar, floor.subject, floor.subject, target="sip:carrier.example")
    contact = f"Contact: <sip:line@{subject.address}:5060>;expires={expires}"
    dialog.first("REGISTER", headers=(contact,)).reply(200, headers=(contact,))
    return dialog


@scenario("31b", "S registers for a second and is not heard of again", "servingSystem registration",
          "servingSystem deregistration")  # fmt: skip
def registration_expires(floor: Floor) -> None:
    floor.order()
    _register(floor, *floor.ends("left", "right"), 1)
    floor.wait("servingSystem deregistration")


@scenario("31c", "S's REGISTER is refused: reported with its failure", "servingSystem registration")
def registration_refused(floor: Floor) -> None:
    floor.order()
    left, right = floor.ends("left", "right")
    dialog = Dialog(left, right, floor.subject, floor.subject, target="sip:carrier.example")
    dialog.first("REGISTER", headers=(f"Contact: <sip:line@{left.address}:5060>;expires=60",)).reply(503)
    assert floor.wait("servingSystem")["fields"].get("failureReason"), "why it failed is missing"


@scenario("publish", "S publishes its presence (RFC 3903): nothing of a call")
def publish(floor: Floor) -> None:
    floor.order()
    left, right = floor.ends("left", "right")
    Dialog(left, right, floor.subject, floor.subject).first(
        "PUBLISH", body="<presence/>", kind="application/pidf+xml", headers=("Event: presence", "Expires: 3600")
    ).reply(200)


@scenario("click", "REFER outside of any dialog, by S (click to dial)", "subjectSignal refer")
def referred_outside(floor: Floor) -> None:
    floor.order()
    left, right = floor.ends("left", "right")
    Dialog(left, right, floor.subject, floor.other).first(
        "REFER", headers=(f"Refer-To: <sip:{floor.third}@carrier.example>",)
    ).reply(202)


@scenario("message-in", "a stranger's MESSAGE to S, pen register: no text", "directSignalReporting")
def message_to_subject(floor: Floor) -> None:
    floor.order()
    left, right = floor.ends("left", "right")
    Dialog(left, right, floor.other, floor.subject).first("MESSAGE", body="bring the box", kind="text/plain").reply(200)
    floor.wait("directSignalReporting")
    assert not any(b"bring the box" in bytes.fromhex(line["ber"]) for line in floor.lines()), "text in a pen register"


@scenario("message-t3", "the same under a content order", "uuContent")
def message_with_content(floor: Floor) -> None:
    floor.order(authority="title3", content="")
    left, right = floor.ends("left", "right")
    Dialog(left, right, floor.other, floor.subject).first("MESSAGE", body="bring the box", kind="text/plain").reply(200)
    floor.wait("uuContent")
    assert any(b"bring the box" in bytes.fromhex(line["ber"]) for line in floor.lines()), "the text is missing"


class Conference:
    """S (left) talks to A (right) and B (third) through a focus in the network (proxy)."""

    def __init__(self, floor: Floor) -> None:
        self.floor = floor
        self.left, self.right, self.third, self.focus = floor.ends("left", "right", "third", "proxy")
        self.first = Dialog(self.left, self.right, floor.subject, floor.other).connect()
        self._hold(self.first, self.right)
        self.second = Dialog(self.left, self.third, floor.subject, floor.third).connect()
        self.room = Dialog(self.left, self.focus, floor.subject, "sip:conf-factory@carrier.example")
        contact = f"Contact: <sip:conf=77@{self.focus.address}:5060>;isfocus"
        invite = self.room.invite(sdp(self.left.address, 6004)).reply(100)
        invite.reply(200, body=sdp(self.focus.address, 6100), headers=(contact,)).ack()
        self.version = 0
        self.legs = [
            self._moved(self.first, self.right, floor.other),
            self._moved(self.second, self.third, floor.third),
        ]

    def _hold(self, dialog: Dialog, other: End) -> None:
        dialog.reinvite(
            sdp(self.left.address, direction="sendonly", version=2), sdp(other.address, direction="recvonly", version=2)
        )

    def _moved(self, old: Dialog, end: End, number: str) -> Dialog:
        """S refers the focus to the other end of a call, which the focus takes over (RFC 4579 §5.6)."""
        names = f"{old.call_id}%3Bto-tag%3D{old.tag(end)}%3Bfrom-tag%3D{old.tag(self.left)}"
        refer_to = f"Refer-To: <sip:{number}@carrier.example?Replaces={names}>"
        self.room.request(
            "REFER", headers=(refer_to, f"Referred-By: <sip:{self.floor.subject}@carrier.example>")
        ).reply(202)
        taken = Dialog(
            self.focus, end, "sip:conf=77@carrier.example", number,
            headers=(f"Replaces: {old.call_id};to-tag={old.tag(end)};from-tag={old.tag(self.left)}",),
        )  # fmt: skip
        taken.invite(sdp(self.focus.address, 6102)).reply(200, body=sdp(end.address)).ack()
        old.bye(by=end)
        done = self.room.request(
            "NOTIFY", by=self.focus, body="SIP/2.0 200 OK\r\n", kind="message/sipfrag;version=2.0",
            headers=("Event: refer", "Subscription-State: terminated;reason=noresource"),
        )  # fmt: skip
        done.reply(200)
        return taken


CONSULTED = (*OUT, "subjectSignal hold", "connectionBreak", *OUT)
MIXED = ("change", "confPartyChange joined 1", "release")
LEFT = ("confPartyChange removed 1", "release")  # S itself leaves the conference


@scenario("15", "three-way call of S through a focus: A, then B, are moved there", *CONSULTED, "origination", "answer",
          "subjectSignal refer", *MIXED, "subjectSignal refer", *MIXED, *LEFT)  # fmt: skip
def three_way(floor: Floor) -> None:
    floor.order()
    room = Conference(floor)
    for leg in room.legs:
        leg.bye()
    room.room.bye()


@scenario("16", "S drops the party added last", *CONSULTED, "origination", "answer", "subjectSignal refer", *MIXED,
          "subjectSignal refer", *MIXED, "subjectSignal refer", "connectionBreak dropped", "confPartyChange removed 1",
          *LEFT)  # fmt: skip
def drop_last(floor: Floor) -> None:
    floor.order()
    room = Conference(floor)
    refer_to = f"Refer-To: <sip:{floor.third}@carrier.example;method=BYE>"
    room.room.request("REFER", headers=(refer_to,)).reply(202)
    room.legs[1].bye()
    room.room.request(
        "NOTIFY", by=room.focus, body="SIP/2.0 200 OK\r\n", kind="message/sipfrag;version=2.0",
        headers=("Event: refer", "Subscription-State: terminated;reason=noresource"),
    ).reply(200)  # fmt: skip
    room.room.bye()
    room.legs[0].bye()


@scenario("17", "S leaves the three-way call, A and B go on", *CONSULTED, "origination", "answer",
          "subjectSignal refer", *MIXED, "subjectSignal refer", *MIXED, *LEFT)  # fmt: skip
def leaves_three_way(floor: Floor) -> None:
    floor.order()
    room = Conference(floor)
    room.room.bye()
    floor.wait("release", count=3)
    for leg in room.legs:
        leg.bye()


@scenario("waiting", "B's call waits and gives up while S talks to A", *OUT, "termAttempt",
          "networkSignal callWaitingPattern1", "release 487", "release")  # fmt: skip
def waiting_gives_up(floor: Floor) -> None:
    floor.order()
    left, right, third = floor.ends("left", "right", "third")
    talk = Dialog(left, right, floor.subject, floor.other).connect()
    Dialog(third, left, floor.third, floor.subject).invite().reply(180).cancel()
    talk.bye()


@scenario("33b", "one S under two cases of two agencies and another authority", "origination", RINGBACK, "answer",
          "release", second=(*OUT, "release"))  # fmt: skip
def two_agencies(floor: Floor) -> None:
    floor.order(authority="trap-and-trace")
    floor.order(second_case(floor), agency="LAB-OTHER-AGENCY")
    left, right = floor.ends("left", "right")
    Dialog(left, right, floor.subject, floor.other).connect().bye()
    floor.wait("release", case=second_case(floor))
