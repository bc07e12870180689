"""How a command reaches the administration: through its socket while it runs, else in its place under its lock.

Both ways run the same code (`desk`): a command that acts in the administrator's place is checked, entered in the
ledger and stored exactly as it would be, and the functions are told when the administrator starts.
"""

from __future__ import annotations

from collections.abc import Sequence

import trio

from mediation.administration import control, desk
from mediation.administration.orders import Orders
from mediation.administration.store import lock
from mediation.core import x1
from mediation.core.control import MAX_LINE_OCTETS, Answer, Failed, Request, decode_answer, encode
from mediation.core.errors import ConfigurationError, MediationError, RemoteProtocolError
from mediation.runtime import sockets
from mediation.runtime.config import Site

PATIENCE_S = 15.0  # an administrator that is starting holds the lock before it listens
PAUSE_S = 0.05


def call(site: Site, *requests: Request) -> list[Answer]:
    """The answers to `requests`, in order. Raises ConfigurationError or LedgerError when nobody can answer."""
    return trio.run(_call, site, requests)


def one(site: Site, request: Request) -> Answer:
    """The answer to one request. Raises MediationError for one that failed as a whole."""
    answer = call(site, request)[0]
    if isinstance(answer, Failed):
        raise MediationError(answer.detail)
    return answer


async def _call(site: Site, requests: Sequence[Request]) -> list[Answer]:
    deadline = trio.current_time() + PATIENCE_S
    while True:
        try:
            stream = await sockets.connect(site.run_dir, control.SOCKET)
        except (FileNotFoundError, ConnectionRefusedError):
            pass
        except OSError as error:
            raise ConfigurationError(f"the administrator's socket: {error.strerror}") from error
        else:
            async with stream:
                return await _ask(stream, requests)
        try:
            return await _act(site, requests)
        except BlockingIOError:
            if trio.current_time() > deadline:
                raise ConfigurationError("the site's administration is held by another process") from None
            await trio.sleep(PAUSE_S)


async def _act(site: Site, requests: Sequence[Request]) -> list[Answer]:
    """In the administrator's place. Raises BlockingIOError while another process holds the site."""
    with lock(site.path / control.FOLDER):
        clock = control.open_clock(site)
        orders = Orders(site, clock.now_ns(), told=await control.remembered(site, clock.now_ns()))
        try:
            answers = [desk.handle(orders, request, clock.now_ns()) for request in requests]
            if not orders.heads.at_once:
                await orders.heads.show(clock.now_ns())
            clock.save()
            return answers
        finally:
            orders.close()


async def _ask(stream: trio.SocketStream, requests: Sequence[Request]) -> list[Answer]:
    answers: list[Answer] = []
    lines = x1.Lines(MAX_LINE_OCTETS)

    async def send() -> None:
        for request in requests:
            await stream.send_all(encode(request))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        while len(answers) < len(requests):
            octets = await stream.receive_some(control.RECEIVE_OCTETS)
            if not octets:
                raise RemoteProtocolError("the administrator closed the connection")
            answers += [decode_answer(line) for line in lines.feed(octets)]
    return answers
