"""Scenarios with real phones (pjsua2) and a real SBC (Kamailio): every message of theirs is their own doing.

Both access points must report the same: "sbc" hears the proxy's two sides on one interface, "span" the whole bridge.
"""

from __future__ import annotations

from mediation.cli.demo.site import texts
from tests.rig.exchange import Floor
from tests.rig.scenario import ALERT, IN, OUT, RINGBACK, Table, second_case

BOTH = ("span", "sbc")
FORWARDED = ("termAttempt", "redirection", "answer", "release")
scenario = Table()


def parties_of(line: object) -> str:
    return " ".join(texts(line["fields"]))  # type: ignore[index]


@scenario("R1", "S calls A through the SBC, A hangs up", *OUT, "release", points=BOTH)
def outgoing(floor: Floor) -> None:
    subject, other = floor.parties("subject", "alice")
    floor.order()
    call = subject.dial(other)
    answered = other.answers()
    call.until_up()
    answered.hangup()
    call.until_over()


@scenario("R5", "A calls S through the SBC, S hangs up", *IN, "release", points=BOTH)
def incoming(floor: Floor) -> None:
    subject, other = floor.parties("subject", "alice")
    floor.order()
    call = other.dial(subject)
    answered = subject.answers()
    call.until_up()
    answered.until_up().hangup()
    call.until_over()


@scenario("R2", "S calls A, A's phone is busy", "origination", RINGBACK, "networkSignal busyTone", "release 486",
          points=BOTH)  # fmt: skip
def busy(floor: Floor) -> None:
    subject, other = floor.parties("subject", "alice")
    floor.order()
    call = subject.dial(other)
    other.answers(486)
    call.until_over()


@scenario("R3", "S gives up while A's phone rings", "origination", RINGBACK, "release 487", points=BOTH)
def given_up(floor: Floor) -> None:
    subject, other = floor.parties("subject", "alice")
    floor.order()
    call = subject.dial(other)
    ringing = other.rings()
    call.hangup()
    ringing.until_over()


@scenario("R4", "S calls a number that the SBC does not know", "origination", "networkSignal specialInfoTone",
          "release 404", points=BOTH)  # fmt: skip
def unknown_number(floor: Floor) -> None:
    subject = floor.party("subject")
    floor.order()
    subject.dial(floor.other).until_over()


@scenario("R7", "A calls S and withholds its number; the SBC asserts it", *IN, "release", points=BOTH)
def withheld(floor: Floor) -> None:
    subject, other = floor.parties("subject", "alice")
    floor.order()
    call = other.dial(subject, headers={"Privacy": "id"})
    subject.answers()
    call.until_up().hangup()
    call.until_over()
    assert floor.other[1:] in parties_of(floor.wait("termAttempt")), "the network-asserted number is missing"


def _forwarded(floor: Floor, table: str, status: int) -> None:
    """A's call to S is forwarded to B by the SBC; `status` is what S's phone says meanwhile (0: it is not asked)."""
    subject, other, third = floor.parties("subject", "alice", "bob")
    floor.order()
    floor.kamailio.service(table, floor.subject, floor.third)
    call = other.dial(subject)
    if status == 180:
        subject.rings()
    elif status:
        subject.incoming().do("answer", status=status)
    third.answers()
    call.until_up().hangup()
    call.until_over()
    assert floor.third[1:] in parties_of(floor.wait("redirection")), "to whom the call went is missing"


@scenario("R8", "A calls S, the SBC forwards all calls to B", *FORWARDED, points=BOTH)
def forward_unconditional(floor: Floor) -> None:
    _forwarded(floor, "cfu", 0)


@scenario("R9a", "A calls S, busy, the SBC forwards to B", *FORWARDED, points=BOTH)
def forward_busy(floor: Floor) -> None:
    _forwarded(floor, "cfb", 486)


@scenario("R9b", "A calls S, no answer, the SBC forwards to B", "termAttempt", ALERT, *FORWARDED[1:], points=BOTH)
def forward_no_answer(floor: Floor) -> None:
    _forwarded(floor, "cfnr", 180)


@scenario("11", "A calls S, S's phone answers 302 to B", *FORWARDED, points=BOTH)
def redirected_by_phone(floor: Floor) -> None:
    subject, other, third = floor.parties("subject", "alice", "bob")
    floor.order()
    call = other.dial(subject)
    subject.incoming().do("answer", status=302, headers={"Contact": f"<sip:{floor.third}@carrier.example>"})
    third.answers()
    call.until_up().hangup()
    call.until_over()
    assert floor.third[1:] in parties_of(floor.wait("redirection")), "to whom the call went is missing"


@scenario("R12", "S's phone holds A and takes A back", *OUT, "subjectSignal hold", "connectionBreak",
          "subjectSignal retrieve", "connection", "release", points=BOTH)  # fmt: skip
def hold(floor: Floor) -> None:
    subject, other = floor.parties("subject", "alice")
    floor.order()
    call = subject.dial(other)
    other.answers()
    call.until_up().until("media", active=True)
    call.exchanged("hold")
    floor.wait("connectionBreak")
    call.exchanged("retrieve")
    floor.wait("connection")
    call.hangup()
    call.until_over()


