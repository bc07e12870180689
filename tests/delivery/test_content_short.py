"""Calls that are over before anybody looked: their content arrives all the same, between its opening and its close."""

from __future__ import annotations

import itertools
import time
from pathlib import Path
from typing import Literal

import msgspec
import pytest
import trio

from mediation.core.interface import x2
from mediation.delivery.closing import TAIL_NS
from tests.delivery.content_rig import ContentRig, bye, content_rig, rtp, set_up
from tests.delivery.house import sip
from tests.delivery.links import until
from tests.delivery.test_content import armed, sent

STORY = ["origination", "networkSignal", "ccOpen", "answer", "ccClose", "release"]
ACK = "ACK sip:+12125550123@192.0.2.2 SIP/2.0"


def short_call(r: ContentRig, xid: bytes, number: int, packets: int) -> tuple[bytes, bytes]:
    """X2 of a whole call, and X3 of what was said in it, stamped between the two ends."""
    name = f"call-{number}"
    signalling = r.base.tap.pdus(xid, [*set_up(name), sip(name, ACK, to_tag="b", cseq="1 ACK")], number)
    content = b"".join(
        r.tap.pdus(xid, [rtp(at, from_subject=way, call=number)], number, from_subject=way)
        for at, way in itertools.product(range(packets), (True, False))
    )
    return signalling + r.base.tap.pdus(xid, bye(name), number), content


def lost(report: dict[str, dict[str, dict[str, int]]]) -> dict[str, int]:
    counters = report["content"]["counters"]
    harmless = ("packets", "octets", "delivered", "held", "keepalives")
    return {name: count for name, count in counters.items() if name not in harmless}


@pytest.mark.parametrize("form", ["cc-apdu", "packetcable"])
@pytest.mark.parametrize("order", ["content first", "signalling first", "both at once"])
async def test_a_whole_call_in_one_write(tmp_path: Path, order: str, form: Literal["cc-apdu", "packetcable"]) -> None:
    async with content_rig(tmp_path) as r, r.collecting():
        xid = await armed(r, form=form)
        signalling, content = short_call(r, xid, 1, 3)
        if order == "content first":
            await r.tap.send(content)
            await r.base.report_where(lambda found: found["content"]["counters"].get("held") == 6)
            await r.base.tap.send(signalling)
        elif order == "signalling first":
            await r.base.tap.send(signalling)
            await r.base.report_where(lambda found: found["tracker"]["pdus"] == 5)
            await r.tap.send(content)
        else:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(r.base.tap.send, signalling)
                nursery.start_soon(r.tap.send, content)
        await until(lambda: r.agency.count == 6 and "release" in r.names())
        assert r.names()[1:] == STORY
        ids = r.channels("call-1")
        assert r.agency.packets[ids["from"]] == sent(range(3), from_subject=True)
        assert r.agency.packets[ids["to"]] == sent(range(3), from_subject=False)
        assert lost(await r.base.report()) == {}


async def test_stamps_say_what_belongs_to_the_call(tmp_path: Path) -> None:
    """What was under way at its end is its own; what was captured later is nobody's."""
    async with content_rig(tmp_path) as r, r.collecting():
        xid = await armed(r)
        signalling, content = short_call(r, xid, 1, 1)
        await r.base.tap.send(signalling)
        ended_ns = max(pdu.stamp_ns for pdu in x2.Framer().feed(signalling))
        late = [
            msgspec.structs.replace(pdu, stamp_ns=ended_ns + more)
            for pdu, more in zip(
                x2.Framer().feed(b"".join(r.tap.pdus(xid, [rtp(at)], 1) for at in (10, 11))),
                (TAIL_NS, TAIL_NS + 1),
                strict=True,
            )
        ]
        await r.tap.send(content + b"".join(map(x2.encode, late)))
        await until(lambda: "release" in r.names() and r.agency.count == 3)
        await r.tap.send(r.tap.pdus(xid, [rtp(12)], 1))
        report = await r.base.report_where(lambda found: found["content"]["counters"]["packets"] == 5)
        assert lost(report) == {"after_close": 2}
        assert r.agency.packets[r.channels("call-1")["from"]] == [rtp(0), rtp(10)]


async def test_a_thousand_short_calls_lose_nothing(tmp_path: Path) -> None:
    calls, packets = 1000, 6
    async with content_rig(tmp_path) as r, r.collecting():
        xid = await armed(r, maximum=calls)
        began = time.monotonic()
        for number in range(1, calls + 1):
            signalling, content = short_call(r, xid, number, packets)
            first, second = (r.tap.send, content), (r.base.tap.send, signalling)
            for send, octets in (first, second) if number % 2 else (second, first):
                await send(octets)
        await until(lambda: r.agency.count >= 2 * calls * packets)
        await until(lambda: len(r.base.collector.messages) >= 1 + len(STORY) * calls)
        # Where this sender was kept waiting between a call's signalling and its content, for longer than a close waits,
        # that content is late: delivered all the same, as counted above.
        late = (counters := lost(await r.base.report())).pop("late", 0)
        assert counters == {} and late <= calls * packets // 100
        print(f"{calls} calls in {time.monotonic() - began:.1f} s")
    by_call: dict[str, list[str]] = {}
    for each in r.decoded()[1:]:
        by_call.setdefault(str(each.call), []).append(each.message)
    assert len(by_call) == calls and set(map(tuple, by_call.values())) == {tuple(STORY)}
    opened = {each.call: each for each in r.decoded() if each.message == "ccOpen"}
    for number in (1, 2, 999, 1000):
        pair = opened[f"call-{number}"].fields["deliveryIdentifier"]["cccId"]["sepCCCpair"]
        assert r.agency.packets[pair["sepXmitCCC"]] == sent(range(packets), from_subject=True, call_number=number)
