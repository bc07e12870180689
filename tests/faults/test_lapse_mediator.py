"""The mediator killed while a call's inferred end lies in its journal, or the end of its content is on its way."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from mediation.core.channel.content import Reason
from mediation.core.interface import x1
from mediation.core.interface.notice import LAYOUT, VERSION, Notice
from mediation.core.interface.x2 import Direction, PayloadFormat
from tests.delivery.content_rig import OTHER_MEDIA, SUBJECT_MEDIA, ContentRig, bye, content_rig, rtp, sdp, set_up
from tests.delivery.house import sip, xid_of
from tests.delivery.links import until

CALL = 7  # the access function's handle
BEGUN = ["origination", "networkSignal", "ccOpen", "answer"]


def told(r: ContentRig) -> list[str]:
    return [name for name in r.names() if name != "surveillanceStatus"]


def reasons(r: ContentRig) -> list[str]:
    return [each.fields["unavailabilityReason"] for each in r.decoded() if each.message == "ccUnavailable"]


async def spoken(r: ContentRig, order: Any) -> bytes:
    """A call with content, five packets of it delivered; the order's XID."""
    xid = xid_of(order)
    assert await r.base.ask(x1.ActivateTask(request=order)) == x1.Ok()
    await r.base.tap.send(r.base.tap.pdus(xid, set_up("one"), CALL))
    await r.tap.send(r.tap.pdus(xid, [rtp(number) for number in range(5)], CALL))
    await until(lambda: r.agency.count >= 5 and told(r) == BEGUN)
    return xid


async def notice(r: ContentRig, xid: bytes, what: Notice) -> None:
    await r.base.tap.send(
        r.base.tap.pdus(
            xid, [LAYOUT.pack(VERSION, what)], CALL,
            payload_format=PayloadFormat.PROPRIETARY, direction=Direction.NOT_APPLICABLE,
        )
    )  # fmt: skip


async def restarted(r: ContentRig, order: Any, how: signal.Signals = signal.SIGKILL) -> None:
    await r.base.report()
    await r.base.process.end(how)
    await r.base.tap.hang_up()
    await r.tap.hang_up()
    await r.base.start()
    await r.tap.connected()
    assert await r.base.ask(x1.ActivateTask(request=order)) == x1.Ok()
    report = await r.base.report()
    assert report["tracker"]["restored"] == 1 and report["journal"]["refused"] == 0


def reinvite() -> list[bytes]:
    offer, answer = sdp(SUBJECT_MEDIA), sdp(OTHER_MEDIA)
    return [
        sip("one", "INVITE sip:+12125550123@192.0.2.2 SIP/2.0", to_tag="b", cseq="2 INVITE", body=offer),
        sip("one", "SIP/2.0 200 OK", to_tag="b", cseq="2 INVITE", body=answer),
    ]


@pytest.mark.parametrize(
    ("what", "reason"), [(Notice.LAPSED_SESSION, Reason.EXPIRED), (Notice.LAPSED_SILENT, Reason.SILENT)]
)
async def test_a_lapsed_call_stays_closed_until_its_signalling_opens_it(
    tmp_path: Path, what: Notice, reason: Reason
) -> None:
    async with content_rig(tmp_path) as r, r.collecting():
        order = r.order()
        xid = await spoken(r, order)
        await notice(r, xid, what)
        await until(lambda: told(r) == [*BEGUN, "ccUnavailable", "ccClose"])
        await restarted(r, order)
        await notice(r, xid, what)
        await r.base.report_where(lambda found: found["tracker"]["pdus"] == 1)
        assert told(r) == [*BEGUN, "ccUnavailable", "ccClose"] and reasons(r) == [reason]
        await r.base.tap.send(r.base.tap.pdus(xid, reinvite(), CALL))
        await until(lambda: told(r).count("ccOpen") == 2)
        await r.tap.send(r.tap.pdus(xid, [rtp(number) for number in range(10, 15)], CALL))
        await until(lambda: r.agency.count >= 10)
        await r.base.tap.send(r.base.tap.pdus(xid, bye("one"), CALL))
        await until(lambda: "release" in told(r))
        assert told(r).count("ccClose") == 2 and told(r).count("ccUnavailable") == told(r).count("release") == 1
        packets = [packet for each in r.agency.packets.values() for packet in each]
        assert packets == [rtp(number) for number in (*range(5), *range(10, 15))]


async def test_doubt_outlives_it_and_the_call_s_own_media_end_it(tmp_path: Path) -> None:
    async with content_rig(tmp_path) as r, r.collecting():
        order = r.order()
        xid = await spoken(r, order)
        await notice(r, xid, Notice.DOUBTED)
        await until(lambda: told(r) == [*BEGUN, "ccUnavailable"])
        await restarted(r, order)
        await notice(r, xid, Notice.DOUBTED)  # the access function says it again when it has started anew
        await r.base.report_where(lambda found: found["tracker"]["pdus"] == 1)
        await r.tap.send(r.tap.pdus(xid, [rtp(number) for number in range(5, 10)], CALL))
        await until(lambda: "ccChange" in told(r))
        await until(lambda: r.agency.count >= 10)
        await notice(r, xid, Notice.LAPSED_DOUBTED)
        await until(lambda: "ccClose" in told(r))
        await restarted(r, order)
        await r.base.tap.send(r.base.tap.pdus(xid, bye("one"), CALL))
        await until(lambda: "release" in told(r))
        assert told(r) == [*BEGUN, "ccUnavailable", "ccChange", "ccUnavailable", "ccClose", "release"]
        assert reasons(r) == [Reason.DOUBTED, Reason.OVERTAKEN]


@pytest.mark.parametrize(
    "ends", [[signal.SIGKILL], [signal.SIGKILL, signal.SIGKILL], [signal.SIGTERM, signal.SIGKILL]],
    ids=["killed", "killed twice", "stopped"],
)  # fmt: skip
async def test_an_end_that_waits_for_its_content_is_told_by_the_next_process(
    tmp_path: Path, ends: list[signal.Signals]
) -> None:
    """Killed within the tenth of a second in which CCClose and Release wait for the call's last packets."""
    async with content_rig(tmp_path) as r, r.collecting():
        order = r.order()
        xid = await spoken(r, order)
        await r.base.tap.send(r.base.tap.pdus(xid, bye("one"), CALL))
        await r.base.report_where(lambda found: found["tracker"]["pdus"] == 4)
        for how in ends:
            await restarted(r, order, how)
        await until(lambda: told(r) == [*BEGUN, "ccClose", "release"])
        await r.base.report_where(lambda found: found["content"]["closing"] == 0)
        await restarted(r, order)
        await r.base.tap.send(r.base.tap.pdus(xid, set_up("two"), CALL + 1))
        await until(lambda: told(r)[-1] == "answer")
        assert told(r) == [*BEGUN, "ccClose", "release", *BEGUN]
