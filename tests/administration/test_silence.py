"""A function that stands still and keeps its connection: noticed, alarmed, away; told everything when it is back."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from mediation.administration.keys import ledger_files
from mediation.administration.ledger import verify
from mediation.administration.silence import ANSWER_TURNS, FIRST_TURNS, PING_TURNS, Silence
from mediation.core.case import Act
from mediation.core.interface import x1
from mediation.core.interface.control import Perform, Results, Submit
from mediation.core.ledger import entry
from mediation.core.records.alarm import Alarm
from mediation.runtime.config import Site
from mediation.runtime.keys import read_verifier
from tests.administration import site as s
from tests.administration.peers import LIMIT_S, Stage, ask, mediation, staged


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with staged(tmp_path, s.make) as made:
        yield made


def alarms(site: Site) -> list[str]:
    found: list[str] = []

    def read(_: object, record: entry.Record) -> None:
        if isinstance(record, entry.Alarm) and record.alarm == Alarm.FUNCTION_SILENT:
            found.append(record.detail)

    verify.examine(ledger_files(site), read_verifier(site.keys_dir), on_record=read).raise_first()
    return found


async def standing(site: Site) -> dict[str, str]:
    found = json.loads((await mediation("status", "--site", str(site.path), "--json")).stdout)["alarms"]
    assert isinstance(found, dict)
    return found


async def until_alarmed(site: Site) -> list[str]:
    with trio.fail_after(LIMIT_S):
        while not (found := alarms(site)):
            await trio.sleep(0.1)
    return found


async def test_a_stop_does_not_wait_for_one_that_stands_still(stage: Stage) -> None:
    await stage.start(stage.mediator, stage.iap)
    await stage.run()
    filed = s.filing(stage.site)
    assert isinstance(await ask(stage.site, Submit(filings=(filed,))), Results)
    stage.iap.frozen = True
    stop = s.act(stage.site, filed.carrier, "CASE-1", 2, Act.DEACTIVATE)
    answer = await ask(stage.site, Perform(commands=(stop,)))
    assert isinstance(answer, Results)
    assert answer.results[0].functions == {"mediator": "done", "iap": "away"}
    assert stage.mediator.cases() == set() and stage.iap.cases() == {"CASE-1"}
    found = alarms(stage.site)
    assert len(found) == 1 and found[0].startswith("iap ")
    assert await standing(stage.site) == {Alarm.FUNCTION_SILENT: "iap"}
    # The next one does not wait at all, and is told with the rest when it is back: no more than that is sent meanwhile.
    other = s.filing(stage.site, "CASE-2")
    answer = await ask(stage.site, Submit(filings=(other,)))
    assert isinstance(answer, Results)
    assert answer.results[0].functions == {"mediator": "done", "iap": "away"}
    stage.iap.thaw()
    await stage.iap.until(lambda: stage.iap.cases() == {"CASE-2"})
    with trio.fail_after(LIMIT_S):
        while await standing(stage.site):
            await trio.sleep(0.1)
    assert len(alarms(stage.site)) == 1


async def test_one_to_which_nothing_is_said_is_noticed_as_well(stage: Stage) -> None:
    """A mediator of its own process, stopped by a signal: its connection stands, and nobody asks it anything."""
    await stage.start(stage.iap)
    with (stage.site.log_dir / "mediator.log").open("ab") as errors:
        mediator = await trio.lowlevel.open_process(
            [sys.executable, "-m", "mediation.cli.main", "function", "mediator", "--site", str(stage.site.path)],
            stdout=errors, stderr=errors,
        )  # fmt: skip
    try:
        await stage.run()
        filed = s.filing(stage.site)
        answer = await ask(stage.site, Submit(filings=(filed,)))
        assert isinstance(answer, Results)
        assert answer.results[0].functions == {"mediator": "done", "iap": "done"}
        mediator.send_signal(signal.SIGSTOP)
        assert [detail.split()[0] for detail in await until_alarmed(stage.site)] == ["mediator"]
        assert await standing(stage.site) == {Alarm.FUNCTION_SILENT: "mediator"}
        stop = s.act(stage.site, filed.carrier, "CASE-1", 2, Act.DEACTIVATE)
        answer = await ask(stage.site, Perform(commands=(stop,)))
        assert isinstance(answer, Results)
        assert answer.results[0].functions == {"mediator": "away", "iap": "done"}
        mediator.send_signal(signal.SIGCONT)
        with trio.fail_after(LIMIT_S):
            while outcomes(stage.site)[-1] != ("mediator", "disarmed", ""):
                await trio.sleep(0.1)
        assert await standing(stage.site) == {}
    finally:
        mediator.kill()
        await mediator.wait()


def outcomes(site: Site) -> list[tuple[str, str, str]]:
    found: list[tuple[str, str, str]] = []

    def read(_: object, record: entry.Record) -> None:
        if isinstance(record, entry.Outcome):
            found.append((record.function, record.act, record.refused))

    verify.examine(ledger_files(site), read_verifier(site.keys_dir), on_record=read).raise_first()
    return found


class Heard:
    """A function as `Silence` sees it: what it owes, and the pings that it got, by the clock."""

    def __init__(self, *, answers: bool) -> None:
        self.silence = Silence(lambda: self.owed, self.ping, lambda: self.alarms.append(self.since()))
        self.owed = False
        self.alarms: list[float] = []
        self.answers = answers
        self.pings: list[float] = []
        self._began = trio.current_time()

    def since(self) -> float:
        return trio.current_time() - self._began

    def ping(self) -> None:
        assert self.silence.due and x1.decode_request(self.silence.ping()[:-1]) == x1.Ping() and not self.silence.due
        self.pings.append(self.since())
        if self.answers:
            self.silence.heard()
        else:
            self.owed = True

    async def falls_silent(self) -> float:
        """When it did."""
        with trio.CancelScope() as session:
            await self.silence.watch(session)
            await trio.lowlevel.checkpoint()
            raise AssertionError("the session goes on")
        assert self.alarms[-1:] == [self.since()]
        return self.since()


async def test_it_is_pinged_while_nothing_is_to_be_said(autojump_clock: MockClock) -> None:
    function = Heard(answers=True)
    with trio.move_on_after(600):
        await function.falls_silent()
    assert function.pings[:3] == [PING_TURNS, 2 * PING_TURNS, 3 * PING_TURNS] and not function.silence.standing
    function.answers = False
    asked = function.since()
    assert await function.falls_silent() - asked == PING_TURNS + FIRST_TURNS  # a session that begins with nothing
    assert function.silence.standing


async def test_one_that_has_answered_once_has_less_time(autojump_clock: MockClock) -> None:
    function = Heard(answers=False)
    function.owed = True
    ends: list[float] = []

    async def session() -> None:
        ends.append(await function.falls_silent())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(session)
        await trio.sleep(FIRST_TURNS - 0.5)
        function.silence.heard()  # so late, and in time
    assert ends == [FIRST_TURNS - 1 + ANSWER_TURNS] and not function.pings


async def test_who_stood_still_himself_holds_it_against_nobody(mock_clock: MockClock) -> None:
    function = Heard(answers=False)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(function.falls_silent)
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(PING_TURNS + 1):
            mock_clock.jump(3600.0)
            await trio.testing.wait_all_tasks_blocked()
        assert function.owed and not function.silence.standing
        nursery.cancel_scope.cancel()
