"""The live acceptance scenarios: who does what, and the messages that the agency must then get, in order.

Numbers are those of docs/CONFORMANCE.md. Each scenario is one function that places its call with real clients; the
table `scenario` has the order of the functions. S is the subject, A and B are others.
"""

from __future__ import annotations

import time

from mediation.cli.demo.media import Speech
from mediation.cli.demo.sipp import Called, Caller, session
from mediation.cli.demo.site import texts
from tests.rig.forwarder import Diversion
from tests.rig.scenario import ALERT, IN, OUT, RINGBACK, Table, second_case
from tests.rig.stage import Stage

ENDED = ("surveillanceStatus deactivation at span", "surveillanceStatus deactivation at trunk")  # each point its own

scenario = Table()


def usual() -> Called:
    return Called().ring().answer().released()


@scenario("1", "S calls A, answered, S hangs up", *OUT, "release")
def outgoing(stage: Stage) -> None:
    stage.order()
    stage.call(stage.out().connected().bye(), usual())
    start, answer = stage.wait("origination"), stage.wait("answer")
    assert stage.other[1:] in " ".join(texts(start["fields"])), "the number that S called is missing"
    assert start["timestamp"] < answer["timestamp"]


@scenario("2", "S calls A, busy", "origination", "networkSignal busyTone", "release 486")
def busy(stage: Stage) -> None:
    stage.order()
    stage.call(stage.out().invite().expect(486).ack(refused=True), Called().receive("INVITE").refuse(486))


@scenario("3", "S calls A, no answer, S gives up", "origination", RINGBACK, "release 487")
def no_answer(stage: Stage) -> None:
    stage.order()
    stage.call(stage.out().invite().ringing().cancel(), Called().ring().cancelled())


@scenario("4", "S calls a number that does not exist", "origination", "networkSignal specialInfoTone", "release 404")
def unknown_number(stage: Stage) -> None:
    stage.order()
    stage.call(stage.out().invite().expect(404).ack(refused=True), Called().receive("INVITE").refuse(404))


@scenario("5", "A calls S, answered", *IN, "release")
def incoming(stage: Stage) -> None:
    stage.order()
    stage.call(stage.into(name="Alice Example").connected().bye(), usual())


@scenario("6a", "A calls S, A gives up", "termAttempt", ALERT, "release 487")
def incoming_unanswered(stage: Stage) -> None:
    stage.order()
    stage.call(stage.into().invite().ringing().cancel(), Called().ring().cancelled())


@scenario("6b", "A calls S in the national form, S declines", "termAttempt", ALERT, "release 603")
def incoming_rejected(stage: Stage) -> None:
    stage.order()
    national = stage.subject.removeprefix("+1")
    stage.call(stage.into(national).invite().ringing().expect(603).ack(refused=True), Called().ring().refuse(603))


@scenario("7", "A calls S and withholds its number", *IN, "release")
def withheld(stage: Stage) -> None:
    stage.order()
    caller = stage.into(
        from_='"Anonymous" <sip:anonymous@anonymous.invalid>',
        headers=("Privacy: id", f"P-Asserted-Identity: <sip:{stage.other}@carrier.example>"),
    )
    stage.call(caller.connected().bye(), usual())
    known = " ".join(texts(stage.wait("termAttempt")["fields"]))
    assert stage.other[1:] in known, "the network-asserted number of the caller is missing"


@scenario("8", "A calls S, all calls of S go to B", "termAttempt", "redirection", "answer", "release")
def forward_unconditional(stage: Stage) -> None:
    stage.order()
    with stage.proxy(Diversion("unconditional", stage.third)) as proxy:
        caller = stage.into().invite().expect(100, optional=True).expect(181).expect(180).expect(200).ack().bye()
        stage.call(caller, None, third=usual(), remote=proxy)
    assert stage.third[1:] in " ".join(texts(stage.wait("redirection")["fields"]))


@scenario("9a", "A calls S, busy, forwarded to B", "termAttempt", "redirection", "answer", "release")
def forward_busy(stage: Stage) -> None:
    stage.order()
    with stage.proxy(Diversion("busy", stage.third)) as proxy:
        caller = stage.into().invite().expect(100, optional=True).expect(181).expect(180).expect(200).ack().bye()
        stage.call(caller, Called().receive("INVITE").refuse(486), third=usual(), remote=proxy)
    assert stage.third[1:] in " ".join(texts(stage.wait("redirection")["fields"]))


