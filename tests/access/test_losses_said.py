"""What the match had no room for, or gave up, is said in the log: a flood must not push a live order's call out in
silence."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from mediation.access.iap import AccessFunction
from tests.ext.calls import HOUR, Dialog, Point, Rig, sdp


def function(rig: Rig, said: list[dict[str, int]]) -> Any:
    made: Any = AccessFunction.__new__(AccessFunction)
    made._site, made.points, made.matcher, made._said = SimpleNamespace(access_points=()), (), rig.matcher, {}
    made.reader = SimpleNamespace(counters=dict)
    made._log = SimpleNamespace(warning=lambda _, **grown: said.append(grown))
    return made


@pytest.mark.parametrize("name", ["calls_evicted", "sdp_streams_refused", "flows_refused", "calls_lapsed_silent"])
def test_what_a_live_order_misses_is_said_once(name: str) -> None:
    said: list[dict[str, int]] = []
    rig = Rig(Point(), call_capacity=1 if name == "calls_evicted" else 8).arm(content=True)
    made = function(rig, said)
    many = sdp() + "".join(f"m=audio {port} RTP/AVP 0\r\n" for port in range(20_000, 20_020, 2))
    rig.send(Dialog().invite(body="" if name == "calls_evicted" else many))
    if name == "calls_evicted":
        rig.send(Dialog(call_id="another").invite())
    if name == "flows_refused":  # 8 forks of 8 streams with RTCP of their own
        for fork in range(8):
            body = many.replace("audio 20", f"audio 2{fork + 1}")
            rig.send(Dialog(callee_tag=f"fork{fork}").response(183, body=body), source="198.51.100.1")
    if name == "calls_lapsed_silent":
        rig.matcher.expire(rig.now + HOUR)
    made._say_losses()
    assert said and said[0].get(name, 0) > 0
    made._say_losses()
    assert len(said) == 1
