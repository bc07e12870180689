"""The listening side of X1 that the access function and the mediator have in common: lines in, lines out.

Answers for framing, the bound on connections, and that a peer which speaks nonsense loses its connection and nothing
else. Decides nothing: `handle` does. A peer that goes away leaves its tasks armed; it comes again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import trio

from mediation.core.errors import RemoteProtocolError
from mediation.core.interface import x1
from mediation.runtime import sockets

RECEIVE_OCTETS = 262_144  # some forty orders with their proofs
REQUESTS_AT_ONCE = 8  # 2 ms of work: what comes in meanwhile waits no longer
MAX_CONNECTIONS = 4  # the administrator, and one that is going away


class X1Server:
    """Serves on a listening socket. `malformed` counts connections that were ended for what they sent."""

    def __init__(
        self,
        listener: trio.SocketListener,
        handle: Callable[[x1.Request], x1.Answer],
        log: Any,
        drained: Callable[[], None] = lambda: None,
    ) -> None:
        """`drained` is called when what came in together was handled, before it is answered."""
        self.malformed = 0
        self._listener = listener
        self._handle = handle
        self._log = log
        self._drained = drained

    async def run(self) -> None:
        """Until cancelled."""
        limit = trio.CapacityLimiter(MAX_CONNECTIONS)
        async with trio.open_nursery() as nursery:
            while True:
                nursery.start_soon(self._serve, await sockets.accept(self._listener), limit)

    async def _serve(self, stream: trio.SocketStream, limit: trio.CapacityLimiter) -> None:
        lines = x1.Lines()
        async with limit, stream:
            try:
                while octets := await stream.receive_some(RECEIVE_OCTETS):
                    answers: list[bytes] = []
                    try:
                        for number, line in enumerate(lines.feed(octets), 1):
                            answer = self._handle(x1.decode_request(line))
                            if isinstance(answer, x1.Refused):
                                self._log.warning("task_refused", check=answer.check)
                            answers.append(x1.encode(answer))
                            if number % REQUESTS_AT_ONCE == 0:
                                await trio.lowlevel.checkpoint()
                    finally:
                        self._drained()
                        if answers:
                            await stream.send_all(b"".join(answers))
                    octets = line = b""  # no order's text waits here for the next one
            except RemoteProtocolError as error:
                self.malformed += 1
                self._log.warning("x1_malformed", reason=str(error))
            except trio.BrokenResourceError:
                pass
