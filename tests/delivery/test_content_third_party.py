"""Content from a third party's point of interception, over real TLS, through the mediator to the agency."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio

from mediation.core.channel import content_ip
from mediation.core.interface import x2
from mediation.core.interface.x2 import Direction, PayloadFormat, PduType
from mediation.runtime.tls import Channel
from tests.delivery.content_rig import OTHER_MEDIA, SUBJECT_MEDIA, ContentRig, ContentTap, bye, rtp, set_up
from tests.delivery.house import xid_of
from tests.delivery.links import free_port, until
from tests.delivery.rig import Rig
from tests.delivery.test_content import armed, sent
from tests.delivery.test_content_short import lost
from tests.delivery.test_interception_point import POINT, foreign, house, pdu


class Point:
    """A third party that is tasked with one XID, and connected."""

    def __init__(self, r: ContentRig, channel: Channel, xid: bytes) -> None:
        self.r, self.channel, self.xid = r, channel, xid
        self._numbers = {PduType.X2: 0, PduType.X3: 0}

    def _made(self, kind: PduType, **changes: Any) -> bytes:
        self._numbers[kind] += 1
        return foreign(x2.encode(pdu(self._numbers[kind], **{"type": kind, "xid": self.xid, **changes})))

    async def say(self, *messages: bytes) -> None:
        for message in messages:
            answer = message.startswith(b"SIP/2.0")
            way = Direction.TO_TARGET if answer else Direction.FROM_TARGET
            await self.channel.send(self._made(PduType.X2, payload=message, direction=way))

    async def content(self, payload: bytes, form: PayloadFormat = PayloadFormat.IPV4, **changes: Any) -> None:
        await self.channel.send(self._made(PduType.X3, payload=payload, payload_format=form, **changes))


@pytest.fixture
async def point(tmp_path: Path) -> AsyncIterator[Point]:
    made, port = house(tmp_path)
    base = Rig(made, free_port())
    with trio.fail_after(60):
        await base.start()
        r = ContentRig(base, ContentTap(made.site.run_dir))
        try:
            await r.tap.connected()
            async with r.collecting():
                xid = await armed(r)
                channel = await Channel.connect("127.0.0.1", port, made.certificates.client("point"))
                yield Point(r, channel, xid)
                channel.close()
        finally:
            with trio.CancelScope(shield=True):
                await base.process.end()
                await base.tap.close()
                await r.tap.close()


async def test_ip_packets_arrive_as_they_were_sent(point: Point) -> None:
    await point.say(*set_up("third"))
    for number in range(20):
        await point.content(rtp(number))
        await point.content(rtp(number, from_subject=False), direction=Direction.TO_TARGET)
    await until(lambda: point.r.agency.count == 40)
    await point.say(*bye("third"))
    await until(lambda: "release" in point.r.names())
    ids = point.r.channels("third")
    assert point.r.agency.packets[ids["from"]] == sent(range(20), from_subject=True)
    assert point.r.agency.packets[ids["to"]] == sent(range(20), from_subject=False)
    assert point.r.names()[-6:] == ["origination", "networkSignal", "ccOpen", "answer", "ccClose", "release"]
    assert {each.iap for _, each in point.r.agency.arrivals} == {POINT}
    report = await point.r.base.report()
    assert lost(report) == {}
    assert report["content"]["third_party"] == {"no_endpoints": 0, "oversize": 0, "unstamped": 0}


async def test_rtp_alone_gets_the_header_of_its_endpoints(point: Point) -> None:
    await point.say(*set_up("third"))
    voice = bytes([0x80, 0]) + bytes(170)
    ends = {"source": SUBJECT_MEDIA, "destination": OTHER_MEDIA}
    await point.content(voice, PayloadFormat.RTP)
    await point.content(voice, PayloadFormat.RTP, source=SUBJECT_MEDIA)
    await point.content(voice, PayloadFormat.RTP, **ends)
    await point.content(rtp(1), stamp_ns=0)
    await until(lambda: point.r.agency.count == 2)
    # Its message came by another connection than the content.
    await until(lambda: any((each.message, each.call) == ("ccOpen", "third") for each in point.r.decoded()))
    made = content_ip.udp_packet(SUBJECT_MEDIA, OTHER_MEDIA, voice)
    assert point.r.agency.packets[point.r.channels("third")["from"]] == [made, rtp(1)]
    report = (await point.r.base.report())["content"]
    assert report["third_party"] == {"no_endpoints": 2, "oversize": 0, "unstamped": 1}


async def test_what_is_not_content_of_a_live_order_is_refused(point: Point) -> None:
    await point.say(*set_up("third"))
    without = point.r.order(case="CASE-2", subjects=("tel:+12125550101",))
    await point.content(rtp(1), xid=xid_of(without))
    await point.content(rtp(2), xid=bytes(16))
    await point.content(b"\x60" + bytes(30))
    await point.content(rtp(3), direction=Direction.UNKNOWN)
    await point.content(rtp(4))
    await until(lambda: point.r.agency.count == 1)
    found = lost(await point.r.base.report())
    assert found == {"refused_unknown": 2, "not_ip": 1, "no_direction": 1}


async def test_its_content_and_ours_do_not_touch(point: Point) -> None:
    """A third party's whole PDUs come in the middle of one of our access function's."""
    await point.say(*set_up("third"))
    r = point.r
    await r.base.tap.send(r.base.tap.pdus(point.xid, set_up("own"), 1))
    octets = r.tap.pdus(point.xid, [rtp(n, call=2) for n in range(10)], 1)
    for at in range(0, len(octets), 100):
        await r.tap.send(octets[at : at + 100])
        await point.content(rtp(at // 100))
    count = -(-len(octets) // 100)
    await until(lambda: r.agency.count == 10 + count)
    assert r.agency.packets[r.channels("own")["from"]] == sent(range(10), from_subject=True, call_number=2)
    assert r.agency.packets[r.channels("third")["from"]] == sent(range(count), from_subject=True)
    with contextlib.suppress(KeyError):
        assert not lost(await r.base.report())["missing"]
