"""Stand-ins for the mediator and the access function that really admit, and the administrator as a process."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from mediation.administration import client
from mediation.core.case import TaskRequest
from mediation.core.errors import AuthorizationError
from mediation.core.interface import task_table, x1
from mediation.core.interface.control import Answer, Request
from mediation.runtime import sockets
from mediation.runtime.config import Site
from mediation.runtime.keys import load_trust
from tests import warm

LIMIT_S = 60.0


class Peer:
    """One function: a task table behind a Unix socket. `log` holds what happened, with the monotonic time."""

    def __init__(self, name: str, site: Site, log: list[tuple[str, str, str, float]]) -> None:
        self.name = name
        self.site = site
        self.log = log
        self.now_ns: Callable[[], int] = time.time_ns
        self.said: dict[str, Any] = {}  # what its report has besides
        self.refuse = ""  # the check by which it refuses whatever it is told to arm
        self.may_wait: Callable[[bytes, TaskRequest], bool] | None = None  # orders whose judgement it puts off
        self.frozen = False  # it hears nothing more, and its connection stands, until `thaw`
        self.thawed = trio.Event()
        self.table = self.fresh()
        self.moved = trio.Event()

    def fresh(self) -> task_table.TaskTable:
        return task_table.TaskTable(load_trust(self.site).pinned(0), self._changed, may_wait=self.may_wait)

    def _changed(self, change: task_table.Change) -> None:
        if change.after is not None and self.refuse:
            raise AuthorizationError(self.refuse)
        task = change.after or change.before
        assert task is not None
        act = "stopped" if change.after is None else "armed" if change.before is None else "changed"
        self.log.append((self.name, act, task.case, time.monotonic()))

    async def serve(self, *, task_status: trio.TaskStatus[trio.CancelScope] = trio.TASK_STATUS_IGNORED) -> None:
        """Until it is cancelled: that is how a function dies. A new `serve` is its restart."""
        self.table = self.fresh()
        with trio.CancelScope() as scope:
            listener = sockets.listen(self.site.run_dir, f"{self.name}.x1")
            async with listener, trio.open_nursery() as nursery:
                task_status.started(scope)
                while True:
                    nursery.start_soon(self._session, await listener.accept())

    async def _session(self, stream: trio.SocketStream) -> None:
        lines = x1.Lines()
        try:
            async with stream:
                while octets := await stream.receive_some(65_536):
                    if self.frozen:
                        await self.thawed.wait()
                    for line in lines.feed(octets):
                        request = x1.decode_request(line)
                        answer = self.table.handle(
                            request, self.now_ns(), lambda: {"tasks": len(self.table), **self.said}
                        )
                        await stream.send_all(x1.encode(answer))
                    self.moved.set()
                    self.moved = trio.Event()
        except trio.BrokenResourceError:
            pass

    def thaw(self) -> None:
        self.frozen = False
        self.thawed.set()

    def cases(self) -> set[str]:
        return {task.case for task in self.table}

    async def until(self, condition: Callable[[], bool]) -> None:
        with trio.fail_after(LIMIT_S):
            while not condition():
                await self.moved.wait()


def command(*words: str) -> subprocess.CompletedProcess[str]:
    """`mediation WORDS`, whatever its status."""
    return warm.run(*words)


async def mediation(*words: str) -> subprocess.CompletedProcess[str]:
    """A test that is over does not wait for the answer: else it would never get to killing who owes it."""
    return await trio.to_thread.run_sync(lambda: command(*words), abandon_on_cancel=True)


async def ask(site: Site, request: Request) -> Answer:
    """As `mediation`, in this process."""
    return await trio.to_thread.run_sync(client.one, site, request, abandon_on_cancel=True)


class Stage:
    """A lab site with its two functions, and the administrator as a process that can be killed."""

    def __init__(self, site: Site, nursery: trio.Nursery) -> None:
        self.site = site
        self.nursery = nursery
        self.log: list[tuple[str, str, str, float]] = []
        self.mediator = Peer("mediator", site, self.log)
        self.iap = Peer("iap", site, self.log)
        self.administrator: warm.Process | None = None
        self._scopes: dict[str, trio.CancelScope] = {}

    async def start(self, *peers: Peer) -> None:
        for peer in peers:
            self._scopes[peer.name] = await self.nursery.start(peer.serve)

    def stop(self, peer: Peer) -> None:
        self._scopes[peer.name].cancel()

    async def run(self, **environment: str) -> None:
        """Starts the administrator; returns when it says that it is ready."""
        address = f"mediation-test-{os.getpid()}-{id(self)}"
        with trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_DGRAM) as notify:
            await notify.bind(f"\0{address}")
            errors = (self.site.log_dir / "administrator.log").open("ab")
            with errors:
                self.administrator = warm.function("administrator").start(
                    "function", "administrator", "--site", str(self.site.path), out=errors.fileno(),
                    errors=errors.fileno(), environment={"NOTIFY_SOCKET": f"@{address}", **environment},
                )  # fmt: skip
            with trio.fail_after(LIMIT_S + 15):
                while b"READY=1" not in await notify.recv(4096):
                    pass

    async def kill(self) -> None:
        assert self.administrator is not None
        self.administrator.send_signal(signal.SIGKILL)
        await self.administrator.ended()

    async def terminate(self) -> int:
        assert self.administrator is not None
        self.administrator.send_signal(signal.SIGTERM)
        with trio.fail_after(LIMIT_S):
            return await self.administrator.ended()

    def said(self) -> str:
        return (self.site.log_dir / "administrator.log").read_text()

    def events(self, *names: str) -> list[tuple[str, str, str]]:
        return [event[:3] for event in self.log if not names or event[0] in names]


@asynccontextmanager
async def staged(folder: Path, make: Callable[[Path], Site]) -> AsyncIterator[Stage]:
    async with trio.open_nursery() as nursery:
        stage = Stage(make(folder), nursery)
        try:
            yield stage
        finally:
            if stage.administrator is not None:
                with trio.CancelScope(shield=True):
                    await stage.kill()
            nursery.cancel_scope.cancel()


def facts(answer: Any) -> dict[str, Any]:
    return {name: getattr(answer, name) for name in answer.__struct_fields__}
