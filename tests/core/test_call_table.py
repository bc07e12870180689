"""The call model as a whole: its table, its time limits, its bounds, and the order it serves."""

from __future__ import annotations

import pytest

from mediation.core import call as call_module
from mediation.core.call import CallModel
from mediation.core.calls.diagram import diagram, reachable
from mediation.core.calls.dialog import LINGER, QUIET_LIMIT, SETUP_LIMIT, State
from mediation.core.calls.event import Event
from mediation.core.calls.word import Say
from mediation.core.channel.media import Side
from mediation.core.errors import EncodingError
from mediation.core.interface.x2 import Role
from mediation.core.message import cdc
from mediation.core.transitions import ROWS, TABLE
from tests.core.call_rig import SECOND, Wire, incoming, surveillance

RINGBACK = "networkSignal RINGBACK_TONE"
ALERT = "networkSignal ALERTING_PATTERN_0"
UP = ["origination", RINGBACK, "answer"]


@pytest.fixture
def wire() -> Wire:
    return Wire(CallModel(surveillance()))


@pytest.fixture
def inwards() -> Wire:
    return incoming(CallModel(surveillance()))


# Time and room


def test_calls_whose_end_was_missed_are_closed(wire: Wire, inwards: Wire) -> None:
    wire.connect()
    inwards.invite()
    inwards.wait(SETUP_LIMIT / SECOND + 1)
    wire.wait(QUIET_LIMIT / SECOND)
    assert wire.story == [*UP, "release time"]
    assert inwards.story == ["termAttempt", "release time"]
    release = wire.messages[-1]
    assert isinstance(release, cdc.Release) and release.cause is not None
    assert release.cause.signaling_type == "MEDIATION"
    assert wire.model.counters["calls_timed_out"] == 1


def test_a_call_lingers_and_is_forgotten(wire: Wire) -> None:
    wire.connect()
    wire.bye()
    late = wire.sent[-2]
    (call,) = wire.model._calls.values()
    assert not (call.branches or call.legs or call.seen or call.offers) and call.media.descriptions == [None, None]
    wire.wait(LINGER / SECOND - 1)
    assert (wire.model.observe(late), wire.model.calls) == ([], 1)
    wire.wait(2)
    assert (wire.model.calls, wire.model.next_deadline_ns()) == (0, None)
    assert wire.story == [*UP, "release"]


def test_a_new_attempt_under_the_call_id_of_one_that_is_over(wire: Wire) -> None:
    wire.invite()
    wire.response(486)
    wire.cseq = 2
    wire.connect()
    wire.bye()
    assert wire.story[3:] == [*UP, "release"]


def test_no_room_closes_the_call_that_was_quiet_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call_module, "MAX_CALLS", 3)
    model = CallModel(surveillance())
    wires = [Wire(model, call_id=f"call-{n}") for n in range(5)]
    for wire in wires[:3]:
        wire.invite()
    wires[0].ring()
    wires[1].response(486)
    wires[3].invite()  # takes the place of 1, which only lingers
    wires[4].invite()  # takes the place of 2
    assert wires[3].story == ["origination"]
    assert wires[4].story == ["release no room", "origination"]
    release = wires[4].messages[0]
    assert isinstance(release, cdc.Release) and release.call_id.main == "call-2"
    assert (model.calls, model.counters["calls_evicted"]) == (3, 1)


# The order


def test_status_messages_only_by_agreement() -> None:
    model = CallModel(surveillance(status_messages=False))
    assert model.start(0) == [] == model.stop(1)


def test_a_subject_that_could_never_match_is_refused() -> None:
    with pytest.raises(EncodingError) as refused:
        CallModel(surveillance(subjects=("mailto:alice@example.org",)))
    assert "alice" not in str(refused.value)


def test_nothing_ends_twice(wire: Wire) -> None:
    wire.events += wire.model.stop(wire.now_ns)
    wire.events += wire.model.stop(wire.now_ns + 1)
    assert wire.story == ["surveillanceStatus DEACTIVATION"]


def test_the_end_of_the_order_forgets_everything(wire: Wire) -> None:
    wire.connect()
    wire.bye()
    wire.model.stop(wire.now_ns)
    assert (wire.model.calls, wire.model.next_deadline_ns()) == (0, None)


# The table


def test_the_table_has_no_dead_row() -> None:
    said = {word for rows in ROWS.values() for row in rows for word in row.say}
    assert said == set(Say)
    assert {event for rows in TABLE.values() for _, event in rows} == set(Event)
    assert reachable(ROWS[Role.CALLED]) == set(State) - {State.FEATURE}
    assert reachable(ROWS[Role.CALLING]) == set(State) - {State.FORWARDING, State.DIVERTED}


def test_no_row_contradicts_another() -> None:
    for role, rows in ROWS.items():
        assert len(TABLE[role]) == sum(len(row.states) for row in rows)


def test_the_diagram_shows_every_row_that_can_happen() -> None:
    for role, rows in ROWS.items():
        drawn = diagram(role).splitlines()
        assert len(drawn) == 2 + sum(len(set(row.states) & reachable(rows)) for row in rows)
    assert "    attempt --> alerting: 180 / NetworkSignal(ringbackTone) once" in diagram(Role.CALLING)


def test_sides() -> None:
    assert (Side.CALLER.other, Side.CALLEE.other) == (Side.CALLEE, Side.CALLER)
