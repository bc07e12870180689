"""The reference receiver says when a link is up, and why it is not: a silent carrier is no silent subject."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from mediation.collection import receiver as module
from mediation.collection.receiver import Receiver
from mediation.core.interface import link
from mediation.core.interface.link import Close, CloseReason, Hello, Position
from mediation.runtime.tls import Channel
from tests.delivery.support import Certificates

HELLO = link.encode(Hello(link.VERSION, Position(1, 1), "site/agency"))


async def states(folder: Path, *then: bytes, silent: bool = False) -> list[str]:
    """What is told of one connection that greets, says these octets, and then ends, or only says nothing more."""
    certificates = Certificates(folder)
    told: list[tuple[str, str]] = []
    over = trio.Event()

    def tell(link_id: str, state: str) -> None:
        told.append((link_id, state))
        if state != "up":
            over.set()

    one = Receiver(folder, certificates.server(), lambda _: None, on_link=tell)
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            port = await nursery.start(one.serve, "127.0.0.1", 0)
            channel = await Channel.connect("127.0.0.1", port, certificates.client())
            await channel.send(HELLO)
            assert await channel.receive()
            for octets in then:
                await channel.send(octets)
            if not silent:
                channel.close()
            await over.wait()
            channel.close()
            nursery.cancel_scope.cancel()
    assert {link_id for link_id, _ in told} == {"site/agency"}
    return [state for _, state in told]


async def test_a_link_that_ends_is_told_with_its_reason(tmp_path: Path) -> None:
    assert await states(tmp_path) == ["up", "ended by the far side"]


async def test_a_link_that_is_closed(tmp_path: Path) -> None:
    closed = await states(tmp_path, link.encode(Close(CloseReason.DONE)))
    assert closed == ["up", "closed by the far side (done)"]


async def test_a_link_that_breaks_the_protocol(tmp_path: Path) -> None:
    assert await states(tmp_path, HELLO, silent=True) == ["up", "broken"]


async def test_a_carrier_that_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SILENCE_S", 1.0)
    assert await states(tmp_path, silent=True) == ["up", "silent for 1 s"]