@scenario("R13", "A's phone holds S and takes S back", *IN, "connectionBreak", "connection", "release", points=BOTH)
def held(floor: Floor) -> None:
    subject, other = floor.parties("subject", "alice")
    floor.order()
    call = other.dial(subject)
    subject.answers()
    call.until_up().until("media", active=True)
    call.exchanged("hold")
    floor.wait("connectionBreak")
    call.exchanged("retrieve")
    floor.wait("connection")
    call.hangup()
    call.until_over()


@scenario("14", "B calls S while S talks to A; S takes B's call and goes back to A", *OUT, "termAttempt",
          "networkSignal callWaitingPattern1", "subjectSignal hold", "connectionBreak", "answer", "subjectSignal hold",
          "connectionBreak", "subjectSignal retrieve", "connection", "release", "release",
          points=BOTH)  # fmt: skip
def call_waiting(floor: Floor) -> None:
    subject, other, third = floor.parties("subject", "alice", "bob")
    floor.order()
    first = subject.dial(other)
    other.answers()
    first.until_up().until("media", active=True)
    second = third.dial(subject)
    waiting = subject.rings()
    first.exchanged("hold")
    floor.wait("connectionBreak")
    waiting.do("answer")
    second.until_up()
    waiting.until_up()
    floor.wait("answer", count=2)
    waiting.exchanged("hold")
    floor.wait("connectionBreak", count=2)
    first.exchanged("retrieve")
    floor.wait("connection")
    waiting.hangup()
    second.until_over()
    first.hangup()
    first.until_over()


@scenario("18", "blind transfer: S sends A to B and leaves", *OUT, "subjectSignal refer", "redirection", "release",
          points=BOTH)  # fmt: skip
def blind_transfer(floor: Floor) -> None:
    subject, other, third = floor.parties("subject", "alice", "bob")
    floor.order()
    call = subject.dial(other)
    transferee = other.answers()
    call.until_up().until("media", active=True)
    since = other.phone.mark()
    call.do("refer", to=f"sip:{floor.third}@carrier.example")
    taken = third.answers()
    transferee.until("refer")
    taken.until_up()
    call.hangup()
    call.until_over()
    other.phone.until("state", since=since, state="CONFIRMED")
    taken.hangup()
    taken.until_over()
    assert floor.third[1:] in parties_of(floor.wait("redirection")), "to whom the call went is missing"


@scenario("19", "attended transfer: S holds A, calls B, and joins them (REFER with Replaces)", *OUT,
          "subjectSignal hold", "connectionBreak", *OUT, "subjectSignal refer", "change", "release", "release",
          points=BOTH)  # fmt: skip
def attended_transfer(floor: Floor) -> None:
    subject, other, third = floor.parties("subject", "alice", "bob")
    floor.order()
    first = subject.dial(other)
    other.answers()
    first.until_up().until("media", active=True)
    first.exchanged("hold")
    floor.wait("connectionBreak")
    second = subject.dial(third)
    third.answers()
    second.until_up().until("media", active=True)
    floor.wait("answer", count=2)
    since = other.phone.mark()
    first.do("replace", other=second.number)
    joined = other.phone.until("state", since=since, state="CONFIRMED")["call"]
    second.until_over()  # B's phone ends the call that was replaced
    first.hangup()
    first.until_over()
    floor.wait("release", count=2)
    other.phone.do("hangup", call=joined)


@scenario("R20", "S's phone sends keys as RFC 4733", *OUT, "dialedDgtExtrn 1123#", "release", points=("span",))
def digits_events(floor: Floor) -> None:
    subject, other = floor.parties("subject", "alice")
    floor.order(dde="on")
    call = subject.dial(other)
    answered = other.answers()
    call.until_up().until("media", active=True)
    call.do("digits", digits="1123#")
    answered.until("digit", digit="#")
    floor.wait("dialedDgtExtrn")
    call.hangup()
    call.until_over()


@scenario("R21", "S's phone sends keys as SIP INFO", *OUT, "dialedDgtExtrn 42", "release", points=BOTH)
def digits_info(floor: Floor) -> None:
    subject, other = floor.parties("subject", "alice")
    floor.order(dde="on")
    call = subject.dial(other)
    answered = other.answers()
    call.until_up().until("media", active=True)
    for digit in "42":
        call.do("digits", digits=digit, method="info")
        answered.until("digit", digit=digit)
    floor.wait("dialedDgtExtrn")
    call.hangup()
    call.until_over()


@scenario("R23", "A's phone sends keys, not S", *OUT, "release", points=BOTH)
def digits_of_other(floor: Floor) -> None:
    subject, other = floor.parties("subject", "alice")
    floor.order(dde="on")
    call = subject.dial(other)
    answered = other.answers()
    call.until_up().until("media", active=True)
    answered.do("digits", digits="7")
    call.until("digit", digit="7")
    answered.do("digits", digits="8", method="info")
    call.until("digit", digit="8")
    call.hangup()
    call.until_over()


