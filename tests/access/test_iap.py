"""The access process as a whole: its opener, its seal, X1 in, frames on a wire, X2 out."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from mediation.core.authority import authorization, jws
from mediation.core.case import Act, Authority, Capability, ContentDestination, TaskRequest
from mediation.core.interface import x1, x2
from mediation.runtime import sockets
from tests.access.conftest import Wire, ip
from tests.access.process import (
    MEDIA,
    PHONE,
    PROXY,
    answer,
    invite,
    rtp,
    running,
)
from tests.core import authority

pytestmark = pytest.mark.root


async def test_a_message_of_a_subject_becomes_a_pdu_and_no_other_does(
    folder: Path, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(folder, wire, monkeypatch) as access:
        wire.send(invite())  # before the order: nobody's
        assert (await access.drained())["to_signalling"] == 1
        assert await access.ask(x1.ActivateTask(id=1, request=access.order())) == x1.Ok(id=1)
        before = time.time_ns()
        wire.send(invite("+13105550199", "two"), invite(call_id="three"), answer("three"))
        first, second = await access.pdus(2)
        assert b"Call-ID: three" in first.payload
        assert second.payload.startswith(b"SIP/2.0 200 OK")
        assert first.correlation == second.correlation
        assert (first.source, first.destination) == ((PHONE, 5060), (PROXY, 5060))
        assert first.role == x2.Role.CALLING
        assert before <= first.stamp_ns <= second.stamp_ns <= time.time_ns()
        report = await access.report()
        assert report["tasks"] == 1
        assert first.disciplined == report["clock"]["disciplined"]
        assert first.error_us >= report["clock"]["error_ns"] // 1_000_000 or first.error_us == 0xFFFFFFFF
        # Nothing of any subject is in what the process writes or tells.
        told = access.log.read_text() + repr(report)
        assert not re.search(r"12125550100|13125550111|CASE-1", told)
        status = Path(f"/proc/{access.process.pid}/status").read_text()  # type: ignore[union-attr]
        assert re.search(r"^CapEff:\t0+$", status, re.M)
        assert re.search(r"^Seccomp:\t2$", status, re.M)
        threads = Path(f"/proc/{access.process.pid}/task").iterdir()  # type: ignore[union-attr]
        policies = sorted(os.sched_getscheduler(int(thread.name)) for thread in threads)
        assert policies == [os.SCHED_OTHER, os.SCHED_OTHER, os.SCHED_FIFO]  # the reader alone is real-time


async def test_digits_pass_only_while_they_are_ordered(
    folder: Path, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(folder, wire, monkeypatch) as access:
        order = access.order()
        await access.ask(x1.ActivateTask(id=1, request=order))
        wire.send(invite(), answer())
        await access.pdus(2)
        wire.send(rtp(101), rtp(0))
        await access.drained()
        assert (await access.report())["taps"][0]["filter"]["passed_media"] == 0  # nothing leaves the kernel
        ordered = access.with_digits(order)
        assert await access.ask(x1.ModifyTask(id=2, request=ordered)) == x1.Ok(id=2)
        with trio.fail_after(60):
            while not (await access.drained())["flows_added"]:
                await trio.sleep(0.005)
        wire.send(rtp(101), rtp(0), rtp(18), *(rtp(kind, source=MEDIA, destination=PHONE) for kind in (101, 0)))
        (digit,) = await access.pdus(1)
        assert digit.payload_format == x2.PayloadFormat.RTP
        assert digit.payload[1] == 101
        await access.drained()
        report = await access.report()
        filtered = report["taps"][0]["filter"]
        assert (
            filtered["passed_media"] == 2
        )  # the event, and G.711 to listen to; the other party's left the kernel never
        assert (filtered["dropped_payload_type"], filtered["dropped_other_flow"]) == (1, 4)
        assert report["matcher"]["voice"] == 1
        off = access.with_digits(ordered, on=False)
        assert await access.ask(x1.ModifyTask(id=3, request=off)) == x1.Ok(id=3)
        with trio.fail_after(60):
            while not (await access.drained())["flows_removed"]:
                await trio.sleep(0.005)
        wire.send(rtp(101), rtp(0), invite(call_id="next"))
        (following,) = await access.pdus(1)  # right behind the digit: of the voice nothing was sent
        assert following.payload_format == x2.PayloadFormat.SIP
        assert following.sequence == digit.sequence + 1
        report = await access.report()
        assert report["taps"][0]["filter"]["passed_media"] == 2
        assert report["reader"]["x3_octets"] == 0


async def test_content_leaves_by_its_own_socket_and_only_for_an_order_that_has_it(
    folder: Path, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(folder, wire, monkeypatch) as access:
        await access.ask(x1.ActivateTask(id=1, request=access.order()))
        x3 = await sockets.connect(folder / "run", "iap.x3")
        second = await sockets.connect(folder / "run", "iap.x3")
        with trio.fail_after(60):
            assert await second.receive_some(1) == b""  # one reader at a time
        wire.send(invite(), answer())
        await access.pdus(2)
        wire.send(rtp(0), rtp(0, source=MEDIA, destination=PHONE), invite(call_id="two"))
        await access.pdus(1)
        report = await access.report()
        assert (report["reader"]["x3_octets"], report["reader"]["x3_refused"]) == (0, 1)
        assert report["taps"][0]["filter"]["passed_media"] == 0
        legal = msgspec.structs.replace(
            authority.LEGAL, case="CASE-2", authority=Authority.TITLE_III, nonce="0c" * 16,
            capabilities=(Capability.CALL_DATA, Capability.CONTENT),
            destination=msgspec.structs.replace(
                authority.LEGAL.destination, content=ContentDestination(host="192.0.2.9", port=41801)
            ),
        )  # fmt: skip
        answered = await access.ask(x1.ActivateTask(id=2, request=access.order(legal_token=legal)))
        assert answered == x1.Ok(id=2)
        wire.send(invite(call_id="three"), answer("three"))
        await access.pdus(4)
        wire.send(rtp(0), rtp(0, source=MEDIA, destination=PHONE))
        framer, found = x2.Framer(), list[x2.Pdu]()
        with trio.fail_after(60):
            while len(found) < 2:
                found += framer.feed(await x3.receive_some(65536))
        assert [(pdu.type, pdu.source[0]) for pdu in found] == [(x2.PduType.X3, PHONE), (x2.PduType.X3, MEDIA)]
        await x3.aclose()


async def test_a_window_ends_to_the_second_in_mid_call(
    folder: Path, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(folder, wire, monkeypatch) as access:
        end_s = int(time.time()) + 3
        order = access.order(not_after_s=end_s)
        assert await access.ask(x1.ActivateTask(id=1, request=order)) == x1.Ok(id=1)
        wire.send(invite())
        await access.pdus(1)
        while time.time() < end_s - 0.2:
            await trio.sleep(0.01)
        assert (await access.report())["tasks"] == 1
        while time.time() < end_s:
            await trio.sleep(0.001)
        wire.send(answer())
        assert (await access.drained())["to_signalling"] == 2
        report = await access.report()
        assert report["tasks"] == 0
        assert report["matcher"]["pdus"] == 1
        assert isinstance(await access.ask(x1.ActivateTask(id=2, request=order)), x1.Refused)


async def test_a_stopped_task_is_never_armed_again(folder: Path, wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(folder, wire, monkeypatch) as access:
        order = access.order()
        await access.ask(x1.ActivateTask(id=1, request=order))
        wire.send(invite())
        (pdu,) = await access.pdus(1)
        assert await access.ask(x1.DeactivateTask(id=2, xid=pdu.xid.hex())) == x1.Ok(id=2)
        wire.send(answer())
        assert (await access.drained())["to_signalling"] == 2
        assert (await access.report())["matcher"]["pdus"] == 1
        assert (await access.report())["unrecorded_stops"] == 0
        assert {path.stat().st_size for path in (folder / "access").glob("iap.s*")} == {4096}  # SEC-19
        refused = x1.Refused(id=3, check="deactivated")
        assert await access.ask(x1.ActivateTask(id=3, request=order)) == refused
        await access.stop()
        await access.start()
        assert await access.ask(x1.ActivateTask(id=3, request=order)) == refused


@pytest.mark.parametrize(
    ("spoil", "check"),
    [
        (lambda order: msgspec.structs.replace(order, proofs=()), "proof-count"),
        (lambda order: msgspec.structs.replace(order, commands=(), proofs=()), "activation"),
        (lambda order: msgspec.structs.replace(order, carrier=order.legal), "token-type"),
    ],
)
async def test_the_access_function_judges_for_itself(
    folder: Path, wire: Wire, monkeypatch: pytest.MonkeyPatch, spoil: Any, check: str
) -> None:
    async with running(folder, wire, monkeypatch) as access:
        answered = await access.ask(x1.ActivateTask(id=1, request=spoil(access.order())))
        assert isinstance(answered, x1.Refused)
        assert answered.check == check
        wire.send(invite())
        await access.drained()
        report = await access.report()
        assert (report["tasks"], report["matcher"]["pdus"]) == (0, 0)


async def test_a_production_site_needs_a_clock(folder: Path, wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(folder, wire, monkeypatch, accept=False) as access:
        clock = (await access.report())["clock"]
        answered = await access.ask(x1.ActivateTask(id=1, request=access.order()))
        if clock["disciplined"] and clock["error_ns"] <= 200_000_000:
            assert answered == x1.Ok(id=1)
        else:
            assert answered == x1.Refused(id=1, check="clock")
            assert clock["alarm"]


async def test_other_access_points_are_not_this_ones(folder: Path, wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(folder, wire, monkeypatch) as access:
        order = access.order()
        carrier = authority.sign_carrier(order.legal, iaps=("elsewhere",))
        elsewhere = authority.request(order.legal, carrier, authority.sign_command(carrier))
        assert await access.ask(x1.ActivateTask(id=1, request=elsewhere)) == x1.Refused(id=1, check="iap-unknown")


async def test_what_nobody_reads_waits_and_a_new_mediator_gets_it(
    folder: Path, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(folder, wire, monkeypatch) as access:
        await access.ask(x1.ActivateTask(id=1, request=access.order()))
        second = await sockets.connect(folder / "run", "iap.x2")
        with trio.fail_after(60):
            assert await second.receive_some(1) == b""  # one reader at a time
        assert (await access.report())["reader"]["x2_refused"] == 1
        await access.x2.aclose()
        with trio.fail_after(60):
            while (await access.report())["reader"]["x2_connected"]:
                await trio.sleep(0.005)
        wire.send(invite(), answer())
        await access.drained()
        assert (await access.report())["reader"]["x2_waiting"] > 0
        await access.connect_x2()
        first, _ = await access.pdus(2)
        assert first.payload.startswith(b"INVITE")


async def test_a_peer_that_speaks_nonsense_loses_its_connection_only(
    folder: Path, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(folder, wire, monkeypatch) as access:
        for nonsense in (b"nonsense\n", b'{"type":"ReportStatus","id":"x"}\n', os.urandom(100) + b"\n"):
            stream = await sockets.connect(folder / "run", "iap.x1")
            await stream.send_all(nonsense)
            with trio.fail_after(60):
                assert await stream.receive_some(100) == b""
        assert (await access.report())["x1_malformed"] == 3


async def test_a_mediator_that_dies_with_unread_octets_is_counted(
    folder: Path, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(folder, wire, monkeypatch) as access:
        await access.ask(x1.ActivateTask(id=1, request=access.order()))
        wire.send(invite())
        with trio.fail_after(60):
            while not (await access.report())["reader"]["x2_octets"]:
                await trio.sleep(0.005)
        await access.x2.aclose()
        with trio.fail_after(60):
            while (await access.report())["reader"]["x2_connected"]:
                await trio.sleep(0.005)
        reader = (await access.report())["reader"]
        assert (reader["x2_disconnects"], reader["x2_torn"]) == (1, 1)


async def test_a_link_that_goes_down_and_comes_back(folder: Path, wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(folder, wire, monkeypatch) as access:
        await access.ask(x1.ActivateTask(id=1, request=access.order()))
        ip("-n", wire.namespace, "link", "set", wire.far, "down")
        with trio.fail_after(60):
            while not (await access.report())["reader"]["ring_errors"]:
                await trio.sleep(0.005)
        rounds = (await access.report())["reader"]["rounds"]
        await trio.sleep(0.3)
        assert (await access.report())["reader"]["rounds"] - rounds < 20  # it waits, it does not spin
        ip("-n", wire.namespace, "link", "set", wire.far, "up")
        with trio.fail_after(60):
            while not wire.carrier():
                await trio.sleep(0.005)
        wire.send(invite())
        (pdu,) = await access.pdus(1)
        assert pdu.payload.startswith(b"INVITE")
        with trio.fail_after(60):
            while "ring_errors" not in access.log.read_text():  # said at the next tick
                await trio.sleep(0.01)


async def test_an_extended_order_keeps_its_call_and_a_suspended_one_takes_no_more(
    folder: Path, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(folder, wire, monkeypatch) as access:
        end_s = int(time.time()) + 8  # time enough to extend it, on a machine that does much else
        order = access.order(not_after_s=end_s)
        assert await access.ask(x1.ActivateTask(id=1, request=order)) == x1.Ok(id=1)
        wire.send(invite())
        await access.pdus(1)
        court = authority.sign_legal_extension(order.legal, not_after_s=end_s + 3600)
        carrier = authority.sign_carrier_extension(order.carrier, court)
        extend = authority.sign_command(
            order.carrier, act=Act.EXTEND, sequence=2, extension_sha256=jws.sha256_hex(carrier)
        )  # fmt: skip
        ledger, pairs = authority.Ledger(), ((court, carrier),)

        def entered(*commands: str) -> TaskRequest:
            return authority.request(
                order.legal, order.carrier, *order.commands, *commands, extensions=pairs, ledger=ledger
            )  # fmt: skip

        bare = authority.request(order.legal, order.carrier, *order.commands, extend)
        assert isinstance(await access.ask(x1.ModifyTask(id=2, request=bare)), x1.Refused)
        assert await access.ask(x1.ModifyTask(id=3, request=entered(extend))) == x1.Ok(id=3)
        while time.time() < end_s + 0.1:
            await trio.sleep(0.05)
        wire.send(answer())  # of the call that was up when the first window ended
        (ok,) = await access.pdus(1)
        assert ok.payload.startswith(b"SIP/2.0 200 OK") and (await access.report())["tasks"] == 1
        assert await access.ask(x1.SuspendTask(id=4, xid=authorization.xid(order.carrier).hex(), sequence=3)) == x1.Ok(
            id=4
        )
        wire.send(rtp(101), answer(), invite(call_id="while suspended"))
        await access.drained()
        acts = [
            authority.sign_command(order.carrier, act=act, sequence=number)
            for number, act in ((3, Act.SUSPEND), (4, Act.RESUME))
        ]
        assert await access.ask(x1.ModifyTask(id=5, request=entered(extend, *acts))) == x1.Ok(id=5)
        wire.send(invite(call_id="after"))
        (after,) = await access.pdus(1)
        assert b"Call-ID: after" in after.payload
        assert (await access.report())["tasks"] == 1
