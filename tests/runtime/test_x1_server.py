"""The listening side of X1: requests in their order, whatever is verified ahead of them by another thread."""

from __future__ import annotations

import gc
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
import trio

from mediation.core import _signatures
from mediation.core.authority import authorization
from mediation.core.authority.ahead import Ahead
from mediation.core.case import TaskRequest
from mediation.core.check import Check
from mediation.core.interface import task_table, x1
from mediation.runtime import log, sockets
from mediation.runtime.x1_server import BATCH, X1Server
from tests.core import authority as a
from tests.core.authority import LEGAL, NOW_NS

LIMIT_S = 60.0
MANY = 3 * BATCH + 5


def orders(count: int) -> list[TaskRequest]:
    """Orders of their own cases, all in one ledger."""
    ledger = a.Ledger()
    made = []
    for number in range(count):
        case = f"SERVED-{number}"
        legal = a.sign_legal(msgspec.structs.replace(LEGAL, case=case))
        carrier = a.sign_carrier(legal, case=case)
        command = a.sign_command(carrier, case=case)
        made.append(a.request(legal, carrier, command, ledger=ledger))
    return made


class Function:
    """A task table behind a server; `handled` is what it was asked, in order."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.table = task_table.TaskTable(a.trust(), lambda change: None)
        self.handled: list[x1.Request] = []
        self.server = X1Server(sockets.listen(folder, "f.x1"), self._handle, self.table, log.get("test"))

    def _handle(self, request: x1.Request) -> x1.Answer:
        self.handled.append(request)
        return self.table.handle(request, NOW_NS)

    async def ask(self, octets: bytes, count: int) -> list[x1.Answer]:
        """What comes back to `octets`, up to `count` answers or the end of the connection."""
        lines, found = x1.Lines(), list[x1.Answer]()
        async with await sockets.connect(self.folder, "f.x1") as stream, trio.open_nursery() as nursery:
            nursery.start_soon(stream.send_all, octets)
            while len(found) < count and (received := await stream.receive_some(65_536)):
                found += [x1.decode_answer(line) for line in lines.feed(received)]
        return found


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[Function]:
    function = Function(folder)
    with trio.fail_after(LIMIT_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(function.server.run)
            yield function
            nursery.cancel_scope.cancel()


def said(requests: Sequence[x1.Request]) -> bytes:
    return b"".join(x1.encode(request) for request in requests)


async def test_many_are_answered_in_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stop between two of them ends what was armed before it and nothing after; the signatures were verified ahead,
    by one other thread."""
    threads = set()
    verify = _signatures.verify

    def noted(*pairs: tuple[bytes, ...]) -> list[bool]:
        threads.add(threading.current_thread().name)
        return verify(*pairs)  # type: ignore[arg-type]

    monkeypatch.setattr(_signatures, "verify", noted)
    made = orders(MANY)
    stopped = authorization.xid(made[1].carrier).hex()
    requests: list[x1.Request] = [x1.ActivateTask(id=n, request=order) for n, order in enumerate(made)]
    requests.insert(MANY // 2, x1.DeactivateTask(id=9_000, xid=stopped))
    requests.append(x1.ActivateTask(id=9_001, request=made[1]))
    async with serving(tmp_path) as function:
        answers = await function.ask(said(requests), len(requests))
    assert [answer.id for answer in answers] == [request.id for request in requests]
    assert [request.id for request in function.handled] == [request.id for request in requests]
    assert answers[-1] == x1.Refused(id=9_001, check=Check.DEACTIVATED)
    assert all(isinstance(answer, x1.Ok) for answer in answers[:-1]) and len(function.table) == MANY - 1
    assert threads == {"signatures"}


async def test_one_that_is_not_good_is_refused_between_the_others(tmp_path: Path) -> None:
    made = orders(2 * BATCH)
    made[BATCH] = msgspec.structs.replace(made[BATCH], commands=made[0].commands)
    made[3] = msgspec.structs.replace(made[3], legal=made[3].legal[:-8] + "AAAAAAAA")
    async with serving(tmp_path) as function:
        answers = await function.ask(said([x1.ActivateTask(request=order) for order in made]), len(made))
    refused = {n: answer.check for n, answer in enumerate(answers) if isinstance(answer, x1.Refused)}
    assert refused == {3: Check.SIGNATURE, BATCH: Check.SAME_CASE}
    assert len(function.table) == len(made) - 2


async def test_what_came_before_nonsense_is_answered(tmp_path: Path) -> None:
    made = orders(BATCH + 2)
    octets = said([x1.ActivateTask(request=order) for order in made])
    async with serving(tmp_path) as function:
        answers = await function.ask(octets + b"{}\n", 2 * len(made))
        assert len(answers) == len(made) == len(function.table) and function.server.malformed == 1
        assert await function.ask(x1.encode(x1.ReportStatus(id=5)), 1) == [x1.Ok(id=5, report={})]


async def test_a_peer_that_is_gone_leaves_its_tasks(tmp_path: Path) -> None:
    made = orders(BATCH)
    async with serving(tmp_path) as function:
        stream = await sockets.connect(tmp_path, "f.x1")
        await stream.send_all(said([x1.ActivateTask(request=order) for order in made]))
        await stream.aclose()
        while len(function.table) < len(made):
            await trio.lowlevel.checkpoint()
        assert await function.ask(x1.encode(x1.ReportStatus(id=5)), 1) == [x1.Ok(id=5, report={})]


async def test_no_text_is_kept_once_it_is_judged(tmp_path: Path) -> None:
    made = orders(BATCH)
    async with serving(tmp_path) as function:
        await function.ask(said([x1.ActivateTask(request=order) for order in made]), len(made))
        assert len(function.table) == len(made) and not function.table.trust._apart
        function.handled.clear()
        own, legal = {id(order) for order in made}, {order.legal for order in made}
        gc.collect()
        kept = [each for each in gc.get_objects() if type(each) is TaskRequest and id(each) not in own]
        assert not [each for each in kept if each.legal in legal]
        assert not [each for each in gc.get_objects() if type(each) is Ahead]
