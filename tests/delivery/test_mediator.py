"""The mediator as a process: what a live order covers arrives, nothing else does, and ends are ends."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import msgspec
import pytest

from mediation.collection.decoder import decode
from mediation.core.interface import x1
from mediation.core.interface.x2 import Direction, PayloadFormat
from mediation.delivery.retired import Retired
from tests import vault
from tests.delivery.house import MESSAGES_OF_A_CALL, Administrator, call, revocation, sip, xid_of
from tests.delivery.links import free_port, until
from tests.delivery.rig import arrived, calls_of, names, rig


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
        seconds = int(time.time()) - r.house.now_s + 3
        order = r.house.order(r.port, seconds=seconds)
        xid = xid_of(order)
        assert await r.ask(x1.ActivateTask(request=order)) == x1.Ok()
        invite, ringing, answer, bye = call("call-1")
        await r.tap.send(r.tap.pdus(xid, [invite, ringing, answer], 1))
        await arrived(r.collector, 4)
        await r.report_where(lambda found: found["tasks"] == 0)
        end_ns = (r.house.now_s + seconds) * 1_000_000_000
        await arrived(r.collector, 5)
        assert names(r.collector)[-1] == "surveillanceStatus"
        assert end_ns <= r.collector.messages[-1].arrived_ns < end_ns + 1_000_000_000
        await r.tap.send(r.tap.pdus(xid, [bye], 1))
        await r.report_where(lambda found: found["tracker"]["refused_unknown"] + found["tracker"]["refused_ended"] == 1)
        refused = await r.ask(x1.ActivateTask(request=order))
        assert isinstance(refused, x1.Refused)
        await r.report_where(lambda found: found["links"][0]["state"] == "closed")
    assert "release" not in names(r.collector)
    assert xid in Retired(tmp_path / "spool" / "mediator.stopped", vault.derived().name_key("journal"))


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


async def test_one_is_revoked_and_the_others_are_untouched(tmp_path: Path) -> None:
    """SEC-24: of two destinations one is withdrawn; the order of the other goes on as if nothing had been."""
    async with rig(tmp_path) as r, r.collector.running(r.port):
        order = r.house.order(r.port)
        gone = r.house.order(free_port(), case="CASE-2")
        for each in (order, gone):
            assert await r.ask(x1.ActivateTask(request=each)) == x1.Ok()
        text = revocation(gone, "CASE-2")
        assert await r.ask(x1.RevokeToken(revocation=text)) == x1.Ok()
        report = await r.report_where(lambda found: found["tasks"] == 1)
        assert len(report["links"]) == 2
        await r.tap.send(r.tap.pdus(xid_of(gone), call("withdrawn"), 2) + r.tap.pdus(xid_of(order), call("call-1"), 1))
        await arrived(r.collector, 5)
        assert not any("withdrawn" in each for each in calls_of(r.collector))
        refused = await r.ask(x1.ActivateTask(request=gone))
        assert isinstance(refused, x1.Refused)
