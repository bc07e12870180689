"""The administrator as a process, with functions that really admit: armed, changed, stopped, and after any restart."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import trio

from mediation.administration.control import MAX_COMMANDS_AT_ONCE
from mediation.administration.function import WINDOW
from mediation.administration.keys import ledger_files
from mediation.administration.ledger import tiles, verify
from mediation.core.case import Act
from mediation.core.check import Check
from mediation.core.interface import control
from mediation.core.interface.control import Perform, Report, Results, Revoke, Status, Submit
from mediation.core.ledger import entry
from mediation.runtime import sockets
from mediation.runtime.keys import read_verifier
from tests.administration import site as s
from tests.administration.peers import Stage, ask, mediation, staged

FEW = 5  # tasks by which it is seen that a function is being told


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with staged(tmp_path, s.make) as made:
        yield made


async def results(stage: Stage, request: control.Request) -> tuple[control.Result, ...]:
    answer = await ask(stage.site, request)
    assert isinstance(answer, Results)
    return answer.results


def outcomes(stage: Stage) -> list[tuple[str, str, str, int, str]]:
    found: list[tuple[str, str, str, int, str]] = []

    def read(_: tiles.Line, record: entry.Record) -> None:
        if isinstance(record, entry.Outcome):
            found.append((record.case, record.function, record.act, record.sequence, record.refused))

    folder = ledger_files(stage.site)
    verify.examine(folder, read_verifier(stage.site.keys_dir), on_record=read).raise_first()
    return found


async def test_by_the_commands_that_people_use(stage: Stage) -> None:
    at = ("--site", str(stage.site.path))
    await stage.start(stage.mediator, stage.iap)
    await stage.run()
    done = await mediation("lab", "order", *at, "--case", "CASE-1", "--target", "tel:+12125550100",
                           "--authority", "pen-register", "--dde", "on")  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "CASE-1\n", "")
    assert stage.events() == [("mediator", "armed", "CASE-1"), ("iap", "armed", "CASE-1")]
    assert all(task.dde for task in stage.iap.table)
    assert (await mediation("case", "dde", "CASE-1", "off", *at)).returncode == 0
    assert not any(task.dde for task in (*stage.iap.table, *stage.mediator.table))
    shown = json.loads((await mediation("case", "show", "CASE-1", *at)).stdout)
    assert (shown["state"], shown["dde"], shown["sequence"], shown["last_act"]) == ("active", False, 2, "dde")
    assert "2125550100" not in json.dumps(shown)
    began = time.monotonic()
    assert (await mediation("order", "revoke", *at, "--case", "CASE-1", "--token", "legal")).returncode == 0
    assert sorted(stage.events()[-2:]) == [("iap", "stopped", "CASE-1"), ("mediator", "stopped", "CASE-1")]
    assert stage.log[-1][3] > began
    again = await mediation("case", "dde", "CASE-1", "on", *at)
    assert again.returncode == 1 and again.stderr.startswith("mediation: revoked") and again.stderr.count("\n") == 1
    assert (await mediation("ledger", "verify", *at)).returncode == 0
    assert [each[1:] for each in outcomes(stage) if each[1] == "iap"] == [
        ("iap", "armed", 1, ""), ("iap", "changed", 2, ""), ("iap", "disarmed", 0, ""),
    ]  # fmt: skip
    assert "2125550100" not in stage.said()


async def test_stopped_within_a_second(stage: Stage) -> None:
    """The bound holds from the moment the revocation reaches the administrator to the last function's stop."""
    await stage.start(stage.mediator, stage.iap)
    await stage.run()
    filings = [s.filing(stage.site, f"CASE-{n}") for n in range(20)]
    assert not any(result.check for result in await results(stage, Submit(filings=tuple(filings))))
    times = []
    for n, filed in enumerate(filings):
        text = s.revocation(stage.site, filed, f"CASE-{n}")
        began = time.monotonic()
        assert (await results(stage, Revoke(revocations=(text,))))[0].functions == {"mediator": "done", "iap": "done"}
        times += [event[3] - began for event in stage.log[-2:]]
    assert max(times) < 1.0
    assert stage.iap.cases() == stage.mediator.cases() == set()


async def test_a_function_that_restarts_is_told_again(stage: Stage) -> None:
    await stage.start(stage.mediator, stage.iap)
    await stage.run()
    filings = [s.filing(stage.site, f"CASE-{n}") for n in range(5)]
    await results(stage, Submit(filings=tuple(filings)))
    await results(stage, Revoke(revocations=(s.revocation(stage.site, filings[0], "CASE-0"),)))
    for peer in (stage.iap, stage.mediator):
        stage.stop(peer)
        await stage.start(peer)
        assert peer.cases() == set()
        await peer.until(lambda peer=peer: len(peer.table) == 4)
        assert "CASE-0" not in peer.cases()


