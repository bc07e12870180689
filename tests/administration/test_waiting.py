"""Orders that wait in the mediator after a restart: in force at once, judged by it in any case, entered when it has."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from mediation.administration.keys import ledger_files
from mediation.administration.ledger import tiles, verify
from mediation.core.check import Check
from mediation.core.interface import x1
from mediation.core.interface.control import Filing, Report, Results, Revoke, Settle, Status, Submit
from mediation.core.ledger import entry
from mediation.runtime.keys import read_verifier
from tests.administration import site as s
from tests.administration.peers import LIMIT_S, Peer, Stage, ask, staged

MANY = 150  # more than are on their way to one function at a time


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with staged(tmp_path, s.make) as made:
        yield made


def outcomes(stage: Stage) -> list[tuple[str, str, str, str]]:
    """Function, act, case and refusal, as entered."""
    found = []

    def read(_: tiles.Line, record: entry.Record) -> None:
        if isinstance(record, entry.Outcome):
            found.append((record.function, record.act, record.case, record.refused))

    verify.examine(ledger_files(stage.site), read_verifier(stage.site.keys_dir), on_record=read).raise_first()
    return found


async def entered(stage: Stage, count: int) -> list[tuple[str, str, str, str]]:
    with trio.fail_after(LIMIT_S):
        while len(found := outcomes(stage)) < count:
            await trio.sleep(0.05)
    assert len(found) == count
    return found


async def restarted(stage: Stage, count: int) -> tuple[Filing, ...]:
    """A site of `count` orders, of which the functions were started again; the mediator puts off what it can now."""
    await stage.start(stage.mediator, stage.iap)
    await stage.run()
    filings = tuple(s.filing(stage.site, f"CASE-{n}") for n in range(count))
    answer = await ask(stage.site, Submit(filings=filings))
    assert isinstance(answer, Results) and not any(each.check for each in answer.results)
    await entered(stage, 2 * count)
    await stage.terminate()
    for peer in (stage.mediator, stage.iap):
        stage.stop(peer)
    stage.log.clear()
    stage.mediator.may_wait = lambda xid, request: True
    await stage.start(stage.mediator, stage.iap)
    return filings


def something_comes_of_the_first(stage: Stage) -> list[bytes]:
    """An event of the first order that waits, as soon as it does; the XIDs of those that were let wait."""
    seen: list[bytes] = []

    async def judge(xid: bytes) -> None:
        stage.mediator.table.judge(xid, stage.mediator.now_ns())

    def event(xid: bytes, request: object) -> bool:
        seen.append(xid)
        if len(seen) == 1:
            stage.nursery.start_soon(judge, xid)
        return True

    stage.mediator.table._may_wait = event
    return seen


async def test_the_access_function_is_armed_first_and_the_mediator_judges_all(stage: Stage) -> None:
    await restarted(stage, MANY)
    await stage.run()
    await stage.mediator.until(lambda: len(stage.mediator.table) == MANY)
    order = [name for name, act, _ in stage.events() if act == "armed"]
    assert order == ["iap"] * MANY + ["mediator"] * MANY
    assert stage.mediator.table.waiting == 0
    fresh = (await entered(stage, 4 * MANY))[2 * MANY :]
    assert sorted(fresh) == sorted(
        (function, "armed", f"CASE-{n}", "") for function in ("mediator", "iap") for n in range(MANY)
    )
    report = await ask(stage.site, Status())
    assert isinstance(report, Report)


async def test_what_an_event_had_judged_is_entered_as_armed_once(stage: Stage) -> None:
    await restarted(stage, 3)
    something_comes_of_the_first(stage)
    await stage.run()
    assert isinstance(await ask(stage.site, Settle()), Results)
    fresh = (await entered(stage, 12))[6:]
    assert len(set(fresh)) == 6 and len(stage.mediator.table) == 3
    assert stage.events("mediator")[0][1] == "armed"


async def test_what_the_mediator_refuses_when_it_judges_is_said_with_its_check(stage: Stage) -> None:
    """Whether it was asked to judge it, or something of it had come before."""
    await restarted(stage, 2)
    stage.mediator.refuse = Check.UNENCODABLE
    seen = something_comes_of_the_first(stage)
    await stage.run()
    assert isinstance(await ask(stage.site, Settle()), Results)
    fresh = (await entered(stage, 8))[4:]
    assert sorted(each for each in fresh if each[0] == "mediator") == [
        ("mediator", "armed", f"CASE-{n}", Check.UNENCODABLE) for n in range(2)
    ]
    assert [each[3] for each in fresh if each[0] == "iap"] == ["", ""]
    assert len(seen) == 2 and len(stage.mediator.table) == stage.mediator.table.waiting == 0


async def test_a_stop_reaches_what_waits(stage: Stage) -> None:
    """While the access function still has everything before it."""
    filings = await restarted(stage, 2)
    connected, answering = trio.Event(), trio.Event()
    session = stage.iap._session

    async def slow(stream: trio.SocketStream) -> None:
        connected.set()
        await answering.wait()
        await session(stream)

    stage.iap._session = slow  # type: ignore[method-assign]
    for peer in (stage.mediator, stage.iap):
        stage.stop(peer)
    await stage.start(stage.iap)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stage.run)
        await connected.wait()
        await stage.start(stage.mediator)
        await stage.mediator.until(lambda: stage.mediator.table.waiting == 2)
        text = s.revocation(stage.site, filings[0], "CASE-0")
        nursery.start_soon(ask, stage.site, Revoke(revocations=(text,), wait=False))
        await stage.mediator.until(lambda: stage.mediator.table.waiting == 1)
        answering.set()
    assert isinstance(await ask(stage.site, Settle()), Results)
    assert stage.mediator.cases() == stage.iap.cases() == {"CASE-1"}
    fresh = outcomes(stage)[4:]
    assert ("mediator", "disarmed", "CASE-0", "") in fresh and ("mediator", "armed", "CASE-0", "") not in fresh


class Liar(Peer):
    """A mediator that puts off even what it is to judge now."""

    told = 0

    async def _session(self, stream: trio.SocketStream) -> None:
        lines = x1.Lines()
        try:
            async with stream:
                while octets := await stream.receive_some(65_536):
                    for line in lines.feed(octets):
                        request = x1.decode_request(line)
                        if isinstance(request, x1.ActivateTask | x1.JudgeTask):
                            self.told += 1
                            answer: x1.Answer = x1.Ok(waits=True)
                        else:
                            answer = self.table.handle(request, self.now_ns())
                        await stream.send_all(x1.encode(answer))
                    self.moved.set()
                    self.moved = trio.Event()
        except trio.BrokenResourceError:
            pass


async def test_one_that_never_judges_loses_its_connection_and_keeps_no_stop(stage: Stage) -> None:
    liar = stage.mediator = Liar("mediator", stage.site, stage.log)
    await stage.start(liar, stage.iap)
    await stage.run()
    filed = s.filing(stage.site)
    answer = await ask(stage.site, Submit(filings=(filed,), wait=False))
    assert isinstance(answer, Results)
    await liar.until(lambda: liar.told > 3)  # again and again, after a pause each time
    answer = await ask(stage.site, Revoke(revocations=(s.revocation(stage.site, filed),)))
    assert isinstance(answer, Results) and not answer.results[0].check
    report = await ask(stage.site, Status())
    assert isinstance(report, Report) and report.counters["x1_protocol_errors"] > 0
    assert not [each for each in outcomes(stage) if each[:2] == ("mediator", "armed")]
