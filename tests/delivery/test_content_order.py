"""What leaves the mediator, in the order in which its sockets took it: CCOpen, then content, then CCClose."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest
import trio

from mediation.collection.decoder import decode
from mediation.core.interface import x1, x2
from mediation.core.interface.notice import LAYOUT, VERSION, Notice
from mediation.delivery import mediator as module
from mediation.delivery import process
from mediation.delivery.closing import LIMIT_NS, TAIL_NS
from mediation.delivery.content_link import ContentLink
from mediation.delivery.mediator import Mediator
from mediation.runtime.tls import Channel
from tests.delivery.content_rig import ContentRig, ContentTap, bye, rtp, set_up
from tests.delivery.house import House, sip, xid_of
from tests.delivery.links import free_port, until
from tests.delivery.rig import Rig
from tests.delivery.test_content_short import short_call

FORMS: tuple[Literal["cc-apdu", "packetcable"], ...] = ("cc-apdu", "packetcable")


class Sends:
    """Every send of this process, in order: to which port, and the octets before TLS (datagrams: how many)."""

    def __init__(self) -> None:
        self.made: list[tuple[int, bytes]] = []

    def of(self, port: int) -> list[int]:
        return [at for at, (to, _) in enumerate(self.made) if to == port]

    def when(self, port: int, octets: bytes) -> int:
        """Which send took the last of `octets`, a whole message to `port`."""
        stream = b""
        for at, (to, sent) in enumerate(self.made):
            stream += sent if to == port else b""
            if octets in stream:
                return at
        raise AssertionError("it was not sent")


@pytest.fixture
def sends(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sends]:
    found = Sends()
    stream, datagrams = Channel.send_now, ContentLink._send_datagrams

    def send_now(self: Channel, octets: bytes | memoryview) -> int:
        taken = stream(self, octets)
        if taken:
            found.made.append((self._connection.getpeername()[1], bytes(octets[:taken])))
        return taken

    def send_datagrams(self: ContentLink, udp: Any) -> bool:
        before = self.queue.sent
        more = datagrams(self, udp)
        if self.queue.sent > before:
            found.made.append((self.place.port, bytes(self.queue.sent - before)))
        return more

    monkeypatch.setattr(Channel, "send_now", send_now)
    monkeypatch.setattr(ContentLink, "_send_datagrams", send_datagrams)
    monkeypatch.setattr(module.process, "prepare", lambda: None)  # this process is the tests'
    monkeypatch.setattr(process, "confine_to", lambda site: (site.run_dir, site.spool_dir))
    yield found


class Inside:
    """A mediator inside of this process, with the peers that a test plays."""

    def __init__(self, path: Path, nursery: trio.Nursery) -> None:
        base = Rig(House(path), free_port())
        self.r = ContentRig(base, ContentTap(base.house.site.run_dir))
        self.mediator = Mediator(base.house.site, nursery)

    async def armed(self, **changes: Any) -> bytes:
        order = self.r.order(**changes)
        assert self.mediator.handle(x1.ActivateTask(request=order)) == x1.Ok()
        await until(lambda: all(link.caught_up for link in self.mediator.links))
        await until(lambda: all(link.up for link in self.mediator.content._links.values()))
        return xid_of(order)

    def message(self, name: str) -> bytes:
        """The octets of the only message of this name."""
        (found,) = [each.octets for each in self.r.base.collector.messages if decode(each.octets).message == name]
        return found


@pytest.fixture
async def inside(tmp_path: Path, sends: Sends) -> Any:
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            made = Inside(tmp_path, nursery)
            async with made.r.collecting():
                nursery.start_soon(made.mediator.run)
                await made.r.base.tap.connected()
                await made.r.tap.connected()
                yield made
            nursery.cancel_scope.cancel()
    made.mediator.close()
    await made.r.tap.close()
    await made.r.base.tap.close()


def in_order(inside: Inside, sends: Sends, packets: int) -> bool:
    content, calls = sends.of(inside.r.port), inside.r.base.port
    assert inside.r.agency.count == packets
    return sends.when(calls, inside.message("ccOpen")) < content[0] <= content[-1] < sends.when(
        calls, inside.message("ccClose")
    )  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
async def test_content_stands_between_its_open_and_its_close(
    inside: Inside, sends: Sends, form: Literal["cc-apdu", "packetcable"]
) -> None:
    """Content comes before the answer, during the call, and, of its last moment, when its BYE has been read."""
    xid = await inside.armed(form=form)
    calls, content = inside.r.base.tap, inside.r.tap
    invite, ringing, answer = set_up("call-1")
    await calls.send(calls.pdus(xid, [invite, ringing], 1))
    await content.send(content.pdus(xid, [rtp(0)], 1))
    await calls.send(calls.pdus(xid, [answer], 1))
    for number in range(1, 20):
        await content.send(content.pdus(xid, [rtp(number)], 1))
    last = content.pdus(xid, [rtp(20), rtp(21)], 1)
    await calls.send(calls.pdus(xid, bye("call-1"), 1))
    await until(lambda: len(inside.mediator.closings) == 1)
    await content.send(last)
    await until(lambda: "release" in inside.r.names() and inside.r.agency.count == 22)
    assert in_order(inside, sends, 22)
    assert inside.mediator.closings.unsettled == 0


@pytest.mark.parametrize("form", FORMS)
async def test_so_it_does_in_a_call_of_one_read(
    inside: Inside, sends: Sends, form: Literal["cc-apdu", "packetcable"]
) -> None:
    xid = await inside.armed(form=form)
    signalling, content = short_call(inside.r, xid, 1, 3)
    await inside.r.base.tap.send(signalling)
    await inside.r.tap.send(content)
    await until(lambda: "release" in inside.r.names() and inside.r.agency.count == 6)
    assert in_order(inside, sends, 6)


async def test_a_channel_that_closes_in_mid_call_closes_at_once(inside: Inside, sends: Sends) -> None:
    """The media become secret: what was captured before is delivered first, and nothing of what is captured after."""
    xid = await inside.armed()
    calls, content = inside.r.base.tap, inside.r.tap
    secret = set_up("call-1", "UDP/TLS/RTP/SAVPF", "a=fingerprint:sha-256 00:11\r\n")
    again = [sip("call-1", "INVITE sip:+12125550123@192.0.2.2 SIP/2.0", to_tag="b", cseq="2 INVITE",
                 body=secret[0].partition(b"\r\n\r\n")[2])]  # fmt: skip
    again.append(sip("call-1", "SIP/2.0 200 OK", to_tag="b", cseq="2 INVITE", body=secret[2].partition(b"\r\n\r\n")[2]))
    setting_up = calls.pdus(xid, set_up("call-1"), 1)
    before = content.pdus(xid, [rtp(0), rtp(1)], 1)
    changed = calls.pdus(xid, again, 1)
    after = content.pdus(xid, [rtp(2)], 1)
    await content.send(before)
    await until(lambda: inside.mediator.content.streams.counters()["held"] == 2)
    await calls.send(setting_up + changed)
    await content.send(after)
    await until(lambda: "ccClose" in inside.r.names() and inside.r.agency.count == 2)
    assert in_order(inside, sends, 2)
    await until(lambda: inside.mediator.content.streams.counters()["packets"] == 3)
    assert inside.mediator.content.streams.counters()["delivered"] == 2
    assert "release" not in inside.r.names()


async def test_a_far_side_that_takes_no_content_holds_no_release_up(
    inside: Inside, sends: Sends, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Content that does not get through delays the end of its call by LIMIT_NS, no more, and that is counted."""
    xid = await inside.armed()
    calls, content = inside.r.base.tap, inside.r.tap
    monkeypatch.setattr(ContentLink, "flush", lambda self: None)
    await calls.send(calls.pdus(xid, set_up("call-1"), 1))
    await until(lambda: "ccOpen" in inside.r.names())
    await content.send(content.pdus(xid, [rtp(0)], 1))
    ending = calls.pdus(xid, bye("call-1"), 1)
    await calls.send(ending)
    began = trio.current_time()
    await until(lambda: "release" in inside.r.names())
    assert TAIL_NS / 1e9 < trio.current_time() - began < 2 * LIMIT_NS / 1e9
    assert inside.mediator.closings.unsettled == 1