async def test_an_act_while_a_function_is_away(stage: Stage) -> None:
    """The order is accepted and entered; the function is told when it is back; what it missed is what counts."""
    await stage.start(stage.mediator)
    ready = time.monotonic()
    await stage.run()
    assert time.monotonic() - ready < 30  # it does not wait for a function for ever
    filed, other = s.filing(stage.site), s.filing(stage.site, "CASE-2")
    answer = await results(stage, Submit(filings=(filed, other)))
    assert [each.functions for each in answer] == [{"mediator": "done", "iap": "away"}] * 2
    await results(stage, Perform(commands=(s.act(stage.site, filed.carrier, "CASE-1", 2, Act.DDE, dde=True),)))
    await results(stage, Revoke(revocations=(s.revocation(stage.site, other, "CASE-2"),)))
    await stage.start(stage.iap)
    await stage.iap.until(lambda: len(stage.iap.table) == 1)
    task = next(iter(stage.iap.table))
    assert (task.case, task.dde, task.sequence) == ("CASE-1", True, 2)


async def test_the_administrator_is_killed_and_comes_back(stage: Stage) -> None:
    await stage.start(stage.mediator, stage.iap)
    await stage.run()
    kept, gone = s.filing(stage.site), s.filing(stage.site, "CASE-2")
    await results(stage, Submit(filings=(kept, gone)))
    await stage.kill()
    assert stage.iap.cases() == {"CASE-1", "CASE-2"}  # running interceptions do not depend on it
    done = await results(stage, Revoke(revocations=(s.revocation(stage.site, gone, "CASE-2"),)))
    assert done[0].check == "" and done[0].functions == {}  # acted in its place, under its lock
    assert stage.iap.cases() == {"CASE-1", "CASE-2"}
    await stage.run()
    for peer in (stage.iap, stage.mediator):
        await peer.until(lambda peer=peer: peer.cases() == {"CASE-1"})
    # A state directory of the receivers that also restarts gets the one live order, and only that.
    stage.stop(stage.iap)
    await stage.start(stage.iap)
    await stage.iap.until(lambda: stage.iap.cases() == {"CASE-1"})
    assert await stage.terminate() == 0


async def test_windows_begin_and_end_while_it_runs(stage: Stage) -> None:
    await stage.start(stage.mediator, stage.iap)
    await stage.run()
    now = int(time.time())
    await results(stage, Submit(filings=(s.filing(stage.site, not_before_s=now + 2, not_after_s=now + 4),)))
    assert stage.events() == []
    for peer in (stage.mediator, stage.iap):
        await peer.until(lambda peer=peer: (peer.name, "stopped", "CASE-1") in stage.events())
    wall = time.time() - time.monotonic()
    times = {(name, act): at + wall - now for name, act, _, at in stage.log}
    assert all(2 <= times[name, "armed"] < 2.9 and 4 <= times[name, "stopped"] < 4.9 for name in ("mediator", "iap"))
    with trio.fail_after(60):  # the outcome is entered after the functions' answers; nothing here is told when
        while outcomes(stage)[-1][2] != "disarmed":
            await trio.sleep(0.02)


async def test_a_function_that_refuses(stage: Stage) -> None:
    await stage.start(stage.mediator, stage.iap)
    await stage.run()
    stage.mediator.refuse = "unencodable"
    done = await mediation("lab", "order", "--site", str(stage.site.path), "--case", "CASE-1", "--target",
                           "tel:+12125550100", "--authority", "title3")  # fmt: skip
    assert done.returncode == 1 and done.stderr == (
        f"mediation: unencodable: {Check.UNENCODABLE.sentence}; refused by mediator\n"
    )
    assert stage.iap.cases() == set()  # what nobody would take is not tapped
    assert outcomes(stage) == [("CASE-1", "mediator", "armed", 1, "unencodable")]


async def test_status_names_no_target(stage: Stage) -> None:
    await stage.start(stage.mediator, stage.iap)
    await stage.run()
    await results(stage, Submit(filings=(s.filing(stage.site), s.filing(stage.site, "CASE-2", activate=False))))
    answer = await ask(stage.site, Status())
    assert isinstance(answer, Report)
    assert answer.orders == {"active": 1, "filed": 1}
    assert answer.functions == {"mediator": {"tasks": 1}, "iap": {"tasks": 1}}
    assert "unwitnessed" in answer.ledger["witness"]
    stage.stop(stage.iap)
    with trio.fail_after(60):
        while (await ask(stage.site, Status())).functions["iap"] is not None:  # type: ignore[union-attr]
            pass
    assert b"212555" not in control.encode(answer)