@scenario("9b", "A calls S, no answer, forwarded to B", "termAttempt", ALERT, "redirection", "answer", "release")
def forward_no_answer(stage: Stage) -> None:
    stage.order()
    with stage.proxy(Diversion("no-answer", stage.third)) as proxy:
        caller = stage.into().invite().expect(180).expect(181).expect(180).expect(200).ack().bye()
        stage.call(caller, Called().ring().cancelled(), third=usual(), remote=proxy)


def _hold(caller: Caller, called: Called) -> tuple[Caller, Called]:
    """The caller holds the called party and takes it back."""
    caller.connected().reinvite(session(direction="sendonly", version=2)).reinvite(session(version=3)).bye()
    called.ring().answer().accept(session(direction="recvonly", version=2)).accept(session(version=3)).released()
    return caller, called


@scenario("12", "S holds A and takes A back", *OUT, "subjectSignal hold", "connectionBreak",
          "subjectSignal retrieve", "connection", "release")  # fmt: skip
def hold(stage: Stage) -> None:
    stage.order()
    stage.call(*_hold(stage.out(), Called()))


@scenario("13", "A holds S and takes S back", *IN, "connectionBreak", "connection", "release")
def held(stage: Stage) -> None:
    stage.order()
    stage.call(*_hold(stage.into(), Called()))


@scenario("20a", "S presses keys after the answer, extraction on", *OUT, "dialedDgtExtrn 1123#", "release")
def digits_on(stage: Stage) -> None:
    stage.order(dde="on")
    stage.call(stage.out().connected().play(*stage.keys("1123#")).bye(), usual())


@scenario("20b", "S presses keys after the answer, extraction off", *OUT, "release")
def digits_off(stage: Stage) -> None:
    stage.order(dde="off")
    stage.call(stage.out().connected().play(*stage.keys("1123#")).bye(), usual())


@scenario("20c", "extraction switched on and off again in mid-call", *OUT, "dialedDgtExtrn 22#", "release")
def digits_toggled(stage: Stage) -> None:
    stage.order(dde="off")
    caller = stage.out().connected().play(*stage.keys("11#")).mark().gate().play(*stage.keys("22#")).gate()
    with stage.running(caller.play(*stage.keys("33#")).bye(), usual()) as call:
        assert call.until_mark(), "the first keys were not played"
        stage.site.case("dde", stage.case, "on")
        call.open_gate()
        stage.wait("dialedDgtExtrn")
        stage.site.case("dde", stage.case, "off")
        call.open_gate()


@scenario("20d", "33 keys are split at 32", *OUT, "dialedDgtExtrn " + "1234567890123456" * 2, "dialedDgtExtrn 7",
          "release")  # fmt: skip
def digits_many(stage: Stage) -> None:
    stage.order(dde="on")
    keys = stage.keys("1234567890123456" * 2 + "7", frames=1, gap=0)
    stage.call(stage.out().connected().play(*keys).bye(), usual())


@scenario("20e", "S, called, presses keys; event payload type 120", *IN, "dialedDgtExtrn 45", "release")
def digits_called(stage: Stage) -> None:
    stage.order(dde="on")
    voice = Speech(ssrc=0x9120, events=120)
    keys = stage.speech([*voice.silence(2), *voice.keys("45")])
    caller = stage.into().invite(session(events=120)).ringing().expect(200).ack().gate().bye()
    called = Called().ring().answer(session(events=120)).play(*keys).released()
    with stage.running(caller, called) as call:
        stage.wait("dialedDgtExtrn")
        call.open_gate()


@scenario("21", "one key, both as RFC 4733 and as INFO", *OUT, "dialedDgtExtrn 5", "release")
def digit_twice(stage: Stage) -> None:
    stage.order(dde="on")
    stage.call(
        stage.out().connected().play(*stage.keys("5")).info("5").bye(),
        Called().ring().answer().receive("INFO").reply(200).released(),
    )


@scenario("22", "one key, two of its three end packets lost", *OUT, "dialedDgtExtrn 9", "release")
def digit_end_lost(stage: Stage) -> None:
    stage.order(dde="on")
    stage.call(stage.out().connected().play(*stage.keys("9", ends=1)).bye(), usual())


@scenario("23", "A presses keys, not S", *IN, "release")
def digits_of_other(stage: Stage) -> None:
    stage.order(dde="on")
    stage.call(stage.into().connected().play(*stage.keys("1123#")).bye(), usual())


