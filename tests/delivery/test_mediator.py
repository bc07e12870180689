"""The mediator as a process: what a live order covers arrives, nothing else does, and ends are ends."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from mediation.collection.decoder import decode
from mediation.core import x1
from mediation.core.link import Loss, LossClass
from mediation.core.x2 import Direction, PayloadFormat
from tests.delivery.house import MESSAGES_OF_A_CALL, Administrator, House, Tap, call, sip, xid_of
from tests.delivery.test_sender import Collector, free_port, until

ROOT = Path(__file__).parents[2]
LIMIT_S = 30


class Process:
    """`mediation function mediator` on a house."""

    def __init__(self, house: House) -> None:
        self.house = house
        self._process: trio.Process | None = None

    async def start(self) -> None:
        """Until it says that it is ready, as systemd would hear it."""
        address = f"\0mediator-{os.getpid()}-{id(self)}"
        with trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_DGRAM) as notify:
            await notify.bind(address)
            self._process = await trio.lowlevel.open_process(
                [sys.executable, "-m", "mediation.cli.main", "function", "mediator", "--site", str(self.house.path)],
                stdin=subprocess.DEVNULL,
                stderr=(self.house.path / "mediator.log").open("ab"),
                env={**os.environ, "NOTIFY_SOCKET": "@" + address[1:], "PYTHONPATH": str(ROOT)},
            )
            while b"READY=1" not in await notify.recv(4096):
                pass

    async def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        assert self._process is not None
        self._process.send_signal(number)
        return await self._process.wait()

    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.house.path / "mediator.log").read_text().splitlines()]


class Rig:
    """A house, its mediator, the tap and the administrator that a test plays, and a collection function."""

    def __init__(self, house: House, port: int) -> None:
        self.house = house
        self.port = port
        self.tap = Tap(house.site.run_dir)
        self.process = Process(house)
        self.collector = Collector(house.path / "cf", house.certificates.server())
        self.administrator: Administrator | None = None

    async def start(self) -> None:
        await self.process.start()
        await self.tap.connected()
        self.administrator = await Administrator.connect(self.house.site.run_dir)

    async def ask(self, request: x1.Request) -> x1.Answer:
        assert self.administrator is not None
        return await self.administrator.ask(request)

    async def report(self) -> dict[str, Any]:
        answer = await self.ask(x1.ReportStatus())
        assert isinstance(answer, x1.Ok)
        assert answer.report is not None
        return answer.report

    async def report_where(self, condition: Any) -> dict[str, Any]:
        while not condition(report := await self.report()):
            await trio.sleep(0.005)
        return report

    async def crash(self) -> None:
        await self.process.end(signal.SIGKILL)
        await self.tap.hang_up()


@contextlib.asynccontextmanager
async def rig(path: Path, settings: str = "") -> AsyncIterator[Rig]:
    made = Rig(House(path, settings=settings), free_port())
    with trio.fail_after(LIMIT_S):
        await made.start()
        try:
            yield made
        finally:
            with trio.CancelScope(shield=True):
                await made.process.end()
                await made.tap.close()


def names(collector: Collector) -> list[str]:
    return [decode(received.octets).message for received in collector.messages]


def calls_of(collector: Collector) -> list[str]:
    return [str(decode(received.octets).fields) for received in collector.messages]


async def arrived(collector: Collector, count: int) -> None:
    await until(lambda: len(collector.messages) >= count)


async def test_a_call_of_a_live_order_arrives(tmp_path: Path) -> None:
    async with rig(tmp_path) as r, r.collector.running(r.port):
        order = r.house.order(r.port)
        assert await r.ask(x1.ActivateTask(id=1, request=order)) == x1.Ok(id=1)
        await r.tap.send(r.tap.pdus(xid_of(order), call("call-1"), 1))
        await arrived(r.collector, 5)
        assert names(r.collector) == ["surveillanceStatus", *MESSAGES_OF_A_CALL]
        report = await r.report_where(lambda found: found["links"][0]["queued"] == 0)
        (link,) = report["links"]
        assert link["state"] == "up"
        assert link["counters"]["delivered"] == link["spool"]["received"] == 5
        assert link["latency_us"]["count"] == link["latency_us"]["within_8s"] == 5
        assert report["tracker"]["pdus"] == 4
    first = r.collector.messages[1]
    assert (first.error_us, first.disciplined) == (100, True)
    assert first.link_id.startswith("house/AGENCY/")


async def test_it_gives_up_root_wherever_the_site_lies(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root to give up")
    tmp_path.chmod(0o700)  # nobody else may even look into it
    async with rig(tmp_path) as r, r.collector.running(r.port):
        assert r.process._process is not None
        status = Path(f"/proc/{r.process._process.pid}/status").read_text()
        fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        assert "0" not in fields["Uid"].split()
        assert int(fields["CapEff"], 16) == int(fields["CapPrm"], 16) == 0
        assert fields["NoNewPrivs"] == "1"
        order = r.house.order(r.port)
        assert await r.ask(x1.ActivateTask(request=order)) == x1.Ok()
        await r.tap.send(r.tap.pdus(xid_of(order), call("call-1"), 1))
        await arrived(r.collector, 5)


async def test_what_no_live_order_covers_is_refused_counted_and_alarmed(tmp_path: Path) -> None:
    """A compromised access process sends what it likes."""
    async with rig(tmp_path) as r, r.collector.running(r.port):
        order = r.house.order(r.port)
        assert await r.ask(x1.ActivateTask(request=order)) == x1.Ok()
        await r.tap.send(r.tap.pdus(b"\x66" * 16, call("foreign"), 66))
        await r.tap.send(r.tap.pdus(xid_of(order), call("elsewhere"), 2, interception_point="trunk-9"))
        await r.tap.send(r.tap.pdus(xid_of(order), call("covered"), 1))
        await arrived(r.collector, 5)
        report = await r.report()
        assert report["tracker"]["refused_unknown"] == 8
    assert not any("foreign" in text or "elsewhere" in text for text in calls_of(r.collector))
    assert any(line["event"] == "alarm_task_unknown" for line in r.process.log())


async def test_after_a_deactivation_nothing_new_is_delivered_and_it_is_for_good(tmp_path: Path) -> None:
    async with rig(tmp_path) as r, r.collector.running(r.port):
        order = r.house.order(r.port)
        xid = xid_of(order)
        assert await r.ask(x1.ActivateTask(request=order)) == x1.Ok()
        await r.tap.send(r.tap.pdus(xid, call("before"), 1))
        await arrived(r.collector, 5)
        assert await r.ask(x1.DeactivateTask(xid=xid.hex())) == x1.Ok()
        await r.tap.send(r.tap.pdus(xid, call("after"), 2))
        await r.report_where(lambda found: found["tracker"]["refused_unknown"] + found["tracker"]["refused_ended"] == 4)
        await arrived(r.collector, 6)
        assert names(r.collector)[5:] == ["surveillanceStatus"]
        refused = await r.ask(x1.ActivateTask(request=order))
        assert isinstance(refused, x1.Refused)
        assert refused.check == "deactivated"
        # Not after a restart either, whatever the administrator remembers.
        await r.crash()
        await r.start()
        refused = await r.ask(x1.ActivateTask(request=order))
        assert isinstance(refused, x1.Refused)
        assert refused.check == "deactivated"
    assert not any("after" in text for text in calls_of(r.collector))


async def test_a_window_ends_at_its_second_in_mid_call(tmp_path: Path) -> None:
    async with rig(tmp_path) as r, r.collector.running(r.port):
        order = r.house.order(r.port, seconds=2)
        xid = xid_of(order)
        assert await r.ask(x1.ActivateTask(request=order)) == x1.Ok()
        invite, ringing, answer, bye = call("call-1")
        await r.tap.send(r.tap.pdus(xid, [invite, ringing, answer], 1))
        await arrived(r.collector, 4)
        await r.report_where(lambda found: found["tasks"] == 0)
        end_ns = (r.house.now_s + 2) * 1_000_000_000
        await arrived(r.collector, 5)
        assert names(r.collector)[-1] == "surveillanceStatus"
        assert end_ns <= r.collector.messages[-1].arrived_ns < end_ns + 1_000_000_000
        await r.tap.send(r.tap.pdus(xid, [bye], 1))
        await r.report_where(lambda found: found["tracker"]["refused_unknown"] + found["tracker"]["refused_ended"] == 1)
        refused = await r.ask(x1.ActivateTask(request=order))
        assert isinstance(refused, x1.Refused)
        await r.report_where(lambda found: found["links"][0]["state"] == "closed")
    assert "release" not in names(r.collector)
    assert xid.hex() in (tmp_path / "spool" / "mediator.stopped").read_text()


async def test_the_digit_toggle_acts_in_mid_call(tmp_path: Path) -> None:
    def press(event: int, number: int) -> list[bytes]:
        """One key, pressed and released: RFC 4733 end packets."""
        head = bytes([0x80, 0x80 | 101]) + number.to_bytes(2, "big") + (8000 * number).to_bytes(4, "big") + b"\0\0\0\1"
        return [head + bytes([event, 0x80 | 10]) + (800).to_bytes(2, "big")]

    async with rig(tmp_path) as r, r.collector.running(r.port):
        off = r.house.order(r.port)
        xid = xid_of(off)
        assert await r.ask(x1.ActivateTask(request=off)) == x1.Ok()
        invite, ringing, answer, bye = call("call-1")
        await r.tap.send(r.tap.pdus(xid, [invite, ringing, answer], 1))
        rtp = {"payload_format": PayloadFormat.RTP, "direction": Direction.FROM_TARGET}
        await r.tap.send(r.tap.pdus(xid, press(1, 1), 1, **rtp))
        on = r.house.order(r.port, dde=(False, True))
        assert xid_of(on) == xid
        await r.report_where(lambda found: found["call_models"].get("digits_off") == 1)
        assert await r.ask(x1.ModifyTask(request=on)) == x1.Ok()
        await r.tap.send(r.tap.pdus(xid, press(2, 2) + press(3, 3), 1, **rtp))
        await r.report_where(lambda found: found["tracker"]["pdus"] == 6)
        off_again = r.house.order(r.port, dde=(False, True, False))
        assert await r.ask(x1.ModifyTask(request=off_again)) == x1.Ok()
        await r.tap.send(r.tap.pdus(xid, press(4, 4), 1, **rtp) + r.tap.pdus(xid, [bye], 1))
        await until(lambda: "release" in names(r.collector))
    decoded = [decode(received.octets) for received in r.collector.messages]
    digits = [one.fields["digits"] for one in decoded if one.message == "dialedDgtExtrn"]
    assert digits == ["23"]


async def test_a_replayed_command_is_refused(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        older, newer = r.house.order(r.port, dde=(False, True)), r.house.order(r.port, dde=(False, True, False))
        assert await r.ask(x1.ActivateTask(request=newer)) == x1.Ok()
        refused = await r.ask(x1.ModifyTask(request=older))
        assert isinstance(refused, x1.Refused)
        assert refused.check == "superseded"


async def test_kill_9_in_mid_stream_loses_and_repeats_nothing_that_was_spooled(tmp_path: Path) -> None:
    """The tap resends nothing: what the mediator had taken is delivered once, by this process or the next."""
    async with rig(tmp_path) as r, r.collector.running(r.port):
        order = r.house.order(r.port)
        xid = xid_of(order)
        number = 0
        for _ in range(4):
            assert await r.ask(x1.ActivateTask(request=order)) == x1.Ok()
            for _ in range(40):
                number += 1
                await r.tap.send(r.tap.pdus(xid, call(f"call-{number}"), number))
            await until(lambda number=number: f"call-{number - 20}" in "".join(calls_of(r.collector)[-200:]))
            await r.crash()
            await r.start()
        assert await r.ask(x1.ActivateTask(request=order)) == x1.Ok()
        await r.tap.send(r.tap.pdus(xid, call("last"), number + 1))
        await until(lambda: "last" in calls_of(r.collector)[-1])
    sequences = [received.sequence for received in r.collector.messages]
    assert sequences == list(range(1, len(sequences) + 1))
    assert not r.collector.losses
    seen = [(decode(m.octets).message, str(decode(m.octets).fields)) for m in r.collector.messages]
    calls = [entry for entry in seen if entry[0] != "surveillanceStatus"]
    assert len(set(calls)) == len(calls)


async def test_kill_9_while_the_collector_is_away(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        order = r.house.order(r.port)
        xid = xid_of(order)
        assert await r.ask(x1.ActivateTask(request=order)) == x1.Ok()
        for number in range(1, 51):
            await r.tap.send(r.tap.pdus(xid, call(f"call-{number}"), number))
        await r.report_where(lambda found: found["links"][0]["queued"] == 201)
        await r.crash()
        await r.start()
        assert (await r.report())["stranded_spools"] == 1  # no live order names its destination yet
        assert await r.ask(x1.ActivateTask(request=order)) == x1.Ok()
        assert (await r.report())["stranded_spools"] == 0
        async with r.collector.running(r.port):
            await arrived(r.collector, 202)
    assert names(r.collector) == ["surveillanceStatus", *MESSAGES_OF_A_CALL * 50, "surveillanceStatus"]
    assert [received.sequence for received in r.collector.messages] == list(range(1, 203))


async def test_the_access_process_may_start_again(tmp_path: Path) -> None:
    async with rig(tmp_path) as r, r.collector.running(r.port):
        order = r.house.order(r.port)
        xid = xid_of(order)
        assert await r.ask(x1.ActivateTask(request=order)) == x1.Ok()
        await r.tap.send(r.tap.pdus(xid, call("call-1"), 1))
        await r.tap.hang_up()
        await r.tap.connected()
        await r.tap.send(r.tap.pdus(xid, call("call-2"), 2))
        await arrived(r.collector, 9)
        report = await r.report()
        assert report["intake"]["connections"] == 2
        assert report["intake"]["missing"] == 0


async def test_octets_that_are_not_x2_end_the_connection_and_nothing_else(tmp_path: Path) -> None:
    async with rig(tmp_path) as r, r.collector.running(r.port):
        order = r.house.order(r.port)
        xid = xid_of(order)
        assert await r.ask(x1.ActivateTask(request=order)) == x1.Ok()
        await r.tap.send(r.tap.pdus(xid, call("good"), 1) + b"\xff" * 64)
        await r.tap.connected()
        await r.tap.send(r.tap.pdus(xid, call("better"), 2))
        await arrived(r.collector, 9)
        assert (await r.report())["intake"]["malformed"] == 1


async def test_a_gap_in_the_numbers_of_the_access_process_is_counted_and_alarmed(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        order = r.house.order(r.port)
        xid = xid_of(order)
        assert await r.ask(x1.ActivateTask(request=order)) == x1.Ok()
        first, *lost, last = (r.tap.pdus(xid, [message], 1) for message in call("call-1"))
        await r.tap.send(first + last)
        report = await r.report_where(lambda found: found["tracker"]["pdus"] == 2)
        assert report["intake"]["missing"] == len(lost) == 2
    assert any(line["event"] == "alarm_x2_missing" and line["count"] == 2 for line in r.process.log())


async def test_x1_that_is_not_x1_is_refused(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        assert r.administrator is not None
        await r.administrator._stream.send_all(b'{"type":"ActivateTask","request":"tel:+12125550100"}\n')
        assert await r.administrator._stream.receive_some(100) == b""
        r.administrator = await Administrator.connect(r.house.site.run_dir)
        report = await r.report()
        assert report["x1_malformed"] == 1
        assert report["tasks"] == 0


async def test_an_order_whose_tokens_were_changed_is_refused_by_the_mediator_itself(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        order = r.house.order(r.port)
        other = r.house.order(r.port, case="CASE-2")
        refused = await r.ask(x1.ActivateTask(request=msgspec.structs.replace(order, legal=other.legal)))
        assert isinstance(refused, x1.Refused)
        assert (await r.report())["links"] == []


async def test_two_agencies_have_two_links_and_one_that_is_away_disturbs_no_other(tmp_path: Path) -> None:
    async with rig(tmp_path) as r, r.collector.running(r.port):
        here = r.house.order(r.port)
        away = r.house.order(free_port(), case="CASE-2", agency="ELSEWHERE", subjects=("tel:+12125550101",))
        assert await r.ask(x1.ActivateTask(request=here)) == x1.Ok()
        assert await r.ask(x1.ActivateTask(request=away)) == x1.Ok()
        for number in range(1, 21):
            await r.tap.send(r.tap.pdus(xid_of(away), call(f"away-{number}"), 1000 + number))
            await r.tap.send(r.tap.pdus(xid_of(here), call(f"here-{number}"), number))
        await arrived(r.collector, 81)
        report = await r.report_where(lambda found: found["links"][0]["queued"] == 0)
        assert [(link["agency"], link["queued"]) for link in report["links"]] == [("AGENCY", 0), ("ELSEWHERE", 81)]
    assert not any("away" in text for text in calls_of(r.collector))


async def test_no_log_line_and_no_report_names_a_target(tmp_path: Path) -> None:
    async with rig(tmp_path) as r, r.collector.running(r.port):
        order = r.house.order(r.port)
        assert await r.ask(x1.ActivateTask(request=order)) == x1.Ok()
        await r.tap.send(r.tap.pdus(xid_of(order), [*call("call-1"), sip("x", "INVITE")], 1))
        await r.tap.send(b"\xff" * 64)
        await arrived(r.collector, 5)
        text = json.dumps(await r.report())
        text += (tmp_path / "mediator.log").read_text()
    assert "2125550" not in text
    assert "CASE-1" not in text


async def test_a_fault_of_ours_in_one_call_is_a_reported_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process, since a test has to break the call model."""
    from mediation.core.call import CallModel
    from mediation.core.x2 import Framer
    from mediation.delivery.spool import Spool
    from mediation.delivery.tracker import Tracker
    from mediation.runtime import keys

    house = House(tmp_path)
    order = house.order(1)
    task = x1.TaskTable(keys.load_trust(house.site), lambda _change: None)
    assert task.handle(x1.ActivateTask(request=order), house.now_s * 1_000_000_000) == x1.Ok()
    tracker = Tracker(house.site.dial_plan, ["access-1"], digit_timeout_ns=10**9, status_messages=False)
    tracker.begin(next(iter(task)), 0)
    tap = Tap(house.site.run_dir)
    pdus = Framer().feed(tap.pdus(xid_of(order), call("call-1"), 1))
    await tap.close()
    real = CallModel.observe

    def breaks(self: CallModel, pdu: Any) -> Any:
        if b"180 Ringing" in pdu.payload:
            raise IndexError("our bug")
        return real(self, pdu)

    monkeypatch.setattr(CallModel, "observe", breaks)
    outgoing = tracker.observe(pdus, task.get)
    assert tracker.counters.faults == 1
    spool = Spool(tmp_path / "spool" / "x", now_s=1, bound_octets=1 << 20)
    events = spool.append([one.message for one in outgoing])
    assert [event for event in events if isinstance(event, Loss)] == [Loss(2, 2, LossClass.UNENCODABLE)]
    assert len(events) == 4
    spool.close()
