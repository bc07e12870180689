"""Offer and answer: who holds, what is news, what is only the same thing again."""

from __future__ import annotations

import pytest

from mediation.core.channel.media import Change, Description, Exchange, Side, describe
from tests.core.call_rig import sdp


def body(version: int = 1, **more: str) -> Description:
    found = describe(sdp(version, **more).encode())  # type: ignore[arg-type]
    assert found is not None
    return found


@pytest.fixture
def exchange() -> Exchange:
    made = Exchange()
    assert made.set_up(Side.CALLER, body())
    assert made.set_up(Side.CALLEE, body(origin="b"))
    return made


def test_an_answer_that_had_to_be_one_way_is_no_hold(exchange: Exchange) -> None:
    hold = exchange.agree(Side.CALLER, body(2, direction="sendonly"), body(2, direction="inactive", origin="b"))
    assert (hold, exchange.holding, exchange.removed_by) == (Change.HELD, [True, False], Side.CALLER)


def test_an_answer_that_need_not_be_one_way_is_a_hold(exchange: Exchange) -> None:
    hold = exchange.agree(Side.CALLER, body(2), body(2, direction="sendonly", origin="b"))
    assert (hold, exchange.holding) == (Change.HELD, [False, True])
    assert exchange.changed_by is exchange.removed_by is Side.CALLEE


def test_a_hold_stays_until_both_have_let_go(exchange: Exchange) -> None:
    changes = [
        exchange.agree(Side.CALLER, body(2, direction="sendonly"), body(2, direction="recvonly", origin="b")),
        exchange.agree(Side.CALLEE, body(3, direction="inactive", origin="b"), body(3, direction="inactive")),
        exchange.agree(Side.CALLER, body(4), body(4, direction="sendonly", origin="b")),
        exchange.agree(Side.CALLEE, body(5, origin="b"), body(5)),
    ]
    assert changes == [Change.HELD, Change.HOLD, Change.HOLD, Change.RETRIEVED]


def test_a_refresh_of_a_held_side_is_no_hold_by_it(exchange: Exchange) -> None:
    exchange.agree(Side.CALLER, body(2, direction="inactive"), body(2, direction="inactive", origin="b"))
    refresh = exchange.agree(Side.CALLEE, body(2, direction="inactive", origin="b"), body(2, direction="inactive"))
    assert (refresh, exchange.holding) == (Change.NOTHING, [True, False])


@pytest.mark.parametrize(
    ("second", "same"),
    [
        (body(), True),
        (body(2), True),  # the version grew, nothing else
        (body(address="10.9.9.9", port=5), False),
        (body(2, codec="8 PCMA"), False),
        (body(direction="recvonly"), False),  # a device that forgets to raise the version
    ],
)  # fmt: skip
def test_what_is_news(second: Description, same: bool) -> None:
    assert second.same_as(body()) is same


def test_the_same_origin_behind_another_address_is_the_same() -> None:
    first = body()
    anchored = describe(sdp().replace("c=IN IP4 10.0.0.5", "c=IN IP4 10.3.3.3").replace("40000", "50002").encode())
    assert anchored is not None and anchored.same_as(first)


def test_what_is_no_description() -> None:
    assert describe(b"") is None
    assert describe(b"Signal=5\r\nDuration=160\r\n") is None
    mixed = b"--x\r\nContent-Type: application/sdp\r\n\r\n" + sdp().encode() + b"\r\n--x--\r\n"
    found = describe(mixed)
    assert found is not None and found.text.startswith("v=0") and "--x" not in found.text
