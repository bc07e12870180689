"""Content through the mediator as a process: octets as they were sent, in both forms, of live orders only."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Literal

import msgspec
import pytest
import trio

from mediation.core.authority import jws
from mediation.core.case import Authority, Capability, Destination, LegalToken, TaskRequest
from mediation.core.interface import x1
from tests.delivery.content_rig import ContentRig, bye, content_rig, rtp, set_up
from tests.delivery.house import call, xid_of
from tests.delivery.links import until

FORMS: list[tuple[Literal["cc-apdu", "packetcable"], Literal["combined", "separated"]]] = [
    ("cc-apdu", "separated"), ("cc-apdu", "combined"), ("packetcable", "separated"), ("packetcable", "combined"),
]  # fmt: skip


async def armed(r: ContentRig, **changes: object) -> bytes:
    order = r.order(**changes)  # type: ignore[arg-type]
    assert await r.base.ask(x1.ActivateTask(request=order)) == x1.Ok()
    return xid_of(order)


async def both_ways(r: ContentRig, xid: bytes, numbers: range, correlation: int = 1, call_number: int = 1) -> None:
    """The packets of a stretch of call, in both directions."""
    for number in numbers:
        out, back = rtp(number, call=call_number), rtp(number, from_subject=False, call=call_number)
        await r.tap.send(r.tap.pdus(xid, [out], correlation))
        await r.tap.send(r.tap.pdus(xid, [back], correlation, from_subject=False))


def sent(numbers: range, *, from_subject: bool, call_number: int = 1) -> list[bytes]:
    return [rtp(number, from_subject=from_subject, call=call_number) for number in numbers]


@pytest.mark.parametrize(("form", "channels"), FORMS, ids=["-".join(each) for each in FORMS])
async def test_octets_arrive_as_they_were_sent(
    tmp_path: Path, form: Literal["cc-apdu", "packetcable"], channels: Literal["combined", "separated"]
) -> None:
    async with content_rig(tmp_path) as r, r.collecting():
        xid = await armed(r, form=form, channels=channels)
        await r.base.tap.send(r.base.tap.pdus(xid, set_up("call-1"), 1))
        await both_ways(r, xid, range(200))
        await until(lambda: r.agency.count >= 400)
        await r.base.tap.send(r.base.tap.pdus(xid, bye("call-1"), 1))
        await until(lambda: "release" in r.names())
        ids = r.channels("call-1")
        if channels == "separated":
            assert r.agency.packets[ids["from"]] == sent(range(200), from_subject=True)
            assert r.agency.packets[ids["to"]] == sent(range(200), from_subject=False)
        else:
            mixed = r.agency.packets[ids["both"]]
            assert [each for each in mixed if each in set(sent(range(200), from_subject=True))] == mixed[::2]
            assert mixed[1::2] == sent(range(200), from_subject=False)
        assert set(r.agency.packets) == set(ids.values())
        assert [each.lost for each in r.agency.account._channels.values()] == [0] * len(ids)
        report = (await r.base.report())["content"]
        assert report["counters"]["delivered"] == 400 == report["links"][0]["sent"]
    story = ["origination", "networkSignal", "ccOpen", "answer", "ccClose", "release"]
    assert r.names()[1:] == story


async def test_first_packets_that_overtake_the_signalling_wait_for_their_channel(tmp_path: Path) -> None:
    async with content_rig(tmp_path) as r, r.collecting():
        xid = await armed(r)
        invite, ringing, answer = set_up("call-1")
        await both_ways(r, xid, range(5))
        await r.base.report_where(lambda found: found["content"]["counters"].get("held") == 10)
        assert r.agency.count == 0
        await r.base.tap.send(r.base.tap.pdus(xid, [invite, ringing], 1))
        await both_ways(r, xid, range(5, 10))
        await r.base.tap.send(r.base.tap.pdus(xid, [answer], 1))
        await until(lambda: r.agency.count >= 20 and "ccOpen" in r.names())
        assert r.agency.packets[r.channels("call-1")["from"]] == sent(range(10), from_subject=True)


async def test_nothing_of_other_calls_orders_or_strangers_arrives(tmp_path: Path) -> None:
    async with content_rig(tmp_path) as r, r.collecting():
        xid = await armed(r)
        without = r.order(case="CASE-2", subjects=("tel:+12125550101",), capabilities=(Capability.CALL_DATA,))
        destination = msgspec.structs.replace(destination_of(without), content=None)
        without = r.order(
            case="CASE-2", subjects=("tel:+12125550101",), capabilities=(Capability.CALL_DATA,),
            authority=Authority.PEN_REGISTER, destination=destination,
        )  # fmt: skip
        assert await r.base.ask(x1.ActivateTask(request=without)) == x1.Ok()
        await r.base.tap.send(r.base.tap.pdus(xid, set_up("call-1"), 1))
        await r.base.tap.send(r.base.tap.pdus(xid_of(without), set_up("call-2"), 2))
        await until(lambda: "ccOpen" in r.names())
        await r.tap.send(r.tap.pdus(xid_of(without), sent(range(10), from_subject=True, call_number=2), 2))
        await r.tap.send(r.tap.pdus(bytes(16), sent(range(10), from_subject=True, call_number=3), 1))
        await r.tap.send(r.tap.pdus(xid, sent(range(10), from_subject=True, call_number=4), 99))  # no call of that name
        await both_ways(r, xid, range(10))
        await until(lambda: r.agency.count >= 20)
        report = await r.base.report_where(lambda found: found["content"]["counters"]["packets"] == 50)
        counters = report["content"]["counters"]
        assert (counters["refused_no_content"], counters["refused_unknown"], counters["held"]) == (10, 10, 10)
        await until(lambda: any(line["event"] == "alarm_task_unknown" for line in r.base.process.log()))
    received = [packet for packets in r.agency.packets.values() for packet in packets]
    assert sorted(received) == sorted(sent(range(10), from_subject=True) + sent(range(10), from_subject=False))


def destination_of(order: TaskRequest) -> Destination:
    return jws.decode(jws.split(order.legal).payload, LegalToken).destination


async def test_revoked_in_mid_call_nothing_more_leaves(tmp_path: Path) -> None:
    async with content_rig(tmp_path) as r, r.collecting():
        xid = await armed(r)
        await r.base.tap.send(r.base.tap.pdus(xid, set_up("call-1"), 1))
        await both_ways(r, xid, range(50))
        await until(lambda: r.agency.count >= 100)
        assert await r.base.ask(x1.DeactivateTask(xid=xid.hex())) == x1.Ok()
        await both_ways(r, xid, range(50, 100))
        await r.base.report_where(lambda found: found["content"]["counters"].get("refused_ended") == 100)
        await until(lambda: "ccClose" in r.names())
        await until(lambda: r.names().count("surveillanceStatus") == 2)
        assert r.agency.count == 100
        assert r.names()[-2:] == ["ccClose", "surveillanceStatus"]


async def test_a_window_that_ends_in_mid_call(tmp_path: Path) -> None:
    async with content_rig(tmp_path) as r, r.collecting():
        end_s = int(time.time()) + 2
        xid = await armed(r, seconds=end_s - r.base.house.now_s)
        await r.base.tap.send(r.base.tap.pdus(xid, set_up("call-1"), 1))
        number = 0
        while time.time() < end_s + 0.3:
            await both_ways(r, xid, range(number, number + 1))
            number += 1
            await trio.sleep(0.005)
        await r.base.report_where(lambda found: found["content"]["counters"]["packets"] == 2 * number)
        await until(lambda: r.names()[-1] == "surveillanceStatus")
        assert r.names()[-2] == "ccClose"
        counters = (await r.base.report())["content"]["counters"]
        assert counters["refused_ended"] > 0 and counters["delivered"] == r.agency.count
        assert max(packet.timestamp_ns or 0 for _, packet in r.agency.arrivals) < end_s * 1_000_000_000


async def test_the_agency_goes_away_and_comes_back(tmp_path: Path) -> None:
    lost = "content delivery link down"
    async with content_rig(tmp_path) as r:
        async with r.collecting():
            xid = await armed(r)
            await r.base.tap.send(r.base.tap.pdus(xid, set_up("call-1"), 1))
            await both_ways(r, xid, range(50))
            await until(lambda: r.agency.count >= 100)
        await r.base.report_where(lambda found: found["content"]["links"][0]["state"] == "down")
        await both_ways(r, xid, range(50, 100))
        report = await r.base.report_where(lambda found: found["content"]["counters"].get("lost_down") == 100)
        async with r.collecting():
            await r.base.report_where(lambda found: found["content"]["links"][0]["state"] == "up")
            await until(lambda: "ccChange" in r.names())
            await both_ways(r, xid, range(100, 150))
            await until(lambda: r.agency.count >= 200)
            reasons = [each.fields["unavailabilityReason"] for each in r.decoded() if each.message == "ccUnavailable"]
            assert reasons == [lost]
            assert r.names()[3:] == ["ccOpen", "answer", "ccUnavailable", "ccChange"]
        assert report["content"]["links"][0]["lost_down"] == 100
    ids = r.channels("call-1")
    there = [*range(50), *range(100, 150)]
    assert r.agency.packets[ids["from"]] == [rtp(number) for number in there]
    assert {each.lost for each in r.agency.account._channels.values()} == {50}


async def test_a_far_side_with_another_certificate_gets_nothing(tmp_path: Path) -> None:
    async with content_rig(tmp_path) as r:
        r.base.house.certificates.issue("other")
        r.agency.receiver._tls = r.base.house.certificates.server("other")
        async with r.collecting():
            xid = await armed(r)
            await r.base.tap.send(r.base.tap.pdus(xid, set_up("call-1"), 1))
            await both_ways(r, xid, range(10))
            await until(lambda: "ccUnavailable" in r.names())
            report = await r.base.report()
            assert report["content"]["links"][0]["state"] == "refused"
            assert r.agency.count == 0


async def test_secret_media_are_told_and_never_delivered(tmp_path: Path) -> None:
    async with content_rig(tmp_path) as r, r.collecting():
        xid = await armed(r)
        secret = set_up("call-1", "UDP/TLS/RTP/SAVPF", "a=fingerprint:sha-256 00:11\r\n")
        await r.base.tap.send(r.base.tap.pdus(xid, secret, 1))
        await until(lambda: "answer" in r.names())
        await both_ways(r, xid, range(10))
        await r.base.report_where(lambda found: found["content"]["counters"].get("barred") == 20)
        assert r.names()[1:] == ["origination", "networkSignal", "ccUnavailable", "answer"]
        assert r.agency.count == 0


async def test_media_that_pass_elsewhere_are_told(tmp_path: Path) -> None:
    async with content_rig(tmp_path) as r, r.collecting():
        xid = await armed(r)
        await r.base.tap.send(r.base.tap.pdus(xid, set_up("call-1"), 1))
        await until(lambda: "ccUnavailable" in r.names())
        assert r.names()[1:] == ["origination", "networkSignal", "ccOpen", "answer", "ccUnavailable"]


async def test_more_calls_than_channels(tmp_path: Path) -> None:
    async with content_rig(tmp_path) as r, r.collecting():
        xid = await armed(r, maximum=1)
        await r.base.tap.send(r.base.tap.pdus(xid, set_up("call-1"), 1) + r.base.tap.pdus(xid, set_up("call-2"), 2))
        await both_ways(r, xid, range(10))
        await both_ways(r, xid, range(10), 2, 2)
        await until(lambda: r.agency.count >= 20)
        await until(lambda: {"ccOpen", "ccUnavailable"} <= set(r.names()))  # by the other link
        assert r.names().count("ccOpen") == r.names().count("ccUnavailable") == 1
        await r.base.tap.send(r.base.tap.pdus(xid, bye("call-1"), 1))
        await until(lambda: "ccClose" in r.names())
        await trio.sleep(1.0)  # a stream that waits asks again once a second
        await both_ways(r, xid, range(10, 12), 2, 2)
        await until(lambda: r.names().count("ccOpen") == 2)
        await until(lambda: r.agency.count >= 44)
    assert r.agency.packets[r.channels("call-2")["from"]] == sent(range(12), from_subject=True, call_number=2)


async def test_octets_that_are_not_x3_end_the_connection_and_nothing_else(tmp_path: Path) -> None:
    async with content_rig(tmp_path) as r, r.collecting():
        xid = await armed(r)
        await r.base.tap.send(r.base.tap.pdus(xid, set_up("call-1"), 1))
        await both_ways(r, xid, range(5))
        await r.tap.send(b"\xff" * 64)
        await r.tap.connected()
        await both_ways(r, xid, range(5, 10))
        await until(lambda: r.agency.count >= 20)
        await r.base.tap.send(r.base.tap.pdus(xid, call("call-2"), 2))
        await until(lambda: "release" in r.names())
        report = (await r.base.report())["content"]
        assert report["intake"]["malformed"] == 1 and report["intake"]["connections"] == 2
        assert "missing" not in report["counters"]


async def test_a_thousand_calls_lose_nothing(tmp_path: Path) -> None:
    calls, length = 1000, 25
    async with content_rig(tmp_path) as r, r.collecting():
        xid = await armed(r, maximum=calls)
        await r.base.tap.send(b"".join(r.base.tap.pdus(xid, set_up(f"call-{n}"), n) for n in range(1, calls + 1)))
        await until(lambda: r.names().count("ccOpen") == calls if len(r.base.collector.messages) > 3000 else False)
        for number in range(length):
            for first in range(1, calls + 1, 100):
                await r.tap.send(b"".join(
                    r.tap.pdus(xid, [rtp(number, call=n)], n)
                    + r.tap.pdus(xid, [rtp(number, call=n, from_subject=False)], n, from_subject=False)
                    for n in range(first, first + 100)
                ))  # fmt: skip
        await until(lambda: r.agency.count >= 2 * calls * length)
        await r.base.tap.send(b"".join(r.base.tap.pdus(xid, bye(f"call-{n}"), n) for n in range(1, calls + 1)))
        await until(lambda: len(r.base.collector.messages) >= 1 + 6 * calls)
        report = await r.base.report()
    assert report["content"]["counters"]["delivered"] == 2 * calls * length
    assert {each.lost for each in r.agency.account._channels.values()} == {0}
    opened = {each.call: each for each in r.decoded() if each.message == "ccOpen"}
    assert len(opened) == calls
    for n in (1, 500, 1000):
        pair = opened[f"call-{n}"].fields["deliveryIdentifier"]["cccId"]["sepCCCpair"]
        assert r.agency.packets[pair["sepXmitCCC"]] == sent(range(length), from_subject=True, call_number=n)
        assert r.agency.packets[pair["sepRecvCCC"]] == sent(range(length), from_subject=False, call_number=n)
    assert len(r.agency.packets) == 2 * calls
