"""A mediator's process on a house, with the tap, the administrator and the collection function that a test plays."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import trio

from mediation.collection.decoder import decode
from mediation.core.interface import x1
from tests import warm
from tests.delivery.house import Administrator, House, Tap
from tests.delivery.links import Collector, free_port, until

LIMIT_S = 180  # a loaded machine; it ends by what happens


class Process:
    """`mediation function mediator` on a house."""

    def __init__(self, house: House) -> None:
        self.house = house
        self._process: warm.Process | None = None

    async def start(self) -> None:
        """Until it says that it is ready, as systemd would hear it."""
        address = f"\0mediator-{os.getpid()}-{id(self)}"
        with trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_DGRAM) as notify:
            await notify.bind(address)
            with (self.house.path / "mediator.log").open("ab") as log:
                self._process = warm.function("mediator").start(
                    "function", "mediator", "--site", str(self.house.path), out=log.fileno(), errors=log.fileno(),
                    environment={"NOTIFY_SOCKET": "@" + address[1:]},
                )  # fmt: skip
            while b"READY=1" not in await notify.recv(4096):
                pass

    async def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        assert self._process is not None
        self._process.send_signal(number)
        return await self._process.ended()

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

    async def report_where(self, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
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
