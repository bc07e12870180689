"""The content of calls that go on without the subject: over with the subject's part, at that very moment (scenario 17).

47 CFR 1.20007(a)(3): content of a conference while the subject's facility has a connection to it.
"""

from __future__ import annotations

import pytest

from mediation.core.channel.content import Binding, Verb
from tests.core.call_rig import A_URI, B_URI
from tests.core.several_rig import Table, hold, notify, refer, replacing
from tests.core.test_call_conference import conference
from tests.core.test_content import channels


@pytest.fixture
def table() -> Table:
    return Table(channels=channels())


def closes(table: Table) -> list[Binding]:
    return [each for each in table.model.bindings() if each.verb is Verb.CLOSE]


def test_the_subject_leaves_a_conference(table: Table) -> None:
    focus = conference(table)
    refer(focus, f"<{A_URI}>")
    notify(focus, 200)
    table.model.bindings()
    del table.events[:]
    focus.bye()
    assert table.story == ["conf confPartyChange", "conf ccClose", "conf release"]
    (closed,) = closes(table)
    assert closed.apart and closed.at_ns == table.messages[1].timestamp_ns == table.messages[0].timestamp_ns


def test_the_focus_sends_the_subject_away(table: Table) -> None:
    focus = conference(table)
    focus.bye(from_caller=False)
    assert table.story[-2:] == ["conf ccClose", "conf release"]
    assert closes(table)[0].apart


def test_a_blind_transfer_takes_the_subject_out(table: Table) -> None:
    call = table.call("a", A_URI)
    call.connect()
    refer(call, f"<{B_URI}>")
    notify(call, 200)
    call.bye()
    assert table.story[-4:] == ["a subjectSignal refer", "a redirection", "a ccClose", "a release"]
    assert closes(table)[0].apart


def test_a_blind_transfer_that_only_its_end_proves(table: Table) -> None:
    call = table.call("a", A_URI)
    call.connect()
    refer(call, f"<{B_URI}>")
    call.bye()
    assert table.story[-3:] == ["a redirection", "a ccClose", "a release"]
    assert closes(table)[0].apart


def test_an_attended_transfer_takes_the_subject_out_of_both_calls(table: Table) -> None:
    first, second = table.call("a", A_URI), table.call("b", B_URI)
    first.connect()
    hold(first, 10)
    second.connect()
    refer(first, replacing(second, B_URI))
    notify(first, 200)
    second.bye(from_caller=False)
    first.bye()
    assert [line for line in table.story if line.endswith(("ccClose", "release"))] == [
        "b ccClose", "b release", "a ccClose", "a release",
    ]  # fmt: skip
    assert [each.apart for each in closes(table)] == [True, True]


def test_a_call_between_two_has_a_tail(table: Table) -> None:
    call = table.call("a", A_URI)
    call.connect()
    call.bye()
    assert [each.apart for each in closes(table)] == [False]
