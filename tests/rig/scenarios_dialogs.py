"""Scenarios of INVITE dialogs that no phone can be made to show at will: ladders, message by message.

Left is the subject S unless said otherwise; the others are strangers. Expected sequences follow the definitions of the
T1.678 messages: what was asked and refused is no event of the call, what changes nothing gives no message.
"""

from __future__ import annotations

from mediation.cli.demo.site import texts
from tests.rig.exchange import Floor
from tests.rig.ladder import Dialog, End, sdp
from tests.rig.scenario import ALERT, IN, OUT, RINGBACK, Table

MEDIA = "mediaAndAddressReporting"
scenario = Table()


def outgoing(floor: Floor, **more: object) -> tuple[End, End, Dialog]:
    """S on the left calls A on the right, with an order."""
    floor.order()
    left, right = floor.ends("left", "right")
    return left, right, Dialog(left, right, floor.subject, floor.other, **more)  # type: ignore[arg-type]


@scenario("early", "183 with media at one address, then 200 with media at another", "origination", MEDIA, "answer",
          "release")  # fmt: skip
def early_media(floor: Floor) -> None:
    left, right, dialog = outgoing(floor)
    invite = dialog.invite(sdp(left.address)).reply(183, body=sdp("10.79.23.99", 7000))
    invite.reply(200, body=sdp(right.address, 8000, version=2)).ack()
    dialog.bye()


@scenario("earlies", "three early dialogs of one INVITE, the last answers", "origination", RINGBACK, "answer",
          "release of a leg", "release of a leg", "release")  # fmt: skip
def early_dialogs(floor: Floor) -> None:
    left, right, dialog = outgoing(floor)
    invite = dialog.invite(sdp(left.address))
    invite.reply(180, tag="one").reply(180, tag="two").reply(180, tag="three")
    invite.reply(200, body=sdp(right.address), tag="three").ack()
    dialog.bye()


@scenario("forkmedia", "two 183 of two forks, each with media, a third fork answers", "origination", MEDIA, MEDIA,
          "answer", "release of a leg", "release of a leg", "release")  # fmt: skip
def early_media_of_forks(floor: Floor) -> None:
    left, right, dialog = outgoing(floor)
    invite = dialog.invite(sdp(left.address)).reply(183, tag="one", body=sdp("10.79.23.98", 7000))
    invite.reply(183, tag="two", body=sdp("10.79.23.99", 7000))
    invite.reply(200, body=sdp(right.address), tag="three").ack()
    dialog.bye()


@scenario("glare", "both ask for hold at once and are refused with 491; S asks again", *OUT, "subjectSignal hold",
          "connectionBreak", "release")  # fmt: skip
def glare(floor: Floor) -> None:
    left, right, dialog = outgoing(floor)
    dialog.connect()
    held = sdp(left.address, direction="sendonly", version=2)
    own = dialog.request("INVITE", body=held)
    theirs = dialog.request("INVITE", by=right, body=sdp(right.address, direction="sendonly", version=2))
    own.reply(491).ack(refused=True)
    theirs.reply(491).ack(refused=True)
    dialog.reinvite(held, sdp(right.address, direction="recvonly", version=2))
    dialog.bye()


@scenario("refused", "S's re-INVITE to another codec is refused with 488", *OUT, "release")
def refused_change(floor: Floor) -> None:
    left, _right, dialog = outgoing(floor)
    dialog.connect()
    dialog.request("INVITE", body=sdp(left.address, 6200, codec=8, version=2)).reply(488).ack(refused=True)
    dialog.bye()


@scenario("timers", "session timer (RFC 4028): refresh by UPDATE and by re-INVITE, nothing changes", *OUT, "release")
def session_timers(floor: Floor) -> None:
    left, right, dialog = outgoing(floor, headers=("Supported: timer", "Session-Expires: 90;refresher=uac"))
    dialog.connect()
    timer = ("Session-Expires: 90;refresher=uac",)
    dialog.request("UPDATE", headers=timer).reply(200, headers=timer)
    dialog.reinvite(sdp(left.address), sdp(right.address), headers=timer)
    dialog.bye()


@scenario("nosdp", "re-INVITE without SDP; both describe what they had", *OUT, "release")
def empty_reinvite(floor: Floor) -> None:
    left, right, dialog = outgoing(floor)
    dialog.connect()
    dialog.request("INVITE").reply(200, body=sdp(right.address)).ack(body=sdp(left.address))
    dialog.bye()


