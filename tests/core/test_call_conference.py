"""Conferences that a focus in the network mixes (scenarios 15 to 17; RFC 4579, RFC 4575)."""

from __future__ import annotations

import pytest

from mediation.core.message import cdc
from tests.core.call_rig import A_URI, B_URI, S_URI, A, B, S, Wire
from tests.core.several_rig import Table, hold, notify, numbers, refer, replacing

FOCUS = "sip:conf-77@conf.carrier.example"


# 15 to 17, a conference in the network


def conference(table: Table, **more: object) -> Wire:
    """S calls the focus."""
    focus = table.call("conf", "sip:conf-factory@carrier.example", called_contact=f"{FOCUS}>;isfocus;x=<y", **more)
    focus.invite()
    focus.answer()
    return focus


@pytest.fixture
def three() -> tuple[Table, Wire]:
    """S talks to A, then to B, then has both moved to a conference: one by its own REFER, one by the focus."""
    table = Table()
    a, b = table.call("a", A_URI), table.call("b", B_URI, inwards=True)
    a.connect()
    hold(a, 10)
    b.connect()
    hold(b, 20)
    focus = conference(table)
    start = len(table.events)
    refer(a, f"<{FOCUS}>")
    notify(a, 100)
    notify(a, 200, cseq=71)
    a.bye(from_caller=False)
    refer(focus, replacing(b, B_URI))
    b.bye(from_caller=True)
    notify(focus, 200)
    table.events = table.events[start:]
    for wire in (a, b, focus):
        wire.events = table.events
    return table, focus


def test_15_three_way(three: tuple[Table, Wire]) -> None:
    table, _ = three
    assert table.story == [
        "a subjectSignal refer", "a>conf change", "conf confPartyChange", "a release",
        "conf subjectSignal refer", "b>conf change", "conf confPartyChange", "b release",
    ]  # fmt: skip
    first, second = table.messages[2], table.messages[6]
    assert isinstance(first, cdc.ConfPartyChange) and isinstance(second, cdc.ConfPartyChange)
    assert numbers(first.joined_parties) == [A[1:]]
    assert numbers(second.joined_parties) == [B[1:]]
    assert numbers(second.communicating_parties) == [S[1:], A[1:], B[1:]]


def test_16_drop_the_last_added(three: tuple[Table, Wire]) -> None:
    table, focus = three
    del table.events[:]
    refer(focus, f"<{B_URI};method=BYE>", cseq=61)
    notify(focus, 200, cseq=72, refer_cseq=61)
    assert table.story == ["conf subjectSignal refer", "conf connectionBreak", "conf confPartyChange"]
    broken, parties = table.messages[1:]
    assert isinstance(broken, cdc.ConnectionBreak) and isinstance(parties, cdc.ConfPartyChange)
    assert numbers(broken.dropped_parties) == numbers(parties.removed_parties) == [B[1:]]
    assert numbers(parties.communicating_parties) == [S[1:], A[1:]]


def test_17_the_subject_leaves(three: tuple[Table, Wire]) -> None:
    table, focus = three
    del table.events[:]
    focus.bye()
    assert table.story == ["conf confPartyChange", "conf release"]
    (left, _) = table.messages
    assert isinstance(left, cdc.ConfPartyChange)
    assert numbers(left.removed_parties) == [S[1:]]
    assert numbers(left.communicating_parties) == [A[1:], B[1:]]


def test_15_names_the_service_in_pcesp() -> None:
    table = Table(profile="pcesp")
    focus = conference(table)
    refer(focus, f"<{A_URI}>")
    notify(focus, 200)
    assert table.story[-2:] == ["conf confPartyChange", "conf serviceinstance"]
    assert table.messages[-1].service_name == "Three_Way_Call"  # type: ignore[attr-defined]


def test_a_refer_to_the_conference_outside_of_its_dialog() -> None:
    """RFC 4579 5.5: the phone asks the focus in a dialog of its own, and is told there."""
    table = Table()
    conference(table)
    asking = table.call("asking", FOCUS)
    asking.request("REFER", to_tag=None, cseq=1, headers=(f"Refer-To: <{A_URI}>",))
    asking.response(202, method="REFER", cseq=1)
    notify(asking, 200)
    assert table.story[-2:] == ["conf subjectSignal refer", "conf confPartyChange"]


DOCUMENT = """<?xml version="1.0"?>
<conference-info xmlns="urn:ietf:params:xml:ns:conference-info" entity="{focus}" state="{state}" version="{version}">
<users>{users}</users></conference-info>"""


def document(wire: Wire, version: int, *users: tuple[str, str], state: str = "full", cseq: int = 80) -> None:
    told = "".join(
        f'<user entity="{uri}"><endpoint entity="x"><status>{status}</status></endpoint></user>'
        for uri, status in users
    )
    body = DOCUMENT.format(focus=FOCUS, state=state, version=version, users=told)
    lines = ("Event: conference", "Content-Type: application/conference-info+xml")
    wire.request("NOTIFY", from_caller=False, cseq=cseq + version, headers=lines, body=body)


def test_the_focus_says_who_is_there() -> None:
    table = Table()
    focus = conference(table)
    start = len(table.events)
    document(focus, 0, (S_URI, "connected"), (A_URI, "connected"), (B_URI, "dialing-out"))
    document(focus, 1, (B_URI, "connected"), state="partial")
    document(focus, 1, (A_URI, "disconnected"), state="partial", cseq=85)  # an old version
    document(focus, 2, (A_URI, "disconnected"), state="partial")
    document(focus, 3, (S_URI, "connected"), (B_URI, "on-hold"))
    document(focus, 4, (S_URI, "connected"))
    told = [m for m in table.messages[start:] if isinstance(m, cdc.ConfPartyChange)]
    assert [(numbers(m.joined_parties), numbers(m.removed_parties)) for m in told] == [
        ([A[1:]], []), ([B[1:]], []), ([], [A[1:]]), ([], [B[1:]]),
    ]  # fmt: skip
    assert numbers(told[1].communicating_parties) == [S[1:], A[1:], B[1:]]
    assert numbers(told[3].communicating_parties) == [S[1:]]


def test_a_conference_document_in_a_dialog_of_its_own() -> None:
    table = Table()
    conference(table)
    watching = table.call("watching", FOCUS)
    document(watching, 1, (A_URI, "connected"))
    assert table.story[-1] == "conf confPartyChange"


@pytest.mark.parametrize("contact", [FOCUS, "sip:x9@10.0.0.1>;isfocus;y=<z", "sip:conference@10.0.0.1"])
def test_how_a_conference_is_recognised(contact: str) -> None:
    table = Table()
    focus = table.call("conf", A_URI, called_contact=contact)
    focus.connect()
    refer(focus, f"<{B_URI}>")
    notify(focus, 200)
    assert table.story[-1] == "conf confPartyChange"


@pytest.mark.parametrize("contact", ["sip:confucius@10.0.0.1", "sip:x@conf.example", "sip:ann@10.0.0.1"])
def test_what_is_no_conference(contact: str) -> None:
    table = Table()
    call = table.call("a", A_URI, called_contact=contact)
    call.connect()
    refer(call, f"<{B_URI}>")
    notify(call, 200)
    assert table.story[-1] == "a redirection"
