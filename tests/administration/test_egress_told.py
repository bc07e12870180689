"""The egress function as the administrator sees it: told before the mediator; what it drops is an alarm (SEC-12)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from mediation.administration.keys import ledger_files
from mediation.administration.ledger import verify
from mediation.core.case import Act
from mediation.core.interface.control import Perform, Results, Submit
from mediation.core.ledger import entry
from mediation.core.records.alarm import Alarm
from mediation.runtime import config
from mediation.runtime.config import Site
from mediation.runtime.keys import read_verifier
from tests.administration import site as s
from tests.administration.peers import LIMIT_S, Peer, Stage, ask, command, staged


def filtered(folder: Path) -> Site:
    site = s.make(folder)
    with (site.path / "config.toml").open("a") as file:
        file.write("\n[egress]\nenforce = true\n")
    return config.load(site.path)


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with staged(tmp_path, filtered) as made:
        yield made


def alarms(site: Site) -> list[str]:
    found: list[str] = []

    def read(_: object, record: entry.Record) -> None:
        if isinstance(record, entry.Alarm) and record.alarm == Alarm.EGRESS_REFUSED:
            found.append(record.detail)

    verify.examine(ledger_files(site), read_verifier(site.keys_dir), on_record=read).raise_first()
    return found


async def order(site: Site, case: str) -> None:
    done = await trio.to_thread.run_sync(
        command, "lab", "order", "--site", str(site.path), "--case", case, "--target", "tel:+12125550100",
        "--authority", "pen-register",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


async def test_a_destination_is_open_before_the_mediator_is_armed(stage: Stage) -> None:
    egress = Peer("egress", stage.site, stage.log)
    await stage.start(stage.mediator, stage.iap, egress)
    await stage.run()
    for case in ("CASE-1", "CASE-2"):
        await order(stage.site, case)
        armed = [name for name, act, what, _ in stage.log if act == "armed" and what == case]
        assert armed == ["egress", "mediator", "iap"]
    # After a start of the administrator too, and of the mediator alone.
    await stage.kill()
    stage.log.clear()
    stage.stop(egress)
    stage.stop(stage.mediator)
    await stage.start(egress, stage.mediator)
    await stage.run()
    await stage.mediator.until(lambda: len(stage.mediator.table) == 2)
    names = [name for name, act, _, _ in stage.log if act == "armed"]
    assert sorted(names[:2]) == ["egress", "egress"] and set(names[2:4]) == {"mediator"}


async def test_a_filter_that_stands_still_holds_up_no_suspension(stage: Stage) -> None:
    """It waited for the answer of egress, and while the witnesses were away for them: the mediator went on delivering
    what other points of interception send it."""
    egress = Peer("egress", stage.site, stage.log)
    await stage.start(stage.mediator, stage.iap, egress)
    await stage.run()
    filed = s.filing(stage.site)
    assert isinstance(await ask(stage.site, Submit(filings=(filed,))), Results)
    await stage.iap.until(lambda: len(stage.iap.table) == 1)
    egress.frozen = True
    suspended = s.act(stage.site, filed.carrier, "CASE-1", 2, Act.SUSPEND)
    answer = await ask(stage.site, Perform(commands=(suspended,), wait=False))
    assert isinstance(answer, Results) and answer.results[0].check == ""
    for peer in (stage.iap, stage.mediator):
        await peer.until(lambda table=peer.table: [task.suspended for task in table] == [True])  # type: ignore[misc]
    assert not any(task.suspended for task in egress.table)


async def test_what_the_filter_drops_is_an_alarm_in_the_ledger(stage: Stage) -> None:
    egress = Peer("egress", stage.site, stage.log)
    egress.said["refused_packets"] = 0
    await stage.start(stage.mediator, stage.iap, egress)
    await stage.run()
    await order(stage.site, "CASE-1")
    assert alarms(stage.site) == []
    egress.said["refused_packets"] = 7
    with trio.fail_after(LIMIT_S):
        while not (found := alarms(stage.site)):
            await trio.sleep(0.1)
    assert len(found) == 1 and found[0].startswith("7 packets by ")
    assert Alarm.EGRESS_REFUSED.value in stage.said()
