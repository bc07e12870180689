"""How a command reaches the administration: through its socket while it runs, else in its place under its lock.

Both ways run the same code (`desk`): a command that acts in the administrator's place is checked, entered in the
ledger and stored exactly as it would be, and the functions are told when the administrator starts.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress

import trio

from mediation.administration import control
from mediation.administration.lock import lock
from mediation.administration.order import drafting
from mediation.administration.order.orders import Orders
from mediation.administration.persons.gate import Caller
from mediation.administration.persons.inquiries import Inquiries, Prepared
from mediation.core.authority import jws, request
from mediation.core.check import Check
from mediation.core.errors import AuthorizationError, ConfigurationError, MediationError, RemoteProtocolError
from mediation.core.interface import x1
from mediation.core.interface.control import (
    MAX_LINE_OCTETS,
    Answer,
    Failed,
    Inquiry,
    Part,
    Request,
    Signed,
    decode_answer,
    encode,
)
from mediation.runtime import sockets
from mediation.runtime.config import Site
from mediation.signing.signer import Signer

PATIENCE_S = 15.0  # an administrator that is starting holds the lock before it listens
PAUSE_S = 0.05
# For the next octets of an answer, else it stands still: filing ten thousand orders takes it seconds, and a command may
# wait behind another's. An export of years is made before its first octet. Both ours.
ANSWER_LIMIT_S, SIGNED_LIMIT_S = 120.0, 1_800.0
MAX_EXPORT_OCTETS = 4 << 30


def call(site: Site, *requests: Request) -> list[Answer]:
    """The answers to `requests`, in order. Raises ConfigurationError or LedgerError when nobody can answer."""
    return trio.run(_call, site, requests)


def one(site: Site, asked: Request) -> Answer:
    """The answer to one request. Raises MediationError for one that failed as a whole."""
    answer = call(site, asked)[0]
    if isinstance(answer, Failed):
        if answer.check:
            # With its detail, which alone says what to put right: the check's sentence names several things.
            raise AuthorizationError(Check.named(answer.check), answer.detail.removeprefix(f"{answer.check}: "))
        raise MediationError(answer.detail)
    return answer


def running(site: Site, asked: Request) -> Answer | None:
    """The answer of the administrator that runs; None when none does: nothing is done in its place. Raises
    ConfigurationError when it may not be asked, or does not answer within PATIENCE_S."""
    return trio.run(_running, site, asked)


def inquire(site: Site, inquiry: Inquiry, person: Signer, reason: str) -> Answer:
    """The answer to a request that shows or marks case data, signed by `person` now. Raises MediationError."""
    return one(site, Signed(envelope=envelope(inquiry, person, reason, lab=site.lab)))


def envelope(inquiry: Inquiry, person: Signer, reason: str, *, lab: bool) -> str:
    """The compact text of a signed request (core/authority/request.py)."""
    now_s = drafting.now_s()
    payload = request.Envelope(
        type="request", request=encode(inquiry).decode().rstrip("\n"), reason=reason, issued_s=now_s,
        expires_s=now_s + request.MAX_LIFE_S, nonce=drafting.nonce(), lab=lab,
    )  # fmt: skip
    return jws.sign(payload, request.TYP, person.kid, person.key())


async def _running(site: Site, asked: Request) -> Answer | None:
    with trio.move_on_after(PATIENCE_S):
        try:
            stream = await sockets.connect(site.run_dir, control.SOCKET)
        except (FileNotFoundError, ConnectionRefusedError):
            return None
        except OSError as error:
            raise ConfigurationError(f"the administrator's socket: {error.strerror}") from error
        async with stream:
            return (await _ask(stream, (asked,)))[0]
    raise ConfigurationError(f"the administrator does not answer within {PATIENCE_S:.0f} s")


async def _call(site: Site, requests: Sequence[Request]) -> list[Answer]:
    began = trio.current_time()
    while True:
        try:
            stream = await sockets.connect(site.run_dir, control.SOCKET)
        except (FileNotFoundError, ConnectionRefusedError):
            pass
        except BlockingIOError as error:  # it is there, and has no time
            if trio.current_time() > began + ANSWER_LIMIT_S:
                raise ConfigurationError(f"the administrator's socket: {error.strerror}") from error
            await trio.sleep(PAUSE_S)
            continue
        except OSError as error:
            raise ConfigurationError(f"the administrator's socket: {error.strerror}") from error
        else:
            async with stream:
                return await _ask(stream, requests)
        try:
            return await _act(site, requests)
        except BlockingIOError:
            if trio.current_time() > began + PATIENCE_S:
                raise ConfigurationError("the site's administration is held by another process") from None
            await trio.sleep(PAUSE_S)


async def _act(site: Site, requests: Sequence[Request]) -> list[Answer]:
    """In the administrator's place. Raises BlockingIOError while another process holds the site."""
    if not (site.path / control.FOLDER).is_dir():  # a person's own machine, with the site's settings and its socket
        raise ConfigurationError(
            f"nobody listens at {site.run_dir.name}/{control.SOCKET}, and this folder is no whole site: "
            "is the socket forwarded, and does the administrator run there?"
        )
    with lock(site.path / control.FOLDER):
        clock = control.open_clock(site)
        orders = Orders(site, clock.now_ns(), told=await control.remembered(site, clock.now_ns()))
        try:
            inquiries, caller = Inquiries(orders, clock.now_ns()), Caller(uid=os.getuid())
            answers = [_made(inquiries.handle(each, caller, clock.now_ns())) for each in requests]
            if not orders.heads.at_once:
                await orders.heads.show(clock.now_ns())
            clock.save()
            return answers
        finally:
            orders.close()


def _made(answer: Answer | Prepared) -> Answer:
    return Part(octets=answer.make(), last=True) if isinstance(answer, Prepared) else answer


async def _ask(stream: trio.SocketStream, requests: Sequence[Request]) -> list[Answer]:
    """Raises RemoteProtocolError, also for an administrator that does not go on answering."""
    answers: list[Answer] | RemoteProtocolError

    async def send() -> None:
        with suppress(trio.BrokenResourceError):  # who receives says so
            for each in requests:
                await stream.send_all(encode(each))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        try:
            answers = await _answers(stream, requests)
        except RemoteProtocolError as error:  # by itself, not in a group
            answers = error
        nursery.cancel_scope.cancel()
    if isinstance(answers, RemoteProtocolError):
        raise answers
    return answers


async def _answers(stream: trio.SocketStream, requests: Sequence[Request]) -> list[Answer]:
    answers: list[Answer] = []
    export = bytearray()
    lines = x1.Lines(MAX_LINE_OCTETS)
    while len(answers) < len(requests):
        limit_s = SIGNED_LIMIT_S if isinstance(requests[len(answers)], Signed) else ANSWER_LIMIT_S
        octets = b""
        with trio.move_on_after(limit_s) as limit, suppress(trio.BrokenResourceError):
            octets = await stream.receive_some(control.RECEIVE_OCTETS)
        if limit.cancelled_caught:
            raise RemoteProtocolError(
                f"the administrator did not answer within {limit_s:g} s: it may carry out all the same what was asked"
            )
        if not octets:
            raise RemoteProtocolError("the administrator closed the connection")
        for line in lines.feed(octets):
            answer = decode_answer(line)
            if isinstance(answer, Part):
                export += answer.octets
                if len(export) > MAX_EXPORT_OCTETS:
                    raise RemoteProtocolError("control: the export is too large")
                if not answer.last:
                    continue
                answer = Part(octets=bytes(export), last=True)
                export.clear()
            answers.append(answer)
    return answers