@scenario("moved", "A moves its media by UPDATE in mid-call", *OUT, MEDIA, "release")
def moved_by_update(floor: Floor) -> None:
    left, right, dialog = outgoing(floor)
    dialog.connect()
    update = dialog.request("UPDATE", by=right, body=sdp("10.79.23.97", 9000, version=2))
    update.reply(200, body=sdp(left.address))
    dialog.bye()


@scenario("queued", "A's switch queues S's call (182)", "origination", "networkSignal other", "answer", "release")
def queued(floor: Floor) -> None:
    _left, right, dialog = outgoing(floor)
    dialog.invite().reply(182).reply(200, body=sdp(right.address)).ack()
    dialog.bye()


@scenario("replaces", "B takes over S's call with A: INVITE with Replaces to S (RFC 3891)", *OUT, "termAttempt",
          "answer", "change", "release", "release")  # fmt: skip
def replaces(floor: Floor) -> None:
    left, right, dialog = outgoing(floor)
    third = floor.end("third")
    dialog.connect()
    names = f"{dialog.call_id};to-tag={dialog.tag(left)};from-tag={dialog.tag(right)}"
    taking = Dialog(third, left, floor.third, floor.subject, headers=(f"Replaces: {names}",))
    taking.invite().reply(200, body=sdp(left.address, 6002)).ack()
    dialog.bye()
    taking.bye()


# The phone mixes the calls and does not ring (RFC 3911 §4), so there is no call waiting.
@scenario("join", "B joins S's call with A: INVITE with Join to S (RFC 3911)", *OUT, "termAttempt", "answer",
          "change", "confPartyChange joined 1", "release", "release")  # fmt: skip
def join(floor: Floor) -> None:
    left, right, dialog = outgoing(floor)
    third = floor.end("third")
    dialog.connect()
    names = f"{dialog.call_id};to-tag={dialog.tag(left)};from-tag={dialog.tag(right)}"
    joining = Dialog(third, left, floor.third, floor.subject, headers=(f"Join: {names}",))
    joining.invite().reply(200, body=sdp(left.address, 6002)).ack()
    joining.bye()
    dialog.bye()


@scenario("18x", "blind transfer by S, refused by A (603)", *OUT, "subjectSignal refer", "release")
def transfer_refused(floor: Floor) -> None:
    _left, _right, dialog = outgoing(floor)
    dialog.connect()
    dialog.request("REFER", headers=(f"Refer-To: <sip:{floor.third}@carrier.example>",)).reply(603)
    dialog.bye()


@scenario("18y", "A asks S's phone to call B (REFER to S)", *OUT, "networkSignal refer", "release")
def referred(floor: Floor) -> None:
    left, right, dialog = outgoing(floor)
    dialog.connect()
    refer = dialog.request("REFER", by=right, headers=(f"Refer-To: <sip:{floor.third}@carrier.example>",))
    refer.reply(603)
    dialog.bye()
    assert left.address != right.address


@scenario("anonymous", "an anonymous caller whom nobody asserts", *IN, "release")
def anonymous(floor: Floor) -> None:
    floor.order()
    left, right = floor.ends("left", "right")
    Dialog(
        left, right, "sip:anonymous@anonymous.invalid", floor.subject, headers=("Privacy: id",),
        from_header='"Anonymous" <sip:anonymous@anonymous.invalid>',
    ).connect().bye()  # fmt: skip


def _two_legs(floor: Floor, *marks: str) -> None:
    """S's call passes a back-to-back agent that gives it another Call-ID; `marks` are headers that it leaves."""
    floor.order()
    left, switch_, right = floor.ends("left", "proxy", "right")
    first = Dialog(left, switch_, floor.subject, floor.other, headers=marks)
    second = Dialog(switch_, right, floor.subject, floor.other, headers=marks)
    offer, answer = sdp(left.address), sdp(right.address)
    incoming = first.invite(offer).reply(100)
    further = second.invite(offer).reply(180)
    incoming.reply(180)
    further.reply(200, body=answer).ack()
    incoming.reply(200, body=answer).ack()
    bye = first.request("BYE")
    second.bye()
    bye.reply(200)


