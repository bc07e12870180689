"""The receiving side of content: CC-APDUs over mutual TLS 1.3, PacketCable datagrams over UDP, on one port number.

An example for an agency's engineers and the other end of the tests. It says nothing to the mediator: content has no
acknowledgement. What is no content is counted; over TLS it ends the connection.
"""

from __future__ import annotations

import socket
import ssl
from typing import Final

import msgspec
import trio

from mediation.collection.content_account import ContentAccount
from mediation.collection.content_decoder import ApduCutter, decode_apdu, decode_datagram
from mediation.core.errors import RemoteProtocolError
from mediation.runtime.tls import Channel

HANDSHAKE_LIMIT_S: Final = 10.0
MAX_CONNECTIONS: Final = 64
DATAGRAM_OCTETS: Final = 1 << 16
RECEIVE_BUFFER_OCTETS: Final = 8 << 20  # asked for; the kernel gives at most net.core.rmem_max
TURN: Final = 256  # datagrams, then everything else has its turn


class ContentReceiverCounters(msgspec.Struct):
    connections: int = 0
    refused_connections: int = 0
    tls_failures: int = 0
    apdus: int = 0
    datagrams: int = 0
    malformed: int = 0


class ContentReceiver:
    """Gives every packet to `account`."""

    def __init__(self, tls: ssl.SSLContext, account: ContentAccount) -> None:
        self.counters = ContentReceiverCounters()
        self._tls = tls
        self._account = account
        self._open = 0

    async def serve(
        self, host: str, port: int, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Listens until cancelled, TCP and UDP; tells the port when it does. Raises OSError."""
        listener = (await trio.open_tcp_listeners(port, host=host))[0]
        number = listener.socket.getsockname()[1]
        udp = trio.socket.socket(listener.socket.family, socket.SOCK_DGRAM)
        with udp:
            udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_OCTETS)
            await udp.bind((host, number))
            async with listener, trio.open_nursery() as nursery:
                nursery.start_soon(self._datagrams, udp)
                task_status.started(number)
                while True:
                    stream = await listener.accept()
                    if self._open >= MAX_CONNECTIONS:
                        self.counters.refused_connections += 1
                        stream.socket.close()
                        continue
                    self._open += 1
                    nursery.start_soon(self._connection, stream.socket)

    async def _connection(self, raw: trio.socket.SocketType) -> None:
        channel: Channel | None = None
        try:
            with trio.fail_after(HANDSHAKE_LIMIT_S):
                channel = await Channel.secure(raw, self._tls, server=True)
            self.counters.connections += 1
            cutter = ApduCutter()
            while octets := await channel.receive():
                for apdu in cutter.feed(octets):
                    self._account.packet(decode_apdu(apdu))
                    self.counters.apdus += 1
                await trio.lowlevel.checkpoint()
        except RemoteProtocolError:
            self.counters.malformed += 1
        except ssl.SSLError:
            self.counters.tls_failures += 1
        except (OSError, trio.TooSlowError):
            pass  # the mediator connects again
        finally:
            self._open -= 1
            if channel is not None:
                channel.close()

    async def _datagrams(self, udp: trio.socket.SocketType) -> None:
        while True:
            for _ in range(TURN):
                octets, _address = await udp.recvfrom(DATAGRAM_OCTETS)
                try:
                    self._account.packet(decode_datagram(octets))
                    self.counters.datagrams += 1
                except RemoteProtocolError:
                    self.counters.malformed += 1
            await trio.lowlevel.checkpoint()