async def test_the_end_of_an_order_waits_for_nothing(inside: Inside, sends: Sends) -> None:
    """What the agency was to be told of calls that had ended is told; of their content nothing more leaves."""
    order = inside.r.order()
    assert inside.mediator.handle(x1.ActivateTask(request=order)) == x1.Ok()
    xid = xid_of(order)
    await until(lambda: all(link.caught_up for link in inside.mediator.links))
    signalling, content = short_call(inside.r, xid, 1, 3)
    await inside.r.base.tap.send(signalling)
    await until(lambda: len(inside.mediator.closings) == 1)
    assert inside.mediator.handle(x1.DeactivateTask(xid=xid.hex())) == x1.Ok()
    assert len(inside.mediator.closings) == 0
    await inside.r.tap.send(content)
    await until(lambda: inside.mediator.content.streams.counters()["refused_ended"] == 6)
    await until(lambda: inside.r.names()[-2:] == ["release", "surveillanceStatus"])
    assert inside.r.agency.count == 0
    assert msgspec.json.encode(inside.mediator.report())


def test_the_tail_is_that_of_the_access_function() -> None:
    text = (Path(x2.__file__).parents[3] / "ext" / "dialog.pxd").read_text()
    assert f"CONTENT_TAIL_MS = {TAIL_NS // 1_000_000} " in text