@scenario("b2b-a", "two legs with other Call-IDs, one Session-ID (RFC 7989)", *OUT, "release")
def same_session(floor: Floor) -> None:
    _two_legs(floor, "Session-ID: ab30317f1a784dc48ff824d0d3715d86;remote=47755a9de7794ba387653f2099600ef2")


@scenario("b2b-b", "two legs with other Call-IDs, one icid (RFC 7315)", *OUT, "release")
def same_charge(floor: Floor) -> None:
    _two_legs(floor, "P-Charging-Vector: icid-value=1234bc9876e;icid-generated-at=192.0.6.8;orig-ioi=home1.example")


@scenario("b2b-c", "two legs with other Call-IDs, told by media and time", *OUT, "release")
def same_media(floor: Floor) -> None:
    _two_legs(floor)


def _forwarded(floor: Floor, *headers: str) -> None:
    """A call that reaches B and names S in a header alone: the forwarding happened elsewhere."""
    floor.order()
    left, right = floor.ends("left", "right")
    Dialog(left, right, floor.other, floor.third, headers=headers).connect().bye()
    line = floor.wait("redirection")
    assert floor.third[1:] in " ".join(texts(line["fields"])), "to whom the call went is missing"


@scenario("diversion", "S stands only in Diversion (RFC 5806)", "termAttempt", "redirection", "answer", "release")
def only_in_diversion(floor: Floor) -> None:
    _forwarded(floor, f"Diversion: <sip:{floor.subject}@carrier.example>;reason=unconditional;counter=1")


@scenario("history", "S stands only in History-Info (RFC 7044)", "termAttempt", "redirection", "answer", "release")
def only_in_history(floor: Floor) -> None:
    _forwarded(
        floor, f"History-Info: <sip:{floor.subject}@carrier.example>;index=1,"
        f"<sip:{floor.third}@carrier.example;cause=302>;index=1.1",
    )  # fmt: skip


@scenario("called", "S stands only in P-Called-Party-ID (RFC 7315)", *IN, "release")
def only_in_called_party(floor: Floor) -> None:
    floor.order()
    left, right = floor.ends("left", "right")
    Dialog(
        left, right, floor.other, "sip:office@carrier.example", target=f"sip:line7@{right.address}",
        headers=(f"P-Called-Party-ID: <sip:{floor.subject}@carrier.example>",),
    ).connect().bye()  # fmt: skip


@scenario("from", "S stands only in From", *OUT, "release")
def only_in_from(floor: Floor) -> None:
    _left, _right, dialog = outgoing(floor)
    dialog.connect().bye()


@scenario("35a", "the order starts in mid-call; nothing but BYE follows", "release")
def starts_in_mid_call(floor: Floor) -> None:
    left, right = floor.ends("left", "right")
    dialog = Dialog(left, right, floor.subject, floor.other)
    dialog.connect()
    floor.order()
    dialog.bye()


@scenario("35b", "the order starts in mid-call; S holds A, takes A back, hangs up", "subjectSignal hold",
          "connectionBreak", "subjectSignal retrieve", "connection", "release")  # fmt: skip
def starts_before_hold(floor: Floor) -> None:
    left, right = floor.ends("left", "right")
    dialog = Dialog(left, right, floor.subject, floor.other)
    dialog.connect()
    floor.order()
    held = sdp(left.address, direction="sendonly", version=2), sdp(right.address, direction="recvonly", version=2)
    dialog.reinvite(*held)
    dialog.reinvite(sdp(left.address, version=3), sdp(right.address, version=3))
    dialog.bye()


@scenario("v6", "the same over IPv6, S called, with hold by A", *IN, "connectionBreak", "connection", "release")
def ipv6(floor: Floor) -> None:
    floor.order()
    left, right = floor.ends("left", "right", ipv6=True)
    dialog = Dialog(left, right, floor.other, floor.subject).connect()
    dialog.reinvite(sdp(left.address, direction="sendonly", version=2), sdp(right.address, direction="recvonly"))
    dialog.reinvite(sdp(left.address, version=3), sdp(right.address))
    dialog.bye()


@scenario("alert", "A's call to S rings twice (180 repeated): one signal", "termAttempt", ALERT, "answer", "release")
def rings_twice(floor: Floor) -> None:
    floor.order()
    left, right = floor.ends("left", "right")
    dialog = Dialog(left, right, floor.other, floor.subject)
    dialog.invite().reply(180).reply(180).reply(200, body=sdp(right.address)).ack()
    dialog.bye()
