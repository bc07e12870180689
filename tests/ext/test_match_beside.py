"""Matching of what happens beside calls: single transactions, subscriptions, star codes; and how long each is known."""

import pytest

from mediation.core.interface.x2 import Direction, Role
from tests.ext.calls import PEER, SBC, Dialog, Point, Rig, sdp
from tests.ext.test_match import COUNTING, INVITE_HEADERS, STRANGER, SUBJECT, to_subject

REGISTERING = {("access", PEER): True, ("trunk", PEER): False, ("trunk", SBC): True, ("trusted-trunk", PEER): True}


@pytest.mark.parametrize(("side", "source"), REGISTERING)
def test_registration(side: str, source: str) -> None:
    rig = Rig(Point(side=side, own=(SBC,))).arm()
    d = Dialog(caller="sip:third@example.com", callee=SUBJECT)
    register = d.request("REGISTER", uri="sip:example.com", to_tag=False)
    pdus = rig.send(register, d.response(200, method="REGISTER"), source=source)
    expected = [Direction.FROM_TARGET, Direction.TO_TARGET] if REGISTERING[side, source] else []
    assert [p.direction for p in pdus] == expected


BESIDE = ["MESSAGE", "SUBSCRIBE", "NOTIFY", "REFER", "PUBLISH", "INFO", "OPTIONS"]


@pytest.mark.parametrize("method", BESIDE)
def test_what_happens_beside_calls_passes_and_is_soon_forgotten(method: str) -> None:
    rig = Rig().arm()
    for d, directions in (
        (Dialog(call_id="1"), [Direction.FROM_TARGET, Direction.TO_TARGET]),
        (to_subject(call_id="2"), [Direction.TO_TARGET, Direction.FROM_TARGET]),
    ):
        pdus = rig.send(d.request(method, to_tag=False), d.response(404, method=method))
        assert [p.direction for p in pdus] == directions
    assert rig.matcher.gauges()["calls"] == 2
    rig.now += 32_000_000_000
    rig.send(b"")
    assert rig.matcher.gauges()["calls"] == 0


@pytest.mark.parametrize(("side", "source"), COUNTING)
@pytest.mark.parametrize("name", INVITE_HEADERS)
@pytest.mark.parametrize("method", ["MESSAGE", "NOTIFY"])
def test_the_same_headers_count_beside_calls(side: str, source: str, name: str, method: str) -> None:
    rig = Rig(Point(side=side, own=("2001:db8::7", SBC))).arm()
    headers, uri, from_ = INVITE_HEADERS[name]
    octets = Dialog(caller=from_).request(method, uri=uri, headers=headers, to_tag=False)
    assert bool(rig.send(octets, source=source)) == (name in COUNTING[side, source])


def test_to_alone_names_nobody_beside_calls() -> None:
    rig = Rig().arm()
    assert rig.send(Dialog(caller=STRANGER).request("MESSAGE", uri=STRANGER, to=SUBJECT, to_tag=False)) == []


@pytest.mark.parametrize("code", ["*72", "*73", "*69", "*67", "%2a72"])
def test_a_star_code_is_found_by_who_dials_it(code: str) -> None:
    rig = Rig().arm()
    (pdu,) = rig.send(Dialog(callee=f"sip:{code}5550123@example.com").invite())
    assert pdu.role is Role.CALLING


STATE = "Subscription-State: "


@pytest.mark.parametrize(
    ("end", "ended"),
    [
        ([STATE + "terminated;reason=timeout"], True),
        (["subscription-state:TERMINATED"], True),
        ([STATE + "active;expires=9"], False),
        ([STATE + 'active;reason="terminated"'], False),
        ([], False),
    ],
)
def test_a_subscription_lives_until_its_last_notify(end: list[str], ended: bool) -> None:
    rig = Rig().arm()
    d = Dialog()
    rig.send(d.request("SUBSCRIBE", to_tag=False), d.response(200, method="SUBSCRIBE"))
    rig.now += 1800_000_000_000
    (pdu,) = rig.send(d.request("NOTIFY", by_callee=True, headers=end))
    assert (pdu.role, pdu.direction) == (Role.CALLING, Direction.TO_TARGET)
    rig.now += 32_000_000_000
    rig.send(b"")
    assert rig.matcher.gauges()["calls"] == (0 if ended else 1)


def test_unsubscribing_ends_a_subscription() -> None:
    rig = Rig().arm()
    d = Dialog()
    accepted = d.response(200, method="SUBSCRIBE")
    rig.send(d.request("SUBSCRIBE", to_tag=False), accepted)
    rig.send(d.request("SUBSCRIBE", cseq=2), accepted.replace(b"CSeq: 1", b"Expires: 0\r\nCSeq: 2"))
    rig.now += 32_000_000_000
    rig.send(b"")
    assert rig.matcher.gauges()["calls"] == 0


@pytest.mark.parametrize("method", ["SUBSCRIBE", "NOTIFY"])
def test_a_subscription_from_before_is_joined(method: str) -> None:
    rig = Rig().arm()
    d = Dialog()
    assert rig.send(d.response(200, method="SUBSCRIBE"), d.request("MESSAGE"), d.request("OPTIONS")) == []
    pdus = rig.send(d.request(method, cseq=5), d.response(200, method=method, cseq=5))
    assert [p.direction for p in pdus] == [Direction.FROM_TARGET, Direction.TO_TARGET]
    rig.now += 1800_000_000_000
    assert [p.direction for p in rig.send(d.request("NOTIFY", by_callee=True))] == [Direction.TO_TARGET]
    assert rig.count("calls_joined") == 1


@pytest.mark.parametrize("before", ["MESSAGE", "REGISTER", "SUBSCRIBE"])
def test_a_call_under_the_call_id_of_something_else_is_a_call(before: str) -> None:
    rig = Rig().arm(dde=True)
    d = Dialog()
    rig.send(d.request(before, to_tag=False, headers=["CSeq: 1"]), d.response(200, method=before))
    rig.send(d.invite(body=sdp()), d.response(200, body=sdp("192.0.2.77")))
    assert [destination for _, destination, _, _ in rig.flows()] == ["192.0.2.77"]
    rig.now += 3600_000_000_000 - 1
    assert len(rig.send(d.request("BYE", by_callee=True))) == 1


def test_a_call_up_before_is_joined_although_its_subscription_is_known() -> None:
    rig = Rig().arm()
    d = Dialog()
    rig.send(d.request("NOTIFY", headers=[STATE + "terminated"]))
    assert len(rig.send(d.request("INVITE", cseq=7))) == 1
    rig.now += 3600_000_000_000 - 1
    assert len(rig.send(d.request("BYE", by_callee=True))) == 1
    assert rig.count("calls") == 1


def test_every_request_of_its_own_says_who_sends_it() -> None:
    """A phone with one Call-ID for all its REGISTERs and a tag of its own for each; and two who write in turn."""
    rig = Rig().arm()
    for n in range(9):
        (pdu,) = rig.send(Dialog(caller_tag=f"tag-{n}").request("REGISTER", to_tag=False))
        assert pdu.direction == Direction.FROM_TARGET
    for turn, (d, direction) in enumerate([(Dialog(), 3), (to_subject(caller_tag="far"), 2)] * 2):
        (pdu,) = rig.send(d.request("MESSAGE", to_tag=False, cseq=turn))
        assert pdu.direction == direction
