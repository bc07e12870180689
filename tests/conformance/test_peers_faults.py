"""What the nearest open peer gets wrong on ordinary calls, each of them right here, live.

One exchange for this file alone: its functions are killed, frozen and away in turn (the rows of `scenarios_faults`). A
killed function comes back by itself; the fence call tells when.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mediation.cli.demo.site import texts
from tests.rig import exchange
from tests.rig.exchange import Exchange, Floor
from tests.rig.ladder import Dialog
from tests.rig.report import play
from tests.rig.scenario import Scenario
from tests.rig.scenarios_faults import call, hold_and_end
from tests.rig.scenarios_faults import scenario as table

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


@pytest.mark.parametrize("scenario", table.ready(), ids=lambda scenario: scenario.name)
def test_scenario(built: Exchange, scenario: Scenario) -> None:
    missing = scenario.wants()
    if missing:
        pytest.skip(f"not played: {missing}")
    outcome = play(built, scenario)
    assert outcome.passed, "\n" + outcome.table()


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
