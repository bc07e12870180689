"""TCP connections that a function makes, each bound to the interface of the function's plane (runtime/network.py)."""

from __future__ import annotations

import socket

import trio

from mediation.runtime import network


async def connect(host: str, port: int) -> trio.socket.SocketType:
    """A TCP connection to the first address of `host` that answers. Raises OSError."""
    failure: OSError = OSError("no address")
    for family, kind, protocol, _, address in await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        raw = trio.socket.socket(family, kind, protocol)
        try:
            network.bind(raw)
            await raw.connect(address)
        except OSError as error:
            raw.close()
            failure = error
            continue
        except BaseException:
            raw.close()
            raise
        return raw
    raise failure