@pytest.mark.parametrize("conference", [True, False])
async def test_only_a_call_that_ends_for_all_has_a_tail(inside: Inside, sends: Sends, conference: bool) -> None:
    """The subject leaves a conference, which goes on: nothing that is captured after its BYE is delivered."""
    xid = await inside.armed()
    calls, content = inside.r.base.tap, inside.r.tap
    invite, ringing, answer = set_up("call-1")
    focus = b"Contact: <sip:room-77@192.0.2.2>" + (b";isfocus" if conference else b"")
    answer = answer.replace(b"Contact: <sip:+12125550100@192.0.2.1>", focus)
    await calls.send(calls.pdus(xid, [invite, ringing, answer], 1))
    await content.send(content.pdus(xid, [rtp(0)], 1))
    await until(lambda: inside.r.agency.count == 1)
    ending = calls.pdus(xid, bye("call-1"), 1)
    under_way = content.pdus(xid, [rtp(1)], 1)
    await calls.send(ending)
    await until(lambda: inside.mediator.intake.counters.pdus == 4)
    await content.send(under_way)
    await until(lambda: inside.mediator.content.streams.counters()["packets"] == 2)
    await until(lambda: "release" in inside.r.names())
    counters = inside.mediator.content.streams.counters()
    assert (counters["delivered"], counters["after_close"]) == ((1, 1) if conference else (2, 0))


async def test_a_conference_is_closed_at_once(inside: Inside, sends: Sends) -> None:
    xid = await inside.armed()
    calls = inside.r.base.tap
    invite, ringing, answer = set_up("call-1")
    answer = answer.replace(b"<sip:+12125550100@192.0.2.1>", b"<sip:room-77@192.0.2.2>;isfocus")
    await calls.send(calls.pdus(xid, [invite, ringing, answer], 1))
    await until(lambda: "answer" in inside.r.names())
    began = trio.current_time()
    await calls.send(calls.pdus(xid, bye("call-1"), 1))
    await until(lambda: "release" in inside.r.names())
    assert trio.current_time() - began < TAIL_NS / 1e9


async def test_an_end_that_was_not_seen_closes_and_a_refresh_opens_again(inside: Inside, sends: Sends) -> None:
    """The access function doubts the media, gives them up, and has them back with a message that changes nothing."""
    xid = await inside.armed()
    calls, content = inside.r.base.tap, inside.r.tap

    def notice(what: Notice) -> bytes:
        made = x2.decode(calls.pdus(xid, [b"-"], 1))
        changes = {"payload": LAYOUT.pack(VERSION, what), "payload_format": x2.PayloadFormat.PROPRIETARY}
        return x2.encode(msgspec.structs.replace(made, **changes))

    setting_up = set_up("call-1")
    await calls.send(calls.pdus(xid, setting_up, 1))
    await content.send(content.pdus(xid, [rtp(0), rtp(1)], 1))
    await until(lambda: inside.r.agency.count == 2)
    await calls.send(notice(Notice.DOUBTED) + notice(Notice.LAPSED_DOUBTED))
    await until(lambda: "ccClose" in inside.r.names())
    assert inside.r.names().count("ccUnavailable") == 2
    late = content.pdus(xid, [rtp(2)], 1)
    await content.send(late)
    await until(lambda: inside.mediator.content.streams.counters()["after_close"] == 1)
    body = setting_up[0].partition(b"\r\n\r\n")[2]
    await calls.send(
        calls.pdus(xid, [sip("call-1", "UPDATE sip:x@192.0.2.2 SIP/2.0", to_tag="b", cseq="2 UPDATE", body=body)], 1)
    )
    await until(lambda: inside.r.names().count("ccOpen") == 2)
    await content.send(content.pdus(xid, [rtp(3), rtp(4)], 1))
    await until(lambda: inside.r.agency.count == 4)
    await calls.send(calls.pdus(xid, bye("call-1"), 1))
    await until(lambda: "release" in inside.r.names())
    assert inside.r.names().count("ccClose") == 2
