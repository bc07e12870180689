"""A command whose administrator stands still or goes away: it ends with an error that says so."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio

from mediation.administration import client, control
from mediation.core.errors import ConfigurationError, MediationError, RemoteProtocolError
from mediation.core.interface.control import Done, Settle, Status, encode
from mediation.runtime import sockets
from mediation.runtime.config import Site


async def standing_still(_: trio.SocketStream) -> None:
    await trio.sleep_forever()


async def one_answer(stream: trio.SocketStream) -> None:
    await stream.receive_some()
    await stream.send_all(encode(Done()))
    await trio.sleep_forever()


async def gone(_: trio.SocketStream) -> None:
    """With what it was sent unread: the other side's connection is reset."""


async def rubbish(stream: trio.SocketStream) -> None:
    await stream.send_all(b"{\n")
    await trio.sleep_forever()


@pytest.mark.parametrize(
    ("behaves", "says"),
    [
        (standing_still, "did not answer within 0.2 s"),
        (one_answer, "did not answer within 0.2 s"),
        (gone, "closed the connection"),
        (rubbish, "not an answer"),
    ],
)
async def test_an_administrator_that_does_not_answer(
    site: Site, behaves: Callable[[trio.SocketStream], Awaitable[None]], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "ANSWER_LIMIT_S", 0.2)

    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            await behaves(stream)

    many = [Settle()] * 100_000  # more than the socket takes
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, serve, [sockets.listen(site.run_dir, control.SOCKET)])
        with trio.fail_after(30), pytest.raises(RemoteProtocolError, match=says):
            await client._call(site, many)
        nursery.cancel_scope.cancel()


async def test_the_limit_is_of_silence(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers that go on coming are waited for."""
    monkeypatch.setattr(client, "ANSWER_LIMIT_S", 5.0)

    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            for _ in range(4):
                await stream.send_all(encode(Done()))
                await trio.sleep(0)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, serve, [sockets.listen(site.run_dir, control.SOCKET)])
        assert await client._call(site, [Status()] * 4) == [Done()] * 4
        nursery.cancel_scope.cancel()
    assert issubclass(RemoteProtocolError, MediationError)


async def test_an_administrator_without_room_for_one_more(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is waited for, and what was said into a socket that nobody had was no answer."""
    monkeypatch.setattr(sockets, "BACKLOG", 0)
    monkeypatch.setattr(client, "PAUSE_S", 0.01)
    listener = sockets.listen(site.run_dir, control.SOCKET)
    async with listener, trio.open_nursery() as nursery:
        held = [await sockets.connect(site.run_dir, control.SOCKET)]
        with pytest.raises(BlockingIOError):
            held.append(await sockets.connect(site.run_dir, control.SOCKET))
        with monkeypatch.context() as patch, pytest.raises(ConfigurationError, match="no room"):
            patch.setattr(client, "ANSWER_LIMIT_S", 0.1)
            await client._call(site, [Status()])

        async def make_room() -> None:
            await trio.sleep(0.1)
            await (await listener.accept()).aclose()
            async with await listener.accept() as stream:
                await stream.receive_some()
                await stream.send_all(encode(Done()))

        nursery.start_soon(make_room)
        with trio.fail_after(30):
            assert await client._call(site, [Status()]) == [Done()]
        for each in held:
            await each.aclose()
