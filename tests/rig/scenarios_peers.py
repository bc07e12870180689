"""Scenarios with other peers than the exchange's phones: baresip, a back-to-back agent, a browser's WebSocket, HEP3.

The "hep" access point is fed by the SBC itself (siptrace): it must report the same as the two taps.
"""

from __future__ import annotations

from tests.rig import baresip, sippy
from tests.rig.exchange import SBC, Floor
from tests.rig.scenario import IN, OUT, Table
from tests.rig.websocket import WebSocketPhone

BOTH = ("span", "sbc")
ALL = ("span", "sbc", "hep")
scenario = Table()


@scenario("bare-out", "S's phone is baresip: it calls A, sends keys, and hangs up", *OUT, "dialedDgtExtrn 159",
          "release", wants=baresip.possible)  # fmt: skip
def baresip_calls(floor: Floor) -> None:
    phone, other = floor.baresip(), floor.party("alice")
    phone.number(floor.subject, SBC)
    floor.order(dde="on")
    since = phone.dial(floor.other)
    answered = other.rings()
    phone.until_event(since, type="CALL_RINGING")
    answered.do("answer")
    phone.until_event(since, type="CALL_ESTABLISHED")
    answered.until_up().until("media", active=True)
    for digit in "159":
        phone.do("sndcode", digit)
        answered.until("digit", digit=digit)
    floor.wait("dialedDgtExtrn")
    phone.do("hangup")
    answered.until_over()


@scenario("bare-in", "A's phone is baresip: S calls it, A holds, takes back and hangs up", *OUT, "connectionBreak",
          "connection", "release", points=BOTH, wants=baresip.possible)  # fmt: skip
def baresip_is_called(floor: Floor) -> None:
    subject, phone = floor.party("subject"), floor.baresip()
    phone.number(floor.other, SBC)
    floor.order()
    since = phone.mark()
    call = subject.dial(floor.other)
    phone.until_event(since, type="CALL_INCOMING")
    call.until("heard", status=180)
    phone.do("accept")
    call.until_up().until("media", active=True)
    phone.do("hold")
    floor.wait("connectionBreak")
    phone.do("resume")
    floor.wait("connection")
    phone.do("hangup")
    call.until_over()


@scenario("b2bua", "S's call passes sippy's B2BUA behind the SBC: two legs, one call", *OUT, "release", points=BOTH,
          wants=sippy.possible)  # fmt: skip
def back_to_back(floor: Floor) -> None:
    subject, other = floor.parties("subject", "alice")
    floor.kamailio.service("route", floor.other, f"sip:{floor.back_to_back('alice')}")
    floor.order()
    call = subject.dial(other)
    answered = other.answers()
    call.until_up()
    call.hangup()
    answered.until_over()


@scenario("b2bua-in", "A's call to S passes sippy's B2BUA; S hangs up", *IN, "release", points=BOTH,
          wants=sippy.possible)  # fmt: skip
def back_to_back_to_subject(floor: Floor) -> None:
    subject, other = floor.parties("subject", "alice")
    floor.kamailio.service("route", floor.subject, f"sip:{floor.back_to_back('subject')}")
    floor.order()
    call = other.dial(subject)
    answered = subject.answers()
    call.until_up()
    answered.until_up().hangup()
    call.until_over()


@scenario("ws-sbc", "S is a browser (WebSocket to the SBC) and calls A's phone (UDP)", *OUT, "release", points=ALL)
def browser(floor: Floor) -> None:
    other = floor.party("alice")
    floor.order()
    end = floor.end("left")
    with WebSocketPhone(floor.exchange.network.namespace("left"), end.address, SBC, floor.subject) as phone:
        phone.invite(floor.other)
        answered = other.rings()
        phone.until(180, "INVITE")
        answered.do("answer")
        phone.acknowledge(phone.until(200, "INVITE"))
        answered.until_up()
        phone.bye()
        answered.until_over()


@scenario("hep-out", "S calls A; the SBC's HEP3 feed tells the same as the taps", *OUT, "release", points=ALL)
def hep_outgoing(floor: Floor) -> None:
    subject, other = floor.parties("subject", "alice")
    floor.order()
    call = subject.dial(other)
    other.answers()
    call.until_up().hangup()
    call.until_over()


@scenario("hep-in", "A calls S, forwarded to B, by HEP3 too", "termAttempt", "redirection", "answer", "release",
          points=ALL)  # fmt: skip
def hep_forwarded(floor: Floor) -> None:
    _subject, other, third = floor.parties("subject", "alice", "bob")
    floor.order()
    floor.kamailio.service("cfu", floor.subject, floor.third)
    call = other.dial(floor.subject)
    third.answers()
    call.until_up().hangup()
    call.until_over()


@scenario("hep-tcp", "S's phone speaks SIP over TCP, by HEP3 too", *OUT, "release", points=ALL)
def hep_over_tcp(floor: Floor) -> None:
    subject, other = floor.party("subject", transport="tcp"), floor.party("alice")
    floor.order()
    call = subject.dial(other)
    other.answers()
    call.until_up().hangup()
    call.until_over()