@scenario("R30", "the SBC forks S's call to two phones of A", *OUT[:2], "answer", "release of a leg", "release",
          points=BOTH)  # fmt: skip
def forked(floor: Floor) -> None:
    subject, other = floor.parties("subject", "alice")
    twin = floor.party("bob", floor.other)
    floor.order()
    call = subject.dial(other)
    losing = twin.rings()
    winning = other.rings()
    winning.do("answer", status=200)
    call.until_up()
    losing.until_over()
    call.hangup()
    call.until_over()


# The phone's first CSeq is a random one: the first REGISTER under the order may be a refresh of an older binding.
@scenario("31a", "S's phone, registered before, refreshes, leaves, and registers again", "servingSystem unknown",
          "servingSystem deregistration", "servingSystem registration", points=BOTH)  # fmt: skip
def registration(floor: Floor) -> None:
    subject = floor.party("subject")
    floor.order()
    for act in ("refresh", "refresh", "unregister", "refresh"):
        since = subject.phone.do(act, user=floor.subject)
        subject.phone.until("registered", since=since, user=floor.subject, status=200)


@scenario("32", "S calls S2, both subjects of different cases", *OUT, "release", second=(*IN, "release"), points=BOTH)
def subjects_of_two_cases(floor: Floor) -> None:
    subject, other = floor.parties("subject", "alice")
    floor.order()
    floor.order(second_case(floor), f"tel:{floor.other}", agency="LAB-OTHER-AGENCY")
    call = subject.dial(other)
    other.answers()
    call.until_up().hangup()
    call.until_over()
    floor.wait("release", case=second_case(floor))
    floor.wait("release", case=second_case(floor), point="sbc")
    for own, strange in ((floor.case, second_case(floor)), (second_case(floor), floor.case)):
        octets = [bytes.fromhex(line["ber"]) for line in floor.lines(own)]
        assert octets
        assert not any(f"{strange}\0".encode() in octet + b"\0" for octet in octets if len(strange) > len(own))


@scenario("prack", "reliable provisional responses (RFC 3262) in both phones", *OUT, "release", points=BOTH)
def reliable(floor: Floor) -> None:
    subject, other = floor.party("subject", prack=True), floor.party("alice", prack=True)
    floor.order()
    call = subject.dial(other)
    other.answers()
    call.until_up().hangup()
    call.until_over()


# S's own media stands in no message of the call's states, so it is reported by itself.
@scenario("delayed", "S's phone calls without SDP; A offers, S answers in ACK (RFC 3264)", *OUT,
          "mediaAndAddressReporting", "release", points=BOTH)  # fmt: skip
def delayed_offer(floor: Floor) -> None:
    subject, other = floor.parties("subject", "alice")
    floor.order()
    call = subject.dial(other, offerless=True)
    other.answers()
    call.until_up().until("media", active=True)
    call.hangup()
    call.until_over()


# The phones offer and answer other lists of codecs than at first: both sides' media changed.
@scenario("empty", "S's phone sends a re-INVITE without SDP in mid-call", *OUT, "mediaAndAddressReporting",
          "mediaAndAddressReporting", "release", points=BOTH)  # fmt: skip
def empty_reinvite(floor: Floor) -> None:
    subject, other = floor.parties("subject", "alice")
    floor.order()
    call = subject.dial(other)
    answered = other.answers()
    call.until_up().until("media", active=True)
    answered.until_up().until("media", active=True)  # of the first exchange: the next one is another
    since = other.phone.mark()
    call.do("reinvite", offerless=True)
    other.phone.until("media", since=since, call=answered.number, active=True)
    call.hangup()
    call.until_over()


@scenario("update", "S's phone sends UPDATE with SDP (RFC 3311), media unchanged", *OUT, "release", points=BOTH)
def update(floor: Floor) -> None:
    subject, other = floor.parties("subject", "alice")
    floor.order()
    call = subject.dial(other)
    answered = other.answers()
    call.until_up().until("media", active=True)
    answered.until_up().until("media", active=True)  # of the first exchange: the next one is another
    since = other.phone.mark()
    call.do("update")
    other.phone.until("media", since=since, call=answered.number, active=True)
    call.hangup()
    call.until_over()


@scenario("message", "S's phone sends MESSAGE (pen register: no text)", "directSignalReporting",
          points=BOTH)  # fmt: skip
def instant_message(floor: Floor) -> None:
    subject, other = floor.parties("subject", "alice")
    floor.order()
    since = other.phone.mark()
    subject.phone.do("message", user=floor.subject, to=f"sip:{floor.other}@carrier.example", text="meet at nine")
    other.phone.until("message", since=since, user=floor.other)
    assert not any(b"meet at nine" in bytes.fromhex(line["ber"]) for line in floor.lines()), "text in a pen register"


@scenario("tcp", "S's phone speaks SIP over TCP", *OUT, "release", points=BOTH)
def over_tcp(floor: Floor) -> None:
    subject, other = floor.party("subject", transport="tcp"), floor.party("alice")
    floor.order()
    call = subject.dial(other)
    other.answers()
    call.until_up().hangup()
    call.until_over()
