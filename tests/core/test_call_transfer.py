"""Transfer by and of the subject (scenarios 18 and 19), and calls that replace or join others (RFC 3891, RFC 3911)."""

from __future__ import annotations

import pytest

from mediation.core.message import cdc
from tests.core.call_rig import A_URI, B_URI, S_URI, A, B, S, sdp
from tests.core.several_rig import Table, hold, notify, numbers, refer, replacing

RINGBACK = "networkSignal RINGBACK_TONE"


# 18 and 19, transfer


@pytest.mark.parametrize("inwards", [False, True])
@pytest.mark.parametrize("told", [True, False])
def test_18_blind_transfer(inwards: bool, told: bool) -> None:
    """Whether the progress is told, or S's phone hangs up at once."""
    table = Table()
    a = table.call("a", A_URI, inwards=inwards)
    a.connect()
    start = len(table.events)
    refer(a, f"<{B_URI}>")
    if told:
        notify(a, 100)
        notify(a, 200, cseq=71)
    a.bye(from_caller=not inwards)
    assert table.story[start:] == ["a subjectSignal refer", "a redirection", "a release"]
    asked, moved = table.messages[start : start + 2]
    assert isinstance(asked, cdc.SubjectSignal) and isinstance(moved, cdc.Redirection)
    assert asked.refer == (f"Refer-To: <{B_URI}>", f"Referred-By: <{S_URI}>")
    assert moved.redirected_from is not None and moved.redirected_from.dn == S[1:]
    assert moved.redirected_to is not None and moved.redirected_to.dn == B[1:]


@pytest.mark.parametrize(("status", "progress"), [(603, 0), (202, 486)])
def test_a_transfer_that_fails_moves_nobody(status: int, progress: int) -> None:
    table = Table()
    a = table.call("a", A_URI)
    a.connect()
    refer(a, f"<{B_URI}>", status=status)
    if progress:
        notify(a, progress)
    a.bye()
    assert table.story[3:] == ["a subjectSignal refer", "a release"]


def test_a_refer_that_is_challenged_is_one() -> None:
    table = Table()
    a = table.call("a", A_URI)
    a.connect()
    refer(a, f"<{B_URI}>", status=407)
    refer(a, f"<{B_URI}>", cseq=61)
    notify(a, 200, refer_cseq=61)
    assert table.story[3:] == ["a subjectSignal refer", "a redirection"]


@pytest.mark.parametrize("first_gone", ["b", "a"])
def test_19_attended_transfer(first_gone: str) -> None:
    table = Table()
    a, b = table.call("a", A_URI), table.call("b", B_URI)
    a.connect()
    hold(a, 10)
    b.connect()
    hold(b, 10)
    start = len(table.events)
    refer(a, replacing(b, B_URI))
    if first_gone == "a":
        notify(a, 200)
        a.bye()
    b.bye(from_caller=False)
    if first_gone == "b":
        notify(a, 200)
        a.bye()
    last = "b" if first_gone == "a" else "a"
    assert table.story[start:] == [
        "a subjectSignal refer", "a+b>a/b change", f"{first_gone} release", f"{last} release",
    ]  # fmt: skip
    asked = table.messages[start]
    assert isinstance(asked, cdc.SubjectSignal) and "Replaces=b%3B" in asked.refer[0]


def test_19_in_pcesp_names_the_other_call() -> None:
    table = Table(profile="pcesp")
    a, b = table.call("a", A_URI), table.call("b", B_URI)
    a.connect()
    hold(a, 10)
    b.connect()
    refer(a, replacing(b, B_URI))
    notify(a, 200)
    service = table.messages[-1]
    assert isinstance(service, cdc.ServiceInstance)
    assert (service.service_name, service.related_call_id) == ("Call_Transfer", cdc.CallIdentity(main="b"))


def test_the_subject_hangs_up_the_consultation_before_the_transfer_is_done() -> None:
    """S's own BYE is no proof of it."""
    table = Table()
    a, b = table.call("a", A_URI), table.call("b", B_URI)
    a.connect()
    hold(a, 10)
    b.connect()
    refer(a, replacing(b, B_URI))
    b.bye()
    assert table.story[-1] == "b release"
    assert not any("change" in line for line in table.story)


