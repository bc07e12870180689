"""Reads X3 (ETSI TS 103 221-2) from the access process: connects to its socket, drains it, hands octets on.

Content has a socket of its own, so that no amount of it stands in the way of an event. One drain is small and is
followed by a turn for everything else. What is in the octets is the affair of `_content`, in C; here it is not looked
at and never kept.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec
import trio

from mediation.core.errors import RemoteProtocolError
from mediation.core.interface import x2
from mediation.core.interface.x2 import PduType
from mediation.delivery.intake import FIRST_PAUSE_S, reach
from mediation.runtime import log

X3_SOCKET: Final = "iap.x3"
RECEIVE_OCTETS: Final = 64 << 10  # of one drain: some 250 packets of G.711, 0.1 ms of this thread
CATCH_UP_OCTETS: Final = 1 << 20  # before a call is closed: 80 s of it


class ContentIntakeCounters(msgspec.Struct):
    connections: int = 0
    drains: int = 0
    octets: int = 0
    malformed: int = 0  # streams that were not X3


class ContentIntake:
    """`on_begin` is called at each connection, `on_octets` with what one read brought; its result are KeepAlives to be
    answered, and its RemoteProtocolError ends the connection."""

    def __init__(
        self, run_dir: Path, on_begin: Callable[[], None], on_octets: Callable[[memoryview], list[bytes]]
    ) -> None:
        self.counters = ContentIntakeCounters()
        self._run_dir = run_dir
        self._on_begin = on_begin
        self._on_octets = on_octets
        self._log = log.get("mediator")
        self._buffer = memoryview(bytearray(RECEIVE_OCTETS))
        self._raw: socket.socket | None = None

    @property
    def connected(self) -> bool:
        return self._raw is not None

    async def run(self) -> None:
        """Reads until it is cancelled, over all restarts of the access process."""
        while True:
            raw = await reach(self._run_dir, X3_SOCKET)
            try:
                self._raw = raw
                self.counters.connections += 1
                self._on_begin()
                while True:
                    await trio.lowlevel.wait_readable(raw)
                    if self._drain(raw, RECEIVE_OCTETS):
                        break
                    await trio.lowlevel.checkpoint()
            except RemoteProtocolError as error:
                self.counters.malformed += 1
                self._log.error("alarm_x3_malformed", reason=str(error))
            except OSError as error:
                self._log.info("x3_down", reason=type(error).__name__)
            finally:
                self._raw = None
                trio.lowlevel.notify_closing(raw)
                raw.close()
            await trio.sleep(FIRST_PAUSE_S)

    def catch_up(self) -> bool:
        """Takes what has come until now, without waiting; False when there is more than one turn's. What ends the
        connection is found again by `run`."""
        if self._raw is None:
            return True
        before = self.counters.octets
        with contextlib.suppress(OSError, RemoteProtocolError):
            self._drain(self._raw, CATCH_UP_OCTETS)
        return self.counters.octets - before < CATCH_UP_OCTETS

    def _drain(self, raw: socket.socket, most: int) -> bool:
        """True at the end of the stream. Raises OSError, RemoteProtocolError."""
        drained = 0
        self.counters.drains += 1
        while drained < most:
            try:
                count = raw.recv_into(self._buffer)
            except BlockingIOError:
                return False
            if not count:
                return True
            drained += count
            self.counters.octets += count
            for keepalive in self._on_octets(self._buffer[:count]):
                # TS 103 221-2: a KeepAlive is acknowledged with its sequence number.
                answer = msgspec.structs.replace(x2.decode(keepalive), type=PduType.KEEPALIVE_ACK, payload=b"")
                with contextlib.suppress(OSError):  # the next drain finds out
                    raw.send(x2.encode(answer))
            if count < RECEIVE_OCTETS:
                return False
        return False
