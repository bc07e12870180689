"""Call waiting and swap (scenario 14), and what a phone mixes by itself."""

from __future__ import annotations

import pytest

from mediation.core.calls.association import MAX_APPEARANCES
from mediation.core.message import cdc
from tests.core.call_rig import A_URI, B_CONTACT, B_URI, A, B, S, Wire
from tests.core.several_rig import Table, hold, numbers, retrieve

RINGBACK = "networkSignal RINGBACK_TONE"
ALERT = "networkSignal ALERTING_PATTERN_0"
WAITING = "networkSignal CALL_WAITING_PATTERN_1"


# 14, call waiting


@pytest.fixture
def waiting() -> tuple[Table, Wire, Wire]:
    """S talks to A; B calls, S holds A and answers B."""
    table = Table()
    a, b = table.call("a", A_URI), table.call("b", B_URI, inwards=True, caller_contact=B_CONTACT)
    a.connect()
    b.invite()
    b.ring()
    hold(a, 10)
    b.answer()
    return table, a, b


ANSWERED_B = [
    "a origination", f"a {RINGBACK}", "a answer",
    "b termAttempt", f"b {WAITING}", "a subjectSignal hold", "a connectionBreak", "b answer",
]  # fmt: skip


def test_14_call_waiting(waiting: tuple[Table, Wire, Wire]) -> None:
    table, a, b = waiting
    assert table.story == ANSWERED_B
    hold(b, 20)
    retrieve(a, 11)
    b.bye()
    a.bye()
    assert table.story[8:] == [
        "b subjectSignal hold", "b connectionBreak", "a subjectSignal retrieve", "a connection", "b release",
        "a release",
    ]  # fmt: skip


def test_a_call_after_the_other_is_over_waits_for_nothing() -> None:
    table = Table()
    table.call("a", A_URI).connect()
    table.call("a", A_URI).bye()
    b = table.call("b", B_URI, inwards=True)
    b.connect()
    assert table.story[-2:] == [f"b {ALERT}", "b answer"]


def test_another_line_of_the_order_waits_for_nobody() -> None:
    other = "sip:+12015550124@carrier.example"
    table = Table(subjects=(f"tel:{S}", "tel:+12015550124"))
    table.call("a", A_URI, caller=other).connect()
    table.call("b", B_URI, inwards=True).connect()
    assert f"b {ALERT}" in table.story


def test_a_phone_that_says_itself_that_it_lets_a_call_wait() -> None:
    """182 by the subject's phone: it is alerted, whatever calls this tap knows of."""
    table = Table()
    b = table.call("b", B_URI, inwards=True)
    b.invite()
    b.response(182, "Queued", headers=("Alert-Info: <urn:alert:service:call-waiting>",))
    b.answer()
    assert table.story == ["b termAttempt", f"b {WAITING}", "b answer"]


def test_a_subject_who_waits_hears_of_it() -> None:
    table = Table()
    a = table.call("a", A_URI)
    a.invite()
    a.response(182, "Queued, 2 in front")
    assert table.story == ["a origination", "a networkSignal 182 Queued, 2 in front"]


def test_14_in_pcesp_names_the_service() -> None:
    """Hold by the phone is a change of media there."""
    table = Table(profile="pcesp")
    a, b = table.call("a", A_URI), table.call("b", B_URI, inwards=True)
    a.connect()
    b.invite()
    b.ring()
    hold(a, 10)
    assert table.story[3:] == ["b termAttempt", f"b {WAITING}", "b serviceinstance", "a subjectSignal hold",
                               "a mediaAndAddressReporting"]  # fmt: skip
    service = table.messages[5]
    assert isinstance(service, cdc.ServiceInstance)
    assert (service.service_name, service.related_call_id) == ("Call_Waiting", cdc.CallIdentity(main="a"))
    assert service.called is not None and service.called.dn == S[1:]


# Mixed by the phone


def test_two_calls_of_one_phone_that_are_not_held_are_one_conversation() -> None:
    table = Table()
    a, b = table.call("a", A_URI), table.call("b", B_URI)
    a.connect()
    hold(a, 10)
    b.connect()
    assert not any("+" in line for line in table.story)
    retrieve(a, 11)
    b.bye()
    a.bye()
    assert table.story[-5:] == ["a subjectSignal retrieve", "b+a connection", "b connectionBreak", "b release",
                                "a release"]  # fmt: skip
    joined, left = table.messages[-4], table.messages[-3]
    assert isinstance(joined, cdc.Connection) and isinstance(left, cdc.ConnectionBreak)
    assert numbers(joined.connected_parties) == [S[1:], B[1:], A[1:]]
    assert numbers(joined.new_parties) == [A[1:]]
    assert numbers(left.dropped_parties) == [B[1:]]
    assert numbers(left.remaining_parties) == [S[1:], A[1:]]


def test_two_phones_of_the_subject_mix_nothing() -> None:
    table = Table()
    table.call("a", A_URI).connect()
    table.call("b", B_URI, caller_contact="sip:line1@10.0.0.6:5060").connect()
    assert not any("+" in line for line in table.story)


def test_a_switch_behind_one_number_mixes_nothing_and_each_of_its_calls_costs_the_same() -> None:
    table = Table()
    for number in range(MAX_APPEARANCES + 20):
        table.call(f"c{number}", A_URI).connect()
    before = len(table.story)
    last = table.call("last", B_URI)
    last.connect()
    last.bye()
    assert table.story[before:] == ["last origination", f"last {RINGBACK}", "last answer", "last release"]
