"""`mediation collect`: the reference collection function of a lab site, one JSON object a message on standard output.

It plays the agency: it holds the lab agency's certificate, believes the lab's authorities, and writes only below
DIR/lab/agency. A real agency runs its own; this one shows its engineers what a link carries. Content is summed up for
each channel, and kept only where --content-dir asks for it.
"""

from __future__ import annotations

import math
import signal
import ssl
import sys
import time
from pathlib import Path
from typing import Any, Final

import click
import trio

from mediation.cli.options import site_option
from mediation.cli.run import tell
from mediation.collection import present
from mediation.collection.content_account import ChannelAccount, ContentAccount
from mediation.collection.content_capture import ContentCapture
from mediation.collection.content_receiver import ContentReceiver
from mediation.collection.decoder import decode, rfc3339
from mediation.collection.receiver import Received, Receiver
from mediation.core.errors import ConfigurationError, RemoteProtocolError
from mediation.core.interface.link import Loss
from mediation.runtime import config, tls

SETTLE_S: Final = 0.5  # content goes by another connection than its ccClose: what is still on its way counts
INTERVAL_S: Final = 60.0  # of the summaries of channels that stay open


class _Screen:
    """Messages and content summaries, one line each, on standard output."""

    def __init__(self, account: ContentAccount) -> None:
        self._account = account
        self._closed, self._closing = trio.open_memory_channel[ChannelAccount](math.inf)

    def show(self, message: Received) -> None:
        try:
            decoded = decode(message.octets)
        except RemoteProtocolError as error:
            # It was delivered, so it is shown, and nothing of it is guessed.
            tell("undecodable", sequence=message.sequence, reason=str(error), ber=message.octets.hex())
            return
        facts = present.LinkFacts(
            sequence=message.sequence,
            received_ns=message.received_ns,
            error_us=message.error_us,
            disciplined=message.disciplined,
            arrived_ns=message.arrived_ns,
        )
        _print(present.present(decoded, message.octets, facts))
        for channel in self._account.message(decoded):
            self._closed.send_nowait(channel)

    async def summarise_closed(self) -> None:
        """Each channel once after its end."""
        async for channel in self._closing:
            await trio.sleep(SETTLE_S)
            channel.shown = channel.packets
            _print(channel.summary())

    async def summarise_open(self) -> None:
        while True:
            await trio.sleep(INTERVAL_S)
            self.rest()

    def rest(self) -> None:
        """Every channel with packets that no summary has told of."""
        for channel in self._account.changed():
            _print(channel.summary())


def _print(shown: dict[str, Any]) -> None:
    sys.stdout.buffer.write(present.line(shown))
    sys.stdout.buffer.flush()


def _report_loss(_link_id: str, loss: Loss) -> None:
    tell("loss", first=loss.first, last=loss.last, count=loss.count, reason=loss.loss_class.name.lower())


def _report_link(link_id: str, state: str) -> None:
    """On standard error, where whoever watches sees it: a link that is down is no quiet subject."""
    at = rfc3339(time.time_ns())
    print(f"{at} link {link_id!r}: {state}", file=sys.stderr, flush=True)


async def _collect(site: config.Site, agency: Path, content_dir: Path | None) -> None:
    context = tls.context(
        ssl.Purpose.CLIENT_AUTH, agency / "server.pem", agency / "server.key", agency / "ca.pem"
    )  # fmt: skip
    received = agency / "received"
    received.mkdir(mode=0o700, exist_ok=True)
    capture = ContentCapture(content_dir) if content_dir is not None else None
    account = ContentAccount(capture.packet if capture is not None else None)
    screen = _Screen(account)
    receiver = Receiver(received, context, screen.show, _report_loss, _report_link)
    content = ContentReceiver(context, account)
    place = site.lab_agency
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(screen.summarise_closed)
            nursery.start_soon(screen.summarise_open)
            content_port = await nursery.start(content.serve, place.collector_host, place.content_port)
            port = await nursery.start(receiver.serve, place.collector_host, place.collector_port)
            print(
                f"collecting on {place.collector_host} port {port}, content on port {content_port}",
                file=sys.stderr,
                flush=True,
            )
            with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
                async for _ in signals:
                    nursery.cancel_scope.cancel()
                    return
    finally:
        screen.rest()
        if capture is not None:
            capture.close()


@click.command()
@site_option
@click.option(
    "--content-dir", type=click.Path(file_okay=False, path_type=Path), help="Keep content there, a capture a channel."
)
def command(folder: Path, content_dir: Path | None) -> None:
    """Receives what a lab site delivers; prints one JSON object a message until it is stopped.

    \b
    mediation collect --site DIR --content-dir content
    """
    loaded = config.load(folder)
    if not loaded.lab:
        raise ConfigurationError("collect: only a lab site has a reference collection function")
    try:
        trio.run(_collect, loaded, loaded.lab_dir / "agency", content_dir)
    except* OSError as group:
        error = group.exceptions[0]
        while isinstance(error, ExceptionGroup):
            error = error.exceptions[0]
        raise ConfigurationError(f"collect: cannot listen: {error}") from None
