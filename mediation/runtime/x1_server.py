"""The listening side of X1 that the access function and the mediator have in common: lines in, lines out.

Answers for framing, the bound on connections, and that a peer which speaks nonsense loses its connection and nothing
else. Decides nothing: `handle` does. A peer that goes away leaves its tasks armed; it comes again.

What comes in together is handled in batches, in order. While one is handled, the signatures of the next are verified
by another thread.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import trio

from mediation.core.authority.ahead import Ahead
from mediation.core.errors import RemoteProtocolError
from mediation.core.interface import task_table, x1
from mediation.runtime import sockets
from mediation.runtime.beside import Beside

RECEIVE_OCTETS = 262_144  # some forty orders with their proofs
REQUESTS_AT_ONCE = 8  # 1 ms of work: what comes in meanwhile waits no longer
BATCH = 32  # 6 ms of signatures. Ours
BATCHES_WAITING = 2  # beside the one that is handled and the one that is read
MAX_CONNECTIONS = 4  # the administrator, and one that is going away


class Batch(NamedTuple):
    """Requests in their order, and when their signatures are through, where another thread has them."""

    requests: list[x1.Request]
    ahead: Ahead
    through: trio.Event | None


class X1Server:
    """Serves `table` on a listening socket. `malformed` counts connections that were ended for what they sent."""

    def __init__(
        self,
        listener: trio.SocketListener,
        handle: Callable[[x1.Request], x1.Answer],
        table: task_table.TaskTable,
        log: Any,
        drained: Callable[[], None] = lambda: None,
    ) -> None:
        """`drained` is called when what came in together was handled, before it is answered."""
        self.malformed = 0
        self.beside = Beside("signatures")
        self._listener = listener
        self._handle = handle
        self._table = table
        self._log = log
        self._drained = drained

    async def run(self) -> None:
        """Until cancelled."""
        self.beside.start()
        limit = trio.CapacityLimiter(MAX_CONNECTIONS)
        async with trio.open_nursery() as nursery:
            while True:
                nursery.start_soon(self._serve, await sockets.accept(self._listener), limit)

    async def _serve(self, stream: trio.SocketStream, limit: trio.CapacityLimiter) -> None:
        send, receive = trio.open_memory_channel[Batch](BATCHES_WAITING)
        async with limit, stream:
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._read, stream, send)
                    await self._answer(stream, receive)
                    nursery.cancel_scope.cancel()
            except* trio.BrokenResourceError:
                pass

    async def _read(self, stream: trio.SocketStream, send: trio.MemorySendChannel[Batch]) -> None:
        """Batches for `_answer`, until the peer is gone or speaks nonsense; what it said before that is handled."""
        lines = x1.Lines()
        async with send:
            try:
                while octets := await stream.receive_some(RECEIVE_OCTETS):
                    await self._hand_on(lines.feed(octets), send)
                    del octets
            except RemoteProtocolError as error:
                self.malformed += 1
                self._log.warning("x1_malformed", reason=str(error))

    async def _hand_on(self, lines: list[bytes], send: trio.MemorySendChannel[Batch]) -> None:
        requests: list[x1.Request] = []
        try:
            for line in lines:
                requests.append(x1.decode_request(line))
        finally:
            while requests:
                batch, requests = requests[:BATCH], requests[BATCH:]
                ahead = self._table.ahead(batch)
                through = self.beside.do(ahead.verify) if ahead.worth_a_thread else None
                await send.send(Batch(batch, ahead, through))

    async def _answer(self, stream: trio.SocketStream, receive: trio.MemoryReceiveChannel[Batch]) -> None:
        async for batch in receive:
            answers = await self._handle_all(batch)
            del batch  # no order's text waits here for the next one
            await stream.send_all(answers)

    async def _handle_all(self, batch: Batch) -> bytes:
        answers: list[bytes] = []
        if batch.through is not None:
            await batch.through.wait()
        try:
            self._table.learn(batch.ahead)
            for number, request in enumerate(batch.requests, 1):
                answer = self._handle(request)
                if isinstance(answer, x1.Refused):
                    self._log.warning("task_refused", check=answer.check)
                answers.append(x1.encode(answer))
                if number % REQUESTS_AT_ONCE == 0:
                    await trio.lowlevel.checkpoint()
        finally:
            self._drained()
            self._table.forget_ahead()
        return b"".join(answers)
