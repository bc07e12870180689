"""Reads X2 from the access process: connects to its socket, drains it, hands on whole batches.

The access process listens and we connect, because once it is sealed it can accept but not connect; either may start
again at any time. What it sends is as hostile as any peer's: bounded, and refused as a whole when it is not X2
(ETSI TS 103 221-2). Its PDUs are numbered for each task: a gap is a loss between there and here, counted and alarmed.
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
from mediation.core.interface.x2 import Pdu, PduType
from mediation.runtime import log, sockets

X2_SOCKET: Final = "iap.x2"
RECEIVE_OCTETS: Final = 256 << 10
MAX_DRAIN_OCTETS: Final = 1 << 20  # then everything else has its turn
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.02, 0.5
MAX_SEQUENCES: Final = 1 << 20  # XIDs whose last number is remembered; a stranger's XIDs must not fill memory


class IntakeCounters(msgspec.Struct):
    connections: int = 0
    drains: int = 0
    pdus: int = 0
    octets: int = 0
    keepalives: int = 0
    missing: int = 0  # PDUs that the access process numbered and that did not come
    malformed: int = 0  # streams that were not X2


async def reach(run_dir: Path, name: str) -> socket.socket:
    """A connection to one of the access process's sockets, however long that takes; it does not block.

    Below trio's own socket: its recv passes a checkpoint for each call, 4 µs on the way of every batch.
    """
    pause = FIRST_PAUSE_S
    while True:
        try:
            stream = await sockets.connect(run_dir, name)
        except OSError:
            await trio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_S)
            continue
        raw = socket.socket(fileno=stream.socket.detach())
        raw.setblocking(False)
        return raw


class Intake:
    """`on_batch` is called with all PDUs of one drain and must not raise."""

    def __init__(self, run_dir: Path, on_batch: Callable[[list[Pdu]], None]) -> None:
        self.counters = IntakeCounters()
        self.connected = False
        self._run_dir = run_dir
        self._on_batch = on_batch
        self._log = log.get("mediator")
        self._sequences: dict[bytes, int] = {}

    async def run(self) -> None:
        """Reads until it is cancelled, over all restarts of the access process."""
        while True:
            raw = await reach(self._run_dir, X2_SOCKET)
            try:
                self.connected = True
                self.counters.connections += 1
                await self._read(raw)
            except RemoteProtocolError as error:
                self.counters.malformed += 1
                self._log.error("alarm_x2_malformed", reason=str(error))
            except OSError as error:
                self._log.info("x2_down", reason=type(error).__name__)
            finally:
                self.connected = False
                trio.lowlevel.notify_closing(raw)
                raw.close()
            await trio.sleep(FIRST_PAUSE_S)

    async def _read(self, raw: socket.socket) -> None:
        """Until the end of the stream. Raises OSError, RemoteProtocolError."""
        framer = x2.Framer()
        self._sequences.clear()  # an access process that starts again numbers from the beginning
        buffer = memoryview(bytearray(RECEIVE_OCTETS))
        while True:
            await trio.lowlevel.wait_readable(raw)
            drained = 0
            pdus: list[Pdu] = []
            ended = False
            try:
                while drained < MAX_DRAIN_OCTETS:
                    count = raw.recv_into(buffer)
                    if not count:
                        ended = True
                        break
                    drained += count
                    pdus += framer.feed(buffer[:count])
                    if framer.failure is not None:
                        raise framer.failure
                    if count < RECEIVE_OCTETS:
                        break
            except BlockingIOError:
                pass
            finally:
                # What was whole before a bad octet is delivered.
                self.counters.octets += drained
                if pdus:
                    self._hand_on(pdus, raw)
            if ended:
                return

    def _hand_on(self, pdus: list[Pdu], raw: socket.socket) -> None:
        self.counters.drains += 1
        self.counters.pdus += len(pdus)
        batch = []
        for pdu in pdus:
            if pdu.type is PduType.KEEPALIVE:
                self._answer(pdu, raw)
                continue
            if pdu.sequence is not None:
                last = self._sequences.get(pdu.xid)
                missing = (pdu.sequence - last - 1) & 0xFFFFFFFF if last is not None else 0
                if missing:
                    self.counters.missing += missing
                    self._log.error("alarm_x2_missing", count=missing)
                if last is not None or len(self._sequences) < MAX_SEQUENCES:
                    self._sequences[pdu.xid] = pdu.sequence
            batch.append(pdu)
        self._on_batch(batch)

    def _answer(self, pdu: Pdu, raw: socket.socket) -> None:
        """TS 103 221-2: a KeepAlive is acknowledged with its sequence number."""
        self.counters.keepalives += 1
        answer = x2.encode(msgspec.structs.replace(pdu, type=PduType.KEEPALIVE_ACK, payload=b""))
        with contextlib.suppress(OSError):  # the next drain finds out
            raw.send(answer)
