"""X2 and X3 from third parties' points of interception (ETSI TS 103 221-2) over mutual TLS 1.3.

A network function that is not ours, tasked by its own administration function with the XIDs of our orders, connects to
us and sends what it intercepted. Answers for: nobody is heard but who shows the certificate that the site pinned for
that point; one connection a point, and the newest one wins (the old one may be a dead peer's); keep-alives are
answered; every PDU is called by the configured point's name, whatever it says of itself; gaps in its numbers are
counted and alarmed; what it captured outside of an order's window, by its own stamp, is refused, as our own access
function refuses it. May not: judge an XID (the task table does, for each PDU, as for our own access function), or
believe a proprietary attribute, so the error of every stamp is unknown.

Opens its sockets and reads its keys in the constructor, before the process gives up its user.
"""

from __future__ import annotations

import contextlib
import hmac
import socket
import ssl
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

import msgspec
import trio

from mediation.core.case import Task
from mediation.core.errors import ConfigurationError, RemoteProtocolError
from mediation.core.interface import x2
from mediation.core.interface.x2 import Pdu, PduType
from mediation.runtime import config, log, network, tls

CERTIFICATE, KEY, AUTHORITIES = "x2-server.pem", "x2-server.key", "x2-ca.pem"
BACKLOG: Final = 4
HANDSHAKES: Final = 4  # of one point at a time; who does not finish makes room after HANDSHAKE_S
HANDSHAKE_S: Final = 10.0
SAY_EVERY_S: Final = 1.0  # gaps in a peer's numbers are in the log so often at most; the counter has them at once
SEND_S: Final = 10.0  # for a peer to take the answer to its keep-alive
MAX_SEQUENCES: Final = 1 << 16  # (type, XID) whose last number is remembered; a stranger's must not fill memory

OnBatch = Callable[[list[Pdu]], None]
TaskOf = Callable[[bytes], Task | None]  # the task of an XID that is armed here


class PointCounters(msgspec.Struct):
    connections: int = 0
    replaced: int = 0  # by a newer connection of the same point
    refused_busy: int = 0  # too many handshakes at once
    refused_handshake: int = 0  # not TLS 1.3, no certificate of the given authorities, or too slow
    refused_certificate: int = 0  # trusted, but not the pinned one
    octets: int = 0
    x2: int = 0
    x3: int = 0
    keepalives: int = 0
    keepalives_unanswered: int = 0
    missing: int = 0  # PDUs that were numbered and did not come
    outside_window: int = 0  # PDUs with a stamp before or behind their order's window
    unstamped: int = 0  # X2 PDUs that have the time of their arrival, for want of a stamp
    malformed: int = 0  # streams that were not X2 or X3


