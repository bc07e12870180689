"""The mediator killed in mid-call: one CallIdentity, one Release, no Origination again; nothing of what ended."""

from __future__ import annotations

import struct
import time
from pathlib import Path
from typing import Any

import trio

from mediation.collection.decoder import Decoded, decode
from mediation.core.case import Authority, Capability
from mediation.core.interface import x1
from mediation.core.interface.x2 import PayloadFormat
from mediation.core.ledger.sealing import SealError
from mediation.runtime.vault import unlock
from tests.delivery.content_rig import OTHER_MEDIA, SUBJECT_MEDIA, bye, content_rig, rtp, sdp, set_up
from tests.delivery.house import House, call, sip, xid_of
from tests.delivery.links import until
from tests.delivery.rig import Rig, arrived, names, rig
from tests.delivery.test_calls import opened

INVITE, RINGING, ANSWER, BYE = range(4)


def story(r: Rig, name: str) -> list[str]:
    """The messages of one call."""
    return [one.message for one in decoded(r) if one.call == name]


def decoded(r: Rig) -> list[Decoded]:
    return [decode(received.octets) for received in r.collector.messages]


async def restarted(r: Rig, order: Any) -> dict[str, Any]:
    await r.report()  # written in the same turn as the messages were sent: an answer comes behind it
    await r.crash()
    await r.start()
    assert await r.ask(x1.ActivateTask(request=order)) == x1.Ok()
    return await r.report()


def other_bye(name: str) -> bytes:
    """By the party that was called."""
    return (
        f"BYE sip:+12125550100@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.2:5060;branch=z9hG4bKo{name}\r\n"
        f"From: <sip:+12125550123@example.net>;tag=b\r\nTo: <sip:+12125550100@example.net>;tag=a\r\n"
        f"Call-ID: {name}\r\nCSeq: 9 BYE\r\nContent-Length: 0\r\n\r\n"
    ).encode()


async def test_killed_after_each_message_of_a_call(tmp_path: Path) -> None:
    async with rig(tmp_path) as r, r.collector.running(r.port):
        order = r.house.order(r.port)
        xid = xid_of(order)
        assert await r.ask(x1.ActivateTask(request=order)) == x1.Ok()
        for number, message in enumerate(call("one"), 1):
            await r.tap.send(r.tap.pdus(xid, [message], 7))
            await until(lambda number=number: len(story(r, "one")) == number)
            report = await restarted(r, order)
            assert report["journal"]["found"] == number
            assert report["calls"] == report["tracker"]["restored"] == 1
        # Late copies of what ended it, also by the other hop.
        await r.tap.send(r.tap.pdus(xid, [call("one")[BYE], call("one")[ANSWER]], 7))
        await r.tap.send(r.tap.pdus(xid, call("two"), 8))
        await until(lambda: len(story(r, "two")) == 4)
        assert story(r, "one") == ["origination", "networkSignal", "answer", "release"]


async def test_a_call_that_is_up_goes_on(tmp_path: Path) -> None:
    """Held and retrieved after the restart, ended by the other party, under a new handle of the access function."""
    async with rig(tmp_path) as r, r.collector.running(r.port):
        order = r.house.order(r.port)
        xid = xid_of(order)
        assert await r.ask(x1.ActivateTask(request=order)) == x1.Ok()
        await r.tap.send(r.tap.pdus(xid, set_up("one"), 7))
        await until(lambda: "answer" in story(r, "one"))
        await restarted(r, order)
        hold = sdp(SUBJECT_MEDIA, more="a=sendonly\r\n")
        held = sdp(OTHER_MEDIA, more="a=recvonly\r\n")
        await r.tap.send(
            r.tap.pdus(
                xid,
                [
                    sip("one", "INVITE sip:+12125550123@192.0.2.2 SIP/2.0", to_tag="b", cseq="2 INVITE", body=hold),
                    sip("one", "SIP/2.0 200 OK", to_tag="b", cseq="2 INVITE", body=held),
                ],
                99,
            )
        )
        await until(lambda: len(story(r, "one")) > 3)
        await restarted(r, order)
        await r.tap.send(r.tap.pdus(xid, [other_bye("one")], 99))
        await until(lambda: "release" in story(r, "one"))
        told = story(r, "one")
        assert told[:3] == ["origination", "networkSignal", "answer"]
        assert told[3] in ("subjectSignal", "mediaReport", "connectionBreak")
        assert told[-1] == "release"
        assert len(set(told)) == len(told)


async def test_digits_are_told_once_and_those_that_waited_are_told(tmp_path: Path) -> None:
    async with rig(tmp_path, settings="[delivery]\ndigit_timeout_ms = 4000\n") as r, r.collector.running(r.port):
        order = r.house.order(
            r.port,
            dde=(True,),
            authority=Authority.TITLE_III,
            capabilities=(Capability.CALL_DATA, Capability.DIGITS),
        )
        xid = xid_of(order)
        assert await r.ask(x1.ActivateTask(request=order)) == x1.Ok()
        await r.tap.send(r.tap.pdus(xid, set_up("one"), 7))
        await until(lambda: "answer" in story(r, "one"))

        async def press(key: int) -> None:
            event = (
                bytes([0x80, 101, 0, key]) + (key * 1000).to_bytes(4, "big") + bytes(4) + bytes([key, 0x8A, 3, 0x20])
            )
            await r.tap.send(r.tap.pdus(xid, [event] * 3, 7, payload_format=PayloadFormat.RTP))

        await press(1)
        await press(2)
        await r.report_where(lambda found: found["tracker"]["pdus"] == 9)
        await restarted(r, order)
        assert "dialedDgtExtrn" not in story(r, "one")
        await press(3)
        await until(lambda: "dialedDgtExtrn" in story(r, "one"))
        await restarted(r, order)
        await r.tap.send(r.tap.pdus(xid, [call("one")[BYE]], 7))
        await until(lambda: "release" in story(r, "one"))
        assert story(r, "one").count("dialedDgtExtrn") == 1
        (told,) = [one.fields for one in decoded(r) if one.message == "dialedDgtExtrn"]
        assert "'123'" in str(told)