def test_a_replaces_that_names_no_dialog_of_the_subject_is_a_blind_transfer() -> None:
    table = Table()
    a = table.call("a", A_URI)
    a.connect()
    refer(a, f"<{B_URI}?Replaces=foreign%3Bto-tag%3Dx%3Bfrom-tag%3Dy>")
    notify(a, 200)
    assert table.story[-1] == "a redirection"
    (moved,) = [m for m in table.messages if isinstance(m, cdc.Redirection)]
    assert moved.redirected_to is not None and moved.redirected_to.uri == (B_URI,)


def test_the_subject_is_transferred() -> None:
    """A asks S to call B: what S is sent is a network signal; S's new call takes the place of the old one."""
    table = Table()
    a, b = table.call("a", A_URI), table.call("b", B_URI)
    a.connect()
    hold_by_a = dict(from_caller=False, cseq=30)
    a.offer(sdp(2, direction="sendonly", origin="a"), sdp(2, direction="recvonly"), **hold_by_a)  # type: ignore[arg-type]
    start = len(table.events)
    refer(a, f"<{B_URI}>", by_subject=False)
    b.connect()
    notify(a, 200, by_subject=False)
    a.bye(from_caller=False)
    b.bye()
    assert table.story[start:] == [
        "a networkSignal refer", "b origination", f"b {RINGBACK}", "b answer", "a>b change", "a release", "b release",
    ]  # fmt: skip
    asked = table.messages[start]
    assert isinstance(asked, cdc.NetworkSignal) and asked.refer[0] == f"Refer-To: <{B_URI}>"


# Replaces and Join in an INVITE


def test_a_call_that_takes_the_place_of_another() -> None:
    """A transferred S to B: B's INVITE replaces S's call with A. The phone does not ring."""
    table = Table()
    a, b = table.call("a", A_URI), table.call("b", B_URI, inwards=True)
    a.connect()
    b.invite(headers=(f"Replaces: a;to-tag={a.caller_tag};from-tag={a.called_tag}",))
    b.answer()
    a.bye()
    b.bye()
    assert table.story[3:] == ["b termAttempt", "b answer", "a>b change", "a release", "b release"]


@pytest.mark.parametrize("value", ["other;to-tag=x;from-tag=y", "a;to-tag=x;from-tag=y", "a", "a;to-tag=;from-tag=",
                                   ";;;", "a;early-only"])  # fmt: skip
def test_a_replaces_that_names_nothing_known_changes_nothing(value: str) -> None:
    table = Table()
    a, b = table.call("a", A_URI), table.call("b", B_URI, inwards=True, called_contact="sip:s@10.0.0.7")
    a.connect()
    b.invite(headers=(f"Replaces: {value}",))
    b.answer()
    assert not any("change" in line for line in table.story)


def test_a_call_that_joins_another() -> None:
    table = Table()
    a, b = table.call("a", A_URI), table.call("b", B_URI, inwards=True)
    a.connect()
    b.invite(headers=(f"Join: a;to-tag={a.caller_tag};from-tag={a.called_tag}",))
    b.answer()
    assert table.story[-4:] == ["b termAttempt", "b answer", "a+b>a change", "a+b confPartyChange"]  # it does not ring
    joined = table.messages[-1]
    assert isinstance(joined, cdc.ConfPartyChange)
    assert numbers(joined.communicating_parties) == [S[1:], A[1:], B[1:]]
    assert numbers(joined.joined_parties) == [B[1:]]


def test_hostile_refers() -> None:
    """Without end, without a target, with headers that parse as nothing: bounded, and one Release."""
    table = Table()
    a = table.call("a", A_URI)
    a.connect()
    for n in range(200):
        refer(a, f"<sip:x{n}@h?{'&' * 50}Replaces=%ff%00;;=&Replaces>", cseq=100 + n, status=0)
        a.request("REFER", cseq=400 + n)
        a.request("NOTIFY", cseq=700 + n, headers=(f"Event: refer;id={n}",), body="SIP/2.0 2")
    (call,) = table.model._calls.values()
    assert len(call.referrals) <= 8
    a.bye()
    assert table.story[-1] == "a release"
    assert sum("release" in line for line in table.story) == 1
