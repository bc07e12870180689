"""Calls that were up before: armed in mid-call, or restarted. Which requests bring them in."""

from __future__ import annotations

import pytest

from mediation.core.interface.x2 import Direction, Role
from tests.ext.calls import PEER, SBC, Dialog, Point, Rig


@pytest.mark.parametrize("method", ["INVITE", "UPDATE", "PRACK", "INFO", "REFER"])
def test_a_call_that_was_up_before_is_joined(method: str) -> None:
    """Armed in mid-call: the next request with an identity that counts brings the call in; it ends like any other."""
    rig = Rig().arm()
    d = Dialog()
    assert rig.send(d.response(200), d.request("ACK"), d.request("OPTIONS"), d.request("MESSAGE")) == []
    stranger = Dialog(caller="sip:+13125550123@x", callee="sip:+13125550124@x", call_id="other")
    assert rig.send(stranger.request(method)) == []
    pdus = rig.send(d.request(method, cseq=5), d.response(488, method=method, cseq=5), d.request("BYE", by_callee=True))
    assert [(p.role, p.direction) for p in pdus] == [
        (Role.CALLING, Direction.FROM_TARGET), (Role.CALLING, Direction.TO_TARGET), (Role.CALLING, Direction.TO_TARGET),
    ]  # fmt: skip
    assert (rig.count("calls"), rig.count("calls_joined")) == (1, 1)
    rig.now += 32_000_000_000
    rig.send(b"")
    assert rig.matcher.gauges()["calls"] == 0


def test_the_bye_of_a_call_that_was_up_before_joins_and_ends_it() -> None:
    rig = Rig().arm()
    d = Dialog()
    assert len(rig.send(d.request("BYE"), d.response(200, method="BYE"))) == 2
    rig.now += 32_000_000_000
    rig.send(b"")
    assert rig.matcher.gauges()["calls"] == 0


def test_a_stranger_on_a_trunk_joins_nothing() -> None:
    rig = Rig(Point(side="trunk", own=(SBC,))).arm()
    assert rig.send(Dialog().request("INVITE", uri="sip:x@192.0.2.1"), source=PEER) == []