async def test_content_goes_on_in_the_same_channels(tmp_path: Path) -> None:
    async with content_rig(tmp_path) as r, r.collecting():
        order = r.order()
        xid = xid_of(order)
        assert await r.base.ask(x1.ActivateTask(request=order)) == x1.Ok()
        await r.base.tap.send(r.base.tap.pdus(xid, set_up("call-1"), 1))
        await r.tap.send(r.tap.pdus(xid, [rtp(number) for number in range(10)], 1))
        await until(lambda: r.agency.count >= 10)
        await r.base.report()
        await r.base.crash()
        await r.tap.hang_up()
        await r.base.start()
        await r.tap.connected()
        assert await r.base.ask(x1.ActivateTask(request=order)) == x1.Ok()
        await r.tap.send(r.tap.pdus(xid, [rtp(number) for number in range(10, 20)], 1))
        await until(lambda: r.agency.count >= 20)
        await r.base.tap.send(r.base.tap.pdus(xid, bye("call-1"), 1))
        await until(lambda: "release" in r.names())
        ids = r.channels("call-1")
        assert r.agency.packets[ids["from"]] == [rtp(number) for number in range(20)]
        assert set(r.agency.packets) == {ids["from"]}
        told = [name for name in r.names() if name != "surveillanceStatus"]
        assert told == ["origination", "networkSignal", "ccOpen", "answer", "ccClose", "release"]


async def test_what_comes_before_the_order_is_armed_again_waits_for_it(tmp_path: Path) -> None:
    async with rig(tmp_path) as r, r.collector.running(r.port):
        order = r.house.order(r.port)
        xid = xid_of(order)
        assert await r.ask(x1.ActivateTask(request=order)) == x1.Ok()
        await r.tap.send(r.tap.pdus(xid, call("one")[:BYE], 7))
        await until(lambda: "answer" in story(r, "one"))
        await r.report()
        await r.crash()
        await r.start()
        await r.tap.send(r.tap.pdus(xid, [call("one")[BYE]], 7))
        await r.tap.send(r.tap.pdus(bytes(16), call("stranger"), 9))
        await r.report_where(
            lambda found: (found["journal"]["held"], found["tracker"]["refused_unknown"]) == (1, 4)
        )  # fmt: skip
        assert await r.ask(x1.ActivateTask(request=order)) == x1.Ok()
        await until(lambda: "release" in story(r, "one"))


def settled(house: House) -> bytes:
    """The journal between two writes of the running process."""
    box = unlock(house.site).box("journal")
    for _ in range(100):
        try:
            return opened(house.site.spool_dir, box)
        except (SealError, struct.error):
            time.sleep(0.01)
    return opened(house.site.spool_dir, box)


async def test_an_order_that_ended_while_it_was_down_gives_nothing(tmp_path: Path) -> None:
    async with rig(tmp_path) as r, r.collector.running(r.port):
        order, other = r.house.order(r.port), r.house.order(r.port, case="CASE-2")
        for each in (order, other):
            assert await r.ask(x1.ActivateTask(request=each)) == x1.Ok()
            await r.tap.send(r.tap.pdus(xid_of(each), call("one")[:BYE], 7))
        await until(lambda: names(r.collector).count("answer") == 2)
        await r.report()
        await r.crash()
        await r.start()
        assert await r.ask(x1.ActivateTask(request=other)) == x1.Ok()
        await r.tap.send(r.tap.pdus(xid_of(order), [call("one")[BYE]], 7))
        await r.report_where(lambda found: found["journal"]["held"] == 1)
        assert await r.ask(x1.DeactivateTask(xid=xid_of(order).hex())) == x1.Ok()
        assert isinstance(await r.ask(x1.ActivateTask(request=order)), x1.Refused)
        await r.tap.send(r.tap.pdus(xid_of(other), [call("one")[BYE]], 7))
        await until(lambda: "release" in names(r.collector))
        assert names(r.collector).count("release") == 1
        with trio.fail_after(60):
            while xid_of(order) in settled(r.house):
                await trio.sleep(0.05)
        assert xid_of(other) in settled(r.house)


async def test_killed_again_and_again_under_load(tmp_path: Path) -> None:
    """Forty calls, each message in another life of the process: each call has its four messages, once."""
    async with rig(tmp_path) as r, r.collector.running(r.port):
        order = r.house.order(r.port)
        xid = xid_of(order)
        assert await r.ask(x1.ActivateTask(request=order)) == x1.Ok()
        for step in range(4):
            for number in range(40):
                await r.tap.send(r.tap.pdus(xid, [call(f"call-{number}")[step]], number + 1))
            await arrived(r.collector, (step + 1) * 41)
            if step < 3:
                assert (await restarted(r, order))["calls"] == 40
        for number in range(40):
            told = story(r, f"call-{number}")  # beside these, what calls of one subject do to each other
            assert [told.count(name) for name in ("origination", "networkSignal", "answer", "release")] == [1] * 4