class InterceptionPoint:
    """One configured point. `on_x2` and `on_x3` get the PDUs of one read, and must not raise."""

    def __init__(
        self, point: config.InterceptionPoint, context: ssl.SSLContext, on_x2: OnBatch, on_x3: OnBatch
    ) -> None:
        """Listens from now on. Raises ConfigurationError."""
        self.name = point.name
        self.counters = PointCounters()
        self._pin = point.certificate_sha256
        self._context = context
        self.task_of: TaskOf = lambda _: None
        self._on_x2, self._on_x3 = on_x2, on_x3
        self._log = log.get("mediator")
        self._channel: tls.Channel | None = None
        self._sequences: dict[tuple[PduType, bytes], int] = {}
        self._unsaid, self._say_s = 0, 0.0  # missing PDUs that the log has not yet, and when it may have them
        family = socket.AF_INET6 if ":" in point.listen else socket.AF_INET
        self._listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            network.bind(self._listener)  # else the host takes what another plane's network sends to this address
            self._listener.bind((point.listen, point.port))
            self._listener.listen(BACKLOG)
            self._listener.setblocking(False)
        except OSError as error:
            self._listener.close()
            raise ConfigurationError(f"interception_point {point.name}: listen: {error.strerror}") from error

    @property
    def connected(self) -> bool:
        return self._channel is not None

    async def run(self) -> None:
        """Accepts until it is cancelled."""
        listener = trio.socket.from_stdlib_socket(self._listener)
        pending = trio.CapacityLimiter(HANDSHAKES)
        async with trio.open_nursery() as nursery:
            while True:
                try:
                    raw, _ = await listener.accept()
                except (
                    OSError
                ) as error:  # the peer was gone again, or no descriptor is free: the next one may fare better
                    self._log.warning("interception_point_accept", point=self.name, reason=type(error).__name__)
                    await trio.sleep(0.1)
                    continue
                if pending.available_tokens < 1:
                    raw.close()
                    self.counters.refused_busy += 1
                    continue
                token = object()
                pending.acquire_on_behalf_of_nowait(token)
                nursery.start_soon(self._serve, raw, lambda token=token: pending.release_on_behalf_of(token))

    def close(self) -> None:
        self._listener.close()
        if self._channel is not None:
            self._channel.close()

    async def _serve(self, raw: trio.socket.SocketType, admitted: Callable[[], None]) -> None:
        """One connection from its handshake to its end. What goes wrong with it is its own."""
        try:
            channel = await self._admit(raw)
        finally:
            admitted()
        if channel is None:
            return
        if self._channel is not None:
            self.counters.replaced += 1
            self._channel.close()
        self._channel = channel
        self._sequences.clear()  # a new connection numbers from where it likes
        self.counters.connections += 1
        self._log.info("interception_point_up", point=self.name)
        try:
            await self._read(channel)
        except RemoteProtocolError as error:
            self.counters.malformed += 1
            self._log.error("alarm_x2_malformed", point=self.name, reason=str(error))
        except (OSError, trio.ClosedResourceError) as error:
            self._log.info("interception_point_down", point=self.name, reason=type(error).__name__)
        finally:
            if self._channel is channel:
                self._channel = None
            channel.close()

    async def _admit(self, raw: trio.socket.SocketType) -> tls.Channel | None:
        """The channel if the pinned peer is on the other end, else None and everything is closed."""
        channel: tls.Channel | None = None
        with trio.move_on_after(HANDSHAKE_S), contextlib.suppress(OSError):
            channel = await tls.Channel.secure(raw, self._context, server=True)
        if channel is None:
            self.counters.refused_handshake += 1
            self._log.warning("interception_point_refused", point=self.name, reason="handshake")
            return None
        if not hmac.compare_digest(channel.peer_sha256, self._pin):
            self.counters.refused_certificate += 1
            self._log.error("alarm_interception_point_refused", point=self.name, reason="certificate")
            channel.close()
            return None
        return channel

    async def _read(self, channel: tls.Channel) -> None:
        """Until the end of the stream. Raises OSError, RemoteProtocolError."""
        framer = x2.Framer(ours=False)
        while True:
            octets = await channel.receive()
            if not octets:
                return
            self.counters.octets += len(octets)
            pdus = framer.feed(octets)
            await self._hand_on(pdus, channel)
            if framer.failure is not None:  # what was whole before it has been handed on
                raise framer.failure

    async def _hand_on(self, pdus: list[Pdu], channel: tls.Channel) -> None:
        calls: list[Pdu] = []
        content: list[Pdu] = []
        answers: list[Pdu] = []
        for pdu in pdus:
            if pdu.type is PduType.KEEPALIVE:
                answers.append(pdu)
            elif pdu.type is not PduType.KEEPALIVE_ACK:
                self._number(pdu)
                named = msgspec.structs.replace(pdu, interception_point=self.name)
                if not self._in_window(pdu):
                    self.counters.outside_window += 1
                elif pdu.type is not PduType.X2:
                    content.append(named)
                else:
                    calls.append(self._stamped(named))
        self.counters.x2 += len(calls)
        self.counters.x3 += len(content)
        if calls:  # first: content of a call that nobody has heard of could not be told
            self._on_x2(calls)
        if content:
            self._on_x3(content)
        for pdu in answers:
            await self._answer(pdu, channel)

    def _in_window(self, pdu: Pdu) -> bool:
        """Whether it was captured while its order was in force; an XID that is not armed is judged elsewhere."""
        task = self.task_of(pdu.xid)
        return not pdu.stamp_ns or task is None or task.not_before_ns <= pdu.stamp_ns < task.not_after_ns

    def _stamped(self, pdu: Pdu) -> Pdu:
        """A call model has no other time than its stamps: without one, that of the arrival."""
        if pdu.stamp_ns:
            return pdu
        self.counters.unstamped += 1
        return msgspec.structs.replace(pdu, stamp_ns=time.time_ns())

    def _number(self, pdu: Pdu) -> None:
        """Gaps in the numbers, which each (type, XID) has of its own (TS 103 221-2, sequence number attribute)."""
        if pdu.sequence is None:
            return
        key = (pdu.type, pdu.xid)
        last = self._sequences.get(key)
        missing = (pdu.sequence - last - 1) & 0xFFFFFFFF if last is not None else 0
        if 0 < missing < 1 << 31:  # else it went back: numbered anew
            self.counters.missing += missing
            self._unsaid += missing
            if (now := time.monotonic()) >= self._say_s:  # else a peer that numbers badly fills the log
                self._log.error("alarm_x2_missing", point=self.name, count=self._unsaid)
                self._unsaid, self._say_s = 0, now + SAY_EVERY_S
        if last is not None or len(self._sequences) < MAX_SEQUENCES:
            self._sequences[key] = pdu.sequence

    async def _answer(self, pdu: Pdu, channel: tls.Channel) -> None:
        """TS 103 221-2: a KeepAlive is acknowledged with its sequence number."""
        self.counters.keepalives += 1
        answer = x2.encode(msgspec.structs.replace(pdu, type=PduType.KEEPALIVE_ACK, payload=b""))
        with trio.move_on_after(SEND_S) as limit:
            await channel.send(answer)
        if limit.cancelled_caught:
            self.counters.keepalives_unanswered += 1
            raise OSError("the peer does not read")


class InterceptionPoints:
    """All points of a site."""

    def __init__(
        self, points: Iterable[config.InterceptionPoint], folder: Path, on_x2: OnBatch, on_x3: OnBatch
    ) -> None:
        """`folder` holds our certificate, its key and who issues theirs. Raises ConfigurationError (SEC-28)."""
        self._points: list[InterceptionPoint] = []
        wanted = list(points)
        if wanted:
            context = tls.context(ssl.Purpose.CLIENT_AUTH, folder / CERTIFICATE, folder / KEY, folder / AUTHORITIES)
            for point in wanted:
                self._points.append(InterceptionPoint(point, context, on_x2, on_x3))

    def judge_by(self, task_of: TaskOf) -> None:
        """Who knows the windows of the orders; to be said before `run`."""
        for point in self._points:
            point.task_of = task_of

    async def run(self) -> None:
        """Serves until it is cancelled."""
        async with trio.open_nursery() as nursery:
            for point in self._points:
                nursery.start_soon(point.run)

    def close(self) -> None:
        for point in self._points:
            point.close()

    def report(self) -> list[dict[str, Any]]:
        """For ReportStatus: nothing of any task."""
        return [
            {"name": point.name, "connected": point.connected, **msgspec.to_builtins(point.counters)}
            for point in self._points
        ]
