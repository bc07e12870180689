"""What the nearest open peer gets wrong on ordinary calls, each of them right here, live.

One exchange for this file alone: its functions are killed, frozen and away in turn. A killed function comes back by
itself; the fence call tells when.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from mediation.cli.demo_site import texts
from tests.rig import exchange
from tests.rig.exchange import Exchange, Floor
from tests.rig.ladder import Dialog, End, sdp

pytestmark = [pytest.mark.rig, pytest.mark.root]
UP = ["origination", "networkSignal ringbackTone", "answer"]
HELD = ["subjectSignal hold", "connectionBreak", "subjectSignal retrieve", "connection", "release"]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exchange]:
    missing = exchange.possible()
    if missing:
        pytest.skip(f"real peers cannot be started: {missing}")
    with exchange.built(tmp_path_factory.mktemp("faults")) as made:
        yield made


@pytest.fixture
def floor(built: Exchange, request: pytest.FixtureRequest) -> Iterator[Floor]:
    with built.stage(request.node.name.removeprefix("test_")) as made:
        yield made


def received(floor: Floor, count: int) -> list[str]:
    """The case's messages when `count` of them are there and nothing else comes."""
    floor.until(count)
    floor.exchange.fence()
    return floor.received()


def call(floor: Floor, *, ipv6: bool = False) -> tuple[End, End, Dialog]:
    """S on the left talks to A on the right."""
    left, right = floor.ends("left", "right", ipv6=ipv6)
    return left, right, Dialog(left, right, floor.subject, floor.other).connect()


def hold_and_end(left: End, right: End, dialog: Dialog) -> None:
    dialog.reinvite(
        sdp(left.address, direction="sendonly", version=2), sdp(right.address, direction="recvonly", version=2)
    )
    dialog.reinvite(sdp(left.address, version=3), sdp(right.address, version=3))
    dialog.bye(by=right)


def test_ipv6(floor: Floor) -> None:
    floor.order()
    hold_and_end(*call(floor, ipv6=True))
    assert received(floor, 8) == UP + HELD


def test_target_only_in_from(floor: Floor) -> None:
    floor.order()
    left, right = floor.ends("left", "right")
    Dialog(left, right, floor.subject, "sip:service@other.example").connect().bye()
    assert received(floor, 4) == [*UP, "release"]


@pytest.mark.parametrize("header", ["Diversion", "History-Info"])
def test_target_only_in(floor: Floor, header: str) -> None:
    floor.order()
    value = {
        "Diversion": f"<sip:{floor.subject}@carrier.example>;reason=user-busy;counter=1",
        "History-Info": f"<sip:{floor.subject}@carrier.example>;index=1, "
        f"<sip:{floor.third}@carrier.example;cause=486>;index=1.1;mp=1",
    }[header]
    left, right = floor.ends("left", "right")
    Dialog(left, right, floor.other, floor.third, headers=(f"{header}: {value}",)).connect().bye()
    assert received(floor, 4) == ["termAttempt", "redirection", "answer", "release"]
    assert floor.third[1:] in " ".join(texts(floor.wait("redirection")["fields"]))


def test_digits_are_extracted_with_a_real_phone(floor: Floor) -> None:
    subject, other = floor.parties("subject", "alice")
    floor.order(dde="on")
    going = subject.dial(other)
    answered = other.answers()
    going.until_up().until("media", active=True)
    going.do("digits", digits="0987*")
    answered.until("digit", digit="*")
    floor.wait("dialedDgtExtrn")
    going.hangup()
    going.until_over()
    assert received(floor, 5) == [*UP, "dialedDgtExtrn 0987*", "release"]


def test_a_call_that_was_up_when_the_order_came(floor: Floor) -> None:
    """No Origination is made up; from the order on, everything of the call is there."""
    left, right, dialog = call(floor)
    floor.order()
    hold_and_end(left, right, dialog)
    assert received(floor, 5) == HELD


@contextmanager
def killed(floor: Floor, *functions: str) -> Iterator[None]:
    """The functions are killed on entry; at the end of the context they are back and armed."""
    for function in functions:
        floor.site.kill(function)
    yield
    floor.exchange.until_armed()


def test_access_function_killed_in_mid_call(floor: Floor) -> None:
    floor.order()
    left, right, dialog = call(floor)
    floor.wait("answer")
    identity = floor.wait("answer")["fields"]["callId"]["main"]
    with killed(floor, "iap"):
        pass
    hold_and_end(left, right, dialog)
    assert received(floor, 8) == UP + HELD
    assert {line["fields"]["callId"]["main"] for line in floor.lines() if _names_one_call(line)} == {identity}


def _names_one_call(line: dict[str, object]) -> bool:
    fields = line["fields"]
    assert isinstance(fields, dict)
    return isinstance(fields.get("callId"), dict)


def test_mediator_killed_in_mid_call(floor: Floor) -> None:
    floor.order()
    left, right, dialog = call(floor)
    floor.wait("answer")
    with killed(floor, "mediator"):
        pass
    hold_and_end(left, right, dialog)
    assert received(floor, 8) == UP + HELD


def test_mediator_down_and_access_function_killed(floor: Floor) -> None:
    """Nothing of what had reached the mediator is lost, and both find into the call again."""
    floor.order()
    left, right, dialog = call(floor)
    floor.wait("answer")
    with killed(floor, "mediator", "iap"):
        pass
    hold_and_end(left, right, dialog)
    assert received(floor, 8) == UP + HELD


def test_mediator_stands_still_and_access_function_is_killed(floor: Floor) -> None:
    """What the tap sent before it died is in the mediator's socket, and is read when the mediator goes on."""
    floor.order()
    floor.site.freeze("mediator")
    try:
        left, right, dialog = call(floor)
        floor.site.kill("iap")
    finally:
        floor.site.thaw("mediator")
    floor.exchange.until_armed()
    hold_and_end(left, right, dialog)
    assert received(floor, 8) == UP + HELD


def test_agency_away_in_mid_call(floor: Floor) -> None:
    """Scenario 36: the link is down, the call goes on; everything comes in order, with its own time."""
    floor.order()
    left, right = floor.ends("left", "right")
    dialog = Dialog(left, right, floor.subject, floor.other)
    with floor.site.agency_away():
        dialog.connect()
        hold_and_end(left, right, dialog)
    assert received(floor, 8) == UP + HELD
    stamps = [line["timestamp"] for line in floor.lines() if "surveillanceStatus" not in line["message"]]
    assert stamps == sorted(stamps)
    assert len(set(stamps)) > 4, "the times are those of the events, not of the delivery"
