"""The access process killed in mid-call: the call goes on under its handle, and nothing of an order that ended does."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import trio

from mediation.access import calls
from mediation.core.case import Capability
from mediation.core.interface import x1, x2
from tests.access.conftest import Wire
from tests.access.process import PHONE, PROXY, Access, answer, invite, rtp, running, sip

pytestmark = pytest.mark.root


def bye(call_id: str = "one") -> bytes:
    """By the party that was called."""
    return sip(
        f"BYE sip:+12125550100@{PHONE} SIP/2.0\nVia: SIP/2.0/UDP {PROXY};branch=z9hG4bK9\n"
        f"From: <sip:+13125550111@example.net>;tag=b\nTo: <sip:+12125550100@example.net>;tag=a\n"
        f"Call-ID: {call_id}\nCSeq: 7 BYE\nContent-Length: 0\n\n",
        source=PROXY, destination=PHONE,
    )  # fmt: skip


async def killed(access: Access) -> None:
    assert access.process is not None
    access.process.kill()
    await access.process.wait()
    await access.x1.aclose()
    await access.x2.aclose()
    await access.start()


async def test_digits_and_the_end_of_a_call_after_it_was_killed(
    folder: Path,
    wire: Wire,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with running(folder, wire, monkeypatch) as access:
        order = access.with_digits(access.order(capabilities=(Capability.CALL_DATA, Capability.DIGITS)))
        assert await access.ask(x1.ActivateTask(id=1, request=order)) == x1.Ok(id=1)
        wire.send(invite(), answer())
        first, _ = await access.pdus(2)
        for number in range(2):
            await killed(access)
            wire.send(rtp(101), rtp(101))  # nobody's, and the filter passes none of it
            assert await access.ask(x1.ActivateTask(id=1, request=order)) == x1.Ok(id=1)
            report = await access.report()
            assert report["calls"]["replayed"] == 2
            assert report["matcher"]["matched"] == report["matcher"]["calls"] == 0
            wire.send(rtp(101))
            (digit,) = await access.pdus(1)
            assert digit.correlation == first.correlation
            assert digit.payload_format == x2.PayloadFormat.RTP, number
        wire.send(bye())
        (end,) = await access.pdus(1)
        assert end.correlation == first.correlation
        assert end.direction == x2.Direction.TO_TARGET


async def test_an_order_that_ended_while_it_was_down_gives_nothing(
    folder: Path,
    wire: Wire,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with running(folder, wire, monkeypatch) as access:
        assert await access.ask(x1.ActivateTask(id=1, request=access.order())) == x1.Ok(id=1)
        wire.send(invite(), answer())
        await access.pdus(2)
        await killed(access)
        wire.send(bye(), rtp(101))
        await access.drained()
        report = await access.report()
        assert report["calls"]["found"] == 2
        assert report["calls"]["replayed"] == report["matcher"]["pdus"] == report["matcher"]["calls"] == 0
        assert report["taps"][0]["frames"]["flows_added"] == 0


async def test_what_a_stopped_order_left_is_gone_within_a_second_or_two(
    folder: Path,
    wire: Wire,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with running(folder, wire, monkeypatch) as access:
        assert await access.ask(x1.ActivateTask(id=1, request=access.order())) == x1.Ok(id=1)
        wire.send(invite(), answer())
        pdu, _ = await access.pdus(2)
        assert b"INVITE" in os.pread(access.calls, calls.FILE_OCTETS, 0)
        assert not (folder / "run" / calls.FILE).exists()
        assert await access.ask(x1.DeactivateTask(id=2, xid=pdu.xid.hex())) == x1.Ok(id=2)
        with trio.fail_after(60):
            while b"INVITE" in os.pread(access.calls, calls.FILE_OCTETS, 0):
                await trio.sleep(0.05)