async def test_many_at_once_and_a_stop_between(stage: Stage) -> None:
    """A stop does not wait behind a thousand activations."""
    await stage.start(stage.mediator, stage.iap)
    await stage.run()
    first = s.filing(stage.site, "FIRST")
    await results(stage, Submit(filings=(first,)))
    filings = [s.filing(stage.site, f"CASE-{n}") for n in range(300)]
    text = s.revocation(stage.site, first, "FIRST")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(results, stage, Submit(filings=tuple(filings)))
        await stage.mediator.until(lambda: len(stage.mediator.table) > FEW)
        await results(stage, Revoke(revocations=(text,)))
    # An answer waits for the functions so long and no longer: where the machine stands still it is there before theirs.
    for peer in (stage.mediator, stage.iap):
        stopped = (peer.name, "stopped", "FIRST")
        await peer.until(lambda peer=peer, stopped=stopped: len(peer.table) == 300 and stopped in stage.events())
    # By the order of what each was told, not by a clock: the machine may stand still, the stop may not wait in line.
    before = [[each[1] for each in stage.log if each[0] == name].index("stopped") for name in ("mediator", "iap")]
    assert max(before) <= 2 * WINDOW + FEW < len(filings)
    assert len(stage.iap.table) == len(stage.mediator.table) == 300
    with trio.fail_after(60):
        while len(outcomes(stage)) < 2 + 600 + 2:
            await trio.sleep(0.1)
    assert len(outcomes(stage)) == 2 + 600 + 2


async def test_one_that_stands_still_keeps_no_test_from_ending(stage: Stage) -> None:
    await stage.start(stage.mediator, stage.iap)
    await stage.run()
    assert stage.administrator is not None
    stage.administrator.send_signal(signal.SIGSTOP)
    with trio.move_on_after(0.5) as asked:
        await ask(stage.site, Status())
    assert asked.cancelled_caught


async def test_the_socket_is_its_owners_and_bears_rubbish(stage: Stage) -> None:
    await stage.start(stage.mediator, stage.iap)
    await stage.run()
    assert (stage.site.run_dir / "administrator.control").stat().st_mode & 0o777 == 0o600
    for rubbish in (b"{}\n", b"\xff\xfe\n", b'{"type":"Submit","filings":[{"legal":1}]}\n', b"x" * 1000 + b"\n"):
        async with await sockets.connect(stage.site.run_dir, "administrator.control") as stream:
            await stream.send_all(rubbish)
            answer = control.decode_answer(bytes(await stream.receive_some(65_536)).rstrip(b"\n"))
            assert isinstance(answer, control.Failed)
    report = await ask(stage.site, Status())
    assert isinstance(report, Report) and report.counters["control_protocol_errors"] == 4


async def test_nobody_keeps_a_stop_out_by_holding_connections(stage: Stage) -> None:
    """Whoever may open the socket needs no signature for that. Some say nothing, some do not take their answers."""
    await stage.start(stage.mediator, stage.iap)
    await stage.run()
    filed = s.filing(stage.site)
    await results(stage, Submit(filings=(filed,)))
    async with AsyncExitStack() as held:
        for number in range(2 * MAX_COMMANDS_AT_ONCE):
            stream = await held.enter_async_context(await sockets.connect(stage.site.run_dir, "administrator.control"))
            with trio.move_on_after(0.05 if number % 4 else 0):
                await stream.send_all(control.encode(Status()) * 20_000)
        with trio.fail_after(60):
            answer = await results(stage, Revoke(revocations=(s.revocation(stage.site, filed),)))
        assert answer[0].functions == {"mediator": "done", "iap": "done"}
    report = await ask(stage.site, Status())
    assert isinstance(report, Report) and report.counters["connections_ended"] >= MAX_COMMANDS_AT_ONCE


async def test_a_second_administrator_does_not_start(stage: Stage) -> None:
    await stage.start(stage.mediator, stage.iap)
    await stage.run()
    with trio.fail_after(60):
        done = await mediation("function", "administrator", "--site", str(stage.site.path))
    assert done.returncode == 1 and "held by another process" in done.stderr


async def test_a_ledger_that_was_edited_keeps_it_from_starting(stage: Stage) -> None:
    path = stage.site.ledger_dir / "records" / "000.jsonl"
    path.write_text(path.read_text().replace("LAB", "LAC"))
    done = await mediation("function", "administrator", "--site", str(stage.site.path))
    assert done.returncode == 1 and "mediation: entry 0:" in done.stderr
