"""Unix sockets between functions: a process without a free descriptor goes on, and takes the connection later."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
import trio

from mediation.runtime import sockets


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
async def test_no_descriptor_is_no_end(tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    listener = sockets.listen(tmp_path, "one")
    real, refused = listener.accept, [OSError(number, "refused")] * 2
    monkeypatch.setattr(sockets, "ROOM_PAUSE_S", 0.0)

    async def accept() -> trio.SocketStream:
        if refused:
            raise refused.pop()
        return await real()

    monkeypatch.setattr(listener, "accept", accept)
    async with listener, await sockets.connect(tmp_path, "one"):
        with trio.fail_after(30):
            await (await sockets.accept(listener)).aclose()
    assert not refused


async def test_what_is_wrong_with_the_socket_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listener = sockets.listen(tmp_path, "one")

    async def accept() -> trio.SocketStream:
        raise OSError(errno.EBADF, "no socket")

    monkeypatch.setattr(listener, "accept", accept)
    with pytest.raises(OSError, match="no socket"):
        await sockets.accept(listener)