@scenario("29", "S changes the codec in mid-call", *OUT, "mediaAndAddressReporting", "release")
def codec_change(stage: Stage) -> None:
    stage.order()
    stage.call(
        stage.out().connected().reinvite(session(codec=8, version=2)).bye(),
        Called().ring().answer().accept(session(codec=8, version=2)).released(),
    )


@scenario("30", "S's call forks: two 180s, one 200", *OUT, "release of a leg", "release")
def forked(stage: Stage) -> None:
    stage.order()
    stage.call(
        stage.out().invite().ringing().expect(180).expect(200).ack().bye(),
        Called().receive("INVITE").reply(180, tag="a").reply(180, tag="d").answer().released(),
    )


@scenario("33", "two agencies' orders on one S, each by its own authority", *OUT, "release", second=(*OUT, "release"))
def two_cases(stage: Stage) -> None:
    stage.order(authority="title3")
    stage.order(second_case(stage), agency="LAB-OTHER-AGENCY")
    stage.call(stage.out().connected().bye(), usual())
    stage.wait("release")
    stage.wait("release", case=second_case(stage))  # its own link: the fence tells nothing of it
    own, other = stage.lines(), stage.lines(second_case(stage))
    assert not any(second_case(stage) in line["ber"] for line in own), "one case names the other"
    octets = [bytes.fromhex(line["ber"]) for line in own]
    assert not any(second_case(stage).encode() in octet for octet in octets), "one case names the other"
    assert all(second_case(stage).encode() in bytes.fromhex(line["ber"]) for line in other)


@scenario("34", "the order ends in mid-call, to the second", *OUT, *ENDED)
def expires(stage: Stage) -> None:
    end, end_s = stage.in_seconds(6)  # the order and the call are made meanwhile, on a busy machine too
    stage.order(end=end)
    with stage.running(stage.out().connected().gate().bye(), usual()) as call:
        stage.wait(ENDED[-1])
        assert time.time() >= end_s
        call.open_gate()


@scenario("37a", "no order at all")
def no_order(stage: Stage) -> None:
    stage.call(stage.out().connected().bye(), usual())


@scenario("37b", "the order was ended before the call", *ENDED)
def order_ended(stage: Stage) -> None:
    stage.order()
    stage.site.case("deactivate", stage.case)
    stage.call(stage.out().connected().bye(), usual())


@scenario("retransmission", "INVITE, 200 and BYE repeated by timers A and G (RFC 3261 §17)", *OUT, "release")
def retransmission(stage: Stage) -> None:
    stage.order()
    stage.call(
        stage.out().invite().ringing().expect(200).pause(700).ack().bye(),
        Called().receive("INVITE").pause(700).reply(180, tag="d").answer().receive("BYE").pause(700).reply(200),
    )


@scenario("loss", "the first INVITE, 200 and BYE are lost behind the tap", *OUT, "release")
def loss(stage: Stage) -> None:
    stage.order()
    with stage.proxy(lose=frozenset({"INVITE", "200 INVITE", "BYE"})) as proxy:
        stage.call(stage.out().connected().bye(), usual(), remote=proxy)


@scenario("span", "a SPAN port sees both sides of a proxy", *OUT, "release")
def both_sides(stage: Stage) -> None:
    stage.order()
    with stage.proxy() as proxy:
        stage.call(stage.out().connected().bye(), usual(), remote=proxy)


@scenario("ipv6", "S calls A over IPv6, with keys", *OUT, "dialedDgtExtrn 0#", "release")
def ipv6(stage: Stage) -> None:
    stage.order(dde="on")
    stage.ipv6()
    stage.call(stage.out().connected().play(*stage.keys("0#")).bye(), usual())


@scenario("spoof", "a stranger on an untrusted trunk writes S into From")
def spoofed(stage: Stage) -> None:
    stage.order()
    stage.caller_address, stage.called_address = f"10.78.1.{stage.index}", f"10.78.2.{stage.index}"
    stage.call(stage.out().connected().bye(), usual(), namespaces=("stranger", "sbc"))


@scenario("trunk", "A calls S from an untrusted trunk", *IN, "release")
def from_trunk(stage: Stage) -> None:
    stage.order()
    stage.caller_address, stage.called_address = f"10.78.1.{stage.index}", f"10.78.2.{stage.index}"
    stage.call(stage.into().connected().bye(), usual(), namespaces=("stranger", "sbc"))
